"""Resources that a program watches."""

from __future__ import annotations

import anyio
import pytest

from agentkit.mcp import MCPError, MCPServer, MCPToolset
from agentkit.mcp.eras import remember
from tests.mcp.servers import hostile

pytestmark = pytest.mark.anyio
RESOURCES = {"notes://week": "Monday", "notes://other": "Tuesday", "notes://folder/page": "Wednesday"}


@pytest.fixture(params=["2026", "before"])
def served(request: pytest.FixtureRequest) -> MCPServer:
    """A server, which our client speaks to as one of either generation."""
    server = MCPServer(name=f"notes of {request.param}", resources=dict(RESOURCES))
    if request.param == "before":
        remember(f"object:{server.name}", is_legacy=True)
    return server


async def test_a_resource_that_changes_is_given_once_until_it_is_looked_at(served: MCPServer) -> None:
    async with (
        MCPToolset(served.sdk_server()) as toolset,
        toolset.watch("notes://week", "notes://folder/page") as changes,
    ):
        for uri in ("notes://week", "notes://other", "notes://week", "notes://folder/page"):
            await served.updated(uri)
        with anyio.fail_after(10):
            await anyio.wait_all_tasks_blocked()
            assert await anext(changes) == "notes://week"
            await served.updated("notes://week")
            seen = {await anext(changes), await anext(changes)}
    assert seen == {"notes://folder/page", "notes://week"}


async def test_who_watches_no_more_is_told_of_nothing_and_others_are(served: MCPServer) -> None:
    async with MCPToolset(served.sdk_server()) as toolset, toolset.watch("notes://week") as stays:
        async with toolset.watch("notes://week", "notes://other") as leaves:
            await served.updated("notes://other")
            with anyio.fail_after(10):
                assert await anext(leaves) == "notes://other"
        await served.updated("notes://week")
        with anyio.fail_after(10):
            assert await anext(stays) == "notes://week"
        assert leaves._changed == {}


async def test_the_end_of_a_connection_ends_the_changes(served: MCPServer) -> None:
    async with MCPToolset(served.sdk_server()) as toolset:
        changes = toolset.watch("notes://week")
        await changes.__aenter__()
    with anyio.fail_after(10), pytest.raises(MCPError, match=r"has closed the connection|no more changes"):
        await anext(changes)
    await changes.__aexit__(None, None, None)


async def test_a_server_that_reports_no_changes_is_one_sentence() -> None:
    async with hostile("none") as toolset:
        with pytest.raises(MCPError, match="does not report changes of its resources"):
            await toolset.watch("notes://week").__aenter__()
    async with MCPToolset(MCPServer().sdk_server()) as toolset:
        with pytest.raises(MCPError, match=r"does not report changes of its resources|refused"):
            await toolset.watch("notes://week").__aenter__()


async def test_a_change_of_a_part_of_a_resource_is_one_of_its() -> None:
    toolset = MCPToolset(MCPServer(resources=dict(RESOURCES)).sdk_server())
    async with toolset, toolset.watch("notes://folder/") as changes:
        for uri in ("notes://folders", "notes://folder/page"):
            changes.report(uri)
        assert await anext(changes) == "notes://folder/page"
