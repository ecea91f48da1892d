"""JSON Schemas: the one walker over them, dialects for servers that do not know all keywords, and their strict form.

Keywords and where they hold schemas are those of `JSON Schema 2020-12 <https://json-schema.org/draft/2020-12/schema>`_
and of older drafts.

The strict form makes servers that know it produce only arguments and answers that fit. It has every property required:
what a plain schema lets the model leave out may be null here, and `validate_arguments` reads that null as left out.
Only what every server with strict schemas takes is used. If anything cannot be said exactly, the whole schema is not
strict: the model must never be kept from a call that the function would take.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias, cast

from agentkit.chat.json_values import as_mapping, encode_json
from agentkit.errors import DefinitionError

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
        schema: The schema: an object or a boolean, unless the outer schema is malformed.
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
    """The schemas that a value may match, with references and unions resolved.

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
    """The schemas that a member of a value may match.

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


_MOST = 20_000  # places of a schema whose references are written out; anything further in stays open

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


# The strict form.

_NUMBERS = {"multipleOf", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minItems", "maxItems"}
_KEPT = {"type", "description", "enum", "const", "pattern", *_NUMBERS}
_LEFT_OUT = {"default", "title", "examples", "deprecated", "readOnly", "writeOnly", "$comment", "$schema"}
_OF_OBJECTS = {"properties", "required", "additionalProperties"}
_BUILT = {*_OF_OBJECTS, "items", "prefixItems", "uniqueItems", "anyOf", "oneOf", "$ref", "$defs", "format"}
_FORMATS = {"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"}
_SAYS_NOTHING = frozenset(("path", "binary", "password"))  # formats that pydantic writes and that every string has
_LOOKS_AROUND = re.compile(r"\(\?[=!<]|\\[1-9]|\(\?P=")
_MOST_PROPERTIES, _MOST_LEVELS, _MOST_VALUES, _MOST_CHARACTERS = 5_000, 10, 1_000, 120_000


def strict_form(
    name: str, parameters: Mapping[str, Any], *, strict: bool | None, of_function: bool
) -> JsonSchema | None:
    """The strict schema that says the same as the plain one.

    Args:
        name: The tool's name, for the error.
        parameters: The plain schema.
        strict: None for a strict schema where there is one; True if there must be one; False for none.
        of_function: Whether the schema was made of a function. Then a null is read as left out and a list may hold an
            element of a set twice; code that takes the raw arguments would have to know.

    Returns:
        The schema, or None if there is to be none.

    Raises:
        DefinitionError: There must be one, and it cannot express something.
    """
    if strict is False:
        return None
    try:
        return _StrictForm(parameters.get("$defs", {}), of_function).of_root(parameters)
    except _NotStrict as reason:
        if strict is None:
            return None
        raise DefinitionError(f"tool {name!r} cannot be strict: {reason}") from None


def why_not_strict(parameters: Mapping[str, Any], *, of_function: bool) -> tuple[str, str] | None:
    """The parameter that no strict schema can say, ``""`` if it is not just one, and why; None if there is a schema.

    Args:
        parameters: The plain schema.
        of_function: Whether the schema was made of a function, as for `strict_form`.
    """
    try:
        _StrictForm(parameters.get("$defs", {}), of_function).of_root(parameters)
    except _NotStrict as reason:
        return reason.place, reason.reason
    return None


class _NotStrict(Exception):
    """Says where the schema cannot be strict, and why."""

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(f"parameter {place!r} {reason}" if place else reason)
        self.place = place
        self.reason = reason


@dataclass(slots=True)
class _StrictForm:
    definitions: Mapping[str, JsonSchema]
    of_function: bool
    properties: int = 0
    values: int = 0
    characters: int = 0
    _written: dict[str, JsonSchema] = field(default_factory=dict[str, JsonSchema])

    def of_root(self, schema: Mapping[str, Any]) -> JsonSchema:
        if schema.get("type") != "object":
            raise _NotStrict("", "it is not an object; make it a member of one")
        root = self.of({key: value for key, value in schema.items() if key != "$defs"}, "", 1)
        for count, most, what in (
            (self.properties, _MOST_PROPERTIES, "properties"),
            (self.values, _MOST_VALUES, "enum values"),
            (self.characters, _MOST_CHARACTERS, "characters of names and values"),
        ):
            if count > most:
                raise _NotStrict("", f"it has {count:,} {what}, and {most:,} are allowed")
        return root | ({"$defs": self._written} if self._written else {})

    def of(self, schema: Any, place: str, level: int) -> JsonSchema:
        """The strict form of a schema inside."""
        if not isinstance(schema, dict) or not schema.keys() - _LEFT_OUT - {"description"}:
            raise _NotStrict(place, "may be anything; give it a type")
        schema = cast("JsonSchema", schema)
        for keyword in sorted(schema.keys() - _KEPT - _LEFT_OUT - _BUILT):
            raise _NotStrict(place, f"has {keyword!r}, which strict schemas do not allow")
        if level > _MOST_LEVELS:
            raise _NotStrict(place, f"is nested deeper than {_MOST_LEVELS} levels")
        if "$ref" in schema:
            return self._of_reference(schema, place, level)
        made = {key: value for key, value in schema.items() if key in _KEPT}
        self._count(made, place)
        made |= (
            self._of_string(schema, place) | self._of_union(schema, place, level) | self._of_array(schema, place, level)
        )
        if schema.get("type") == "object":
            made |= self._of_object(schema, place, level)
        elif "properties" in schema or "object" in schema.get("type", ()):
            raise _NotStrict(place, "is an object or something else; use 'anyOf'")
        if not made.keys() & {"type", "anyOf"}:
            made["type"] = self._types_of(made, place)
        return made

    def _of_reference(self, schema: JsonSchema, place: str, level: int) -> JsonSchema:
        name = schema["$ref"].removeprefix("#/$defs/")
        if name in self.definitions and name not in self._written:
            self._written[name] = {}  # it may hold itself
            self._written[name] = self.of(self.definitions[name], place, level)
        if name not in self.definitions:
            raise _NotStrict(place, f"refers to {schema['$ref']!r}, which is not among its $defs")
        reference = {"$ref": schema["$ref"]}  # which takes no other keyword
        return {"anyOf": [reference], "description": schema["description"]} if "description" in schema else reference

    def _count(self, schema: JsonSchema, place: str) -> None:
        values = [*schema.get("enum", ()), *([schema["const"]] if "const" in schema else ())]
        if any(isinstance(each, dict | list) for each in values):
            raise _NotStrict(place, "has values that are not strings, numbers, booleans or null")
        self.values += len(values)
        self.characters += sum(len(str(each)) for each in values)
        if _LOOKS_AROUND.search(schema.get("pattern", "")):
            raise _NotStrict(place, "has a pattern that looks around or back, which strict schemas do not allow")

    def _of_string(self, schema: JsonSchema, place: str) -> JsonSchema:
        if "format" not in schema or (schema["format"] in _SAYS_NOTHING and self.of_function):
            return {}
        if schema["format"] not in _FORMATS:
            raise _NotStrict(place, f"has the format {schema['format']!r}, which strict schemas do not allow")
        return {"format": schema["format"]}

    def _of_union(self, schema: JsonSchema, place: str, level: int) -> JsonSchema:
        keyword = next((each for each in ("anyOf", "oneOf") if each in schema), "")
        if not keyword:
            return {}
        if keyword == "oneOf" and not self.of_function:
            raise _NotStrict(place, "has 'oneOf', which strict schemas do not allow; use 'anyOf'")
        members = [self._resolved(each) for each in schema[keyword]]
        objects = [each for each in members if each.get("type") == "object"]
        leaves_out = any(each.get("properties", {}).keys() - set(each.get("required", ())) for each in objects)
        if len(objects) > 1 and leaves_out and not self._are_distinct(objects):
            raise _NotStrict(
                place, "is a union whose members differ by what is left out; give each a Literal of its own"
            )
        return {"anyOf": [self.of(each, place, level) for each in schema[keyword]]}

    def _resolved(self, schema: Any) -> JsonSchema:
        node = cast("JsonSchema", schema if isinstance(schema, dict) else {})
        seen: set[str] = set()
        while (name := str(node.get("$ref", "")).removeprefix("#/$defs/")) and name not in seen:
            seen.add(name)
            node = self.definitions.get(name, {})
        return node

    def _of_array(self, schema: JsonSchema, place: str, level: int) -> JsonSchema:
        if schema.get("uniqueItems") and not self.of_function:
            raise _NotStrict(place, "has 'uniqueItems', which strict schemas do not allow")
        prefix: Sequence[Any] = schema.get("prefixItems", ())
        if any(each != prefix[0] for each in prefix):
            raise _NotStrict(place, "is a tuple of several types; use an object with a name for each, or a list")
        if prefix and (schema.get("minItems"), schema.get("maxItems")) != (len(prefix), len(prefix)):
            raise _NotStrict(place, "is a tuple of open length; use a list")
        if prefix:
            return {"items": self.of(prefix[0], place, level)}
        if schema.get("maxItems") == 0:
            raise _NotStrict(place, "is always empty")
        return {"items": self.of(schema["items"], place, level)} if "items" in schema else {}

    def _of_object(self, schema: JsonSchema, place: str, level: int) -> JsonSchema:
        if schema.get("additionalProperties", False) is not False or (
            "additionalProperties" not in schema and not self.of_function and not schema.get("properties")
        ):
            raise _NotStrict(place, "takes members of any name, which strict schemas do not allow")
        properties: JsonSchema = schema.get("properties", {})
        self.properties += len(properties)
        self.characters += sum(map(len, properties))
        required = schema.get("required", ())
        inner = {
            name: self._of_property(each, f"{place}.{name}".lstrip("."), level + 1, name in required)
            for name, each in properties.items()
        }
        return {"properties": inner, "required": list(inner), "additionalProperties": False}

    def _of_property(self, schema: Any, place: str, level: int, required: bool) -> JsonSchema:  # noqa: FBT001 - private
        made = self.of(schema, place, level)
        if required:
            return made
        default = schema.get("default", ...)
        if self._takes_null(schema):
            if default is ...:
                raise _NotStrict(place, "may be null or left out, and a strict schema cannot tell the two apart")
            return made if default is None else _described(made, f"Default: {encode_json(default).decode()}.")
        if not self.of_function:
            raise _NotStrict(place, "is optional; make it required, and a union with null")
        said = "Null to leave it out." if default is ... else f"Null for the default, {encode_json(default).decode()}."
        text = made.pop("description", "")
        union = {"anyOf": [*(made["anyOf"] if made.keys() == {"anyOf"} else [made]), {"type": "null"}]}
        return _described(union | ({"description": text} if text else {}), said)

    def _takes_null(self, schema: Any) -> bool:
        node = self._resolved(schema)
        if any(self._takes_null(each) for each in (*node.get("anyOf", ()), *node.get("oneOf", ()))):
            return True
        kinds = node.get("type", ())
        return "null" in ([kinds] if isinstance(kinds, str) else kinds) or None in node.get("enum", ())

    @staticmethod
    def _are_distinct(objects: Sequence[JsonSchema]) -> bool:
        """Return True if one property has a different constant in each branch."""
        constants = [
            {name: each["const"] for name, each in one.get("properties", {}).items() if "const" in each}
            for one in objects
        ]
        shared = set(constants[0]).intersection(*constants)
        return any(len({encode_json(each[name]) for each in constants}) == len(objects) for name in shared)

    @staticmethod
    def _types_of(schema: JsonSchema, place: str) -> str | list[str]:
        values = schema.get("enum", [schema["const"]] if "const" in schema else [])
        kinds = list(dict.fromkeys(TYPE_OF[type(each)] for each in values))
        if not kinds:
            raise _NotStrict(place, "may be anything; give it a type")
        return kinds if len(kinds) > 1 else kinds[0]


def _described(schema: JsonSchema, text: str) -> JsonSchema:
    if "$ref" in schema:  # which takes no other keyword
        return {"anyOf": [schema], "description": text}
    before = schema.get("description", "").rstrip()
    gap = "" if not before else " " if before[-1] in ".!?:;)" else ". "
    return {**schema, "description": before + gap + text}
