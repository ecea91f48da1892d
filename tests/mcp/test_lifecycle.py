"""When a server is started, who shares it, and that nothing of it is left."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from agentkit import Agent
from agentkit.errors import ConfigError, DefinitionError
from agentkit.mcp import MCPError, MCPToolset
from agentkit.run import RunResult
from agentkit.testing import ScriptedModel, call
from tests.mcp.servers import command, hostile, results, use

pytestmark = pytest.mark.anyio


def is_running(pid: int) -> bool:
    """Whether there is a process that is more than its exit status."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


async def until(condition: Any) -> None:
    """Wait for something that happens soon."""
    with anyio.fail_after(20):
        while not condition():  # noqa: ASYNC110 - the end of a process sets no event
            await anyio.sleep(0.01)


def agent_of(toolset: MCPToolset, *replies: Any) -> Agent[Any, str]:
    return Agent(ScriptedModel([*replies, "done"]), tools=[toolset])


def test_nothing_is_imported_or_started_before_a_connection_opens() -> None:
    program = """
import sys, threading
from agentkit.mcp import MCPToolset
MCPToolset("nonesuch"), MCPToolset("http://127.0.0.1:9/mcp", headers={"authorization": "Bearer secret"})
print([each for each in ("mcp", "mcp_types", "jsonschema") if each in sys.modules], threading.active_count())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[0] == "[] 1"


async def pid_of(toolset: MCPToolset) -> int:
    return int(results(await use(toolset))[0])


async def test_a_run_starts_the_server_and_ends_it() -> None:
    toolset = hostile("pid")
    one, other = await pid_of(toolset), await pid_of(toolset)
    assert one != other
    assert not is_running(one)
    assert not is_running(other)


async def test_runs_at_the_same_time_share_one_server() -> None:
    found: list[int] = []

    async def run_once() -> None:
        found.append(await pid_of(toolset))

    toolset = hostile("pid")
    async with toolset:
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(run_once)
        assert len(set(found)) == 1
        assert is_running(found[0])
    assert not is_running(found[0])


async def test_toolsets_made_of_one_another_share_one_server() -> None:
    toolset = hostile("pid")
    agent: Agent[Any, str] = Agent(
        ScriptedModel([[call("a_echo"), call("say")], "done"]),
        tools=[toolset.prefixed("a_"), toolset.renamed(echo="say")],
    )
    assert len(set(results(await agent.run("Go.")))) == 1


async def test_a_server_is_opened_in_one_task_and_closed_in_another() -> None:
    toolset = hostile("pid")
    agent = agent_of(toolset, call("echo"))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(agent.__aenter__)
    pid = int(results(await agent.run("Go."))[0])
    assert is_running(pid)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(agent.__aexit__, None, None, None)
    assert not is_running(pid)


async def test_a_cancelled_run_has_the_call_stopped_and_the_server_ended(tmp_path: Path) -> None:
    log = tmp_path / "log"
    done = anyio.Event()

    async def run() -> None:
        try:
            await use(hostile("hangs", str(log)))
        finally:
            done.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await until(lambda: log.exists() and '"tools/call"' in log.read_text(encoding="utf-8"))
        tasks.cancel_scope.cancel()
    assert done.is_set()
    assert json.loads(log.read_text(encoding="utf-8").splitlines()[-1])["method"] == "notifications/cancelled"


async def test_what_a_server_has_started_ends_with_it_even_if_it_dies_by_itself(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    async with hostile("a child stays", str(note)) as toolset:
        assert "exit status 5" in results(await use(toolset))[0]
        await until(lambda: not is_running(pids(note)[0]))
    assert not [each for each in pids(note) if is_running(each)]


async def test_a_server_that_ignores_the_end_is_killed(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    async with hostile("ignores the end", str(note)) as toolset:
        await toolset.tools()
        [pid] = pids(note)
        assert is_running(pid)
    assert not is_running(pid)


def pids(note: Path) -> list[int]:
    return [int(line) for line in note.read_text(encoding="utf-8").split()]


async def test_a_stream_that_is_left_early_ends_the_server(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    async with agent_of(hostile("a child stays", str(note)), call("nonesuch")).stream("Go.") as events:
        async for each in events:
            if type(each).__name__ == "CallStarted":
                break
        assert is_running(pids(note)[0])
    await until(lambda: not is_running(pids(note)[0]))


def test_a_program_without_an_event_loop_uses_a_server() -> None:
    agent = agent_of(hostile("pid"), call("echo"))
    assert results(agent.run_sync("Go."))[0].isdecimal()


def test_one_toolset_works_in_several_event_loops() -> None:
    toolset = hostile("none")

    async def main() -> RunResult[str]:
        return await use(toolset)

    assert [results(anyio.run(main, backend=each))[0] for each in ("asyncio", "trio", "asyncio")] == ["hello"] * 3


async def test_a_command_gets_only_the_variables_that_it_needs_or_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    run = await use(hostile("environment", env={"REGION": "eu"}))
    environment = json.loads(results(run)[0])
    assert environment["REGION"] == "eu"
    assert "PATH" in environment
    assert not [name for name in environment if "KEY" in name]


@pytest.mark.parametrize(
    ("server", "options", "said"),
    [
        ("", {}, "a command is a program and its arguments"),
        ("'unbalanced", {}, "cannot be split into words"),
        ([1], {}, "all of them strings"),
        (5, {}, "takes a command .* a URL or a server object of the mcp SDK, not int"),
        ("http://", {}, "names no host"),
        ("https://example.com/mcp", {"env": {"A": "b"}}, "env= does not apply to a URL"),
        ("server", {"headers": {"a": "b"}}, "headers= does not apply to a command"),
        ("server", {"timeout": 0}, "timeout=0 must be above 0 seconds"),
    ],
)
def test_what_is_no_server_is_refused_where_it_is_written(server: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        MCPToolset(server, **options)


async def test_a_command_that_does_not_exist_is_one_sentence() -> None:
    with pytest.raises(Exception, match="there is no program 'nonesuch'; install it, or give its whole path") as caught:
        await use(MCPToolset("nonesuch --flag"))
    assert type(caught.value).__name__ == "MCPError"
    with pytest.raises(Exception, match="there is no directory '/nonesuch'"):
        await use(hostile("none", cwd="/nonesuch"))


async def test_tools_are_chosen_and_renamed() -> None:
    async with hostile("hints") as toolset:
        look, wipe = await toolset.tools()
        assert (look.read_only, look.idempotent, look.access) == (True, True, ())
        assert (wipe.read_only, wipe.idempotent, wipe.access) == (False, True, ("untrusted", "outside"))
        changed = toolset.prefixed("fs_").filtered(lambda each: not each.read_only).renamed(fs_wipe="erase")
        assert [each.name for each in await changed.tools()] == ["erase"]
        assert [each.name for each in await toolset.only("look").tools()] == ["look"]
        assert [each.name for each in await toolset.without("look").prefixed("x" * 80).tools()] != []
        with pytest.raises(DefinitionError, match="has no tool 'lok'; there are look, wipe"):
            await toolset.renamed(lok="see").tools()
    with pytest.raises(ConfigError, match="is not open"):
        await toolset.tools()


async def test_annotations_decide_about_approvals_only_where_they_are_trusted() -> None:
    async def approvals(**options: Any) -> list[Any]:
        async with hostile("hints", **options) as toolset:
            return [each.requires_approval for each in await toolset.tools()]

    assert await approvals() == [False, False]
    assert await approvals(requires_approval=True) == [True, True]
    assert await approvals(requires_approval=True, trust_annotations=True) == [False, True]


async def test_no_error_shows_a_secret_that_the_server_was_given() -> None:
    said = "import os, sys; sys.stderr.write(os.environ['KEY'] + sys.argv[2] + sys.argv[3]); sys.exit(1)"
    line = [sys.executable, "-c", said, "--api-key", "sk-abcdef", "--token=tk-123456"]
    with pytest.raises(MCPError) as caught:
        await use(MCPToolset(line, env={"KEY": "kk-987654"}))
    shown = f"{caught.value} {caught.value.stderr}"
    assert "***" in caught.value.stderr
    assert not [each for each in ("sk-abcdef", "tk-123456", "kk-987654") if each in shown]


def test_a_toolset_says_what_it_is_without_its_secrets() -> None:
    assert repr(MCPToolset(command("none"), env={"TOKEN": "secret"})).startswith("MCPToolset(`")
    assert repr(MCPToolset("https://me:pw@example.com/mcp?key=1", headers={"x": "secret"})) == (
        "MCPToolset(https://example.com/mcp)"
    )
