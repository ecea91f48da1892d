"""Classifications with the probability that the model gave them."""

from __future__ import annotations

import enum
import math
from typing import Any, Literal

import pytest

from agentkit import Agent, AssistantMessage, ChatClient, ConfigError, Reply, RunState
from agentkit.chat import Choice, Logprobs, TokenLogprob
from agentkit.errors import BadRequest
from agentkit.run import TypedOutput
from agentkit.testing import ScriptedModel, Server, call

pytestmark = pytest.mark.anyio


class Mood(enum.Enum):
    GOOD = "good"
    BAD = "bad"


KIND: Any = Literal["spam", "ham"]


def reply(*tokens: tuple[str, float]) -> Reply:
    """A reply of these tokens, each with its probability."""
    content = tuple(TokenLogprob(token=token, logprob=math.log(probability)) for token, probability in tokens)
    text = "".join(token for token, _ in tokens)
    choice = Choice(message=AssistantMessage(text), finish_reason="stop", logprobs=Logprobs(content=content))
    return Reply(choices=(choice,))


def classified(output_type: Any, **options: Any) -> TypedOutput[Any]:
    return TypedOutput(output_type, confidence=True, **options)


@pytest.mark.parametrize(
    ("output_type", "tokens", "value", "confidence"),
    [
        (Literal["spam", "ham"], [('{"value": "', 0.5), ("sp", 0.8), ("am", 0.9), ('"}', 0.5)], "spam", 0.72),
        (Literal["spam", "ham"], [('{"value":', 0.5), (' "ham', 0.6), ('"}', 0.5)], "ham", 0.6),
        (Literal["ham", "hamster"], [('{"value": "', 1), ("ham", 0.9), ('"}', 0.7)], "ham", 0.63),
        (Literal["ham", "hamster"], [('{"value": "', 1), ("ham", 0.9), ("ster", 0.3), ('"}', 0.5)], "hamster", 0.27),
        (Literal["spam", "ham"], [("sp", 0.5), ("am", 0.5)], "spam", 0.25),
        (Literal["a", "ham"], [("What a ", 0.2), ('mail: {"value": "', 0.2), ("a", 0.5), ('"} a', 0.2)], "a", 0.5),
        (Literal["no", 3], [('{"value": ', 0.5), ("3", 0.4), ("}", 0.5)], 3, 0.4),
        (Mood, [('{"value": "', 0.5), ("good", 0.8), ('"}', 0.5)], Mood.GOOD, 0.8),
        (bool, [('{"value": ', 0.5), ("true", 0.9), ("}", 0.5)], True, 0.9),
        (bool | None, [('{"value": ', 0.5), ("null", 0.9), ("}", 0.5)], None, 0.9),
    ],
)
async def test_it_is_the_probability_of_the_tokens_that_the_value_is_made_of(
    output_type: Any, tokens: list[tuple[str, float]], value: Any, confidence: float
) -> None:
    with Server([reply(*tokens), reply(*tokens)]) as server:
        client = ChatClient(server.url, model="m")
        agent = Agent(client, output_type=classified(output_type))
        whole = await agent.run("go")
        async with agent.stream("go") as events:
            streamed = await events.result()
        await client.aclose()
    assert (whole.output, streamed.output) == (value, value)
    assert [whole.confidence, streamed.confidence] == pytest.approx([confidence] * 2)
    assert server.requests[0].parameters["logprobs"] is True


async def test_it_is_saved_with_the_run() -> None:
    agent = Agent(ScriptedModel([reply(("ham", 0.5))]), output_type=classified(Literal["spam", "ham"]))
    result = await agent.run("go")
    again = await agent.run(resume=RunState.load(result.state.to_json()))
    assert [result.confidence, again.confidence] == pytest.approx([0.5, 0.5])


async def test_there_is_none_without_log_probabilities() -> None:
    kind = classified(Literal["spam", "ham"])
    refusal = BadRequest("'logprobs' is not supported with this model.", status=400)
    with Server(["ham", refusal, "ham"]) as server:
        client = ChatClient(server.url, model="m")
        agent = Agent(client, output_type=kind)
        assert (await agent.run("go")).confidence is None
        assert (await agent.run("go")).confidence is None
        await client.aclose()
    assert ["logprobs" in each.parameters for each in server.requests] == [True, True, False]


async def test_there_is_none_for_a_call_an_invalid_answer_and_where_it_was_not_asked_for() -> None:
    agent = Agent(
        ScriptedModel([[call("final_answer", value="ham")]]), output_type=classified(Literal["spam", "ham"], way="tool")
    )
    assert (await agent.run("go")).confidence is None
    model = ScriptedModel([reply(("eggs", 0.5)), reply(("ham", 0.25)), reply(("ham", 0.25))])
    assert (await Agent(model, output_type=classified(Literal["spam", "ham"])).run("go")).confidence == pytest.approx(
        0.25
    )
    plain = await Agent(model, output_type=KIND).run("go")
    assert (plain.output, plain.confidence, model.requests[-1].settings.logprobs) == ("ham", None, None)


@pytest.mark.parametrize("output_type", [int, list[bool], dict[str, bool], str, Literal["a"] | int], ids=str)
def test_only_choices_have_one(output_type: Any) -> None:
    with pytest.raises(ConfigError, match="confidence=True is for a bool, a Literal or an Enum, not for"):
        classified(output_type)
