"""A tool's JSON Schema, made small, and fit for every server. A schema that somebody else wrote is checked first."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, cast

from agentkit.chat.json_schema import JSON_TYPES, JsonSchema, map_subschemas, subschemas
from agentkit.chat.json_values import encode_json
from agentkit.errors import DefinitionError

__all__ = ["DECIMAL", "check_schema", "compact"]

DECIMAL = "x-decimal"
"""Marks the schema of a `Decimal` for `calls.arguments`; no model sees it."""

_DROPPED = ("title", "discriminator", DECIMAL)
_BY_NAME = ("$defs", "definitions", "patternProperties", "properties")


def compact(schema: JsonSchema) -> JsonSchema:
    """The schema with only those definitions kept apart that are used twice, or that refer to themselves."""
    small = _tidy(schema)
    uses = Counter(re.findall(r'"\$ref":"#/\$defs/([^"]+)"', encode_json(small).decode()))
    definitions: dict[str, JsonSchema] = small.pop("$defs", {})
    apart = {name for name in definitions if uses[name] > 1}

    def inlined(node: JsonSchema) -> JsonSchema:
        name = node.get("$ref", "").removeprefix("#/$defs/")
        if name in apart or name not in definitions:
            return map_subschemas(inlined, node)
        return inlined(definitions[name]) | {key: value for key, value in node.items() if key != "$ref"}

    left = {name: map_subschemas(inlined, each) for name, each in definitions.items() if name in apart}
    return inlined(small) | ({"$defs": left} if left else {})


def _tidy(schema: Mapping[str, Any]) -> JsonSchema:
    """Without titles, OpenAPI's discriminators, our marks and unions in unions.

    An array without ``items`` gets those of its prefix.
    """
    small = map_subschemas(_tidy, {key: value for key, value in schema.items() if key not in _DROPPED})
    if small.get("type") == "array" and "items" not in small:
        prefix: list[JsonSchema] = small.get("prefixItems", [])
        kinds = [each for index, each in enumerate(prefix) if each not in prefix[:index]]
        small["items"] = {"anyOf": kinds} if len(kinds) > 1 else kinds[0] if kinds else {}
    branches: list[JsonSchema] = small.get("anyOf", [])
    if branches:
        flat = [each for branch in branches for each in (branch["anyOf"] if branch.keys() == {"anyOf"} else [branch])]
        small["anyOf"] = [each for index, each in enumerate(flat) if each not in flat[:index]]
    return small


def check_schema(name: str, parameters: Mapping[str, Any]) -> JsonSchema:
    """The schema of a tool's arguments, ready for every server: a copy, in which every array has ``items``.

    Args:
        name: The name of the tool, for the error.
        parameters: The schema that somebody wrote.

    Raises:
        DefinitionError: It is not JSON, not one of an object, or no server would take it; says where.
    """
    schema: JsonSchema = {"type": "object", "properties": {}, **parameters}
    try:
        encode_json(schema)
    except (TypeError, ValueError, RecursionError) as error:
        raise DefinitionError(f"tool {name!r}: its parameters are not JSON ({error})") from error
    if schema["type"] != "object":
        raise DefinitionError(f"tool {name!r}: its parameters must be a JSON Schema of type 'object'")
    for place, complaint in _complaints(schema, ""):
        where = f"parameter {place!r}" if place else "its schema"
        raise DefinitionError(f"tool {name!r}: {where} {complaint}")
    return _with_items(schema)


def _complaints(schema: object, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(schema, bool):
        return
    if not isinstance(schema, dict):
        yield place, f"is {schema!r} where a JSON Schema has an object"
        return
    node = cast("JsonSchema", schema)
    yield from _wrong_keywords(node, place)
    for _, key, inner in subschemas(node):
        yield from _complaints(inner, f"{place}.{key}".lstrip(".") if key and isinstance(key, str) else place)


def _wrong_keywords(node: JsonSchema, place: str) -> Iterator[tuple[str, str]]:
    kinds: Any = node.get("type", "object")
    for kind in cast("list[object]", kinds if isinstance(kinds, list) else [kinds]):
        if not isinstance(kind, str) or kind not in JSON_TYPES:
            yield place, f"has the type {kind!r}; there are {', '.join(sorted(JSON_TYPES))}"
    required: Any = node.get("required", [])
    if not isinstance(required, list) or not all(isinstance(each, str) for each in cast("list[object]", required)):
        yield place, f"has required={required!r}; it is the list of the names of required properties"
    if not isinstance(node.get("enum", []), list):
        yield place, f"has enum={node['enum']!r}; it is a list of values"
    for keyword in ("$ref", "pattern", "format", "description"):
        if not isinstance(node.get(keyword, ""), str):
            yield place, f"has {keyword}={node[keyword]!r}; it is a string"
    for keyword in _BY_NAME:
        if not isinstance(node.get(keyword, {}), dict):
            yield place, f"has {keyword}={node[keyword]!r}; it maps names to schemas"


def _with_items(schema: Mapping[str, Any]) -> JsonSchema:
    kinds = schema.get("type", ())
    is_array = "array" in ([kinds] if isinstance(kinds, str) else kinds)
    return map_subschemas(_with_items, {**schema, "items": {}} if is_array and "items" not in schema else schema)
