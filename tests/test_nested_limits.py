"""Trees of agents of every shape: what each run counts is what it did itself and what the runs inside its calls did."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit import Agent, CallStarted, Limits, Reply, RunFinished, RunResult, RunState, Tool, Usage, tool
from agentkit.chat import ChatRequest, Choice
from agentkit.events import Event, TurnFinished
from agentkit.messages import AssistantMessage, ToolCall
from agentkit.testing import FunctionModel


@dataclass(frozen=True)
class Node:
    """An agent: in each of its turns it calls a plain tool (None) and other agents, then it answers."""

    turns: tuple[tuple[Node | None, ...], ...]
    tokens: int


def nodes(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    calls = st.lists(st.one_of(st.none(), inner), min_size=1, max_size=3).map(tuple)
    return st.builds(Node, st.lists(calls, max_size=3).map(tuple), st.integers(1, 50))


NODES = nodes(nodes(nodes(st.nothing())))
LIMITS = st.builds(
    Limits,
    calls=st.one_of(st.none(), st.integers(0, 12)),
    tokens=st.one_of(st.just(10_000), st.integers(1, 300)),
    on_limit=st.sampled_from(["answer", "stop"]),
)


@tool
async def act() -> str:
    """Do something."""
    await anyio.lowlevel.checkpoint()
    return "done"


def agent_of(node: Node, name: str, limits: Limits | None = None) -> Agent:
    tools: list[Tool[Any]] = [act]
    replies: list[tuple[ToolCall, ...]] = []
    for turn, calls in enumerate(node.turns):
        made: list[ToolCall] = []
        for at, child in enumerate(calls):
            inner = f"{name}_{turn}{at}"
            if child is not None:
                tools.append(agent_of(child, inner).as_tool(description="Helps."))
            made.append(ToolCall(inner, "act" if child is None else inner, "{}" if child is None else '{"prompt":"?"}'))
        replies.append(tuple(made))

    def answer(request: ChatRequest) -> Reply:
        turn = sum(isinstance(each, AssistantMessage) for each in request.messages)
        calls = replies[turn] if turn < len(replies) and request.settings.tool_choice != "none" else ()
        message = AssistantMessage(None, calls) if calls else AssistantMessage("Fine.")
        usage = Usage(requests=1, prompt_tokens=node.tokens, total_tokens=node.tokens)
        return Reply(choices=(Choice(message=message, finish_reason="tool_calls" if calls else "stop"),), usage=usage)

    return Agent(FunctionModel(answer), tools=tools, name=name, limits=limits)


async def run(node: Node, limits: Limits) -> tuple[RunResult[str], list[Event]]:
    seen: list[Event] = []
    return await agent_of(node, "a", limits).run("go", run_id="r", on_event=seen.append), seen


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@given(node=NODES, limits=LIMITS)
def test_what_nested_runs_use_adds_up_at_every_level_and_stays_within_the_limits(
    backend: str, node: Node, limits: Limits
) -> None:
    result, seen = anyio.run(run, node, limits, backend=backend)
    ended: dict[str, RunState] = {each.state.run_id: each.state for each in seen if isinstance(each, RunFinished)}
    started, tokens = Counter[str](), Counter[str]()
    for each in seen:
        assert each.origin is not None
        if isinstance(each, CallStarted):
            started[each.origin.run_id] += 1
        elif isinstance(each, TurnFinished):
            tokens[each.origin.run_id] += each.reply.usage.total_tokens
    for run_id, state in ended.items():
        inside = [other for other in ended if other == run_id or other.startswith(f"{run_id}:call:")]
        assert state.calls == sum(started[other] for other in inside)
        assert state.usage.total_tokens == sum(tokens[other] for other in inside)
    assert limits.calls is None or result.state.calls <= limits.calls


@given(node=NODES)
def test_without_limits_every_agent_of_the_tree_runs(node: Node) -> None:
    def size(each: Node | None) -> tuple[int, int]:
        """The calls in a tree, and its tokens."""
        inner = [size(child) for turn in each.turns for child in turn] if each else []
        own = (len(each.turns) + 1) * each.tokens if each else 0
        return len(inner) + sum(calls for calls, _ in inner), own + sum(spent for _, spent in inner)

    result, _ = anyio.run(run, node, Limits(repeated_turns=None))
    assert (result.state.calls, result.usage.total_tokens) == size(node)
