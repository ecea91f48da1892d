"""Chunks of a streamed reply -> one finished `Reply`. Pure.

A reply that is not streamed goes the same way, as one chunk, so that both forms of an answer are the same value. How
the pieces of text, sound, reasoning and so on are joined stands in `agentkit.chat.pieces`, how those of calls find
together in `agentkit.chat.assemble`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from agentkit.chat.assemble import CallAssembler
from agentkit.chat.embedded import MARKS, Offered, read_calls
from agentkit.chat.events import ChoiceDelta, Event
from agentkit.chat.mend import mend_calls
from agentkit.chat.messages import REASONING_FIELDS
from agentkit.chat.pieces import AnswerParts
from agentkit.chat.reply import Choice, Reply, Usage, read_logprobs, read_usage
from agentkit.chat.text import TextReader
from agentkit.chat.tolerant import as_count, as_index, as_mapping, as_mappings, as_text, as_words, without

__all__ = ["Merger"]

_CHUNK_MEMBERS = ("id", "object", "created", "model", "choices", "usage", "obfuscation")
_TOLD = ("service_tier", "system_fingerprint", "metadata", "moderation")
_CHOICE_MEMBERS = ("index", "delta", "message", "finish_reason", "logprobs", "usage")


_SAME_WORDS = {
    **dict.fromkeys(("max_tokens", "max_output_tokens", "model_length", "token_limit"), "length"),
    **dict.fromkeys(
        ("safety", "guardrail_intervened", "content-filter", "recitation", "blocklist", "prohibited_content", "spii"),
        "content_filter",
    ),
}


class Merger:
    """Collects the chunks of one reply.

    Args:
        choices: How many answers were asked for (``n``); chunks of others are ignored.
        offered: The tools of the request whose calls may also stand in the text of an answer.
        names: The names of all tools of the request.
    """

    def __init__(self, *, choices: int = 1, offered: Offered | None = None, names: Iterable[str] = ()) -> None:
        self._offered = offered or {}
        marks = MARKS if offered else ()
        known = frozenset(names)
        first, *others = (
            _ChoiceParts(AnswerParts(words=TextReader(marks)), CallAssembler(known)) for _ in range(choices + 1)
        )
        self._choices = [first, *others[:-1]]
        self._other = others[-1]
        self._other_index: int | None = None
        self._ignored: dict[str, None] = {}
        self._other_told: list[Event] = []
        self._closed = False
        self._usage = Usage(requests=1)
        self._id = ""
        self._model = ""
        self._created = 0
        self._told: dict[str, Any] = {}
        self._extra: dict[str, Any] = {}
        self._notes: dict[str, None] = {}  # each once, in order

    @property
    def _main(self) -> _ChoiceParts:
        return self._choices[0] if self._choices[0].seen or not self._other.seen else self._other

    @property
    def finished(self) -> bool:
        """Whether every answer has said why it ended."""
        return all(choice.finish_reason for choice in (self._main, *self._choices[1:]))

    @property
    def seen(self) -> bool:
        """Whether any answer has begun."""
        return any(choice.seen for choice in (self._main, *self._choices))

    @property
    def has_calls(self) -> bool:
        """Whether any answer holds a call so far."""
        return any(choice.calls or choice.answer.words.held for choice in (self._main, *self._choices))

    @property
    def text(self) -> str:
        """The first answer's text so far."""
        return self._main.answer.text

    def add(self, chunk: Mapping[str, Any]) -> list[Event]:
        """Take the next chunk and give what an observer is told of it."""
        self._id = self._id or as_text(chunk.get("id"))
        self._model = as_text(chunk.get("model")) or self._model
        self._created = self._created or as_count(chunk.get("created"))
        if chunk.get("usage"):
            self._usage = read_usage(chunk["usage"])
        self._told.update({name: chunk[name] for name in _TOLD if chunk.get(name) is not None})
        self._extra.update(without(chunk, *_CHUNK_MEMBERS, *_TOLD))
        events: list[Event] = []
        taken: set[int] = set()
        for raw in as_mappings(chunk.get("choices")):
            given = as_index(raw.get("index"))
            index = len(taken) if given is None else given
            if index in taken or not 0 <= index < len(self._choices):
                self._add_other(index, raw, twice=index in taken)
                continue
            taken.add(index)
            if raw.get("usage"):
                self._usage = read_usage(raw["usage"])
            told = self._choices[index].add(raw)
            events += _of_choice(index, told)
        return events

    def _add_other(self, index: int, raw: Mapping[str, Any], *, twice: bool) -> None:
        """Take a choice that nobody asked for: it is the answer only if no other comes."""
        self._ignored[f"an answer with the index {raw.get('index')!r} was ignored"] = None
        if len(self._choices) == 1 and not twice and self._other_index in (None, index):
            self._other_index = index
            self._other_told += self._other.add(raw)

    def add_calls(self, calls: Iterable[tuple[str, Mapping[str, Any]]], note: str) -> None:
        """Take calls of the first answer that were found elsewhere; the note says where."""
        choice = self._main
        choice.seen, choice.finish_reason = True, "tool_calls"
        for name, arguments in calls:
            choice.calls.add_whole(name, arguments)
        self._note(note)

    def close(self) -> list[Event]:
        """All chunks have come: what an observer is still to be told. Nothing, the second time."""
        if self._closed:
            return []
        self._closed = True
        before: list[Event] = []
        if self._main is self._other:
            self._choices[0], before = self._other, self._other_told
        else:
            self._notes |= self._ignored
        closed = (_of_choice(index, parts.close(self._offered)) for index, parts in enumerate(self._choices))
        return [*before, *itertools.chain.from_iterable(closed)]

    def finish(self) -> Reply:
        """The reply, put together and mended. Answers that never came are left out."""
        self.close()
        given = [parts for parts in self._choices if parts.seen] or self._choices[:1]
        if len(given) < len(self._choices):
            self._note(f"{len(self._choices)} answers were asked for, but {len(given)} came")
        return Reply(
            choices=tuple(self._finish(parts) for parts in given),
            usage=self._usage,
            id=self._id,
            model=self._model,
            created=self._created,
            service_tier=as_text(self._told.get("service_tier")),
            system_fingerprint=as_text(self._told.get("system_fingerprint")),
            metadata=as_mapping(self._told.get("metadata")),
            moderation=as_mapping(self._told.get("moderation")),
            mended=tuple(self._notes),
            extra=self._extra,
        )

    def _finish(self, parts: _ChoiceParts) -> Choice:
        salt = f"{self._id}{self._choices.index(parts) or ''}"
        calls, notes = mend_calls(parts.calls.finish(), salt=salt)
        for note in (*parts.calls.notes, *notes):
            self._note(note)
        return Choice(
            message=parts.answer.message(calls),
            finish_reason=parts.finish_reason,
            logprobs=read_logprobs(parts.logprobs),
            extra={**parts.extra, **parts.answer.extra},
        )

    def _note(self, note: str) -> None:
        self._notes[note] = None


@dataclass(slots=True, eq=False)
class _ChoiceParts:
    answer: AnswerParts = field(default_factory=AnswerParts)
    calls: CallAssembler = field(default_factory=CallAssembler)
    finish_reason: str | None = None
    logprobs: dict[str, list[Mapping[str, Any]]] | None = None
    extra: dict[str, Any] = field(default_factory=dict[str, Any])
    seen: bool = False
    by_delta: bool = False

    def add(self, raw: Mapping[str, Any]) -> list[Event]:
        self.seen = True
        delta = self._delta(raw)
        events = [*self.answer.add(delta), *self.calls.add(delta)]
        self.finish_reason = _finish_reason(raw.get("finish_reason")) or self.finish_reason
        self._add_logprobs(raw.get("logprobs"))
        self.extra.update(without(raw, *_CHOICE_MEMBERS))
        return events

    def close(self, offered: Offered) -> Iterator[Event]:
        """All has come: give what was held back, as text or as the calls that it is."""
        words = self.answer.words
        yield from words.finish()
        found = [] if self.calls else read_calls(words.held, offered)
        yield from words.release(as_text=not found)
        yield from (self.calls.add_whole(name, arguments) for name, arguments in found)
        if found:
            self.calls.notes.append(f"{len(found)} calls stood in the text of the answer; they are calls now")
        if words.thoughts:
            self.calls.notes.append("thoughts stood in the text of the answer, in <think>; they are its reasoning now")

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
        known += ["content"] if self.answer.words.is_all(as_words(message.get("content"))) else []
        return without(message, *known)

    def _add_logprobs(self, raw: object) -> None:
        for name, items in as_mapping(raw).items():
            self.logprobs = self.logprobs or {}
            self.logprobs.setdefault(name, []).extend(as_mappings(items))


def _of_choice(index: int, told: Iterable[Event]) -> Iterable[Event]:
    return told if index == 0 else (ChoiceDelta(index, each) for each in told)


def _finish_reason(raw: object) -> str:
    """The server's word; where it says in words of its own that an answer was cut or withheld, the API's word."""
    word = as_text(raw)
    return _SAME_WORDS.get(word.lower(), word)
