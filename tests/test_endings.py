"""What an early end of a run leaves for the next one."""

from typing import Any

import anyio
import pytest

from agentkit import Agent, ChatSettings, Limits, tool
from agentkit.chat import ChatRequest, Choice, Reply, Usage
from agentkit.errors import ConnectionFailed, RunError
from agentkit.events import CallDenied, CallFinished, CallStarted, Emit, Event, TextDelta
from agentkit.messages import AssistantMessage, ToolCall, UserMessage
from agentkit.sessions import MemorySessions
from agentkit.testing import FunctionModel, ScriptedModel, call

pytestmark = pytest.mark.anyio


@tool(requires_approval=True)
def pay(amount: int) -> str:
    """Pay."""
    return f"paid {amount}"


def asked(request: ChatRequest) -> list[str]:
    return [message.text for message in request.messages]


# A prompt that never got a reply.


async def test_a_prompt_whose_request_failed_is_not_sent_with_the_next_one() -> None:
    model = ScriptedModel([ConnectionFailed("no route"), "hello"])
    agent = Agent(model)
    with pytest.raises(ConnectionFailed) as caught:
        await agent.run("my password is hunter2")
    result = await agent.run("hi", history=caught.value.state.messages)
    assert asked(model.requests[1]) == ["hi"]
    assert [each.text for each in result.messages] == ["my password is hunter2", "hi", "hello"], "nothing is forgotten"


async def test_in_a_session_too() -> None:
    session = MemorySessions()["ada"]
    model = ScriptedModel(["one", ConnectionFailed("no route"), "hello"])
    agent = Agent(model)
    await agent.run("first", session=session)
    with pytest.raises(ConnectionFailed):
        await agent.run("second", session=session)
    await agent.run("third", session=session)
    assert asked(model.requests[2]) == ["first", "one", "third"]


async def test_a_resumed_run_sends_it_again() -> None:
    model = ScriptedModel([ConnectionFailed("no route"), "hello"])
    agent = Agent(model)
    with pytest.raises(ConnectionFailed) as caught:
        await agent.run("are you there?")
    assert (await agent.run(resume=caught.value.state)).output == "hello"
    assert asked(model.requests[1]) == ["are you there?"]


async def test_a_prompt_that_got_a_reply_stays_when_a_later_request_fails() -> None:
    @tool
    def look() -> str:
        """Look."""
        return "a door"

    model = ScriptedModel([call("look"), ConnectionFailed("no route"), "a door"])
    agent = Agent(model, tools=[look])
    with pytest.raises(ConnectionFailed) as caught:
        await agent.run("what is there?")
    await agent.run("well?", history=caught.value.state)
    assert asked(model.requests[2]) == ["what is there?", "", "a door", "well?"]


# A reply that was shown in part.


class Stalling:
    """Shows the beginning of an answer, and then nothing more."""

    def __init__(self) -> None:
        self.requests: list[ChatRequest] = []
        self.shown = anyio.Event()

    async def reply(self, request: ChatRequest, emit: Emit) -> Reply:
        self.requests.append(request)
        if len(self.requests) > 1:
            return Reply(choices=(Choice(message=AssistantMessage("Because.")),))
        emit(TextDelta("The answer "))
        emit(TextDelta("is"))
        self.shown.set()
        await anyio.sleep_forever()
        raise AssertionError


@pytest.mark.parametrize("how", ["cancel", "leave", "task"])
async def test_text_that_was_shown_stays_as_a_truncated_message(how: str) -> None:
    model = Stalling()
    agent = Agent(model)
    stream = agent.stream("why?")
    if how == "task":
        async with anyio.create_task_group() as tasks:

            async def watch() -> None:
                async with stream:
                    await stream.result()

            tasks.start_soon(watch)
            await model.shown.wait()
            tasks.cancel_scope.cancel()
    else:
        async with stream:
            await model.shown.wait()
            if how == "cancel":
                stream.cancel()
                await stream.result()
    state = stream.state
    assert state.status == "cancelled"
    assert [(each.role, each.text) for each in state.messages] == [("user", "why?"), ("assistant", "The answer is")]
    assert state.messages[1].meta["truncated"] is True
    assert (state.usage.requests, state.usage.estimated_tokens > 0) == (1, True)
    result = await agent.run("and?", history=state)
    assert asked(model.requests[1]) == ["why?", "The answer is", "and?"]
    assert result.output == "Because."


async def test_a_truncated_answer_is_no_answer_when_the_run_is_resumed() -> None:
    model = Stalling()
    agent = Agent(model)
    async with agent.stream("why?") as stream:
        await model.shown.wait()
        stream.cancel()
        await stream.result()
    assert (await agent.run(resume=stream.state)).output == "Because."
    assert asked(model.requests[1]) == ["why?", "The answer is", "Go on."]


# A reply that its limit of tokens ends inside a call, again and again.


async def test_calls_that_are_truncated_again_and_again_end_the_run_in_words() -> None:
    def truncated(request: ChatRequest) -> Reply:
        if request.settings.tool_choice == "none":
            return Reply(choices=(Choice(message=AssistantMessage("I could not.")),))
        message = AssistantMessage(None, (ToolCall(f"c{len(limits)}", "pay", f'{{"amount": {len(limits)}}}'),))
        limits.append(request.settings.max_tokens or 0)
        return Reply(choices=(Choice(message=message, finish_reason="length"),), usage=Usage(requests=1))

    limits: list[int] = []
    result = await Agent(FunctionModel(truncated), tools=[pay], settings=ChatSettings(max_tokens=100)).run("go")
    assert (result.output, result.status) == ("I could not.", "limited")
    assert "10 turns in which every call failed" in result.limit
    assert limits == [100, 200, 400, 800, *[1600] * 6], "the limit is raised where there is one"


async def test_the_limit_is_as_it_was_after_a_reply_that_was_complete() -> None:
    seen: list[int | None] = []

    def answer(request: ChatRequest) -> Reply:
        seen.append(request.settings.max_completion_tokens)
        calls = (ToolCall(f"c{len(seen)}", "look", "{}"),) if len(seen) < 3 else ()
        message = AssistantMessage(None if calls else "done", calls)
        return Reply(choices=(Choice(message=message, finish_reason="length" if len(seen) == 1 else "stop"),))

    @tool
    def look() -> str:
        """Look."""
        return "nothing"

    await Agent(FunctionModel(answer), tools=[look], settings=ChatSettings(max_completion_tokens=50)).run("go")
    assert seen == [50, 100, 50]


# Decisions and pauses.


async def test_a_denied_call_is_one_event() -> None:
    agent = Agent(ScriptedModel([call("pay", id="p", amount=5), "as you wish"]), tools=[pay])
    state = (await agent.run("go")).state
    state.deny("p", "too much")
    seen: list[Event] = []
    await agent.run(resume=state, on_event=seen.append)
    (denied,) = [each for each in seen if isinstance(each, CallDenied | CallStarted | CallFinished)]
    assert isinstance(denied, CallDenied)
    assert (denied.call.id, denied.reason) == ("p", "too much")


async def test_a_decision_about_another_call_than_the_state_holds_now_does_not_count() -> None:
    @tool
    def plain(amount: int) -> str:
        """Do it."""
        done.append(amount)
        return "done"

    done: list[int] = []
    agent = Agent(ScriptedModel([call("plain", id="p", amount=5)]), tools=[plain], requires_approval=True)
    state = (await agent.run("go")).state
    state.approve("p")
    changed = ToolCall("p", "plain", '{"amount": 5000}')
    state.messages[-1] = AssistantMessage(None, (changed,))
    relaxed = Agent(ScriptedModel(["ok"]), tools=[plain])
    await relaxed.run(resume=state)
    assert done == [5000], "the tool asks no longer, so the call needs no decision"
    assert not state.decisions.keys() & set(relaxed.tools)
    strict = Agent(ScriptedModel(["ok"]), tools=[plain], requires_approval=True)
    assert (await strict.run(resume=state)).status == "paused"


async def test_the_output_of_a_paused_run_cannot_be_read_by_mistake() -> None:
    result = await Agent(ScriptedModel([call("pay", amount=5)]), tools=[pay]).run("go")
    with pytest.raises(RunError, match="the run has no output, as it is paused; resume it"):
        print(result.output)  # noqa: T201
    assert result.output_or_none is None


async def test_a_pause_inside_a_tool_is_an_error_of_that_tool() -> None:
    inner = Agent(ScriptedModel([call("pay", amount=5)]), tools=[pay])

    @tool
    async def ask_accountant() -> Any:
        """Ask the accountant."""
        return (await inner.run("pay 5")).output

    model = ScriptedModel([call("ask_accountant"), "sorry"])
    await Agent(model, tools=[ask_accountant]).run("go")
    assert "the run has no output, as it is paused" in asked(model.requests[1])[-1]


async def test_limits_of_read_result_may_be_given() -> None:
    await Agent(ScriptedModel(["hi"])).run("go", limits=Limits(calls_per_tool={"read_result": 2}))


def test_a_user_message_is_not_labeled_by_a_run_that_went_well() -> None:
    result = Agent(ScriptedModel(["hi"])).run_sync("hello")
    assert isinstance(result.messages[0], UserMessage)
    assert "unanswered" not in result.messages[0].meta
