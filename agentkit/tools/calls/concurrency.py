"""Limits how many calls run at once, and how fast they follow each other, in one event loop."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Mapping, MutableMapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import anyio
from anyio.lowlevel import RunVar

from agentkit.tools.options import Execution, Mark, group_limits

__all__ = ["PROCESSES", "THREADS", "ConcurrencyLimit", "Permit", "acquire_tool_permit", "acquire_worker_permit"]

THREADS, PROCESSES = "threads", "processes"
_MOST_WORKERS: Mapping[str, int] = {THREADS: 64, PROCESSES: os.cpu_count() or 1}


@dataclass(slots=True, eq=False)
class Permit:
    """The right of a call to run under a limit; it may be released once.

    Attributes:
        limit: The limit.
        held: Whether it counts: a call inside a call may run without one.
        awaited: The limits that calls made inside of this one wait for.
    """

    limit: ConcurrencyLimit
    held: bool = True
    awaited: list[ConcurrencyLimit] = field(default_factory=list["ConcurrencyLimit"])

    def release(self) -> None:
        """Give it to the next call that waits."""
        if self.held:
            self.held = False
            self.limit.take_back(self)


_HELD: ContextVar[tuple[Permit, ...]] = ContextVar("agentkit_permits", default=())
"""The permits of the calls that the running code is part of: a call made inside a call holds what that one holds."""


@dataclass(slots=True, eq=False)
class _Waiter:
    most: float
    permit: Permit
    admitted: anyio.Event = field(default_factory=anyio.Event)


class ConcurrencyLimit:
    """Admits calls in the order in which they came; one that need not wait gives way to no other task."""

    def __init__(self) -> None:
        self._running: set[Permit] = set()
        self._waiting: deque[_Waiter] = deque()
        self._next_start = -math.inf
        self._starting = anyio.Lock(fast_acquire=True)

    async def acquire(self, most: float, rate: float | None = None) -> Permit:
        """Wait until fewer than ``most`` calls run, then until ``rate`` a second allows another one to start.

        A call made inside a call that holds a permit of this limit takes none: it would wait for the one that waits
        for it. The same holds where all that run wait, at other limits, for calls that it is a part of. It keeps to the
        rate.
        """
        held = tuple(permit for permit in _HELD.get() if permit.held)
        permit = Permit(self)
        if any(each.limit is self for each in held) or (self._is_full(most) and self._is_stuck(held, (), set())):
            permit.held = False
        else:
            await self._wait(most, permit, held)
            _HELD.set((*held, permit))
        if rate is not None:
            try:
                await self._start(rate)
            except BaseException:
                permit.release()
                raise
        return permit

    def take_back(self, permit: Permit) -> None:
        """One call no longer runs: the first in the queue may."""
        self._running.remove(permit)
        self._admit()

    def _is_full(self, most: float) -> bool:
        return bool(self._waiting) or len(self._running) >= most

    def _is_stuck(self, held: Sequence[Permit], path: Sequence[ConcurrencyLimit], free: set[ConcurrencyLimit]) -> bool:
        """Return True if no running call can end before one of ``held`` continues: waiting now would be a deadlock."""
        if self in path:
            return True
        if self not in free and any(
            permit not in held and not any(limit._is_stuck(held, (*path, self), free) for limit in permit.awaited)
            for permit in self._running
        ):
            free.add(self)
        return self not in free

    async def _wait(self, most: float, permit: Permit, held: Sequence[Permit]) -> None:
        if not self._is_full(most):
            self._running.add(permit)
            return
        waiter = _Waiter(most, permit)
        self._waiting.append(waiter)
        for each in held:
            each.awaited.append(self)
        try:
            await waiter.admitted.wait()
        except BaseException:
            if waiter.admitted.is_set():  # too late: it has a permit, and must pass it on
                permit.release()
            else:
                self._waiting.remove(waiter)
                self._admit()  # those behind it may fit where it did not
            raise
        finally:
            for each in held:
                each.awaited.remove(self)

    def _admit(self) -> None:
        """Nothing overtakes the first of the queue, even if it needs more than the second: it would never run."""
        while self._waiting and len(self._running) < self._waiting[0].most:
            waiter = self._waiting.popleft()
            self._running.add(waiter.permit)
            waiter.admitted.set()

    async def _start(self, rate: float) -> None:
        """One at a time waits for the next start, and takes it only when it starts: a cancelled call has taken none."""
        async with self._starting:
            start, now = self._next_start, anyio.current_time()
            if start > now:
                await anyio.sleep_until(start)
            self._next_start = max(start, now) + 1 / rate


@dataclass(slots=True)
class _Limits:
    """All limits of an event loop."""

    named: dict[str, ConcurrencyLimit] = field(default_factory=dict[str, ConcurrencyLimit])
    marked: MutableMapping[Mark, ConcurrencyLimit] = field(default_factory=WeakKeyDictionary[Mark, ConcurrencyLimit])

    def name(self, name: str) -> ConcurrencyLimit:
        return self.named.get(name) or self.named.setdefault(name, ConcurrencyLimit())


_LIMITS: RunVar[_Limits] = RunVar("agentkit_concurrency")


async def acquire_tool_permit(how: Execution) -> Permit | None:
    """Wait for the limit of a tool or of its group; None when it has no limit."""
    if how.group:
        most, rate = group_limits(how.group)
        return await _limits().name(f"group {how.group}").acquire(most, rate)
    if how.max_concurrency is None and how.rate is None:
        return None
    marked = _limits().marked
    limit = marked.get(how.mark) or marked.setdefault(how.mark, ConcurrencyLimit())
    return await limit.acquire(how.max_concurrency or math.inf, how.rate)


async def acquire_worker_permit(name: str) -> Permit:
    """Wait for one of this loop's threads or processes for tools."""
    return await _limits().name(name).acquire(_MOST_WORKERS[name])


def _limits() -> _Limits:
    try:
        return _LIMITS.get()
    except LookupError:
        _LIMITS.set(made := _Limits())
        return made
