"""The three onions: whatever the loop does not know wraps a run, a model turn or a tool call.

A wrapped call returns a finished value; pieces on the way leave through ``emit``. There are no other hooks.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from agentkit.chat.events import Emit
from agentkit.chat.messages import ToolCall
from agentkit.chat.reply import Reply
from agentkit.chat.request import ChatRequest
from agentkit.run.state import RunState
from agentkit.tools.context import ToolContext
from agentkit.tools.results import ToolResult
from agentkit.tools.tool import Tool

__all__ = ["Middleware", "NextModel", "NextRun", "NextTool", "ToolRequest"]

T = TypeVar("T")


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


def around_run(middleware: Sequence[Middleware], emit: Emit, core: NextRun) -> NextRun:
    """The run with its onion around it."""
    for each in reversed(middleware):
        if type(each).around_run is not Middleware.around_run:
            core = _run_layer(each, emit, core)
    return core


def around_model(middleware: Sequence[Middleware], core: NextModel) -> NextModel:
    """The model with its onion around it."""
    for each in reversed(middleware):
        if type(each).around_model is not Middleware.around_model:
            core = _model_layer(each, core)
    return core


def around_tool(middleware: Sequence[Middleware], core: NextTool) -> NextTool:
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
        raise TypeError(
            f"{type(each).__name__}.{method} returned {type(value).__name__} and not a {kind.__name__}; "
            "did you forget `return await inner(...)`?"
        )
    return value
