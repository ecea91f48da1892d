from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from agentkit import Agent, ChatSettings, Limits, RunState, ToolContext, ToolResult, handoff, tool
from agentkit.errors import ConfigError, DefinitionError, OutputInvalid, StateError, TooManyMistakes
from agentkit.events import AgentChanged, Event, TurnStarted, event_from_dict, event_to_dict
from agentkit.messages import AssistantMessage, AudioOutput, Message, ToolCall, UserMessage
from agentkit.middleware import Middleware
from agentkit.run.transcript import check
from agentkit.sessions import MemorySessions
from agentkit.testing import Answer, ScriptedModel, call

pytestmark = pytest.mark.anyio

TO_BILLING = call("transfer_to_billing", id="h")
paid: list[int] = []


@pytest.fixture(autouse=True)
def nothing_is_paid() -> None:
    paid.clear()


@tool
def look_up(order: int) -> str:
    """Look up an order."""
    return f"order {order} was shipped"


@tool(requires_approval=True)
def refund(order: int) -> str:
    """Refund an order."""
    paid.append(order)
    return f"refunded {order}"


def billing(*script: Answer, **options: Any) -> Agent[Any, Any]:
    given: dict[str, Any] = {"instructions": "You do the billing.", "tools": [refund], **options}
    return Agent(ScriptedModel(script), name="billing", description="Knows about money.", **given)


def triage(*script: Answer, to: Agent[Any, Any], keep: Any = "all", **options: Any) -> Agent[Any, Any]:
    given: dict[str, Any] = {"instructions": "You sort.", **options}
    return Agent(ScriptedModel(script), name="triage", tools=[look_up, handoff(to, keep=keep)], **given)


def requests(agent: Agent[Any, Any]) -> list[Any]:
    model = agent.model
    assert isinstance(model, ScriptedModel)
    return list(model.requests)


def texts(messages: Sequence[Message]) -> list[str]:
    return [each.text for each in messages]


# What holds after a hand-off.


async def test_the_next_turn_has_the_model_instructions_tools_and_settings_of_the_next_agent() -> None:
    second = billing("Refunded.", settings=ChatSettings(temperature=0.5))
    first = triage(TO_BILLING, to=second, settings=ChatSettings(temperature=0.1))
    seen: list[Event] = []
    result = await first.run("Refund order 7.", on_event=seen.append)
    assert (result.output, result.status, result.state.agent) == ("Refunded.", "done", "billing")
    (asked,) = requests(second)
    assert texts(asked.messages)[:2] == ["You do the billing.", "Refund order 7."]
    assert [each.name for each in asked.tools] == ["refund"]
    assert asked.settings.temperature == 0.5
    assert [each.name for each in requests(first)[0].tools] == ["look_up", "transfer_to_billing"]
    assert [(each.previous, each.agent) for each in seen if isinstance(each, AgentChanged)] == [("triage", "billing")]
    assert [each.origin.agent for each in seen if isinstance(each, TurnStarted) and each.origin] == [
        "triage",
        "billing",
    ]


async def test_the_model_reads_when_to_hand_off() -> None:
    described, given = handoff(billing()), handoff(billing(), when="It is about money.", name="to_money")
    assert (described.name, described.description) == (
        "transfer_to_billing",
        "Hand the conversation off to billing. Knows about money.",
    )
    assert (given.name, given.description) == ("to_money", "Hand the conversation off to billing. It is about money.")


async def test_the_event_has_a_json_form() -> None:
    event = AgentChanged("triage", "billing")
    assert event_from_dict(event_to_dict(event)) == event


async def test_calls_beside_a_hand_off_get_their_results() -> None:
    second = billing("Shipped.")
    result = await triage([call("look_up", order=7), TO_BILLING, call("look_up", order=8)], to=second).run("go")
    assert result.output == "Shipped."
    assert texts(requests(second)[0].messages)[3:] == [
        "order 7 was shipped",
        "The conversation was handed off to billing.",
        "order 8 was shipped",
    ]
    assert check(result.messages) == []


@pytest.mark.parametrize("keep", ["all", "last exchange"])
async def test_files_of_a_call_beside_a_hand_off_are_read_by_the_next_agent(keep: Any) -> None:
    @tool
    def photo() -> bytes:
        """Take a photo."""
        return b"\x89PNG\r\n\x1a\n" + bytes(20)

    second = billing("I see.")
    first = Agent(
        ScriptedModel([[call("photo"), TO_BILLING]]), name="triage", tools=[photo, handoff(second, keep=keep)]
    )
    assert (await first.run("Look.")).output == "I see."
    sent = requests(second)[0].messages
    assert [each.role for each in sent] == ["system", "user", "assistant", "tool", "tool", "user"]


async def test_of_two_hand_offs_in_one_reply_the_first_counts() -> None:
    second = billing("Me.")
    support = Agent(ScriptedModel([]), name="support", description="Helps.")
    first = Agent(
        ScriptedModel([[TO_BILLING, call("transfer_to_support")]]),
        name="triage",
        tools=[handoff(second), handoff(support)],
    )
    result = await first.run("go")
    assert (result.output, result.state.agent) == ("Me.", "billing")
    assert result.messages[3].text == "Error: not handed off: only the first hand-off of a reply counts"


async def test_the_output_is_that_of_the_agent_that_ends_the_run() -> None:
    @dataclass
    class Receipt:
        cents: int

    second = billing('{"cents": "many"}', '{"cents": 5}', output_type=Receipt)
    first: Agent[Any, Any] = triage(TO_BILLING, to=second)
    async with first.stream("go") as stream:
        drafts = [draft async for draft in stream.output()]
    assert drafts[-1] == Receipt(5)
    assert {} in drafts or {"cents": 5} in drafts
    with pytest.raises(OutputInvalid):
        await triage(TO_BILLING, to=billing(*["no"] * 9, output_type=Receipt)).run("go")


async def test_a_run_that_a_tool_has_ended_is_not_handed_off() -> None:
    @tool
    def end() -> ToolResult:
        """End it."""
        return ToolResult("over", final=True)

    first = Agent(ScriptedModel([[call("end"), TO_BILLING]]), name="triage", tools=[end, handoff(billing())])
    result = await first.run("go")
    assert (result.output, result.state.agent) == ("over", "triage")


async def test_mistakes_of_one_agent_do_not_count_for_the_next() -> None:
    @tool(retries=1)
    def exact(n: int) -> int:
        """Take a number."""
        return n

    wrong = call("exact", n="x")
    second = billing(wrong, "fine", tools=[exact])
    first = Agent(ScriptedModel([wrong, TO_BILLING]), name="triage", tools=[exact, handoff(second)])
    assert (await first.run("go")).output == "fine"
    with pytest.raises(TooManyMistakes):
        await Agent(ScriptedModel([wrong, wrong]), tools=[exact]).run("go")


async def test_dependencies_reach_every_agent_and_are_checked_for_all() -> None:
    @tool
    def who(context: ToolContext[str]) -> str:
        """Who is it?"""
        return context.deps

    second = Agent(ScriptedModel([call("who"), "Ada."]), tools=[who], deps_type=str, name="billing", description="b")
    first = Agent(ScriptedModel([TO_BILLING]), tools=[handoff(second)], deps_type=str, name="triage")
    result = await first.run("go", deps="ada")
    assert result.messages[-2].text == "ada"
    loose: Agent[Any, Any] = Agent(ScriptedModel([TO_BILLING]), tools=[handoff(second)], name="triage")
    with pytest.raises(ConfigError, match="tool who needs deps of the type str"):
        await loose.run("go")


# Back and forth.


def circle(first: Sequence[Answer], second: Sequence[Answer]) -> Agent[Any, Any]:
    back = handoff("triage", when="It is not about money.")
    return triage(*first, to=billing(*second, tools=[back]))


async def test_an_agent_can_get_the_conversation_back_by_its_name() -> None:
    agent = circle([TO_BILLING, "So it is with me."], [call("transfer_to_triage", id="b")])
    seen: list[Event] = []
    result = await agent.run("go", on_event=seen.append)
    assert (result.output, result.state.agent) == ("So it is with me.", "triage")
    assert [each.agent for each in seen if isinstance(each, AgentChanged)] == ["billing", "triage"]
    assert list(agent.agents) == ["triage", "billing"]


async def test_circles_are_bounded_in_each_exchange() -> None:
    there: list[Answer] = [call("transfer_to_billing", id=f"t{n}") for n in range(3)]
    back: list[Answer] = [call("transfer_to_triage", id=f"b{n}") for n in range(3)]
    agent = circle([*there, "again", "x"], [*back[:1], "I do it myself.", *back])
    result = await agent.run("go", limits=Limits(handoffs=2))
    assert result.state.agent == "triage"
    assert "Error: not handed off: the limit of 2 hand-offs was reached" in texts(result.messages)
    more = await agent.run("more", history=result, limits=Limits(handoffs=2))
    assert more.state.agent == "triage"


async def test_hand_offs_can_be_switched_off() -> None:
    result = await triage(TO_BILLING, "Myself.", to=billing()).run("go", limits=Limits(handoffs=0))
    assert (result.output, result.state.agent) == ("Myself.", "triage")


# What the next agent reads.

EARLIER: list[Message] = [UserMessage("What is new?"), AssistantMessage("Nothing.")]


async def test_all_messages_stay_by_default() -> None:
    second = billing("Yes.")
    await triage(TO_BILLING, to=second).run("Refund?", history=EARLIER)
    assert texts(requests(second)[0].messages)[1:4] == ["What is new?", "Nothing.", "Refund?"]


async def test_only_the_last_exchange_is_kept_if_asked_for() -> None:
    second = billing(call("refund", order=7), "Yes.", tools=[tool(refund, requires_approval=False)])
    result = await triage(TO_BILLING, to=second, keep="last exchange").run("Refund?", history=EARLIER)
    for request in requests(second):
        assert texts(request.messages)[1:3] == ["Refund?", ""]
    assert texts(result.messages)[:3] == ["What is new?", "Nothing.", "Refund?"], "the state has them all"
    assert len(result.new_messages) == 6
    again = RunState.load(result.state.to_json())
    agent = triage(to=billing("And again."), keep="last exchange")
    await agent.run("More?", history=again)
    assert texts(requests_of(agent, "billing")[0].messages)[1] == "Refund?", "what was left out stays out"


def requests_of(agent: Agent[Any, Any], name: str) -> list[Any]:
    model = agent.agents[name].model
    assert isinstance(model, ScriptedModel)
    return list(model.requests)


async def test_a_function_chooses_what_is_kept_and_may_add_to_it() -> None:
    def summary(messages: Sequence[Message]) -> Sequence[Message]:
        return [UserMessage(f"{len(messages)} messages before"), *messages[-3:]]

    second = billing("Yes.")
    result = await triage(TO_BILLING, to=second, keep=summary).run("Refund?", history=EARLIER)
    assert texts(requests(second)[0].messages)[1:] == [
        "5 messages before",
        "Refund?",
        "",
        "The conversation was handed off to billing.",
    ]
    assert check(result.messages) == []
    assert texts(result.new_messages)[0] == "Refund?"
    assert texts(result.messages)[:3] == ["5 messages before", "What is new?", "Nothing."], "the state has them all"


@pytest.mark.parametrize(
    ("keep", "complaint"),
    [
        (slice(0, 2), "has no result"),
        (slice(0, 0), "there are none"),
        (slice(None, None, -1), "is not the next open call"),
    ],
    ids=["a call without its result", "nothing", "another order"],
)
async def test_a_function_that_returns_what_cannot_be_sent_is_refused(keep: slice, complaint: str) -> None:
    def some(messages: Sequence[Message]) -> Sequence[Message]:
        return messages[keep]

    with pytest.raises(ConfigError, match=f"keep= of transfer_to_billing returned cannot be sent: .*{complaint}"):
        await triage(TO_BILLING, to=billing(), keep=some).run("go")


async def test_a_function_that_changes_the_order_is_refused() -> None:
    def turned(messages: Sequence[Message]) -> Sequence[Message]:
        return [*messages[1:], messages[0]]

    with pytest.raises(ConfigError, match="their order has changed"):
        await triage(TO_BILLING, to=billing(), keep=turned).run("go")


async def test_nobody_reads_what_a_function_that_fails_would_have_left_out() -> None:
    def fails(_messages: Sequence[Message]) -> Sequence[Message]:
        raise ValueError("not now")

    state = RunState(messages=[])
    with pytest.raises(ValueError, match="not now"):
        async with triage(TO_BILLING, to=billing(), keep=fails).stream("Refund?", history=EARLIER) as stream:
            state = stream.state
            await stream.result()
    assert (state.status, state.agent) == ("failed", "triage")
    second = billing("Yes.")
    done = await triage(to=second, keep="last exchange").run(resume=state)
    assert (done.output, done.state.agent) == ("Yes.", "billing")
    assert texts(requests(second)[0].messages)[1:3] == ["Refund?", ""]


def thinking(call_: ToolCall) -> AssistantMessage:
    signed = ToolCall(call_.id, call_.name, call_.arguments, extra={"extra_content": {"signature": "s"}})
    details = ({"type": "reasoning.encrypted", "data": "x"},)
    return AssistantMessage(None, (signed,), reasoning="hm", reasoning_details=details, audio=AudioOutput(id="a"))


async def test_another_model_does_not_get_what_only_the_first_one_understands() -> None:
    second = billing("Yes.")
    first = triage(thinking(TO_BILLING), to=second)
    result = await first.run("go")
    sent = requests(second)[0].messages[2]
    assert (sent.reasoning, sent.reasoning_details, sent.audio.id) == (None, (), "")
    assert sent.tool_calls[0].extra == {}
    stored = result.messages[1]
    assert isinstance(stored, AssistantMessage)
    assert stored.reasoning == "hm", "the first agent gets it again if the conversation comes back"


async def test_the_same_model_gets_it_all() -> None:
    model = ScriptedModel([thinking(TO_BILLING), "Yes."])
    second = Agent(model, name="billing", description="Bills.")
    await Agent(model, name="triage", tools=[handoff(second)]).run("go")
    sent = model.requests[1].messages[1]
    assert isinstance(sent, AssistantMessage)
    assert sent.tool_calls[0].extra == {"extra_content": {"signature": "s"}}
    assert sent.reasoning == "hm"


# Stopping, saving, resuming.


@pytest.mark.parametrize("stored", [False, True], ids=["here", "in another process"])
async def test_a_state_resumes_with_the_agent_that_had_it(stored: bool) -> None:
    result = await triage(TO_BILLING, to=billing([call("refund", id="p", order=7)])).run("go")
    (waiting,) = result.pending
    assert (waiting.name, result.state.agent) == ("refund", "billing")
    state = RunState.load(result.state.to_json()) if stored else result.state
    state.approve("p")
    second = billing("It is paid.")
    done = await triage(to=second).run(resume=state)
    assert (done.output, paid) == ("It is paid.", [7])
    assert texts(requests(second)[0].messages)[0] == "You do the billing."


async def test_a_hand_off_waits_for_the_decision_about_a_call_beside_it() -> None:
    def sorter(*script: Answer, to: Agent[Any, Any]) -> Agent[Any, Any]:
        return Agent(ScriptedModel(script), name="triage", tools=[refund, handoff(to)])

    result = await sorter([TO_BILLING, call("refund", id="p", order=7)], to=billing()).run("go")
    assert (result.status, result.state.agent) == ("paused", "triage"), "the tool is that of the first agent"
    result.state.approve("p")
    done = await sorter(to=billing("Done.", tools=[])).run(resume=RunState.load(result.state.to_json()))
    assert (done.output, done.state.agent, paid) == ("Done.", "billing", [7])


async def test_a_hand_off_itself_may_need_approval_and_happens_only_if_it_is_given() -> None:
    def careful(*script: Answer, to: Agent[Any, Any]) -> Agent[Any, Any]:
        return Agent(ScriptedModel(script), name="triage", tools=[tool(handoff(to), requires_approval=True)])

    async def decided(decide: Any, *script: Answer) -> tuple[str, str]:
        state = (await careful(TO_BILLING, to=billing()).run("go")).state
        decide(state, id="h")
        done = await careful(*script, to=billing("Billed.")).run(resume=state)
        return done.output, done.state.agent

    assert await decided(RunState.approve) == ("Billed.", "billing")
    assert await decided(RunState.deny, "Myself.") == ("Myself.", "triage")
    assert await decided(partial(RunState.answer, value="They are closed."), "Myself.") == ("Myself.", "triage")


async def test_a_state_is_refused_by_agents_that_do_not_have_its_agent() -> None:
    result = await triage(TO_BILLING, to=billing([call("refund", id="p", order=7)])).run("go")
    other = Agent(ScriptedModel([]), name="triage", tools=[look_up])
    with pytest.raises(StateError, match="belongs to the agent 'billing', and this agent is 'triage'"):
        await other.run(resume=result.state)
    alone = billing("Alone.")
    result.state.approve("p")
    assert (await alone.run(resume=result.state)).output == "Alone."


async def test_a_session_goes_on_with_the_agent_that_has_the_conversation() -> None:
    session = MemorySessions()["s"]
    await triage(TO_BILLING, to=billing("Which order?")).run("Refund!", session=session)
    second = billing("Refunded.")
    result = await triage(to=second).run("Order 7.", session=session)
    assert (result.output, result.state.agent) == ("Refunded.", "billing")
    assert texts(requests(second)[0].messages)[-2:] == ["Which order?", "Order 7."]
    other = Agent(ScriptedModel(["Hello."]), name="other")
    assert (await other.run("Hi", session=session)).state.agent == "other"


async def test_a_result_as_history_goes_on_with_its_agent_and_its_messages_do_not() -> None:
    result = await triage(TO_BILLING, to=billing("Which order?")).run("Refund!")
    more = await triage("no", to=billing("Refunded.")).run("Order 7.", history=result)
    assert (more.output, more.state.agent) == ("Refunded.", "billing")
    fresh = await triage("What is it?", to=billing()).run("Order 7.", history=result.messages)
    assert (fresh.output, fresh.state.agent) == ("What is it?", "triage")


async def test_a_run_that_ended_right_after_a_hand_off_goes_on_with_the_next_agent() -> None:
    stopped = await triage(TO_BILLING, to=billing()).run("go", limits=Limits(turns=1, on_limit="stop"))
    assert (stopped.status, stopped.state.agent) == ("limited", "billing")
    done = await triage(to=billing("Here.")).run(resume=stopped.state, limits=Limits())
    assert done.output == "Here."


async def test_an_agent_that_hands_off_can_be_a_tool() -> None:
    desk = triage(TO_BILLING, to=billing([call("refund", id="p", order=7)])).replace(description="Answers customers.")
    outer = Agent(ScriptedModel([call("triage", id="o", prompt="Refund 7.")]), tools=[desk.as_tool()], name="boss")
    result = await outer.run("go")
    (waiting,) = result.pending
    assert (waiting.id, waiting.path) == ("o/p", ("triage",))
    result.state.approve(waiting.id)
    desk = triage(to=billing("Paid.")).replace(description="Answers customers.")
    again = Agent(ScriptedModel(["Done."]), tools=[desk.as_tool()], name="boss")
    done = await again.run(resume=RunState.load(result.state.to_json()))
    assert (done.output, paid) == ("Done.", [7])
    assert done.messages[2].text == "Paid."


# What wraps the run.


class Noting(Middleware):
    def __init__(self, name: str, notes: list[str]) -> None:
        self.name, self.notes = name, notes

    async def around_run(self, run: Any, inner: Any) -> Any:
        self.notes.append(f"{self.name} run")
        return await inner()

    async def around_model(self, turn: Any, inner: Any) -> Any:
        self.notes.append(f"{self.name} {turn.run.agent} model")
        return await inner(turn)

    async def around_tool(self, call: Any, inner: Any) -> Any:
        self.notes.append(f"{self.name} {call.run.agent} {call.call.name}")
        return await inner(call)


async def test_the_middleware_of_the_first_agent_wraps_the_run_and_that_of_another_its_turns() -> None:
    notes: list[str] = []
    shared = Noting("shared", notes)
    second = billing([call("look_up", order=7)], "Done.", tools=[look_up], middleware=[Noting("own", notes), shared])
    await triage(TO_BILLING, to=second, middleware=[shared]).run("go")
    assert notes == [
        "shared run",
        "shared triage model",
        "shared triage transfer_to_billing",
        "shared billing model",
        "own billing model",
        "shared billing look_up",
        "own billing look_up",
        "shared billing model",
        "own billing model",
    ]


# Mistakes in writing.


def test_an_agent_needs_a_name_and_a_reason_to_be_handed_off_to() -> None:
    with pytest.raises(DefinitionError, match="needs a name to be handed off to"):
        handoff(Agent(ScriptedModel([]), description="Helps."))
    with pytest.raises(DefinitionError, match="when to hand off to 'helper' is missing"):
        handoff(Agent(ScriptedModel([]), name="helper"))
    with pytest.raises(DefinitionError, match="takes an agent or the name of one, not 7"):
        handoff(7, when="never")  # type: ignore[call-overload]
    with pytest.raises(DefinitionError, match='must be "all", "last exchange" or a function'):
        handoff(billing(), keep="some")  # type: ignore[call-overload]


def test_an_agent_that_hands_off_needs_a_name_of_its_own() -> None:
    with pytest.raises(DefinitionError, match="an agent that hands off to 'billing' needs a name"):
        Agent(ScriptedModel([]), tools=[handoff(billing())])


def test_an_agent_does_not_hand_off_to_itself() -> None:
    with pytest.raises(DefinitionError, match="the agent 'billing' hands off to itself: remove transfer_to_billing"):
        billing(tools=[handoff("billing", when="always")])


def test_two_hand_offs_of_one_name_are_refused() -> None:
    with pytest.raises(DefinitionError, match="two tools are named 'transfer_to_billing'"):
        Agent(ScriptedModel([]), name="triage", tools=[handoff(billing()), handoff(billing())])


def test_two_agents_of_one_name_are_refused() -> None:
    with pytest.raises(DefinitionError, match="two agents are named 'billing', and to_b hands off to one of them"):
        Agent(ScriptedModel([]), name="triage", tools=[handoff(billing()), handoff(billing(), name="to_b")])


async def test_a_name_that_no_agent_of_the_run_has_is_refused_before_anything_is_sent() -> None:
    agent = billing("x", tools=[handoff("triage", when="Other things.")])
    with pytest.raises(ConfigError, match="the agent 'billing' hands off to 'triage', which is not part of this run"):
        await agent.run("go")


def test_limits_on_tools_may_name_those_of_every_agent() -> None:
    agent = triage(to=billing(), limits=Limits(calls_per_tool={"refund": 1, "look_up": 2}))
    assert agent.limits.calls_of("refund") == 1
    with pytest.raises(ConfigError, match="did you mean 'refund'"):
        triage(to=billing(), limits=Limits(calls_per_tool={"refunds": 1}))


async def test_further_tools_of_a_run_may_hand_off() -> None:
    second = billing("Here.")
    agent = Agent(ScriptedModel([TO_BILLING]), name="triage")
    assert (await agent.run("go", tools=[handoff(second)])).state.agent == "billing"
