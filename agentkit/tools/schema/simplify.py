"""What there is of a tool without a signature: its JSON Schema and its function.

What servers refuse in a schema is put right if possible, and named if not.
"""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias, cast

from agentkit.chat.messages import encode_json
from agentkit.errors import DefinitionError

__all__ = [
    "DECIMAL",
    "JsonSchema",
    "as_list",
    "as_schema",
    "check_function",
    "check_schema",
    "compact",
    "map_schema",
    "tidy",
]

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


_TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")
_NAMED_external = {"properties", "$defs", "definitions", "patternProperties"}
_LISTS = {"anyOf", "oneOf", "allOf", "prefixItems", "items"}  # `items` was a list in older drafts
_ONE_external = {"additionalProperties", "not"}


def check_function(name: str, function: Callable[..., Any]) -> None:
    """Refuse a function that cannot be called with the context and what the model wrote.

    Raises:
        DefinitionError: It takes something else.
    """
    try:
        inspect.signature(function).bind(None, None)
    except ValueError:  # of one that is not written in Python
        return
    except TypeError as error:
        raise DefinitionError(
            f"tool {name!r}: its function must take two arguments, the ToolContext and what the model wrote ({error})"
        ) from error


def check_schema(name: str, parameters: Mapping[str, Any]) -> JsonSchema:
    """The schema of a tool's arguments, ready for every server: a copy, in which every array has ``items``.

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


def _complaints(schema: Any, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(schema, bool):
        return
    node = as_schema(schema)
    if node is None:
        yield place, f"is {schema!r} where a JSON Schema has an object"
        return
    yield from _wrong_keywords(node, place)
    for keyword in sorted(_NAMED_external & node.keys()):
        members = as_schema(node[keyword])
        if members is None:
            yield place, f"has {keyword}={node[keyword]!r}; it maps names to schemas"
        for name, each in (members or {}).items():
            yield from _complaints(each, f"{place}.{name}".lstrip("."))
    for keyword in sorted(_ONE_external & node.keys()):
        yield from _complaints(node[keyword], place)
    for keyword in sorted(_LISTS & node.keys()):
        branches = as_list(node[keyword])
        for each in [node[keyword]] if branches is None else branches:
            yield from _complaints(each, place)


def _wrong_keywords(node: JsonSchema, place: str) -> Iterator[tuple[str, str]]:
    kinds = as_list(node.get("type"))
    for kind in [node.get("type", "object")] if kinds is None else kinds:
        if kind not in _TYPES:
            yield place, f"has the type {kind!r}; there are {', '.join(_TYPES)}"
    required = as_list(node.get("required", []))
    if required is None or not all(map(_is_text, required)):
        yield place, f"has required={node['required']!r}; it is the list of the names of required properties"
    if not isinstance(node.get("enum", []), list):
        yield place, f"has enum={node['enum']!r}; it is a list of values"
    for keyword in ("$ref", "pattern", "format", "description"):
        if not _is_text(node.get(keyword, "")):
            yield place, f"has {keyword}={node[keyword]!r}; it is a text"


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _with_items(schema: JsonSchema) -> JsonSchema:
    kinds = schema.get("type", ())
    is_array = "array" in ([kinds] if isinstance(kinds, str) else kinds)
    return map_schema(_with_items, schema | {"items": {}} if is_array and "items" not in schema else schema)
