"""Sources of tools: objects that are opened, asked for their tools, and closed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from agentkit import Agent, Tool, tool
from agentkit.errors import DefinitionError
from agentkit.testing import ScriptedModel
from agentkit.tools import SourceRun, Toolset, ToolSource, flat_tools, split_tools
from agentkit.tools.toolset import is_source


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


class Shelf:
    """A source whose tools can be asked for while it is open."""

    def __init__(self, *tools: Tool) -> None:
        self.given, self.opened = tools, 0

    async def __aenter__(self) -> Shelf:
        self.opened += 1
        return self

    async def __aexit__(self, *error: object) -> None:
        self.opened -= 1

    async def tools(self, run: SourceRun) -> Sequence[Tool]:
        return self.given if self.opened else []


def test_sources_are_told_from_tools_and_keep_their_order() -> None:
    one, other = Shelf(), Shelf(add)
    source: ToolSource = one  # for the type checkers
    tools, sources = split_tools([add, source, Toolset(len).renamed(len="count"), other])
    assert ([each.name for each in tools], sources) == (["add", "count"], [one, other])


@pytest.mark.parametrize(
    "value",
    [add, Toolset(add), Agent(ScriptedModel([])), None, [], Shelf, open, type("Half", (), {"tools": Shelf.tools})()],
    ids=["tool", "toolset", "agent", "none", "list", "class", "function", "not a context manager"],
)
def test_nothing_else_is_taken_for_a_source(value: Any) -> None:
    assert not is_source(value)


def test_where_only_tools_can_be_a_source_is_refused_in_a_sentence() -> None:
    with pytest.raises(DefinitionError, match="an object of Shelf is a source of tools: give it to an agent"):
        flat_tools([Shelf()])
    with pytest.raises(DefinitionError, match="source of tools"):
        Toolset(Shelf())
    with pytest.raises(DefinitionError, match="tools= takes a list, not Shelf"):
        split_tools(Shelf())  # type: ignore[arg-type]
