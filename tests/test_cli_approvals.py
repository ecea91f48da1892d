"""Calls that wait for a decision, on the command line."""

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentkit.cli import main
from tests.command import Done, Terminal, calls, fresh_imports, interrupted_at, run
from tests.replay import ReplayServer, events, replay

TOOLS = """
from pathlib import Path
from agentkit import tool
from agentkit import Tool

@tool(requires_approval=True)
def delete(path: str) -> str:
    "Delete a file."
    with Path("deleted.txt").open("a") as file:
        file.write(path + "\\n")
    return f"deleted {path}"

@tool
def look() -> str:
    "Look."
    return "empty"

ask = Tool.external("ask", "Ask.", {"type": "object", "properties": {"what": {"type": "string"}}})
"""
PAY = """
from agentkit import tool

@tool(requires_approval=True)
def pay(amounts: list[float], to: dict[str, float]) -> str:
    "Pay."
    return "paid"
"""
EDITS = """
from agentkit import tool

def diff(context, arguments):
    return "it changes a\\n--- a\\n+++ a\\n-old\\x1b[2J\\n+new"

@tool(requires_approval=diff)
def edit(path: str) -> str:
    "Edit."
    return path
"""
EVIL = "a\x1b[2J\u202eb" + "x" * 3000 + "the end"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current directory, with tools in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tools.py").write_text(TOOLS, encoding="utf-8")
    with fresh_imports():
        yield tmp_path


def deleted() -> list[str]:
    path = Path("deleted.txt")
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def results(server: ReplayServer, request: int = 1) -> list[str]:
    """What the model reads of its calls."""
    return [each["content"] for each in server.requests[request][1]["messages"] if each["role"] == "tool"]


def on_terminal(command: str, *arguments: str, url: str, typed: str) -> Done:
    """Run it with these lines typed on a terminal."""
    given = (command, "-m", "openai:m", "-t", "tools.py", *arguments)
    return run(*given, stdin=typed, tty=True, OPENAI_BASE_URL=url)


def terminal(*arguments: str, url: str) -> Terminal:
    return Terminal("run", "-m", "openai:m", "-t", "tools.py", *arguments, OPENAI_BASE_URL=url, NO_COLOR="1")


ASKED = (calls(("delete", {"path": "a"}), ("look", {})), events({"content": "Done."}))


def test_a_person_is_asked_with_all_that_the_tool_would_get_escaped(place: Path) -> None:
    with replay(calls(("delete", {"path": EVIL})), ASKED[1]) as server:
        done = on_terminal("run", "go", url=server.url, typed="\nnot that one\n")
    shown = "a\\u001b[2J\\u202eb" + "x" * 3000 + "the end"
    assert done.stderr.count(f'  path = "{shown}"') == 1
    assert "that is neither yes nor no: y lets the call run, n or a reason refuses it" in done.stderr
    assert "the tool delete requires approval of every call" in done.stderr
    assert "\u202e" not in done.stderr
    assert (done.returncode, done.stdout, deleted()) == (0, "Done.\n", [])
    assert results(server) == ["Error: not run: a person refused this call: not that one"]


@pytest.mark.parametrize("number", ["100000000000000000000.01", "1e2", "0.10000000000000000555", "-0.0", "9" * 40])
def test_a_number_is_shown_in_the_digits_that_the_model_wrote(place: Path, number: str) -> None:
    (place / "pay.py").write_text(PAY, encoding="utf-8")
    arguments = f'{{"amounts": [{number}], "to": {{"x": {number}}}}}'
    delta = {"index": 0, "id": "c0", "function": {"name": "pay", "arguments": arguments}}
    with replay(events({"tool_calls": [delta]}, finish_reason="tool_calls")) as server:
        done = run("run", "-m", "openai:m", "-t", "pay.py", "--state", "run.json", "go", OPENAI_BASE_URL=server.url)
    assert (done.returncode, done.stdout) == (4, "")
    assert f"  amounts = [{number}]\n" in done.stderr
    assert f'  to = {{"x": {number}}}\n' in done.stderr


@pytest.mark.parametrize(
    ("said", "gone"),
    [("y", ["a"]), ("Yes", ["a"]), (" always ", ["a"]), ("n", []), ("No", []), ("no, it is mine", []), ("wrong", [])],
)
def test_yes_lets_a_call_run_and_a_reason_refuses_it(place: Path, said: str, gone: list[str]) -> None:
    with replay(*ASKED) as server:
        done = on_terminal("run", "go", url=server.url, typed=f"{said}\n")
    assert (done.returncode, done.stdout, deleted()) == (0, "Done.\n", gone)
    assert len(results(server)) == 2


@pytest.mark.parametrize("said", ["", "Yes please", "ye", "yess", "ok", "sure, go on", "/model", "?", "allways", "x"])
def test_an_answer_that_could_mean_either_is_asked_again(place: Path, said: str) -> None:
    with replay(*ASKED) as server:
        done = on_terminal("run", "go", url=server.url, typed=f"{said}\nn\n")
    assert (done.returncode, done.stdout, deleted()) == (0, "Done.\n", [])
    assert done.stderr.count("that is neither yes nor no") == 1
    assert results(server)[0] == "Error: not run: a person refused this call"


def test_other_arguments_can_be_given_and_the_tool_gets_those(place: Path) -> None:
    with replay(*ASKED) as server:
        typed = 'e\n{"path": \ne\n[]\ne\n\nedit\n{"path": "b"}\n'
        done = on_terminal("run", "go", url=server.url, typed=typed)
    assert (done.returncode, done.stdout, deleted()) == (0, "Done.\n", ["b"])
    assert 'the arguments as they are: {"path": "a"}' in done.stderr
    assert done.stderr.count("the call still waits: ") == 3


def test_what_the_tool_says_about_a_change_is_shown_as_a_diff_and_escaped(place: Path) -> None:
    Path("edits.py").write_text(EDITS, encoding="utf-8")
    with replay(calls(("edit", {"path": "a"})), ASKED[1]) as server:
        done = run("run", "-m", "openai:m", "-t", "edits.py", "go", stdin="n\n", tty=True, OPENAI_BASE_URL=server.url)
    assert "it changes a" in done.stderr
    assert "\n  --- a\n  +++ a\n  -old\\u001b[2J\n  +new\n" in done.stderr


def test_a_run_is_resumed_with_the_model_and_tools_that_it_was_started_with(place: Path) -> None:
    with replay(*ASKED) as server:
        start(server.url)
        done = run("resume", "run.json", "--approve", "c0", OPENAI_BASE_URL=server.url)
    assert (done.returncode, done.stdout, deleted()) == (0, "Done.\n", ["a"])
    assert done.stderr.startswith("resumed as it was started: openai:m, tools.py\n")


def test_ctrl_d_leaves_a_run_that_is_saved_although_nobody_said_where(place: Path) -> None:
    with replay(*ASKED) as server:
        left = on_terminal("run", "go", url=server.url, typed="")
        assert (left.returncode, deleted()) == (4, [])
        command = left.stderr.rpartition("decide with `agentkit ")[2].partition("`")[0].split()
        assert stat.S_IMODE(Path(command[1]).stat().st_mode) == 0o600
        done = run(*command, "--approve", "c0", OPENAI_BASE_URL=server.url)
    assert (done.returncode, done.stdout, deleted()) == (0, "Done.\n", ["a"])
    assert not Path(command[1]).exists()


def test_what_is_missing_to_resume_a_run_is_said(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with replay(ASKED[0]) as server:
        start(server.url)
        unknown = run("resume", "run.json", "--approve", "c0", AGENTKIT_DATA=str(place / "empty"))
        (place / "elsewhere").mkdir()
        monkeypatch.chdir(place / "elsewhere")
        away = run("resume", "../run.json", "--approve", "c0")
    assert (unknown.returncode, away.returncode, len(server.requests)) == (2, 2, 1)
    assert unknown.stderr.startswith("error: the log of runs does not know how this run was started: give --model")
    assert away.stderr == f"error: this run was started in '{place}', which its tools came from: resume it there\n"


def test_what_is_typed_before_the_question_is_no_answer(place: Path) -> None:
    with replay(calls(("delete", {"path": "a"}), ("delete", {"path": "b"})), ASKED[1]) as server:
        command = terminal("go", url=server.url)
        command.read_until("refuse: ")
        command.type("n\ny\ny\n")
        command.read_until("refuse: ")
        command.type("n\n")
        command.read_all()
    assert deleted() == []


def test_always_holds_for_the_conversation(place: Path) -> None:
    answers = [ASKED[0], ASKED[1], calls(("delete", {"path": "b"})), events({"content": "Both."})]
    with replay(*answers) as server:
        done = on_terminal("chat", url=server.url, typed="go\na\nmore\n/quit\n")
    assert (done.stdout, done.stderr.count("Allow?"), deleted()) == ("Done.\nBoth.\n", 1, ["a", "b"])


def test_an_external_tool_asks_for_its_result(place: Path) -> None:
    with replay(calls(("ask", {"what": "size"})), ASKED[1]) as server:
        done = on_terminal("run", "go", url=server.url, typed="43\n")
    assert 'what = "size"\nits result, or /refuse: ' in done.stderr
    assert results(server) == ["43"]


def test_ctrl_c_at_the_question_leaves_a_run_that_can_be_resumed(place: Path) -> None:
    with replay(calls(("delete", {"path": "a"}), ("delete", {"path": "b"})), ASKED[1]) as server:
        command = terminal("--state", "run.json", "go", url=server.url)
        command.read_until("refuse: ")
        command.type("y\n")
        command.read_until("refuse: ")
        command.interrupt()
        assert "--approve c1" in command.read_all()
        assert (command.process.returncode, deleted()) == (4, [])
        done = resume("--approve", "c1", url=server.url)
    assert (done.returncode, done.stdout, sorted(deleted())) == (0, "Done.\n", ["a", "b"])


def resume(*arguments: str, url: str) -> Done:
    return run("resume", "run.json", "-m", "openai:m", "-t", "tools.py", *arguments, OPENAI_BASE_URL=url)


def start(url: str, *arguments: str, log: str = "on") -> Done:
    given = ("run", "-m", "openai:m", "-t", "tools.py", "--state", "run.json", *arguments, "go")
    return run(*given, OPENAI_BASE_URL=url, AGENTKIT_LOG=log)


def test_without_a_terminal_the_run_pauses_and_its_state_goes_on_later(place: Path) -> None:
    both = calls(("delete", {"path": "a"}), ("delete", {"path": "b"}), ("ask", {"what": "size"}))
    with replay(both, ASKED[1]) as server:
        done = start(server.url)
        assert (done.returncode, done.stdout, deleted()) == (4, "", [])
        waits = "waits  delete  the tool delete requires approval of every call"
        assert f'{waits}\n  path = "a"\n  --approve c0, or --deny c0\n' in done.stderr
        assert '  what = "size"\n  --answer c2=TEXT, or --deny c2\n' in done.stderr
        assert done.stderr.endswith("decide with `agentkit resume run.json` and these options\n")
        assert done.stderr.count('"a"') == 1
        assert stat.S_IMODE(Path("run.json").stat().st_mode) == 0o600
        some = resume("--deny", "c0=keep it", "--answer", "c2=4=4", url=server.url)
        assert (some.returncode, len(server.requests)) == (4, 1)
        assert 'denied  delete(path="a")\n' in some.stderr
        assert "(path=" not in some.stderr.replace('denied  delete(path="a")', "")
        last = resume("--approve", "c1", url=server.url)
        assert (last.returncode, last.stdout, deleted()) == (0, "Done.\n", ["b"])
        assert "2 turns, 2 calls, 1 denied, " in last.stderr
        again = resume("--approve", "c1", url=server.url)
    assert (again.returncode, again.stdout, deleted()) == (2, "", ["b"])
    assert again.stderr == "error: no call 'c1' waits for a decision; waiting: none\n"
    assert results(server) == ["Error: not run: a person refused this call: keep it", "deleted b", "4=4"]
    assert [each.name for each in place.iterdir() if each.suffix == ".new"] == []


def test_a_conversation_without_a_terminal_ends_where_it_has_to_ask(place: Path) -> None:
    with replay(*ASKED) as server:
        done = run("chat", "-m", "openai:m", "-t", "tools.py", stdin="go\nmore\n", OPENAI_BASE_URL=server.url)
    assert (done.returncode, deleted(), len(server.requests)) == (4, [], 1)


def test_json_has_what_waits(place: Path) -> None:
    with replay(ASKED[0]) as server:
        done = start(server.url, "--json")
    assert (done.returncode, done.stderr) == (4, "")
    records: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
    (asked,) = [each for each in records if each["event"] == "ApprovalRequested"]
    assert (asked["call"]["id"], asked["reason"]) == ("c0", "the tool delete requires approval of every call")
    state = records[-1]["state"]
    assert (state["status"], list(state["approvals"])) == ("paused", ["c0"])


@pytest.mark.parametrize(
    ("content", "arguments", "sentence"),
    [
        (None, [], "the state 'run.json' cannot be read: No such file"),
        ("{}", [], "'run.json': this is not the saved state of a run"),
        ("no", [], "'run.json': the saved state cannot be read: it is not JSON"),
        ("\xff", [], "'run.json': the saved state cannot be read: it is not JSON"),
        ("", ["--approve", "c9"], "no call 'c9' waits for a decision; waiting: 'c0'"),
        ("", ["--answer", "c0"], "--answer 'c0' has no text: write --answer ID=TEXT"),
    ],
)
def test_what_cannot_be_resumed_is_one_sentence(
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    content: str | None,
    arguments: list[str],
    sentence: str,
) -> None:
    for name in ("OPENAI_API_KEY", "AGENTKIT_MODEL"):
        monkeypatch.delenv(name, raising=False)
    path = place / "run.json"
    if content == "":
        with replay(ASKED[0]) as server:
            start(server.url)
    elif content is not None:
        path.write_text(content, encoding="latin-1")
    before = path.read_bytes() if path.exists() else b""
    assert main(["resume", "run.json", "-m", "ollama:m", "-t", "tools.py", *arguments]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"error: {sentence}")
    assert (path.read_bytes() if path.exists() else b"") == before


@pytest.mark.parametrize(("file", "why"), [("nowhere/run.json", "No such file"), (".", "it is not a file")])
def test_a_state_that_cannot_be_written_is_told_before_anything_is_asked(place: Path, file: str, why: str) -> None:
    with replay(events({"content": "hi"})) as server:
        done = run("run", "-m", "openai:m", "--state", file, "go", OPENAI_BASE_URL=server.url)
    assert (done.returncode, done.stdout, server.requests) == (2, "", [])
    assert f"the state cannot be written to '{file}': {why}" in done.stderr


def test_a_file_that_looks_like_the_temporary_one_of_the_state_stays(place: Path) -> None:
    mine = [Path(name) for name in ("run.json.new", ".run.json.new", "run.json.tmp", ".run.json.1.new")]
    for file in mine:
        file.write_text("mine", encoding="utf-8")
    with replay(*ASKED) as server:
        assert start(server.url).returncode == 4
    assert [file.read_text(encoding="utf-8") for file in mine] == ["mine"] * len(mine)
    assert {*Path().iterdir()} >= {*mine, Path("run.json")}


def test_a_run_that_waits_is_not_overwritten_by_another(place: Path) -> None:
    Path("run.json").touch()
    with replay(ASKED[0], ASKED[1], ASKED[1]) as server:
        assert start(server.url).returncode == 4
        before = Path("run.json").read_bytes()
        refused = start(server.url)
        assert (refused.returncode, len(server.requests), Path("run.json").read_bytes()) == (2, 1, before)
        said = "holds a run that waits for decisions about delete: decide with `agentkit resume run.json`, or name"
        assert said in refused.stderr
        assert resume("--approve", "c0", url=server.url).returncode == 0
        assert start(server.url).returncode == 0


def test_tools_that_are_forgotten_when_a_run_goes_on_are_named(place: Path) -> None:
    with replay(ASKED[0]) as server:
        start(server.url, log="off")
        done = run(
            "resume", "run.json", "-m", "openai:m", "--approve", "c0", OPENAI_BASE_URL=server.url, AGENTKIT_LOG="off"
        )
    said = "this run has the tools ask, delete, look: give the same --tools, --with and --mcp as when it was started"
    assert (done.returncode, done.stderr, len(server.requests)) == (2, f"error: {said}\n", 1)


def test_where_nothing_keeps_the_run_no_options_are_shown(place: Path) -> None:
    with replay(ASKED[0]) as server:
        done = run("run", "-m", "openai:m", "-t", "tools.py", "go", OPENAI_BASE_URL=server.url)
    assert (done.returncode, done.stderr.count('path = "a"')) == (4, 1)
    assert "--approve" not in done.stderr
    assert done.stderr.endswith("this run is not saved: with --session FILE:NAME it could wait for decisions\n")


def test_quit_at_a_question_is_no_reason_and_leaves_the_calls_undecided(place: Path) -> None:
    saved = ("--session", "chat.db:ada")
    with replay(*ASKED) as server:
        left = on_terminal("chat", *saved, url=server.url, typed="go\n/quit\nmore\n")
        assert (left.returncode, len(server.requests), deleted()) == (0, 1, [])
        assert "decide with `agentkit resume --session chat.db:ada`" in left.stderr
        given = ("-m", "openai:m", "-t", "tools.py", *saved)
        done = run("resume", *given, "--approve", "c0", OPENAI_BASE_URL=server.url)
    assert (done.returncode, done.stdout, deleted()) == (0, "Done.\n", ["a"])


HANG = '\n@tool\nasync def hang() -> str:\n    "Never end."\n    import anyio\n    await anyio.sleep_forever()\n'


@pytest.mark.parametrize(
    ("keep", "go_on"),
    [
        (("--state", "my run.json"), "`agentkit resume 'my run.json'` resumes it"),
        (("--session", "chat.db:ada"), "`agentkit resume --session chat.db:ada` resumes it"),
    ],
)
def test_after_ctrl_c_it_is_said_how_to_go_on(place: Path, keep: tuple[str, str], go_on: str) -> None:
    (place / "tools.py").write_text(TOOLS + HANG, encoding="utf-8")
    given = ("run", "-m", "openai:m", "-t", "tools.py", *keep, "go")
    with replay(calls(("hang", {}))) as server:
        code, _, err = interrupted_at("call 1", "stderr", *given, url=server.url)
    assert code == 130
    assert err.splitlines()[-1].startswith(go_on)
