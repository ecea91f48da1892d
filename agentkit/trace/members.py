"""Members of untrusted JSON objects: what is missing or has another type is treated as empty."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias, cast

__all__ = ["Raw", "list_of", "name_of", "object_of"]

Raw: TypeAlias = Mapping[str, Any]
"""A JSON object."""


def object_of(value: Any) -> Raw:
    """Return the value if it is an object, otherwise an empty one."""
    return cast("Raw", value) if isinstance(value, Mapping) else {}


def list_of(value: Any) -> list[Raw]:
    """Return the objects of a list."""
    return list(map(object_of, cast("Iterable[Any]", value))) if isinstance(value, list) else []


def name_of(call: Any) -> str:
    """Return the name of the tool that was called."""
    members = object_of(call)
    return str(object_of(members.get("function") or members.get("custom")).get("name"))
