"""Sessions in a file: the file itself, its index, and what is said when something is wrong with it."""

# ruff: noqa: ASYNC240 - nothing else runs in the event loop of these tests

import os
import sqlite3
import stat
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import anyio
import pytest

from agentkit import Agent, tool
from agentkit.errors import ConfigError, SessionBusy, SessionError
from agentkit.run.session_run import SessionSnapshot, SessionUpdate
from agentkit.sessions import SQLiteSessions
from agentkit.testing import ScriptedModel, call
from tests.sessions import append, message, places, run, texts

pytestmark = pytest.mark.anyio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chat.db"


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """The file, as another program has it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


def is_whole(path: Path) -> bool:
    with opened(path) as connection:
        connection.execute("INSERT INTO words (words, rank) VALUES ('integrity-check', 1)")  # against the messages
        return connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


async def test_the_file_is_made_when_it_is_first_used_and_for_its_user_only(path: Path) -> None:
    sessions = SQLiteSessions(path)
    assert not path.exists()
    before = os.umask(0)
    try:
        async with sessions["alice"].claim():
            await append(sessions["alice"], "hi")
    finally:
        os.umask(before)
    files = sorted(path.parent.iterdir())
    assert [each.name for each in files] == ["chat.db", "chat.db-claims"]  # nothing else is left of what was used
    assert [stat.S_IMODE(each.stat().st_mode) for each in files] == [0o600, 0o600]


async def test_what_was_saved_is_there_for_others_and_a_relative_path_stays_what_it_was(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parent)
    sessions = SQLiteSessions("chat.db")
    monkeypatch.chdir("/")
    await append(sessions["alice"], "hi")
    assert await texts(SQLiteSessions(path)["alice"]) == ["hi"]


async def test_an_empty_file_becomes_one_of_sessions(path: Path) -> None:
    path.touch()
    await append(SQLiteSessions(path)["alice"], "hi")
    assert is_whole(path)


async def test_a_name_for_memory_is_refused() -> None:
    for name in (":memory:", ""):
        with pytest.raises(ConfigError, match=r"MemorySessions\(\)"):
            SQLiteSessions(name)


async def test_a_long_conversation_costs_what_is_new(path: Path) -> None:
    sessions = SQLiteSessions(path)
    await append(sessions["alice"], *(f"message {number} about tea" for number in range(10_000)))
    with opened(path) as connection:
        before = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        await sessions["alice"].save(SessionUpdate(revision=1, start=10_000, messages=[message("and coffee")], head=""))
        written = connection.execute("PRAGMA wal_checkpoint").fetchone()[1]
    assert before[0] == 0
    assert written < 30  # pages, of some 700
    assert is_whole(path)


async def test_the_index_follows_what_was_written_without_it(path: Path) -> None:
    with_index, without = SQLiteSessions(path), SQLiteSessions(path, index=False)
    await append(without["alice"], "tea one", "tea two")
    assert sorted(places(await with_index.search("tea"))) == [("alice", 0), ("alice", 1)]
    await append(with_index["alice"], "tea three")
    await without["alice"].save(SessionUpdate(revision=2, start=1, messages=[message("tea zwei")], head=""))
    assert sorted(places(await with_index.search("tea"))) == [("alice", 0), ("alice", 1)]
    assert places(await with_index.search("two")) == []
    await append(with_index["alice"], "tea drei")
    assert sorted(places(await with_index.search("tea"))) == [("alice", 0), ("alice", 1), ("alice", 2)]
    await with_index["alice"].delete()
    assert places(await with_index.search("tea")) == []


async def test_nothing_of_a_deleted_session_stays_in_the_file(path: Path) -> None:
    sessions = SQLiteSessions(path)
    await append(sessions["alice"], "my password is xyzzy", "and plugh", head='"xyzzy"')
    await append(sessions["bob"], *(f"message {number}" for number in range(100)))
    assert b"xyzzy" in path.read_bytes()
    await sessions["alice"].delete()
    assert [word for word in (b"xyzzy", b"plugh", b"alice") if word in path.read_bytes()] == []
    assert is_whole(path)


async def test_the_best_message_is_found_first(path: Path) -> None:
    sessions = SQLiteSessions(path)
    await append(sessions["alice"], f"tea {'and other things ' * 20}", "tea, tea, tea", f"tea {'and much ' * 30}")
    assert places(await sessions.search("tea"))[0] == ("alice", 1)


async def test_a_locked_file_is_a_typed_error_and_stays_as_it_was(path: Path) -> None:
    sessions = SQLiteSessions(path, timeout=0.05)
    await append(sessions["alice"], "hi")
    before = await sessions["alice"].load()
    with opened(path) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(SessionError, match=r"chat\.db cannot be used .*another program has locked it"):
            await append(sessions["alice"], "lost")
        with pytest.raises(SessionError, match="locked"):
            await sessions["alice"].record("slot", "result")
        with pytest.raises(SessionError, match="locked"):
            await sessions["alice"].delete()
    assert await sessions["alice"].load() == before
    await append(sessions["alice"], "there again")
    assert await texts(sessions["alice"]) == ["hi", "there again"]


async def test_a_new_file_that_is_locked_is_a_typed_error(path: Path) -> None:
    path.touch()
    with opened(path) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(SessionError, match="locked"):
            await append(SQLiteSessions(path, timeout=0.05)["alice"], "hi")
    await append(SQLiteSessions(path)["alice"], "hi")


async def test_a_save_that_is_cancelled_while_it_waits_is_done_wholly_or_not_at_all(path: Path) -> None:
    sessions = SQLiteSessions(path, timeout=30)
    await append(sessions["alice"], "hi")
    change = SessionUpdate(revision=1, start=1, messages=[message("one"), message("two")], head="")

    async def save(name: str, scope: anyio.CancelScope, started: anyio.Event) -> None:
        with scope:
            started.set()
            await sessions[name].save(
                change if name == "alice" else SessionUpdate(revision=0, start=0, messages=[], head="x")
            )

    scopes, events = [anyio.CancelScope(), anyio.CancelScope()], [anyio.Event(), anyio.Event()]
    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            with opened(path) as other:
                other.execute("BEGIN IMMEDIATE")
                for name, scope, event in zip(("alice", "bob"), scopes, events, strict=True):
                    group.start_soon(save, name, scope, event)
                    await event.wait()
                await anyio.wait_all_tasks_blocked()
                for scope in scopes:
                    scope.cancel()
    assert scopes[1].cancelled_caught  # it had not begun
    assert await sessions["bob"].load() == SessionSnapshot()
    saved = await sessions["alice"].load()
    assert (saved.revision, len(saved.messages)) in [(1, 1), (2, 3)]
    await append(sessions["alice"], "three")  # and nothing is locked
    assert is_whole(path)


async def test_a_file_that_was_deleted_is_gone_for_who_had_read_it_and_new_for_others(path: Path) -> None:
    sessions = SQLiteSessions(path)
    async with sessions["alice"].claim():
        await append(sessions["alice"], "hi")
        for each in path.parent.iterdir():
            each.unlink()
        with pytest.raises(SessionError, match="session 'alice' is gone: it or its file was deleted"):
            await sessions["alice"].save(SessionUpdate(revision=1, start=1, messages=[message("lost")], head=""))
        with pytest.raises(SessionError, match="session 'alice' is gone"):
            await sessions["alice"].record("slot", "lost")
        assert not path.exists()  # nothing is made that would look like the session
        async with sessions["bob"].claim():
            await append(sessions["bob"], "new")
    async with sessions["alice"].claim(), sessions["bob"].claim():
        assert [each.name for each in await sessions.list()] == ["bob"]


async def test_a_file_that_is_gone_and_back_goes_on(path: Path) -> None:
    sessions = SQLiteSessions(path)
    await append(sessions["alice"], "hi")
    away = path.parent.rename(path.parent.with_name("away"))
    with pytest.raises(SessionError, match="check that its directory exists"):
        await append(sessions["alice"], "lost")
    with pytest.raises(SessionError, match="check that its directory exists"):
        async with sessions["alice"].claim():
            pytest.fail("claimed nothing")
    away.rename(path.parent)
    await append(sessions["alice"], "back")
    assert await texts(sessions["alice"]) == ["hi", "back"]


async def test_a_run_whose_file_is_deleted_by_a_tool_fails_in_a_sentence_and_leaves_no_other(path: Path) -> None:
    @tool
    def tidy_up() -> str:
        """Delete too much."""
        for each in path.parent.iterdir():
            each.unlink()
        return "clean"

    sessions = SQLiteSessions(path)
    agent = Agent(ScriptedModel([call("tidy_up"), "never"]), tools=[tidy_up])
    with pytest.raises(SessionError, match="session 'alice' is gone: it or its file was deleted"):
        await agent.run("go", session=sessions["alice"])
    assert not path.exists()


async def test_a_path_that_is_a_directory_is_said_to_be_one(tmp_path: Path) -> None:
    directory = tmp_path / "d"
    directory.mkdir()
    with pytest.raises(SessionError, match=r"d is a directory: name a file in it, for example .*chat\.db"):
        await SQLiteSessions(directory)["alice"].load()


@pytest.mark.parametrize("path", [None, 7, b"chat.db"])
async def test_what_is_not_a_path_is_refused(path: str) -> None:
    with pytest.raises(ConfigError, match=r'takes the path of a file, for example "chat\.db", not'):
        SQLiteSessions(path)


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), "5", None])
async def test_a_timeout_that_is_not_a_time_is_refused(path: Path, seconds: float) -> None:
    with pytest.raises(ConfigError, match=r"timeout=.*must be a number of seconds, at least 0"):
        SQLiteSessions(path, timeout=seconds)


@pytest.mark.parametrize("kind", ["text", "database", "directory"])
async def test_nothing_is_left_beside_what_is_refused(path: Path, kind: str) -> None:
    if kind == "text":
        path.write_text("My diary. " * 1000)
    elif kind == "directory":
        path.mkdir()
    else:
        with opened(path) as other:
            other.execute("CREATE TABLE mine (text)")
    session = SQLiteSessions(path)["alice"]
    with pytest.raises(SessionError):
        await Agent(ScriptedModel(["never"])).run("hi", session=session)
    with pytest.raises(SessionError):
        await session.delete()
    with pytest.raises(SessionError):
        await session.branch("bob")
    assert list(path.parent.iterdir()) == [path]


async def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path) -> None:
    path.write_text("My diary. " * 1000)
    with pytest.raises(SessionError, match=r"chat\.db cannot be used .*not a SQLite database; choose another file"):
        await append(SQLiteSessions(path)["alice"], "hi")
    assert path.read_text() == "My diary. " * 1000


async def test_a_database_of_another_program_is_refused_and_left_alone(path: Path) -> None:
    with opened(path) as other:
        other.execute("CREATE TABLE sessions (mine)")
    before = path.read_bytes()
    with pytest.raises(SessionError, match="is a database of another program; choose another file"):
        await append(SQLiteSessions(path)["alice"], "hi")
    assert path.read_bytes() == before


async def test_a_newer_format_is_refused_and_left_alone(path: Path) -> None:
    sessions = SQLiteSessions(path)
    await append(sessions["alice"], "hi")
    with opened(path) as other:
        other.execute("PRAGMA user_version = 2")
    with pytest.raises(SessionError, match="have format 2 and this version of agentkit reads 1: update agentkit"):
        await append(sessions["alice"], "ho")
    with opened(path) as other:
        other.execute("PRAGMA user_version = 1")
    assert await texts(sessions["alice"]) == ["hi"]


async def test_a_file_with_two_names_is_refused_under_both(path: Path) -> None:
    sessions = SQLiteSessions(path)
    await append(sessions["alice"], "hi")
    other = path.with_name("other.db")
    other.hardlink_to(path)
    for each in (path, other):
        session = SQLiteSessions(each)["alice"]
        with pytest.raises(SessionError, match=r"has other names \(hard links\)"):
            async with session.claim():
                pytest.fail("claimed")
        with pytest.raises(SessionError, match="hard links"):
            await session.load()
    other.unlink()
    assert await texts(sessions["alice"]) == ["hi"]


async def test_a_symbolic_link_to_a_file_is_the_file(path: Path) -> None:
    link = path.with_name("link.db")
    link.symlink_to(path)
    async with SQLiteSessions(path)["alice"].claim():
        with pytest.raises(SessionBusy):
            await SQLiteSessions(link)["alice"].claim().__aenter__()


async def test_a_damaged_file_is_a_typed_error(path: Path) -> None:
    sessions = SQLiteSessions(path)
    await append(sessions["alice"], *("word " * 100 for _ in range(100)))
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xa5" * (len(whole) - 4096))
    with pytest.raises(SessionError, match="it is damaged; restore a copy"):
        await sessions["alice"].load()
    path.write_bytes(whole)
    assert len((await sessions["alice"].load()).messages) == 100


FULL = """
import resource
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

async def main():
    done = []
    await append(sessions["alice"], "first")
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    for limit in (300_000, 600_000, 900_000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            while True:
                await append(sessions["alice"], f"{len(done)} {'x' * 40_000}", "and " * 3_000)
                done.append(len(done))
        except SessionError as error:
            assert "disk" in str(error) and "full" in str(error), error
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        saved = await sessions["alice"].load()
        assert saved.revision == 1 + len(done) and len(saved.messages) == 1 + 2 * len(done)
        await append(sessions["alice"], "room again", "and again")
        done.append(len(done))
    print(len(done))

anyio.run(main)
"""


def test_a_full_disk_is_a_typed_error_and_what_was_saved_stays(path: Path) -> None:
    assert int(run(FULL, path)) > 5
    assert is_whole(path)


READ_ONLY = """
async def main():
    await append(sessions["alice"], "hi")
    path.chmod(0o444)
    path.parent.chmod(0o555)
    if os.geteuid() == 0:
        os.chown(path, 65534, 65534)
        os.seteuid(65534)
    for work in (append(sessions["alice"], "ho"), append(SQLiteSessions(path.with_name("new.db"))["alice"], "ho")):
        try:
            await work
        except SessionError as error:
            print(error)

anyio.run(main)
"""


def test_a_directory_that_cannot_be_written_is_a_typed_error() -> None:
    with tempfile.TemporaryDirectory() as directory:  # a user without rights does not come to those that pytest makes
        path = Path(directory, "chat.db")
        first, second = run(READ_ONLY, path).splitlines()
        path.parent.chmod(0o755)
        assert "chat.db cannot be used" in first
        assert "the permissions of the file and its directory" in first
        assert "new.db cannot be used (Permission denied): check that its directory exists" in second
        assert anyio.run(texts, SQLiteSessions(path)["alice"]) == ["hi"]
