"""What sessions of every kind can do, and what a kind of them has to bring: a `Store`."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Never, TypeVar, cast

from agentkit.chat.messages import Message, encode_json, read_message
from agentkit.errors import ConfigError, SessionConflict, SessionError
from agentkit.run.session_run import SessionSnapshot, SessionUpdate, state_of
from agentkit.run.state import RunState

__all__ = [
    "Found",
    "SessionInfo",
    "Sessions",
    "Store",
    "StoredSession",
    "check_branch",
    "check_revision",
    "gone",
    "status_of",
]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionInfo:
    """A line of the list of sessions.

    Attributes:
        name: Its name.
        messages: How many messages it has.
        created: When it was saved first.
        updated: When it was saved last.
        status: How its last run ended (``"done"``, ``"paused"``, ``"limited"``, ``"cancelled"`` or ``"failed"``), or
            ``"running"``: it runs now, or its program died. Empty when there was no run, as in a branch.
    """

    name: str
    messages: int
    created: datetime
    updated: datetime
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A message that a search has found.

    Attributes:
        session: The name of its session.
        number: Its place among the messages of the session, counted from 0.
        role: Who said it.
        snippet: The part of its text with the words that were searched for, in one line.
    """

    session: str
    number: int
    role: str
    snippet: str


class Store(ABC):
    """Where sessions are. Its methods do all of their work or, when they raise a `SessionError`, none."""

    @abstractmethod
    async def perform(self, work: Callable[[], T]) -> T:
        """Do ``work``, which calls the methods below; when this is cancelled, it is done wholly or not at all."""

    @abstractmethod
    def check(self) -> None:
        """See that the store can be used."""

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
    def search(self, query: str, limit: int) -> Sequence[Found]:
        """See `Sessions.search`."""


class StoredSession:
    """One conversation among others: a `Session` for ``Agent.run(..., session=...)``, and what people do with one.

    It is made by ``sessions["name"]``. There need not be anything stored yet.

    Attributes:
        name: The name of the session.
    """

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self.name = name

    def __repr__(self) -> str:
        return f"<session {self.name!r}>"

    @asynccontextmanager
    async def claim(self) -> AsyncGenerator[None]:
        """Have the session alone until the context is left, or until this process ends in whatever way.

        Raises:
            SessionBusy: Another run has it.
        """
        await self._store.perform(self._store.check)
        with self._store.claim(self.name):
            yield

    async def load(self) -> SessionSnapshot:
        """What is stored; an empty `SessionSnapshot` for a session that is new."""
        return await self._store.perform(partial(self._store.load, self.name))

    async def save(self, change: SessionUpdate) -> None:
        """Store a change, all of it or nothing, also when this is cancelled.

        Raises:
            SessionConflict: The stored revision is not the one that the change goes on from.
            SessionError: What the change goes on from was deleted.
        """
        await self._store.perform(partial(self._store.save, self.name, change))

    async def record(self, slot: str, result: str) -> None:
        """Store what the call of a slot came to; on the disk when this returns.

        Raises:
            SessionError: There is no such session: a run saves it before its first call.
        """
        await self._store.perform(partial(self._store.record, self.name, slot, result))

    async def branch(self, new_name: str, *, messages: int | None = None) -> StoredSession:
        """Copy the session, or its first ``messages``, to a new one, from where both go on by themselves.

        The copy has no run to go on with, and nothing that was allowed ``always``: what both did of one run would have
        the same idempotency keys.

        Raises:
            SessionError: There is no such session, it has fewer messages, or the new name is taken; or its last run is
                not finished, and ``messages`` does not say that only messages are wanted.
            ConfigError: The new name cannot be one, or ``messages`` is not a number.
        """
        if not isinstance(messages, int | None) or isinstance(messages, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigError(f"branch(messages={messages!r:.80}): must be a number of messages, for example 2")
        new = StoredSession(self._store, checked_name(new_name))
        await self._store.perform(partial(self._store.branch, self.name, new.name, messages))
        return new

    async def delete(self) -> None:
        """Delete the session.

        Raises:
            SessionBusy: A run has it.
            SessionError: There is no such session.
        """
        await self._store.perform(partial(self._store.delete, self.name))

    async def state(self) -> RunState | None:
        """The state of the last run, to look at or to decide about; None if there was none.

        Raises:
            StateError: It cannot be read.
        """
        return await state_of(self)

    async def messages(self) -> Sequence[Message]:
        """The transcript, fit for ``history=``; empty when nothing is stored.

        Raises:
            SessionError: What is stored is not a message.
        """
        saved = await self.load()
        return [self._read(number, message) for number, message in enumerate(saved.messages)]

    async def export(self) -> Sequence[dict[str, Any]]:
        """The messages as a Chat Completions request has them."""
        return [message.to_wire() for message in await self.messages()]

    async def export_lines(self) -> str:
        """The same as JSON lines: one message a line."""
        return "".join(f"{encode_json(each).decode()}\n" for each in await self.export())

    def _read(self, number: int, message: str) -> Message:
        try:
            raw = json.loads(message)
            return read_message(cast("Mapping[str, Any]", raw) if isinstance(raw, dict) else {})
        except ValueError as error:
            raise SessionError(f"message {number} of session {self.name!r} cannot be read: {error}") from error


class Sessions:
    """Sessions by their names: ``sessions["alice"]``. They work in every thread and event loop."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getitem__(self, name: str) -> StoredSession:
        """The session of this name, which need not exist yet.

        Raises:
            ConfigError: The name is empty or not text that can be stored.
        """
        return StoredSession(self._store, checked_name(name))

    def __contains__(self, name: object) -> bool:
        """Not there, since it would have to wait: see `list`."""
        raise TypeError(_LISTED)

    def __iter__(self) -> Iterator[Never]:  # else it would try 0, 1, 2 as names
        """Not there, since it would have to wait: see `list`."""
        raise TypeError(_LISTED)

    async def list(self) -> Sequence[SessionInfo]:
        """All sessions, the one that was saved last first."""
        return await self._store.perform(self._store.list)

    async def search(self, query: str, *, limit: int = 20) -> Sequence[Found]:
        """Find the messages of users, models and tools that have all words of ``query``, the best ones first.

        A word also finds the words that begin with it. Case and accents do not matter, and no character has a meaning
        of its own.
        """
        return await self._store.perform(partial(self._store.search, query, limit))


_LISTED = "sessions are read with await: `[each.name for each in await sessions.list()]` are their names"


def checked_name(name: str) -> str:
    """The name of a session, if it can be one.

    Raises:
        ConfigError: It cannot.
    """
    if not isinstance(name, str) or not name:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError(f"{name!r:.80} cannot be the name of a session; a name is a text that is not empty")
    if name != name.encode(errors="ignore").decode():
        raise ConfigError(f"{name!r:.80} cannot be the name of a session; it has half a character, which is no UTF-8")
    return name


def check_revision(name: str, stored: int, change: SessionUpdate) -> None:
    """See that a change goes on from what is stored, with revision 0 for a session that is not there.

    Raises:
        SessionConflict: Something else has saved it.
        SessionError: It is gone.
    """
    if change.revision > stored == 0:
        raise SessionError(gone(name))
    if stored != change.revision:
        raise SessionConflict(
            f"session {name!r} has revision {stored}, and the change goes on from {change.revision}: "
            "something else has saved it; load it again"
        )


def gone(name: str) -> str:
    """What to say of a session that was there when its run began."""
    return f"what was stored of session {name!r} is gone: it was deleted, or its file was; begin it anew"


def check_branch(name: str, head: str, count: int, messages: int | None) -> None:
    """See that a session can be copied.

    Raises:
        SessionError: It cannot.
    """
    if messages is None and (status := status_of(head)) in ("running", "paused"):
        raise SessionError(
            f"the last run of session {name!r} is not finished ({status}): go on with it first, or copy its messages "
            f"only with branch(..., messages={count})"
        )
    if messages is not None and not 0 <= messages <= count:
        raise SessionError(f"session {name!r} has {count} messages, not {messages}")


def status_of(head: str) -> str:
    """The status that the head of a session tells; empty when it tells none."""
    try:
        read: Any = json.loads(head or "{}")
        status: Any = read["state"]["status"]
    except (ValueError, LookupError, TypeError):
        return ""
    return status if isinstance(status, str) else ""
