"""The position of a program: the scope of a job or a step, in which steps are numbered in the order of their calls.

A step is called in the task of its scope and may be awaited in any other. So its number is the same in each process,
however the steps overlap.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Never

import anyio
import anyio.lowlevel

from agentkit.automation.record import BEGUN, StepJournal, StepRecord, fingerprint
from agentkit.automation.stored import SessionStore
from agentkit.errors import ConfigError, DefinitionError, StateError
from agentkit.events import Emit
from agentkit.run import PendingCall, Slot

__all__ = ["JobRun", "Place", "Scope", "current_scope", "idempotency_key"]

_PATIENCE = 8  # turns of the event loop that give steps a chance to start


@dataclass(slots=True, eq=False)
class JobRun:
    """A job while it runs.

    Attributes:
        name: The name of its session, the prefix of the names for its agents' runs.
        sessions: Where the sessions are.
        journal: Records its steps.
        on_event: Receives the events of agents and tools.
        cancel: Ends it once only decisions can make progress.
        waiting: The pending calls of steps that wait, by the key of the step.
    """

    name: str
    sessions: SessionStore
    journal: StepJournal
    on_event: Emit
    cancel: anyio.CancelScope
    waiting: dict[str, Sequence[PendingCall]] = field(default_factory=dict[str, "Sequence[PendingCall]"])
    _open: dict[str, int] = field(default_factory=dict[str, int])  # steps in progress, and how many inside each
    _leaves: set[str] = field(default_factory=set[str])  # those with none
    _changed: anyio.Event = field(default_factory=anyio.Event)  # when a step has ended

    @property
    def pending(self) -> tuple[PendingCall, ...]:
        """The pending calls of all steps that wait."""
        keys = sorted(self.waiting, key=lambda key: [int(number) for number in key.split(".")])
        return tuple(call for key in keys for call in self.waiting[key])

    @contextmanager
    def progress(self, key: str, scope: str) -> Generator[None]:
        """Count a step as in progress inside the block."""
        self._open[key] = 0
        self._open[scope] = self._open.get(scope, 0) + 1
        self._leaves.add(key)
        self._leaves.discard(scope)
        try:
            yield
        finally:
            del self._open[key]
            self._open[scope] -= 1
            self._leaves.discard(key)
            if not self.cancel.cancel_called:
                self.waiting.pop(key, None)
            if scope and not self._open[scope]:
                self._leaves.add(scope)
            self._changed.set()
            self._changed = anyio.Event()

    async def wait(self, key: str, calls: Sequence[PendingCall]) -> Never:
        """Let a step wait for decisions: the job pauses once everything in progress waits too."""
        self.waiting[key] = calls
        while True:
            changed = self._changed
            for _ in range(_PATIENCE):
                await anyio.lowlevel.checkpoint()
            if self._leaves == self.waiting.keys():
                self.cancel.cancel()
            await changed.wait()


@dataclass(slots=True, eq=False)
class Scope:
    """A job, or a step in which other steps are called; it numbers them.

    Attributes:
        job: The job.
        key: The key of the step; empty for the job itself.
        call: The `fingerprint` of its call.
        task: The id of the task that its steps are called in.
        count: How many steps were called in it.
        failed: The name of the step that has failed in it.
    """

    job: JobRun
    key: str
    call: str
    task: int
    count: int = 0
    failed: str = ""

    def enter(self, step: str, arguments: str, *, resumes: bool = False) -> Place:
        """Take the next place, for a call of a step.

        Args:
            step: The name of the step.
            arguments: Those of the call, as JSON.
            resumes: Whether the step resumes where it stopped, so its start is recorded.

        Raises:
            DefinitionError: The step is called in another task, or after a step that has failed.
        """
        if _task() != self.task:
            raise DefinitionError(
                f"step {step} is called in its own task, so its place in the program is unknown: call steps one "
                "after the other, and await them together with `await gather(first(...), second(...))`"
            )
        if self.failed:
            raise DefinitionError(
                f"step {step} is called after step {self.failed} failed: only what steps return is recorded, so "
                "catch the error inside a step and return what the program needs to know about it"
            )
        self.count += 1
        key = f"{self.key}.{self.count}" if self.key else str(self.count)
        slots = [self.job.journal.reserve(each) for each in ([key + BEGUN, key] if resumes else [key])]
        return Place(self, key, step, fingerprint(arguments, self.call, step), slots)

    @contextmanager
    def current(self) -> Generator[None]:
        """Number the steps that are called inside the block in this scope.

        Raises:
            StateError: The program did not reach a recorded step.
        """
        token = _scope.set(self)
        try:
            yield
        finally:
            _scope.reset(token)
        if left := next(self.job.journal.later(self.key, self.count), None):
            raise StateError(
                f"the job {self.job.name!r} has done step {left.step}, but the program ended without calling it: it "
                "has changed since; finish the job with the old program, or start another one"
            )


@dataclass(frozen=True, slots=True)
class Place:
    """The place of one call of a step.

    Attributes:
        scope: Where it is called.
        key: Its numbers: ``2.1`` is the first step inside the second one.
        step: The name of the step.
        call: The `fingerprint` of the call.
        slots: Its slots in the journal: the last one for what the step returns, an earlier one for its start.
    """

    scope: Scope
    key: str
    step: str
    call: str
    slots: Sequence[Slot]

    @property
    def job(self) -> JobRun:
        """The job."""
        return self.scope.job

    @property
    def effect_key(self) -> str:
        """The `idempotency_key` of the step."""
        return f"{self.job.name}:step:{self.key}"

    async def run(self, effect: Callable[[], Awaitable[str]]) -> str:
        """Run the step unless it is recorded.

        Args:
            effect: Does the work of the step, and returns its value as JSON.

        Returns:
            The value as JSON.

        Raises:
            StateError: Another step, or another call of this one, is recorded in this place.
        """

        async def recorded() -> str:
            scope = Scope(self.job, self.key, self.call, _task())
            with scope.current():
                value = await effect()
            return self._record(value)

        try:
            with self.job.progress(self.key, self.scope.key):
                return self._checked(await self.slots[-1].run(recorded)).value
        except Exception:
            self.scope.failed = self.step
            raise

    async def begin(self, *bound: str) -> None:
        """Record the start of a step that is resumed where it stopped.

        Args:
            bound: What must be unchanged when it is resumed, in addition to its arguments.

        Raises:
            StateError: Another step, or another call of this one, was started in this place.
        """
        begun = replace(self, call=fingerprint("null", self.call, *bound))

        async def record() -> str:
            return begun._record("null")

        begun._checked(await self.slots[0].run(record))

    def _record(self, value: str) -> str:
        return StepRecord(step=self.step, call=self.call, value=value).model_dump_json()

    def _checked(self, stored: str) -> StepRecord:
        record = StepRecord.read(stored, f"step {self.key} of the job {self.job.name!r}")
        if (record.step, record.call) != (self.step, self.call):
            was = f"{record.step} when it ran, and is {self.step} now"
            was = was if record.step != self.step else f"called with other arguments when {self.step} ran"
            raise StateError(
                f"step {self.key} of the job {self.job.name!r} was {was}: the program has changed since, or does "
                "something different each time outside its steps; finish the job with the old program, or start "
                "another one"
            )
        return record


_scope: ContextVar[Scope | None] = ContextVar("agentkit_scope", default=None)


def current_scope(step: str) -> Scope:
    """Return the scope that a step is called in.

    Raises:
        ConfigError: It is called outside of a job.
    """
    scope = _scope.get()
    if scope is None:
        raise ConfigError(
            f"step {step} is called outside a job: call it in an @automation, run as "
            f"`automation.job(sessions, name).run(...)`; {step}.function(...) calls it without a record"
        )
    return scope


def idempotency_key() -> str:
    """Return a key of the running step, the same on every attempt, for effects that must happen only once.

    Raises:
        ConfigError: No step is running.
    """
    scope = _scope.get()
    if scope is None or not scope.key:
        raise ConfigError("idempotency_key() is called outside a step, where there is no key")
    return f"{scope.job.name}:step:{scope.key}"


def _task() -> int:
    try:
        return anyio.get_current_task().id
    except RuntimeError:  # in a thread
        return 0
