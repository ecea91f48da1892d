"""How far a run goes, and how it ends then."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from agentkit import (
    Agent,
    AssistantMessage,
    ConfigError,
    Event,
    ImagePart,
    Limits,
    Reply,
    RunResult,
    Tool,
    ToolContext,
    Usage,
    tool,
)
from agentkit.chat.events import Emit
from agentkit.chat.messages import ToolCall, ToolMessage
from agentkit.chat.reply import Choice
from agentkit.chat.request import ChatRequest
from agentkit.errors import LimitReached, ToolFailed
from agentkit.middleware import Eager
from agentkit.run.events import LimitWarning, RunFinished
from agentkit.run.limits import Price
from agentkit.run.step import count_repeated_turns
from agentkit.run.transcript import check
from agentkit.testing import Answer, ScriptedModel, call

pytestmark = pytest.mark.anyio


@tool
async def look(where: str = "here") -> str:
    """Look."""
    return f"nothing {where}"


@tool
async def spare() -> str:
    """Look elsewhere."""
    return "nothing here"


@tool
async def fail() -> str:
    """Fail."""
    raise OSError("broken")


def wants(*names: str, tokens: int = 0, cost: float | None = None) -> Reply:
    """A reply with calls that took so many tokens."""
    wants.count += 1  # type: ignore[attr-defined]  # ids must differ
    calls = tuple(
        ToolCall(f"{wants.count}-{place}", name, f'{{"where": "{wants.count}"}}')  # type: ignore[attr-defined]
        for place, name in enumerate(names)
    )
    usage = Usage(requests=1, prompt_tokens=tokens, total_tokens=tokens, cost=cost)
    return Reply(choices=(Choice(message=AssistantMessage(None, calls)),), usage=usage)


def wants_nothing(tokens: int, cost: float | None = None) -> Reply:
    """An answer that took so many tokens."""
    usage = Usage(requests=1, prompt_tokens=tokens, total_tokens=tokens, cost=cost)
    return Reply(choices=(Choice(message=AssistantMessage("ok")),), usage=usage)


wants.count = 0  # type: ignore[attr-defined]


def said(result: RunResult[str]) -> list[str]:
    return [each.text for each in result.messages if isinstance(each, ToolMessage)]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"turns": 0}, "at least one turn"),
        ({"calls": -1}, "cannot be negative"),
        ({"tokens": -1}, "cannot be negative"),
        ({"cost": 0}, "above 0"),
        ({"seconds": float("nan")}, "above 0"),
        ({"seconds": float("inf")}, "above 0"),
        ({"nested_depth": -1}, "cannot be negative"),
        ({"repeated_turns": 1}, "at least 2"),
        ({"failed_turns": 0}, "at least 1"),
        ({"calls_per_tool": {"look": -1}}, "cannot be negative"),
        ({"calls_per_tool": -1}, "cannot be negative"),
        ({"turns": None}, "whole number$"),
        ({"nested_depth": None}, "whole number$"),
        ({"request_retries": "3"}, "whole number$"),
        ({"turns": 2.5}, "whole number$"),
        ({"tokens": float("nan")}, "whole number, or None"),
        ({"calls": True}, "whole number, or None"),
        ({"seconds": "5"}, "a number, or None"),
        ({"cost": True}, "a number, or None"),
        ({"calls_per_tool": "3"}, "by its name"),
        ({"calls_per_tool": {"look": "3"}}, "by its name"),
        ({"price": 3}, "Price"),
        ({"on_limit": "shrug"}, '"answer", "stop" or "raise"'),
    ],
)
async def test_a_limit_that_means_nothing_is_refused(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        Limits(**options)


@pytest.mark.parametrize("price", [{"prompt": -1, "completion": 1}, {"prompt": 1, "completion": float("nan")}])
async def test_a_price_that_means_nothing_is_refused(price: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="not negative"):
        Price(**price)


async def test_a_run_over_its_tokens_is_asked_for_an_answer_from_what_it_has() -> None:
    model = ScriptedModel([wants("look", tokens=60), wants("look", tokens=60), "as far as I got"])
    result = await Agent(model, tools=[look]).run("go", limits=Limits(tokens=100))
    assert (result.status, result.limit, result.output) == ("limited", "the limit of 100 tokens", "as far as I got")
    assert model.requests[-1].settings.tool_choice == "none"
    assert "the limit of 100 tokens" in str(model.requests[-1].messages[-1])


async def test_a_run_over_its_cost_ends_with_the_servers_figures() -> None:
    model = ScriptedModel([wants("look", tokens=9, cost=0.4), wants("look", tokens=9, cost=0.4), "enough"])
    result = await Agent(model, tools=[look]).run("go", limits=Limits(cost=0.5))
    assert (result.status, result.limit) == ("limited", "the cost limit of 0.5")
    assert result.usage.cost == pytest.approx(0.8)


async def test_a_run_over_its_cost_ends_with_a_price_of_the_programs() -> None:
    price = Price(prompt=2, completion=8, cached=0.5)
    usage = Usage(prompt_tokens=1_000_000, cached_tokens=400_000, completion_tokens=100_000)
    assert price.of(usage) == pytest.approx(0.6 * 2 + 0.4 * 0.5 + 0.1 * 8)
    model = ScriptedModel([wants("look", tokens=300_000), "enough"])
    result = await Agent(model, tools=[look]).run("go", limits=Limits(cost=0.5, price=price))
    assert (result.status, result.limit) == ("limited", "the cost limit of 0.5")


async def test_a_limit_of_cost_that_nobody_can_measure_is_told_and_nothing_is_lost() -> None:
    with pytest.raises(ConfigError, match=r"does not report what a request costs.*Price") as caught:
        await Agent(ScriptedModel(["answer"])).run("go", limits=Limits(cost=1))
    assert caught.value.state.text == "answer"


async def test_calls_of_one_tool_over_their_limit_are_refused_and_the_run_goes_on() -> None:
    model = ScriptedModel([[call("look", where="a"), call("look", where="b")], [call("look"), call("spare")], "done"])
    limits = Limits(calls_per_tool={"look": 1})
    result = await Agent(model, tools=[look, spare]).run("go", limits=limits)
    assert (result.status, result.output) == ("done", "done")
    refused = "Error: not run: the limit of 1 call of look was reached"
    assert said(result) == ["nothing a", refused, refused, "nothing here"]


@pytest.mark.parametrize("per_tool", [1, {"look": 1}])
async def test_calls_of_one_tool_over_their_limit_end_the_run_where_that_is_wanted(
    per_tool: int | Mapping[str, int],
) -> None:
    script: list[Answer] = [[call("look"), call("look")], "never asked"]
    result = await Agent(ScriptedModel(script), tools=[look]).run(
        "go", limits=Limits(calls_per_tool=per_tool, on_limit="stop")
    )
    assert (result.status, result.limit) == ("limited", "the limit of 1 call of look")
    with pytest.raises(LimitReached, match="the limit of 1 call of look"):
        await Agent(ScriptedModel(script), tools=[look]).run(
            "go", limits=Limits(calls_per_tool=per_tool, on_limit="raise")
        )


async def test_turns_with_nothing_but_failures_end_the_run_with_an_answer() -> None:
    model = ScriptedModel([[call("fail")], [call("ignore_event")], [call("fail")], "I could not"])
    result = await Agent(model, tools=[fail]).run("go", limits=Limits(failed_turns=3))
    assert (result.status, result.output) == ("limited", "I could not")
    assert result.limit == "the limit of 3 turns in which every call failed"


async def test_a_call_that_works_gives_the_budget_for_failures_back() -> None:
    model = ScriptedModel([[call("fail")], [call("fail"), call("look")], [call("fail")], "done"])
    result = await Agent(model, tools=[fail, look]).run("go", limits=Limits(failed_turns=2))
    assert result.status == "done"


# Time.


class Hanging:
    """A model that never answers, except to the closing request."""

    def __init__(self) -> None:
        self.requests: list[ChatRequest] = []

    async def reply(self, request: ChatRequest, emit: Emit) -> Reply:
        self.requests.append(request)
        if request.settings.tool_choice != "none":
            await anyio.sleep_forever()
        return Reply(choices=(Choice(message=AssistantMessage("in short")),), usage=Usage(requests=1))


async def test_a_run_out_of_time_cancels_its_calls_and_answers() -> None:
    @tool(timeout=None)
    async def hang() -> None:
        await anyio.sleep_forever()

    model = ScriptedModel([[call("hang"), call("look")], "in short"])
    result = await Agent(model, tools=[hang, look]).run("go", limits=Limits(seconds=0.2))
    assert (result.status, result.limit, result.output) == ("limited", "the limit of 0.2 seconds", "in short")
    assert said(result)[0].startswith("Error: not finished: ")
    assert said(result)[1] == "nothing here"


async def test_a_run_out_of_time_while_the_model_is_asked_asks_it_once_for_an_answer() -> None:
    model = Hanging()
    result = await Agent(model).run("go", limits=Limits(seconds=0.2))
    assert (result.status, result.output, len(model.requests)) == ("limited", "in short", 2)


async def test_a_run_never_takes_longer_than_its_time_even_for_the_answer() -> None:
    class Silent:
        async def reply(self, request: ChatRequest, emit: Emit) -> Reply:
            await anyio.sleep_forever()
            raise AssertionError

    with anyio.fail_after(5):
        result = await Agent(Silent()).run("go", limits=Limits(seconds=0.1))
    assert (result.status, result.limit, result.output_or_none) == ("limited", "the limit of 0.1 seconds", None)


async def test_time_counts_on_in_a_run_that_is_gone_on_with() -> None:
    agent = Agent(Hanging(), limits=Limits(seconds=0.1, on_limit="stop"))
    first = await agent.run("go")
    assert first.state.seconds >= 0.1
    second = await agent.run(resume=first.state)
    assert (second.status, second.limit) == ("limited", "the limit of 0.1 seconds")
    assert second.state.seconds < first.state.seconds + 0.1


# Warnings.


async def test_four_fifths_of_a_limit_are_told_once() -> None:
    events: list[Event] = []
    model = ScriptedModel([wants("look"), wants("look"), wants("look"), wants("look"), "done"])
    await Agent(model, tools=[look]).run("go", on_event=events.append, limits=Limits(turns=5, calls=100))
    assert [each for each in events if isinstance(each, LimitWarning)] == [LimitWarning("turns", 4, 5)]


# Going round in a circle.


async def test_the_third_time_round_the_model_is_told_and_after_the_fifth_it_must_answer() -> None:
    model = ScriptedModel([*([call("look")] * 5), "I stop"])
    result = await Agent(model, tools=[look]).run("go")
    assert (result.status, result.output) == ("limited", "I stop")
    assert result.limit == "the limit of 5 turns with the same calls and the same results"
    notes = ["the same calls 3 times in a row" in str(each.messages[-1]) for each in model.requests]
    assert notes == [False, False, False, True, False, False]
    assert "the same calls 4 times in a row" in str(model.requests[4].messages[-1])
    assert not any("times in a row" in str(each) for each in result.messages), "the note is not part of what was said"


@pytest.mark.parametrize(
    "turns",
    [
        [call("look", where=str(place)) for place in range(8)],
        [[call("look"), call("look", where=str(place))] for place in range(8)],
    ],
    ids=["other arguments", "a sibling with other arguments"],
)
async def test_turns_that_differ_are_no_circle(turns: list[Answer]) -> None:
    result = await Agent(ScriptedModel([*turns, "done"]), tools=[look]).run("go")
    assert result.status == "done"


async def test_the_same_call_with_other_results_is_no_circle() -> None:
    count = iter(range(100))

    @tool
    async def poll() -> int:
        return next(count)

    result = await Agent(ScriptedModel([*([call("poll")] * 8), "done"]), tools=[poll]).run("go")
    assert result.status == "done"


async def test_the_same_calls_in_another_order_are_a_circle() -> None:
    one, other = call("look", where="a"), call("look", where="b")
    model = ScriptedModel([[one, other], [other, one], "I stop"])
    result = await Agent(model, tools=[look]).run("go", limits=Limits(repeated_turns=2))
    assert result.status == "limited"
    assert count_repeated_turns(result.messages[:-1]) == 2


async def test_circles_may_be_allowed() -> None:
    model = ScriptedModel([*([call("look")] * 9), "done"])
    assert (await Agent(model, tools=[look]).run("go", limits=Limits(repeated_turns=None))).status == "done"


# Agents inside tools.


def nested(inner: Agent, limits: Limits, script: list[Answer]) -> Agent:
    @tool(timeout=None)
    async def ask(question: str) -> str:
        """Ask another agent."""
        return (await inner.run(question)).output

    return Agent(ScriptedModel(script), tools=[ask, look], limits=limits)


async def test_what_an_agent_inside_a_tool_uses_counts_for_the_run_around_it() -> None:
    inner = Agent(ScriptedModel([wants("look", tokens=50, cost=0.25), "inner answer"]), tools=[look])
    outer = nested(inner, Limits(), [call("ask", question="?"), "outer answer"])
    result = await outer.run("go")
    assert result.usage.requests == 4
    assert result.usage.total_tokens > 50
    assert (result.usage.cost, result.state.calls, result.state.calls_by_tool) == (0.25, 2, {"ask": 1})


async def test_an_agent_inside_a_tool_has_no_more_than_the_run_around_it_has_left() -> None:
    inner = Agent(ScriptedModel([*[wants("look") for _ in range(9)], "never"]), tools=[look])
    outer = nested(inner, Limits(calls=4), [call("ask", question="?"), "outer answer"])
    result = await outer.run("go")
    assert result.state.calls == 4, "one of the outer run, three of the inner"


async def test_agents_inside_agents_go_only_so_deep() -> None:
    limits = Limits(nested_depth=2)
    agent = Agent(ScriptedModel(["the innermost"]))
    for _ in range(4):
        agent = nested(agent, limits, [call("ask", question="?"), "fine"])
    events: list[Event] = []
    result = await agent.run("go", on_event=events.append)
    assert result.status == "done"
    shallow = nested(Agent(ScriptedModel(["in"])), Limits(nested_depth=0), [call("ask", question="?"), "fine"])
    assert said(await shallow.run("go")) == [
        "Error: ask failed with LimitReached: agents may call agents 0 deep here, and no deeper"
    ]


# Going on.


async def test_a_run_that_was_limited_goes_on_with_more() -> None:
    model = ScriptedModel([wants("look"), wants("look"), "done"])
    agent = Agent(model, tools=[look], limits=Limits(turns=1, on_limit="stop"))
    first = await agent.run("go")
    assert (first.status, check(first.messages)) == ("limited", [])
    again = await agent.run(resume=first.state)
    assert again.status == "limited"
    assert again.state.turns == 1, "its limits are those of the state"
    last = await agent.run(resume=again.state, limits=replace(Limits(), turns=9))
    assert (last.status, last.output, last.state.turns) == ("done", "done", 3)


async def test_a_run_that_answered_at_its_limit_goes_on_with_more_than_that_answer() -> None:
    model = ScriptedModel([wants("look"), "so far nothing", wants("look"), "found"])
    agent = Agent(model, tools=[look])
    first = await agent.run("go", limits=Limits(turns=1))
    assert (first.status, first.output) == ("limited", "so far nothing")
    last = await agent.run(resume=first.state, limits=Limits())
    assert (last.status, last.output) == ("done", "found")
    assert [each.role for each in last.messages][3:6] == ["assistant", "user", "assistant"]


async def test_a_call_that_waits_when_the_run_fails_is_told_as_not_run() -> None:
    ran: list[str] = []

    @tool(requires_approval=True)
    async def careful() -> None:
        ran.append("careful")

    agent = Agent(ScriptedModel([[call("careful"), call("fail")]]), tools=[careful, fail], on_tool_error="raise")
    with pytest.raises(ToolFailed) as caught:
        await agent.run("go")
    assert "Error: not run: it was waiting for a decision" in caught.value.state.messages[2].text
    assert (ran, check(caught.value.state.messages)) == ([], [])


async def test_a_circle_is_seen_when_the_calls_return_files_too() -> None:
    pictures = iter("AAAAABC")

    @tool
    async def photo() -> ImagePart:
        """Take a photo."""
        return ImagePart(f"data:image/png;base64,{next(pictures)}")

    script: list[Answer] = [*([call("photo")] * 5), "enough"]
    circle = await Agent(ScriptedModel(script), tools=[photo]).run("go")
    assert (circle.state.turns, circle.limit[:18]) == (6, "the limit of 5 tur")
    fresh = await Agent(ScriptedModel([call("photo"), call("photo"), "two"]), tools=[photo]).run("go")
    assert (fresh.status, count_repeated_turns(fresh.messages[:-1])) == ("done", 1)


async def test_what_an_agent_inside_costs_has_the_price_of_the_run_around_it() -> None:
    inner = Agent(ScriptedModel([wants_nothing(1000)] * 2))

    @tool
    async def ask() -> str:
        """Ask."""
        return (await inner.run("go")).output

    price = Price(prompt=1.0, completion=1.0)
    model = ScriptedModel([[call("ask")], "done"])
    result = await Agent(model, tools=[ask], limits=Limits(cost=1, price=price)).run("go")
    assert (result.usage.cost or 0) > 1000 / 1e6


async def test_an_agent_inside_whose_cost_nobody_knows_does_not_go_on_unseen() -> None:
    inner = ScriptedModel([call("look"), "never"])

    @tool
    async def ask(where: str) -> str:
        """Ask."""
        return (await Agent(inner, tools=[look]).run("go")).output

    model = ScriptedModel([wants("ask", cost=0.1), wants_nothing(1, cost=0.1)])
    result = await Agent(model, tools=[ask], limits=Limits(cost=1)).run("go")
    assert "set a price" in said(result)[0]
    assert len(inner.requests) == 1


async def test_an_agent_that_begins_when_nothing_is_left_asks_nothing() -> None:
    inner = ScriptedModel([wants_nothing(1000)] * 3)

    @tool(sequential=True)
    async def ask(where: str) -> str:
        """Ask."""
        return (await Agent(inner).run("go")).status

    model = ScriptedModel([wants("ask", "ask", "ask"), "all"])
    result = await Agent(model, tools=[ask], limits=Limits(tokens=500)).run("go")
    assert (said(result), len(inner.requests)) == (["done", "limited", "limited"], 1)
    assert (result.status, result.output) == ("limited", "all")


async def test_a_run_that_was_cancelled_has_used_the_time_until_then() -> None:
    @tool(timeout=None)
    async def hang() -> None:
        """Never end."""
        await anyio.sleep_forever()

    events: list[Event] = []
    with anyio.move_on_after(0.1):
        await Agent(ScriptedModel([call("hang")]), tools=[hang]).run("go", on_event=events.append)
    started, ended = events[0], events[-1]
    assert isinstance(ended, RunFinished)
    assert started.origin is not None
    assert ended.origin is not None
    assert ended.state.seconds == pytest.approx(ended.origin.time - started.origin.time, abs=0.05)


async def test_a_cut_answer_is_gone_on_with_however_the_run_ended() -> None:
    choice = Choice(message=AssistantMessage("half of"), finish_reason="length")
    model = ScriptedModel([Reply(choices=(choice,), usage=Usage(requests=1)), "the rest"])
    agent = Agent(model, limits=Limits(on_limit="raise"))
    with pytest.raises(LimitReached) as caught:
        await agent.run("go")
    result = await agent.run(resume=caught.value.state)
    assert (result.status, result.output) == ("done", "the rest")


async def test_the_time_for_the_answer_is_not_taken_by_calls_that_have_not_begun() -> None:
    async def never(context: ToolContext[Any], arguments: dict[str, Any]) -> bool:
        await anyio.sleep_forever()
        return False

    agent = Agent(ScriptedModel([call("look"), "this is all"]), tools=[look], requires_approval=never)
    result = await agent.run("go", limits=Limits(seconds=0.2))
    assert (said(result), result.output) == (["Error: not run: the limit of 0.2 seconds was reached"], "this is all")


@pytest.mark.parametrize("on_limit", ["answer", "stop"])
async def test_a_run_without_time_begins_no_approved_call_and_takes_an_answer(on_limit: Any) -> None:
    careful = tool(look, name="careful", requires_approval=True)
    ask = Tool.external("ask", "Ask.", {"type": "object", "properties": {}})

    @tool(timeout=None)
    async def hang() -> None:
        """Never end."""
        await anyio.sleep_forever()

    calls = [call("careful", id="a"), call("ask", id="b"), call("hang", id="c")]
    agent = Agent(ScriptedModel([calls, "this is all"]), tools=[careful, ask, hang])
    paused = await agent.run("go", limits=Limits(seconds=0.1, on_limit=on_limit))
    paused.state.approve("a")
    paused.state.answer("b", 42)
    result = await agent.run(resume=paused.state)
    assert said(result)[:2] == ["Error: not run: the limit of 0.1 seconds was reached", "42"]
    assert (result.status, result.output_or_none) == ("limited", "this is all" if on_limit == "answer" else None)


@pytest.mark.parametrize("limits", [Limits(calls=1, on_limit="stop"), Limits(calls_per_tool=1, on_limit="stop")])
async def test_a_limit_that_was_reached_holds_when_the_calls_beside_it_have_waited(limits: Limits) -> None:
    careful = tool(look, name="careful", requires_approval=True)
    model = ScriptedModel([[call("careful", id="a"), call("careful", id="b")], "on and on"])
    agent = Agent(model, tools=[careful])
    paused = await agent.run("go", limits=limits)
    paused.state.approve("a")
    result = await agent.run(resume=paused.state)
    assert (result.status, result.limit[:14], len(model.requests)) == ("limited", "the limit of 1", 1)
    more = await agent.run(resume=paused.state, limits=Limits(calls=5))
    assert (more.status, more.output) == ("done", "on and on")


async def test_a_circle_is_seen_however_the_same_arguments_are_written() -> None:
    texts = ['{"where": "x", "n": 1}', '{"n":1,"where":"x"}'] * 3
    calls = [ToolCall(f"c{number}", "find", text) for number, text in enumerate(texts)]

    @tool
    async def find(where: str, n: int) -> str:
        """Find."""
        return "nothing"

    result = await Agent(ScriptedModel([*calls[:5], "enough"]), tools=[find]).run("go")
    assert (result.status, result.state.turns) == ("limited", 6)


async def test_agents_beside_each_other_share_a_limit_on_calls_also_while_a_policy_thinks() -> None:
    async def thinks(context: ToolContext[Any], arguments: dict[str, Any]) -> bool:
        await anyio.lowlevel.checkpoint()
        return False

    looked: list[str] = []

    @tool
    async def see(where: str) -> None:
        """Look."""
        looked.append(where)

    @tool
    async def ask(number: int) -> str:
        """Ask."""
        model = ScriptedModel([[call("see", where=f"{number} {each}") for each in "abc"], "done"])
        return (await Agent(model, tools=[see], requires_approval=thinks).run("go")).status

    model = ScriptedModel([[call("ask", number=each) for each in range(4)], "done"])
    result = await Agent(model, tools=[ask]).run("go", limits=Limits(calls=8))
    assert (len(looked), result.state.calls) == (4, 8)


async def test_a_tool_of_an_agent_inside_sees_what_the_run_around_it_has_left() -> None:
    seen: list[int | None] = []

    @tool(read_only=True)
    async def see(context: ToolContext[Any], number: int) -> None:
        """Look."""
        seen.append(context.remaining.calls)

    @tool
    async def ask() -> None:
        """Ask."""
        model = ScriptedModel([[call("see", number=each) for each in range(5)], "done"])
        async with Agent(model, tools=[see], middleware=[Eager()]).stream("go") as events:
            await events.result()

    await Agent(ScriptedModel([call("ask"), "done"]), tools=[ask]).run("go", limits=Limits(calls=3))
    assert seen == [0, 0]


@pytest.mark.parametrize("cost", [-5.0, float("nan"), float("inf")])
async def test_a_cost_that_cannot_be_is_none(cost: float) -> None:
    result = await Agent(ScriptedModel([wants_nothing(1, cost=cost)])).run("go")
    assert result.usage.cost is None
    with pytest.raises(ConfigError, match="set a price"):
        await Agent(ScriptedModel([wants_nothing(1, cost=cost)]), limits=Limits(cost=1)).run("go")


@pytest.mark.parametrize("name", ["turns", "calls", "tokens", "calls_per_tool", "request_retries"])
def test_a_limit_that_no_float_can_hold_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"Limits\({name}=.*must be a whole number"):
        Limits(**{name: 10**400})  # type: ignore[arg-type]  # the names are those of whole numbers
