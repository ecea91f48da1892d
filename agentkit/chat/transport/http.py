"""The HTTP seam: one method that sends a request and feeds the answer's bytes to a sink. Nothing else knows HTTP.

Uses httpx2, or a client of the caller's from httpx2 or httpx. Redirects are never followed and keys never leave for
another host. Works on asyncio and trio; a client of our own belongs to the event loop it was made in.
"""

from __future__ import annotations

import base64
import functools
import ipaddress
import re
import ssl
import sys
import weakref
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import asdict, dataclass
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit
from weakref import WeakSet

import anyio
import httpx2
from anyio.lowlevel import RunVar, current_token

from agentkit.chat.transport.decompress import BodyDecoder
from agentkit.errors import ConfigError, ConnectionFailed, DeadlineExceeded

__all__ = [
    "Deadlines",
    "Http",
    "Sink",
    "authorization",
    "close_connections",
    "read_address",
    "secrets_in",
    "shown",
    "without_login",
]

_SECRET = re.compile(r"auth|(?<!idempotency-)key|token|secret|password|credential|cookie|session", re.I)


def read_address(base_url: str) -> tuple[str, str]:
    """The address as requests are sent to it, and the ``user:password`` that stood in it, or an empty text.

    Raises:
        ConfigError: It is not the address of a server.
    """
    base_url = base_url.strip()
    try:
        parts = urlsplit(base_url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:  # a port or an address in brackets that is none
        usable, parts = False, urlsplit("")
    if not usable or parts.query or parts.fragment:
        raise ConfigError(
            f"{without_login(base_url)!r} is not the address of a server; write for example http://127.0.0.1:8000/v1, "
            "with nothing behind it: what each request is to carry besides goes into headers="
        )
    login, at, host = parts.netloc.rpartition("@")
    plain = parts._replace(netloc=host).geturl() if at else base_url
    return plain.rstrip("/").removesuffix("/chat/completions"), unquote(login)


def without_login(address: str) -> str:
    """What somebody wrote as an address, as an error may show it, whether it is one or not."""
    return re.sub(r"^(https?://)?.*@", r"\1***@", address, flags=re.DOTALL)


def authorization(key: str, login: str, *, server: str) -> str:
    """The header ``authorization``: the key as a bearer token, or the login of the address; else an empty text.

    Raises:
        ConfigError: There are both, or the key is none.
    """
    key = key.strip()
    if not (key.isascii() and key.isprintable()):
        raise ConfigError("the API key holds a line break or a character that no key has; copy it again")
    if key and login:
        raise ConfigError(
            f"{server}: there is an API key, and the address has a user and a password too; give only one of them"
        )
    if key:
        return f"Bearer {key}"
    return f"Basic {base64.b64encode(login.encode()).decode()}" if login else ""


def secrets_in(headers: Mapping[str, str]) -> list[str]:
    """What no error may show: the values of headers that are secret by their name, and the words in them."""
    values = [value for name, value in headers.items() if _SECRET.search(name)]
    words = [word for value in values for word in re.split(r"[\s;,=]+", value)]
    return sorted({*values, *words}, key=len, reverse=True)


_GRACE = 1.0  # seconds for a server to end a body that is complete, so that the connection can be used again
_CONNECTIONS = httpx2.Limits(max_connections=1000, max_keepalive_connections=100)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """How long one try of a request may take, in seconds; ``math.inf`` is no deadline.

    Attributes:
        connect: Until the connection stands.
        first_byte: Until the first event of a streamed reply; a reply that is not streamed comes whole and has
            ``total``.
        idle: Between two events of a streamed reply; keep-alive comments do not count.
        total: Altogether.

    Raises:
        ConfigError: One is no number of seconds.
    """

    connect: float = 10
    first_byte: float = 60
    idle: float = 60
    total: float = 600

    def __post_init__(self) -> None:
        for name, seconds in asdict(self).items():
            if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds > 0:
                raise ConfigError(f"the deadline {name} is seconds, or math.inf for none, not {seconds!r}")


class Sink(Protocol):
    """What an answer is fed to."""

    @property
    def done(self) -> bool:
        """Whether the answer is complete, whatever may still follow."""
        ...

    @property
    def complete(self) -> bool:
        """Whether the answer can be used as it is, if nothing more should come."""
        ...

    def start(self, status: int, headers: Mapping[str, str]) -> None:
        """Take status and headers (names in lower case)."""
        ...

    def feed(self, chunk: bytes) -> bool:
        """Take bytes; True if they were progress."""
        ...


class Http:
    """Sends requests through one connection pool for each event loop, or through the caller's client.

    Proxies come from the environment, but never for a server on this machine.

    Args:
        client: An ``httpx2.AsyncClient`` or ``httpx.AsyncClient`` to use instead; it is never closed here.
    """

    def __init__(self, client: Any = None) -> None:
        self._library: Any = httpx2 if client is None else _library_of(client)
        self._client = client

    async def send(
        self, url: str, *, headers: Mapping[str, str], body: bytes, sink: Sink, deadlines: Deadlines, stream: bool
    ) -> None:
        """POST a body and feed the answer to ``sink``.

        Raises:
            ConnectionFailed: No connection, or it broke.
            DeadlineExceeded: Too slow.
            Exception: What the sink raised.
        """
        exchange = _Exchange(sink, deadlines, stream=stream)
        try:
            with exchange.total, exchange.quiet:
                request = self._open(url).stream(
                    "POST",
                    url,
                    content=body,
                    headers=headers,
                    timeout=self._library.Timeout(None, connect=deadlines.connect),
                    follow_redirects=False,
                )
                async with request as answer, aclosing(answer.aiter_raw()) as chunks:
                    exchange.start(answer.status_code, answer.headers)
                    async for chunk in chunks:
                        exchange.take(chunk)
        except self._library.ConnectTimeout:
            raise _late(url, "connect", deadlines) from None
        except (ImportError, ValueError, TypeError, RuntimeError) as problem:  # a proxy or a header that cannot be
            raise ConfigError(f"cannot send to {shown(url)}: {problem}") from problem
        except self._library.LocalProtocolError:
            raise ConfigError(f"a header for {shown(url)} holds a character that no header may hold") from None
        except (self._library.HTTPError, self._library.InvalidURL, OSError) as problem:
            if not exchange.over:
                raise _broken(url, problem, answered=exchange.answered) from problem
        exchange.check(url)

    @property
    def headers(self) -> Mapping[str, str]:
        """What the caller's client adds to each request."""
        return {} if self._client is None else dict(self._client.headers)

    async def aclose(self) -> None:
        """Leave the pool of this event loop; the last one closes it."""
        pool = _pool_here()
        pool.users.discard(self)
        if not pool.users:
            await pool.close()

    def _open(self, url: str) -> Any:
        if self._client is not None:
            return self._client
        pool = _pool_here()
        pool.users.add(self)
        return pool.client(url)


class _Exchange:
    """One request on its way: what came of it, and how long it may still take."""

    def __init__(self, sink: Sink, deadlines: Deadlines, *, stream: bool) -> None:
        now = anyio.current_time()
        self.total = anyio.CancelScope(deadline=now + deadlines.total)
        self.quiet = anyio.CancelScope(deadline=now + (deadlines.first_byte if stream else deadlines.total))
        self._sink = sink
        self._deadlines = deadlines
        self._stream = stream
        self._which = "first_byte" if stream else "total"
        self._decoder = BodyDecoder("")
        self._error: Exception | None = None
        self._over = False
        self.answered = False

    def start(self, status: int, headers: Mapping[str, str]) -> None:
        self.answered = True
        self._sink.start(status, {name.lower(): value for name, value in headers.items()})
        self._decoder = BodyDecoder(headers.get("content-encoding", ""), needed=status < 400)  # a status says enough

    def take(self, chunk: bytes) -> None:
        if self._over:
            return
        progress = False
        try:
            for piece in self._decoder.feed(chunk):
                progress = self._sink.feed(piece) or progress
        except Exception as error:  # noqa: BLE001 - raised by `check`
            self._error, self._over = error, True
            self.quiet.cancel()  # unwinds the library's generators in order, which an exception does not
            return
        if self._sink.done:
            self._over = True
            self.quiet.deadline = anyio.current_time() + _GRACE
        elif progress and self._stream:
            self._which = "idle"
            self.quiet.deadline = anyio.current_time() + self._deadlines.idle

    @property
    def over(self) -> bool:
        """Whether what came of it is known, so that a connection that breaks after it does not matter."""
        return self._error is not None or self._sink.complete

    def check(self, url: str) -> None:
        if self._error is not None:
            raise self._error
        if self._sink.complete:
            return
        if self.total.cancelled_caught:
            raise _late(url, "total", self._deadlines)
        if self.quiet.cancelled_caught:
            raise _late(url, self._which, self._deadlines)


class _Pool:
    """The connections of one event loop, shared by all clients in it."""

    def __init__(self) -> None:
        self.users: WeakSet[Http] = WeakSet()
        self.clients: dict[bool, httpx2.AsyncClient] = {}

    def client(self, url: str) -> httpx2.AsyncClient:
        here = _is_here(url)
        if here not in self.clients:
            self.clients[here] = httpx2.AsyncClient(verify=_tls(), limits=_CONNECTIONS, trust_env=not here)
        return self.clients[here]

    async def close(self) -> None:
        clients = list(self.clients.values())
        self.clients.clear()
        for client in clients:
            await client.aclose()


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
            other.clients.clear()
    running: Any = current_token().native_token
    if hasattr(running, "is_closed"):
        _pools.append((weakref.ref(running), pool))
    return pool


async def close_connections() -> None:
    """Close all connections of the running event loop, whoever opened them; only a caller's own client is left alone."""
    await _pool_here().close()


def shown(url: str) -> str:
    """The URL as errors may show it: without a password, and without what follows a question mark."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _is_here(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _library_of(client: object) -> Any:
    for kind in type(client).__mro__:
        library = kind.__module__.partition(".")[0]
        if kind.__name__ == "AsyncClient" and library in ("httpx", "httpx2"):
            return sys.modules[library]
    raise ConfigError(f"http= takes an httpx2.AsyncClient or an httpx.AsyncClient, not {type(client).__name__}")


@functools.cache
def _tls() -> ssl.SSLContext:
    return httpx2.create_ssl_context()  # reads the certificates: once for the process


def _broken(url: str, problem: Exception, *, answered: bool) -> ConnectionFailed:
    what = str(problem) or type(problem).__name__
    if answered:
        return ConnectionFailed(f"the connection to {shown(url)} broke before the reply was whole: {what}")
    return ConnectionFailed(f"no reply from {shown(url)}: {what}; is the server running, and is the URL right?")


def _late(url: str, which: str, deadlines: Deadlines) -> DeadlineExceeded:
    seconds = getattr(deadlines, which)
    what = {
        "connect": "no connection",
        "first_byte": "nothing was sent",
        "idle": "the stream stalled",
        "total": "the reply was not complete",
    }[which]
    return DeadlineExceeded(f"{shown(url)}: {what} after {seconds:g} s (deadline {which!r})", which=which)
