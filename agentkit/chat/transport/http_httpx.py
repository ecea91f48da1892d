"""The engines of httpx2: connections of its core for clients of ours, and a client of the caller's, or for a proxy."""

from __future__ import annotations

import functools
import ssl
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, cast
from weakref import WeakKeyDictionary

import anyio
import httpcore2
import httpx2
from anyio.lowlevel import current_token

from agentkit.chat.transport.response import KEPT, MOST_CONNECTIONS, Failures, Request, Response, headers_of
from agentkit.errors import ConfigError


class HttpxEngine:
    """Connections of httpx2's core, for asyncio and trio.

    Its pool would look at all connections whenever a request begins or ends, and ask the system about each idle one:
    with a hundred requests at once, that takes longer than everything else. Here the connection that was used last is
    used next, so those that are not needed stay idle, and are closed.

    Args:
        verify: Checks certificates; needed for ``https://`` alone.
        most: How many connections may be in use at once.
        kept: Seconds that an idle connection is kept.
    """

    failures = Failures(
        httpcore2.ConnectTimeout,
        httpcore2.LocalProtocolError,
        (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.TimeoutException, OSError),
    )

    def __init__(
        self, verify: ssl.SSLContext | None = None, *, most: int = MOST_CONNECTIONS, kept: float = KEPT
    ) -> None:
        self._verify, self._kept = verify, kept
        self._idle: list[tuple[float, httpcore2.Origin, httpcore2.AsyncHTTPConnection]] = []  # last used at the end
        self._free = anyio.Semaphore(most, fast_acquire=True)

    async def send(self, request: Request, response: Response) -> None:
        """Send a request on a connection to its host, and have the response read."""
        url, host = _parsed(request.url)
        given = {"host": host, **request.headers, "content-length": str(len(request.body))}
        headers = [(str.encode(name, "ascii"), str.encode(value, "ascii")) for name, value in given.items()]
        timeout = {"timeout": {"connect": request.connect}}
        outgoing = httpcore2.Request("POST", url, headers=headers, content=request.body, extensions=timeout)
        async with self._free:
            connection = await self._idle_to(url.origin) or httpcore2.AsyncHTTPConnection(
                url.origin, ssl_context=self._verify, keepalive_expiry=self._kept
            )
            try:
                incoming = await connection.handle_async_request(outgoing)
                try:
                    chunks: Any = aiter(cast("Any", incoming.stream))
                    await response.read(incoming.status, headers_of(incoming.headers), chunks)
                finally:
                    with anyio.move_on_after(1, shield=True):
                        await incoming.aclose()
            finally:
                await self._give_back(connection, url.origin)

    async def aclose(self) -> None:
        """Close all connections."""
        while self._idle:
            await self._idle.pop()[2].aclose()

    async def _idle_to(self, origin: httpcore2.Origin) -> httpcore2.AsyncHTTPConnection | None:
        while (at := next((at for at in reversed(range(len(self._idle))) if self._idle[at][1] == origin), -1)) >= 0:
            connection = self._idle.pop(at)[2]
            if not connection.has_expired():
                return connection
            await connection.aclose()  # meanwhile, others take and give back
        return None

    async def _give_back(self, connection: httpcore2.AsyncHTTPConnection, origin: httpcore2.Origin) -> None:
        now = time.monotonic()
        unused: list[httpcore2.AsyncHTTPConnection] = []
        reader: Any = getattr(getattr(connection, "_connection", None), "_h11_state", None)  # there is no public API
        has_more = reader is not None and reader.trailing_data[0]  # the next request would take it for its response
        if connection.is_available() and not has_more:  # the response was read completely
            self._idle.append((now, origin, connection))
        else:
            unused.append(connection)
        while self._idle and self._idle[0][0] < now - self._kept:
            unused.append(self._idle.pop(0)[2])
        if unused:
            with anyio.move_on_after(1, shield=True):
                for each in unused:
                    await each.aclose()


@functools.lru_cache(maxsize=128)
def _parsed(url: str) -> tuple[httpcore2.URL, str]:
    """The address as httpx2's core takes it, and the header that names the host."""
    parsed = httpx2.URL(url)
    target = httpcore2.URL(scheme=parsed.raw_scheme, host=parsed.raw_host, port=parsed.port, target=parsed.raw_path)
    return target, parsed.netloc.decode("ascii")


_loops: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()  # a caller's client -> the event loop it was used in last


class ClientEngine:
    """A client of httpx2 or httpx; whatever it adds to requests is sent too.

    Args:
        client: An ``AsyncClient`` of one of the two.

    Raises:
        ConfigError: It is something else.
    """

    def __init__(self, client: Any) -> None:
        kinds = {kind.__module__.partition(".")[0] for kind in type(client).__mro__ if kind.__name__ == "AsyncClient"}
        name = next((each for each in ("httpx2", "httpx") if each in kinds), "")
        if not name:
            raise ConfigError(f"http= takes an httpx2.AsyncClient or an httpx.AsyncClient, not {type(client).__name__}")
        self._client, self._library = client, sys.modules[name]
        broken = (self._library.HTTPError, self._library.InvalidURL, OSError)
        self.failures = Failures(self._library.ConnectTimeout, self._library.LocalProtocolError, broken)
        self._url = functools.lru_cache(maxsize=128)(self._library.URL)  # takes longer than the rest of a request

    async def send(self, request: Request, response: Response) -> None:
        """Send a request through the client, and have the response read. Redirects are never followed."""
        self._drop_connections_of_other_loops()
        timeout = self._library.Timeout(None, connect=request.connect)
        outgoing = self._client.build_request(
            "POST", self._url(request.url), content=request.body, headers=request.headers, timeout=timeout
        )
        try:
            incoming = await self._client.send(outgoing, stream=True, follow_redirects=False)
            async with aclosing(incoming):
                headers = {name.lower(): value for name, value in incoming.headers.items()}
                was_read = incoming.is_stream_consumed or incoming.is_closed  # by a hook of the caller's
                chunks = _once(incoming.content) if was_read else incoming.aiter_raw()
                await response.read(incoming.status_code, headers, chunks, unpacked=was_read)
        finally:  # an auth or a hook of the caller's may have added to it
            request.redactor.add_headers(outgoing.headers)
            request.redactor.add_url(str(outgoing.url))

    def _drop_connections_of_other_loops(self) -> None:
        """Drop the idle connections of a caller's client that belong to an event loop it was used in before.

        A request on one of them would be sent and its answer never read. No library offers this, so its private members
        are used, where they exist.
        """
        client, here = self._client, current_token().native_token
        before = _loops.get(client)
        if before is here:
            return
        _loops[client] = here
        for transport in (getattr(client, "_transport", None), *getattr(client, "_mounts", {}).values()):
            connections: Any = getattr(getattr(transport, "_pool", None), "_connections", None)
            if connections and before is not None:
                connections[:] = [each for each in connections if not each.is_idle()]

    async def aclose(self) -> None:
        """Close the client."""
        await self._client.aclose()


async def _once(content: bytes) -> AsyncGenerator[bytes]:
    yield content


def engine_for_proxies(verify: ssl.SSLContext | None) -> ClientEngine:
    """A client that sends through the proxies that the environment names.

    Raises:
        ImportError: One of them needs a package that is not installed.
        ValueError: One of the addresses is invalid.
    """
    limits = httpx2.Limits(max_connections=MOST_CONNECTIONS, keepalive_expiry=KEPT)
    try:
        return ClientEngine(httpx2.AsyncClient(verify=verify or True, limits=limits))
    except httpx2.InvalidURL as error:
        raise ValueError(str(error)) from error


certificates = httpx2.create_ssl_context
"""Reads the certificates that the environment names, or the system's."""
