"""Everything that can be called."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Generator
from dataclasses import dataclass
from typing import (
    Any,
    ParamSpec,
    TypeVar,
    overload,
)

from agentkit.tools.tool import tool
from tests.signatures.row import ANYTHING, FREE, Row, members, or_null

P = ParamSpec("P")
R = TypeVar("R")

_N = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}


def plain(n: int) -> int:
    return n


async def asynchronous(n: int) -> int:
    return n


def generator(n: int) -> Generator[str, None, int]:
    yield "working"
    return n


async def async_generator(n: int) -> AsyncIterator[int]:
    yield n


class Service:
    """A service."""

    def method(self, n: int) -> int:
        return n

    async def async_method(self, n: int) -> int:
        return n

    def generator_method(self, n: int) -> Generator[str, None, int]:
        yield "working"
        return n

    @classmethod
    def of_class(cls, n: int) -> int:
        return n

    @staticmethod
    def static(n: int) -> int:
        return n

    @tool
    def marked(self, n: int) -> int:
        return n

    @classmethod
    @tool
    def marked_of_class(cls, n: int) -> int:
        return n

    @functools.lru_cache  # noqa: B019 - the object lives as long as the program
    def cached(self, n: int) -> int:
        return n

    @tool
    @functools.lru_cache  # noqa: B019 - as above
    def marked_and_cached(self, n: int) -> int:
        return n

    def __call__(self, n: int) -> int:
        return n


class Waiting:
    async def __call__(self, n: int) -> int:
        return n


@dataclass
class Point:
    x: int
    y: int = 0


def wrapped(function: Callable[P, R]) -> Callable[P, R]:
    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        return function(*args, **kwargs)

    return wrapper


@wrapped
def decorated(n: int) -> int:
    return n


@wrapped
@wrapped
async def decorated_async(n: int) -> int:
    return n


@wrapped
def decorated_generator(n: int) -> Generator[str, None, int]:
    yield "working"
    return n


@functools.lru_cache
def cached(n: int) -> int:
    return n


@functools.singledispatch
def dispatching(n: int) -> int:
    return n


@overload
def overloaded(value: int) -> int: ...
@overload
def overloaded(value: str) -> str: ...
def overloaded(value: int | str) -> int | str:
    return value


def with_secret(n: int, key: str, retries: int = 2, **options: str) -> tuple[int, str, int, dict[str, str]]:
    return n, key, retries, options


def with_first(n: int, m: int, /) -> tuple[int, int]:
    return n, m


def _named(function: Callable[P, R], name: str) -> Callable[P, R]:
    function.__name__ = name
    return function


CALLABLES = [
    Row(name, function, _N, _N, '{"n": 3}', 3, int)
    for name, function in [
        ("function", plain),
        ("async function", asynchronous),
        ("generator that returns", generator),
        ("async generator", async_generator),
        ("method", Service().method),
        ("async method", Service().async_method),
        ("generator method", Service().generator_method),
        ("class method", Service.of_class),
        ("class method of an object", Service().of_class),
        ("static method", Service.static),
        ("static method, not taken from its class", Service.__dict__["static"]),
        ("method that is a tool", Service().marked),
        ("cached method that is a tool", Service().marked_and_cached),
        ("class method that is a tool", Service.marked_of_class),
        ("cached method", Service().cached),
        ("callable object", Service()),
        ("async callable object", Waiting()),
        ("function in a tool", tool(plain)),
        ("decorated function", decorated),
        ("decorated async function", decorated_async),
        ("decorated generator", decorated_generator),
        ("cached function", cached),
        ("singledispatch", dispatching),
        ("partial that gives nothing", functools.partial(plain)),
        ("partial of a method", functools.partial(Service().method)),
        ("partial of an async function", functools.partial(asynchronous)),
    ]
] + [
    Row(
        "overloads",
        overloaded,
        members({"value": {"anyOf": [{"type": "integer"}, {"type": "string"}]}}, "value"),
        members({"value": {"anyOf": [{"type": "integer"}, {"type": "string"}]}}, "value"),
        '{"value": "3"}',
        "3",
        int | str,
    ),
    Row(
        "lambda with a name",
        tool(_named(lambda thing, times=2: (thing, times), "repeat")),
        members({"thing": {}, "times": {"type": "integer", "default": 2}}, "thing"),
        f"parameter 'thing' {ANYTHING}",
        '{"thing": {"a": 1}, "times": "3"}',
        ({"a": 1}, 3),
        tuple[Any, int],
    ),
    Row(
        "partial that gives a secret",
        functools.partial(with_secret, key="secret"),
        {
            "type": "object",
            "properties": {"n": {"type": "integer"}, "retries": {"type": "integer", "default": 2}},
            "required": ["n"],
            "additionalProperties": {"type": "string"},
        },
        FREE,
        '{"n": 1, "color": "red"}',
        (1, "secret", 2, {"color": "red"}),
        tuple[int, str, int, dict[str, str]],
    ),
    Row(
        "partial that gives the first",
        functools.partial(with_first, 1),
        members({"m": {"type": "integer"}}, "m"),
        members({"m": {"type": "integer"}}, "m"),
        '{"m": 2}',
        (1, 2),
        tuple[int, int],
    ),
    Row(
        "class",
        Point,
        members({"x": {"type": "integer"}, "y": {"type": "integer", "default": 0}}, "x"),
        members({"x": {"type": "integer"}, "y": or_null({"type": "integer"}, "0")}, "x", "y"),
        '{"x": 2}',
        Point(2),
        Point,
    ),
]
