"""Reads what a server or a model sent: each function returns the wanted form or an empty one, and never raises."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

from pydantic_core import from_json

__all__ = [
    "as_count",
    "as_index",
    "as_mapping",
    "as_mappings",
    "as_number",
    "as_text",
    "join_surrogates",
    "json_safe",
    "json_value",
    "omit",
    "read_object",
    "text_of_content",
]


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
    """The members that have other names."""
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
    """The string with each surrogate pair joined to its character, and U+FFFD for a surrogate that stands alone."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
