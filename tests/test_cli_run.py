"""What `agentkit run` runs: agents, pipes, attachments, models, parameters, limits, schemas, dependencies."""

import json
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentkit.cli.agents import Setup, open_agent
from agentkit.cli.models import choose_model
from agentkit.errors import ConfigError
from tests.command import calls, environ, fresh_imports, process, run
from tests.replay import HANG, ReplayServer, events, replay

APP = """
from contextlib import asynccontextmanager
from dataclasses import dataclass
from agentkit import Agent, Limits, RunContext, ToolContext, tool
from agentkit.chat import ChatClient
from agentkit.testing import ScriptedModel, call

print("the module prints")

@dataclass
class Stock:
    items: int

@tool
async def count(context: ToolContext[Stock]) -> int:
    "Count the stock."
    return context.deps.items

def connect() -> Stock:
    return Stock(7)

async def connect_later() -> Stock:
    return Stock(8)

@asynccontextmanager
async def connection():
    print("opened")
    yield Stock(9)
    print("closed")

def broken():
    raise ValueError("no stock")

@dataclass
class Total:
    value: int
    of: str = ""

model = ScriptedModel([call("count"), "There are 7."] * 3)
agent = Agent(model, tools=[count], deps_type=Stock, limits=Limits(turns=9), name="shop")
def make() -> Agent[Stock]:
    return agent
remote = Agent("openai:m", instructions="Be brief.", name="remote")
number = 5
"""
ONE = "from agentkit import Agent\nfrom agentkit.testing import ScriptedModel\nit = Agent(ScriptedModel(['One.'] * 9))"
PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 20


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current directory, with an agent in it and no keys in the environment."""
    monkeypatch.chdir(tmp_path)
    Path("app.py").write_text(APP, encoding="utf-8")
    Path("one.py").write_text(ONE, encoding="utf-8")
    with environ(), fresh_imports():
        yield tmp_path


def sent(server: ReplayServer, request: int = 0) -> Any:
    return server.requests[request][1]


@pytest.mark.parametrize("agent", ["app.py:agent", "app:agent", "app.py:make"])
def test_an_agent_runs_with_its_own_tools_and_the_dependencies_that_are_named(agent: str) -> None:
    done = run("run", agent, "--deps", "app.py:connect", "How many?")
    assert (done.returncode, done.stdout) == (0, "There are 7.\n"), done.stderr
    assert done.stderr.startswith("the module prints\ncall 1  count()\n  -> 1  7  ")


@pytest.mark.parametrize(("deps", "count"), [("connect_later", "8"), ("connection", "9")])
def test_dependencies_may_come_from_async_functions_and_are_closed(deps: str, count: str) -> None:
    done = run("run", "app.py:agent", "--deps", f"app.py:{deps}", "How many?")
    assert done.returncode == 0, done.stderr
    assert f"  -> 1  {count}  " in done.stderr


def test_the_only_agent_of_a_file_need_not_be_named() -> None:
    assert run("run", "one.py", "Hi").stdout == "One.\n"
    assert run("chat", "one.py", stdin="Hi\n").stdout == "One.\n"


def test_tools_model_and_instructions_are_added_to_an_agent() -> None:
    Path("more.py").write_text('def add(a: int) -> int:\n    "Add."\n    return a\n', encoding="utf-8")
    given: tuple[str, ...] = ("app.py:remote", "-m", "groq:x", "-t", "more.py:add", "-i", "In French.", "Hi")
    with replay(events({"content": "Salut."})) as server:
        assert run("run", *given, OPENAI_BASE_URL=server.url).returncode == 2  # of the key
        given = ("app.py:remote", "-t", "more.py:add", "-i", "In French.", "Hi")
        done = run("run", *given, OPENAI_BASE_URL=server.url)
    assert (done.returncode, done.stdout) == (0, "Salut.\n"), done.stderr
    assert [each["function"]["name"] for each in sent(server)["tools"]] == ["add"]
    system = " ".join(each["content"] for each in sent(server)["messages"] if each["role"] == "system")
    assert ("Be brief." in system, "In French." in system) == (True, True)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["app.py", "Hi"], "app.py has several agents: name one of app.py:agent, app.py:remote"),
        (["app.py:agnt", "Hi"], "there is no 'agnt' in it; did you mean 'agent'?"),
        (["app.py:number", "Hi"], "app.py:number is a value of type int, but an agent is needed"),
        (["app.py:broken", "Hi"], "app.py:broken cannot be called: ValueError: no stock (app.py, line "),
        (["missing.py:agent", "Hi"], "there is no file"),
        (["one_tool.py", "Hi"], "one_tool.py has no agent: write --tools one_tool.py to give its tools to a model"),
        (["app.py:agent", "--deps", "app.py:conect", "Hi"], "did you mean 'connect'?"),
        (["app.py:agent", "Hi"], "deps"),
        (
            ["app.py:agent", "--timeout", "5", "--deps", "app.py:connect", "Hi"],
            "--timeout needs --model",
        ),
        (["app.py:agent"], "the question is missing"),
        (["one.py", "how", "many"], "put it in quotes"),
        (["one.py", "-o", "temprature=1", "Hi"], "there is no 'temprature'; did you mean 'temperature'?"),
        (["one.py", "-o", "temperature", "Hi"], "write -o temperature=VALUE"),
        (["one.py", "-o", "temperature=hot", "Hi"], "temperature must be a number, not 'hot'"),
        (["one.py", "--limit", "turn=5", "Hi"], "there is no 'turn'; did you mean 'turns'?"),
        (["one.py", "--limit", "turns=many", "Hi"], "must be a whole number"),
        (["one.py", "--schema", "app.py:Totl", "Hi"], "did you mean 'Total'?"),
        (["one.py", "--schema", "no.json", "Hi"], "the schema 'no.json' cannot be read"),
        (["one.py", "--schema", "noise.bin.json", "Hi"], "the schema 'noise.bin.json' is not JSON"),
        (["one.py", "--schema", "five.json", "Hi"], "the schema 'five.json' is not a JSON object"),
        (
            ["one.py", "--schema", "odd.json", "Hi"],
            "the schema 'odd.json' is not a JSON Schema: member 'x' has the type 'nonsense'; there are array",
        ),
        (["one.py", "-a", "no.png", "Hi"], "the attachment 'no.png' cannot be read: No such file"),
        (["one.py", "-a", "noise.bin", "Hi"], "is not an image, audio, PDF or text file"),
        (["one.py", "-a", "empty.txt", "Hi"], "the attachment 'empty.txt' is empty"),
        (
            ["-m", "local:noise.bin", "-a", "https://example.com/x.png", "What is it?"],
            "a local model reads only text, and a message has an image",
        ),
    ],
)
def test_what_is_wrong_is_one_sentence_and_nothing_is_asked(arguments: list[str], sentence: str) -> None:
    Path("noise.bin").write_bytes(bytes(range(256)))
    Path("empty.txt").touch()
    Path("one_tool.py").write_text("def add(a: int) -> int: return a", encoding="utf-8")
    Path("noise.bin.json").write_bytes(bytes(range(256)))
    Path("five.json").write_text("5", encoding="utf-8")
    Path("odd.json").write_text('{"properties": {"x": {"type": "nonsense"}}}', encoding="utf-8")
    done = run("run", *arguments)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    *_, error = done.stderr.splitlines()
    assert error.startswith("error: ")
    assert sentence in error


@pytest.mark.parametrize("command", [("chat", "hello"), ("chat", "what is it?")])
def test_a_question_is_not_taken_for_an_agent(command: tuple[str, ...]) -> None:
    done = run(*command, stdin="Hi\n")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: {command[1]!r} does not name an agent: write app.py:agent or package.module:agent\n"


def test_a_pipe_is_sent_before_the_question_or_is_the_question() -> None:
    with replay(*[events({"content": "Short."})] * 3) as server:
        given: Any = {"OPENAI_BASE_URL": server.url}
        assert run("run", "-m", "openai:m", "Summarize", stdin="Long.\n", **given).stdout == "Short.\n"
        assert run("run", "-m", "openai:m", stdin="Long.\n", **given).stdout == "Short.\n"
        assert run("run", "-m", "openai:m", "Summarize", stdin="", **given).stdout == "Short.\n"
    assert [sent(server, each)["messages"][0]["content"] for each in range(3)] == [
        "Long.\n\nSummarize",
        "Long.\n",
        "Summarize",
    ]


def test_files_are_attached_by_what_they_are() -> None:
    Path("a.png").write_bytes(PNG)
    Path("noname").write_bytes(PNG)
    Path("a.wav").write_bytes(b"RIFF")
    Path("a.pdf").write_bytes(b"%PDF-1.7 x")
    Path("a.txt").write_text("Notes.", encoding="utf-8")
    files = ["a.png", "noname", "a.wav", "a.pdf", "a.txt", "https://example.com/x.png"]
    with replay(events({"content": "Seen."})) as server:
        given = [each for file in files for each in ("-a", file)]
        done = run("run", "-m", "openai:m", *given, "What is it?", OPENAI_BASE_URL=server.url)
    assert done.returncode == 0, done.stderr
    parts = sent(server)["messages"][0]["content"]
    kinds = ["text", "image_url", "image_url", "input_audio", "file", "text", "image_url"]
    assert [each["type"] for each in parts] == kinds
    assert (parts[0]["text"], parts[5]["text"]) == ("What is it?", "a.txt:\n\nNotes.")
    assert parts[4]["file"]["filename"] == "a.pdf"


def test_parameters_and_limits_of_any_name_are_sent() -> None:
    with replay(calls(("no", {})), events({"content": "So far."})) as server:
        given = ("-o", "temperature=0.2", "-o", "top_k=5", "-o", "stop=END", "--limit", "turns=1")
        done = run("run", "-m", "openai:m", *given, "Hi", OPENAI_BASE_URL=server.url)
    assert (done.returncode, done.stdout) == (3, "So far.\n")
    assert {"temperature": 0.2, "top_k": 5, "stop": "END"}.items() <= sent(server).items()


@pytest.mark.parametrize("schema", ["app.py:Total", "total.json"])
def test_with_a_schema_the_output_is_json(schema: str) -> None:
    members = {"value": {"type": "integer"}, "of": {"type": "string"}}
    Path("total.json").write_text(
        json.dumps({"title": "Total", "type": "object", "properties": members, "required": ["value", "of"]}),
        encoding="utf-8",
    )
    with replay(events({"content": '{"value": 42, "of": "a\u202eb"}'})) as server:
        done = run("run", "-m", "openai:m", "--schema", schema, "Hi", OPENAI_BASE_URL=server.url)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"value": 42, "of": "a\u202eb"}
    assert "\u202e" not in done.stdout
    assert sent(server)["response_format"]["type"] == "json_schema"


def test_the_model_is_the_given_one_else_of_the_variable_else_by_a_key() -> None:
    keys = {"GITHUB_TOKEN": "x", "GROQ_API_KEY": "x", "ANTHROPIC_API_KEY": "x"}
    assert choose_model("a:b", keys) == ("a:b", "")
    assert choose_model("", {**keys, "AGENTKIT_MODEL": "c:d"}) == ("c:d", "AGENTKIT_MODEL names it")
    name, why = choose_model("", keys)
    assert name.startswith("anthropic:")
    assert why.startswith("ANTHROPIC_API_KEY is set")


def test_which_model_was_chosen_is_said_on_standard_error() -> None:
    with replay(events({"content": "Hello."})) as server:
        done = run("run", "Hi", OPENAI_BASE_URL=server.url, OPENAI_API_KEY="sk-1")
    assert done.stdout == "Hello.\n"
    assert done.stderr.startswith(f"model openai:{sent(server)['model']}: OPENAI_API_KEY is set; ")


def test_without_any_model_it_is_said_how_to_get_one(tmp_path: Path) -> None:
    done = run("run", "Hi", AGENTKIT_CACHE=str(tmp_path / "nothing"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: there is no model: name one with --model (such as ollama:qwen3)")


@pytest.mark.parametrize(
    "arguments", [["chat", "-m", "groq:m"], ["run", "app.py:remote", "Hi"], ["chat", "app.py:remote"]]
)
def test_a_missing_key_is_told_before_the_first_question(arguments: list[str]) -> None:
    done = run(*arguments, stdin="Hi\n")
    assert (done.returncode, done.stdout) == (2, "")
    assert "needs a key: set the environment variable" in done.stderr


def test_a_pipe_gets_the_answer_while_it_is_written() -> None:
    with replay([events({"content": "Once "}, finish_reason=None, done=False), HANG]) as server:
        given = process("run", "-m", "openai:m", "Hi", OPENAI_BASE_URL=server.url)
        with subprocess.Popen(**given, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as started:
            assert started.stdout
            assert started.stdout.read(5) == "Once "
            started.kill()


def test_the_log_holds_what_was_asked_and_answered_for_its_owner_alone(tmp_path: Path) -> None:
    data: Any = {"AGENTKIT_DATA": str(tmp_path / "data")}
    assert run("logs", **data).stderr.startswith("there are no runs in ")
    with replay(events({"content": "It is\x1b 42."}), events({"content": "No."})) as server:
        note = str(tmp_path / "note.txt")
        Path(note).write_text("Help me.", encoding="utf-8")
        run("run", "-m", "openai:m", "-a", note, "What is 19 + 23?", **data, OPENAI_BASE_URL=server.url)
        run(
            "run",
            "-m",
            "openai:m",
            "-o",
            'extra_headers={"x-key": "hidden"}',
            "100%?",
            **data,
            OPENAI_BASE_URL=server.url,
        )
    file = tmp_path / "data" / "logs.db"
    assert (stat.S_IMODE(file.stat().st_mode), stat.S_IMODE(file.parent.stat().st_mode)) == (0o600, 0o700)
    first, second = run("logs", **data).stdout.split("\n\n")
    assert first.endswith("\n  > What is 19 + 23? note.txt: Help me.\n    It is\\u001b 42.")
    assert "openai:m  done, 1 turn, 0 calls" in second
    assert run("logs", "--search", "42 what", **data).stdout.count("  > ") == 1
    assert "100%?" in run("logs", "--search", "0%", **data).stdout
    assert run("logs", "--search", "9%", **data).stderr == "no run has all of these words\n"
    (listed,) = json.loads(run("logs", "-n", "1", "--json", **data).stdout)
    assert (listed["prompt"], listed["answer"], listed["setup"]) == ("100%?", "No.", {"model": "openai:m"})
    assert b"hidden" not in file.read_bytes()
    assert run("logs", listed["id"][:12], **data).stdout.endswith("> 100%?\n\nNo.\n")
    assert run("logs", "nowhere", **data).returncode == 2


def test_the_log_can_be_turned_off(tmp_path: Path) -> None:
    data: Any = {"AGENTKIT_DATA": str(tmp_path / "data")}
    assert run("logs", "--off", **data).stderr == "the log of runs is off\n"
    assert run("run", "one.py", "Hi", **data).stdout == "One.\n"
    assert not (tmp_path / "data" / "logs.db").exists()
    assert run("logs", "--on", **data).returncode == 0
    assert run("run", "one.py", "Hi", **data, AGENTKIT_LOG="off").returncode == 0
    assert not (tmp_path / "data" / "logs.db").exists()


def test_a_log_that_cannot_be_written_fails_no_run(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    done = run("run", "one.py", "Hi", AGENTKIT_DATA=str(tmp_path / "data"))
    assert (done.returncode, done.stdout) == (0, "One.\n")
    assert "this run is not in the log: " in done.stderr


def test_options_of_a_command_line_take_the_place_of_earlier_ones() -> None:
    started = Setup(agent="app.py:agent", tools=["a.py"], parameters=["seed=1"]).to_dict()
    assert Setup(parameters=["seed=2"]).over({**started, "unknown": 1}) == Setup(
        agent="app.py:agent", tools=["a.py"], parameters=["seed=2"]
    )


def test_a_source_of_tools_that_cannot_be_opened_is_told_before_the_first_question() -> None:
    opened = open_agent(Setup(agent="app.py:agent", deps="app.py:connect"))
    opened.options["deps"] = None
    Path("bad.py").write_text("async def connect():\n    raise RuntimeError('no server')\n", encoding="utf-8")
    with pytest.raises(RuntimeError, match="no server"), open_agent(Setup("one.py", deps="bad.py:connect")).hold():
        pass
    with pytest.raises(ConfigError, match="cannot be called"):
        open_agent(Setup("one.py", deps="app.py:broken"))
