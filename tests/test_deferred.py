import json
from collections.abc import Sequence
from typing import Any

import pytest

from agentkit import Agent, Limits, RunState, Tool, ToolContext, Toolset, tool
from agentkit.errors import ConfigError
from agentkit.events import Event, ToolChanged
from agentkit.run.deferred import rank_tools
from agentkit.testing import Answer, ScriptedModel, call

pytestmark = pytest.mark.anyio


def nothing(_context: Any, _arguments: Any) -> str:
    return "done"


def made(name: str, description: str, **parameters: str) -> Tool:
    properties = {each: {"type": "string", "description": text} for each, text in parameters.items()}
    return Tool.from_schema(name, description, {"type": "object", "properties": properties}, nothing)


MANY = Toolset(
    made("create_issue", "Open a new issue in a repository.", title="The title.", repository="Where it belongs."),
    made("closeIssue", "Close an issue.", number="The number of the issue."),
    made("send_mail", "Send a message to somebody.", recipient="Who gets the mail."),
    made("list_invoices", "List the invoices of a customer.", customer="The customer."),
    made("refund", "Give money back.", invoice="Which one was paid.", cents="How much."),
    *(made(f"other_{number}", f"Does something of kind {number}.") for number in range(500)),
)


@tool
def now() -> str:
    """Tell the time."""
    return "noon"


def agent_of(*script: Answer, **options: Any) -> tuple[Agent[Any], ScriptedModel]:
    model = ScriptedModel(script)
    return Agent(model, tools=[MANY.deferred(), now], **options), model


def offered(model: ScriptedModel) -> list[list[str]]:
    return [[each.name for each in request.tools] for request in model.requests]


def asks_for_refunds(context: ToolContext[Any], _arguments: dict[str, Any]) -> bool:
    return context.tool == "refund"


SEARCH = call("search_tools", id="s", query="refund an invoice")


async def test_only_a_search_is_offered_until_it_has_found_something() -> None:
    agent, model = agent_of(SEARCH, call("refund", invoice="7", cents="100"), "done")
    result = await agent.run("go")
    assert result.output == "done"
    first, second, third = offered(model)
    assert first == ["now", "search_tools"]
    assert second[: len(first)] == first, "what was there before begins the request"
    assert second[2] == "refund"
    assert third == second
    assert [each["name"] for each in json.loads(result.messages[2].text)] == second[2:]
    assert result.messages[4].text == "done"
    assert "505 are not listed here" in model.requests[0].tools[1].description


async def test_what_is_found_later_comes_last() -> None:
    agent, model = agent_of(
        call("search_tools", query="mail"),
        call("search_tools", query="issues"),
        call("search_tools", query="mail"),
        "x",
    )
    await agent.run("go")
    turns = offered(model)
    assert turns[1] == ["now", "search_tools", "send_mail"]
    assert turns[2][:3] == turns[1]
    assert set(turns[2][3:]) == {"create_issue", "closeIssue"}
    assert turns[3] == turns[2]


async def test_a_search_without_a_match_says_so() -> None:
    agent, model = agent_of(call("search_tools", query="zebra"), "x")
    result = await agent.run("go")
    assert result.messages[2].text == "No tool was found. Search with other words, or continue without one."
    assert offered(model)[1] == ["now", "search_tools"]


async def test_a_call_of_a_tool_that_was_not_found_yet_does_not_run_and_is_offered_then() -> None:
    ran: list[str] = []

    @tool(deferred=True)
    def deploy(where: str) -> str:
        """Deploy the program."""
        ran.append(where)
        return "deployed"

    model = ScriptedModel([call("deploy", where="x"), call("deploy", where="there"), call("depoy"), "done"])
    result = await Agent(model, tools=[deploy, now]).run("go")
    assert result.messages[2].text == (
        "Error: deploy was not run, as you had not seen its parameters; they are listed now, so call it again"
    )
    assert ran == ["there"]
    assert offered(model)[1] == ["now", "search_tools", "deploy"]
    assert result.messages[6].text == "Error: there is no tool 'depoy'; did you mean deploy?; search_tools finds 1 more"


@pytest.mark.parametrize("stored", [False, True], ids=["here", "in another process"])
async def test_what_was_found_survives_in_the_messages(stored: bool) -> None:
    agent, _ = agent_of(SEARCH, call("refund", id="r"), requires_approval=asks_for_refunds)
    state = (await agent.run("go")).state
    assert [each.name for each in state.pending] == ["refund"]
    if stored:
        state = RunState.load(state.to_json())
    state.approve("r")
    again, model = agent_of("done", requires_approval=True)
    seen: list[Event] = []
    result = await again.run(resume=state, on_event=seen.append)
    assert (result.output, result.messages[4].text) == ("done", "done")
    assert offered(model)[0][2] == "refund"
    assert not [each for each in seen if isinstance(each, ToolChanged)]
    more, model = agent_of("more")
    await more.run("more", history=result.messages)
    assert offered(model)[0][2] == "refund"


async def test_a_call_that_was_never_offered_does_not_run_when_the_run_is_resumed() -> None:
    agent, _ = agent_of([call("refund", id="r"), call("now", id="n")], requires_approval=True)
    state = (await agent.run("go")).state
    assert [each.name for each in state.pending] == ["now"]
    state.deny("n")
    again, model = agent_of("done")
    result = await again.run(resume=RunState.load(state.to_json()))
    assert "was not run, as you had not seen its parameters" in result.messages[2].text
    assert offered(model)[0][2] == "refund"


async def test_tools_of_a_source_can_be_deferred_and_conditions_hold() -> None:
    class Source:
        async def __aenter__(self) -> object:
            return self

        async def __aexit__(self, *_: object) -> None:
            return None

        async def tools(self, run: object) -> Sequence[Tool]:
            return list(Toolset(MANY["refund"], MANY["send_mail"]).deferred())

    hidden = Toolset(MANY["list_invoices"]).when(lambda _: False).deferred()
    model = ScriptedModel([call("search_tools", query="mail invoices"), "x"])
    await Agent(model, tools=[Source(), hidden, now]).run("go")
    assert offered(model)[1][:2] == ["now", "search_tools"]
    assert sorted(offered(model)[1][2:]) == ["refund", "send_mail"], "list_invoices may not be offered"


async def test_the_name_of_the_search_is_taken() -> None:
    with pytest.raises(ConfigError, match="a tool is named 'search_tools', which finds the deferred tools"):
        await Agent(ScriptedModel([]), tools=[MANY.deferred(), made("search_tools", "Search.")]).run("go")
    assert await Agent(ScriptedModel(["x"]), tools=[made("search_tools", "Search.")]).run("go")


async def test_limits_and_dependencies_know_deferred_tools() -> None:
    agent, _ = agent_of(limits=Limits(calls_per_tool={"refund": 1}))
    assert "refund" in agent.tools


@pytest.mark.parametrize(
    ("query", "best"),
    [
        ("refund", "refund"),
        ("refunding a customer who paid", "refund"),
        ("close issue", "closeIssue"),
        ("opening issues", "create_issue"),
        ("invoice of a customer", "list_invoices"),
        ("email somebody: send a mail", "send_mail"),
        ("kind 77", "other_77"),
        ("repository", "create_issue"),
    ],
)
def test_the_best_match_comes_first(query: str, best: str) -> None:
    assert rank_tools(query, list(MANY))[0].name == best


def test_nothing_matches_nothing() -> None:
    assert rank_tools("", list(MANY)) == []
    assert rank_tools("refund", []) == []
