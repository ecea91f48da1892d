"""JSON Schemas: the one walker over them, and their dialects, for servers that do not know all of it. Pure.

Keywords and where they hold schemas are those of `JSON Schema 2020-12 <https://json-schema.org/draft/2020-12/schema>`_
and of older drafts.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, NamedTuple, cast

from agentkit.chat.decoding.lenient import as_mapping

__all__ = [
    "KEYWORDS",
    "Subschema",
    "inlined",
    "keywords_in",
    "map_subschemas",
    "resolve_reference",
    "subschemas",
    "without_keywords",
]

# Where a schema holds other schemas, by keyword: one, a list of them, or some by name.
_SINGLE = frozenset(
    {
        "additionalItems", "additionalProperties", "contains", "contentSchema", "else", "if", "items", "not",
        "propertyNames", "then", "unevaluatedItems", "unevaluatedProperties",
    }
)  # fmt: skip
_LISTS = frozenset({"allOf", "anyOf", "items", "oneOf", "prefixItems"})  # `items` was a list in older drafts
_BY_NAME = frozenset({"$defs", "definitions", "dependentSchemas", "patternProperties", "properties"})


class Subschema(NamedTuple):
    """A schema directly inside another.

    Attributes:
        keyword: The keyword that holds it.
        key: Its name below that keyword, or its index in a list; empty where the keyword holds a single schema.
        schema: The schema: an object or a boolean, unless whoever wrote the outer one has made a mistake.
    """

    keyword: str
    key: str | int
    schema: Any


def subschemas(schema: Mapping[str, Any]) -> Iterator[Subschema]:
    """The schemas directly inside a schema, in their order. Defaults and the values of enums are data, not schemas."""
    for keyword, value in schema.items():
        if keyword in _BY_NAME and isinstance(value, dict):
            yield from (Subschema(keyword, key, each) for key, each in cast("dict[str, Any]", value).items())
        elif keyword in _LISTS and isinstance(value, list):
            yield from (Subschema(keyword, index, each) for index, each in enumerate(cast("list[object]", value)))
        elif keyword in _SINGLE or keyword in _LISTS:
            yield Subschema(keyword, "", value)


def map_subschemas(change: Callable[[dict[str, Any]], Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema with each schema directly inside it changed; a boolean schema stays as it is."""
    made = dict(schema)
    for keyword, key, inner in subschemas(schema):
        if not isinstance(inner, dict):
            continue
        if key == "":
            made[keyword] = change(cast("dict[str, Any]", inner))
            continue
        if made[keyword] is schema[keyword]:
            made[keyword] = copy.copy(schema[keyword])
        made[keyword][key] = change(cast("dict[str, Any]", inner))
    return made


def resolve_reference(reference: str, root: Mapping[str, Any]) -> Any:
    """The schema that a reference inside a document points to; None if it points to nothing in it."""
    place: Any = root
    for part in reference.removeprefix("#").strip("/").split("/") if reference.strip("#/") else ():
        key = part.replace("~1", "/").replace("~0", "~")
        place = cast("dict[str, Any]", place).get(key) if isinstance(place, dict) else None
    return place if reference.startswith("#") else None


# Dialects.


_MOST = 20_000  # places of a schema that is written out; what is further in stays open

KEYWORDS = frozenset(
    {
        "$anchor", "$comment", "$defs", "$dynamicAnchor", "$dynamicRef", "$id", "$ref", "$schema", "additionalItems",
        "additionalProperties", "allOf", "anyOf", "const", "contains", "contentEncoding", "contentMediaType",
        "default", "definitions", "dependencies", "dependentRequired", "dependentSchemas", "deprecated",
        "discriminator", "else", "examples", "exclusiveMaximum", "exclusiveMinimum", "format", "if", "maxContains",
        "maxItems", "maxLength", "maxProperties", "maximum", "minContains", "minItems", "minLength", "minProperties",
        "minimum", "multipleOf", "not", "oneOf", "pattern", "patternProperties", "prefixItems", "propertyNames",
        "readOnly", "then", "title", "unevaluatedItems", "unevaluatedProperties", "uniqueItems", "writeOnly",
    }
)  # fmt: skip
"""Keywords that a server may not know and that can be left out or written otherwise; arguments are checked anyway."""


def keywords_in(schema: object) -> set[str]:
    """Every keyword that the schema uses, at any depth."""
    found: set[str] = set()

    def look(each: dict[str, Any]) -> dict[str, Any]:
        found.update(each)
        return each

    _walk(schema, look)
    return found


def without_keywords(schema: object, keywords: Collection[str]) -> tuple[Any, set[str]]:
    """The schema without these keywords, and which of them it had."""
    found: set[str] = set()

    def cut(each: dict[str, Any]) -> dict[str, Any]:
        found.update(each.keys() & set(keywords))
        return {name: value for name, value in each.items() if name not in keywords}

    return _walk(schema, cut), found


def inlined(schema: object) -> Any:
    """The schema with references written out and ``const`` as ``enum``; where it refers to itself it is left open."""
    root = as_mapping(schema)
    left = _MOST

    def resolve(each: dict[str, Any], way: tuple[str, ...]) -> Any:
        nonlocal left
        left -= 1
        reference = each.get("$ref")
        rest = {name: value for name, value in each.items() if name not in ("$ref", "$defs", "definitions")}
        if "const" in rest:
            rest["enum"] = [rest.pop("const")]
        if isinstance(reference, str):
            if reference in way or left <= 0:
                return rest
            found = resolve(dict(as_mapping(resolve_reference(reference, root))), (*way, reference))
            return {**found, **map_subschemas(lambda inner: resolve(inner, way), rest)}
        return map_subschemas(lambda inner: resolve(inner, way), rest) if left > 0 else {}

    return resolve(dict(root), ()) if root else schema


def _walk(schema: object, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    """Change a schema and all schemas in it, the outer ones first."""
    if not isinstance(schema, dict):
        return schema
    changed = change(dict(cast("dict[str, Any]", schema)))
    return map_subschemas(lambda inner: _walk(inner, change), changed)
