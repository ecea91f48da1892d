from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import anyio
import anyio.to_thread
import pytest

from agentkit.chat.events import Event
from agentkit.chat.messages import UserMessage
from agentkit.errors import ToolError
from agentkit.testing import context
from agentkit.tools import tool
from agentkit.tools.context import LoopEmit, Progress, Remaining, ToolContext


@pytest.mark.anyio
async def test_progress_is_told_with_the_call_it_is_about() -> None:
    seen: list[Event] = []
    context(None, emit=seen.append).progress(0.5, "half")
    assert seen == [Progress("call", "tool", 0.5, "half")]


@pytest.mark.anyio
async def test_outside_of_a_run_there_is_nothing_to_see() -> None:
    given = context("deps")
    assert (given.messages, given.remaining, dict(given.artifacts)) == ((), Remaining(), {})
    assert not given.cancelled


@pytest.mark.anyio
async def test_a_view_of_ones_own_can_be_given_in_tests() -> None:
    class View:
        messages = (UserMessage("hi"),)
        remaining = Remaining(turns=1)
        artifacts = {"a": "whole"}  # noqa: RUF012 - it is only read
        model = None

    given: ToolContext[Any] = ToolContext(
        deps=None, run_id="r", turn=1, call_id="c", tool="t", idempotency_key="k", emit=print, view=View()
    )
    assert (given.messages, given.remaining.turns, given.artifacts["a"]) == ((UserMessage("hi"),), 1, "whole")


@pytest.mark.anyio
async def test_a_context_tells_when_it_was_given_up_wherever_it_was_passed_on_to() -> None:
    given = context(None)
    other = replace(given, turn=7)
    other.give_up()
    assert given.cancelled


@pytest.mark.anyio
async def test_events_of_any_thread_are_heard_in_the_event_loop() -> None:
    heard: list[int] = []
    emit = LoopEmit(lambda _: heard.append(threading.get_ident()))
    await anyio.to_thread.run_sync(emit, Event())
    emit(Event())
    assert heard == [threading.get_ident()] * 2


@pytest.mark.anyio
async def test_events_after_the_end_of_a_call_are_discarded() -> None:
    seen, contexts = list[Event](), list[ToolContext[Any]]()

    @tool
    async def work(ctx: ToolContext[Any]) -> str:
        contexts.append(ctx)
        ctx.progress(0.5)
        return "done"

    await work.call(context(None, emit=seen.append), "")
    contexts[0].progress(0.9)
    contexts[0].emit(Event())
    await anyio.to_thread.run_sync(contexts[0].progress)
    assert seen == [Progress("call", "tool", 0.5, "")]


def test_progress_after_the_end_of_the_event_loop_is_discarded_too() -> None:
    contexts, release = list[ToolContext[Any]](), threading.Event()

    @tool(timeout=0.05)
    def hang(ctx: ToolContext[Any]) -> None:
        contexts.append(ctx)
        release.wait(20)

    async def give_up() -> None:
        with pytest.raises(ToolError, match="timed out"):
            await hang.call(context(None), "")

    anyio.run(give_up)
    release.set()
    contexts[0].progress(1)  # in another thread than the loop that has ended
    late = threading.Thread(target=contexts[0].progress)
    late.start()
    late.join(20)
    assert not late.is_alive()


@pytest.mark.anyio
async def test_what_an_observer_raises_is_kept_from_the_tool_where_somebody_else_takes_it() -> None:
    def observe(event: Event) -> None:
        raise KeyError("observer")

    with pytest.raises(KeyError, match="observer"):
        LoopEmit(observe)(Event())
    failures: list[Exception] = []
    emit = LoopEmit(observe, failures)
    emit(Event())
    await anyio.to_thread.run_sync(emit, Event())
    assert [str(each) for each in failures] == ["'observer'"] * 2
