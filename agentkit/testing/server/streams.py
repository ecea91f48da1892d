"""Faults 29 to 44: the bytes of event streams. They are streams whatever was asked for."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from typing import Any

from agentkit.testing.server.table import EVENT_STREAM, Table, events, play_bytes
from agentkit.testing.server.wire import Wire, as_chunks, as_events, head

__all__ = ["TABLE", "delta"]

TABLE = Table()
_DONE = b"data: [DONE]\n\n"


def delta(text: str = "", *, reason: str | None = None, **members: Any) -> dict[str, Any]:
    """A chunk."""
    return {
        "id": "r1",
        "choices": [{"index": 0, "delta": {"content": text, **members}, "finish_reason": reason}],
    }


def _event(value: Any) -> bytes:
    return next(as_events([value]))


def _stream(number: int, name: str, sentence: str, *parts: bytes) -> None:
    TABLE.add(number, name, sentence, play_bytes([EVENT_STREAM, *parts]))


@TABLE.plays(29)
def single_bytes(wire: Wire) -> None:
    """Each byte is an HTTP chunk of its own, even inside characters and CRLF."""
    body = b"".join(events()).replace(b"\n", b"\r\n")
    wire.send(head(content_type="text/event-stream", transfer_encoding="chunked", connection="close"))
    wire.send(b"".join(as_chunks(bytes([byte]) for byte in body)))


def _mixed_ends() -> Iterator[bytes]:
    for event, end in zip(events(), itertools.cycle((b"\r", b"\n", b"\r\n")), strict=False):
        yield event.replace(b"\n", end)


_stream(30, "line_ends_mixed", "Lines end in CR, LF and CRLF in turn.", *_mixed_ends())
_stream(31, "byte_order_mark", "The stream begins with a byte order mark.", b"\xef\xbb\xbf", *events())

_NOISE = b": ping\n\nevent: ping\ndata:\n\nevent: ping\ndata: {}\n\nid: 7\nretry: 10\nnonsense\nfoo: bar\n\n"
_stream(
    32, "noise", "Comments, pings, ids and unknown fields come between the events.", *(_NOISE + e for e in events())
)


def _many_lines() -> Iterator[bytes]:
    for event in events():
        data = event.removeprefix(b"data: ").strip()
        if data.startswith(b"{"):
            data = json.dumps(json.loads(data), indent=1).encode()
        yield b"".join(b"data: " + line + b"\n" for line in data.split(b"\n")) + b"\n"


_stream(33, "data_many_lines", "The data of an event has many lines.", *_many_lines())
_stream(34, "no_space", "No space follows `data:`.", *(event.replace(b"data: ", b"data:") for event in events()))
_stream(35, "no_done", "The stream ends after its finish_reason, without [DONE].", *events(done=False))
_stream(35, "done_unended", "The last line, [DONE], is not terminated.", *events(done=False), b"data: [DONE]")
_stream(36, "data_after_done", "More text follows [DONE].", *events(), _event(delta("More!")), _DONE)

_PARTIAL = _event(delta("It is "))
_stream(37, "eof_at_once", "A stream without a single byte.")
_stream(
    37, "eof_after_role", "The stream ends after its first event, before any text.", _event(delta(role="assistant"))
)
_stream(37, "eof_after_text", "The stream ends after some text.", _PARTIAL)
_stream(
    37,
    "eof_in_event",
    "The stream ends in the middle of an event.",
    _PARTIAL,
    _event(delta("over", reason="stop"))[:-40],
)


def _paid(arguments: str = '{"amount": 10}') -> bytes:
    function = {"name": "pay", "arguments": arguments}
    return _event(delta(tool_calls=[{"index": 0, "id": "call_1", "type": "function", "function": function}]))


_stream(37, "eof_after_call", "The stream ends after a call that looks whole, without a finish_reason.", _paid())
_stream(37, "eof_after_empty_reason", "The same, with an empty finish_reason.", _paid(), _event(delta(reason="")))


@TABLE.plays(37)
def reset_after_text(wire: Wire) -> None:
    """The connection is reset after some text."""
    wire.send(EVENT_STREAM, _PARTIAL)
    wire.wait(0.05)  # so that the text is not lost to the reset
    wire.reset()


@TABLE.plays(38)
def line_50_mb(wire: Wire) -> None:
    """One line is 50 MB long."""
    wire.send(EVENT_STREAM, b'data: {"choices": [{"delta": {"content": "', *_times(50, b"x" * 1_000_000))
    wire.send(b'"}}]}\n\n', _DONE)


@TABLE.plays(38)
def event_50_mb(wire: Wire) -> None:
    """One event is 50 MB long, in lines of 1 MB."""
    wire.send(EVENT_STREAM, *_times(50, b"data: " + b" " * 1_000_000 + b"\n"), b"data: {}\n\n", _DONE)


def _times(count: int, part: bytes) -> Iterable[bytes]:
    return itertools.repeat(part, count)


@TABLE.plays(39)
def endless(wire: Wire) -> None:
    """Text without end, as fast as it can be sent."""
    wire.pour(_for_ever(_event(delta("and so on " * 1000)) * 4))


@TABLE.plays(39)
def endless_comments(wire: Wire) -> None:
    """Comments without end, as fast as they can be sent."""
    wire.pour(_for_ever((b": still here" * 1000 + b"\n\n") * 4))


@TABLE.plays(39)
def endless_empty(wire: Wire) -> None:
    """Events without a choice, without end, as fast as they can be sent."""
    wire.pour(_for_ever(_event({"choices": [], "pad": "x" * 10_000}) * 8))


def _for_ever(part: bytes) -> Iterator[bytes]:
    return itertools.chain([EVENT_STREAM], itertools.repeat(part))


@TABLE.plays(40)
def slow_loris(wire: Wire) -> None:
    """A comment every 20 ms, and nothing else."""
    wire.send(EVENT_STREAM)
    while True:
        wire.send(b": wait\n\n")
        wire.wait(0.02)


@TABLE.plays(40)
def slow_events(wire: Wire) -> None:
    """An event without a choice every 20 ms, and nothing else."""
    wire.send(EVENT_STREAM)
    while True:
        wire.send(_event({"id": "r1", "choices": []}))
        wire.wait(0.02)


@TABLE.plays(41)
def stall(wire: Wire) -> None:
    """Nothing more comes after some text; the connection stays open."""
    wire.send(EVENT_STREAM, _PARTIAL)
    wire.hang()


@TABLE.plays(41)
def stall_at_once(wire: Wire) -> None:
    """Nothing comes after the headers; the connection stays open."""
    wire.send(EVENT_STREAM)
    wire.hang()


@TABLE.plays(41)
def stall_in_call(wire: Wire) -> None:
    """Nothing more comes after a call that looks whole; the connection stays open."""
    wire.send(EVENT_STREAM, _paid())
    wire.hang()


@TABLE.plays(41)
def stall_after_done(wire: Wire) -> None:
    """The reply is whole, but the connection is not closed after [DONE]."""
    wire.send(EVENT_STREAM, *events())
    wire.hang()


@TABLE.plays(41)
def stall_after_reason(wire: Wire) -> None:
    """Nothing comes after the finish_reason; the connection stays open."""
    wire.send(EVENT_STREAM, *events(done=False))
    wire.hang()


_END = _event(delta("end.", reason="stop"))
_stream(
    42, "event_broken", "An event in the middle is not JSON.", _PARTIAL, b'data: {"choices": [{"de\n\n', _END, _DONE
)
_stream(42, "event_broken_last", "The last event is not JSON.", _PARTIAL, b'data: {"choices": [{"de\n\n')
_stream(
    42,
    "event_broken_in_call",
    "An event in the middle of a call's arguments is not JSON.",
    _paid(arguments='{"amount": 1'),
    b'data: {"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"arguments": "0"\n\n',
    _event(delta(tool_calls=[{"index": 0, "function": {"arguments": "}"}}])),
    _event(delta(reason="tool_calls")),
    _DONE,
)
_stream(42, "event_text", "Plain text that is not JSON comes between the events.", b"data: keep-alive\n\n", *events())

_ERROR = {"message": "The engine failed.", "code": 500}
_stream(43, "error_event", "An `event: error` comes first.", b"event: error\n", _event(_ERROR))
_stream(43, "error_in_stream", "An error comes in place of a chunk.", _event({"error": _ERROR}), _DONE)
_stream(43, "error_after_text", "An error comes after some text.", _PARTIAL, _event({"error": _ERROR}), _DONE)
_stream(
    43, "error_after_call", "An error comes after a call that looks whole.", _paid(), _event({"error": _ERROR}), _DONE
)
_stream(43, "error_as_reason", "The finish_reason is `error`.", _event(delta("", reason="error")), _DONE)

ODD = "a\ufffdb"


def _odd(sequence: bytes) -> list[bytes]:
    return [event.replace(ODD.encode(), b"a" + sequence + b"b") for event in events(ODD)]


_stream(44, "utf8_invalid", "The text has a byte that is not UTF-8.", *_odd(b"\xff"))
_stream(44, "nul", "The text has an escaped NUL.", *_odd(b"\\u0000"))
_stream(44, "surrogate_alone", "The text has half of a surrogate pair, escaped.", *_odd(b"\\ud83d"))
_stream(
    44,
    "surrogates_apart",
    "The halves of a surrogate pair come in two events.",
    b'data: {"choices": [{"delta": {"content": "a\\ud83c"}}]}\n\n',
    b'data: {"choices": [{"delta": {"content": "\\udf88b"}}]}\n\n',
    _event(delta(reason="stop")),
    _DONE,
)
