"""Pieces of calls -> calls. Pure.

Servers disagree on how the pieces of a call belong together, so pieces are matched by a non-empty id; else by index;
else a name starts a new call; else a piece continues the latest one. A new id or a new name after complete arguments
starts a new call whatever the index says, and a name that is repeated is not joined to itself. Whether a name goes on
in the next piece is seen from the names of the tools that were offered, where that is open.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic_core import from_json

from agentkit.chat.decoding.lenient import as_index, as_mapping, as_mappings, as_text, json_safe, without
from agentkit.chat.decoding.text import joined
from agentkit.chat.events import CallDelta
from agentkit.chat.messages import ToolCall

__all__ = ["ToolCallAccumulator", "normalize_tool_calls"]

_GOOD_ID = re.compile(r"[A-Za-z0-9_-]{1,40}")
_SPACE = re.compile(r"\s*")
_DECODER = json.JSONDecoder(strict=False)


def normalize_tool_calls(
    calls: Sequence[ToolCall], *, salt: str = "", taken: Iterable[str] = ()
) -> tuple[tuple[ToolCall, ...], list[str]]:
    """Give each call a valid and unique id and drop calls without a name; the second value says what was mended.

    Args:
        calls: The calls of one reply, as the server sent them.
        salt: What tells this reply from others (its id, or its turn), so that made ids do not repeat.
        taken: Ids that the transcript has already; many servers count from one again in each reply.
    """
    mended: list[ToolCall] = []
    notes: list[str] = []
    used = set(taken)
    for index, call in enumerate(_named(calls, notes)):
        if not _GOOD_ID.fullmatch(call.id) or call.id in used:
            problem = "no id" if not call.id.strip() else f"the id {call.id[:20]!r}, used before or not valid"
            call = replace(call, id=_made_id(salt, index, call))  # noqa: PLW2901 - the mended call takes its place
            notes.append(f"{call.name} had {problem}; it is {call.id} now")
        used.add(call.id)
        mended.append(call)
    return tuple(mended), notes


def _named(calls: Sequence[ToolCall], notes: list[str]) -> Iterator[ToolCall]:
    """The calls that have a name, each with arguments that are one JSON object."""
    for call in calls:
        if not call.name:
            notes.append(f"a call without a name was dropped (arguments {call.written[:80]!r})")
        elif call.input is not None or call.malformed:
            yield call
        else:
            yield from _with_objects(call, notes)


def _with_objects(call: ToolCall, notes: list[str]) -> Iterator[ToolCall]:
    """The call with arguments that are a JSON object, whatever was written; several if several objects were."""
    text = call.arguments.strip()
    if text in ("", "null"):
        yield replace(call, arguments="{}")  # how many servers write a call without arguments
        return
    value = _json(text)
    if isinstance(value, dict):
        yield replace(call, arguments=text)  # without blanks that are none in JSON
    elif isinstance(value, str) and isinstance(_json(value), dict):
        notes.append(f"the arguments of {call.name} were encoded twice")
        yield replace(call, arguments=value)
    elif value in ("", []):  # how PHP writes an object without members
        notes.append(f"the arguments of {call.name} were {text}, which is none")
        yield replace(call, arguments="{}")
    elif objects := _run_together(text):
        several = f"{len(objects)} calls" if len(objects) > 1 else "one call"
        notes.append(f"several objects ran together in the arguments of {call.name}; they are {several} now")
        yield from (replace(call, arguments=each) for each in objects)
    else:
        notes.append(f"the arguments of {call.name} are not a JSON object")
        yield replace(call, arguments="{}", malformed=call.arguments)


def _run_together(text: str) -> list[str]:
    """The objects of a text that is nothing but objects, one after the other; none if it is anything else.

    An empty one that stands beside others is a placeholder, and one that equals the one before it was sent again.
    """
    found: list[tuple[str, str]] = []
    empty, at = "", 0
    while at < len(text):
        try:
            value, end = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            return []
        written = text[at:end]
        if not isinstance(value, dict) or _json(written) is None:
            return []
        meaning = json.dumps(value, sort_keys=True)
        empty = empty or (written if not value else "")
        if value and (not found or found[-1][0] != meaning):
            found.append((meaning, written))
        space = _SPACE.match(text, end)
        at = space.end() if space else end
    return [written for _, written in found] or [empty]


def _json(text: str) -> object:
    try:
        return from_json(text, allow_inf_nan=False)
    except (ValueError, TypeError):  # a TypeError is a lone surrogate
        return None


def _made_id(salt: str, index: int, call: ToolCall) -> str:
    seed = f"{salt}\0{index}\0{call.id}\0{call.name}\0{call.arguments}"
    return hashlib.sha256(seed.encode("utf-8", "replace")).hexdigest()[:9]


_STRUCTURE = re.compile(r'\\(?:.|$)|["{}]', re.DOTALL)  # what tells where an object ends
_JSON_SPACE = " \t\r\n"


@dataclass(slots=True, eq=False)
class ToolCallAccumulator:
    """Collects the pieces of the calls of one answer.

    Attributes:
        names: The names of the tools that were offered.
        notes: What was odd about them, in words.
    """

    names: frozenset[str] = frozenset()
    notes: list[str] = field(default_factory=list[str])
    _calls: list[_CallParts] = field(default_factory=list["_CallParts"])
    _by_id: dict[str, _CallParts] = field(default_factory=dict[str, "_CallParts"])
    _by_index: dict[int, _CallParts] = field(default_factory=dict[int, "_CallParts"])

    def __bool__(self) -> bool:
        return bool(self._calls)

    def add(self, delta: Mapping[str, Any]) -> Iterator[CallDelta]:
        """Take the calls of a delta or of a whole message, and give what an observer is told."""
        for raw in as_mappings(delta.get("tool_calls")):
            if "name" in raw and not raw.get("function"):
                self.notes.append("a call was written without its member `function`")
            yield self._add(_piece(raw))
        if delta.get("function_call"):  # the deprecated form of a single call
            yield self._add(_piece({"index": 0, "function": delta["function_call"]}))

    def add_whole(self, name: str, arguments: Mapping[str, Any]) -> CallDelta:
        """Take a call that was found elsewhere."""
        return self._add(_Piece("", len(self._calls), name, json.dumps(arguments, ensure_ascii=False), {}))

    def finish(self) -> list[ToolCall]:
        """The calls, as the server meant them."""
        return [call.finish(self.notes) for call in self._calls]

    def _add(self, piece: _Piece) -> CallDelta:
        call = self._find(piece)
        if call is None or call.ends_before(piece):
            call = _CallParts(self.names, place=len(self._calls), index=piece.index)
            self._calls.append(call)
        call.add(piece)
        if piece.id:
            self._by_id[piece.id] = call
        if piece.index is not None:
            self._by_index[piece.index] = call
        return CallDelta(call.place, call.name, piece.arguments)

    def _find(self, piece: _Piece) -> _CallParts | None:
        if piece.id in self._by_id:
            return self._by_id[piece.id]
        if piece.index is not None:
            return self._by_index.get(piece.index)
        latest = self._calls[-1] if self._calls else None
        if piece.id and not (latest and latest.goes_on_with(piece)):
            return None
        return latest


@dataclass(frozen=True, slots=True)
class _Piece:
    id: str
    index: int | None
    name: str
    arguments: str
    extra: Mapping[str, Any]
    custom: bool = False  # a piece of a custom tool's call: `arguments` is any text


@dataclass(slots=True, eq=False)
class _End:
    """The end of the first object in a JSON text that comes in pieces, and whether more than space follows it."""

    found: bool = False
    more: bool = False
    depth: int = 0
    quoted: bool = False
    escaped: bool = False

    def search(self, piece: str) -> None:
        at = 1 if self.escaped and piece else 0
        self.escaped = self.escaped and not piece
        if not self.found:
            at = self._search(piece, at)
        self.more = self.more or (self.found and bool(piece[at:].strip(_JSON_SPACE)))

    def _search(self, piece: str, at: int) -> int:
        for each in _STRUCTURE.finditer(piece, at):
            match each[0]:
                case '"':
                    self.quoted = not self.quoted
                case "{" | "}" if not self.quoted:
                    self.depth += 1 if each[0] == "{" else -1
                case "\\":
                    self.escaped = True
                case _:
                    continue
            if self.depth <= 0 and each[0] == "}" and not self.quoted:
                self.found = True
                return each.end()
        return len(piece)


@dataclass(slots=True, eq=False)
class _CallParts:
    offered: frozenset[str]
    place: int
    index: int | None
    id: str = ""
    name: str = ""
    extra: dict[str, Any] = field(default_factory=dict[str, Any])
    custom: bool = False
    _pieces: list[str] = field(default_factory=list[str])
    _size: int = 0
    _end: _End = field(default_factory=_End)
    _searched: int = 0  # the pieces in which the end was looked for
    _object: bool | None = None

    @property
    def arguments(self) -> str:
        return joined("".join(self._pieces))

    def add(self, piece: _Piece) -> None:
        self.id = self.id or piece.id
        self.custom = self.custom or piece.custom
        self.extra.update(piece.extra)
        self.name = self._name_with(piece.name)
        if piece.arguments and not self._is_sent_again(piece.arguments):
            self._pieces.append(piece.arguments)
            self._size += len(piece.arguments)

    def ends_before(self, piece: _Piece) -> bool:
        """Whether a piece that was matched to this call is the first of another one all the same."""
        other_id = bool(piece.id and self.id and piece.id != self.id)
        other_index = piece.index is not None and self.index is not None and piece.index != self.index
        if self.custom:
            return other_id or other_index or bool(piece.name and self.name and piece.name != self.name)
        if not piece.name:
            return other_id and self._complete
        if other_index or not self.name:
            return other_index
        if piece.name != self.name and not self._grows_to(piece):
            return other_id or piece.index is None or self._complete or {piece.name, self.name} <= self.offered
        if self._complete:
            return other_id or bool(piece.arguments and not self._is_sent_again(piece.arguments))
        return other_id and not self._size

    def _grows_to(self, piece: _Piece) -> bool:
        """Whether the piece has more of this call's name, which then has no arguments yet."""
        if self._size:
            return False
        known = piece.index is not None or bool(piece.id)
        if self._begins(self._name_with(piece.name)):
            return known or self.name not in self.offered
        return known and piece.name.startswith(self.name)

    def _name_with(self, name: str) -> str:
        """The name with that of another piece, which may be the next part of it, or all of it so far once more."""
        both = self.name + name
        whole = self.name in self.offered and self._begins(name)
        again = name.startswith(self.name) and (whole or not self._begins(both))
        return name if again else both

    def _begins(self, name: str) -> bool:
        """Whether a tool that was offered has a name that begins so."""
        return any(each.startswith(name) for each in self.offered)

    def goes_on_with(self, piece: _Piece) -> bool:
        """Whether a piece with an id that was never seen is more of this call: some servers make one for each piece."""
        return bool(not piece.name and piece.arguments and self._size and not self._complete)

    def finish(self, notes: list[str]) -> ToolCall:
        if self.custom:
            return replace(ToolCall.custom(self.id, self.name, self.arguments), extra=self.extra)
        arguments = self.arguments
        if self._grew and not _is_object(arguments):
            notes.append(f"the arguments of {self.name} were sent from their beginning in every piece")
            arguments = joined(self._pieces[-1])
        return ToolCall(self.id, self.name, arguments, self.extra)

    def _is_sent_again(self, arguments: str) -> bool:
        return 0 < self._size == len(arguments) and arguments == self.arguments and self._complete

    @property
    def _grew(self) -> bool:
        """Whether each piece begins with the one before it, and the last is all there is."""
        grew = all(after.startswith(before) for before, after in itertools.pairwise(self._pieces))
        return len(self._pieces) > 1 and grew and _is_object(joined(self._pieces[-1]))

    @property
    def _complete(self) -> bool:
        """Whether the arguments are one whole object; each piece is read once, however often this is asked."""
        if self.custom:
            return False
        while self._searched < len(self._pieces):
            self._end.search(self._pieces[self._searched])
            self._searched += 1
        if not self._end.found or self._end.more:
            return False
        if self._object is None:
            self._object = _is_object(self.arguments)
        return self._object


def _is_object(text: str) -> bool:
    try:
        return isinstance(from_json(text), dict)
    except ValueError:
        return False


def _piece(raw: Mapping[str, Any]) -> _Piece:
    custom = "custom" in raw and not raw.get("function")
    member = "custom" if custom else "function"
    called = as_mapping(raw.get(member)) or (raw if "name" in raw or "arguments" in raw else {})
    arguments = called.get("input" if custom else "arguments")
    return _Piece(
        id="" if raw.get("id") is None else str(raw["id"]),
        index=as_index(raw.get("index")),
        name=as_text(called.get("name")),
        arguments=arguments if isinstance(arguments, str) else "" if arguments is None else json.dumps(arguments),
        extra=json_safe(without(raw, "id", "index", "type", member, *(("name", "arguments") if called is raw else ()))),
        custom=custom,
    )
