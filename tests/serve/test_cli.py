"""``agentkit serve``: what it refuses, in a sentence, before it listens."""

import json
import shlex
import socket
from pathlib import Path
from typing import Any

import pytest

from agentkit.cli.serve import Setup, make_server
from agentkit.serve.agents import AgentBackend
from tests.command import calls, run
from tests.mcp.servers import command
from tests.replay import events, replay
from tests.serve.asgi import TOKEN
from tests.serve.test_sockets import official, running

APP = """
from agentkit import Agent
from agentkit.testing import ScriptedModel

shop = Agent(ScriptedModel([]), name="shop")
desk = Agent(ScriptedModel([]))
other = 7
"""


@pytest.fixture(autouse=True)
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "app.py").write_text(APP)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing.py:agent"], "there is no file"),
        (["app.py"], "has several agents"),
        (["app.py:shp"], "did you mean 'shop'?"),
        (["app.py:other"], "but an agent is needed"),
        (["app.py:shop", "shop=app.py:desk"], "two agents are named 'shop'"),
        (["app.py:shop", "--host", "0.0.0.0"], "--allowed-host"),
        (["app.py:shop", "--host", "0.0.0.0", "--allowed-host", "*", "--no-token"], "needs a token"),
        (["app.py:shop", "--token", "short"], "at least 8 characters"),
        (["app.py:shop", "--token", "long-enough", "--no-token"], "not both"),
        (["app.py:shop", "--origin", "*"], "no wildcard"),
        (["app.py:shop", "--tools", "app.py"], "make an agent"),
        (["app.py:shop", "--mcp", "server"], "make an agent"),
        (["--model", "ollama:x", "--mcp", "none.json"], "none.json cannot be read: No such file"),
        (["app.py:shop", "--gateway", "openai:x"], "without an agent"),
        (["app.py:shop", "--record", "x"], "for models of --gateway"),
        (["app.py:shop", "--model", "nobody:x"], "nobody"),
        (["app.py:shop", "--store", "."], "cannot hold the runs"),
        (["app.py:shop", "--sessions", "missing/chat.db"], "check that its directory exists"),
        (["app.py:shop", "--sessions", "app.py"], "not a SQLite database"),
        (["app.py:shop", "--model", "openai:x"], "OPENAI_API_KEY"),
        (["--gateway", "openai:x"], "OPENAI_API_KEY"),
        (["--gateway", "ollama:x", "--fallback", "openai:x"], "OPENAI_API_KEY"),
        (["--gateway", "nobody:x"], "nobody"),
        (["app.py:shop", "--port", "99999"], "65535"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_served_is_refused_in_a_sentence(arguments: list[str], said: str) -> None:
    done = run("serve", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_mcp_server_that_cannot_be_started_is_reported_before_anything_listens() -> None:
    done = run("serve", "--model", "ollama:x", "--mcp", "nonesuch --x", "--port", "0")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "there is no program 'nonesuch'" in done.stderr


def test_the_tools_of_mcp_servers_are_those_of_the_unnamed_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    with replay(calls(("echo", {"text": "hello"})), events({"content": "Done."})) as model:
        monkeypatch.setenv("OPENAI_BASE_URL", model.url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        server = make_server(Setup(model="openai:m", mcp=[shlex.join(command("none"))], token=TOKEN))
        with running(server) as address:
            ask: list[Any] = [{"role": "user", "content": "Go."}]
            answer = official(address).chat.completions.create(model="agent", messages=ask)
        assert answer.choices[0].message.content == "Done."
        assert model.requests[1][1]["messages"][-1]["content"] == "hello"


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"cannot listen on 127.0.0.1, port {port}" in run("serve", "app.py:shop", "--port", str(port)).stderr


def test_an_agent_is_named_by_the_user_by_itself_or_by_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    setup = Setup(agents=["first=app.py:shop", "app.py:shop", "app.py:desk"], token="long-enough")
    assert list(make_server(setup).backends) == ["first", "shop", "desk"]
    monkeypatch.setenv("AGENTKIT_SERVE", json.dumps({"agents": ["app.py:desk"], "limits": {"requests": 3}}))
    server = make_server()
    assert (list(server.backends), server.is_open) == (["desk"], True)


def test_a_model_is_put_behind_agents_and_alone() -> None:
    (backend,) = make_server(Setup(agents=["app.py:shop"], model="ollama:qwen3")).backends.values()
    assert isinstance(backend, AgentBackend)
    assert "qwen3" in repr(backend.agent.model)
    assert list(make_server(Setup(model="ollama:qwen3")).backends) == ["agent"]
    gateway = make_server(Setup(gateway=["ollama:qwen3", "small=ollama:llama3"], fallback=["ollama:x"]))
    assert list(gateway.backends) == ["ollama:qwen3", "small"]
