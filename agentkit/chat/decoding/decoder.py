"""The bytes of one HTTP response -> one finished `Reply`. Pure: the transport feeds it, nothing here waits.

The first bytes decide whether a response is streamed or whole, not what was requested, as servers send either in place
of the other.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json

from agentkit.chat.decoding.accumulator import ReplyAccumulator
from agentkit.chat.decoding.text import read_failed_generation, read_rejected_call
from agentkit.chat.events import Emit, ReplyRepaired
from agentkit.chat.json_values import as_mapping, as_mappings
from agentkit.chat.reply import Reply
from agentkit.chat.transport.body import MAX_LINE, ServerSentEvent, SseDecoder
from agentkit.chat.transport.redaction import Redactor
from agentkit.chat.transport.status import error_of_status, error_of_value, excerpt
from agentkit.errors import BadRequest, ContentFiltered, IncompleteReply, InvalidReply, MalformedToolCall, ModelError

_MAX_EXCERPT = 64 * 1024  # bytes of a response that an error looks at
_BEFORE = b"\xef\xbb\xbf \t\r\n"  # a byte order mark and blanks, which say nothing
MAX_REPLY = 16 * 1024 * 1024  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadLimits:
    """Limits of a response, and how it is read.

    Attributes:
        max_reply: Maximum size of a response in bytes, decompressed; more raises `InvalidReply`.
        max_line: Maximum size in bytes of one line of a stream, and of one event in it; more raises `InvalidReply`.
        calls_in_text: Whether calls that a model wrote into its text, as its server has no parser for them, are read as
            calls; otherwise they are text. None leaves it to the profile.
    """

    max_reply: int = MAX_REPLY
    max_line: int = MAX_LINE
    calls_in_text: bool | None = None


_DEFAULTS = ReadLimits()


class ResponseDecoder:
    """Takes a response's status, headers and bytes, and emits deltas as soon as they are certain.

    Args:
        emit: Receives each delta.
        server: The name of the server in errors.
        choices: The number of answers that were requested.
        offered: The tools of the request: name -> JSON Schema of its arguments, None for a custom tool.
        taken: Ids of earlier calls, which no call of the reply gets.
        calls_in_text: Whether the server has no parser for calls, so that those in the text are read; the limits can
            overrule it.
        redactor: Knows the keys, which must not appear in any error. The model's own text is never redacted.
        read_limits: How much is read, and how.
    """

    def __init__(
        self,
        emit: Emit,
        *,
        server: str,
        choices: int = 1,
        offered: Mapping[str, Mapping[str, Any] | None] | None = None,
        taken: Iterable[str] = (),
        calls_in_text: bool = False,
        redactor: Redactor | None = None,
        read_limits: ReadLimits = _DEFAULTS,
    ) -> None:
        self._emit = emit
        self._server = server
        self._functions = {name: schema for name, schema in (offered or {}).items() if schema is not None}
        in_text = calls_in_text if read_limits.calls_in_text is None else read_limits.calls_in_text
        self._takes_custom = len(self._functions) < len(offered or {})
        self._accumulator = ReplyAccumulator(
            choices=choices,
            names=offered or (),
            calls_in_text=self._functions if in_text else None,
            taken=taken,
        )
        self._redact = redactor or Redactor()
        self._read_limits = read_limits
        self._status = 200
        self._headers: dict[str, str] = {}
        self._size = 0
        self._whole = bytearray()  # a response that is not an event stream, or its first bytes
        self._sse: SseDecoder | None = None
        self._done = False
        self._malformed = ""  # an event that is not JSON: an error only if it was the last

    @property
    def done(self) -> bool:
        """True if the stream has ended."""
        return self._done

    @property
    def text(self) -> str:
        """The first answer's text so far."""
        return self._accumulator.text

    @property
    def complete(self) -> bool:
        """True if the reply is whole, though its usage may still come."""
        return self._done or (self._sse is not None and self._accumulator.finished)

    def start(self, status: int, headers: Mapping[str, str]) -> None:
        """Take the response's status and headers (names in lower case)."""
        self._status = status
        self._headers = dict(headers)

    def feed(self, chunk: bytes) -> bool:
        """Take the next bytes; return True if they advance the reply (a keep-alive comment does not)."""
        self._size += len(chunk)
        if self._size > self._read_limits.max_reply:
            raise InvalidReply(
                f"{self._server} sent more than {self._read_limits.max_reply:,} bytes in one reply; "
                "ReadLimits(max_reply=...) sets the limit"
            )
        if self._sse is None and not self._is_stream(chunk):
            return bool(self._whole)
        if self._sse is None:
            self._sse = SseDecoder(max_line=self._read_limits.max_line)
            chunk = bytes(self._whole)
        progress = False
        for event in self._sse.feed(chunk):
            progress = self._take(event) or progress
        return progress

    def finish(self) -> Reply:
        """The reply, when all bytes have come.

        Raises:
            ModelError: The response is an error, is not a reply, or ended before it was complete.
        """
        if 300 <= self._status < 400:
            raise BadRequest(
                f"{self._server} answered {self._status}: it has moved to "
                f"{excerpt(self._headers.get('location', ''), redact=self._redact)!r}; "
                "if you trust that place, make it the base URL",
                status=self._status,
                headers=self._headers,
            )
        if self._status >= 400:
            body = bytes(self._whole)
            self._recover(error_of_status(self._status, self._headers, body, server=self._server, redact=self._redact))
        elif self._sse is None:
            self._take_whole()
        else:
            for last in self._sse.finish():
                self._take(last)
            self._check_end()
        for event in self._accumulator.close():
            self._emit(event)
        reply = self._accumulator.finish()
        for repair in reply.repairs:
            self._emit(ReplyRepaired(repair))
        return self._checked(reply)

    def _is_stream(self, chunk: bytes) -> bool:
        self._whole += chunk if self._whole else chunk.lstrip(_BEFORE)  # some keep a connection alive with blank lines
        if self._status >= 400:
            return False
        start = bytes(self._whole[:64])
        if start.startswith((b"data:", b"event:", b"id:", b"retry:", b":")):
            return True
        named_so = self._headers.get("content-type", "").startswith("text/event-stream")
        return named_so and start[:1] not in (b"", b"{", b"[", b"<")

    def _take(self, event: ServerSentEvent) -> bool:
        """Take an event; return True if it advances the reply."""
        data = event.data.strip()
        if self._done or not data:
            return False
        if data == b"[DONE]":
            self._done = True
            return True
        try:
            chunk: object = from_json(data)
        except ValueError:
            chunk = _parse_leniently(data)
        if event.event == "error":
            said = data.decode("utf-8", "replace") if chunk is None else chunk
            chunk = chunk if "error" in as_mapping(chunk) else {"error": said}
        if chunk is None:
            self._malformed = excerpt(data.decode("utf-8", "replace"), redact=self._redact)
            return True
        if (delta := self._accumulator.add_more(chunk)) is not None:
            self._emit(delta)
            return True
        members = as_mapping(chunk)
        self._add(members)
        return bool(members.get("choices") or members.get("usage"))

    def _take_whole(self) -> None:
        try:
            chunk: object = from_json(self._whole)
        except ValueError:
            chunk = _parse_leniently(self._whole)
        del self._whole[_MAX_EXCERPT:]  # the rest would double the memory that a large reply takes
        value = as_mapping(chunk)
        if chunk is None:
            raise self._not_a_reply(f"answered {self._status} with something that is not JSON")
        if "choices" not in value and _error_in(value) is None:
            raise self._not_a_reply("answered with something that is not a completion")
        self._add(value, whole=True)
        for choice in as_mappings(value.get("choices")):
            message = choice.get("message")
            if isinstance(message or choice.get("delta"), Mapping):
                return
            if isinstance(message, Mapping) and choice.get("finish_reason"):  # an empty one that is complete
                return
        if not self._accumulator.has_calls:
            raise self._not_a_reply("answered without any message in a choice")

    def _not_a_reply(self, problem: str) -> InvalidReply:
        start = self._whole[:_MAX_EXCERPT].decode("utf-8", "replace")
        what = excerpt(start, redact=self._redact) or "an empty body"
        return InvalidReply(f"{self._server} {problem}: {what}", body=what)

    def _add(self, chunk: Mapping[str, Any], *, whole: bool = False) -> None:
        for event in self._accumulator.add(chunk, whole=whole):
            self._emit(event)
        failed = _error_in(chunk)
        if failed is not None:
            error = error_of_value(failed, server=self._server, headers=self._headers, redact=self._redact)
            error.partial = self._accumulator.text
            self._recover(error)

    def _recover(self, error: ModelError) -> None:
        """Raise the error, unless it repeats calls that the server could not parse and that can be read here."""
        if not isinstance(error, MalformedToolCall) or self._accumulator.has_calls:
            raise error
        is_generation = error.code == "tool_use_failed"  # Groq's, which is known to be calls and nothing else
        calls = read_failed_generation(error.generation) if is_generation else []
        calls = calls or read_rejected_call(error.generation, self._functions)
        if not calls:
            raise error
        source = "failed_generation" if is_generation else "error message"
        for event in self._accumulator.add_calls(
            calls, f"the server could not parse a call; it was read from its {source}"
        ):
            self._emit(event)
        self._done = True

    def _check_end(self) -> None:
        complete = self._done or self._accumulator.finished
        readable = self._accumulator.text and not self._accumulator.has_calls
        if complete and self._malformed and readable:
            self._emit(ReplyRepaired(f"an event of the stream was not JSON and was left out ({self._malformed})"))
        elif self._malformed or not complete:
            why = f": an event of the stream was malformed ({self._malformed})" if self._malformed else ""
            raise IncompleteReply(
                f"{self._server} ended the stream without finishing the reply{why}; nothing of it was executed",
                partial=self._accumulator.text,
            )
        if not self._accumulator.seen:
            raise InvalidReply(f"{self._server} sent a stream without any choice")

    def _checked(self, reply: Reply) -> Reply:
        calls = reply.message.tool_calls
        if reply.finish_reason == "content_filter" and not reply.text and not calls:
            raise ContentFiltered(
                f"{self._server} withheld the reply (finish_reason content_filter); change the request"
            )
        if reply.finish_reason == "error":
            raise InvalidReply(f"{self._server} says that making the reply failed (finish_reason error)")
        if (reply.finish_reason or "").lower() in ("tool_calls", "function_call") and not calls and not reply.text:
            raise InvalidReply(f"{self._server} says that the model called a tool, but sent no call")
        custom = next((call.name for call in calls if call.input is not None), None)
        if custom is not None and not self._takes_custom:
            raise InvalidReply(f"{self._server} called {custom!r} as a custom tool, but none was offered")
        return reply


def _parse_leniently(data: bytes | bytearray) -> object:
    """Return the JSON value, or None; a lone surrogate in a string does not invalidate the rest."""
    try:
        return json.loads(data.decode("utf-8-sig", "replace"), strict=False)
    except (ValueError, RecursionError):
        return None


def _error_in(chunk: Mapping[str, Any]) -> object:
    """The error in a response of status 200, in any of its forms; None if there is none."""
    if chunk.get("error") or chunk.get("object") == "error":
        return chunk
    if "choices" not in chunk and chunk.get("detail"):
        return chunk
    for choice in as_mappings(chunk.get("choices")):
        if choice.get("error"):
            return {"error": choice["error"]}
    return None
