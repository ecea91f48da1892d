"""The strategy around a model that is scripted here; `tests/live` runs it around a real one."""

import json
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

import pytest

from agentkit import Agent, AssistantMessage, ChatSettings, Limits, Reply, Tool, ToolMessage, UserMessage, tool
from agentkit.chat import ChatRequest, NamedTool
from agentkit.chat.reply import Choice, Usage, read_logprobs
from agentkit.constrained import ConstrainedTools, ModelPreparing, PromptSlots
from agentkit.constrained.words import is_negative, led_by, mentions, numbers, quoted, spans, stems, value_of
from agentkit.errors import ConfigError, ConnectionFailed, InvalidReply
from agentkit.events import Event, RequestAdapted, ignore_event
from agentkit.messages import ToolCall
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
    assert quoted("Translate 'good morning' into French")[1] == "good morning"
    assert quoted("Is it Luigi's or Marie's?") == (None, "")
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
                ids = [int(each) for each in re.findall(r"<\[(\d+)\]>", grammar)]
                if set(ids) != {7}:  # of the tokenizer below
                    self.asked = "".join(map(chr, ids))
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


FORM = {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "object"}}}


@pytest.mark.anyio
async def test_an_answer_from_results_keeps_to_the_settings_of_the_request() -> None:
    server = FunctionModel(lambda request: '{"city": "Rome"}' if request.settings.response_format == FORM else "no")
    call = AssistantMessage(None, (ToolCall("1", "get_weather", '{"city": "Rome"}'),))
    request = ChatRequest(
        messages=[UserMessage("How is it in Rome?"), call, ToolMessage("sunny, 30 degrees", "1")],
        tools=[get_weather.definition],
        settings=ChatSettings(response_format=FORM, max_tokens=7, seed=1, tool_choice="auto"),
    )
    reply = await ConstrainedTools(server).reply(request, ignore_event)
    assert reply.text == '{"city": "Rome"}'
    sent = server.requests[-1].settings
    assert (sent.max_tokens, sent.seed, sent.tool_choice) == (7, 1, None)


@pytest.mark.anyio
async def test_settings_that_do_not_reach_a_call_are_reported() -> None:
    seen: list[Event] = []
    request = ChatRequest(
        messages=[UserMessage("How is the weather in Paris?")],
        tools=[get_weather.definition],
        settings=ChatSettings(temperature=0.5, seed=3, max_tokens=9),
    )
    reply = await ConstrainedTools(Server(FITS, ("Paris",))).reply(request, seen.append)
    said = "temperature, seed: not used to choose tools and arguments"
    assert reply.adaptations == (said,)
    assert [each.what for each in seen if isinstance(each, RequestAdapted)] == [said]


@pytest.mark.anyio
async def test_what_cannot_be_done_beside_tools_is_refused() -> None:
    model = ConstrainedTools(Server(FITS))
    sql = Tool.custom("sql", "Run a query.", lambda context, text: text)
    messages = [UserMessage("hi")]
    with pytest.raises(ConfigError, match="cannot call the custom tool 'sql'"):
        await model.reply(ChatRequest(messages=messages, tools=[sql.definition]), ignore_event)
    several = ChatSettings(n=2)
    with pytest.raises(ConfigError, match="one answer when tools are offered, not n=2"):
        await model.reply(
            ChatRequest(messages=messages, tools=[get_weather.definition], settings=several), ignore_event
        )


@pytest.mark.anyio
@pytest.mark.parametrize("count", [1, 5, 40])
async def test_the_work_is_bounded_however_long_the_question_and_however_many_the_tools(
    count: int,
) -> None:
    class Long(Server):
        async def reply(self, request: ChatRequest, emit: object) -> Reply:
            reply = await super().reply(request, emit)
            if "Repeat" not in request.messages[0].text or reply.choices[0].logprobs is None:
                return reply
            tokens = [{"id": 7, "token": "a", "logprob": -1.0}] * 500
            return replace(reply, choices=(replace(reply.choices[0], logprobs=read_logprobs({"content": tokens})),))

    server = Long({"get weather": "weather"})
    tools = [replace(get_weather, name=f"get_weather_{place}") for place in range(count)]
    question = "How is the weather in Paris and Rome and what about tomorrow; " * 20
    request = ChatRequest(messages=[UserMessage(question)], tools=[each.definition for each in tools])
    await ConstrainedTools(server).reply(request, ignore_event)
    forced = [each.settings.extra_body for each in server.requests if each.settings.extra_body]
    rounds = sum("Repeat" in each.messages[0].text for each in server.requests)
    tokens = sum(str(each["grammar"]).count("<[") for each in forced)
    assert rounds <= 5
    assert tokens <= rounds * max(200, 8 * (count + 1))
    assert len(server.requests) <= rounds * (count + 2) + 4


class Slots:
    """What a llama.cpp server does for `PromptSlots`; a file holds the number of the slot that was saved."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.asked: list[tuple[str, int, str]] = []

    def answer(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        if path == "/tokenize":
            return 200, {"tokens": [ord(each) for each in body["content"]]}
        slot, _, action = path.removeprefix("/slots/").partition("?action=")
        file = self.directory / body["filename"]
        self.asked.append((action, int(slot), body["filename"]))
        if action == "save":
            file.write_text("x" * 100)
        elif file.read_text() == "damaged":
            return 400, {"error": "no"}
        return 200, {"id_slot": int(slot)}


@pytest.fixture
def slots(tmp_path: Path) -> Iterator[tuple[Slots, str]]:
    played = Slots(tmp_path)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.headers["authorization"] == "Bearer sesame"
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            status, said = played.answer(self.path, body)
            data = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield played, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


EXAMPLES = [UserMessage("an example")]
ONE, TWO, THREE = ([*EXAMPLES, UserMessage(each)] for each in ("one", "two", "three"))


def test_a_prompt_is_read_once_for_all_processes_and_lends_others_its_beginning(
    tmp_path: Path, slots: tuple[Slots, str]
) -> None:
    played, address = slots
    first = PromptSlots(address, "sesame", count=2, directory=tmp_path, model="m")
    assert first.tokenize("ab") == [97, 98]
    assert first.open(ONE, EXAMPLES) == (0, False)
    first.save(ONE, EXAMPLES)
    first.save(ONE, EXAMPLES)
    assert len(played.asked) == 2  # the prompt, and what it shares
    assert first.open(ONE, EXAMPLES) == (0, True)
    assert first.open(TWO, EXAMPLES) == (1, True)  # from the shared beginning
    assert first.open(THREE, EXAMPLES) == (0, True)  # the slot that was used longest ago
    assert first.open(ONE, EXAMPLES) == (1, True)
    later = PromptSlots(address, "sesame", count=2, directory=tmp_path, model="m")
    assert later.open(ONE, EXAMPLES) == (0, True)
    other_model = PromptSlots(address, "sesame", count=2, directory=tmp_path, model="n")
    assert other_model.open(ONE, EXAMPLES) == (0, False)
    assert [each.name for each in tmp_path.iterdir() if not each.name.endswith(".prompt")] == []


def test_a_damaged_file_is_read_again(tmp_path: Path, slots: tuple[Slots, str]) -> None:
    _, address = slots
    prompts = PromptSlots(address, "sesame", count=2, directory=tmp_path, model="m")
    prompts.open(ONE)
    prompts.save(ONE)
    (file,) = tmp_path.iterdir()
    file.write_text("damaged")
    again = PromptSlots(address, "sesame", count=2, directory=tmp_path, model="m")
    assert again.open(ONE) == (0, False)
    again.save(ONE)
    assert file.read_text() == "x" * 100


@pytest.mark.anyio
async def test_reading_a_prompt_for_the_first_time_is_announced_once(tmp_path: Path, slots: tuple[Slots, str]) -> None:
    _, address = slots
    for expected in (1, 0):  # the second time by another process
        prompts = PromptSlots(address, "sesame", count=9, directory=tmp_path, model="m")
        server, seen = Server(FITS, ("Paris",)), list[Event]()
        request = ChatRequest(messages=[UserMessage("weather")], tools=[each.definition for each in TOOLS])
        await ConstrainedTools(server, slots=prompts).reply(request, seen.append)
        assert sum(isinstance(each, ModelPreparing) for each in seen) == expected
        assert all("id_slot" in (each.settings.extra_body or {}) for each in server.requests)
