"""A conversation on a terminal: typing, pasting, commands, stopping."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

from agentkit.cli.prompt import CommandCompleter, Editor
from agentkit.sessions import SQLiteSessions
from tests.command import PROMPT, Done, Terminal, calls, fresh_imports, run
from tests.replay import HANG, ReplayServer, events, replay

TOOLS = """
from agentkit import tool

@tool(requires_approval=True)
def delete(path: str) -> str:
    "Delete a file."
    return f"deleted {path}"
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current directory, with tools in it."""
    monkeypatch.chdir(tmp_path)
    Path("tools.py").write_text(TOOLS, encoding="utf-8")
    with fresh_imports():
        yield tmp_path


def said(server: ReplayServer, request: int = -1) -> list[Any]:
    return [each["content"] for each in server.requests[request][1]["messages"]]


def on_terminal(url: str, *arguments: str, typed: str) -> Done:
    return run("chat", "-m", "openai:m", *arguments, stdin=typed, tty=True, OPENAI_BASE_URL=url)


def test_a_paste_of_several_lines_is_one_message() -> None:
    with replay(events({"content": "Read."})) as server:
        terminal = Terminal("chat", "-m", "openai:m", OPENAI_BASE_URL=server.url)
        terminal.read_until(PROMPT)
        terminal.type("\x1b[200~one\ntwo\n\nthree\x1b[201~")
        terminal.type("\r")
        terminal.read_until("Read.")
        terminal.read_until(PROMPT)
        terminal.type("\x04")
        terminal.read_all()
    assert (said(server), len(server.requests), terminal.process.returncode) == (["one\ntwo\n\nthree"], 1, 0)


def test_a_line_is_continued_by_a_backslash_or_alt_enter() -> None:
    with replay(events({"content": "Read."})) as server:
        terminal = Terminal("chat", "-m", "openai:m", OPENAI_BASE_URL=server.url)
        terminal.read_until(PROMPT)
        terminal.type("one\\\rtwo\x1b\rthree\r")
        terminal.read_until("Read.")
        terminal.read_until(PROMPT)
        terminal.type("/usage\r")
        terminal.read_until("tokens")
        terminal.read_until(PROMPT)
        terminal.type("/quit\r")
        terminal.read_all()
    assert said(server) == ["one\ntwo\nthree"]
    assert terminal.process.returncode == 0


def test_ctrl_c_keeps_what_was_shown_and_the_model_knows_it() -> None:
    hanging = [events({"content": "Once upon "}, finish_reason=None, done=False), HANG]
    with replay(hanging, events({"content": "a time."})) as server:
        terminal = Terminal("chat", "-m", "openai:m", OPENAI_BASE_URL=server.url)
        terminal.read_until(PROMPT)
        terminal.type("A story\r")
        terminal.read_until("Once upon")
        terminal.process.send_signal(signal.SIGINT)
        terminal.read_until("interrupted")
        terminal.read_until(PROMPT)
        terminal.type("Go on\r")
        terminal.read_until("a time.")
        terminal.read_until(PROMPT)
        terminal.type("x\x03\x03")
        terminal.read_all()
    assert said(server)[0] == "A story"
    assert said(server)[1].startswith("Once upon")
    assert said(server)[2] == "Go on"
    assert terminal.process.returncode == 0


def test_ctrl_d_at_a_question_leaves_the_run_in_its_session() -> None:
    with replay(calls(("delete", {"path": "a"})), events({"content": "Done."})) as server:
        given = ("chat", "-m", "openai:m", "-t", "tools.py", "--session", "chat.db:ada")
        terminal = Terminal(*given, OPENAI_BASE_URL=server.url)
        terminal.read_until(PROMPT)
        terminal.type("go\r")
        terminal.read_until("refuse: ")
        terminal.type("\x04")
        terminal.read_until(PROMPT)
        terminal.type("\x04")
        terminal.read_all()
        state = SQLiteSessions("chat.db").sync["ada"].state()
        assert state is not None
        assert [each.name for each in state.pending] == ["delete"]
        done = run("resume", "--session", "chat.db:ada", "--approve", "c0", OPENAI_BASE_URL=server.url)
    assert (done.returncode, done.stdout) == (0, "Done.\n")


def test_a_question_is_forgotten_asked_again_and_changed() -> None:
    answers = [events({"content": each}) for each in ("One.", "Two.", "Again.", "Changed.")]
    with replay(*answers) as server:
        typed = "first\nsecond\n/retry\n/edit\nthird\n/undo\n/undo\n/undo\n/quit\n"
        done = on_terminal(server.url, typed=typed)
    assert (done.returncode, done.stdout) == (0, "One.\nTwo.\nAgain.\nChanged.\n")
    assert [said(server, each) for each in range(1, 4)] == [
        ["first", "One.", "second"],
        ["first", "One.", "second"],
        ["first", "One.", "third"],
    ]
    assert "forgotten: third" in done.stderr
    assert "forgotten: first" in done.stderr
    assert "there is no question yet" in done.stderr


def test_undo_in_a_session_leaves_the_session_as_it_was() -> None:
    with replay(*[events({"content": each}) for each in ("One.", "Two.", "Three.")]) as server:
        typed = "first\nsecond\n/undo\nthird\n/quit\n"
        done = on_terminal(server.url, "--session", "chat.db:ada", typed=typed)
    assert "the conversation continues in session 'ada-2'; 'ada' is as it was" in done.stderr
    sessions = SQLiteSessions("chat.db").sync
    assert [each.text for each in sessions["ada"].messages()] == ["first", "One.", "second", "Two."]
    assert [each.text for each in sessions["ada-2"].messages()] == ["first", "One.", "third", "Three."]


def test_a_conversation_is_saved_for_people_and_for_programs() -> None:
    Path("notes.txt").write_text("Milk.", encoding="utf-8")
    with replay(events({"content": "Yes.\x1b"})) as server:
        typed = "/attach notes.txt\nIs there milk?\n/save talk.json\n/save talk.md\n/save\n/usage\n/tools\n/quit\n"
        done = on_terminal(server.url, typed=typed)
    messages = json.loads(Path("talk.json").read_text(encoding="utf-8"))
    assert [part["text"] for part in messages[0]["content"]] == ["Is there milk?", "notes.txt:\n\nMilk."]
    assert messages[1]["content"] == "Yes.\x1b"
    assert "1  assistant\n     Yes.\\u001b\n" in Path("talk.md").read_text(encoding="utf-8")
    assert "say where: /save talk.md" in done.stderr
    assert "no tools" in done.stderr


def test_the_model_can_be_changed_and_what_is_wrong_ends_nothing() -> None:
    with replay(events({"content": "One."}), events({"content": "Two."})) as server:
        typed = (
            "first\n/model groq:m\n/model nowhere:m\n/model openai:other\n/attach no.png\n/fly\n/help\nsecond\n/quit\n"
        )
        done = on_terminal(server.url, typed=typed)
    assert (done.returncode, done.stdout) == (0, "One.\nTwo.\n")
    assert server.requests[1][1]["model"] == "other"
    for sentence in (
        "groq needs a key",
        "there is no provider 'nowhere'",
        "cannot be read",
        "no command /fly",
        "/retry",
    ):
        assert sentence in done.stderr


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("/", ["/help", "/attach"]),
        ("/he", ["/help"]),
        ("/help q", ["quick"]),
        ("/attach no", ["tes.txt"]),
        ("he", []),
        ("two\n/he", []),
    ],
)
def test_commands_and_what_follows_them_are_completed(typed: str, completed: list[str]) -> None:
    Path("notes.txt").touch()
    arguments = {"/help": ["quick"], "/attach": None}
    completer = CommandCompleter({"/help": "help", "/attach": "a file"}, arguments.__getitem__)
    found = completer.get_completions(Document(typed, len(typed)), CompleteEvent())
    assert [each.text for each in found] == completed


def test_what_was_typed_is_remembered_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "data" / "chat-history"
    Editor({}, history=file)
    assert file.stat().st_mode & 0o777 == 0o600
