"""Server-sent events from bytes. Pure: no clock, no network.

Follows the `HTML standard <https://html.spec.whatwg.org/multipage/server-sent-events.html>`_.

Bytes are split into lines before they are decoded: a line ends at LF, CRLF or CR and nowhere else, so a U+2028 inside
a JSON string stays where it is, and a UTF-8 sequence that spans two chunks is complete before anybody looks at it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from agentkit.errors import InvalidReply

__all__ = ["MAX_LINE", "ServerSentEvent", "SseDecoder"]

MAX_LINE = 4 * 1024 * 1024  # bytes


class ServerSentEvent(NamedTuple):
    """One event: its ``data`` (lines joined with LF) and its type, ``"message"`` when none is given."""

    data: bytes
    event: str = "message"


class SseDecoder:
    """Turns bytes, split anywhere, into events.

    Args:
        max_line: Most bytes of one line and of one event's data; more raise `InvalidReply`.
    """

    __slots__ = ("_after_cr", "_data", "_event", "_max_line", "_rest", "_size", "_started")

    def __init__(self, *, max_line: int = MAX_LINE) -> None:
        self._max_line = max_line
        self._rest = bytearray()  # the unfinished line
        self._after_cr = False
        self._started = False
        self._data: list[bytes] = []
        self._size = 0
        self._event = ""

    def feed(self, chunk: bytes) -> Iterator[ServerSentEvent]:
        """Take the next bytes and yield the events that they complete."""
        if not chunk:
            return
        if self._after_cr and chunk.startswith(b"\n"):
            chunk = chunk[1:]
        self._after_cr = chunk.endswith(b"\r")
        if not (self._rest or self._data or self._event):  # blank lines that end nothing, however many, at once
            size = len(chunk)
            chunk = chunk.lstrip(b"\r\n")
            self._started = self._started or len(chunk) < size
        for line in chunk.splitlines(keepends=True):
            complete = line[-1] in b"\r\n"
            if self._rest or not complete:
                self._rest += line
                self._limit(len(self._rest))
                if not complete:
                    return
                line = bytes(self._rest)  # noqa: PLW2901 - the line, now that it is whole
                self._rest.clear()
            self._limit(len(line))
            event = self._take(line.rstrip(b"\r\n"))
            if event is not None:
                yield event

    def finish(self) -> Iterator[ServerSentEvent]:
        """At the end of the bytes, yield the last event even if the end of its line or its blank line is missing."""
        last = bytes(self._rest)
        self._rest.clear()
        if last:
            self._take(last)
        event = self._take(b"")
        if event is not None:
            yield event

    def _take(self, line: bytes) -> ServerSentEvent | None:
        if not self._started:
            self._started = True
            line = line.removeprefix(b"\xef\xbb\xbf")
        if not line:
            data, event = b"\n".join(self._data), self._event
            self._data, self._size, self._event = [], 0, ""
            return ServerSentEvent(data, event or "message") if data else None
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._size += len(value) + 1
            self._limit(self._size)
            self._data.append(value)
        elif name == b"event":
            self._event = value.decode("utf-8", "replace")
        return None  # comments, `id`, `retry` and unknown fields carry nothing for us

    def _limit(self, size: int) -> None:
        if size > self._max_line:
            raise InvalidReply(
                f"the server sent a line of more than {self._max_line:,} bytes in its event stream; "
                "ReadLimits(max_line=...) sets the limit"
            )
