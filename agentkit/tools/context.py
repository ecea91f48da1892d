"""What a tool may know about the run that calls it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from agentkit.chat.events import Emit, Event

__all__ = ["Progress", "ToolContext"]

Deps = TypeVar("Deps")


@dataclass(frozen=True, slots=True)
class Progress(Event):
    """A running call reports how far it is: ``fraction`` from 0 to 1, or None when it cannot know."""

    call_id: str
    tool: str
    fraction: float | None
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolContext(Generic[Deps]):
    """Given to a tool that declares a parameter of this type; the model never sees that parameter.

    Attributes:
        deps: What the caller passed as ``deps=`` to the run.
        run_id: The run.
        turn: The turn that made the call, counted from 1.
        call_id: The call's id in the transcript.
        tool: The tool's name.
        idempotency_key: The same for every try of this call, also after a resume: pass it to what must happen once.
        emit: Tells observers of the run something; returns at once.
    """

    deps: Deps
    run_id: str
    turn: int
    call_id: str
    tool: str
    idempotency_key: str
    emit: Emit

    def progress(self, fraction: float | None = None, message: str = "") -> None:
        """Tell observers how far the call is: ``fraction`` from 0 to 1, or None when it cannot be known."""
        self.emit(Progress(self.call_id, self.tool, fraction, message))
