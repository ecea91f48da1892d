"""Types that hold others: lists, tuples, sets, dicts, and what is only said to be iterable."""

from __future__ import annotations

import collections
import decimal
import typing
from collections.abc import Collection, Iterable, Mapping, MutableSequence, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from tests.signatures.row import ANYTHING, FREE, SAME, of_type
from tests.signatures.values import LARGE, Color

LISTS = [
    of_type(list, {"type": "array", "items": {}}, ANYTHING, '[1, "a"]', [1, "a"]),
    of_type(list[int], {"type": "array", "items": {"type": "integer"}}, SAME, "[1]", [1]),
    of_type(typing.List[int], {"type": "array", "items": {"type": "integer"}}, SAME, "[1]", [1]),  # noqa: UP006 - as written
    of_type(
        list[list[str]],
        {"type": "array", "items": {"type": "array", "items": {"type": "string"}}},
        SAME,
        '[["a"]]',
        [["a"]],
    ),
    of_type(
        list[int | None],
        {"type": "array", "items": {"anyOf": [{"type": "integer"}, {"type": "null"}]}},
        SAME,
        "[null]",
        [None],
    ),
    of_type(
        list[Color],
        {
            "type": "array",
            "items": {"description": "A color.\n- red: Like fire.", "enum": ["red", "blue"], "type": "string"},
        },
        SAME,
        '["red"]',
        [Color.RED],
    ),
    of_type(
        list[decimal.Decimal],
        {"type": "array", "items": {"anyOf": [{"type": "number"}, {"type": "string"}]}},
        SAME,
        "[12345678901234567890.123456789, 1.50, 2]",
        [LARGE, decimal.Decimal("1.50"), decimal.Decimal(2)],
    ),
    of_type(Sequence[str], {"type": "array", "items": {"type": "string"}}, SAME, '["a"]', ["a"]),
    of_type(MutableSequence[str], {"type": "array", "items": {"type": "string"}}, SAME, '["a"]', ["a"]),
    of_type(Iterable[int], {"type": "array", "items": {"type": "integer"}}, SAME, '["1", 2]', [1, 2]),
    of_type(typing.Iterable[int], {"type": "array", "items": {"type": "integer"}}, SAME, "[1]", [1]),
    of_type(Iterable, {"type": "array", "items": {}}, ANYTHING, '[1, "a"]', [1, "a"]),
    of_type(Collection[int], {"type": "array", "items": {"type": "integer"}}, SAME, '["1", 2]', [1, 2]),
    of_type(Collection, {"type": "array", "items": {}}, ANYTHING, '[1, "a"]', [1, "a"]),
    of_type(
        Iterable[int] | None,
        {"anyOf": [{"type": "array", "items": {"type": "integer"}}, {"type": "null"}]},
        SAME,
        "[1]",
        [1],
    ),
    of_type(
        list[Collection[Iterable[int]]],
        {"type": "array", "items": {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}}},
        SAME,
        "[[[1]]]",
        [[[1]]],
    ),
    of_type(
        collections.deque[int], {"type": "array", "items": {"type": "integer"}}, SAME, "[1]", collections.deque([1])
    ),
]
TUPLES = [
    of_type(tuple, {"type": "array", "items": {}}, ANYTHING, "[1]", (1,)),
    of_type(tuple[int, ...], {"type": "array", "items": {"type": "integer"}}, SAME, "[1, 2]", (1, 2)),
    of_type(
        tuple[int, int],
        {
            "type": "array",
            "prefixItems": [{"type": "integer"}, {"type": "integer"}],
            "items": {"type": "integer"},
            "minItems": 2,
            "maxItems": 2,
        },
        {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2},
        "[1, 2]",
        (1, 2),
    ),
    of_type(
        tuple[int, str],
        {
            "type": "array",
            "prefixItems": [{"type": "integer"}, {"type": "string"}],
            "items": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
            "minItems": 2,
            "maxItems": 2,
        },
        "is a tuple of several types; use an object with a name for each, or a list",
        '[1, "a"]',
        (1, "a"),
    ),
    of_type(
        tuple[decimal.Decimal, decimal.Decimal],
        {
            "type": "array",
            "prefixItems": [
                {"anyOf": [{"type": "number"}, {"type": "string"}]},
                {"anyOf": [{"type": "number"}, {"type": "string"}]},
            ],
            "items": {"anyOf": [{"type": "number"}, {"type": "string"}]},
            "minItems": 2,
            "maxItems": 2,
        },
        {
            "type": "array",
            "items": {"anyOf": [{"type": "number"}, {"type": "string"}]},
            "minItems": 2,
            "maxItems": 2,
        },
        "[1.50, 12345678901234567890.123456789]",
        (decimal.Decimal("1.50"), LARGE),
    ),
    of_type(tuple[()], {"type": "array", "items": {}, "minItems": 0, "maxItems": 0}, "is always empty", "[]", ()),
]
SETS = [
    of_type(
        set[int],
        {"type": "array", "items": {"type": "integer"}, "uniqueItems": True},
        {"type": "array", "items": {"type": "integer"}},
        "[1, 1]",
        {1},
    ),
    of_type(
        frozenset[str],
        {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
        {"type": "array", "items": {"type": "string"}},
        '["a"]',
        frozenset("a"),
    ),
    of_type(
        AbstractSet[int],
        {"type": "array", "items": {"type": "integer"}, "uniqueItems": True},
        {"type": "array", "items": {"type": "integer"}},
        "[1]",
        frozenset({1}),
    ),
]
DICTS = [
    of_type(dict, {"type": "object", "additionalProperties": True}, FREE, '{"a": 1}', {"a": 1}),
    of_type(
        dict[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}, FREE, '{"a": 1}', {"a": 1}
    ),
    of_type(
        dict[int, str], {"type": "object", "additionalProperties": {"type": "string"}}, FREE, '{"1": "a"}', {1: "a"}
    ),
    of_type(dict[str, Any], {"type": "object", "additionalProperties": True}, FREE, '{"a": null}', {"a": None}),
    of_type(
        dict[str, decimal.Decimal],
        {"type": "object", "additionalProperties": {"anyOf": [{"type": "number"}, {"type": "string"}]}},
        FREE,
        '{"a": 12345678901234567890.123456789}',
        {"a": LARGE},
    ),
    of_type(
        dict[Color, int],
        {
            "type": "object",
            "additionalProperties": {"type": "integer"},
            "propertyNames": {"description": "A color.\n- red: Like fire.", "enum": ["red", "blue"], "type": "string"},
        },
        "has 'propertyNames', which strict schemas do not allow",
        '{"red": 1}',
        {Color.RED: 1},
    ),
    of_type(
        Mapping[str, float],
        {"type": "object", "additionalProperties": {"type": "number"}},
        FREE,
        '{"a": 1}',
        {"a": 1.0},
    ),
    of_type(
        collections.OrderedDict[str, int],
        {"type": "object", "additionalProperties": {"type": "integer"}},
        FREE,
        '{"a": 1}',
        collections.OrderedDict(a=1),
    ),
    of_type(
        collections.Counter[str],
        {"type": "object", "additionalProperties": {"type": "integer"}},
        FREE,
        '{"a": 1}',
        collections.Counter(a=1),
    ),
]

CONTAINERS = [*LISTS, *TUPLES, *SETS, *DICTS]
