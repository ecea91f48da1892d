"""The options of a tool: how its calls are run, how many of them at once, and how fast they follow each other.

Each option has one meaning and a default. The limits hold for all runs of an event loop.
"""

from __future__ import annotations

import math
import os
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping, MutableMapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, TypedDict, get_args
from weakref import WeakKeyDictionary

import anyio
from anyio.lowlevel import RunVar

from agentkit.errors import DefinitionError
from agentkit.tools.context import ToolContext

_Asks: TypeAlias = bool | str
Approval: TypeAlias = bool | Callable[[ToolContext[Any], dict[str, Any]], _Asks | Awaitable[_Asks]]
"""The rule for calls that need approval: always, never, or as a function decides."""

Access: TypeAlias = Literal["private", "untrusted", "outside"]
"""A call that reads private data, reads content that strangers may have written, or sends something to the outside."""


class ToolOptions(TypedDict, total=False):
    """Options for the calls of a tool, as accepted by `tool` and `Tool.from_schema`.

    Attributes:
        sequential: Whether no other call of the same reply may run at the same time.
        timeout: Seconds that a call may take, 60 by default; None for no limit. Waiting for its turn does not count. A
            thread cannot be stopped: it is abandoned, and reported as `ThreadAbandoned`.
        max_concurrency: Most calls of it at once in one event loop, over all runs. Calls that such a call makes itself,
            as when its agent has the same tool, do not count.
        group: A name: the calls of all tools of a group count together. The smallest ``max_concurrency`` and ``rate``
            that one of them names hold for all; where none names either, one call runs at a time.
        rate: Most calls that start in a second; they are spaced evenly.
        retries: In how many turns in a row the model may try again after a mistake (wrong arguments, `ModelRetry`),
            3 by default; one more ends the run with `TooManyMistakes`. For an idempotent tool, also how often a call is
            repeated.
        idempotent: Whether a call may be run twice: after an unexpected exception it is repeated.
        thread: False runs a function that is not async in the event loop: for what returns at once.
        process: Whether to run it in a process of its own, for work that keeps a processor busy. Arguments and result
            are pickled on their way to and from that process.
        read_only: Whether a call changes nothing, so that it can start early and its result can be discarded.
        requires_approval: Whether a call waits until somebody outside has allowed it. A function is given the context
            and the validated arguments by name; it may be async, and may return the reason as a string. Whatever it
            returns but False asks, an empty string too; so does a function that raises.
        access: What a call can do: read private data (``"private"``), read content that strangers may have written
            (``"untrusted"``), send something out (``"outside"``). It changes no call: `lint_tools` warns of tools that
            can do all three together, as such content can have a model send the data out.
        deferred: Whether the model is offered the tool only when it has searched for it, with ``search_tools``.
    """

    sequential: bool
    timeout: float | None
    max_concurrency: int | None
    group: str
    rate: float | None
    retries: int
    idempotent: bool
    thread: bool
    process: bool
    read_only: bool
    requires_approval: Approval
    access: Collection[Access]
    deferred: bool


class Mark:
    """The identity of a tool, which all tools that are derived from it share."""

    __slots__ = ("__weakref__",)


@dataclass(frozen=True, eq=False, kw_only=True)
class Execution:
    """The options of a tool; see `ToolOptions` for their meaning."""

    sequential: bool = field(default=False, repr=False)
    timeout: float | None = field(default=60, repr=False)
    max_concurrency: int | None = field(default=None, repr=False)
    group: str = field(default="", repr=False)
    rate: float | None = field(default=None, repr=False)
    retries: int = field(default=3, repr=False)
    idempotent: bool = field(default=False, repr=False)
    thread: bool = field(default=True, repr=False)
    process: bool = field(default=False, repr=False)
    read_only: bool = field(default=False, repr=False)
    requires_approval: Approval = field(default=False, repr=False)
    access: Collection[Access] = field(default=(), repr=False)
    deferred: bool = field(default=False, repr=False)
    mark: Mark = field(default_factory=Mark, repr=False)

    def check_options(self, name: str) -> None:
        """Refuse options that mean nothing, and count the tool in its group.

        Raises:
            DefinitionError: One of them is out of its range.
        """
        if self.timeout is not None and not 0 < self.timeout < math.inf:
            raise DefinitionError(
                f"tool {name!r}: timeout={self.timeout!r} must be above 0 seconds, or None for no limit"
            )
        if self.rate is not None and not 0 < self.rate < math.inf:
            raise DefinitionError(f"tool {name!r}: rate={self.rate!r} must be above 0 calls a second")
        if self.max_concurrency is not None and self.max_concurrency < 1:
            raise DefinitionError(f"tool {name!r}: max_concurrency={self.max_concurrency!r} must be at least 1")
        if self.retries < 0:
            raise DefinitionError(f"tool {name!r}: retries={self.retries!r} cannot be negative")
        if self.process and not self.thread:
            raise DefinitionError(f"tool {name!r}: process=True and thread=False cannot both be")
        if not isinstance(self.requires_approval, bool) and not callable(self.requires_approval):
            raise DefinitionError(
                f"tool {name!r}: requires_approval={self.requires_approval!r} must be True, False or a function"
            )
        if isinstance(self.access, str) or not set(self.access) <= set(get_args(Access)):
            raise DefinitionError(
                f"tool {name!r}: access={self.access!r} must be a list of 'private', 'untrusted' and 'outside'"
            )
        if self.group:
            with _NAMING:
                named = _NAMED.setdefault(self.group, WeakKeyDictionary())
                most, rate = named.get(self.mark, (math.inf, math.inf))
                named[self.mark] = (min(most, self.max_concurrency or math.inf), min(rate, self.rate or math.inf))


_NAMING = threading.Lock()
_NAMED: dict[str, MutableMapping[Mark, tuple[float, float]]] = {}  # what the tools of each group name, while they live


def group_limits(group: str) -> tuple[float, float | None]:
    """The most concurrent calls of a group, and the most that start per second: the smallest values of its tools."""
    with _NAMING:
        named = list(_NAMED.get(group, {}).values())
    most = min((each for each, _ in named), default=math.inf)
    rate = min((each for _, each in named), default=math.inf)
    if rate == math.inf:
        return (1 if most == math.inf else most), None
    return most, rate


# Permits: how many calls run at once, and how fast they follow each other, in one event loop.

THREADS, PROCESSES = "threads", "processes"
_MOST_WORKERS: Mapping[str, int] = {THREADS: 64, PROCESSES: os.cpu_count() or 1}


@dataclass(slots=True, eq=False)
class Permit:
    """The right of a call to run under a limit; it may be released once.

    Attributes:
        limit: The limit.
        held: Whether it counts: a call inside a call may run without one.
        awaited: The limits that calls made inside this one wait for.
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
"""The permits of the calls that the running code is part of; a nested call holds the permits of the outer one."""


@dataclass(slots=True, eq=False)
class _Waiter:
    most: float
    permit: Permit
    admitted: anyio.Event = field(default_factory=anyio.Event)


class ConcurrencyLimit:
    """Admits calls in order of arrival; one that need not wait does not yield to other tasks."""

    def __init__(self) -> None:
        self._running: set[Permit] = set()
        self._waiting: deque[_Waiter] = deque()
        self._next_start = -math.inf
        self._starting = anyio.Lock(fast_acquire=True)

    async def acquire(self, most: float, rate: float | None = None) -> Permit:
        """Wait until fewer than ``most`` calls run, then until ``rate`` per second allows another one to start.

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
                self._admit()  # later ones may fit where it did not
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


async def acquire_tool_permit(how: Execution) -> Permit:
    """Wait for the limit of a tool or of its group."""
    if how.group:
        most, rate = group_limits(how.group)
        return await _limits().name(f"group {how.group}").acquire(most, rate)
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
