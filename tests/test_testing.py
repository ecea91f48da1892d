from typing import Any

import pytest

from agentkit import Agent, AssistantMessage, Progress, Reply, TextDelta, ToolContext, tool
from agentkit.chat import ChatRequest
from agentkit.errors import DefinitionError, RateLimited
from agentkit.events import Event
from agentkit.testing import Chunks, FunctionModel, ScriptedModel, call, context

pytestmark = pytest.mark.anyio


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


async def test_a_script_is_played_in_order() -> None:
    model = ScriptedModel([call("add", a=1, b=2), AssistantMessage("three")])
    assert (await Agent(model, tools=[add]).run("go")).output == "three"
    assert model.left == 0


async def test_a_script_that_does_not_fit_says_what_it_was_asked() -> None:
    model = ScriptedModel([call("add", a=1, b=2)])
    with pytest.raises(AssertionError) as caught:
        await Agent(model, tools=[add]).run("what is 1+2?")
    said = str(caught.value)
    assert "the script has 1 answer(s), but the model was asked 2 times" in said
    assert "user: what is 1+2?" in said
    assert 'assistant: add({"a": 1, "b": 2})' in said
    assert "tool: 3" in said
    assert "tools: add; tool_choice: not set" in said


@pytest.mark.parametrize("answer", [{"add": {"a": 1}}, [{"add": {"a": 1}}], 3, None])
async def test_an_answer_that_is_none_is_refused_in_a_sentence(answer: Any) -> None:
    with pytest.raises(DefinitionError, match="answers with text, call"):
        await Agent(ScriptedModel([answer]), tools=[add]).run("go")


async def test_pieces_are_streamed_as_given() -> None:
    seen: list[Event] = []
    reply = await ScriptedModel([Chunks("a", "", "b")]).reply(ChatRequest(messages=[]), seen.append)
    assert seen == [TextDelta("a"), TextDelta(""), TextDelta("b")]
    assert reply.text == "ab"


async def test_an_error_in_a_script_is_raised() -> None:
    with pytest.raises(RateLimited):
        await Agent(ScriptedModel([RateLimited("slow down", status=429)])).run("hi")


async def test_calls_get_ids_that_differ_and_are_the_same_in_each_test() -> None:
    model = ScriptedModel([[call("add", a=1, b=2), call("add", a=1, b=2)]])
    reply = await model.reply(ChatRequest(messages=[]), lambda _: None)
    assert [each.id for each in reply.message.tool_calls] == ["call_1_1", "call_1_2"]


async def test_a_function_can_be_a_model_and_may_be_async() -> None:
    async def answer(request: ChatRequest) -> Reply | str:
        return request.messages[-1].text.upper()

    assert (await Agent(FunctionModel(answer)).run("hi")).output == "HI"


async def test_a_tool_with_a_context_can_be_called_directly() -> None:
    @tool
    def greet(context: ToolContext[str], name: str) -> str:
        """Greet."""
        context.progress(1.0)
        return f"{context.deps} {name}"

    seen: list[Event] = []
    assert greet(context("Hello", emit=seen.append), "Ann") == "Hello Ann"
    assert seen == [Progress("call", "tool", 1.0, "")]
