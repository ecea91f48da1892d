"""A model that answers with a value in whatever way it is asked for, and types of outputs with values of each."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import json
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypeVar

from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from agentkit import ModelRetry, ToolCall
from agentkit.chat import ChatRequest
from agentkit.run import Way
from agentkit.testing import FunctionModel

T = TypeVar("T")
WAYS: tuple[Way, ...] = ("native", "tool", "json", "prompted")


class Line(BaseModel):
    what: str
    price: float


class Invoice(BaseModel):
    """An invoice."""

    number: str
    due: dt.date
    lines: list[Line] = []
    note: str | None = None


class Refusal(BaseModel):
    reason: str


class Box(BaseModel, Generic[T]):
    item: T


class Node(BaseModel):
    name: str
    children: list[Node] = []


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]
    age: int


Pet = Annotated[Cat | Dog, Field(discriminator="kind")]


class Owner(BaseModel):
    pets: list[Pet]
    home: Box[Invoice] | Box[Refusal]


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclasses.dataclass
class Point:
    x: int
    y: float = 0.5


class Pair(NamedTuple):
    left: int
    right: str


class Movie(TypedDict):
    title: str
    year: int


def total(prices: list[float], currency: str = "EUR") -> str:
    """Add up prices."""
    if not prices:
        raise ModelRetry("there must be a price")
    return f"{sum(prices):g} {currency}"


async def doubled(number: int) -> int:
    """Double a number."""
    return number * 2


INVOICE = Invoice(number="7", due=dt.date(2026, 5, 1), lines=[Line(what="tea", price=2.5)])
INVOICE_JSON = {"number": "7", "due": "2026-05-01", "lines": [{"what": "tea", "price": 2.5}], "note": None}

KINDS: dict[str, tuple[Any, Any, Any]] = {  # the type, what a model writes, and the value
    "int": (int, 3, 3),
    "float": (float, 2.5, 2.5),
    "bool": (bool, True, True),
    "Literal": (Literal["spam", "ham"], "ham", "ham"),
    "Enum": (Color, "red", Color.RED),
    "date": (dt.date, "2026-05-01", dt.date(2026, 5, 1)),
    "Decimal": (Decimal, 1.5, Decimal("1.5")),
    "model": (Invoice, INVOICE_JSON, INVOICE),
    "recursive": (Node, {"name": "a", "children": [{"name": "b"}]}, Node(name="a", children=[Node(name="b")])),
    "generic": (Box[int], {"item": 3}, Box[int](item=3)),
    "dataclass": (Point, {"x": 1, "y": 2.5}, Point(1, 2.5)),
    "TypedDict": (Movie, {"title": "Alien", "year": 1979}, {"title": "Alien", "year": 1979}),
    "NamedTuple": (Pair, {"left": 1, "right": "a"}, Pair(1, "a")),
    "list": (list[Line], [{"what": "tea", "price": 2.5}], [Line(what="tea", price=2.5)]),
    "dict": (dict[str, int], {"a": 1}, {"a": 1}),
    "set": (set[str], ["a", "b"], {"a", "b"}),
    "tuple": (tuple[int, str], [1, "a"], (1, "a")),
    "optional": (Line | None, None, None),
    "union": (Invoice | Refusal, {"reason": "blurred"}, Refusal(reason="blurred")),
    "discriminated": (Pet, {"kind": "dog", "age": 3}, Dog(kind="dog", age=3)),
    "of scalars": (int | str, "x", "x"),
    "list of types": ([Invoice, Refusal], {"reason": "blurred"}, Refusal(reason="blurred")),
    "function": (total, {"prices": [1.5, 2]}, "3.5 EUR"),
    "async function": (doubled, {"number": 21}, 42),
    "list with functions": ([total, doubled, Refusal], {"number": 4}, 8),
    "nested": (
        Owner,
        {"pets": [{"kind": "cat", "lives": 9}], "home": {"item": {"reason": "none"}}},
        Owner(pets=[Cat(kind="cat", lives=9)], home=Box[Refusal](item=Refusal(reason="none"))),
    ),
}


def schema_of(request: ChatRequest) -> dict[str, Any]:
    """The schema of the output as the model reads it."""
    for tool in request.tools:
        if tool.name == "final_answer":
            return dict(tool.to_wire()["function"]["parameters"])
    form = request.settings.response_format or {}
    if form.get("type") == "json_schema":
        return dict(form["json_schema"]["schema"])
    found = re.search(r"JSON Schema:\n(\{.*\})", request.messages[0].text)
    assert found, request.messages[0].text
    return dict(json.loads(found[1]))


def in_its_way(request: ChatRequest, value: Any) -> ToolCall | str:
    """The answer that holds a value, in the way that the request asks for."""
    if list(schema_of(request).get("properties", ())) == ["value"]:
        value = {"value": value}
    if any(tool.name == "final_answer" for tool in request.tools):
        return ToolCall("", "final_answer", json.dumps(value))
    if request.settings.response_format:
        return json.dumps(value)
    return f"Here you are:\n```json\n{json.dumps(value, indent=1)}\n```\n"


def answering(*values: Any) -> FunctionModel:
    """A model that gives these values, one a request, the last one again and again."""
    answers = list(values)
    return FunctionModel(lambda request: in_its_way(request, answers.pop(0) if len(answers) > 1 else answers[0]))


def refusing(refuses: Callable[[ChatRequest], Exception | None], value: Any) -> FunctionModel:
    """A model of a server that refuses some requests and answers the others with a value."""
    return FunctionModel(lambda request: refuses(request) or in_its_way(request, value))
