"""Faults 1 to 16: connections and HTTP."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from dataclasses import replace

from agentkit.testing.server.table import TEXT, Table, events, fine, play_bytes
from agentkit.testing.server.wire import Request, Wire, answer_of, as_chunks, completion, head, whole

__all__ = ["TABLE"]

TABLE = Table()


def _body(request: Request, text: str = TEXT) -> list[bytes]:
    """The body of an ordinary answer: one event an item, or the whole in one."""
    return events(text) if request.stream else [json.dumps(completion(fine(text))).encode()]


def _kind(request: Request) -> str:
    return "text/event-stream" if request.stream else "application/json"


@TABLE.plays(1)
def refused(wire: Wire) -> None:
    """Nothing listens on the port."""


@TABLE.plays(2)
def syn_blackhole(wire: Wire) -> None:
    """Connecting is neither accepted nor refused: the queue of the listening socket is full (needs Linux)."""


def _close(bound: socket.socket) -> list[socket.socket]:
    del bound  # it has a port and does not listen there
    return []


def _fill(bound: socket.socket) -> list[socket.socket]:
    bound.listen(0)
    waiting: list[socket.socket] = []
    for _ in range(4):
        waiting.append(socket.socket())
        waiting[-1].settimeout(0)
        waiting[-1].connect_ex(bound.getsockname())
    return waiting


TABLE.faults["refused"] = replace(TABLE.faults["refused"], listen=_close)
TABLE.faults["syn_blackhole"] = replace(TABLE.faults["syn_blackhole"], listen=_fill)


@TABLE.plays(3)
def reset_before_status(wire: Wire) -> None:
    """The connection is reset before anything is answered."""
    wire.reset()


@TABLE.plays(3)
def closed_before_status(wire: Wire) -> None:
    """The connection is closed before anything is answered."""


@TABLE.plays(4)
def reset_mid_headers(wire: Wire) -> None:
    """The connection is reset in the middle of a header."""
    wire.send(b"HTTP/1.1 200 OK\r\ncontent-ty")
    wire.reset()


@TABLE.plays(4)
def closed_mid_headers(wire: Wire) -> None:
    """The connection is closed in the middle of a header."""
    wire.send(b"HTTP/1.1 200 OK\r\ncontent-ty")


@TABLE.plays(5)
def headers_never(wire: Wire) -> None:
    """The request is read and never answered."""
    wire.hang()


@TABLE.plays(6)
def headers_slowly(wire: Wire) -> None:
    """The headers arrive one byte per second."""
    for byte in head(content_type=_kind(wire.request)):
        wire.send(bytes([byte]))
        wire.wait(1)


@TABLE.plays(7)
def headers_huge(wire: Wire) -> None:
    """The headers are 1 MB long."""
    lines = (b"x-%d: %s\r\n" % (index, b"x" * 1000) for index in range(1000))
    wire.send(b"HTTP/1.1 200 OK\r\n", *lines, b"\r\n", *_body(wire.request))


@TABLE.plays(8)
def chunk_size_bad(wire: Wire) -> None:
    """The size of a chunk is not a number."""
    first, *_ = as_chunks(_body(wire.request)[:1])
    wire.send(head(content_type=_kind(wire.request), transfer_encoding="chunked"), first, b"zz\r\n{}\r\n")


@TABLE.plays(9)
def chunk_cut(wire: Wire) -> None:
    """The connection is closed in the middle of the first chunk."""
    chunks = list(as_chunks(_body(wire.request)))
    wire.send(head(content_type=_kind(wire.request), transfer_encoding="chunked"), chunks[0][:-20])


@TABLE.plays(9)
def chunk_last_missing(wire: Wire) -> None:
    """The whole reply comes, but the connection is closed before the chunk that ends it."""
    chunks = list(as_chunks(_body(wire.request)))
    wire.send(head(content_type=_kind(wire.request), transfer_encoding="chunked"), *chunks[:-1])


def _with_length(request: Request, difference: int) -> Iterator[bytes]:
    body = b"".join(_body(request))
    yield head(content_type=_kind(request), content_length=len(body) + difference, connection="close")
    yield body


@TABLE.plays(10)
def length_too_long(wire: Wire) -> None:
    """The content-length is longer than the body."""
    wire.send(*_with_length(wire.request, 100))


@TABLE.plays(11)
def length_too_short(wire: Wire) -> None:
    """The content-length is shorter than the body."""
    wire.send(*_with_length(wire.request, -60))


@TABLE.plays(12)
def length_and_chunked(wire: Wire) -> None:
    """The answer has a content-length and is chunked."""
    headers = head(content_type=_kind(wire.request), content_length=5, transfer_encoding="chunked", connection="close")
    wire.send(headers, *as_chunks(_body(wire.request)))


@TABLE.plays(13)
def informational_noise(wire: Wire) -> None:
    """Answers 100, 103 and 102 come before the real one."""
    wire.send(head("100 Continue"), head("103 Early Hints", link="</style.css>"), head("102 Processing"))
    wire.send(*answer_of(fine(), wire.request, connection="close"))


def _redirect(to: str, status: str = "307 Temporary Redirect") -> Iterator[bytes]:
    yield whole(b"", status, location=to, connection="close")


@TABLE.plays(14)
def redirect_loop(wire: Wire) -> None:
    """The address redirects to itself."""
    wire.send(*_redirect(wire.request.path, "308 Permanent Redirect"))


for _name, _where, _to in (
    ("redirect_private", "a private address", "http://169.254.169.254/latest/meta-data/"),
    ("redirect_downgrade", "plain http elsewhere", "http://api.example.com/v1/chat/completions"),
    ("redirect_other_host", "another host", "https://other.example.com/v1/chat/completions"),
):
    TABLE.add(14, _name, f"The address redirects to {_where}.", play_bytes(list(_redirect(_to))))


@TABLE.plays(15)
def keep_alive_closed(wire: Wire) -> None:
    """An ordinary answer promises to keep the connection open, but it is closed when the next request arrives."""
    wire.send(*answer_of(fine(), wire.request))
    wire.receive()


@TABLE.plays(15)
def keep_alive_reset(wire: Wire) -> None:
    """An ordinary answer promises to keep the connection open, but it is reset when the next request arrives."""
    wire.send(*answer_of(fine(), wire.request))
    wire.receive()
    wire.reset()


@TABLE.plays(15)
def keep_alive_broken(wire: Wire) -> None:
    """An ordinary answer promises to keep the connection open, but it is closed at once."""
    wire.send(*answer_of(fine(), wire.request))


@TABLE.plays(16)
def tls_cut(wire: Wire) -> None:
    """A TLS connection is closed without close_notify in the middle of a body without a length (needs `tls`)."""
    if not wire.secure:
        raise ValueError("the fault tls_cut needs a server with a certificate: Server(..., tls=context)")
    wire.send(head(content_type=_kind(wire.request), connection="close"), b"".join(_body(wire.request))[:-90])
