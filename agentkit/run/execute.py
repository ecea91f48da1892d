"""One batch of calls, together: all at once, except that a sequential call runs alone."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import anyio

__all__ = ["Work", "execute"]


@dataclass(frozen=True, slots=True)
class Work:
    """A call that is ready to run.

    Attributes:
        run: Runs it and records its result; it must not raise, as that would end its siblings.
        sequential: Whether no other call of the batch may run beside it: it is a barrier.
    """

    run: Callable[[], Coroutine[Any, Any, None]]
    sequential: bool = False


async def execute(batch: Sequence[Work]) -> None:
    """Run a batch. A failure is the business of the work itself; cancelling cancels all that still runs."""
    for together in _in_steps(batch):
        if len(together) == 1:
            await together[0].run()
            continue
        async with anyio.create_task_group() as tasks:
            for work in together:
                tasks.start_soon(work.run)


def _in_steps(batch: Sequence[Work]) -> Iterator[list[Work]]:
    for sequential, group in groupby(batch, key=lambda work: work.sequential):
        if sequential:
            yield from ([work] for work in group)
        else:
            yield list(group)
