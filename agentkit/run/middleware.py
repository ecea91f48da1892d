"""The three onions: whatever the loop does not know wraps a run, a model turn or a tool call.

A wrapped call returns a finished value; pieces on the way leave through ``emit``. There are no other hooks.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

from agentkit.chat.events import Emit
from agentkit.chat.messages import ToolCall
from agentkit.chat.reply import Model, Reply
from agentkit.chat.request import ChatRequest
from agentkit.errors import DefinitionError
from agentkit.run.state import RunState
from agentkit.tools.calls.execute import kind_of
from agentkit.tools.context import ToolContext
from agentkit.tools.result import ToolResult
from agentkit.tools.tool import Tool

__all__ = [
    "Middleware",
    "NextModel",
    "NextRun",
    "NextTool",
    "ToolRequest",
    "around_model",
    "around_run",
    "around_tool",
    "model_of",
    "wrap_model",
    "wrap_run",
    "wrap_tool",
]

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Awaitable[Any]])


@dataclass(frozen=True, slots=True)
class ToolRequest:
    """A tool call on its way in: ``dataclasses.replace`` makes a changed one to pass on."""

    tool: Tool
    call: ToolCall
    context: ToolContext[Any]


NextRun: TypeAlias = Callable[[RunState], Awaitable[RunState]]
NextModel: TypeAlias = Callable[[ChatRequest, Emit], Awaitable[Reply]]
NextTool: TypeAlias = Callable[[ToolRequest], Awaitable[ToolResult]]


class Middleware:
    """Base of what wraps; override what you need and call ``inner`` to go on.

    The first of several middlewares is the outermost.
    """

    async def around_run(self, state: RunState, emit: Emit, inner: NextRun) -> RunState:  # noqa: ARG002
        """Wraps a whole run."""
        return await inner(state)

    async def around_model(self, request: ChatRequest, emit: Emit, inner: NextModel) -> Reply:
        """Wraps one request to the model."""
        return await inner(request, emit)

    async def around_tool(self, request: ToolRequest, inner: NextTool) -> ToolResult:
        """Wraps one tool call. What the tool raises passes through here."""
        return await inner(request)

    async def aclose(self) -> None:
        """Close what it holds open in this event loop; `Agent.aclose` calls it. It can still be used."""


class _Function(Middleware, Generic[F]):
    """A middleware that is one function."""

    kind: str
    parameters: tuple[str, ...]

    def __init__(self, function: F) -> None:
        name = getattr(function, "__name__", None) or repr(function)
        if kind_of(function) != "async":
            raise DefinitionError(f"@{self.kind} takes a function that is async and returns once: {name} is not")
        expected = ", ".join(self.parameters)
        try:
            inspect.signature(function).bind(*self.parameters)
        except TypeError as error:
            raise DefinitionError(f"@{self.kind}: {name} must take ({expected}); {error}") from None
        self._function, self._name, self.__doc__ = function, name, inspect.getdoc(function)

    def __repr__(self) -> str:
        return f"{self.kind}({self._name})"


class _RunFunction(_Function[Callable[[RunState, Emit, NextRun], Awaitable[RunState]]]):
    kind, parameters = "around_run", ("state", "emit", "inner")

    async def around_run(self, state: RunState, emit: Emit, inner: NextRun) -> RunState:
        return await self._function(state, emit, inner)


class _ModelFunction(_Function[Callable[[ChatRequest, Emit, NextModel], Awaitable[Reply]]]):
    kind, parameters = "around_model", ("request", "emit", "inner")

    async def around_model(self, request: ChatRequest, emit: Emit, inner: NextModel) -> Reply:
        return await self._function(request, emit, inner)


class _ToolFunction(_Function[Callable[[ToolRequest, NextTool], Awaitable[ToolResult]]]):
    kind, parameters = "around_tool", ("request", "inner")

    async def around_tool(self, request: ToolRequest, inner: NextTool) -> ToolResult:
        return await self._function(request, inner)


def around_run(function: Callable[[RunState, Emit, NextRun], Awaitable[RunState]]) -> Middleware:
    """Make an async function a middleware that wraps a whole run.

    ::

        @around_run
        async def noted(state, emit, inner):
            print(state.run_id)
            return await inner(state)

    Raises:
        DefinitionError: The function is not async, or takes other parameters.
    """
    return _RunFunction(function)


def around_model(function: Callable[[ChatRequest, Emit, NextModel], Awaitable[Reply]]) -> Middleware:
    """Make an async function of ``(request, emit, inner)`` a middleware that wraps one request to the model.

    Raises:
        DefinitionError: The function is not async, or takes other parameters.
    """
    return _ModelFunction(function)


def around_tool(function: Callable[[ToolRequest, NextTool], Awaitable[ToolResult]]) -> Middleware:
    """Make an async function of ``(request, inner)`` a middleware that wraps one tool call.

    Raises:
        DefinitionError: The function is not async, or takes other parameters.
    """
    return _ToolFunction(function)


@dataclass(frozen=True, slots=True)
class _Ask:
    """The rest of the onion around a model, and which model that is."""

    model: Model
    ask: NextModel

    def __call__(self, request: ChatRequest, emit: Emit) -> Awaitable[Reply]:
        return self.ask(request, emit)


def model_of(inner: NextModel) -> Model | None:
    """The model that the ``inner`` of an ``around_model`` leads to; None when no agent made it."""
    return inner.model if isinstance(inner, _Ask) else None


def wrap_run(middleware: Sequence[Middleware], emit: Emit, core: NextRun) -> NextRun:
    """The run with its onion around it."""
    for each in reversed(middleware):
        if type(each).around_run is not Middleware.around_run:
            core = _run_layer(each, emit, core)
    return core


def wrap_model(middleware: Sequence[Middleware], model: Model) -> NextModel:
    """The model with its onion around it."""
    core = _Ask(model, model.reply)
    for each in reversed(middleware):
        if type(each).around_model is not Middleware.around_model:
            core = _Ask(model, _model_layer(each, core))
    return core


def wrap_tool(middleware: Sequence[Middleware], core: NextTool) -> NextTool:
    """The tool call with its onion around it."""
    for each in reversed(middleware):
        if type(each).around_tool is not Middleware.around_tool:
            core = _tool_layer(each, core)
    return core


def _run_layer(each: Middleware, emit: Emit, inner: NextRun) -> NextRun:
    return lambda state: _returned(each, "around_run", each.around_run(state, emit, inner), RunState)


def _model_layer(each: Middleware, inner: NextModel) -> NextModel:
    return lambda request, emit: _returned(each, "around_model", each.around_model(request, emit, inner), Reply)


def _tool_layer(each: Middleware, inner: NextTool) -> NextTool:
    return lambda request: _returned(each, "around_tool", each.around_tool(request, inner), ToolResult)


async def _returned(each: Middleware, method: str, awaited: Awaitable[object], kind: type[T]) -> T:
    value = await awaited
    if not isinstance(value, kind):
        is_function = isinstance(each, _RunFunction | _ModelFunction | _ToolFunction)
        who = repr(each) if is_function else f"{type(each).__name__}.{method}"
        raise TypeError(
            f"{who} returned {type(value).__name__} and not a {kind.__name__}; "
            "did you forget `return await inner(...)`?"
        )
    return value
