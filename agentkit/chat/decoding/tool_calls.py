"""Calls of a reply: fragments of calls -> calls, each with an id and arguments that every server accepts. Pure.

Servers disagree on which fragments belong to one call, so a fragment is matched by a non-empty id; else by its index;
else a name starts a new call; else it continues the latest one. A new id or a new name after complete arguments starts
a new call whatever the index says, and a name that is repeated is not joined to itself. If it is unclear whether a name
continues in the next fragment, the names of the offered tools decide.

A call is normalized once: its id and name are final when its first `CallDelta` is emitted, its arguments when the reply
is finished.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from agentkit.chat.events import CallDelta
from agentkit.chat.json_values import (
    as_index,
    as_mapping,
    as_mappings,
    as_text,
    has_written_numbers,
    join_surrogates,
    json_safe,
    json_value,
    omit,
    read_object,
)
from agentkit.chat.messages import ToolCall
from agentkit.errors import InvalidReply

MAX_CALLS = 1024
"""The most calls of one reply; a reply with more is malformed."""

_MAX_NAME = 64
_KNOWN = ("parsed", "has_valid_arguments")  # a call caches these about its arguments, whatever its id
_VALID_ID = re.compile(r"[A-Za-z0-9_-]{1,40}")
_SPACE = re.compile(r"\s*")
_STRUCTURE = re.compile(r'\\(?:.|$)|["{}]', re.DOTALL)  # what decides where an object ends
_DECODER = json.JSONDecoder(strict=False)


@dataclass(slots=True, eq=False)
class CallIds:
    """Gives each call of a reply an id that every server accepts and that no other call has.

    Attributes:
        taken: The ids that other calls have; many servers count from one again in each reply.
        salt: Distinguishes this reply from others (its id, or its turn), so that generated ids do not repeat.
    """

    taken: set[str] = field(default_factory=set[str])
    salt: str = ""
    _count: int = 0

    def assign(self, given: str, name: str, notes: list[str]) -> str:
        """The id of the next call: the one that the server gave, if it can be used."""
        seed, id_ = f"{self.salt}\0{self._count}\0{given}\0{name}", given
        self._count += 1
        if not _VALID_ID.fullmatch(given) or given in self.taken:
            while id_ in self.taken or id_ == given:
                id_ = hashlib.sha256(seed.encode("utf-8", "replace")).hexdigest()[:9]
                seed += "\0"
            problem = "no id" if not given.strip() else f"the id {given[:20]!r}, which is malformed or already used"
            notes.append(f"{name} had {problem}; it is {id_} now")
        self.taken.add(id_)
        return id_


def normalize_tool_calls(
    calls: Sequence[ToolCall], ids: CallIds | None = None
) -> tuple[tuple[ToolCall, ...], list[str]]:
    """Give each call a valid, unique id and arguments that are a JSON object; drop calls without a name.

    Args:
        calls: The calls of one reply.
        ids: Assigns the ids; it knows those already in the transcript.

    Returns:
        The calls, and a sentence for each repair.
    """
    ids = ids or CallIds()
    notes: list[str] = []
    made: list[ToolCall] = []
    for call in calls:
        if not call.name:
            notes.append(f"a call without a name was dropped (arguments {call.written[:80]!r})")
            continue
        normalized = _normalize_arguments(call, notes)
        id_ = ids.assign(call.id, call.name, notes)
        if id_ != call.id:
            known = {name: normalized.__dict__[name] for name in _KNOWN if name in normalized.__dict__}
            normalized = replace(normalized, id=id_)
            normalized.__dict__.update(known)
        made.append(normalized)
    return tuple(made), notes


def _normalize_arguments(call: ToolCall, notes: list[str]) -> ToolCall:
    """Return the call with a JSON object as its arguments; anything ambiguous goes into ``malformed``."""
    if call.input is not None or call.malformed or call.__dict__.get("has_valid_arguments"):
        return call
    text = call.arguments.strip()  # JSON knows fewer kinds of white space
    value = json_value(text)
    if isinstance(value, dict):
        made = call if text == call.arguments else replace(call, arguments=text)
        made.__dict__["has_valid_arguments"] = True  # so that nobody parses them again
        if not has_written_numbers(text):
            made.__dict__["parsed"] = value
        return made
    if text in ("", "null"):
        return replace(call, arguments="{}")  # as many servers write a call without arguments
    if isinstance(value, str) and read_object(value) is not None:
        notes.append(f"the arguments of {call.name} were encoded twice")
        return replace(call, arguments=value)
    if value in ("", []):  # as PHP writes an object without members
        notes.append(f"the arguments of {call.name} were {text} instead of an object")
        return replace(call, arguments="{}")
    if single := _sent_more_than_once(text):
        notes.append(f"the arguments of {call.name} were sent more than once")
        return replace(call, arguments=single)
    notes.append(f"the arguments of {call.name} are not a JSON object")
    return replace(call, arguments="{}", malformed=call.arguments)


def _sent_more_than_once(text: str) -> str:
    """The one object of a string that repeats it; empty if the string is anything else.

    An empty object next to another one is a placeholder. Two different objects are never taken for two calls: a reply
    has as many calls as it has names.
    """
    written, meaning, at, times = "", "", 0, 0
    while at < len(text):
        times += 1
        try:
            value, end = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            return ""
        if not isinstance(value, dict) or times > MAX_CALLS:
            return ""
        if value and text[at:end] != written:
            if written not in ("", "{}") and json.dumps(value, sort_keys=True) != meaning:
                return ""
            written, meaning = text[at:end], json.dumps(value, sort_keys=True)
        written = written or "{}"
        space = _SPACE.match(text, end)
        at = space.end() if space else end
    return written if read_object(written) is not None else ""


@dataclass(slots=True, eq=False)
class ToolCallAccumulator:
    """Joins the fragments of the calls of one answer.

    Attributes:
        names: The names of the offered tools.
        ids: Gives the calls their ids.
        notes: A sentence for each repair.
    """

    names: frozenset[str] = frozenset()
    ids: CallIds = field(default_factory=CallIds)
    notes: list[str] = field(default_factory=list[str])
    _calls: list[_PartialCall] = field(default_factory=list["_PartialCall"])
    _waiting: list[_PartialCall] = field(default_factory=list["_PartialCall"])  # those that may not be announced yet
    _announced: list[_PartialCall] = field(default_factory=list["_PartialCall"])
    _last: _PartialCall | None = None  # that of the last fragment
    _by_id: dict[str, _PartialCall] = field(default_factory=dict[str, "_PartialCall"])
    _by_index: dict[int, _PartialCall] = field(default_factory=dict[int, "_PartialCall"])

    def __bool__(self) -> bool:
        return bool(self._calls)

    def add(self, delta: Mapping[str, Any], *, whole: bool = False) -> Iterator[CallDelta]:
        """Take the calls of a delta, or of a whole message, in which each item is a call of its own.

        Raises:
            InvalidReply: There are more than `MAX_CALLS` calls.
        """
        touched: set[int] = set()  # the calls that earlier items of this very list belong to
        calls = as_mappings(delta.get("tool_calls"))
        if whole and len(calls) > MAX_CALLS:  # before any of them is read
            raise self._too_many()
        for raw in calls:
            if "name" in raw and not raw.get("function"):
                self.notes.append("a call was written without its member `function`")
            yield from self._add(_Fragment.read(raw), touched, whole=whole)
        if delta.get("function_call") and not calls:  # the deprecated form of a single call
            yield from self._add(_Fragment.read({"index": 0, "function": delta["function_call"]}), touched)

    def add_arguments(self, arguments: str) -> CallDelta | None:
        """Take more arguments of the latest call and return their event; None if only `add` can tell."""
        call = self._last
        if call is None or not call.call_id or not arguments or not call.grows_by(arguments):
            return None
        return CallDelta(call.place, call.call_id, "", arguments)

    def add_call(self, name: str, arguments: str) -> Iterator[CallDelta]:
        """Take a whole call that was found elsewhere."""
        return self._add(_Fragment("", None, name, arguments, {}), set(), whole=True)

    def close(self) -> Iterator[CallDelta]:
        """All fragments have arrived: announce the calls whose names could still have grown."""
        waiting, self._waiting = self._waiting, []
        for call in waiting:
            if not call.name:
                self._waiting.append(call)
            elif not call.call_id:
                yield self._announce(call)

    def finish(self) -> tuple[ToolCall, ...]:
        """The calls, normalized, in the order of their deltas; those without a name are dropped."""
        for call in self._calls:
            if not call.name:
                self.notes.append(f"a call without a name was dropped (arguments {call.arguments[:80]!r})")
        return tuple([_normalize_arguments(call.finish(self.notes), self.notes) for call in self._announced])

    def _add(self, fragment: _Fragment, touched: set[int], *, whole: bool = False) -> Iterator[CallDelta]:
        call = None if whole else self._find(fragment)
        if call is None or call.ends_before(fragment, same_list=id(call) in touched):
            yield from self.close()
            if len(self._calls) >= MAX_CALLS:
                raise self._too_many()
            call = _PartialCall(self.names, index=fragment.index)
            self._calls.append(call)
            self._waiting.append(call)
        touched.add(id(call))
        self._last = call
        before = call.name
        added = call.add(fragment)
        if fragment.id:
            self._by_id[fragment.id] = call
        if fragment.index is not None:
            self._by_index[fragment.index] = call
        if call.call_id:
            more = call.name[len(before) : _MAX_NAME]
            if more or added:
                yield CallDelta(call.place, call.call_id, more, added)
        elif call.name and added:
            yield self._announce(call)

    def _too_many(self) -> InvalidReply:
        return InvalidReply(f"the server sent more than {MAX_CALLS:,} calls in one reply")

    def _announce(self, call: _PartialCall) -> CallDelta:
        """The first delta of a call, with everything received of it so far."""
        call.place = len(self._announced)
        call.call_id = self.ids.assign(call.given_id, call.name[:_MAX_NAME], self.notes)
        self._announced.append(call)
        return CallDelta(call.place, call.call_id, call.name[:_MAX_NAME], call.arguments)

    def _find(self, fragment: _Fragment) -> _PartialCall | None:
        if fragment.id in self._by_id:
            return self._by_id[fragment.id]
        if fragment.index is not None:
            return self._by_index.get(fragment.index)
        latest = self._calls[-1] if self._calls else None
        if fragment.id and not (latest and latest.continues_with(fragment)):
            return None
        return latest


@dataclass(frozen=True, slots=True)
class _Fragment:
    id: str
    index: int | None
    name: str
    arguments: str
    extra: Mapping[str, Any]
    custom: bool = False  # of a custom tool's call: `arguments` is any string

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> _Fragment:
        custom = "custom" in raw and not raw.get("function")
        member = "custom" if custom else "function"
        called = as_mapping(raw.get(member)) or (raw if "name" in raw or "arguments" in raw else {})
        arguments = called.get("input" if custom else "arguments")
        plain = ("name", "arguments") if called is raw else ()  # a call without its member `function`
        return cls(
            id="" if raw.get("id") is None else str(raw["id"]),
            index=as_index(raw.get("index")),
            name=as_text(called.get("name"))[: _MAX_NAME + 1],
            arguments=arguments if isinstance(arguments, str) else "" if arguments is None else json.dumps(arguments),
            extra=json_safe(omit(raw, "id", "index", "type", member, *plain)),
            custom=custom,
        )


@dataclass(slots=True, eq=False)
class _ObjectEnd:
    """Finds the end of the first object in JSON that arrives in fragments, and whether anything follows it."""

    found: bool = False
    more: bool = False
    depth: int = 0
    quoted: bool = False
    escaped: bool = False

    def search(self, fragment: str) -> None:
        at = 1 if self.escaped and fragment else 0
        self.escaped = self.escaped and not fragment
        for each in () if self.found else _STRUCTURE.finditer(fragment, at):
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
                self.found, at = True, each.end()
                break
        self.more = self.more or (self.found and bool(fragment[at:].strip(" \t\r\n")))


@dataclass(slots=True, eq=False)
class _PartialCall:
    offered: frozenset[str]
    index: int | None
    given_id: str = ""
    name: str = ""  # at most one character longer than a name can be
    call_id: str = ""  # the final id, from the first delta on
    place: int = 0
    extra: dict[str, Any] = field(default_factory=dict[str, Any])
    custom: bool = False
    _fragments: list[str] = field(default_factory=list[str])
    _size: int = 0
    _end: _ObjectEnd = field(default_factory=_ObjectEnd)
    _searched: int = 0  # fragments that were searched for the end
    _object: bool | None = None

    @property
    def arguments(self) -> str:
        return join_surrogates("".join(self._fragments))

    def add(self, fragment: _Fragment) -> str:
        """Take a fragment and return the arguments that are new."""
        self.given_id = self.given_id or fragment.id
        self.custom = self.custom or fragment.custom
        self.extra.update(fragment.extra)
        if fragment.name:
            self.name = self._name_with(fragment.name)[: _MAX_NAME + 1]
        return fragment.arguments if fragment.arguments and self.grows_by(fragment.arguments) else ""

    def grows_by(self, arguments: str) -> bool:
        """Take more arguments; return False if they only repeat those that it has."""
        if self._is_sent_again(arguments):
            return False
        self._fragments.append(arguments)
        self._size += len(arguments)
        return True

    def ends_before(self, fragment: _Fragment, *, same_list: bool) -> bool:
        """True if a fragment that was matched to this call actually starts another one."""
        other_id = bool(fragment.id and self.given_id and fragment.id != self.given_id)
        other_index = fragment.index is not None and self.index is not None and fragment.index != self.index
        if self.custom:
            return other_id or other_index or bool(fragment.name and self.name and fragment.name != self.name)
        if not fragment.name:
            return other_id and self._complete
        if other_index or not self.name:
            return other_index
        if fragment.name != self.name and not self._grows_to(fragment):
            known = {fragment.name, self.name} <= self.offered
            return other_id or fragment.index is None or self._complete or known
        if self._complete:
            matched = not same_list and bool(fragment.id or fragment.index is not None)
            again = matched and self._is_sent_again(fragment.arguments)
            return other_id or bool(fragment.arguments and not again)
        return other_id and not self._size

    def continues_with(self, fragment: _Fragment) -> bool:
        """True if a fragment with an unknown id belongs to this call: some servers make an id for each fragment."""
        return bool(not fragment.name and fragment.arguments and self._size and not self._complete)

    def finish(self, notes: list[str]) -> ToolCall:
        if len(self.name) > _MAX_NAME:
            notes.append(f"the name {self.name[:20]!r}... had more than {_MAX_NAME} characters and was truncated")
        name, arguments = self.name[:_MAX_NAME], self.arguments
        if self.custom:
            return replace(ToolCall.custom(self.call_id, name, arguments), extra=self.extra)
        if self._grew and read_object(arguments) is None:
            notes.append(f"the arguments of {name} were sent from their beginning in every fragment")
            arguments = join_surrogates(self._fragments[-1])
        return ToolCall(self.call_id, name, arguments, self.extra)

    def _grows_to(self, fragment: _Fragment) -> bool:
        """True if the fragment continues the name of this call, which then has no arguments yet."""
        if self._size:
            return False
        known = fragment.index is not None or bool(fragment.id)
        if self._begins(self._name_with(fragment.name)):
            return known or self.name not in self.offered
        return known and fragment.name.startswith(self.name)

    def _name_with(self, name: str) -> str:
        """The name joined with that of another fragment: its next part, or a repetition of it so far."""
        if not self.name:
            return name
        both = self.name + name
        whole = self.name in self.offered and self._begins(name)
        again = name.startswith(self.name) and (whole or not self._begins(both))
        return name if again else both

    def _begins(self, name: str) -> bool:
        """True if the name of an offered tool begins like this."""
        return any(each.startswith(name) for each in self.offered)

    def _is_sent_again(self, arguments: str) -> bool:
        return 0 < self._size == len(arguments) and arguments == self.arguments and self._complete

    @property
    def _grew(self) -> bool:
        """True if each fragment begins with the one before it, so that the last one is the whole."""
        fragments = self._fragments
        grew = len(fragments) > 1 and all(after.startswith(before) for before, after in itertools.pairwise(fragments))
        return grew and read_object(join_surrogates(fragments[-1])) is not None

    @property
    def _complete(self) -> bool:
        """True if the arguments are one whole object; each fragment is read once, however often this is asked."""
        if self.custom:
            return False
        while self._searched < len(self._fragments):
            self._end.search(self._fragments[self._searched])
            self._searched += 1
        if not self._end.found or self._end.more:
            return False
        if self._object is None:
            self._object = read_object(self.arguments) is not None
        return self._object
