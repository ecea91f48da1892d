"""What a file of profiles keeps when several processes write it, and what it costs when it cannot be written."""

import json
import logging
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from agentkit.chat.client import ChatClient
from agentkit.chat.compat.profile import Profile, ProfileFile
from agentkit.chat.compat.store import locked
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
HOLDER = """
import sys
from pathlib import Path
from agentkit.chat.compat.store import locked

with locked(Path(sys.argv[1])):
    print("ready", flush=True)
    sys.stdin.readline()
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


def test_processes_that_write_one_file_lose_nothing_of_each_other(tmp_path: Path) -> None:
    path, names = tmp_path / "profiles.json", ("one", "two", "three")
    with ExitStack() as running:
        writers = [running.enter_context(start(WRITER, name, str(path))) for name in names]
        for each in writers:
            assert each.stdin is not None
            each.stdin.close()
    assert [each.returncode for each in writers] == [0, 0, 0]
    file = ProfileFile(path)
    assert file.load(URL, "m").drop == {f"{name}_{place}" for name in names for place in range(25)}
    assert all(file.load(URL, name) == Profile(token_limit="max_tokens") for name in names)
    assert {each.name for each in tmp_path.iterdir()} == {path.name, ".profiles.json.lock"}


def test_a_lock_is_waited_for_not_for_ever_and_ends_with_its_process(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with start(HOLDER, str(lock)) as holder:
        with pytest.raises(TimeoutError), locked(lock, patience=0):
            pass
        holder.kill()
    with locked(lock, patience=60):
        pass


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
    with pytest.raises(ConfigError, match="is no file of profiles"):
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


def test_facts_about_members_that_are_always_sent_do_not_hold() -> None:
    facts = Profile(drop=frozenset({"seed", "logprobs", "messages.name", 'reasoning_effort="low"', "stop"}))
    names = {"seed", "top_logprobs", "messages", "reasoning_effort"}
    assert facts.keeping(names) == Profile(drop=frozenset({"stop"}))
    client = ChatClient(URL, model="m", profile=facts, never_drop=names)
    assert client.profile == Profile(drop=frozenset({"stop"}))
