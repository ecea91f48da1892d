"""Which tools the model is offered in a turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentkit.chat.events import nobody
from agentkit.chat.messages import AssistantMessage, Message
from agentkit.run.artifacts import offered_tools
from agentkit.run.spec import RunSpec
from agentkit.run.state import RunState
from agentkit.run.transcript import open_calls
from agentkit.tools.context import Remaining, ToolContext
from agentkit.tools.tool import Tool

__all__ = ["offer"]


@dataclass(frozen=True, slots=True)
class _View:
    transcript: tuple[Message, ...]
    artifacts: Mapping[str, str]
    remaining: Remaining


def offer(spec: RunSpec, state: RunState) -> Mapping[str, Tool]:
    """The tools of the turn: those without a condition, and those whose condition is true.

    While the calls of a reply are open, conditions see what they saw when the model was asked, so that one on the
    transcript holds for the whole turn.
    """
    tools = offered_tools(spec.tools, state.artifacts)
    if all(each.condition is None for each in tools.values()):
        return tools
    asked = _as_the_model_saw_it(state.messages)
    turn = state.turns + (len(asked) == len(state.messages))
    turns, calls = spec.limits.turns, spec.limits.calls
    left_calls = None if calls is None else max(0, calls - state.calls)
    context: ToolContext[Any] = ToolContext(
        deps=spec.deps,
        run_id=state.run_id,
        turn=turn,
        call_id="",
        tool="",
        idempotency_key="",
        emit=nobody,
        view=_View(asked, state.artifacts, Remaining(turns=max(0, turns - turn + 1), calls=left_calls)),
    )
    return {name: each for name, each in tools.items() if each.condition is None or each.condition(context)}


def _as_the_model_saw_it(messages: Sequence[Message]) -> tuple[Message, ...]:
    if not open_calls(messages):
        return tuple(messages)
    last = max(place for place, each in enumerate(messages) if isinstance(each, AssistantMessage))
    return tuple(messages[:last])
