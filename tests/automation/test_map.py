"""Many runs of one agent."""

import io
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from agentkit import Agent, Limits, ModelError, RunFinished, tool
from agentkit.automation import map_runs
from agentkit.chat import ChatRequest, Choice, Reply, Usage
from agentkit.errors import ConfigError, LimitReached, RunError, SessionBusy
from agentkit.events import Event
from agentkit.messages import AssistantMessage, UserMessage
from agentkit.run import call_sync
from agentkit.sessions import MemorySessions, SQLiteSessions
from agentkit.testing import Answer, FunctionModel, call

pytestmark = pytest.mark.anyio


def echo(request: ChatRequest) -> Answer:
    text = request.messages[-1].text
    if "fail" in text:
        raise ModelError("the server is down")
    return text.upper()


def question(request: ChatRequest) -> str:
    return next(each.text for each in request.messages if isinstance(each, UserMessage))


async def test_outcomes_come_in_the_order_of_the_prompts_with_failures_as_values() -> None:
    outcomes = await map_runs(Agent(FunctionModel(echo)), ["a", "fail", "c"], concurrency=2)
    assert [(each.index, each.prompt, each.is_done) for each in outcomes] == [
        (0, "a", True),
        (1, "fail", False),
        (2, "c", True),
    ]
    assert (outcomes[0].output, outcomes[2].output) == ("A", "C")
    assert isinstance(outcomes[1].error, ModelError)
    with pytest.raises(ModelError, match="the server is down"):
        _ = outcomes[1].output


async def test_unordered_outcomes_come_as_the_runs_end() -> None:
    second_ended = anyio.Event()

    async def answer(request: ChatRequest) -> Answer:
        if question(request) == "slow":
            await second_ended.wait()
        return "done"

    order: list[object] = []
    async with map_runs(Agent(FunctionModel(answer)), ["slow", "quick"], ordered=False) as outcomes:
        async for each in outcomes:
            order.append(each.prompt)
            second_ended.set()
    assert order == ["quick", "slow"]


async def test_a_thousand_prompts_are_taken_as_they_are_read_and_few_run_at_once() -> None:
    running = most = taken = 0

    async def answer(_: ChatRequest) -> Answer:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _turn in range(8):
            await anyio.lowlevel.checkpoint()
        running -= 1
        return "done"

    def prompts() -> Iterator[str]:
        nonlocal taken
        for number in range(1000):
            taken += 1
            yield f"item {number}"

    read = 0
    async with map_runs(Agent(FunctionModel(answer)), prompts(), concurrency=3) as outcomes:
        async for each in outcomes:
            assert each.index == read
            read += 1
            for _ in range(10):
                await anyio.lowlevel.checkpoint()
            assert taken <= read + 4 * 3
    assert (read, taken, most) == (1000, 1000, 3)


async def test_prompts_may_come_from_an_async_generator_whose_error_comes_after_the_outcomes() -> None:
    closed = False

    async def prompts() -> AsyncIterator[str]:
        nonlocal closed
        try:
            yield "a"
            await anyio.lowlevel.checkpoint()
            yield "b"
            raise OSError("the queue is gone")
        finally:
            closed = True

    outputs: list[str] = []

    async def read() -> None:
        async with map_runs(Agent(FunctionModel(echo)), prompts()) as outcomes:
            async for each in outcomes:
                outputs.append(each.output)  # noqa: PERF401 - those before the error stay

    with pytest.raises(OSError, match="the queue is gone"):
        await read()
    assert outputs == ["A", "B"]
    assert closed


async def test_leaving_early_cancels_the_runs_and_closes_the_prompts() -> None:
    cancelled = 0
    closed = False

    async def answer(request: ChatRequest) -> Answer:
        nonlocal cancelled
        if question(request) == "first":
            return "done"
        try:
            await anyio.sleep_forever()
        finally:
            cancelled += 1
        return "never"

    async def prompts() -> AsyncIterator[str]:
        nonlocal closed
        try:
            yield "first"
            yield "second"
            yield "third"
            await anyio.sleep_forever()
        finally:
            closed = True

    async with map_runs(Agent(FunctionModel(answer)), prompts()) as outcomes:
        first = await anext(aiter(outcomes))
        await anyio.wait_all_tasks_blocked()
    assert (first.output, cancelled, closed) == ("done", 2, True)
    with pytest.raises(ConfigError, match="has ended"):
        await anext(outcomes)


async def test_what_is_done_is_not_done_again() -> None:
    sessions = MemorySessions()
    down = True

    def answer(request: ChatRequest) -> Answer:
        if down and "b" in question(request):
            raise ModelError("the server is down")
        return f"answer to {question(request)}"

    model = FunctionModel(answer)
    first = await map_runs(Agent(model), ["a", "b", "a"], sessions=sessions)
    assert [each.is_done for each in first] == [True, False, True]
    assert len({each.session for each in first}) == 3, "the same prompt twice has two runs"
    down = False
    model.requests.clear()
    again = await map_runs(Agent(model), ["new", "a", "a", "b"], sessions=sessions)
    assert [each.output for each in again] == [f"answer to {name}" for name in ("new", "a", "a", "b")]
    assert sorted(map(question, model.requests)) == ["b", "new"]


async def test_typed_outputs_are_read_again_from_the_session() -> None:
    sessions = MemorySessions()
    agent = Agent(FunctionModel(lambda _: '{"value": 7}'), output_type=int)
    for _ in range(2):
        (outcome,) = await map_runs(agent, ["how many?"], sessions=sessions)
        assert outcome.output == 7
    assert isinstance(agent.model, FunctionModel)
    assert len(agent.model.requests) == 1


async def test_an_output_that_is_not_accepted_any_more_is_asked_for_again_and_stored() -> None:
    sessions = MemorySessions()
    await map_runs(Agent(FunctionModel(lambda _: "seven")), ["how many?"], sessions=sessions)
    agent = Agent(FunctionModel(lambda _: '{"value": 7}'), output_type=int)
    for _ in range(2):
        (outcome,) = await map_runs(agent, ["how many?"], sessions=sessions)
        assert outcome.output == 7
    assert isinstance(agent.model, FunctionModel)
    assert len(agent.model.requests) == 1


@pytest.mark.parametrize("sessions", [None, MemorySessions()], ids=["without", "sessions"])
async def test_what_is_not_a_prompt_is_an_outcome_too(sessions: MemorySessions | None) -> None:
    prompts: list[Any] = ["", 7, "a", [7]]
    outcomes = await map_runs(Agent(FunctionModel(echo)), prompts, sessions=sessions)
    assert [type(each.error) for each in outcomes] == [ConfigError, ConfigError, type(None), ConfigError]
    assert "not 7" in str(outcomes[1].error)


async def test_an_interrupted_run_is_resumed_where_it_stood() -> None:
    sessions = MemorySessions()
    done: list[int] = []
    hang, asked_again = True, anyio.Event()

    @tool
    def act(n: int) -> str:
        """Act."""
        done.append(n)
        return "acted"

    async def answer(request: ChatRequest) -> Answer:
        if not any(isinstance(each, AssistantMessage) for each in request.messages):
            return call("act", n=1)
        if hang:
            asked_again.set()
            await anyio.sleep_forever()
        return "all done"

    agent = Agent(FunctionModel(answer), tools=[act])
    async with map_runs(agent, ["go"], sessions=sessions):
        await asked_again.wait()
    hang = False
    (outcome,) = await map_runs(agent, ["go"], sessions=sessions)
    assert (outcome.output, done) == ("all done", [1])


async def test_a_paused_run_is_an_outcome_and_continues_after_the_decision() -> None:
    sessions = MemorySessions()

    @tool(requires_approval=True)
    def send() -> str:
        """Send."""
        return "sent"

    def answer(request: ChatRequest) -> Answer:
        return "it is sent" if any(each.role == "tool" for each in request.messages) else call("send", id="x")

    agent = Agent(FunctionModel(answer), tools=[send])
    (paused,) = await map_runs(agent, ["go"], sessions=sessions)
    assert paused.result
    assert (paused.result.status, paused.is_done) == ("paused", False)
    with pytest.raises(RunError, match="paused"):
        _ = paused.output
    state = await sessions[paused.session].state()
    assert state
    state.approve("x")
    await agent.run(resume=state, session=sessions[paused.session])
    (done,) = await map_runs(agent, ["go"], sessions=sessions)
    assert done.output == "it is sent"


async def test_keys_name_the_sessions_and_two_prompts_cannot_have_the_same() -> None:
    sessions = MemorySessions()
    agent = Agent(FunctionModel(echo), name="clerk")
    outcomes = await map_runs(agent, ["mail 1: hi", "mail 2: ho"], sessions=sessions, key=lambda each: str(each)[:6])
    assert [each.session for each in outcomes] == ["clerk/mail 1", "clerk/mail 2"]
    with pytest.raises(ConfigError, match="two prompts have the key 'mail 1'"):
        await map_runs(agent, ["mail 1: hi", "mail 1: ho"], sessions=sessions, key=lambda each: str(each)[:6])
    with pytest.raises(ConfigError, match="key= must return a string that names the prompt, not None"):
        await map_runs(agent, ["mail 1: hi"], sessions=sessions, key=print)  # type: ignore[arg-type]


async def test_two_of_one_file_never_run_the_same_prompt_at_once(tmp_path: Any) -> None:
    sessions = SQLiteSessions(tmp_path / "batch.db")

    async def answer(_: ChatRequest) -> Answer:
        (other,) = await map_runs(Agent(FunctionModel(echo)), ["a"], sessions=SQLiteSessions(tmp_path / "batch.db"))
        assert isinstance(other.error, SessionBusy)
        return "done once"

    (outcome,) = await map_runs(Agent(FunctionModel(answer)), ["a"], sessions=sessions)
    assert outcome.output == "done once"


def costly(_: ChatRequest) -> Answer:
    usage = Usage(requests=1, prompt_tokens=60, completion_tokens=40, total_tokens=100, cost=0.5)
    return Reply(choices=(Choice(message=AssistantMessage("done"), finish_reason="stop"),), usage=usage)


@pytest.mark.parametrize("totals", [{"total_tokens": 250}, {"total_cost": 1.25}])
async def test_totals_hold_for_all_runs_together(totals: dict[str, Any]) -> None:
    model = FunctionModel(costly)
    outcomes = await map_runs(Agent(model), map(str, range(10)), concurrency=1, **totals)
    assert [each.is_done for each in outcomes] == [True] * 3 + [False] * 7
    assert all(isinstance(each.error, LimitReached) for each in outcomes[3:])
    assert len(model.requests) == 3


async def test_totals_hold_within_a_run_too() -> None:
    def answer(request: ChatRequest) -> Answer:
        usage = Usage(requests=1, total_tokens=100)
        return Reply(
            choices=(Choice(message=AssistantMessage(None, (call("act", id=str(len(request.messages))),))),),
            usage=usage,
        )

    @tool
    def act() -> str:
        """Act."""
        return "acted"

    agent = Agent(FunctionModel(answer), tools=[act], limits=Limits(on_limit="stop", repeated_turns=None))
    (outcome,) = await map_runs(agent, ["go"], total_tokens=350)
    assert outcome.result
    assert (outcome.result.status, outcome.result.state.turns) == ("limited", 4)


async def test_the_usage_of_the_runs_counts_for_the_run_whose_tool_starts_them() -> None:
    inner = Agent(FunctionModel(costly))

    @tool
    async def ask_many() -> int:
        """Ask many."""
        return len(await map_runs(inner, ["a", "b", "c"], total_tokens=1000))

    def answer(request: ChatRequest) -> Answer:
        return "done" if any(each.role == "tool" for each in request.messages) else call("ask_many")

    result = await Agent(FunctionModel(answer), tools=[ask_many]).run("go")
    assert result.usage.cost == pytest.approx(1.5)


async def test_an_observer_receives_the_events_of_all_runs() -> None:
    ended: set[str] = set()

    def observe(event: Event) -> None:
        if isinstance(event, RunFinished) and event.origin:
            ended.add(event.origin.run_id)

    outcomes = await map_runs(Agent(FunctionModel(echo)), ["a", "b"], on_event=observe)
    assert ended == {each.result.state.run_id for each in outcomes if each.result}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


async def test_progress_is_one_line_that_is_erased_before_anything_else_is_printed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    async with map_runs(Agent(FunctionModel(echo)), ["a", "fail", "c"], concurrency=1, progress=True) as outcomes:
        async for _ in outcomes:
            terminal.write("<read>")
    shown = terminal.getvalue()
    assert "] 0/3" in shown
    assert "2/3, 1 failed" in shown
    assert shown.endswith("\r\x1b[K")
    assert all(part.endswith("\x1b[K") for part in shown.split("<read>")[:-1])


async def test_progress_is_silent_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    await map_runs(Agent(FunctionModel(echo)), ["a"], progress=True)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"concurrency": 0}, r"concurrency=0\): must be a whole number, at least 1"),
        ({"concurrency": True}, "concurrency=True"),
        ({"concurrency": 2.5}, "concurrency=2.5"),
        ({"prompts": "one prompt"}, "a list or a generator of prompts, not 'one prompt'"),
        ({"prompts": 7}, "not 7"),
        ({"agent": "openai:gpt-5-mini"}, "takes an Agent"),
        ({"sessions": "batch.db"}, r'SQLiteSessions\("work.db"\), not \'batch.db\''),
        ({"sessions": MemorySessions()["one"]}, "takes all sessions"),
        ({"key": str}, "pass sessions= too"),
        ({"key": 7, "sessions": MemorySessions()}, "key=7"),
        ({"total_tokens": 0}, "total_tokens=0"),
        ({"total_cost": "5"}, "total_cost='5'"),
        ({"on_event": 7}, "on_event=7"),
    ],
    ids=str,
)
def test_a_wrong_argument_is_named_at_once(options: dict[str, Any], complaint: str) -> None:
    given: dict[str, Any] = {"agent": Agent(FunctionModel(echo)), "prompts": ["a"], **options}
    with pytest.raises(ConfigError, match=complaint):
        map_runs(given.pop("agent"), given.pop("prompts"), **given)


async def test_reading_without_starting_says_how_to_start() -> None:
    with pytest.raises(ConfigError, match="async with map_runs"):
        await anext(map_runs(Agent(FunctionModel(echo)), ["a"]))


async def test_they_are_started_once() -> None:
    runs = map_runs(Agent(FunctionModel(echo)), ["a"])
    assert [each.output for each in await runs] == ["A"]
    with pytest.raises(ConfigError, match="already started"):
        await runs


def test_code_that_is_not_async_gets_a_list() -> None:
    outcomes = call_sync(map_runs, Agent(FunctionModel(echo)), ["a", "b"])
    assert [each.output for each in outcomes] == ["A", "B"]
