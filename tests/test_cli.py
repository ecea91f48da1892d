import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentkit.cli import main
from tests.command import PROMPT, Terminal, calls, environ, fresh_imports, interrupted_at, process, run
from tests.replay import HANG, answer, events, replay

TOOLS = """
import anyio
from agentkit import ToolContext, tool

@tool
async def add(a: int, b: int, context: ToolContext) -> int:
    "Add two numbers."
    print("a tool prints")
    context.progress(0.5, "half\\x1b[2J")
    return a + b

@tool
def fail(why: str) -> str:
    "Fail."
    raise ValueError(why)

@tool
async def hang() -> str:
    "Never end."
    await anyio.sleep_forever()

@tool
def block() -> str:
    "Block a thread."
    import threading
    threading.Event().wait()

def odd(x: type) -> str:
    "Cannot become a tool."
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current directory with tools in it, and no keys in the environment."""
    monkeypatch.chdir(tmp_path)
    for name in ("cli_tools.py", "other_tools.py"):
        (tmp_path / name).write_text(TOOLS, encoding="utf-8")
    with environ(), fresh_imports():
        yield tmp_path


ADDED = (calls(("add", {"a": 19, "b": 23}), text="Let me add."), events({"content": "It is "}, {"content": "42."}))


def test_a_pipe_gets_the_answer_alone_and_the_rest_goes_to_standard_error(place: Path) -> None:
    with replay(*ADDED) as server:
        done = run("run", "--model", "openai:m", "--tools", "cli_tools", "19+23?", OPENAI_BASE_URL=server.url)
    assert (done.returncode, done.stdout) == (0, "It is 42.\n")
    *notes, figures = done.stderr.splitlines()
    notes.remove("a tool prints")
    assert notes[:3] == ["Let me add.", "call 1  add(a=19, b=23)", "  .. 1  50% half\\u001b[2J"]
    assert notes[3].startswith("  -> 1  42  ")
    assert figures.startswith("2 turns, 1 call, about ")
    assert "\x1b" not in done.stdout + done.stderr
    assert server.requests[0][1]["stream"] is True


def test_what_a_model_writes_is_shown_and_never_interpreted(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = "[bold red]\x1b]0;x\x07\u202etxt[/nope]"
    with replay(calls(("fail", {"why": evil})), events({"content": evil})) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        assert main(["run", "-m", "openai:m", "-t", "cli_tools", "go"]) == 0
    out, err = capsys.readouterr()
    escaped = "[bold red]\\u001b]0;x\\u0007\\u202etxt[/nope]"
    assert out == f"{escaped}\n"
    assert f'fail(why="{escaped}")' in err
    assert "Error: fail failed with ValueError: [bold red]" in err
    assert not {"\x1b", "\x07", "\u202e"} & set(out + err)
    assert "Traceback" not in err


def test_json_is_one_event_a_line_and_nothing_else(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with replay(*ADDED) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        assert main(["run", "-m", "openai:m", "-t", "cli_tools", "--json", "19+23?"]) == 0
    out, err = capsys.readouterr()
    records = [json.loads(line) for line in out.splitlines()]
    assert [record["event"] for record in records] == [
        "RunStarted", "TurnStarted", "TextDelta", "CallDelta", "TurnFinished",
        "CallStarted", "Progress", "CallFinished",
        "TurnStarted", "TextDelta", "TextDelta", "TurnFinished", "RunFinished",
    ]  # fmt: skip
    assert records[5]["call"]["function"] == {"name": "add", "arguments": '{"a": 19, "b": 23}'}
    assert {"content": "42", "is_error": False}.items() <= records[7]["result"].items()
    state = records[-1]["state"]
    assert (state["status"], state["messages"][-1]["content"], state["usage"]["requests"]) == ("done", "It is 42.", 2)
    assert err == "a tool prints\n"


def test_a_limit_ends_with_the_answer_and_an_exit_code_of_its_own(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with replay(ADDED[0], events({"content": "as far as I came"})) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        assert main(["run", "-m", "openai:m", "-t", "cli_tools", "--limit", "turns=1", "go"]) == 3
    out, err = capsys.readouterr()
    assert out == "as far as I came\n"
    assert "the run ended early: the limit of 1 turn" in err


def test_the_wait_for_a_reply_is_an_option(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with replay([b"HTTP/1.1 200 OK\r\n\r\n: thinking\n\n", HANG]) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        assert main(["run", "-m", "openai:m", "--timeout", "1", "hi"]) == 1
    assert "after 1 s" in capsys.readouterr().err
    assert main(["run", "-m", "local", "--timeout", "1", "hi"]) == 2
    assert "'local' is not a provider's model" in capsys.readouterr().err


def test_the_question_and_the_model_can_come_from_outside(place: Path) -> None:
    with replay(events({"content": "hello"})) as server:
        done = run("run", "-", stdin="hi\n", AGENTKIT_MODEL="openai:m", OPENAI_BASE_URL=server.url)
    assert (done.returncode, done.stdout) == (0, "hello\n")
    assert server.requests[0][1]["messages"] == [{"role": "user", "content": "hi\n"}]


WRONG_KEY = answer(b'{"error": {"message": "Incorrect API key"}}', status="401 Unauthorized")
NO_MODEL = answer(b'{"error": {"message": "no model m"}}', status="404 Not Found")
REFUSED = answer(b'{"error": {"message": "no\\u001b[2J"}}', status="400 Bad Request")


@pytest.mark.parametrize(
    ("arguments", "answers", "code", "sentence"),
    [
        (["run", "-m", "openai:m", "hi"], [WRONG_KEY], 2, "openai (model m) answered 401: Incorrect API key"),
        (["run", "-m", "openai:m", "hi"], [NO_MODEL], 2, "check the model's name and the base URL"),
        (["run", "-m", "openai:m", "hi"], [REFUSED], 1, "answered 400: no\\u001b[2J"),
        (["run", "-m", "groq:m", "hi"], [], 2, "groq needs a key: set the environment variable GROQ_API_KEY"),
        (["run", "-m", "nowhere:m", "hi"], [], 2, "there is no"),
        (["run", "-m", "openai", "hi"], [], 2, "'openai' names no model"),
        (["run", "-m", "openai:m", ""], [], 2, "the prompt is empty"),
        (["run", "-m", "openai:m", " \n"], [], 2, "the prompt is empty"),
        (["run", "-m", "openai:m", "-t", "nothing", "hi"], [], 2, "there is no module 'nothing'"),
        (["run", "-m", "openai:m", "-t", "cli_tools:ad", "hi"], [], 2, "did you mean 'add'?"),
        (["run", "-m", "openai:m", "-t", "cli_tools:odd", "hi"], [], 2, "tool 'odd': parameter 'x'"),
        (
            ["run", "-m", "openai:m", "-t", "cli_tools:add", "-t", "other_tools.py:add", "hi"],
            [],
            2,
            "two tools are named",
        ),
        (["run", "-m", "openai:m", "--limit", "turns=0", "hi"], [], 2, "a run needs at least one turn"),
        (["run", "-m", "openai:m", "what", "is", "it"], [], 2, "put it in quotes"),
        (["run"], [], 2, "the question is missing; `agentkit run --help` says more"),
        (["run", "--nope", "hi"], [], 2, "No such option: --nope"),
        (["resume", "x", "--approve"], [], 2, "requires an argument; `agentkit resume --help` says more"),
        (["fly"], [], 2, "No such command 'fly'; `agentkit --help` says more"),
        (["runn"], [], 2, "Did you mean 'run'? `agentkit --help` says more"),
        (["run", "-m", "openai:m", "--schema", "no.json", "hi"], [], 2, "'no.json' cannot be read: No such file"),
        (["run", "-m", "openai:m", "--schema", "odd.json", "hi"], [], 2, "the schema 'odd.json' is not a JSON "),
        (["tools"], [], 2, "say which tools"),
        (["tools", "nothing.py"], [], 2, "there is no file"),
    ],
)
def test_bad_input_gives_one_sentence_and_a_fitting_exit_code(
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    answers: list[bytes],
    code: int,
    sentence: str,
) -> None:
    (place / "odd.json").write_text('{"type": "objekt"}', encoding="utf-8")
    with replay(*answers) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        assert main(arguments) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert sentence in err
    assert "Traceback" not in err


def test_an_unreachable_server_is_one_error_after_its_retries(place: Path) -> None:
    done = run("run", "-m", "openai:m", "hi", OPENAI_BASE_URL="http://127.0.0.1:9/v1")
    *retries, error = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (1, "")
    assert [line.startswith("trying again in ") for line in retries] == [True, True]
    assert error.startswith("error: no reply from http://127.0.0.1:9/v1")


def test_debug_adds_the_traceback(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tools", "--debug", "nothing"]) == 2
    _, err = capsys.readouterr()
    assert err.startswith("Traceback")
    assert err.splitlines()[-1].startswith("error: there is no module 'nothing'")


def test_a_failure_ends_the_json_events_too(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with replay(WRONG_KEY) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        assert main(["run", "-m", "openai:m", "--json", "hi"]) == 2
    ended = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (ended["event"], ended["state"]["status"]) == ("RunFinished", "failed")
    assert ended["error"]["type"] == "AuthenticationFailed"


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_a_missing_extra_is_named(missing: str) -> None:
    program = (
        f"import sys; sys.modules[{missing!r}] = None; from agentkit.cli import main; sys.exit(main(['run', 'x']))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert "agentkit[cli]" in done.stderr
    assert done.stderr.count("\n") == 1


def test_ctrl_c_while_the_command_is_loaded_ends_it_quietly() -> None:
    program = """
import sys

class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == "agentkit.cli.app":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupt())
from agentkit.cli import main
sys.exit(main(["run", "x"]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_schemas_are_printed_as_they_are_sent(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tools", "cli_tools:add", "cli_tools:fail"]) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert (first["type"], first["function"]["name"]) == ("function", "add")
    assert list(first["function"]["parameters"]["properties"]) == ["a", "b"]
    assert second["function"]["name"] == "fail"


def test_models_are_listed_and_a_key_is_never_shown(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GROQ_API_KEY", "gsk-secret")
    monkeypatch.setenv("VLLM_BASE_URL", "http://me:secret@gpu:8000/v1?key=secret")
    assert main(["models"]) == 0
    assert main(["models", "--json"]) == 0
    out = capsys.readouterr().out
    assert "secret" not in out
    text, _, listed = out.partition("{")
    lines = {line.split()[0]: line for line in text.splitlines()}
    assert "GROQ_API_KEY is set" in lines["groq:MODEL"]
    assert "OPENAI_API_KEY not set" in lines["openai:MODEL"]
    assert "http://gpu:8000/v1" in lines["vllm:MODEL"]
    assert "embedded model" in lines["local"]
    found = json.loads("{" + listed)
    assert {"name": "groq", "key_set": True}.items() <= next(
        each for each in found["providers"] if each["name"] == "groq"
    ).items()
    assert found["registered"]["local"] == "agentkit.local:open_model"


def test_help_and_version_are_there(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (
        [],
        ["--help"],
        ["run", "--help"],
        ["chat", "-h"],
        ["sessions", "list", "-h"],
        ["models", "pull", "--help"],
        ["sessions"],
        ["mcp"],
    ):
        assert main(arguments) == 0
        shown = capsys.readouterr().out
        assert "Usage: agentkit" in shown
        assert ("--install-completion" in shown) == (arguments in ([], ["--help"]))
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("agentkit 0.")


def test_a_conversation_keeps_its_history_and_survives_a_failed_answer(place: Path) -> None:
    said = "hello\n\n  \nbad\nand now?\n/quit\nnever\n"
    with replay(events({"content": "hi"}), REFUSED, events({"content": "still here"})) as server:
        done = run("chat", "-m", "openai:m", "-i", "Be brief.", stdin=said, OPENAI_BASE_URL=server.url)
    assert (done.returncode, done.stdout) == (1, "hi\nstill here\n")
    assert done.stderr.count("error: ") == 1
    assert [each["content"] for each in server.requests[2][1]["messages"]] == ["Be brief.", "hello", "hi", "and now?"]


def test_what_tools_did_stays_in_a_conversation_whose_answer_failed(place: Path) -> None:
    with replay(ADDED[0], REFUSED, events({"content": "42"})) as server:
        done = run("chat", "-m", "openai:m", "-t", "cli_tools", stdin="add\nand?\n", OPENAI_BASE_URL=server.url)
    assert (done.returncode, done.stdout) == (1, "42\n")
    roles = [each["role"] for each in server.requests[2][1]["messages"]]
    assert roles == ["user", "assistant", "tool", "assistant", "user"]


def test_ctrl_c_ends_a_run_cleanly(place: Path) -> None:
    hanging = [events({"content": "It will"}, finish_reason=None, done=False), HANG]
    with replay(hanging) as server:
        code, out, err = interrupted_at("TextDelta", "stdout", "run", "-m", "openai:m", "--json", "hi", url=server.url)
    assert (code, err) == (130, "")
    assert json.loads(out.splitlines()[-1])["state"]["status"] == "cancelled"


@pytest.mark.parametrize("tool", ["hang", "block"])
def test_ctrl_c_ends_a_run_whose_tool_never_ends(place: Path, tool: str) -> None:
    arguments = ("run", "-m", "openai:m", "-t", "cli_tools", "hi")
    with replay(calls((tool, {}))) as server:
        code, out, err = interrupted_at("call 1", "stderr", *arguments, url=server.url)
    assert (code, out) == (130, "")
    assert err.splitlines()[:2] == [f"call 1  {tool}()", "interrupted"]
    assert "Traceback" not in err


def test_a_reader_that_has_had_enough_ends_the_run_without_a_traceback(place: Path) -> None:
    given = process("run", "-m", "openai:m", "--json", "hi", OPENAI_BASE_URL="http://127.0.0.1:9/v1")
    with subprocess.Popen(**given, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as started:
        assert started.stdout
        assert started.stderr
        assert "RunStarted" in started.stdout.readline()
        started.stdout.close()
        err = started.stderr.read()
    assert (started.returncode, err) == (141, "")


def test_a_terminal_sees_the_answer_as_it_comes_with_colors_around_it(place: Path) -> None:
    with replay(*ADDED) as server:
        terminal = Terminal("run", "-m", "openai:m", "-t", "cli_tools", "19+23?", OPENAI_BASE_URL=server.url)
        seen = terminal.read_all()
    assert terminal.process.returncode == 0
    assert re.search(r"Let me add\. *\n", seen)
    assert "\x1b[32m✓ \x1b[0m\x1b[1madd(a=19, b=23)\x1b[0m" in seen
    assert re.search(r"It is 42\. *\n", seen)
    assert "\x1b[2J" not in seen


def test_no_color_is_respected(place: Path) -> None:
    with replay(*ADDED) as server:
        terminal = Terminal(
            "run", "-m", "openai:m", "-t", "cli_tools", "19+23?", NO_COLOR="1", OPENAI_BASE_URL=server.url
        )
        seen = terminal.read_all()
    assert "\x1b[3" not in seen
    assert "It is 42." in seen


def test_ctrl_c_stops_an_answer_and_the_conversation_goes_on(place: Path) -> None:
    with replay(calls(("hang", {})), events({"content": "back"})) as server:
        terminal = Terminal("chat", "-m", "openai:m", "-t", "cli_tools", OPENAI_BASE_URL=server.url)
        terminal.read_until(PROMPT)
        terminal.type("hang\r")
        terminal.read_until("hang()")
        terminal.process.send_signal(signal.SIGINT)
        terminal.read_until("interrupted")
        terminal.read_until(PROMPT)
        terminal.type("again\r")
        terminal.read_until("back")
        terminal.read_until(PROMPT)
        terminal.type("\x04")
        assert "Traceback" not in terminal.read_all()
    assert terminal.process.returncode == 0


def test_ctrl_c_at_the_prompt_ends_the_conversation(place: Path) -> None:
    terminal = Terminal("chat", "-m", "ollama:m")
    terminal.read_until(PROMPT)
    terminal.interrupt()
    assert "Traceback" not in terminal.read_all()
    assert terminal.process.returncode == 0
