"""What compaction does when a model refuses a request as too long, and what it learns from its numbers."""

from collections.abc import Callable

import anyio
import pytest

from agentkit import Agent, ChatSettings, Limits, Model, Reply, Usage, tool
from agentkit.chat.events import Emit
from agentkit.chat.messages import AssistantMessage, Message, UserMessage
from agentkit.chat.reply import Choice
from agentkit.chat.request import ChatRequest, size_of_request
from agentkit.compaction import ClearToolResults, Compaction, HistoryShortened, Summarize, Window
from agentkit.errors import ContextTooLong
from agentkit.middleware import Eager
from agentkit.testing import Answer, FunctionModel, call

pytestmark = pytest.mark.anyio

Telling = Callable[[int, int], tuple[int | None, int | None]]
"""What a server says of its limit and of the tokens that it got."""


def everything(limit: int, got: int) -> tuple[int | None, int | None]:
    return limit, got


def nothing(limit: int, got: int) -> tuple[int | None, int | None]:
    return None, None


class Small(FunctionModel):
    """A model with a context of ``limit`` tokens, whose tokens are ``factor`` of the estimated ones."""

    def __init__(self, limit: int, *, factor: float = 1.0, tell: Telling = everything, answer: str = "ok") -> None:
        super().__init__(self._answer)
        self.refused: list[ChatRequest] = []
        self._limit, self._factor, self._tell, self._text = limit, factor, tell, answer

    def _answer(self, request: ChatRequest) -> Answer:
        got = round(size_of_request(request) * self._factor)
        if got > self._limit:
            self.refused.append(request)
            error = ContextTooLong("too long", status=400)
            error.limit, error.got = self._tell(self._limit, got)
            return error
        message = AssistantMessage(self._text)
        usage = Usage(requests=1, prompt_tokens=got, total_tokens=got)
        return Reply(choices=(Choice(message=message, finish_reason="stop"),), usage=usage)


def conversation(turns: int, words: int = 100) -> list[Message]:
    messages: list[Message] = []
    for turn in range(turns):
        messages += [UserMessage(f"question {turn} " + "word " * words), AssistantMessage(f"answer {turn}")]
    return messages


@pytest.mark.parametrize("factor", [0.6, 1.0, 1.8])
@pytest.mark.parametrize("strategy", [Window, lambda: Summarize(FunctionModel(lambda request: "a summary"))])
async def test_a_request_that_was_too_long_is_sent_again_and_fits(
    strategy: Callable[[], Window | Summarize], factor: float
) -> None:
    model = Small(2_000, factor=factor)
    result = await Agent(model, middleware=[Compaction(strategy())]).run("the question", history=conversation(40))
    assert result.output == "ok"
    assert len(model.refused) == 1
    assert "the question" in model.requests[-1].messages[-1].text
    assert len(result.messages) == 82


@pytest.mark.parametrize(
    "tell", [nothing, lambda limit, got: (limit, None), lambda limit, got: (None, got), lambda limit, got: (got, limit)]
)
async def test_few_tries_are_enough_with_numbers_missing_or_wrong(tell: Telling) -> None:
    model = Small(2_000, factor=1.5, tell=tell)
    agent = Agent(model, middleware=[Compaction([Window()])])
    assert (await agent.run("the question", history=conversation(40))).output == "ok"
    assert 1 <= len(model.refused) <= 3


async def test_what_was_learned_holds_for_the_next_run() -> None:
    model = Small(2_000, factor=1.5)
    agent = Agent(model, middleware=[Compaction([Window()])])
    history = (await agent.run("one", history=conversation(40))).messages
    for _ in range(30):
        history = (await agent.run("word " * 50, history=history)).messages
    assert len(model.refused) == 1


async def test_room_for_the_reply_is_kept_in_a_limit_that_was_learned() -> None:
    model = Small(2_000)
    agent = Agent(model, middleware=[Compaction([Window()])], settings=ChatSettings(max_completion_tokens=1_000))
    history = conversation(40)
    for _ in range(20):
        history = list((await agent.run("word " * 50, history=history)).messages)
    assert max(size_of_request(each) for each in model.requests if each not in model.refused) <= 1_000


async def test_one_object_keeps_what_it_learned_of_each_model_apart() -> None:
    compaction = Compaction(Window())
    small, large = Small(1_000), Small(100_000)
    await Agent(small, middleware=[compaction]).run("hi", history=conversation(40))
    await Agent(large, middleware=[compaction]).run("hi", history=conversation(40))
    assert len(large.requests[0].messages) == 81


async def test_what_can_not_be_made_shorter_is_refused_after_one_request() -> None:
    model = Small(100)
    told: list[HistoryShortened] = []
    agent = Agent(model, middleware=[Compaction([ClearToolResults(), Summarize(), Window()])])
    with pytest.raises(ContextTooLong) as caught:
        await agent.run(
            "word " * 500, on_event=lambda event: told.append(event) if isinstance(event, HistoryShortened) else None
        )
    assert len(model.requests) == 1
    assert told == []
    assert len(caught.value.state.messages) == 1


async def test_it_gives_up_after_a_few_tries() -> None:
    model = Small(0, tell=nothing)
    with pytest.raises(ContextTooLong):
        await Agent(model, middleware=[Compaction([Window()])]).run("hi", history=conversation(400))
    assert 2 <= len(model.requests) <= 5


async def test_the_gentlest_strategy_shortens_first_also_when_the_model_refused() -> None:
    model = Small(2_000)
    summarizer = FunctionModel(lambda request: "a summary")
    told: list[str] = []
    agent = Agent(model, middleware=[Compaction([ClearToolResults(), Summarize(summarizer), Window()])])
    await agent.run(
        "the question",
        history=conversation(40),
        on_event=lambda event: told.append(event.by) if isinstance(event, HistoryShortened) else None,
    )
    assert told == ["Summarize"]
    assert len(model.requests) == 2
    assert "a summary" in model.requests[-1].messages[0].text


async def test_the_last_resort_helps_when_the_gentler_ones_can_not() -> None:
    @tool
    def look(place: int) -> str:
        """Look something up."""
        return "r" * 2_000

    class Looking(Small):
        def _answer(self, request: ChatRequest) -> Answer:
            answer = super()._answer(request)
            made = len(self.requests) - len(self.refused)
            return call("look", place=made) if isinstance(answer, Reply) and made <= 8 else answer

    model = Looking(2_000)
    agent = Agent(model, tools=[look], middleware=[Compaction([ClearToolResults(exclude=["look"]), Window()])])
    assert (await agent.run("Look!")).output == "ok"
    assert len(model.refused) == 1


async def test_a_run_in_a_tool_is_not_seen_as_part_of_the_question_around_it() -> None:
    inside = Small(1_000)
    expert = Agent(inside, middleware=[Compaction([Window()])])

    @tool(read_only=True)
    async def ask_expert() -> str:
        """Ask an expert."""
        return (await expert.run("hi", history=conversation(40))).output

    outside = FunctionModel(lambda request: call("ask_expert") if len(request.messages) == 1 else "done")
    agent = Agent(outside, tools=[ask_expert], middleware=[Eager(), Compaction([Window()])])
    async with agent.stream("Go!") as events:
        result = await events.result()
    assert [each.text for each in result.messages][2] == "ok"
    assert len(inside.refused) == 1


class Slow(FunctionModel):
    """Answers when all runs have asked, so that they overlap."""

    def __init__(self, runs: int, model: Model) -> None:
        super().__init__(lambda request: "")
        self._waiting, self._model, self._all = runs, model, anyio.Event()

    async def reply(self, request: ChatRequest, emit: Emit) -> Reply:
        self._waiting -= 1
        if self._waiting == 0:
            self._all.set()
        await self._all.wait()
        return await self._model.reply(request, emit)


async def test_runs_at_the_same_time_do_not_mix() -> None:
    small = Small(3_000, factor=1.3)
    agent = Agent(
        Slow(8, small), middleware=[Compaction([ClearToolResults(), Summarize(exchanges=6, keep=2), Window()])]
    )
    outputs: dict[int, str] = {}

    async def one(number: int) -> None:
        history = [UserMessage(f"I am {number}"), AssistantMessage("hello"), *conversation(10)]
        result = await agent.run(f"who is {number}?", history=history, limits=Limits(turns=2))
        outputs[number] = result.output
        assert len(result.messages) == 24

    async with anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(one, number)
    assert outputs == dict.fromkeys(range(8), "ok")
    asked = [each for each in small.requests if each.messages[-1].text.startswith("who is")]
    assert {each.messages[-1].text for each in asked} == {f"who is {number}?" for number in range(8)}
