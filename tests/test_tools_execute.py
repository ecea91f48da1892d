from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextvars import ContextVar
from typing import Any

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread
import pytest
from trio.testing import MockClock

from agentkit import Agent
from agentkit.chat.events import Event
from agentkit.chat.messages import ToolMessage
from agentkit.errors import DefinitionError, ModelRetry, ToolError
from agentkit.testing import ScriptedModel, context
from agentkit.testing import call as model_call
from agentkit.tools.context import CallRetried, EventLoopBlocked, Progress, ThreadAbandoned, ToolContext
from agentkit.tools.tool import Tool, as_tool, tool

pytestmark = pytest.mark.anyio


async def call(called: Tool, arguments: str = "", seen: list[Event] | None = None) -> str:
    """What the model reads of a call."""
    given = context(None) if seen is None else context(None, emit=seen.append)
    return (await called.call(given, arguments)).content


# Deadlines.


async def test_a_call_that_takes_too_long_is_told_to_the_model() -> None:
    gave_up: list[bool] = []

    @tool(timeout=0.01)
    async def hang(ctx: ToolContext[Any]) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            gave_up.append(ctx.cancelled)

    with pytest.raises(ToolError, match=r"timed out after 0.01 seconds; it is not known whether it had any effect"):
        await call(hang)


async def test_a_thread_that_hangs_is_reported_and_no_longer_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    release, ended, seen = threading.Event(), threading.Event(), list[Event]()
    known: list[bool] = []

    @tool(timeout=0.05)
    def hang(ctx: ToolContext[Any]) -> None:
        known.append(ctx.cancelled)
        release.wait(10)
        known.append(ctx.cancelled)
        ended.set()

    with caplog.at_level(logging.WARNING, "agentkit"), pytest.raises(ToolError, match="timed out"):
        await call(hang, seen=seen)
    assert seen == [ThreadAbandoned("call", "tool")]
    assert "its thread still runs" in caplog.text
    release.set()
    assert await anyio.to_thread.run_sync(ended.wait, 10)
    assert known == [False, True]


async def test_hung_threads_leave_room_for_others() -> None:
    release = threading.Event()

    @tool(timeout=0.05)
    def hang() -> None:
        release.wait(10)

    async def hung() -> None:
        with pytest.raises(ToolError, match=r"timed out|still run"):
            await call(hang)

    try:
        async with anyio.create_task_group() as group:
            for _ in range(70):
                group.start_soon(hung)
        assert await call(tool(lambda: "free", name="free")) == "free"
    finally:
        release.set()


async def test_no_more_threads_work_at_once_than_there_is_room_for() -> None:
    release, working, most = threading.Event(), list[int](), list[int]()
    full = threading.Semaphore(0)

    @tool
    def work() -> None:
        working.append(1)
        most.append(len(working))
        full.release()
        release.wait(20)
        working.pop()

    def wait_for_room_to_be_full() -> None:
        for _ in range(64):
            full.acquire(timeout=20)

    async with anyio.create_task_group() as group:
        for _ in range(70):
            group.start_soon(call, work)
        await anyio.to_thread.run_sync(wait_for_room_to_be_full)
        await anyio.wait_all_tasks_blocked()
        assert len(working) == 64
        release.set()
    assert len(most) == 70
    assert max(most) == 64


async def test_waiting_for_its_turn_is_not_counted() -> None:
    results: list[str] = []

    @tool(timeout=0.05, max_concurrency=1)
    async def first_hangs() -> str:
        if not results:
            results.append("hangs")
            await anyio.sleep_forever()
        return "ok"

    async def one() -> None:
        try:
            results.append(await call(first_hangs))
        except ToolError:
            results.append("timed out")

    async with anyio.create_task_group() as group:
        group.start_soon(one)
        group.start_soon(one)
    assert results == ["hangs", "timed out", "ok"]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"timeout": 0}, "timeout=0 must be above 0 seconds"),
        ({"timeout": float("inf")}, "None for no limit"),
        ({"rate": 0}, "rate=0 must be above 0"),
        ({"max_concurrency": 0}, "max_concurrency=0 must be at least 1"),
        ({"retries": -1}, "retries=-1 cannot be negative"),
        ({"process": True, "thread": False}, "cannot both be"),
        ({"process": True}, "a function of a module"),
    ],
)
async def test_an_option_that_means_nothing_is_refused_where_it_is_written(options: Any, complaint: str) -> None:
    with pytest.raises(DefinitionError, match=complaint):
        tool(lambda: 1, name="x", **options)


async def test_async_tools_run_in_the_event_loop_and_nowhere_else() -> None:
    async def work() -> None: ...

    for options in ({"thread": False}, {"process": True}):
        with pytest.raises(DefinitionError, match="is async and runs in the event loop"):
            tool(work, **options)  # type: ignore[call-overload]


# How many, and how fast.


async def most_at_once(tools: list[Tool], running: list[int]) -> int:
    async with anyio.create_task_group() as group:
        for each in tools:
            for _ in range(4):
                group.start_soon(call, each)
    return max(running)


def counted(running: list[int]) -> Callable[[], Any]:
    now: list[int] = []

    async def work() -> None:
        """Count who is here."""
        now.append(1)
        running.append(len(now))
        await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()
        now.pop()

    return work


async def test_no_more_calls_than_allowed_run_at_once() -> None:
    for most in (1, 2, 3):
        running: list[int] = []
        limited = tool(counted(running), max_concurrency=most)
        assert await most_at_once([limited], running) == most
        assert await most_at_once([tool(limited, name="same_function")], running) == most


async def test_a_group_shares_its_limit() -> None:
    running: list[int] = []
    work = counted(running)
    one, other = tool(work, name="one", group="g1"), tool(work, name="other", group="g1")
    assert await most_at_once([one, other], running) == 1
    running.clear()
    one, other = (tool(work, name=name, group="g2", max_concurrency=3) for name in ("one", "other"))
    assert await most_at_once([one, other], running) == 3


async def test_a_cancelled_call_gives_its_place_back() -> None:
    entered = anyio.Event()

    @tool(max_concurrency=1)
    async def hang(forever: bool) -> str:
        entered.set()
        if forever:
            await anyio.sleep_forever()
        return "done"

    async with anyio.create_task_group() as group:
        group.start_soon(call, hang, '{"forever": true}')
        await entered.wait()
        group.start_soon(call, hang, '{"forever": true}')
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    assert await call(hang, '{"forever": false}') == "done"


@pytest.mark.parametrize("anyio_backend", [("trio", {"clock": MockClock(autojump_threshold=0)})])
async def test_a_rate_spaces_the_calls(anyio_backend: object) -> None:
    starts: list[float] = []

    @tool(rate=10)
    async def note() -> None:
        starts.append(round(anyio.current_time() - began, 6))

    began = anyio.current_time()
    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(call, note)
    assert starts == [0, 0.1, 0.2, 0.3]
    await anyio.sleep_until(began + 9)
    await call(note)
    assert starts[-1] == 9


# Tries.


async def test_an_idempotent_tool_is_run_again_when_it_fails() -> None:
    seen: list[Event] = []
    keys: list[str] = []

    @tool(idempotent=True, retries=1)
    async def flaky(ctx: ToolContext[Any]) -> str:
        keys.append(ctx.idempotency_key)
        if len(keys) == 1:
            raise ConnectionError("reset")
        return "ok"

    assert await call(flaky, seen=seen) == "ok"
    assert len(keys) == 2
    assert len(set(keys)) == 1
    (repeated,) = seen
    assert isinstance(repeated, CallRetried)
    assert (repeated.attempt, str(repeated.error)) == (1, "reset")


async def test_an_idempotent_tool_that_always_fails_raises_its_last_error() -> None:
    tries: list[int] = []

    @tool(idempotent=True, retries=1)
    def fail() -> None:
        tries.append(1)
        raise ValueError(f"try {len(tries)}")

    with pytest.raises(ValueError, match="try 2"):
        await call(fail)


@pytest.mark.parametrize("error", [ToolError("no"), ModelRetry("other"), ValueError("x")])
async def test_what_is_said_on_purpose_and_what_is_not_idempotent_is_not_repeated(error: Exception) -> None:
    tries: list[int] = []

    @tool(idempotent=isinstance(error, ToolError))
    async def fail() -> None:
        tries.append(1)
        raise error

    with pytest.raises(type(error)):
        await call(fail)
    assert len(tries) == 1


# Places.


async def test_a_function_that_returns_at_once_may_run_in_the_event_loop() -> None:
    @tool(thread=False)
    def where() -> bool:
        return threading.get_ident() == home

    home = threading.get_ident()
    assert await call(where) == "true"


async def test_a_thread_may_run_async_code_in_the_event_loop() -> None:
    async def ask() -> str:
        await anyio.lowlevel.checkpoint()
        return "asked"

    @tool
    def work() -> str:
        return anyio.from_thread.run(ask)

    assert await call(work) == "asked"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (SystemExit(3), "RuntimeError: the tool called sys.exit(3)"),
        (KeyboardInterrupt(), "RuntimeError: the tool raised KeyboardInterrupt"),
        (ExceptionGroup("two", [ValueError("a"), KeyError("b")]), "ValueError: a; KeyError: 'b'"),
        (RecursionError("too deep"), "RecursionError: too deep"),
        (StopIteration(), "RuntimeError: the tool raised StopIteration"),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_whatever_a_tool_raises_its_siblings_finish_and_the_model_is_told(
    error: BaseException, told: str
) -> None:
    ready = anyio.Event()

    @tool
    def fail() -> None:
        raise error

    @tool
    async def fail_later() -> None:
        ready.set()
        raise error

    @tool
    async def fine() -> str:
        await ready.wait()
        await anyio.wait_all_tasks_blocked()
        return "fine"

    model = ScriptedModel([[model_call("fine"), model_call("fail_later"), model_call("fail")], "done"])
    result = await Agent(model, tools=[fail, fail_later, fine]).run("go")
    texts = [each.text for each in result.messages if isinstance(each, ToolMessage)]
    later = told if not isinstance(error, StopIteration) else "RuntimeError: coroutine raised StopIteration"
    assert texts == ["fine", f"Error: fail_later failed with {later}", f"Error: fail failed with {told}"]


# Generators.


async def test_what_a_generator_yields_is_progress_and_what_it_returns_the_result() -> None:
    def steps(n: int) -> Generator[Any, None, int]:
        """Work in steps."""
        yield 0.5
        yield "half"
        yield {"rows": n}
        yield True
        yield 7
        yield Progress("x", "y", 1.0, "own")
        return n * 2

    @functools.wraps(steps)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return steps(*args, **kwargs)

    for made in (tool(steps), tool(steps, thread=False), tool(wrapped), tool(functools.partial(steps))):
        seen: list[Event] = []
        assert await call(made, '{"n": 4}', seen) == "8"
        assert seen == [
            Progress("call", "tool", 0.5, ""),
            Progress("call", "tool", None, "half"),
            Progress("call", "tool", None, "", {"rows": 4}),
            Progress("call", "tool", None, "", True),
            Progress("call", "tool", None, "", 7),
            Progress("x", "y", 1.0, "own"),
        ]


async def test_a_generator_in_a_thread_ends_at_its_next_yield_when_it_is_given_up() -> None:
    release, closed, steps = threading.Event(), threading.Event(), list[int]()

    @tool(timeout=0.05)
    def endless() -> Iterator[int]:
        try:
            while True:
                steps.append(1)
                release.wait(10)
                yield 2
        finally:
            closed.set()

    seen: list[Event] = []
    with pytest.raises(ToolError, match="timed out"):
        await call(endless, seen=seen)
    release.set()
    assert await anyio.to_thread.run_sync(closed.wait, 10)
    assert steps == [1]
    assert seen == [ThreadAbandoned("call", "tool")]


async def test_the_last_that_an_async_generator_yields_is_its_result() -> None:
    closed: list[bool] = []

    async def steps(n: int) -> AsyncIterator[Any]:
        try:
            yield 0.5
            await anyio.lowlevel.checkpoint()
            yield {"rows": n}
        finally:
            closed.append(True)

    seen: list[Event] = []
    assert await call(as_tool(steps), '{"n": 1}', seen) == '{"rows":1}'
    assert seen == [Progress("call", "tool", 0.5, ""), Progress("call", "tool", None, "", {"rows": 1})]
    assert closed == [True]


async def test_a_generator_that_fails_fails_its_call() -> None:
    def fail() -> Iterator[int]:
        yield 1
        raise ToolError("no more")

    async def fail_later() -> AsyncIterator[int]:
        yield 1
        raise ToolError("no more")

    for function in (fail, fail_later):
        with pytest.raises(ToolError, match="no more"):
            await call(as_tool(function))


async def test_a_function_that_returns_a_lazy_value_returns_all_of_it() -> None:
    @tool
    def squares() -> Any:
        return (n * n for n in range(4))

    assert await call(squares) == "[0,1,4,9]"


# What must not leave a tool.


async def test_a_group_with_one_error_is_that_error() -> None:
    async def grouped(error: BaseException) -> None:
        async def fail() -> None:
            raise error

        async with anyio.create_task_group() as group:
            group.start_soon(fail)

    @tool
    async def refuse() -> None:
        await grouped(ToolError("closed"))

    with pytest.raises(ToolError, match="closed"):
        await call(refuse)


@pytest.mark.parametrize("thread", [True, False])
async def test_a_group_with_several_errors_names_them(thread: bool) -> None:
    def fail(errors: list[BaseException]) -> Callable[[], None]:
        def work() -> None:
            raise BaseExceptionGroup("inside", errors)

        return work

    several = tool(fail([ValueError("a"), ExceptionGroup("deeper", [KeyError("b")])]), thread=thread)
    with pytest.raises(ExceptionGroup, match=r"ValueError: a; KeyError: 'b'"):
        await call(several)
    with pytest.raises(ToolError, match="one; two"):
        await call(tool(fail([ToolError("one"), ToolError("two")]), thread=thread))
    with pytest.raises(RuntimeError, match=r"the tool called sys.exit\(3\)"):
        await call(tool(fail([SystemExit(3)]), thread=thread))


async def test_a_tool_that_calls_itself_for_ever_fails() -> None:
    def endless(n: int) -> int:
        """Call itself."""
        return endless(n) + 1

    for thread in (True, False):
        with pytest.raises(RecursionError):
            await call(tool(endless, thread=thread), '{"n": 1}')


@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_a_task_of_a_tool_that_ends_the_program_fails_the_call(anyio_backend: str) -> None:
    """On asyncio, Python's own rule holds: it leaves the event loop at once."""

    def leave() -> None:
        raise SystemExit(2)

    async def child() -> None:
        leave()

    @tool
    async def work() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(child)

    with pytest.raises(RuntimeError, match=r"the tool called sys.exit\(2\)"):
        await call(work)


# What comes too late, what blocks, what never ends.


@pytest.mark.parametrize("late", ["returns", "raises", "asks again"])
async def test_the_late_result_of_a_tool_that_swallows_its_cancellation_does_not_count(late: str) -> None:
    effects: list[str] = []

    @tool(timeout=0.01)
    async def stubborn() -> str:
        try:
            await anyio.sleep_forever()
        except BaseException as error:  # noqa: BLE001 - it swallows what it should not
            effects.append(type(error).__name__)
        if late == "raises":
            raise ValueError("late")
        if late == "asks again":
            raise ModelRetry("late")
        return "late"

    with pytest.raises(ToolError, match=r"^timed out after 0.01 seconds; it is not known") as caught:
        await call(stubborn)
    assert not isinstance(caught.value, ModelRetry)
    assert len(effects) == 1


async def test_a_result_in_time_counts_whatever_the_clock_says_afterwards() -> None:
    @tool(timeout=30)
    async def quick() -> str:
        await anyio.lowlevel.checkpoint()
        return "in time"

    assert await call(quick) == "in time"


@pytest.mark.parametrize("kind", ["async", "plain", "async generator", "after a pause"])
@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # it takes seconds; the next test has both
async def test_a_tool_that_blocks_the_event_loop_is_reported_by_its_name(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    def block() -> str:
        time.sleep(2.01)
        return "blocked"

    async def block_async() -> str:
        if kind == "after a pause":
            await anyio.lowlevel.checkpoint()
        return block()

    async def block_between() -> AsyncIterator[str]:
        yield "one"
        yield block()

    made = {
        "async": tool(block_async), "after a pause": tool(block_async), "async generator": tool(block_between),
        "plain": tool(block, thread=False),
    }[kind]  # fmt: skip
    seen: list[Event] = []
    assert await call(made, seen=seen) == "blocked"
    (event,) = [each for each in seen if isinstance(each, EventLoopBlocked)]
    assert (event.tool, event.call_id) == ("tool", "call")
    assert event.seconds >= 2
    assert "tool tool blocked the event loop for 2." in caplog.text


@pytest.mark.parametrize("anyio_backend", [("trio", {"clock": MockClock(autojump_threshold=0)})], ids=["virtual time"])
async def test_a_tool_that_only_waits_long_does_not_block_the_event_loop() -> None:
    seen: list[Event] = []

    @tool
    async def wait() -> str:
        await anyio.sleep(30)
        return "waited"

    assert await call(wait, seen=seen) == "waited"
    assert seen == []


async def test_a_tool_that_is_awaited_step_by_step_keeps_its_task_its_exceptions_and_its_context() -> None:
    variable: ContextVar[int] = ContextVar("variable", default=0)
    tasks: list[int] = []

    @tool
    async def inner() -> int:
        tasks.append(anyio.get_current_task().id)
        with pytest.raises(KeyError):
            await fail()
        variable.set(5)
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.lowlevel.checkpoint)
        with anyio.move_on_after(0):
            await anyio.sleep_forever()
        return variable.get()

    async def fail() -> None:
        await anyio.lowlevel.checkpoint()
        raise KeyError

    assert await call(inner) == "5"
    assert tasks == [anyio.get_current_task().id]


async def test_a_tool_whose_abandoned_threads_are_too_many_is_refused_in_words_until_they_end() -> None:
    release, started = threading.Event(), threading.Semaphore(0)

    @tool(timeout=0.05)
    def hang() -> str:
        started.release()
        release.wait(20)
        return "ended"

    told: list[str] = []

    async def one() -> None:
        try:
            told.append(await call(hang))
        except ToolError as error:
            told.append(str(error).partition(";")[0])

    before = threading.active_count()
    try:
        for _ in range(8):
            async with anyio.create_task_group() as group:
                for _ in range(50):
                    group.start_soon(one)
        assert threading.active_count() - before <= 64
        assert set(told[:50]) == {"timed out after 0.05 seconds"}
        assert set(told[50:]) == {"not run: 50 earlier calls of this tool were given up and still run"}
        renamed = tool(hang, name="hang_again")  # the same tool by another name
        with pytest.raises(ToolError, match="not run: 50 earlier calls"):
            await call(renamed)
        assert await call(tool(lambda: "free", name="free")) == "free"
    finally:
        release.set()
    with anyio.fail_after(20):
        while True:
            try:
                assert await call(tool(hang, timeout=None)) == "ended"
            except ToolError:
                await anyio.lowlevel.checkpoint()
            else:
                break
