"""What the tests of sessions share."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agentkit.run.session_run import SessionUpdate
from agentkit.sessions import SearchHit, StoredSession


def message(text: str, role: str = "user") -> str:
    return json.dumps({"role": role, "content": text})


async def append(session: StoredSession, *texts: str, head: str = "") -> None:
    """Save a turn of these messages after all others."""
    saved = await session.load()
    messages = [message(text) for text in texts]
    await session.save(SessionUpdate(revision=saved.revision, start=len(saved.messages), messages=messages, head=head))


async def texts(session: StoredSession) -> list[str]:
    return [each.text for each in await session.messages()]


def places(found: object) -> list[tuple[str, int]]:
    assert isinstance(found, list)
    assert all(isinstance(each, SearchHit) for each in found)
    return [(each.session, each.number) for each in found]


PROLOGUE = """
import os, random, signal, sys, threading, time
import anyio
from pathlib import Path
from agentkit.errors import SessionBusy, SessionConflict, SessionError
from agentkit.run.session_run import SessionUpdate
from agentkit.sessions import SQLiteSessions
from tests.sessions import append, message, texts
path = Path(sys.argv[1])
sessions = SQLiteSessions(path)
"""


@contextmanager
def start(program: str, path: Path, *args: str) -> Iterator[subprocess.Popen[str]]:
    """A process of its own that runs a program on a file of sessions; it is killed if it has not ended by the end."""
    call = [sys.executable, "-c", PROLOGUE + program, str(path), *args]
    root, pipe = Path(__file__).parent.parent, subprocess.PIPE
    with subprocess.Popen(call, stdin=pipe, stdout=pipe, text=True, cwd=root) as process:
        try:
            yield process
        finally:
            process.kill()


def run(program: str, path: Path, *args: str) -> str:
    """What the program prints, once it has ended well."""
    with start(program, path, *args) as process:
        printed, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return printed
