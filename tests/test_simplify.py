"""Schemas that somebody else wrote."""

from __future__ import annotations

from typing import Any

import pytest

from agentkit.errors import DefinitionError
from agentkit.tools.context import ToolContext
from agentkit.tools.schemas import check_schema
from agentkit.tools.tool import Tool


def remote(context: ToolContext[Any], arguments: dict[str, Any]) -> Any:
    return arguments


@pytest.mark.parametrize("function", [lambda text: text, lambda a, b, c: a, "not a function", None])
def test_a_function_that_cannot_take_what_it_is_given_is_refused_where_the_tool_is_made(function: Any) -> None:
    with pytest.raises(DefinitionError, match="'far': its function must take two arguments, the ToolContext and"):
        Tool.from_schema("far", "", {}, function)
    with pytest.raises(DefinitionError, match="'far': its function must take two arguments, the ToolContext and"):
        Tool.custom("far", "", function)


def test_a_foreign_schema_is_copied_and_its_arrays_get_items() -> None:
    schema = {"properties": {"a": {"type": "array"}, "b": {"anyOf": [{"type": ["array", "null"]}]}, "c": True}}
    made = check_schema("far", schema)
    assert made == {
        "type": "object",
        "properties": {
            "a": {"type": "array", "items": {}},
            "b": {"anyOf": [{"type": ["array", "null"], "items": {}}]},
            "c": True,
        },
    }
    assert "items" not in schema["properties"]["a"]  # type: ignore[operator]
    assert check_schema("far", {"items": [{"type": "string"}], "$defs": {"x": {}}})["$defs"] == {"x": {}}


@pytest.mark.parametrize(
    ("schema", "complaint"),
    [
        ({"type": "array"}, "must be a JSON Schema of type 'object'"),
        ({"type": ["object"]}, "must be a JSON Schema of type 'object'"),
        ({"default": object()}, "are not JSON"),
        ({"properties": []}, r"its schema has properties=\[\]; it maps names to schemas"),
        ({"properties": {"a": "string"}}, "parameter 'a' is 'string' where a JSON Schema has an object"),
        ({"properties": {"a": {"type": "str"}}}, "parameter 'a' has the type 'str'; there are array, boolean"),
        ({"properties": {"a": {"type": ["null", 3]}}}, "parameter 'a' has the type 3"),
        ({"required": "a"}, "its schema has required='a'; it is the list of the names"),
        ({"properties": {"a": {"required": True}}}, "parameter 'a' has required=True"),
        ({"properties": {"a": {"enum": "x"}}}, "parameter 'a' has enum='x'; it is a list of values"),
        ({"properties": {"a": {"$ref": 1}}}, r"parameter 'a' has \$ref=1; it is a string"),
        ({"properties": {"a": {"items": {"properties": {"b": 1}}}}}, "parameter 'a.b' is 1 where"),
        ({"properties": {"a": {"anyOf": {"type": "nothing"}}}}, "parameter 'a' has the type 'nothing'"),
        ({"$defs": {"a": []}}, r"parameter 'a' is \[\] where"),
    ],
)
def test_what_no_server_would_take_is_said_with_its_place(schema: dict[str, Any], complaint: str) -> None:
    with pytest.raises(DefinitionError, match=f"tool 'far': .*{complaint}") as caught:
        Tool.from_schema("far", "", schema, remote)
    assert "\n" not in str(caught.value)
