"""The HTTP client for the SDK: it bounds and normalizes what a server sends, and remembers its status for errors.

The SDK's transport ends the whole session if one answer is refused, malformed or missing. Here every request gets its
own answer: the server's, or a JSON-RPC error that says what was wrong.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any, cast

import httpx2
from mcp.client.auth import OAuthFlowError

from agentkit.mcp.normalize import Inbox, Json
from agentkit.mcp.wire import LARGEST, Line, Wire

__all__ = ["STATUS", "HttpClient"]

STATUS, SAID = "agentkit:status", "agentkit:said"  # members of the data of an error
_SLICE = 64 * 1024  # bytes decompressed at once
_ERROR_BODY = 64 * 1024  # bytes of the body of a refusal that are read
_REFUSED, _UNKNOWN, _CLOSED, _FAILED = -32600, -32601, -32000, -32603


class HttpClient(httpx2.AsyncClient):
    """A client of one server.

    Args:
        wire: Learns that the server has forgotten the session.
        headers: Sent with every request.
        auth: Signs the requests.
    """

    def __init__(self, wire: Wire, headers: Mapping[str, str], auth: httpx2.Auth | None = None) -> None:
        super().__init__(
            headers={"accept-encoding": "identity", **headers},
            auth=auth,
            timeout=httpx2.Timeout(30, read=None),
            event_hooks={"response": [_bound]},
        )
        self._wire = wire
        self._inbox = Inbox(wire.noise)

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        """Send a request from the SDK; one that expects an answer always gets one."""
        message = _message_of(request)
        self._inbox.sent(message)
        identity = message.get("id") if "method" in message else None
        try:
            response = await super().send(request, **options)
            if response.is_redirect or request.method != "POST":
                if request.method == "GET" and response.status_code == 200:
                    return _replaced(response, stream=_Events(response, self._inbox, None))
                return response
            if identity is None:
                return response if response.status_code < 400 else _replaced(response, status=202)
            return await self._answer(response, identity)
        except Exception as error:
            found = _first(error)
            if isinstance(found, OAuthFlowError) and identity is not None:
                return _failed(request, identity, {"code": _REFUSED, "message": str(found), "data": {STATUS: 401}})
            if request.method != "POST" or not isinstance(found, httpx2.HTTPError | OSError | httpx2.StreamError):
                raise
            if identity is None:
                return httpx2.Response(202, request=request)
            what = " ".join(str(found).split())[:300] or type(found).__name__
            return _failed(request, identity, {"code": _CLOSED, "message": what, "data": {STATUS: 0}})

    async def _answer(self, response: httpx2.Response, identity: int | str) -> httpx2.Response:
        """Return the answer to a request, normalized, or an error in its place."""
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if response.status_code >= 400:
            return await self._refusal(response, identity)
        if kind == "text/event-stream":
            return _replaced(response, stream=_Events(response, self._inbox, identity))
        if response.status_code == 202:
            return response
        body = await _read(response, _ERROR_BODY if kind != "application/json" else LARGEST)
        messages = self._inbox.read(body, identity) if body.lstrip()[:1] in (b"{", b"[") else []
        if len(messages) == 1:
            return _replaced(response, kind="application/json", content=json.dumps(messages[0]).encode())
        if messages:
            events = "".join(f"data: {json.dumps(each)}\n\n" for each in messages)
            return _replaced(response, kind="text/event-stream", content=events.encode())
        said = f"it answered with {kind or 'no content type'}, which is not MCP"
        if kind == "application/json":
            said = "its answer is not one of MCP"
        data = {STATUS: response.status_code, SAID: body[:300].decode("utf-8", "replace")}
        return _failed(response.request, identity, {"code": _REFUSED, "message": said, "data": data}, response)

    async def _refusal(self, response: httpx2.Response, identity: int | str) -> httpx2.Response:
        status = response.status_code
        try:
            body = await _read(response, _ERROR_BODY)
        except (httpx2.HTTPError, httpx2.StreamError):
            body = b""
        messages = self._inbox.read(body, identity) if body.lstrip()[:1] == b"{" else []
        error: Json = {"code": _FAILED if status >= 500 else _REFUSED, "message": f"HTTP {status}"}
        if status == 404 and "mcp-session-id" in response.request.headers:
            self._wire.session_lost = True
            self._wire.end()
        elif status in (404, 405):
            error["code"] = _UNKNOWN
        if messages and "error" in messages[0]:
            error = messages[0]["error"]
        data = error.get("data")
        known = cast("Json", data) if isinstance(data, dict) else {} if data is None else {"data": data}
        error["data"] = {**known, STATUS: status, SAID: body[:300].decode("utf-8", "replace")}
        return _failed(response.request, identity, error, response)


def _message_of(request: httpx2.Request) -> Json:
    if request.method != "POST" or "json" not in request.headers.get("content-type", ""):
        return {}
    try:
        made = json.loads(request.content)
    except (ValueError, httpx2.RequestNotRead):
        return {}
    return cast("Json", made) if isinstance(made, dict) else {}


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    return error


def _replaced(
    response: httpx2.Response,
    *,
    status: int = 200,
    kind: str = "",
    content: bytes | None = None,
    stream: httpx2.AsyncByteStream | None = None,
) -> httpx2.Response:
    """The response with another body, its headers kept."""
    dropped = ("content-length", "content-encoding", "transfer-encoding", *(["content-type"] if kind else []))
    headers = [(name, value) for name, value in response.headers.multi_items() if name.lower() not in dropped]
    if kind:
        headers.append(("content-type", kind))
    return httpx2.Response(status, headers=headers, content=content, stream=stream, request=response.request)


def _failed(
    request: httpx2.Request, identity: int | str, error: Json, response: httpx2.Response | None = None
) -> httpx2.Response:
    body = json.dumps({"jsonrpc": "2.0", "id": identity, "error": error}).encode()
    given = httpx2.Response(200, request=request) if response is None else response
    return _replaced(given, kind="application/json", content=body)


# Bounds.


async def _bound(response: httpx2.Response) -> None:
    """Decompress the body here, in small steps: httpx would decompress a bomb all at once."""
    encoding = response.headers.get("content-encoding", "").strip().lower()
    if "content-encoding" in response.headers:
        del response.headers["content-encoding"]
    is_endless = response.headers.get("content-type", "").startswith("text/event-stream")
    if isinstance(response.stream, httpx2.AsyncByteStream):
        response.stream = _Bounded(response.stream, encoding, is_endless=is_endless)


class _Bounded(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream, encoding: str, *, is_endless: bool) -> None:
        self._stream, self._encoding, self._is_endless = stream, encoding, is_endless

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._encoding not in ("", "identity", "gzip", "x-gzip", "deflate"):
            raise httpx2.DecodingError(f"its answer is compressed ({self._encoding[:50]}), which was not requested")
        unpacker = None if self._encoding in ("", "identity") else zlib.decompressobj(47)
        size = 0
        async for packed in self._stream:
            chunk = packed
            while chunk:
                part = chunk
                if unpacker is not None:
                    try:
                        part = unpacker.decompress(chunk, _SLICE)
                    except zlib.error as error:
                        raise httpx2.DecodingError(f"its compressed answer is damaged: {error}") from None
                chunk = b"" if unpacker is None else unpacker.unconsumed_tail
                size += len(part)
                if size > LARGEST and not self._is_endless:
                    raise httpx2.DecodingError(f"its answer is larger than {LARGEST // 2**20} MiB")
                if part:
                    yield part

    async def aclose(self) -> None:
        await self._stream.aclose()


async def _read(response: httpx2.Response, most: int) -> bytes:
    """The first bytes of a body; the rest is not read."""
    parts: list[bytes] = []
    size = 0
    try:
        async with aclosing(response.aiter_bytes()) as chunks:
            async for part in chunks:
                parts.append(part)
                size += len(part)
                if size > most:
                    break
    finally:
        await response.aclose()
    return b"".join(parts)[:most]


class _Events(httpx2.AsyncByteStream):
    """The events of a stream, each message in them normalized."""

    def __init__(self, response: httpx2.Response, inbox: Inbox, identity: int | str | None) -> None:
        self._response, self._inbox, self._identity = response, inbox, identity

    async def __aiter__(self) -> AsyncIterator[bytes]:
        data, fields = Line(), list[bytes]()
        async for line in self._lines():
            if not isinstance(line, bytes):  # a line that is too long
                for each in self._inbox.unreadable(*line, f"is larger than {LARGEST // 2**20} MiB"):
                    yield _event(each)
            elif line.startswith(b"data:"):
                data.add(line[5:].removeprefix(b" ") + b"\n")
            elif line:
                if line.startswith((b"id:", b"retry:")) and len(line) < 4096:
                    fields.append(line + b"\n")
            else:
                whole = data.take()
                if isinstance(whole, bytes):
                    messages = self._inbox.read(whole, self._identity) if whole.strip() else []
                else:
                    messages = self._inbox.unreadable(*whole, f"is larger than {LARGEST // 2**20} MiB")
                if fields:
                    yield b"".join(fields) + (b"" if messages else b"data:\n\n")
                    fields = []
                for each in messages:
                    yield _event(each)

    async def _lines(self) -> AsyncGenerator[bytes | tuple[bytes, bytes]]:
        line, after_return = Line(), False
        async for read in self._response.aiter_bytes():
            chunk = read[1:] if after_return and read[:1] == b"\n" else read
            after_return = chunk.endswith(b"\r")
            *ends, rest = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
            for end in ends:
                line.add(end)
                yield line.take()
            line.add(rest)

    async def aclose(self) -> None:
        await self._response.aclose()


def _event(message: Json) -> bytes:
    return b"data: " + json.dumps(message).encode() + b"\n\n"
