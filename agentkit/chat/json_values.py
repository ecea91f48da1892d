"""JSON values: reads those of a server or a model without ever raising, and parses and encodes with care.

The readers (``as_...``, `json_value` and the like) return the wanted form or an empty one.

Numbers keep their digits: a float holds about 17 of them, and 1.50 becomes 1.5. Where a tool wants a `Decimal` or a
string, the digits that the model wrote count. So the arguments of a call are parsed once, by `parse_json`, and every
later step still knows the digits.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, Self, cast

from pydantic_core import from_json

_DEEPEST = 200
_NULL = re.compile(r"((?<!\\)(?:\\\\)*)\\u0000")  # as JSON writes it: behind an even number of backslashes
_NEEDS_CARE = re.compile(r"\d[.eE]")  # a fraction or an exponent


def as_text(raw: object) -> str:
    """The string, or an empty one."""
    return raw if isinstance(raw, str) else ""


def as_number(raw: object) -> float | None:
    """The number, unless it is a boolean, not finite or absurd."""
    if isinstance(raw, bool) or not isinstance(raw, int | float) or not abs(raw) < 1e300:
        return None
    return float(raw)


def as_count(raw: object) -> int:
    """The number as a whole one that is not negative, or 0."""
    return max(0, int(raw)) if isinstance(raw, int | float) and abs(raw) < 1e15 else 0


def as_index(raw: object) -> int | None:
    """The place in a list that a number, or a string of digits, names."""
    if isinstance(raw, str) and raw.isdecimal() and len(raw) < 10:
        return int(raw)
    return int(raw) if isinstance(raw, int | float) and not isinstance(raw, bool) and abs(raw) < 1e9 else None


def as_mapping(raw: object) -> Mapping[str, Any]:
    """The JSON object, or an empty one."""
    known = type(raw) is dict or isinstance(raw, Mapping)  # the first is much faster, and nearly always true
    return cast("Mapping[str, Any]", raw) if known else {}


def as_mappings(raw: object) -> list[Mapping[str, Any]]:
    """The JSON objects of an array, or none."""
    if not raw or not isinstance(raw, list | tuple):
        return []
    items = cast("Sequence[object]", raw)
    return [cast("Mapping[str, Any]", item) for item in items if type(item) is dict or isinstance(item, Mapping)]


def text_of_content(raw: object) -> str:
    """The text of a content as a server writes it: the string, or the text parts of an array joined."""
    if isinstance(raw, str):
        return raw
    parts: object = [as_mapping(cast("object", raw))] if isinstance(raw, Mapping) else raw
    return "".join(as_text(part.get("text")) for part in as_mappings(parts) if part.get("type", "text") == "text")


def omit(raw: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """The members with other names than these."""
    if not raw.keys() - names:
        return {}
    return {name: value for name, value in raw.items() if name not in names}


def json_value(text: str) -> object:
    """The JSON value that a string is, or None; NaN and infinities are not JSON."""
    try:
        return from_json(text, allow_inf_nan=False)
    except (ValueError, TypeError):  # a lone surrogate is a TypeError
        return None


def read_object(text: str) -> dict[str, Any] | None:
    """The JSON object that a string is, or None if it is anything else."""
    value = json_value(text)
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def json_safe(raw: Any) -> Any:
    """The value as JSON can express it: servers written in Python send NaN and infinities, which become null."""
    if isinstance(raw, Mapping):
        return {name: json_safe(value) for name, value in cast("Mapping[str, Any]", raw).items()}
    if isinstance(raw, list):
        return [json_safe(value) for value in cast("list[object]", raw)]
    return None if isinstance(raw, float) and not math.isfinite(raw) else raw


def join_surrogates(text: str) -> str:
    """Return the string with surrogate pairs joined, and U+FFFD for each lone surrogate."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def encode_json(value: object) -> bytes:
    """Encode to compact UTF-8 JSON; lone surrogates and NUL, which servers refuse, become U+FFFD.

    Raises:
        TypeError: The value holds something that JSON cannot express.
        ValueError: It holds NaN, an infinity or itself.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    if "\\u0000" in text:
        text = _NULL.sub("\\1\ufffd", text)
    try:
        return text.encode()
    except UnicodeEncodeError:
        return join_surrogates(text).encode()


class WrittenNumber(float):
    """A float that knows the characters it was written with."""

    text: str

    def __new__(cls, text: str) -> Self:
        """The number that the string spells."""
        made = super().__new__(cls, text)
        made.text = text
        return made

    def __reduce__(self) -> tuple[type[Self], tuple[str]]:
        return type(self), (self.text,)


def has_written_numbers(text: str) -> bool:
    """True if a JSON text may have numbers that become a `WrittenNumber`."""
    return _NEEDS_CARE.search(text) is not None


def parse_json(text: str) -> Any:
    """Parse a JSON text; every number with a fraction or an exponent becomes a `WrittenNumber`.

    Line ends inside strings are accepted, and a lone surrogate becomes U+FFFD.

    Raises:
        ValueError: It is not JSON, holds NaN or a number too large for a float, or is nested more than 200 deep.
    """
    if not has_written_numbers(text):
        try:
            return from_json(text, allow_inf_nan=False)
        except (TypeError, ValueError):  # a lone surrogate is a TypeError; the rest is for the lenient parser to say
            pass
    try:
        value = json.loads(text, strict=False, parse_float=WrittenNumber, parse_constant=_refuse)
        return _checked(value, 0)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def write_json(value: object) -> str:
    """The value as compact JSON, each `WrittenNumber` with the digits it was written with.

    Raises:
        TypeError: The value holds something that JSON cannot express.
        ValueError: It holds NaN, an infinity or itself.
    """
    if isinstance(value, WrittenNumber) and math.isfinite(value):
        return value.text
    if isinstance(value, Mapping):
        members = cast("Mapping[str, object]", value)
        return "{" + ",".join(f"{encode_json(key).decode()}:{write_json(each)}" for key, each in members.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(write_json, cast("list[object]", value))) + "]"
    return encode_json(value).decode()


def _checked(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return join_surrogates(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("a number is too large")
        return value
    if depth == _DEEPEST and isinstance(value, list | dict):
        raise ValueError("nested too deeply")
    if isinstance(value, list):
        return [_checked(each, depth + 1) for each in cast("list[object]", value)]
    if isinstance(value, dict):
        members = cast("dict[str, Any]", value)
        return {_checked(key, depth): _checked(each, depth + 1) for key, each in members.items()}
    return value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON value")
