"""How tests reach the servers that break something."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from agentkit import Agent, Event
from agentkit.mcp import MCPToolset
from agentkit.messages import ToolMessage
from agentkit.run import RunResult
from agentkit.testing import ScriptedModel, call

HOSTILE = Path(__file__).parent / "hostile.py"


def command(fault: str, *more: str) -> list[str]:
    """The command of a server with a fault."""
    return [sys.executable, "-S", "-E", str(HOSTILE), fault, *more]


def hostile(fault: str, *more: str, **options: Any) -> MCPToolset:
    """The toolset of a server with a fault."""
    return MCPToolset(command(fault, *more), **options)


async def names(toolset: MCPToolset) -> list[str]:
    """The names of its tools."""
    async with toolset:
        return [each.name for each in await toolset.tools()]


async def use(
    toolset: MCPToolset, *texts: str, tool: str = "echo", events: list[Event] | None = None, **options: Any
) -> RunResult[str]:
    """A run in which a tool is called with each of these texts, one after the other."""
    replies: list[Any] = [call(tool, text=text) for text in texts or ("hello",)]
    agent = Agent(ScriptedModel([*replies, "done"]), tools=[toolset], **options)
    return await agent.run("Go.", on_event=([] if events is None else events).append)


def results(run: RunResult[Any]) -> list[str]:
    """What the model read of each call."""
    return [str(each.content) for each in run.messages if isinstance(each, ToolMessage)]
