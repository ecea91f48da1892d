"""The bytes of a body: unpacked, and as server-sent events. Pure: no clock, no network.

No compression is requested, but some gateways compress anyway, and some only claim to. A body is unpacked a
little at a time, so that a bomb is noticed before it fills the memory.

Events follow the `HTML standard <https://html.spec.whatwg.org/multipage/server-sent-events.html>`_. Bytes are split
into lines before they are decoded: a line ends at LF, CRLF or CR and nowhere else, so a U+2028 inside a JSON string
stays where it is, and a UTF-8 sequence that spans two chunks is complete before anybody looks at it.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from agentkit.errors import InvalidReply

PART = 64 * 1024  # bytes unpacked at once, at most
MAX_LINE = 4 * 1024 * 1024  # bytes
_GZIP_OR_ZLIB = 47  # zlib's wbits for: either of the two, recognized by its first bytes


class BodyDecoder:
    """Unpacks one body.

    Args:
        encoding: The answer's ``content-encoding``.
        needed: Whether the answer is useless without its body; if not, a body that cannot be unpacked is left out.

    Raises:
        InvalidReply: It is compressed in a way that cannot be unpacked here; a retry would not help.
    """

    def __init__(self, encoding: str, *, needed: bool = True) -> None:
        self._unread = False
        self._packed = encoding.strip().lower() in ("gzip", "x-gzip", "deflate")
        self._zlib: Any = None
        if encoding and not self._packed:
            names = {name.strip().lower() for name in encoding.split(",")}
            self._unread = encoding.count(",") > 0 or not names <= {"", "identity"}
        if self._unread and needed:
            error = InvalidReply(
                f"the server compressed its answer ({encoding[:100]}), which was not requested and cannot be read; "
                "switch that off in the server or in the proxy before it"
            )
            error.again = False
            raise error

    def feed(self, chunk: bytes) -> Iterable[bytes]:
        """Take the next bytes and return what they unpack to, in parts.

        Raises:
            InvalidReply: They are damaged.
        """
        if self._packed and self._zlib is None and chunk:
            self._packed = chunk[:1] in (b"\x1f", b"\x78")  # otherwise the label is wrong
            self._zlib = zlib.decompressobj(_GZIP_OR_ZLIB)
        if self._packed:
            return self._unpack(chunk)
        return () if self._unread else (chunk,)

    def _unpack(self, chunk: bytes) -> Iterator[bytes]:
        while chunk:
            try:
                part = self._zlib.decompress(chunk, PART)
            except zlib.error as error:
                raise InvalidReply(f"the server's compressed answer is damaged: {error}") from None
            if part:
                yield part
            chunk = self._zlib.unconsumed_tail
            if self._zlib.eof and self._zlib.unused_data:  # another member follows
                chunk, self._zlib = self._zlib.unused_data, zlib.decompressobj(_GZIP_OR_ZLIB)


class ServerSentEvent(NamedTuple):
    """One event: its ``data`` (lines joined with LF) and its type, ``"message"`` by default."""

    data: bytes
    event: str = "message"


class SseDecoder:
    """Turns bytes, split anywhere, into events.

    Args:
        max_line: Maximum size in bytes of one line and of one event's data; more raises `InvalidReply`.
    """

    __slots__ = ("_after_cr", "_data", "_error", "_event", "_max_line", "_rest", "_size", "_started")

    def __init__(self, *, max_line: int = MAX_LINE) -> None:
        self._max_line = max_line
        self._rest = bytearray()  # the unfinished line
        self._error: InvalidReply | None = None  # raised once the events before it have been returned
        self._after_cr = False
        self._started = False
        self._data: list[bytes] = []
        self._size = 0
        self._event = ""

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """Take the next bytes and return the events that they complete."""
        if self._error is not None:
            raise self._error
        events: list[ServerSentEvent] = []
        if self._after_cr and chunk.startswith(b"\n"):
            chunk = chunk[1:]
        self._after_cr = chunk.endswith(b"\r")
        if not (self._rest or self._data or self._event):  # blank lines that end nothing, however many, at once
            size = len(chunk)
            chunk = chunk.lstrip(b"\r\n")
            self._started = self._started or len(chunk) < size
        try:
            for line in chunk.splitlines(keepends=True):
                complete = line[-1] in b"\r\n"
                if self._rest or not complete:
                    self._rest += line
                    self._check_size(len(self._rest))
                    if not complete:
                        break
                    line = bytes(self._rest)  # noqa: PLW2901 - the line, now that it is whole
                    self._rest.clear()
                if line := line.rstrip(b"\r\n"):
                    self._take(line)
                else:
                    events += self._end_event()
        except InvalidReply as error:
            self._error = error
            if not events:
                raise
        return events

    def finish(self) -> list[ServerSentEvent]:
        """At the end of the bytes, return the last event even if the end of its line or its blank line is missing."""
        if self._error is not None:
            raise self._error
        if self._rest:
            self._take(bytes(self._rest))
            self._rest.clear()
        return self._end_event()

    def _take(self, line: bytes) -> None:
        if not self._started:
            self._started = True
            line = line.removeprefix(b"\xef\xbb\xbf")
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))
            self._size += len(value) + 1
            if self._size > self._max_line:
                self._check_size(self._size)
        elif name == b"event":
            self._event = value.removeprefix(b" ").decode("utf-8", "replace")
        elif len(line) > self._max_line:  # comments, `id`, `retry` and unknown fields carry nothing for us
            self._check_size(len(line))

    def _end_event(self) -> list[ServerSentEvent]:
        data, event = b"\n".join(self._data), self._event or "message"
        self._data, self._size, self._event = [], 0, ""
        return [ServerSentEvent(data, event)] if data else []

    def _check_size(self, size: int) -> None:
        if size > self._max_line:
            raise InvalidReply(
                f"the server sent a line of more than {self._max_line:,} bytes in its event stream; "
                "ReadLimits(max_line=...) sets the limit"
            )
