"""`agentkit extract`: many files, JSON Lines or CSV, failures at the end, and going on where it stopped."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentkit import Reply
from agentkit.errors import AuthenticationFailed, BadRequest
from agentkit.testing import Server, fault
from agentkit.testing.server.serve import Scripted
from tests.command import Done, Terminal, fresh_imports, interrupted_at, run
from tests.test_output_confidence import reply

TYPES = """
from typing import Any, Literal
from pydantic import BaseModel, computed_field
from agentkit import OutputSchema, TypedOutput

class Line(BaseModel):
    what: str
    price: float = 0
    tags: list[str] = []

class Refusal(BaseModel):
    reason: str

class Computed(BaseModel):
    n: int

    @computed_field
    def twice(self) -> int:
        return self.n * 2

class Odd(BaseModel):
    file: str

def shouted(text: str) -> str:
    return text.upper()

Lines = list[Line]
Either = Line | Refusal
Maybe = Line | None
def doubled(n: int) -> int:
    return n * 2

RETURNED = TypedOutput(doubled)
KIND = TypedOutput(Literal["spam", "ham"], confidence=True)
SCHEMA = OutputSchema({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]})
wrong = 3
"""
TEA = '{"what": "tea", "price": 2.5, "tags": ["a"]}'


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory with a module of types and three files."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "types_here.py").write_text(TYPES, encoding="utf-8")
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.txt").write_text(f"This is {name}.", encoding="utf-8")
    with fresh_imports():
        yield tmp_path


def extracted(script: list[Scripted], kind: str, *arguments: str, **options: Any) -> tuple[Done, Server]:
    """The command with a server that plays the script, one file at a time."""
    given = ("extract", f"types_here.py:{kind}", *arguments, "--model", "openai:m", "--concurrency", "1")
    with Server(script) as server:
        return run(*given, OPENAI_BASE_URL=server.url, OPENAI_API_KEY="k", **options), server


def rows(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_objects_are_printed_as_lines_of_json(here: Path) -> None:
    done, server = extracted([TEA, TEA], "Line", "a.txt", "./b.txt", "a.txt")
    assert (done.returncode, done.stderr) == (0, "2 files: 2 done\n")
    tea = {"what": "tea", "price": 2.5, "tags": ["a"]}
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {"file": "a.txt", "output": tea},
        {"file": "./b.txt", "output": tea},
    ]
    assert server.requests[0].parameters["messages"][1]["content"] == "This is a."


def test_standard_input_is_a_file_too(here: Path) -> None:
    done, server = extracted([TEA], "Line", "-", "--instructions", "Prices in euros.", stdin="Tea for 2.50")
    assert json.loads(done.stdout)["file"] == "-"
    system, user = server.requests[0].parameters["messages"]
    assert (system["content"].endswith("Prices in euros."), user["content"]) == (True, "Tea for 2.50")


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_failures_are_listed_at_the_end_and_only_they_are_done_again(here: Path, suffix: str) -> None:
    failure = BadRequest("the text is\x1b[2J too odd", status=400)
    arguments = ("a.txt", "b.txt", "c.txt", "--out", f"out.{suffix}")
    done, _ = extracted([TEA, *[failure] * 3, TEA], "Line", *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    first, second = done.stderr.splitlines()
    assert first == "3 files: 2 done, 1 failed:"
    assert second.startswith("  b.txt: ")
    assert "too odd" in second
    assert "\x1b" not in second
    again, server = extracted([TEA], "Line", *arguments)
    assert (again.returncode, again.stderr) == (0, "3 files: 1 done, 2 done before\n")
    assert [each.parameters["messages"][1]["content"] for each in server.requests] == ["This is b."]
    text = (here / f"out.{suffix}").read_text(encoding="utf-8")
    assert [name in text for name in ("a.txt", "b.txt", "c.txt")] == [True, True, True]
    last, server = extracted([], "Line", *arguments)
    assert (last.returncode, last.stderr, server.requests) == (0, "3 files: 0 done, 3 done before\n", [])


def test_a_table_has_a_column_for_each_member(here: Path) -> None:
    extracted([TEA, '{"what": "say \\"hi\\",\\nyou", "price": 1, "tags": []}'], "Line", "a.txt", "b.txt", "-o", "x.csv")
    assert rows(here / "x.csv") == [
        ["file", "what", "price", "tags"],
        ["a.txt", "tea", "2.5", '["a"]'],
        ["b.txt", 'say "hi",\nyou', "1.0", "[]"],
    ]


@pytest.mark.parametrize(
    ("kind", "answer", "table"),
    [
        ("Lines", f'{{"value": [{TEA}, {TEA}]}}', ["file,what,price,tags", *['a.txt,tea,2.5,"[""a""]"'] * 2]),
        ("Either", '{"value": {"reason": "blurred"}}', ["file,what,price,tags,reason", "a.txt,,,,blurred"]),
        ("Maybe", '{"value": null}', ["file,what,price,tags", "a.txt,,,"]),
        ("Odd", '{"file": "x"}', ["_file,file", "a.txt,x"]),
        ("shouted", '{"text": "x"}', ["file,output", "a.txt,X"]),
        ("Computed", '{"n": 3}', ["file,n"]),
        ("RETURNED", '{"n": 3}', ["file,n"]),
        ("SCHEMA", '{"n": 3}', ["file,n", "a.txt,3"]),
    ],
)
def test_tables_of_other_shapes(here: Path, kind: str, answer: str, table: list[str]) -> None:
    done, _ = extracted([answer], kind, "a.txt", "--out", "x.csv")
    assert (here / "x.csv").read_text(encoding="utf-8").splitlines() == table
    if kind in ("Computed", "RETURNED"):  # more than the columns hold: nothing may be lost
        assert done.returncode == 2
        assert "write a .jsonl instead" in done.stderr
    else:
        assert done.returncode == 0


def test_a_json_schema_in_a_file_is_a_type_too(here: Path) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    (here / "schema.json").write_text(json.dumps(schema), encoding="utf-8")
    with Server(['{"n": 3}']) as server:
        arguments = ("extract", "schema.json", "a.txt", "--model", "openai:m")
        done = run(*arguments, OPENAI_BASE_URL=server.url, OPENAI_API_KEY="k")
    assert json.loads(done.stdout) == {"file": "a.txt", "output": {"n": 3}}


def test_a_classification_has_its_confidence(here: Path) -> None:
    ham: Reply = reply(("ham", 0.5))
    extracted([ham], "KIND", "a.txt", "--out", "x.csv")
    assert rows(here / "x.csv") == [["file", "output", "confidence"], ["a.txt", "ham", "0.5"]]
    done, _ = extracted([ham], "KIND", "a.txt")
    assert json.loads(done.stdout) == {"file": "a.txt", "output": "ham", "confidence": 0.5}


@pytest.mark.parametrize(
    ("name", "whole", "half"),
    [
        ("x.jsonl", f'{{"file": "a.txt", "output": {TEA}}}\n', '{"file": "b.txt", "outp'),
        ("x.csv", 'file,what,price,tags\na.txt,"two\nlines",1.0,[]\n', 'b.txt,"half\nof'),
    ],
)
def test_half_a_record_at_the_end_is_done_again(here: Path, name: str, whole: str, half: str) -> None:
    (here / name).write_text(whole + half, encoding="utf-8")
    done, server = extracted([TEA], "Line", "a.txt", "b.txt", "--out", name)
    assert (done.returncode, len(server.requests)) == (0, 1)
    text = (here / name).read_text(encoding="utf-8")
    assert text.startswith(whole + ("b.txt,tea" if name == "x.csv" else '{"file": "b.txt", "output": {"what": "tea"'))


def test_a_wrong_key_ends_it_at_once_and_keeps_what_is_done(here: Path) -> None:
    denied = AuthenticationFailed("Incorrect API key", status=401)
    done, server = extracted([TEA, denied, denied], "Line", "a.txt", "b.txt", "c.txt", "--out", "x.jsonl")
    assert (done.returncode, len(server.requests)) == (2, 2)
    assert "Incorrect API key" in done.stderr
    assert (here / "x.jsonl").read_text(encoding="utf-8").count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("types_here.py:Nothing", "a.txt"), "there is no 'Nothing' in it"),
        (("types_here.py:Lime", "a.txt"), "did you mean 'Line'?"),
        (("types_here.py:", "a.txt"), "names no type after the colon: write types_here.py:name"),
        (("types_here.py", "a.txt"), "types_here.py is a module: name a type in it, types_here.py:TYPE"),
        (("types_here.py:wrong", "a.txt"), "output type 3"),
        (("nowhere:Line", "a.txt"), "there is no module 'nowhere'"),
        (("types_here.py:Line", "missing.txt"), "'missing.txt' is not there"),
        (("types_here.py:Line", "."), "'.' is a directory: name the files in it"),
        (("types_here.py:Line", "a.txt", "--out", "x.txt"), "must end in .jsonl or .csv"),
        (("types_here.py:Line", "a.txt", "--out", "no/x.csv"), "cannot be written: No such file or directory"),
        (("types_here.py:Line", "a.txt", "--out", "full.csv"), "its columns are file, n, not file, what, price, tags"),
        (("types_here.py:Line", "a.txt", "--out", "full.jsonl"), "holds something else"),
        (("types_here.py:Line", "a.txt", "--model", "opnai:m"), "did you mean 'openai:m'?"),
        (("missing.json", "a.txt"), "the schema 'missing.json' cannot be read"),
        (("types_here.py:Line",), "Missing argument"),
    ],
)
def test_wrong_input_is_one_sentence_and_nothing_is_sent(
    here: Path, arguments: tuple[str, ...], complaint: str
) -> None:
    (here / "full.csv").write_text("file,n\na.txt,3\n", encoding="utf-8")
    (here / "full.jsonl").write_text("[1]\nhello\n", encoding="utf-8")
    done = run("extract", *arguments, *(() if "--model" in arguments else ("--model", "openai:m")), OPENAI_API_KEY="k")
    assert (done.returncode, done.stdout) == (2, "")
    assert complaint in done.stderr
    assert done.stderr.count("\n") == 1
    assert (here / "full.csv").read_text(encoding="utf-8") == "file,n\na.txt,3\n"


def test_ctrl_c_keeps_what_is_done(here: Path) -> None:
    arguments = ("extract", "types_here.py:Line", "a.txt", "b.txt", "--model", "openai:m", "--concurrency", "1")
    with Server([TEA, fault("stall")]) as server:
        code, out, err = interrupted_at("a.txt", "stdout", *arguments, url=server.url)
    assert (code, out.count("\n"), err) == (130, 1, "")


def test_a_terminal_shows_how_far_it_is_and_nothing_of_it_stays(here: Path) -> None:
    with Server([TEA, TEA, TEA]) as server:
        files = [str(here / f"{name}.txt") for name in ("a", "b", "c")]
        terminal = Terminal(
            *("extract", f"{here / 'types_here.py'}:Line", *files, "--model", "openai:m", "--concurrency", "1"),
            OPENAI_BASE_URL=server.url,
            OPENAI_API_KEY="k",
        )
        seen = terminal.read_all()
    assert "0/3" in seen
    assert "3 files: 3 done" in seen.rpartition("\x1b[K")[2]
    assert seen.rpartition("\x1b[K")[0].endswith("\r")
