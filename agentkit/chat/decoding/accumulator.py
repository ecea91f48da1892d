"""The chunks of a reply -> one finished `Reply`. Pure.

A reply that is not streamed is read in the same way, as one chunk, so that both forms give the same value. Fragments of
calls are joined in `agentkit.chat.decoding.tool_calls`, text is read in `agentkit.chat.decoding.text`.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from agentkit.chat.content import Annotation, AudioOutput, read_annotation
from agentkit.chat.decoding.text import TextScanner
from agentkit.chat.decoding.tool_calls import CallIds, ToolCallAccumulator
from agentkit.chat.decoding.tool_parsers import MARKS, Offered, read_calls
from agentkit.chat.events import AudioDelta, ChoiceDelta, Event, ReasoningDelta, RefusalDelta
from agentkit.chat.json_values import (
    as_count,
    as_index,
    as_mapping,
    as_mappings,
    as_text,
    join_surrogates,
    json_safe,
    omit,
    text_of_content,
)
from agentkit.chat.messages import REASONING_FIELDS, AssistantMessage, ToolCall
from agentkit.chat.reply import Choice, Reply, Usage, read_logprobs, read_usage

__all__ = ["ReplyAccumulator"]

_READ = (  # members of a delta that are read here or as calls
    *("role", "content", "refusal", "tool_calls", "function_call", "annotations", "audio", "reasoning_details"),
    *REASONING_FIELDS,
)
_PLAIN = frozenset(("role", "content", "tool_calls", "function_call"))  # all that most deltas have, at most
_JOINED = ("text", "summary", "data")  # members of reasoning's objects that come in parts
_SENT_BACK = "extra_content"  # Gemini's signatures of its reasoning, which it requires in later requests


@dataclass(slots=True, eq=False)
class MessageAccumulator:
    """Joins the deltas of one answer's message, apart from its calls.

    Attributes:
        extra: Members of the message that have no name here, and parts of its content that are not text.
        scanner: Reads its text.
    """

    extra: dict[str, Any] = field(default_factory=dict[str, Any])
    scanner: TextScanner = field(default_factory=TextScanner)
    _refusal: list[str] = field(default_factory=list[str])
    _reasoning: list[str] = field(default_factory=list[str])
    _reasoning_field: str = ""
    _details: list[_Detail] = field(default_factory=list["_Detail"])
    _details_by_key: dict[str, _Detail] = field(default_factory=dict[str, "_Detail"])
    _annotations: dict[str, Annotation] = field(default_factory=dict[str, Annotation])
    _audio: _AudioParts | None = None
    _sent_back: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def text(self) -> str:
        """The text so far."""
        return self.scanner.text

    def add(self, delta: Mapping[str, Any]) -> list[Event]:
        """Take the next delta, or the whole message, and give its events."""
        content = delta.get("content")
        if isinstance(content, str):
            events = list(self.scanner.feed(content)) if content else []
        else:
            events = list(self._add_parts(content)) if content else []
        if not delta.keys() <= _PLAIN:
            events += self._add_others(delta)
        return events

    def _add_others(self, delta: Mapping[str, Any]) -> Iterator[Event]:
        name = next((each for each in REASONING_FIELDS if as_text(delta.get(each))), "")
        if name:
            self._reasoning_field = self._reasoning_field or name
            yield from self._think(delta[name])
        yield from self._refuse(as_text(delta.get("refusal")))
        if isinstance(delta.get("audio"), Mapping):
            self._audio = self._audio or _AudioParts()
            yield from self._audio.add(as_mapping(delta["audio"]))
        for raw in as_mappings(delta.get("reasoning_details")):
            self._add_detail(json_safe(raw))
        for raw in as_mappings(delta.get("annotations")):
            found = read_annotation(raw)
            self._annotations.setdefault(json.dumps(found.to_wire(), sort_keys=True), found)
        self._sent_back |= json_safe(as_mapping(delta.get(_SENT_BACK)))
        self.extra |= omit(delta, *_READ, _SENT_BACK)

    def message(self, calls: tuple[ToolCall, ...]) -> AssistantMessage:
        """The finished message, with these calls."""
        text, refusal = self.text, "".join(self._refusal) or None
        details = tuple(each.finish() for each in self._details)
        nothing_else = not calls and refusal is None and self._audio is None
        reasoning = (
            join_surrogates("".join(self._reasoning))
            or self.scanner.reasoning
            or "".join(as_text(each.get("text")) for each in details)
        )
        return AssistantMessage(
            text if text or nothing_else else None,
            calls,
            refusal=refusal,
            audio=self._audio.finish() if self._audio else None,
            reasoning=reasoning or None,
            reasoning_field=self._reasoning_field if reasoning else REASONING_FIELDS[0],
            reasoning_details=details,
            annotations=tuple(self._annotations.values()),
            extra={_SENT_BACK: self._sent_back} if self._sent_back else {},
        )

    def _add_parts(self, content: object) -> Iterator[Event]:
        if text := text_of_content(content):
            yield from self.scanner.feed(text)
        for part in as_mappings(content):
            match part.get("type", "text"):
                case "text":
                    pass
                case "refusal":
                    yield from self._refuse(as_text(part.get("refusal")))
                case "thinking":
                    yield from self._think(text_of_content(part.get("thinking")))
                case _:
                    self.extra.setdefault("content", []).append(part)

    def _think(self, thought: str) -> Iterator[Event]:
        if thought:
            self._reasoning.append(thought)
            yield ReasoningDelta(thought)

    def _refuse(self, refusal: str) -> Iterator[Event]:
        if refusal:
            self._refusal.append(refusal)
            yield RefusalDelta(refusal)

    def _add_detail(self, raw: Mapping[str, Any]) -> None:
        """Deltas of one index and type are one object: strings are joined, of other members the last value holds."""
        key = json.dumps([raw.get("index"), raw.get("type")], sort_keys=True)
        whole = self._details_by_key.get(key)
        if whole is None or raw.get("index") is None:
            whole = _Detail()
            self._details.append(whole)
            self._details_by_key.setdefault(key, whole)
        whole.add(raw)


@dataclass(slots=True, eq=False)
class _Detail:
    """An object of reasoning, whose strings come in parts."""

    members: dict[str, Any] = field(default_factory=dict[str, Any])
    texts: dict[str, list[str]] = field(default_factory=dict[str, list[str]])

    def add(self, raw: Mapping[str, Any]) -> None:
        first = not self.members
        for name, value in raw.items():
            if name in _JOINED and isinstance(value, str):
                self.members.setdefault(name, "")
                self.texts.setdefault(name, []).append(value)
            elif value is not None or first:
                self.members[name] = value
                self.texts.pop(name, None)

    def finish(self) -> dict[str, Any]:
        return self.members | {name: "".join(texts) for name, texts in self.texts.items()}


@dataclass(slots=True, eq=False)
class _AudioParts:
    """Sound in base64, split anywhere or encoded delta by delta: four characters are always three bytes."""

    id: str = ""
    expires_at: int = 0
    transcript: list[str] = field(default_factory=list[str])
    data: list[bytes] = field(default_factory=list[bytes])
    rest: str = ""

    def add(self, raw: Mapping[str, Any]) -> Iterator[AudioDelta]:
        self.id = self.id or as_text(raw.get("id"))
        self.expires_at = as_count(raw.get("expires_at")) or self.expires_at
        transcript, self.rest = as_text(raw.get("transcript")), self.rest + as_text(raw.get("data"))
        whole = len(self.rest) // 4 * 4
        data, self.rest = _decoded(self.rest[:whole]), self.rest[whole:]
        if data or transcript:
            self.data.append(data)
            self.transcript.append(transcript)
            yield AudioDelta(data, transcript)

    def finish(self) -> AudioOutput:
        last = _decoded(self.rest + "=" * (-len(self.rest) % 4))
        data, transcript = b"".join([*self.data, last]), "".join(self.transcript)
        return AudioOutput(id=self.id, data=data, transcript=transcript, expires_at=self.expires_at)


def _decoded(text: str) -> bytes:
    """The bytes of base64 that may be padded in its middle; nothing where it is not base64."""
    try:
        return b"".join(base64.b64decode(each) for each in re.findall(r"[^=]+=*", text))
    except (binascii.Error, ValueError):
        return b""


_CHUNK_MEMBERS = frozenset(("id", "object", "created", "model", "choices", "usage", "obfuscation"))
_NAMED_MEMBERS = frozenset(("service_tier", "system_fingerprint", "metadata", "moderation"))
_CHOICE_MEMBERS = frozenset(("index", "delta", "message", "finish_reason", "finishReason", "logprobs", "usage"))
_FINISH_REASONS = {  # servers' own words -> the API's
    **dict.fromkeys(("max_tokens", "max_output_tokens", "model_length", "token_limit"), "length"),
    **dict.fromkeys(
        ("safety", "guardrail_intervened", "content-filter", "recitation", "blocklist", "prohibited_content", "spii"),
        "content_filter",
    ),
    **dict.fromkeys(
        ("network_error", "malformed_function_call", "function_call_filter: malformed_function_call"), "error"
    ),
}


class ReplyAccumulator:
    """Collects the chunks of one reply.

    Args:
        choices: The number of answers that were requested (``n``); chunks of others are ignored.
        names: The names of the offered tools.
        calls_in_text: The tools whose calls may be in the text of an answer.
        taken: Ids that no call of the reply may have.
    """

    def __init__(
        self,
        *,
        choices: int = 1,
        names: Iterable[str] = (),
        calls_in_text: Offered | None = None,
        taken: Iterable[str] = (),
    ) -> None:
        self._calls_in_text = calls_in_text or {}
        marks, known, used = MARKS if calls_in_text else (), frozenset(names), set(taken)
        self._other, *self._choices = (
            _PartialChoice(
                MessageAccumulator(scanner=TextScanner(marks)),
                ToolCallAccumulator(known, CallIds(set(used), salt=str(index or ""))),
            )
            for index in (0, *range(choices))
        )
        self._other_index: int | None = None
        self._other_events: list[Event] = []
        self._ignored: dict[str, None] = {}
        self._closed = False
        self._usage = Usage(requests=1)
        self._id = ""
        self._model = ""
        self._created = 0
        self._named: dict[str, Any] = {}
        self._extra: dict[str, Any] = {}
        self._repairs: dict[str, None] = {}  # each once, in order
        self._without_text: Mapping[str, Any] | None = None  # the last chunk, if `add_text` can take more like it

    @property
    def _main(self) -> _PartialChoice:
        return self._choices[0] if self._choices[0].seen or not self._other.seen else self._other

    @property
    def finished(self) -> bool:
        """True if every answer has said why it ended."""
        return all(choice.finish_reason for choice in (self._main, *self._choices[1:]))

    @property
    def seen(self) -> bool:
        """True if any answer has begun."""
        return any(choice.seen for choice in (self._main, *self._choices))

    @property
    def has_calls(self) -> bool:
        """True if any answer has a call so far."""
        return any(choice.calls or choice.answer.scanner.held for choice in (self._main, *self._choices))

    @property
    def text(self) -> str:
        """The first answer's text so far."""
        return self._main.answer.text

    def add(self, chunk: Mapping[str, Any], *, whole: bool = False) -> list[Event]:
        """Take the next chunk, or a whole reply, and give its events.

        Raises:
            InvalidReply: The reply has more calls than one reply can have.
        """
        self._add_members(chunk)
        events: list[Event] = []
        taken: set[int] = set()
        for raw in as_mappings(chunk.get("choices")):
            given = as_index(raw.get("index"))
            index = len(taken) if given is None else given
            if index in taken or not 0 <= index < len(self._choices):
                self._add_other(index, raw, twice=index in taken, whole=whole)
                continue
            taken.add(index)
            if raw.get("usage"):
                self._usage = read_usage(raw["usage"])
            events += _of_choice(index, self._choices[index].add(raw, whole=whole))
        self._without_text = None if whole else _without_text(chunk)
        return events

    def add_text(self, chunk: Mapping[str, Any]) -> str:
        """Take a chunk that differs from the last one only in its text, as nearly all do, and return the text.

        It is empty for any other chunk, which `add` has to read.
        """
        if self._without_text is None:
            return ""
        try:
            delta = chunk["choices"][0]["delta"]
            text = delta["content"]
        except (KeyError, IndexError, TypeError):
            return ""
        if "obfuscation" in chunk:
            chunk = omit(chunk, "obfuscation")
        delta["content"] = None
        same = chunk == self._without_text and isinstance(text, str) and self._choices[0].answer.scanner.add(text)
        delta["content"] = text
        return text if same else ""

    def _add_members(self, chunk: Mapping[str, Any]) -> None:
        if not self._id and (id_ := as_text(chunk.get("id"))):
            self._id = id_
            for choice in (self._other, *self._choices):
                choice.calls.ids.salt = f"{id_}{choice.calls.ids.salt}"
        self._model = as_text(chunk.get("model")) or self._model
        self._created = self._created or as_count(chunk.get("created"))
        if chunk.get("usage"):
            self._usage = read_usage(chunk["usage"])
        for name in chunk.keys() - _CHUNK_MEMBERS:
            if name not in _NAMED_MEMBERS:
                self._extra[name] = chunk[name]
            elif chunk[name] is not None:
                self._named[name] = chunk[name]

    def _add_other(self, index: int, raw: Mapping[str, Any], *, twice: bool, whole: bool) -> None:
        """Take a choice that nobody requested: it is the answer only if no other comes."""
        self._ignored[f"an answer with the index {raw.get('index')!r} was ignored"] = None
        if len(self._choices) == 1 and not twice and self._other_index in (None, index):
            self._other_index = index
            self._other_events += self._other.add(raw, whole=whole)

    def add_calls(self, calls: Iterable[tuple[str, str]], repair: str) -> list[Event]:
        """Take calls of the first answer that were found elsewhere: their names, and their arguments as written."""
        choice = self._main
        choice.seen, choice.finish_reason = True, "tool_calls"
        self._repairs[repair] = None
        return [event for name, arguments in calls for event in choice.calls.add_call(name, arguments)]

    def close(self) -> list[Event]:
        """All chunks have come: the events that were held back. There are none the second time."""
        if self._closed:
            return []
        self._closed = True
        before: list[Event] = []
        if self._main is self._other:
            self._choices[0], before = self._other, self._other_events
        else:
            self._repairs |= self._ignored
        closed = (_of_choice(index, choice.close(self._calls_in_text)) for index, choice in enumerate(self._choices))
        return [*before, *itertools.chain.from_iterable(closed)]

    def finish(self) -> Reply:
        """The finished reply. Answers that never came are left out."""
        self.close()
        given = [choice for choice in self._choices if choice.seen] or self._choices[:1]
        if len(given) < len(self._choices):
            self._repairs[f"{len(self._choices)} answers were requested, but {len(given)} came"] = None
        finished = tuple(choice.finish() for choice in given)
        self._repairs |= dict.fromkeys(itertools.chain.from_iterable(choice.calls.notes for choice in given))
        return Reply(
            choices=finished,
            usage=self._usage,
            id=self._id,
            model=self._model,
            created=self._created,
            service_tier=as_text(self._named.get("service_tier")),
            system_fingerprint=as_text(self._named.get("system_fingerprint")),
            metadata=as_mapping(self._named.get("metadata")),
            moderation=as_mapping(self._named.get("moderation")),
            repairs=tuple(self._repairs),
            extra=self._extra,
        )


def _without_text(chunk: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The chunk without its text, if reading the rest of it once more would change nothing; otherwise None."""
    choices = as_mappings(chunk.get("choices"))
    if len(choices) != 1 or len(chunk["choices"]) != 1:
        return None
    choice, delta = choices[0], as_mapping(choices[0].get("delta"))
    first = as_index(choice.get("index")) in (None, 0)
    adds = choice.get("logprobs") or any(value for name, value in delta.items() if name not in ("role", "content"))
    if not first or adds or not isinstance(delta.get("content"), str):
        return None
    return {**omit(chunk, "obfuscation"), "choices": [{**choice, "delta": {**delta, "content": None}}]}


@dataclass(slots=True, eq=False)
class _PartialChoice:
    answer: MessageAccumulator = field(default_factory=MessageAccumulator)
    calls: ToolCallAccumulator = field(default_factory=ToolCallAccumulator)
    finish_reason: str | None = None
    logprobs: dict[str, list[Mapping[str, Any]]] | None = None
    extra: dict[str, Any] = field(default_factory=dict[str, Any])
    seen: bool = False
    by_delta: bool = False

    def add(self, raw: Mapping[str, Any], *, whole: bool) -> list[Event]:
        self.seen = True
        delta = self._delta(raw)
        events = self.answer.add(delta)
        if "tool_calls" in delta or "function_call" in delta:
            events += self.calls.add(delta, whole=whole)
        if reason := as_text(raw.get("finish_reason")) or as_text(raw.get("finishReason")):
            self.finish_reason = _FINISH_REASONS.get(reason.lower(), reason)
        native = as_text(raw.get("native_finish_reason")).lower()  # of a gateway, which may call a failure "stop"
        if _FINISH_REASONS.get(native, native) == "error":
            self.finish_reason = "error"
        for name, items in as_mapping(raw.get("logprobs")).items():
            self.logprobs = self.logprobs or {}
            self.logprobs.setdefault(name, []).extend(as_mappings(items))
        if not raw.keys() <= _CHOICE_MEMBERS:
            self.extra |= omit(raw, *_CHOICE_MEMBERS)
        return events

    def close(self, calls_in_text: Offered) -> Iterator[Event]:
        """All has come: give what was held back, as text or as the calls that it is."""
        scanner = self.answer.scanner
        yield from scanner.finish()
        yield from self.calls.close()
        found = [] if self.calls else read_calls(scanner.held, calls_in_text)
        yield from scanner.release(as_text=not found)
        for name, arguments in found:
            yield from self.calls.add_call(name, arguments)
        if found:
            self.calls.notes.append(f"{len(found)} calls were in the text of the answer; they are calls now")
        if scanner.reasoning:
            self.calls.notes.append("the text of the answer began with <think>; that part is its reasoning now")

    def finish(self) -> Choice:
        return Choice(
            message=self.answer.message(self.calls.finish()),
            finish_reason=self.finish_reason,
            logprobs=read_logprobs(self.logprobs),
            extra={**self.extra, **self.answer.extra},
        )

    def _delta(self, raw: Mapping[str, Any]) -> Mapping[str, Any]:
        """The delta; or a whole message, without what deltas have brought already."""
        if delta := as_mapping(raw.get("delta")):
            self.by_delta = True
            return delta
        message = as_mapping(raw.get("message"))
        if not self.by_delta:
            return message
        known = [name for name in REASONING_FIELDS if name in message]
        known += ["tool_calls", "function_call"] if self.calls else []
        known += ["content"] if self.answer.scanner.has_said(text_of_content(message.get("content"))) else []
        return omit(message, *known)


def _of_choice(index: int, events: Iterable[Event]) -> Iterable[Event]:
    return events if index == 0 else (ChoiceDelta(index, each) for each in events)
