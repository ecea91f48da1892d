"""Sessions: the interface that users see, and the `Store` behind it."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Never, TypeVar, cast

from agentkit.chat import encode_json
from agentkit.errors import ConfigError, SessionConflict, SessionError
from agentkit.messages import Message, read_message
from agentkit.run import History, RunState, SessionSnapshot, SessionUpdate

__all__ = [
    "SearchHit",
    "SessionInfo",
    "Sessions",
    "Store",
    "StoredSession",
    "SyncSession",
    "SyncSessions",
    "check_branch",
    "check_revision",
    "gone",
    "status_of",
]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionInfo:
    """One entry of the list of sessions.

    Attributes:
        name: Its name.
        messages: The number of its messages.
        created: When it was first saved.
        updated: When it was last saved.
        status: How its last run ended (``"done"``, ``"paused"``, ``"limited"``, ``"cancelled"`` or ``"failed"``), or
            ``"running"``: it is running now, or its program died. Empty when there was no run, as in a branch;
            ``"damaged"`` when the entry itself cannot be read.
    """

    name: str
    messages: int
    created: datetime
    updated: datetime
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchHit:
    """A message that matches a search.

    Attributes:
        session: The name of its session.
        number: Its place among the messages of the session, counted from 0.
        role: The role of the message.
        snippet: The part of its text around the first match, on one line.
    """

    session: str
    number: int
    role: str
    snippet: str


class Store(ABC):
    """Where sessions are stored. Its methods block; one that raises has changed nothing."""

    @abstractmethod
    async def perform(self, work: Callable[[], T]) -> T:
        """Call ``work`` without blocking the event loop; if cancelled, it still runs completely or not at all."""

    @abstractmethod
    def check(self) -> None:
        """Raise a `SessionError` if the store cannot be used."""

    @abstractmethod
    def claim(self, name: str) -> AbstractContextManager[None]:
        """See `Session.claim`."""

    @abstractmethod
    def load(self, name: str) -> SessionSnapshot:
        """See `Session.load`."""

    @abstractmethod
    def save(self, name: str, change: SessionUpdate) -> None:
        """See `Session.save`."""

    @abstractmethod
    def record(self, name: str, slot: str, result: str) -> None:
        """See `Session.record`."""

    @abstractmethod
    def branch(self, name: str, new: str, messages: int | None) -> None:
        """See `StoredSession.branch`."""

    @abstractmethod
    def delete(self, name: str) -> None:
        """See `StoredSession.delete`."""

    @abstractmethod
    def list(self) -> Sequence[SessionInfo]:
        """See `Sessions.list`."""

    @abstractmethod
    def search(self, query: str, limit: int) -> Sequence[SearchHit]:
        """See `Sessions.search`."""


class SyncSession:
    """A `StoredSession` for code that is not async: the same methods, which block the thread.

    Attributes:
        name: The name of the session.
    """

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self.name = name

    def __repr__(self) -> str:
        return f"<session {self.name!r}>"

    def load(self) -> SessionSnapshot:
        """Return what is stored; see `StoredSession.load`."""
        return self._store.load(self.name)

    def seed(self, history: History) -> None:
        """Begin the session with these messages; see `StoredSession.seed`."""
        if self.load().revision:
            raise SessionError(f"session {self.name!r} is not empty; seed() begins a new one")
        self._store.save(self.name, SessionUpdate.from_history(history))

    def branch(self, new_name: str, *, messages: int | None = None) -> SyncSession:
        """Copy the session; see `StoredSession.branch`."""
        if not isinstance(messages, int | None) or isinstance(messages, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigError(f"branch(messages={messages!r:.80}): must be a number of messages, for example 2")
        self._store.branch(self.name, checked_name(new_name), messages)
        return SyncSession(self._store, new_name)

    def delete(self) -> None:
        """Delete the session; see `StoredSession.delete`."""
        self._store.delete(self.name)

    def state(self) -> RunState | None:
        """Return the state of the last run; see `StoredSession.state`."""
        return self.load().state()

    def messages(self) -> Sequence[Message]:
        """Return the messages; see `StoredSession.messages`."""
        return [self._read(number, message) for number, message in enumerate(self.load().messages)]

    def export(self) -> Sequence[dict[str, Any]]:
        """Return the messages as a Chat Completions request holds them."""
        return [message.to_wire() for message in self.messages()]

    def export_lines(self) -> str:
        """Return the same as JSON lines, one message per line."""
        return "".join(f"{encode_json(each).decode()}\n" for each in self.export())

    def _read(self, number: int, message: str) -> Message:
        try:
            raw = json.loads(message)
            return read_message(cast("Mapping[str, Any]", raw) if isinstance(raw, dict) else {})
        except (ValueError, RecursionError) as error:
            raise SessionError(f"message {number} of session {self.name!r} cannot be read: {error}") from error


class StoredSession:
    """One conversation: a `Session` for ``Agent.run(..., session=...)`` that can also be read, copied and deleted.

    ``sessions["name"]`` creates it; nothing needs to be stored under that name yet.

    Attributes:
        name: The name of the session.
        sync: The same session for code that is not async.
    """

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self.name = name
        self.sync = SyncSession(store, name)

    def __repr__(self) -> str:
        return repr(self.sync)

    @asynccontextmanager
    async def claim(self) -> AsyncGenerator[None]:
        """Hold the session exclusively until the context is left or this process ends, however it ends.

        Raises:
            SessionBusy: Another run holds it.
        """
        await self._store.perform(self._store.check)
        with self._store.claim(self.name):
            yield

    async def load(self) -> SessionSnapshot:
        """Return what is stored; an empty `SessionSnapshot` for a new session.

        Raises:
            SessionError: It was changed or damaged since it was written, or cannot be read.
        """
        return await self._store.perform(self.sync.load)

    async def save(self, change: SessionUpdate) -> None:
        """Store a change atomically, even if this is cancelled.

        Raises:
            SessionConflict: The stored revision is not the one that the change is based on.
            SessionError: What the change is based on was deleted.
        """
        await self._store.perform(partial(self._store.save, self.name, change))

    async def record(self, slot: str, result: str) -> None:
        """Store the result of a slot's call; it is on disk when this returns.

        Raises:
            SessionError: There is no such session: a run saves it before its first call.
        """
        await self._store.perform(partial(self._store.record, self.name, slot, result))

    async def seed(self, history: History) -> None:
        """Begin the session with messages from elsewhere.

        Args:
            history: Whatever ``history=`` of a run accepts: messages, their JSON objects, or an earlier result. What no
                server would accept is repaired.

        Raises:
            SessionError: The session is not empty.
            ConfigError: These are not messages.
        """
        await self._store.perform(partial(self.sync.seed, history))

    async def branch(self, new_name: str, *, messages: int | None = None) -> StoredSession:
        """Copy the session, or its first ``messages``, to a new one; from there on they are independent.

        The copy has no run to resume and no standing approvals: calls of one run in two sessions would share their
        idempotency keys.

        Raises:
            SessionError: There is no such session, it has fewer messages, or the new name is taken; or its last run is
                not finished, and ``messages`` does not say that only messages are wanted.
            ConfigError: The new name is not valid, or ``messages`` is not a number.
        """
        await self._store.perform(partial(self.sync.branch, new_name, messages=messages))
        return StoredSession(self._store, new_name)

    async def delete(self) -> None:
        """Delete the session.

        Raises:
            SessionBusy: A run holds it.
            SessionError: There is no such session.
        """
        await self._store.perform(self.sync.delete)

    async def state(self) -> RunState | None:
        """Return the state of the last run, to inspect or to decide about; None if there was none.

        Raises:
            StateError: It cannot be read.
        """
        return await self._store.perform(self.sync.state)

    async def messages(self) -> Sequence[Message]:
        """Return the messages, ready for ``history=``; none if nothing is stored.

        Raises:
            SessionError: What is stored is not a message.
        """
        return await self._store.perform(self.sync.messages)

    async def export(self) -> Sequence[dict[str, Any]]:
        """Return the messages as a Chat Completions request holds them."""
        return await self._store.perform(self.sync.export)

    async def export_lines(self) -> str:
        """Return the same as JSON lines, one message per line."""
        return await self._store.perform(self.sync.export_lines)


class _Named:
    """Sessions by name."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __contains__(self, name: object) -> bool:
        """Refused: see `list`."""
        raise TypeError(_LISTED)

    def __iter__(self) -> Iterator[Never]:  # Python would otherwise try 0, 1, 2 as names
        """Refused: see `list`."""
        raise TypeError(_LISTED)


class SyncSessions(_Named):
    """`Sessions` for code that is not async: the same methods, which block the thread."""

    def __getitem__(self, name: str) -> SyncSession:
        """Return the session of this name; see `Sessions`."""
        return SyncSession(self._store, checked_name(name))

    def list(self) -> Sequence[SessionInfo]:
        """Return all sessions; see `Sessions.list`."""
        return self._store.list()

    def search(self, query: str, *, limit: int = 20) -> Sequence[SearchHit]:
        """Find messages; see `Sessions.search`."""
        return self._store.search(query, limit)


class Sessions(_Named):
    """Sessions by their names: ``sessions["alice"]``. They work in every thread and event loop.

    Attributes:
        sync: The same sessions for code that is not async.
    """

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.sync = SyncSessions(store)

    def __getitem__(self, name: str) -> StoredSession:
        """Return the session of this name, which need not exist yet.

        Raises:
            ConfigError: The name is empty or a string that cannot be stored.
        """
        return StoredSession(self._store, checked_name(name))

    async def list(self) -> Sequence[SessionInfo]:
        """Return all sessions, the most recently saved first."""
        return await self._store.perform(self._store.list)

    async def search(self, query: str, *, limit: int = 20) -> Sequence[SearchHit]:
        """Find the messages of users, models and tools that contain every word of ``query``, anywhere in their text.

        Case and accents do not matter, and no character of the query has a special meaning.
        """
        return await self._store.perform(partial(self._store.search, query, limit))


_LISTED = "read the list of sessions: `[each.name for each in await sessions.list()]` are their names"


def checked_name(name: str) -> str:
    """Return the name if a session can have it.

    Raises:
        ConfigError: It cannot.
    """
    if not isinstance(name, str) or not name:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError(f"{name!r:.80} cannot be the name of a session; a name is a string that is not empty")
    if name != name.encode(errors="ignore").decode():
        raise ConfigError(
            f"{name!r:.80} cannot be the name of a session; it holds a lone surrogate, which is not UTF-8"
        )
    return name


def check_revision(name: str, stored: int, change: SessionUpdate) -> None:
    """Check that a change is based on what is stored; a session that does not exist has revision 0.

    Raises:
        SessionConflict: Something else has saved it.
        SessionError: It was deleted.
    """
    if change.revision > stored == 0:
        raise SessionError(gone(name))
    if stored != change.revision:
        raise SessionConflict(
            f"session {name!r} has revision {stored}, and the change is based on {change.revision}: "
            "something else has saved it; load it again"
        )


def gone(name: str) -> str:
    """Return the error for a session that existed when its run began."""
    return f"session {name!r} is gone: it or its file was deleted; start it again"


def check_branch(name: str, head: str, count: int, messages: int | None) -> None:
    """Check that a session can be copied.

    Raises:
        SessionError: It cannot.
    """
    if messages is None and (status := status_of(head)) in ("running", "paused"):
        raise SessionError(
            f"the last run of session {name!r} is not finished ({status}): resume it first, or copy its messages "
            f"only with branch(..., messages={count})"
        )
    if messages is not None and not 0 <= messages <= count:
        raise SessionError(f"session {name!r} has {count} messages, not {messages}")


def status_of(head: str) -> str:
    """Return the status in the head of a session; empty if there is none."""
    try:
        read: Any = json.loads(head or "{}")
        status: Any = read["state"]["status"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""
    return status if isinstance(status, str) else ""
