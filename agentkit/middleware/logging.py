"""`Logging`: a line for each run, turn and call."""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from contextvars import ContextVar
from typing import TypeVar

import anyio

from agentkit.chat.events import Emit
from agentkit.chat.reply import Reply
from agentkit.chat.request import ChatRequest
from agentkit.middleware.words import counted, printable, tokens_of
from agentkit.run.middleware import Middleware, NextModel, NextRun, NextTool, ToolRequest
from agentkit.run.state import RunState
from agentkit.tools.result import ToolResult

__all__ = ["Logging"]

T = TypeVar("T", RunState, Reply, ToolResult)
_RUN: ContextVar[RunState] = ContextVar("agentkit_logged_run")


class Logging(Middleware):
    """Logs a line when a run, a turn or a call ends: what it was, how it ended, tokens and seconds.

    Args:
        logger: The logger's name.
        level: The level of all lines.
        contents: Whether the lines also hold what was said (answers, arguments, results, the words of errors), each up
            to 2,000 characters. That may hold secrets.
    """

    def __init__(self, logger: str = "agentkit", *, level: int = logging.INFO, contents: bool = False) -> None:
        self._log, self._level, self._contents = logging.getLogger(logger), level, contents

    async def around_run(self, state: RunState, emit: Emit, inner: NextRun) -> RunState:  # noqa: ARG002, D102
        token = _RUN.set(state)
        try:
            return await self._timed(f"run {state.run_id}", inner(state))
        finally:
            _RUN.reset(token)

    async def around_model(self, request: ChatRequest, emit: Emit, inner: NextModel) -> Reply:  # noqa: D102
        state = _RUN.get()
        return await self._timed(f"run {state.run_id} turn {state.turns + 1}", inner(request, emit))

    async def around_tool(self, request: ToolRequest, inner: NextTool) -> ToolResult:  # noqa: D102
        where = f"run {request.context.run_id} turn {request.context.turn}"
        return await self._timed(f"{where} call {request.call.name}{self._said(request.call.written)}", inner(request))

    async def _timed(self, what: str, work: Awaitable[T]) -> T:
        started, end = anyio.current_time(), "cancelled"
        try:
            value = await work
            end = self._told(value)
        except Exception as error:
            end = f"failed, {type(error).__name__}{self._said(str(error))}"
            raise
        finally:
            line = f"{what}: {end}, {anyio.current_time() - started:.3f} s"
            self._log.log(self._level, "%s", "".join(map(printable, line)))
        return value

    def _told(self, value: RunState | Reply | ToolResult) -> str:
        if isinstance(value, ToolResult):
            return ("error" if value.is_error else "ok") + self._said(value.content)
        if isinstance(value, RunState):
            turns, calls = counted(value.turns, "turn"), counted(value.calls, "call")
            return f"{value.status}, {turns}, {calls}{tokens_of(value.usage)}"
        calls = counted(len(value.message.tool_calls), "call")
        return f"{value.finish_reason}, {calls}{tokens_of(value.usage)}{self._said(value.text)}"

    def _said(self, text: str) -> str:
        return f" {text[:2000]!r}" if text and self._contents else ""
