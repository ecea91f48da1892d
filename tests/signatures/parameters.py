"""Every kind of parameter, and defaults."""

from __future__ import annotations

import functools
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    Required,
    TypedDict,
    Unpack,
)

from pydantic import Field

from agentkit.tools.context import ToolContext
from tests.signatures.callables import Point
from tests.signatures.row import FREE, Row, members, or_null


class Options(TypedDict, total=False):
    """Options.

    Attributes:
        size: The size.
    """

    size: Required[int]
    color: NotRequired[Annotated[str, "The color."]]
    depth: int
    """The depth."""


def no_parameters() -> None: ...


def documented(
    city: str, days: int = 1, unit: Literal["c", "f"] = "c", note: str | None = None
) -> tuple[str, int, str, str | None]:
    """Weather of a city.

    Args:
        city: City name.
        unit: The unit.
    """
    return city, days, unit, note


def every_kind(
    a: int, b: int = 2, /, c: int = 3, *more: int, d: int, **others: float
) -> tuple[int, int, int, tuple[int, ...], int, dict[str, float]]:
    return a, b, c, more, d, others


def positional(a: int, b: str = "b", /) -> tuple[int, str]:
    return a, b


def keyword(*, a: int, b: str = "b") -> tuple[int, str]:
    return a, b


def many(*words: str) -> tuple[str, ...]:
    return words


def described_many(*words: Annotated[str, "What to look for."]) -> tuple[str, ...]:
    return words


def any_keywords(**numbers: int) -> dict[str, int]:
    return numbers


def anything(**words: Any) -> dict[str, Any]:
    return words


def keywords(what: str, **options: Unpack[Options]) -> tuple[str, Options]:
    return what, options


def defaults(
    text: str = "x",
    numbers: list[int] = [1],  # noqa: B006
    pair: tuple[int, int] = (1, 2),
    none: int | None = None,
) -> tuple[str, list[int], tuple[int, int], int | None]:
    return text, numbers, pair, none


def odd_defaults(
    words: frozenset[str] = frozenset({"b", "a"}),
    x: float = float("nan"),
    point: Point = Point(1),  # noqa: B008
) -> Any:
    return words, x, point


def habit(x: str = None) -> str | None:  # type: ignore[assignment]  # noqa: RUF013 - the habit in question
    return x


def field_as_default(x: int = Field(ge=1, description="One or more."), y: int = Field(default=7)) -> tuple[int, int]:
    return x, y


def reserved(schema: int, json: int, copy: int, _x: int, model_config: int, self: int, cls: int) -> tuple[int, ...]:
    return schema, json, copy, _x, model_config, self, cls


def with_context(context: ToolContext[Any], n: int) -> tuple[str, int]:
    return context.run_id, n


def with_optional_context(n: int, *, context: ToolContext[Any] | None = None) -> tuple[str, int]:
    return context.run_id if context else "none", n


_N = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}

_POINT = {
    "type": "object",
    "properties": {"x": {"type": "integer"}, "y": {"type": "integer", "default": 0}},
    "required": ["x"],
}

PARAMETERS = [
    Row("no parameters", no_parameters, members({}), {**members({}), "required": []}, "", None, None),
    Row("no parameters and null", no_parameters, members({}), {**members({}), "required": []}, "null", None, None),
    Row(
        "descriptions and defaults",
        documented,
        {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "City name."},
                "days": {"type": "integer", "default": 1},
                "unit": {"type": "string", "enum": ["c", "f"], "default": "c", "description": "The unit."},
                "note": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
            },
            "required": ["city"],
            "additionalProperties": False,
        },
        {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "City name."},
                "days": {"anyOf": [{"type": "integer"}, {"type": "null"}], "description": "Null for the default, 1."},
                "unit": {
                    "anyOf": [{"type": "string", "enum": ["c", "f"]}, {"type": "null"}],
                    "description": 'The unit. Null for the default, "c".',
                },
                "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            },
            "required": ["city", "days", "unit", "note"],
            "additionalProperties": False,
        },
        '{"city": "Rome", "days": "2", "unit": null}',
        ("Rome", 2, "c", None),
        tuple[str, int, str, str | None],
    ),
    *(
        Row(
            f"every kind of parameter, {written}",
            every_kind,
            {
                "type": "object",
                "properties": {
                    "a": {"type": "integer"},
                    "b": {"type": "integer", "default": 2},
                    "c": {"type": "integer", "default": 3},
                    "more": {"type": "array", "items": {"type": "integer"}},
                    "d": {"type": "integer"},
                },
                "required": ["a", "d"],
                "additionalProperties": {"type": "number"},
            },
            FREE,
            written,
            received,
            tuple[int, int, int, tuple[int, ...], int, dict[str, float]],
        )
        for written, received in [
            ('{"a": 1, "d": 4}', (1, 2, 3, (), 4, {})),
            ('{"a": 1, "d": 4, "more": ["5"], "z": "1.5"}', (1, 2, 3, (5,), 4, {"z": 1.5})),
            ('{"a": 1, "d": 4, "c": 9}', (1, 2, 9, (), 4, {})),
        ]
    ),
    Row(
        "positional-only",
        positional,
        members({"a": {"type": "integer"}, "b": {"type": "string", "default": "b"}}, "a"),
        members({"a": {"type": "integer"}, "b": or_null({"type": "string"}, '"b"')}, "a", "b"),
        '{"b": "x", "a": 1}',
        (1, "x"),
        tuple[int, str],
    ),
    Row(
        "keyword-only",
        keyword,
        members({"a": {"type": "integer"}, "b": {"type": "string", "default": "b"}}, "a"),
        members({"a": {"type": "integer"}, "b": or_null({"type": "string"}, '"b"')}, "a", "b"),
        '{"a": 1}',
        (1, "b"),
        tuple[int, str],
    ),
    Row(
        "*words",
        many,
        members({"words": {"type": "array", "items": {"type": "string"}}}),
        members(
            {
                "words": {
                    "anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "null"}],
                    "description": "Null to leave it out.",
                }
            },
            "words",
        ),
        '{"words": ["a", "b"]}',
        ("a", "b"),
        tuple[str, ...],
    ),
    Row(
        "described *words",
        described_many,
        members(
            {
                "words": {
                    "type": "array",
                    "items": {"type": "string"},
                    "description": "What to look for.",
                }
            }
        ),
        members(
            {
                "words": {
                    "anyOf": [
                        {"type": "array", "items": {"type": "string"}},
                        {"type": "null"},
                    ],
                    "description": "What to look for. Null to leave it out.",
                }
            },
            "words",
        ),
        "{}",
        (),
        tuple[str, ...],
    ),
    Row(
        "**numbers",
        any_keywords,
        {"type": "object", "properties": {}, "additionalProperties": {"type": "integer"}},
        FREE,
        '{"a": "1", "b": 2}',
        {"a": 1, "b": 2},
        dict[str, int],
    ),
    Row(
        "**words of any type",
        anything,
        {"type": "object", "properties": {}, "additionalProperties": True},
        FREE,
        '{"self": 1, "b": [null]}',
        {"self": 1, "b": [None]},
        dict[str, Any],
    ),
    Row(
        "Unpack[TypedDict]",
        keywords,
        members(
            {
                "what": {"type": "string"},
                "size": {"type": "integer", "description": "The size."},
                "color": {"type": "string", "description": "The color."},
                "depth": {"type": "integer", "description": "The depth."},
            },
            "what",
            "size",
        ),
        members(
            {
                "what": {"type": "string"},
                "size": {"type": "integer", "description": "The size."},
                "color": {
                    "anyOf": [{"type": "string"}, {"type": "null"}],
                    "description": "The color. Null to leave it out.",
                },
                "depth": {
                    "anyOf": [{"type": "integer"}, {"type": "null"}],
                    "description": "The depth. Null to leave it out.",
                },
            },
            "what",
            "size",
            "color",
            "depth",
        ),
        '{"what": "wall", "size": "2", "color": null}',
        ("wall", {"size": 2}),
        tuple[str, Options],
    ),
    Row(
        "defaults that are JSON",
        defaults,
        members(
            {
                "text": {"type": "string", "default": "x"},
                "numbers": {"type": "array", "items": {"type": "integer"}, "default": [1]},
                "pair": {
                    "type": "array",
                    "prefixItems": [{"type": "integer"}, {"type": "integer"}],
                    "items": {"type": "integer"},
                    "minItems": 2,
                    "maxItems": 2,
                    "default": [1, 2],
                },
                "none": {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None},
            }
        ),
        members(
            {
                "text": or_null({"type": "string"}, '"x"'),
                "numbers": or_null({"type": "array", "items": {"type": "integer"}}, "[1]"),
                "pair": or_null({"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2}, "[1,2]"),
                "none": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
            },
            "text",
            "numbers",
            "pair",
            "none",
        ),
        '{"text": null, "none": null}',
        ("x", [1], (1, 2), None),
        tuple[str, list[int], tuple[int, int], int | None],
    ),
    Row(
        "defaults that are no JSON",
        odd_defaults,
        members(
            {
                "words": {
                    "type": "array",
                    "items": {"type": "string"},
                    "uniqueItems": True,
                    "default": ["a", "b"],
                },
                "x": {"type": "number"},
                "point": {**_POINT, "default": {"x": 1, "y": 0}},
            }
        ),
        members(
            {
                "words": or_null({"type": "array", "items": {"type": "string"}}, '["a","b"]'),
                "x": {"anyOf": [{"type": "number"}, {"type": "null"}], "description": "Null to leave it out."},
                "point": or_null(
                    members({"x": {"type": "integer"}, "y": or_null({"type": "integer"}, "0")}, "x", "y"),
                    '{"x":1,"y":0}',
                ),
            },
            "words",
            "x",
            "point",
        ),
        '{"x": 1, "words": ["c"]}',
        (frozenset({"c"}), 1.0, Point(1)),
        tuple[frozenset[str], float, Point],
    ),
    Row(
        "None as the default of a text",
        habit,
        members({"x": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None}}),
        members({"x": {"anyOf": [{"type": "string"}, {"type": "null"}]}}, "x"),
        '{"x": null}',
        None,
        str | None,
    ),
    Row(
        "Field as default",
        field_as_default,
        members(
            {
                "x": {"type": "integer", "minimum": 1, "description": "One or more."},
                "y": {"type": "integer", "default": 7},
            },
            "x",
        ),
        members(
            {
                "x": {"type": "integer", "minimum": 1, "description": "One or more."},
                "y": or_null({"type": "integer"}, "7"),
            },
            "x",
            "y",
        ),
        '{"x": 2}',
        (2, 7),
        tuple[int, int],
    ),
    Row(
        "names that pydantic reserves",
        reserved,
        members(
            {
                "schema": {"type": "integer"},
                "json": {"type": "integer"},
                "copy": {"type": "integer"},
                "_x": {"type": "integer"},
                "model_config": {"type": "integer"},
                "self": {"type": "integer"},
                "cls": {"type": "integer"},
            },
            *("schema", "json", "copy", "_x", "model_config", "self", "cls"),
        ),
        members(
            {
                "schema": {"type": "integer"},
                "json": {"type": "integer"},
                "copy": {"type": "integer"},
                "_x": {"type": "integer"},
                "model_config": {"type": "integer"},
                "self": {"type": "integer"},
                "cls": {"type": "integer"},
            },
            *("schema", "json", "copy", "_x", "model_config", "self", "cls"),
        ),
        '{"schema": 0, "json": 1, "copy": 2, "_x": 3, "model_config": 4, "self": 5, "cls": 6}',
        (0, 1, 2, 3, 4, 5, 6),
        tuple[int, ...],
    ),
    Row("context", with_context, _N, _N, '{"n": 3}', ("r", 3), tuple[str, int]),
    Row("optional context", with_optional_context, _N, _N, '{"n": 3}', ("r", 3), tuple[str, int]),
    Row(
        "partial of Unpack[TypedDict]",
        functools.partial(keywords, size=3),
        members(
            {
                "what": {"type": "string"},
                "color": {"type": "string", "description": "The color."},
                "depth": {"type": "integer", "description": "The depth."},
            },
            "what",
        ),
        members(
            {
                "what": {"type": "string"},
                "color": {
                    "anyOf": [{"type": "string"}, {"type": "null"}],
                    "description": "The color. Null to leave it out.",
                },
                "depth": {
                    "anyOf": [{"type": "integer"}, {"type": "null"}],
                    "description": "The depth. Null to leave it out.",
                },
            },
            "what",
            "color",
            "depth",
        ),
        '{"what": "wall", "depth": 1}',
        ("wall", {"size": 3, "depth": 1}),
        tuple[str, Options],
    ),
]
