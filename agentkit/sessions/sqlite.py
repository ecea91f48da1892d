"""Sessions in a SQLite file, which several processes may use at once."""

from __future__ import annotations

import math
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from anyio import CapacityLimiter
from anyio.lowlevel import RunVar
from anyio.to_thread import run_sync

from agentkit.errors import ConfigError, SessionError
from agentkit.run import SessionSnapshot, SessionUpdate
from agentkit.sessions.base import (
    SearchHit,
    SessionInfo,
    Sessions,
    Store,
    check_branch,
    check_revision,
    gone,
    status_of,
)
from agentkit.sessions.locks import check_claim, claimed
from agentkit.sessions.seals import Sealer
from agentkit.sessions.search import hit, index_query, search_text, storable, terms_of

__all__ = ["SQLiteSessions"]

T = TypeVar("T")

_OURS = 0x41474B54  # "AGKT", the application_id of a session file
_FORMAT = 1
_SCHEMA = f"""
CREATE TABLE sessions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    revision INTEGER NOT NULL DEFAULT 0,
    head TEXT NOT NULL DEFAULT '',
    seal TEXT NOT NULL DEFAULT '',
    created REAL NOT NULL,
    updated REAL NOT NULL
);
CREATE TABLE messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session INTEGER NOT NULL REFERENCES sessions ON DELETE CASCADE,
    position INTEGER NOT NULL,
    message TEXT NOT NULL,
    seal TEXT NOT NULL,
    text TEXT NOT NULL,
    UNIQUE (session, position)
);
CREATE TABLE artifacts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session INTEGER NOT NULL REFERENCES sessions ON DELETE CASCADE,
    call TEXT NOT NULL,
    text TEXT NOT NULL,
    seal TEXT NOT NULL,
    UNIQUE (session, call)
);
CREATE TABLE results (
    session INTEGER NOT NULL REFERENCES sessions ON DELETE CASCADE,
    slot TEXT NOT NULL,
    result TEXT NOT NULL,
    seal TEXT NOT NULL,
    PRIMARY KEY (session, slot)
) WITHOUT ROWID;
PRAGMA application_id = {_OURS};
PRAGMA user_version = {_FORMAT};
"""
_INDEX = (
    "CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5(text, content='messages', content_rowid='id',"
    " tokenize='trigram')"
)

_ADVICE: Mapping[int, str] = {
    sqlite3.SQLITE_BUSY: "another program has locked it for longer than the timeout; close that program, and try again",
    sqlite3.SQLITE_FULL: "its disk is full; free some space, and try again",
    sqlite3.SQLITE_READONLY: "it is not writable; change the permissions of the file and its directory",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened; check the permissions of the file and its directory",
    sqlite3.SQLITE_NOTADB: "it is not a SQLite database; choose another file",
    sqlite3.SQLITE_CORRUPT: "it is damaged; restore a copy, or save what `sqlite3 FILE .recover` can find",
    sqlite3.SQLITE_IOERR: "its disk cannot be read or written, or is full; check the disk, and try again",
}

_GUARD = threading.Lock()
_TURNS: dict[str, threading.Lock] = {}  # serializes the operations on a file in this process
_LIMITERS: RunVar[dict[str, CapacityLimiter]] = RunVar("agentkit_session_threads")


class _Database:
    """A session file, created on first use, readable by its owner only."""

    def __init__(self, path: Path, timeout: float) -> None:
        self.path = path
        self.timeout = timeout

    async def perform(self, work: Callable[[], T]) -> T:
        """Call ``work`` in a thread: one for each file and event loop, since SQLite serializes writes anyway."""
        try:
            limiters = _LIMITERS.get()
        except LookupError:
            _LIMITERS.set(limiters := {})
        key = str(self.path)
        limiter = limiters.get(key) or limiters.setdefault(key, CapacityLimiter(1))
        return await run_sync(work, limiter=limiter)

    @contextmanager
    def reading(self) -> Generator[sqlite3.Connection]:
        """Open a connection that reads a consistent snapshot."""
        with self._transaction("BEGIN") as connection:
            yield connection

    @contextmanager
    def writing(self, *, missing: str = "") -> Generator[sqlite3.Connection]:
        """Open a connection that writes everything, on disk when the block ends, or nothing.

        Raises:
            SessionError: There is no file, and ``missing`` says why none may be created.
        """
        with self._transaction("BEGIN IMMEDIATE", missing) as connection:
            yield connection

    @contextmanager
    def _transaction(self, begin: str, missing: str = "") -> Generator[sqlite3.Connection]:
        with self.errors(), _turn(str(self.path)):
            if missing and self.path.parent.is_dir() and not self.path.exists():
                raise SessionError(missing)
            self._create()
            with closing(self._connect()) as connection:  # closing it rolls back uncommitted changes
                self._prepare(connection)
                connection.execute(begin)
                yield connection
                connection.execute("COMMIT")

    @contextmanager
    def errors(self) -> Generator[None]:
        """Turn errors into a `SessionError`."""
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            advice = _ADVICE.get(code, "what is stored is as it was")
            quoted = "".join(each if each.isprintable() else " " for each in str(error))  # perhaps from the file
            raise SessionError(f"the sessions in {self.path} cannot be used ({quoted:.200}): {advice}") from error
        except UnicodeDecodeError as error:  # SQLite quotes what it has found
            raise SessionError(f"the sessions in {self.path} cannot be used: the file is damaged") from error
        except OSError as error:
            advice = "check that its directory exists and that you may write there"
            raise SessionError(f"the sessions in {self.path} cannot be used ({error.strerror}): {advice}") from error

    def _create(self) -> None:
        """Create the file with its permissions; SQLite would let others read it."""
        if self.path.is_dir():
            raise SessionError(f"{self.path} is a directory: name a file in it, for example {self.path / 'chat.db'}")
        with suppress(FileExistsError):
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        if self.path.stat().st_nlink > 1:  # neither SQLite nor a claim would notice users of the other name
            raise SessionError(f"{self.path} has other names (hard links), so it cannot be locked: copy it")

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=self.timeout, isolation_level=None)
        connection.text_factory = partial(str, encoding="utf-8", errors="surrogateescape")  # to read damaged rows
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
        """Create the tables of a new file, and refuse a file of another program."""
        if self._is_new(connection):
            connection.execute("BEGIN EXCLUSIVE")
            if self._is_new(connection):  # check again: another process may have been first
                for statement in _SCHEMA.split(";"):  # `executescript` would commit in between
                    connection.execute(statement)
            connection.execute("COMMIT")
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise  # while others use a new file this fails, which is just as safe: the next one changes it

    def _is_new(self, connection: sqlite3.Connection) -> bool:
        ((ours,), (version,)) = (connection.execute(f"PRAGMA {name}").fetchone() for name in _MARKS)
        if ours == _OURS and version > _FORMAT:
            raise SessionError(
                f"the sessions in {self.path} have format {version} and this version of agentkit reads {_FORMAT}: "
                "update agentkit, or choose another file"
            )
        if ours == _OURS and version == _FORMAT:
            if connection.execute("SELECT 1 FROM sqlite_master WHERE type IN ('trigger', 'view')").fetchone():
                raise SessionError(f"{self.path} was changed by another program, which added triggers or views to it")
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


# SQLite does not survive a fork while a connection is open, so a fork waits for the operations of the other threads.
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


class SQLiteSessions(Sessions):
    """Sessions in a SQLite file, created on first use. Several threads and processes may use the same file.

    Args:
        path: The file. Next to it are ``-wal`` and ``-shm`` while it is used, and an empty file ``-claims``.
        timeout: How many seconds to wait when another program has locked the file.
        index: Whether to maintain a full-text index; without it, as with a SQLite that lacks FTS5, a search reads all
            messages.
        key: A secret that signs what is stored, for a file that others can write; without one, checksums find damage.
            A file is always used with the key that it was created with, or always without one.

    Raises:
        ConfigError: The path is not a path, or is ``":memory:"``, where nothing would be found again (use
            `MemorySessions`); the timeout is not a number of seconds, or the key is not bytes.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, timeout: float = 5.0, index: bool = True, key: bytes | None = None
    ) -> None:
        if not isinstance(path, str | os.PathLike):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigError(f'SQLiteSessions takes the path of a file, for example "chat.db", not {path!r:.80}')
        if os.fspath(path) in ("", ":memory:"):
            raise ConfigError("SQLiteSessions needs a file; MemorySessions() stores sessions in memory")
        if not isinstance(timeout, int | float) or not 0 <= timeout < math.inf:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigError(f"SQLiteSessions(timeout={timeout!r:.80}): must be a number of seconds, at least 0")
        super().__init__(_SQLiteStore(_Database(Path(path).resolve(), timeout), Sealer(key), index=index))
        self.path = Path(path)

    def __repr__(self) -> str:
        return f"SQLiteSessions({os.fspath(self.path)!r})"


_TEXTS = "SELECT sessions.name, position, message FROM messages JOIN sessions ON sessions.id = session"
_FOUND = "contains(CAST(messages.text AS BLOB))"  # bytes, because damaged text may not be a string
_BEST = (
    f"{_TEXTS} JOIN words ON words.rowid = messages.id WHERE words MATCH ?1 AND {_FOUND}"
    " ORDER BY rank, messages.id DESC"
)
_NEWEST = f"{_TEXTS} WHERE ?1 = '' AND {_FOUND} ORDER BY messages.id DESC"


class _SQLiteStore(Store):
    def __init__(self, database: _Database, sealer: Sealer, *, index: bool) -> None:
        self._database = database
        self._sealer = sealer
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
            stored = _Row.find(connection, self._sealer, name)
            return SessionSnapshot() if stored is None else stored.load()

    def save(self, name: str, change: SessionUpdate) -> None:
        with self._database.writing(missing=gone(name) if change.revision > 0 else "") as connection:
            check_claim(self._database.path, name)
            stored = _Row.find(connection, self._sealer, name)
            check_revision(name, stored.revision if stored else 0, change)
            self._write(connection, stored or _Row.insert(connection, self._sealer, name), change)

    def record(self, name: str, slot: str, result: str) -> None:
        with self._database.writing(missing=gone(name)) as connection:
            check_claim(self._database.path, name)
            if (stored := _Row.find(connection, self._sealer, name)) is None:
                raise SessionError(gone(name))
            stored.record(storable(slot), storable(result))

    def branch(self, name: str, new: str, messages: int | None) -> None:
        self.check()
        with self.claim(new), self._database.writing() as connection:
            stored = self._find(connection, name)
            check_branch(name, stored.head, stored.count(), messages)
            if _Row.find(connection, self._sealer, new) is not None:
                raise SessionError(f"there is a session {new!r} already; choose another name")
            whole = stored.load(messages)
            copy = SessionUpdate(revision=0, start=0, messages=whole.messages, head="", artifacts=whole.artifacts)
            self._write(connection, _Row.insert(connection, self._sealer, new), copy)

    def delete(self, name: str) -> None:
        self.check()
        with self.claim(name), self._database.writing() as connection:
            stored = self._find(connection, name)
            index = self._has_index(connection)
            stored.cut(0, index=index)
            connection.execute("DELETE FROM sessions WHERE id = ?", [stored.id])
            if index:  # otherwise it keeps deleted words for a while
                connection.execute("INSERT INTO words (words) VALUES ('optimize')")

    def list(self) -> Sequence[SessionInfo]:
        count = "SELECT coalesce(max(position) + 1, 0) FROM messages WHERE session = sessions.id"
        with self._database.reading() as connection:
            rows = connection.execute(
                f"SELECT name, ({count}), created, updated, head FROM sessions ORDER BY updated DESC"  # noqa: S608
            ).fetchall()
        return [_info(*row) for row in rows]

    def search(self, query: str, limit: int) -> Sequence[SearchHit]:
        if not (terms := terms_of(query)):
            return []
        wanted = [term.encode() for term in terms]

        def contains(text: bytes) -> bool:
            return all(each in text for each in wanted)

        with self._database.reading() as connection:
            connection.create_function("contains", 1, contains)
            indexed = index_query(terms) if self._index and _is_up_to_date(connection) else ""
            found = connection.execute(
                f"{_BEST if indexed else _NEWEST} LIMIT ?2", [indexed, min(max(0, limit), 2**31)]
            )
            rows = found.fetchall()
        return [
            hit(str(name), number, str(message), terms) for name, number, message in rows if isinstance(number, int)
        ]

    def _find(self, connection: sqlite3.Connection, name: str) -> _Row:
        if (stored := _Row.find(connection, self._sealer, name)) is None:
            raise SessionError(f"there is no session {name!r}")
        return stored

    def _write(self, connection: sqlite3.Connection, stored: _Row, change: SessionUpdate) -> None:
        count = stored.count()
        if not 0 <= change.start <= count:
            raise SessionError(f"session {stored.name!r} has {count} messages, not {change.start}")
        stored.check_from(change.start)
        index = self._has_index(connection)
        stored.cut(change.start, index=index)
        stored.save(change)
        if index:
            connection.execute(f"INSERT INTO words (rowid, text) SELECT id, text {_NOT_INDEXED}")

    def _has_index(self, connection: sqlite3.Connection) -> bool:
        """Return True if there is a writable index; a missing one is created."""
        if not self._index or not connection.execute("SELECT 1 FROM pragma_module_list WHERE name = 'fts5'").fetchone():
            return False
        connection.execute(_INDEX)
        return True


@dataclass(slots=True)
class _Row:
    """A session in the file, with its messages and artifacts."""

    connection: sqlite3.Connection
    sealer: Sealer
    name: str
    id: int
    revision: Any  # like everything else that is read before its seal is checked
    head: str = ""
    seal: str = ""

    @classmethod
    def find(cls, connection: sqlite3.Connection, sealer: Sealer, name: str) -> _Row | None:
        """Find a session by its name; None if there is none."""
        row = connection.execute("SELECT id, revision, head, seal FROM sessions WHERE name = ?", [name]).fetchone()
        if row is None:
            return None
        found = cls(connection, sealer, name, *row)
        if not isinstance(found.revision, int) or not 0 < found.revision < 2**53:
            raise found.damaged("its revision")
        if not str(found.seal).startswith(sealer.prefix):
            signed = str(found.seal).startswith("hmac")
            raise SessionError(
                f"session {name!r} is signed: open the file with the key= that it was written with"
                if signed
                else f"session {name!r} is not signed: it was written without a key, perhaps by somebody else"
            )
        return found

    @classmethod
    def insert(cls, connection: sqlite3.Connection, sealer: Sealer, name: str) -> _Row:
        """Add an empty session."""
        now = time.time()
        made = connection.execute("INSERT INTO sessions (name, created, updated) VALUES (?, ?, ?)", [name, now, now])
        return cls(connection, sealer, name, made.lastrowid or 0, 0)

    def count(self) -> int:
        """Return the number of its messages."""
        select = "SELECT position FROM messages WHERE session = ? ORDER BY position DESC LIMIT 1"
        (last,) = self.connection.execute(select, [self.id]).fetchone() or (-1,)
        if not isinstance(last, int):
            raise self.damaged("the place of a message")
        return last + 1

    def damaged(self, what: str) -> SessionError:
        """Return the error for something whose seal does not match."""
        cause = "was written with another key, or changed" if self.sealer.prefix.startswith("hmac") else "was changed"
        return SessionError(f"{what} in session {self.name!r} {cause} or damaged after it was written; it was not used")

    def load(self, messages: int | None = None) -> SessionSnapshot:
        """Return what is stored, or only its first ``messages`` and its artifacts."""
        texts = self.check_from(0, most=messages)
        select = "SELECT call, text, seal FROM artifacts WHERE session = ? ORDER BY id"
        artifacts: dict[str, str] = {}
        for call, text, seal in self.connection.execute(select, [self.id]):
            if seal != self.sealer.seal("artifact", self.name, call, text):
                raise self.damaged(f"the artifact {call!r:.80}")
            artifacts[str(call)] = str(text)
        results: dict[str, str] = {}
        for slot, result, seal in self.connection.execute(
            "SELECT slot, result, seal FROM results WHERE session = ?", [self.id]
        ):
            if seal != self._seal_of_result(slot, result):
                raise self.damaged(f"the result of {slot!r:.80}")
            results[str(slot)] = str(result)
        return SessionSnapshot(
            revision=self.revision, messages=texts, head=str(self.head), artifacts=artifacts, results=results
        )

    def check_from(self, start: int, *, most: int | None = None) -> tuple[str, ...]:
        """Return the messages from ``start`` on, after checking their seals.

        Raises:
            SessionError: A seal does not match.
        """
        last = self._seal_before(start)
        rows = self.connection.execute(
            "SELECT position, message, seal FROM messages WHERE session = ? AND position >= ?"
            " ORDER BY position LIMIT ?",
            [self.id, start, -1 if most is None else most],
        )
        texts: list[str] = []
        for number, (position, message, seal) in enumerate(rows, start):
            last = self.sealer.seal("message", last, message)
            if (position, seal) != (number, last):
                before = f"; branch(..., messages={number}) copies what comes before it" if number else ""
                raise SessionError(f"{self.damaged(f'message {number}')}{before}")
            texts.append(str(message))
        if most is None and self.revision and self.seal != self._own_seal(last):
            raise self.damaged("the data other than messages")
        return tuple(texts)

    def cut(self, start: int, *, index: bool) -> None:
        """Delete the messages from ``start`` on; the index needs the deleted texts."""
        if index:
            self.connection.execute(
                "INSERT INTO words (words, rowid, text) SELECT 'delete', id, text FROM messages"
                " WHERE session = ? AND position >= ? AND EXISTS (SELECT 1 FROM words_docsize WHERE id = messages.id)",
                [self.id, start],
            )
        self.connection.execute("DELETE FROM messages WHERE session = ? AND position >= ?", [self.id, start])

    def save(self, change: SessionUpdate) -> None:
        """Store a change, whose messages come after all existing ones."""
        last = self._seal_before(change.start)
        for position, message in enumerate(map(storable, change.messages), change.start):
            last = self.sealer.seal("message", last, message)
            self.connection.execute(
                "INSERT INTO messages (session, position, message, seal, text) VALUES (?, ?, ?, ?, ?)",
                [self.id, position, message, last, search_text(message)],
            )
        for call in map(storable, change.dropped):
            self.connection.execute("DELETE FROM artifacts WHERE session = ? AND call = ?", [self.id, call])
        for call, text in change.artifacts.items():
            row = [self.id, storable(call), storable(text)]
            self.connection.execute(
                "INSERT INTO artifacts (session, call, text, seal) VALUES (?, ?, ?, ?) ON CONFLICT (session, call)"
                " DO UPDATE SET text = excluded.text, seal = excluded.seal",  # in place: the oldest are dropped first
                [*row, self.sealer.seal("artifact", self.name, *row[1:])],
            )
        self.connection.execute("DELETE FROM results WHERE session = ?", [self.id])
        self.revision += 1
        self.head = storable(change.head)
        self.connection.execute(
            "UPDATE sessions SET revision = ?, head = ?, seal = ?, updated = ? WHERE id = ?",
            [self.revision, self.head, self._own_seal(last), time.time(), self.id],
        )

    def record(self, slot: str, result: str) -> None:
        """Store the result of a slot."""
        row = (self.id, slot, result, self._seal_of_result(slot, result))
        self.connection.execute("INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?)", row)

    def _seal_before(self, start: int) -> str:
        """Return the seal of the message before ``start``, or of the name for the first one."""
        select = "SELECT seal FROM messages WHERE session = ? AND position = ?"
        row = self.connection.execute(select, [self.id, start - 1]).fetchone() if start else None
        return row[0] if row else self.sealer.seal("session", self.name)

    def _seal_of_result(self, slot: object, result: object) -> str:
        return self.sealer.seal("result", self.name, self.revision, slot, result)

    def _own_seal(self, last: str) -> str:
        select = "SELECT seal FROM artifacts WHERE session = ? ORDER BY id"
        artifacts = [seal for (seal,) in self.connection.execute(select, [self.id])]
        return self.sealer.prefix + self.sealer.seal("head", self.name, self.revision, last, *artifacts, self.head)


def _info(name: Any, messages: Any, created: Any, updated: Any, head: Any) -> SessionInfo:
    """Return an entry of the list. One that cannot be read is listed as damaged, so it does not hide the others."""
    try:
        times = {"created": datetime.fromtimestamp(created, UTC), "updated": datetime.fromtimestamp(updated, UTC)}
        name.encode()
        return SessionInfo(name=name, messages=messages, status=status_of(head), **times)
    except (AttributeError, TypeError, ValueError, OverflowError, OSError):
        unknown = datetime.fromtimestamp(0, UTC)
        return SessionInfo(name=ascii(name), messages=0, created=unknown, updated=unknown, status="damaged")


# Ids only grow, so everything not yet in the index comes after everything in it. If a SQLite without FTS5 has written,
# that is more than the new messages; what it deleted stays in the index, but is not found, as there is no message.
_NOT_INDEXED = "FROM messages WHERE id > (SELECT coalesce(max(id), 0) FROM words_docsize) AND text <> ''"


def _is_up_to_date(connection: sqlite3.Connection) -> bool:
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'words'").fetchone():
        return False
    return connection.execute(f"SELECT 1 {_NOT_INDEXED} LIMIT 1").fetchone() is None
