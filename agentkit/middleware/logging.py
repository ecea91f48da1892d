"""`Logging`: a line for each run, turn and call."""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from typing import Any, TypeVar

import anyio

from agentkit.chat import Reply, Usage
from agentkit.run import Middleware, ModelTurn, NextModel, NextRun, NextTool, Run, RunState, ToolRequest
from agentkit.tools import ToolResult

__all__ = ["Logging"]

T = TypeVar("T", RunState, Reply, ToolResult)

_LONGEST = 2_000  # characters of content


class Logging(Middleware):
    """Logs a line when a run, a turn or a call ends, with how it ended, its tokens and its duration.

    Records also have fields: ``run_id``, ``agent``, ``turn``, ``tool``, ``call_id``, ``ending``, ``seconds``,
    ``prompt_tokens`` and ``completion_tokens``, as far as they apply.

    Args:
        logger: The logger's name.
        level: The level of all lines.
        contents: Whether the lines also hold contents (answers, arguments, results, messages of errors), each up to
            2,000 characters. These may hold secrets.
    """

    def __init__(self, logger: str = "agentkit", *, level: int = logging.INFO, contents: bool = False) -> None:
        self._log, self._level, self._contents = logging.getLogger(logger), level, contents

    async def around_run(self, run: Run[Any], inner: NextRun) -> RunState:  # noqa: D102
        return await self._timed(f"run {run.run_id}", inner(), {"run_id": run.run_id, "agent": run.agent})

    async def around_model(self, turn: ModelTurn, inner: NextModel) -> Reply:  # noqa: D102
        fields = {"run_id": turn.run.run_id, "agent": turn.run.agent, "turn": turn.turn}
        return await self._timed(f"run {turn.run.run_id} turn {turn.turn}", inner(turn), fields)

    async def around_tool(self, call: ToolRequest, inner: NextTool) -> ToolResult:  # noqa: D102
        where = f"run {call.context.run_id} turn {call.context.turn}"
        what = f"{where} call {call.call.name}{self._content(call.call.written)}"
        return await self._timed(what, inner(call), call.context.fields)

    async def _timed(self, what: str, work: Awaitable[T], fields: dict[str, Any]) -> T:
        started, end, usage = anyio.current_time(), "cancelled", dict[str, Any]()
        try:
            value = await work
            end = self._ending(value)
            if not isinstance(value, ToolResult) and value.usage.total_tokens:
                usage = {"prompt_tokens": value.usage.prompt_tokens, "completion_tokens": value.usage.completion_tokens}
        except Exception as error:
            end = f"failed, {type(error).__name__}{self._content(str(error))}"
            raise
        finally:
            seconds = anyio.current_time() - started
            line = f"{what}: {end}, {seconds:.3f} s"
            fields = {**fields, "ending": end.partition(" ")[0].rstrip(","), "seconds": seconds, **usage}
            self._log.log(self._level, "%s", "".join(map(_printable, line)), extra=fields)
        return value

    def _ending(self, value: RunState | Reply | ToolResult) -> str:
        if isinstance(value, ToolResult):
            return ("error" if value.is_error else "ok") + self._content(value.content)
        if isinstance(value, RunState):
            turns, calls = _counted(value.turns, "turn"), _counted(value.calls, "call")
            return f"{value.status}, {turns}, {calls}{_tokens(value.usage)}"
        calls = _counted(len(value.message.tool_calls), "call")
        return f"{value.finish_reason}, {calls}{_tokens(value.usage)}{self._content(value.text)}"

    def _content(self, text: str) -> str:
        return f" {text[:_LONGEST]!r}" if text and self._contents else ""


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _tokens(usage: Usage) -> str:
    """Return the tokens after a comma; empty if they were neither reported nor estimated."""
    if usage.requests and not usage.total_tokens:
        return ""
    about = "about " if usage.estimated_tokens else ""
    return f", {about}{usage.prompt_tokens}+{usage.completion_tokens} tokens"


def _printable(character: str) -> str:
    """Return the character, escaped if it could break a line or a terminal."""
    return character if character.isprintable() else character.encode("unicode_escape").decode()
