"""What an observer of a run is told, beside what `agentkit.chat.events` tells of a model request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from agentkit.chat.events import Event, ReplyRepaired
from agentkit.chat.messages import ToolCall, UserMessage
from agentkit.chat.reply import Reply
from agentkit.run.state import RunState
from agentkit.tools.result import ToolResult

__all__ = [
    "ApprovalRequested",
    "CallDenied",
    "CallFinished",
    "CallRepaired",
    "CallStarted",
    "LimitWarning",
    "MessageAdded",
    "RunFinished",
    "RunStarted",
    "ToolChanged",
    "TurnFinished",
    "TurnStarted",
]


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
class CallRepaired(ReplyRepaired):
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
class ApprovalRequested(Event):
    """A call has to wait for a decision: ``reason`` says what for. The run pauses when all others are done."""

    call: ToolCall
    reason: str


@dataclass(frozen=True, slots=True)
class CallDenied(Event):
    """A call was refused by whoever decided about it, for ``reason``; it does not start."""

    call: ToolCall
    reason: str


@dataclass(frozen=True, slots=True)
class ToolChanged(Event):
    """A tool of a resumed run is not what it was when the state was saved."""

    tool: str
    how: Literal["changed", "removed", "added"]


@dataclass(frozen=True, slots=True)
class LimitWarning(Event):
    """Four fifths of a limit are used: ``limit`` is its name in `Limits`. Told once a run for each limit."""

    limit: str
    used: float
    most: float


@dataclass(frozen=True, slots=True)
class MessageAdded(Event):
    """A message that the user sent while the run was busy, or a complaint about the output, is in the transcript."""

    message: UserMessage


@dataclass(frozen=True, slots=True)
class RunFinished(Event):
    """A run has ended: ``state.status`` says how, ``error`` is what it raises if it failed."""

    state: RunState
    error: Exception | None = None
