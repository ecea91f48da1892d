"""Check values against a JSON Schema that somebody wrote, where there is no Python type to do it. Pure.

Keywords are those of `JSON Schema 2020-12 <https://json-schema.org/draft/2020-12/schema>`_; ``format`` and what is not
known here allow everything.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from typing import Any, cast

from agentkit.chat.json_schema import resolve_reference
from agentkit.chat.json_values import encode_json

__all__ = ["faults_of", "shown_value"]

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
        """The faults of a value and of what is in it."""
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
    if "enum" in node and not any(_is_same(value, each) for each in node["enum"]):
        yield f"expected {' or '.join(map(shown_value, node['enum']))}; got {shown_value(value)}"
    if "const" in node and not _is_same(value, node["const"]):
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


def _is_same(one: object, other: object) -> bool:
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
