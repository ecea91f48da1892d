from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest

from agentkit.run.execute import Work, execute

pytestmark = pytest.mark.anyio


def works(*kinds: str) -> tuple[list[Work], list[str]]:
    """Works that write down when they begin and end; those whose name is in capitals are sequential."""
    log: list[str] = []

    def make(name: str) -> Work:
        async def run() -> None:
            log.append(f"{name}+")
            await anyio.lowlevel.checkpoint()
            await anyio.lowlevel.checkpoint()
            log.append(f"{name}-")

        return Work(run, sequential=name.isupper())

    return [make(name) for name in kinds], log


async def test_nothing_to_do_is_done() -> None:
    await execute([])


async def test_a_batch_runs_together() -> None:
    batch, log = works("a", "b", "c")
    await execute(batch)
    assert sorted(log[:3]) == ["a+", "b+", "c+"]


async def test_a_sequential_work_is_a_barrier_for_all_others() -> None:
    batch, log = works("a", "b", "X", "Y", "c", "d")
    await execute(batch)
    assert sorted(log[:4]) == ["a+", "a-", "b+", "b-"]
    assert log[4:8] == ["X+", "X-", "Y+", "Y-"]
    assert sorted(log[8:]) == ["c+", "c-", "d+", "d-"]


async def test_cancelling_ends_all_that_still_runs() -> None:
    ended: list[int] = []
    started = [anyio.Event(), anyio.Event()]

    def hang(place: int) -> Work:
        async def run() -> None:
            started[place].set()
            try:
                await anyio.sleep_forever()
            finally:
                ended.append(place)

        return Work(run)

    async with anyio.create_task_group() as group:
        group.start_soon(execute, [hang(0), hang(1)])
        for each in started:
            await each.wait()
        group.cancel_scope.cancel()
    assert sorted(ended) == [0, 1]
