"""The events of a model request, emitted while it happens.

`Emit` is a plain function that must return at once: nothing in a run ever waits for an observer. A delta holds only
what is new; joined, the deltas of a reply are its text, its reasoning and its calls.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias


class Origin(NamedTuple):
    """The origin of an event.

    Attributes:
        run_id: The run; empty for a request of a client alone.
        agent: The name of the agent whose turn it is.
        path: The names of the tool calls that the run is nested in, outermost first; empty for a run of its own.
        turn: The turn, counted from 1; 0 before the first.
        time: Seconds since 1970.
    """

    run_id: str
    agent: str
    path: tuple[str, ...]
    turn: int
    time: float


@dataclass(frozen=True, slots=True)
class Event:
    """Base of every event.

    Attributes:
        origin: Where it comes from, set when it leaves the run; None for events of a client alone.
    """

    origin: Origin | None = field(default=None, init=False, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class TextDelta(Event):
    """The next part of the answer's text."""

    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta(Event):
    """The next part of the model's reasoning, from servers that show it."""

    text: str


@dataclass(frozen=True, slots=True)
class RefusalDelta(Event):
    """The next part of why the model declines to answer."""

    text: str


@dataclass(frozen=True, slots=True)
class AudioDelta(Event):
    """The next part of a spoken answer: sound in the requested format, its transcript, or both."""

    data: bytes
    transcript: str


@dataclass(frozen=True, slots=True)
class CallDelta(Event):
    """The next part of a call. The first delta of a call has its name; its arguments follow as the model writes them.

    Attributes:
        index: The call's place in the reply, counted from 0.
        call_id: The call's id, the same as in the finished reply.
        name: The name of the tool, at most 64 characters, in the call's first delta; empty in the others.
        arguments: The next characters of its arguments, or of a custom tool's input. Only the finished reply says
            whether they are valid: see `ToolCall.malformed`.
    """

    index: int
    call_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ChoiceDelta(Event):
    """A delta of an answer other than the first, of a request with ``n`` above 1.

    The deltas of the first answer are not wrapped, so a program that wants one answer can ignore this event.

    Attributes:
        choice: The place of the answer in ``reply.choices`` if none is missing, counted from 0.
        delta: The delta.
    """

    choice: int
    delta: Event


@dataclass(frozen=True, slots=True)
class DeltasDiscarded(Event):
    """The deltas of the reply so far are discarded: take back what was shown of them.

    Its subclasses say why.
    """


@dataclass(frozen=True, slots=True)
class Retrying(DeltasDiscarded):
    """A request failed and is sent again after ``wait`` seconds; ``attempt`` counts from 1."""

    attempt: int
    wait: float
    reason: str


@dataclass(frozen=True, slots=True)
class ReplyRepaired(Event):
    """The reply broke the protocol and was repaired; ``what`` says how."""

    what: str


@dataclass(frozen=True, slots=True)
class RequestAdapted(DeltasDiscarded):
    """The server refused the request as it was; ``what`` says how it is sent now, and the client remembers it."""

    what: str


Emit: TypeAlias = Callable[[Event], None]


def ignore_event(event: Event) -> None:
    """Do nothing with an event."""
