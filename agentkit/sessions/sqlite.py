"""Sessions in a SQLite file, which several processes may use at once."""

from __future__ import annotations

import math
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

from anyio import CapacityLimiter
from anyio.lowlevel import RunVar
from anyio.to_thread import run_sync

from agentkit.errors import ConfigError, SessionError
from agentkit.run.session_run import SessionSnapshot, SessionUpdate
from agentkit.sessions.base import Found, SessionInfo, Sessions, Store, check_branch, check_revision, gone, status_of
from agentkit.sessions.locks import claimed
from agentkit.sessions.search import (
    index_query,
    is_unspaced,
    matches,
    role_of,
    snippet,
    storable,
    text_to_index,
    words_of,
)

__all__ = ["Database", "SQLiteSessions"]

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


_NEW = "INSERT INTO sessions (name, created, updated) VALUES (?1, ?2, ?2) ON CONFLICT DO NOTHING"
_INSERT = "INSERT INTO messages (session, position, message, text) VALUES (?, ?, ?, ?)"
_MESSAGES = "SELECT message FROM messages WHERE session = ? ORDER BY position"
_ARTIFACTS = "SELECT call, text FROM artifacts WHERE session = ? ORDER BY id"
_KEEP = (
    "INSERT INTO artifacts (session, call, text) VALUES (?, ?, ?)"
    " ON CONFLICT (session, call) DO UPDATE SET text = excluded.text"  # where it was: the oldest go first
)
_FOUND = "SELECT sessions.name, position, message, messages.text FROM messages JOIN sessions ON sessions.id = session"
_BEST = f"{_FOUND} JOIN words ON words.rowid = messages.id WHERE words MATCH ? ORDER BY rank, messages.id DESC LIMIT ?"
_NEWEST = f"{_FOUND} WHERE found(messages.text) ORDER BY messages.id DESC LIMIT ?"


class SQLiteSessions(Sessions):
    """Sessions in a SQLite file, made when it is first used. Several threads and processes may use the same file.

    Args:
        path: The file. Beside it are ``-wal`` and ``-shm`` while it is used, and an empty file ``-claims``.
        timeout: How many seconds to wait when another program has locked the file.
        index: Whether to keep an index of the words; without it, as with an SQLite that has no FTS5, a search reads
            all messages.

    Raises:
        ConfigError: The path is none, or ``":memory:"``, where nothing would be found again: that is `MemorySessions`;
            or the timeout is not a number of seconds.
    """

    def __init__(self, path: str | os.PathLike[str], *, timeout: float = 5.0, index: bool = True) -> None:
        if not isinstance(path, str | os.PathLike):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigError(f'SQLiteSessions takes the path of a file, for example "chat.db", not {path!r:.80}')
        if os.fspath(path) in ("", ":memory:"):
            raise ConfigError("SQLiteSessions needs a file; MemorySessions() keeps sessions in memory")
        if not isinstance(timeout, int | float) or not 0 <= timeout < math.inf:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigError(f"SQLiteSessions(timeout={timeout!r:.80}): must be seconds, from 0 on")
        super().__init__(_SQLiteStore(Database(Path(path).resolve(), timeout), index=index))
        self.path = Path(path)

    def __repr__(self) -> str:
        return f"SQLiteSessions({os.fspath(self.path)!r})"


class _SQLiteStore(Store):
    def __init__(self, database: Database, *, index: bool) -> None:
        self._database = database
        self._index = index

    async def perform(self, work: Callable[[], T]) -> T:
        return await self._database.perform(work)

    def check(self) -> None:
        with self._database.reading():
            pass

    @contextmanager
    def claim(self, name: str) -> Generator[None]:
        with ExitStack() as stack:
            with self._database.errors():
                stack.enter_context(claimed(self._database.path, name))
            yield

    def load(self, name: str) -> SessionSnapshot:
        with self._database.reading() as connection:
            row = connection.execute("SELECT id, revision, head FROM sessions WHERE name = ?", [name]).fetchone()
            if row is None:
                return SessionSnapshot()
            session, revision, head = row

            messages = connection.execute(_MESSAGES, [session]).fetchall()
            artifacts = connection.execute(_ARTIFACTS, [session]).fetchall()
            results = connection.execute("SELECT slot, result FROM results WHERE session = ?", [session]).fetchall()
        return SessionSnapshot(
            revision=revision,
            messages=tuple(message for (message,) in messages),
            head=head,
            artifacts=dict(artifacts),
            results=dict(results),
        )

    def save(self, name: str, change: SessionUpdate) -> None:
        rows = [(storable(each), text_to_index(each)) for each in change.messages]
        with self._database.writing(missing=gone(name) if change.revision > 0 else "") as connection:
            connection.execute(_NEW, [name, time.time()])
            session, revision = _find(connection, name)
            check_revision(name, revision, change)
            count = _count(connection, session)
            if not 0 <= change.start <= count:
                raise SessionError(f"session {name!r} has {count} messages, not {change.start}")
            index = self._has_index(connection)
            _cut(connection, session, change.start, index=index)
            numbered = enumerate(rows, change.start)
            connection.executemany(_INSERT, ((session, number, *row) for number, row in numbered))
            _save_rest(connection, session, change)
            if index:
                _bring_up_to_date(connection)

    def record(self, name: str, slot: str, result: str) -> None:
        with self._database.writing(missing=gone(name)) as connection:
            session, _ = _find(connection, name, missing=gone(name))
            row = (session, storable(slot), storable(result))
            connection.execute("INSERT OR REPLACE INTO results VALUES (?, ?, ?)", row)

    def branch(self, name: str, new: str, messages: int | None) -> None:
        self.check()
        with self.claim(new), self._database.writing() as connection:
            session, _ = _find(connection, name)
            (head,) = connection.execute("SELECT head FROM sessions WHERE id = ?", [session]).fetchone()
            count = _count(connection, session)
            check_branch(name, head, count, messages)
            if not connection.execute(_NEW, [new, time.time()]).rowcount:
                raise SessionError(f"there is a session {new!r} already; choose another name")
            copy, _ = _find(connection, new)
            part = count if messages is None else messages
            connection.execute(
                "INSERT INTO messages (session, position, message, text) SELECT ?, position, message, text"
                " FROM messages WHERE session = ? AND position < ? ORDER BY position",
                [copy, session, part],
            )
            connection.execute(
                "INSERT INTO artifacts (session, call, text) SELECT ?, call, text FROM artifacts WHERE session = ?"
                " ORDER BY id",
                [copy, session],
            )
            connection.execute("UPDATE sessions SET revision = 1 WHERE id = ?", [copy])
            if self._has_index(connection):
                _bring_up_to_date(connection)

    def delete(self, name: str) -> None:
        self.check()
        with self.claim(name), self._database.writing() as connection:
            session, _ = _find(connection, name)
            index = self._has_index(connection)
            _cut(connection, session, 0, index=index)
            connection.execute("DELETE FROM sessions WHERE id = ?", [session])
            if index:  # it would keep the words for a while, marked as deleted
                connection.execute("INSERT INTO words (words) VALUES ('optimize')")

    def list(self) -> Sequence[SessionInfo]:
        count = "SELECT coalesce(max(position) + 1, 0) FROM messages WHERE session = sessions.id"
        with self._database.reading() as connection:
            rows = connection.execute(
                f"SELECT name, ({count}), created, updated, head FROM sessions ORDER BY updated DESC"  # noqa: S608
            ).fetchall()
        return [
            SessionInfo(
                name=name,
                messages=messages,
                created=datetime.fromtimestamp(created, UTC),
                updated=datetime.fromtimestamp(updated, UTC),
                status=status_of(head),
            )
            for name, messages, created, updated, head in rows
        ]

    def search(self, query: str, limit: int) -> Sequence[Found]:
        if not (words := words_of(query)):
            return []
        with self._database.reading() as connection:
            if self._index and not is_unspaced(words) and _is_up_to_date(connection):
                rows = connection.execute(_BEST, [index_query(words), max(0, limit)]).fetchall()
            else:
                connection.create_function("found", 1, partial(matches, words=words))
                rows = connection.execute(_NEWEST, [max(0, limit)]).fetchall()
        return [
            Found(session=name, number=number, role=role_of(message), snippet=snippet(text, words))
            for name, number, message, text in rows
        ]

    def _has_index(self, connection: sqlite3.Connection) -> bool:
        """Whether there is an index that can be written; it is made where it is missing."""
        if not self._index or not connection.execute("SELECT 1 FROM pragma_module_list WHERE name = 'fts5'").fetchone():
            return False
        connection.execute(
            "CREATE VIRTUAL TABLE IF NOT EXISTS words USING"
            " fts5(text, content='messages', content_rowid='id', tokenize='unicode61 remove_diacritics 2')"
        )
        return True


def _find(connection: sqlite3.Connection, name: str, *, missing: str = "") -> tuple[int, int]:
    """The id and the revision of a session."""
    row = connection.execute("SELECT id, revision FROM sessions WHERE name = ?", [name]).fetchone()
    if row is None:
        raise SessionError(missing or f"there is no session {name!r}")
    session, revision = row
    return session, revision


def _count(connection: sqlite3.Connection, session: int) -> int:
    select = "SELECT coalesce(max(position) + 1, 0) FROM messages WHERE session = ?"
    return int(connection.execute(select, [session]).fetchone()[0])


def _save_rest(connection: sqlite3.Connection, session: int, change: SessionUpdate) -> None:
    dropped = [(session, storable(each)) for each in change.dropped]
    artifacts = [(session, storable(call), storable(text)) for call, text in change.artifacts.items()]
    connection.executemany("DELETE FROM artifacts WHERE session = ? AND call = ?", dropped)
    connection.executemany(_KEEP, artifacts)
    connection.execute("DELETE FROM results WHERE session = ?", [session])
    connection.execute(
        "UPDATE sessions SET revision = revision + 1, head = ?, updated = ? WHERE id = ?",
        [storable(change.head), time.time(), session],
    )


def _cut(connection: sqlite3.Connection, session: int, start: int, *, index: bool) -> None:
    """Delete the messages from ``start`` on; the index must be told the texts that it is to forget."""
    if index:
        connection.execute(
            "INSERT INTO words (words, rowid, text) SELECT 'delete', id, text FROM messages"
            " WHERE session = ? AND position >= ? AND EXISTS (SELECT 1 FROM words_docsize WHERE id = messages.id)",
            [session, start],
        )
    connection.execute("DELETE FROM messages WHERE session = ? AND position >= ?", [session, start])


# Ids only grow, so that what is not in the index comes after all that is. There is more than the new messages after an
# SQLite without FTS5 has written; what it has deleted stays in the index, and is not found, as there is no message.
_LEFT = "FROM messages WHERE id > (SELECT coalesce(max(id), 0) FROM words_docsize) AND text <> ''"


def _bring_up_to_date(connection: sqlite3.Connection) -> None:
    connection.execute(f"INSERT INTO words (rowid, text) SELECT id, text {_LEFT}")


def _is_up_to_date(connection: sqlite3.Connection) -> bool:
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'words'").fetchone():
        return False
    return connection.execute(f"SELECT 1 {_LEFT} LIMIT 1").fetchone() is None
