from __future__ import annotations

import contextvars
import subprocess
import sys
import threading
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest

from agentkit import Agent, tool
from agentkit.errors import ToolError
from agentkit.testing import ScriptedModel, call, context
from agentkit.tools.workers import run_in_thread

pytestmark = pytest.mark.anyio

HANGING = """
import sys, threading
import anyio
from agentkit import Agent, tool
from agentkit.testing import ScriptedModel, call

@tool(timeout=0.05)
def hang() -> None:
    threading.Event().wait()

async def main() -> None:
    result = await Agent(ScriptedModel([call("hang"), "done"]), tools=[hang]).run("go")
    print(result.messages[2].text, result.output)

anyio.run(main, backend=sys.argv[1])
"""


async def test_a_program_ends_though_a_thread_of_a_tool_hangs(anyio_backend_name: str) -> None:
    command = [sys.executable, "-c", HANGING, anyio_backend_name]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)  # noqa: ASYNC221
    assert done.returncode == 0
    assert done.stdout.startswith("Error: timed out after 0.05 seconds")
    assert done.stdout.endswith("done\n")
    assert done.stderr == "tool hang was abandoned, but its thread still runs\n"


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # trio has threads of its own
async def test_a_thread_is_used_again_so_that_what_belongs_to_a_thread_is_kept() -> None:
    local = threading.local()

    def count() -> int:
        local.calls = getattr(local, "calls", 0) + 1
        return int(local.calls)

    assert [await run_in_thread(count) for _ in range(3)] == [1, 2, 3]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_what_a_function_raises_is_raised_and_its_thread_goes_on() -> None:
    def fail() -> int:
        raise KeyError(threading.get_ident())

    with pytest.raises(KeyError) as failed:
        await run_in_thread(fail)
    assert await run_in_thread(threading.get_ident) == failed.value.args[0]


async def test_threads_that_work_at_the_same_time_are_different_ones() -> None:
    meeting = threading.Barrier(5, timeout=20)
    seen: list[int] = []

    def meet() -> int:
        meeting.wait()
        return threading.get_ident()

    async def one() -> None:
        seen.append(await run_in_thread(meet))

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(one)
    assert len(set(seen)) == 5


async def test_a_thread_can_ask_anyio_whether_its_call_was_cancelled() -> None:
    ended = threading.Event()

    @tool(timeout=0.05)
    def work() -> None:
        try:
            while not ended.wait(0.001):
                anyio.from_thread.check_cancelled()
        finally:
            ended.set()

    with pytest.raises(ToolError, match="timed out"):
        await work.call(context(None), "")
    assert await anyio.to_thread.run_sync(ended.wait, 10)


async def test_a_tool_in_a_thread_may_run_an_agent_in_a_loop_of_its_own() -> None:
    @tool
    def inner() -> str:
        return "from within"

    @tool
    def outer() -> Any:
        return Agent(ScriptedModel([call("inner"), "done"]), tools=[inner]).run_sync("go").messages[2].text

    assert (await outer.call(context(None), "")).content == "from within"


def test_a_thread_that_outlives_its_loop_works_for_the_next() -> None:
    release, hung = threading.Event(), list[int]()

    def hang() -> None:
        hung.append(threading.get_ident())
        release.wait(20)

    async def give_up() -> None:
        with anyio.move_on_after(0.05):
            await run_in_thread(hang)

    async def take_all() -> set[int]:
        seen, everybody = set[int](), threading.Event()

        def work() -> None:
            seen.add(threading.get_ident())
            everybody.wait(20)

        async with anyio.create_task_group() as tasks:
            for _ in range(100):  # more than wait for something to do
                tasks.start_soon(run_in_thread, work)
            await anyio.wait_all_tasks_blocked()
            everybody.set()
        return seen

    async def meet_again() -> None:
        with anyio.fail_after(20):
            while not (await take_all()).issuperset(hung):
                pass

    anyio.run(give_up)
    release.set()
    anyio.run(meet_again)


@pytest.mark.anyio
async def test_an_agent_in_a_thread_of_a_tool_counts_in_the_run_that_it_is_inside_of() -> None:
    def ask(inside: str) -> str:
        return Agent(ScriptedModel([call("look"), inside]), tools=[look]).run_sync("go").output

    @tool
    def look() -> str:
        return "seen"

    @tool
    def in_its_thread() -> str:
        return ask("first")

    @tool
    def in_a_thread_of_its_own() -> str:
        said: list[str] = []
        thread = threading.Thread(target=contextvars.copy_context().run, args=[lambda: said.append(ask("second"))])
        thread.start()
        thread.join(20)
        return said[0]

    model = ScriptedModel([[call("in_its_thread"), call("in_a_thread_of_its_own")], "done"])
    result = await Agent(model, tools=[in_its_thread, in_a_thread_of_its_own]).run("go")
    assert [each.text for each in result.messages[2:4]] == ["first", "second"]
    assert (result.usage.requests, result.state.calls) == (6, 4)
