"""A server that offers the tools of another one."""

from __future__ import annotations

from typing import Any

import pytest
from mcp import Client
from mcp.server.mcpserver import Context
from mcp.server.mcpserver import MCPServer as SdkServer
from mcp_types import ElicitResult, TextContent

from agentkit import Tool
from agentkit.errors import DefinitionError
from agentkit.mcp import Elicit, MCPServer, MCPToolset, ask_client
from agentkit.tools import SourceRun
from tests.mcp.servers import hostile

pytestmark = pytest.mark.anyio
PARTY = {"type": "object", "properties": {"people": {"type": "integer"}}, "required": ["people"]}


async def book(place: str) -> str:
    """Book a table."""
    answers = await ask_client(party=Elicit("How many?", PARTY))
    return "nothing" if answers["party"] is None else f"{place} for {answers['party']['people']}"


def add(a: int, b: int) -> int:
    """Add."""
    return a + b


def proxy(**options: Any) -> MCPServer:
    return MCPServer(MCPToolset(MCPServer(book, add).sdk_server(), **options).prefixed("far_"), add)


async def texts(client: Client, name: str, **arguments: Any) -> str:
    result: Any = await client.call_tool(name, arguments)
    return "\n".join(each.text for each in result.content if isinstance(each, TextContent))


@pytest.mark.parametrize("is_open", [True, False], ids=["open", "for each call"])
async def test_the_tools_of_another_server_are_listed_and_called(is_open: bool) -> None:
    server = proxy()
    async with server.opened() if is_open else Client(MCPServer().sdk_server()), Client(server.sdk_server()) as client:
        listed = {each.name: each for each in (await client.list_tools()).tools}
        assert listed.keys() == {"add", "far_add", "far_book"}
        assert listed["far_add"].input_schema["required"] == ["a", "b"]
        assert (await texts(client, "far_add", a=1, b=2), await texts(client, "add", a=2, b=2)) == ("3", "4")
        assert (await texts(client, "far_add", a="x", b=2)).startswith("invalid arguments, nothing was done")


@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize("requires_approval", [False, True])
async def test_what_the_other_server_asks_a_person_reaches_the_client(mode: Any, requires_approval: bool) -> None:
    asked: list[Any] = []

    async def asks(_context: Any, params: Any) -> ElicitResult:
        asked.append((params.message.split("\n")[0], params.requested_schema))
        is_approval = "allow" in params.requested_schema["properties"]
        return ElicitResult(action="accept", content={"allow": True} if is_approval else {"people": 4})

    answer: Any = asks
    server = proxy(elicitation=True, requires_approval=requires_approval)
    async with Client(server.sdk_server(), mode=mode, elicitation_callback=answer) as client:
        assert await texts(client, "far_book", place="Da Ada") == "Da Ada for 4"
    assert asked[-1] == ("How many?", PARTY)
    assert [message for message, _ in asked[:-1]] == ["Allow far_book?"] * requires_approval


async def test_a_server_that_cannot_be_reached_is_one_sentence() -> None:
    async with Client(MCPServer(hostile("exits at the start")).sdk_server()) as client:
        with pytest.raises(Exception, match="has ended with exit status 3; it wrote: no configuration"):
            await client.list_tools()


async def test_a_tool_that_comes_later_is_offered() -> None:
    far = SdkServer("far")

    @far.tool()
    async def grow(context: Context[Any, Any]) -> str:
        """Add a tool."""
        far.add_tool(add)
        return "grown"

    async with Client(MCPServer(MCPToolset(far)).sdk_server()) as client:
        assert [each.name for each in (await client.list_tools()).tools] == ["grow"]
        assert await texts(client, "grow") == "grown"
        assert await texts(client, "add", a=1, b=2) == "3"


def test_a_source_whose_tools_only_a_run_has_is_refused() -> None:
    class Source:
        async def __aenter__(self) -> None: ...

        async def __aexit__(self, *_: object) -> None: ...

        async def tools(self, _run: SourceRun) -> list[Tool]:
            return []

    with pytest.raises(DefinitionError, match="cannot offer the tools of Source, which only a run of an agent has"):
        MCPServer(Source())
