"""A completion in the API's format, whole or in chunks, with every required member in the right type."""

from __future__ import annotations

import base64
import secrets
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from agentkit.chat import Choice, Reply, Usage, encode_json
from agentkit.messages import ToolCall

__all__ = [
    "DONE",
    "Answer",
    "Chunks",
    "Completion",
    "Part",
    "audio_to_wire",
    "call_to_wire",
    "error_chunk",
    "logprobs_to_wire",
    "usage_to_wire",
    "used_since",
]

DONE = b"data: [DONE]\n\n"


class Part(NamedTuple):
    """What is sent to a client next: a delta of an answer, or an event of its run.

    Attributes:
        text: The next text, if the delta has nothing else.
        delta: Any other delta; None for an event.
        finish_reason: Why the answer ended, in its last delta.
        logprobs: Log probabilities of the text so far.
        event: The JSON form of the event.
        extension: The member ``agentkit`` of the last delta, for clients that know it.
    """

    text: str = ""
    delta: Mapping[str, Any] | None = None
    finish_reason: str | None = None
    logprobs: Mapping[str, Any] | None = None
    event: Mapping[str, Any] | None = None
    extension: Mapping[str, Any] | None = None


@dataclass(slots=True)
class Answer:
    """One answer of a completion, put together from its parts.

    Attributes:
        index: Its place among the answers.
        text: The text, in the strings it arrived in.
        calls: The calls of the client's tools by index, in the API's format.
        usage: What it used.
        reply: The last reply of the upstream model, parts of which a completion repeats.
        events: The events of the run, for clients that asked for them.
    """

    index: int = 0
    text: list[str] = field(default_factory=list[str])
    calls: dict[int, dict[str, Any]] = field(default_factory=dict[int, dict[str, Any]])
    usage: Usage = Usage()
    reply: Reply | None = None
    events: list[Mapping[str, Any]] = field(default_factory=list[Mapping[str, Any]])
    refusal: str = ""
    reasoning: str = ""
    annotations: list[Any] = field(default_factory=list[Any])
    audio: dict[str, Any] | None = None
    logprobs: dict[str, Any] | None = None
    finish_reason: str = "stop"
    extension: Mapping[str, Any] | None = None

    def add(self, part: Part) -> Part:
        """Add a part, and return it."""
        if part.text:
            self.text.append(part.text)
            return part
        delta = part.delta or {}
        self.refusal += delta.get("refusal") or ""
        self.reasoning += delta.get("reasoning_content") or ""
        self.annotations += delta.get("annotations", ())
        for call in delta.get("tool_calls", ()):
            self._add_call(call)
        if "audio" in delta:
            self.audio = {"id": "", "expires_at": 0, **(self.audio or {}), **_ids(delta["audio"])}
        if part.logprobs is not None:
            self.logprobs = _joined(self.logprobs, part.logprobs)
        if part.event is not None:
            self.events.append(part.event)
        self.finish_reason = part.finish_reason or self.finish_reason
        self.extension = part.extension or self.extension
        return part

    def _add_call(self, delta: Mapping[str, Any]) -> None:
        index = delta["index"]
        if index not in self.calls:
            self.calls[index] = {name: value for name, value in delta.items() if name != "index"}
            return
        function = self.calls[index]["function"]
        self.calls[index]["function"] = {
            **function,
            "arguments": function["arguments"] + delta["function"]["arguments"],
        }

    def message(self) -> dict[str, Any]:
        """The message of the answer."""
        text = "".join(self.text)
        said_nothing = not text and (self.calls or self.refusal or self.audio)
        message: dict[str, Any] = {
            "role": "assistant",
            "content": None if said_nothing else text,
            "refusal": self.refusal or None,
            "annotations": self.annotations,
        }
        if self.calls:
            message["tool_calls"] = [self.calls[index] for index in sorted(self.calls)]
        if self.reasoning:
            message["reasoning_content"] = self.reasoning
        if self.audio is not None and self.reply is not None and self.reply.audio is not None:
            message["audio"] = self.reply.audio.to_record()
        return message

    def choice(self) -> dict[str, Any]:
        """The answer as a choice of a whole completion."""
        members = {"index": self.index, "message": self.message(), "finish_reason": self.finish_reason}
        return {**members, "logprobs": self.logprobs}


def _ids(audio: Mapping[str, Any]) -> dict[str, Any]:
    return {name: audio[name] for name in ("id", "expires_at") if name in audio}


def _joined(before: Mapping[str, Any] | None, more: Mapping[str, Any]) -> dict[str, Any]:
    known = before or {}
    joined = {name: [*(known.get(name) or ()), *(more.get(name) or ())] for name in ("content", "refusal")}
    return {name: tokens or None for name, tokens in joined.items()}


def logprobs_to_wire(choice: Choice) -> dict[str, Any] | None:
    """Log probabilities as the API writes them."""
    found = choice.to_record().get("logprobs")
    return None if found is None else _joined(None, found)


def call_to_wire(call: ToolCall, id_: str, index: int) -> dict[str, Any]:
    """Return a whole call as a delta of a stream; its arguments are what the model wrote."""
    if call.input is not None:
        return {"index": index, "id": id_, "type": "custom", "custom": {"name": call.name, "input": call.input}}
    function = {"name": call.name, "arguments": call.written}
    return {"index": index, "id": id_, "type": "function", "function": function}


def audio_to_wire(data: bytes, transcript: str) -> dict[str, Any]:
    """A part of a spoken answer."""
    members = {"data": base64.b64encode(data).decode() if data else "", "transcript": transcript}
    return {name: value for name, value in members.items() if value}


def usage_to_wire(usage: Usage) -> dict[str, Any]:
    """Usage as the API writes it."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
            "audio_tokens": usage.prompt_audio_tokens,
            "text_tokens": usage.prompt_text_tokens,
            "image_tokens": usage.prompt_image_tokens,
        },
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens,
            "audio_tokens": usage.completion_audio_tokens,
            "text_tokens": usage.completion_text_tokens,
            "accepted_prediction_tokens": usage.accepted_prediction_tokens,
            "rejected_prediction_tokens": usage.rejected_prediction_tokens,
        },
    }


def used_since(usage: Usage, before: Usage) -> Usage:
    """Return the difference between two usages."""
    if not before.requests:
        return usage
    counts = (name for name in Usage.__dataclass_fields__ if name != "cost")
    return Usage(**{name: max(0, getattr(usage, name) - getattr(before, name)) for name in counts})


class Completion:
    """The members of a completion, or of each chunk, other than the answers.

    Args:
        model: The name of the model, as the client wrote it.
        metadata: The metadata of the request.
    """

    def __init__(self, model: str, metadata: Mapping[str, str] | None = None) -> None:
        self.id = f"chatcmpl-{uuid.uuid4().hex}"
        self.created = int(time.time())
        self.model = model
        self.metadata = metadata

    def whole(self, answers: Sequence[Answer]) -> dict[str, Any]:
        """The completion as one object."""
        body: dict[str, Any] = {
            "id": self.id,
            "object": "chat.completion",
            "created": self.created,
            "model": self.model,
            "choices": [each.choice() for each in answers],
            "usage": usage_to_wire(_sum(answers)),
            **_of_reply(answers),
        }
        if self.metadata is not None:
            body["metadata"] = dict(self.metadata)
        found = [each for each in answers if each.extension is not None]
        if found:
            body["agentkit"] = {
                **(found[0].extension or {}),
                **({"events": found[0].events} if found[0].events else {}),
            }
        if len(found) > 1:
            body["agentkit"] = {"choices": [{"choice": each.index, **(each.extension or {})} for each in found]}
        return body


def _sum(answers: Sequence[Answer]) -> Usage:
    return answers[0].usage if len(answers) == 1 else sum((each.usage for each in answers), Usage())


def _of_reply(answers: Sequence[Answer]) -> dict[str, Any]:
    reply = answers[0].reply if answers else None
    if reply is None:
        return {}
    members = {"service_tier": reply.service_tier, "system_fingerprint": reply.system_fingerprint}
    return {name: value for name, value in members.items() if value}


class Chunks:
    """Encodes the chunks of a streamed completion.

    Args:
        completion: What each of them has.
        usage: Whether a last chunk has the usage, and all others ``usage: null``.
        obfuscation: Whether to pad each chunk, so that its length says little about its text.
    """

    def __init__(self, completion: Completion, *, usage: bool, obfuscation: bool) -> None:
        head = {"id": completion.id, "object": "chat.completion.chunk", "created": completion.created}
        self._head = b"data: " + encode_json({**head, "model": completion.model})[:-1] + b","
        self._usage = usage
        self._obfuscation = obfuscation
        self._tail = b',"usage":null' if usage else b""
        self._texts: dict[int, bytes] = {}  # the part of a chunk before the text, for an answer that has begun
        self._end = b'},"logprobs":null,"finish_reason":null}]' + self._tail + b"}\n\n"

    def encode(self, index: int, part: Part) -> bytes:
        """Encode a part of an answer; the first part has the role."""
        if part.text and index in self._texts and not self._obfuscation:
            return self._texts[index] + encode_json(part.text) + self._end
        if part.event is not None:
            return self._chunk(b'"choices":[]', encode_json({"choice": index, "event": part.event}))
        first = b""
        if index not in self._texts:
            first = self._choice(index, Part(delta={"role": "assistant", "content": "", "refusal": None}))
            self._texts[index] = self._head + f'"choices":[{{"index":{index},"delta":{{"content":'.encode()
        return first + self._choice(index, part)

    def _choice(self, index: int, part: Part) -> bytes:
        delta = {"content": part.text} if part.text else part.delta or {}
        choice = {"index": index, "delta": delta, "logprobs": part.logprobs, "finish_reason": part.finish_reason}
        extension = None if part.extension is None else encode_json({"choice": index, **part.extension})
        return self._chunk(b'"choices":[' + encode_json(choice) + b"]", extension)

    def _chunk(self, choices: bytes, extension: bytes | None = None) -> bytes:
        parts = [self._head, choices, self._tail]
        if extension is not None:
            parts += [b',"agentkit":', extension]
        if self._obfuscation:
            padding = secrets.token_urlsafe(16)[: 1 + secrets.randbelow(16)]
            parts += [b',"obfuscation":', encode_json(padding)]
        return b"".join([*parts, b"}\n\n"])

    def end(self, answers: Sequence[Answer]) -> bytes:
        """Encode the usage, if requested, and the end of the stream."""
        if not self._usage:
            return DONE
        usage = encode_json(usage_to_wire(_sum(answers)))
        more = b"".join(b"," + encode_json({name: value})[1:-1] for name, value in _of_reply(answers).items())
        return self._head + b'"choices":[],"usage":' + usage + more + b"}\n\n" + DONE


def error_chunk(body: Mapping[str, Any]) -> bytes:
    """Encode an error as an event of a stream."""
    return b"data: " + encode_json(body) + b"\n\n"
