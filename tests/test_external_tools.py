"""Tools that do not run here: somebody outside gives their results."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from agentkit import Agent, ImagePart, RunResult, RunState, ToolResult, tool
from agentkit.chat.messages import AssistantMessage, ToolMessage
from agentkit.errors import DefinitionError, StateError
from agentkit.testing import Answer, ScriptedModel, call
from agentkit.tools.tool import Tool

pytestmark = pytest.mark.anyio

ASK = Tool.external(
    "ask_customer",
    "Ask the customer.",
    {"type": "object", "properties": {"question": {"type": "string"}}, "required": ["question"]},
)


def agent(*script: Answer, tools: Sequence[Any] = (ASK,), **options: Any) -> Agent:
    return Agent(ScriptedModel(script), tools=tools, **options)


async def resumed(state: RunState, *script: Answer, **options: Any) -> RunResult[str]:
    return await agent(*script, **options).run(resume=RunState.load(state.to_json()))


def read(result: RunResult[str]) -> list[str]:
    return [each.text for each in result.messages if isinstance(each, ToolMessage)]


async def test_a_call_of_an_external_tool_pauses_until_it_is_answered() -> None:
    made = agent([call("ask_customer", id="q", question="Which size?"), call("ask_customer", id="r", question="Why?")])
    result = await made.run("An order, please.")
    assert (result.status, result.state.calls) == ("paused", 0)
    first, second = result.pending
    assert (first.id, first.name, first.arguments) == ("q", "ask_customer", {"question": "Which size?"})
    assert (first.external, first.reason) == (True, "ask_customer runs outside this program")
    result.state.answer("q", {"size": 43}, by="shop")
    again = await resumed(result.state)
    assert [each.id for each in again.pending] == [second.id]
    again.state.deny("r", "the customer has left")
    done = await resumed(again.state, "Size 43.")
    assert read(done) == ['{"size":43}', "Error: not run: a person refused this call: the customer has left"]
    assert (done.status, done.output) == ("done", "Size 43.")


async def test_the_model_is_offered_an_external_tool_like_any_other() -> None:
    model = ScriptedModel(["hi"])
    await Agent(model, tools=[ASK]).run("hi")
    assert model.requests[0].tools[0].name == "ask_customer"


async def test_an_external_call_cannot_be_approved() -> None:
    state = (await agent(call("ask_customer", id="q", question="?")).run("hi")).state
    before = state.to_json()
    with pytest.raises(StateError, match=r"does not run here: pass its result to answer\('q', ...\)"):
        state.approve("q")
    assert state.to_json() == before


async def test_a_tool_that_was_moved_outside_needs_an_answer_though_it_was_approved() -> None:
    @tool(name="ask_customer", requires_approval=True)
    def here(question: str) -> str:
        """Ask the customer."""
        raise AssertionError

    outside = Tool.external("ask_customer", "Ask the customer.", here.parameters)
    assert outside.fingerprint == here.fingerprint
    state = (await agent(call("ask_customer", id="q", question="?"), tools=[here]).run("hi")).state
    state.approve("q", always=True)
    result = await resumed(state, tools=[outside])
    assert [each.external for each in result.pending] == [True]
    result.state.answer("q", "yes")
    assert read(await resumed(result.state, "done", tools=[outside])) == ["yes"]


async def test_a_refusal_for_good_holds_for_external_tools_too() -> None:
    calls = [call("ask_customer", id=id_, question=id_) for id_ in "qr"]
    state = (await agent(calls).run("hi")).state
    state.deny("q", "nobody is there", always=True)
    result = await resumed(state, call("ask_customer", question="?"), "done")
    assert result.status == "done"
    assert read(result) == ["Error: not run: a person refused this call: nobody is there"] * 3


async def test_an_answer_holds_for_its_call_only_and_so_do_its_files() -> None:
    state = (await agent(call("ask_customer", id="q", question="Which?")).run("hi")).state
    state.answer("q", ImagePart("data:image/png;base64,iVBORw0KGgo="))
    said = state.messages[-1]
    assert isinstance(said, AssistantMessage)
    state.messages[-1] = replace(said, tool_calls=(call("ask_customer", id="q", question="Why?"),))
    result = await resumed(state)
    assert [each.arguments for each in result.pending] == [{"question": "Why?"}]
    result.state.deny("q")
    assert [each.role for each in (await resumed(result.state, "done")).messages][2:] == ["tool", "assistant"]


async def test_an_answer_that_failed_reads_like_a_failed_call() -> None:
    state = (await agent(call("ask_customer", id="q", question="?")).run("hi")).state
    state.answer("q", ToolResult("the line is dead", is_error=True))
    assert read(await resumed(state, "done")) == ["Error: the line is dead"]


def test_the_schema_of_an_external_tool_is_one_of_an_object() -> None:
    with pytest.raises(DefinitionError, match="must be a JSON Schema of type 'object'"):
        Tool.external("ask", "Ask.", {"type": "array"})
