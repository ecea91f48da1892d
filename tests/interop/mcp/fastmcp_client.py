"""The client of fastmcp against our server: ``python fastmcp_client.py URL``, or the command of a server."""

import os
import sys
from typing import Any

import anyio
from fastmcp import Client
from fastmcp.client.transports import StdioTransport
from fastmcp.exceptions import ToolError


def refused(text: str, error: ToolError) -> None:
    assert text in str(error), error


async def over_standard_input(*command: str) -> None:
    environment = {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    async with Client(StdioTransport(command[0], list(command[1:]), environment)) as client:
        assert [each.name for each in await client.list_tools()] == ["shout"]
        assert (await client.call_tool("shout", {"word": "tea"})).content[0].text == "TEA"
        try:
            await client.call_tool("shout", {"wort": "tea"})
        except ToolError as error:
            refused("invalid arguments, nothing was done", error)
        else:
            raise AssertionError


async def over_http(url: str) -> None:
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
        try:
            await client.call_tool("test_error_handling", {})
        except ToolError as error:
            refused("intentionally", error)
        else:
            raise AssertionError
        assert (await client.call_tool("test_image_content", {})).content[-1].type == "image"
        assert len(await client.list_resources()) == 3
        (read,) = await client.read_resource("test://template/123/data")
        assert '"id":"123"' in read.text
        asked = await client.get_prompt("test_prompt_with_arguments", {"arg1": "a", "arg2": "b"})
        assert "arg1='a'" in asked.messages[0].content.text


anyio.run(over_http if sys.argv[1].startswith("http") else over_standard_input, *sys.argv[1:])
