from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit import Agent, ImagePart, Limits, ToolResult, tool
from agentkit.chat.events import ignore_event
from agentkit.chat.messages import AssistantMessage, Message, SystemMessage, ToolCall, ToolMessage, UserMessage
from agentkit.chat.request import ChatRequest, size_of_messages, size_of_request
from agentkit.compaction import ClearToolResults, Compaction, HistoryShortened, Strategy, Summarize, Window
from agentkit.compaction.layout import Layout
from agentkit.compaction.window import LEFT_OUT
from agentkit.errors import ConfigError
from agentkit.run import ModelTurn, Run, RunState
from agentkit.run.middleware import wrap_model
from agentkit.run.transcript import check
from agentkit.testing import Answer, FunctionModel, ScriptedModel, call
from tests.scaling import assert_linear
from tests.transcripts import TOOLS, growing, transcripts

STRATEGIES = st.one_of(
    st.builds(Window, exchanges=st.integers(1, 5)),
    st.builds(Window, tokens=st.integers(1, 3_000), keep=st.floats(0.1, 0.9)),
    st.builds(ClearToolResults, keep=st.integers(0, 8), exclude=st.sampled_from([(), ("look",)])),
    st.builds(lambda tokens: Summarize(summarizer(), tokens=tokens), st.integers(1, 3_000)),
    st.builds(lambda turns: Summarize(summarizer(), exchanges=turns, keep=1), st.integers(1, 5)),
)


def summarizer() -> FunctionModel:
    return FunctionModel(lambda request: f"{len(request.messages[-1].text)} characters so far")


def passed_on(requests: Sequence[ChatRequest], *strategies: Strategy) -> list[ChatRequest]:
    """What reaches the model when these requests are made one after the other."""
    model = FunctionModel(lambda request: "ok")

    async def ask() -> None:
        compaction = Compaction(strategies)
        for request in requests:
            run: Run[Any] = Run(state=RunState(messages=[]), limits=Limits(), deps=None, observer=ignore_event)
            await wrap_model([compaction])(ModelTurn(run, 1, model, request, {}, ignore_event))

    anyio.run(ask)
    return model.requests


def is_valid(sent: Sequence[Message], whole: Sequence[Message]) -> bool:
    """Valid, with the last question and what stands at the end, and with nothing that was not there."""
    question = next(each for each in reversed(whole) if isinstance(each, UserMessage) and not _has_image(each))
    asked = [each.text for each in sent if isinstance(each, UserMessage)]
    results = {each.tool_call_id for each in sent if isinstance(each, ToolMessage)}
    calls = {call.id for each in sent if isinstance(each, AssistantMessage) for call in each.tool_calls}
    return (
        check(sent) == []
        and results == calls
        and any(question.text in text for text in asked)
        and sent[-1].role == whole[-1].role
        and [each for each in sent if isinstance(each, SystemMessage)]
        == [each for each in whole if isinstance(each, SystemMessage)]
        and len(sent) <= len(whole)
    )


@given(transcripts(), STRATEGIES)
def test_any_shorter_request_is_valid_and_has_the_last_question(messages: list[Message], strategy: Strategy) -> None:
    requests = list(growing(messages))
    assert [check(request.messages) for request in requests] == [[]] * len(requests)
    for request, sent in zip(requests, passed_on(requests, strategy), strict=True):
        assert is_valid(sent.messages, request.messages)
        assert replace(sent, messages=request.messages) == request


@given(transcripts(), st.integers(1, 3_000), st.integers(1, 6))
def test_several_strategies_make_valid_requests_too(messages: list[Message], tokens: int, turns: int) -> None:
    strategies = ClearToolResults(keep=1), Summarize(summarizer(), exchanges=turns, keep=1), Window(tokens=tokens)
    requests = list(growing(messages))
    for request, sent in zip(requests, passed_on(requests, *strategies), strict=True):
        assert is_valid(sent.messages, request.messages)


@given(transcripts(), st.sampled_from([Window(exchanges=50), Window(tokens=10**6), Window(), Summarize(tokens=10**6)]))
def test_what_fits_passes_as_the_same_object(messages: list[Message], strategy: Strategy) -> None:
    request = ChatRequest(messages=messages, tools=TOOLS)
    assert passed_on([request], strategy)[0] is request


SMALL = st.sampled_from(["", "yes"])


@given(transcripts(turns=30, texts=SMALL, least=15), st.integers(600, 1_200))
def test_a_window_moves_seldom_and_what_is_sent_grows_in_between(messages: list[Message], tokens: int) -> None:
    messages = [each for each in messages if not _has_image(each)]
    requests = list(growing(messages))
    sent = passed_on(requests, Window(tokens=tokens))
    moves = 0
    for earlier, later in pairwise(sent):
        before, after = ([each.wire for each in request.messages] for request in (earlier, later))
        moves += after[: len(before)] != before
        assert size_of_request(later) <= tokens
    assert moves <= 4 * size_of_messages(messages) / (tokens - 100)


def _has_image(message: Message) -> bool:
    return isinstance(message.content, tuple) and any(isinstance(part, ImagePart) for part in message.content)


@given(transcripts(turns=12, texts=SMALL), st.integers(0, 8))
def test_results_are_cleared_seldom(messages: list[Message], keep: int) -> None:
    requests = list(growing(messages))
    sent = passed_on(requests, ClearToolResults(keep=keep))
    changes = sum(
        [each.wire for each in later.messages[: len(earlier.messages)]] != [each.wire for each in earlier.messages]
        for earlier, later in pairwise(sent)
    )
    assert changes <= sum(isinstance(each, ToolMessage) for each in messages) / max(5, keep)


@given(transcripts(turns=12), st.integers(200, 3_000), st.integers(1, 5))
def test_the_cuts_of_a_transcript_stay_when_it_grows(messages: list[Message], tokens: int, turns: int) -> None:
    requests = list(growing(messages))
    once = passed_on(requests, Window(tokens=tokens), Window(exchanges=turns))
    again = [passed_on([request], Window(tokens=tokens), Window(exchanges=turns))[0] for request in requests]
    assert once == again


@tool
def look(size: int, place: int = 0) -> str:
    """Look something up."""
    return "r" * size


@tool
def photo() -> ToolResult:
    """Take a photo."""
    return ToolResult("a photo", files=(ImagePart("https://example.org/a.png"),))


def looking(times: int, size: int = 2_000) -> FunctionModel:
    """Calls `look` so often, then answers."""

    def answer(request: ChatRequest) -> Answer:
        last = request.messages[-1]
        if isinstance(last, UserMessage) and last.text.startswith("You have reached"):
            return "closed"
        made = len(model.requests)
        return call("look", size=size, place=made) if made <= times else "done"

    model = FunctionModel(answer)
    return model


@pytest.mark.anyio
async def test_the_run_keeps_its_whole_transcript() -> None:
    model = looking(8)
    result = await Agent(model, tools=[look], middleware=[Compaction([Window(tokens=2_000)])]).run("Look!")
    assert len(result.messages) == 1 + 8 * 2 + 1
    assert check(result.messages) == []
    assert max(size_of_request(request) for request in model.requests) <= 2_000


@pytest.mark.anyio
async def test_a_long_turn_loses_its_older_calls_and_keeps_its_question() -> None:
    model = looking(8)
    await Agent(model, tools=[look], instructions="Be brief.", middleware=[Compaction([Window(tokens=2_000)])]).run(
        "Look!"
    )
    system, question, *rest = model.requests[-1].messages
    assert (system.text, question.text) == ("Be brief.", f"Look!\n\n{LEFT_OUT}")
    assert 2 <= len(rest) < 8
    assert isinstance(rest[0], AssistantMessage)


@pytest.mark.anyio
async def test_a_window_of_turns_keeps_between_the_half_and_all_of_them() -> None:
    model = FunctionModel(lambda request: "ok")
    agent = Agent(model, middleware=[Compaction([Window(exchanges=6)])])
    history: Sequence[Message] = ()
    for turn in range(20):
        history = (await agent.run(f"question {turn}", history=history)).messages
    asked = [sum(isinstance(each, UserMessage) for each in request.messages) for request in model.requests]
    assert asked[:6] == [1, 2, 3, 4, 5, 6]
    assert set(asked[6:]) == {3, 4, 5, 6}
    assert model.requests[6].messages[0].text == f"{LEFT_OUT}\n\nquestion 4"


@pytest.mark.anyio
async def test_the_note_at_a_limit_does_not_take_the_place_of_the_question() -> None:
    for tokens in range(1_500, 2_100, 10):  # for some of them it is the note that is too much
        model = looking(50)
        agent = Agent(model, tools=[look], limits=Limits(turns=6), middleware=[Compaction([Window(tokens=tokens)])])
        assert (await agent.run("Look!")).output == "closed"
        first, *_, result, note = model.requests[-1].messages
        assert first.text.startswith("Look!")
        assert (result.role, note.role) == ("tool", "user")


@pytest.mark.anyio
async def test_the_files_of_results_are_no_question() -> None:
    model = ScriptedModel(
        [call("photo"), [call("look", size=1_600), call("look", size=1_600)], call("look", size=1_600), "ok"]
    )
    await Agent(model, tools=[look, photo], middleware=[Compaction([Window(tokens=2_000)])]).run("Look!")
    sent = model.requests[-1].messages
    assert [each.role for each in sent] == ["user", "assistant", "tool", "tool", "assistant", "tool"]
    assert sent[0].text.startswith("Look!")


@pytest.mark.anyio
async def test_it_is_told_when_the_cut_moves_and_not_every_turn() -> None:
    told: list[HistoryShortened] = []
    model = looking(20)
    agent = Agent(model, tools=[look], middleware=[Compaction([Window(tokens=4_000)])])
    await agent.run("Look!", on_event=lambda event: told.append(event) if isinstance(event, HistoryShortened) else None)
    assert [each.by for each in told] == ["Window"] * 3
    assert [each.messages for each in told] == sorted({each.messages for each in told})
    assert all(each.after <= 2_000 < 4_000 < each.before for each in told[:1])


@pytest.mark.anyio
async def test_old_results_are_cleared_and_new_ones_stay() -> None:
    model = looking(9)
    await Agent(model, tools=[look], middleware=[Compaction([ClearToolResults(keep=2)])]).run("Look!")
    results = [each.text for each in model.requests[-1].messages if isinstance(each, ToolMessage)]
    note = "[cleared: this result of look had 2,000 characters; call the tool again if needed]"
    assert results == [note] * 5 + ["r" * 2_000] * 4


@pytest.mark.anyio
async def test_results_that_the_model_has_not_seen_are_never_cleared() -> None:
    model = ScriptedModel([[call("look", size=500)] * 12, call("look", size=600), "ok"])
    await Agent(model, tools=[look], middleware=[Compaction([ClearToolResults(keep=0)])]).run("Look!")
    seen = [[len(each.text) for each in sent.messages if isinstance(each, ToolMessage)] for sent in model.requests]
    assert seen[1] == [500] * 12
    assert [size < 200 for size in seen[2]] == [True] * 10 + [False] * 3


@pytest.mark.anyio
async def test_short_results_and_those_of_excluded_tools_stay() -> None:
    @tool
    def read() -> str:
        """Read."""
        return "important " * 100

    calls = [[call("read"), call("look", size=100), call("look", size=900)]] * 3
    model = ScriptedModel([*calls, "ok"])
    await Agent(model, tools=[look, read], middleware=[Compaction([ClearToolResults(keep=0, exclude=["read"])])]).run(
        "Look!"
    )
    results = [each.text for each in model.requests[-1].messages if isinstance(each, ToolMessage)]
    assert [text.startswith("[cleared") for text in results] == [False, False, True, *[False] * 6]


@pytest.mark.anyio
async def test_files_go_with_the_results_they_came_with() -> None:
    model = ScriptedModel([[call("photo")] * 5, call("photo"), "ok"])
    await Agent(model, tools=[photo], middleware=[Compaction([ClearToolResults(keep=1)])]).run("Look!")
    files = [each for each in model.requests[-1].messages if isinstance(each, UserMessage)][1:]
    assert [_has_image(each) for each in files] == [False, True]
    assert "[cleared" in files[0].text
    assert len(Layout(model.requests[-1].messages).units) == 3  # they are still part of their batch


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Window(exchanges=0),
        lambda: Window(tokens=0),
        lambda: Window(tokens=10, keep=1.0),
        lambda: Window(exchanges="x"),  # type: ignore[arg-type]
        lambda: Window(tokens=2.5),  # type: ignore[arg-type]
        lambda: Window(exchanges=1, keep="x"),  # type: ignore[arg-type]
        lambda: ClearToolResults(keep=-1),
        lambda: ClearToolResults(keep="x"),  # type: ignore[arg-type]
        lambda: ClearToolResults(keep=None),  # type: ignore[arg-type]
        lambda: Summarize(100),  # type: ignore[arg-type]
        lambda: Summarize(keep=None),  # type: ignore[arg-type]
        lambda: Summarize(exchanges=2, keep=3),
        lambda: Summarize(keep=0),
        lambda: Summarize("nowhere:model"),
    ],
)
def test_numbers_that_cannot_work_are_refused(wrong) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigError):
        wrong()


@pytest.mark.anyio
async def test_the_question_stays_when_something_is_said_to_the_running_run() -> None:
    @tool
    async def look() -> str:
        """Look, while the user adds something."""
        events.send("only the red ones")
        return "three red, two blue"

    model = ScriptedModel(["hello", call("look"), "three"])
    agent = Agent(model, tools=[look], middleware=[Compaction([Window(exchanges=1)])])
    first = await agent.run("hi")
    async with agent.stream("how many are there?", history=first) as events:
        await events.result()
    texts = [each.text for each in model.requests[-1].messages]
    assert "how many are there?" in texts[0]
    assert texts[-1] == "only the red ones"


@pytest.mark.anyio
async def test_the_question_stays_when_a_run_goes_on_after_a_limit() -> None:
    @tool
    async def look(at: int) -> str:
        """Look."""
        return "nothing"

    script: list[Answer] = [call("look", at=1), "so far nothing", call("look", at=2), "nothing"]
    agent = Agent(model := ScriptedModel(script), tools=[look], middleware=[Compaction([Window(exchanges=1)])])
    short = await agent.run("where is the tea?", limits=Limits(turns=1))
    await agent.run(resume=short.state, limits=Limits())
    assert all(each.messages[0].text == "where is the tea?" for each in model.requests)
    assert model.requests[-1].messages[4].text == "Go on."


# Long conversations.


def long_exchange(calls: int) -> list[Message]:
    """One question and very many calls, in one reply and one after the other."""
    asked = [ToolCall(f"c{number}", "look", "{}") for number in range(calls)]
    messages: list[Message] = [UserMessage("word " * 500), AssistantMessage(None, tuple(asked))]
    messages += [ToolMessage("r" * 450, each.id) for each in asked]
    for number in range(calls):
        messages += [
            AssistantMessage(None, (ToolCall(f"d{number}", "look", "{}"),)),
            ToolMessage("r" * 450, f"d{number}"),
        ]
    return messages


def long_conversation(exchanges: int) -> list[Message]:
    return [each for number in range(exchanges) for each in (UserMessage(f"question {number}"), AssistantMessage("ok"))]


@pytest.mark.parametrize("make", [long_exchange, long_conversation])
@pytest.mark.parametrize(
    "strategy",
    [
        Window(tokens=3_000),
        Window(tokens=1),
        Window(exchanges=3, tokens=100_000),
        Window(tokens=3_000, keep=0.1),
        ClearToolResults(),
        Summarize(summarizer(), tokens=3_000),
    ],
    ids=["tokens", "no room", "exchanges", "less than the question", "results", "summary"],
)
def test_the_time_grows_in_step_with_the_messages(strategy: Strategy, make: Callable[[int], list[Message]]) -> None:
    def work(size: int) -> Callable[[], object]:
        messages = make(size)
        return lambda: passed_on([ChatRequest(messages=[replace(each) for each in messages])], strategy)

    assert_linear(work, 250)
