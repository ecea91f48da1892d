"""The client that the official conformance suite tests: ``python client.py URL``, an agent with a scripted model.

The suite gives what a scenario is about in ``MCP_CONFORMANCE_CONTEXT``.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import anyio
import httpx2

from agentkit import Agent
from agentkit.mcp import MCPToolset, OAuth
from agentkit.testing import ScriptedModel, call


async def allow(address: str) -> str:
    """The person: the suite's login page sends everybody back at once."""
    async with httpx2.AsyncClient() as client:
        response = await client.get(address, follow_redirects=False)
    return response.headers["location"]


def example(schema: Any) -> Any:
    """A value that fits a schema."""
    if not isinstance(schema, dict):
        return "x"
    if "default" in schema:
        return schema["default"]
    if schema.get("enum"):
        return schema["enum"][0]
    kinds: dict[str, Any] = {"string": "x", "integer": 2, "number": 1.5, "boolean": True, "array": [], "null": None}
    if schema.get("type") == "object" or "properties" in schema:
        return {name: example(each) for name, each in schema.get("properties", {}).items()}
    return kinds.get(schema.get("type", "string"), "x")


async def answer(question: Any) -> dict[str, Any]:
    """The person again: takes what each field proposes."""
    answers: dict[str, Any] = example(question.schema)
    return answers


async def use(url: str, given: dict[str, Any]) -> None:
    """Call each tool of the server, or those that the scenario names."""
    with tempfile.TemporaryDirectory() as folder:
        oauth = OAuth(
            store=Path(folder) / "tokens.json",
            authorize=allow,
            client_id=given.get("client_id", ""),
            client_secret=given.get("client_secret", ""),
            client_metadata_url="https://conformance-test.local/client-metadata.json",
        )
        toolset = MCPToolset(url, auth=oauth, timeout=20, start_timeout=20, elicitation=answer)
        async with toolset:
            listed = [(each.name, example(dict(each.parameters))) for each in await toolset.tools()]
            wanted = [(each["name"], each.get("arguments") or {}) for each in given.get("toolCalls", ())]
            calls = [call(name, **arguments) for name, arguments in wanted or listed]
            await Agent(ScriptedModel([*calls, "done"]), tools=[toolset]).run("Go.")


def main(url: str) -> None:
    """Be the client."""
    anyio.run(use, url, json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT") or "{}"))


if __name__ == "__main__":
    main(sys.argv[1])
