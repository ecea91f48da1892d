"""The three onions: whatever the loop does not know wraps a run, a model turn or a tool call.

A wrapped call returns a finished value; pieces on the way leave through ``emit``. There are no other hooks.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from agentkit.chat.events import Emit
from agentkit.chat.messages import ToolCall
from agentkit.chat.reply import Reply
from agentkit.chat.request import ChatRequest
from agentkit.run.state import RunState
from agentkit.tools.context import ToolContext
from agentkit.tools.tool import Tool, ToolResult

__all__ = ["Middleware", "NextModel", "NextRun", "NextTool", "ToolRequest"]


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
        core = _run_layer(each, emit, core)
    return core


def around_model(middleware: Sequence[Middleware], core: NextModel) -> NextModel:
    """The model with its onion around it."""
    for each in reversed(middleware):
        core = _model_layer(each, core)
    return core


def around_tool(middleware: Sequence[Middleware], core: NextTool) -> NextTool:
    """The tool call with its onion around it."""
    for each in reversed(middleware):
        core = _tool_layer(each, core)
    return core


def _run_layer(each: Middleware, emit: Emit, inner: NextRun) -> NextRun:
    return lambda state: each.around_run(state, emit, inner)


def _model_layer(each: Middleware, inner: NextModel) -> NextModel:
    return lambda request, emit: each.around_model(request, emit, inner)


def _tool_layer(each: Middleware, inner: NextTool) -> NextTool:
    return lambda request: each.around_tool(request, inner)
