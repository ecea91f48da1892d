"""What comes next. Pure: it looks at what is known and decides; the loop does it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from agentkit.chat.messages import AssistantMessage, ToolCall
from agentkit.run.limits import Limits
from agentkit.run.state import RunState, Status
from agentkit.run.transcript import open_calls

__all__ = ["AskModel", "Finish", "Pause", "RunCalls", "Step", "next_step"]


@dataclass(frozen=True, slots=True)
class AskModel:
    """Send the transcript to the model; ``closing`` names the limit after which it must answer without tools."""

    closing: str = ""


@dataclass(frozen=True, slots=True)
class RunCalls:
    """Run ``calls``; those in ``refused`` are over the limit ``why`` and get that as their result."""

    calls: tuple[ToolCall, ...]
    refused: tuple[ToolCall, ...] = ()
    why: str = ""


@dataclass(frozen=True, slots=True)
class Pause:
    """Stop until somebody outside has decided about ``calls``."""

    calls: tuple[ToolCall, ...]


@dataclass(frozen=True, slots=True)
class Finish:
    """The run is over; ``limit`` names the limit if it ended at one."""

    status: Status
    limit: str = ""


Step: TypeAlias = AskModel | RunCalls | Pause | Finish


def next_step(state: RunState, limits: Limits) -> Step:
    """The next thing to do in a run."""
    waiting = open_calls(state.messages)
    if waiting and state.closing:
        return RunCalls((), waiting, state.limit)
    if waiting:
        allowed = len(waiting) if limits.calls is None else max(0, limits.calls - state.calls)
        return RunCalls(waiting[:allowed], waiting[allowed:], _limit(limits.calls, "tool call"))
    if state.closing or (state.messages and isinstance(state.messages[-1], AssistantMessage)):
        return Finish("limited" if state.limit else "done", state.limit)
    limit = state.limit or (_limit(limits.turns, "turn") if state.turns >= limits.turns else "")
    if limit and limits.on_limit != "answer":
        return Finish("limited", limit)
    return AskModel(closing=limit)


def _limit(most: int | None, what: str) -> str:
    return f"the limit of {most} {what}{'' if most == 1 else 's'}"
