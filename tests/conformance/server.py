"""A server that answers as a script says, on a socket or in memory."""

import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import anyio
import httpx2

from tests.conformance.wire import DONE, HANG, Answer, Refusal, says


class Server:
    """Answers as the script says, and then with `DONE`.

    Args:
        script: The answers.
        refuses: The requests that it refuses; a refusal takes no answer from the script.
        requests: Collects the headers and the body of each request.
    """

    def __init__(
        self, script: Sequence[Answer], refuses: Sequence[Refusal], requests: list[tuple[dict[str, str], Any]]
    ) -> None:
        self._left, self._refuses, self._requests = list(script), refuses, requests

    def answer(self, headers: dict[str, str], body: Any) -> Sequence[bytes]:
        """The pieces of the answer to a request."""
        self._requests.append((headers, body))
        refusal = next((answer for looks_so, answer in self._refuses if looks_so(body)), None)
        answer = refusal or (self._left.pop(0) if self._left else says(DONE, stream=bool(body.get("stream"))))
        return [answer] if isinstance(answer, bytes) else answer

    def transport(self) -> httpx2.AsyncBaseTransport:
        """The server in memory, for a client of httpx2."""
        return _InMemory(self)


class _InMemory(httpx2.AsyncBaseTransport):
    def __init__(self, server: Server) -> None:
        self._server = server

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        headers = {"path": request.url.raw_path.decode(), **request.headers}
        pieces = self._server.answer(headers, json.loads(await request.aread()))
        if pieces[0] == HANG:
            await anyio.sleep_forever()
        head, _, first = pieces[0].partition(b"\r\n\r\n")
        status, *lines = head.split(b"\r\n")
        pairs = [(name, value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
        return httpx2.Response(int(status.split()[1]), headers=pairs, stream=_Body([first, *pieces[1:]]))


class _Body(httpx2.AsyncByteStream):
    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            if piece == HANG:
                await anyio.sleep_forever()
            await anyio.lowlevel.checkpoint()
            yield piece


@contextmanager
def serve(server: Server) -> Iterator[str]:
    """The server on a socket of its own; the address to send requests to."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        over = threading.Event()
        thread = threading.Thread(target=_serve, args=(listener, server, over), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        finally:
            over.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(5)


def _serve(listener: socket.socket, server: Server, over: threading.Event) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            pieces = server.answer(*_read(connection))
            threading.Thread(target=_send, args=(connection.dup(), pieces, over), daemon=True).start()


def _send(connection: socket.socket, pieces: Sequence[bytes], over: threading.Event) -> None:
    with connection, suppress(OSError):  # of a client that has had enough
        for piece in pieces:
            if piece == HANG:
                over.wait(20)
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
