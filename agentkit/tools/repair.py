"""Repairs mistakes of models in the calls they write, where that cannot change what they meant. Pure.

A *name* is matched if it differs by case, dashes, underscores, or a prefix that servers are known to write. A *string*
that is almost JSON is read as a person would: an object that was encoded twice, a code fence, brackets and marks of a
chat template after the object, the same object twice, Python's literals, single quotes, keys without quotes, trailing
commas, line ends and lone backslashes in strings. Each repair is described in words. Arguments that are JSON, but not
as the tool takes them, are left to `fit_arguments`.

Incomplete text is never completed, words after the object are never dropped, NaN is not a number, and a name that is
only similar is never taken for a tool: `unknown_tool_message` suggests the tool to the model.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection
from typing import Any, cast

from agentkit.chat.json_values import join_surrogates, parse_json

_MOST_NAMES = 20
LONGEST_NAME = 64
_KNOWN_PREFIXES = ("functions", "tools", "default_api")
_PREFIX = re.compile(r"([A-Za-z0-9_-]+)[.:/](.+)", re.DOTALL)
_INDEX = re.compile(r"(functions\.[^.:/]+):\d+")  # how Kimi numbers its calls


def match_tool_name(name: str, tools: Collection[str], prefixes: Collection[str] = ()) -> str | None:
    """The one tool that the name means, or None.

    Args:
        name: The name that the model wrote.
        tools: The names of the tools.
        prefixes: Prefixes that toolsets gave names, such as ``calendar_``: ``calendar.book`` is ``calendar_book``.
    """
    if name in tools:
        return name
    if len(name) > 2 * LONGEST_NAME or not name.isascii():
        return None
    bare = name.strip()
    if numbered := _INDEX.fullmatch(bare):
        bare = numbered[1]
    meant = {_folded(bare)} if "." not in bare and ":" not in bare and "/" not in bare else set[str]()
    if prefixed := _PREFIX.fullmatch(bare):
        prefix, rest = _folded(prefixed[1]), _folded(prefixed[2])
        if prefix in map(_folded, _KNOWN_PREFIXES):
            meant.add(rest)
        if prefix in map(_folded, prefixes):
            meant |= {prefix + rest} if not rest.startswith(prefix) else {rest}
    same = [tool for tool in tools if _folded(tool) in meant]
    return same[0] if len(same) == 1 else None


def valid_tool_name(name: str) -> str:
    """The name in a form that servers accept: its first 64 characters, ``_`` for those that no name may have."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)[:LONGEST_NAME]


def unknown_tool_message(name: str, tools: Collection[str], switched_off: Collection[str] = ()) -> str:
    """The message for a model that called a tool which does not exist, or is switched off in this turn."""
    if name in switched_off:
        return f"the tool {name!r} is switched off in this turn"
    name = name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}..."
    if not tools:
        return f"there is no tool {name!r}; there are no tools at all, so answer without one"
    if near := difflib.get_close_matches(name, tools, n=3):
        return f"there is no tool {name!r}; did you mean {' or '.join(near)}?"
    listed = sorted(tools)[:_MOST_NAMES] if len(tools) > _MOST_NAMES else list(tools)
    more = f" and {len(tools) - len(listed)} more" if len(tools) > len(listed) else ""
    return f"there is no tool {name!r}; the tools are {', '.join(listed)}{more}"


def _folded(name: str) -> str:
    return re.sub(r"[-_]", "", name.lower())


# Text that is almost JSON.


_DEEPEST = 200
_MOST_STEPS = 20_000  # about 20 ms, while the event loop waits
_MOST_FAILURES = 200  # brackets in prose that begin nothing
_BRACKET = re.compile(r"[{\[]")
_SPACE = re.compile(r"\s*")
_FENCE = re.compile(r"\ufeff?\s*```[A-Za-z]*[ \t]*\n?")
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w.])")
_WORD = re.compile(r"[A-Za-z_$][\w$-]*")
_MEANS_NOTHING = re.compile(r"[}\]);]+|```|<[|｜][^<>|｜\n]{1,60}[|｜]>")  # noqa: RUF001 - some templates write it wide
_CONTROL = re.compile(r"[\x00-\x1f]")
_LITERALS = {"true": True, "false": False, "null": None, "True": True, "False": False, "None": None}
_CONTROLS = frozenset("bfnrt")
_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "'": "'"}
_PYTHON_ESCAPE = re.compile(r"\\(?:x[0-9A-Fa-f]{2}|0|N\{|U[0-9A-Fa-f]{8})")  # ambiguous: a character, or a backslash
_PYTHON_ESCAPE_IN_QUOTES = re.compile(r"\\[xNUav0-7\n]")
_PLAIN = {quote: re.compile(rf"[^{quote}\\]+") for quote in "\"'"}


class Unreadable(ValueError):
    """The text is not an object, whatever is forgiven."""


def repair_text(text: str) -> tuple[dict[str, Any], list[str]]:
    """Read arguments as a person would; the second value names what had to be forgiven, each once.

    Raises:
        Unreadable: There is more than one way to understand the text, or none.
    """
    value, forgiven = repair_json(text)
    if isinstance(value, str):
        value, inner = repair_json(value)
        forgiven = list(dict.fromkeys([*forgiven, "encoded twice", *inner]))
    if not isinstance(value, dict):
        raise Unreadable("not an object")
    return cast("dict[str, Any]", value), forgiven


def repair_json(text: str) -> tuple[Any, list[str]]:
    """Read a JSON value of any kind as `repair_text` reads an object.

    Raises:
        Unreadable: There is more than one way to understand the text, or none.
    """
    reader = _Reader(text)
    try:
        return reader.read(), list(reader.forgiven)
    except RecursionError:
        raise Unreadable("nested too deeply") from None


def json_values_in(text: str) -> list[Any]:
    """The objects and arrays in prose, in their order; one inside another is not counted separately."""
    found: list[Any] = []
    at = failures = 0
    while failures < _MOST_FAILURES and (start := _BRACKET.search(text, at)):
        reader = _Reader(text, start.start())
        try:
            found.append(reader.value())
            at = reader.at
        except (Unreadable, RecursionError):
            failures += 1
            at = start.end()
    return found


class _Reader:
    """A JSON reader that tolerates mistakes with only one possible meaning."""

    def __init__(self, text: str, at: int = 0) -> None:
        self.text, self.at = text, at
        self.depth = self.steps = 0
        self.forgiven: dict[str, None] = {}

    def forgive(self, what: str) -> None:
        self.forgiven[what] = None

    def read(self) -> object:
        if fence := _FENCE.match(self.text):
            self.at = fence.end()
            self.forgive("in a code fence")
        value = self.value()
        self.rest(value)
        return value

    def rest(self, value: object) -> None:
        """Check what follows the object: a repetition, or something without meaning. Words could retract the call."""
        while char := self.peek():
            if char == "`" and "in a code fence" in self.forgiven and self.text.startswith("```", self.at):
                self.at += 3
            elif char == "{" and isinstance(value, dict):
                self.again(cast("dict[str, Any]", value))
            elif isinstance(value, dict) and (nothing := _MEANS_NOTHING.match(self.text, self.at)):
                self.at = nothing.end()
                self.forgive("followed by something else")
            else:
                raise Unreadable("something follows the object")

    def again(self, value: dict[str, Any]) -> None:
        """An object after the object: the same, or one of the two is empty."""
        other = cast("dict[str, Any]", self.value())
        if other and value and repr(other) != repr(value):
            raise Unreadable("two different objects")
        value.update(other)
        self.forgive("written more than once")

    def value(self) -> object:
        char = self.peek()
        if char in ('"', "'"):
            return self.string(char)
        if char in ("{", "["):
            self.depth += 1
            if self.depth > _DEEPEST:
                raise Unreadable("nested too deeply")
            value = self.members() if char == "{" else self.items()
            self.depth -= 1
            return value
        if number := _NUMBER.match(self.text, self.at):
            self.at = number.end()
            try:
                return parse_json(number[0])
            except ValueError:
                raise Unreadable("a number is too large") from None
        return self.literal()

    def members(self) -> dict[str, Any]:
        made: dict[str, Any] = {}
        self.at += 1
        while self.peek() != "}":
            key = self.key()
            self.take(":")
            made[key] = self.value()
            self.separator("}")
        self.at += 1
        return made

    def items(self) -> list[Any]:
        made: list[Any] = []
        self.at += 1
        while self.peek() != "]":
            made.append(self.value())
            self.separator("]")
        self.at += 1
        return made

    def separator(self, end: str) -> None:
        """A comma, or the end; a comma before the end is forgiven."""
        if self.peek() == end:
            return
        self.take(",")
        if self.peek() == end:
            self.forgive("with a trailing comma")

    def key(self) -> str:
        char = self.peek()
        if char in ('"', "'"):
            return self.string(char)
        word = _WORD.match(self.text, self.at)
        if not word:
            raise Unreadable("a key is missing")
        self.at = word.end()
        self.forgive("with keys without quotes")
        return word[0]

    def string(self, quote: str) -> str:
        if quote == "'":
            self.forgive("with single quotes")
        parts: list[str] = []
        escaped: set[str] = set()
        self.at += 1
        while (char := self.text[self.at : self.at + 1]) != quote:
            if plain := _PLAIN[quote].match(self.text, self.at):
                self.at = plain.end()
                parts.append(plain[0])
                if not plain[0].isprintable() and _CONTROL.search(plain[0]):
                    self.forgive("with line ends in a string")
            elif char == "\\":
                escaped.add(self.text[self.at + 1 : self.at + 2])
                parts.append(self.escape(quote))
            else:
                raise Unreadable("a string has no end")
        if escaped & _CONTROLS and not escaped <= {*_ESCAPES, "u"}:  # C:\temp\data: perhaps none is an escape
            raise Unreadable("a string with lone backslashes")
        self.at += 1
        return join_surrogates("".join(parts))

    def step(self) -> None:
        """Count a step: this reader is slow, and the event loop waits for it."""
        self.steps += 1
        if self.steps > _MOST_STEPS:
            raise Unreadable("too long to be repaired")

    def escape(self, quote: str) -> str:
        self.step()
        unclear = _PYTHON_ESCAPE_IN_QUOTES if quote == "'" else _PYTHON_ESCAPE
        if unclear.match(self.text, self.at):
            raise Unreadable("an escape that JSON does not have")
        char = self.text[self.at + 1 : self.at + 2]
        self.at += 2
        if char == "u":
            return self.unicode()
        if char in _ESCAPES:
            return _ESCAPES[char]
        if not char:
            raise Unreadable("a string has no end")
        self.forgive("with a lone backslash")
        return f"\\{char}"

    def unicode(self) -> str:
        digits = self.text[self.at : self.at + 4]
        if not re.fullmatch(r"[0-9A-Fa-f]{4}", digits):
            raise Unreadable("a broken \\u escape")
        self.at += 4
        return chr(int(digits, 16))

    def literal(self) -> object:
        word = _WORD.match(self.text, self.at)
        if not word or word[0] not in _LITERALS:
            raise Unreadable("no value")
        self.at = word.end()
        if word[0][0].isupper():
            self.forgive("with Python's literals")
        return _LITERALS[word[0]]

    def peek(self) -> str:
        """Skip white space and return the next character; "" at the end."""
        self.step()
        space = _SPACE.match(self.text, self.at)
        self.at = space.end() if space else self.at
        return self.text[self.at : self.at + 1]

    def take(self, char: str) -> None:
        if self.peek() != char:
            raise Unreadable(f"{char!r} is missing")
        self.at += 1
