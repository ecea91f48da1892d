"""A context for calling a tool directly."""

from __future__ import annotations

from typing import TypeVar

from agentkit.events import Emit, ignore_event
from agentkit.tools import ToolContext

__all__ = ["context"]

T = TypeVar("T")


def context(deps: T, *, emit: Emit = ignore_event) -> ToolContext[T]:
    """A context for a call without a run: ``await my_tool(context(database), "x")``.

    Args:
        deps: The tool's ``context.deps``.
        emit: Receives what the tool reports.
    """
    return ToolContext(
        deps=deps, run_id="run", turn=1, call_id="call", tool="tool", idempotency_key="run:call:call", emit=emit
    )
