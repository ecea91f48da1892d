"""The HTTP seam: one method that sends a request and feeds the answer's bytes to a sink. Nothing else knows HTTP.

Uses httpx2, or a client of the caller's from httpx2 or httpx. Redirects are never followed and keys never leave for
another host. Works on asyncio and trio; a client of our own belongs to the event loop it was made in.
"""

from __future__ import annotations

import functools
import ssl
import sys
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Protocol

import anyio
import httpx2
from anyio.lowlevel import RunVar

from agentkit.chat.decode import BodyDecoder
from agentkit.errors import ConfigError, ConnectionFailed, DeadlineExceeded, ModelError

__all__ = ["Deadlines", "Http", "Sink"]

_CONNECTIONS = httpx2.Limits(max_connections=1000, max_keepalive_connections=100)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """How long one try of a request may take, in seconds.

    Attributes:
        connect: Until the connection stands.
        first_byte: Until the first event of a streamed reply; a reply that is not streamed comes whole and has
            ``total``.
        idle: Between two events of a streamed reply; keep-alive comments do not count.
        total: Altogether.
    """

    connect: float = 10
    first_byte: float = 60
    idle: float = 60
    total: float = 600


class Sink(Protocol):
    """What an answer is fed to."""

    def start(self, status: int, headers: Mapping[str, str]) -> None:
        """Take status and headers (names in lower case)."""
        ...

    def feed(self, chunk: bytes) -> bool:
        """Take bytes; True if they were progress."""
        ...


class Http:
    """Sends requests through one connection pool for each event loop, or through the caller's client.

    Args:
        client: An ``httpx2.AsyncClient`` or ``httpx.AsyncClient`` to use instead; it is never closed here.
    """

    def __init__(self, client: Any = None) -> None:
        self._library: Any = httpx2 if client is None else _library_of(client)
        self._client = client
        self._own: RunVar[httpx2.AsyncClient | None] = RunVar("agentkit_http_client", None)

    async def send(
        self, url: str, *, headers: Mapping[str, str], body: bytes, sink: Sink, deadlines: Deadlines, stream: bool
    ) -> None:
        """POST a body and feed the answer to ``sink``.

        Raises:
            ConnectionFailed: No connection, or it broke.
            DeadlineExceeded: Too slow.
        """
        now = anyio.current_time()
        first = deadlines.first_byte if stream else deadlines.total
        total = anyio.CancelScope(deadline=now + deadlines.total)
        quiet = anyio.CancelScope(deadline=now + first)
        which = "first_byte"
        refused: ModelError | None = None
        try:
            with total, quiet:
                request = self._open().stream(
                    "POST",
                    url,
                    content=body,
                    headers=headers,
                    timeout=self._library.Timeout(None, connect=deadlines.connect),
                    follow_redirects=False,
                )
                async with request as answer, aclosing(answer.aiter_raw()) as chunks:
                    sink.start(answer.status_code, {name.lower(): value for name, value in answer.headers.items()})
                    decoder = BodyDecoder(answer.headers.get("content-encoding", ""))
                    async for chunk in chunks:
                        progress = False
                        try:
                            for piece in decoder.feed(chunk):
                                progress = sink.feed(piece) or progress
                        except ModelError as error:
                            refused = error
                            quiet.cancel()  # unwinds the library's generators in order, which an exception does not
                            continue
                        if progress and stream:
                            which = "idle"
                            quiet.deadline = anyio.current_time() + deadlines.idle
        except self._library.ConnectTimeout:
            raise _late(url, "connect", deadlines) from None
        except (self._library.HTTPError, self._library.InvalidURL, OSError) as problem:
            what = str(problem) or type(problem).__name__
            raise ConnectionFailed(
                f"no reply from {url}: {what}; is the server running, and is the URL right?"
            ) from problem
        if refused is not None:
            raise refused
        if total.cancelled_caught:
            raise _late(url, "total", deadlines)
        if quiet.cancelled_caught:
            raise _late(url, which if stream else "total", deadlines)

    async def aclose(self) -> None:
        """Close the pool of this event loop, if it is ours."""
        own = self._own.get()
        if own is not None:
            self._own.set(None)
            await own.aclose()

    def _open(self) -> Any:
        if self._client is not None:
            return self._client
        own = self._own.get()
        if own is None:
            own = httpx2.AsyncClient(verify=_tls(), limits=_CONNECTIONS)
            self._own.set(own)
        return own


def _library_of(client: object) -> Any:
    for kind in type(client).__mro__:
        if kind.__name__ == "AsyncClient":
            return sys.modules[kind.__module__.partition(".")[0]]
    raise ConfigError(f"http= takes an httpx2.AsyncClient or an httpx.AsyncClient, not {type(client).__name__}")


@functools.cache
def _tls() -> ssl.SSLContext:
    return httpx2.create_ssl_context()  # reads the certificates: once for the process


def _late(url: str, which: str, deadlines: Deadlines) -> DeadlineExceeded:
    seconds = getattr(deadlines, which)
    what = {
        "connect": "no connection",
        "first_byte": "nothing was sent",
        "idle": "the stream stalled",
        "total": "the reply was not complete",
    }[which]
    return DeadlineExceeded(f"{url}: {what} after {seconds:g} s (deadline {which!r})", which=which)
