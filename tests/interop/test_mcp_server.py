"""Our MCP server under the official conformance suite, and with a client that nobody here wrote."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client
from fastmcp.client.transports import StdioTransport
from fastmcp.exceptions import ToolError

from tests.interop.conformance import REVISIONS
from tests.interop.test_mcp import packages, program
from tests.mcp.test_server import PRINTING

__all__ = ["packages"]  # a fixture

SERVER = Path(__file__).parent / "mcp_server.py"
SCENARIOS = {"2025-11-25": 30 + 3, "2026-07-28": 37 + 3}  # that it requires, and that it does not
pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """One is enough: what differs is on the other side."""
    return "asyncio"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The address of the server that the suite tests."""
    with subprocess.Popen([sys.executable, str(SERVER)], stdout=subprocess.PIPE, text=True) as started:
        assert started.stdout
        yield started.stdout.readline().strip()
        started.terminate()


@pytest.mark.parametrize("revision", REVISIONS)
def test_the_server_conforms(packages: Path, url: str, revision: str) -> None:
    suite = [program("node"), str(packages / "conformance" / "dist" / "index.js")]
    options = ["--url", url, "--requirements", revision]
    done = subprocess.run([*suite, "server", *options], capture_output=True, text=True, timeout=300, check=False)
    summary = done.stdout.partition("=== SUMMARY ===")[2].partition("Not scored")[0]
    failed = [each for each in re.findall(r"✗ (\S+):", summary) if not each.startswith("tasks-")]
    assert (done.returncode, failed) == (0, [])
    passed = [each for each in re.findall(r"✓ (\S+):", summary) if not each.startswith("tasks-")]
    assert len(passed) == SCENARIOS[revision]


async def used(client: Client[Any]) -> None:
    async with client:
        assert [each.name for each in await client.list_tools()] == ["shout"]
        assert (await client.call_tool("shout", {"word": "tea"})).content[0].text == "TEA"
        with pytest.raises(ToolError, match="invalid arguments, nothing was done"):
            await client.call_tool("shout", {"wort": "tea"})


@pytest.fixture
def tools(tmp_path: Path) -> str:
    """A file with a tool."""
    (tmp_path / "mine.py").write_text(PRINTING)
    return str(tmp_path / "mine.py")


async def test_the_client_of_fastmcp_over_standard_input(tools: str) -> None:
    environment = {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    await used(Client(StdioTransport(sys.executable, ["-m", "agentkit", "mcp", "serve", tools], environment)))


async def test_the_client_of_fastmcp_over_http(url: str) -> None:
    seen: list[float] = []

    async def progress(done: float, _total: float | None, _message: str | None) -> None:
        seen.append(done)

    async def answer(_message: str, _kind: Any, _params: Any, _context: Any) -> dict[str, str]:
        return {"name": "Ada"}

    async with Client(url, elicitation_handler=answer) as client:
        await client.call_tool("test_tool_with_progress", {}, progress_handler=progress)
        assert seen == [1, 2, 3]
        greeted = await client.call_tool("test_input_required_result_elicitation", {})
        assert greeted.content[0].text == "Hello, Ada!"
        with pytest.raises(ToolError, match="intentionally"):
            await client.call_tool("test_error_handling", {})
        assert (await client.call_tool("test_image_content", {})).content[-1].type == "image"
        assert len(await client.list_resources()) == 3
        (read,) = await client.read_resource("test://template/123/data")
        assert '"id":"123"' in read.text
        asked = await client.get_prompt("test_prompt_with_arguments", {"arg1": "a", "arg2": "b"})
        assert "arg1='a'" in asked.messages[0].content.text
