"""Which tools the model is offered in a turn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentkit.chat.events import nobody
from agentkit.errors import ToolFailed
from agentkit.run.artifacts import offered_tools
from agentkit.run.spec import RunSpec
from agentkit.run.spending import narrowed
from agentkit.run.state import RunState
from agentkit.run.transcript import last_reply_at, open_calls
from agentkit.run.view import View
from agentkit.tools.context import ToolContext
from agentkit.tools.tool import Tool

__all__ = ["offer"]


def offer(spec: RunSpec, state: RunState) -> Mapping[str, Tool]:
    """The tools of the turn: those without a condition, and those whose condition is true.

    It is asked once a turn; a run that goes on with open calls asks again, and conditions then see what they saw when
    the model was asked.

    Raises:
        ToolFailed: A condition raised.
    """
    tools = offered_tools(spec.tools, state.artifacts)
    if all(each.condition is None for each in tools.values()):
        return tools
    asked, turn = tuple(state.messages), state.turns + 1
    if open_calls(asked):
        asked, turn = asked[: last_reply_at(asked)], state.turns
    context: ToolContext[Any] = ToolContext(
        deps=spec.deps,
        run_id=state.run_id,
        turn=turn,
        call_id="",
        tool="",
        idempotency_key="",
        emit=nobody,
        view=View(narrowed(spec.limits), state, asked),
    )
    return {name: each for name, each in tools.items() if _is_offered(each, context, state)}


def _is_offered(tool: Tool, context: ToolContext[Any], state: RunState) -> bool:
    if tool.condition is None:
        return True
    try:
        return tool.condition(context)
    except Exception as error:
        failed = f"the condition of tool {tool.name} raised {type(error).__name__}: {error}"
        raise ToolFailed(failed, state=state) from error
