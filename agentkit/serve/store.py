"""What a server stores between requests: waiting runs, and answers to requests with an idempotency key."""

from __future__ import annotations

import os
import sqlite3
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Protocol, TypeVar

import anyio.to_thread

from agentkit.errors import ConfigError

__all__ = ["FileStore", "MemoryStore", "Store"]

T = TypeVar("T")
_MOST = 10_000  # entries in memory
_LONGEST = 256 * 1024 * 1024  # characters of all of them
_TABLE = "create table if not exists entries (key text primary key, value text not null, until real not null)"


class Store(Protocol):
    """Stores strings by key, each for a limited time."""

    async def get(self, key: str) -> str | None:
        """Return a value; None if there is none, or it has expired."""
        ...

    async def put(self, key: str, value: str, seconds: float) -> None:
        """Set a value for this many seconds."""
        ...

    async def add(self, key: str, value: str, seconds: float) -> str | None:
        """Set a value if there is none; otherwise return the existing one."""
        ...

    async def take(self, key: str) -> str | None:
        """Remove a value and return it: of several concurrent callers, only one gets it."""
        ...


class MemoryStore:
    """Stores in memory, for the lifetime of the process; beyond 10,000 entries or 256 MB, the oldest are dropped."""

    def __init__(self) -> None:
        self._entries: OrderedDict[str, tuple[str, float]] = OrderedDict()
        self._length = 0

    async def get(self, key: str) -> str | None:  # noqa: D102
        value, until = self._entries.get(key, ("", 0.0))
        return value if until > time.time() else None

    async def put(self, key: str, value: str, seconds: float) -> None:  # noqa: D102
        self._forget(key)
        self._entries[key] = (value, time.time() + seconds)
        self._length += len(value)
        while len(self._entries) > _MOST or self._length > _LONGEST or self._oldest_is_over():
            self._forget(next(iter(self._entries)))

    async def add(self, key: str, value: str, seconds: float) -> str | None:  # noqa: D102
        known = await self.get(key)
        if known is None:
            await self.put(key, value, seconds)
        return known

    async def take(self, key: str) -> str | None:  # noqa: D102
        value = await self.get(key)
        self._forget(key)
        return value

    def _oldest_is_over(self) -> bool:
        return bool(self._entries) and next(iter(self._entries.values()))[1] < time.time()

    def _forget(self, key: str) -> None:
        value, _ = self._entries.pop(key, ("", 0.0))
        self._length -= len(value)


class FileStore:
    """Stores in a SQLite file, for several processes and across restarts. Only its owner can read the file.

    Raises:
        ConfigError: The file cannot be used.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = str(path)
        try:
            os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
            with closing(self._connect()) as connection, connection:
                connection.execute("pragma journal_mode = wal")
                connection.execute(_TABLE)
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(f"the file {self._path!r} cannot hold the runs of a server: {error}") from error

    async def get(self, key: str) -> str | None:  # noqa: D102
        return await self._perform(lambda each: _value(each, key))

    async def put(self, key: str, value: str, seconds: float) -> None:  # noqa: D102
        await self._perform(lambda each: _put(each, key, value, seconds))

    async def add(self, key: str, value: str, seconds: float) -> str | None:  # noqa: D102
        def add(connection: sqlite3.Connection) -> str | None:
            known = _value(connection, key)
            if known is None:
                _put(connection, key, value, seconds)
            return known

        return await self._perform(add)

    async def take(self, key: str) -> str | None:  # noqa: D102
        def take(connection: sqlite3.Connection) -> str | None:
            value = _value(connection, key)
            connection.execute("delete from entries where key = ?", (key,))
            return value

        return await self._perform(take)

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=10, isolation_level=None)

    async def _perform(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def perform() -> T:
            with closing(self._connect()) as connection:
                connection.execute("begin immediate")
                value = work(connection)
                connection.execute("commit")
                return value

        return await anyio.to_thread.run_sync(perform)  # waits for the thread, so that no taken value is lost


def _value(connection: sqlite3.Connection, key: str) -> str | None:
    row = connection.execute("select value from entries where key = ? and until > ?", (key, time.time())).fetchone()
    return None if row is None else str(row[0])


def _put(connection: sqlite3.Connection, key: str, value: str, seconds: float) -> None:
    now = time.time()
    connection.execute("delete from entries where until < ?", (now,))
    connection.execute("insert or replace into entries values (?, ?, ?)", (key, value, now + seconds))
