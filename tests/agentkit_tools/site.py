"""A web server on loopback for tests, and a count of every connection that the process makes."""

import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias

Reply: TypeAlias = tuple[int, Mapping[str, str], bytes]


@dataclass
class Seen:
    """A request as the server saw it."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Site:
    """What a server answers by path, and what it was asked."""

    pages: dict[str, Reply | Callable[[Seen], Reply]] = field(default_factory=dict[str, Any])
    seen: list[Seen] = field(default_factory=list[Seen])
    port: int = 0


class _Handler(BaseHTTPRequestHandler):
    site: Site

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        seen = Seen(self.command, self.path, {name.lower(): value for name, value in self.headers.items()}, body)
        self.site.seen.append(seen)
        page = self.site.pages.get(self.path.partition("?")[0], (404, {}, b"nothing here"))
        status, headers, content = page(seen) if callable(page) else page
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(content)))
        with suppress(ConnectionError):  # a client that has read enough
            self.end_headers()
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        """Say nothing."""


for _method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"):
    setattr(_Handler, f"do_{_method}", _Handler._answer)


@contextmanager
def running(address: str = "127.0.0.1") -> Iterator[Site]:
    site = Site()
    handler = type("Handler", (_Handler,), {"site": site})
    with ThreadingHTTPServer((address, 0), handler) as server:
        server.daemon_threads = True
        site.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield site
        finally:
            server.shutdown()
            thread.join(5)


_counters: list[list[object]] = []


def _note(event: str, arguments: tuple[object, ...]) -> None:
    if _counters and event in ("socket.connect", "socket.sendto"):
        _counters[-1].append(arguments[1])


sys.addaudithook(_note)  # cannot be taken away again, so it does nothing while nobody counts


@contextmanager
def counted_connections() -> Iterator[list[object]]:
    """The addresses that this process connects to meanwhile, whichever library does it."""
    _counters.append([])
    try:
        yield _counters[-1]
    finally:
        _counters.pop()
