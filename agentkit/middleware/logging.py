"""`Logging`: a line for each run, turn and call."""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from typing import Any, TypeVar

import anyio

from agentkit.chat.reply import Reply
from agentkit.middleware.words import counted, printable, tokens_of
from agentkit.run.middleware import Middleware, ModelTurn, NextModel, NextRun, NextTool, Run, ToolRequest
from agentkit.run.state import RunState
from agentkit.tools.result import ToolResult

__all__ = ["Logging"]

T = TypeVar("T", RunState, Reply, ToolResult)


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

    async def around_run(self, run: Run[Any], inner: NextRun) -> RunState:  # noqa: D102
        return await self._timed(f"run {run.run_id}", inner())

    async def around_model(self, turn: ModelTurn, inner: NextModel) -> Reply:  # noqa: D102
        return await self._timed(f"run {turn.run.run_id} turn {turn.turn}", inner(turn))

    async def around_tool(self, call: ToolRequest, inner: NextTool) -> ToolResult:  # noqa: D102
        where = f"run {call.context.run_id} turn {call.context.turn}"
        return await self._timed(f"{where} call {call.call.name}{self._said(call.call.written)}", inner(call))

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
