"""MCP servers that nobody here wrote, and the official conformance suite."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from agentkit import Agent
from agentkit.mcp import MCPToolset
from agentkit.testing import ScriptedModel, call
from tests.interop.mcp.conformance import BUILD, HERE, NODE, PACKAGES, REVISIONS, required, run_client
from tests.mcp.servers import results

SCENARIOS = [(revision, each) for revision in REVISIONS for each in required(revision)]
pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """One is enough: what differs is on the other side."""
    return "asyncio"


def node(name: str, *arguments: str) -> list[str]:
    return [str(NODE), str(PACKAGES / name / "dist" / "index.js"), *arguments]


async def called(command: Sequence[str], *calls: Any) -> list[str]:
    return results(await Agent(ScriptedModel([*calls, "done"]), tools=[MCPToolset(command)]).run("Go."))


async def test_server_everything() -> None:
    calls = [call("echo", message="hi"), call("get-sum", a=1, b=2), call("get-structured-content", location="New York")]
    slow = call("trigger-long-running-operation", duration=1, steps=3)
    said = await called(node("server-everything"), *calls, slow, call("get-tiny-image"))
    assert said[:2] == ["Echo: hi", "The sum of 1 and 2 is 3."]
    assert '"temperature":' in said[2]
    assert said[3].startswith("Long running operation completed.")
    assert "image" in said[4]


async def test_server_filesystem(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello", encoding="utf-8")
    line = node("server-filesystem", str(tmp_path))
    said = await called(line, call("read_text_file", path=str(tmp_path / "a.txt")), call("list_directory", path="/etc"))
    assert said[0] == "hello"
    assert said[1].startswith("Error: Access denied")


async def test_server_memory(tmp_path: Path) -> None:
    entity = {"name": "Ada", "entityType": "person", "observations": ["writes programs"]}
    said = await called(node("server-memory"), call("create_entities", entities=[entity]), call("read_graph"))
    assert "writes programs" in said[1]


async def test_mcp_server_time() -> None:
    said = await called([str(BUILD / "bin" / "mcp-server-time")], call("get_current_time", timezone="Europe/Paris"))
    assert '"timezone": "Europe/Paris"' in said[0]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    return tmp_path


async def test_mcp_server_git(repository: Path) -> None:
    said = await called([str(BUILD / "bin" / "mcp-server-git")], call("git_status", repo_path=str(repository)))
    assert "No commits yet" in said[0]


async def test_mcp_server_fetch() -> None:
    said = await called(
        [str(BUILD / "bin" / "mcp-server-fetch"), "--allow-private-ips"], call("fetch", url="http://127.0.0.1:9/")
    )
    assert said[0].startswith("Error")


async def test_mcp_server_sqlite(tmp_path: Path) -> None:
    line = [str(BUILD / "sqlite" / "bin" / "mcp-server-sqlite"), "--db-path", str(tmp_path / "a.db")]
    said = await called(line, call("create_table", query="CREATE TABLE tea (name TEXT)"), call("list_tables"))
    assert "tea" in said[1]


@pytest.fixture(scope="session")
def preloaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Our client, as a program that begins with everything imported."""
    path = tmp_path_factory.mktemp("client") / "socket"
    modules = ["tests.interop.mcp.client", "agentkit.mcp.connection"]
    line = [sys.executable, str(HERE / "preloaded.py"), str(path), *modules]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as started:
        assert started.stdout
        assert started.stdout.readline() == "ready\n"
        yield path
        started.kill()


def test_the_suite_requires_what_it_did() -> None:
    assert {each: len(required(each)) for each in REVISIONS} == {"2025-11-25": 18, "2026-07-28": 32}


@pytest.mark.parametrize(("revision", "scenario"), SCENARIOS)
def test_the_client_conforms(preloaded: Path, revision: str, scenario: str) -> None:
    passed, said = run_client(scenario, revision, preloaded)
    assert passed, said
