"""``--mcp`` on the command line."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.command import calls, run
from tests.mcp.servers import command
from tests.replay import events, replay


def test_a_server_is_used_by_its_command_and_by_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    program, *arguments = command("none")
    servers = {"my server": {"command": program, "args": arguments}}
    Path("mcp.json").write_text(json.dumps({"mcpServers": servers}), encoding="utf-8")
    for server, name in ((shlex.join(command("none")), "echo"), ("mcp.json", "my_server_echo")):
        script = (calls((name, {"text": "hello"})), events({"content": "Done."}))
        with replay(*script) as model:
            done = run("run", "--model", "openai:m", "--mcp", server, "Go.", OPENAI_BASE_URL=model.url)
        assert (done.returncode, done.stdout) == (0, "Done.\n"), done.stderr
        assert model.requests[1][1]["messages"][-1]["content"] == "hello"


def test_the_tools_of_a_server_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("tools", "--mcp", shlex.join(command("hints")))
    assert [each["function"]["name"] for each in json.loads(done.stdout)] == ["look", "wipe"]


def test_a_lock_file_in_the_directory_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    server = shlex.join(command("none"))
    assert run("mcp", "lock", server, "--yes").returncode == 0
    assert len(json.loads(run("tools", "--mcp", server).stdout)) == 1
    Path("mcp.lock").write_text('{"version": 1, "servers": {}}', encoding="utf-8")
    refused = run("tools", "--mcp", server)
    assert (refused.returncode, "is approved in 'mcp.lock'" in refused.stderr) == (1, True)


@pytest.mark.parametrize(
    ("server", "said"),
    [("nonesuch --x", "there is no program 'nonesuch'"), ("none.json", "none.json cannot be read: No such file")],
)
def test_a_server_that_is_not_there_is_one_sentence(server: str, said: str) -> None:
    done = run("tools", "--mcp", server)
    assert (done.returncode > 0, done.stdout, done.stderr.count("\n")) == (True, "", 1)
    assert said in done.stderr


def test_a_question_of_a_server_waits_and_the_run_is_resumed_with_its_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    server = shlex.join(command("waits"))
    with replay(calls(("echo", {"text": "hello"})), events({"content": "Done."})) as model:
        model_options = ("--model", "openai:m", "--mcp", server, "--state", "run.json")
        waits = run("run", *model_options, "Go.", OPENAI_BASE_URL=model.url)
        assert waits.returncode == 4
        assert "echo > elicitation  the MCP server hostile.py asks" in waits.stderr
        assert 'message = "Who?"' in waits.stderr
        option = next(line for line in waits.stderr.splitlines() if "--answer" in line)
        id_ = option.split("--answer ")[1].split("=")[0]
        assert option.endswith(f", or --deny {id_}")
        done = run("resume", "run.json", "--answer", f"{id_}=Ada", OPENAI_BASE_URL=model.url)
        assert (done.returncode, done.stdout) == (0, "Done.\n"), done.stderr
        said = json.loads(model.requests[1][1]["messages"][-1]["content"])
    assert said == [{"action": "accept", "content": {"name": "Ada"}}, "s"]


@pytest.mark.parametrize(
    ("typed", "said"),
    [("Ada", {"action": "accept", "content": {"name": "Ada"}}), ("/refuse", {"action": "decline"})],
)
def test_who_sits_at_the_terminal_is_asked_at_once(
    typed: str, said: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with replay(calls(("echo", {"text": "hello"})), events({"content": "Done."})) as model:
        server = shlex.join(command("waits"))
        done = run(
            *("run", "--model", "openai:m", "--mcp", server, "Go."),
            stdin=f"{typed}\n",
            tty=True,
            OPENAI_BASE_URL=model.url,
        )
        assert (done.returncode, done.stdout) == (0, "Done.\n"), done.stderr
        assert json.loads(model.requests[1][1]["messages"][-1]["content"])[0] == said
