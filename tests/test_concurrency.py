from __future__ import annotations

import math
from typing import Any

import anyio
import anyio.from_thread
import anyio.lowlevel
import pytest
from trio.testing import MockClock

from agentkit.testing import context
from agentkit.tools import options
from agentkit.tools.options import ConcurrencyLimit
from agentkit.tools.tool import Tool, tool

pytestmark = pytest.mark.anyio

virtual_time = pytest.mark.parametrize("anyio_backend", [("trio", {"clock": MockClock(autojump_threshold=0)})])


async def call(called: Tool, arguments: str = "") -> str:
    return (await called.call(context(None), arguments)).content


async def test_who_waits_goes_in_by_turn_and_nobody_passes() -> None:
    limit, entered = ConcurrencyLimit(), list[int]()

    async def one(number: int) -> None:
        place = await limit.acquire(1)
        entered.append(number)
        await anyio.lowlevel.checkpoint()
        place.release()
        if number < 5:
            tasks.start_soon(one, number + 10)  # comes when others wait

    async with anyio.create_task_group() as tasks:
        first = await limit.acquire(1)
        for number in range(5):
            tasks.start_soon(outside, one, number)
            await anyio.wait_all_tasks_blocked()
        first.release()
    assert entered[:5] == [0, 1, 2, 3, 4]
    assert sorted(entered[5:]) == [10, 11, 12, 13, 14]


async def outside(function: Any, *args: Any) -> None:
    """Call it as code that is part of no call."""
    options._HELD.set(())
    await function(*args)


async def test_leaving_wakes_one_and_not_all() -> None:
    limit, woken = ConcurrencyLimit(), list[int]()

    async def wait(number: int) -> None:
        await limit.acquire(1)
        woken.append(number)

    async with anyio.create_task_group() as tasks:
        first = await limit.acquire(1)
        for number in range(50):
            tasks.start_soon(outside, wait, number)
            await anyio.wait_all_tasks_blocked()
        waiters = list(limit._waiting)
        first.release()
        assert [each.admitted.is_set() for each in waiters].count(True) == 1
        await anyio.wait_all_tasks_blocked()
        assert woken == [0]
        tasks.cancel_scope.cancel()


async def test_a_waiter_cancelled_after_it_was_let_in_gives_its_place_on() -> None:
    limit, entered = ConcurrencyLimit(), list[str]()
    scope = anyio.CancelScope()

    async def cancelled() -> None:
        with scope:
            await limit.acquire(1)
            entered.append("cancelled")

    async def waits() -> None:
        (await limit.acquire(1)).release()
        entered.append("next")

    async with anyio.create_task_group() as tasks:
        first = await limit.acquire(1)
        tasks.start_soon(outside, cancelled)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(outside, waits)
        await anyio.wait_all_tasks_blocked()
        scope.cancel()
        first.release()
    assert entered[-1] == "next"
    with anyio.fail_after(5):
        await limit.acquire(1)


async def test_those_behind_a_waiter_that_is_cancelled_go_in_if_they_fit() -> None:
    limit, entered = ConcurrencyLimit(), list[str]()
    scope = anyio.CancelScope()

    async def needs_much() -> None:
        with scope:
            await limit.acquire(1)

    async def needs_little() -> None:
        await limit.acquire(2)
        entered.append("little")

    await limit.acquire(2)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(outside, needs_much)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(outside, needs_little)
        await anyio.wait_all_tasks_blocked()
        assert entered == []  # it came later
        scope.cancel()
    assert entered == ["little"]


@pytest.mark.parametrize("options", [{"max_concurrency": 1}, {"group": "again"}])
async def test_a_call_inside_a_call_of_the_same_tool_does_not_wait_for_it(options: Any) -> None:
    @tool(timeout=None, **options)
    async def again(n: int) -> int:
        return int(await call(again, f'{{"n": {n - 1}}}')) + 1 if n else 0

    with anyio.fail_after(5):
        assert await call(again, '{"n": 3}') == "3"


async def test_a_thread_inside_a_thread_needs_no_second_room() -> None:
    everybody, count = anyio.Event(), list[int]()

    @tool(timeout=None)
    def inner() -> str:
        return "inner"

    async def ask() -> str:
        count.append(1)
        if len(count) == 64:
            everybody.set()
        await everybody.wait()
        return await call(inner)

    @tool(timeout=None)
    def outer() -> str:
        return anyio.from_thread.run(ask)

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            for _ in range(64):
                tasks.start_soon(call, outer)
    assert len(count) == 64


class Crossing:
    """Tools in a ring, each with room for one call at a time; each call makes one of the next tool."""

    def __init__(self, size: int, *, all_inside: int) -> None:
        self.everybody, self.entered, self.all_inside = anyio.Event(), 0, all_inside
        self.tools = [self._tool(place, (place + 1) % size) for place in range(size)]

    def _tool(self, place: int, next_one: int) -> Tool:
        @tool(name=f"tool_{place}", max_concurrency=1)
        async def step(deeper: int) -> str:
            self.entered += 1
            if self.entered == self.all_inside:
                self.everybody.set()
            await self.everybody.wait()
            inner = await call(self.tools[next_one], f'{{"deeper": {deeper - 1}}}') if deeper else ""
            return f"{place}{inner}"

        return step


@pytest.mark.parametrize("size", [2, 3, 5])
async def test_calls_that_would_wait_for_each_other_at_different_limits_go_in(size: int) -> None:
    crossing, told = Crossing(size, all_inside=size), list[str]()

    async def one(place: int) -> None:
        told.append(await call(crossing.tools[place], f'{{"deeper": {size}}}'))

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            for place in range(size):
                tasks.start_soon(one, place)
    ring = "".join(map(str, range(size)))
    assert sorted(told) == [f"{ring[place:]}{ring[:place]}{place}" for place in range(size)]


async def test_a_call_inside_a_call_waits_where_somebody_inside_can_leave() -> None:
    inside, most, release, entered = list[int](), list[int](), anyio.Event(), anyio.Event()

    @tool(max_concurrency=1)
    async def inner(first: bool = False) -> None:
        inside.append(1)
        most.append(len(inside))
        if first:
            entered.set()
            await release.wait()
        inside.pop()

    @tool(max_concurrency=1)
    async def outer() -> None:
        await call(inner)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call, inner, '{"first": true}')
        await entered.wait()
        tasks.start_soon(call, outer)
        await anyio.wait_all_tasks_blocked()
        assert most == [1]
        release.set()
    assert most == [1, 1]


async def test_what_outlives_its_call_waits_like_all_others() -> None:
    inside: list[int] = []
    most: list[int] = []
    ended = anyio.Event()

    @tool(max_concurrency=1)
    async def work(first: bool) -> None:
        inside.append(1)
        most.append(len(inside))
        if first:
            tasks.start_soon(later)
            tasks.start_soon(later)
        await anyio.lowlevel.checkpoint()
        inside.pop()

    async def later() -> None:
        await ended.wait()
        await call(work, '{"first": false}')

    async with anyio.create_task_group() as tasks:
        await call(work, '{"first": true}')
        ended.set()
    assert most == [1, 1, 1]


async def test_the_smallest_limit_that_a_tool_of_a_group_names_holds_for_all() -> None:
    async def most_of(*limits: int | None) -> int:
        inside, most = list[int](), list[int]()

        async def work() -> None:
            inside.append(1)
            most.append(len(inside))
            for _ in range(3):
                await anyio.lowlevel.checkpoint()
            inside.pop()

        made = [
            tool(work, name=f"t{n}", group=f"limits {limits}", max_concurrency=limit) for n, limit in enumerate(limits)
        ]
        async with anyio.create_task_group() as tasks:
            for each in made * 8:
                tasks.start_soon(call, each)
        return max(most)

    assert await most_of(None, 5) == 5
    assert await most_of(5, 2) == 2
    assert await most_of(None, None) == 1


@virtual_time
async def test_the_rate_of_a_group_holds_for_all_its_tools(anyio_backend: object) -> None:
    starts: list[float] = []

    async def note() -> None:
        starts.append(round(anyio.current_time() - began, 6))

    one, other = tool(note, name="one", group="paced", rate=10), tool(note, name="other", group="paced")
    began = anyio.current_time()
    async with anyio.create_task_group() as tasks:
        for each in (one, other, one, other):
            tasks.start_soon(call, each)
    assert starts == [0, 0.1, 0.2, 0.3]


@virtual_time
async def test_a_call_that_is_cancelled_while_it_waits_takes_no_start(anyio_backend: object) -> None:
    starts: list[float] = []

    @tool(rate=1)
    async def note() -> None:
        starts.append(round(anyio.current_time() - began, 6))

    began = anyio.current_time()
    await call(note)
    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(call, note)
        await anyio.sleep(0.1)
        tasks.cancel_scope.cancel()
    await call(note)
    assert starts == [0, 1]


@virtual_time
async def test_calls_inside_a_call_keep_to_the_rate(anyio_backend: object) -> None:
    starts: list[float] = []

    @tool(rate=10, max_concurrency=1)
    async def again(n: int) -> None:
        starts.append(round(anyio.current_time() - began, 6))
        if n:
            await call(again, f'{{"n": {n - 1}}}')

    began = anyio.current_time()
    await call(again, '{"n": 2}')
    assert starts == [0, 0.1, 0.2]


async def test_a_call_that_need_not_wait_gives_way_to_no_other_task() -> None:
    limit, order = ConcurrencyLimit(), list[str]()

    async def other() -> None:
        order.append("other")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(other)
        await limit.acquire(math.inf, 1000)
        order.append("entered")
    assert order == ["entered", "other"]
