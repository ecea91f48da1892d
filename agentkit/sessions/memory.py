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
from agentkit.run.session_run import SessionSnapshot, SessionUpdate
from agentkit.sessions.base import Found, SessionInfo, Sessions, Store, check_branch, check_revision, gone, status_of
from agentkit.sessions.search import matches, role_of, snippet, storable, text_to_index, words_of

__all__ = ["MemorySessions"]

T = TypeVar("T")


class MemorySessions(Sessions):
    """Sessions that end with the program."""

    def __init__(self) -> None:
        super().__init__(_MemoryStore())

    def __repr__(self) -> str:
        return "MemorySessions()"


@dataclass(slots=True)
class _Kept:
    revision: int = 0
    messages: list[str] = field(default_factory=list[str])
    head: str = ""
    artifacts: dict[str, str] = field(default_factory=dict[str, str])
    results: dict[str, str] = field(default_factory=dict[str, str])
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    updated: datetime = field(default_factory=lambda: datetime.now(UTC))


class _MemoryStore(Store):
    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}
        self._claimed: set[str] = set()
        self._guard = threading.RLock()

    async def perform(self, work: Callable[[], T]) -> T:
        await checkpoint()
        with self._guard:
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
        kept = self._kept.get(name, _Kept())
        return SessionSnapshot(
            revision=kept.revision,
            messages=tuple(kept.messages),
            head=kept.head,
            artifacts={**kept.artifacts},
            results={**kept.results},
        )

    def save(self, name: str, change: SessionUpdate) -> None:
        kept = self._kept.get(name, _Kept())
        check_revision(name, kept.revision, change)
        if not 0 <= change.start <= len(kept.messages):
            raise SessionError(f"session {name!r} has {len(kept.messages)} messages, not {change.start}")
        kept.revision += 1
        kept.messages[change.start :] = map(storable, change.messages)
        kept.head = storable(change.head)
        for dropped in change.dropped:
            kept.artifacts.pop(storable(dropped), None)
        kept.artifacts |= {storable(key): storable(text) for key, text in change.artifacts.items()}
        kept.results = {}
        kept.updated = datetime.now(UTC)
        self._kept[name] = kept

    def record(self, name: str, slot: str, result: str) -> None:
        if name not in self._kept:
            raise SessionError(gone(name))
        self._kept[name].results[storable(slot)] = storable(result)

    def branch(self, name: str, new: str, messages: int | None) -> None:
        with self.claim(new):
            kept = self._find(name)
            if new in self._kept:
                raise SessionError(f"there is a session {new!r} already; choose another name")
            check_branch(name, kept.head, len(kept.messages), messages)
            self._kept[new] = _Kept(1, kept.messages[:messages], artifacts={**kept.artifacts})

    def delete(self, name: str) -> None:
        with self.claim(name):
            self._find(name)
            del self._kept[name]

    def list(self) -> Sequence[SessionInfo]:
        infos = [
            SessionInfo(
                name=name,
                messages=len(kept.messages),
                created=kept.created,
                updated=kept.updated,
                status=status_of(kept.head),
            )
            for name, kept in self._kept.items()
        ]
        return sorted(infos, key=lambda info: info.updated, reverse=True)

    def search(self, query: str, limit: int) -> Sequence[Found]:
        if not (words := words_of(query)):
            return []
        found = [
            Found(session=name, number=number, role=role_of(message), snippet=snippet(text, words))
            for name, kept in self._kept.items()
            for number, message in enumerate(kept.messages)
            if matches(text := text_to_index(message), words)
        ]
        return found[::-1][: max(0, limit)]

    def _find(self, name: str) -> _Kept:
        if (kept := self._kept.get(name)) is None:
            raise SessionError(f"there is no session {name!r}")
        return kept
