"""What an observer of a run is told, beside what `agentkit.chat.events` tells of a model request."""

from __future__ import annotations

from dataclasses import dataclass

from agentkit.chat.events import Event, Mended
from agentkit.chat.messages import ToolCall
from agentkit.chat.reply import Reply
from agentkit.run.state import RunState
from agentkit.tools.results import ToolResult

__all__ = ["CallFinished", "CallStarted", "Repaired", "RunEnded", "RunStarted", "TurnFinished", "TurnStarted"]


@dataclass(frozen=True, slots=True)
class RunStarted(Event):
    """A run begins."""

    state: RunState


@dataclass(frozen=True, slots=True)
class TurnStarted(Event):
    """The model is asked; ``turn`` counts from 1."""

    turn: int


@dataclass(frozen=True, slots=True)
class TurnFinished(Event):
    """The model has replied."""

    turn: int
    reply: Reply


@dataclass(frozen=True, slots=True)
class Repaired(Mended):
    """The model wrote a call of ``tool`` not quite as it must be; ``what`` says how, and what was meant is done."""

    call_id: str
    tool: str


@dataclass(frozen=True, slots=True)
class CallStarted(Event):
    """A tool is called."""

    call: ToolCall


@dataclass(frozen=True, slots=True)
class CallFinished(Event):
    """A tool has returned or failed, after ``seconds``; ``error`` is the exception if it was unexpected."""

    call: ToolCall
    result: ToolResult
    seconds: float
    error: BaseException | None = None


@dataclass(frozen=True, slots=True)
class RunEnded(Event):
    """A run has ended: ``state.status`` says how, ``error`` is what it raises if it failed."""

    state: RunState
    error: Exception | None = None
