"""The engine of aiohttp, for asyncio (extra ``agentkit[fast]``): its parser of HTTP is written in C."""

from __future__ import annotations

import functools
import io
import math
import re
import ssl
import weakref
from collections.abc import AsyncGenerator
from typing import Any

import aiohttp
import anyio
from aiohttp.client_proto import ResponseHandler
from anyio.lowlevel import current_token
from multidict import CIMultiDict
from yarl import URL

from agentkit.chat.transport.response import KEPT, MOST_CONNECTIONS, Failures, Request, Response, headers_of

_LONGEST_HEADER = 32 * 1024  # bytes
_LARGE = 1024 * 1024  # bytes of a body from which on aiohttp wants to send it in parts
_NAME = re.compile(r"[-!#$%&'*+.^_`|~0-9a-zA-Z]+")
_VALUE = re.compile(r"(?:[^\x00\s]+(?:[ \t]+[^\x00\s]+)*)?")


class _IllegalHeader(Exception):
    """A header holds a forbidden character; neither aiohttp nor its parser checks all of them."""


class AiohttpEngine:
    """Connections of aiohttp.

    Args:
        verify: Checks certificates; needed for ``https://`` alone.
        most: How many connections may be in use at once.
        kept: Seconds that an idle connection is kept.
    """

    failures = Failures(aiohttp.ConnectionTimeoutError, _IllegalHeader, (aiohttp.ClientError, OSError))

    def __init__(
        self, verify: ssl.SSLContext | None = None, *, most: int = MOST_CONNECTIONS, kept: float = KEPT
    ) -> None:
        self._connector = aiohttp.TCPConnector(
            limit=0, ssl=verify or True, keepalive_timeout=kept, resolver=aiohttp.ThreadedResolver(), ttl_dns_cache=10
        )
        loop: Any = current_token().native_token
        vars(self._connector)["_factory"] = functools.partial(_Protocol, loop)  # there is no public API
        self._free = anyio.Semaphore(most, fast_acquire=True)
        self._session = aiohttp.ClientSession(
            connector=self._connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
            max_line_size=_LONGEST_HEADER,
            max_field_size=_LONGEST_HEADER,
        )
        weakref.finalize(self, drop, loop, self._session, self._connector)  # at the end of the program, too

    async def send(self, request: Request, response: Response) -> None:
        """Send a request, and have the response read."""
        headers: CIMultiDict[str] = CIMultiDict()
        for name, value in request.headers.items():
            if not _NAME.fullmatch(name) or not str.isascii(value) or not _VALUE.fullmatch(value):
                raise _IllegalHeader
            headers.add(name, value)
        body = request.body
        seconds = None if math.isinf(request.connect) else request.connect
        try:
            async with (
                self._free,
                self._session.post(
                    URL(request.url, encoded=request.url.isascii()),
                    data=body if len(body) < _LARGE else io.BytesIO(body),
                    headers=headers,
                    allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(total=None, connect=seconds, ceil_threshold=math.inf),
                ) as incoming,
            ):
                try:
                    await response.read(incoming.status, headers_of(incoming.raw_headers), _chunks(incoming))
                finally:
                    incoming.close()  # which leaves a connection alone if its response was read completely
        except aiohttp.ConnectionTimeoutError:
            raise
        except aiohttp.ClientConnectorError as error:
            raise aiohttp.ClientConnectionError(str(error.os_error) or str(error)) from error
        except aiohttp.ClientResponseError as error:  # which would name the whole address
            raise aiohttp.ClientConnectionError(error.message) from error

    async def aclose(self) -> None:
        """Close all connections."""
        await self._session.close()


def drop(loop: Any, session: aiohttp.ClientSession, connector: aiohttp.BaseConnector) -> None:
    """Drop connections that nobody closed before their event loop ended.

    No library offers this, so a private member is used if it exists.
    """
    if not loop.is_running():  # as it may be in another thread when the program ends, which closes them itself
        session.detach()
        getattr(connector, "_close", bool)()


async def _chunks(incoming: aiohttp.ClientResponse) -> AsyncGenerator[bytes]:
    """The body of a response, as it arrives."""
    protocol = incoming.connection.protocol if incoming.connection is not None else None
    while chunk := await incoming.content.readany():
        yield chunk
    if (reset := getattr(protocol, "reset", None)) is not None:
        raise aiohttp.ClientPayloadError(str(reset))


class _Protocol(ResponseHandler):
    """Reads a body that is not what its head says in the same way as httpx2.

    aiohttp gives its parser everything that it has read at once, and the parser refuses all of it, even the body, if
    something follows that is not a response: here, whatever follows a body of known length is discarded. Also, aiohttp
    keeps waiting after a malformed chunk, and takes a reset for the end of a body that has no other end.
    """

    reset: Exception | None = None  # what ended a body that has no other end
    _headed = False  # whether the head of the response has come
    _left: int | None = None  # bytes of the body still to come; None if only its format tells where it ends

    def connection_lost(self, exc: BaseException | None) -> None:
        """End the body."""
        payload = self._payload
        ends = payload is not None and not payload.is_eof()
        super().connection_lost(exc)
        if payload is None or not ends or payload.exception() is not None:
            return
        if payload.is_eof():
            self.reset = exc if isinstance(exc, Exception) else None
        else:
            payload.set_exception(aiohttp.ClientPayloadError("the connection ended inside the answer"))

    def set_response_params(self, **params: Any) -> None:
        """Begin with the next response."""
        self._headed, self._left = False, None
        super().set_response_params(**params)

    def data_received(self, data: bytes) -> None:
        """Give the parser the head, then the body, and nothing else."""
        if data and self._headed and self._payload is not None and self._payload.is_eof():
            self.force_close()  # nothing was asked: the next request would take it for its response
            self.close()
            return
        while not self._headed and 4 <= (end := data.find(b"\r\n\r\n") + 4) < len(data):
            super().data_received(data[:end])  # there are several heads if a server announces its response
            data = data[end:]
        if self._left is not None and len(data) > self._left:
            self.force_close()
            data = data[: self._left]
            if not data:
                return
        if self._left is not None:
            self._left -= len(data)
        super().data_received(data)

    def feed_data(self, data: Any, size: int = 0) -> None:
        """Take the head of a response."""
        message = data[0]
        length = message.headers.get("Content-Length", "")
        self._headed = message.code >= 200
        self._left = int(length) if self._headed and length.isdecimal() and not message.chunked else None
        super().feed_data(data, size)
