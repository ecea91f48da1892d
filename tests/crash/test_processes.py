"""Processes that are killed at points that a run in a session passes, and in between: nothing is lost."""

import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import anyio
import pytest

from agentkit.run.transcript import check
from agentkit.sessions import SQLiteSessions
from tests.crash.points import EVERY
from tests.crash.world import QUESTIONS, check_ledger, plain, transcripts
from tests.explore import EXPLORE

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="processes do not fork there")
ROOT = Path(__file__).parent.parent.parent
KILLED = ("-9", "-14", "-15")


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Memory instead of a disk, if there is such a place: what is written outlives a process in both."""
    place = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=place) as made:
        yield Path(made)


def play(folder: Path, backend: str, plans: Sequence[str], world: str = "conversation") -> dict[str, list[str]]:
    """How the lives of each plan have ended."""
    command = [sys.executable, "-m", "tests.crash.child", str(folder), backend, world]
    lines = "".join(f"{plan}\n" for plan in plans)
    done = subprocess.run(command, input=lines, stdout=subprocess.PIPE, text=True, cwd=ROOT, check=True, timeout=300)
    endings = {name: ends for name, *ends in map(str.split, done.stdout.splitlines())}
    assert len(endings) == len(plans)
    return endings


def ledger_of(folder: Path) -> list[str]:
    return (folder / "ledger").read_text().splitlines()


def told(folder: Path) -> dict[str, list[object]]:
    kept = anyio.run(transcripts, SQLiteSessions(folder / "chat.db"))
    assert all(check(each) == [] for each in kept.values())
    return {name: plain(each) for name, each in kept.items()}


@pytest.fixture(scope="module")
def undisturbed(folder: Path) -> Path:
    """A life without accidents."""
    assert play(folder, "asyncio", ["undisturbed"]) == {"undisturbed": ["0"]}
    return folder / "undisturbed"


@pytest.fixture(scope="module")
def points(undisturbed: Path) -> int:
    """How many points there are."""
    count = int((undisturbed / "points").read_text())
    assert count > 150
    return count


def hold(folder: Path, undisturbed: Path, endings: dict[str, list[str]]) -> int:
    """Check what came of lives that were ended by force; how many were."""
    expected, ledger = told(undisturbed), ledger_of(undisturbed)
    accidents = 0
    for name, (*ends, last) in endings.items():
        assert last == "0", name
        killed = sum(each in KILLED for each in ends)
        assert killed + ends.count("0") == len(ends), name
        check_ledger(ledger_of(folder / name), ledger, accidents=killed)
        assert told(folder / name) == expected, name
        accidents += killed
    return accidents


def test_a_process_is_killed_at_one_point_after_the_other(folder: Path, undisturbed: Path, points: int) -> None:
    plans = [f"every-{at} KILL:{at}" for at in range(1, points + 1, EVERY)]
    assert hold(folder, undisturbed, play(folder, "asyncio", plans)) >= len(plans) - 2, "nearly each point comes again"


def test_a_process_with_nested_runs_and_hand_offs_is_killed_at_one_point_after_the_other(folder: Path) -> None:
    assert play(folder, "asyncio", ["agents"], "agents") == {"agents": ["0"]}
    count = int((folder / "agents" / "points").read_text())
    plans = [f"agents-{at} KILL:{at}" for at in range(1, count + 1, EVERY)]
    assert hold(folder, folder / "agents", play(folder, "asyncio", plans, "agents")) >= len(plans) - 2


def test_a_process_on_trio_is_killed_too(folder: Path, undisturbed: Path, points: int) -> None:
    plans = [f"trio-{at} KILL:{at}" for at in range(1, points, 8 * EVERY)]
    assert hold(folder, undisturbed, play(folder, "trio", plans)) == len(plans)


def test_the_process_that_goes_on_is_killed_too(folder: Path, undisturbed: Path, points: int) -> None:
    plans = [f"twice-{at} KILL:{at} KILL:{5 + at % 23} TERM:7" for at in range(8, points, 8 * EVERY)]
    assert hold(folder, undisturbed, play(folder, "asyncio", plans)) > 2 * len(plans)


def test_a_process_is_killed_at_any_time(folder: Path, undisturbed: Path) -> None:
    times, count = random.Random(7), 32 if EXPLORE else 8
    plans = [f"time-{n} " + " ".join(f"TIME:{times.uniform(0.002, 0.15):.4f}" for _ in "ab") for n in range(count)]
    assert hold(folder, undisturbed, play(folder, "asyncio", plans)) >= 3, "how many come in time is up to the machine"


@pytest.fixture(scope="module")
def job(folder: Path) -> Path:
    """A job without accidents."""
    assert play(folder, "asyncio", ["job"], "job") == {"job": ["0"]}
    return folder / "job"


@pytest.mark.parametrize("part", range(4 if EXPLORE else 1))  # all together would take too long for one test
def test_a_process_is_killed_in_a_job(folder: Path, job: Path, part: int) -> None:
    points = int((job / "points").read_text())
    again = {at: f" KILL:{5 + at % 23}" for at in range(1, points + 1, 3)}
    plans = [f"job-{at} KILL:{at}{again.get(at, '')}" for at in range(1 + part, points + 1, 4 * EVERY)]
    for name, (*ends, last) in play(folder, "asyncio", plans, "job").items():
        assert last == "0", name
        check_ledger(ledger_of(folder / name), ledger_of(job), accidents=sum(each in KILLED for each in ends))


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_process_that_is_interrupted_stores_a_valid_end_and_repeats_nothing(
    folder: Path, undisturbed: Path, points: int, backend: str
) -> None:
    plans = [f"{backend}-int-{at} INT:{at}" for at in range(3, points, 8 * EVERY + 1)]
    asked: list[str] = list(QUESTIONS)
    for name, (first, last) in play(folder, backend, plans).items():
        assert (first, last) == ("2", "0"), name
        (main,) = (each for session, each in told(folder / name).items() if session == "alice")
        assert [each["content"] for each in main if each["role"] == "user"] == asked  # type: ignore[index]
        ledger = ledger_of(folder / name)
        assert len({line for line in ledger if line.startswith("start")}) <= len(ledger_of(undisturbed))
        recorded: set[str] = set()
        for line in ledger:
            what, key = line.split()
            assert what != "start" or key not in recorded, (name, key)
            recorded |= {key} if what == "recorded" else set()
