"""What models get wrong when they write a call, put right as far as that cannot change what they meant. Pure.

The steps, each told in words: an object that was encoded twice, a code fence, brackets and marks of a chat template
after the object, the same object twice, Python's literals, single quotes, keys without quotes, trailing commas, line
ends and lone backslashes in texts; then arguments wrapped into one member, a list or an object written as text, and
null for what may be left out. What is incomplete is never completed, words after the object are never dropped, and NaN
is no number.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from pydantic_core import from_json

from agentkit.tools.calls.arguments import Written, as_written, write

__all__ = ["Unreadable", "fit_arguments", "match_tool_name", "repair_text", "unknown_tool_message"]

_SHORTEST = 5  # letters of a name that may be misspelt: shorter ones are too close to each other
_MOST_NAMES = 20
_MARK = re.compile(r"<[|｜]")  # noqa: RUF001 - some templates write it wide
_INDEX = re.compile(r"\A(functions\.[^.:]+):\d+\Z")  # how Kimi numbers its calls


def match_tool_name(name: str, tools: Collection[str]) -> str | None:
    """The one tool that the name can mean, or None.

    Forgiven are what servers put before and after a name (``functions.add``, ``add<|channel|>``), case, dashes and
    underscores, and one letter too many, too few or two that changed places. Another letter is never forgiven: that
    would make ``set_user`` of ``get_user``. Nor is a name that goes on: ``user.delete`` is not ``user``.
    """
    if name in tools:
        return name
    bare = _INDEX.sub(r"\1", _MARK.split(name, maxsplit=1)[0].strip())
    if not bare.isascii():
        return None
    pieces = [_folded(piece) for piece in re.split(r"[./:]+", bare)]
    last, whole = pieces[-1], "".join(pieces)
    same = [tool for tool in tools if _folded(tool) in {*pieces, whole} - {""}]
    if not same:
        same = [tool for tool in tools if _is_slip(last, _folded(tool))]
    elif not {_folded(tool) for tool in same} <= {last, whole}:
        return None
    return same[0] if len(same) == 1 else None


def unknown_tool_message(name: str, tools: Collection[str], switched_off: Collection[str] = ()) -> str:
    """What to tell a model that called a tool which does not exist, or is switched off in this turn."""
    if name in switched_off:
        return f"the tool {name!r} is switched off in this turn"
    if not tools:
        return f"there is no tool {name!r}; there are no tools at all, so answer without one"
    near = difflib.get_close_matches(name, tools, n=3)
    if near:
        return f"there is no tool {name!r}; did you mean {' or '.join(near)}?"
    listed = sorted(tools)[:_MOST_NAMES] if len(tools) > _MOST_NAMES else list(tools)
    more = f" and {len(tools) - len(listed)} more" if len(tools) > len(listed) else ""
    return f"there is no tool {name!r}; the tools are {', '.join(listed)}{more}"


def _folded(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _is_slip(written: str, name: str) -> bool:
    """Whether one letter is too many or too few, or two neighbours changed places. A number or a plural is no slip."""
    if re.sub(r"\D", "", written) != re.sub(r"\D", "", name) or written.rstrip("s") == name.rstrip("s"):
        return False
    if min(len(written), len(name)) < _SHORTEST or abs(len(written) - len(name)) > 1:
        return False
    longer, shorter = (written, name) if len(written) > len(name) else (name, written)
    if len(longer) > len(shorter):
        return any(longer[:at] + longer[at + 1 :] == shorter for at in range(len(longer)))
    return any(
        written[:at] + written[at + 1] + written[at] + written[at + 2 :] == name for at in range(len(written) - 1)
    )


_DEEPEST = 200
_WRAPPERS = frozenset({"arguments", "args", "input", "kwargs", "parameters", "params"})
_SPACE = re.compile(r"\s*")
_FENCE = re.compile(r"\ufeff?\s*```[A-Za-z]*[ \t]*\n?")
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w.])")
_WORD = re.compile(r"[A-Za-z_$][\w$-]*")
_MEANS_NOTHING = re.compile(r"[}\]);]+|```|<[|｜][^<>|｜\n]{1,60}[|｜]>")  # noqa: RUF001 - some templates write it wide
_CONTROL = re.compile(r"[\x00-\x1f]")
_LITERALS = {"true": True, "false": False, "null": None, "True": True, "False": False, "None": None}
_CONTROLS = frozenset("bfnrt")
_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "'": "'"}
_PLAIN = {quote: re.compile(rf"[^{quote}\\]+") for quote in "\"'"}


class Unreadable(ValueError):
    """The text is no object, whatever is forgiven."""


def repair_text(text: str) -> tuple[dict[str, Any], list[str]]:
    """Read arguments as a person would; the second value says what had to be forgiven, each once.

    Raises:
        Unreadable: There is more than one way to understand the text, or none.
    """
    reader = _Reader(text)
    try:
        value = reader.read()
        if isinstance(value, str):
            inner = _Reader(value)
            value = inner.read()
            reader.forgiven = dict.fromkeys([*reader.forgiven, "encoded twice", *inner.forgiven])
    except RecursionError:
        raise Unreadable("nested too deeply") from None
    if not isinstance(value, dict):
        raise Unreadable("not an object")
    return cast("dict[str, Any]", value), list(reader.forgiven)


@dataclass(slots=True)
class _Reader:
    """A reader of JSON that forgives what has one meaning only."""

    text: str
    at: int = 0
    depth: int = 0
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
        """What follows the object: the same once more, or what means nothing. Words may take back what was said."""
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
        pieces: list[str] = []
        escaped: set[str] = set()
        self.at += 1
        while (char := self.text[self.at : self.at + 1]) != quote:
            if plain := _PLAIN[quote].match(self.text, self.at):
                self.at = plain.end()
                pieces.append(plain[0])
                if not plain[0].isprintable() and _CONTROL.search(plain[0]):
                    self.forgive("with line ends in a text")
            elif char == "\\":
                escaped.add(self.text[self.at + 1 : self.at + 2])
                pieces.append(self.escape())
            else:
                raise Unreadable("a text has no end")
        if escaped & _CONTROLS and not escaped <= {*_ESCAPES, "u"}:  # C:\temp\data: perhaps none is an escape
            raise Unreadable("a text with lone backslashes")
        self.at += 1
        return "".join(pieces).encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    def escape(self) -> str:
        char = self.text[self.at + 1 : self.at + 2]
        self.at += 2
        if char == "u":
            return self.unicode()
        if char in _ESCAPES:
            return _ESCAPES[char]
        if not char:
            raise Unreadable("a text has no end")
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
        space = _SPACE.match(self.text, self.at)
        self.at = space.end() if space else self.at
        return self.text[self.at : self.at + 1]

    def take(self, char: str) -> None:
        if self.peek() != char:
            raise Unreadable(f"{char!r} is missing")
        self.at += 1


def _number(text: str) -> float:
    try:
        value = from_json(text, allow_inf_nan=False)
    except ValueError:
        raise Unreadable("a number is too large") from None
    if value in (float("inf"), float("-inf")):
        raise Unreadable("a number is too large")
    return Written(text) if isinstance(value, float) else cast("float", value)


# Arguments that are JSON, but not as the tool takes them.


def fit_arguments(arguments: Mapping[str, Any], schema: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The arguments as the schema of the tool wants them; the second value says what was changed."""
    notes: list[str] = []
    known: Mapping[str, Any] = schema.get("properties", {})
    fitted = _unwrapped(arguments, known, notes) if _is_closed(schema) else dict(arguments)
    for name, value in list(fitted.items()):
        if name in known and (value is None or isinstance(value, str)):
            _fit_member(fitted, name, schema, notes)
    return fitted, notes


def _is_closed(schema: Mapping[str, Any]) -> bool:
    """Whether an object with one member that has no property cannot fit."""
    if "patternProperties" in schema:
        return False
    return schema.get("additionalProperties", not schema.get("required")) is False


def _unwrapped(arguments: Mapping[str, Any], known: Mapping[str, Any], notes: list[str]) -> dict[str, Any]:
    if len(arguments) != 1:
        return dict(arguments)
    ((wrapper, inner),) = arguments.items()
    if wrapper in known or wrapper not in _WRAPPERS:
        return dict(arguments)
    if isinstance(inner, str):
        inner = _decoded(inner, {"object"})
    if isinstance(inner, dict) and known and cast("dict[str, Any]", inner).keys() <= known.keys():
        notes.append(f"wrapped in {wrapper!r}")
        return cast("dict[str, Any]", inner)
    return dict(arguments)


def _fit_member(fitted: dict[str, Any], name: str, schema: Mapping[str, Any], notes: list[str]) -> None:
    value, types = fitted[name], _types(schema["properties"][name], schema)
    if not types or "string" in types:
        return
    if value is None:
        if "null" not in types and name not in schema.get("required", ()):
            del fitted[name]
            notes.append(f"null for {name}, which may be left out")
    elif (inner := _decoded(value, types)) is not None:
        fitted[name] = inner
        notes.append(f"{name} written as a text")
    elif value in ("null", "None") and "null" in types:
        fitted[name] = None
        notes.append(f"{name} written as a text")


def _decoded(text: str, types: set[str]) -> Any:
    """The list or object that a text holds, if one of these types is wanted."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        from_json(text, allow_inf_nan=False)
        write(value := as_written(text))
    except (ValueError, RecursionError):
        return None
    return cast("Any", value) if ("object" if isinstance(value, dict) else "array") in types else None


def _types(schema: object, root: Mapping[str, Any], depth: int = 0) -> set[str]:
    """The JSON types that a schema allows; nothing when it does not say, or allows any."""
    if not isinstance(schema, Mapping) or depth > _DEEPEST // 10:
        return set()
    known = cast("Mapping[str, Any]", schema)
    if "type" in known:
        return {known["type"]} if isinstance(known["type"], str) else set(known["type"])
    if "enum" in known or "const" in known:
        return {"string"}
    if reference := known.get("$ref"):
        definition = root if reference == "#" else root.get("$defs", {}).get(str(reference).rpartition("/")[2])
        return _types(definition, root, depth + 1)
    branches = [_types(each, root, depth + 1) for each in known.get("anyOf") or known.get("oneOf") or ()]
    return set[str]().union(*branches) if branches and all(branches) else set()
