"""Ready-made tools on the command line: ``--with name:argument``."""

import json
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import calls, fresh_imports, run
from tests.replay import events, replay


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A current directory with something for each toolset."""
    monkeypatch.chdir(tmp_path)
    Path("notes").mkdir()
    Path("notes/plan.md").write_text("# Plan\n", encoding="utf-8")
    Path("skills/tea").mkdir(parents=True)
    Path("skills/tea/SKILL.md").write_text("---\nname: tea\ndescription: Make tea.\n---\nBoil.\n", encoding="utf-8")
    with sqlite3.connect("shop.db") as shop:
        shop.execute("CREATE TABLE item (name TEXT)")
    operation = {"operationId": "list_pets", "summary": "List all pets.", "responses": {}}
    api = {"openapi": "3.1.0", "servers": [{"url": "https://pets.example"}], "paths": {"/pets": {"get": operation}}}
    Path("api.json").write_text(json.dumps(api), encoding="utf-8")
    with fresh_imports():
        yield tmp_path


@pytest.mark.parametrize(
    ("spec", "tool"),
    [
        ("ask", "ask_user"),
        ("calculator", "calculate"),
        ("clock", "current_time"),
        ("clock:Europe/Paris", "current_time"),
        ("files:notes", "read_file"),
        ("http:api.example.com,localhost:8080", "fetch_page"),
        ("memory:memory.db", "recall"),
        ("openapi:api.json", "list_pets"),
        ("python", "run_python"),
        ("random:7", "shuffle_list"),
        ("search:notes", "search_documents"),
        ("shell:notes", "run_command"),
        ("skills:skills", "read_skill"),
        ("sql:shop.db", "query_database"),
        ("todo", "update_plan"),
    ],
)
def test_a_spec_offers_the_tools_of_its_toolset(spec: str, tool: str) -> None:
    done = run("tools", "--with", spec)
    assert done.returncode == 0, done.stderr
    assert tool in [each["function"]["name"] for each in json.loads(done.stdout)]


def test_files_of_a_spec_can_be_read_and_not_written() -> None:
    done = run("tools", "--with", "files:notes")
    assert {each["function"]["name"] for each in json.loads(done.stdout)} == {
        *("list_files", "find_files", "read_file", "search_files")
    }


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("fils:.", "--with 'fils:.': there are no ready-made tools named 'fils'; did you mean 'files'?"),
        ("", "--with '': there are no ready-made tools named ''; there are ask, calculator, clock, "),
        ("files", "--with 'files': the folder is missing: write --with files:."),
        ("files: ", "--with 'files: ': the folder is missing: write --with files:."),
        ("clock:", "--with 'clock:': the time zone is missing: write --with clock:Europe/Paris"),
        ("http:a.example,", "--with 'http:a.example,': the host is missing: write --with http:api.example.com"),
        ("todo:1", "--with 'todo:1': todo takes no argument: write --with todo"),
        ("files:nowhere", "--with 'files:nowhere': cannot open the directory 'nowhere': No such file or directory"),
        ("http:https://x.example", "--with 'http:https://x.example': allow: 'https://x.example' is not a host"),
        ("sql:shop.sqlite", "--with 'sql:shop.sqlite': Sql: there is no database 'shop.sqlite'"),
        ("clock:Mars", "--with 'clock:Mars': Clock('Mars'): there is no such time zone"),
    ],
)
@pytest.mark.parametrize("command", ["run", "chat", "tools"])
def test_a_bad_spec_is_one_sentence_and_ends_with_2(command: str, spec: str, said: str) -> None:
    done = run(command, *(["Hello"] if command == "run" else []), "--with", spec)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {said}")
    assert done.stderr.count("\n") == 1


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydantic_monty", None)
    done = run("tools", "--with", "python")
    assert done.returncode == 2
    assert done.stderr == "error: --with 'python': Python: running code needs the extra agentkit[python]\n"


def test_tools_of_one_name_are_refused_and_the_same_spec_twice_is_one() -> None:
    done = run("tools", "--with", "files:notes", "--with", "files:skills")
    assert done.returncode == 2
    assert "'list_files', from --with files:notes and --with files:skills: leave one out" in done.stderr
    assert run("tools", "--with", "files:notes", "--with", "files:notes").returncode == 0


def test_tools_needs_at_least_one_of_both() -> None:
    done = run("tools")
    assert done.returncode == 2
    assert done.stderr.startswith("error: say which tools: MODULE[:NAME], or --with NAME;")


def test_ready_made_tools_and_those_of_a_file_are_used_together() -> None:
    Path("mine.py").write_text('def add(a: int) -> int:\n    "Add."\n    return a\n', encoding="utf-8")
    with replay(calls(("read_file", {"path": "plan.md"}), ("add", {"a": 7})), events({"content": "Done."})) as server:
        done = run(
            "run", "-m", "openai:x", "-t", "mine.py:add", "--with", "files:notes", "Go.", OPENAI_BASE_URL=server.url
        )
    assert (done.returncode, done.stdout) == (0, "Done.\n")
    results = [each["content"] for each in server.requests[1][1]["messages"] if each["role"] == "tool"]
    assert "# Plan" in results[0]
    assert results[1] == "7"


def test_a_command_waits_and_is_resumed_with_the_same_spec() -> None:
    common = ["-m", "openai:x", "--with", "shell:notes"]
    with replay(calls(("run_command", {"command": "ls"}))) as server:
        waiting = run("run", *common, "--state", "run.json", "List.", OPENAI_BASE_URL=server.url, AGENTKIT_LOG="off")
    assert waiting.returncode == 4
    with replay(events({"content": "I may not."})) as server:
        without = run(
            "resume", "run.json", "-m", "openai:x", "--deny", "c0", OPENAI_BASE_URL=server.url, AGENTKIT_LOG="off"
        )
        assert "give the same --tools, --with and --mcp as when it was started" in without.stderr
        resumed = run("resume", "run.json", *common, "--deny", "c0", OPENAI_BASE_URL=server.url)
    assert (resumed.returncode, resumed.stdout) == (0, "I may not.\n")


def test_chat_offers_them() -> None:
    with replay(events({"content": "Hi."})) as server:
        done = run("chat", "-m", "openai:x", "--with", "todo", stdin="Hello\n", OPENAI_BASE_URL=server.url)
    assert done.returncode == 0
    assert [each["function"]["name"] for each in server.requests[0][1]["tools"]] == ["update_plan"]


def test_check_shows_what_they_can_do_alone_and_together() -> None:
    done = run("tools", "--check", "--with", "files:notes", "--with", "http:api.example.com")
    assert done.returncode == 1
    paragraphs = done.stdout.split("\n\n")
    assert paragraphs[0].splitlines()[1:] == ["  strict", "  reads private data"]
    fetching = paragraphs[4].splitlines()
    assert fetching[2] == "  reads untrusted content, talks to the outside"
    assert fetching[3].startswith(
        "  - completes what can leak private data without an approval: list_files reads private"
    )
    assert paragraphs[5].endswith("  reads untrusted content, talks to the outside, may wait for approval")
    assert paragraphs[-1].splitlines() == [
        "reads private data: list_files, find_files, read_file, search_files",
        "reads untrusted content: fetch_page, http_request (may wait)",
        "talks to the outside: fetch_page, http_request (may wait)",
        "6 tools, 1 thing to improve",
    ]


def test_check_for_programs_has_it_too() -> None:
    done = run("tools", "--check", "--json", "--with", "http:api.example.com")
    assert done.returncode == 0
    access = {each["name"]: (each["access"], each["may_wait"]) for each in json.loads(done.stdout)}
    assert access == {
        "fetch_page": (["untrusted", "outside"], False),
        "http_request": (["untrusted", "outside"], True),
    }
