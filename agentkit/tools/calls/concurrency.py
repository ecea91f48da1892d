"""How many calls run at once, and how fast they follow each other, in one event loop."""

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

__all__ = ["PROCESSES", "THREADS", "ConcurrencyLimit", "Permit", "enter_loop_gate", "enter_own_gate"]

THREADS, PROCESSES = "threads", "processes"
_ROOM: Mapping[str, int] = {THREADS: 64, PROCESSES: os.cpu_count() or 1}


@dataclass(slots=True, eq=False)
class Permit:
    """What a call holds while it is inside a gate."""

    gate: ConcurrencyLimit
    held: bool = True
    awaited: list[ConcurrencyLimit] = field(
        default_factory=list["ConcurrencyLimit"]
    )  # where calls that are made inside of it wait

    def leave(self) -> None:
        """Give it to the next."""
        if self.held:
            self.held = False
            self.gate.make_room(self)


_CHAIN: ContextVar[tuple[Permit, ...]] = ContextVar("agentkit_places", default=())
"""The places of the calls that the running code is part of: a call that is made in a call holds what that one holds."""


@dataclass(slots=True, eq=False)
class _Waiter:
    most: float
    place: Permit
    admitted: anyio.Event = field(default_factory=anyio.Event)


class ConcurrencyLimit:
    """Lets calls in, in the order in which they came; one that need not wait gives way to no other task."""

    def __init__(self) -> None:
        self._inside: set[Permit] = set()
        self._waiting: deque[_Waiter] = deque()
        self._next_start = -math.inf
        self._starting = anyio.Lock(fast_acquire=True)

    async def enter(self, most: float, rate: float | None = None) -> Permit:
        """Wait until fewer than ``most`` are inside, then until ``rate`` a second allows another one to start.

        A call that is made inside a call which holds a place here takes none: it would wait for the one that waits
        for it. The same holds where all who are inside wait, at other gates, for calls that it is a part of. It keeps
        to the rate.
        """
        chain = tuple(place for place in _CHAIN.get() if place.held)
        place = Permit(self)
        if any(each.gate is self for each in chain) or (self._is_closed(most) and self._is_stuck(chain, (), set())):
            place.held = False
        else:
            await self._find_room(most, place, chain)
            _CHAIN.set((*chain, place))
        if rate is not None:
            try:
                await self._start(rate)
            except BaseException:
                place.leave()
                raise
        return place

    def make_room(self, place: Permit) -> None:
        """One is no longer inside: the first in the queue gets the place."""
        self._inside.remove(place)
        self._admit()

    def _is_closed(self, most: float) -> bool:
        return bool(self._waiting) or len(self._inside) >= most

    def _is_stuck(self, chain: Sequence[Permit], path: Sequence[ConcurrencyLimit], free: set[ConcurrencyLimit]) -> bool:
        """Whether nobody inside can leave before a call of the chain goes on: who waits now, waits for ever."""
        if self in path:
            return True
        if self not in free and any(
            place not in chain and not any(gate._is_stuck(chain, (*path, self), free) for gate in place.awaited)
            for place in self._inside
        ):
            free.add(self)
        return self not in free

    async def _find_room(self, most: float, place: Permit, chain: Sequence[Permit]) -> None:
        if not self._is_closed(most):
            self._inside.add(place)
            return
        waiter = _Waiter(most, place)
        self._waiting.append(waiter)
        for each in chain:
            each.awaited.append(self)
        try:
            await waiter.admitted.wait()
        except BaseException:
            if waiter.admitted.is_set():  # too late: it has a place, and must give it on
                place.leave()
            else:
                self._waiting.remove(waiter)
                self._admit()  # those behind it may fit where it did not
            raise
        finally:
            for each in chain:
                each.awaited.remove(self)

    def _admit(self) -> None:
        """Nobody passes the first of the queue, also where it needs more room than the second: it would never go in."""
        while self._waiting and len(self._inside) < self._waiting[0].most:
            waiter = self._waiting.popleft()
            self._inside.add(waiter.place)
            waiter.admitted.set()

    async def _start(self, rate: float) -> None:
        """One at a time waits for the next start, and takes it only when it starts: who is cancelled has taken none."""
        async with self._starting:
            start, now = self._next_start, anyio.current_time()
            if start > now:
                await anyio.sleep_until(start)
            self._next_start = max(start, now) + 1 / rate


@dataclass(slots=True)
class _Gates:
    """All gates of an event loop."""

    named: dict[str, ConcurrencyLimit] = field(default_factory=dict[str, ConcurrencyLimit])
    marked: MutableMapping[Mark, ConcurrencyLimit] = field(default_factory=WeakKeyDictionary[Mark, ConcurrencyLimit])


_GATES: RunVar[_Gates] = RunVar("agentkit_gates")


async def enter_own_gate(how: Execution) -> Permit | None:
    """Enter the gate of a tool or of its group; None when it has no limit."""
    if how.group:
        most, rate = group_limits(how.group)
        return await _named(f"group {how.group}").enter(most, rate)
    if how.max_concurrency is None and how.rate is None:
        return None
    marked = _gates().marked
    gate = marked.get(how.mark) or marked.setdefault(how.mark, ConcurrencyLimit())
    return await gate.enter(how.max_concurrency or math.inf, how.rate)


async def enter_loop_gate(name: str) -> Permit:
    """Enter the gate to this loop's threads or processes for tools."""
    return await _named(name).enter(_ROOM[name])


def _named(name: str) -> ConcurrencyLimit:
    named = _gates().named
    return named.get(name) or named.setdefault(name, ConcurrencyLimit())


def _gates() -> _Gates:
    try:
        return _GATES.get()
    except LookupError:
        _GATES.set(made := _Gates())
        return made
