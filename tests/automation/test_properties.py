"""Any program of steps, in turn and at the same time, that fails anywhere and is run again until it is done."""

from collections import Counter
from typing import Any, TypeAlias

import anyio
import anyio.lowlevel
from hypothesis import given
from hypothesis import strategies as st

from agentkit.automation import automation, gather, step
from agentkit.sessions import MemorySessions

Tree: TypeAlias = (
    "int | list[Tree]"  # a leaf is one step; a list holds steps, in order at even depths and together at odd ones
)
LEAVES = st.integers(0, 3)  # how often the step fails before it is done, and how long it takes
TREES = st.recursive(LEAVES, lambda inner: st.lists(inner, min_size=1, max_size=4), max_leaves=12)


def places(place: str, inner: Tree) -> object:
    return place if isinstance(inner, int) else [places(f"{place}.{at}", each) for at, each in enumerate(inner)]


@given(tree=TREES, backend=st.sampled_from(["asyncio", "trio"]), concurrency=st.sampled_from([None, 1, 2]))
def test_each_step_is_done_once_however_often_the_job_fails(tree: Tree, backend: str, concurrency: int | None) -> None:
    tries: Counter[str] = Counter()
    done: Counter[str] = Counter()

    @step
    async def leaf(place: str, failures: int) -> str:
        for _ in range(failures):
            await anyio.lowlevel.checkpoint()
        tries[place] += 1
        if tries[place] <= failures:
            raise OSError(place)
        done[place] += 1
        return place

    @step
    async def branch(place: str, inner: list[Any]) -> list[Any]:
        calls: list[Any] = [leaf if isinstance(each, int) else branch for each in inner]
        named = [(call, f"{place}.{at}", each) for at, (call, each) in enumerate(zip(calls, inner, strict=True))]
        if place.count(".") % 2:
            return await gather(*[call(where, each) for call, where, each in named], concurrency=concurrency)
        return [await call(where, each) for call, where, each in named]

    @automation
    async def program(inner: list[Any]) -> list[Any]:
        return await branch("0", inner)

    async def until_done() -> list[Any]:
        job = program.job(MemorySessions(), "x")
        for _ in range(100):
            try:
                return (await job.run([tree])).output
            except (OSError, ExceptionGroup):
                assert await job.status() == "failed"
        raise AssertionError("it is never done")

    assert anyio.run(until_done, backend=backend) == places("0", [tree])
    assert set(done.values()) <= {1}
