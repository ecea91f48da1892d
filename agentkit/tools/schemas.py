"""JSON Schemas of tools: made small, checked if somebody else wrote them, and values checked against them.

Keywords are those of `JSON Schema 2020-12 <https://json-schema.org/draft/2020-12/schema>`_; when values are checked,
``format`` and unknown keywords allow everything.
"""

from __future__ import annotations

import math
import operator
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from typing import Any, cast

from agentkit.chat.json_schema import JSON_TYPES, JsonSchema, map_subschemas, resolve_reference, subschemas
from agentkit.chat.json_values import encode_json
from agentkit.errors import DefinitionError

DECIMAL = "x-decimal"
"""Marks the schema of a `Decimal` for `arguments`; no model sees it."""

_DROPPED = ("title", "discriminator", DECIMAL)
_BY_NAME = ("$defs", "definitions", "patternProperties", "properties")


def compact(schema: JsonSchema) -> JsonSchema:
    """The schema with its definitions inlined, except those that are used twice or refer to themselves."""
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
    """The schema without titles, OpenAPI's discriminators, our marks and unions in unions.

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
        parameters: The schema as written.

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
    if complaint := complaint_about(schema, "parameter"):
        raise DefinitionError(f"tool {name!r}: {complaint}")
    return _with_items(schema)


def complaint_about(schema: object, member: str) -> str:
    """Describe the first thing that is wrong with a schema, and where; empty if nothing is."""
    found = next(_complaints(schema, ""), None)
    return "" if found is None else f"{f'{member} {found[0]!r}' if found[0] else 'its schema'} {found[1]}"


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


def stable(value: Any) -> Any:
    """The value with sets as sorted lists, as the order of strings in a set differs between processes.

    A named tuple becomes an object, as in its schema.
    """
    if isinstance(value, set | frozenset):
        return sorted(map(stable, cast("set[Any]", value)), key=repr)
    if isinstance(value, tuple) and hasattr(cast("Any", value), "_asdict"):
        return stable(cast("Any", value)._asdict())
    if isinstance(value, list | tuple):
        return [stable(each) for each in cast("Sequence[Any]", value)]
    if isinstance(value, dict):
        return {key: stable(each) for key, each in cast("Mapping[Any, Any]", value).items()}
    return value


# Values that are checked against a schema, where there is no Python type to do it.

_MOST_FAULTS = 5
_DEEPEST = 200
_LONGEST_VALUE = 60
_TYPES: Mapping[str, type] = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
_SIZES: Mapping[str, tuple[type[Sized], str]] = {  # keyword -> the types that have the size, and the complaint
    "minLength": (str, "at least {} characters"),
    "maxLength": (str, "at most {} characters"),
    "minItems": (list, "at least {} items"),
    "maxItems": (list, "at most {} items"),
    "minProperties": (dict, "at least {} members"),
    "maxProperties": (dict, "at most {} members"),
}


_BOUNDS: Sequence[tuple[str, str, Callable[[float, float], bool]]] = (
    ("minimum", "at least", operator.ge),
    ("maximum", "at most", operator.le),
    ("exclusiveMinimum", "more than", operator.gt),
    ("exclusiveMaximum", "less than", operator.lt),
    ("multipleOf", "a multiple of", lambda value, step: bool(step) and math.isclose(value / step, round(value / step))),
)


def faults_of(value: object, schema: Mapping[str, Any]) -> list[str]:
    """The first problems of a value, one line each; empty if it fits."""
    found: list[str] = []
    for place, text in _Check(schema).of(value, schema, "", 0):
        found.append(f"{place}: {text}" if place else text)
        if len(found) == _MOST_FAULTS:
            break
    return found


class _Check:
    def __init__(self, root: Mapping[str, Any]) -> None:
        self.root = root

    def of(self, value: Any, schema: object, place: str, depth: int) -> Iterator[tuple[str, str]]:
        """The faults of a value and of its parts."""
        if schema is True or not isinstance(schema, Mapping) or depth > _DEEPEST:
            if schema is False:
                yield place, "must not be there"
            return
        node = cast("Mapping[str, Any]", schema)
        if isinstance(node.get("$ref"), str):
            yield from self.of(value, resolve_reference(node["$ref"], self.root), place, depth + 1)
        kinds = node.get("type")
        names = cast("list[str]", [kinds] if isinstance(kinds, str) else kinds or [])
        if names and not any(_is(value, each) for each in names):
            yield place, f"expected {' or '.join(names)}; got {shown_value(value)}"
            return
        yield from ((place, text) for text in _of_itself(value, node))
        yield from self._of_combinations(value, node, place, depth)
        if isinstance(value, dict):
            yield from self._of_object(cast("dict[str, Any]", value), node, place, depth)
        elif isinstance(value, list):
            yield from self._of_array(cast("list[object]", value), node, place, depth)

    def _of_combinations(
        self, value: Any, node: Mapping[str, Any], place: str, depth: int
    ) -> Iterator[tuple[str, str]]:
        for each in node.get("allOf", ()):
            yield from self.of(value, each, place, depth + 1)
        for keyword in ("anyOf", "oneOf"):
            branches: Sequence[object] = node.get(keyword, ())
            results = [list(self.of(value, each, place, depth + 1)) for each in branches]
            fitting = sum(not each for each in results)
            if branches and not fitting:
                yield from min(results, key=len)
            elif keyword == "oneOf" and fitting > 1:
                yield place, f"fits {fitting} of the alternatives, and must fit exactly one; got {shown_value(value)}"
        if "not" in node and not list(self.of(value, node["not"], place, depth + 1)):
            yield place, f"is what it must not be; got {shown_value(value)}"
        if "if" in node:
            branch = "else" if list(self.of(value, node["if"], place, depth + 1)) else "then"
            yield from self.of(value, node.get(branch, True), place, depth + 1)

    def _of_object(
        self, value: dict[str, Any], node: Mapping[str, Any], place: str, depth: int
    ) -> Iterator[tuple[str, str]]:
        properties: Mapping[str, Any] = node.get("properties", {})
        patterns: Mapping[str, Any] = node.get("patternProperties", {})
        for name in node.get("required", ()):
            if name not in value:
                yield f"{place}.{name}".lstrip("."), "missing"
        for name, member in value.items():
            inside = f"{place}.{name}".lstrip(".")
            schemas = [properties[name]] if name in properties else []
            schemas += [each for pattern, each in patterns.items() if _matches(pattern, name)]
            if not schemas and node.get("additionalProperties") is False:
                yield inside, f"there is no such member; there are: {', '.join(properties) or 'none'}"
                continue
            for each in schemas or [node.get("additionalProperties", True)]:
                yield from self.of(member, each, inside, depth + 1)
            yield from self.of(name, node.get("propertyNames", True), inside, depth + 1)

    def _of_array(
        self, value: list[object], node: Mapping[str, Any], place: str, depth: int
    ) -> Iterator[tuple[str, str]]:
        prefix: Sequence[object] = node.get("prefixItems", ())
        for at, each in enumerate(value):
            schema = prefix[at] if at < len(prefix) else node.get("items", True)
            yield from self.of(each, schema, f"{place}[{at}]", depth + 1)
        if node.get("uniqueItems") and len({encode_json(each) for each in value}) < len(value):
            yield place, "has the same item twice"
        if "contains" in node and all(list(self.of(each, node["contains"], place, depth + 1)) for each in value):
            yield place, "has none of the items that it must have"


def _of_itself(value: Any, node: Mapping[str, Any]) -> Iterator[str]:
    """The problems of a value itself, apart from its type and its members."""
    if "enum" in node and not any(is_same(value, each) for each in node["enum"]):
        yield f"expected {' or '.join(map(shown_value, node['enum']))}; got {shown_value(value)}"
    if "const" in node and not is_same(value, node["const"]):
        yield f"expected {shown_value(node['const'])}; got {shown_value(value)}"
    for keyword, (kind, words) in _SIZES.items():
        limit = node.get(keyword)
        if isinstance(limit, int) and isinstance(value, kind):
            size = len(value)
            if size < limit if keyword.startswith("min") else size > limit:
                yield f"expected {words.format(limit)}; it has {size}"
    if isinstance(value, str) and isinstance(node.get("pattern"), str) and not _matches(node["pattern"], value):
        yield f"expected a string that matches {node['pattern']}; got {shown_value(value)}"
    if isinstance(value, int | float) and not isinstance(value, bool):
        yield from _of_number(value, node)


def _of_number(value: float, node: Mapping[str, Any]) -> Iterator[str]:
    for keyword, words, right in _BOUNDS:
        limit = node.get(keyword)
        if isinstance(limit, int | float) and not isinstance(limit, bool) and not right(value, limit):
            yield f"expected {words} {limit}; got {shown_value(value)}"


def _is(value: object, kind: str) -> bool:
    if kind == "integer":
        return not isinstance(value, bool) and (isinstance(value, int) or (isinstance(value, float) and value % 1 == 0))
    if kind == "number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    wanted = _TYPES.get(kind)
    return wanted is None or isinstance(value, wanted)


def is_same(one: object, other: object) -> bool:
    """Return True if two JSON values are the same: true is not 1."""
    return one == other and isinstance(one, bool) is isinstance(other, bool)


def _matches(pattern: str, text: str) -> bool:
    try:
        return re.search(pattern, text) is not None
    except re.error:  # of another dialect of regular expressions
        return True


def shown_value(value: object) -> str:
    """The value as compact JSON, truncated after 60 characters, for a complaint about it."""
    text = encode_json(value).decode()
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."
