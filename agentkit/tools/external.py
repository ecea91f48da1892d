"""What there is of a tool without a signature: its JSON Schema and its function.

What servers refuse in a schema is put right if possible, and named if not.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from agentkit.chat.messages import encode_json
from agentkit.errors import DefinitionError
from agentkit.tools.compact import JsonSchema, as_list, as_schema, map_schema

__all__ = ["check_function", "check_schema"]

_TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")
_NAMED = {"properties", "$defs", "definitions", "patternProperties"}
_LISTS = {"anyOf", "oneOf", "allOf", "prefixItems", "items"}  # `items` was a list in older drafts
_ONE = {"additionalProperties", "not"}


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
    for keyword in sorted(_NAMED & node.keys()):
        members = as_schema(node[keyword])
        if members is None:
            yield place, f"has {keyword}={node[keyword]!r}; it maps names to schemas"
        for name, each in (members or {}).items():
            yield from _complaints(each, f"{place}.{name}".lstrip("."))
    for keyword in sorted(_ONE & node.keys()):
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
