"""Typed output of the embedded model: its grammar makes each answer valid. Not skipped anywhere."""

from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from agentkit import Agent, ChatSettings, ToolMessage, TypedOutput, tool
from agentkit.chat import open_model
from agentkit.extract import extract_all
from agentkit.run import Way
from tests.outputs import Cat, Dog

pytestmark = pytest.mark.anyio
SETTINGS = ChatSettings(temperature=0, max_tokens=200)


class Person(BaseModel):
    name: str
    age: int


class Sum(BaseModel):
    result: int


ADA, BOB = Person(name="Ada", age=36), Person(name="Bob", age=41)
PET: Any = Cat | Dog
KINDS: dict[str, tuple[Any, str, Any]] = {  # the type, the prompt, and the value; None where such a model only guesses
    "model": (Person, "My name is Ada and I am 36 years old.", ADA),
    "list": (list[Person], "Ada is 36, Bob is 41.", [ADA, BOB]),
    "classification": (Literal["spam", "ham"], "You won a prize, click here!", None),
    "union": (PET, "Rex is a dog. He is 3.", None),
}


@pytest.fixture
def anyio_backend() -> str:
    """One of the two: the model answers slowly, and the rest of the suite runs on both."""
    return "asyncio"


@tool
def add(a: int, b: int) -> int:
    """Add two numbers.

    Args:
        a: The first number.
        b: The second number.
    """
    return a + b


@pytest.mark.parametrize("way", ["native", "tool"])
@pytest.mark.parametrize("kind", KINDS)
async def test_the_first_answer_is_valid(kind: str, way: Way) -> None:
    output_type, prompt, value = KINDS[kind]
    agent = Agent("local", output_type=TypedOutput[Any](output_type, way=way, retries=0), settings=SETTINGS)
    async with agent.stream(prompt) as events:
        drafts = [draft async for draft in events.output()]
        result = await events.result()
    await agent.aclose()
    assert (result.state.turns, drafts[-1]) == (1, result.output)
    assert value is None or result.output == value


async def test_tools_are_called_before_the_answer() -> None:
    agent = Agent("local", tools=[add], output_type=Sum, settings=SETTINGS)
    result = await agent.run("What is 19 plus 23?")
    await agent.aclose()
    assert [each.content for each in result.messages if isinstance(each, ToolMessage)][:1] == ["42"]
    assert isinstance(result.output, Sum)


async def test_a_classification_has_its_confidence() -> None:
    kind: Any = Literal["spam", "ham"]
    agent = Agent("local", output_type=TypedOutput[Any](kind, confidence=True), settings=SETTINGS)
    result = await agent.run("You won a prize, click here!")
    await agent.aclose()
    assert result.confidence is not None
    assert 0 <= result.confidence <= 1


async def test_files_are_extracted(tmp_path: Path) -> None:
    files = [tmp_path / "ada.txt", tmp_path / "bob.txt"]
    files[0].write_text("My name is Ada and I am 36 years old.", encoding="utf-8")
    files[1].write_text("Bob is 41.", encoding="utf-8")
    model = open_model("local")
    many = await extract_all(Person, files, model=model, settings=SETTINGS)
    await Agent(model).aclose()
    assert [each.output.name for each in many] == ["Ada", "Bob"]
