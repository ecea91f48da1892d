"""Makes a JSON Schema small, as every request carries it: no titles, no definition that is used only once."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, cast

from agentkit.chat.messages import encode_json

__all__ = ["DECIMAL", "JsonSchema", "as_list", "as_schema", "compact", "map_schema", "tidy"]

JsonSchema: TypeAlias = dict[str, Any]

DECIMAL = "x-decimal"
"""Marks the schema of a `Decimal` for those who read arguments; no model sees it."""

_DROPPED = ("title", "discriminator", "x-decimal")
_ONE = ("items", "additionalProperties", "contains", "not", "propertyNames")
_LIST = ("anyOf", "oneOf", "allOf", "prefixItems")
_NAMED = ("properties", "patternProperties", "$defs", "definitions")


def as_schema(value: object) -> JsonSchema | None:
    """The value if it is a JSON object."""
    return cast("JsonSchema", value) if isinstance(value, dict) else None


def as_list(value: object) -> list[Any] | None:
    """The value if it is a JSON array."""
    return list(cast("Sequence[Any]", value)) if isinstance(value, list) else None


def map_schema(change: Callable[[JsonSchema], JsonSchema], schema: Mapping[str, Any]) -> JsonSchema:
    """The schema with each schema directly inside it changed; defaults and enums, which are data, stay as they are."""

    def changed(key: str, value: Any) -> Any:
        if key in _ONE and (inner := as_schema(value)) is not None:
            return change(inner)
        if key in _LIST and (branches := as_list(value)) is not None:
            return [changed("items", each) for each in branches]
        if key in _NAMED and (members := as_schema(value)) is not None:
            return {name: changed("items", each) for name, each in members.items()}
        return value

    return {key: changed(key, value) for key, value in schema.items()}


def compact(schema: JsonSchema) -> JsonSchema:
    """The schema with only the definitions kept apart that are used twice: also those, then, that hold themselves."""
    small = tidy(schema)
    uses = Counter(re.findall(r'"\$ref":"#/\$defs/([^"]+)"', encode_json(small).decode()))
    definitions: dict[str, JsonSchema] = small.pop("$defs", {})
    apart = {name for name in definitions if uses[name] > 1}

    def inlined(node: JsonSchema) -> JsonSchema:
        name = node.get("$ref", "").removeprefix("#/$defs/")
        if name in apart or name not in definitions:
            return map_schema(inlined, node)
        return inlined(definitions[name]) | {key: value for key, value in node.items() if key != "$ref"}

    left = {name: map_schema(inlined, each) for name, each in definitions.items() if name in apart}
    return inlined(small) | ({"$defs": left} if left else {})


def tidy(schema: Mapping[str, Any]) -> JsonSchema:
    """Without titles, OpenAPI's discriminators, our marks and unions in unions.

    An array without ``items`` gets those of its prefix.
    """
    small = map_schema(tidy, {key: value for key, value in schema.items() if key not in _DROPPED})
    if small.get("type") == "array" and "items" not in small:
        prefix: list[JsonSchema] = small.get("prefixItems", [])
        kinds = [each for index, each in enumerate(prefix) if each not in prefix[:index]]
        small["items"] = {"anyOf": kinds} if len(kinds) > 1 else kinds[0] if kinds else {}
    if (branches := as_list(small.get("anyOf"))) is not None:
        flat = [each for branch in branches for each in (branch["anyOf"] if branch.keys() == {"anyOf"} else [branch])]
        small["anyOf"] = [each for index, each in enumerate(flat) if each not in flat[:index]]
    return small
