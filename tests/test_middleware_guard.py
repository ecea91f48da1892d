from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from agentkit import (
    Agent,
    Event,
    Limits,
    Message,
    Reply,
    RunFinished,
    RunState,
    TextDelta,
    ToolMessage,
    ToolResult,
    UserMessage,
    tool,
)
from agentkit.chat import ChatRequest
from agentkit.errors import ConfigError, Overloaded, StateError
from agentkit.events import DeltasDiscarded, Emit
from agentkit.messages import ImagePart
from agentkit.middleware import Eager, Guard, GuardTripped, ToolRequest
from agentkit.run.transcript import check
from agentkit.sessions import SQLiteSessions
from agentkit.testing import Chunks, FunctionModel, ScriptedModel, call

pytestmark = pytest.mark.anyio


@tool
def delete(name: str) -> str:
    """Delete something."""
    return f"{name} is gone"


def no_secrets(messages: Sequence[Message]) -> str | None:
    return "it holds a password" if any("hunter2" in each.text for each in messages) else None


def results(messages: Sequence[Message]) -> list[str]:
    return [each.text for each in messages if isinstance(each, ToolMessage)]


class Waiting:
    """A model that shows something, and then waits until it is cancelled."""

    def __init__(self) -> None:
        self.asked, self.cancelled = anyio.Event(), False

    async def reply(self, request: ChatRequest, emit: Emit) -> Reply:
        emit(TextDelta("Your password"))
        self.asked.set()
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            self.cancelled = True
            raise
        raise AssertionError


async def test_an_input_guard_runs_beside_the_model_and_stops_it() -> None:
    model = Waiting()

    async def slow(messages: Sequence[Message]) -> str:
        await model.asked.wait()  # so they run at the same time
        return "not about the weather"

    told: list[Event] = []
    with pytest.raises(GuardTripped, match="the input guard slow objected: not about the weather") as raised:
        await Agent(model, middleware=[Guard(input=slow)]).run("go", on_event=told.append)
    assert model.cancelled
    assert (raised.value.guard, raised.value.check, raised.value.reason) == ("input", "slow", "not about the weather")
    assert raised.value.state.status == "failed"
    assert [each.error for each in told if isinstance(each, RunFinished)] == [raised.value]
    assert not [each for each in told if isinstance(each, TextDelta)]


async def test_nothing_is_shown_before_the_input_guard_agrees_and_then_everything_in_order() -> None:
    agreed = anyio.Event()
    told: list[Event] = []
    shown_before: list[Event] = []

    async def model(request: ChatRequest) -> Chunks:
        return Chunks("one ", "two ")

    async def slow(messages: Sequence[Message]) -> None:
        await agreed.wait()
        shown_before.extend(each for each in told if isinstance(each, TextDelta))

    class Late(FunctionModel):
        async def reply(self, request: ChatRequest, emit: Emit) -> Reply:
            reply = await super().reply(request, emit)
            agreed.set()
            await anyio.wait_all_tasks_blocked()
            emit(TextDelta("three"))
            return reply

    result = await Agent(Late(model), middleware=[Guard(input=slow)]).run("go", on_event=told.append)
    assert result.output == "one two "
    assert shown_before == []
    assert [each.text for each in told if isinstance(each, TextDelta)] == ["one ", "two ", "three"]


async def test_a_function_that_is_not_async_is_asked_before_anything_is_sent() -> None:
    model = ScriptedModel([])
    with pytest.raises(GuardTripped):
        await Agent(model, middleware=[Guard(input=no_secrets)]).run("hunter2")
    assert model.requests == []


async def test_an_object_that_can_be_awaited_runs_beside_the_model_too() -> None:
    model = Waiting()

    class Judge:
        async def __call__(self, messages: Sequence[Message]) -> bool:
            await model.asked.wait()
            return False

    with pytest.raises(GuardTripped, match="the input guard Judge objected"):
        await Agent(model, middleware=[Guard(input=Judge())]).run("go")


async def test_an_input_guard_sees_what_no_model_has_answered_yet() -> None:
    seen: list[Sequence[Message]] = []
    model = ScriptedModel([call("delete", name="cake"), "Done."])
    guard = Guard(input=seen.append)
    agent = Agent(model, tools=[delete], instructions="Be brief.", middleware=[guard])
    first = await agent.run("Delete the cake.")
    assert seen == [(UserMessage("Delete the cake."),), (ToolMessage("cake is gone", "call_1_1"),)]
    await Agent(ScriptedModel(["Yes."]), middleware=[guard]).run("Really?", history=first)
    assert seen[2] == (UserMessage("Really?"),)


async def test_what_a_tool_returns_is_input_too() -> None:
    @tool
    def read() -> str:
        """Read a page."""
        return "the password is hunter2"

    model = ScriptedModel([call("read"), "never shown"])
    with pytest.raises(GuardTripped, match="it holds a password") as raised:
        await Agent(model, tools=[read], middleware=[Guard(input=no_secrets)]).run("go")
    assert not check(raised.value.state.messages)


async def test_the_error_of_the_model_is_raised_as_it_is_while_the_guard_still_looks() -> None:
    async def forever(messages: Sequence[Message]) -> None:
        await anyio.sleep_forever()

    busy = Overloaded("busy", status=503)
    with pytest.raises(Overloaded) as raised:
        await Agent(ScriptedModel([busy]), middleware=[Guard(input=forever)]).run("go")
    assert raised.value is busy


async def test_the_error_of_a_guard_is_raised_as_it_is() -> None:
    async def broken(messages: Sequence[Message]) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await Agent(Waiting(), middleware=[Guard(input=broken)]).run("go")


async def test_a_run_with_a_guard_can_be_cancelled() -> None:
    model = Waiting()

    async def forever(messages: Sequence[Message]) -> None:
        await anyio.sleep_forever()

    agent = Agent(model, middleware=[Guard(input=forever)])
    async with agent.stream("go") as events, anyio.create_task_group() as tasks:
        await model.asked.wait()
        tasks.cancel_scope.cancel()
    assert (model.cancelled, events.state.status) == (True, "cancelled")


async def test_an_output_guard_stops_a_reply_before_its_calls_run() -> None:
    ran: list[str] = []

    @tool
    def send(text: str) -> None:
        """Send a text."""
        ran.append(text)

    def no_mail(reply: Reply) -> bool:
        return not reply.message.tool_calls

    model = ScriptedModel([call("send", text="hello")])
    with pytest.raises(GuardTripped, match="the output guard no_mail objected: it gave no reason"):
        await Agent(model, tools=[send], middleware=[Guard(output=no_mail)]).run("go")
    assert ran == []


@pytest.mark.parametrize(("hold", "shown"), [(False, ["hunter2"]), (True, [])])
async def test_what_an_output_guard_is_to_see_first_is_held_back_if_asked_for(*, hold: bool, shown: list[str]) -> None:
    async def safe(reply: Reply) -> str | None:
        return "a password" if "hunter2" in reply.text else None

    told: list[Event] = []
    agent = Agent(ScriptedModel(["hunter2", "fine"]), middleware=[Guard(output=safe, hold=hold)])
    with pytest.raises(GuardTripped):
        await agent.run("go", on_event=told.append)
    assert [each.text for each in told if isinstance(each, TextDelta)] == shown
    await agent.run("go", on_event=told.append)
    assert [each.text for each in told if isinstance(each, TextDelta)] == [*shown, "fine"]


async def test_the_model_reads_what_a_tool_guard_has_against_a_call() -> None:
    def careful(request: ToolRequest) -> str | None:
        return "production stays" if "production" in request.call.arguments else None

    calls = [call("delete", name="production"), call("delete", name="cake")]
    agent = Agent(ScriptedModel([calls, "ok"]), tools=[delete], middleware=[Guard(tool=careful)])
    result = await agent.run("go")
    assert results(result.messages) == ["Error: not allowed: production stays", "cake is gone"]


def strict(request: ToolRequest) -> None:
    if "production" in request.call.arguments:
        raise GuardTripped("somebody must look at this")


@pytest.mark.parametrize("eager", [False, True])
async def test_a_tool_guard_that_trips_ends_the_run_when_the_other_calls_have_finished(*, eager: bool) -> None:
    @tool(read_only=True)
    def look(name: str) -> str:
        """Look at something."""
        return f"{name} is there"

    model = ScriptedModel([[call("look", name="production"), call("look", name="cake")], "never asked"])
    agent = Agent(model, tools=[look], middleware=[*[Eager()] * eager, Guard(tool=strict), Guard(tool=strict)])
    with pytest.raises(GuardTripped, match="the tool guard strict objected: somebody must look at this") as raised:
        await agent.run("go")
    state = raised.value.state
    assert results(state.messages) == ["Error: not allowed: somebody must look at this", "cake is there"]
    assert (state.status, len(model.requests)) == ("failed", 1)


async def test_a_tool_guard_that_trips_in_the_last_turn_still_ends_the_run() -> None:
    agent = Agent(ScriptedModel([call("delete", name="production")]), tools=[delete], middleware=[Guard(tool=strict)])
    with pytest.raises(GuardTripped) as raised:
        await agent.run("go", limits=Limits(turns=1, on_limit="stop"))
    assert raised.value.state.status == "failed"


async def test_a_guard_that_tripped_in_one_run_is_fresh_in_the_next() -> None:
    model = ScriptedModel([call("delete", name="production"), "Hello."])
    agent = Agent(model, tools=[delete], middleware=[Guard(tool=strict)])
    with pytest.raises(GuardTripped):
        await agent.run("go")
    assert (await agent.run("hello")).output == "Hello."


async def test_what_is_no_verdict_does_not_pass_for_agreement() -> None:
    def odd(messages: Any) -> Any:
        return {"safe": False}

    with pytest.raises(TypeError, match=r"the input guard odd returned \{'safe': False\}; it must return None or True"):
        await Agent(ScriptedModel(["x"]), middleware=[Guard(input=odd)]).run("go")


async def test_true_none_and_awaited_ones_of_them_agree() -> None:
    async def awaited(reply: Reply) -> bool:
        return True

    guard = Guard(input=lambda messages: None, output=awaited, tool=lambda request: True)
    model = ScriptedModel([call("delete", name="cake"), "Gone."])
    assert (await Agent(model, tools=[delete], middleware=[guard]).run("go")).output == "Gone."


@pytest.mark.parametrize("wrong", [{}, {"hold": True}, {"input": "x"}, {"output": True}, {"tool": ["rm"]}])
def test_a_guard_that_asks_nobody_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"Guard\(.*(checks nothing|must be a function)"):
        Guard(**wrong)


# What was refused is never sent.


def sent(model: ScriptedModel) -> list[list[str]]:
    return [[each.text for each in request.messages] for request in model.requests]


def judges(messages: Sequence[Message]) -> str | None:
    """Refuses passwords in whatever it is given, as a guard over all messages does."""
    return "it holds a password" if any("hunter2" in each.text for each in messages) else None


async def judges_alongside(messages: Sequence[Message]) -> str | None:
    await anyio.lowlevel.checkpoint()
    return judges(messages)


@pytest.mark.parametrize("check_input", [judges, judges_alongside])
@pytest.mark.parametrize("how", ["session", "history", "stored state"])
async def test_a_question_that_was_refused_is_never_sent_and_the_next_is_judged_by_itself(
    how: str, check_input: Any, tmp_path: Path
) -> None:
    session = SQLiteSessions(tmp_path / "chat.db")["s"]
    model = ScriptedModel(["Hello.", "Sunny."] if check_input is judges else ["Hello.", "never used", "Sunny."])
    agent = Agent(model, middleware=[Guard(input=check_input)])
    first = await agent.run("Hi.", **({"session": session} if how == "session" else {}))  # type: ignore[arg-type]
    with pytest.raises(GuardTripped) as refused:
        if how == "session":
            await agent.run("My password is hunter2.", session=session)
        else:
            await agent.run("My password is hunter2.", history=first)
    state = refused.value.state
    assert isinstance(state, RunState)
    assert [each.text for each in state.messages] == ["Hi.", "Hello.", "My password is hunter2."]
    if how == "session":
        result = await agent.run("What is the weather?", session=session)
        assert [each.text for each in await session.messages()][2:] == [
            "My password is hunter2.",
            "What is the weather?",
            "Sunny.",
        ]
    elif how == "history":
        result = await agent.run("What is the weather?", history=state.messages)
    else:
        result = await agent.run("What is the weather?", history=RunState.load(state.to_json()))
    assert result.output == "Sunny."
    assert sent(model)[-1] == ["Hi.", "Hello.", "What is the weather?"]
    assert all("hunter2" not in text for each in sent(model)[-1:] for text in each)


async def test_a_run_whose_question_was_refused_is_resumed_with_another_question_only() -> None:
    model = ScriptedModel(["Sunny."])
    agent = Agent(model, middleware=[Guard(input=judges)])
    with pytest.raises(GuardTripped) as refused:
        await agent.run("My password is hunter2.")
    with pytest.raises(StateError, match=r"the prompt of this run was refused .* resume it with another prompt"):
        await agent.run(resume=refused.value.state)
    result = await agent.run("What is the weather?", resume=refused.value.state)
    assert (result.output, sent(model)) == ("Sunny.", [["What is the weather?"]])


@pytest.mark.parametrize("size", [1, 30_000])
async def test_a_result_that_was_refused_is_replaced_by_a_note_and_the_conversation_goes_on(size: int) -> None:
    @tool
    def read() -> ToolResult:
        """Read a page."""
        return ToolResult("hunter2 " * size, files=[ImagePart("https://example.org/hunter2.png")])

    model = ScriptedModel([call("read", id="r"), "Fine."])
    agent = Agent(model, tools=[read], middleware=[Guard(input=judges)])
    with pytest.raises(GuardTripped) as refused:
        await agent.run("Read it.")
    state = refused.value.state
    assert check(state.messages) == []
    assert "hunter2" not in state.to_json().replace("hunter2.png", "")
    await agent.run("And now?", history=state)
    question, _, result, again = model.requests[-1].messages
    assert (question.text, again.text) == ("Read it.", "And now?")
    assert result.text.startswith("Error: this result was refused")


async def test_a_reply_that_was_refused_after_it_was_shown_is_taken_back_and_not_sent_later() -> None:
    def safe(reply: Reply) -> str | None:
        return "a password" if "hunter2" in reply.text else None

    told: list[Event] = []
    model = ScriptedModel([Chunks("It is ", "hunter2."), "Fine."])
    agent = Agent(model, middleware=[Guard(output=safe)])
    with pytest.raises(GuardTripped) as refused:
        async with agent.stream("What is the password?") as events:
            async for event in events:
                told += [event]  # what came before the error counts
    deltas = [type(each) for each in told if isinstance(each, TextDelta | DeltasDiscarded)]
    assert deltas == [TextDelta, TextDelta, DeltasDiscarded]
    state = refused.value.state
    assert isinstance(state, RunState)
    assert (await agent.run("Are you well?", history=state)).output == "Fine."
    assert sent(model)[-1] == ["Are you well?"]
