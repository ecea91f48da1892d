from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from pydantic import BaseModel, Field

from agentkit import Agent, Limits, RunState, ToolContext, tool
from agentkit.chat import ChatRequest
from agentkit.errors import ConfigError, DefinitionError, StateError
from agentkit.events import ApprovalRequested, CallFinished, CallRetried, Event, RunFinished, TextDelta
from agentkit.sessions import MemorySessions
from agentkit.testing import Answer, Chunks, FunctionModel, ScriptedModel, call
from tests.crash.points import Died, Dying, Watched
from tests.kept import died

pytestmark = pytest.mark.anyio

paid: list[int] = []


@pytest.fixture(autouse=True)
def nothing_is_paid() -> None:
    paid.clear()


@tool(requires_approval=True)
def pay(amount: int) -> str:
    """Pay."""
    paid.append(amount)
    return f"paid {amount}"


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def accountant(*script: Answer, **options: Any) -> Agent[Any]:
    return Agent(ScriptedModel(script), tools=[pay, add], name="accountant", description="Pays bills.", **options)


def boss(*script: Answer, inner: Agent[Any], **options: Any) -> Agent[Any]:
    return Agent(ScriptedModel(script), tools=[inner.as_tool()], name="boss", **options)


ASK = call("accountant", id="q", prompt="Pay 5.")
PAY = call("pay", id="p", amount=5)


async def test_an_agent_is_a_tool_with_a_prompt() -> None:
    inner = accountant([call("add", a=2, b=3)], "5.")
    made = inner.as_tool()
    assert (made.name, made.description, made.timeout) == ("accountant", "Pays bills.", None)
    assert made.parameters["required"] == ["prompt"]
    model = ScriptedModel([ASK, "It is 5."])
    result = await Agent(model, tools=[made]).run("What is 2 + 3?")
    assert result.output == "It is 5."
    assert model.requests[1].messages[-1].text == "5."


async def test_its_arguments_can_be_the_fields_of_a_type() -> None:
    @dataclass
    class Bill:
        payee: str
        amount: int

    inner = Agent(FunctionModel(lambda request: request.messages[-1].text), name="payer", description="Pays.")
    made = inner.as_tool(input_type=Bill)
    asked = call("payer", payee="Ann", amount=5)
    model = ScriptedModel([asked, "done"])
    await Agent(model, tools=[made]).run("go")
    assert model.requests[1].messages[-1].text == '{"payee":"Ann","amount":5}'


async def test_fields_are_validated_before_the_agent_runs_or_anybody_is_asked() -> None:
    class Bill(BaseModel):
        amount: int = Field(gt=0)
        currency: str = "EUR"

    asked: list[Any] = []

    def policy(_context: ToolContext[Any], arguments: dict[str, Any]) -> bool:
        asked.append(arguments)
        return False

    model = ScriptedModel(["paid"])
    inner = Agent(model, name="payer", description="Pays.")
    made = inner.as_tool(input_type=Bill, requires_approval=policy)
    assert made.parameters["properties"].keys() == {"amount", "currency"}
    assert made.parameters["required"] == ["amount"]
    outer = ScriptedModel([call("payer", amount=0), call("payer", amount=5), "done"])
    await Agent(outer, tools=[made]).run("go")
    assert "greater than 0" in outer.requests[1].messages[-1].text
    assert asked == [{"amount": 5, "currency": "EUR"}]
    assert model.requests[0].messages[-1].text == '{"amount":5,"currency":"EUR"}'


def test_a_type_without_fields_is_no_input() -> None:
    with pytest.raises(DefinitionError, match="its fields become the arguments of the tool, and it has none"):
        accountant().as_tool(input_type=list[int])


@pytest.mark.parametrize("missing", [{"name": ""}, {"description": ""}], ids=["name", "description"])
def test_an_agent_without_a_name_or_a_description_is_no_tool(missing: dict[str, str]) -> None:
    options: Any = {"name": "a", "description": "b", **missing}
    with pytest.raises(DefinitionError, match="needs a name and a description"):
        Agent(ScriptedModel([]), **options).as_tool()


async def test_it_has_the_dependencies_of_the_outer_run() -> None:
    @tool
    def who(context: ToolContext[str]) -> str:
        """Who is it?"""
        return context.deps

    inner = Agent(ScriptedModel([call("who"), "Ada"]), tools=[who], deps_type=str, name="asker", description="Asks.")
    model = ScriptedModel([call("asker", prompt="who?"), "Ada"])
    result = await Agent(model, tools=[inner.as_tool()], deps_type=str).run("go", deps="ada")
    assert result.output == "Ada"


async def test_its_events_arrive_with_their_path_and_its_text_stays_apart() -> None:
    inner = accountant([call("add", a=2, b=3)], Chunks("fi", "ve"))
    agent = boss(ASK, Chunks("It is ", "five."), inner=inner)
    seen: list[Event] = []
    async with agent.stream("go") as stream:
        seen.extend([event async for event in stream])
    nested = [each for each in seen if each.origin and each.origin.path == ("accountant",)]
    assert [each.text for each in nested if isinstance(each, TextDelta)] == ["fi", "ve"]
    assert {each.origin.agent for each in nested if each.origin} == {"accountant"}
    assert [type(each) for each in seen].count(RunFinished) == 2
    async with boss(ASK, "It is five.", inner=accountant("five")).stream("go") as stream:
        assert [text async for text in stream.text()] == ["It is five."]
    async with boss(ASK, "It is five.", inner=accountant("five")).stream("go") as stream:
        assert [text async for text in stream.text(path=("accountant",))] == ["five"]


async def test_what_it_uses_counts_for_the_outer_limits() -> None:
    inner = accountant([call("add", a=1, b=1)], [call("add", a=2, b=2)], "4")
    result = await boss(ASK, "4", inner=inner).run("go", limits=Limits(calls=10))
    assert (result.state.calls, result.usage.requests) == (3, 5)
    inner = accountant(*[[call("add", a=n, b=n)] for n in range(9)], "sorry")
    limited = await boss(ASK, "enough", inner=inner).run("go", limits=Limits(calls=4))
    assert limited.state.calls <= 4


# Pauses.


async def paused(**options: Any) -> RunState:
    result = await boss(ASK, inner=accountant(PAY)).run("go", **options)
    assert result.status == "paused"
    return result.state


async def test_a_pause_of_the_inner_run_pauses_the_outer_one() -> None:
    seen: list[Event] = []
    state = await paused(on_event=seen.append)
    (waiting,) = state.pending
    assert (waiting.id, waiting.name, waiting.path) == ("q/p", "pay", ("accountant",))
    assert waiting.arguments == {"amount": 5}
    assert [each.call.id for each in seen if isinstance(each, ApprovalRequested)] == ["p"]
    assert not [each for each in seen if isinstance(each, CallFinished)]
    assert paid == []


async def test_an_inner_run_that_pauses_again_goes_on_from_its_second_pause() -> None:
    inner = accountant(PAY, call("pay", id="again", amount=6), "Paid both.")
    agent = boss(ASK, "They are paid.", inner=inner)
    state = (await agent.run("go")).state
    state.approve("q/p")
    second = await agent.run(resume=state)
    assert ([each.id for each in second.pending], paid) == (["q/again"], [5])
    second.state.approve("q/again")
    assert ((await agent.run(resume=second.state)).output, paid) == ("They are paid.", [5, 6])


async def test_a_call_that_was_approved_may_wait_for_what_happens_inside() -> None:
    made = accountant(PAY, "Paid.").as_tool(requires_approval=True)
    agent = Agent(ScriptedModel([ASK, "It is paid."]), tools=[made])
    state = (await agent.run("go")).state
    state.approve("q")
    second = await agent.run(resume=RunState.load(state.to_json()))
    assert ([each.id for each in second.pending], paid) == (["q/p"], [])
    second.state.approve("q/p")
    assert ((await agent.run(resume=second.state)).output, paid) == ("It is paid.", [5])


async def test_a_pause_is_no_failure_that_is_tried_again() -> None:
    seen: list[Event] = []
    made = accountant(PAY).as_tool(idempotent=True)
    result = await Agent(ScriptedModel([ASK]), tools=[made]).run("go", on_event=seen.append)
    assert ([each.id for each in result.pending], [each for each in seen if isinstance(each, CallRetried)]) == (
        ["q/p"],
        [],
    )


@pytest.mark.parametrize("stored", [False, True], ids=["here", "in another process"])
async def test_a_decision_resumes_the_inner_run_exactly_there(stored: bool) -> None:
    state = await paused()
    state.approve("q/p", by="ann")
    if stored:
        state = RunState.load(state.to_json(key=b"secret"), key=b"secret")
    inner = accountant("Paid.")
    again = boss("It is paid.", inner=inner)
    result = await again.run(resume=state)
    assert (result.output, result.status, paid) == ("It is paid.", "done", [5])
    assert result.state.nested == {}
    assert [each.text for each in result.messages] == ["go", "", "Paid.", "It is paid."]
    assert result.state.calls == 2, "each call counts once"


async def test_a_refusal_reaches_the_inner_model() -> None:
    state = await paused()
    state.deny("q/p", "too much")
    model = ScriptedModel(["Not paid."])
    inner = Agent(model, tools=[pay, add], name="accountant", description="Pays bills.")
    result = await boss("It is not paid.", inner=inner).run(resume=state)
    assert "too much" in model.requests[0].messages[-1].text
    assert (result.output, paid) == ("It is not paid.", [])


async def test_a_decision_about_a_call_that_does_not_wait_is_refused() -> None:
    state = await paused()
    with pytest.raises(StateError, match="no call 'x' waits"):
        state.approve("q/x")
    with pytest.raises(StateError, match="no call 'q' waits"):
        state.approve("q")


async def test_deciding_about_a_copy_leaves_the_state_as_it_was() -> None:
    state = await paused()
    state.copy().approve("q/p")
    assert [each.id for each in state.pending] == ["q/p"]


async def test_siblings_finish_and_two_inner_runs_may_wait() -> None:
    one, two = (
        accountant(PAY),
        Agent(ScriptedModel([PAY]), tools=[pay], name="treasurer", description="Pays large bills."),
    )
    script: list[Answer] = [
        [ASK, call("treasurer", id="r", prompt="Pay 5."), call("add", id="a", a=1, b=1)],
    ]
    agent = Agent(ScriptedModel(script), tools=[one.as_tool(), two.as_tool(), add], name="boss")
    result = await agent.run("go")
    assert [each.id for each in result.pending] == ["q/p", "r/p"]
    for each in result.pending:
        result.state.approve(each.id)
    one, two = accountant("one"), Agent(ScriptedModel(["two"]), tools=[pay], name="treasurer", description="Pays.")
    agent = Agent(
        ScriptedModel(["done"]), tools=[one.as_tool(), two.as_tool(description="Pays large bills."), add], name="boss"
    )
    done = await agent.run(resume=result.state)
    assert (done.status, paid) == ("done", [5, 5])
    assert [each.text for each in done.messages][2:5] == ["one", "two", "2"]


async def test_a_pause_three_levels_deep_shows_its_whole_path() -> None:
    inner = accountant(PAY)
    middle = Agent(
        ScriptedModel([call("accountant", id="m", prompt="Pay.")]),
        tools=[inner.as_tool()],
        name="clerk",
        description="Files.",
    )
    outer = Agent(ScriptedModel([call("clerk", id="o", prompt="File.")]), tools=[middle.as_tool()], name="boss")
    result = await outer.run("go")
    assert [(each.id, each.path) for each in result.pending] == [("o/m/p", ("clerk", "accountant"))]
    result.state.approve("o/m/p")
    inner, middle = (
        accountant("Paid."),
        middle.replace(model=ScriptedModel(["Filed."]), tools=[accountant("Paid.").as_tool()]),
    )
    done = await outer.replace(model=ScriptedModel(["Done."]), tools=[middle.as_tool()]).run(
        resume=RunState.load(result.state.to_json())
    )
    assert (done.output, paid) == ("Done.", [5])


async def test_it_pauses_and_resumes_in_a_session() -> None:
    session = MemorySessions()["s"]
    await paused(session=session)
    state = await session.state()
    assert state is not None
    state.approve("q/p")
    result = await boss("Done.", inner=accountant("Paid.")).run(resume=state, session=session)
    assert (result.output, paid) == ("Done.", [5])


async def test_a_limit_of_the_inner_run_is_an_answer_or_an_error() -> None:
    inner = accountant([call("add", a=1, b=1)], "as far as I got", limits=Limits(turns=1))
    model = ScriptedModel([ASK, "ok"])
    await Agent(model, tools=[inner.as_tool()]).run("go")
    assert model.requests[1].messages[-1].text == "as far as I got"


# Mistakes in writing.


def test_an_agent_that_would_call_itself_is_refused_where_it_is_written() -> None:
    clerk = Agent(
        ScriptedModel([]), tools=[boss(inner=accountant()).replace(description="Leads.").as_tool()], name="clerk"
    )
    with pytest.raises(DefinitionError, match="the agent 'accountant' would call itself through its tool clerk"):
        accountant().replace(tools=[clerk.replace(description="Files.").as_tool()])


def test_limits_under_which_an_inner_agent_could_never_run_are_refused() -> None:
    middle = boss(inner=accountant()).replace(description="Leads.")
    with pytest.raises(
        ConfigError, match=r"nested_depth=1\): the agent 'accountant' is 2 deep in the tool boss and could never"
    ):
        Agent(ScriptedModel([]), tools=[middle.as_tool()], limits=Limits(nested_depth=1))
    agent = Agent(ScriptedModel([]), tools=[middle.as_tool()], limits=Limits(nested_depth=2))
    with pytest.raises(ConfigError, match="could never run: raise the limit"):
        agent.run_sync("go", limits=Limits(nested_depth=0))


# Crashes.


@pytest.mark.parametrize("paused", [False, True], ids=["at once", "after a pause"])
async def test_after_a_crash_the_inner_run_continues_where_it_was_and_what_it_spent_counts(paused: bool) -> None:
    done: list[str] = []

    @tool
    def act(context: ToolContext[Any]) -> str:
        """Do something."""
        done.append(context.idempotency_key)
        return "acted"

    dying, session = Dying(0), MemorySessions()["s"]

    def team(inner: FunctionModel | ScriptedModel, *script: Answer) -> Agent[Any]:
        agent = Agent(inner, tools=[act, pay], name="accountant", description="Pays bills.")
        return Agent(ScriptedModel(script), tools=[agent.as_tool(), add], name="boss")

    def first(request: ChatRequest) -> Answer:
        if len(request.messages) == before:
            return call("act", id="only_here")
        dying.dead = True
        raise Died

    asked: list[Answer] = [[call("add", id="s", a=1, b=1), ASK]]
    before, begin = 1, partial(team(FunctionModel(first), *asked).run, "go")
    if paused:
        state = (await team(ScriptedModel([PAY]), *asked).run("go", session=session, run_id="r")).state
        state.approve("q/p")
        before, begin = 3, partial(team(FunctionModel(first)).run, resume=state)
    try:
        await begin(session=Watched(session, dying), run_id="r")
    except BaseException as error:
        if not died(error):
            raise
    inner = ScriptedModel(["It is done."])
    result = await team(inner, "All is done.").run(resume=True, session=session)
    assert (result.output, len(done)) == ("All is done.", 1)
    before_it = ["", "paid 5"] if paused else []
    assert [each.text for each in inner.requests[0].messages] == ["Pay 5.", *before_it, "", "acted"]
    assert (done, paid) == (["r:call:q:call:only_here"], [5] * paused)
    assert (result.state.calls, result.usage.requests) == (3 + paused, 4 + paused), "each call and reply counts once"
    assert result.state.calls_by_tool == {"add": 1, "accountant": 1}
