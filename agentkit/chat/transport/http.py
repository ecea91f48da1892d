"""The HTTP seam: one method that sends a request and feeds the response's bytes to a sink. Nothing else knows HTTP.

Redirects are never followed and keys are never sent to another host. Connections belong to the event loop they were
made in; the engines that make them are imported by the first request.
"""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import os
import ssl
import weakref
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any, cast
from urllib.parse import urlsplit
from urllib.request import getproxies
from weakref import WeakSet

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar, current_token

from agentkit.chat.transport.address import without_secrets
from agentkit.chat.transport.redaction import Redactor
from agentkit.chat.transport.response import GRACE, Deadlines, Engine, Failures, Request, Response, Sink
from agentkit.errors import AgentKitError, ConfigError, ConnectionFailed, DeadlineExceeded

_OUR_NAME = {"user-agent": "agentkit"}
_AIOHTTP = (3, 14)  # the oldest version that the engine works with
_version = functools.cache(version)  # it reads a file


class Http:
    """Sends requests over the connections of the event loop, or through the caller's client.

    Proxies come from the environment, but never for a server on this machine.

    Args:
        client: An ``httpx2.AsyncClient`` or ``httpx.AsyncClient`` to use instead; it is never closed here. Or the name
            of an HTTP engine; see `http_engine`.
    """

    def __init__(self, client: Any = None) -> None:
        self._client: _Connections | None = None
        if client is None or isinstance(client, str):
            self._engine = http_engine(client or "")
        else:
            from agentkit.chat.transport.http_httpx import ClientEngine  # noqa: PLC0415 - slow to import

            self._client = _Connections(ClientEngine(client))

    async def send(
        self,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes,
        sink: Sink,
        deadlines: Deadlines,
        stream: bool,
        redactor: Redactor | None = None,
    ) -> None:
        """POST a body and feed the answer to ``sink``.

        Args:
            url: The address.
            headers: The headers, in addition to those that the caller's client adds.
            body: The body.
            sink: Takes the answer.
            deadlines: How long it may take.
            stream: Whether the answer is expected to come in parts, which have deadlines of their own.
            redactor: Learns every secret that is sent.

        Raises:
            ConnectionFailed: No connection, or it broke.
            DeadlineExceeded: Too slow.
            ConfigError: The request cannot be sent as it is.
            Exception: What the sink raised.
        """
        redactor = redactor or Redactor()
        redactor.add_headers(headers)
        redactor.add_url(url)
        connections = self._client or await self._connections_to(url)
        given = headers if self._client else {**_OUR_NAME, **headers}
        response = Response(sink, deadlines, stream=stream)
        problem: Exception | None = None
        connections.requests += 1
        try:
            with response.scope:
                await connections.engine.send(Request(url, given, body, deadlines.connect, redactor), response)
        except Exception as error:  # noqa: BLE001 - translated below, outside, as its context may hold a key
            problem = error
        finally:
            connections.requests -= 1
            if connections.retired:
                await connections.close_if_unused()
        response.check(url)
        if problem is not None and not sink.complete:
            raise _translated(problem, connections.engine.failures, url, answered=response.answered)

    async def aclose(self) -> None:
        """Leave the pool of this event loop; the last one closes it, or the last request that still uses it."""
        pool = _pool_here()
        pool.users.discard(self)
        if not pool.users:
            await pool.retire()

    async def _connections_to(self, url: str) -> _Connections:
        pool = _pool_here()
        pool.users.add(self)
        kind = (*_kind_of(url), self._engine)
        if kind not in pool.open:
            in_asyncio = hasattr(current_token().native_token, "is_closed")
            name = self._engine if in_asyncio else "httpx2"
            try:  # in a thread, as engines are slow to import
                make = await anyio.to_thread.run_sync(_maker, *kind[:2], name, limiter=anyio.CapacityLimiter(1))
                if kind not in pool.open:
                    pool.open[kind] = _Connections(make())
            except (ImportError, ValueError) as error:
                place = without_secrets(url)
                raise ConfigError(
                    f"cannot send to {place} through the proxy that the environment names: {error}"
                ) from None
        return pool.open[kind]


def _translated(problem: Exception, failures: Failures, url: str, *, answered: bool) -> Exception:
    """The error that a caller gets for an exception of an engine, or of a hook in the caller's client."""
    place = without_secrets(url)
    while isinstance(problem, ExceptionGroup):  # of tries to connect
        problem = cast("ExceptionGroup[Exception]", problem).exceptions[0]
    if isinstance(problem, failures.late):
        return DeadlineExceeded(f"{place}: no connection in time (deadline 'connect')", which="connect")
    if isinstance(problem, failures.illegal):
        return ConfigError(f"a header for {place} holds a character that no header may hold")
    what = " ".join(str(problem).split())[:500] or type(problem).__name__
    if isinstance(problem, failures.broken):
        if answered:
            return ConnectionFailed(f"the connection to {place} broke before the reply was complete: {what}")
        return ConnectionFailed(f"no reply from {place}: {what}; is the server running, and is the URL right?")
    if isinstance(problem, AgentKitError):
        return problem
    if isinstance(problem, ImportError | ValueError | TypeError | RuntimeError | OverflowError):  # proxy, header
        return ConfigError(f"cannot send to {place}: {what}")
    return problem


class _Connections:
    """An engine and the requests that use it; once it is retired, its last request closes it."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.requests = 0
        self.retired = False

    async def close_if_unused(self) -> None:
        if not self.requests:
            with anyio.move_on_after(GRACE, shield=True):
                await self.engine.aclose()


class _Pool:
    """The connections of one event loop, shared by all clients in it: by scheme, by place (here or not) and engine."""

    def __init__(self) -> None:
        self.users: WeakSet[Http] = WeakSet()
        self.open: dict[tuple[str, bool, str], _Connections] = {}

    async def retire(self) -> None:
        retired = list(self.open.values())
        self.open.clear()
        for each in retired:
            each.retired = True
            await each.close_if_unused()


_pool: RunVar[_Pool] = RunVar("agentkit_http_pool")
_pools: list[tuple[weakref.ref[Any], _Pool]] = []  # those of asyncio's loops


def _pool_here() -> _Pool:
    """The pool of the running event loop.

    A connection keeps its loop alive, and with it the pool; so the pools of loops that were closed without closing
    their connections are emptied when another loop begins.
    """
    try:
        return _pool.get()
    except LookupError:
        pool = _Pool()
        _pool.set(pool)
    for each in list(_pools):
        if (gone := each[0]()) is None or gone.is_closed():
            with contextlib.suppress(ValueError):  # another thread has removed it
                _pools.remove(each)
            each[1].open.clear()
    running: Any = current_token().native_token
    if hasattr(running, "is_closed"):
        _pools.append((weakref.ref(running), pool))
    return pool


async def close_connections() -> None:
    """Close all connections of the running event loop, but leave a caller's own client alone."""
    await _pool_here().retire()


@functools.lru_cache(maxsize=128)
def _kind_of(url: str) -> tuple[str, bool]:
    """The scheme of an address, and whether it is on this machine."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        return parts.scheme, host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return parts.scheme, False


def http_engine(name: str = "") -> str:
    """The engine that sends for clients of ours: ``aiohttp`` or ``httpx2``.

    aiohttp sends in asyncio's event loops only, and only where the environment names no proxy: httpx2 does the rest.

    Args:
        name: The one to use; by default the one in the variable ``AGENTKIT_HTTP``, and without it aiohttp where it is
            installed and no proxy is named.

    Raises:
        ConfigError: There is no such engine, or it is not installed.
    """
    chosen = (name or os.environ.get("AGENTKIT_HTTP", "")).strip().lower()
    if chosen not in ("", "httpx2", "aiohttp"):
        where = "http=" if name else "AGENTKIT_HTTP="
        raise ConfigError(f"{where}{chosen!r:.80}: the HTTP engines are 'httpx2' and 'aiohttp'")
    try:
        found = find_spec("aiohttp") is not None and tuple(map(int, _version("aiohttp").split(".")[:2])) >= _AIOHTTP
    except (PackageNotFoundError, ValueError):
        found = False
    if chosen == "aiohttp" and not found:
        raise ConfigError("the HTTP engine aiohttp is not installed: pip install 'agentkit[fast]'")
    return chosen or ("aiohttp" if found and not getproxies().keys() - {"no"} else "httpx2")


def _maker(scheme: str, here: bool, name: str) -> Callable[[], Engine]:  # noqa: FBT001 - a key of the pool
    """Import what makes connections for addresses of a kind, and read the certificates that they need.

    Raises:
        ConfigError: The certificates that the environment names cannot be read, or aiohttp cannot be imported.
    """
    proxied = not here and bool(getproxies().keys() - {"no"})
    try:
        verify = _certificates() if proxied or scheme == "https" else None
    except ConfigError:
        if scheme == "https":
            raise
        verify = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # only a proxy with TLS would need them
    if name == "aiohttp" and not proxied:
        try:
            from agentkit.chat.transport.http_aiohttp import AiohttpEngine  # noqa: PLC0415 - an extra, slow to import
        except ImportError as error:
            raise ConfigError(f"aiohttp cannot be imported: {error}; AGENTKIT_HTTP=httpx2 sends without it") from error
        return functools.partial(AiohttpEngine, verify)
    from agentkit.chat.transport.http_httpx import HttpxEngine, engine_for_proxies  # noqa: PLC0415 - slow to import

    return functools.partial(engine_for_proxies if proxied else HttpxEngine, verify)


@functools.cache
def _certificates() -> ssl.SSLContext:
    """Read the certificates of the environment, once for the process."""
    from agentkit.chat.transport.http_httpx import certificates  # noqa: PLC0415 - slow to import

    try:
        return certificates()
    except (OSError, ValueError) as error:
        names = (name for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if os.environ.get(name))
        place = next((f"{name}={os.environ[name]!r}" for name in names), "the system's store")
        raise ConfigError(f"the certificates of {place} cannot be read: {error}; correct or unset it") from error
