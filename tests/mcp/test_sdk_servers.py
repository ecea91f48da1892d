"""Servers of the SDK, in this process: the generation of 2026, and what is offered besides tools."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.prompts.base import AssistantMessage as SdkAssistantMessage
from mcp.server.mcpserver.prompts.base import UserMessage as SdkUserMessage

from agentkit import Agent, AssistantMessage, Event, Progress, TextPart, UserMessage
from agentkit.mcp import MCPError, MCPToolset, Prompt, Resource, ServerLogged
from agentkit.testing import ScriptedModel, call
from tests.mcp.servers import results

pytestmark = pytest.mark.anyio


def library() -> MCPServer:
    server = MCPServer("library")

    @server.resource("book://moby", name="Moby Dick", description="A whale.")
    def moby() -> str:
        return "Call me Ishmael."

    @server.resource("page://{number}")
    def page(number: str) -> str:
        return f"page {number}"

    @server.prompt()
    def review(title: str) -> list[Any]:
        """Review a book."""
        return [SdkUserMessage(f"What do you think of {title}?"), SdkAssistantMessage("I read it.")]

    @server.tool()
    async def count(context: Context[Any, Any]) -> int:
        """Count the books."""
        await context.report_progress(1, 2, "halfway")
        return 2

    @server.tool()
    async def grow(context: Context[Any, Any]) -> str:
        """Add a tool."""

        def late() -> str:
            """A tool that was not there before."""
            return "late"

        server.add_tool(late)
        await context.notify_tools_changed()
        return "grown"

    return server


async def test_resources_are_listed_and_read_as_content_of_a_prompt() -> None:
    async with MCPToolset(library()) as toolset:
        assert await toolset.resources() == [
            Resource("book://moby", "Moby Dick", "A whale.", "text/plain"),
            Resource("page://{number}", "page", "", "text/plain", is_template=True),
        ]
        assert await toolset.read_resource("book://moby") == (TextPart("[book://moby]\nCall me Ishmael."),)
        assert await toolset.read_resource("page://7") == (TextPart("[page://7]\npage 7"),)
        with pytest.raises(MCPError, match="the MCP server 'library' "):
            await toolset.read_resource("book://nonesuch")


async def test_a_model_finds_and_reads_resources() -> None:
    toolset = MCPToolset(library(), resources=True).only("list_resources", "read_resource")
    replies: list[Any] = [
        call("list_resources"),
        call("read_resource", uri="book://moby"),
        call("read_resource", uri="x://y"),
        ".",
    ]
    run = await Agent(ScriptedModel(replies), tools=[toolset]).run("Go.")
    listed, read, failed = results(run)
    assert listed.splitlines()[0] == "book://moby (Moby Dick): A whale."
    assert read.endswith("Call me Ishmael.")
    assert failed.startswith("Error: the MCP server 'library' ")


async def test_prompts_are_messages() -> None:
    async with MCPToolset(library()) as toolset:
        [prompt] = await toolset.prompts()
        assert prompt == Prompt("review", "Review a book.", {"title": ""}, ("title",))
        assert await toolset.prompt("review", title="Emma") == [
            UserMessage("What do you think of Emma?"),
            AssistantMessage("I read it."),
        ]
        with pytest.raises(MCPError):
            await toolset.prompt("nonesuch")


async def test_progress_and_structured_results_of_a_server_of_2026() -> None:
    events: list[Event] = []
    agent = Agent(ScriptedModel([call("count"), "done"]), tools=[MCPToolset(library())])
    run = await agent.run("Go.", on_event=events.append)
    assert results(run) == ["2"]
    assert [(each.fraction, each.message) for each in events if isinstance(each, Progress)] == [(0.5, "halfway")]
    assert not [each for each in events if isinstance(each, ServerLogged)]


async def test_a_change_of_the_tools_is_listened_for() -> None:
    async with MCPToolset(library()) as toolset:
        agent = Agent(ScriptedModel([call("grow"), "done"]), tools=[toolset])
        assert results(await agent.run("Go.")) == ["grown"]
        with anyio.fail_after(10):
            while "late" not in [each.name for each in await toolset.tools()]:
                await anyio.lowlevel.checkpoint()


async def test_tools_can_be_left_for_the_model_to_search() -> None:
    async with MCPToolset(library()) as toolset:
        assert all(each.deferred for each in await toolset.deferred().tools())
