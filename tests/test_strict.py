from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, TypedDict

import jsonschema
import pytest
import typing_extensions
from pydantic import BaseModel, Field, HttpUrl
from pydantic_core import from_json

from agentkit.chat.compat.apply import apply_profile
from agentkit.chat.compat.profile import Profile
from agentkit.chat.json_schema import strict_form
from agentkit.chat.messages import UserMessage
from agentkit.chat.request import ChatRequest
from agentkit.errors import DefinitionError, ToolError
from agentkit.tools.arguments import validate_arguments
from agentkit.tools.context import ToolContext
from agentkit.tools.signature import read_signature
from agentkit.tools.tool import Tool, tool

UNSET: Any = object()
Depth = typing_extensions.TypeAliasType("Depth", int | None)


class Stop(BaseModel):
    city: str
    nights: int = 1
    """How long"""


class Tree(BaseModel):
    value: int
    branches: list[Tree] = []


class Options(TypedDict, total=False):
    size: int | None


def form_of(function: Callable[..., Any], strict: bool | None = None) -> dict[str, Any] | None:
    return strict_form("f", read_signature(function).parameters, strict=strict, of_function=True)


def takes(hint: Any, default: Any = ...) -> Callable[..., Any]:
    def plain(x: Any) -> None: ...

    def optional(x: Any = default) -> None: ...

    function = plain if default is ... else optional
    function.__annotations__["x"] = hint
    return function


# The form.


def test_everything_is_required_and_what_may_be_left_out_may_be_null() -> None:
    def book(guests: int, room: Literal["in", "out"] = "in", wish: str | None = None, table: int | None = 7) -> None:
        """Book.

        Args:
            guests: How many.
            room: Where.
        """

    assert form_of(book) == {
        "type": "object",
        "properties": {
            "guests": {"type": "integer", "description": "How many."},
            "room": {
                "anyOf": [{"enum": ["in", "out"], "type": "string"}, {"type": "null"}],
                "description": 'Where. Null for the default, "in".',
            },
            "wish": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "table": {"anyOf": [{"type": "integer"}, {"type": "null"}], "description": "Default: 7."},
        },
        "required": ["guests", "room", "wish", "table"],
        "additionalProperties": False,
    }


def test_no_parameters_are_strict_too() -> None:
    def ping() -> None: ...

    assert form_of(ping) == {"type": "object", "properties": {}, "required": [], "additionalProperties": False}


def test_it_goes_through_every_class_and_a_text_without_a_full_stop_gets_one() -> None:
    def plan(stops: list[Stop]) -> None: ...

    form = form_of(plan)
    assert form is not None
    assert form["properties"]["stops"]["items"] == {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "nights": {
                "anyOf": [{"type": "integer"}, {"type": "null"}],
                "description": "How long. Null for the default, 1.",
            },
        },
        "required": ["city", "nights"],
        "additionalProperties": False,
    }


def test_a_reference_has_nothing_beside_it() -> None:
    def plant(
        tree: Annotated[Tree, "What to plant."], other: Tree | None = None, depth: Depth = 1, most: Depth = 2
    ) -> None: ...

    form = form_of(plant)
    assert form is not None
    assert form["properties"]["most"] == {"anyOf": [{"$ref": "#/$defs/Depth"}], "description": "Default: 2."}
    assert form["properties"]["tree"] == {"anyOf": [{"$ref": "#/$defs/Tree"}], "description": "What to plant."}
    assert form["$defs"]["Tree"]["required"] == ["value", "branches"]
    jsonschema.Draft202012Validator(form).validate(
        {"tree": {"value": 1, "branches": None}, "other": None, "depth": None, "most": 3}
    )


@pytest.mark.parametrize(
    ("hint", "default", "reason"),
    [
        (Any, ..., "may be anything; give it a type"),
        (list, ..., "may be anything; give it a type"),
        (dict[str, int], ..., "takes members of any name"),
        (tuple[int, str], ..., "is a tuple of several types"),
        (tuple[()], ..., "is always empty"),
        (HttpUrl, ..., "has 'maxLength', which strict schemas do not allow"),
        (bytes, ..., "has the format 'base64', which strict schemas do not allow"),
        (Annotated[str, Field(max_length=3)], ..., "has 'maxLength', which strict schemas do not allow"),
        (Annotated[str, Field(json_schema_extra={"pattern": "(?=a)"})], ..., "has a pattern that looks around or back"),
        (Annotated[int, Field(json_schema_extra={"not": {"const": 1}})], ..., "has 'not', which strict schemas do not"),
        (int | None, UNSET, "may be null or left out, and a strict schema cannot tell the two apart"),
        (Options, ..., "may be null or left out, and a strict schema cannot tell the two apart"),
        (Stop | Options, ..., "is a union whose members differ by what is left out"),
        (Literal[tuple(f"v{n}" for n in range(1001))], ..., "it has 1,001 enum values, and 1,000 are allowed"),
        (Literal["x" * 120_000], ..., "it has 120,001 characters of names and values, and 120,000 are allowed"),
    ],
)
def test_what_cannot_be_said_exactly_is_not_strict_and_says_why_when_asked(
    hint: Any, default: Any, reason: str
) -> None:
    function = takes(hint, default)
    assert form_of(function) is None
    assert form_of(function, strict=False) is None
    with pytest.raises(DefinitionError, match=f"tool 'f' cannot be strict: (parameter 'x.*' )?{reason}"):
        form_of(function, strict=True)


def test_ten_levels_are_allowed() -> None:
    def nested(levels: int) -> Any:
        schema: dict[str, Any] = {"type": "string"}
        for _ in range(levels):
            schema = {"type": "object", "properties": {"x": schema}, "required": ["x"], "additionalProperties": False}
        return strict_form("f", schema, strict=None, of_function=False)

    assert nested(9) is not None
    assert nested(10) is None


def test_five_thousand_properties_are_allowed() -> None:
    def wide(count: int) -> Any:
        names = [f"p{number}" for number in range(count)]
        schema = {"type": "object", "properties": {name: {"type": "null"} for name in names}, "required": names}
        return strict_form("f", schema, strict=None, of_function=True)

    assert wide(5000) is not None
    assert wide(5001) is None


# The call.


def call(function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    signature = read_signature(function)
    args, kwargs = signature.bind(validate_arguments(signature, arguments))
    return function(*args, **kwargs)


def test_null_stands_for_leaving_it_out_unless_null_is_a_value() -> None:
    def function(a: int = 1, b: int | None = 2, c: list[int] = [3], d: Annotated[int, Field(ge=0)] = 4) -> Any:  # noqa: B006
        return a, b, c, d

    assert call(function, {"a": None, "b": None, "c": None, "d": None}) == (1, None, [3], 4)


def test_null_stands_for_leaving_it_out_in_classes_and_lists_and_unions_too() -> None:
    def function(stops: list[Stop], last: Stop | int, tree: Tree) -> Any:
        return stops, last, tree

    stop = {"city": "Rome", "nights": None}
    arguments = {"stops": [stop, {**stop, "nights": 2}], "last": stop, "tree": {"value": 1, "branches": None}}
    rome = Stop(city="Rome")
    assert call(function, arguments) == ([rome, Stop(city="Rome", nights=2)], rome, Tree(value=1))
    assert arguments["tree"] == {"value": 1, "branches": None}


def test_null_for_what_is_needed_is_a_mistake_and_said_as_such() -> None:
    def function(a: int, b: int = 1) -> None: ...

    with pytest.raises(ToolError, match=r"done:\n- a: expected a valid integer; got null$"):
        call(function, {"a": None, "b": None})
    with pytest.raises(ToolError, match="a: missing"):
        call(function, {"b": None})


# The tool.


def test_a_tool_is_strict_where_that_says_the_same() -> None:
    @tool
    def book(guests: int, room: str = "in") -> None: ...

    wire = book.definition.to_wire()["function"]
    assert wire["strict"] is True
    assert wire["parameters"]["required"] == ["guests", "room"]
    assert book.parameters["required"] == ["guests"]


def test_a_tool_that_cannot_be_strict_is_plain_unless_it_must_be() -> None:
    def store(values: dict[str, int]) -> None: ...

    plain = tool(store).definition.to_wire()["function"]
    assert "strict" not in plain
    assert plain["parameters"] == tool(store).parameters
    with pytest.raises(DefinitionError, match="tool 'store' cannot be strict: parameter 'values' takes members of any"):
        tool(store, strict=True)
    with pytest.raises(DefinitionError, match="tool 'store' cannot be strict"):
        tool(tool(store), strict=True)


def test_strict_false_sends_the_plain_schema() -> None:
    def book(guests: int = 2) -> None: ...

    made = tool(book, strict=False)
    assert made.definition.to_wire()["function"] == {"name": "book", "parameters": made.parameters}
    assert made.parameters["properties"]["guests"] == {"type": "integer", "default": 2}


def test_a_server_that_refuses_strict_schemas_gets_the_plain_ones() -> None:
    @tool
    def book(guests: int = 2) -> None: ...

    request = ChatRequest(messages=[UserMessage("hi")], tools=[book.definition])
    (sent,) = from_json(apply_profile(request, "m", Profile(drop=frozenset({"tools.function.strict"}))).body)["tools"]
    assert sent["function"] == {"name": "book", "parameters": book.parameters}
    (sent,) = from_json(apply_profile(request, "m", Profile()).body)["tools"]
    assert (sent["function"]["strict"], sent["function"]["parameters"]["required"]) == (True, ["guests"])


def remote(context: ToolContext[Any], arguments: dict[str, Any]) -> Any:
    return arguments


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        (
            {"properties": {"x": {"type": "string"}}},
            "parameter 'x' is optional; make it required, and a union with null",
        ),
        ({"properties": {"x": {"oneOf": [{"type": "string"}]}}}, "parameter 'x' has 'oneOf'.*use 'anyOf'"),
        ({"properties": {"x": {"type": "array", "items": {"type": "null"}, "uniqueItems": True}}}, "has 'uniqueItems'"),
        ({"properties": {"x": {"type": "object"}}}, "parameter 'x' takes members of any name"),
        ({"properties": {"x": {"type": ["object", "null"], "properties": {}}}}, "is an object or something else"),
        (
            {"properties": {"x": {"$ref": "https://example.com/s"}}},
            "refers to 'https://example.com/s', which is not among",
        ),
        ({"properties": {"x": {"enum": [["a"]]}}}, "has values that are not strings, numbers, booleans or null"),
        ({"properties": {"x": {"type": "string", "format": "path"}}}, "has the format 'path'"),
        ({"properties": {"x": True}}, "may be anything"),
        ({"additionalProperties": True}, "takes members of any name"),
    ],
)
def test_a_schema_that_somebody_else_wrote_is_strict_only_as_it_is(schema: dict[str, Any], reason: str) -> None:
    required = list(schema.get("properties", ())) if "is optional" not in reason else []
    with pytest.raises(DefinitionError, match=reason):
        Tool.from_schema("far", "", {**schema, "required": required}, remote, strict=True)


def test_a_schema_that_somebody_else_wrote_is_not_strict_unless_asked() -> None:
    schema = {"type": "object", "properties": {"x": {"type": "string"}}, "required": ["x"]}
    assert "strict" not in Tool.from_schema("far", "", schema, remote).definition.to_wire()["function"]
    wire = Tool.from_schema("far", "", schema, remote, strict=True).definition.to_wire()["function"]
    assert (wire["strict"], wire["parameters"]) == (True, {**schema, "additionalProperties": False})
