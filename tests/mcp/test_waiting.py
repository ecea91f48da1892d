"""Questions of a server that the run waits for: it is saved, and resumed in another process with what a person says."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from mcp.server.mcpserver import MCPServer as SdkServer
from mcp.server.mcpserver.resolve import Elicit as SdkElicit
from mcp.server.mcpserver.resolve import Resolve
from pydantic import BaseModel

from agentkit import Agent, Event, RunState, tool
from agentkit.events import ApprovalRequested, CallRetried
from agentkit.mcp import Elicit, MCPServer, MCPToolset, Sample, ask_client
from agentkit.sessions import MemorySessions
from agentkit.testing import ScriptedModel, call
from tests.mcp.servers import hostile, results, use

pytestmark = pytest.mark.anyio
KEY = b"k" * 32
PARTY = {"type": "object", "properties": {"people": {"type": "integer"}}, "required": ["people"]}
OUTSIDE = {"type": "object", "properties": {"outside": {"type": "boolean"}}, "required": ["outside"]}
SAID: list[str] = []


@tool(idempotent=True)
async def book(place: str) -> str:
    """Book a table."""
    first = await ask_client(party=Elicit(f"How many at {place}?", PARTY), greeting=Sample("Greet."))
    if first["party"] is None:
        return f"{first['greeting']} Nothing booked."
    if first["party"]["people"] > 6:
        where = await ask_client(where=Elicit("Outside?", OUTSIDE))
        return f"{first['greeting']} A party {'outside' if where['where']['outside'] else 'inside'}."
    return f"{first['greeting']} {first['party']['people']} at {place}."


@tool
def hello() -> str:
    """Say hello."""
    SAID.append("hello")
    return "hello"


def agent(*script: Any) -> tuple[Agent[Any, str], ScriptedModel]:
    """An agent of a process, with its server; and the model that the server samples."""
    sampled = ScriptedModel(["Hi."] * 3)
    toolset = MCPToolset(MCPServer(book, key=KEY).sdk_server(), name="tables", elicitation=True, sampling=sampled)
    return Agent(ScriptedModel([*script, "done"]), tools=[toolset, hello]), sampled


async def begun() -> RunState:
    """A run that waits, as another process loads it."""
    first, _ = agent([call("book", place="Ada's"), call("hello")])
    return RunState.load((await first.run("Go.")).state.to_json())


async def test_a_run_waits_and_is_resumed_in_another_process_with_the_answer() -> None:
    SAID.clear()
    events: list[Event] = []
    first, sampled = agent([call("book", place="Ada's"), call("hello")])
    paused = await first.run("Go.", on_event=events.append)
    [waiting] = paused.pending
    assert (waiting.name, waiting.path, waiting.external) == ("elicitation", ("book",), True)
    assert waiting.reason == "the MCP server tables asks"
    assert waiting.arguments == {"message": "How many at Ada's?", "schema": PARTY}
    assert [each.call.name for each in events if isinstance(each, ApprovalRequested)] == ["elicitation"]
    assert not [each for each in events if isinstance(each, CallRetried)]
    state = RunState.load(paused.state.to_json())
    state.answer(state.pending[0].id, {"people": 4})
    second, sampled_later = agent()
    run = await second.run(resume=state)
    assert (results(run), run.output) == (["Hi. 4 at Ada's.", "hello"], "done")
    assert (SAID, len(sampled.requests), len(sampled_later.requests)) == (["hello"], 1, 0)


@pytest.mark.parametrize("said", ["4", '{"people": 4}'])
async def test_an_answer_may_be_the_only_value_that_is_asked_for(said: str) -> None:
    state = await begun()
    state.answer(state.pending[0].id, said)
    assert results(await agent()[0].run(resume=state))[0] == "Hi. 4 at Ada's."


async def test_a_person_who_refuses_declines() -> None:
    state = await begun()
    state.deny(state.pending[0].id)
    assert results(await agent()[0].run(resume=state))[0] == "Hi. Nothing booked."


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("many", "at people: 'many' is not of type 'integer'"),
        ({"persons": 4}, "the person's answer lacks 'people'"),
    ],
)
async def test_an_answer_that_does_not_fit_is_asked_for_again(said: Any, why: str) -> None:
    state = await begun()
    state.answer(state.pending[0].id, said)
    paused = await agent()[0].run(resume=state)
    assert paused.status == "paused"
    assert why in paused.pending[0].reason
    paused.state.answer(paused.pending[0].id, 2)
    assert results(await agent()[0].run(resume=paused.state))[0] == "Hi. 2 at Ada's."


async def test_a_server_may_ask_more_after_an_answer() -> None:
    state = await begun()
    first = state.pending[0].id
    state.answer(first, 12)
    paused = await agent()[0].run(resume=state)
    [waiting] = paused.pending
    assert (waiting.arguments["message"], waiting.id != first) == ("Outside?", True)
    paused.state.answer(waiting.id, "yes")
    assert results(await agent()[0].run(resume=paused.state))[0] == "Hi. A party outside."


async def test_a_session_keeps_a_run_that_waits() -> None:
    session = MemorySessions()["one"]
    await agent([call("book", place="Ada's"), call("hello")])[0].run("Go.", session=session)
    state = await session.state()
    assert state is not None
    state.answer(state.pending[0].id, 3)
    run = await agent()[0].run(resume=state, session=session)
    assert results(run) == ["Hi. 3 at Ada's.", "hello"]


class Name(BaseModel):
    name: str


class Party(BaseModel):
    people: int
    note: str = "none"


async def who() -> SdkElicit[Name]:
    return SdkElicit("Who are you?", Name)


async def how_many() -> SdkElicit[Party]:
    return SdkElicit("How many will come?", Party)


sdk_server = SdkServer("tables")


@sdk_server.tool()
async def reserve(name: Annotated[Name, Resolve(who)], party: Annotated[Party, Resolve(how_many)]) -> str:
    """Reserve a table."""
    return f"{party.people} for {name.name}, note: {party.note}"


async def test_of_several_answers_only_those_that_do_not_fit_are_asked_for_again() -> None:
    def reserving(*script: Any) -> Agent[Any, str]:
        return Agent(ScriptedModel([*script, "done"]), tools=[MCPToolset(sdk_server, elicitation=True)])

    state = (await reserving(call("reserve")).run("Go.")).state
    asked = {each.arguments["message"]: each.id for each in state.pending}
    assert asked.keys() == {"Who are you?", "How many will come?"}
    state.answer(asked["Who are you?"], "Ada")
    state.answer(asked["How many will come?"], "four")
    paused = await reserving().run(resume=state)
    assert [each.arguments["message"] for each in paused.pending] == ["How many will come?"]
    assert "it must be a JSON object with people, note" in paused.pending[0].reason
    paused.state.answer(paused.pending[0].id, {"people": 4})
    assert results(await reserving().run(resume=paused.state)) == ["4 for Ada, note: none"]


async def test_a_server_before_2026_cannot_make_a_run_wait_and_that_is_said() -> None:
    run = await use(hostile("elicits", elicitation=True))
    assert run.status == "done"
    assert "a run with an open call cannot be saved until somebody answers" in results(run)[0]
