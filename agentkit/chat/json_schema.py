"""JSON Schemas: the one walker over them, and their dialects, for servers that do not know all of it. Pure.

Keywords and where they hold schemas are those of `JSON Schema 2020-12 <https://json-schema.org/draft/2020-12/schema>`_
and of older drafts.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias, cast

from agentkit.chat.json_values import as_mapping

JsonSchema: TypeAlias = dict[str, Any]

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


# What schemas say of a value, place by place.

JSON_TYPES = frozenset({"array", "boolean", "integer", "null", "number", "object", "string"})
TYPE_OF: Mapping[type, str] = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}


def leaf_schemas(schema: object, root: Mapping[str, Any], _seen: frozenset[str] = frozenset()) -> list[dict[str, Any]]:
    """The schemas a value may be of, with references and unions resolved.

    Args:
        schema: The schema of the value.
        root: The document that references point into.
    """
    if schema is True:
        return [{}]
    if not isinstance(schema, dict):
        return []
    node = cast("dict[str, Any]", schema)
    reference = node.get("$ref")
    if isinstance(reference, str):
        seen = _seen | {reference}
        return [] if reference in _seen else leaf_schemas(resolve_reference(reference, root), root, seen)
    branches = [each for keyword in ("anyOf", "oneOf", "allOf") for each in node.get(keyword) or ()]
    leaves = [leaf for each in branches for leaf in leaf_schemas(each, root, _seen)]
    return leaves if branches and "properties" not in node else [*leaves, node]


def member_schemas(
    schemas: Iterable[Mapping[str, Any]], step: str | int, root: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The schemas that a member of a value may be of.

    Args:
        schemas: Those of the value, from `leaf_schemas`.
        step: The name of the member, or its index in an array.
        root: The document that references point into.
    """
    found: list[dict[str, Any]] = []
    for node in schemas:
        properties: dict[str, Any] = node.get("properties") or {}
        inner: Any = None
        if isinstance(step, str):
            inner = properties.get(step, node.get("additionalProperties"))
        elif properties and "items" not in node:  # a named tuple may come as an array
            inner = list(properties.values())[step] if step < len(properties) else None
        else:
            prefix: list[Any] = node.get("prefixItems") or []
            inner = prefix[step] if step < len(prefix) else node.get("items")
        found += leaf_schemas(inner, root)
    return found


def types_of(schema: Mapping[str, Any]) -> frozenset[str]:
    """The JSON types that a leaf schema allows; all of them if it does not say."""
    kind = schema.get("type")
    if isinstance(kind, str | list):
        return frozenset({kind} if isinstance(kind, str) else cast("list[str]", kind))
    if "enum" in schema or "const" in schema:
        values: list[Any] = schema["enum"] if "enum" in schema else [schema["const"]]
        return frozenset(
            next((name for kind, name in TYPE_OF.items() if type(each) is kind), "object") for each in values
        )
    return frozenset({"object"}) if "properties" in schema else JSON_TYPES


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
    if not isinstance(schema, dict):
        return set()
    node = cast("dict[str, Any]", schema)
    return set(node).union(*(keywords_in(each.schema) for each in subschemas(node)))


def without_keywords(schema: object, keywords: Collection[str]) -> tuple[Any, set[str]]:
    """The schema without these keywords, and which of them it had."""
    found: set[str] = set()

    def cut(each: dict[str, Any]) -> dict[str, Any]:
        found.update(each.keys() & set(keywords))
        return map_subschemas(cut, {name: value for name, value in each.items() if name not in keywords})

    return (cut(cast("dict[str, Any]", schema)) if isinstance(schema, dict) else schema), found


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
