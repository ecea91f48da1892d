"""`Server`: plays a script on loopback, in threads."""

from __future__ import annotations

import http
import itertools
import json
import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Self, TypeAlias

from agentkit.errors import StatusError
from agentkit.testing.models import Answer, Chunks, as_reply
from agentkit.testing.server.table import Fault
from agentkit.testing.server.wire import Gone, Request, Wire, answer_of, whole

__all__ = ["Scripted", "Server", "raw"]

Scripted: TypeAlias = Answer | Fault
"""The items of a script: faults, and all that `ScriptedModel` plays; a `StatusError` is sent as a response."""


def raw(*parts: bytes) -> Fault:
    """A fault of your own: these bytes are sent, status line and headers included, and the connection is closed."""

    def play(wire: Wire) -> None:
        wire.send(*parts)

    return Fault("raw", 0, "These bytes.", play)


class Server:
    """A Chat Completions server on loopback that plays a script, one answer per request, through real sockets.

    ::

        with Server([call("add", a=1, b=2), fault("reset_mid_headers"), "3."]) as server:
            agent = Agent(ChatClient(server.url, model="m"), tools=[add])

    It answers streamed or not, as each request asks, and keeps connections alive as real servers do. It also works in
    async code, on any event loop, because it has its own threads; they end with the ``with`` block.

    Args:
        script: The answers, in the order of the requests; it may be endless: ``itertools.repeat(fault("stall"))``.
        tls: Makes it an ``https`` server, for example with a certificate made by ``trustme``.
        port: The port; by default any free one.

    Attributes:
        requests: All requests so far, each with ``headers`` and ``body``.
        url: The base URL for clients.
    """

    def __init__(self, script: Iterable[Scripted], *, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        self.requests: list[Request] = []
        self.url = ""
        self._script = iter(script)
        self._tls = tls
        self._port = port
        self._played = 0
        self._errors: list[Exception] = []
        self._threads: list[threading.Thread] = []
        self._connections: list[socket.socket] = []
        self._lock = threading.Lock()
        self._stopping = False
        self._sockets = ExitStack()

    def __enter__(self) -> Self:
        """Listen.

        Raises:
            OSError: The port is taken.
        """
        with ExitStack() as sockets:
            listener = sockets.enter_context(socket.socket())
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", self._port))
            self._port = listener.getsockname()[1]
            self.url = f"http{'s' if self._tls else ''}://127.0.0.1:{self._port}/v1"
            first = next(self._script, None)
            if isinstance(first, Fault) and first.listen is not None:
                for each in first.listen(listener):
                    sockets.enter_context(each)
            else:
                self._script = itertools.chain([] if first is None else [first], self._script)
                reader, self._waker = (sockets.enter_context(each) for each in socket.socketpair())
                listener.listen(128)
                self._start(self._accept, listener, reader)
            self._sockets = sockets.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop, whatever is being played.

        Raises:
            Exception: The script held something that cannot be played.
        """
        with self._lock:
            self._stopping = True
            if self._threads:
                self._waker.send(b".")
            for connection in self._connections:
                with suppress(OSError):
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)  # as TCP, whatever TLS thinks of it
        for thread in list(self._threads):
            thread.join(10)
        self._sockets.close()
        if self._errors and error is None:
            raise self._errors[0]

    def _start(self, target: Callable[..., None], *arguments: socket.socket) -> None:
        thread = threading.Thread(target=target, args=arguments, name=f"agentkit test server {self._port}", daemon=True)
        self._threads = [*(each for each in self._threads if each.is_alive()), thread]
        thread.start()

    def _accept(self, listener: socket.socket, waker: socket.socket) -> None:
        while waker not in select.select([listener, waker], [], [])[0]:
            connection, _ = listener.accept()
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
            with self._lock:
                if self._stopping:
                    connection.close()
                    return
                self._connections.append(connection)
                self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        try:
            wire = Wire(connection, self.requests.append)
            if isinstance(connection, ssl.SSLSocket):
                connection.do_handshake()
            while self._play(wire, wire.receive()):
                pass
        except (Gone, OSError):  # also after a failed handshake
            pass
        except Exception as error:  # noqa: BLE001 - of the script; raised where the block ends
            self._errors.append(error)
        finally:
            with self._lock:
                self._connections.remove(connection)
            connection.close()

    def _play(self, wire: Wire, request: Request) -> bool:
        """Play the next answer; return whether the connection continues after it."""
        with self._lock:
            scripted = next(self._script, None)
            self._played += 1
            turn = self._played
        if isinstance(scripted, Fault):
            scripted.play(wire)
            return False
        wire.pour(_bytes(scripted, request, turn))
        return True


def _bytes(answer: Answer | None, request: Request, turn: int) -> Iterator[bytes]:
    if answer is None:
        yield _error(f"the script is over: it has {turn - 1} answer(s), and this is request {turn}", 400, {})
    elif isinstance(answer, StatusError):
        yield _error(str(answer), answer.status, answer.headers, answer.code)
    elif isinstance(answer, Exception):
        raise TypeError(f"a server cannot answer {answer!r}: give a StatusError or a fault")
    else:
        parts = answer.chunks if isinstance(answer, Chunks) else ()
        yield from answer_of(as_reply(answer, turn), request, parts=parts)


def _error(message: str, status: int, headers: dict[str, str], code: str | None = None) -> bytes:
    known = status in {each.value for each in http.HTTPStatus}
    phrase = http.HTTPStatus(status).phrase if known else "Error"
    body = json.dumps({"error": {"message": message, "type": "scripted", "param": None, "code": code}})
    return whole(body, f"{status} {phrase}", **headers)
