from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain

import anyio
import pytest

from agentkit import Agent, Limits, tool
from agentkit.chat import ChatRequest, Reply, ReplyStream
from agentkit.chat.events import (
    AudioDelta,
    CallDelta,
    Emit,
    Event,
    ReasoningDelta,
    RefusalDelta,
    ReplyRepaired,
    Retrying,
    TextDelta,
    ignore_event,
)
from agentkit.errors import ConfigError, Overloaded, SessionBusy
from agentkit.run.events import CallStarted, RunFinished, RunStarted, TurnFinished, TurnStarted
from agentkit.run.transcript import check
from agentkit.sessions import MemorySessions
from agentkit.testing import Chunks, ScriptedModel, call

pytestmark = pytest.mark.anyio


@tool
async def hang() -> str:
    """Never end."""
    await anyio.sleep_forever()
    return "never"


async def test_text_arrives_in_pieces_and_the_result_at_the_end() -> None:
    async with Agent(ScriptedModel([Chunks("Hel", "lo")])).stream("hi") as events:
        pieces = [piece async for piece in events.text()]
        result = await events.result()
    assert pieces == ["Hel", "lo"]
    assert result.output == "Hello"


async def test_a_streamed_run_asks_the_model_for_a_stream() -> None:
    model = ScriptedModel(["a", "b"])
    async with Agent(model).stream("hi") as events:
        await events.result()
    await Agent(model).run("hi")
    assert [request.stream for request in model.requests] == [True, False]


async def test_events_are_the_same_as_those_that_run_emits() -> None:
    seen: list[object] = []
    await Agent(ScriptedModel(["x"])).run("hi", on_event=seen.append)
    async with Agent(ScriptedModel(["x"])).stream("hi") as events:
        assert [type(event) async for event in events] == [type(event) for event in seen]


async def test_leaving_early_cancels_what_runs() -> None:
    waiting, cancelled = anyio.Event(), anyio.Event()

    @tool
    async def wait() -> str:
        """Wait."""
        waiting.set()
        try:
            await anyio.sleep_forever()
        finally:
            cancelled.set()
        return "never"

    with anyio.fail_after(5):
        async with Agent(ScriptedModel([call("wait")]), tools=[wait]).stream("go"):
            await waiting.wait()
    assert cancelled.is_set()


async def test_an_error_of_the_run_is_raised_where_it_is_read_and_is_no_group() -> None:
    with pytest.raises(Overloaded) as caught:
        async with Agent(ScriptedModel([Overloaded("busy", status=503)])).stream("hi") as events:
            seen = [event async for event in events]
            raise AssertionError(seen)
    assert caught.value.state.status == "failed"
    with pytest.raises(Overloaded):
        async with Agent(ScriptedModel([Overloaded("busy", status=503)])).stream("hi") as events:
            await events.result()


async def test_an_error_of_the_reader_comes_out_as_it_is() -> None:
    with pytest.raises(KeyError):
        async with Agent(ScriptedModel([call("hang")]), tools=[hang]).stream("go") as events:
            async for _ in events:
                raise KeyError("mine")


async def test_a_deadline_around_a_stream_works() -> None:
    with anyio.move_on_after(0.05) as scope:
        async with Agent(ScriptedModel([call("hang")]), tools=[hang]).stream("go") as events:
            await events.result()
    assert scope.cancelled_caught


async def test_the_last_event_is_the_end() -> None:
    async with Agent(ScriptedModel([Chunks("a")])).stream("hi", limits=Limits(turns=1)) as events:
        seen = [event async for event in events]
    assert isinstance(seen[-1], RunFinished)
    assert TextDelta("a") in seen


async def test_the_result_is_known_after_the_run_was_left() -> None:
    async with Agent(ScriptedModel(["a"])).stream("hi") as events:
        await events.result()
    assert (await events.result()).output == "a"


async def test_a_run_that_was_left_early_still_tells_how_far_it_came() -> None:
    async with Agent(ScriptedModel([call("hang")]), tools=[hang]).stream("go") as events:
        async for event in events:
            if isinstance(event, CallStarted):
                break
    assert events.state.status == "cancelled"
    assert check(events.state.messages) == []
    result = await events.result()
    assert result.status == "cancelled"
    assert [type(event) for event in result.events] == [RunStarted, TurnStarted, TurnFinished, CallStarted, RunFinished]
    with pytest.raises(ConfigError, match="inside the `async with`"):
        await anext(events)


async def test_a_stream_that_was_not_started_says_how_to() -> None:
    with pytest.raises(ConfigError, match="async with"):
        await Agent(ScriptedModel(["a"])).stream("hi").result()
    events = Agent(ScriptedModel(["a"])).stream("hi")
    async with events:
        await events.result()
    with pytest.raises(ConfigError, match="started before"):
        await events.__aenter__()


@pytest.mark.parametrize("error", [KeyError("x"), SystemExit(3), KeyboardInterrupt()])
async def test_whatever_is_raised_inside_comes_out_as_it_is(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught:
        async with Agent(ScriptedModel([call("hang")]), tools=[hang]).stream("go"):
            raise error
    assert caught.value is error


async def test_a_run_that_cannot_begin_has_failed() -> None:
    session = MemorySessions()["ada"]
    events = Agent(ScriptedModel([])).stream("go", session=session)
    async with session.claim():
        with pytest.raises(SessionBusy):
            async with events:
                await events.result()
    assert events.state.status == "failed"


# A reader that is slow.


class Chatty:
    """A model that reports these events without a pause, and then answers."""

    def __init__(self, *events: Iterable[Event]) -> None:
        self.events = chain(*events)

    async def reply(self, request: ChatRequest, emit: Emit) -> Reply:
        for event in self.events:
            emit(event)
        return await ScriptedModel(["done"]).reply(request, ignore_event)


async def test_very_many_deltas_that_nobody_reads_take_as_many_objects_as_a_few() -> None:
    async with Agent(Chatty(TextDelta("ab") for _ in range(200_000))).stream("go") as events:
        await events.result()
        seen = [event async for event in events]
    assert len(seen) < 1000
    assert "".join(event.text for event in seen if isinstance(event, TextDelta)) == "ab" * 200_000


async def test_a_slow_reader_gets_every_delta_in_order_and_none_joined_with_one_of_another_kind_or_call() -> None:
    def deltas() -> Iterator[Event]:
        for _ in range(300):
            yield TextDelta("t\r\n")
        for _ in range(300):
            yield ReasoningDelta("r")
        for index in (0, 1):
            for _ in range(300):
                yield CallDelta(index, "c", "", "[")
        for _ in range(300):
            yield RefusalDelta("no ")

    async with ReplyStream(partial(Chatty(deltas()).reply, ChatRequest(messages=()))) as stream:
        await stream.wait()
        seen = [event async for event in stream]
    assert len(seen) < 300
    assert seen[-4:] == [
        ReasoningDelta("r" * 300),
        CallDelta(0, "c", "", "[" * 300),
        CallDelta(1, "c", "", "[" * 300),
        RefusalDelta("no " * 300),
    ]
    assert "".join(event.text for event in seen if isinstance(event, TextDelta)) == "t\r\n" * 300


async def test_events_that_are_no_deltas_are_neither_joined_nor_dropped_however_slow_the_reader_is() -> None:
    kinds: list[Event] = [AudioDelta(b"x", ""), ReplyRepaired("an odd one"), Retrying(1, 0.5, "busy")]
    async with ReplyStream(partial(Chatty(kinds * 1000).reply, ChatRequest(messages=()))) as stream:
        await stream.wait()
        assert [event async for event in stream] == kinds * 1000


async def test_a_reader_that_is_fast_enough_gets_each_delta_as_it_came() -> None:
    words = [TextDelta(str(number)) for number in range(200)]
    async with ReplyStream(partial(Chatty(words).reply, ChatRequest(messages=()))) as stream:
        assert [event async for event in stream] == words
