"""Conversations that are kept, on the command line."""

import json
import re
import sqlite3
import stat
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from agentkit import Agent
from agentkit.automation import automation
from agentkit.cli import main
from agentkit.cli.sessions import split_session
from agentkit.errors import ConfigError
from agentkit.sessions import SQLiteSessions
from agentkit.sessions.locks import claimed
from agentkit.testing import ScriptedModel, call
from agentkit.testing.models import Answer
from tests.command import Terminal, calls, fresh_imports, interrupted_at, run
from tests.replay import events, replay
from tests.test_cli_approvals import TOOLS, deleted, on_terminal, results

HANG = '\n@tool\nasync def hang() -> str:\n    "Never end."\n    import anyio\n    await anyio.sleep_forever()\n'
ADA = ("--session", "chat.db:ada")
ASKED = (calls(("delete", {"path": "a"}), ("look", {})), events({"content": "Done."}))
EVIL = "hi\x1b[2J\n0  user\u202e"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current directory, with tools in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    (tmp_path / "tools.py").write_text(TOOLS + HANG, encoding="utf-8")
    with fresh_imports():
        yield tmp_path


def kept(name: str, *answers: Answer, question: str = "I am Ada.") -> None:
    """Have a conversation in ``chat.db``."""
    agent = Agent(ScriptedModel(answers))
    agent.run_sync(question, session=SQLiteSessions("chat.db")[name])


def names() -> Sequence[str]:
    return [each.name for each in anyio.run(SQLiteSessions("chat.db").list)]


@pytest.mark.parametrize(
    ("where", "file", "name"),
    [
        ("chat.db:ada", "chat.db", "ada"),
        ("chat.db", "chat.db", "default"),
        ("new.db:user:7", "new.db:user", "7"),
        ("is.db:user:7", "is.db", "user:7"),
        ("odd:is.db", "odd:is.db", "default"),
        ("odd:is.db:ada", "odd:is.db", "ada"),
        ("C:\\dir\\chat.db", "C:\\dir\\chat.db", "default"),
        ("C:/dir/chat.db", "C:/dir/chat.db", "default"),
        ("C:\\dir\\chat.db:ada", "C:\\dir\\chat.db", "ada"),
        ("c:ada", "c", "ada"),
    ],
)
def test_a_session_is_a_file_and_a_name(place: Path, where: str, file: str, name: str) -> None:
    for there in ("is.db", "odd:is.db"):
        (place / there).touch()
    assert split_session(where) == (file, name)


@pytest.mark.parametrize("where", ["", ":ada", "chat.db:", ":"])
def test_a_session_without_a_file_or_with_an_empty_name_is_refused(place: Path, where: str) -> None:
    with pytest.raises(ConfigError, match=r"names no|does not name"):
        split_session(where)


def test_a_run_knows_what_the_session_holds_and_stores_what_is_said(place: Path) -> None:
    with replay(events({"content": "Hello, Ada."}), events({"content": "Ada."}), events({"content": "Bye."})) as server:
        for question in ("I am Ada.", "Who am I?"):
            assert run("run", "-m", "openai:m", *ADA, question, OPENAI_BASE_URL=server.url).returncode == 0
        done = run("chat", "-m", "openai:m", *ADA, stdin="Bye!\n", OPENAI_BASE_URL=server.url)
    assert (done.returncode, done.stdout) == (0, "Bye.\n")
    said = [each["content"] for each in server.requests[2][1]["messages"]]
    assert said == ["I am Ada.", "Hello, Ada.", "Who am I?", "Ada.", "Bye!"]
    assert stat.S_IMODE(Path("chat.db").stat().st_mode) == 0o600


def test_a_run_that_was_interrupted_goes_on_without_a_question(place: Path) -> None:
    given = ("run", "-m", "openai:m", "-t", "tools.py", *ADA)
    with replay(calls(("hang", {})), events({"content": "It hung."})) as server:
        code, _, _ = interrupted_at("call 1", "stderr", *given, "go", url=server.url)
        assert code == 130
        done = run(*given, OPENAI_BASE_URL=server.url)
        assert (done.returncode, done.stdout) == (0, "It hung.\n")
        assert results(server)[0].startswith("Error: not finished")
        again = run(*given, OPENAI_BASE_URL=server.url)
    assert (again.returncode, again.stdout, len(server.requests)) == (0, "It hung.\n", 2)


def test_a_run_that_ended_at_its_limit_goes_on_with_more_turns(place: Path) -> None:
    given = ("run", "-m", "openai:m", "-t", "tools.py", *ADA, "--limit")
    looks = calls(("look", {}))
    answers = [looks, events({"content": "So far."}), looks, looks, events({"content": "All."})]
    with replay(*answers) as server:
        assert run(*given, "turns=1", "go", OPENAI_BASE_URL=server.url).returncode == 3
        done = run(*given, "turns=9", OPENAI_BASE_URL=server.url)
    assert (done.returncode, done.stdout) == (0, "All.\n")


def test_calls_that_wait_are_asked_about_on_a_terminal_when_the_run_is_resumed(place: Path) -> None:
    with replay(*ASKED) as server:
        paused = run("run", "-m", "openai:m", "-t", "tools.py", *ADA, "go", OPENAI_BASE_URL=server.url)
        assert (paused.returncode, deleted()) == (4, [])
        done = on_terminal("run", *ADA, url=server.url, typed="y\n")
    assert (done.returncode, done.stdout) == (0, "Done.\n")
    assert (deleted(), results(server)) == (["a"], ["deleted a", "empty"])


@pytest.mark.parametrize("given", ["run", "chat"])
def test_decisions_about_some_of_the_calls_are_not_saved_and_all_are_listed(place: Path, given: str) -> None:
    with replay(calls(("delete", {"path": "a"}), ("delete", {"path": "b"}))) as server:
        run("run", "-m", "openai:m", "-t", "tools.py", *ADA, "go", OPENAI_BASE_URL=server.url)
        done = on_terminal(given, *ADA, url=server.url, typed="y\n")  # and no more: as after Ctrl-D
    if given == "run":
        assert "  --approve c0, or --deny c0\n" in done.stderr
        assert "  --approve c1, or --deny c1\n" in done.stderr
    else:
        assert "you will be asked about the waiting calls again" in done.stderr
    assert deleted() == []


def test_a_conversation_asks_first_about_what_waits_in_its_session(place: Path) -> None:
    with replay(*ASKED, events({"content": "Bye."})) as server:
        run("run", "-m", "openai:m", "-t", "tools.py", *ADA, "go", OPENAI_BASE_URL=server.url)
        done = on_terminal("chat", *ADA, url=server.url, typed="keep it\nBye!\n/quit\n")
    assert "session 'ada' of 3 messages" in done.stderr
    assert done.stdout == "Done.\nBye.\n"
    assert (deleted(), server.requests[2][1]["messages"][-1]["content"]) == ([], "Bye!")


def test_without_a_terminal_what_waits_is_listed_and_decided_by_options(place: Path) -> None:
    given = ("-m", "openai:m", "-t", "tools.py", *ADA)
    with replay(*ASKED) as server:
        run("run", *given, "go", OPENAI_BASE_URL=server.url)
        asked = run("run", *given, "And?", OPENAI_BASE_URL=server.url)
        assert asked.returncode == 2
        assert "waits for decisions about delete: `agentkit run --session chat.db:ada`" in asked.stderr
        for command, said in (("run", ""), ("chat", "more\n")):
            waits = run(command, *given, stdin=said, OPENAI_BASE_URL=server.url)
            assert (waits.returncode, waits.stdout) == (4, "")
            assert waits.stderr.count('  path = "a"\n  --approve c0, or --deny c0\n') == 1
            assert waits.stderr.count('"a"') == 1
            assert waits.stderr.endswith("decide with `agentkit resume --session chat.db:ada` and these options\n")
        assert len(server.requests) == 1
        done = run("resume", *given, "--approve", "c0", OPENAI_BASE_URL=server.url)
        assert (done.returncode, done.stdout, deleted()) == (0, "Done.\n", ["a"])
        again = run("resume", *given, "--approve", "c0", OPENAI_BASE_URL=server.url)
    assert (again.returncode, again.stderr) == (2, "error: no call 'c0' waits for a decision; waiting: none\n")
    assert "go" in [each["content"] for each in server.requests[1][1]["messages"]]


def test_a_new_session_is_called_new(place: Path) -> None:
    done = run("chat", "-m", "ollama:m", *ADA, stdin="/quit\n", tty=True)
    assert (done.returncode, "new session 'ada'" in done.stderr) == (0, True)


def test_a_session_that_another_run_has_is_told(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept("ada", "Hello.")
    with claimed(Path("chat.db").resolve(), "ada"):
        assert main(["run", "-m", "openai:m", *ADA, "And?"]) == 1
        assert main(["sessions", "delete", "chat.db:ada", "--yes"]) == 1
    _, err = capsys.readouterr()
    assert [line.partition(" of ")[0] for line in err.splitlines()] == ["error: another run has session 'ada'"] * 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "--session", "chat2.db:ada"], "there is no file 'chat2.db'"),
        (["run", "--session", "chat.db:adda"], "there is no session 'adda' in chat.db; did you mean 'ada'?"),
        (["run", "--session", "chat.db:ada", "--state", "x", "hi"], "give --session or --state, not both"),
        (["run", "--session", "", "hi"], "'' does not name a session file"),
        (["resume"], "say what to resume"),
        (["resume", "x", "--session", "chat.db:ada"], "give FILE or --session, not both"),
        (["resume", "chat.db:ada"], "if it is a session, pass it as --session chat.db:ada"),
        (["resume", "chat.db"], "'chat.db' is a session file: pass it as --session chat.db:NAME"),
        (["run", "--state", "chat.db", "hi"], "would be overwritten: name another file"),
        (["run", "--session", "ada", "hi"], "there is no file 'ada': write FILE:NAME, as in chat.db:ada"),
        (["run", "--session", "no/chat.db:ada", "hi"], "check that its directory exists"),
        (["run", "--session", "dir:ada", "hi"], "is a directory"),
        (["sessions", "list", "notes.txt"], "it is not a SQLite database"),
        (
            ["resume", "--session", "chat.db"],
            "there is no session 'default' in chat.db; `agentkit sessions list chat.db`",
        ),
        (["sessions", "list", "chat2.db"], "there is no file 'chat2.db'"),
        (["sessions", "list", "."], "'.' is a directory"),
        (["sessions", "list", "chat.db:ada"], "name only the file, chat.db"),
        (["sessions", "search", "chat2.db", "x"], "there is no file 'chat2.db'"),
        (["sessions", "search", "chat.db", "", " "], "nothing to search for"),
        (["sessions", "show", "empty.db:ada"], "there is no session 'ada' in empty.db"),
        (["sessions", "search", "chat.db"], "Missing argument 'WORDS'"),
        (["sessions", "show", "chat2.db:ada"], "there is no file 'chat2.db'"),
        (["sessions", "show", "chat.db:a\x1bda"], "there is no session 'a\\x1bda' in chat.db; did you mean 'ada'?"),
        (["sessions", "export", "chat.db:bob"], "there is no session 'bob'"),
        (["sessions", "export", "chat.db:ada", "-o", "no/x"], "the export cannot be written to 'no/x'"),
        (["sessions", "export", "chat.db:ada", "-o", "dir"], "the export cannot be written to 'dir': it is not a file"),
        (["sessions", "delete", "chat.db:bob", "--yes"], "there is no session 'bob'"),
        (["sessions", "delete", "chat.db:ada"], "--yes deletes without asking"),
        (["sessions", "fly"], "No such command 'fly'"),
    ],
)
def test_what_is_misspelt_is_one_sentence_and_makes_nothing(
    place: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    kept("ada", "Hello.")
    (place / "dir").mkdir()
    (place / "empty.db").touch()
    (place / "notes.txt").write_text("Buy bread, and never overwrite this.\n" * 9, encoding="utf-8")
    before = sorted(place.rglob("*"))
    assert main([*arguments, *(["-m", "openai:m"] if arguments[0] != "sessions" else [])]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert sentence in err
    assert (sorted(place.rglob("*")), names()) == (before, ["ada"])


def test_sessions_are_listed(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sessions"]) == 0
    assert "Usage: agentkit sessions" in capsys.readouterr().out
    kept("ada", "Hello.")
    kept("b\x1bo\nb", "Hello.")
    assert main(["sessions", "list", "chat.db"]) == 0
    lines = [re.split("  +", line) for line in capsys.readouterr().out.splitlines()]
    assert [(line[0], line[1], line[3]) for line in lines] == [
        ("b\\u001bo\\u000ab", "2 messages", "done"),
        ("ada", "2 messages", "done"),
    ]
    assert main(["sessions", "list", "chat.db", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [(each["name"], each["messages"], each["status"]) for each in listed] == [
        ("b\x1bo\nb", 2, "done"),
        ("ada", 2, "done"),
    ]
    for name in ("ada", "b\x1bo\nb"):
        assert main(["sessions", "delete", f"chat.db:{name}", "--yes"]) == 0
    assert main(["sessions", "list", "chat.db"]) == 0
    assert capsys.readouterr() == ("", "there are no sessions in chat.db\n")


def test_a_name_as_long_as_a_book_does_not_fill_the_screen_and_times_have_a_zone(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept("ada", "Hello.")
    kept("x" * 1_000, "Hello.")
    assert main(["sessions", "list", "chat.db"]) == 0
    long, short = capsys.readouterr().out.splitlines()
    assert "[... 1,000 characters]" in long
    assert max(len(long), len(short) + 200) < 320
    assert re.fullmatch(r"ada +2 messages  [-0-9]{10} [:0-9]{8}[+-]\d\d:\d\d  done", short)


def test_looking_into_an_empty_file_leaves_it_empty(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("empty.db").touch()
    assert main(["sessions", "list", "empty.db"]) == 0
    assert main(["sessions", "search", "empty.db", "x"]) == 0
    assert capsys.readouterr().err.startswith("there are no sessions in empty.db\n")
    assert [(each.name, each.stat().st_size) for each in place.glob("empty*")] == [("empty.db", 0)]


def test_a_file_that_is_wrong_is_bad_input_and_one_that_is_locked_is_not(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept("ada", "Hello.")
    Path("other.db").write_text("Not a database at all." * 9, encoding="utf-8")
    assert main(["sessions", "list", "other.db"]) == 2
    with closing(sqlite3.connect("mine.db")) as mine:
        mine.execute("CREATE TABLE mine (x)")
    assert main(["sessions", "list", "mine.db"]) == 2
    with closing(sqlite3.connect("chat.db", isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        assert main(["sessions", "list", "chat.db"]) == 1
    assert "another program has locked it" in capsys.readouterr().err


def test_a_conversation_is_shown_with_its_calls_and_nothing_in_it_looks_like_another_message(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept("ada", [call("add", a=EVIL)], EVIL, question="I am Ada.\n")
    assert main(["sessions", "show", "chat.db:ada"]) == 0
    out, _ = capsys.readouterr()
    assert out.splitlines() == [
        "0  user",
        "     I am Ada.",
        "1  assistant",
        '   calls add(a="hi\\u001b[2J\\n0  user\\u202e")',
        "2  tool add",
        "     Error: there is no tool 'add'; there are no tools at all, so answer without one",
        "3  assistant",
        "     hi\\u001b[2J",
        "     0  user\\u202e",
    ]


def test_a_job_has_no_messages_and_it_says_so(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    @automation
    async def rest() -> None:
        """Do nothing."""

    anyio.run(rest.job(SQLiteSessions("chat.db"), "today").run)
    assert main(["sessions", "show", "chat.db:rest/today"]) == 0
    assert capsys.readouterr() == ("", "no messages\n")


def test_messages_are_found_with_their_session_and_place(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept("ada", EVIL)
    kept("grace", "Hello, Grace.", question="I am Grace.")
    assert main(["sessions", "search", "chat.db", "I", "AM"]) == 0
    assert sorted(capsys.readouterr().out.splitlines()) == ["ada    0  user  I am Ada.", "grace  0  user  I am Grace."]
    assert main(["sessions", "search", "chat.db", "hi"]) == 0
    assert capsys.readouterr().out == "ada  1  assistant  hi\\u001b[2J 0 user\\u202e\n"
    assert main(["sessions", "search", "chat.db", "am", "--limit", "1", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["number"], found["role"]) == (0, "user")
    assert main(["sessions", "search", "chat.db", "nowhere"]) == 0
    assert capsys.readouterr() == ("", "no message has all of these words\n")


def test_a_conversation_is_exported_as_json_lines(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept("ada", EVIL, question="Ädä?")
    wanted = [{"role": "user", "content": "Ädä?"}, {"role": "assistant", "content": EVIL}]
    assert main(["sessions", "export", "chat.db:ada"]) == 0
    printed = capsys.readouterr().out
    assert printed.isascii()
    assert main(["sessions", "export", "chat.db:ada", "-o", "out.jsonl"]) == 0
    written = Path("out.jsonl").read_text(encoding="utf-8")
    assert "Ädä?" in written
    assert [json.loads(line) for line in printed.splitlines()] == wanted
    assert [json.loads(line) for line in written.splitlines()] == wanted
    assert stat.S_IMODE(Path("out.jsonl").stat().st_mode) == 0o600


def test_an_export_on_a_terminal_is_escaped_and_still_json(place: Path) -> None:
    kept("ada", EVIL, question="Ädä\x9b?")
    seen = Terminal("sessions", "export", "chat.db:ada").read_all().rpartition("\r")[2]  # after "starting ..."
    assert "Ädä\\u009b?" in seen
    assert [json.loads(line)["content"] for line in seen.splitlines()] == ["Ädä\x9b?", EVIL]


@pytest.mark.parametrize(("said", "left", "code"), [("y\n", [], 0), ("\n", ["ada"], 1), ("", ["ada"], 1)])
def test_deleting_asks_on_a_terminal(place: Path, said: str, left: list[str], code: int) -> None:
    kept("ada", "Hello.")
    done = run("sessions", "delete", "chat.db:ada", stdin=said, tty=True)
    assert "delete session 'ada' with 2 messages? [y]es, [n]o: " in done.stderr
    assert ("nothing was deleted" in done.stderr) == bool(left)
    assert (done.returncode, names()) == (code, left)
