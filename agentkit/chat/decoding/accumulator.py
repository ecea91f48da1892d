"""The chunks of a reply -> one finished `Reply`. Pure.

A reply that is not streamed is read in the same way, as one chunk, so that both forms give the same value. Fragments of
calls are joined in `agentkit.chat.decoding.tool_calls`, text is read in `agentkit.chat.decoding.text`.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from agentkit.chat.content import Annotation, AudioOutput, read_annotation
from agentkit.chat.decoding.text import MARKS, Offered, TextScanner, read_calls
from agentkit.chat.decoding.tool_calls import CallIds, ToolCallAccumulator
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
from agentkit.chat.messages import REASONING_FIELDS, AssistantMessage
from agentkit.chat.reply import Choice, Reply, Usage, read_logprobs, read_usage

_READ = (  # members of a delta that are read here or as calls
    *("role", "content", "refusal", "tool_calls", "function_call", "annotations", "audio", "reasoning_details"),
    *REASONING_FIELDS,
)
_PLAIN = frozenset(("role", "content", "tool_calls", "function_call"))  # most deltas have no other members
_JOINED = ("text", "summary", "data")  # members of reasoning's objects that come in parts
_SENT_BACK = "extra_content"  # Gemini's signatures of its reasoning, which it requires in later requests


_CHUNK_MEMBERS = frozenset(("id", "object", "created", "model", "choices", "usage", "obfuscation"))
_NAMED_MEMBERS: Mapping[str, Callable[[object], Any]] = {
    "service_tier": as_text,
    "system_fingerprint": as_text,
    "metadata": as_mapping,
    "moderation": as_mapping,
}
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
        self._marks = MARKS if calls_in_text else ()
        self._names, self._taken = frozenset(names), frozenset(taken)
        self._id = ""
        self._choices = [self._new_answer(index) for index in range(choices)]
        self._other: _Answer | None = None  # one that nobody requested
        self._other_index: int | None = None
        self._other_events: list[Event] = []
        self._ignored: dict[str, None] = {}
        self._closed = False
        self._usage = Usage(requests=1)
        self._model = ""
        self._created = 0
        self._named: dict[str, Any] = {}
        self._extra: dict[str, Any] = {}
        self._repairs: dict[str, None] = {}  # each once, in order
        self._template: Mapping[str, Any] | None = None  # the last chunk, if `add_more` can take more like it
        self._grows_call = False

    @property
    def _main(self) -> _Answer:
        return self._choices[0] if self._other is None or self._choices[0].seen else self._other

    @property
    def finished(self) -> bool:
        """True if every answer has said why it ended."""
        return all(answer.finish_reason for answer in (self._main, *self._choices[1:]))

    @property
    def seen(self) -> bool:
        """True if any answer has begun."""
        return any(answer.seen for answer in (self._main, *self._choices[1:]))

    @property
    def has_calls(self) -> bool:
        """True if any answer has a call so far."""
        return any(answer.calls or answer.scanner.held for answer in (self._main, *self._choices[1:]))

    @property
    def text(self) -> str:
        """The first answer's text so far."""
        return self._main.scanner.text

    def add(self, chunk: Mapping[str, Any], *, whole: bool = False) -> list[Event]:
        """Take the next chunk, or a whole reply, and return its events.

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
            deltas = self._choices[index].add(raw, whole=whole)
            events += [ChoiceDelta(index, each) for each in deltas] if index else deltas
        self._template, self._grows_call = (None, False) if whole else _template(chunk)
        return events

    def add_more(self, chunk: Any) -> Event | None:
        """Take a chunk that only continues the text or the arguments of the last one, as nearly all do.

        Returns:
            Its delta; None for any other chunk, which `add` has to read.
        """
        if self._template is None:
            return None
        of_call, member = self._grows_call, "arguments" if self._grows_call else "content"
        try:
            delta = chunk["choices"][0]["delta"]
            growing = delta["tool_calls"][0]["function"] if of_call else delta
            more = growing[member]
        except (KeyError, IndexError, TypeError):
            return None
        if "obfuscation" in chunk:
            chunk = omit(chunk, "obfuscation")
        growing[member] = None
        same = chunk == self._template
        growing[member] = more
        if not same or not isinstance(more, str):
            return None
        answer = self._choices[0]
        return answer.calls.add_arguments(more) if of_call else answer.scanner.add(more)

    def _new_answer(self, index: int) -> _Answer:
        ids = CallIds(set(self._taken), salt=f"{self._id}{index or ''}")
        return _Answer(TextScanner(self._marks), ToolCallAccumulator(self._names, ids))

    def _add_members(self, chunk: Mapping[str, Any]) -> None:
        if not self._id and (id_ := as_text(chunk.get("id"))):
            self._id = id_
            for answer in self._choices:
                answer.calls.ids.salt = f"{id_}{answer.calls.ids.salt}"
        self._model = as_text(chunk.get("model")) or self._model
        self._created = self._created or as_count(chunk.get("created"))
        if chunk.get("usage"):
            self._usage = read_usage(chunk["usage"])
        for name in chunk.keys() - _CHUNK_MEMBERS:
            if name not in _NAMED_MEMBERS:
                self._extra[name] = chunk[name]
            elif chunk[name] is not None:
                self._named[name] = _NAMED_MEMBERS[name](chunk[name])

    def _add_other(self, index: int, raw: Mapping[str, Any], *, twice: bool, whole: bool) -> None:
        """Take a choice that was not requested: it is the answer only if there is no other."""
        self._ignored[f"an answer with the index {raw.get('index')!r} was ignored"] = None
        if len(self._choices) == 1 and not twice and self._other_index in (None, index):
            self._other_index, self._other = index, self._other or self._new_answer(0)
            self._other_events += self._other.add(raw, whole=whole)

    def add_calls(self, calls: Iterable[tuple[str, str]], repair: str) -> list[Event]:
        """Take calls of the first answer that were found elsewhere: their names, and their arguments as written."""
        answer = self._main
        answer.seen, answer.finish_reason = True, "tool_calls"
        self._repairs[repair] = None
        return [event for name, arguments in calls for event in answer.calls.add_call(name, arguments)]

    def close(self) -> list[Event]:
        """Return the events that were held back, now that all chunks have arrived; none the second time."""
        if self._closed:
            return []
        self._closed = True
        events: list[Event] = []
        if (main := self._main) is not self._choices[0]:
            self._choices[0], events = main, self._other_events
        else:
            self._repairs |= self._ignored
        for index, answer in enumerate(self._choices):
            deltas = answer.close(self._calls_in_text)
            events += [ChoiceDelta(index, each) for each in deltas] if index else deltas
        return events

    def finish(self) -> Reply:
        """The finished reply. Answers that never came are left out."""
        self.close()
        given = [answer for answer in self._choices if answer.seen] or self._choices[:1]
        if len(given) < len(self._choices):
            self._repairs[f"{len(self._choices)} answers were requested, but {len(given)} came"] = None
        finished: list[Choice] = []
        for answer in given:
            finished.append(answer.finish())
            self._repairs |= dict.fromkeys(answer.calls.notes)
        return Reply(
            choices=tuple(finished),
            usage=self._usage,
            id=self._id,
            model=self._model,
            created=self._created,
            repairs=tuple(self._repairs),
            extra=self._extra,
            **self._named,
        )


def _template(chunk: Mapping[str, Any]) -> tuple[Mapping[str, Any] | None, bool]:
    """The chunk without its text or the arguments of its call, and whether it is a call.

    None if reading the rest of the chunk again would change anything.
    """
    choices = as_mappings(chunk.get("choices"))
    if len(choices) != 1 or len(chunk["choices"]) != 1:
        return None, False
    choice, delta = choices[0], as_mapping(choices[0].get("delta"))
    if as_index(choice.get("index")) not in (None, 0) or choice.get("logprobs"):
        return None, False
    said = {name for name, value in delta.items() if value and name != "role"}
    calls, of_call = as_mappings(delta.get("tool_calls")), said == {"tool_calls"}
    if of_call:
        if len(calls) != 1:
            return None, False
        function = as_mapping(calls[0].get("function"))
        more = {name for raw in (calls[0], function) for name, value in raw.items() if value}
        if not isinstance(function.get("arguments"), str) or not more <= {"index", "type", "function", "arguments"}:
            return None, False
        delta = {**delta, "tool_calls": [{**calls[0], "function": {**function, "arguments": None}}]}
    elif said <= {"content"} and isinstance(delta.get("content"), str):
        delta = {**delta, "content": None}
    else:
        return None, False
    return {**omit(chunk, "obfuscation"), "choices": [{**choice, "delta": delta}]}, of_call


@dataclass(slots=True, eq=False)
class _Answer:
    """One answer of a reply, whose deltas are joined."""

    scanner: TextScanner
    calls: ToolCallAccumulator
    finish_reason: str | None = None
    seen: bool = False
    _by_delta: bool = False
    _refusal: list[str] = field(default_factory=list[str])
    _reasoning: list[str] = field(default_factory=list[str])
    _reasoning_field: str = ""
    _details: dict[object, _Detail] = field(default_factory=dict[object, "_Detail"])
    _annotations: dict[str, Annotation] = field(default_factory=dict[str, Annotation])
    _audio: _AudioParts | None = None
    _sent_back: dict[str, Any] = field(default_factory=dict[str, Any])
    _logprobs: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict[str, list[Mapping[str, Any]]])
    _extra: dict[str, Any] = field(default_factory=dict[str, Any])  # unknown members, and content that is not text

    def add(self, raw: Mapping[str, Any], *, whole: bool) -> list[Event]:
        """Take the next delta, or the whole answer, and return its events."""
        self.seen = True
        delta = self._delta(raw)
        content = delta.get("content")
        events: list[Event] = []
        if content:
            events += self.scanner.feed(content) if isinstance(content, str) else self._read_parts(content)
        if not delta.keys() <= _PLAIN:
            events += self._read_others(delta)
        if "tool_calls" in delta or "function_call" in delta:
            events += self.calls.add(delta, whole=whole)
        if reason := as_text(raw.get("finish_reason") or raw.get("finishReason")):
            self.finish_reason = _FINISH_REASONS.get(reason.lower(), reason)
        if not raw.keys() <= _CHOICE_MEMBERS:
            self._extra |= omit(raw, *_CHOICE_MEMBERS)
            native = as_text(raw.get("native_finish_reason")).lower()  # of a gateway, which may call a failure "stop"
            if _FINISH_REASONS.get(native, native) == "error":
                self.finish_reason = "error"
        if raw.get("logprobs"):
            for name, items in as_mapping(raw["logprobs"]).items():
                self._logprobs.setdefault(name, []).extend(as_mappings(items))
        return events

    def _delta(self, raw: Mapping[str, Any]) -> Mapping[str, Any]:
        """The delta; or a whole message, without what earlier deltas have brought."""
        if delta := as_mapping(raw.get("delta")):
            self._by_delta = True
            return delta
        message = as_mapping(raw.get("message"))
        if not self._by_delta:
            return message
        known = [name for name in REASONING_FIELDS if name in message]
        known += ["tool_calls", "function_call"] if self.calls else []
        known += ["content"] if self.scanner.has_said(text_of_content(message.get("content"))) else []
        return omit(message, *known)

    def _read_parts(self, content: object) -> Iterator[Event]:
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
                    self._extra.setdefault("content", []).append(part)

    def _read_others(self, delta: Mapping[str, Any]) -> Iterator[Event]:
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
        self._extra |= omit(delta, *_READ, _SENT_BACK)

    def _think(self, thought: str) -> Iterator[Event]:
        if thought:
            self._reasoning.append(thought)
            yield ReasoningDelta(thought)

    def _refuse(self, refusal: str) -> Iterator[Event]:
        if refusal:
            self._refusal.append(refusal)
            yield RefusalDelta(refusal)

    def _add_detail(self, raw: Mapping[str, Any]) -> None:
        """Deltas of one index and type are one object: strings are joined, for other members the last value counts."""
        numbered = raw.get("index") is not None
        key = json.dumps([raw["index"], raw.get("type")], sort_keys=True) if numbered else len(self._details)
        self._details.setdefault(key, _Detail()).add(raw)

    def close(self, calls_in_text: Offered) -> list[Event]:
        """Everything has arrived: return what was held back, as text or as the calls that it is."""
        scanner = self.scanner
        events: list[Event] = [*scanner.finish(), *self.calls.close()]
        if held := scanner.held:
            found = [] if self.calls else read_calls(held, calls_in_text)
            events += scanner.release(as_text=not found)
            for name, arguments in found:
                events += self.calls.add_call(name, arguments)
            if found:
                self.calls.notes.append(f"{len(found)} calls were in the text of the answer; they are calls now")
        if scanner.reasoning:
            self.calls.notes.append("the text of the answer began with <think>; that part is its reasoning now")
        return events

    def finish(self) -> Choice:
        """The finished answer."""
        calls, text, refusal = self.calls.finish(), self.scanner.text, "".join(self._refusal) or None
        details = tuple([each.finish() for each in self._details.values()]) if self._details else ()
        nothing_else = not calls and refusal is None and self._audio is None
        reasoning = join_surrogates("".join(self._reasoning)) or self.scanner.reasoning
        if details and not reasoning:
            reasoning = "".join(as_text(each.get("text")) for each in details)
        message = AssistantMessage(
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
        logprobs = read_logprobs(self._logprobs) if self._logprobs else None
        return Choice(message=message, finish_reason=self.finish_reason, logprobs=logprobs, extra=self._extra)


@dataclass(slots=True, eq=False)
class _Detail:
    """An object of reasoning, whose strings arrive in parts."""

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
        data, self.rest = self._decoded(self.rest[:whole]), self.rest[whole:]
        if data or transcript:
            self.data.append(data)
            self.transcript.append(transcript)
            yield AudioDelta(data, transcript)

    def finish(self) -> AudioOutput:
        last = self._decoded(self.rest + "=" * (-len(self.rest) % 4))
        data, transcript = b"".join([*self.data, last]), "".join(self.transcript)
        return AudioOutput(id=self.id, data=data, transcript=transcript, expires_at=self.expires_at)

    @staticmethod
    def _decoded(text: str) -> bytes:
        """The bytes of base64 that may be padded in its middle; empty if it is not base64."""
        try:
            return b"".join(base64.b64decode(each) for each in re.findall(r"[^=]+=*", text))
        except (binascii.Error, ValueError):
            return b""
