"""MCP servers that nobody here wrote, and the official conformance suite."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from agentkit import Agent
from agentkit.mcp import MCPToolset
from agentkit.testing import ScriptedModel, call
from tests.interop.conformance import REVISIONS, required, run
from tests.mcp.servers import results

NODE = Path(__file__).parent.parent.parent / "build" / "node"
PACKAGES = NODE / "node_modules" / "@modelcontextprotocol"
NPM = [
    "@modelcontextprotocol/server-everything",
    "@modelcontextprotocol/server-filesystem",
    "@modelcontextprotocol/server-memory",
    "@modelcontextprotocol/conformance@0.2.0-alpha.12",
]
pytestmark = pytest.mark.anyio


def program(name: str) -> str:
    """The program of the environment that the tests run in, or that of the system."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return shutil.which(name, path=path) or name


@pytest.fixture
def anyio_backend() -> str:
    """One is enough: what differs is on the other side."""
    return "asyncio"


@pytest.fixture(scope="session")
def packages() -> Path:
    """The packages of npm, installed once."""
    if not PACKAGES.is_dir():
        NODE.mkdir(parents=True, exist_ok=True)
        line = [program("npm"), "install", "--prefix", str(NODE), "--no-audit", "--no-fund", *NPM]
        subprocess.run(line, check=True)
    return PACKAGES


def node(packages: Path, name: str, *arguments: str) -> list[str]:
    return [program("node"), str(packages / name / "dist" / "index.js"), *arguments]


def uvx(*words: str) -> list[str]:
    return [program("uvx"), *words]


async def called(command: Sequence[str], *calls: Any, **options: Any) -> list[str]:
    passed = ("UV_", "npm_", "SSL_", "HTTP", "http", "PIP_")  # where packages come from here
    environment = {name: value for name, value in os.environ.items() if name.startswith(passed)}
    environment["UV_SYSTEM_CERTS"] = "true"
    toolset = MCPToolset(command, env=environment, start_timeout=300, **options)
    return results(await Agent(ScriptedModel([*calls, "done"]), tools=[toolset]).run("Go."))


async def test_server_everything(packages: Path) -> None:
    calls = [call("echo", message="hi"), call("get-sum", a=1, b=2), call("get-structured-content", location="New York")]
    slow = call("trigger-long-running-operation", duration=1, steps=3)
    said = await called(node(packages, "server-everything"), *calls, slow, call("get-tiny-image"))
    assert said[:2] == ["Echo: hi", "The sum of 1 and 2 is 3."]
    assert '"temperature":' in said[2]
    assert said[3].startswith("Long running operation completed.")
    assert "image" in said[4]


async def test_server_filesystem(packages: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello", encoding="utf-8")
    line = node(packages, "server-filesystem", str(tmp_path))
    said = await called(line, call("read_text_file", path=str(tmp_path / "a.txt")), call("list_directory", path="/etc"))
    assert said[0] == "hello"
    assert said[1].startswith("Error: Access denied")


async def test_server_memory(packages: Path, tmp_path: Path) -> None:
    entity = {"name": "Ada", "entityType": "person", "observations": ["writes programs"]}
    said = await called(node(packages, "server-memory"), call("create_entities", entities=[entity]), call("read_graph"))
    assert "writes programs" in said[1]


async def test_mcp_server_time() -> None:
    said = await called(uvx("mcp-server-time"), call("get_current_time", timezone="Europe/Paris"))
    assert '"timezone": "Europe/Paris"' in said[0]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    return tmp_path


async def test_mcp_server_git(repository: Path) -> None:
    said = await called(uvx("mcp-server-git"), call("git_status", repo_path=str(repository)))
    assert "No commits yet" in said[0]


async def test_mcp_server_fetch() -> None:
    said = await called(uvx("mcp-server-fetch", "--allow-private-ips"), call("fetch", url="http://127.0.0.1:9/"))
    assert said[0].startswith("Error")


async def test_mcp_server_sqlite(tmp_path: Path) -> None:
    line = uvx("--with", "mcp<2", "mcp-server-sqlite", "--db-path", str(tmp_path / "a.db"))
    said = await called(line, call("create_table", query="CREATE TABLE tea (name TEXT)"), call("list_tables"))
    assert "tea" in said[1]


@pytest.mark.parametrize("revision", REVISIONS)
def test_the_client_conforms(packages: Path, revision: str) -> None:
    suite = packages / "conformance"
    scenarios = required(suite, revision)
    assert len(scenarios) == {"2025-11-25": 18, "2026-07-28": 32}[revision]
    assert {
        each: said for each in scenarios if not (found := run(suite, each, revision))[0] and (said := found[1])
    } == {}
