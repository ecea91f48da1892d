"""The bytes of one HTTP answer -> one finished `Reply`. Pure: the HTTP seam feeds it, nothing here waits.

A streamed answer and a whole one are told apart by their first bytes rather than by what was asked for, as servers
send either in place of the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic_core import from_json

from agentkit.chat.events import Emit, Mended
from agentkit.chat.faults import error_of_status, error_of_value, excerpt
from agentkit.chat.merge import Merger
from agentkit.chat.reply import Reply
from agentkit.chat.sse import ServerSentEvent, SseDecoder
from agentkit.chat.tolerant import as_mapping
from agentkit.errors import ContentFiltered, IncompleteReply, InvalidReply

__all__ = ["ReplyReader"]

MAX_REPLY = 16 * 1024 * 1024  # bytes


class ReplyReader:
    """Takes an answer's status, headers and bytes, and emits deltas as they become known.

    Args:
        emit: Told of each delta.
        server: Names the endpoint in errors.
        choices: How many answers were asked for.
        secret: A text (the key) that must not appear in any error.
        max_reply: Most bytes of an answer.
    """

    def __init__(
        self, emit: Emit, *, server: str, choices: int = 1, secret: str = "", max_reply: int = MAX_REPLY
    ) -> None:
        self._emit = emit
        self._server = server
        self._merger = Merger(choices=choices)
        self._secret = secret.encode()
        self._max_reply = max_reply
        self._status = 200
        self._headers: dict[str, str] = {}
        self._size = 0
        self._whole = bytearray()  # an answer that is no event stream, or its first bytes
        self._sse: SseDecoder | None = None
        self._done = False
        self._broken = ""  # an event that is not JSON: an error only if it was the last

    def start(self, status: int, headers: Mapping[str, str]) -> None:
        """Take the answer's status and headers (names in lower case)."""
        self._status = status
        self._headers = dict(headers)

    def feed(self, chunk: bytes) -> bool:
        """Take the next bytes; True if they brought the answer further (a keep-alive comment does not)."""
        self._size += len(chunk)
        if self._size > self._max_reply:
            raise InvalidReply(f"{self._server} sent more than {self._max_reply:,} bytes in one reply")
        if self._sse is None and not self._is_stream(chunk):
            return True
        if self._sse is None:
            self._sse = SseDecoder()
            chunk = bytes(self._whole)
        events = [event for event in self._sse.feed(chunk) if event.data]
        for event in events:
            self._take(event)
        return bool(events)

    def finish(self) -> Reply:
        """The reply, when all bytes are there.

        Raises:
            ModelError: The answer is an error, is no reply, or ended before it was complete.
        """
        if self._status >= 400:
            raise error_of_status(
                self._status, self._headers, self._without_secret(bytes(self._whole)), server=self._server
            )
        if self._sse is None:
            self._take_whole()
        else:
            for event in self._sse.finish():
                self._take(event)
            self._check_end()
        reply = self._merger.finish()
        for what in reply.mended:
            self._emit(Mended(what))
        return _checked(reply, self._server)

    def _is_stream(self, chunk: bytes) -> bool:
        self._whole += chunk
        if self._status >= 400:
            return False
        start = bytes(self._whole[:64]).lstrip(b"\xef\xbb\xbf \t\r\n")
        return bool(start) and start.startswith((b"data:", b"event:", b"id:", b"retry:", b":"))

    def _take(self, event: ServerSentEvent) -> None:
        data = self._without_secret(event.data.strip())
        if self._done or not data:
            return
        if data == b"[DONE]":
            self._done = True
            return
        try:
            chunk: object = from_json(data)
        except ValueError as problem:
            self._broken = f"{problem}: {excerpt(data.decode('utf-8', 'replace'))}"
            return
        self._broken = ""
        self._add(
            {"error": chunk} if event.event == "error" and "error" not in as_mapping(chunk) else as_mapping(chunk)
        )

    def _take_whole(self) -> None:
        body = self._without_secret(bytes(self._whole))
        what = excerpt(body.decode("utf-8", "replace")) or "an empty body"
        try:
            value = as_mapping(from_json(body))
        except ValueError:
            raise InvalidReply(
                f"{self._server} answered {self._status} with something that is not JSON: {what}", body=what
            ) from None
        if not {"choices", "error"} & value.keys():
            raise InvalidReply(f"{self._server} answered with something that is not a completion: {what}", body=what)
        self._add(value)
        if not value.get("choices"):
            raise InvalidReply(f"{self._server} answered without any choice: {what}", body=what)

    def _add(self, chunk: Mapping[str, Any]) -> None:
        if chunk.get("error"):
            raise error_of_value(chunk, server=self._server, headers=self._headers)
        for event in self._merger.add(chunk):
            self._emit(event)

    def _check_end(self) -> None:
        if self._done or self._merger.finished:
            return
        why = f", and its last event was broken ({self._broken})" if self._broken else ""
        partial = self._merger.text
        raise IncompleteReply(
            f"{self._server} ended the stream without finishing the reply{why}; nothing of it was executed",
            partial=partial,
        )

    def _without_secret(self, data: bytes) -> bytes:
        return data.replace(self._secret, b"***") if self._secret else data


def _checked(reply: Reply, server: str) -> Reply:
    if reply.finish_reason == "content_filter" and not reply.text and not reply.message.tool_calls:
        raise ContentFiltered(f"{server} withheld the reply (finish_reason content_filter); change the request")
    if reply.finish_reason == "error":
        raise InvalidReply(f"{server} says that making the reply failed (finish_reason error)")
    return reply
