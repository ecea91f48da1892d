"""The three middleware chains: around a run, a model request and a tool call. There are no other hooks.

`ModelTurn` and `ToolRequest` carry their `Run`. A wrapped call returns a finished value; what happens meanwhile is
emitted as events.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar, cast

from agentkit.chat.reply import Reply
from agentkit.errors import DefinitionError
from agentkit.run.run import ModelTurn, NextModel, NextRun, NextTool, Run, ToolRequest, reply_of, result_of
from agentkit.run.state import RunState
from agentkit.tools.execute import kind_of
from agentkit.tools.result import ToolResult

T = TypeVar("T")


class Middleware:
    """Base class of middleware: override what you need and call ``inner`` for the rest.

    The first of several is the outermost.
    """

    async def around_run(self, run: Run[Any], inner: NextRun) -> RunState:  # noqa: ARG002
        """Wrap a whole run."""
        return await inner()

    async def around_model(self, turn: ModelTurn, inner: NextModel) -> Reply:
        """Wrap one request to the model."""
        return await inner(turn)

    async def around_tool(self, call: ToolRequest, inner: NextTool) -> ToolResult:
        """Wrap one tool call. Exceptions of the tool pass through here."""
        return await inner(call)

    async def aclose(self) -> None:
        """Close its connections in this event loop; `Agent.aclose` calls this. It can still be used afterward."""


class _FunctionMiddleware(Middleware):
    """A middleware that is one function."""

    def __init__(self, function: Callable[..., Awaitable[Any]], method: str, first: str) -> None:
        name = getattr(function, "__name__", None) or repr(function)
        if kind_of(function) != "async":
            raise DefinitionError(f"@{method} takes an async function that returns once, and {name} is not one")
        try:
            inspect.signature(function).bind(first, "inner")
        except TypeError as error:
            raise DefinitionError(f"@{method}: {name} must take ({first}, inner); {error}") from None
        self._function, self._repr, self.__doc__ = function, f"{method}({name})", inspect.getdoc(function)

    def __repr__(self) -> str:
        return self._repr


class _AroundRun(_FunctionMiddleware):
    async def around_run(self, run: Run[Any], inner: NextRun) -> RunState:
        return cast("RunState", await self._function(run, inner))


class _AroundModel(_FunctionMiddleware):
    async def around_model(self, turn: ModelTurn, inner: NextModel) -> Reply:
        return cast("Reply", await self._function(turn, inner))


class _AroundTool(_FunctionMiddleware):
    async def around_tool(self, call: ToolRequest, inner: NextTool) -> ToolResult:
        return cast("ToolResult", await self._function(call, inner))


def around_run(function: Callable[[Run[Any], NextRun], Awaitable[RunState]]) -> Middleware:
    """Make middleware from an async function that wraps a whole run.

    ::

        @around_run
        async def timed(run, inner):
            print(run.run_id)
            return await inner()

    Raises:
        DefinitionError: The function is not async, or takes other parameters.
    """
    return _AroundRun(function, "around_run", "run")


def around_model(function: Callable[[ModelTurn, NextModel], Awaitable[Reply]]) -> Middleware:
    """Make middleware from an async function of ``(turn, inner)`` that wraps one request to the model.

    Raises:
        DefinitionError: The function is not async, or takes other parameters.
    """
    return _AroundModel(function, "around_model", "turn")


def around_tool(function: Callable[[ToolRequest, NextTool], Awaitable[ToolResult]]) -> Middleware:
    """Make middleware from an async function of ``(call, inner)`` that wraps one tool call.

    Raises:
        DefinitionError: The function is not async, or takes other parameters.
    """
    return _AroundTool(function, "around_tool", "call")


def wrap_run(middleware: Sequence[Middleware], run: Run[Any], core: NextRun) -> NextRun:
    """Wrap a run in its middleware."""
    return _wrapped(middleware, "around_run", core, RunState, run)


def wrap_model(middleware: Sequence[Middleware]) -> NextModel:
    """Wrap the request to the model in the middleware."""
    return _wrapped(middleware, "around_model", reply_of, Reply)


def wrap_tool(middleware: Sequence[Middleware]) -> NextTool:
    """Wrap tool calls in the middleware."""
    return _wrapped(middleware, "around_tool", result_of, ToolResult)


def _wrapped(
    middleware: Sequence[Middleware], method: str, core: Callable[..., Awaitable[T]], kind: type[T], *given: object
) -> Callable[..., Awaitable[T]]:
    """Wrap ``core`` in each middleware that overrides the method; ``given`` are the arguments that come first."""
    for each in reversed(middleware):
        if getattr(type(each), method) is not getattr(Middleware, method):
            core = functools.partial(_layer, each, method, core, kind, *given)
    return core


async def _layer(each: Middleware, method: str, inner: Callable[..., Awaitable[T]], kind: type[T], *given: object) -> T:
    value: object = await getattr(each, method)(*given, inner)
    if not isinstance(value, kind):
        who = repr(each) if isinstance(each, _FunctionMiddleware) else f"{type(each).__name__}.{method}"
        raise TypeError(
            f"{who} returned {type(value).__name__} and not a {kind.__name__}; "
            "did you forget `return await inner(...)`?"
        )
    return value
