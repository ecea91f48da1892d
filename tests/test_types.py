"""Each type: its schema, its strict schema, and the value that reaches the function for what a model writes."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import ipaddress
import pathlib
import re
import typing
import uuid
from collections.abc import Callable, Iterable, Mapping, MutableSequence, Sequence
from collections.abc import Set as AbstractSet
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, Optional, Required, TypedDict, TypeVar, Union

import jsonschema
import pydantic
import pytest
from pydantic import AnyUrl, Base64Bytes, BaseModel, ConfigDict, Field, HttpUrl, RootModel, SecretStr
from pydantic.types import Json

from agentkit.errors import DefinitionError
from agentkit.tools.schema import read_signature
from agentkit.tools.strict import strict_form

T = TypeVar("T")
Age = NewType("Age", int)
NO = "not strict"  # the schema cannot be strict
SAME = "same"  # the strict schema of the parameter is the plain one


class Color(enum.Enum):
    """A color."""

    RED = "red"
    """Like fire."""
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Mixed(enum.Enum):
    ONE = 1
    TWO = "two"


class Word(enum.StrEnum):
    YES = "yes"


@dataclasses.dataclass
class Point:
    """A point."""

    x: int
    """From the left."""
    y: int = 0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    name: Annotated[str, "The name."]
    raw: bytes = b""


@pydantic.dataclasses.dataclass
class Checked:
    n: int = Field(ge=1)


class Movie(TypedDict, total=False):
    title: Required[str]
    year: int


class Pair(NamedTuple):
    left: int
    """The left one."""
    right: str = "r"


class Model(BaseModel):
    """A model.

    Attributes:
        a: The a.
    """

    a: int = Field(alias="A")
    b: list[str] = []


class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    day: dt.date


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    n: int


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog"]


class Tree(BaseModel):
    value: int
    branches: list[Tree] = []


class Crate(BaseModel, Generic[T]):
    content: T


class Numbers(RootModel[list[int]]):
    pass


INTEGER, STRING, NUMBER = {"type": "integer"}, {"type": "string"}, {"type": "number"}
NULL = {"type": "null"}
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
        "y": {"anyOf": [INTEGER, NULL], "description": "Null for the default, 0."},
    },
    "required": ["x", "y"],
    "additionalProperties": False,
}
COLOR = {"description": "A color.\n- red: Like fire.", "enum": ["red", "blue"], "type": "string"}


def text(format_: str) -> dict[str, Any]:
    return {"type": "string", "format": format_}


def array(items: Any, **more: Any) -> dict[str, Any]:
    return {"type": "array", "items": items, **more}


def either(*schemas: Any) -> dict[str, Any]:
    return {"anyOf": list(schemas)}


def mapping(values: Any) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": values}


# type, schema, strict schema, what the model writes, what the function gets
ROWS: list[tuple[Any, Any, Any, Any, Any]] = [
    # Plain values.
    (bool, {"type": "boolean"}, SAME, True, True),
    (int, INTEGER, SAME, 3, 3),
    (float, NUMBER, SAME, 3, 3.0),
    (str, STRING, SAME, "x", "x"),
    (None, NULL, SAME, None, None),
    (type(None), NULL, SAME, None, None),
    (Any, {}, NO, {"a": [1]}, {"a": [1]}),
    (object, {}, NO, [1], [1]),
    (Age, INTEGER, SAME, 3, 3),
    (decimal.Decimal, either(NUMBER, STRING), SAME, "1.10", decimal.Decimal("1.10")),
    (fractions.Fraction, either(NUMBER, text("fraction")), NO, "1/3", fractions.Fraction(1, 3)),
    (complex, STRING, SAME, "1+2j", 1 + 2j),
    (bytes, text("base64"), NO, "aGk=", b"hi"),
    (bytearray, None, None, None, None),
    (Base64Bytes, text("base64"), NO, "aGk=", b"hi"),
    (list[bytes], array(text("base64")), NO, ["_w=="], [b"\xff"]),
    (str | bytes, either(STRING, text("base64")), NO, "aGk=", "aGk="),
    (
        uuid.UUID,
        text("uuid"),
        SAME,
        "12345678-1234-5678-1234-567812345678",
        uuid.UUID(int=0x12345678123456781234567812345678),
    ),
    (pathlib.Path, text("path"), STRING, "/tmp", pathlib.Path("/tmp")),
    (AnyUrl, {**text("uri"), "minLength": 1}, NO, "http://a.b", AnyUrl("http://a.b")),
    (HttpUrl, {**text("uri"), "minLength": 1, "maxLength": 2083}, NO, "http://a.b", HttpUrl("http://a.b")),
    (ipaddress.IPv4Address, text("ipv4"), SAME, "1.2.3.4", ipaddress.IPv4Address("1.2.3.4")),
    (ipaddress.IPv6Address, text("ipv6"), SAME, "::1", ipaddress.IPv6Address("::1")),
    (re.Pattern[str], text("regex"), NO, "a+", re.compile("a+")),
    (SecretStr, {**text("password"), "writeOnly": True}, STRING, "x", SecretStr("x")),
    # Time.
    (dt.date, text("date"), SAME, "2026-01-02", dt.date(2026, 1, 2)),
    (dt.time, text("time"), SAME, "03:04:05", dt.time(3, 4, 5)),
    (dt.datetime, text("date-time"), SAME, "2026-01-02T03:04:05Z", dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)),
    (dt.timedelta, text("duration"), SAME, "PT1H", dt.timedelta(hours=1)),
    # Choices.
    (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}, SAME, "b", "b"),
    (Literal["a"], {"type": "string", "const": "a"}, SAME, "a", "a"),
    (Literal[1, 2], {"type": "integer", "enum": [1, 2]}, SAME, 2, 2),
    (Literal["a", None], {"enum": ["a", None]}, {"enum": ["a", None], "type": ["string", "null"]}, None, None),
    (Literal[True], {"type": "boolean", "const": True}, SAME, True, True),
    (Literal[Color.RED], {"type": "string", "const": "red"}, SAME, "red", Color.RED),
    (Color, COLOR, SAME, "blue", Color.BLUE),
    (Level, {"type": "integer", "enum": [1, 2]}, SAME, 2, Level.HIGH),
    (Mixed, {"enum": [1, "two"]}, {"enum": [1, "two"], "type": ["integer", "string"]}, "two", Mixed.TWO),
    (Word, {"type": "string", "enum": ["yes"]}, SAME, "yes", Word.YES),
    # Unions.
    (int | None, either(INTEGER, NULL), SAME, None, None),
    (Optional[int], either(INTEGER, NULL), SAME, 3, 3),  # noqa: UP045 - what many still write
    (Union[int, str], either(INTEGER, STRING), SAME, "x", "x"),  # noqa: UP007 - what many still write
    (int | str | None, either(INTEGER, STRING, NULL), SAME, None, None),
    (list[int] | int, either(array(INTEGER), INTEGER), SAME, 1, 1),
    (Color | int, either(COLOR, INTEGER), SAME, "red", Color.RED),
    (Any | None, either({}, NULL), NO, None, None),
    # Collections.
    (list, array({}), NO, [1, "a"], [1, "a"]),
    (list[int], array(INTEGER), SAME, [1], [1]),
    (typing.List[int], array(INTEGER), SAME, [1], [1]),  # noqa: UP006 - what many still write
    (list[list[str]], array(array(STRING)), SAME, [["a"]], [["a"]]),
    (list[int | None], array(either(INTEGER, NULL)), SAME, [None], [None]),
    (Sequence[str], array(STRING), SAME, ["a"], ["a"]),
    (MutableSequence[str], array(STRING), SAME, ["a"], ["a"]),
    (collections.deque[int], array(INTEGER), SAME, [1], collections.deque([1])),
    (tuple, array({}), NO, [1], (1,)),
    (tuple[int, ...], array(INTEGER), SAME, [1, 2], (1, 2)),
    (
        tuple[int, int],
        array(INTEGER, prefixItems=[INTEGER, INTEGER], minItems=2, maxItems=2),
        array(INTEGER, minItems=2, maxItems=2),
        [1, 2],
        (1, 2),
    ),
    (
        tuple[int, str],
        array(either(INTEGER, STRING), prefixItems=[INTEGER, STRING], minItems=2, maxItems=2),
        NO,
        [1, "a"],
        (1, "a"),
    ),
    (tuple[()], array({}, minItems=0, maxItems=0), NO, [], ()),
    (set[int], array(INTEGER, uniqueItems=True), array(INTEGER), [1, 1], {1}),
    (frozenset[str], array(STRING, uniqueItems=True), array(STRING), ["a"], frozenset("a")),
    (AbstractSet[int], array(INTEGER, uniqueItems=True), array(INTEGER), [1], frozenset({1})),
    (dict, mapping(True), NO, {"a": 1}, {"a": 1}),
    (dict[str, int], mapping(INTEGER), NO, {"a": 1}, {"a": 1}),
    (dict[int, str], mapping(STRING), NO, {"1": "a"}, {1: "a"}),
    (dict[str, Any], mapping(True), NO, {"a": None}, {"a": None}),
    (Mapping[str, float], mapping(NUMBER), NO, {"a": 1}, {"a": 1.0}),
    (collections.OrderedDict[str, int], mapping(INTEGER), NO, {"a": 1}, collections.OrderedDict(a=1)),
    (collections.Counter[str], mapping(INTEGER), NO, {"a": 1}, collections.Counter(a=1)),
    # Constraints and notes.
    (Annotated[int, Field(ge=1, le=5)], {**INTEGER, "minimum": 1, "maximum": 5}, SAME, 3, 3),
    (Annotated[float, Field(gt=0, lt=1)], {**NUMBER, "exclusiveMinimum": 0, "exclusiveMaximum": 1}, SAME, 0.5, 0.5),
    (Annotated[int, Field(multiple_of=5)], {**INTEGER, "multipleOf": 5}, SAME, 10, 10),
    (Annotated[str, Field(pattern="^a+$")], {**STRING, "pattern": "^a+$"}, SAME, "aa", "aa"),
    (Annotated[str, Field(min_length=1)], {**STRING, "minLength": 1}, NO, "a", "a"),
    (Annotated[list[int], Field(min_length=1, max_length=2)], array(INTEGER, minItems=1, maxItems=2), SAME, [1], [1]),
    (Annotated[str, "A name."], {**STRING, "description": "A name."}, SAME, "x", "x"),
    (Annotated[str, Field(description="A name.")], {**STRING, "description": "A name."}, SAME, "x", "x"),
    (Annotated[str, Field(examples=["Ada"])], {**STRING, "examples": ["Ada"]}, STRING, "x", "x"),
    (list[Annotated[int, Field(ge=0)]], array({**INTEGER, "minimum": 0}), SAME, [0], [0]),
    (
        Json[list[int]],
        {"type": "string", "contentMediaType": "application/json", "contentSchema": array(INTEGER)},
        NO,
        "[1]",
        [1],
    ),
    (pydantic.PositiveInt, {**INTEGER, "exclusiveMinimum": 0}, SAME, 1, 1),
    # Classes.
    (Point, POINT, STRICT_POINT, {"x": 1}, Point(1)),
    (Point, POINT, STRICT_POINT, {"x": 1, "y": None}, Point(1)),
    (list[Point], array(POINT), array(STRICT_POINT), [{"x": 1, "y": 2}], [Point(1, 2)]),
    (Point | None, either(POINT, NULL), either(STRICT_POINT, NULL), None, None),
    (dict[str, Point], mapping(POINT), NO, {"a": {"x": 1}}, {"a": Point(1)}),
    (
        Frozen,
        {
            "type": "object",
            "properties": {
                "name": {"description": "The name.", "type": "string"},
                "raw": {"default": "", "format": "base64", "type": "string"},
            },
            "required": ["name"],
        },
        NO,
        {"name": "n", "raw": "aGk="},
        Frozen(name="n", raw=b"hi"),
    ),
    (
        Checked,
        {"type": "object", "properties": {"n": {**INTEGER, "minimum": 1}}, "required": ["n"]},
        {
            "type": "object",
            "properties": {"n": {**INTEGER, "minimum": 1}},
            "required": ["n"],
            "additionalProperties": False,
        },
        {"n": 1},
        Checked(1),
    ),
    (
        Movie,
        {"type": "object", "properties": {"title": STRING, "year": INTEGER}, "required": ["title"]},
        {
            "type": "object",
            "properties": {
                "title": STRING,
                "year": {"anyOf": [INTEGER, NULL], "description": "Null to leave it out."},
            },
            "required": ["title", "year"],
            "additionalProperties": False,
        },
        {"title": "Alien", "year": None},
        {"title": "Alien"},
    ),
    (
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
                "right": {"anyOf": [STRING, NULL], "description": 'Null for the default, "r".'},
            },
            "required": ["left", "right"],
            "additionalProperties": False,
        },
        {"left": 1},
        Pair(1),
    ),
    (Pair, ..., ..., [1, "x"], Pair(1, "x")),
    (
        Model,
        {
            "description": "A model.",
            "type": "object",
            "properties": {
                "A": {"description": "The a.", "type": "integer"},
                "b": {"default": [], **array(STRING)},
            },
            "required": ["A"],
        },
        {
            "description": "A model.",
            "type": "object",
            "properties": {
                "A": {"description": "The a.", "type": "integer"},
                "b": {"anyOf": [array(STRING), NULL], "description": "Null for the default, []."},
            },
            "required": ["A", "b"],
            "additionalProperties": False,
        },
        {"A": 1, "b": None},
        Model(A=1),
    ),
    (
        Closed,
        {"type": "object", "properties": {"day": text("date")}, "required": ["day"], "additionalProperties": False},
        SAME,
        {"day": "2026-01-02"},
        Closed(day=dt.date(2026, 1, 2)),
    ),
    (Open, ..., NO, {"n": 1, "m": 2}, Open.model_validate({"n": 1, "m": 2})),
    (Numbers, array(INTEGER), SAME, [1], Numbers([1])),
    (
        Crate[int],
        {"type": "object", "properties": {"content": INTEGER}, "required": ["content"]},
        ...,
        {"content": 1},
        Crate[int](content=1),
    ),
    (Crate[Crate[str]], ..., ..., {"content": {"content": "x"}}, Crate[Crate[str]](content=Crate[str](content="x"))),
    (Annotated[Cat | Dog, Field(discriminator="kind")], ..., ..., {"kind": "cat", "lives": None}, Cat(kind="cat")),
    (Cat | Dog, ..., ..., {"kind": "cat", "lives": None}, Cat(kind="cat")),
    (Cat | Point, ..., NO, {"x": 1}, Point(1)),
    (list[Cat | Dog], ..., ..., [{"kind": "dog"}], [Dog(kind="dog")]),
    (Tree, ..., ..., {"value": 1, "branches": [{"value": 2}]}, Tree(value=1, branches=[Tree(value=2)])),
    (Tree | None, ..., ..., None, None),
    (Iterable[int], array(INTEGER), SAME, ..., ...),
    # What cannot come from JSON.
    (Callable[[int], int], None, None, None, None),
    (type, None, None, None, None),
    (type[int], None, None, None, None),
    (typing.Iterator[int], None, None, None, None),
    (typing.IO[str], None, None, None, None),
    (typing.Self, None, None, None, None),
    (typing.Never, None, None, None, None),
    (typing.ClassVar[int], None, None, None, None),
    (re.Match[str], None, None, None, None),
    (collections.abc.AsyncIterator[int], None, None, None, None),
    (Exception, None, None, None, None),
    (Literal[Color.RED, "x"], {"type": "string", "enum": ["red", "x"]}, SAME, "x", "x"),
    (list[Color], array(COLOR), SAME, ["red"], [Color.RED]),
    (dict[Color, int], ..., NO, {"red": 1}, {Color.RED: 1}),
    (tuple[Point, Point], ..., ..., [{"x": 1}, {"x": 2, "y": None}], (Point(1), Point(2))),
    (Frozen | None, ..., NO, {"name": "n", "raw": None}, Frozen(name="n")),
    (3, None, None, None, None),
    (list[Exception], None, None, None, None),
]


def takes(hint: Any) -> Callable[..., Any]:
    def function(x: Any) -> Any:
        return x

    function.__annotations__["x"] = hint
    return function


@pytest.mark.parametrize(("hint", "schema", "strict", "written", "received"), ROWS, ids=lambda each: str(each)[:40])
def test_a_type_has_a_schema_and_a_strict_one_and_the_function_gets_its_value(
    hint: Any, schema: Any, strict: Any, written: Any, received: Any
) -> None:
    if schema is None:
        with pytest.raises(DefinitionError, match="parameter 'x'"):
            read_signature(takes(hint))
        return
    signature = read_signature(takes(hint))
    plain = signature.parameters["properties"]["x"]
    assert schema in (..., plain)
    jsonschema.Draft202012Validator.check_schema(signature.parameters)
    form = strict_form("f", signature.parameters, strict=None, of_function=True)
    if strict == NO:
        assert form is None
    else:
        assert form is not None
        assert strict in (..., form["properties"]["x"]) or (strict == SAME and form["properties"]["x"] == plain)
        jsonschema.Draft202012Validator.check_schema(form)
    if received is not ...:
        assert signature.validate({"x": written}) == {"x": received}
        assert type(signature.validate({"x": written})["x"]) is type(received)
    assert read_signature(takes(hint)).parameters == signature.parameters


def test_the_table_is_long() -> None:
    assert len(ROWS) >= 120
