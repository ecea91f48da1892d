"""The HTTP seam: one method that sends a request and feeds the answer's bytes to a sink. Nothing else knows HTTP.

Uses httpx2, or a client of the caller's from httpx2 or httpx. Redirects are never followed and keys never leave for
another host. Works on asyncio and trio; a client of our own belongs to the event loop it was made in.
"""

from __future__ import annotations

import functools
import ipaddress
import os
import ssl
import sys
import time
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Any, Protocol, cast
from urllib.parse import urlsplit
from urllib.request import getproxies
from weakref import WeakKeyDictionary, WeakSet

import anyio
import httpx2
from anyio.lowlevel import RunVar, checkpoint, current_token

from agentkit.chat.transport.address import without_secrets
from agentkit.chat.transport.decompress import BodyDecoder
from agentkit.chat.transport.redaction import Redactor
from agentkit.errors import AgentKitError, ConfigError, ConnectionFailed, DeadlineExceeded

__all__ = ["Deadlines", "DirectTransport", "Http", "Sink", "close_connections", "http_engine"]

_GRACE = 1.0  # seconds for a server to end a body that is complete, so that the connection can be used again
_SLACK = 1.1  # the idle deadline may pass this much later, so that its timer is set anew rarely
_SLICE = 8 * 1024  # bytes that are decoded at once
_BUSY = 0.01  # seconds of decoding after which other tasks of the event loop have their turn
_MOST_CONNECTIONS = 1000  # at once; a request beyond them waits
_KEPT = 5.0  # seconds that an idle connection is kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """Time limits of one attempt of a request, in seconds; ``math.inf`` means no deadline.

    The defaults suit models that reason for minutes and local servers that load a model first. A try that passes a
    deadline after the server had begun to answer is not sent again.

    Attributes:
        connect: Until the connection stands.
        first_byte: The longest silence before the first event of a streamed reply. Comments, with which servers keep
            a connection open, are no event, but end a silence. A reply that is not streamed has only ``total``.
        idle: The longest silence after the first event; up to a tenth more is not noticed.
        total: Altogether.

    Raises:
        ConfigError: One is not a number of seconds.
    """

    connect: float = 10
    first_byte: float = 300
    idle: float = 300
    total: float = 600

    def __post_init__(self) -> None:
        for name, seconds in asdict(self).items():
            if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds > 0:
                raise ConfigError(f"the deadline {name} is seconds, or math.inf for none, not {seconds!r}")


class Sink(Protocol):
    """A decoder that a response is fed to."""

    @property
    def done(self) -> bool:
        """True if the response is complete, whatever may still follow."""
        ...

    @property
    def complete(self) -> bool:
        """True if the response can be used as it is should nothing more arrive."""
        ...

    def start(self, status: int, headers: Mapping[str, str]) -> None:
        """Take status and headers (names in lower case)."""
        ...

    def feed(self, chunk: bytes) -> bool:
        """Take bytes; True if they brought the answer further."""
        ...


class Http:
    """Sends requests through one connection pool for each event loop, or through the caller's client.

    Proxies come from the environment, but never for a server on this machine.

    Args:
        client: An ``httpx2.AsyncClient`` or ``httpx.AsyncClient`` to use instead; it is never closed here. Or the name
            of an HTTP engine; see `http_engine`.
    """

    def __init__(self, client: Any = None) -> None:
        self._engine = http_engine(client) if isinstance(client, str) else ""
        self._client = None if isinstance(client, str) else client
        self._library: Any = httpx2 if self._client is None else _library_of(client)

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
            url: Where to.
            headers: The headers; what the caller's client adds goes along.
            body: The body.
            sink: Takes the answer.
            deadlines: How long it may take.
            stream: Whether the answer is expected to come in parts, for which there are deadlines of their own.
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
        answer = _Answer(sink, deadlines, stream=stream)
        problem: Exception | None = None
        async with self._client_for(url) as client:
            try:
                with answer.scope:
                    timeout = self._library.Timeout(None, connect=deadlines.connect)
                    request = client.build_request(
                        "POST", _parsed(self._library, url), content=body, headers=headers, timeout=timeout
                    )
                    try:
                        response = await client.send(request, stream=True, follow_redirects=False)
                        async with aclosing(response):
                            await answer.read(response)
                    finally:  # an auth or a hook of the caller's may have added to it
                        redactor.add_headers(request.headers)
                        redactor.add_url(str(request.url))
            except Exception as error:  # noqa: BLE001 - translated below, outside, as its context may hold a key
                problem = error
        answer.check(url)
        if problem is not None and not sink.complete:
            raise self._translated(problem, url, answered=answer.answered)

    async def aclose(self) -> None:
        """Leave the pool of this event loop; the last one closes it, or the last request that still uses it."""
        pool = _pool_here()
        pool.users.discard(self)
        if not pool.users:
            await pool.retire()

    @asynccontextmanager
    async def _client_for(self, url: str) -> AsyncGenerator[Any]:
        if self._client is not None:
            _drop_connections_of_other_loops(self._client)
            yield self._client
            return
        pool = _pool_here()
        pool.users.add(self)
        connections = pool.connections(url, self._engine or http_engine())
        connections.requests += 1
        try:
            yield connections.client
        finally:
            connections.requests -= 1
            await connections.close_if_unused()

    def _translated(self, problem: Exception, url: str, *, answered: bool) -> Exception:
        library, place = self._library, without_secrets(url)
        while isinstance(problem, ExceptionGroup):  # of tries to connect
            problem = cast("ExceptionGroup[Exception]", problem).exceptions[0]
        if isinstance(problem, library.ConnectTimeout):
            return DeadlineExceeded(f"{place}: no connection in time (deadline 'connect')", which="connect")
        if isinstance(problem, library.LocalProtocolError):
            return ConfigError(f"a header for {place} holds a character that no header may hold")
        what = " ".join(str(problem).split())[:500] or type(problem).__name__
        if isinstance(problem, (library.HTTPError, library.InvalidURL, OSError)):
            if answered:
                return ConnectionFailed(f"the connection to {place} broke before the reply was complete: {what}")
            return ConnectionFailed(f"no reply from {place}: {what}; is the server running, and is the URL right?")
        if isinstance(problem, AgentKitError):
            return problem
        if isinstance(problem, ImportError | ValueError | TypeError | RuntimeError | OverflowError):  # proxy, header
            return ConfigError(f"cannot send to {place}: {what}")
        return problem


class _Answer:
    """One answer on its way: what came of it, and how long it may still take."""

    def __init__(self, sink: Sink, deadlines: Deadlines, *, stream: bool) -> None:
        now = anyio.current_time()
        self._end = now + deadlines.total
        self._silence = deadlines.first_byte if stream else deadlines.total
        self.scope = anyio.CancelScope(deadline=min(self._end, now + self._silence))
        self.answered = False
        self._sink = sink
        self._deadlines = deadlines
        self._stream = stream
        self._which = "first_byte"
        self._error: Exception | None = None
        self._over = False

    async def read(self, response: Any) -> None:
        self.answered = True
        self._sink.start(response.status_code, {name.lower(): value for name, value in response.headers.items()})
        encoding = response.headers.get("content-encoding", "")
        if response.is_stream_consumed or response.is_closed:  # a hook of the caller's has read it
            decoder, chunks = BodyDecoder(""), _once(response.content)
        else:
            decoder = BodyDecoder(encoding, needed=response.status_code < 400)  # a bad status says enough
            chunks = response.aiter_raw()
        async with aclosing(chunks):
            async for chunk in chunks:
                await self._take(decoder, chunk)
        await checkpoint()  # where a cancellation takes effect that came while the last chunk was decoded

    async def _take(self, decoder: BodyDecoder, chunk: bytes) -> None:
        """Decode a chunk, however much it unpacks to, without holding the event loop for long."""
        started = time.perf_counter()
        progress = False
        try:
            for part in decoder.feed(chunk):
                for start in range(0, len(part), _SLICE):
                    if self._over:
                        return
                    progress = self._sink.feed(part[start : start + _SLICE]) or progress
                    self._over = self._sink.done
                    if time.perf_counter() - started > _BUSY:
                        with anyio.CancelScope(shield=True):  # a cancellation must come from inside the generators
                            await checkpoint()
                        started = time.perf_counter()
                        self._over = self._over or anyio.current_effective_deadline() <= anyio.current_time()
        except Exception as error:  # noqa: BLE001 - raised by `check`
            self._error, self._over = error, True
            self.scope.cancel()  # unwinds the library's generators in order, which an exception does not
            return
        now = anyio.current_time()
        if self._over:
            self.scope.deadline = min(self.scope.deadline, now + _GRACE)
        elif self._stream:
            if progress:
                self._which, self._silence = "idle", self._deadlines.idle
            soonest = min(self._end, now + self._silence)
            if not soonest <= self.scope.deadline <= now + self._silence * _SLACK:
                self.scope.deadline = min(self._end, now + self._silence * _SLACK)

    def check(self, url: str) -> None:
        if self._error is not None:
            raise self._error
        if self._sink.complete:
            return
        if self.scope.cancelled_caught:
            which = "total" if self.scope.deadline >= self._end else self._which
            happened = {"first_byte": "nothing was sent", "idle": "the stream stalled"}.get(
                which, "the reply was not complete"
            )
            seconds = getattr(self._deadlines, which)
            message = f"{without_secrets(url)}: {happened} after {seconds:g} s (deadline {which!r})"
            raise DeadlineExceeded(message, which=which, answered=self.answered)


async def _once(content: bytes) -> AsyncGenerator[bytes]:
    yield content


class _Connections:
    """A client of ours; once it is retired, its last request closes it."""

    def __init__(self, client: httpx2.AsyncClient) -> None:
        self.client = client
        self.requests = 0
        self.retired = False

    async def close_if_unused(self) -> None:
        if self.retired and not self.requests:
            with anyio.move_on_after(_GRACE, shield=True):
                await self.client.aclose()


class _Pool:
    """The connections of one event loop, shared by all clients in it."""

    def __init__(self) -> None:
        self.users: WeakSet[Http] = WeakSet()
        self._open: dict[tuple[str, bool, str], _Connections] = {}

    def connections(self, url: str, engine: str) -> _Connections:
        scheme, here = _kind_of(url)
        kind = scheme, here, engine
        if kind not in self._open:
            verify = _certificates() if scheme == "https" else _certificates_if_any()
            try:
                transport = _transport(verify, engine) if here or not getproxies() else None
                limits = httpx2.Limits(max_connections=_MOST_CONNECTIONS, keepalive_expiry=_KEPT)
                client = httpx2.AsyncClient(verify=verify, limits=limits, trust_env=not here, transport=transport)
            except (ImportError, ValueError, httpx2.InvalidURL) as error:
                place = without_secrets(url)
                raise ConfigError(
                    f"cannot send to {place} through the proxy that the environment names: {error}"
                ) from None
            self._open[kind] = _Connections(client)
        return self._open[kind]

    async def retire(self) -> None:
        retired = list(self._open.values())
        self._open.clear()
        for each in retired:
            each.retired = True
            await each.close_if_unused()

    def forget(self) -> None:
        """Drop the connections without closing them, when their event loop is closed."""
        self._open.clear()


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
    for loop, other in list(_pools):
        if (gone := loop()) is None or gone.is_closed():
            _pools.remove((loop, other))
            other.forget()
    running: Any = current_token().native_token
    if hasattr(running, "is_closed"):
        _pools.append((weakref.ref(running), pool))
    return pool


async def close_connections() -> None:
    """Close the connections of the running event loop, whoever opened them; a caller's own client is left alone."""
    await _pool_here().retire()


@functools.lru_cache(maxsize=128)
def _parsed(library: Any, url: str) -> Any:
    """The address as a client's library reads it, which takes longer than the rest of making a request."""
    return library.URL(url)


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
    """The engine that sends for clients of ours: ``httpx2`` or ``aiohttp``.

    aiohttp sends in asyncio's event loops only, and only where the environment names no proxy: httpx2 does the rest.

    Args:
        name: The one to use; by default what the variable ``AGENTKIT_HTTP`` says, and httpx2 without it.

    Raises:
        ConfigError: There is no such engine, or it is not installed.
    """
    chosen = (name or os.environ.get("AGENTKIT_HTTP", "")).strip().lower() or "httpx2"
    if chosen not in ("httpx2", "aiohttp"):
        where = "http=" if name else "AGENTKIT_HTTP="
        raise ConfigError(f"{where}{chosen!r:.80}: the HTTP engines are 'httpx2' and 'aiohttp'")
    if chosen == "aiohttp" and find_spec("aiohttp") is None:
        raise ConfigError("the HTTP engine aiohttp is not installed: pip install 'agentkit[fast]'")
    return chosen


def _transport(verify: ssl.SSLContext, engine: str) -> httpx2.AsyncBaseTransport:
    """The connections of aiohttp, if they are asked for and can run, or of httpx2."""
    if engine != "aiohttp" or not hasattr(current_token().native_token, "is_closed"):
        return DirectTransport(verify)
    from agentkit.chat.transport.http_aiohttp import AiohttpTransport  # noqa: PLC0415 - an extra, and slow to import

    return AiohttpTransport(verify)


class DirectTransport(httpx2.AsyncBaseTransport):
    """httpx2's connections, each in a pool of its own.

    A pool of httpx2 looks at all of its connections whenever a request begins or ends, and asks the system about each
    idle one: with a hundred requests at once, that takes longer than everything else. The connection that was used
    last is used next, so those that are not needed stay idle, and are closed.

    Args:
        verify: Checks certificates.
        most: How many connections may be in use at once; a request beyond them waits.
        kept: Seconds that an idle connection is kept.
    """

    def __init__(self, verify: ssl.SSLContext, *, most: int = _MOST_CONNECTIONS, kept: float = _KEPT) -> None:
        self._verify, self._kept = verify, kept
        self._limits = httpx2.Limits(max_connections=1, keepalive_expiry=kept)
        self._idle: list[tuple[float, bytes, httpx2.AsyncHTTPTransport]] = []  # the one used last at the end
        self._free = anyio.Semaphore(most, fast_acquire=True)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request on a connection to its host, and wait for the head of the answer."""
        await self._free.acquire()
        host = request.url.netloc
        at = next((at for at in reversed(range(len(self._idle))) if self._idle[at][1] == host), None)
        connection = (
            self._idle.pop(at)[2]
            if at is not None
            else httpx2.AsyncHTTPTransport(verify=self._verify, trust_env=False, limits=self._limits)
        )

        async def give_back(*, usable: bool) -> None:
            self._free.release()
            now = time.monotonic()
            if usable:
                self._idle.append((now, host, connection))
            unused = [] if usable else [connection]
            while self._idle and self._idle[0][0] < now - self._kept:
                unused.append(self._idle.pop(0)[2])
            with anyio.move_on_after(1, shield=True):
                for each in unused:
                    await each.aclose()

        try:
            response = await connection.handle_async_request(request)
        except BaseException:
            await give_back(usable=False)  # where it stands is not known
            raise
        response.stream = _Body(cast("httpx2.AsyncByteStream", response.stream), give_back)
        return response

    async def aclose(self) -> None:
        """Close all connections."""
        while self._idle:
            await self._idle.pop()[2].aclose()


class _Body(httpx2.AsyncByteStream):
    """The body of an answer, whose connection can be used again once all of it was read."""

    def __init__(self, stream: httpx2.AsyncByteStream, give_back: Callable[..., Awaitable[None]]) -> None:
        self._stream, self._give_back = stream, give_back
        self._complete = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            yield chunk
        self._complete = True

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            await self._give_back(usable=self._complete)


_loops: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()  # a caller's client -> the event loop it was used in last


def _drop_connections_of_other_loops(client: Any) -> None:
    """Drop the idle connections of a caller's client that belong to an event loop it was used in before.

    A request on one of them would be sent and its answer never read. No library offers this, so its private members
    are used, as far as they are there.
    """
    here = current_token().native_token
    before = _loops.get(client)
    _loops[client] = here
    if before is None or before is here:
        return
    for transport in (getattr(client, "_transport", None), *getattr(client, "_mounts", {}).values()):
        connections: Any = getattr(getattr(transport, "_pool", None), "_connections", None)
        if connections:
            connections[:] = [each for each in connections if not each.is_idle()]


def _library_of(client: object) -> Any:
    for kind in type(client).__mro__:
        library = kind.__module__.partition(".")[0]
        if kind.__name__ == "AsyncClient" and library in ("httpx", "httpx2"):
            return sys.modules[library]
    raise ConfigError(f"http= takes an httpx2.AsyncClient or an httpx.AsyncClient, not {type(client).__name__}")


@functools.cache
def _certificates() -> ssl.SSLContext:
    """Read the certificates of the environment, once for the process."""
    try:
        return httpx2.create_ssl_context()
    except (OSError, ValueError) as error:
        names = (name for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if os.environ.get(name))
        place = next((f"{name}={os.environ[name]!r}" for name in names), "the system's store")
        raise ConfigError(f"the certificates of {place} cannot be read: {error}; correct or unset it") from error


def _certificates_if_any() -> ssl.SSLContext:
    """For ``http://``, where only a proxy with TLS needs certificates: none that cannot be read is an error."""
    try:
        return _certificates()
    except ConfigError:
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
