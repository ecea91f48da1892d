import json
from dataclasses import replace
from typing import Any

import anyio
import httpx2
import pytest

from agentkit import Agent, ChatSettings, Limits, ToolContext, tool
from agentkit.chat import ChatClient, NamedTool
from agentkit.chat.events import CallDelta, Emit, Event, ReplyRepaired, TextDelta
from agentkit.chat.messages import AssistantMessage, Message, ToolCall, ToolMessage, UserMessage
from agentkit.chat.reply import Choice, Reply, Usage
from agentkit.chat.request import ChatRequest
from agentkit.errors import (
    AgentKitError,
    ConfigError,
    LimitReached,
    MalformedToolCall,
    Overloaded,
    Refused,
    ToolError,
    ToolFailed,
)
from agentkit.run import Middleware, ModelTurn, NextModel
from agentkit.run.events import CallFinished, CallStarted, RunFinished, RunStarted, TurnFinished, TurnStarted
from agentkit.run.transcript import check
from agentkit.testing import Chunks, FunctionModel, ScriptedModel, call

pytestmark = pytest.mark.anyio


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@tool
async def fail(why: str) -> str:
    """Fail."""
    raise ValueError(why)


@tool
def refuse() -> str:
    """Refuse."""
    raise ToolError("not on a Sunday")


def results(messages: Any) -> list[str]:
    return [each.text for each in messages if isinstance(each, ToolMessage)]


async def test_a_question_without_tools_is_answered() -> None:
    result = await Agent(ScriptedModel(["hello"])).run("hi")
    assert (result.output, result.status) == ("hello", "done")
    assert result.messages == (UserMessage("hi"), AssistantMessage("hello"))


async def test_calls_run_and_their_results_go_back_in_the_models_order() -> None:
    late = anyio.Event()

    @tool
    async def slow() -> str:
        """Wait for the other."""
        await late.wait()
        return "slow"

    @tool
    async def fast() -> str:
        """Let the other go on."""
        late.set()
        return "fast"

    model = ScriptedModel([[call("slow", id="1"), call("fast", id="2")], "done"])
    result = await Agent(model, tools=[slow, fast]).run("go")
    assert results(result.messages) == ["slow", "fast"]
    assert [each.tool_call_id for each in result.messages if isinstance(each, ToolMessage)] == ["1", "2"]
    assert tuple(model.requests[1].messages) == result.messages[:-1]


async def test_a_sequential_tool_runs_alone() -> None:
    running: list[str] = []
    beside: list[tuple[str, ...]] = []

    async def work(name: str) -> str:
        running.append(name)
        await anyio.lowlevel.checkpoint()
        beside.append(tuple(running))
        running.remove(name)
        return name

    alone = tool(work, name="alone", description="Alone.", sequential=True)
    free = tool(work, name="free", description="Free.")
    calls = [call("free", name="a"), call("alone", name="b"), call("free", name="c"), call("free", name="d")]
    result = await Agent(ScriptedModel([calls, "ok"]), tools=[alone, free]).run("go")
    assert results(result.messages) == ["a", "b", "c", "d"]
    together = [set(each) for each in beside]
    assert {"b"} in together
    assert {"c", "d"} in together


async def test_the_instructions_are_sent_first_and_are_not_part_of_the_transcript() -> None:
    model = ScriptedModel([call("add", a=1, b=2), "3"])
    result = await Agent(model, tools=[add], instructions="Be brief.").run("1+2?")
    assert [[each.role for each in request.messages] for request in model.requests] == [
        ["system", "user"],
        ["system", "user", "assistant", "tool"],
    ]
    assert [each.role for each in result.messages] == ["user", "assistant", "tool", "assistant"]


async def test_a_conversation_goes_on_from_its_transcript() -> None:
    model = ScriptedModel(["hello", "still here"])
    agent = Agent(model)
    first = await agent.run("hi")
    second = await agent.run("and now?", history=first.messages)
    assert [each.text for each in second.messages] == ["hi", "hello", "and now?", "still here"]


async def test_a_history_may_be_given_as_it_is_on_the_wire() -> None:
    model = ScriptedModel(["x"])
    await Agent(model).run("b", history=[{"role": "user", "content": "a"}, {"role": "assistant", "content": "A"}])
    assert [each.text for each in model.requests[0].messages] == ["a", "A", "b"]


@pytest.mark.parametrize("prompt", ["", "   ", ()])
async def test_an_empty_question_is_refused(prompt: Any) -> None:
    with pytest.raises(ConfigError, match="the prompt is empty"):
        await Agent(ScriptedModel([])).run(prompt)


async def test_a_history_that_servers_would_refuse_is_put_right_and_told() -> None:
    open_call = AssistantMessage(None, (call("add", id="a"), call("bad name", id="a")))
    history: list[Message] = [ToolMessage("3", "x"), open_call, ToolMessage("4", "a"), AssistantMessage()]
    seen: list[Event] = []
    result = await Agent(ScriptedModel(["ok"])).run("x", history=history, on_event=seen.append)
    assert check(result.messages) == []
    assert [each.role for each in result.messages] == ["assistant", "tool", "tool", "user", "assistant"]
    assert result.messages[1].text == "4"
    assert "interrupted" in result.messages[2].text
    assert len([event for event in seen if isinstance(event, ReplyRepaired)]) == 4


async def test_one_failing_call_leaves_its_siblings_alone_and_is_told_to_the_model() -> None:
    calls = [
        call("fail", why="boom"),
        call("add", a=1, b=2),
        call("refuse"),
        call("ad", a=1, b=2),
        call("add", a="x", b=2),
    ]
    seen: list[Event] = []
    result = await Agent(ScriptedModel([calls, "well"]), tools=[add, fail, refuse]).run("go", on_event=seen.append)
    told = results(result.messages)
    assert told[:3] == ["Error: fail failed with ValueError: boom", "3", "Error: not on a Sunday"]
    assert "there is no tool 'ad'; did you mean add?" in told[3]
    assert told[4].startswith("Error: ")
    assert "a" in told[4]
    errors = [event.error for event in seen if isinstance(event, CallFinished)]
    assert [type(error) for error in errors if error] == [ValueError]


async def test_an_unexpected_failure_ends_the_run_where_that_is_wanted_after_its_siblings() -> None:
    model = ScriptedModel([[call("fail", why="boom"), call("add", a=1, b=2)], "never"])
    with pytest.raises(ToolFailed, match="fail raised ValueError: boom") as caught:
        await Agent(model, tools=[add, fail], on_tool_error="raise").run("go")
    assert isinstance(caught.value.__cause__, ValueError)
    assert results(caught.value.state.messages)[1] == "3"
    assert check(caught.value.state.messages) == []


async def test_of_an_unexpected_failure_the_model_reads_the_type_alone_where_that_is_wanted() -> None:
    agent = Agent(ScriptedModel([call("fail", why="secret"), "sorry"]), tools=[fail], on_tool_error="report_type")
    (told,) = results((await agent.run("go")).messages)
    assert "ValueError" in told
    assert "secret" not in told


async def test_arguments_that_are_not_json_are_told_to_the_model_and_the_transcript_is_valid() -> None:
    broken = Reply(choices=(Choice(message=AssistantMessage(None, (ToolCall("a", "add", '{"a": 1,'),))),))
    model = ScriptedModel([broken, "sorry"])
    result = await Agent(model, tools=[add]).run("go")
    assert results(result.messages)[0].startswith("Error: ")
    assert isinstance(result.messages[1], AssistantMessage)
    assert result.messages[1].tool_calls[0].arguments == "{}"


async def test_ids_that_a_server_uses_again_are_made_unique_over_the_whole_transcript() -> None:
    seen: list[Event] = []
    model = ScriptedModel([call("add", id="call_1", a=1, b=2), call("add", id="call_1", a=3, b=4), "ok"])
    result = await Agent(model, tools=[add]).run("go", on_event=seen.append)
    assert check(result.messages) == []
    assert results(result.messages) == ["3", "7"]
    assert [type(event) for event in seen if isinstance(event, ReplyRepaired)] == [ReplyRepaired]


@pytest.mark.parametrize("reason", ["length", "content_filter"])
async def test_calls_of_a_reply_that_was_cut_never_run(reason: str) -> None:
    ran: list[int] = []

    @tool
    def pay(amount: int) -> str:
        """Pay."""
        ran.append(amount)
        return "paid"

    cut = Reply(choices=(Choice(message=AssistantMessage(None, (call("pay", amount=10),)), finish_reason=reason),))
    result = await Agent(ScriptedModel([cut, "not paid"]), tools=[pay]).run("go")
    assert ran == []
    assert "was truncated" in results(result.messages)[0]
    assert result.output == "not paid"


async def test_an_answer_that_was_cut_is_not_passed_off_as_whole() -> None:
    cut = Reply(choices=(Choice(message=AssistantMessage("The answer is"), finish_reason="length"),))
    result = await Agent(ScriptedModel([cut])).run("go")
    assert (result.status, result.output) == ("limited", "The answer is")
    assert "token limit" in result.limit


async def test_a_refusal_is_an_error_with_the_models_words() -> None:
    with pytest.raises(Refused, match="I cannot help"):
        await Agent(ScriptedModel([AssistantMessage(None, refusal="I cannot help with that")])).run("go")


async def test_the_turn_limit_ends_with_an_answer() -> None:
    model = FunctionModel(
        lambda request: "so far 3" if request.settings.tool_choice == "none" else call("add", a=1, b=2)
    )
    result = await Agent(model, tools=[add], limits=Limits(turns=3)).run("go")
    assert (result.status, result.output, result.limit) == ("limited", "so far 3", "the limit of 3 turns")
    assert len(model.requests) == 4
    assert "the limit of 3 turns" in model.requests[-1].messages[-1].text
    assert check(result.messages) == []


async def test_a_model_that_calls_on_after_the_limit_is_stopped_all_the_same() -> None:
    result = await Agent(FunctionModel(lambda _: call("add", a=1, b=2)), tools=[add], limits=Limits(turns=2)).run("go")
    assert result.status == "limited"
    assert results(result.messages) == ["3", "3", "Error: not run: the limit of 2 turns was reached"]
    assert check(result.messages) == []


async def test_calls_over_their_limit_do_not_run() -> None:
    model = ScriptedModel([[call("add", a=1, b=2), call("add", a=3, b=4)], "only one"])
    result = await Agent(model, tools=[add]).run("go", limits=Limits(calls=1))
    assert results(result.messages) == ["3", "Error: not run: the limit of 1 tool call was reached"]
    assert (result.status, result.output) == ("limited", "only one")


async def test_a_limit_may_stop_or_raise() -> None:
    agent = Agent(FunctionModel(lambda _: call("add", a=1, b=2)), tools=[add])
    stopped = await agent.run("go", limits=Limits(turns=1, on_limit="stop"))
    assert (stopped.status, stopped.output_or_none) == ("limited", None)
    with pytest.raises(LimitReached, match="the limit of 1 turn") as caught:
        await agent.run("go", limits=Limits(turns=1, on_limit="raise"))
    assert check(caught.value.state.messages) == []


async def test_a_forced_choice_holds_for_the_first_turn() -> None:
    for forced in ("required", NamedTool("add")):
        model = ScriptedModel([call("add", a=1, b=2), "3"])
        settings = ChatSettings(tool_choice=forced, parallel_tool_calls=False)
        await Agent(model, tools=[add], settings=settings).run("go")
        assert [request.settings.tool_choice for request in model.requests] == [forced, "auto"]
        assert [request.settings.parallel_tool_calls for request in model.requests] == [False, False]


async def test_an_error_of_the_model_carries_all_that_was_done() -> None:
    model = ScriptedModel([call("add", a=1, b=2), Overloaded("busy", status=503)])
    with pytest.raises(Overloaded) as caught:
        await Agent(model, tools=[add]).run("go")
    state = caught.value.state
    assert state.status == "failed"
    assert results(state.messages) == ["3"]


async def test_a_cancelled_run_leaves_a_valid_transcript() -> None:
    started = anyio.Event()

    @tool
    async def hang() -> str:
        """Never end."""
        started.set()
        await anyio.sleep_forever()
        return "never"

    seen: list[Event] = []
    model = ScriptedModel([[call("add", a=1, b=2), call("hang")]])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: Agent(model, tools=[add, hang]).run("go", on_event=seen.append))
        await started.wait()
        while not any(isinstance(event, CallFinished) for event in seen):
            await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    ended = seen[-1]
    assert isinstance(ended, RunFinished)
    assert ended.state.status == "cancelled"
    assert results(ended.state.messages)[0] == "3"
    assert "interrupted" in results(ended.state.messages)[1]
    assert check(ended.state.messages) == []


async def test_a_tool_knows_its_run() -> None:
    known: list[ToolContext[str]] = []

    @tool
    def look(context: ToolContext[str], what: str) -> str:
        """Look."""
        known.append(context)
        context.progress(0.5, "half")
        return context.deps + what

    seen: list[Event] = []
    result = await Agent(ScriptedModel([call("look", id="a", what="!"), "ok"]), tools=[look], deps_type=str).run(
        "go", deps="db", on_event=seen.append
    )
    assert results(result.messages) == ["db!"]
    assert (known[0].call_id, known[0].turn, known[0].tool, known[0].run_id) == ("a", 1, "look", result.state.run_id)
    assert [event.message for event in seen if hasattr(event, "message")] == ["half"]


async def test_events_tell_the_whole_run_in_order() -> None:
    seen: list[Event] = []
    model = ScriptedModel([call("add", a=1, b=2), Chunks("th", "ree")])
    await Agent(model, tools=[add]).run("go", on_event=seen.append)
    told = [type(event) for event in seen if type(event).__name__ != "CallDelta"]
    assert told == [
        RunStarted, TurnStarted, TurnFinished, CallStarted, CallFinished,
        TurnStarted, TextDelta, TextDelta, TurnFinished, RunFinished,
    ]  # fmt: skip


async def test_usage_is_added_up() -> None:
    wants = AssistantMessage(None, (ToolCall("a", "add", '{"a": 1, "b": 2}'),))
    replies = [
        Reply(choices=(Choice(message=each),), usage=Usage(requests=1, total_tokens=tokens))
        for each, tokens in ((wants, 7), (AssistantMessage("x"), 9))
    ]
    result = await Agent(ScriptedModel(replies), tools=[add]).run("go")
    assert result.usage == Usage(requests=2, total_tokens=16)


async def test_usage_that_no_server_reports_is_estimated_and_marked() -> None:
    result = await Agent(ScriptedModel(["x" * 400])).run("y" * 800)
    assert result.usage.prompt_tokens == pytest.approx(200, abs=10)
    assert result.usage.completion_tokens == pytest.approx(100, abs=10)
    assert result.usage.estimated_tokens == result.usage.total_tokens > 0


async def test_a_huge_result_is_cut_and_says_so() -> None:
    @tool
    def flood() -> str:
        """Say much."""
        return "x" * 1_000_000

    result = await Agent(ScriptedModel([call("flood"), "ok"]), tools=[flood]).run("go")
    told = results(result.messages)[0]
    assert len(told) < 70_000
    assert "[truncated: the first 65,536 of 1,000,000 characters" in told


async def test_what_raises_out_of_a_run_is_never_wrapped_into_a_group() -> None:
    def broken(event: Event) -> None:
        if isinstance(event, CallFinished):
            raise KeyError("observer")

    with pytest.raises(KeyError):
        await Agent(ScriptedModel([[call("add", a=1, b=2), call("add", a=1, b=2)]]), tools=[add]).run(
            "go", on_event=broken
        )


async def test_one_error_in_a_task_group_of_the_model_reaches_the_caller_by_itself() -> None:
    class Grouped:
        async def reply(self, request: ChatRequest, emit: Emit) -> Reply:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self.fail)
            raise AssertionError

        async def fail(self) -> None:
            raise Overloaded("busy", status=503)

    with pytest.raises(Overloaded, match="busy") as caught:
        await Agent(Grouped()).run("go")
    assert caught.value.state.status == "failed"


@pytest.mark.parametrize("event", [RunStarted, TurnStarted, TurnFinished, CallStarted, CallFinished])
async def test_the_transcript_is_valid_wherever_an_observer_raises(event: type[Event]) -> None:
    seen: list[Event] = []

    def broken(told: Event) -> None:
        seen.append(told)
        if isinstance(told, event):
            raise KeyError("observer")

    model = ScriptedModel([[call("add", a=1, b=2), call("add", a=3, b=4)], "ok"])
    with pytest.raises(KeyError):
        await Agent(model, tools=[add]).run("go", on_event=broken)
    started = seen[0]
    assert isinstance(started, RunStarted)
    assert check(started.state.messages) == []


@pytest.mark.parametrize("empty", [None, "", " \n"])
async def test_an_empty_answer_is_requested_again_once(empty: str | None) -> None:
    seen: list[Event] = []
    model = ScriptedModel([AssistantMessage(empty), "better"])
    result = await Agent(model).run("go", on_event=seen.append)
    assert (result.output, result.state.turns) == ("better", 2)
    assert [each.what for each in seen if isinstance(each, ReplyRepaired)] == [
        "the model answered with nothing; it is asked again"
    ]
    assert [each.text for each in model.requests[1].messages] == ["go"]


async def test_a_second_empty_answer_is_accepted_and_can_be_resumed_from() -> None:
    seen: list[Event] = []
    agent = Agent(ScriptedModel([AssistantMessage(), AssistantMessage(), "better"]))
    first = await agent.run("go", on_event=seen.append)
    assert (first.output, first.status) == ("", "done")
    assert ReplyRepaired("the model answered with nothing") in seen
    second = await agent.run("again", history=first)
    assert second.output == "better"


async def test_a_run_can_be_given_its_name() -> None:
    assert (await Agent(ScriptedModel(["x"])).run("go", run_id="mine")).state.run_id == "mine"
    assert (await Agent(ScriptedModel(["x"])).run("go")).state.run_id


async def test_an_observer_that_fails_at_the_end_does_not_hide_why_the_run_failed() -> None:
    def broken(event: Event) -> None:
        if isinstance(event, RunFinished):
            raise ValueError("observer")

    with pytest.raises(Overloaded):
        await Agent(ScriptedModel([Overloaded("busy", status=503)])).run("go", on_event=broken)


def test_errors_of_runs_are_errors_of_agentkit() -> None:
    assert issubclass(ToolFailed, AgentKitError)


def unparsed(generation: str, partial: str = "") -> MalformedToolCall:
    error = MalformedToolCall("the server could not parse a tool call: unexpected end of JSON")
    error.generation, error.partial = generation, partial
    return error


async def test_a_call_that_the_server_could_not_parse_goes_back_to_the_model_with_what_was_wrong() -> None:
    written = '{"a": 1, "b"'
    model = ScriptedModel([unparsed(written), call("add", a=1, b=2), "3"])
    result = await Agent(model, tools=[add]).run("1 + 2?")
    _, said, note, *_ = result.messages
    assert result.output == "3"
    assert (said.text, isinstance(note, UserMessage)) == (written, True)
    assert "not run: the server could not parse a tool call: unexpected end of JSON. Call it again" in note.text
    assert check(result.messages) == []


async def test_a_model_that_never_writes_a_call_that_the_server_can_parse_reaches_the_limit_of_failed_turns() -> None:
    model = ScriptedModel([unparsed("{"), unparsed("{", "Let me add."), "I cannot."])
    result = await Agent(model, tools=[add], limits=Limits(failed_turns=2)).run("go")
    assert (result.status, result.output) == ("limited", "I cannot.")
    assert [each.text for each in result.messages if isinstance(each, AssistantMessage)][1] == "Let me add.\n{"


class OnlyTheQuestion(Middleware):
    """Sends nothing but the question, as a compaction may."""

    async def around_model(self, turn: ModelTurn, inner: NextModel) -> Reply:
        return await inner(replace(turn, request=replace(turn.request, messages=turn.request.messages[:1])))


async def test_ids_that_a_server_counts_anew_in_each_turn_are_replaced_before_their_deltas_leave() -> None:
    function = {"name": "add", "arguments": '{"a": 1, "b": 2}'}
    calling = {"tool_calls": [{"index": 0, "id": "call_0", "function": function}]}
    deltas: list[dict[str, Any]] = [calling, calling, {"content": "3"}]

    def play(request: httpx2.Request) -> httpx2.Response:
        chunk = {"choices": [{"index": 0, "delta": deltas.pop(0), "finish_reason": "stop"}]}
        body = f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n"
        return httpx2.Response(200, text=body, headers={"content-type": "text/event-stream"})

    http = httpx2.AsyncClient(transport=httpx2.MockTransport(play))
    client = ChatClient("https://llm.example.com/v1", model="m", http=http)
    async with Agent(client, tools=[add], middleware=[OnlyTheQuestion()]).stream("1 + 2?") as events:
        shown = [event.call_id async for event in events if isinstance(event, CallDelta)]
        result = await events.result()
    made = [
        each.id for message in result.messages if isinstance(message, AssistantMessage) for each in message.tool_calls
    ]
    assert shown == made
    assert len(set(made)) == 2
