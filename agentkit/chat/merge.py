"""Chunks of a streamed reply -> one finished `Reply`. Pure.

A reply that is not streamed goes the same way, as one chunk, so that both forms of an answer are the same value.

Servers disagree on how the pieces of a call belong together, so pieces are matched by a non-empty id; else by index;
else a name starts a new call; else a piece continues the latest one. A new id or a new name after complete arguments
starts a new call whatever the index says, and a name that is repeated is not joined to itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import from_json

from agentkit.chat.events import CallDelta, Event, ReasoningDelta, TextDelta
from agentkit.chat.mend import mend_calls
from agentkit.chat.messages import AssistantMessage, ToolCall
from agentkit.chat.reply import Choice, Reply, Usage, read_usage
from agentkit.chat.tolerant import as_mapping, as_mappings, as_text, without

__all__ = ["Merger"]

_REASONING = ("reasoning_content", "reasoning", "reasoning_text")
_CHUNK_MEMBERS = ("id", "object", "created", "model", "choices", "usage")


class Merger:
    """Collects the chunks of one reply.

    Args:
        choices: How many answers were asked for (``n``); chunks of others are ignored.
    """

    def __init__(self, *, choices: int = 1) -> None:
        self._choices = [_ChoiceParts() for _ in range(choices)]
        self._usage = Usage(requests=1)
        self._id = ""
        self._model = ""
        self._extra: dict[str, Any] = {}
        self._notes: list[str] = []

    @property
    def finished(self) -> bool:
        """Whether every answer has said why it ended."""
        return all(choice.finish_reason for choice in self._choices)

    @property
    def text(self) -> str:
        """The first answer's text so far."""
        return "".join(self._choices[0].text)

    def add(self, chunk: Mapping[str, Any]) -> list[Event]:
        """Take the next chunk and give what an observer is told of it (of the first answer only)."""
        self._id = self._id or as_text(chunk.get("id"))
        self._model = as_text(chunk.get("model")) or self._model
        if chunk.get("usage"):
            self._usage = read_usage(chunk["usage"])
        self._extra.update(without(chunk, *_CHUNK_MEMBERS))
        events: list[Event] = []
        for raw in as_mappings(chunk.get("choices")):
            index = raw.get("index") or 0
            if not isinstance(index, int) or not 0 <= index < len(self._choices):
                self._note(f"an answer with the index {index!r} was ignored")
                continue
            if raw.get("usage"):
                self._usage = read_usage(raw["usage"])
            told = self._choices[index].add(raw)
            events += told if index == 0 else ()
        return events

    def finish(self) -> Reply:
        """The reply, put together and mended."""
        choices = tuple(self._finish(parts, index) for index, parts in enumerate(self._choices))
        return Reply(
            choices=choices,
            usage=self._usage,
            id=self._id,
            model=self._model,
            mended=tuple(self._notes),
            extra=self._extra,
        )

    def _finish(self, parts: _ChoiceParts, index: int) -> Choice:
        calls, notes = mend_calls([call.finish() for call in parts.calls], salt=f"{self._id}{index or ''}")
        for note in notes:
            self._note(note)
        text = "".join(parts.text)
        message = AssistantMessage(
            text if text or not calls else None,
            calls,
            refusal="".join(parts.refusal) or None,
            reasoning="".join(parts.reasoning) or None,
        )
        return Choice(message=message, finish_reason=parts.finish_reason, logprobs=parts.logprobs)

    def _note(self, note: str) -> None:
        if note not in self._notes:
            self._notes.append(note)


@dataclass(slots=True)
class _ChoiceParts:
    text: list[str] = field(default_factory=list[str])
    reasoning: list[str] = field(default_factory=list[str])
    refusal: list[str] = field(default_factory=list[str])
    calls: list[_CallParts] = field(default_factory=list["_CallParts"])
    finish_reason: str | None = None
    logprobs: dict[str, Any] | None = None

    def add(self, raw: Mapping[str, Any]) -> list[Event]:
        events = self._add_delta(as_mapping(raw.get("delta") or raw.get("message")))
        self.finish_reason = as_text(raw.get("finish_reason")) or self.finish_reason
        self._add_logprobs(raw.get("logprobs"))
        return events

    def _add_delta(self, delta: Mapping[str, Any]) -> list[Event]:
        events: list[Event] = []
        if text := _content(delta.get("content")):
            self.text.append(text)
            events.append(TextDelta(text))
        if thought := next((found for name in _REASONING if (found := as_text(delta.get(name)))), ""):
            self.reasoning.append(thought)
            events.append(ReasoningDelta(thought))
        if refusal := as_text(delta.get("refusal")):
            self.refusal.append(refusal)
        events.extend(self._add_piece(piece) for piece in _pieces(delta))
        return events

    def _add_piece(self, piece: _Piece) -> CallDelta:
        call = self._find(piece)
        if call is None or call.ends_before(piece):
            call = _CallParts(index=piece.index)
            self.calls.append(call)
        call.add(piece)
        return CallDelta(self.calls.index(call), call.name, piece.arguments)

    def _find(self, piece: _Piece) -> _CallParts | None:
        latest_first = self.calls[::-1]
        if piece.id:
            for call in latest_first:
                if call.id == piece.id:
                    return call
        if piece.index is not None:
            return next((call for call in latest_first if call.index == piece.index), None)
        return None if piece.id else next(iter(latest_first), None)

    def _add_logprobs(self, raw: object) -> None:
        for name, items in as_mapping(raw).items():
            self.logprobs = self.logprobs or {}
            self.logprobs[name] = [*(self.logprobs.get(name) or ()), *as_mappings(items)]


@dataclass(frozen=True, slots=True)
class _Piece:
    id: str
    index: int | None
    name: str
    arguments: str
    extra: Mapping[str, Any]


@dataclass(slots=True, eq=False)
class _CallParts:
    index: int | None
    id: str = ""
    name: str = ""
    arguments: str = ""
    extra: dict[str, Any] = field(default_factory=dict[str, Any])

    def add(self, piece: _Piece) -> None:
        self.id = self.id or piece.id
        self.extra.update(piece.extra)
        if piece.name != self.name:
            self.name += piece.name
        if not (piece.arguments and piece.arguments == self.arguments and self._complete):  # sent whole once more
            self.arguments += piece.arguments

    def ends_before(self, piece: _Piece) -> bool:
        """Whether a piece that was matched to this call is the first of another one all the same."""
        other_id = bool(piece.id and self.id and piece.id != self.id)
        other_index = piece.index is not None and self.index is not None and piece.index != self.index
        if not piece.name:
            return other_id and self._complete
        if other_index or not self.name:
            return other_index
        if piece.name != self.name:
            return other_id or piece.index is None or self._complete
        if self._complete:
            return other_id or bool(piece.arguments and piece.arguments != self.arguments)
        return other_id and not self.arguments

    @property
    def _complete(self) -> bool:
        try:
            return isinstance(from_json(self.arguments or "?"), dict)
        except ValueError:
            return False

    def finish(self) -> ToolCall:
        return ToolCall(self.id, self.name, self.arguments, self.extra)


def _pieces(delta: Mapping[str, Any]) -> Iterator[_Piece]:
    for raw in as_mappings(delta.get("tool_calls")):
        yield _piece(raw)
    if delta.get("function_call"):  # the deprecated form of a single call
        yield _piece({"index": 0, "function": delta["function_call"]})


def _piece(raw: Mapping[str, Any]) -> _Piece:
    function = as_mapping(raw.get("function"))
    index = raw.get("index")
    arguments = function.get("arguments")
    return _Piece(
        id="" if raw.get("id") is None else str(raw["id"]),
        index=index if isinstance(index, int) else None,
        name=as_text(function.get("name")),
        arguments=arguments if isinstance(arguments, str) else "" if arguments is None else json.dumps(arguments),
        extra=without(raw, "id", "index", "type", "function"),
    )


def _content(raw: object) -> str:
    if isinstance(raw, str):
        return raw
    return "".join(as_text(part.get("text")) for part in as_mappings(raw) if part.get("type", "text") == "text")
