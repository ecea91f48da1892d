"""The tools for files, as a model uses them."""

import sys
from pathlib import Path
from typing import Any

import pytest
from agentkit_tools import Files
from agentkit_tools.regex import matching_lines

from agentkit import Agent, CallFinished, Event
from agentkit.errors import ConfigError, ModelRetry, ToolError
from agentkit.messages import ImagePart, ToolCall
from agentkit.testing import Answer, ScriptedModel, call, lint_tools

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d494844520000000100000001080600000"
    "01f15c4890000000d49444154789c6360000002000001e221bc330000000049454e44ae426082"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "src" / "deep").mkdir(parents=True)
    (tmp_path / "readme.md").write_text("# Title\n\nHello world.\n")
    (tmp_path / "src" / "main.py").write_text("def main():\n    return 1\n")
    (tmp_path / "src" / "deep" / "test_main.py").write_text("from main import main\nassert main() == 1\n")
    (tmp_path / "picture.png").write_bytes(PNG)
    (tmp_path / ".env").write_text("KEY=world")
    return tmp_path


def pdf(text: str) -> bytes:
    """A PDF of one page with one line."""
    stream = f"BT /F1 12 Tf 10 10 Td ({text}) Tj ET".encode()
    font = b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 99 99]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(stream), stream),
        font,
    ]
    data, places = b"%PDF-1.4\n", list[int]()
    for number, each in enumerate(objects, start=1):
        places.append(len(data))
        data += b"%d 0 obj%sendobj\n" % (number, each)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    start = len(data)
    data += b"xref\n0 6\n0000000000 65535 f \n" + table
    return data + b"trailer<</Size 6/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % start


def test_without_write_there_is_no_tool_that_changes_anything(folder: Path) -> None:
    assert [each.name for each in Files(folder)] == ["list_files", "find_files", "read_file", "search_files"]
    assert all(each.read_only and not each.requires_approval for each in Files(folder))


def test_what_changes_something_needs_approval_unless_it_is_waived(folder: Path) -> None:
    writing = ("write_file", "edit_file", "move_file", "delete_file")
    assert [bool(each.requires_approval) for each in Files(folder, write=True).only(*writing)] == [True] * 4
    waived = Files(folder, write=True, requires_approval=False)
    assert [each.requires_approval for each in waived.only(*writing)] == [False] * 4


@pytest.mark.parametrize(
    ("wanted", "change"),
    [
        (call("write_file", path="a.txt", content="one\nthree\n"), [" one", "-two", "+three"]),
        (call("edit_file", path="a.txt", edits=[{"old": "two", "new": "three"}]), [" one", "-two", "+three"]),
        (call("write_file", path="new.txt", content="one\n"), ["+one"]),
        (call("edit_file", path="a.txt", edits=[{"old": "four", "new": "x"}]), ["this edit: `old` does not occur in"]),
        (call("edit_file", path="no.txt", edits=[]), ["there is no"]),
    ],
)
def test_whoever_decides_about_a_change_sees_it_as_a_diff(folder: Path, wanted: ToolCall, change: list[str]) -> None:
    (folder / "a.txt").write_text("one\ntwo\n", encoding="utf-8")
    result = Agent(ScriptedModel([[wanted]]), tools=[Files(folder, write=True)]).run_sync("Go.")
    (pending,) = result.pending
    first, *lines = pending.reason.splitlines()
    assert first == f"{pending.name} requires approval of every call"
    assert [line for line in change if not any(line in each for each in lines)] == []


def test_a_model_could_not_misread_the_tools(folder: Path) -> None:
    assert lint_tools([Files(folder, write=True)]) == []


def test_listing_shows_names_and_sizes_but_nothing_hidden(folder: Path) -> None:
    listed = Files(folder).list_files().content
    assert [line.split()[0] for line in listed.splitlines()] == ["picture.png", "readme.md", "src/"]
    assert "22 bytes" in listed
    assert Files(folder).list_files("src", depth=9).data == ["src/deep", "src/main.py", "src/deep/test_main.py"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.py", ["src/main.py", "src/deep/test_main.py"]),
        ("src/*.py", ["src/main.py"]),
        ("src/**/*.py", ["src/main.py", "src/deep/test_main.py"]),
        ("**/test_*", ["src/deep/test_main.py"]),
        ("./readme.md", ["readme.md"]),
        (".env", []),
        ("**", ["picture.png", "readme.md", "src/main.py", "src/deep/test_main.py"]),
        ("/".join(["**"] * 200), ["picture.png", "readme.md", "src/main.py", "src/deep/test_main.py"]),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
def test_finding_by_glob(folder: Path, pattern: str, found: list[str]) -> None:
    assert Files(folder).find_files(pattern).data == found


def test_finding_beneath_a_directory_matches_from_there(folder: Path) -> None:
    assert Files(folder).find_files("deep/*.py", "src").data == ["src/deep/test_main.py"]


def test_long_listings_say_that_they_are_not_all(folder: Path) -> None:
    for number in range(600):
        (folder / f"{number}.txt").touch()
    assert Files(folder).list_files().content.endswith("use a pattern]")
    assert Files(folder).find_files("*.txt").content.endswith("use a pattern]")


def test_reading_by_lines_says_where_to_read_on(folder: Path) -> None:
    (folder / "long.txt").write_text("".join(f"line {number}\n" for number in range(1, 101)))
    files = Files(folder)
    assert files.read_file("readme.md").content == "# Title\n\nHello world.\n"
    middle = files.read_file("long.txt", start_line=10, lines=2)
    assert middle.content == "line 10\nline 11\n[lines 10 to 11 of 100; read on with start_line=12]"
    assert files.read_file("long.txt", start_line=100).content == "line 100\n[lines 100 to 100 of 100]"
    with pytest.raises(ModelRetry, match="has 100 lines"):
        files.read_file("long.txt", start_line=101)
    (folder / "empty.txt").touch()
    assert files.read_file("empty.txt").content == "(the file is empty)"


def test_images_are_images_pdfs_are_text_and_other_bytes_are_refused(folder: Path) -> None:
    (folder / "paper.pdf").write_bytes(pdf("A finding"))
    (folder / "broken.pdf").write_bytes(b"%PDF-1.4 nothing")
    (folder / "data.bin").write_bytes(b"\xff\x00\xfe")
    files = Files(folder)
    (image,) = files.read_file("picture.png").files
    assert isinstance(image, ImagePart)
    assert image.url.startswith("data:image/png;base64,")
    assert files.read_file("paper.pdf").content == "[page 1]\nA finding"
    with pytest.raises(ToolError, match="cannot be read"):
        files.read_file("broken.pdf")
    with pytest.raises(ToolError, match="not a text file"):
        files.read_file("data.bin")


@pytest.fixture(params=["Python", "ripgrep"])
def matcher(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> str:
    """A search path with what matches regular expressions; a program that takes ripgrep's options stands for it."""
    programs = tmp_path_factory.mktemp("programs")
    if request.param == "ripgrep":
        (programs / "rg").write_text(
            f"""#!{sys.executable}
import re, sys
assert sys.argv[1:7] == "--no-config --text --line-number --no-filename --color=never --max-columns=1".split()
*flags, pattern, source = sys.argv[7:]
assert source == "-"
try:
    pattern = re.compile(pattern.removeprefix("--regexp="), 2 if flags else 0)
except re.error as error:
    sys.exit(f"rg: regex parse error: {{error}}")
for number, line in enumerate(sys.stdin, 1):
    if pattern.search(line):
        print(f"{{number}}:[Omitted long matching line]")
"""
        )
        (programs / "rg").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    return str(request.param)


def test_a_regular_expression_is_matched_in_a_process_of_its_own(folder: Path, matcher: str) -> None:
    files = Files(folder)
    (folder / "dates.txt").write_text("2026-11-29 ä\r\nno date\n2026-12-01")
    found = files.search_files(r"\d{4}-\d\d-\d\d", regex=True).content
    assert found == "dates.txt:1: 2026-11-29 ä\ndates.txt:3: 2026-12-01"
    assert files.search_files("^HELLO", regex=True, case_sensitive=True).content == "no file matches '^HELLO'"
    assert files.search_files("^hello", regex=True).content == "readme.md:3: Hello world."
    with pytest.raises(ModelRetry, match=r"'\(' is not a regular expression: .*"):
        files.search_files("(", regex=True)
    with pytest.raises(ModelRetry, match="1 to 1000 characters"):
        files.search_files("a" * 1001, regex=True)


def test_a_regular_expression_that_would_take_years_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")  # Python matches it
    with pytest.raises(ToolError, match=r"took more than 0\.5 seconds to match"):
        matching_lines("(a+)+$", ["a" * 60 + "b"], case_sensitive=True, seconds=0.5)


def test_searching_gives_places_and_skips_what_is_hidden_or_no_text(folder: Path) -> None:
    (folder / "data.bin").write_bytes(b"world\x00")
    files = Files(folder)
    assert files.search_files("WORLD").content == "readme.md:3: Hello world."
    assert files.search_files("WORLD", case_sensitive=True).content == "no file contains 'WORLD'"
    assert files.search_files("main()", "*.py").content.splitlines() == [
        "src/main.py:1: def main():",
        "src/deep/test_main.py:2: assert main() == 1",
    ]
    with pytest.raises(ModelRetry):
        files.search_files("")


def test_edits_replace_what_occurs_once_and_show_the_difference(folder: Path) -> None:
    files = Files(folder, write=True)
    shown = files.edit_file("src/main.py", [{"old": "main", "new": "start"}, {"old": "return 1", "new": "return 2"}])
    assert (folder / "src" / "main.py").read_text() == "def start():\n    return 2\n"
    assert shown.content.splitlines()[2:] == [
        "@@ -1,2 +1,2 @@",
        "-def main():",
        "-    return 1",
        "+def start():",
        "+    return 2",
    ]


@pytest.mark.parametrize(
    ("old", "complaint"),
    [
        ("", "edit 2 of 2: `old` is empty"),
        ("main", "occurs 2 times"),
        ("assert mein() == 1", "the nearest line is 'assert main\\(\\) == 1'"),
        ("nothing like it", "does not occur in the file as it is written. Nothing"),
    ],
)
def test_an_edit_that_does_not_fit_changes_nothing_and_says_why(folder: Path, old: str, complaint: str) -> None:
    path = folder / "src" / "deep" / "test_main.py"
    before = path.read_text()
    edits: Any = [{"old": "from main", "new": "from m"}, {"old": old, "new": "x"}]
    with pytest.raises(ModelRetry, match=complaint):
        Files(folder, write=True).edit_file("src/deep/test_main.py", edits)
    assert path.read_text() == before


def test_edits_keep_the_line_ends_of_windows(folder: Path) -> None:
    (folder / "dos.txt").write_bytes(b"one\r\ntwo\r\nthree\r\n")
    Files(folder, write=True).edit_file("dos.txt", [{"old": "one\ntwo", "new": "1\n2"}])
    assert (folder / "dos.txt").read_bytes() == b"1\r\n2\r\nthree\r\n"


def test_a_huge_edit_is_made_without_comparing_for_minutes(folder: Path) -> None:
    (folder / "huge.txt").write_text("".join(f"{number}\n" for number in range(200_000)) + "end")
    edited = Files(folder, write=True).edit_file("huge.txt", [{"old": "end", "new": "END"}])
    assert edited.content == "edited huge.txt"


def test_writing_moving_and_deleting(folder: Path) -> None:
    files = Files(folder, write=True, max_bytes=100)
    assert files.write_file("new/a.txt", "héllo").content == "wrote 6 bytes to new/a.txt"
    assert files.move_file("new/a.txt", "b.txt").content == "moved new/a.txt to b.txt"
    assert files.delete_file("b.txt").content == "deleted b.txt"
    assert [path.read_text() for path in (folder / ".trash").iterdir()] == ["héllo"]
    with pytest.raises(ModelRetry, match="at most 100"):
        files.write_file("c.txt", "x" * 101)
    assert not (folder / "c.txt").exists()


def test_a_limit_of_nothing_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError):
        Files(folder, max_bytes=0)


@pytest.mark.anyio
async def test_in_a_run_reading_works_writing_waits_and_results_say_where_they_come_from(folder: Path) -> None:
    script: list[Answer] = [call("read_file", path="readme.md"), call("write_file", path="x.txt", content="x"), "Done."]
    paused = await Agent(ScriptedModel(script), tools=[Files(folder, write=True)]).run("Copy it.")
    assert (paused.status, [each.name for each in paused.pending]) == ("paused", ["write_file"])
    assert not (folder / "x.txt").exists()
    events: list[Event] = []
    waived = Files(folder, write=True, requires_approval=False)
    done = await Agent(ScriptedModel(script), tools=[waived]).run("Copy it.", on_event=events.append)
    assert done.output == "Done."
    assert (folder / "x.txt").read_text() == "x"
    sources = [each.result.metadata["source"] for each in events if isinstance(each, CallFinished)]
    assert sources == ["file:readme.md", "file:x.txt"]


@pytest.mark.anyio
async def test_a_model_that_tries_to_leave_reads_why_it_cannot(folder: Path) -> None:
    model = ScriptedModel([call("read_file", path="../../etc/passwd"), call("read_file", path=".env"), "No."])
    result = await Agent(model, tools=Files(folder)).run("Read it.")
    told = [message.text for message in result.messages if message.role == "tool"]
    assert "'..' is not allowed" in told[0]
    assert "hidden" in told[1]
