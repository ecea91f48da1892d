"""Unions of classes, also discriminated ones, and classes that hold themselves or are used twice."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from tests.signatures.classes import POINT, STRICT_POINT, Point
from tests.signatures.row import Row, of_type, takes


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog"]


class Size(BaseModel):
    width: int = 1


class Sized(BaseModel):
    """Its kind is called like one of its fields."""

    kind: Literal["size"]
    size: Size
    note: str = "-"


class Tree(BaseModel):
    value: int
    branches: list[Tree] = []


class Later(BaseModel):
    other: Other | None = None


class Other(BaseModel):
    back: list[Later] = []


_CAT = {
    "type": "object",
    "properties": {"kind": {"type": "string", "const": "cat"}, "lives": {"default": 9, "type": "integer"}},
    "required": ["kind"],
}
_DOG = {"type": "object", "properties": {"kind": {"type": "string", "const": "dog"}}, "required": ["kind"]}
_STRICT_CAT = {
    "type": "object",
    "properties": {
        "kind": {"type": "string", "const": "cat"},
        "lives": {"anyOf": [{"type": "integer"}, {"type": "null"}], "description": "Null for the default, 9."},
    },
    "required": ["kind", "lives"],
    "additionalProperties": False,
}
_STRICT_DOG = {**_DOG, "additionalProperties": False}

CHOICES = [
    of_type(
        Annotated[Cat | Dog, Field(discriminator="kind")],
        {"oneOf": [_CAT, _DOG]},
        {"anyOf": [_STRICT_CAT, _STRICT_DOG]},
        '{"kind": "cat", "lives": null}',
        Cat(kind="cat"),
        "discriminated union",
    ),
    of_type(
        Annotated[Sized | Dog, Field(discriminator="kind")],
        {
            "oneOf": [
                {
                    "description": "Its kind is called like one of its fields.",
                    "type": "object",
                    "properties": {
                        "kind": {"type": "string", "const": "size"},
                        "size": {"type": "object", "properties": {"width": {"default": 1, "type": "integer"}}},
                        "note": {"default": "-", "type": "string"},
                    },
                    "required": ["kind", "size"],
                },
                _DOG,
            ]
        },
        {
            "anyOf": [
                {
                    "description": "Its kind is called like one of its fields.",
                    "type": "object",
                    "properties": {
                        "kind": {"type": "string", "const": "size"},
                        "size": {
                            "type": "object",
                            "properties": {
                                "width": {
                                    "anyOf": [{"type": "integer"}, {"type": "null"}],
                                    "description": "Null for the default, 1.",
                                }
                            },
                            "required": ["width"],
                            "additionalProperties": False,
                        },
                        "note": {
                            "anyOf": [{"type": "string"}, {"type": "null"}],
                            "description": 'Null for the default, "-".',
                        },
                    },
                    "required": ["kind", "size", "note"],
                    "additionalProperties": False,
                },
                _STRICT_DOG,
            ]
        },
        '{"kind": "size", "size": {"width": null}, "note": null}',
        Sized(kind="size", size=Size()),
        "discriminated union with a tag that is also a field",
    ),
    of_type(
        Cat | Dog,
        {"anyOf": [_CAT, _DOG]},
        {"anyOf": [_STRICT_CAT, _STRICT_DOG]},
        '{"kind": "cat", "lives": null}',
        Cat(kind="cat"),
    ),
    of_type(
        list[Cat | Dog],
        {"type": "array", "items": {"anyOf": [_CAT, _DOG]}},
        {"type": "array", "items": {"anyOf": [_STRICT_CAT, _STRICT_DOG]}},
        '[{"kind": "dog"}]',
        [Dog(kind="dog")],
    ),
    of_type(
        Cat | Point,
        {"anyOf": [_CAT, POINT]},
        "is a union whose members differ by what is left out; give each a Literal of its own",
        '{"x": 1}',
        Point(1),
    ),
]


def _with_definitions(hint: Any, schema: Any, strict: Any, definitions: Any, written: str, received: Any) -> Row:
    """A row of a type that is used twice, or holds itself: ``definitions`` are pairs, the plain one and the strict."""
    return Row(
        str(hint),
        takes(hint),
        {
            "type": "object",
            "properties": {"x": schema},
            "required": ["x"],
            "additionalProperties": False,
            "$defs": {name: plain for name, (plain, _) in definitions.items()},
        },
        {
            "type": "object",
            "properties": {"x": strict},
            "required": ["x"],
            "additionalProperties": False,
            "$defs": {name: form for name, (_, form) in definitions.items()},
        },
        f'{{"x": {written}}}',
        received,
        hint,
    )


_TREE = {
    "Tree": (
        {
            "type": "object",
            "properties": {
                "value": {"type": "integer"},
                "branches": {"default": [], "type": "array", "items": {"$ref": "#/$defs/Tree"}},
            },
            "required": ["value"],
        },
        {
            "type": "object",
            "properties": {
                "value": {"type": "integer"},
                "branches": {
                    "anyOf": [{"type": "array", "items": {"$ref": "#/$defs/Tree"}}, {"type": "null"}],
                    "description": "Null for the default, [].",
                },
            },
            "required": ["value", "branches"],
            "additionalProperties": False,
        },
    )
}
RECURSIVE = [
    _with_definitions(
        Tree,
        {"$ref": "#/$defs/Tree"},
        {"$ref": "#/$defs/Tree"},
        _TREE,
        '{"value": 1, "branches": [{"value": 2, "branches": null}]}',
        Tree(value=1, branches=[Tree(value=2)]),
    ),
    _with_definitions(
        Tree | None,
        {"anyOf": [{"$ref": "#/$defs/Tree"}, {"type": "null"}]},
        {"anyOf": [{"$ref": "#/$defs/Tree"}, {"type": "null"}]},
        _TREE,
        "null",
        None,
    ),
    _with_definitions(
        tuple[Point, Point],
        {
            "type": "array",
            "prefixItems": [{"$ref": "#/$defs/Point"}, {"$ref": "#/$defs/Point"}],
            "items": {"$ref": "#/$defs/Point"},
            "minItems": 2,
            "maxItems": 2,
        },
        {"type": "array", "items": {"$ref": "#/$defs/Point"}, "minItems": 2, "maxItems": 2},
        {"Point": (POINT, STRICT_POINT)},
        '[{"x": 1}, {"x": 2, "y": null}]',
        (Point(1), Point(2)),
    ),
    _with_definitions(
        tuple[Later, Other],
        {
            "type": "array",
            "prefixItems": [{"$ref": "#/$defs/Later"}, {"$ref": "#/$defs/Other"}],
            "items": {"anyOf": [{"$ref": "#/$defs/Later"}, {"$ref": "#/$defs/Other"}]},
            "minItems": 2,
            "maxItems": 2,
        },
        {},
        {
            "Later": (
                {
                    "type": "object",
                    "properties": {"other": {"anyOf": [{"$ref": "#/$defs/Other"}, {"type": "null"}], "default": None}},
                },
                {},
            ),
            "Other": (
                {
                    "type": "object",
                    "properties": {
                        "back": {"default": [], "type": "array", "items": {"$ref": "#/$defs/Later"}},
                    },
                },
                {},
            ),
        },
        '[{"other": {"back": [{}]}}, {}]',
        (Later(other=Other(back=[Later()])), Other()),
    ),
]
RECURSIVE[-1] = replace(
    RECURSIVE[-1],
    strict="parameter 'x' is a tuple of several types; use an object with a name for each, or a list",
)

UNIONS = [*CHOICES, *RECURSIVE]
