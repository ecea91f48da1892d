"""The file of profiles: several processes that write it, and one that cannot be written."""

import json
import logging
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from agentkit.chat.client import ChatClient
from agentkit.chat.compat.profile import Profile, ProfileFile
from agentkit.errors import ConfigError
from tests.replay import answer, completion, replay

pytestmark = pytest.mark.anyio

URL = "http://h/v1"
WRITER = """
import sys
from agentkit.chat.compat.profile import Profile, ProfileFile

who, path = sys.argv[1:]
file = ProfileFile(path)
print("ready", flush=True)
sys.stdin.readline()
for place in range(25):
    file.save("http://h/v1", "m", Profile(drop=frozenset({f"{who}_{place}"})))
    file.save("http://h/v1", who, Profile(token_limit="max_tokens"))
"""
GOOD = completion({"content": "good"})
REFUSALS = [
    answer(json.dumps({"error": {"message": f"Unknown parameter: '{name}'.", "param": name}}).encode(), status="400 No")
    for name in ("seed", "user")
]


def start(program: str, *words: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", program, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_processes_that_write_one_file_at_once_never_leave_a_damaged_one(tmp_path: Path) -> None:
    path, names = tmp_path / "profiles.json", ("one", "two", "three")
    known: set[str] = set()
    with ExitStack() as running:
        writers = [running.enter_context(start(WRITER, name, str(path))) for name in names]
        for each in writers:
            assert each.stdin is not None
            each.stdin.close()
        while any(each.poll() is None for each in writers):  # a reader meanwhile always finds whole profiles
            if path.exists():
                json.loads(path.read_text())
                known |= ProfileFile(path).load(URL, "m").drop
    assert [each.returncode for each in writers] == [0, 0, 0]
    assert known <= {f"{name}_{place}" for name in names for place in range(25)}
    assert ProfileFile(path).load(URL, "m").drop
    assert {each.name for each in tmp_path.iterdir()} == {path.name}


def test_what_another_process_wrote_is_kept_by_one_that_writes_after_it(tmp_path: Path) -> None:
    one, other = ProfileFile(tmp_path / "profiles.json"), ProfileFile(tmp_path / "profiles.json")
    assert (one.load(URL, "m"), other.load(URL, "m")) == (Profile(), Profile())
    one.save(URL, "m", Profile(drop=frozenset({"seed"})))
    other.save(URL, "m", Profile(drop=frozenset({"user"})))
    one.save("http://elsewhere/v1", "m", Profile(keep_tools=True))
    assert other.load(URL, "m") == Profile(drop=frozenset({"seed", "user"}))
    assert other.load("http://elsewhere/v1", "m") == Profile(keep_tools=True)


def test_what_a_file_knows_and_what_is_saved_are_joined(tmp_path: Path) -> None:
    file = ProfileFile(tmp_path / "profiles.json")
    for facts in (Profile(tool_choice="auto"), Profile(tool_choice="required", null_content_as_empty=True)):
        file.save(URL, "m", facts)
    assert file.load(URL, "m") == Profile(tool_choice="auto", null_content_as_empty=True)


@pytest.mark.parametrize("text", ["not ours", "[]", '{"version": 99}', "\xff", ""])
def test_a_file_that_is_something_else_stays_as_it_is(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.txt"
    path.write_text(text, encoding="latin-1")
    assert ProfileFile(path).load(URL, "m") == Profile()
    with pytest.raises(ConfigError, match="is not a file of profiles"):
        ProfileFile(path).save(URL, "m", Profile(null_content_as_empty=True))
    assert path.read_text(encoding="latin-1") == text


@pytest.mark.parametrize("place", ["mine.txt", "mine.txt/profiles.json", "folder"])
async def test_a_file_that_cannot_be_written_costs_no_reply_and_is_told_once(
    place: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "mine.txt").write_text("not ours")
    (tmp_path / "folder").mkdir()
    with replay(REFUSALS[0], GOOD, REFUSALS[1], GOOD) as server, caplog.at_level(logging.WARNING):
        client = ChatClient(server.url, model="m", profile_file=tmp_path / place)
        for _ in range(2):
            assert (await client.create("hi", seed=1, user="u")).text == "good"
        await client.aclose()
    assert client.profile == Profile(drop=frozenset({"seed", "user"}))
    assert [record.levelname for record in caplog.records if record.name == "agentkit"] == ["WARNING"]
    assert (tmp_path / "mine.txt").read_text() == "not ours"
