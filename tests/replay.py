"""A server on loopback that answers each request with the next of the given bytes, through a real socket."""

import json
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class ReplayServer:
    url: str
    requests: list[tuple[dict[str, str], Any]] = field(default_factory=list[tuple[dict[str, str], Any]])


@contextmanager
def replay(*answers: bytes | Sequence[bytes]) -> Iterator[ReplayServer]:
    """Answer the n-th request with the n-th bytes and close the connection; then stop listening."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        server = ReplayServer(f"http://127.0.0.1:{listener.getsockname()[1]}/v1")
        done = threading.Event()
        thread = threading.Thread(target=_serve, args=(listener, server, answers, done), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            done.set()
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
            thread.join(5)


def _serve(
    listener: socket.socket, server: ReplayServer, answers: Sequence[bytes | Sequence[bytes]], done: threading.Event
) -> None:
    for answer in answers:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            server.requests.append(_read(connection))
            for piece in [answer] if isinstance(answer, bytes) else answer:
                if piece == HANG:
                    done.wait(20)
                else:
                    connection.sendall(piece)


def _read(connection: socket.socket) -> tuple[dict[str, str], Any]:
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines[1:])}
    while len(body) < int(headers.get("content-length", "0")):
        body += connection.recv(65536)
    return {"path": lines[0].split()[1], **headers}, json.loads(body)


HANG = b"<hang>"


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
