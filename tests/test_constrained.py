"""The strategy around a model that is scripted here; `tests/live` runs it around a real one."""

import json
import re
from dataclasses import replace
from typing import Any, Literal

import pytest

from agentkit import Agent, AssistantMessage, ChatSettings, Limits, Reply, ToolMessage, UserMessage, tool
from agentkit.chat import ChatRequest, NamedTool
from agentkit.chat.events import ignore_event
from agentkit.chat.reply import Choice, Usage, read_logprobs
from agentkit.constrained import ConstrainedTools
from agentkit.constrained.words import is_negative, led_by, mentions, numbers, quoted, spans, stems, value_of
from agentkit.errors import ConnectionFailed, InvalidReply
from agentkit.testing import FunctionModel


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("What is 17 times 23?", [17, 23]),
        ("1,250.50 dollars, -3 and 4.0", [1250.5, -3, 4]),
        ("twenty eggs, a dozen and zero", [20, 12, 0]),
        ("v2 and x3 are no numbers, nor is someone", []),
        ("", []),
    ],
)
def test_numbers_are_read_in_digits_and_words(text: str, values: list[float]) -> None:
    assert [value_of(found[0]) for found in numbers(text)] == values


def test_pieces_of_a_request_may_be_an_argument_and_function_words_are_not() -> None:
    found = spans("What's the weather in New York?", {"weather"})
    assert "New York" in found
    assert not {"in", "the", "the weather", "in New York"} & set(found)


def test_a_long_request_does_not_give_ever_more_pieces() -> None:
    assert len(spans(" ".join(f"Word{each}" for each in range(5000)), set())) <= 60 * 12


def test_words_are_compared_without_their_endings() -> None:
    assert stems("rolls rolling rolled") == {"roll"}
    assert mentions("in fahrenheit please", "Fahrenheit")
    assert not mentions("in celsius", "fahrenheit")


def test_what_is_quoted_or_said_is_one_piece() -> None:
    assert quoted('Send "See you" to Bob')[1] == "See you"
    assert quoted("Tell Bob that dinner is ready.")[1] == "dinner is ready"
    assert quoted("Hello") == (None, "")


def test_directions_and_negations_are_seen() -> None:
    assert led_by("to", ["Oslo", "Rome"], "from Oslo to Rome") == ["Rome"]
    assert is_negative("turn it off")
    assert not is_negative("turn it on")


@tool
def get_weather(city: str) -> str:
    """Get the weather in a city.

    Args:
        city: Name of the city
    """
    return f"sunny in {city}"


@tool
def calculate(a: float, operation: Literal["plus", "times"], b: float) -> float:
    """Do arithmetic with two numbers."""
    return a + b if operation == "plus" else a * b


@tool
def switch(on: bool, room: str | None = None) -> str:
    """Switch the light on or off."""
    return f"{on} {room}"


@tool
def invite(guests: list[str]) -> str:
    """Invite guests."""
    return ", ".join(guests)


class Server:
    """What llama.cpp answers: probabilities under a grammar, values under a schema, text otherwise.

    ``fits`` says how well a request goes with a tool's meaning; ``picks`` which pieces the model would choose.
    """

    def __init__(self, fits: dict[str, str], picks: tuple[str, ...] = (), text: str = "just talk") -> None:
        self.fits, self.picks, self.text = fits, picks, text
        self.asked = ""
        self.requests: list[ChatRequest] = []

    async def reply(self, request: ChatRequest, emit: object) -> Reply:
        self.requests.append(request)
        settings = request.settings
        last = request.messages[-1].text
        logprobs = None
        text = self.text
        if settings.extra_body:
            grammar = str(settings.extra_body["grammar"])
            if grammar.startswith('root ::= "'):
                self.asked = json.loads(grammar.removeprefix("root ::= "))
                tokens = [{"id": 7, "token": self.asked, "logprob": -1.0}, {"id": 0, "token": "", "logprob": 0.0}]
            else:
                assert grammar == "root ::= <[7]>"
                fit = any(re.search(said, self.asked) and about in last for about, said in self.fits.items())
                tokens = [{"id": 7, "token": self.asked, "logprob": -1.0 if fit else -20.0}]
                if "Small talk" in last:
                    tokens[0]["logprob"] = -10.0
            logprobs = read_logprobs({"content": tokens})
        elif settings.response_format:
            text = json.dumps(self._picked(settings.response_format["json_schema"]["schema"]))
        message = AssistantMessage(text)
        usage = Usage(requests=1, total_tokens=1)
        return Reply(choices=(Choice(message=message, finish_reason="stop", logprobs=logprobs),), usage=usage)

    def _picked(self, schema: dict[str, Any]) -> Any:
        if schema.get("type") == "array":
            return [each for each in self.picks if each in schema["items"]["enum"]]
        options = schema["enum"]
        return next((each for each in self.picks if each in options), options[0])


TOOLS = [get_weather, calculate, switch, invite]
FITS = {"get weather": "weather", "calculate": r"\d", "switch": "light", "invite": "[Ii]nvite", "times": "times"}


async def calls(question: str, *picks: str, **settings: Any) -> list[tuple[str, Any]]:
    model = ConstrainedTools(Server(FITS, picks))
    request = ChatRequest(
        messages=[UserMessage(question)],
        tools=[each.definition for each in TOOLS],
        settings=ChatSettings(**settings),
    )
    reply = await model.reply(request, ignore_event)
    return [(call.name, json.loads(call.arguments)) for call in reply.message.tool_calls]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("question", "picks", "expected"),
    [
        ("How is the weather in Paris?", ["Paris"], [("get_weather", {"city": "Paris"})]),
        ("What is 17 times 23?", [], [("calculate", {"a": 17, "operation": "times", "b": 23})]),
        ("Turn the light off", [], [("switch", {"on": False})]),
        ("Invite Ann and Bob", ["Ann", "Bob"], [("invite", {"guests": ["Ann", "Bob"]})]),
        ("Hello!", [], []),
        (
            "How is the weather in Paris and Rome?",
            ["Paris", "Rome"],
            [("get_weather", {"city": "Paris"}), ("get_weather", {"city": "Rome"})],
        ),
        (
            "What is 3 times 4, and how is the weather in Oslo?",
            ["Oslo"],
            [("calculate", {"a": 3, "operation": "times", "b": 4}), ("get_weather", {"city": "Oslo"})],
        ),
    ],
)
async def test_a_request_becomes_the_calls_it_asks_for(
    question: str, picks: list[str], expected: list[tuple[str, Any]]
) -> None:
    assert await calls(question, *picks) == expected


@pytest.mark.anyio
async def test_the_choice_of_tools_can_be_forced_or_forbidden() -> None:
    weather = "How is the weather in Paris?"
    assert await calls(weather, "Paris", tool_choice="none") == []
    assert await calls("Hello!", tool_choice="required") != []
    assert [name for name, _ in await calls(weather, tool_choice=NamedTool("invite"))] == ["invite"]
    both = "How is the weather in Paris and Rome?"
    assert len(await calls(both, "Paris", parallel_tool_calls=False)) == 1


@pytest.mark.anyio
async def test_a_whole_run_calls_and_answers_from_the_results() -> None:
    server = Server(FITS, ("Paris",), text="It is sunny in Paris.")
    result = await Agent(ConstrainedTools(server), tools=TOOLS).run("How is the weather in Paris?")
    assert result.output == "It is sunny in Paris."
    assert [each.text for each in result.messages if isinstance(each, ToolMessage)] == ["sunny in Paris"]
    assert result.usage.requests == len(server.requests)


@pytest.mark.anyio
async def test_an_answer_that_leaves_the_result_out_is_replaced_by_the_result() -> None:
    server = Server(FITS, text="I do not know.")
    result = await Agent(ConstrainedTools(server), tools=TOOLS).run("What is 17 times 23?")
    assert result.output == "The result is: 391.0"


@pytest.mark.anyio
async def test_a_run_at_its_limit_is_answered_from_what_it_has() -> None:
    server = Server(FITS, ("Paris",), text="Sunny in Paris.")
    agent = Agent(ConstrainedTools(server), tools=TOOLS, limits=Limits(turns=1))
    result = await agent.run("How is the weather in Paris?")
    assert (result.status, result.output) == ("limited", "Sunny in Paris.")


@pytest.mark.anyio
async def test_talk_that_needs_no_tool_goes_to_the_model_with_what_it_can_read() -> None:
    server = Server(FITS, text="Hi!")
    agent = Agent(ConstrainedTools(server), tools=TOOLS, instructions="Be brief.")
    first = await agent.run("What is 17 times 23?")
    result = await agent.run("Hello!", history=first.messages)
    assert result.output == "Hi!"
    assert [each.role for each in server.requests[-1].messages] == ["system", "user", "assistant", "user"]
    assert server.requests[-1].tools == ()


@pytest.mark.anyio
async def test_a_request_full_of_ands_does_not_ask_for_ever() -> None:
    server = Server(FITS)
    await Agent(ConstrainedTools(server), tools=TOOLS).run("bread and butter " * 100)
    assert len(server.requests) < 50


@pytest.mark.anyio
async def test_an_answer_that_was_cut_is_replaced_by_the_result() -> None:
    class Cut(Server):
        async def reply(self, request: ChatRequest, emit: object) -> Reply:
            reply = await super().reply(request, emit)
            reason = "length" if reply.text == self.text else "stop"
            return replace(reply, choices=(replace(reply.choices[0], finish_reason=reason),))

    result = await Agent(ConstrainedTools(Cut(FITS, text="391 is what")), tools=TOOLS).run("What is 17 times 23?")
    assert result.output == "The result is: 391.0"


@pytest.mark.anyio
async def test_a_server_that_fails_is_one_error_and_no_group() -> None:
    class Failing(Server):
        async def reply(self, request: ChatRequest, emit: object) -> Reply:
            if len(self.requests) > 0:
                raise ConnectionFailed("gone")
            return await super().reply(request, emit)

    with pytest.raises(ConnectionFailed, match="gone"):
        await Agent(ConstrainedTools(Failing(FITS)), tools=TOOLS).run("What is 17 times 23?")


@pytest.mark.anyio
async def test_a_server_that_cannot_do_this_is_named() -> None:
    with pytest.raises(InvalidReply, match=r"needs llama\.cpp"):
        await Agent(ConstrainedTools(FunctionModel(lambda _: "text")), tools=TOOLS).run("How is the weather?")
