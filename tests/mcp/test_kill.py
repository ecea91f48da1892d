"""A process that is killed while a call of a server is open."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from agentkit import Agent, tool
from agentkit.chat import ChatRequest
from agentkit.mcp import MCPToolset
from agentkit.sessions import SQLiteSessions
from agentkit.testing import FunctionModel, call
from tests.mcp.servers import hostile, results

pytestmark = pytest.mark.anyio


def make_agent(folder: Path, server: MCPToolset) -> Agent[Any, str]:
    """An agent that calls a and b, and then a tool of the server."""

    def note(name: str) -> str:
        with (folder / "ledger").open("a", encoding="utf-8") as file:
            file.write(f"{name}\n")
        return name

    @tool
    def a() -> str:
        """Do a."""
        return note("a")

    @tool
    def b() -> str:
        """Do b."""
        return note("b")

    def reply(request: ChatRequest) -> Any:
        done = sum(each.role == "tool" for each in request.messages)
        return {0: [call("a"), call("b")], 2: call("echo", text="c")}.get(done, "done")

    return Agent(FunctionModel(reply), tools=[a, b, server])


def calls_of(log: Path) -> list[dict[str, Any]]:
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    return [each["params"] for each in map(json.loads, lines) if each["method"] == "tools/call"]


async def main(folder: Path) -> None:
    """The life that is ended."""
    session = SQLiteSessions(folder / "chat.db")["one"]
    await make_agent(folder, hostile("hangs", str(folder / "log"))).run("Go.", session=session)


@pytest.fixture
def life(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process in which `main` runs."""
    with subprocess.Popen([sys.executable, "-m", "tests.mcp.test_kill", str(tmp_path)]) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # as much work on the other one
async def test_what_is_done_stays_done_and_the_open_call_keeps_its_key(
    tmp_path: Path, life: subprocess.Popen[bytes]
) -> None:
    log = tmp_path / "log"
    with anyio.fail_after(60):
        while not calls_of(log):  # noqa: ASYNC110 - another process writes it
            await anyio.sleep(0.02)
    life.kill()
    life.wait()
    session = SQLiteSessions(tmp_path / "chat.db")["one"]
    run = await make_agent(tmp_path, hostile("none", str(log))).run(resume=True, session=session)
    assert (results(run), run.output) == (["a", "b", "c"], "done")
    assert sorted((tmp_path / "ledger").read_text(encoding="utf-8").split()) == ["a", "b"]
    first, again = calls_of(log)
    assert first["_meta"]["agentkit/idempotency-key"] == again["_meta"]["agentkit/idempotency-key"] != ""


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]))
