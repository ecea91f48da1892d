"""Sessions in memory: for tests, and for conversations that need not outlive the program."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

from anyio.lowlevel import checkpoint

from agentkit.errors import SessionBusy, SessionError
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
from agentkit.sessions.search import hit, search_text, storable, terms_of

__all__ = ["MemorySessions"]

T = TypeVar("T")


class MemorySessions(Sessions):
    """Sessions that are lost when the program ends."""

    def __init__(self) -> None:
        super().__init__(_MemoryStore())

    def __repr__(self) -> str:
        return "MemorySessions()"


@dataclass(slots=True)
class _Entry:
    revision: int = 0
    messages: list[str] = field(default_factory=list[str])
    head: str = ""
    artifacts: dict[str, str] = field(default_factory=dict[str, str])
    results: dict[str, str] = field(default_factory=dict[str, str])
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    updated: datetime = field(default_factory=lambda: datetime.now(UTC))


class _MemoryStore(Store):
    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._claimed: set[str] = set()
        self._guard = threading.RLock()

    async def perform(self, work: Callable[[], T]) -> T:
        await checkpoint()
        return work()

    def check(self) -> None:
        pass

    @contextmanager
    def claim(self, name: str) -> Generator[None]:
        with self._guard:
            if name in self._claimed:
                raise SessionBusy(f"another run has session {name!r}; try again when it has ended")
            self._claimed.add(name)
        try:
            yield
        finally:
            with self._guard:
                self._claimed.discard(name)

    def load(self, name: str) -> SessionSnapshot:
        with self._guard:
            entry = self._entries.get(name, _Entry())
            return SessionSnapshot(
                revision=entry.revision,
                messages=tuple(entry.messages),
                head=entry.head,
                artifacts={**entry.artifacts},
                results={**entry.results},
            )

    def save(self, name: str, change: SessionUpdate) -> None:
        with self._guard:
            entry = self._entries.get(name, _Entry())
            check_revision(name, entry.revision, change)
            if not 0 <= change.start <= len(entry.messages):
                raise SessionError(f"session {name!r} has {len(entry.messages)} messages, not {change.start}")
            entry.revision += 1
            entry.messages[change.start :] = map(storable, change.messages)
            entry.head = storable(change.head)
            for dropped in change.dropped:
                entry.artifacts.pop(storable(dropped), None)
            entry.artifacts |= {storable(call): storable(text) for call, text in change.artifacts.items()}
            entry.results = {}
            entry.updated = datetime.now(UTC)
            self._entries[name] = entry

    def record(self, name: str, slot: str, result: str) -> None:
        with self._guard:
            if name not in self._entries:
                raise SessionError(gone(name))
            self._entries[name].results[storable(slot)] = storable(result)

    def branch(self, name: str, new: str, messages: int | None) -> None:
        with self._guard, self.claim(new):
            entry = self._find(name)
            if new in self._entries:
                raise SessionError(f"there is a session {new!r} already; choose another name")
            check_branch(name, entry.head, len(entry.messages), messages)
            self._entries[new] = _Entry(1, entry.messages[:messages], artifacts={**entry.artifacts})

    def delete(self, name: str) -> None:
        with self._guard, self.claim(name):
            self._find(name)
            del self._entries[name]

    def list(self) -> Sequence[SessionInfo]:
        with self._guard:
            infos = [
                SessionInfo(
                    name=name,
                    messages=len(entry.messages),
                    created=entry.created,
                    updated=entry.updated,
                    status=status_of(entry.head),
                )
                for name, entry in self._entries.items()
            ]
        return sorted(infos, key=lambda info: info.updated, reverse=True)

    def search(self, query: str, limit: int) -> Sequence[SearchHit]:
        if not (terms := terms_of(query)):
            return []
        with self._guard:
            messages = [
                (name, number, message)
                for name, entry in self._entries.items()
                for number, message in enumerate(entry.messages)
            ]
        found = [each for each in messages if (text := search_text(each[2])) and all(term in text for term in terms)]
        return [hit(*each, terms) for each in found[::-1][: max(0, limit)]]

    def _find(self, name: str) -> _Entry:
        if (entry := self._entries.get(name)) is None:
            raise SessionError(f"there is no session {name!r}")
        return entry
