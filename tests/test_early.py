from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import anyio
import pytest

from agentkit import Agent, CallStarted, Limits, Reply, Tool, ToolContext, tool
from agentkit.chat import ChatRequest
from agentkit.chat.events import CallDelta, Emit, Retrying, ignore_event
from agentkit.chat.messages import AssistantMessage, ToolCall, ToolMessage
from agentkit.chat.reply import Choice
from agentkit.errors import Overloaded, ToolFailed
from agentkit.middleware import Eager
from agentkit.run.transcript import check

pytestmark = pytest.mark.anyio


class Streaming:
    """Shows its calls piece by piece and finishes only when it is let."""

    def __init__(self, *pieces: CallDelta | Retrying | str, finish: str = "tool_calls", real: str = "") -> None:
        self.pieces, self.finish, self.real = pieces, finish, real
        self.asked = 0
        self.error: Exception | None = None
        self.before_the_end: Callable[[], Any] = anyio.lowlevel.checkpoint

    async def reply(self, request: ChatRequest, emit: Emit) -> Reply:
        self.asked += 1
        if self.asked > 1:
            return Reply(choices=(Choice(message=AssistantMessage("done"), finish_reason="stop"),))
        written: dict[int, str] = {}
        for piece in self.pieces:
            if isinstance(piece, CallDelta):
                written[piece.index] = written.get(piece.index, "") + piece.arguments
            if not isinstance(piece, str):
                emit(piece)
        await self.before_the_end()
        if self.error:
            raise self.error
        calls = tuple(ToolCall(f"c{index}", "look", self.real or text) for index, text in written.items())
        return Reply(choices=(Choice(message=AssistantMessage(None, calls), finish_reason=self.finish),))


def piece(arguments: str, index: int = 0) -> CallDelta:
    return CallDelta(index, f"c{index}", "look", arguments)


class Looking:
    """A tool that notes its calls; `started` and `release` let tests see and hold them."""

    def __init__(self, **options: Any) -> None:
        self.seen: list[str] = []
        self.cancelled: list[str] = []
        self.started, self.release = anyio.Event(), anyio.Event()
        self.release.set()

        async def look(context: ToolContext[Any], at: str) -> str:
            """Look at something."""
            self.seen.append(at)
            self.started.set()
            try:
                await self.release.wait()
            except BaseException:
                self.cancelled.append(at)
                raise
            return f"saw {at} in turn {context.turn}"

        self.tool = tool(look, **{"read_only": True, **options})


def results(messages: Any) -> list[str]:
    return [each.text for each in messages if isinstance(each, ToolMessage)]


async def test_a_call_starts_when_its_arguments_are_complete_and_runs_once() -> None:
    model, looking = Streaming(piece('{"at": '), piece('"sky"'), piece("}"), piece(" ")), Looking()
    model.before_the_end = looking.started.wait
    result = await Agent(model, tools=[looking.tool], middleware=[Eager()]).run("go")
    assert looking.seen == ["sky"]
    assert results(result.messages) == ["saw sky in turn 1"]
    assert check(result.messages) == []


async def test_without_being_asked_for_nothing_starts_early() -> None:
    for options, eager in (({}, False), ({"read_only": False}, True), ({"sequential": True}, True)):
        model, looking = Streaming(piece('{"at": "sky"}')), Looking(**options)
        early: list[bool] = []

        async def note(looking: Looking = looking, early: list[bool] = early) -> None:
            await anyio.wait_all_tasks_blocked()
            early.append(bool(looking.seen))

        model.before_the_end = note
        result = await Agent(model, tools=[looking.tool], middleware=[Eager()] * eager).run("go")
        assert (early, looking.seen, results(result.messages)) == ([False], ["sky"], ["saw sky in turn 1"])


async def test_several_calls_start_as_they_come_also_the_same_twice() -> None:
    model, looking = Streaming(*(piece('{"at": "sky"}', index) for index in range(3))), Looking()
    model.before_the_end = looking.started.wait
    result = await Agent(model, tools=[looking.tool], middleware=[Eager()]).run("go")
    assert looking.seen == ["sky"] * 3
    assert len(results(result.messages)) == 3


async def test_a_call_that_still_runs_when_the_reply_is_done_is_waited_for() -> None:
    model, looking = Streaming(piece('{"at": "sky"}')), Looking()
    looking.release = anyio.Event()
    model.before_the_end = looking.started.wait

    def emit(event: object) -> None:
        if isinstance(event, CallStarted):
            looking.release.set()

    result = await Agent(model, tools=[looking.tool], middleware=[Eager()]).run("go", on_event=emit)
    assert (looking.seen, results(result.messages)) == (["sky"], ["saw sky in turn 1"])


@pytest.mark.parametrize("finish", ["length", "content_filter"])
async def test_the_result_of_a_reply_that_was_cut_is_not_used(finish: str) -> None:
    model, looking = Streaming(piece('{"at": "sky"}'), finish=finish), Looking()
    looking.release = anyio.Event()
    model.before_the_end = looking.started.wait
    result = await Agent(model, tools=[looking.tool], middleware=[Eager()]).run("go")
    assert results(result.messages)[0].startswith("Error: not run: the reply was truncated")
    assert looking.cancelled == ["sky"]


async def test_a_reply_that_says_something_else_in_the_end_gets_its_own_call() -> None:
    model, looking = Streaming(piece('{"at": "sky"}'), real='{"at": "sea"}'), Looking()
    model.before_the_end = looking.started.wait
    result = await Agent(model, tools=[looking.tool], middleware=[Eager()]).run("go")
    assert looking.seen == ["sky", "sea"]
    assert results(result.messages) == ["saw sea in turn 1"]


async def test_a_reply_that_is_asked_for_again_starts_anew() -> None:
    model, looking = Streaming(piece('{"at": "s'), Retrying(1, 0, "reset"), piece('{"at": "sea"}')), Looking()
    model.real = '{"at": "sea"}'
    model.before_the_end = looking.started.wait
    result = await Agent(model, tools=[looking.tool], middleware=[Eager()]).run("go")
    assert (looking.seen, results(result.messages)) == (["sea"], ["saw sea in turn 1"])


async def test_an_error_of_the_model_is_not_wrapped_and_cancels_what_started() -> None:
    model, looking = Streaming(piece('{"at": "sky"}')), Looking()
    looking.release = anyio.Event()
    model.error = Overloaded("busy", status=503)
    model.before_the_end = looking.started.wait
    with pytest.raises(Overloaded):
        await Agent(model, tools=[looking.tool], middleware=[Eager()]).run("go")
    assert looking.cancelled == ["sky"]


async def test_no_more_calls_start_early_than_the_run_may_make() -> None:
    model, looking = Streaming(piece('{"at": "a"}', 0), piece('{"at": "b"}', 1)), Looking()
    model.before_the_end = looking.started.wait
    result = await Agent(model, tools=[looking.tool], middleware=[Eager()]).run("go", limits=Limits(calls=1))
    assert looking.seen == ["a"]
    assert results(result.messages)[1].startswith("Error: not run")


async def test_a_failure_of_an_early_call_is_one_of_its_call() -> None:
    @tool(read_only=True)
    async def look(at: str) -> str:
        raise ValueError(at)

    with pytest.raises(ToolFailed, match="ValueError: sky"):
        await Agent(Streaming(piece('{"at": "sky"}')), tools=[look], middleware=[Eager()], on_tool_error="raise").run(
            "go"
        )


async def test_a_cancelled_run_ends_its_early_calls() -> None:
    model, looking = Streaming(piece('{"at": "sky"}')), Looking()
    looking.release = anyio.Event()
    model.before_the_end = anyio.sleep_forever
    async with anyio.create_task_group() as group:
        group.start_soon(
            lambda: Agent(model, tools=[looking.tool], middleware=[Eager()]).run("go", on_event=ignore_event)
        )
        await looking.started.wait()
        group.cancel_scope.cancel()
    assert looking.cancelled == ["sky"]


class Twice:
    """Asks for a call that must run alone and one that only reads, in one reply; then once more to read; then ends."""

    def __init__(self) -> None:
        self.replies = [[("write", "{}"), ("read", "{}")], [("read", '{"again": true}')], []]

    async def reply(self, request: ChatRequest, emit: Emit) -> Reply:
        calls = self.replies.pop(0)
        for index, (name, arguments) in enumerate(calls):
            emit(CallDelta(index, f"c{index}", name, arguments))
        await anyio.lowlevel.checkpoint()
        made = tuple(ToolCall(f"c{len(self.replies)}{index}", *each) for index, each in enumerate(calls))
        return Reply(choices=(Choice(message=AssistantMessage(None if made else "ok", made), finish_reason="stop"),))


async def test_nothing_starts_early_behind_a_call_that_must_run_alone_and_ids_are_never_used_twice() -> None:
    order: list[str] = []
    keys: list[str] = []

    @tool(sequential=True)
    async def write() -> None:
        order.append("write")

    @tool(read_only=True)
    async def read(context: ToolContext[Any], again: bool = False) -> None:
        order.append("read")
        keys.append(context.idempotency_key)

    await Agent(Twice(), tools=[write, read], middleware=[Eager()]).run("go")
    assert order == ["write", "read", "read"]
    assert len(set(keys)) == 2


async def test_the_text_of_a_custom_tool_is_taken_as_it_is_also_when_it_looks_like_arguments() -> None:
    seen: list[str] = []

    def look(context: ToolContext[Any], text: str) -> str:
        seen.append(text)
        return f"saw {text}"

    class Custom(Streaming):
        async def reply(self, request: ChatRequest, emit: Emit) -> Reply:
            reply = await super().reply(request, emit)
            calls = tuple(ToolCall.custom(each.id, each.name, each.arguments) for each in reply.message.tool_calls)
            message = replace(reply.message, tool_calls=calls)
            return replace(reply, choices=(replace(reply.choices[0], message=message),))

    model = Custom(piece('{"at": "sky"}'), piece("half a {", 1))
    tools = [Tool.custom("look", "Look.", look, read_only=True)]
    result = await Agent(model, tools=tools, middleware=[Eager()]).run("go")
    assert sorted(seen) == ["half a {", '{"at": "sky"}']
    assert results(result.messages) == ['saw {"at": "sky"}', "saw half a {"]
