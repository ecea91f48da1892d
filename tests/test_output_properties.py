"""For types and values of all kinds: what a model writes in whatever way is the output."""

from __future__ import annotations

import dataclasses
import enum
from types import GenericAlias
from typing import Annotated, Any, Literal, Union

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, TypeAdapter, create_model
from pydantic_core import to_jsonable_python

from agentkit import Agent
from agentkit.run import TypedOutput, Way
from tests.outputs import WAYS, answering

Case = tuple[Any, Any]  # a type and a value of it
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
NAMES = st.sampled_from(["a", "b2", "name", "value", "Item", "x_y", "arguments"])


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclasses.dataclass
class Point:
    x: int
    y: float = 0.5


SCALARS: st.SearchStrategy[Case] = st.one_of(
    st.tuples(st.just(int), st.integers(-(2**53), 2**53)),
    st.tuples(st.just(float), st.floats(allow_nan=False, allow_infinity=False)),
    st.tuples(st.just(bool), st.booleans()),
    st.tuples(st.just(str), TEXTS),
    st.tuples(st.just(Literal["a", "b", 3]), st.sampled_from(["a", "b", 3])),
    st.tuples(st.just(Color), st.sampled_from(Color)),
    st.builds(lambda x, y: (Point, Point(x, y)), st.integers(-9, 9), st.floats(-9, 9)),
)


@st.composite
def composed(draw: st.DrawFn, inner: st.SearchStrategy[Case]) -> Case:
    match draw(st.sampled_from(["list", "dict", "model", "optional", "union"])):
        case "list":
            kind, value = draw(inner)
            return GenericAlias(list, (kind,)), [value] * draw(st.integers(0, 3))
        case "dict":
            kind, value = draw(inner)
            return GenericAlias(dict, (str, kind)), dict.fromkeys(draw(st.lists(NAMES, unique=True, max_size=3)), value)
        case "optional":
            kind, value = draw(inner)
            return Union[kind, None], draw(st.sampled_from([value, None]))  # noqa: UP007 - of a type that is a value
        case "model":
            names = draw(st.lists(NAMES, unique=True, min_size=1, max_size=3).filter(lambda made: made != ["value"]))
            members = {name: draw(inner) for name in names}
            model = _model("Made", {name: kind for name, (kind, _) in members.items()})
            return model, model(**{name: value for name, (_, value) in members.items()})
        case _:
            one, other = draw(inner), draw(inner)
            first = _model("First", {"kind": Literal["first"], "item": one[0]})
            second = _model("Second", {"kind": Literal["second"], "item": other[0]})
            made: Any = draw(st.sampled_from([first(kind="first", item=one[1]), second(kind="second", item=other[1])]))
            return Annotated[first | second, Field(discriminator="kind")], made


def _model(name: str, members: dict[str, Any]) -> Any:
    fields: Any = {key: (kind, ...) for key, kind in members.items()}
    return create_model(name, __base__=BaseModel, **fields)


CASES = st.recursive(SCALARS, composed, max_leaves=6)


@pytest.mark.parametrize("way", WAYS)
@given(case=CASES)
def test_the_output_is_the_value(way: Way, case: Case) -> None:
    kind, value = case
    if kind is str:
        return  # plain text
    adapter: TypeAdapter[Any] = TypeAdapter(kind)
    written = to_jsonable_python(adapter.dump_python(value, mode="json"))
    if adapter.validate_python(written) != value:
        return  # pydantic itself does not read what it wrote: an int for a float in a union, perhaps

    async def run() -> Any:
        return (await Agent(answering(written), output_type=TypedOutput(kind, way=way)).run("go")).output

    assert anyio.run(run) == value
