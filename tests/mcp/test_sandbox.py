"""A server in the sandbox."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from agentkit_tools.sandbox import find_bubblewrap

from agentkit.errors import ConfigError
from agentkit.mcp import MCPToolset
from tests.mcp.servers import results, use

pytestmark = pytest.mark.anyio

PROBE = """
import json, os, socket, sys
def tried(what):
    try:
        what()
        return "yes"
    except Exception as error:
        return "no"
for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message:
        continue
    result = {"tools": [{"name": "echo", "inputSchema": {"type": "object"}}]}
    if message["method"] == "initialize":
        info = {"name": "probe", "version": ""}
        result = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": info}
    if message["method"] == "tools/call":
        folder = message["params"]["arguments"]["text"]
        said = [
            tried(lambda: open(folder + "/note", "w").write("x")),
            tried(lambda: open(sys.argv[3] + "/probe", "w").write("x")),
            tried(lambda: open(sys.argv[1][::-1]).read()),
            tried(lambda: socket.create_connection(("127.0.0.1", int(sys.argv[2])), 2)),
        ]
        result = {"content": [{"type": "text", "text": " ".join(said)}]}
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
"""


async def test_a_server_changes_what_it_is_given_and_sees_no_home(tmp_path: Path) -> None:
    try:
        find_bubblewrap()
    except ConfigError as error:
        pytest.skip(str(error))
    (tmp_path / "probe.py").write_text(PROBE, encoding="utf-8")
    inside, secret = tmp_path / "inside", Path.home() / f".probe-{tmp_path.name}"
    inside.mkdir()
    inside.chmod(0o777)
    secret.write_text("secret", encoding="utf-8")
    try:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            # Backwards, as the sandbox shows what the arguments name.
            line = [sys.executable, "-S", "-E", str(tmp_path / "probe.py"), str(secret)[::-1]]
            line.append(str(listener.getsockname()[1]))

            async def found(outside: str, **options: Any) -> str:
                return results(await use(MCPToolset([*line, outside], roots=[inside], **options), str(inside)))[0]

            assert await found("/usr", sandbox=True) == "yes no no no"
            assert await found("/usr", sandbox="network") == "yes no no yes"
            assert await found(str(tmp_path)) == "yes yes yes yes"
    finally:
        secret.unlink()
