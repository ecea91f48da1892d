"""What servers ask while a call is open: a model's reply, a person's answer, directories."""

import json
from pathlib import Path
from typing import Annotated, Any

import pytest
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.resolve import Elicit, Resolve
from pydantic import BaseModel

from agentkit import Agent, Limits
from agentkit.chat import ChatRequest
from agentkit.mcp import MCPToolset, Question
from agentkit.testing import FunctionModel, ScriptedModel, call
from tests.mcp.servers import hostile, results, use

pytestmark = pytest.mark.anyio


async def test_the_model_of_the_agent_answers_what_a_server_samples_and_the_run_counts_it() -> None:
    asked: list[ChatRequest] = []

    def reply(request: ChatRequest) -> Any:
        asked.append(request)
        if request.tools:
            return call("echo") if len(request.messages) == 1 else "done"
        return "Hello there."

    run = await Agent(FunctionModel(reply), tools=[hostile("samples", sampling=True)]).run("Go.")
    sampled = json.loads(results(run)[0])
    assert sampled["content"] == {"text": "Hello there.", "type": "text"}
    assert (asked[1].settings.max_tokens, asked[1].messages[-1].content) == (50, "Hi")
    assert run.usage.requests == 3


async def test_another_model_answers_and_without_one_nothing_is_sampled() -> None:
    run = await use(hostile("samples", sampling=ScriptedModel(["From another."])))
    assert json.loads(results(run)[0])["content"]["text"] == "From another."
    assert "not supported" in results(await use(hostile("samples")))[0]


async def test_a_run_without_tokens_left_samples_nothing() -> None:
    agent = Agent(ScriptedModel([call("echo"), "done"]), tools=[hostile("samples", sampling=ScriptedModel(["no"] * 3))])
    run = await agent.run("Go.", limits=Limits(nested_depth=0))
    assert "agents may call agents 0 deep" in results(run)[0]


async def test_a_person_answers_with_what_the_schema_proposes_filled_in() -> None:
    questions: list[Question] = []

    async def ask(question: Question) -> dict[str, Any] | None:
        questions.append(question)
        return {"name": "Ada"}

    run = await use(hostile("elicits", name="forms", elicitation=ask))
    assert json.loads(results(run)[0]) == {"action": "accept", "content": {"name": "Ada"}}
    assert (questions[0].server, questions[0].message, questions[0].tool) == ("forms", "Who?", "echo")
    assert questions[0].schema["required"] == ["name"]


async def test_a_person_can_decline_and_an_answer_without_what_is_needed_is_an_error() -> None:
    async def decline(question: Question) -> None:
        return None

    async def forget(question: Question) -> dict[str, Any]:
        return {}

    assert json.loads(results(await use(hostile("elicits", elicitation=decline)))[0]) == {"action": "decline"}
    assert "the person's answer lacks 'name'" in results(await use(hostile("elicits", elicitation=forget)))[0]
    assert "not supported" in results(await use(hostile("elicits")))[0]


async def test_a_server_learns_the_directories_that_it_may_work_in(tmp_path: Path) -> None:
    run = await use(hostile("roots", roots=[tmp_path]))
    assert json.loads(results(run)[0]) == {"roots": [{"name": tmp_path.name, "uri": tmp_path.as_uri()}]}
    assert "not supported" in results(await use(hostile("roots")))[0]


class Name(BaseModel):
    name: str


async def who() -> Elicit[Name]:
    return Elicit("Who are you?", Name)


server = MCPServer("greeter")


@server.tool()
async def greet(name: Annotated[Name, Resolve(who)]) -> str:
    """Greet a person."""
    return f"Hello {name.name}"


async def test_a_server_of_2026_asks_in_the_same_way() -> None:
    async def ask(question: Question) -> dict[str, Any]:
        return {"name": "Ada"}

    agent = Agent(ScriptedModel([call("greet"), "done"]), tools=[MCPToolset(server, elicitation=ask)])
    assert results(await agent.run("Go.")) == ["Hello Ada"]
