"""Ending a run from outside: at every await there is, the state is valid, nothing is left and the run can go on."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from agentkit import Agent, Event, Limits, RunState, tool
from agentkit.chat.events import Emit
from agentkit.chat.messages import ToolMessage
from agentkit.chat.reply import Reply
from agentkit.chat.request import ChatRequest
from agentkit.errors import StateError
from agentkit.run.events import CallStarted, MessageAdded, RunFinished
from agentkit.run.transcript import check
from agentkit.sessions import MemorySessions
from agentkit.testing import Answer, ScriptedModel, call

SCRIPT: list[Answer] = [
    [call("step", id="a1", name="a"), call("step", id="b1", name="b"), call("alone", id="c1")],
    [call("step", id="a2", name="a"), call("stream_of", id="d2")],
    "done",
]


class Unhurried:
    """A model that awaits something before and after it answers."""

    def __init__(self, script: list[Answer]) -> None:
        self.inner = ScriptedModel(script)

    async def reply(self, request: ChatRequest, emit: Emit) -> Reply:
        await anyio.lowlevel.checkpoint()
        reply = await self.inner.reply(request, emit)
        await anyio.lowlevel.checkpoint()
        return reply


def agent_of(script: list[Answer], ledger: Counter[str]) -> Agent:
    @tool
    async def step(name: str) -> str:
        """Take some awaits, then do it."""
        for _ in range(3):
            await anyio.lowlevel.checkpoint()
        ledger[name] += 1
        await anyio.lowlevel.checkpoint()
        return name

    @tool(sequential=True)
    async def alone() -> str:
        """Run alone."""
        await anyio.lowlevel.checkpoint()
        ledger["alone"] += 1
        return "alone"

    @tool
    async def stream_of() -> AsyncIterator[str]:
        """Report progress."""
        yield "half"
        await anyio.lowlevel.checkpoint()
        ledger["stream"] += 1
        yield "all"

    return Agent(Unhurried(script), tools=[step, alone, stream_of])


def later(state: RunState) -> list[Answer]:
    """What the model says from here on."""
    return SCRIPT[state.turns :]


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["plain", "session"])
async def test_a_run_may_be_cancelled_at_every_await(kind: str) -> None:
    finished = 0
    endings: set[str] = set()
    for awaits in range(400):
        ledger: Counter[str] = Counter()
        session = MemorySessions()["s"]
        agent = agent_of(SCRIPT, ledger)
        stream = agent.stream("go", session=session) if kind == "session" else agent.stream("go")
        async with anyio.create_task_group() as tasks, stream as events:

            async def cancel(events: object = stream, awaits: int = awaits) -> None:
                for _ in range(awaits):
                    await anyio.lowlevel.checkpoint()
                stream.cancel()  # noqa: B023 - it ends before the next round

            tasks.start_soon(cancel)
            await events.result()
            tasks.cancel_scope.cancel()
        state = stream.state
        endings.add(state.status)
        assert state.status in ("cancelled", "done")
        assert check(state.messages) == [], f"after {awaits} awaits"
        done = [each.text for each in state.messages if isinstance(each, ToolMessage) and "Error" not in each.text]
        assert ledger.total() >= len(done), "nothing is said to be done that is not"
        if state.status == "cancelled" and state.messages:
            apart = RunState.load(state.to_json())
            apart.revision = 0
            again = await agent_of(later(state), Counter()).run(resume=apart)
            assert (again.status, again.output, check(again.messages)) == ("done", "done", [])
            if kind == "session" and state.revision:  # before that, not even the question was stored
                kept = await agent_of(later(state), Counter()).run(resume=True, session=session)
                assert (kept.status, check(kept.messages)) == ("done", [])
        finished += state.status == "done"
        if finished == 2:
            break
    assert endings == {"cancelled", "done"}


@pytest.mark.anyio
async def test_a_cancelled_run_tells_its_end_and_gives_its_result() -> None:
    @tool(timeout=None)
    async def hang() -> None:
        await anyio.sleep_forever()

    told: list[Event] = []
    agent = Agent(ScriptedModel([[call("hang", id="h")], "never"]), tools=[hang])
    with anyio.fail_after(5):
        async with agent.stream("go") as events:
            async for event in events:
                told.append(event)
                if isinstance(event, CallStarted):
                    events.cancel()
            result = await events.result()
    assert (result.status, check(result.messages)) == ("cancelled", [])
    assert [each.state.status for each in told if isinstance(each, RunFinished)] == ["cancelled"]
    assert "not finished: the run was interrupted" in str(result.messages[-1])


@pytest.mark.anyio
async def test_a_paused_run_that_is_cancelled_before_it_goes_on_has_a_valid_state_and_leaves_the_given_one() -> None:
    @tool(requires_approval=True)
    def send() -> str:
        raise AssertionError("nobody has approved this")

    agent = Agent(ScriptedModel([[call("send", id="s")]]), tools=[send])
    paused = (await agent.run("go")).state
    async with agent.stream(resume=paused) as events:
        events.cancel()
        result = await events.result()
    assert (result.status, check(result.messages)) == ("cancelled", [])
    assert "waiting for a decision" in str(result.messages[-1])
    assert [each.id for each in paused.pending] == ["s"]


@pytest.mark.anyio
async def test_cancelling_a_run_that_has_ended_changes_nothing() -> None:
    async with Agent(ScriptedModel(["hello"])).stream("hi") as events:
        result = await events.result()
        events.cancel()
        assert (await events.result()).status == result.status == "done"


@pytest.mark.anyio
async def test_leaving_a_run_early_cancels_it_and_its_state_can_be_gone_on_with() -> None:
    @tool(timeout=None)
    async def hang() -> None:
        await anyio.sleep_forever()

    async with Agent(ScriptedModel([[call("hang")]]), tools=[hang]).stream("go") as events:
        async for event in events:
            if isinstance(event, CallStarted):
                break
    assert (events.state.status, check(events.state.messages)) == ("cancelled", [])
    assert (await Agent(ScriptedModel(["after"]), tools=[hang]).run(resume=events.state)).output == "after"


@pytest.mark.anyio
async def test_a_deadline_of_the_caller_leaves_a_valid_state() -> None:
    @tool(timeout=None)
    async def hang() -> None:
        await anyio.sleep_forever()

    ended: list[Event] = []
    with anyio.move_on_after(0.1) as scope:
        await Agent(ScriptedModel([[call("hang")]]), tools=[hang]).run("go", on_event=ended.append)
    assert scope.cancelled_caught
    last = ended[-1]
    assert isinstance(last, RunFinished)
    assert (last.state.status, check(last.state.messages)) == ("cancelled", [])


CTRL_C = """
import anyio
from agentkit import Agent, tool
from agentkit.errors import Interrupted
from agentkit.run.transcript import check
from agentkit.testing import ScriptedModel, call

@tool(timeout=None)
async def hang() -> None:
    print("hanging", flush=True)
    await anyio.sleep_forever()

try:
    Agent(ScriptedModel([[call("hang")], "never"]), tools=[hang]).run_sync("go")
except Interrupted as error:
    state = error.state
    print(state.status, check(state.messages), isinstance(error, KeyboardInterrupt), flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent in another way there")
def test_ctrl_c_ends_a_run_sync_at_once_with_its_state(tmp_path: Path) -> None:
    script = tmp_path / "hang.py"
    script.write_text(CTRL_C)
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "hanging\n"
        started = time.monotonic()
        os.kill(process.pid, signal.SIGINT)
        assert process.stdout.readline() == "cancelled [] True\n"
        assert process.wait(10) == 0
        assert time.monotonic() - started < 5


# Saying something to a run.


@pytest.mark.anyio
async def test_what_is_said_to_a_running_run_is_read_in_the_next_turn_and_never_between_a_call_and_its_result() -> None:
    model = ScriptedModel([[call("look", id="a"), call("look", id="b")], "done"])
    said = anyio.Event()

    @tool
    async def look() -> str:
        """Look."""
        await said.wait()
        return "nothing"

    told: list[Event] = []
    async with Agent(model, tools=[look]).stream("go") as events:
        async for event in events:
            told.append(event)
            if isinstance(event, CallStarted) and event.call.id == "a":
                events.send("hurry up")
                said.set()
        result = await events.result()
    roles = [each.role for each in result.messages]
    assert roles == ["user", "assistant", "tool", "tool", "user", "assistant"]
    assert [each.message.text for each in told if isinstance(each, MessageAdded)] == ["hurry up"]
    assert str(model.requests[1].messages[-1]).count("hurry up") == 1


@pytest.mark.anyio
async def test_what_is_said_while_the_model_gives_its_answer_gets_an_answer_too() -> None:
    class Slow(Unhurried):
        async def reply(self, request: ChatRequest, emit: Emit) -> Reply:
            reply = await super().reply(request, emit)
            if len(self.inner.requests) == 1:
                events.send("and?")
            return reply

    async with Agent(Slow(["first", "second"])).stream("go") as events:
        result = await events.result()
    assert (result.status, [each.role for each in result.messages]) == ("done", ["user", "assistant"] * 2)


@pytest.mark.anyio
async def test_a_run_that_has_ended_reads_no_more_and_says_so() -> None:
    async with Agent(ScriptedModel(["bye"])).stream("go") as events:
        await events.result()
        with pytest.raises(StateError, match="the run has ended"):
            events.send("wait")


@pytest.mark.anyio
async def test_what_was_said_to_a_cancelled_run_is_read_when_it_goes_on() -> None:
    @tool(timeout=None)
    async def hang() -> None:
        await anyio.sleep_forever()

    async with Agent(ScriptedModel([[call("hang")]]), tools=[hang]).stream("go") as events:
        async for event in events:
            if isinstance(event, CallStarted):
                events.send("never mind")
                events.cancel()
        state = (await events.result()).state
    assert [each.text for each in state.inbox] == ["never mind"]
    result = await Agent(ScriptedModel(["all right"]), tools=[hang]).run(resume=RunState.load(state.to_json()))
    assert [each.role for each in result.messages] == ["user", "assistant", "tool", "user", "assistant"]
    assert result.state.inbox == []


@pytest.mark.anyio
async def test_something_said_to_a_run_at_its_limit_is_answered_without_tools() -> None:
    class Slow(Unhurried):
        async def reply(self, request: ChatRequest, emit: Emit) -> Reply:
            reply = await super().reply(request, emit)
            if len(self.inner.requests) == 1:
                events.send("more")
            return reply

    async with Agent(Slow(["short answer", "all I can say"]), limits=Limits(turns=1)).stream("go") as events:
        result = await events.result()
    assert (result.status, result.limit, result.output) == ("limited", "the limit of 1 turn", "all I can say")


@pytest.mark.anyio
async def test_what_is_said_to_a_state_without_messages_is_the_question() -> None:
    state = RunState(messages=[])
    state.add_message("hello?")
    result = await Agent(ScriptedModel(["hello"])).run(resume=state)
    assert [each.role for each in result.messages] == ["user", "assistant"]
