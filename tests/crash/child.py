"""Lives that are ended from outside: ``python -m tests.crash.child DIRECTORY BACKEND WORLD``, with plans on the input.

A plan is a line: a name, and for each accident what it is and when. ``KILL:17`` sends SIGKILL at point 17,
``TIME:0.02`` ends the process after so many seconds. The process lives a life of its own first, so that everything is
imported and prepared, and forks one for each life.
"""

import functools
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import anyio

from agentkit.sessions import MemorySessions, SQLiteSessions
from tests.crash.jobs import JobWorld
from tests.crash.points import Points
from tests.crash.world import World, tools

WORLDS: dict[str, Callable[..., World | JobWorld]] = {
    "conversation": World,
    "agents": functools.partial(World, story="agents"),
    "job": JobWorld,
}


def live(folder: Path, accident: str, backend: str, world: str) -> None:
    """One life: until the conversation is at its end, or the accident comes."""
    ledger = os.open(folder / "ledger", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def note(line: str) -> None:
        os.write(ledger, f"{line}\n".encode())
        os.fsync(ledger)

    kind, _, when = accident.partition(":")
    if kind == "TIME":
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # nobody is asked
        signal.setitimer(signal.ITIMER_REAL, float(when))
        points = Points(lambda: None)
    else:
        points = Points(
            functools.partial(os.kill, os.getpid(), getattr(signal, f"SIG{kind or 'KILL'}")), int(when or 0)
        )
    anyio.run(WORLDS[world](SQLiteSessions(folder / "chat.db"), points, note).drive, backend=backend)
    (folder / "points").write_text(str(points.passed))


def interrupted_result(error: BaseException) -> bool:
    groups = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    return isinstance(error, KeyboardInterrupt) or any(map(interrupted_result, groups))


def child(folder: Path, accident: str, backend: str, world: str) -> str:
    """How a life in a process of its own has ended."""
    if not (pid := os.fork()):
        code = 1
        try:
            live(folder, accident, backend, world)
            code = 0
        except BaseException as error:
            code = 2 if interrupted_result(error) else 1
            if code == 1:
                logging.getLogger(__name__).exception("a life failed")
        finally:
            os._exit(code)
    return str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def main(directory: Path, backend: str, world: str = "conversation") -> None:
    """Play the plans of the input, and print how each of their lives has ended."""
    logging.getLogger("agentkit").setLevel(logging.CRITICAL)
    tools()
    undisturbed = Points(lambda: None)
    anyio.run(WORLDS[world](MemorySessions(), undisturbed, lambda line: None).drive, backend=backend)
    gc.freeze()
    for line in sys.stdin:
        name, *accidents = line.split()
        folder = directory / name
        folder.mkdir()
        endings = [child(folder, each, backend, world) for each in accidents]
        print(name, *endings, child(folder, "", backend, world), flush=True)  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
