from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

import anyio
import pytest

from agentkit import Agent, Limits, Message, ToolContext, ToolResult, tool
from agentkit.chat.content import ImagePart, TextPart
from agentkit.chat.events import Event
from agentkit.chat.messages import AssistantMessage, ToolCall, ToolMessage, UserMessage
from agentkit.chat.reply import Choice, Reply
from agentkit.errors import ModelRetry, ToolError, TooManyMistakes
from agentkit.run.events import CallFinished, CallRepaired
from agentkit.run.transcript import check
from agentkit.testing import Answer, FunctionModel, ScriptedModel, call
from agentkit.tools.context import Remaining

pytestmark = pytest.mark.anyio


@tool
async def add(a: int, b: int = 0) -> int:
    """Add two numbers."""
    return a + b


@tool
async def guess(n: int) -> str:
    """Guess the number."""
    if n < 7:
        raise ModelRetry(f"{n} is too small")
    return "right"


def results(messages: Sequence[Message]) -> list[str]:
    return [each.text for each in messages if isinstance(each, ToolMessage)]


def written(name: str, arguments: str, call_id: str = "c1") -> Reply:
    message = AssistantMessage(None, (ToolCall(call_id, name, arguments),))
    return Reply(choices=(Choice(message=message, finish_reason="tool_calls"),))


def calls_in(messages: Sequence[Message]) -> list[tuple[str, str]]:
    return [
        (each.name, each.arguments)
        for message in messages
        if isinstance(message, AssistantMessage)
        for each in message.tool_calls
    ]


# What the model got wrong is put right.


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("add", "{'a': 1, 'b': 2}", ["the arguments of add were with single quotes"]),
        ("add", '```json\n{"a": 1, "b": 2,}\n```', None),
        ("add", '{"arguments": {"a": 1, "b": 2}}', ["the arguments of add were wrapped in 'arguments'"]),
        ("functions.add", '{"a": 1, "b": 2}', ["the name 'functions.add' became add"]),
        ("Add", '{"a": 1, "b": 2} {"a": 1, "b": 2}', None),
        ("add", '{"a": 1, "b": "2"}', []),
    ],
)
async def test_a_call_that_can_mean_one_thing_only_runs_and_the_transcript_shows_how_it_is_written(
    name: str, arguments: str, told: list[str] | None
) -> None:
    seen: list[Event] = []
    model = ScriptedModel([written(name, arguments), "3"])
    result = await Agent(model, tools=[add]).run("1+2?", on_event=seen.append)
    assert results(result.messages) == ["3"]
    repairs = [each.what for each in seen if isinstance(each, CallRepaired)]
    assert repairs if told is None else repairs == told
    ((shown, sent),) = calls_in(model.requests[1].messages)
    assert (shown, json.loads(sent)) == ("add", {"a": 1, "b": "2" if told == [] else 2})
    assert check(result.messages) == []


async def test_repairing_can_be_switched_off() -> None:
    seen: list[Event] = []
    model = ScriptedModel([written("add", "{'a': 1}"), written("Add", '{"a": 1}', "c2"), "well"])
    result = await Agent(model, tools=[add], repair=False).run("go", on_event=seen.append)
    not_json, unknown = results(result.messages)
    assert not_json.startswith("Error: the arguments are not valid JSON")
    assert unknown == "Error: there is no tool 'Add'; did you mean add?"
    assert not [each for each in seen if isinstance(each, CallRepaired)]


@pytest.mark.parametrize("repair", [True, False])
async def test_a_name_that_servers_refuse_to_take_back_is_made_valid(repair: bool) -> None:
    model = ScriptedModel([written("rm -rf ☠" + "x" * 100, "{}"), "well"])
    result = await Agent(model, tools=[add], repair=repair).run("go")
    assert calls_in(result.messages)[0][0] == "rm_-rf__" + "x" * 56
    assert "there is no tool 'rm_-rf__xx" in results(result.messages)[0]


async def test_the_same_call_twice_in_one_reply_stays_two_calls() -> None:
    ran: list[int] = []

    @tool
    async def note(n: int) -> str:
        ran.append(n)
        return "noted"

    await Agent(ScriptedModel([[call("note", n=1), call("note", n=1)], "ok"]), tools=[note]).run("go")
    assert ran == [1, 1]


# A budget for mistakes.


async def test_too_many_mistakes_in_a_row_end_the_run_with_all_it_had() -> None:
    agent = Agent(FunctionModel(lambda _: [call("guess", n=1), call("add", a=1)]), tools=[guess, add])
    with pytest.raises(TooManyMistakes, match="tool guess was called wrongly in 4 turns in a row") as caught:
        await agent.run("go")
    assert (caught.value.tool, caught.value.state.status, caught.value.state.turns) == ("guess", "failed", 4)
    assert results(caught.value.state.messages) == ["Error: 1 is too small", "1"] * 4
    assert check(caught.value.state.messages) == []


async def test_wrong_arguments_are_mistakes_and_each_tool_has_its_own_budget() -> None:
    model = ScriptedModel([call("add", x=1), call("guess", n=1), call("add", a="x")])
    with pytest.raises(TooManyMistakes, match="tool add was called wrongly in 2 turns"):
        await Agent(model, tools=[tool(add, retries=1), guess]).run("go")


async def test_a_call_that_works_gives_the_budget_back() -> None:
    script: list[Answer] = [call("guess", n=1), call("guess", n=7)] * 3
    strict = Agent(ScriptedModel([*script, "done"]), tools=[tool(guess, retries=1)])
    result = await strict.run("go")
    assert (result.output, result.state.mistakes) == ("done", {})


async def test_several_mistakes_in_one_reply_are_one_turn_and_one_that_works_is_enough() -> None:
    script: list[Answer] = [[call("guess", n=n) for n in (1, 2, 3)], [call("guess", n=1), call("guess", n=8)], "done"]
    assert (await Agent(ScriptedModel(script), tools=[tool(guess, retries=1)]).run("go")).output == "done"


async def test_names_that_no_tool_has_share_one_budget_and_a_call_of_a_tool_gives_it_back() -> None:
    script: list[Answer] = [call(f"far_from_it_{n}") for n in range(3)]
    model = ScriptedModel([*script, call("add", a=1), *script, call("elsewhere")])
    with pytest.raises(TooManyMistakes, match="tools that do not exist were called in 4 turns in a row") as caught:
        await Agent(model, tools=[add]).run("go")
    assert (caught.value.tool, model.left) == ("", 0)


async def test_neither_a_tool_error_nor_an_exception_is_such_a_mistake() -> None:
    @tool
    async def closed() -> None:
        raise ToolError("closed on Sundays")

    @tool
    async def broken() -> None:
        raise OSError("no database")

    script: list[Answer] = [[call("closed"), call("broken")]] * 6
    agent = Agent(ScriptedModel([*script, "I give up"]), tools=[closed, broken], limits=Limits(repeated_turns=None))
    result = await agent.run("go")
    assert (result.output, result.status) == ("I give up", "done")


# What the model reads.


async def test_an_error_says_so_in_its_text_and_nothing_is_told_in_words() -> None:
    @tool
    async def fail() -> ToolResult:
        return ToolResult("no such file", is_error=True)

    @tool
    async def silent() -> str:
        return ""

    result = await Agent(ScriptedModel([[call("fail"), call("silent")], "ok"]), tools=[fail, silent]).run("go")
    assert results(result.messages) == ["Error: no such file", "(empty)"]


async def test_only_content_goes_to_the_model_and_the_rest_to_the_program() -> None:
    @tool
    async def menu() -> ToolResult:
        return ToolResult("soup", data={"soup": 4.5}, metadata={"source": "web"})

    seen: list[Event] = []
    result = await Agent(ScriptedModel([call("menu"), "ok"]), tools=[menu]).run("go", on_event=seen.append)
    assert results(result.messages) == ["soup"]
    (finished,) = (each for each in seen if isinstance(each, CallFinished))
    assert (finished.result.data, finished.result.metadata) == ({"soup": 4.5}, {"source": "web"})


async def test_files_follow_all_results_of_the_batch_in_a_message_of_the_user() -> None:
    @tool
    async def draw(what: str) -> ToolResult:
        return ToolResult(f"drew {what}", files=[ImagePart(f"https://x/{what}.png")])

    script: list[Answer] = [
        [call("draw", id="1", what="a"), call("add", id="2", a=1), call("draw", id="3", what="b")],
        "nice",
    ]
    result = await Agent(ScriptedModel(script), tools=[draw, add]).run("go")
    assert [each.role for each in result.messages] == [
        "user", "assistant", "tool", "tool", "tool", "user", "assistant",
    ]  # fmt: skip
    assert result.messages[5] == UserMessage((
        TextPart("Attached to the result of draw (1):"), ImagePart("https://x/a.png"),
        TextPart("Attached to the result of draw (3):"), ImagePart("https://x/b.png"),
    ))  # fmt: skip
    assert check(result.messages) == []


async def test_a_file_that_is_too_large_is_not_sent() -> None:
    @tool
    async def draw() -> ImagePart:
        return ImagePart("data:image/png;base64," + "A" * 17_000_000)

    result = await Agent(ScriptedModel([call("draw"), "ok"]), tools=[draw]).run("go")
    assert "[a file of 17,000,022 bytes, too large to be shown]" in result.messages[3].text


async def test_the_rest_of_a_result_that_was_cut_can_be_read() -> None:
    whole = "".join(f"{n:07} " for n in range(10_000))

    @tool
    async def flood() -> str:
        return whole

    script: list[Answer] = [
        call("flood", id="f1"),
        call("read_result", call_id="f1", start=65536),
        [call("read_result", call_id="f2", start=0), call("read_result", call_id="f1", start=80_000)],
        "read",
    ]
    model = ScriptedModel(script)
    result = await Agent(model, tools=[flood, add]).run("go")
    cut, more, *wrong = results(result.messages)
    note = "[truncated: the first 65,536 of 80,000 characters; read_result(call_id='f1', start=65536) reads on]"
    assert cut == f"{whole[:65536]}\n{note}"
    assert more == f"{whole[65536:]}\n[this is the end]"
    assert wrong == [
        "Error: no result 'f2' was truncated; there are: f1",
        "Error: the result has the characters 0 to 79999",
    ]
    assert result.state.artifacts == {"f1": whole}
    offered = [[each.name for each in request.tools] for request in model.requests]
    assert offered == [["flood", "add"]] + [["flood", "add", "read_result"]] * 3


async def test_the_rest_of_a_result_of_an_earlier_run_can_be_read_too() -> None:
    @tool
    async def flood() -> str:
        return "x" * 65_536 + "the rest"

    earlier = await Agent(ScriptedModel([call("flood", id="f1"), "read"]), tools=[flood]).run("go")
    model = ScriptedModel([call("read_result", call_id="f1", start=65536), "read"])
    result = await Agent(model, tools=[flood]).run("go on", history=earlier)
    assert results(result.messages)[1] == "the rest\n[this is the end]"


async def test_reading_on_goes_in_steps() -> None:
    @tool
    async def flood() -> str:
        return "x" * 200_000

    script: list[Answer] = [
        call("flood", id="f1"),
        call("read_result", call_id="f1", start=65536, length=100_000),
        "read",
    ]
    result = await Agent(ScriptedModel(script), tools=[flood]).run("go")
    assert results(result.messages)[1].endswith("x\n[101,696 more follow, read on with start=98304]")


# What a tool knows.


async def test_a_tool_knows_the_transcript_and_what_is_left_of_the_limits() -> None:
    known: list[tuple[int, Remaining]] = []

    @tool
    async def look(context: ToolContext[Any]) -> None:
        assert isinstance(context.messages[-1], AssistantMessage)
        known.append((len(context.messages), context.remaining))

    agent = Agent(ScriptedModel([call("look"), [call("look"), call("look")], "ok"]), tools=[look])
    await agent.run("go", limits=Limits(turns=5, calls=7, tokens=None, seconds=None))
    assert known == [
        (2, Remaining(turns=4, calls=6)),
        (4, Remaining(turns=3, calls=4)),
        (4, Remaining(turns=3, calls=4)),
    ]
    known.clear()
    await Agent(ScriptedModel([call("look"), "ok"]), tools=[look]).run("go")
    assert [(left.turns, left.calls) for _, left in known] == [(49, 499)]


async def test_a_call_that_times_out_leaves_its_siblings_alone() -> None:
    @tool(timeout=0.01)
    async def hang() -> None:
        await anyio.sleep_forever()

    result = await Agent(ScriptedModel([[call("hang"), call("add", a=1)], "ok"]), tools=[hang, add]).run("go")
    assert results(result.messages) == [
        "Error: timed out after 0.01 seconds; it is not known whether it had any effect",
        "1",
    ]


@pytest.mark.parametrize("tools", [[add], []])
async def test_a_call_of_a_custom_tool_is_kept_and_answered_with_an_error(tools: list[Any]) -> None:
    custom = ToolCall.custom("c1", "add", "any text")
    result = await Agent(ScriptedModel([[custom], "ok"]), tools=tools).run("go")
    assert result.messages[1] == AssistantMessage(None, (custom,))
    assert results(result.messages)[0].startswith("Error: ")
    assert check(result.messages) == []


@pytest.mark.parametrize("beside", [0, 1])
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_tool_that_lets_the_cancellation_of_another_task_out_has_failed_and_nothing_else(
    beside: int, anyio_backend: str
) -> None:
    @tool
    async def leak() -> None:
        loop = sys.modules["asyncio"].get_running_loop()
        other = loop.create_task(anyio.sleep_forever())
        other.cancel()
        await other

    @tool
    async def fine() -> str:
        return "fine"

    calls = [call("leak"), *[call("fine")] * beside]
    result = await Agent(ScriptedModel([calls, "ok"]), tools=[leak, fine]).run("go")
    assert result.status == "done"
    told = [each.text for each in result.messages if isinstance(each, ToolMessage)]
    assert told == ["Error: leak failed with RuntimeError: the tool raised CancelledError", *["fine"] * beside]
