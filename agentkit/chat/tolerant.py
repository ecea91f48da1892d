"""Reading what a server sent: each function gives what is there in the wanted form, or nothing; none of them fails."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

__all__ = ["as_count", "as_mapping", "as_mappings", "as_text", "without"]


def as_text(raw: object) -> str:
    """The text, or an empty one."""
    return raw if isinstance(raw, str) else ""


def as_count(raw: object) -> int:
    """The number as a whole one that is not negative, or 0."""
    return max(0, int(raw)) if isinstance(raw, int | float) and abs(raw) < 1e15 else 0


def as_mapping(raw: object) -> Mapping[str, Any]:
    """The JSON object, or an empty one."""
    return cast("Mapping[str, Any]", raw) if isinstance(raw, Mapping) else {}


def as_mappings(raw: object) -> list[Mapping[str, Any]]:
    """The JSON objects of an array, or none."""
    items = cast("list[object]", raw) if isinstance(raw, list) else []
    return [cast("Mapping[str, Any]", item) for item in items if isinstance(item, Mapping)]


def without(raw: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """The members of other names."""
    return {name: value for name, value in raw.items() if name not in names}
