"""The walker over JSON Schemas, and what it finds."""

from typing import Any

import pytest

from agentkit.chat.json_schema import map_subschemas, resolve_reference, subschemas

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"if": {"type": "string"}, "open": True, "items": {"type": "array", "items": {"type": "integer"}}},
    "patternProperties": {"^x": {"type": "null"}},
    "$defs": {"a": {"enum": [{"type": "no schema"}]}},
    "anyOf": [{"required": ["if"]}, False],
    "items": [{"type": "number"}],
    "not": {"const": {"properties": {}}},
    "default": {"properties": {"b": {"type": "string"}}},
    "examples": [{"type": "string"}],
    "x-more": {"type": "string"},
}


def test_every_schema_directly_inside_is_found_with_its_place_and_data_is_not() -> None:
    assert [(each.keyword, each.key) for each in subschemas(SCHEMA)] == [
        ("properties", "if"),
        ("properties", "open"),
        ("properties", "items"),
        ("patternProperties", "^x"),
        ("$defs", "a"),
        ("anyOf", 0),
        ("anyOf", 1),
        ("items", 0),
        ("not", ""),
    ]


def test_a_change_reaches_each_schema_directly_inside_and_leaves_the_original_alone() -> None:
    before = repr(SCHEMA)
    changed = map_subschemas(lambda inner: {**inner, "title": "T"}, SCHEMA)
    assert repr(SCHEMA) == before
    assert changed["properties"]["if"] == {"type": "string", "title": "T"}
    assert changed["properties"]["open"] is True
    assert changed["properties"]["items"] == {"type": "array", "items": {"type": "integer"}, "title": "T"}
    assert changed["anyOf"] == [{"required": ["if"], "title": "T"}, False]
    assert changed["not"] == {"const": {"properties": {}}, "title": "T"}
    assert changed["default"] == SCHEMA["default"]
    assert changed["x-more"] == SCHEMA["x-more"]


@pytest.mark.parametrize(
    ("reference", "found"),
    [
        ("#", {"$defs": {"a/b": {"x~y": 1}}}),
        ("#/$defs/a~1b", {"x~y": 1}),
        ("#/$defs/a~1b/x~0y", 1),
        ("#/$defs/c", None),
        ("#/$defs/a~1b/x~0y/z", None),
        ("other.json#/$defs/a", None),
    ],
)
def test_a_reference_is_resolved_inside_its_document(reference: str, found: object) -> None:
    assert resolve_reference(reference, {"$defs": {"a/b": {"x~y": 1}}}) == found
