"""What an observer of a model request is told while it happens.

`Emit` is a plain function that must return at once: nothing in a run ever waits for an observer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

__all__ = [
    "AudioDelta",
    "CallDelta",
    "ChoiceDelta",
    "Emit",
    "Event",
    "Origin",
    "ReasoningDelta",
    "RefusalDelta",
    "ReplyRepaired",
    "RequestAdapted",
    "Retrying",
    "TextDelta",
    "ignore_event",
]


class Origin(NamedTuple):
    """Where an event comes from.

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
    """The next piece of the answer's text."""

    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta(Event):
    """The next piece of what the model thinks before it answers, from servers that show it."""

    text: str


@dataclass(frozen=True, slots=True)
class RefusalDelta(Event):
    """The next piece of why the model declines to answer."""

    text: str


@dataclass(frozen=True, slots=True)
class AudioDelta(Event):
    """The next piece of a spoken answer: sound in the format that was asked for, what is said, or both."""

    data: bytes
    transcript: str


@dataclass(frozen=True, slots=True)
class CallDelta(Event):
    """The next piece of a call's arguments; ``index`` is the call's place in the reply, counted from 0."""

    index: int
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ChoiceDelta(Event):
    """A piece of an answer other than the first, of a request with ``n`` above 1.

    The pieces of the first answer come as they are, so that whoever wants one answer need not look at this.

    Attributes:
        choice: Which answer: its place in ``reply.choices`` if none is missing, counted from 0.
        delta: The piece.
    """

    choice: int
    delta: Event


@dataclass(frozen=True, slots=True)
class Retrying(Event):
    """A request failed and is sent again after ``wait`` seconds; ``attempt`` counts from 1.

    Pieces emitted for the failed attempt are void.
    """

    attempt: int
    wait: float
    reason: str


@dataclass(frozen=True, slots=True)
class ReplyRepaired(Event):
    """The reply bent the protocol; ``what`` says how, and the reply's value is already put right."""

    what: str


@dataclass(frozen=True, slots=True)
class RequestAdapted(Event):
    """The server refused the request as it was; ``what`` says how it is sent now, and the client remembers it.

    Pieces emitted before are void.
    """

    what: str


Emit: TypeAlias = Callable[[Event], None]


def ignore_event(event: Event) -> None:
    """The observer of a run that nobody watches."""
