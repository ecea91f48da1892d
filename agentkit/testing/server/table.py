"""The definition of a fault, and helpers to write tables of faults."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

from agentkit.chat import Choice, Reply
from agentkit.messages import AssistantMessage
from agentkit.testing.server.wire import Wire, as_events, chunks_of, head

__all__ = ["EVENT_STREAM", "TEXT", "Fault", "Play", "Table", "events", "fine", "play_bytes"]

TEXT = "All is well: naïve 世界 🎈\u2028."
"""The text of a faulty response that can still be read in full."""

EVENT_STREAM = head(content_type="text/event-stream", connection="close")
"""The head of a stream whose end is the end of the connection."""

Play: TypeAlias = Callable[[Wire], None]


@dataclass(frozen=True, slots=True)
class Fault:
    """One way in which a server fails. In a script it takes the place of an answer, for one request.

    Attributes:
        name: Unique and stable.
        number: Its family, 1 to 56; 0 for one of your own.
        sentence: What the server does.
        play: Does it, after `Wire.request` was read. The connection is closed when it returns.
        listen: For faults before any connection: gets the bound socket, gives sockets to keep open. Such a fault lasts
            as long as the server.
    """

    name: str
    number: int
    sentence: str
    play: Play
    listen: Callable[[socket.socket], list[socket.socket]] | None = None


class Table:
    """The faults of one family, by name."""

    def __init__(self) -> None:
        self.faults: dict[str, Fault] = {}

    def add(self, number: int, name: str, sentence: str, play: Play) -> None:
        """Add a fault."""
        assert name not in self.faults  # noqa: S101 - a slip in our own table
        self.faults[name] = Fault(name, number, sentence, play)

    def plays(self, number: int) -> Callable[[Play], Play]:
        """Add the function below: its name is the fault's name, its docstring the sentence."""

        def adding(play: Play) -> Play:
            self.add(number, play.__name__, play.__doc__ or "", play)
            return play

        return adding


def play_bytes(parts: Iterable[bytes] | Callable[[], Iterable[bytes]]) -> Play:
    """Playing is sending these bytes; a function makes them anew for each request."""

    def play(wire: Wire) -> None:
        wire.pour(parts() if callable(parts) else parts)

    return play


def fine(text: str = TEXT) -> Reply:
    """An ordinary reply."""
    return Reply(choices=(Choice(message=AssistantMessage(text), finish_reason="stop"),))


def events(text: str = TEXT, *, done: bool = True) -> list[bytes]:
    """An ordinary stream, an event an item."""
    return list(as_events(chunks_of(fine(text)), done=done))
