"""`JsonDrafts`: an output of JSON as far as it has come, while the model still writes it; see `RunStream.output`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

from pydantic_core import from_json

from agentkit.events import CallDelta, DeltasDiscarded, Event, TextDelta, TurnStarted

__all__ = ["JsonDrafts"]

_MOST_WORK = 64  # what a draft may cost for each character that came since the last one: so the sum stays linear
_STEPS = 256  # what it may always cost
_DEEPEST = 200
_PLAIN = re.compile(r'[^"\\]+')
_SCALAR = re.compile(r"[-+.\w]+")
_SPACE = re.compile(r"[\s,:]*")
_ESCAPE = re.compile(r'\\(?:["\\/bfnrt]|u[dD][89abAB][0-9a-fA-F]{2}\\u[0-9a-fA-F]{4}|u(?![dD][89abAB])[0-9a-fA-F]{4})')
_ONLY_TEXT = {"type", "title", "description", "default", "examples", "minLength", "maxLength"}


_Schemas: TypeAlias = list[dict[str, Any]]
_Inner: TypeAlias = Callable[[_Schemas, str | int], _Schemas]
"""The schemas of a member of an object, or of an item of an array."""


class JsonDrafts:
    """Drafts of JSON in the text of an answer or in the arguments of a call.

    A draft holds only what the model has written: an object without the members that are to come, a list without the
    items that are to come. A string may be incomplete if any string is allowed in its place; numbers, words, dates and
    the values of enums are there when they are whole.

    Args:
        schemas: The schemas that the value may be of, all of them objects.
        inner: Gives the schemas of a member or an item, given those of what holds it and its name or index.
        member: The member of that object whose value is the output; empty if the object itself is.
        tool: The name of the tool whose arguments may be the output.
    """

    def __init__(self, schemas: _Schemas, inner: _Inner, *, member: str, tool: str) -> None:
        self._schemas, self._inner, self._member, self._tool = schemas, inner, member, tool
        self._parser = _Parser(schemas, inner)
        self._call: int | None = None
        self._new: int = 0
        self._seen: int = 0

    def feed(self, event: Event) -> tuple[Any, bool]:
        """Take an event; the value so far, and whether it is worth a draft."""
        match event:
            case TurnStarted() | DeltasDiscarded():
                self._parser, self._call = _Parser(self._schemas, self._inner), None
                self._new = self._seen = 0
                return None, False
            case CallDelta():
                if self._call is None and event.name == self._tool:
                    self._parser, self._call, self._seen = _Parser(self._schemas, self._inner), event.index, 0
                if event.index != self._call:
                    return None, False
                text = event.arguments
            case TextDelta() if self._call is None:
                text = event.text
            case _:
                return None, False
        parser = self._parser
        parser.feed(text)
        self._new += len(text)
        if parser.changes == self._seen or parser.cost() > _MOST_WORK * self._new + _STEPS:
            return None, False
        draft = parser.snapshot()
        if self._member and self._member not in draft:
            return None, False
        self._new, self._seen = 0, parser.changes
        return (draft[self._member] if self._member else draft), True


@dataclass(slots=True)
class _Open:
    """An object or an array that is not closed yet; ``key`` is the member or the item that is being written."""

    value: dict[str, Any] | list[Any]
    schemas: _Schemas
    key: str | None = None


@dataclass(slots=True)
class _Parser:
    """Reads the first JSON object in a string that arrives in parts; each character is read once."""

    schemas: _Schemas
    inner: _Inner
    changes: int = 0
    _open: list[_Open] = field(default_factory=list[_Open])
    _rest: str = ""
    _string: list[str] | None = None
    _length: int = 0
    _root: dict[str, Any] | None = None
    _known: dict[tuple[int, str | int], tuple[_Schemas, bool]] = field(
        default_factory=dict[tuple[int, str | int], tuple[_Schemas, bool]]
    )
    _over: bool = False

    def feed(self, text: str) -> None:
        """Take the next part."""
        if self._over:
            return
        text, self._rest = self._rest + text, ""
        at = 0
        if self._root is None:
            at = text.find("{")
            if at < 0:
                return
            self._root = {}
            self._open = [_Open(self._root, self.schemas)]
            self.changes += 1
            at += 1
        while at < len(text) and not self._over:
            step = self._in_string(text, at) if self._string is not None else self._between(text, at)
            if step == at:
                self._rest = text[at:]
                return
            at = step

    def cost(self) -> int:
        """The cost of a snapshot: the number of members of all open containers."""
        return sum(len(each.value) for each in self._open) + (self._length >> 3)

    def snapshot(self) -> dict[str, Any]:
        """The value so far. What is closed is shared between snapshots, what is open is copied."""
        made: Any = None
        for at in reversed(range(len(self._open))):
            each = self._open[at]
            copied: Any = each.value.copy()
            if at < len(self._open) - 1:
                self._put(copied, each.key, made)
            elif self._string is not None and self._is_value() and self._partial(each):
                self._put(copied, each.key, "".join(self._string))
            made = copied
        return cast("dict[str, Any]", made if self._open else self._root)

    # One step each: the place after it, or the same if more must come first.

    def _in_string(self, text: str, at: int) -> int:
        assert self._string is not None  # noqa: S101 - the caller has looked
        if plain := _PLAIN.match(text, at):
            self._grow(plain[0])
            return plain.end()
        if text[at] == "\\":
            escape = _ESCAPE.match(text, at)
            if escape:
                self._grow(str(from_json(f'"{escape[0]}"')))
                return escape.end()
            self._over = len(text) - at > len("\\ud83d\\ude00")
            return at
        whole, self._string, self._length = "".join(self._string), None, 0
        top = self._open[-1]
        if isinstance(top.value, dict) and top.key is None:
            top.key = whole
        else:
            self._close_value(whole)
        return at + 1

    def _grow(self, text: str) -> None:
        assert self._string is not None  # noqa: S101 - the caller has looked
        self._string.append(text)
        self._length += len(text)
        if self._is_value() and self._partial(self._open[-1]):
            self.changes += 1

    def _between(self, text: str, at: int) -> int:
        space = _SPACE.match(text, at)
        at = space.end() if space else at
        char = text[at : at + 1]
        if not char:
            return at
        if char == '"':
            self._string, self._length = [], 0
            return at + 1
        if char in "{[":
            top = self._open[-1]
            self._open.append(_Open({} if char == "{" else [], self._schemas_inside(top)[0]))
            self._over = len(self._open) > _DEEPEST
            self.changes += 1
            return at + 1
        if char in "}]":
            closed = self._open.pop()
            self.changes += 1
            if not self._open:
                self._over = True
            else:
                self._close_value(closed.value)
            return at + 1
        scalar = _SCALAR.match(text, at)
        if scalar is None:
            self._over = True
            return at + 1
        if scalar.end() == len(text):  # more of it may come
            self._rest = text[at:]
            return at
        try:
            self._close_value(from_json(scalar[0]))
        except ValueError:
            self._over = True
        return scalar.end()

    def _close_value(self, value: Any) -> None:
        top = self._open[-1]
        self._put(top.value, top.key, value)
        top.key = None
        self.changes += 1

    def _is_value(self) -> bool:
        top = self._open[-1]
        return isinstance(top.value, list) or top.key is not None

    def _partial(self, top: _Open) -> bool:
        """Return True if a string in this place may be shown before it is complete."""
        return self._schemas_inside(top)[1]

    def _schemas_inside(self, top: _Open) -> tuple[_Schemas, bool]:
        """The schemas of what is being written, and whether that may be any string."""
        is_tuple = isinstance(top.value, list) and any("prefixItems" in each for each in top.schemas)
        step: str | int = (top.key or "") if isinstance(top.value, dict) else len(top.value) if is_tuple else 0
        place = (id(top.schemas), step)
        if place not in self._known:
            inner = self.inner(top.schemas, step)
            strings = [each for each in inner if each.get("type") != "null"]
            free = all(each.get("type") == "string" and each.keys() <= _ONLY_TEXT for each in strings)
            self._known[place] = (inner, free)
        return self._known[place]

    @staticmethod
    def _put(holder: Any, key: str | None, value: Any) -> None:
        if isinstance(holder, list):
            cast("list[object]", holder).append(value)
        else:
            holder[key] = value
