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
from typing import Any, Literal, NamedTuple, TypeAlias, TypedDict, get_args
from weakref import WeakKeyDictionary

import anyio
from anyio.lowlevel import RunVar

from agentkit.errors import DefinitionError
from agentkit.tools.context import ToolContext

_Asks: TypeAlias = bool | str
Approval: TypeAlias = bool | Callable[[ToolContext[Any], dict[str, Any]], _Asks | Awaitable[_Asks]]
"""The rule for approval of calls: always, never, or as a function decides."""

Access: TypeAlias = Literal["private", "untrusted", "outside"]
"""A call that reads private data, reads content that strangers may have written, or sends something to the outside."""


class ToolOptions(TypedDict, total=False):
    """Options for the calls of a tool, as accepted by `tool` and `Tool.from_schema`.

    Attributes:
        sequential: Whether no other call of the same reply may run at the same time.
        timeout: Seconds that a call may take, 60 by default; None for no limit. Waiting for its turn does not count. A
            thread cannot be stopped: it is abandoned, and reported as `ThreadAbandoned`.
        max_concurrency: Maximum number of concurrent calls in one event loop, over all runs. Calls made inside such a
            call, for example by an agent with the same tool, do not count.
        group: A name: the calls of all tools of a group count together. The smallest ``max_concurrency`` and ``rate``
            among them apply to all; if none has either, one call runs at a time.
        rate: Maximum number of calls that start per second, spaced evenly.
        retries: In how many turns in a row the model may try again after a mistake (wrong arguments, `ModelRetry`),
            3 by default; one more ends the run with `TooManyMistakes`. For an idempotent tool, also how often a call is
            repeated.
        idempotent: Whether a call may be run twice: after an unexpected exception it is repeated.
        thread: False runs a function that is not async in the event loop: for functions that return at once.
        process: Whether to run it in a process of its own, for work that keeps a processor busy. Arguments and result
            are pickled on their way to and from that process.
        read_only: Whether a call changes nothing, so that it can start early and its result can be discarded.
        requires_approval: Whether a call waits until somebody outside has allowed it. A function is given the context
            and the validated arguments by name; it may be async, and may return the reason as a string. Any other value
            than False requires approval, even an empty string; so does an exception.
        access: What a call can do: read private data (``"private"``), read content that strangers may have written
            (``"untrusted"``), send something out (``"outside"``). It changes no call: `lint_tools` warns of tools that
            can do all three together, as such content can make a model send the data out.
        deferred: Whether the model is offered the tool only once it has searched for it, with ``search_tools``.
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
    """The identity under which calls are limited. A tool shares it with all tools that are derived from it."""

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
        """Refuse options without a meaning, and add the tool to its group.

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
            with _GROUPING:
                _GROUPS.setdefault(self.group, _Group()).add(self)


class _Group:
    """The limits that the tools of a group set, while these tools exist."""

    def __init__(self) -> None:
        self.mark = Mark()
        self._named: MutableMapping[Mark, tuple[float, float]] = WeakKeyDictionary()

    def add(self, how: Execution) -> None:
        """Add a tool."""
        most, rate = self._named.get(how.mark, (math.inf, math.inf))
        self._named[how.mark] = (min(most, how.max_concurrency or math.inf), min(rate, how.rate or math.inf))

    def limits(self) -> tuple[float, float | None]:
        """The most concurrent calls, and the most that start per second: the smallest values of its tools."""
        with _GROUPING:
            named = list(self._named.values())
        most = min((each for each, _ in named), default=math.inf)
        rate = min((each for _, each in named), default=math.inf)
        if rate == math.inf:
            return (1 if most == math.inf else most), None
        return most, rate


_GROUPING = threading.Lock()
_GROUPS: dict[str, _Group] = {}


# Permits: how many calls run at once, and how fast they follow each other, in one event loop.

THREADS, PROCESSES = Mark(), Mark()
_MOST_WORKERS: Mapping[Mark, int] = {THREADS: 64, PROCESSES: os.cpu_count() or 1}


class Permit:
    """The right of a call to run under a limit; it may be released once.

    Attributes:
        limit: The limit.
        held: Whether it counts: a call inside a call may run without one.
        awaited: The limits that calls made inside this one wait for.
    """

    def __init__(self, limit: ConcurrencyLimit) -> None:
        self.limit, self.held = limit, True
        self.awaited: list[ConcurrencyLimit] = []

    def release(self) -> None:
        """Give it to the next call that waits."""
        if self.held:
            self.held = False
            self.limit.take_back(self)


_HELD: ContextVar[tuple[Permit, ...]] = ContextVar("agentkit_permits", default=())
"""The permits of the calls that the running code is part of; a nested call holds the permits of the outer one."""


class _Waiter(NamedTuple):
    most: float
    permit: Permit
    admitted: anyio.Event


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
        for it. The same goes if all running calls wait, at other limits, for calls that it is part of. The rate still
        applies.
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
        """A call has ended: the first in the queue may start."""
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
        waiter = _Waiter(most, permit, anyio.Event())
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
        """One call at a time waits for the next start and takes it only when it starts: a cancelled call takes none."""
        async with self._starting:
            start, now = self._next_start, anyio.current_time()
            if start > now:
                await anyio.sleep_until(start)
            self._next_start = max(start, now) + 1 / rate


_LIMITS: RunVar[MutableMapping[Mark, ConcurrencyLimit]] = RunVar("agentkit_concurrency")


def _limit(mark: Mark) -> ConcurrencyLimit:
    """The limit of a tool, a group or a kind of worker in this event loop."""
    try:
        limits = _LIMITS.get()
    except LookupError:
        _LIMITS.set(limits := WeakKeyDictionary())
    return limits.get(mark) or limits.setdefault(mark, ConcurrencyLimit())


async def acquire_tool_permit(how: Execution) -> Permit:
    """Wait for the limit of a tool or of its group."""
    if how.group:
        return await _limit(_GROUPS[how.group].mark).acquire(*_GROUPS[how.group].limits())
    return await _limit(how.mark).acquire(how.max_concurrency or math.inf, how.rate)


async def acquire_worker_permit(kind: Mark) -> Permit:
    """Wait for one of this loop's threads or processes for tools: `THREADS` or `PROCESSES`."""
    return await _limit(kind).acquire(_MOST_WORKERS[kind])
