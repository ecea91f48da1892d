"""Repairs what models get wrong when they write a call, as far as that cannot change what they meant. Pure.

Three repairs, each reported in words. A *name* is matched if it differs by case, dashes, underscores, or a prefix that
servers are known to write. A *text* that is almost JSON is read as a person would: an object that was encoded twice, a
code fence, brackets and marks of a chat template after the object, the same object twice, Python's literals, single
quotes, keys without quotes, trailing commas, line ends and lone backslashes in strings. *Arguments* are fitted to the
schema: arguments wrapped into one member, a list or an object written as a string, digits where a string is wanted, a
value of an enum in another case, one object for a list of objects, null for what may be left out.

What is incomplete is never completed, words after the object are never dropped, NaN is not a number, and a name that is
only similar is never taken for a tool: `unknown_tool_message` suggests it to the model.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from agentkit.chat.json_schema import JSON_TYPES, leaf_schemas, member_schemas, possible_schemas, types_of
from agentkit.chat.json_values import join_surrogates, parse_json, write_json

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
    """The name as servers take it back: its first 64 characters, ``_`` in place of those that no name has."""
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
_PYTHON_ESCAPE = re.compile(r"\\(?:x[0-9A-Fa-f]{2}|0|N\{|U[0-9A-Fa-f]{8})")  # characters, or a backslash? Nobody knows
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
    """The objects and arrays that stand in prose, in their order; one inside another is not counted apart."""
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


@dataclass(slots=True)
class _Reader:
    """A reader of JSON that forgives what has one meaning only."""

    text: str
    at: int = 0
    depth: int = 0
    steps: int = 0
    forgiven: dict[str, None] = field(default_factory=dict[str, None])

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
            return _number(number[0])
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
        """The next character that is no space, where the reader then stands; "" at the end."""
        self.step()
        space = _SPACE.match(self.text, self.at)
        self.at = space.end() if space else self.at
        return self.text[self.at : self.at + 1]

    def take(self, char: str) -> None:
        if self.peek() != char:
            raise Unreadable(f"{char!r} is missing")
        self.at += 1


def _number(text: str) -> float:
    try:
        value = parse_json(text)
    except ValueError:
        raise Unreadable("a number is too large") from None
    return cast("float", value)


# Arguments that are JSON, but not as the tool takes them.

_WRAPPERS = frozenset({"arguments", "args", "input", "kwargs", "parameters", "params"})


def fit_arguments(arguments: Mapping[str, Any], schema: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The arguments in the form that the schema of the tool wants; the second value names what was changed.

    A value that fits, as it is or as validation reads it, is never changed; one that does not is changed only if it can
    mean one thing.
    """
    fitter = _Fitter(schema)
    unwrapped = fitter.unwrap(arguments)
    fitted = fitter.fit(unwrapped, leaf_schemas(schema, schema), "")
    return cast("dict[str, Any]", fitted), fitter.notes


@dataclass(slots=True)
class _Fitter:
    root: Mapping[str, Any]
    notes: list[str] = field(default_factory=list[str])

    def unwrap(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments out of a member such as ``arguments``, if they cannot fit with it."""
        known: Mapping[str, Any] = self.root.get("properties", {})
        is_open = self.root.get("additionalProperties", not self.root.get("required")) is not False
        if len(arguments) != 1 or "patternProperties" in self.root or is_open:
            return dict(arguments)
        ((wrapper, inner),) = arguments.items()
        if wrapper in known or wrapper not in _WRAPPERS:
            return dict(arguments)
        if isinstance(inner, str):
            inner = _decoded(inner)
        if isinstance(inner, dict) and known and cast("dict[str, Any]", inner).keys() <= known.keys():
            self.notes.append(f"wrapped in {wrapper!r}")
            return cast("dict[str, Any]", inner)
        return dict(arguments)

    def fit(self, value: Any, schemas: Sequence[dict[str, Any]], place: str) -> Any:
        if not schemas or not any(_fits(value, each) for each in schemas):
            changes = {write_json(new): (new, note) for each in schemas for new, note in self._changes(value, each)}
            if len(changes) != 1:
                return value
            ((value, note),) = changes.values()
            self.notes.append(note.format(place))
        if isinstance(value, dict):
            return self._fit_members(
                cast("dict[str, Any]", value), possible_schemas(cast("dict[str, Any]", value), schemas), place
            )
        if isinstance(value, list):
            items = enumerate(cast("list[object]", value))
            return [self.fit(each, member_schemas(schemas, at, self.root), f"{place}[{at}]") for at, each in items]
        return value

    def _fit_members(self, value: dict[str, Any], schemas: Sequence[dict[str, Any]], place: str) -> dict[str, Any]:
        fitted: dict[str, Any] = {}
        for name, each in value.items():
            inner, path = member_schemas(schemas, name, self.root), f"{place}.{name}".lstrip(".")
            may_be_left_out = all(name in one.get("properties", {}) for one in schemas) and not any(
                name in one.get("required", ()) for one in schemas
            )
            if each is None and inner and may_be_left_out and not any("null" in types_of(one) for one in inner):
                self.notes.append(f"null for {path}, which may be left out")
            else:
                fitted[name] = self.fit(each, inner, path)
        return fitted

    def _changes(self, value: Any, schema: dict[str, Any]) -> Iterator[tuple[Any, str]]:
        """The possible meanings of a value that does not fit this schema, each with a note on its place."""
        types = types_of(schema)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if "enum" in schema or "const" in schema:
            yield from _choices(value, schema)
        elif is_number and "string" in types and "format" not in schema:
            yield write_json(value), "{} written as a number"
        if isinstance(value, str) and "null" in types and value.strip() in ("", "null", "None"):
            yield None, "{} written as a string"
        inner = _decoded(value) if isinstance(value, str) and types & {"array", "object"} else None
        if inner is not None and ("object" if isinstance(inner, dict) else "array") in types:
            yield inner, "{} written as a string"
        if "array" in types and (is_number or isinstance(value, dict)):
            items = member_schemas([schema], 0, self.root)
            if items and all(_fits(value, each) and types_of(each) != JSON_TYPES for each in items):
                yield [value], "{} without its list"


def _choices(value: Any, schema: Mapping[str, Any]) -> Iterator[tuple[Any, str]]:
    """The values of an enum that the value could mean."""
    for each in schema["enum"] if "enum" in schema else [schema["const"]]:
        if isinstance(value, str) and isinstance(each, str) and each.lower() == value.strip().lower():
            yield each, "{} in another case"
        elif isinstance(value, str) and isinstance(each, int) and str(each) == value.strip():
            yield each, "{} written as a string"
        elif isinstance(each, str) and isinstance(value, int | float) and each == write_json(value):
            yield each, "{} written as a number"


def _fits(value: Any, schema: Mapping[str, Any]) -> bool:
    types = types_of(schema)
    if isinstance(value, dict | list):
        return ("object" if isinstance(value, dict) else "array") in types
    if "enum" in schema or "const" in schema:
        values = schema["enum"] if "enum" in schema else [schema["const"]]
        return any(value == each and isinstance(value, bool) == isinstance(each, bool) for each in values)
    if isinstance(value, str):
        return "string" in types
    if value is None or isinstance(value, bool):
        return ("null" if value is None else "boolean") in types
    return bool(types & {"integer", "number"})


def _decoded(text: str) -> Any:
    """The list or object that a string holds, or None."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        return parse_json(text)
    except ValueError:
        return None
