"""Streams in generators, fixtures and web responses: leaving one, in whatever way, ends its work and nothing else."""

import asyncio  # noqa: TID251 - what users do with it is played
import json
import logging
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, nullcontext
from contextvars import ContextVar

import anyio
import anyio.lowlevel
import anyio.to_thread
import httpx2
import pytest
import pytest_asyncio
from starlette.requests import ClientDisconnect
from starlette.responses import StreamingResponse
from starlette.types import Message

from agentkit import Agent
from agentkit.chat import ChatClient, Reply, ReplyStream
from agentkit.errors import ConfigError
from agentkit.events import Emit, TextDelta
from agentkit.run import RunStream
from agentkit.testing import ScriptedModel, call

ON_ASYNCIO = pytest.mark.parametrize("anyio_backend", ["asyncio"])


class Endless(httpx2.AsyncByteStream):
    """The body of a reply that says two words and goes on for ever."""

    def __init__(self) -> None:
        self.ended = anyio.Event()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            for word in ("one ", "two "):
                chunk = {"choices": [{"index": 0, "delta": {"role": "assistant", "content": word}}]}
                yield f"data: {json.dumps(chunk)}\n\n".encode()
                await anyio.lowlevel.checkpoint()
            await anyio.sleep_forever()
        finally:
            self.ended.set()


class Door:
    """Opens streams of a reply without end."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.body = Endless()
        headers = {"content-type": "text/event-stream"}
        transport = httpx2.MockTransport(lambda _: httpx2.Response(200, stream=self.body, headers=headers))
        self.client = ChatClient("http://127.0.0.1/v1", model="m", http=httpx2.AsyncClient(transport=transport))

    def open(self) -> RunStream[str] | ReplyStream:
        return self.client.stream("go") if self.kind == "client" else Agent(self.client).stream("go")

    async def words(self) -> AsyncGenerator[str]:
        async with self.open() as stream:
            async for word in stream.text():
                yield word

    async def check_over(self) -> None:
        """The work has ended or is about to, and this task can go on."""
        with anyio.fail_after(5):
            await self.body.ended.wait()
        await anyio.lowlevel.checkpoint()


@pytest.fixture(params=["agent", "client"])
def door(request: pytest.FixtureRequest) -> Door:
    return Door(request.param)


@pytest.mark.anyio
@ON_ASYNCIO
async def test_a_generator_over_a_stream_may_be_left_by_break(door: Door) -> None:
    async for word in door.words():
        assert word == "one "
        break
    await door.check_over()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


@pytest.mark.anyio
@ON_ASYNCIO
async def test_a_generator_over_a_stream_may_be_left_by_return(door: Door) -> None:
    async def first() -> str:
        async for word in door.words():
            return word
        return "nothing"

    assert await first() == "one "
    await door.check_over()


@pytest.mark.anyio
@ON_ASYNCIO
async def test_a_generator_over_a_stream_may_be_left_by_an_error_of_its_reader(door: Door) -> None:
    with pytest.raises(KeyError, match="mine"):
        async for _ in door.words():
            raise KeyError("mine")
    await door.check_over()


@pytest.mark.anyio
async def test_a_generator_over_a_stream_may_be_closed(door: Door) -> None:
    async with aclosing(door.words()) as words:
        async for _ in words:
            break
    assert door.body.ended.is_set(), "closing waits for the end"
    await door.check_over()


@pytest.mark.anyio
@ON_ASYNCIO
async def test_a_generator_over_a_stream_ends_when_waiting_for_its_next_item_times_out(door: Door) -> None:
    words = door.words()
    assert [await asyncio.wait_for(anext(words), 5) for _ in range(2)] == ["one ", "two "]
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(words), 0.05)
    assert door.body.ended.is_set()
    with pytest.raises(StopAsyncIteration):
        await anext(words)


@pytest.mark.anyio
@ON_ASYNCIO
async def test_a_timeout_around_a_generator_over_a_stream_cancels_its_work_and_nothing_else(door: Door) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            async for _ in door.words():
                pass
    assert door.body.ended.is_set()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


@pytest.mark.anyio
async def test_the_stream_and_its_text_survive_a_timeout(door: Door) -> None:
    async with door.open() as stream:
        text = stream.text()
        assert [await anext(text) for _ in range(2)] == ["one ", "two "]
        for each in (text, stream, text):
            with anyio.move_on_after(0.02) as scope:
                await anext(each)
            assert scope.cancelled_caught
        assert not door.body.ended.is_set()
    await door.check_over()


@pytest.mark.anyio
async def test_a_stream_may_be_read_and_left_by_another_task(door: Door) -> None:
    stream = door.open()
    read: list[str] = []
    await stream.__aenter__()

    async def reader() -> None:
        async for word in stream.text():
            read.append(word)
            if len(read) == 2:
                await stream.__aexit__(None, None, None)
                return

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(reader)
    assert read == ["one ", "two "]
    assert door.body.ended.is_set()


@pytest.mark.anyio
async def test_one_task_may_wait_for_the_result_while_another_one_reads() -> None:
    release = anyio.Event()

    class Slow:
        async def reply(self, request: object, emit: Emit) -> Reply:
            emit(TextDelta("to"))
            await release.wait()
            return await ScriptedModel(["together"]).reply(request, emit)  # type: ignore[arg-type]

    read: list[str] = []
    async with Agent(Slow()).stream("go") as stream, anyio.create_task_group() as tasks:

        async def reader() -> None:
            async for word in stream.text():
                read.append(word)
                release.set()

        tasks.start_soon(reader)
        assert (await stream.result()).output == "together"
    assert read == ["to", "together"]


@pytest.mark.anyio
async def test_cancelling_the_task_that_reads_a_stream_cancels_its_work(door: Door) -> None:
    async with anyio.create_task_group() as tasks:

        async def read() -> None:
            async for _ in door.words():
                reading.set()

        reading = anyio.Event()
        tasks.start_soon(read)
        await reading.wait()
        tasks.cancel_scope.cancel()
    assert door.body.ended.is_set(), "the task waits until the work is over"


@pytest_asyncio.fixture(params=["agent", "client"])
async def stream_of_a_fixture(request: pytest.FixtureRequest) -> AsyncIterator[RunStream[str] | ReplyStream]:
    door = Door(request.param)
    async with door.open() as stream:
        yield stream
    assert door.body.ended.is_set()


@pytest.mark.asyncio
async def test_a_fixture_may_hold_a_stream_open(stream_of_a_fixture: RunStream[str] | ReplyStream) -> None:
    async for word in stream_of_a_fixture.text():
        assert word == "one "
        break


@pytest.mark.anyio
@pytest.mark.parametrize("spec", ["2.3", "2.4"])  # a server says that the client left by a message, or by an error
async def test_a_web_response_whose_client_goes_away_ends_the_work(door: Door, spec: str) -> None:
    gone = anyio.Event()

    async def receive() -> Message:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message.get("body"):
            gone.set()
            if spec == "2.4":
                raise OSError("the client is gone")
            await anyio.sleep_forever()

    async with aclosing(door.words()) as words:
        response = StreamingResponse(words, media_type="text/plain")
        with nullcontext() if spec == "2.3" else pytest.raises(ClientDisconnect):
            await response({"type": "http", "asgi": {"spec_version": spec}}, receive, send)
    await door.check_over()


@pytest.mark.anyio
async def test_a_web_response_whose_client_leaves_between_two_words_ends_the_work(door: Door) -> None:
    sent: list[bytes] = []
    both = anyio.Event()

    async def receive() -> Message:
        await both.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message.get("body", b""))
        if len(sent) == 3:  # its beginning and two words; the response waits for the third
            both.set()

    response = StreamingResponse(door.words(), media_type="text/plain")
    await response({"type": "http", "asgi": {"spec_version": "2.3"}}, receive, send)
    assert b"".join(sent) == b"one two "
    await door.check_over()


@pytest.mark.anyio
async def test_the_work_sees_the_context_variables_of_whoever_starts_it() -> None:
    user: ContextVar[str] = ContextVar("user", default="nobody")
    seen: list[str] = []

    class Seeing(ScriptedModel):
        async def reply(self, request: object, emit: Emit) -> Reply:
            seen.append(user.get())
            return await super().reply(request, emit)  # type: ignore[arg-type]

    token = user.set("ada")
    async with Agent(Seeing(["hi"])).stream("go") as stream:
        user.reset(token)
        await stream.result()
    assert seen == ["ada"]


@pytest.mark.anyio
async def test_an_error_keeps_its_cause_and_is_raised_where_it_is_read_and_not_again_at_the_end() -> None:
    async def fail(emit: Emit) -> Reply:
        raise ConfigError("no key") from KeyError("OPENAI_API_KEY")

    async with ReplyStream(fail) as stream:
        with pytest.raises(ConfigError, match="no key") as caught:
            await anext(stream)
        assert isinstance(caught.value.__cause__, KeyError)
        with pytest.raises(ConfigError, match="no key"):
            await stream.reply()
    async with ReplyStream(fail):
        pass


@pytest.mark.anyio
@pytest.mark.parametrize("read", [True, False])
async def test_an_exit_that_the_work_asks_for_is_raised_even_if_nobody_reads(read: bool) -> None:
    leaving = anyio.Event()

    async def leave(emit: Emit) -> Reply:
        leaving.set()
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        async with ReplyStream(leave) as stream:
            if read:
                await anext(stream)
            await leaving.wait()


@pytest.mark.anyio
async def test_work_that_does_not_end_when_it_is_cancelled_is_left_to_itself(caplog: pytest.LogCaptureFixture) -> None:
    busy, release, over = anyio.Event(), anyio.Event(), anyio.Event()

    async def stubborn(emit: Emit) -> Reply:
        with anyio.CancelScope(shield=True):
            busy.set()
            await release.wait()
        over.set()
        return await ScriptedModel(["late"]).reply(None, emit)  # type: ignore[arg-type]

    with caplog.at_level(logging.WARNING, "agentkit"), anyio.fail_after(5):
        async with ReplyStream(stubborn, grace=0.05):
            await busy.wait()
    assert "ReplyStream(incomplete) has not ended 0.05 s after it was cancelled" in caplog.text
    assert not over.is_set()
    release.set()
    with anyio.fail_after(5):
        await over.wait()


@pytest.mark.anyio
@ON_ASYNCIO
async def test_leaving_waits_for_the_end_of_the_work_even_when_asyncio_cancels_the_task_again() -> None:
    working, cleaning, release, clean = (anyio.Event() for _ in range(4))

    async def work(emit: Emit) -> Reply:
        working.set()
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                cleaning.set()
                await release.wait()
                clean.set()
        raise AssertionError

    async def reader() -> None:
        async with ReplyStream(work) as stream:
            await stream.reply()

    task = asyncio.create_task(reader())
    await working.wait()
    task.cancel()
    await cleaning.wait()
    task.cancel()
    await anyio.lowlevel.checkpoint()
    await anyio.lowlevel.checkpoint()
    assert not task.done()
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert clean.is_set()


@pytest.mark.anyio
@pytest.mark.parametrize("when", ["before", "while"])
async def test_a_stream_may_be_cancelled_from_another_thread(door: Door, when: str) -> None:
    stream = door.open()
    if when == "before":
        await anyio.to_thread.run_sync(stream.cancel)
    read: list[str] = []
    with anyio.fail_after(5):
        async with stream:
            async for word in stream.text():
                read.append(word)
                await anyio.to_thread.run_sync(stream.cancel)
    assert read[:1] == ([] if when == "before" else ["one "])
    if isinstance(stream, RunStream):
        assert (await stream.result()).status == "cancelled"
    else:
        with pytest.raises(ConfigError, match="cancelled or left early"):
            await stream.reply()


@pytest.mark.anyio
async def test_a_stream_is_refused_in_another_event_loop(door: Door) -> None:
    async with door.open() as stream:

        async def elsewhere() -> None:
            with pytest.raises(ConfigError, match="event loop that started it"):
                await stream.wait()

        await anyio.to_thread.run_sync(lambda: anyio.run(elsewhere))


def test_a_stream_has_a_short_repr() -> None:
    stream: Callable[[], object] = lambda: Agent(ScriptedModel([[call("x")]])).stream("go")  # noqa: E731
    assert repr(stream()) == "RunStream(not started, turns=0)"


FORGETFUL = """
import asyncio, gc
import anyio
from agentkit import Agent
from agentkit.events import TextDelta

class Endless:
    async def reply(self, request, emit):
        emit(TextDelta("one"))
        try:
            await anyio.sleep_forever()
        finally:
            print("over", flush=True)

agent = Agent(Endless())

async def words():
    async with agent.stream("go") as stream:
        async for word in stream.text():
            yield word

async def main():
    agent.stream("never started")
    entered = agent.stream("never left")
    await entered.__aenter__()
    await anext(entered)
    del entered
    half_read = words()
    print(await anext(half_read), flush=True)
    gc.collect()
    return half_read

half_read = asyncio.run(main())
print("still here", flush=True)
"""


def test_streams_that_are_forgotten_end_with_their_event_loop_and_without_a_warning() -> None:
    done = subprocess.run([sys.executable, "-W", "error", "-c", FORGETFUL], capture_output=True, text=True, check=False)
    assert (done.stdout.split("\n"), done.stderr, done.returncode) == (["one", "over", "over", "still here", ""], "", 0)
