"""`ToolSource`: where tools come from that are known only while something is open, such as a connection to a server."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, TypeGuard

from agentkit.chat.events import Emit
from agentkit.tools.context import Remaining
from agentkit.tools.tool import Tool

__all__ = ["SourceRun", "ToolSource", "is_source"]


class SourceRun(Protocol):
    """The run that asks a source for its tools, as far as the source may see it."""

    @property
    def run_id(self) -> str:
        """The run."""
        ...

    @property
    def agent(self) -> str:
        """The name of the agent whose turn it is."""
        ...

    @property
    def path(self) -> tuple[str, ...]:
        """The names of the tool calls that the run is nested in, outermost first."""
        ...

    @property
    def deps(self) -> Any:
        """The dependencies of the run."""
        ...

    @property
    def local(self) -> Mapping[Any, Any]:
        """The memory of middleware and sources for this run."""
        ...

    @property
    def remaining(self) -> Remaining:
        """The remaining limits of the run."""
        ...

    @property
    def emit(self) -> Emit:
        """Emits an event to the observers of the run."""
        ...


class ToolSource(Protocol):
    """A source of tools; it may stand in ``Agent(tools=[...])`` among other tools.

    It is entered before its tools are asked for: by ``async with agent``, once for all runs inside, else by each run.
    It must be possible to enter it again after it was left.
    """

    async def __aenter__(self) -> object: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> bool | None: ...

    async def tools(self, run: SourceRun, /) -> Sequence[Tool]:
        """The tools that the model is offered in the next turn of this run; asked before each turn."""
        ...


def is_source(value: object) -> TypeGuard[ToolSource]:
    """Return True if a value is a `ToolSource`: an async context manager with an async method ``tools``."""
    kind = type(value)
    is_entered = callable(getattr(kind, "__aenter__", None)) and callable(getattr(kind, "__aexit__", None))
    return is_entered and inspect.iscoroutinefunction(getattr(kind, "tools", None))
