"""The pieces of one answer, calls apart -> its message. Pure.

Servers give reasoning under three names, some as objects, Mistral as a part of the content; what they give besides
text is kept wherever it comes.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from agentkit.chat.calls import ToolCall
from agentkit.chat.content import Annotation, AudioOutput, read_annotation
from agentkit.chat.events import AudioDelta, Event, ReasoningDelta, RefusalDelta
from agentkit.chat.messages import REASONING_FIELDS, AssistantMessage
from agentkit.chat.text import TextReader, joined
from agentkit.chat.tolerant import as_count, as_mapping, as_mappings, as_text, as_words, sendable, without

__all__ = ["AnswerParts"]

_READ = (  # members that are read here or as calls
    *("role", "content", "refusal", "tool_calls", "function_call", "annotations", "audio", "reasoning_details"),
    *REASONING_FIELDS,
)
_PLAIN = frozenset(("role", "content", "tool_calls", "function_call"))  # all that most deltas have
_JOINED = ("text", "summary", "data")  # members of reasoning's objects that come in pieces
_SENT_BACK = "extra_content"  # Gemini's signatures of thoughts, which it wants to see again


@dataclass(slots=True, eq=False)
class AnswerParts:
    """Collects the pieces of one answer.

    Attributes:
        extra: Members of its message that have no name here, and parts of its content that are not text.
        words: Reads its text.
    """

    extra: dict[str, Any] = field(default_factory=dict[str, Any])
    words: TextReader = field(default_factory=TextReader)
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
        return self.words.text

    def add(self, delta: Mapping[str, Any]) -> Iterator[Event]:
        """Take the next piece, or the whole message, and give what an observer is told."""
        if content := delta.get("content"):
            yield from self._add_content(content)
        if not delta.keys() <= _PLAIN:
            yield from self._add_others(delta)

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
            self._add_detail(sendable(raw))
        for raw in as_mappings(delta.get("annotations")):
            found = read_annotation(raw)
            self._annotations.setdefault(json.dumps(found.to_wire(), sort_keys=True), found)
        self._sent_back |= sendable(as_mapping(delta.get(_SENT_BACK)))
        self.extra |= without(delta, *_READ, _SENT_BACK)

    def message(self, calls: tuple[ToolCall, ...]) -> AssistantMessage:
        """The message that these pieces and these calls are."""
        text, refusal = self.text, "".join(self._refusal) or None
        details = tuple(each.finish() for each in self._details)
        nothing_else = not calls and refusal is None and self._audio is None
        reasoning = (
            joined("".join(self._reasoning))
            or self.words.thoughts
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

    def _add_content(self, content: object) -> Iterator[Event]:
        if text := as_words(content):
            yield from self.words.feed(text)
        for part in as_mappings(content):
            match part.get("type", "text"):
                case "text":
                    pass
                case "refusal":
                    yield from self._refuse(as_text(part.get("refusal")))
                case "thinking":
                    yield from self._think(as_words(part.get("thinking")))
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
        """Pieces of one index and type are one object: its texts are joined, of the rest the last value holds."""
        key = json.dumps([raw.get("index"), raw.get("type")], sort_keys=True)
        whole = self._details_by_key.get(key)
        if whole is None or raw.get("index") is None:
            whole = _Detail()
            self._details.append(whole)
            self._details_by_key.setdefault(key, whole)
        whole.add(raw)


@dataclass(slots=True, eq=False)
class _Detail:
    """An object of reasoning, whose texts come in pieces."""

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
        return self.members | {name: "".join(pieces) for name, pieces in self.texts.items()}


@dataclass(slots=True, eq=False)
class _AudioParts:
    """Sound comes as base64, cut anywhere or each piece by itself: four characters are always three bytes."""

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
