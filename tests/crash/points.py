"""Where a run can be hit: a session that passes a point before and after everything it does, and what happens there."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from agentkit.errors import SessionError
from agentkit.run import Session, SessionSnapshot, SessionUpdate
from tests.explore import EXPLORE

EVERY = 1 if EXPLORE else 6  # `make explore` hits all points


class Died(BaseException):
    """Stands for the end of the process, in tests that stay in theirs."""


class Points:
    """Counts the points that are passed, and hits the one with the number ``at``; nothing is hit without one."""

    def __init__(self, hit: Callable[[], None], at: int | None = None) -> None:
        self.passed = 0
        self._hit, self._at = hit, at

    def __call__(self, point: str) -> None:
        self.passed += 1
        if self.passed == self._at:
            self._hit()


class Dying:
    """Dies at a point, and stays dead: nothing is stored after that."""

    def __init__(self, at: int) -> None:
        self.dead = False
        self._points = Points(self._die, at)

    def __call__(self, point: str) -> None:
        if self.dead:
            raise Died(point)
        self._points(point)

    def _die(self) -> None:
        self.dead = True
        raise Died


class Failing:
    """Raises a `SessionError` before the operations with these numbers, counted from 1 for each kind of them."""

    def __init__(self, kind: str, *numbers: int) -> None:
        self._kind, self._numbers, self._count = f"before {kind}", numbers, 0

    def __call__(self, point: str) -> None:
        if point == self._kind:
            self._count += 1
            if self._count in self._numbers:
                raise SessionError(f"the disk is full at {self._kind} {self._count}")


class Watched:
    """A session whose every operation passes a point before and after it."""

    def __init__(self, inner: Session, passes: Callable[[str], None]) -> None:
        self._inner, self._passes = inner, passes
        self.changes: list[SessionUpdate] = []

    @asynccontextmanager
    async def claim(self) -> AsyncGenerator[None]:
        self._passes("before claim")
        async with self._inner.claim():
            self._passes("after claim")
            yield
            self._passes("before release")
        self._passes("after release")

    async def load(self) -> SessionSnapshot:
        self._passes("before load")
        saved = await self._inner.load()
        self._passes("after load")
        return saved

    async def save(self, change: SessionUpdate) -> None:
        self._passes("before save")
        await self._inner.save(change)
        self.changes.append(change)
        self._passes("after save")

    async def record(self, slot: str, result: str) -> None:
        self._passes("before record")
        await self._inner.record(slot, result)
        self._passes(f"recorded {slot}")
