from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import functools
import subprocess
import sys
import typing
import uuid
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, Optional

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agentkit.errors import DefinitionError, ToolError
from agentkit.tools.context import ToolContext
from agentkit.tools.schema import name_of, read_signature


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclasses.dataclass
class Point:
    x: int
    y: int = 0


class Strict(BaseModel):
    model_config = ConfigDict(strict=True)
    day: dt.date
    color: Color
    pair: tuple[int, int]


class Tree(BaseModel):
    title: str
    children: list[Tree] = []


class Cat(BaseModel):
    kind: Literal["cat"]


class Dog(BaseModel):
    kind: Literal["dog"]


class Unknown:
    """Neither pydantic nor JSON knows what it is."""


@dataclasses.dataclass
class Doc:
    documentation: str


def takes(hint: Any) -> Callable[..., Any]:
    def function(x: Any) -> Any:
        return x

    function.__annotations__["x"] = hint
    return function


def property_of(hint: Any) -> Any:
    return read_signature(takes(hint)).parameters["properties"]["x"]


def call(function: Callable[..., Any], arguments: dict[str, Any], context: ToolContext[Any] | None = None) -> Any:
    signature = read_signature(function)
    args, kwargs = signature.bind(signature.validate(arguments), context)
    return function(*args, **kwargs)


def context() -> ToolContext[Any]:
    return ToolContext(
        deps=None, run_id="r", turn=1, call_id="c", tool="t", idempotency_key="k", emit=lambda event: None
    )


# The schema.


def test_the_schema_has_the_parameters_in_order_with_descriptions_and_defaults() -> None:
    def get_weather(city: str, days: int = 1, unit: Literal["c", "f"] = "c") -> str:
        """Weather of a city.

        Args:
            city: City name.
            unit: The unit.
        """
        return ""

    signature = read_signature(get_weather)
    assert (signature.name, signature.description, signature.context) == ("get_weather", "Weather of a city.", None)
    assert signature.parameters == {
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "City name."},
            "days": {"type": "integer", "default": 1},
            "unit": {"type": "string", "enum": ["c", "f"], "default": "c", "description": "The unit."},
        },
        "required": ["city"],
        "additionalProperties": False,
    }
    assert list(signature.parameters["properties"]) == ["city", "days", "unit"]


def test_no_parameters_are_an_empty_object() -> None:
    def ping() -> None: ...

    assert read_signature(ping).parameters == {"type": "object", "properties": {}, "additionalProperties": False}


@pytest.mark.parametrize(
    "hint", [Annotated[str, Field(description="Mine.")], Annotated[str, "Mine."], Annotated[str, Doc("Mine.")]]
)
def test_a_description_in_annotated_wins_over_the_docstring(hint: Any) -> None:
    function = takes(hint)
    function.__doc__ = "Go.\n\nArgs:\n    x: Of the docstring.\n"
    assert read_signature(function).parameters["properties"]["x"]["description"] == "Mine."


@pytest.mark.parametrize(
    ("hint", "schema"),
    [
        (int, {"type": "integer"}),
        (Any, {}),
        (list, {"type": "array", "items": {}}),
        (list[int], {"type": "array", "items": {"type": "integer"}}),
        (Sequence[str], {"type": "array", "items": {"type": "string"}}),
        (dict[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}),
        (Annotated[int, Field(ge=1)], {"type": "integer", "minimum": 1}),
        (int | None, {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
        (Color, {"type": "string", "enum": ["red", "blue"]}),
        (dt.date, {"type": "string", "format": "date"}),
        (
            tuple[int, int],
            {
                "type": "array",
                "prefixItems": [{"type": "integer"}, {"type": "integer"}],
                "items": {"type": "integer"},
                "minItems": 2,
                "maxItems": 2,
            },
        ),
        (
            Point,
            {
                "type": "object",
                "properties": {"x": {"type": "integer"}, "y": {"type": "integer", "default": 0}},
                "required": ["x"],
            },
        ),
        (
            Annotated[Cat | Dog, Field(discriminator="kind")],
            {
                "oneOf": [
                    {
                        "type": "object",
                        "properties": {"kind": {"type": "string", "const": name}},
                        "required": ["kind"],
                    }
                    for name in ("cat", "dog")
                ]
            },
        ),
    ],
)
def test_a_type_becomes_small_json_schema(hint: Any, schema: dict[str, Any]) -> None:
    assert property_of(hint) == schema


def test_a_definition_used_twice_stays_apart() -> None:
    def line(start: Point, end: Point) -> None: ...

    schema = read_signature(line).parameters
    assert schema["properties"] == {"start": {"$ref": "#/$defs/Point"}, "end": {"$ref": "#/$defs/Point"}}
    assert list(schema["$defs"]) == ["Point"]


def test_a_recursive_definition_stays_apart_and_keeps_a_property_named_title() -> None:
    def plant(tree: Tree) -> None: ...

    tree = read_signature(plant).parameters["$defs"]["Tree"]
    assert "title" not in tree
    assert list(tree["properties"]) == ["title", "children"]
    assert tree["properties"]["children"]["items"] == {"$ref": "#/$defs/Tree"}


def test_a_default_that_json_cannot_express_is_not_shown_but_used() -> None:
    here = Unknown()

    def function(x: Any = here, y: float = float("nan")) -> Any:
        return x

    assert read_signature(function).parameters["properties"] == {"x": {}, "y": {"type": "number"}}
    assert call(function, {}) is here


def test_the_schema_has_the_same_bytes_in_every_process() -> None:
    program = (
        "import json\n"
        "from pydantic import BaseModel\n"
        "from agentkit.tools.schema import read_signature\n"
        "class M(BaseModel):\n    tags: set[str] = {'a', 'b', 'c', 'd'}\n"
        "def f(m: M, x: frozenset[str] = frozenset('efgh'), y: tuple[set[str], ...] = ({'i', 'j', 'k'},)): ...\n"
        "print(json.dumps(read_signature(f).parameters))\n"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(outputs) == 1


# What a function may look like.


def test_classes_local_to_a_function_are_found_through_their_text() -> None:
    class Local(BaseModel):
        n: int

    def outer() -> Callable[..., Any]:
        def inner(x: Local, y: list[Local] | None = None) -> Missing:  # type: ignore[name-defined]  # noqa: F821
            return x

        return inner

    assert call(outer(), {"x": {"n": 1}}) == Local(n=1)


def test_the_function_receives_the_annotated_types() -> None:
    def function(
        a: Point, b: Color, c: dt.datetime, d: uuid.UUID, e: decimal.Decimal, f: set[int], g: Strict, h: bytes
    ) -> tuple[Any, ...]:
        return a, b, c, d, e, f, g, h

    day = dt.date(2026, 1, 2)
    assert call(
        function,
        {
            "a": {"x": "1"},
            "b": "red",
            "c": "2026-01-02T03:04:05",
            "d": "12345678-1234-5678-1234-567812345678",
            "e": "1.10",
            "f": [1, 1],
            "g": {"day": "2026-01-02", "color": "blue", "pair": [1, 2]},
            "h": "eA==",
        },
    ) == (
        Point(1),
        Color.RED,
        dt.datetime(2026, 1, 2, 3, 4, 5),  # noqa: DTZ001 - as the text has it
        uuid.UUID("12345678-1234-5678-1234-567812345678"),
        decimal.Decimal("1.10"),
        {1},
        Strict(day=day, color=Color.BLUE, pair=(1, 2)),
        b"x",
    )


def test_every_kind_of_parameter_is_given_in_its_way() -> None:
    def function(a: int, b: int = 2, /, c: int = 3, *more: int, d: int, **others: float) -> Any:
        return a, b, c, more, d, others

    schema = read_signature(function).parameters
    assert schema["required"] == ["a", "d"]
    assert schema["properties"]["more"] == {"type": "array", "items": {"type": "integer"}}
    assert schema["additionalProperties"] == {"type": "number"}
    assert call(function, {"a": 1, "d": 4}) == (1, 2, 3, (), 4, {})
    assert call(function, {"a": 1, "d": 4, "more": ["5"], "z": "1.5"}) == (1, 2, 3, (5,), 4, {"z": 1.5})
    assert call(function, {"a": 1, "d": 4, "c": 9}) == (1, 2, 9, (), 4, {})


def test_names_that_pydantic_models_reserve_are_ordinary_names() -> None:
    def function(schema: int, json: int, copy: int, _x: int, model_config: int, self: int, cls: int) -> Any:
        return schema, json, copy, _x, model_config, self, cls

    names = ["schema", "json", "copy", "_x", "model_config", "self", "cls"]
    assert list(read_signature(function).parameters["properties"]) == names
    assert call(function, {name: place for place, name in enumerate(names)}) == tuple(range(7))


def test_x_with_the_default_none_may_be_null() -> None:
    def function(x: str = None) -> Any:  # type: ignore[assignment]  # noqa: RUF013 - the habit under test
        return x

    assert call(function, {"x": None}) is None


class Shelf(BaseModel):
    label: str = "none"
    sizes: dict[str, int] = {}


def test_null_leaves_out_a_property_but_never_a_key_of_a_free_dict() -> None:
    def function(
        scores: dict[str, int] = {},  # noqa: B006
        shelves: dict[str, Shelf] = {},  # noqa: B006
        numbered: dict[int, int] = {},  # noqa: B006
        pair: tuple[Shelf, int] | None = None,
        n: int = 3,
        **more: int,
    ) -> Any:
        return scores, shelves, numbered, pair, n, more

    declared = {"shelves": {"a": {"label": None}}, "pair": [{"sizes": None}, 1], "n": None}
    assert call(function, declared) == ({}, {"a": Shelf()}, {}, (Shelf(), 1), 3, {})
    free: list[dict[str, Any]] = [
        {"scores": {"a": None, "b": 1}},
        {"scores": {"n": None}},
        {"numbered": {"1": None}},
        {"shelves": {"a": None}},
        {"shelves": {"a": {"sizes": {"label": None}}}},
        {"extra": None},
    ]
    for arguments in free:
        with pytest.raises(ValidationError):
            call(function, arguments)


def test_a_field_as_default_gives_constraints_and_the_default() -> None:
    def function(x: int = Field(ge=1, description="One or more."), y: int = Field(default=7)) -> Any:
        return x, y

    schema = read_signature(function).parameters
    assert schema["required"] == ["x"]
    assert schema["properties"]["x"] == {"type": "integer", "minimum": 1, "description": "One or more."}
    assert call(function, {"x": 2}) == (2, 7)
    with pytest.raises(ValidationError):
        call(function, {"x": 0})


class Service:
    """A service."""

    def search(self, query: str) -> str:
        """Search it.

        Args:
            query: What for.
        """
        return query

    def anything(self, **words: str) -> Any:
        return words

    def __call__(self, n: int) -> int:
        return n


def test_methods_and_callable_objects_and_classes_are_functions_too() -> None:
    service = Service()
    assert list(read_signature(service.search).parameters["properties"]) == ["query"]
    assert read_signature(service.search).description == "Search it."
    assert (name_of(service), read_signature(service).description) == ("Service", "A service.")
    assert call(service, {"n": 2}) == 2
    assert call(Point, {"x": 2}) == Point(2)


def test_what_a_partial_gives_is_hidden_from_the_model() -> None:
    def fetch(url: str, key: str, retries: int = 2, **options: str) -> Any:
        """Fetch it."""
        return url, key, retries

    bound = functools.partial(fetch, key="secret")
    signature = read_signature(bound)
    assert (signature.name, signature.description) == ("fetch", "Fetch it.")
    assert list(signature.parameters["properties"]) == ["url", "retries"]
    assert call(bound, {"url": "u"}) == ("u", "secret", 2)
    with pytest.raises(ToolError, match="key: there is no such parameter"):
        call(bound, {"url": "u", "key": "mine"})


def test_a_decorated_function_has_the_signature_that_was_written() -> None:
    def twice(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs) * 2

        return wrapper

    @twice
    def number(n: int) -> int:
        return n

    assert call(number, {"n": 2}) == 4


# The context.


def test_the_context_may_be_any_parameter_and_is_never_in_the_schema() -> None:
    def first(ctx: ToolContext[str], x: int) -> Any:
        return ctx

    def positional(x: int, ctx: ToolContext, /) -> Any:  # type: ignore[type-arg]
        return ctx

    def keyword(x: int, *, ctx: Annotated[ToolContext[Any] | None, "it"] = None) -> Any:
        return ctx

    def old(x: int, ctx: Optional[ToolContext[Any]] = None, *more: int) -> Any:  # noqa: UP045
        return ctx

    given = context()
    for function in (first, positional, keyword, old):
        signature = read_signature(function)
        assert signature.context == "ctx"
        assert "ctx" not in signature.parameters["properties"]
        assert call(function, {"x": 1}, given) is given


def test_a_model_cannot_give_the_context_or_the_object_as_a_keyword() -> None:
    def function(ctx: ToolContext[Any], **words: Any) -> Any:
        return ctx

    with pytest.raises(ToolError, match="ctx: there is no such parameter"):
        call(function, {"ctx": 1}, context())
    with pytest.raises(ToolError, match="self: there is no such parameter"):
        call(Service().anything, {"self": "x"})


# What cannot become a tool.


def unannotated(x) -> None: ...  # type: ignore[no-untyped-def]


def unresolvable(x: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821


def two_contexts(a: ToolContext[Any], b: ToolContext[Any]) -> None: ...


def aliased(x: Annotated[int, Field(alias="y")]) -> None: ...


@pytest.mark.parametrize(
    ("function", "complaint"),
    [
        (unannotated, "tool 'unannotated': parameter 'x' has no type annotation; write for example x: str"),
        (unresolvable, "tool 'unresolvable': the annotation of parameter 'x' cannot be resolved"),
        (takes(Unknown), "parameter 'x' of type .*Unknown cannot be described .*; use "),
        (takes(Callable[[int], int]), "parameter 'x' of type .*Callable.* cannot be described"),
        (takes(list[Unknown]), "parameter 'x' of type .*Unknown.* cannot be described"),
        (takes(5), "parameter 'x' "),
        (two_contexts, "'a' and 'b' both take the ToolContext; keep one"),
        (aliased, "parameter 'x' has an alias"),
        (type, "Python cannot tell its parameters"),
        (len, "parameter 'obj' has no type annotation"),
    ],
)
def test_what_cannot_be_a_tool_is_said_in_one_sentence(function: Any, complaint: str) -> None:
    with pytest.raises(DefinitionError, match=complaint) as caught:
        read_signature(function)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the syntax is of Python 3.12")
def test_type_statements_are_looked_through() -> None:
    space: dict[str, Any] = {"ToolContext": ToolContext, "Any": Any}
    exec("type Ctx = ToolContext[Any]\ndef f(c: Ctx, x: int): return c\n", space)  # a syntax error in 3.11
    assert read_signature(space["f"]).context == "c"
    assert typing.get_type_hints(space["f"])["x"] is int
