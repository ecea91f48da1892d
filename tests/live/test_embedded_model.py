"""The agent against a real model: llama.cpp's own server with the embedded weights. Not skipped anywhere.

What a model of this size says is not asserted, only what holds whatever it says, and two questions that it gets right.
"""

from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import Field

from agentkit import Agent, ChatSettings, TextDelta, ToolMessage, tool
from agentkit.chat import ChatRequest, open_model
from agentkit.errors import ConfigError, ContextTooLong
from agentkit.events import ignore_event
from agentkit.messages import UserMessage
from agentkit.run.transcript import check
from tests.test_examples import load

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """One of the two: the model answers slowly, and the rest of the suite runs on both."""
    return "asyncio"


@tool
def get_weather(city: str) -> str:
    """Tell the weather in a city.

    Args:
        city: The city.
    """
    return f"sunny, 24 degrees in {city}"


@tool
def add(a: int, b: int) -> int:
    """Add two numbers.

    Args:
        a: The first number.
        b: The second number.
    """
    return a + b


async def test_an_agent_calls_a_tool_and_answers_from_its_result() -> None:
    agent = Agent("local", tools=[get_weather, add])
    result = await agent.run("What is 19 plus 23?")
    await agent.aclose()
    assert [each.content for each in result.messages if isinstance(each, ToolMessage)] == ["42"]
    assert "42" in result.output
    assert result.usage.total_tokens > 0
    assert check(result.messages) == []


async def test_two_calls_of_one_turn() -> None:
    agent = Agent("local", tools=[get_weather, add])
    result = await agent.run("What's the weather in Paris and Rome?")
    await agent.aclose()
    contents = [each.content for each in result.messages if isinstance(each, ToolMessage)]
    assert contents == ["sunny, 24 degrees in Paris", "sunny, 24 degrees in Rome"]


async def test_plain_talk_is_streamed_in_pieces() -> None:
    agent = Agent("local", settings=ChatSettings(max_tokens=12, temperature=0))
    async with agent.stream("Say hello.") as events:
        pieces = [event.text async for event in events if isinstance(event, TextDelta)]
        result = await events.result()
    await agent.aclose()
    assert len(pieces) > 3
    assert "".join(pieces) == result.output
    assert result.usage.completion_tokens > 3


async def test_a_stream_and_a_whole_reply_agree() -> None:
    model = open_model("local")
    settings = ChatSettings(max_tokens=10, temperature=0, seed=1)
    texts = [
        (
            await model.reply(ChatRequest(messages=[UserMessage("Hi")], settings=settings, stream=stream), ignore_event)
        ).text
        for stream in (True, False)
    ]
    await Agent(model).aclose()
    assert texts[0] == texts[1]


async def test_a_question_that_does_not_fit_says_so_with_its_numbers() -> None:
    agent = Agent("local")
    with pytest.raises(ContextTooLong) as caught:
        await agent.run("word " * 20_000)
    await agent.aclose()
    assert caught.value.got
    assert caught.value.limit
    assert caught.value.got > caught.value.limit


async def test_a_file_that_is_no_model_is_told(tmp_path: Path) -> None:
    file = tmp_path / "broken.gguf"
    file.write_text("this is not a model", encoding="utf-8")
    with pytest.raises(ConfigError, match="is it a GGUF model file"):
        await Agent(f"local:{file}").run("hi")
    with pytest.raises(ConfigError, match="there is no model file"):
        Agent(f"local:{tmp_path}/missing.gguf")


async def test_the_inbox_extracts_what_a_mail_is_about() -> None:
    class Mail(load("inbox").Mail):  # type: ignore[misc]
        summary: Annotated[str, Field(max_length=60)]  # a model as small as this one does not stop by itself

    agent: Agent[Any, Any] = Agent("local", output_type=Mail, instructions="Say what kind of mail this is.")
    settings = ChatSettings(temperature=0, max_tokens=200)
    result = await agent.run("Invoice 7\n\nPlease pay 49 euros by Friday.", settings=settings)
    await agent.aclose()
    assert result.output.kind in ("invoice", "question", "other")
    assert result.output.summary
