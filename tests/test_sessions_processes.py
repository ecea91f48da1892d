"""Several processes on one file: nothing is lost when they write at once, fork, or are killed."""

import os
import signal
import sqlite3
import subprocess
from collections import Counter
from contextlib import ExitStack, closing
from pathlib import Path

import anyio
import pytest

from agentkit.errors import SessionBusy, SessionError
from agentkit.sessions import SQLiteSessions
from tests.sessions import append, run, start, texts


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chat.db"


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait(10)


WRITER = """
async def main():
    for number in range(int(sys.argv[3])):
        while True:
            try:
                await append(sessions["all"], f"{sys.argv[2]} {number} a", f"{sys.argv[2]} {number} b")
                break
            except SessionConflict:
                pass
        await append(sessions[sys.argv[2]], str(number))

print("ready", flush=True)
sys.stdin.readline()
anyio.run(main)
"""


def test_what_several_processes_append_at_once_is_all_there_turn_by_turn(path: Path) -> None:
    names, count = ["p1", "p2", "p3"], 30
    with ExitStack() as stack:
        writers = [stack.enter_context(start(WRITER, path, name, str(count))) for name in names]
        for writer in writers:
            assert writer.stdout
            assert writer.stdout.readline() == "ready\n"
        for writer in writers:
            assert writer.stdin
            writer.stdin.write("go\n")  # the file is made by all of them at once
            writer.stdin.flush()
        for writer in writers:
            writer.communicate(timeout=120)
            assert writer.returncode == 0

    sessions = SQLiteSessions(path)
    written = anyio.run(texts, sessions["all"])
    turns = list(zip(written[::2], written[1::2], strict=True))
    assert all(first == second.replace(" b", " a") for first, second in turns)
    assert Counter(first for first, _ in turns) == Counter(f"{p} {n} a" for p in names for n in range(count))
    for name in names:
        assert anyio.run(texts, sessions[name]) == [str(number) for number in range(count)]


# A process that has imported everything forks one that saves turn after turn and notes each that it was told is saved,
# and kills it at a random moment, at first while it makes the file.
KILLER = """
def save():
    async def main():
        notes = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND)
        for number in range(len((await sessions["alice"].load()).messages) // 2, 10_000):
            saved = await sessions["alice"].load()
            artifacts = {str(number): "long " * random.randrange(5_000)}
            turn = [message(f"question {number}"), message(f"answer {number}", "assistant")]
            start = len(saved.messages)
            head = str(number + 1)
            change = SessionUpdate(revision=number, start=start, messages=turn, head=head, artifacts=artifacts)
            await sessions["alice"].save(change)
            os.write(notes, b".")

    anyio.run(main)

async def check():
    saved = await sessions["alice"].load()
    noted = os.path.getsize(sys.argv[2])
    assert noted <= saved.revision <= noted + kills, (noted, saved.revision, kills)
    turns = [text for n in range(saved.revision) for text in (f"question {n}", f"answer {n}")]
    assert [each.text for each in await sessions["alice"].messages()] == turns
    assert saved.head == (str(saved.revision) if saved.revision else "")
    assert list(map(int, sorted(saved.artifacts, key=int))) == list(range(saved.revision))

open(sys.argv[2], "w").close()
for kills in range(1, 61):
    if not (child := os.fork()):
        try:
            save()
        finally:
            os._exit(1)
    noted = os.path.getsize(sys.argv[2])
    while kills > 15 and os.path.getsize(sys.argv[2]) < noted + kills % 4:
        time.sleep(0.001)
    time.sleep(random.uniform(0, 0.06 if kills <= 15 else 0.006))
    os.kill(child, signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    anyio.run(check)
print(os.path.getsize(sys.argv[2]))
"""


def test_a_process_that_is_killed_while_it_saves_loses_no_turn_and_leaves_none_half_written(
    path: Path, tmp_path: Path
) -> None:
    assert int(run(KILLER, path, str(tmp_path / "notes"))) > 60
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("INSERT INTO words (words, rank) VALUES ('integrity-check', 1)")
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


HOLDER = """
async def main():
    async with sessions[sys.argv[2]].claim():
        async with sessions["other"].claim():
            pass  # closing the file here would let go of both
        child = os.fork() if "fork" in sys.argv else None
        if child == 0:
            time.sleep(60)
            os._exit(0)
        print(child or 0, flush=True)
        sys.stdin.readline()

anyio.run(main)
"""


async def _claim(path: Path, name: str) -> None:
    async with SQLiteSessions(path)[name].claim():
        pass


def is_free(path: Path, name: str) -> bool:
    try:
        anyio.run(_claim, path, name)
    except SessionBusy:
        return False
    return True


@pytest.mark.parametrize("how", ["kill", "end"])
def test_a_claim_holds_for_all_processes_until_its_own_ends_in_whatever_way(path: Path, how: str) -> None:
    with start(HOLDER, path, "alice") as holder:
        assert holder.stdout
        assert holder.stdout.readline()
        assert not is_free(path, "alice")
        assert is_free(path, "bob")
        assert not is_free(path, "alice")  # what has been opened and closed for bob has not let go of it
        if how == "kill":
            kill(holder)
        else:
            holder.communicate("\n", timeout=30)
        assert is_free(path, "alice")


def test_a_claim_holds_when_its_process_opens_and_closes_the_file_of_claims(path: Path) -> None:
    async def main() -> None:
        async with SQLiteSessions(path)["alice"].claim():
            path.with_name("chat.db-claims").read_bytes()
            link = path.with_name("link")
            link.hardlink_to(path.with_name("chat.db-claims"))
            link.read_bytes()
            with start(CLAIMER, path, "alice", "bob") as other:
                printed, _ = other.communicate(timeout=60)
            assert printed.split() == ["busy", "free"]

    anyio.run(main)


CLAIMER = """
async def main():
    for name in sys.argv[2:]:
        try:
            async with sessions[name].claim():
                print("free")
        except SessionBusy:
            print("busy")

anyio.run(main)
"""


@pytest.mark.parametrize("replaced", [True, False])
def test_a_run_whose_claim_keeps_nobody_out_any_more_stores_nothing(path: Path, replaced: bool) -> None:
    claims = path.with_name("chat.db-claims")

    async def main() -> None:
        session = SQLiteSessions(path)["alice"]
        async with session.claim():
            await append(session, "one")
            claims.unlink()
            if replaced:
                claims.touch()
            for work in (append(session, "two"), session.record("slot", "result")):
                with pytest.raises(
                    SessionError, match="claims was deleted or replaced while a run had session 'alice'"
                ):
                    await work
        assert await texts(session) == ["one"]
        async with session.claim():
            await append(session, "two")

    anyio.run(main)


def test_a_claim_holds_after_the_file_of_claims_was_deleted(path: Path) -> None:
    async def main() -> bool:
        sessions = SQLiteSessions(path)
        async with sessions["alice"].claim():
            path.with_name("chat.db-claims").unlink()
            with start(HOLDER, path, "bob") as holder:
                assert holder.stdout
                assert holder.stdout.readline()
                with pytest.raises(SessionBusy):
                    await sessions["bob"].claim().__aenter__()
                holder.communicate("\n", timeout=30)
            async with sessions["bob"].claim():
                return True

    assert anyio.run(main)


def test_a_forked_child_that_lives_on_does_not_keep_the_claim_of_a_killed_process(path: Path) -> None:
    with start(HOLDER, path, "alice", "fork") as holder:
        assert holder.stdout
        child = int(holder.stdout.readline())
        try:
            assert not is_free(path, "alice")
            kill(holder)
            assert is_free(path, "alice")
        finally:
            os.kill(child, signal.SIGKILL)


RACER = """
async def main():
    had = 0
    while had < 50:
        try:
            async with sessions["alice"].claim():
                os.close(os.open(sys.argv[2], os.O_CREAT | os.O_EXCL))  # fails if another process is in here
                await append(sessions["alice"], sys.argv[3])
                os.unlink(sys.argv[2])
                had += 1
        except SessionBusy:
            await anyio.sleep(random.uniform(0, 0.005))

anyio.run(main)
"""


def test_of_processes_that_race_for_a_claim_one_has_it(path: Path, tmp_path: Path) -> None:
    with ExitStack() as stack:
        racers = [stack.enter_context(start(RACER, path, str(tmp_path / "inside"), f"{n}")) for n in range(3)]
        for racer in racers:
            racer.communicate(timeout=120)
            assert racer.returncode == 0
    assert Counter(anyio.run(texts, SQLiteSessions(path)["alice"])) == {"0": 50, "1": 50, "2": 50}


FORKER = """
async def claim(name):
    async with sessions[name].claim():
        pass

def fork(name, *, after=os.devnull):
    if not (child := os.fork()):
        code = 1
        signal.alarm(60)
        try:
            open(after).close()
            anyio.run(claim, name)
            code = 0
        except SessionBusy:
            code = 7
        finally:
            os._exit(code)
    return child

def how_it_ends(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

async def hold():
    async with sessions["alice"].claim():
        held.set()
        await anyio.to_thread.run_sync(let_go.wait)

held, let_go = threading.Event(), threading.Event()
thread = threading.Thread(target=anyio.run, args=(hold,))
thread.start()
held.wait()
for name in ("alice", "bob", "alice"):
    print(how_it_ends(fork(name)))
os.mkfifo(sys.argv[2])
child = fork("alice", after=sys.argv[2])
let_go.set()
thread.join()
open(sys.argv[2], "w").close()  # the child has waited for this
print(how_it_ends(child))
"""


def test_a_forked_child_has_no_claim_and_takes_none_from_its_parent(path: Path, tmp_path: Path) -> None:
    assert run(FORKER, path, str(tmp_path / "fifo")).split() == ["7", "0", "7", "0"]


BUSY_FORKER = """
def write():
    async def main():
        number = 0
        while not stop.is_set():
            await append(sessions["thread"], str(number))
            number += 1
            saving.set()

    anyio.run(main)

saving, stop = threading.Event(), threading.Event()
thread = threading.Thread(target=write)
thread.start()
saving.wait()  # a fork in the middle of an import is beyond help
children = []
for number in range(30):
    if not (child := os.fork()):
        code = 1
        signal.alarm(60)
        try:
            anyio.run(append, SQLiteSessions(path)[f"child {number}"], "hi")
            code = 0
        finally:
            os._exit(code)
    children.append(child)
print([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])
stop.set()
thread.join()
"""


def test_a_process_may_fork_while_its_threads_save(path: Path) -> None:
    assert run(BUSY_FORKER, path) == f"{[0] * 30}\n"
    sessions = SQLiteSessions(path)
    infos = {each.name: each.messages for each in anyio.run(sessions.list)}
    written = anyio.run(texts, sessions["thread"])
    assert infos.pop("thread") == len(written)
    assert written == [str(number) for number in range(len(written))]
    assert infos == {f"child {number}": 1 for number in range(30)}
    anyio.run(append, sessions["thread"], "still works")
