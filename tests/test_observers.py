from __future__ import annotations

from typing import Any

import anyio
import pytest

from agentkit import Agent, Progress, Reply, ToolContext, tool
from agentkit.chat import ChatRequest
from agentkit.chat.events import CallDelta, Emit, Event
from agentkit.chat.messages import AssistantMessage, ToolCall, ToolMessage
from agentkit.chat.reply import Choice
from agentkit.middleware import Eager
from agentkit.run.events import RunFinished
from agentkit.testing import ScriptedModel, call
from agentkit.tools.context import Remaining

pytestmark = pytest.mark.anyio


@tool(read_only=True)
async def later(context: ToolContext[list[Any]]) -> str:
    context.progress(0.5)
    context.deps.append(context.remaining)
    return "done"


@tool
def in_a_thread(context: ToolContext[list[Any]]) -> str:
    context.progress(0.5)
    context.deps.append(context.remaining)
    return "done"


class Once:
    """Calls `later` once, its arguments streamed; then answers. A reply takes its time, so that calls can start."""

    asked = 0

    async def reply(self, request: ChatRequest, emit: Emit) -> Reply:
        self.asked += 1
        if self.asked == 2:
            return Reply(choices=(Choice(message=AssistantMessage("ok"), finish_reason="stop"),))
        emit(CallDelta(0, "c1", "later", "{}"))
        await anyio.wait_all_tasks_blocked()
        calls = (ToolCall("c1", "later", "{}"),)
        return Reply(choices=(Choice(message=AssistantMessage(None, calls), finish_reason="tool_calls"),))


@pytest.mark.parametrize("kind", ["async", "thread", "early"])
async def test_an_observer_that_raises_in_the_middle_of_a_call_ends_the_run_when_the_call_is_done(kind: str) -> None:
    ended: list[RunFinished] = []
    worked: list[Any] = []

    def observe(event: Event) -> None:
        if isinstance(event, RunFinished):
            ended.append(event)
        if isinstance(event, Progress):
            raise KeyError("observer")

    model: Any = Once() if kind == "early" else ScriptedModel([call("later" if kind == "async" else "in_a_thread")])
    agent = Agent(model, tools=[later, in_a_thread], middleware=[Eager()] * (kind == "early"), deps_type=list)
    with pytest.raises(KeyError, match="observer"):
        await agent.run("go", on_event=observe, deps=worked)
    assert len(worked) == 1
    (end,) = ended
    assert [each.text for each in end.state.messages if isinstance(each, ToolMessage)] == ["done"]


@pytest.mark.parametrize("eager", [False, True])
async def test_what_remains_is_the_same_for_a_call_that_starts_early(eager: bool) -> None:
    known: list[Remaining] = []
    await Agent(Once(), tools=[later], middleware=[Eager()] * eager, deps_type=list).run("go", deps=known)
    assert [(each.turns, each.calls) for each in known] == [(49, 499)]
