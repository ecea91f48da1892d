"""Annotations as text, as this whole file has them, and what they refer to: type variables, aliases, local classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import (
    Any,
    Generic,
    TypeVar,
)

from pydantic import BaseModel
from typing_extensions import TypeAliasType

from agentkit.tools.tool import tool
from tests.signatures.callables import Point
from tests.signatures.row import ANYTHING, Row, members, or_null

T = TypeVar("T")


class Box(Generic[T]):
    def put(self, item: T, more: list[T] = []) -> Any:  # noqa: B006
        return item, more


class IntBox(Box[int]):
    pass


class Deeper(IntBox):
    pass


class Nested:
    class Options(BaseModel):
        n: int

    def inner(self, options: Options) -> Nested.Options:
        return options


def outer() -> Callable[..., Any]:
    class Local(BaseModel):
        n: int

    def inner(x: Local) -> tuple[str, int]:
        return type(x).__name__, x.n

    return tool(inner)


def forward(one: "Ahead", many: "list[Ahead]" = []) -> tuple[Ahead, list[Ahead]]:  # noqa: B006, UP037 - text in a text
    return one, many


class Ahead(BaseModel):
    n: int


def same_class_twice(start: Point, end: Point | None = None) -> tuple[Point, Point | None]:
    return start, end


Names = TypeAliasType("Names", list[str])

Branches = TypeAliasType("Branches", "int | list[Branches]")


def aliases(names: Names, branches: Branches) -> tuple[list[str], Any]:
    return names, branches


_ITEM = {
    "type": "object",
    "properties": {"item": {"type": "integer"}, "more": {"type": "array", "items": {"type": "integer"}, "default": []}},
    "required": ["item"],
    "additionalProperties": False,
}

_STRICT_ITEM = {
    "type": "object",
    "properties": {
        "item": {"type": "integer"},
        "more": {
            "anyOf": [{"type": "array", "items": {"type": "integer"}}, {"type": "null"}],
            "description": "Null for the default, [].",
        },
    },
    "required": ["item", "more"],
    "additionalProperties": False,
}

_AHEAD = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}

_POINT = {
    "type": "object",
    "properties": {"x": {"type": "integer"}, "y": {"type": "integer", "default": 0}},
    "required": ["x"],
}

REFERENCES = [
    *(
        Row(
            f"method of {name}",
            box.put,
            _ITEM,
            _STRICT_ITEM,
            '{"item": "1", "more": ["2"]}',
            (1, [2]),
            tuple[int, list[int]],
        )
        for name, box in [("Box[int]", Box[int]()), ("IntBox", IntBox()), ("Deeper", Deeper())]
    ),
    Row(
        "method of a generic class that nobody filled in",
        Box[Any].put.__get__(Box()),
        members({"item": {}, "more": {"type": "array", "items": {}, "default": []}}, "item"),
        f"parameter 'item' {ANYTHING}",
        '{"item": "1"}',
        ("1", []),
        tuple[Any, list[Any]],
    ),
    Row(
        "class inside the class of the method",
        Nested().inner,
        members({"options": _AHEAD}, "options"),
        members({"options": members({"n": {"type": "integer"}}, "n")}, "options"),
        '{"options": {"n": 1}}',
        Nested.Options(n=1),
        Nested.Options,
    ),
    Row(
        "class local to a function",
        outer(),
        members({"x": _AHEAD}, "x"),
        members({"x": members({"n": {"type": "integer"}}, "n")}, "x"),
        '{"x": {"n": 1}}',
        ("Local", 1),
        tuple[str, int],
    ),
    Row(
        "forward reference",
        forward,
        members(
            {
                "one": {"$ref": "#/$defs/Ahead"},
                "many": {"type": "array", "items": {"$ref": "#/$defs/Ahead"}, "default": []},
            },
            "one",
            **{"$defs": {"Ahead": _AHEAD}},
        ),
        members(
            {
                "one": {"$ref": "#/$defs/Ahead"},
                "many": or_null({"type": "array", "items": {"$ref": "#/$defs/Ahead"}}, "[]"),
            },
            "one",
            "many",
            **{"$defs": {"Ahead": members({"n": {"type": "integer"}}, "n")}},
        ),
        '{"one": {"n": 1}, "many": [{"n": 2}]}',
        (Ahead(n=1), [Ahead(n=2)]),
        tuple[Ahead, list[Ahead]],
    ),
    Row(
        "a class twice",
        same_class_twice,
        members(
            {
                "start": {"$ref": "#/$defs/Point"},
                "end": {"anyOf": [{"$ref": "#/$defs/Point"}, {"type": "null"}], "default": None},
            },
            "start",
            **{"$defs": {"Point": _POINT}},
        ),
        members(
            {"start": {"$ref": "#/$defs/Point"}, "end": {"anyOf": [{"$ref": "#/$defs/Point"}, {"type": "null"}]}},
            "start",
            "end",
            **{
                "$defs": {
                    "Point": members({"x": {"type": "integer"}, "y": or_null({"type": "integer"}, "0")}, "x", "y")
                }
            },
        ),
        '{"start": {"x": 1, "y": null}, "end": null}',
        (Point(1), None),
        tuple[Point, Point | None],
    ),
    Row(
        "TypeAliasType, also one that holds itself",
        aliases,
        members(
            {
                "names": {"type": "array", "items": {"type": "string"}},
                "branches": {"$ref": "#/$defs/Branches"},
            },
            "names",
            "branches",
            **{
                "$defs": {
                    "Branches": {
                        "anyOf": [{"type": "integer"}, {"type": "array", "items": {"$ref": "#/$defs/Branches"}}]
                    }
                }
            },
        ),
        members(
            {
                "names": {"type": "array", "items": {"type": "string"}},
                "branches": {"$ref": "#/$defs/Branches"},
            },
            "names",
            "branches",
            **{
                "$defs": {
                    "Branches": {
                        "anyOf": [{"type": "integer"}, {"type": "array", "items": {"$ref": "#/$defs/Branches"}}]
                    }
                }
            },
        ),
        '{"names": ["a"], "branches": [1, [2]]}',
        (["a"], [1, [2]]),
        tuple[list[str], Any],
    ),
]
