"""``mcp.json`` as other programs write it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentkit.errors import ConfigError
from agentkit.mcp import MCPToolset
from tests.mcp.servers import command, names

pytestmark = pytest.mark.anyio


def written(folder: Path, value: Any) -> Path:
    path = folder / "mcp.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path


async def test_the_servers_of_a_file_are_toolsets_with_their_names_before_those_of_their_tools(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAULT", "hints")
    program, *rest = command("${FAULT}")
    servers = {
        "my disk": {"command": program, "args": rest, "env": {"A": "${NONESUCH:-b}"}, "type": "stdio"},
        "web": {"type": "http", "url": "https://example.com/mcp", "headers": {"Authorization": "Bearer ${FAULT}"}},
        "off": {"command": "nonesuch", "disabled": True},
    }
    path = written(tmp_path, {"mcpServers": servers, "other": 1})
    disk, web = MCPToolset.from_config(path)
    assert await names(disk) == ["my_disk_look", "my_disk_wipe"]
    assert (disk.name, web.name, repr(web)) == ("my disk", "web", "MCPToolset(https://example.com/mcp)")
    [plain] = MCPToolset.from_config(path, "my disk", prefix=False, requires_approval=True)
    assert await names(plain) == ["look", "wipe"]
    assert [each.name for each in MCPToolset.from_config(written(tmp_path, {"servers": servers}))] == ["my disk", "web"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is not JSON"),
        ("[]", "lists no servers"),
        ({"mcpServers": {"a": 1}}, "the server 'a' is not an object"),
        ({"mcpServers": {"a": {}}}, "the server 'a' has neither a command nor a url"),
        ({"mcpServers": {"a": {"command": "x", "args": "y"}}}, "its args are not a list"),
        ({"mcpServers": {"a": {"command": "x"}}}, "has no server 'there'; there are a"),
        ({"mcpServers": {"a": {"command": "x", "env": ["y"]}}}, "its env is not an object"),
        (
            {"mcpServers": {"a": {"command": "${NONESUCH_VARIABLE}"}}},
            "needs the environment variable NONESUCH_VARIABLE",
        ),
    ],
)
def test_a_file_that_is_wrong_is_one_sentence(tmp_path: Path, text: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        MCPToolset.from_config(written(tmp_path, text), "there")


def test_a_file_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nonesuch.json cannot be read: No such file"):
        MCPToolset.from_config(tmp_path / "nonesuch.json")
