"""The fault server, for tests that write their answers down byte by byte."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from agentkit.testing import Fault, Server
from agentkit.testing.server import Wire

HANG = b"<hang>"


@dataclass
class ReplayServer:
    server: Server

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def requests(self) -> list[tuple[dict[str, str], Any]]:
        return [({"path": request.path, **request.headers}, request.body) for request in self.server.requests]


@contextmanager
def replay(*answers: bytes | Sequence[bytes]) -> Iterator[ReplayServer]:
    """Answer the n-th request with the n-th bytes and close the connection; `HANG` keeps it open."""
    with Server([bytes_of(answer) for answer in answers]) as server:
        yield ReplayServer(server)


def bytes_of(answer: bytes | Sequence[bytes]) -> Fault:
    def play(wire: Wire) -> None:
        for piece in [answer] if isinstance(answer, bytes) else answer:
            if piece == HANG:
                wire.hang()
            wire.send(piece)

    return Fault("bytes", 0, "These bytes.", play)


def answer(body: bytes, *, status: str = "200 OK", kind: str = "application/json", headers: str = "") -> bytes:
    """A whole HTTP answer."""
    head = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n{headers}"
    return head.encode() + b"\r\n" + body


def completion(message: dict[str, Any], *, finish_reason: str = "stop", **members: Any) -> bytes:
    """The answer to a request that is not streamed."""
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish_reason}
    return answer(json.dumps({"id": "r1", "model": "m", "choices": [choice], **members}).encode())


def events(*deltas: dict[str, Any], finish_reason: str | None = "stop", done: bool = True) -> bytes:
    """The answer to a streamed request; the connection's end is the body's end."""
    chunks: list[Any] = [{"id": "r1", "model": "m", "choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    if finish_reason:
        chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": finish_reason}]})
    body = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + ("data: [DONE]\n\n" if done else "")
    return b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n" + body.encode()
