from collections.abc import Sequence
from typing import Any, Literal

import pytest

from agentkit import Agent, AssistantMessage, ChatClient, Event, Model, ModelError, Reply, RunState, TextDelta
from agentkit.chat import ChatRequest
from agentkit.errors import BadRequest, ConfigError, ConnectionFailed, IncompleteReply, MissingKey, NotFound, Overloaded
from agentkit.events import CallDelta, DeltasDiscarded, Emit, ReasoningDelta, RequestAdapted, Retrying
from agentkit.messages import UserMessage
from agentkit.middleware import Fallback, ModelFallback
from agentkit.testing import Answer, Chunks, ScriptedModel, Server, call, raw
from agentkit.testing.models import as_reply

pytestmark = pytest.mark.anyio

BUSY = Overloaded("busy", status=503)
BROKEN = IncompleteReply("it broke off")


class Breaking:
    """A model that emits these events and then raises, or answers."""

    def __init__(self, name: str, events: Sequence[Event], end: Exception | Answer) -> None:
        self.name, self.events, self.end = name, events, end
        self.requests: list[ChatRequest] = []
        self.closed = 0

    def __repr__(self) -> str:
        return self.name

    async def reply(self, request: ChatRequest, emit: Emit) -> Reply:
        self.requests.append(request)
        for event in self.events:
            emit(event)
        if isinstance(self.end, Exception):
            raise self.end
        return as_reply(self.end, 1)

    async def aclose(self) -> None:
        self.closed += 1


async def watched(
    model: Model, *others: Model, after_shown: Literal["raise", "discard", "continue"] = "raise"
) -> tuple[str, list[Event]]:
    """The answer of a streamed run and the events of its requests."""
    agent = Agent(model, middleware=[Fallback(*others, after_shown=after_shown)])
    kinds = (TextDelta, ReasoningDelta, CallDelta, DeltasDiscarded, ModelFallback)
    async with agent.stream("go") as events:
        told: list[Event] = [event async for event in events if isinstance(event, kinds)]
        return (await events.result()).output, told


def text_of(events: Sequence[Event]) -> str:
    """What a reader shows who takes back what is discarded."""
    text = ""
    for each in events:
        if isinstance(each, DeltasDiscarded):
            text = ""
        elif isinstance(each, TextDelta):
            text += each.text
    return text


@pytest.mark.parametrize("error", [BUSY, ConnectionFailed("gone"), NotFound("no such model", status=404)])
async def test_the_next_model_is_asked_when_one_cannot_answer(error: ModelError) -> None:
    first, second = Breaking("first", [], error), ScriptedModel(["from the second"])
    answer, told = await watched(first, second)
    assert answer == "from the second"
    assert told == [ModelFallback("first", "ScriptedModel", error, continues=False), TextDelta("from the second")]
    assert second.requests == first.requests


async def test_models_are_asked_in_order_until_one_answers() -> None:
    models: list[Model] = [Breaking("two", [], BUSY), Breaking("three", [], "done"), ScriptedModel([])]
    answer, told = await watched(Breaking("one", [], BUSY), *models)
    assert answer == "done"
    assert [(each.failed, each.next) for each in told if isinstance(each, ModelFallback)] == [
        ("one", "two"),
        ("two", "three"),
    ]


async def test_when_all_fail_the_last_error_is_raised_and_tells_of_the_others() -> None:
    last = ConnectionFailed("no route")
    with pytest.raises(ConnectionFailed, match="no route") as raised:
        await watched(Breaking("one", [], Overloaded("busy", status=503)), Breaking("two", [], last))
    assert raised.value is last
    assert last.__notes__ == ["before that, one failed: Overloaded: busy"]


async def test_a_model_without_a_key_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    own, other = "openai:gpt-5-mini", ScriptedModel(["from the second"])
    told: list[Event] = []
    result = await Agent(own, middleware=[Fallback(other)]).run("go", on_event=told.append)
    assert result.output == "from the second"
    ((failed, error),) = [(each.failed, each.error) for each in told if isinstance(each, ModelFallback)]
    assert "openai" in failed
    assert isinstance(error, MissingKey)
    with pytest.raises(MissingKey, match="OPENAI_API_KEY") as raised:
        await Agent(ScriptedModel([BUSY]), middleware=[Fallback(own)]).run("go")
    assert raised.value.__notes__ == ["before that, ScriptedModel failed: Overloaded: busy"]


async def test_a_request_that_cannot_be_sent_at_all_is_not_tried_elsewhere() -> None:
    wrong = ConfigError("temperature must be a number")
    with pytest.raises(ConfigError):
        await watched(Breaking("one", [], wrong), ScriptedModel(["never"]))


async def test_a_model_without_a_repr_is_named_by_its_type() -> None:
    told: list[ModelFallback] = []
    agent = Agent(
        ScriptedModel([Overloaded("busy", status=503)]),
        middleware=[Fallback(ScriptedModel([IncompleteReply("it broke off")]))],
    )
    with pytest.raises(IncompleteReply) as raised:
        await agent.run("go", on_event=lambda event: told.append(event) if isinstance(event, ModelFallback) else None)
    assert raised.value.__notes__ == ["before that, ScriptedModel failed: Overloaded: busy"]
    assert [(each.failed, each.next) for each in told] == [("ScriptedModel", "ScriptedModel")]


async def test_a_request_that_was_refused_is_not_tried_elsewhere_unless_asked_for() -> None:
    refused = BadRequest("no", status=400)
    other = ScriptedModel(["yes"])
    with pytest.raises(BadRequest):
        await Agent(Breaking("one", [], refused), middleware=[Fallback(other)]).run("go")
    assert other.requests == []
    result = await Agent(Breaking("one", [], refused), middleware=[Fallback(other, on=(BadRequest,))]).run("go")
    assert result.output == "yes"


@pytest.mark.parametrize("piece", [TextDelta("The "), ReasoningDelta("Hm"), CallDelta(0, "a", "add", "{")])
async def test_after_something_was_shown_the_error_is_raised(piece: Event) -> None:
    other = ScriptedModel(["never"])
    with pytest.raises(IncompleteReply) as raised:
        await watched(Breaking("one", [piece], IncompleteReply("it broke off")), other)
    assert other.requests == []
    assert raised.value.partial == text_of([piece])


async def test_pieces_that_were_void_do_not_count_as_shown() -> None:
    first = Breaking("one", [TextDelta("The "), Retrying(1, 0.0, "it broke")], BUSY)
    answer, _ = await watched(first, ScriptedModel(["from the second"]))
    assert answer == "from the second"


@pytest.mark.parametrize("delta", [TextDelta("The "), ReasoningDelta("Hm"), CallDelta(0, "a", "add", "{")])
async def test_deltas_that_were_shown_are_taken_back_if_asked_for(delta: Event) -> None:
    answer, told = await watched(Breaking("one", [delta], BROKEN), ScriptedModel(["whole"]), after_shown="discard")
    assert (answer, text_of(told)) == ("whole", "whole")
    assert told[:3] == [delta, DeltasDiscarded(), ModelFallback("one", "ScriptedModel", BROKEN, continues=False)]


async def test_a_model_that_continues_and_begins_again_takes_back_only_its_own_deltas() -> None:
    second = Breaking("two", [TextDelta("x"), Retrying(1, 0.0, "busy"), TextDelta("b")], "b")
    answer, told = await watched(Breaking("one", [TextDelta("a")], BROKEN), second, after_shown="continue")
    assert (answer, text_of(told)) == ("ab", "ab")


@pytest.mark.parametrize("after_shown", ["raise", "discard", "continue"])
async def test_what_stays_of_a_reply_that_failed_is_what_its_readers_still_see(after_shown: Any) -> None:
    last = Breaking("two", [TextDelta("b"), Retrying(1, 0.0, "busy"), TextDelta("c")], BROKEN)
    told: list[Event] = []
    agent = Agent(Breaking("one", [TextDelta("a")], BROKEN), middleware=[Fallback(last, after_shown=after_shown)])
    with pytest.raises(IncompleteReply) as raised:
        async with agent.stream("go") as events:
            async for event in events:
                told += [event]  # what came before the error counts
    state = raised.value.state
    assert isinstance(state, RunState)
    assert state.messages[-1].text == raised.value.partial == text_of(told)


async def test_without_a_stream_nothing_counts_as_shown() -> None:
    told: list[Event] = []
    agent = Agent(Breaking("one", [TextDelta("The ")], BROKEN), middleware=[Fallback(ScriptedModel(["whole"]))])
    assert (await agent.run("go", on_event=told.append)).output == "whole"
    assert [each.continues for each in told if isinstance(each, ModelFallback)] == [False]


async def test_the_next_model_goes_on_and_what_was_shown_begins_what_is_returned() -> None:
    first = Breaking("one", [ReasoningDelta("Hm"), TextDelta("The sky "), TextDelta("is")], BROKEN)
    second = ScriptedModel([Chunks(" blue", ".")])
    answer, told = await watched(first, second, after_shown="continue")
    assert answer == text_of(told) == "The sky is blue."
    assert [each.continues for each in told if isinstance(each, ModelFallback)] == [True]
    question, partial, note = second.requests[0].messages
    assert (question, partial) == (UserMessage("go"), AssistantMessage("The sky is"))
    assert "Continue exactly where it stops" in note.text


async def test_a_stream_that_a_server_broke_off_goes_on_at_another() -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
    chunk = b'data: {"choices": [{"index": 0, "delta": {"content": "The sky "}}]}\n\n'
    with Server([raw(head, chunk)]) as broken, Server(["is blue."]) as whole:
        other = ChatClient(whole.url, model="m")
        own = ChatClient(broken.url, model="m")
        answer, told = await watched(own, other, after_shown="continue")
        assert answer == text_of(told) == "The sky is blue."
        assert [message["content"] for message in whole.requests[0].body["messages"]][:2] == ["go", "The sky "]
        await own.aclose()
        await other.aclose()


async def test_several_models_may_write_one_answer() -> None:
    second, third = Breaking("two", [TextDelta("b")], BROKEN), ScriptedModel(["c"])
    answer, told = await watched(Breaking("one", [TextDelta("a")], BROKEN), second, third, after_shown="continue")
    assert answer == text_of(told) == "abc"
    assert third.requests[0].messages[1] == AssistantMessage("ab")


async def test_what_was_shown_stays_valid_when_the_next_model_is_asked_again() -> None:
    second = Breaking("two", [Retrying(1, 0.0, "busy"), RequestAdapted("without seed")], "b")
    answer, told = await watched(Breaking("one", [TextDelta("a")], BROKEN), second, after_shown="continue")
    assert answer == "ab"
    assert not [each for each in told if isinstance(each, Retrying | RequestAdapted)]


async def test_the_error_of_the_last_model_holds_all_that_was_shown() -> None:
    last = Breaking("two", [TextDelta("b")], IncompleteReply("again", partial="b"))
    with pytest.raises(IncompleteReply) as raised:
        await watched(Breaking("one", [TextDelta("a")], BROKEN), last, after_shown="continue")
    assert raised.value.partial == "ab"


async def test_nothing_goes_on_from_a_partial_reply_with_calls() -> None:
    other = ScriptedModel(["never"])
    first = Breaking("one", [TextDelta("a"), CallDelta(0, "a", "add", "{")], IncompleteReply("it broke off"))
    with pytest.raises(IncompleteReply):
        await watched(first, other, after_shown="continue")
    assert other.requests == []


async def test_only_thoughts_were_shown_so_the_next_model_starts_afresh() -> None:
    second = ScriptedModel(["whole"])
    first = Breaking("one", [ReasoningDelta("Hm")], BROKEN)
    answer, told = await watched(first, second, after_shown="continue")
    assert (answer, second.requests[0].messages) == ("whole", [UserMessage("go")])
    assert [each.continues for each in told if isinstance(each, ModelFallback)] == [False]


async def test_each_turn_begins_with_the_agents_own_model() -> None:
    own = ScriptedModel([BUSY, "from the own"])
    other = ScriptedModel([call("nothing")])
    result = await Agent(own, middleware=[Fallback(other)]).run("go")
    assert (result.output, len(own.requests), len(other.requests)) == ("from the own", 2, 1)


async def test_closing_the_agent_closes_the_models() -> None:
    other = Breaking("two", [], "x")
    await Agent(ScriptedModel([]), middleware=[Fallback(other, ScriptedModel([]))]).aclose()
    assert other.closed == 1


def test_names_are_opened_at_once_so_that_a_wrong_one_is_told_where_it_is_written() -> None:
    Fallback("openai:gpt-5-mini")
    wrong: list[tuple[list[Any], dict[str, Any]]] = [
        ([], {}),
        (["openia:gpt"], {}),
        (["openai:x"], {"after_shown": "x"}),
        ([5], {}),
        ([None], {}),
        ([["openai:x"]], {}),
        (["openai:x"], {"on": [Overloaded]}),
        (["openai:x"], {"on": (503,)}),
        (["openai:x"], {"on": (ValueError,)}),
    ]
    for models, options in wrong:
        with pytest.raises(ConfigError):
            Fallback(*models, **options)
