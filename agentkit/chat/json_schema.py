"""JSON Schemas in the dialects of servers: the same schema without what one of them does not know. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, cast

from agentkit.chat.decoding.lenient import as_mapping

__all__ = ["KEYWORDS", "inlined", "keywords_in", "without_keywords"]

_BY_NAME = frozenset({"properties", "$defs", "definitions", "patternProperties", "dependentSchemas"})
_DATA = frozenset({"enum", "const", "default", "examples", "required"})
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
            found = resolve(dict(_target(root, reference)), (*way, reference))
            return {**found, **_each(rest, lambda inner: resolve(inner, way))}
        return _each(rest, lambda inner: resolve(inner, way)) if left > 0 else {}

    return resolve(dict(root), ()) if root else schema


def _target(root: Mapping[str, Any], reference: str) -> Mapping[str, Any]:
    """What a reference inside the schema points to; nothing is known of any other."""
    place: Mapping[str, Any] = root
    for part in reference.removeprefix("#").strip("/").split("/") if reference != "#" else ():
        place = as_mapping(place.get(part.replace("~1", "/").replace("~0", "~")))
    return place


def _walk(schema: object, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    """Change a schema and all schemas in it, the outer ones first."""
    if not isinstance(schema, dict):
        return schema
    return _each(change(dict(cast("dict[str, Any]", schema))), lambda inner: _walk(inner, change))


def _each(schema: Mapping[str, Any], change: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    """The schema with each schema directly in it changed; names of properties and plain data are none."""
    return {name: value if name in _DATA else _inner(name, value, change) for name, value in schema.items()}


def _inner(name: str, value: Any, change: Callable[[dict[str, Any]], Any]) -> Any:
    if isinstance(value, list):
        return [_inner("", each, change) for each in cast("list[object]", value)]
    if not isinstance(value, dict):
        return value
    members = cast("dict[str, Any]", value)
    if name in _BY_NAME:
        return {inner: _inner("", each, change) for inner, each in members.items()}
    return change(members)
