"""How many calls run at once, and how fast they follow each other, in one event loop."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import anyio
from anyio.lowlevel import RunVar

from agentkit.tools.options import Execution, Mark

__all__ = ["PROCESSES", "THREADS", "Gate", "gates_of", "loop_gate"]

THREADS, PROCESSES = "threads", "processes"
_ROOM: Mapping[str, int] = {THREADS: 64, PROCESSES: os.cpu_count() or 1}


class Gate:
    """Lets a call in when there is room; entering gives way to no other task when there is nothing to wait for."""

    def __init__(self) -> None:
        self._inside = 0
        self._next_start = -math.inf
        self._waiting: list[anyio.Event] = []

    async def enter(self, most: float, rate: float | None = None) -> None:
        """Wait until fewer than ``most`` are inside, then until ``rate`` a second allows another one to start."""
        while self._inside >= most:
            event = anyio.Event()
            self._waiting.append(event)
            await event.wait()
        self._inside += 1
        if rate is None:
            return
        start = max(anyio.current_time(), self._next_start)
        self._next_start = start + 1 / rate
        try:
            await anyio.sleep_until(start)
        except BaseException:
            self.leave()
            raise

    def leave(self) -> None:
        """Make room again. All who wait look for themselves, in their order, as each has a number of its own."""
        self._inside -= 1
        waiting, self._waiting = self._waiting, []
        for event in waiting:
            event.set()


@dataclass(slots=True)
class _Gates:
    """All gates of an event loop."""

    named: dict[str, Gate] = field(default_factory=dict[str, Gate])
    marked: MutableMapping[Mark, Gate] = field(default_factory=WeakKeyDictionary[Mark, Gate])


_GATES: RunVar[_Gates] = RunVar("agentkit_gates")


def gates_of(how: Execution) -> Gate | None:
    """The gate of a tool or of its group; None when it has no limit."""
    if how.group:
        return _gates().named.setdefault(f"group {how.group}", Gate())
    if how.max_concurrency is None and how.rate is None:
        return None
    return _gates().marked.setdefault(how.mark, Gate())


def most_inside(how: Execution) -> float:
    """How many calls may be inside the gate of a tool."""
    return how.max_concurrency or (1 if how.group and how.rate is None else math.inf)


def loop_gate(name: str) -> tuple[Gate, int]:
    """The gate to this loop's threads or processes for tools, and how many may be inside."""
    return _gates().named.setdefault(name, Gate()), _ROOM[name]


def _gates() -> _Gates:
    try:
        return _GATES.get()
    except LookupError:
        _GATES.set(made := _Gates())
        return made
