"""The second HTTP engine: aiohttp's connections under httpx2's client, for asyncio (extra ``agentkit[fast]``).

It parses HTTP in C, and its pool does not search all connections for each request. All that is above a connection stays
httpx2's: headers, addresses, errors. So the rest of the package does not notice which engine sends.
"""

from __future__ import annotations

import io
import math
import re
import ssl
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import httpx2
from multidict import CIMultiDict
from yarl import URL

__all__ = ["AiohttpTransport"]

_KEPT = 5.0  # seconds that an idle connection is kept, as httpx2 keeps it
_LONGEST_HEADER = 32 * 1024  # bytes
_LARGE = 1024 * 1024  # bytes of a body from which on aiohttp wants to send it in parts
_NAME = re.compile(rb"[-!#$%&'*+.^_`|~0-9a-zA-Z]+")
_VALUE = re.compile(rb"(?:[^\x00\s]+(?:[ \t]+[^\x00\s]+)*)?")


class AiohttpTransport(httpx2.AsyncBaseTransport):
    """Sends the requests of an ``httpx2.AsyncClient`` through aiohttp's connections.

    Args:
        verify: Checks certificates.
    """

    def __init__(self, verify: ssl.SSLContext) -> None:
        connector = aiohttp.TCPConnector(
            limit=0, ssl=verify, keepalive_timeout=_KEPT, resolver=aiohttp.ThreadedResolver(), ttl_dns_cache=10
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
            max_line_size=_LONGEST_HEADER,
            max_field_size=_LONGEST_HEADER,
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request and wait for the head of its answer."""
        seconds = request.extensions.get("timeout", {}).get("connect")
        timeout = aiohttp.ClientTimeout(total=None, connect=seconds, ceil_threshold=math.inf)
        url = request.url.copy_with(username=None, password=None) if request.url.userinfo else request.url
        body = await request.aread()
        try:
            response = await self._session.request(
                request.method,
                URL(str(url), encoded=True),
                data=body if len(body) < _LARGE else io.BytesIO(body),
                headers=_headers(request),
                allow_redirects=False,
                timeout=timeout,
            )
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _translated(error, request) from error
        reason = (response.reason or "").encode("latin-1", "replace")
        return httpx2.Response(
            response.status,
            headers=list(response.raw_headers),
            stream=_Body(response, request),
            extensions={"http_version": b"HTTP/1.1", "reason_phrase": reason},
        )

    async def aclose(self) -> None:
        """Close all connections."""
        await self._session.close()

    def __del__(self) -> None:
        """Drop the connections when their event loop has ended before it closed them.

        No library offers this, so a private member is used, as far as it is there.
        """
        connector = self._session.connector
        self._session.detach()
        if connector is not None and not connector.closed:
            getattr(connector, "_close", bool)()


class _Body(httpx2.AsyncByteStream):
    """The body of an answer, as it comes.

    aiohttp waits on where a chunk is malformed, and takes a reset for the end of a body that has no other end; so the
    end of the connection is watched here.
    """

    def __init__(self, response: aiohttp.ClientResponse, request: httpx2.Request) -> None:
        self._response, self._request = response, request
        protocol = response.connection.protocol if response.connection is not None else None
        self._closed = protocol.closed if protocol is not None else None
        if self._closed is not None:
            self._closed.add_done_callback(self._end)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._response.content.iter_any():
                yield chunk
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _translated(error, self._request) from error
        endless = not {"Content-Length", "Transfer-Encoding"} & self._response.headers.keys()
        if endless and self._closed is not None and self._closed.done() and (broken := self._closed.exception()):
            raise httpx2.ReadError(str(broken), request=self._request)

    async def aclose(self) -> None:
        if self._closed is not None:
            self._closed.remove_done_callback(self._end)
        self._response.close()  # which leaves a connection alone whose answer was read to its end

    def _end(self, _: Any) -> None:
        content = self._response.content
        if not content.is_eof() and content.exception() is None:
            content.set_exception(aiohttp.ClientPayloadError("the connection ended inside the answer"))


def _headers(request: httpx2.Request) -> CIMultiDict[str]:
    """The headers, checked as httpx2's own engine checks them."""
    headers: CIMultiDict[str] = CIMultiDict()
    for name, value in request.headers.raw:
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise httpx2.LocalProtocolError(f"illegal header {name!r}", request=request)
        headers.add(name.decode("ascii"), value.decode("utf-8", "surrogateescape"))
    return headers


def _translated(error: Exception, request: httpx2.Request) -> Exception:
    """The error as httpx2's own engine raises it."""
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return httpx2.ConnectTimeout(str(error), request=request)
    if isinstance(error, aiohttp.ClientConnectorError):
        return httpx2.ConnectError(str(error.os_error) or str(error), request=request)
    if isinstance(error, aiohttp.InvalidURL):
        return httpx2.InvalidURL(str(error))
    if isinstance(error, aiohttp.ClientOSError | OSError):
        return httpx2.ReadError(str(error), request=request)
    return httpx2.RemoteProtocolError(str(error) or type(error).__name__, request=request)
