"""A completion on its way to a client: whole, or as a stream whose parts go out together when many come at once."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import anyio
from starlette.types import Send

from agentkit.chat import encode_json
from agentkit.serve.backend import Job
from agentkit.serve.completion import Chunks
from agentkit.serve.errors import ApiError
from agentkit.serve.wire import StreamOptionsBody

__all__ = ["Writer"]

_FLUSH = 64 * 1024  # bytes of a stream that are sent at once
_SOON = 0.005  # seconds that a chunk may wait for the next ones, when many come
_RECORDED = 8 * 1024 * 1024  # bytes of an answer that is stored for its idempotency key


class Writer:
    """Writes a completion: whole, or as a stream that begins with its first chunk.

    Until then, an error is an answer with its own status.
    """

    def __init__(self, send: Send, options: StreamOptionsBody | None, *, stream: bool, keep_alive: float) -> None:
        self._send, self._options, self._silence = send, options, keep_alive
        self._buffer = bytearray()
        self._record = bytearray()
        self._flushed = time.monotonic() - _SOON
        self._due, self._is_due, self._turn = anyio.Event(), False, anyio.Lock()
        self.streams = stream
        self.records = False
        self.started = self.ended = False

    def chunks(self, job: Job) -> Chunks:
        """The encoder of the chunks."""
        usage = bool(self._options and self._options.include_usage)
        return Chunks(
            job.completion, usage=usage, obfuscation=bool(self._options and self._options.include_obfuscation)
        )

    async def write(self, data: bytes) -> None:
        """Write part of a stream. Many parts that come at once go out together, very soon."""
        self._buffer += data
        if len(self._buffer) >= _FLUSH or time.monotonic() - self._flushed >= _SOON:
            await self._flush()
        elif not self._is_due:
            self._is_due = True
            self._due.set()

    async def end(self, data: bytes) -> None:
        """Write the end of a stream."""
        self._buffer += data
        await self._flush()
        self.ended = True
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def whole(self, body: Mapping[str, Any]) -> None:
        """Write a whole completion."""
        await self._whole(encode_json(body))

    async def repeat(self, body: str) -> None:
        """Write an answer that was recorded."""
        if self.streams:
            await self.end(body.encode())
        else:
            await self._whole(body.encode())

    async def fail(self, error: ApiError) -> None:
        """Answer with an error, if nothing was written yet."""
        await self._object(encode_json(error.body()), error.status, error.headers)

    def recorded(self) -> str | None:
        """The answer as it was written; None if it is too long."""
        return self._record.decode() if len(self._record) <= _RECORDED else None

    async def flush_in_time(self) -> None:
        """Send what waits for more of its kind, and a comment whenever nothing was sent for some time."""
        while True:
            with anyio.move_on_after(self._flushed + self._silence - time.monotonic()) as silence:
                await self._due.wait()
            if silence.cancelled_caught:
                await self._flush(b": keep-alive\n\n" if time.monotonic() - self._flushed >= self._silence else b"")
                continue
            self._due = anyio.Event()
            await anyio.sleep(max(0, self._flushed + _SOON - time.monotonic()))
            self._is_due = False
            await self._flush()

    async def _flush(self, comment: bytes = b"") -> None:
        async with self._turn:
            data = bytes(self._buffer)
            self._buffer.clear()
            if self.ended or not (data or comment):
                return
            if self.records and len(self._record) <= _RECORDED:
                self._record += data
            if not self.started:
                self.started = True
                await self._start(200, b"text/event-stream; charset=utf-8", {"x-accel-buffering": "no"})
            self._flushed = time.monotonic()
            await self._send({"type": "http.response.body", "body": data + comment, "more_body": True})

    async def _whole(self, data: bytes) -> None:
        if self.records:
            self._record += data
        self.ended = True
        await self._object(data, 200, {})

    async def _object(self, data: bytes, status: int, headers: Mapping[str, str]) -> None:
        self.started = True
        await self._start(status, b"application/json", {**headers, "content-length": str(len(data))})
        await self._send({"type": "http.response.body", "body": data, "more_body": False})

    async def _start(self, status: int, kind: bytes, headers: Mapping[str, str]) -> None:
        more = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind), *more]})
