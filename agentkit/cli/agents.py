"""The agent that a command line describes: its model, tools and limits."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence

from agentkit import Agent, RunState, Tool
from agentkit.chat import Deadlines, Model, open_model
from agentkit.cli.load import load_tools
from agentkit.errors import StateError

__all__ = ["load", "open_named", "require_tools"]


def open_named(model: str, timeout: float | None) -> str | Model:
    """Open a model that waits this long for a reply; without a wait, leave its name to `Agent`."""
    if timeout is None:
        return model
    return open_model(model, deadlines=Deadlines(first_byte=timeout, idle=timeout, total=timeout))


def require_tools(agent: Agent, state: RunState) -> None:
    """Make sure that the tools of a run were given again.

    Raises:
        StateError: The run has tools, and the agent has none.
    """
    known = state.fingerprints.get(state.agent)
    if known and not agent.tools:
        names = ", ".join(sorted(known))
        raise StateError(f"this run has the tools {names}: give the same --tools and --with as when it was started")


def load(names: Sequence[str] | None, toolsets: Sequence[str] | None) -> list[Tool]:
    """Load tools as `load_tools` does. What a module prints is not part of the answer."""
    with contextlib.redirect_stdout(sys.stderr):
        return load_tools(names or (), toolsets or ())
