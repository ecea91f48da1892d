"""Whatever can be called is a tool, and what is written about its parameters reaches the model."""

from __future__ import annotations

import dataclasses
import enum
import functools
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from typing import (
    Annotated,
    Any,
    Generic,
    NamedTuple,
    NotRequired,
    Required,
    TypedDict,
    TypeVar,
    Unpack,
    cast,
    overload,
)

import pytest
from pydantic import BaseModel, Field

from agentkit.errors import DefinitionError, ToolError
from agentkit.tools.attributes import attribute_docs, class_summary
from agentkit.tools.context import ToolContext
from agentkit.tools.external import check_schema
from agentkit.tools.schema import read_signature
from agentkit.tools.tool import Tool, tool

T = TypeVar("T")


class Options(TypedDict, total=False):
    """Options.

    Attributes:
        size: The size.
    """

    size: Required[int]
    color: NotRequired[Annotated[str, "The color."]]
    depth: int
    """The depth."""


class Box(Generic[T]):
    def put(self, item: T, more: list[T] = []) -> Any:  # noqa: B006
        return item, more


class IntBox(Box[int]):
    pass


class Deeper(IntBox):
    pass


class Later(BaseModel):
    other: Other | None = None


class Other(BaseModel):
    back: list[Later] = []


@dataclasses.dataclass
class Note:
    text: str


def properties_of(function: Callable[..., Any]) -> dict[str, Any]:
    found: dict[str, Any] = read_signature(function).parameters["properties"]
    return found


def call(function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    signature = read_signature(function)
    args, kwargs = signature.bind(signature.validate(arguments))
    return function(*args, **kwargs)


# What can be called.


def test_generators_and_async_functions_have_the_schema_of_their_parameters() -> None:
    async def wait(n: int) -> int:
        return n

    def count(n: int) -> Iterator[int]:
        yield n

    async def stream(n: int) -> AsyncIterator[int]:
        yield n

    for function in (wait, count, stream):
        assert properties_of(function) == {"n": {"type": "integer"}}


def test_static_and_class_methods_are_functions() -> None:
    class Shop:
        @staticmethod
        def open(day: str) -> str:
            return day

        @classmethod
        def named(cls, name: str) -> str:
            return cls.__name__ + name

        @classmethod
        @tool
        def made(cls, name: str) -> str:
            return cls.__name__ + name

    assert call(Shop.open, {"day": "x"}) == "x"
    assert call(Shop.named, {"name": "x"}) == call(Shop().named, {"name": "x"}) == "Shopx"
    made = tool(cast("Any", Shop.made))
    assert (list(made.parameters["properties"]), made("x")) == (["name"], "Shopx")
    assert properties_of(Shop.__dict__["open"]) == {"day": {"type": "string"}}


def test_of_overloads_the_implementation_counts() -> None:
    @overload
    def convert(value: int) -> int: ...
    @overload
    def convert(value: str) -> str: ...
    def convert(value: int | str) -> int | str:
        return value

    assert properties_of(convert) == {"value": {"anyOf": [{"type": "integer"}, {"type": "string"}]}}


def test_a_lambda_with_a_name_takes_anything_or_the_type_of_its_default() -> None:
    made = tool(lambda anything, times=2: [anything] * times, name="repeat")
    assert made.name == "repeat"
    assert made.parameters["properties"] == {"anything": {}, "times": {"type": "integer", "default": 2}}
    assert call(lambda x, n=1: (x, n), {"x": {"a": 1}, "n": "3"}) == ({"a": 1}, 3)


def test_keywords_of_a_typed_dict_are_parameters() -> None:
    def paint(what: str, **options: Unpack[Options]) -> Any:
        return what, options

    signature = read_signature(paint)
    assert signature.parameters == {
        "type": "object",
        "properties": {
            "what": {"type": "string"},
            "size": {"type": "integer", "description": "The size."},
            "color": {"type": "string", "description": "The color."},
            "depth": {"type": "integer", "description": "The depth."},
        },
        "required": ["what", "size"],
        "additionalProperties": False,
    }
    assert call(paint, {"what": "wall", "size": "2", "color": None}) == ("wall", {"size": 2})
    assert list(properties_of(functools.partial(paint, size=3))) == ["what", "color", "depth"]
    with pytest.raises(ValueError, match="Extra inputs"):
        call(functools.partial(paint, size=3), {"what": "wall", "size": 2})


def test_an_object_fills_in_the_type_variables_of_its_class() -> None:
    for box in (Box[int](), IntBox(), Deeper()):
        assert properties_of(box.put)["item"] == {"type": "integer"}
        assert call(box.put, {"item": "1", "more": ["2"]}) == (1, [2])
    assert properties_of(Box().put)["item"] == {}


def test_types_that_refer_to_each_other_are_found() -> None:
    def follow(first: Later, second: Other) -> Any:
        return first, second

    assert list(read_signature(follow).parameters["$defs"]) == ["Later", "Other"]
    assert call(follow, {"first": {"other": {"back": [{}]}}, "second": {}}) == (
        Later(other=Other(back=[Later()])),
        Other(),
    )


def test_what_does_not_matter_does_not_fail() -> None:
    def function(x: int, context: ToolContext[Nowhere], y: Any = object()) -> AlsoNowhere:  # type: ignore[name-defined] # noqa: B008, F821
        return x

    function.__annotations__["context"] = ToolContext[Any]
    assert list(properties_of(function)) == ["x", "y"]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the syntax is of Python 3.12")
def test_type_parameters_and_type_statements_are_read() -> None:
    space: dict[str, Any] = {"BaseModel": BaseModel, "tool": tool}
    source = """
type Name = str
type Names = list[Name]
type Tree = int | list[Tree]
class Crate[T](BaseModel):
    content: T
class Store[T]:
    class Inner(BaseModel):
        n: int
    def put(self, item: T, inner: Inner = None): return item
    @tool
    def take(self, item: T, inner: Inner): return item, inner
def pick[T: int](first: T, names: Names, tree: Tree, crate: Crate[str]): return first, names, tree, crate
def later[T: int](first: "T", names: "Names"): return first, names
"""
    exec(source, space)
    found = properties_of(space["pick"])
    assert (found["first"], found["names"]) == ({"type": "integer"}, {"type": "array", "items": {"type": "string"}})
    assert found["crate"]["properties"] == {"content": {"type": "string"}}
    arguments = {"first": "1", "names": ["a"], "tree": [1, [2]], "crate": {"content": "x"}}
    assert call(space["pick"], arguments)[:3] == (1, ["a"], [1, [2]])
    assert properties_of(space["later"])["first"] == {"type": "integer"}
    store = space["Store"][int]()
    assert properties_of(store.put)["item"] == {"type": "integer"}
    assert list(store.take.parameters["properties"]["inner"]["properties"]) == ["n"]


# What is written about parameters.


class Mood(enum.Enum):
    """A mood.

    Attributes:
        BAD: Not good.
    """

    GOOD = 1
    """Like the sun."""
    BAD = 2


class Base(BaseModel):
    first: int
    """From the base."""


class Derived(Base):
    """Derived.

    Args:
        third: From the docstring.
    """

    second: Annotated[int, "From the note."] = 0
    """Not read."""
    third: int = Field(0, alias="Third")
    fourth: int = Field(0, description="From the field.")
    """Not read."""


class Place(NamedTuple):
    x: int
    """Across."""


def test_what_is_written_at_an_attribute_describes_it() -> None:
    def function(mood: Mood, derived: Derived, place: Place, options: Options) -> None: ...

    found = properties_of(function)
    assert found["mood"]["description"] == "A mood.\n- 1: Like the sun.\n- 2: Not good."
    assert found["derived"]["description"] == "Derived."
    described = {name: each["description"] for name, each in found["derived"]["properties"].items()}
    assert described == {
        "first": "From the base.",
        "second": "From the note.",
        "Third": "From the docstring.",
        "fourth": "From the field.",
    }
    assert found["place"]["properties"]["x"]["description"] == "Across."
    assert [each.get("description") for each in found["options"]["properties"].values()] == [
        "The size.",
        "The color.",
        "The depth.",
    ]


def test_a_class_without_source_has_only_its_docstring() -> None:
    space: dict[str, Any] = {"dataclass": dataclasses.dataclass}
    exec("@dataclass\nclass Made:\n    '''Made.'''\n    x: int\n    'Not found.'\n", space)
    assert (attribute_docs(space["Made"]), class_summary(space["Made"])) == ({}, "Made.")
    assert class_summary(Note) == ""


def test_undocumented_parameters_can_be_refused() -> None:
    def search(words: str, limit: Annotated[int, "The most."] = 1) -> None:
        """Search."""

    def found(words: str) -> None:
        """Search.

        Args:
            words: What for.
        """

    def silent() -> None: ...

    with pytest.raises(
        DefinitionError, match=r"tool 'search': parameter 'words' is not documented; describe it below Args:"
    ):
        tool(search, require_docs=True)
    with pytest.raises(DefinitionError, match="tool 'silent' has no description"):
        tool(require_docs=True)(silent)
    assert tool(found, require_docs=True).name == "found"
    assert tool(silent, require_docs=True, description="Nothing.").name == "silent"


def test_no_word_of_the_schema_depends_on_the_process() -> None:
    program = """
import enum, json
from dataclasses import dataclass, field
from typing import Literal
from agentkit import tool
class E(enum.Enum):
    A = "a"
    B = "b"
@dataclass
class D:
    e: set[E] = field(default_factory=set)
    l: frozenset[str] = frozenset("abc")
@tool
def f(d: D, e: E = E.B, s: set[str] = {"x", "y", "z"}, l: Literal["q", "r"] = "q", o: D | None = None): ...
print(json.dumps(f.definition.to_wire()), json.dumps(f.parameters))
"""
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "77")
    }
    assert len(outputs) == 1


# Schemas that somebody else wrote.


def remote(context: ToolContext[Any], arguments: dict[str, Any]) -> Any:
    return arguments


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
        ({"properties": {"a": {"type": "str"}}}, "parameter 'a' has the type 'str'; there are object, array"),
        ({"properties": {"a": {"type": ["null", 3]}}}, "parameter 'a' has the type 3"),
        ({"required": "a"}, "its schema has required='a'; it is the list of the names"),
        ({"properties": {"a": {"required": True}}}, "parameter 'a' has required=True"),
        ({"properties": {"a": {"enum": "x"}}}, "parameter 'a' has enum='x'; it is a list of values"),
        ({"properties": {"a": {"$ref": 1}}}, r"parameter 'a' has \$ref=1; it is a text"),
        ({"properties": {"a": {"items": {"properties": {"b": 1}}}}}, "parameter 'a.b' is 1 where"),
        ({"properties": {"a": {"anyOf": {"type": "nothing"}}}}, "parameter 'a' has the type 'nothing'"),
        ({"$defs": {"a": []}}, r"parameter 'a' is \[\] where"),
    ],
)
def test_what_no_server_would_take_is_said_with_its_place(schema: dict[str, Any], complaint: str) -> None:
    with pytest.raises(DefinitionError, match=f"tool 'far': .*{complaint}") as caught:
        Tool.from_schema("far", "", schema, remote)
    assert "\n" not in str(caught.value)


def test_secrets_that_a_partial_gives_stay_hidden_in_every_kind_of_signature() -> None:
    def fetch(url: str, /, key: str, *, more: int = 1, **rest: Any) -> Any:
        return url, key, more, rest

    bound = functools.partial(fetch, "u", key="secret")
    assert list(properties_of(bound)) == ["more"]
    for name in ("url", "key"):
        with pytest.raises(ToolError, match=f"{name}: there is no such parameter"):
            call(bound, {name: "mine"})
