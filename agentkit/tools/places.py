"""Places in the arguments of a call: where pydantic found a fault, and what a schema says of a place."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias, cast

from pydantic_core import ErrorDetails

from agentkit.tools.compact import DECIMAL, JsonSchema, as_schema

__all__ = ["Place", "is_absent", "is_decimal", "is_declared", "place_of", "without"]

Place: TypeAlias = tuple[int | str, ...]

_ABSENT = ("missing", "missing_argument", "missing_keyword_only_argument", "missing_positional_only_argument")
_BRANCHES = ("anyOf", "oneOf", "allOf")


def is_absent(fault: ErrorDetails) -> bool:
    """Whether something is missing; of a named tuple pydantic says it in several ways."""
    return fault["type"] in _ABSENT


def place_of(arguments: object, fault: ErrorDetails) -> Place:
    """Where the fault is; a member that is missing has a place too.

    pydantic also names the branches of unions on the way to it. Such a name may be that of a member as well: of all
    ways that lead to something, the one to what pydantic found is taken.
    """
    steps = fault["loc"]
    absent = steps[-1:] if is_absent(fault) else ()
    way = steps[: len(steps) - len(absent)]
    found: dict[Place, Any] = {(): arguments}
    for step in way:
        found |= {(*place, step): value[step] for place, value in found.items() if _has(value, step)}
    best = max(found, key=lambda place: (found[place] == fault["input"], place[-1:] == way[-1:], len(place)))
    return (*best, *absent)


def _has(value: Any, step: int | str) -> bool:
    if isinstance(value, dict):
        return step in value
    return isinstance(value, list) and isinstance(step, int) and step < len(cast("Sequence[Any]", value))


def is_declared(place: Place, schema: JsonSchema) -> bool:
    """Whether there is a property at this place, not a key of a free dict or an item of an array."""
    return bool(place) and any(place[-1] in node.get("properties", ()) for node in _at(place[:-1], schema, schema))


def is_decimal(place: Place, schema: JsonSchema) -> bool:
    """Whether a number at this place can only become a `Decimal`; the schema must have the marks of `generate`."""
    nodes = [node for node in _at(place, schema, schema) if not node.keys() & {"$ref", *_BRANCHES} or DECIMAL in node]
    others = [node.get("type") for node in nodes if DECIMAL not in node]
    return len(others) < len(nodes) and all(each in ("null", "boolean", "object", "array") for each in others)


def _at(place: Place, schema: object, root: JsonSchema, seen: frozenset[str] = frozenset()) -> Iterator[JsonSchema]:
    """All schemas that hold at the place, those of the branches of unions among them."""
    node = as_schema(schema)
    if node is None:
        return
    reference = str(node.get("$ref", ""))
    if reference and reference not in seen:
        target = root if reference == "#" else root.get("$defs", {}).get(reference.rpartition("/")[2])
        yield from _at(place, target, root, seen | {reference})
    if DECIMAL not in node:
        for branch in (each for key in _BRANCHES for each in node.get(key, ())):
            yield from _at(place, branch, root, seen)
    if not place:
        yield node
        return
    step, rest = place[0], place[1:]
    properties: JsonSchema = node.get("properties", {})
    names = list(properties)
    if isinstance(step, int):  # a named tuple may come as an array
        yield from _at(rest, properties[names[step]] if step < len(names) else None, root)
    else:
        yield from _at(rest, properties.get(step), root)
    yield from _at(rest, node.get("additionalProperties") if isinstance(step, str) else _items(node, step), root)


def _items(node: JsonSchema, index: int) -> object:
    prefix = node.get("prefixItems", ())
    return prefix[index] if index < len(prefix) else node.get("items")


def without(arguments: Mapping[str, Any], places: set[Place]) -> dict[str, Any]:
    """A copy without the members at these places; what is in an array stays."""
    reduced = copy.deepcopy(dict(arguments))
    for *way, last in places:
        holder: Any = functools.reduce(lambda value, step: value[step], way, cast("Any", reduced))
        members = as_schema(holder)
        if members is not None:
            members.pop(str(last), None)
    return reduced
