"""The server's end of one connection, the requests it reads there, and the bytes of ordinary answers."""

from __future__ import annotations

import json
import re
import select
import socket
import ssl
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

from pydantic_core import from_json

from agentkit.chat import Choice, Reply

__all__ = ["Gone", "Request", "Wire", "answer_of", "as_chunks", "as_events", "chunks_of", "completion", "head", "whole"]

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER with no time: closing sends RST in place of FIN
PATIENCE = 900.0  # seconds that any single read or write may take: longer than any client waits


class Gone(Exception):
    """The client has gone, or the server is stopping: there is nobody to play to."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it arrived.

    Attributes:
        method: Mostly ``"POST"``.
        path: Mostly ``"/v1/chat/completions"``.
        headers: Names in lower case.
        raw: The body's bytes.
    """

    method: str
    path: str
    headers: dict[str, str]
    raw: bytes

    @property
    def body(self) -> Any:
        """The body read as JSON; None when it is none."""
        try:
            return from_json(self.raw)
        except ValueError:
            return None

    @property
    def stream(self) -> bool:
        """True if a streamed response was requested."""
        return self.parameters.get("stream") is True

    @property
    def parameters(self) -> dict[str, Any]:
        """The members of the body; empty when it is not a JSON object."""
        return cast("dict[str, Any]", body) if isinstance(body := self.body, dict) else {}


class Wire:
    """One connection, as whoever plays an answer sees it.

    Args:
        connection: The connected socket.
        record: Called with each request.

    Attributes:
        request: The request that was read last.
    """

    def __init__(self, connection: socket.socket, record: Callable[[Request], None]) -> None:
        self._connection = connection
        self._record = record
        self._unread = bytearray()
        self.request = Request("", "", {}, b"")
        connection.settimeout(PATIENCE)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def secure(self) -> bool:
        """True for a TLS connection."""
        return isinstance(self._connection, ssl.SSLSocket)

    def receive(self) -> Request:
        """Read the next request to its end.

        Raises:
            Gone: There is none.
        """
        while (end := self._unread.find(b"\r\n\r\n")) < 0:
            self._unread += self._read()
        first, *lines = self._taken(end + 4).decode("latin-1").split("\r\n")
        method, path, *_ = [*first.split(" "), "", ""]
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        headers.pop("", None)
        length = int(headers.get("content-length") or 0)
        while len(self._unread) < length:
            self._unread += self._read()
        self.request = Request(method, path, headers, self._taken(length))
        self._record(self.request)
        return self.request

    def send(self, *parts: bytes) -> None:
        """Send each part, with nothing between them.

        Raises:
            Gone: The client does not read any more.
        """
        self.pour(parts)

    def pour(self, parts: Iterable[bytes]) -> None:
        """Send each part when it is made, so that there may be any number of them.

        Raises:
            Gone: The client does not read any more.
        """
        try:
            for part in parts:
                self._connection.sendall(part)
        except OSError:
            raise Gone from None

    def wait(self, seconds: float = PATIENCE) -> None:
        """Send nothing for so long.

        Raises:
            Gone: The client has closed the connection meanwhile.
        """
        ready, _, _ = select.select([self._connection], [], [], seconds)
        if ready:
            self._unread += self._read()

    def hang(self) -> None:
        """Send nothing more and keep the connection until the client closes it or the server stops."""
        while True:
            self._read()

    def reset(self) -> None:
        """End the connection with RST."""
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.close()

    def close(self) -> None:
        """End the connection with FIN; under TLS without ``close_notify``."""
        self._connection.close()

    def _taken(self, length: int) -> bytes:
        taken = bytes(self._unread[:length])
        del self._unread[:length]
        return taken

    def _read(self) -> bytes:
        try:
            data = self._connection.recv(65536)
        except (OSError, ValueError):
            raise Gone from None
        if not data:
            raise Gone
        return data


def head(status: str = "200 OK", /, **headers: object) -> bytes:
    """An answer's status line and headers; ``_`` in a name stands for ``-``."""
    lines = [f"HTTP/1.1 {status}", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def whole(body: bytes | str, status: str = "200 OK", /, **headers: object) -> bytes:
    """A whole answer whose body has a length."""
    data = body.encode() if isinstance(body, str) else body
    return head(status, **{"content_type": "application/json", "content_length": len(data), **headers}) + data


def as_chunks(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Parts of a body as the chunks of ``transfer-encoding: chunked``, with the last one."""
    for part in parts:
        if part:
            yield b"%x\r\n%b\r\n" % (len(part), part)
    yield b"0\r\n\r\n"


def as_events(chunks: Iterable[Any], *, done: bool = True) -> Iterator[bytes]:
    """Values as server-sent events, each with its JSON."""
    for chunk in chunks:
        yield b"data: " + json.dumps(chunk, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n\n"
    if done:
        yield b"data: [DONE]\n\n"


def answer_of(
    reply: Reply, request: Request, *, parts: Sequence[str] = (), connection: str = "keep-alive"
) -> Iterator[bytes]:
    """The bytes of a whole answer, streamed if that was asked for."""
    if not request.stream:
        yield whole(json.dumps(completion(reply)), connection=connection)
        return
    yield head(content_type="text/event-stream", transfer_encoding="chunked", connection=connection)
    options = request.parameters.get("stream_options")
    usage = isinstance(options, dict) and bool(cast("dict[str, Any]", options).get("include_usage"))
    yield from as_chunks(as_events(chunks_of(reply, parts, usage=usage)))


def completion(reply: Reply) -> dict[str, Any]:
    """A reply as the value of an answer that is not streamed."""
    choices = [
        {
            "index": index,
            "message": choice.message.to_wire(),
            "finish_reason": choice.finish_reason,
            **_logprobs(choice),
        }
        for index, choice in enumerate(reply.choices)
    ]
    return {**_members(reply), "object": "chat.completion", "choices": choices, "usage": _usage(reply)}


def chunks_of(reply: Reply, parts: Sequence[str] = (), *, usage: bool = False) -> Iterator[dict[str, Any]]:
    """A reply as the chunks of a stream: its text in words or in ``parts``, the arguments of calls in halves."""
    members = {**_members(reply), "object": "chat.completion.chunk"}

    def chunk(index: int, delta: dict[str, Any], reason: str | None = None, **more: Any) -> dict[str, Any]:
        return {**members, "choices": [{"index": index, "delta": delta, "finish_reason": reason, **more}]}

    for index, choice in enumerate(reply.choices):
        message = choice.message.to_wire()
        content, calls = message.pop("content", None), message.pop("tool_calls", [])
        yield chunk(index, message)
        for part in parts or re.findall(r"\s*\S+\s*$|\s*\S+|\s+", content or ""):
            yield chunk(index, {"content": part})
        for place, call in enumerate(calls):
            for part in _halves(call):
                yield chunk(index, {"tool_calls": [{"index": place, **part}]})
        yield chunk(index, {}, choice.finish_reason, **_logprobs(choice))
    if usage:
        yield {**members, "choices": [], "usage": _usage(reply)}


def _logprobs(choice: Choice) -> dict[str, Any]:
    record = choice.to_record()
    return {"logprobs": record["logprobs"]} if "logprobs" in record else {}


def _halves(call: dict[str, Any]) -> Iterator[dict[str, Any]]:
    arguments: str = call["function"]["arguments"]
    middle = len(arguments) // 2
    yield {**call, "function": {**call["function"], "arguments": arguments[:middle]}}
    yield {"function": {"arguments": arguments[middle:]}}


def _members(reply: Reply) -> dict[str, Any]:
    return {**reply.extra, "id": reply.id or "chatcmpl-1", "created": 0, "model": reply.model or "scripted"}


def _usage(reply: Reply) -> dict[str, int]:
    usage = reply.usage
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }
