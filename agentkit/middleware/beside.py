"""What `Guard` stands on: work beside other work, events that wait, and what is no guard."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from agentkit.chat.events import Emit, Event
from agentkit.errors import ConfigError

__all__ = ["Held", "beside", "check_guard"]

T = TypeVar("T")


class Held:
    """An ``emit`` that keeps what it is told until it is let go."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._kept: list[Event] | None = []

    def __call__(self, event: Event) -> None:  # noqa: D102
        if self._kept is None:
            self._emit(event)
        else:
            self._kept.append(event)

    def let_go(self) -> None:
        """Tell what was kept, and from now on everything at once."""
        kept, self._kept = self._kept or [], None
        for event in kept:
            self._emit(event)


async def beside(check: Callable[[], Awaitable[None]], work: Callable[[], Awaitable[T]], *, first: bool) -> T:
    """What the work comes to, if the check beside it does not raise; the one that raises first cancels the other.

    With ``first`` the check comes before the work.
    """
    if first:
        await check()
        return await work()
    values: list[T] = []
    errors: list[Exception] = []  # kept out of the task group, which would wrap them

    async def look() -> None:
        try:
            await check()
        except Exception as error:  # noqa: BLE001 - raised again below
            errors.append(error)
            tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(look)
        try:
            values.append(await work())
        except Exception as error:  # noqa: BLE001 - raised again below
            errors.append(error)
            tasks.cancel_scope.cancel()
    if errors:
        raise errors[0]
    return values[0]


def check_guard(**checks: object) -> None:
    """Refuse a guard that asks nobody, or what is no function."""
    if all(each is None for each in checks.values()):
        raise ConfigError("Guard() asks nobody: give it a function as input=, output= or tool=")
    for name, each in checks.items():
        if each is not None and not callable(each):
            raise ConfigError(f"Guard({name}={each!r:.80}): must be a function that says whether all is well")
