"""A file of sessions as a database: opening it, one transaction at a time, and its errors in words.

Each operation has a connection of its own. That costs a millisecond and a half a save (0.3 ms with one that is kept),
where a turn of a model takes seconds; in return nothing is open between operations that could be forked, outlive its
file, or be forgotten, and the file is whole without its ``-wal`` whenever nobody works on it.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from anyio import CapacityLimiter
from anyio.lowlevel import RunVar
from anyio.to_thread import run_sync

from agentkit.errors import SessionError

__all__ = ["Database"]

T = TypeVar("T")

_OURS = 0x41474B54  # "AGKT", the application_id of a file of sessions
_FORMAT = 1
_SCHEMA = f"""
CREATE TABLE sessions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    revision INTEGER NOT NULL DEFAULT 0,
    head TEXT NOT NULL DEFAULT '',
    created REAL NOT NULL,
    updated REAL NOT NULL
);
CREATE TABLE messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session INTEGER NOT NULL REFERENCES sessions ON DELETE CASCADE,
    position INTEGER NOT NULL,
    message TEXT NOT NULL,
    text TEXT NOT NULL,
    UNIQUE (session, position)
);
CREATE TABLE artifacts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session INTEGER NOT NULL REFERENCES sessions ON DELETE CASCADE,
    call TEXT NOT NULL,
    text TEXT NOT NULL,
    UNIQUE (session, call)
);
CREATE TABLE results (
    session INTEGER NOT NULL REFERENCES sessions ON DELETE CASCADE,
    slot TEXT NOT NULL,
    result TEXT NOT NULL,
    PRIMARY KEY (session, slot)
) WITHOUT ROWID;
PRAGMA application_id = {_OURS};
PRAGMA user_version = {_FORMAT};
"""

_ADVICE: Mapping[int, str] = {
    sqlite3.SQLITE_BUSY: "another program has locked it for longer than the timeout; end what holds it, and try again",
    sqlite3.SQLITE_FULL: "its disk is full; make room, and try again",
    sqlite3.SQLITE_READONLY: "it may not be written; change the rights of the file and of its directory",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened; check the rights of the file and of its directory",
    sqlite3.SQLITE_NOTADB: "it is not a SQLite database; choose another file",
    sqlite3.SQLITE_CORRUPT: "it is damaged; put a copy back, or save what `sqlite3 FILE .recover` finds in it",
    sqlite3.SQLITE_IOERR: "its disk cannot be read or written, or is full; see to it, and try again",
}

_GUARD = threading.Lock()
_TURNS: dict[str, threading.Lock] = {}  # a file's operations in this process run one after the other
_LIMITERS: RunVar[dict[str, CapacityLimiter]] = RunVar("agentkit_session_threads")


class Database:
    """A file of sessions. It is made when it is first used, for its user only."""

    def __init__(self, path: Path, timeout: float) -> None:
        self.path = path
        self.timeout = timeout

    async def perform(self, work: Callable[[], T]) -> T:
        """Do ``work`` in a thread: one for each file and event loop, as SQLite writes one after the other anyway."""
        try:
            limiters = _LIMITERS.get()
        except LookupError:
            _LIMITERS.set(limiters := {})
        key = str(self.path)
        limiter = limiters.get(key) or limiters.setdefault(key, CapacityLimiter(1))
        return await run_sync(work, limiter=limiter)

    @contextmanager
    def reading(self) -> Generator[sqlite3.Connection]:
        """A connection on which everything is read as it is at one moment."""
        with self._transaction("BEGIN") as connection:
            yield connection

    @contextmanager
    def writing(self, *, missing: str = "") -> Generator[sqlite3.Connection]:
        """A connection on which everything is written, on the disk when this ends, or nothing.

        Raises:
            SessionError: There is no file, and ``missing`` says why none is to be made.
        """
        with self._transaction("BEGIN IMMEDIATE", missing) as connection:
            yield connection

    @contextmanager
    def _transaction(self, begin: str, missing: str = "") -> Generator[sqlite3.Connection]:
        with self.errors(), _turn(str(self.path)):
            if missing and self.path.parent.is_dir() and not self.path.exists():
                raise SessionError(missing)
            self._create()
            with closing(self._connect()) as connection:  # closing it takes back what was not committed
                self._prepare(connection)
                connection.execute(begin)
                yield connection
                connection.execute("COMMIT")

    @contextmanager
    def errors(self) -> Generator[None]:
        """Say what goes wrong as a `SessionError`."""
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            advice = _ADVICE.get(code, "what is stored is as it was")
            raise SessionError(f"the sessions in {self.path} cannot be used ({error}): {advice}") from error
        except OSError as error:
            advice = "check that its directory exists and that you may write there"
            raise SessionError(f"the sessions in {self.path} cannot be used ({error.strerror}): {advice}") from error

    def _create(self) -> None:
        """Make the file with its rights; SQLite would let others read it."""
        if self.path.is_dir():
            raise SessionError(f"{self.path} is a directory: name a file in it, for example {self.path / 'chat.db'}")
        with suppress(FileExistsError):
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=self.timeout, isolation_level=None)
        try:
            connection.execute("PRAGMA synchronous = FULL")  # committed is on the disk
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.execute("PRAGMA secure_delete = ON")
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        """Make the tables of a new file, and refuse one that is not ours."""
        if self._is_new(connection):
            connection.execute("BEGIN EXCLUSIVE")
            if self._is_new(connection):  # still: another process may have come first
                for statement in _SCHEMA.split(";"):  # `executescript` would commit in between
                    connection.execute(statement)
            connection.execute("COMMIT")
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise  # while others use a new file it stays as it is, which is as safe: the next one changes it

    def _is_new(self, connection: sqlite3.Connection) -> bool:
        ((ours,), (version,)) = (connection.execute(f"PRAGMA {name}").fetchone() for name in _MARKS)
        if ours == _OURS and version > _FORMAT:
            raise SessionError(
                f"the sessions in {self.path} have format {version} and this version of agentkit reads {_FORMAT}: "
                "update agentkit, or choose another file"
            )
        if ours == _OURS and version == _FORMAT:
            return False
        if ours or version or connection.execute("SELECT 1 FROM sqlite_master").fetchone():
            raise SessionError(f"{self.path} is a database of another program; choose another file for sessions")
        return True


_MARKS = ("application_id", "user_version")


@contextmanager
def _turn(path: str) -> Generator[None]:
    with _GUARD:
        turn = _TURNS.setdefault(path, threading.Lock())
    with turn:
        yield


# SQLite cannot stand a fork while a connection is open, so that a fork waits for the operations of the other threads.
def _before_fork() -> None:
    _GUARD.acquire()
    for turn in _TURNS.values():
        turn.acquire()


def _after_fork() -> None:
    for turn in _TURNS.values():
        turn.release()
    _GUARD.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
