"""`Web`: some hosts of the internet and nothing else, whatever names, redirects and resolvers do.

A host is resolved once, every address is checked, and the connection goes to a checked address; likewise for each
redirect. Proxy environment variables are ignored, since a proxy would resolve names itself.
"""

from __future__ import annotations

import functools
import ipaddress
import re
import socket
import ssl
import zlib
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TypeAlias, TypeVar, cast
from urllib.parse import quote, quote_plus

import anyio
import httpcore2
import httpx2

from agentkit.errors import ConfigError, ModelRetry, ToolError

__all__ = ["Answer", "Resolver", "Secrets", "Web"]

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
_Text = TypeVar("_Text", str, bytes)
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolver: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""Returns the addresses of a host and port."""
Secrets: TypeAlias = Mapping[str, str | Mapping[str, str]]
"""The value of the ``Authorization`` header, or several headers, by host."""

_NOT_PUBLIC = [
    *(ipaddress.ip_network(each) for each in ("192.0.0.0/24", "192.88.99.0/24", "168.63.129.16/32")),
    *(ipaddress.ip_network(each) for each in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")),
]  # not covered by `ipaddress`: protocol assignments, IPv4 relays and tunnels, cloud metadata, documentation
_PUBLIC_V6 = ipaddress.ip_network("2000::/3")  # excludes mapped, translated (NAT64) and local addresses
_MOST_REDIRECTS = 5
_ENTRY = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[^\s:/@\[\]]+)(?::(?P<port>\d{1,5}))?")


@dataclass(frozen=True, slots=True)
class Answer:
    """The response of a server.

    Attributes:
        status: The HTTP status.
        headers: By name in lower case.
        body: The decoded body.
        url: Where it came from, after redirects.
        truncated: Whether the body is longer than ``max_bytes``.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str
    truncated: bool = False

    @property
    def kind(self) -> str:
        """The media type, without its parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def text(self) -> str:
        """The body as text, in the encoding that the server names."""
        _, _, encoding = self.headers.get("content-type", "").lower().partition("charset=")
        try:
            return self.body.decode(encoding.split(";")[0].strip("\"' ") or "utf-8", errors="replace")
        except LookupError:
            return self.body.decode(errors="replace")


class Web:
    """Some hosts of the internet.

    Args:
        allow: Hosts: ``"api.example.com"``, ``"*.example.com"``, ``"*"`` for all; with a port
            (``"api.example.com:8443"``) for that port, otherwise for 80 and 443.
        secrets: Headers that are sent to a host, over TLS only; no model sees them, and redirects to other hosts do not
            carry them.
        hidden: More secrets to hide from models.
        private: Non-public networks that may be reached, such as ``"10.1.0.0/16"``.
        timeout: Seconds for a request with its redirects and body.
        max_bytes: Most bytes of a decoded body.
        resolve: Resolves host names instead of the system.

    Raises:
        ConfigError: A host, a network or a limit makes no sense.
    """

    def __init__(
        self,
        allow: Sequence[str],
        *,
        secrets: Secrets | None = None,
        hidden: Sequence[str] = (),
        private: Sequence[str] = (),
        timeout: float = 30,
        max_bytes: int = 5 * 1024 * 1024,
        resolve: Resolver | None = None,
    ) -> None:
        if isinstance(allow, str) or not allow:
            raise ConfigError(f"allow={allow!r} must be a list of hosts such as ['api.example.com'], or ['*'] for all")
        if timeout <= 0 or max_bytes < 1:
            raise ConfigError(f"timeout={timeout} and max_bytes={max_bytes} must be above 0")
        try:
            self.private: Sequence[Network] = [ipaddress.ip_network(each) for each in private]
        except ValueError as error:
            raise ConfigError(f"private: {error}") from None
        self.allow = [_split(each) for each in allow]
        self.secrets = {host.lower(): _headers(given) for host, given in (secrets or {}).items()}
        whole = [text for headers in self.secrets.values() for text in headers.values()]
        words = [word for text in whole for word in text.split()]  # "Bearer abc" may be echoed as abc
        plain = [secret for secret in (*hidden, *whole, *words) if len(secret) > 5]
        self._redacted = [*plain, *map(quote, plain), *map(quote_plus, plain)]
        self.timeout, self.max_bytes = timeout, max_bytes
        self.resolve = resolve or _resolve

    async def send(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, content: bytes = b""
    ) -> Answer:
        """Send a request, follow its redirects, and read the answer.

        Raises:
            ModelRetry: The URL cannot be used.
            ToolError: The host is not allowed, or did not answer.
        """
        sent = {"accept-encoding": "gzip, deflate", "user-agent": "agentkit", **(headers or {})}
        try:
            with anyio.fail_after(self.timeout):
                async with httpx2.AsyncClient(
                    transport=_Transport(self),
                    follow_redirects=True,
                    max_redirects=_MOST_REDIRECTS,
                    timeout=self.timeout,
                    trust_env=False,
                ) as client:
                    response = await client.request(method, url, headers=sent, content=content or None)
        except (TimeoutError, httpcore2.TimeoutException):
            raise ToolError(f"{_shown(url)} did not answer within {self.timeout:g} seconds") from None
        except httpx2.TooManyRedirects:
            raise ToolError(f"{_shown(url)} redirects more than {_MOST_REDIRECTS} times") from None
        except (httpx2.InvalidURL, httpx2.UnsupportedProtocol, httpx2.LocalProtocolError, UnicodeError) as error:
            raise ModelRetry(f"{_shown(url)} cannot be requested: {error}") from None
        except (httpcore2.NetworkError, httpcore2.ProtocolError, httpx2.HTTPError) as error:
            raise ToolError(f"{_shown(url)} cannot be reached: {error or type(error).__name__}") from None
        return Answer(
            response.status_code,
            {name.lower(): self.redact(value) for name, value in response.headers.items()},
            self.redact(response.content),
            self.redact(str(response.url)),
            bool(response.extensions.get("truncated")),
        )

    def redact(self, value: _Text) -> _Text:
        """Replace every secret by ``***``, since servers may echo what they are sent."""
        for secret in self._redacted:
            value = value.replace(secret.encode(), b"***") if isinstance(value, bytes) else value.replace(secret, "***")
        return value

    def check(self, url: httpx2.URL) -> None:
        """Refuse a URL whose host is not allowed.

        Raises:
            ToolError: It is not allowed.
        """
        host, port = _host(url), url.port or (443 if url.scheme == "https" else 80)
        if url.scheme not in ("http", "https"):
            raise ModelRetry(f"only http and https can be requested, not {url.scheme!r}")
        if url.userinfo:
            raise ModelRetry("the URL has a user name or password in it; leave them out")
        if not host:
            raise ModelRetry("the URL has no host")
        if not any(fnmatchcase(host, name) and port in ports for name, ports in self.allow):
            hosts = ", ".join(name for name, _ in self.allow)
            raise ToolError(f"{host}:{port} may not be reached from here; allowed are {hosts}")

    async def addresses(self, url: httpx2.URL) -> Sequence[Address]:
        """Return the addresses of a URL's host, all of them checked.

        Raises:
            ToolError: There are none, or one is not allowed.
        """
        host = _host(url)
        found: Sequence[str] = []
        with suppress(OSError, UnicodeError):
            found = await self.resolve(host, url.port or (443 if url.scheme == "https" else 80))
        if not found:
            raise ToolError(f"there is no host {host!r}")
        addresses = [ipaddress.ip_address(each.partition("%")[0]) for each in found]
        for address in addresses:
            if not _is_public(address) and not self._is_private(address):
                raise ToolError(f"{host} is not a public address, and may not be reached from here")
        return addresses

    def secret_headers(self, url: httpx2.URL, address: Address) -> Mapping[str, str]:
        """Return the secret headers for a URL; none if others could read them on the way."""
        if url.scheme != "https" and not self._is_private(address):
            return {}
        return self.secrets.get(_host(url), {})

    def _is_private(self, address: Address) -> bool:
        """Return True if an address is in one of the networks that were explicitly allowed."""
        return any(address in network for network in self.private)


class _Transport(httpx2.AsyncBaseTransport):
    """Sends a request to a checked address, not to a name that may resolve differently.

    It uses the connection pool beneath httpx2's own transport: only there can an unread body be closed, and bounded
    before it is decompressed.
    """

    def __init__(self, web: Web) -> None:
        self._web = web
        # A pooled connection belongs to a name, not to an address, so none is reused.
        self._pool = httpcore2.AsyncConnectionPool(ssl_context=_tls(), max_keepalive_connections=0)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self._web.check(request.url)
        addresses = await self._web.addresses(request.url)
        for place, address in enumerate(addresses):
            headers = request.headers.copy()
            headers.update(self._web.secret_headers(request.url, address))
            try:
                return await self._send(request, str(address), headers)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                if place + 1 == len(addresses):
                    raise
        raise AssertionError

    async def _send(self, request: httpx2.Request, address: str, headers: httpx2.Headers) -> httpx2.Response:
        url, target = request.url.copy_with(host=address), request.url.raw_path
        answer = await self._pool.handle_async_request(
            httpcore2.Request(
                request.method,
                httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=target),
                headers=headers.raw,
                content=request.stream,
                extensions={**request.extensions, "sni_hostname": _host(request.url)},
            )
        )
        most, body = self._web.max_bytes, bytearray()
        try:
            stream = cast("AsyncIterable[bytes]", answer.stream)
            async with aclosing(cast("AsyncGenerator[bytes]", aiter(stream))) as chunks:
                async for chunk in chunks:
                    body += chunk
                    if len(body) > most:
                        break
        finally:
            await answer.aclose()
        received = httpx2.Headers(answer.headers)
        content = _inflated(bytes(body), received.pop("content-encoding", "identity").lower(), most)
        received.pop("content-length", None)
        received.pop("transfer-encoding", None)
        truncated = len(content) > most or len(body) > most
        return httpx2.Response(
            answer.status, headers=received, content=content[:most], extensions={"truncated": truncated}
        )

    async def aclose(self) -> None:
        await self._pool.aclose()


@functools.cache
def _tls() -> ssl.SSLContext:
    return httpx2.create_ssl_context()  # slow, because it reads the system's certificates


async def _resolve(host: str, port: int) -> Sequence[str]:
    return [str(found[4][0]) for found in await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def _is_public(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address) and address not in _PUBLIC_V6:
        return False
    special = address.is_multicast or address.is_reserved or any(address in network for network in _NOT_PUBLIC)
    return address.is_global and not special


def _host(url: httpx2.URL) -> str:
    return url.host.rstrip(".").lower()


def _split(entry: str) -> tuple[str, Sequence[int]]:
    found = _ENTRY.fullmatch(entry)
    if found is None:
        raise ConfigError(f"allow: {entry!r} is not a host, such as 'api.example.com' or 'api.example.com:8443'")
    return found["host"].lower().strip("[]"), (int(found["port"]),) if found["port"] else (80, 443)


def _headers(given: str | Mapping[str, str]) -> Mapping[str, str]:
    return {"authorization": given} if isinstance(given, str) else dict(given)


def _inflated(body: bytes, encoding: str, most: int) -> bytes:
    """Decompress the body up to one byte above the limit, so that bombs are not unpacked."""
    if encoding in ("", "identity") or not body:
        return body
    for window in (47, -15) if encoding in ("gzip", "x-gzip", "deflate") else ():
        try:
            return zlib.decompressobj(window).decompress(body, most + 1)
        except zlib.error:
            continue  # some servers send raw deflate, which is the second window size
    raise ToolError(f"the answer is compressed ({encoding}) in a way that cannot be read")


def _shown(url: str) -> str:
    return repr(url if len(url) <= 200 else f"{url[:200]}...")
