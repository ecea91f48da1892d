"""Classes as types: dataclasses, pydantic models, typed dicts, named tuples, generics, unions of them, recursion."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
from collections.abc import Iterable
from typing import Annotated, Generic, NamedTuple, NotRequired, Required, TypedDict, TypeVar

import pydantic
import typing_extensions
from pydantic import BaseModel, ConfigDict, Field, RootModel

from tests.signatures.row import BASE64, FREE, SAME, of_type
from tests.signatures.values import LARGE, Color

T = TypeVar("T")


@dataclasses.dataclass
class Point:
    """A point."""

    x: int
    """From the left."""
    y: int = 0
    far: int = dataclasses.field(init=False, default=0)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    name: Annotated[str, "The name."]
    raw: bytes = b""


@pydantic.dataclasses.dataclass
class Checked:
    n: int = Field(ge=1)


@dataclasses.dataclass
class Bill:
    total: decimal.Decimal
    parts: Iterable[decimal.Decimal] = ()


@dataclasses.dataclass
class Line:
    price: decimal.Decimal


class Movie(TypedDict, total=False):
    title: Required[str]
    year: int


class Trip(TypedDict):
    """A trip.

    Attributes:
        city: Where to.
    """

    city: str
    nights: NotRequired[Annotated[int, "How many."]]
    hotel: str | None
    """Its name."""


class Fixed(typing_extensions.TypedDict):
    number: typing_extensions.ReadOnly[int]


class Pair(NamedTuple):
    left: int
    """The left one."""
    right: str = "r"


class Price(NamedTuple):
    amount: decimal.Decimal
    currency: str


class Model(BaseModel):
    """A model.

    Attributes:
        a: The a.
    """

    a: int = Field(alias="A")
    b: list[str] = []


class Invoice(BaseModel):
    total: decimal.Decimal
    items: list[Line] = []


class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    day: dt.date
    color: Color
    pair: tuple[int, int]
    sum: decimal.Decimal


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    n: int


class Crate(BaseModel, Generic[T]):
    content: T


class Numbers(RootModel[list[int]]):
    pass


POINT = {
    "description": "A point.",
    "type": "object",
    "properties": {"x": {"description": "From the left.", "type": "integer"}, "y": {"default": 0, "type": "integer"}},
    "required": ["x"],
}
STRICT_POINT = {
    "description": "A point.",
    "type": "object",
    "properties": {
        "x": {"description": "From the left.", "type": "integer"},
        "y": {"anyOf": [{"type": "integer"}, {"type": "null"}], "description": "Null for the default, 0."},
    },
    "required": ["x", "y"],
    "additionalProperties": False,
}
DATACLASSES = [
    of_type(Point, POINT, STRICT_POINT, '{"x": 1}', Point(1)),
    of_type(Point, POINT, STRICT_POINT, '{"x": 1, "y": null}', Point(1), "null for a field with a default"),
    of_type(
        list[Point],
        {"type": "array", "items": POINT},
        {"type": "array", "items": STRICT_POINT},
        '[{"x": 1}]',
        [Point(1)],
    ),
    of_type(
        Point | None,
        {"anyOf": [POINT, {"type": "null"}]},
        {"anyOf": [STRICT_POINT, {"type": "null"}]},
        "null",
        None,
    ),
    of_type(
        dict[str, Point],
        {"type": "object", "additionalProperties": POINT},
        FREE,
        '{"a": {"x": 1}}',
        {"a": Point(1)},
    ),
    of_type(
        Frozen,
        {
            "type": "object",
            "properties": {
                "name": {"description": "The name.", "type": "string"},
                "raw": {"default": "", "format": "base64", "type": "string"},
            },
            "required": ["name"],
        },
        f"x.raw: {BASE64}",
        '{"name": "n", "raw": "aGk="}',
        Frozen(name="n", raw=b"hi"),
    ),
    of_type(
        Frozen | None,
        {
            "anyOf": [
                {
                    "type": "object",
                    "properties": {
                        "name": {"description": "The name.", "type": "string"},
                        "raw": {"default": "", "format": "base64", "type": "string"},
                    },
                    "required": ["name"],
                },
                {"type": "null"},
            ]
        },
        f"x.raw: {BASE64}",
        '{"name": "n", "raw": null}',
        Frozen(name="n"),
    ),
    of_type(
        Checked,
        {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}, "required": ["n"]},
        {
            "type": "object",
            "properties": {"n": {"type": "integer", "minimum": 1}},
            "required": ["n"],
            "additionalProperties": False,
        },
        '{"n": 1}',
        Checked(1),
    ),
    of_type(
        Bill,
        {
            "type": "object",
            "properties": {
                "total": {"anyOf": [{"type": "number"}, {"type": "string"}]},
                "parts": {
                    "default": [],
                    "type": "array",
                    "items": {"anyOf": [{"type": "number"}, {"type": "string"}]},
                },
            },
            "required": ["total"],
        },
        {
            "type": "object",
            "properties": {
                "total": {"anyOf": [{"type": "number"}, {"type": "string"}]},
                "parts": {
                    "anyOf": [
                        {"type": "array", "items": {"anyOf": [{"type": "number"}, {"type": "string"}]}},
                        {"type": "null"},
                    ],
                    "description": "Null for the default, [].",
                },
            },
            "required": ["total", "parts"],
            "additionalProperties": False,
        },
        '{"total": 12345678901234567890.123456789, "parts": [1.10]}',
        Bill(LARGE, [decimal.Decimal("1.10")]),
    ),
]
DICTS_AND_TUPLES = [
    of_type(
        Movie,
        {
            "type": "object",
            "properties": {"title": {"type": "string"}, "year": {"type": "integer"}},
            "required": ["title"],
        },
        {
            "type": "object",
            "properties": {
                "title": {"type": "string"},
                "year": {"anyOf": [{"type": "integer"}, {"type": "null"}], "description": "Null to leave it out."},
            },
            "required": ["title", "year"],
            "additionalProperties": False,
        },
        '{"title": "Alien", "year": null}',
        {"title": "Alien"},
    ),
    of_type(
        Trip,
        {
            "description": "A trip.",
            "type": "object",
            "properties": {
                "city": {"description": "Where to.", "type": "string"},
                "nights": {"description": "How many.", "type": "integer"},
                "hotel": {"description": "Its name.", "anyOf": [{"type": "string"}, {"type": "null"}]},
            },
            "required": ["city", "hotel"],
        },
        {
            "description": "A trip.",
            "type": "object",
            "properties": {
                "city": {"description": "Where to.", "type": "string"},
                "nights": {
                    "anyOf": [{"type": "integer"}, {"type": "null"}],
                    "description": "How many. Null to leave it out.",
                },
                "hotel": {"description": "Its name.", "anyOf": [{"type": "string"}, {"type": "null"}]},
            },
            "required": ["city", "nights", "hotel"],
            "additionalProperties": False,
        },
        '{"city": "Rome", "nights": 2, "hotel": null}',
        {"city": "Rome", "nights": 2, "hotel": None},
    ),
    of_type(
        Fixed,
        {"type": "object", "properties": {"number": {"type": "integer"}}, "required": ["number"]},
        {
            "type": "object",
            "properties": {"number": {"type": "integer"}},
            "required": ["number"],
            "additionalProperties": False,
        },
        '{"number": 1}',
        {"number": 1},
    ),
    *(
        of_type(
            Pair,
            {
                "type": "object",
                "properties": {
                    "left": {"description": "The left one.", "type": "integer"},
                    "right": {"default": "r", "type": "string"},
                },
                "required": ["left"],
                "additionalProperties": False,
            },
            {
                "type": "object",
                "properties": {
                    "left": {"description": "The left one.", "type": "integer"},
                    "right": {
                        "anyOf": [{"type": "string"}, {"type": "null"}],
                        "description": 'Null for the default, "r".',
                    },
                },
                "required": ["left", "right"],
                "additionalProperties": False,
            },
            written,
            received,
            f"Pair {written}",
        )
        for written, received in [('{"left": 1}', Pair(1)), ('[1, "x"]', Pair(1, "x"))]
    ),
    *(
        of_type(
            Price,
            {
                "type": "object",
                "properties": {
                    "amount": {"anyOf": [{"type": "number"}, {"type": "string"}]},
                    "currency": {"type": "string"},
                },
                "required": ["amount", "currency"],
                "additionalProperties": False,
            },
            SAME,
            written,
            Price(LARGE, "EUR"),
            f"Price {written}",
        )
        for written in (
            '{"amount": 12345678901234567890.123456789, "currency": "EUR"}',
            '[12345678901234567890.123456789, "EUR"]',
        )
    ),
]
MODELS = [
    of_type(
        Model,
        {
            "description": "A model.",
            "type": "object",
            "properties": {
                "A": {"description": "The a.", "type": "integer"},
                "b": {"default": [], "type": "array", "items": {"type": "string"}},
            },
            "required": ["A"],
        },
        {
            "description": "A model.",
            "type": "object",
            "properties": {
                "A": {"description": "The a.", "type": "integer"},
                "b": {
                    "anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "null"}],
                    "description": "Null for the default, [].",
                },
            },
            "required": ["A", "b"],
            "additionalProperties": False,
        },
        '{"A": 1, "b": null}',
        Model(A=1),
    ),
    of_type(
        Invoice,
        {
            "type": "object",
            "properties": {
                "total": {"anyOf": [{"type": "number"}, {"type": "string"}]},
                "items": {
                    "default": [],
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {"price": {"anyOf": [{"type": "number"}, {"type": "string"}]}},
                        "required": ["price"],
                    },
                },
            },
            "required": ["total"],
        },
        {
            "type": "object",
            "properties": {
                "total": {"anyOf": [{"type": "number"}, {"type": "string"}]},
                "items": {
                    "anyOf": [
                        {
                            "type": "array",
                            "items": {
                                "type": "object",
                                "properties": {"price": {"anyOf": [{"type": "number"}, {"type": "string"}]}},
                                "required": ["price"],
                                "additionalProperties": False,
                            },
                        },
                        {"type": "null"},
                    ],
                    "description": "Null for the default, [].",
                },
            },
            "required": ["total", "items"],
            "additionalProperties": False,
        },
        '{"total": 1.10, "items": [{"price": 12345678901234567890.123456789}]}',
        Invoice(total=decimal.Decimal("1.10"), items=[Line(LARGE)]),
    ),
    of_type(
        Closed,
        {
            "type": "object",
            "properties": {
                "day": {"type": "string", "format": "date"},
                "color": {
                    "description": "A color.\n- red: Like fire.",
                    "enum": ["red", "blue"],
                    "type": "string",
                },
                "pair": {
                    "type": "array",
                    "prefixItems": [{"type": "integer"}, {"type": "integer"}],
                    "items": {"type": "integer"},
                    "minItems": 2,
                    "maxItems": 2,
                },
                "sum": {"anyOf": [{"type": "number"}, {"type": "string"}]},
            },
            "required": ["day", "color", "pair", "sum"],
            "additionalProperties": False,
        },
        {
            "type": "object",
            "properties": {
                "day": {"type": "string", "format": "date"},
                "color": {
                    "description": "A color.\n- red: Like fire.",
                    "enum": ["red", "blue"],
                    "type": "string",
                },
                "pair": {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2},
                "sum": {"anyOf": [{"type": "number"}, {"type": "string"}]},
            },
            "required": ["day", "color", "pair", "sum"],
            "additionalProperties": False,
        },
        '{"day": "2026-01-02", "color": "blue", "pair": [1, 2], "sum": 1.10}',
        Closed(day=dt.date(2026, 1, 2), color=Color.BLUE, pair=(1, 2), sum=decimal.Decimal("1.10")),
    ),
    of_type(
        Open,
        {
            "type": "object",
            "properties": {"n": {"type": "integer"}},
            "required": ["n"],
            "additionalProperties": True,
        },
        FREE,
        '{"n": 1, "m": 2}',
        Open.model_validate({"n": 1, "m": 2}),
    ),
    of_type(Numbers, {"type": "array", "items": {"type": "integer"}}, SAME, "[1]", Numbers([1])),
    of_type(
        Crate[int],
        {"type": "object", "properties": {"content": {"type": "integer"}}, "required": ["content"]},
        {
            "type": "object",
            "properties": {"content": {"type": "integer"}},
            "required": ["content"],
            "additionalProperties": False,
        },
        '{"content": 1}',
        Crate[int](content=1),
    ),
    of_type(
        Crate[Crate[str]],
        {
            "type": "object",
            "properties": {
                "content": {"type": "object", "properties": {"content": {"type": "string"}}, "required": ["content"]}
            },
            "required": ["content"],
        },
        {
            "type": "object",
            "properties": {
                "content": {
                    "type": "object",
                    "properties": {"content": {"type": "string"}},
                    "required": ["content"],
                    "additionalProperties": False,
                }
            },
            "required": ["content"],
            "additionalProperties": False,
        },
        '{"content": {"content": "x"}}',
        Crate[Crate[str]](content=Crate[str](content="x")),
    ),
]

CLASSES = [*DATACLASSES, *DICTS_AND_TUPLES, *MODELS]
