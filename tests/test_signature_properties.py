"""For whatever signature: what its schema allows the function takes, and what the function takes its schema allows."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import inspect
import uuid
from collections.abc import Callable
from types import GenericAlias
from typing import Annotated, Any, Literal, NamedTuple, Optional, TypedDict

import jsonschema
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field
from pydantic_core import to_jsonable_python

from agentkit.chat.json_schema import strict_form
from agentkit.errors import DefinitionError, ToolError
from agentkit.tools.arguments import Signature, validate_arguments
from agentkit.tools.schemas import stable
from agentkit.tools.signature import read_signature


class Color(enum.Enum):
    RED = "a"
    BLUE = "b"


@dataclasses.dataclass
class Point:
    a: int
    b: str | None = "b"
    c: int = 3


class Model(BaseModel):
    a: Literal["a"]
    b: float = 0.5
    c: list[int] = []


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"


class Keys(TypedDict, total=False):
    a: bool
    b: Color


class Pair(NamedTuple):
    a: int
    b: str = "b"


texts = st.sampled_from(["a", "b", "2026-01-02", ""])
LEAVES: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (bool, st.booleans()),
    (int, st.integers(-9, 9)),
    (float, st.floats(-9, 9)),
    (str, texts),
    (None, st.none()),
    (Literal["a", 1, None], st.sampled_from(["a", 1, None])),
    (Literal["a"], st.just("a")),
    (Color, st.sampled_from(Color)),
    (dt.date, st.dates()),
    (dt.time, st.times()),
    (dt.timedelta, st.timedeltas(dt.timedelta(-9), dt.timedelta(9))),
    (decimal.Decimal, st.decimals(-9, 9, places=3)),
    (uuid.UUID, st.uuids()),
    (bytes, st.binary(max_size=3)),
    (frozenset[int], st.frozensets(st.integers(0, 3))),
    (Annotated[Cat | Dog, Field(discriminator="kind")], st.builds(Cat, lives=st.integers(0, 9)) | st.just(Dog())),
    (Annotated[int, Field(ge=0, le=3)], st.integers(0, 3)),
    (Point, st.builds(Point, st.integers(0, 3), st.none() | texts, st.integers(0, 3))),
    (Model, st.builds(Model, a=st.just("a"), b=st.floats(0, 1), c=st.lists(st.integers(0, 3), max_size=2))),
    (Keys, st.fixed_dictionaries({}, optional={"a": st.booleans(), "b": st.sampled_from(Color)})),
    (Pair, st.builds(Pair, st.integers(0, 3), texts)),
]
Typed = tuple[Any, st.SearchStrategy[Any]]


def wrapped(inner: st.SearchStrategy[Typed]) -> st.SearchStrategy[Typed]:
    def around(typed: Typed) -> st.SearchStrategy[Typed]:
        hint, values = typed
        return st.sampled_from(
            [
                (GenericAlias(list, (hint,)), st.lists(values, max_size=2)),
                (GenericAlias(dict, (str, hint)), st.dictionaries(texts, values, max_size=2)),
                (GenericAlias(tuple, (hint, hint)), st.tuples(values, values)),
                (GenericAlias(tuple, (int, hint)), st.tuples(st.integers(0, 3), values)),
                (Optional[hint], st.none() | values),  # noqa: UP045 - `None | None` is no type
            ]
        )

    return inner.flatmap(around)


typed_values = st.recursive(st.sampled_from(LEAVES), wrapped, max_leaves=3)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 4) | st.just(0.5) | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)
KINDS = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclasses.dataclass
class Made:
    """A function with what it may be given."""

    function: Callable[..., Any]
    values: dict[str, Any]
    signature: Signature = dataclasses.field(repr=False)


@st.composite
def functions(draw: st.DrawFn) -> Made:
    kinds = sorted(draw(st.lists(st.sampled_from(KINDS), max_size=3)))
    parameters: list[inspect.Parameter] = []
    values: dict[str, Any] = {}
    optional = False
    for name, kind in zip("xyz", kinds, strict=False):
        hint, strategy = draw(typed_values)
        optional = (optional and kind is not inspect.Parameter.KEYWORD_ONLY) or draw(st.booleans())
        default = draw(strategy) if optional else inspect.Parameter.empty
        parameters.append(inspect.Parameter(name, kind, default=default, annotation=hint))
        if not optional or draw(st.booleans()):
            values[name] = draw(strategy)

    def function(*args: Any, **kwargs: Any) -> dict[str, Any]:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return dict(bound.arguments)

    signature = inspect.Signature(parameters)
    function.__signature__ = signature  # type: ignore[attr-defined]
    return Made(function, values, read_signature(function))


def called(made: Made, arguments: dict[str, Any]) -> dict[str, Any]:
    args, kwargs = made.signature.bind(validate_arguments(made.signature, arguments))
    received: dict[str, Any] = made.function(*args, **kwargs)
    return received


def as_json(values: dict[str, Any]) -> dict[str, Any]:
    """As a model would write them: a named tuple as an object."""
    written: dict[str, Any] = to_jsonable_python(stable(values), bytes_mode="base64")
    return written


def as_strict(value: Any, schema: Any, root: dict[str, Any]) -> Any:
    """The value with null for what it leaves out."""
    while "$ref" in schema:
        schema = root["$defs"][schema["$ref"].removeprefix("#/$defs/")]
    if "anyOf" in schema:
        made = [as_strict(value, each, root) for each in schema["anyOf"]]
        fitting = [
            each
            for each, branch in zip(made, schema["anyOf"], strict=True)
            if allows({**branch, "$defs": root.get("$defs", {})}, each)
        ]
        return [*fitting, value][0]
    if isinstance(value, list) and "items" in schema:
        return [as_strict(each, schema["items"], root) for each in value]
    if isinstance(value, dict) and "properties" in schema:
        return {
            name: as_strict(value[name], each, root) if name in value else None
            for name, each in schema["properties"].items()
        }
    return value


def allows(schema: Any, value: Any) -> bool:
    return bool(jsonschema.Draft202012Validator(schema).is_valid(value))


@given(functions())
def test_values_written_as_json_fit_the_schema_and_come_back_as_they_were(made: Made) -> None:
    written = as_json(made.values)
    assert allows(made.signature.parameters, written)
    received = called(made, written)
    assert {name: received[name] for name in made.values} == made.values
    assert len(received) == len(made.signature.parameters["properties"])


@given(functions(), st.dictionaries(st.sampled_from("xyz"), json_values, max_size=3))
def test_what_the_schema_allows_the_function_takes(made: Made, arguments: dict[str, Any]) -> None:
    form = strict_form("f", made.signature.parameters, strict=None, of_function=True)
    if allows(made.signature.parameters, arguments) or (form is not None and allows(form, arguments)):
        called(made, arguments)
    else:
        try:
            called(made, arguments)
        except ToolError:
            return


@given(functions())
def test_a_strict_schema_takes_the_same_values_with_null_for_what_is_left_out(made: Made) -> None:
    form = strict_form("f", made.signature.parameters, strict=None, of_function=True)
    if form is None:
        return
    written = as_strict(as_json(made.values), form, form)
    assert allows(form, written)
    assert list(form["properties"]) == form["required"] == list(made.signature.parameters["properties"])
    plain = called(made, as_json(made.values))
    left_out = form["properties"].keys() - made.values.keys()
    nullable = {name for name in left_out if allows(made.signature.parameters, {**as_json(made.values), name: None})}
    if not nullable:
        assert called(made, written) == plain


NO_TYPES = [
    3,
    "",
    "int",
    "Nowhere",
    "1 +",
    "list[",
    ...,
    [],
    {},
    object(),
    lambda: 1,
    NotImplemented,
    1.5,
    b"",
    slice(1),
]
ODD_TYPES = [
    Exception,
    type,
    list[object],
    Callable,
    "Point",
    Literal["a"],
    dict[Any, Any],
    Optional["Point"],
    enum.Enum,
]
ODDER = [
    Annotated[int, Field(alias="q")],
    Annotated[str, ...],
    GenericAlias(list, (3,)),
    GenericAlias(tuple, (..., int)),
]
odd = st.sampled_from([*NO_TYPES, *ODD_TYPES, *ODDER, BaseModel, TypedDict, NamedTuple])


@given(
    st.lists(
        st.tuples(st.sampled_from(inspect._ParameterKind), odd, st.just(inspect.Parameter.empty) | odd), max_size=4
    ),
    st.text(max_size=20),
)
def test_nothing_but_a_definition_error_comes_of_an_odd_signature(parts: list[Any], docstring: str) -> None:
    def function(*args: Any, **kwargs: Any) -> None: ...

    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = [
        inspect.Parameter(
            f"p{place}", kind, annotation=hint, default=inspect.Parameter.empty if kind in variadic else default
        )
        for place, (kind, hint, default) in enumerate(sorted(parts, key=lambda part: part[0]))
    ]
    try:
        function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    except ValueError:
        return
    function.__doc__ = docstring
    try:
        signature = read_signature(function)
        jsonschema.Draft202012Validator.check_schema(signature.parameters)
        strict_form("f", signature.parameters, strict=True, of_function=True)
    except DefinitionError as error:
        complaint = str(error)
    else:
        complaint = "tool 'f"
    assert complaint.startswith("tool 'f")
