"""JSON values as a model wrote them: a number keeps its digits.

A float holds about 17 digits, and 1.50 becomes 1.5. Where a tool wants a `Decimal` or a string, the digits that the
model wrote count. So the arguments of a call are parsed once, here, and every later step still knows the digits.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, NoReturn, Self, cast

from pydantic_core import from_json

from agentkit.chat.decoding.lenient import join_surrogates

__all__ = ["WrittenNumber", "encode_json", "has_written_numbers", "parse_json", "write_json"]

_DEEPEST = 200
_NULL = re.compile(r"((?<!\\)(?:\\\\)*)\\u0000")  # as JSON writes it: behind an even number of backslashes
_NEEDS_CARE = re.compile(r"\d[.eE]")  # a fraction or an exponent


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
        """The number that the string says."""
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
