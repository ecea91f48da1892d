"""What goes wrong at the other end of an MCP server, and how the program that serves ends."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from mcp import Client, MCPError

from agentkit import Tool
from agentkit.mcp import MCPServer

pytestmark = pytest.mark.anyio
HANGING = '''
import pathlib
from typing import Any

import anyio

from agentkit import ToolContext, tool


@tool(timeout=None)
async def hang(context: ToolContext[Any]) -> None:
    """Hang."""
    context.progress(message="hangs")
    try:
        await anyio.sleep_forever()
    finally:
        pathlib.Path(__file__).with_name("ended").touch()


@tool
def add(a: int, b: int) -> int:
    """Add."""
    return a + b
'''
HELLO = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}


def message(number: int, method: str, **params: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode() + b"\n"


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """``agentkit mcp serve`` with two tools."""
    (folder / "mine.py").write_text(HANGING)
    command = [sys.executable, "-m", "agentkit", "mcp", "serve", str(folder / "mine.py"), *options]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as started:
        try:
            yield started
        finally:
            started.kill()


def ended(server: subprocess.Popen[bytes], *, close: bool = True) -> int:
    """How it ends, which shows nothing."""
    assert server.stdin
    assert server.stderr
    if close:
        server.stdin.close()
    status = server.wait(20)
    assert server.stderr.read() == b""
    return status


def say(server: subprocess.Popen[bytes], *lines: bytes) -> None:
    assert server.stdin
    server.stdin.write(b"".join(lines))
    server.stdin.flush()


def hear(server: subprocess.Popen[bytes], number: int) -> dict[str, Any]:
    """The answer to a request; what comes before it is passed over."""
    assert server.stdout
    for line in server.stdout:
        read: dict[str, Any] = json.loads(line)
        if read.get("id") == number:
            return read
    raise AssertionError(server.stderr.read() if server.stderr else "")


def begin(server: subprocess.Popen[bytes]) -> None:
    say(server, message(1, "initialize", **HELLO))
    assert hear(server, 1)["result"]["serverInfo"]["name"] == "agentkit"
    say(server, b'{"jsonrpc": "2.0", "method": "notifications/initialized"}\n')


def flood(server: subprocess.Popen[bytes]) -> None:
    """Send what is no message, and many calls at once."""
    broken = [b"{\n", b"[]\n", b"null\n", b'{"jsonrpc": "2.0", "id": 7}\n', b"\xff\xfe\n", b"x" * 1_000_000 + b"\n"]
    calls = [message(each, "tools/call", name="add", arguments={"a": each, "b": 1}) for each in range(2, 202)]
    say(server, *broken, *calls)
    assert server.stdout
    answers = [json.loads(server.stdout.readline()) for _ in calls]
    assert {each["id"]: each["result"]["content"][0]["text"] for each in answers} == {
        each: str(each + 1) for each in range(2, 202)
    }


@pytest.mark.parametrize("number", [None, signal.SIGTERM, signal.SIGINT], ids=["gone", "SIGTERM", "SIGINT"])
def test_a_flood_does_not_end_the_server_and_a_client_that_leaves_and_a_signal_cancel_open_calls(
    tmp_path: Path, number: signal.Signals | None
) -> None:
    with serving(tmp_path) as server:
        begin(server)
        if number is None:
            flood(server)
        say(server, message(1000, "tools/call", name="hang", arguments={}, _meta={"progressToken": 5}))
        assert server.stdout
        assert b"hangs" in server.stdout.readline()
        if number:
            server.send_signal(number)
        assert ended(server, close=not number) == 0
    assert (tmp_path / "ended").exists()


def test_over_http_a_signal_ends_it_too(tmp_path: Path) -> None:
    with serving(tmp_path, "--http", "--port", "0") as server:
        assert server.stderr
        assert server.stderr.readline().startswith(b"serving agentkit at http://127.0.0.1:")
        server.send_signal(signal.SIGTERM)
        assert ended(server) == -signal.SIGTERM


async def list_10000_tools() -> None:
    schema: dict[str, Any] = {"type": "object", "properties": {}}
    tools = [Tool.from_schema(f"tool_{place}", "A tool.", schema, lambda *_: "done") for place in range(10_000)]
    async with Client(MCPServer(*tools).sdk_server()) as client:
        names: list[str] = []
        cursor: str | None = ""
        pages = 0
        while cursor is not None:
            listed = await client.list_tools(cursor=cursor or None)
            names += [each.name for each in listed.tools]
            cursor, pages = listed.next_cursor, pages + 1
        assert (len(set(names)), pages) == (10_000, 100)
        assert not (await client.call_tool("tool_9999", {})).is_error
        for wrong in ("x", "-1", "99999999999", "\u0663"):
            with pytest.raises(MCPError, match="from this server"):
                await client.list_tools(cursor=wrong)


def test_10000_tools_are_listed_page_by_page() -> None:
    anyio.run(list_10000_tools)


async def test_a_body_that_is_too_large_is_refused() -> None:
    app = MCPServer().app()
    transport = httpx2.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),  # type: ignore[attr-defined]
        httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:1") as client,
    ):
        body = message(1, "tools/list", padding="x" * 8_000_000)
        headers = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
        assert (await client.post("/mcp", content=body, headers=headers)).status_code == 413
