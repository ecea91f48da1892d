"""A context for calling a tool directly."""

from __future__ import annotations

from typing import TypeVar

from agentkit.events import Emit, ignore_event
from agentkit.tools import ToolContext

__all__ = ["context"]

T = TypeVar("T")


def context(deps: T, *, emit: Emit = ignore_event) -> ToolContext[T]:
    """The context of a call in a run that does not exist: ``await my_tool(context(database), "x")``.

    Args:
        deps: What the tool finds as ``context.deps``.
        emit: Receives what the tool reports.
    """
    return ToolContext(
        deps=deps, run_id="run", turn=1, call_id="call", tool="tool", idempotency_key="run:call:call", emit=emit
    )
