from collections.abc import Sequence
from typing import Any

import anyio
import pytest

from agentkit import Agent, Event, Limits, Message, Reply, RunFinished, TextDelta, ToolMessage, UserMessage, tool
from agentkit.chat import ChatRequest
from agentkit.chat.events import Emit
from agentkit.errors import ConfigError, Overloaded
from agentkit.middleware import Eager, Guard, GuardTripped, ToolRequest
from agentkit.run.transcript import check
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

    with pytest.raises(TypeError, match=r"the input guard odd returned \{'safe': False\}; it returns None or True"):
        await Agent(ScriptedModel(["x"]), middleware=[Guard(input=odd)]).run("go")


async def test_true_none_and_awaited_ones_of_them_agree() -> None:
    async def awaited(reply: Reply) -> bool:
        return True

    guard = Guard(input=lambda messages: None, output=awaited, tool=lambda request: True)
    model = ScriptedModel([call("delete", name="cake"), "Gone."])
    assert (await Agent(model, tools=[delete], middleware=[guard]).run("go")).output == "Gone."


@pytest.mark.parametrize("wrong", [{}, {"hold": True}, {"input": "x"}, {"output": True}, {"tool": ["rm"]}])
def test_a_guard_that_asks_nobody_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"Guard\(.*(asks nobody|must be a function)"):
        Guard(**wrong)
