"""Server-sent events from bytes. Pure: no clock, no network.

Follows the `HTML standard <https://html.spec.whatwg.org/multipage/server-sent-events.html>`_.

Bytes are split before they are decoded: a line ends at LF, CRLF or CR and nowhere else, so a U+2028 inside a JSON
string stays where it is, and a UTF-8 sequence cut by a chunk's border is whole again before anybody looks at it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from agentkit.errors import InvalidReply

__all__ = ["MAX_LINE", "ServerSentEvent", "SseDecoder"]

MAX_LINE = 4 * 1024 * 1024  # bytes


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """One event: its ``data`` (lines joined with LF) and its type, ``"message"`` when none is given."""

    data: bytes
    event: str = "message"


class SseDecoder:
    """Turns bytes, cut anywhere, into events.

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
        """Take the next bytes and give the events that they complete."""
        for line in self._lines(chunk):
            event = self._take(line)
            if event is not None:
                yield event

    def finish(self) -> Iterator[ServerSentEvent]:
        """At the end of the bytes: an event whose last line or blank line is missing is given all the same."""
        last = bytes(self._rest)
        self._rest.clear()
        if last:
            self._take(self._without_bom(last))
        event = self._take(b"")
        if event is not None:
            yield event

    def _lines(self, chunk: bytes) -> Iterator[bytes]:
        if self._after_cr and chunk:
            self._after_cr = False
            if chunk[:1] == b"\n":
                chunk = chunk[1:]
        start = 0
        while (end := _line_end(chunk, start)) >= 0:
            line = chunk[start:end]
            if self._rest:
                self._rest += line
                line = bytes(self._rest)
                self._rest.clear()
            self._limit(len(line))
            start = end + 1
            if chunk[end] == 0x0D:
                if start == len(chunk):
                    self._after_cr = True
                elif chunk[start] == 0x0A:
                    start += 1
            yield self._without_bom(line)
        self._rest += chunk[start:]
        self._limit(len(self._rest))

    def _without_bom(self, line: bytes) -> bytes:
        if self._started:
            return line
        self._started = True
        return line.removeprefix(b"\xef\xbb\xbf")

    def _take(self, line: bytes) -> ServerSentEvent | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._size += len(value) + 1
            self._limit(self._size)
            self._data.append(value)
        elif name == b"event":
            self._event = value.decode("utf-8", "replace")
        return None  # comments, `id`, `retry` and unknown fields carry nothing for us

    def _dispatch(self) -> ServerSentEvent | None:
        data, event = b"\n".join(self._data), self._event
        self._data, self._size, self._event = [], 0, ""
        return ServerSentEvent(data, event or "message") if data else None

    def _limit(self, size: int) -> None:
        if size > self._max_line:
            raise InvalidReply(
                f"the server sent a line of more than {self._max_line:,} bytes in its event stream; "
                "Reading(max_line=...) sets the limit"
            )


def _line_end(chunk: bytes, start: int) -> int:
    lf = chunk.find(b"\n", start)
    cr = chunk.find(b"\r", start, lf if lf >= 0 else len(chunk))
    return cr if cr >= 0 else lf
