"""The doors of `ChatClient`, and how it learns what a server wants, through a real socket."""

import json
import typing
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import anyio
import pytest

from agentkit import Agent, tool
from agentkit.chat.client import ChatClient, open_model
from agentkit.chat.compat.profile import Profile
from agentkit.chat.events import ChoiceDelta, Event, RequestAdapted, Retrying, TextDelta
from agentkit.chat.messages import AssistantMessage, Message, SystemMessage, ToolCall, ToolMessage, UserMessage
from agentkit.chat.request import ChatRequest, FunctionTool
from agentkit.chat.settings import ChatSettings, NamedTool, Parameters
from agentkit.chat.transport.retry import RetryPolicy
from agentkit.errors import (
    AuthenticationFailed,
    BadRequest,
    ConfigError,
    ContentFiltered,
    IncompleteReply,
    MalformedToolCall,
    ModelError,
    Overloaded,
    QuotaExceeded,
)
from tests.replay import HANG, ReplayServer, answer, completion, events, replay

pytestmark = pytest.mark.anyio

GOOD = completion({"content": "good"})
AT_ONCE = RetryPolicy(first_wait=0.0)


def refusal(message: str, status: str = "400 Bad Request", **members: Any) -> bytes:
    return answer(json.dumps({"error": {"message": message, **members}}).encode(), status=status)


NO_SEED = refusal("Unsupported parameter: 'seed' is not supported with this model.", param="seed")
NO_DEVELOPER = refusal("Unexpected message role.")


@contextmanager
def served(*answers: Any) -> Iterator[ReplayServer]:
    with replay(*answers) as server:
        yield server


def client_of(server: ReplayServer, **options: Any) -> ChatClient:
    return ChatClient(server.url, model="m", retry=AT_ONCE, **options)


# create and stream


async def test_create_gives_the_reply_to_a_question() -> None:
    with served(GOOD) as server:
        client = client_of(server)
        reply = await client.create("hi", temperature=0.5, settings=ChatSettings(temperature=1, seed=3))
        await client.aclose()
    assert reply.text == "good"
    _, body = server.requests[0]
    assert body["messages"] == [{"role": "user", "content": "hi"}]
    assert (body["temperature"], body["seed"]) == (0.5, 3)


async def test_stream_yields_deltas_and_ends_with_the_reply_that_create_gives() -> None:
    with served(events({"content": "go"}, {"content": "od"}), GOOD) as server:
        client = client_of(server)
        async with client.stream("hi") as deltas:
            seen = [delta async for delta in deltas]
            streamed = await deltas.reply()
        assert await client.create("hi") == streamed
        await client.aclose()
    assert seen == [TextDelta("go"), TextDelta("od")]
    assert server.requests[0][1]["stream"] is True


async def test_the_text_of_a_stream_alone() -> None:
    with served(events({"content": "a"}, {"reasoning": "x"}, {"content": "b"})) as server:
        client = client_of(server)
        async with client.stream("hi") as deltas:
            assert [piece async for piece in deltas.text()] == ["a", "b"]
        await client.aclose()


async def test_an_error_of_a_stream_is_raised_as_it_is() -> None:
    with served(events({"content": "par"}, finish_reason=None, done=False)) as server:
        client = client_of(server)
        with pytest.raises(IncompleteReply):
            async with client.stream("hi") as deltas:
                await deltas.reply()
        await client.aclose()


async def test_leaving_a_stream_early_ends_it() -> None:
    with served([events({"content": "a"}, finish_reason=None, done=False), HANG]) as server:
        client = client_of(server)
        with anyio.fail_after(5):
            async with client.stream("hi") as deltas:
                assert await anext(deltas) == TextDelta("a")
        with pytest.raises(ConfigError, match="cancelled or left early"):
            await deltas.reply()
        await client.aclose()


@tool
def add(a: int, b: int) -> int:
    """Add."""
    return a + b


async def test_tools_may_be_given_in_any_form() -> None:
    wire = {"type": "function", "function": {"name": "three", "parameters": {"type": "object"}, "strict": True}}
    with served(GOOD) as server:
        client = client_of(server)
        await client.create("hi", tools=[add, FunctionTool("two"), wire])
        await client.aclose()
    sent = [each["function"]["name"] for each in server.requests[0][1]["tools"]]
    assert sent == ["add", "two", "three"]


async def test_a_transcript_may_be_in_the_form_of_the_api() -> None:
    messages: list[Any] = [
        SystemMessage("s"),
        {"role": "user", "content": [{"type": "text", "text": "hi"}]},
        {"role": "assistant", "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f"}}]},
    ]
    with served(GOOD, GOOD) as server:
        client = client_of(server)
        await client.create(messages)
        await client.create(UserMessage("hi"))
        await client.aclose()
    assert [len(body["messages"]) for _, body in server.requests] == [3, 1]


@pytest.mark.parametrize(
    ("prompt", "options", "said"),
    [
        ([], {}, "there are no messages"),
        ([{"role": "ignore_event"}], {}, "ignore_event"),
        ("hi", {"tempratur": 1}, "no such parameter.*tempratur.*extra_body"),
        ("hi", {"temperature": 3}, "temperature is 3"),
        ("hi", {"tools": [{"type": "function"}]}, "a tool is"),
        ("hi", {"stream": True}, r"stream; client.stream\(...\) streams"),
        ("hi", {"settings": {"temperature": 1}}, r"settings= takes ChatSettings\(...\)"),
        ("hi", {"tools": FunctionTool("one")}, "takes a list of tools"),
        ("hi", {"tools": [len]}, "built-in function len> is not a tool; .*@agentkit.tool"),
        ({"role": "user", "content": "hi"}, {}, "a list of messages, not {'role'"),
        (b"hi", {}, "a prompt is a question"),
        (["hi"], {}, "a message is like .*, not 'hi'"),
        ([{"role": "user", "contents": "hi"}], {}, "content of a message of the user .*, not None"),
        ([{"role": "user", "content": ["hi", "you"]}], {}, r"a list of parts, not \['hi', 'you'\]"),
        ([{"role": "user", "content": {"type": "text", "text": "hi"}}], {}, "a list of parts, not {'type'"),
        ([{"role": "tool", "tool_call_id": "a", "content": 5}], {}, "message of the tool .*, not 5"),
        ([{"role": "system", "content": []}], {}, "message of the system"),
    ],
)
async def test_what_is_wrong_is_told_before_anything_is_sent(prompt: Any, options: Any, said: str) -> None:
    client = ChatClient("http://127.0.0.1:1/v1", model="m")
    with pytest.raises(ConfigError, match=said):
        await client.create(prompt, **options)
    with pytest.raises(ConfigError, match=said):
        client.stream(prompt, **options)


def test_every_setting_can_be_given_by_name() -> None:
    assert Parameters.__annotations__.keys() == {each.name for each in fields(ChatSettings)}
    settings, named = typing.get_type_hints(ChatSettings), typing.get_type_hints(Parameters)
    assert settings == named


# Retries


async def test_all_tries_of_a_request_have_one_idempotency_key_and_other_requests_another() -> None:
    with served(answer(b"", status="503 Later"), GOOD, GOOD) as server:
        client = client_of(server)
        await client.create("hi")
        await client.create("hi")
        await client.aclose()
    keys = [headers["idempotency-key"] for headers, _ in server.requests]
    assert keys[0] == keys[1] != keys[2]


async def test_the_callers_own_idempotency_key_goes_before() -> None:
    with served(GOOD) as server:
        client = client_of(server)
        await client.create("hi", extra_headers={"Idempotency-Key": "mine"})
        await client.aclose()
    assert server.requests[0][0]["idempotency-key"] == "mine"


# Adaptation


async def test_a_refused_parameter_is_left_out_told_and_remembered() -> None:
    seen: list[Event] = []
    with served(NO_SEED, GOOD, GOOD) as server:
        client = client_of(server)
        first = await client.create("hi", seed=1, emit=seen.append)
        second = await client.create("hi", seed=2)
        third_profile = client.profile
        await client.aclose()
    assert ["seed" in body for _, body in server.requests] == [True, False, False]
    assert first.adaptations == second.adaptations == ("seed is not sent",)
    assert [event for event in seen if isinstance(event, RequestAdapted)] == [RequestAdapted("seed is not sent")]
    assert third_profile == Profile(drop=frozenset({"seed"}))
    keys = [headers["idempotency-key"] for headers, _ in server.requests]
    assert len(set(keys)) == 3  # another body is another request


async def test_several_lessons_follow_each_other() -> None:
    limit = refusal("Unrecognized request argument supplied: max_completion_tokens")
    with served(NO_SEED, limit, NO_DEVELOPER, GOOD) as server:
        client = client_of(server)
        reply = await client.create([{"role": "developer", "content": "x"}], seed=1, max_completion_tokens=9)
        await client.aclose()
    assert len(reply.adaptations) == 3
    _, body = server.requests[-1]
    assert body == {"model": "m", "messages": [{"role": "system", "content": "x"}], "max_tokens": 9}


async def test_a_lesson_that_did_not_help_is_not_kept_and_the_error_says_what_was_tried() -> None:
    with served(NO_SEED, refusal("You are wrong.")) as server:
        client = client_of(server)
        with pytest.raises(BadRequest, match="You are wrong") as caught:
            await client.create("hi", seed=1)
        await client.aclose()
    assert client.profile == Profile()
    assert "seed is not sent" in caught.value.__notes__[0]


async def test_the_same_refusal_twice_is_an_error() -> None:
    with served(NO_SEED, NO_SEED) as server:
        client = client_of(server)
        with pytest.raises(BadRequest):
            await client.create("hi", seed=1)
        await client.aclose()
    assert len(server.requests) == 2


async def test_learning_ends() -> None:
    names = [f"member_{place}" for place in range(20)]
    answers = [refusal(f"Unknown parameter: '{name}'.", param=name) for name in names]
    with served(*answers) as server:
        client = client_of(server)
        with pytest.raises(BadRequest):
            await client.create("hi", extra_body=dict.fromkeys(names, 1))
        await client.aclose()
    assert len(server.requests) == 9


ALTERNATE = refusal("Conversation roles must alternate user/assistant/user", status="500 Oops")
NO_SEED_500 = refusal("Unsupported param: seed", status="501 Not Implemented")


async def test_an_error_of_the_server_teaches_only_after_the_retries() -> None:
    seen: list[Event] = []
    with served(ALTERNATE, ALTERNATE, ALTERNATE, GOOD) as server:
        client = client_of(server)
        await client.create([UserMessage("a"), UserMessage("b")], emit=seen.append)
        await client.aclose()
    assert [len(body["messages"]) for _, body in server.requests] == [2, 2, 2, 1]
    assert [type(event) for event in seen if isinstance(event, Retrying | RequestAdapted)] == [
        Retrying,
        Retrying,
        RequestAdapted,
    ]


async def test_an_error_of_the_server_that_passes_teaches_nothing() -> None:
    with served(NO_SEED_500, GOOD) as server:
        client = client_of(server)
        reply = await client.create("hi", seed=1)
        await client.aclose()
    assert (reply.adaptations, client.profile) == ((), Profile())
    assert [body["seed"] for _, body in server.requests] == [1, 1]


async def test_an_error_of_the_server_that_came_once_in_its_words_teaches_nothing() -> None:
    with served(*[refusal("Oops", status="500 Oops")] * 2, NO_SEED_500) as server:
        client = client_of(server)
        with pytest.raises(Overloaded):
            await client.create("hi", seed=1)
        await client.aclose()
    assert len(server.requests) == 3


async def test_nothing_is_learned_once_text_was_shown() -> None:
    late = b'data: {"error": {"message": "Unknown parameter: \'seed\'.", "param": "seed", "code": 400}}\n\n'
    with served([events({"content": "a"}, finish_reason=None, done=False), late], GOOD) as server:
        client = client_of(server)
        async with client.stream("hi", seed=1) as deltas:
            with pytest.raises(BadRequest):
                await deltas.reply()
        await client.aclose()
    assert len(server.requests) == 1


async def test_an_agent_tells_what_was_adapted() -> None:
    with served(NO_SEED, events({"content": "good"})) as server:
        agent = Agent(client_of(server), settings=ChatSettings(seed=1))
        async with agent.stream("hi") as seen:
            kinds = [type(event) async for event in seen]
        await agent.aclose()
    assert RequestAdapted in kinds


@pytest.mark.parametrize("options", [{"learn": False}, {"never_drop": {"seed"}}, {"never_drop": "seed"}])
async def test_learning_can_be_forbidden(options: dict[str, Any]) -> None:
    with served(NO_SEED) as server:
        client = client_of(server, **options)
        with pytest.raises(BadRequest):
            await client.create("hi", seed=1)
        await client.aclose()


NO_LOGPROBS = refusal("Unknown parameter: 'logprobs'.", param="logprobs")
NO_OPTIONS = refusal("Unknown parameter: 'stream_options'.", param="stream_options")
NO_CHOICE = refusal("Thinking mode does not support this tool_choice")
NO_PATTERN = refusal("Unsupported keyword in the schema of parameters: 'pattern' is not supported.")


@pytest.mark.parametrize(
    ("answered", "never_drop"),
    [
        (NO_LOGPROBS, {"top_logprobs"}),
        (NO_OPTIONS, {"stream_options.include_usage"}),
        (NO_CHOICE, {"tools"}),
        (NO_PATTERN, {"tools"}),
        (NO_CHOICE, {"messages"}),
    ],
)
async def test_a_lesson_that_would_take_along_what_must_be_sent_is_not_followed(
    answered: bytes, never_drop: set[str]
) -> None:
    one = FunctionTool("one", "", {"type": "object", "properties": {"a": {"type": "string", "pattern": "x"}}})
    options: Any = {"logprobs": True, "top_logprobs": 2, "tools": [one, FunctionTool("two")]}
    options["tool_choice"] = "required" if "messages" in never_drop else NamedTool("one")
    with served(answered, events({"content": "good"})) as server:
        client = client_of(server, never_drop=never_drop)
        with pytest.raises(BadRequest):
            async with client.stream("hi", **options) as deltas:
                await deltas.reply()
        await client.aclose()
    assert (len(server.requests), client.profile) == (1, Profile())
    with served(answered, events({"content": "good"})) as server:
        client = client_of(server)
        async with client.stream("hi", **options) as deltas:
            assert (await deltas.reply()).adaptations  # it is a lesson for others
        await client.aclose()


async def test_text_of_any_answer_that_was_shown_ends_the_tries() -> None:
    second = b'data: {"choices": [{"index": 1, "delta": {"content": "a"}}]}\n\n'
    with served(b"HTTP/1.1 200 OK\r\n\r\n" + second, events({"content": "good"})) as server:
        client = client_of(server)
        async with client.stream("hi", n=2) as deltas:
            assert await anext(deltas) == ChoiceDelta(1, TextDelta("a"))
            with pytest.raises(IncompleteReply):
                await deltas.reply()
        await client.aclose()
    assert len(server.requests) == 1


async def test_a_profile_can_be_pinned() -> None:
    with served(GOOD) as server:
        client = client_of(server, profile=Profile(drop=frozenset({"seed"})), learn=False)
        reply = await client.create("hi", seed=1)
        await client.aclose()
    assert "seed" not in server.requests[0][1]
    assert reply.adaptations == ("seed is not sent",)


async def test_what_was_learned_is_kept_in_a_file_where_wanted(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "profiles.json"
    with served(NO_SEED, GOOD, GOOD) as server:
        client = client_of(server, profile_file=file)
        await client.create("hi", seed=1)
        await client.aclose()
        again = client_of(server, profile_file=file)
        assert again.profile == Profile(drop=frozenset({"seed"}))
        await again.create("hi", seed=1)
        await again.aclose()
    assert {each.name for each in file.parent.iterdir()} == {"profiles.json"}
    assert json.loads(file.read_text())["profiles"][server.url]["m"] == {"drop": ["seed"]}


async def test_a_file_that_cannot_be_written_costs_no_reply(tmp_path: Path) -> None:
    file = tmp_path / "mine.txt"
    file.write_text("not ours")
    with served(NO_SEED, GOOD) as server:
        client = client_of(server, profile_file=file)
        assert (await client.create("hi", seed=1)).text == "good"
        await client.aclose()
    assert file.read_text() == "not ours"


async def test_a_forced_tool_becomes_an_instruction_step_by_step() -> None:
    no_choice = refusal("Thinking mode does not support this tool_choice")
    with served(no_choice, no_choice, GOOD) as server:
        client = client_of(server)
        await client.create("hi", tools=[add, FunctionTool("other")], tool_choice=NamedTool("add"))
        await client.aclose()
    sent = [(body["tool_choice"], len(body["tools"])) for _, body in server.requests]
    assert sent[1:] == [("required", 1), ("auto", 1)]
    assert server.requests[2][1]["messages"][0]["role"] == "system"


async def test_reasoning_goes_back_to_a_server_that_wants_it() -> None:
    history: list[Message] = [
        UserMessage("hi"),
        AssistantMessage(None, (ToolCall("c1", "add", "{}"),), reasoning="I must add."),
        ToolMessage("3", "c1"),
    ]
    wants = refusal("The `reasoning_content` in the thinking mode must be passed back to the API.")
    with served(wants, GOOD) as server:
        client = client_of(server)
        await client.create(history, tools=[add])
        await client.aclose()
    assert ["reasoning_content" in body["messages"][1] for _, body in server.requests] == [False, True]
    assert server.requests[1][1]["messages"][1]["reasoning_content"] == "I must add."


# Values that a refusal names


NEEDS_NONE = refusal(
    "Function tools with reasoning_effort are not supported for gpt-5.4 in /v1/chat/completions. "
    "To use function tools, use /v1/responses or set reasoning_effort to 'none'.",
    param="reasoning_effort",
)


async def test_a_value_that_tools_need_is_set_for_all_requests_with_tools_after_one_refusal(tmp_path: Path) -> None:
    seen: list[Event] = []
    file = tmp_path / "profiles.json"
    with served(NEEDS_NONE, GOOD, GOOD, GOOD, GOOD) as server:
        client = client_of(server, profile_file=file)
        first = await client.create("hi", tools=[add], emit=seen.append)
        second = await client.create("hi", tools=[add], reasoning_effort="high")
        third = await client.create("hi", reasoning_effort="high")
        await client.aclose()
        again = client_of(server, profile_file=file)
        await again.create("hi", tools=[add])
        await again.aclose()
    assert [body.get("reasoning_effort") for _, body in server.requests] == [None, "none", "none", "high", "none"]
    told = 'reasoning_effort is set to "none" with tools'
    assert (first.adaptations, second.adaptations, third.adaptations) == ((told,), (told,), ())
    assert [event.what for event in seen if isinstance(event, RequestAdapted)] == [told]


async def test_a_value_that_must_be_sent_as_it_is_is_not_set() -> None:
    with served(NEEDS_NONE) as server:
        client = client_of(server, never_drop={"reasoning_effort"})
        with pytest.raises(BadRequest, match="set reasoning_effort to 'none'"):
            await client.create("hi", tools=[add], reasoning_effort="high")
        await client.aclose()


async def test_members_that_do_not_go_together_cost_one_refusal() -> None:
    no_prediction = refusal("Unsupported parameter: 'prediction' is not supported with tools.", param="prediction")
    prediction: Any = {"type": "content", "content": "x"}
    with served(no_prediction, GOOD, GOOD, GOOD) as server:
        client = client_of(server)
        await client.create("hi", tools=[add], prediction=prediction)
        await client.create("hi", tools=[add], prediction=prediction)
        await client.create("hi", prediction=prediction)
        await client.aclose()
    assert ["prediction" in body for _, body in server.requests] == [True, False, False, True]


async def test_a_server_that_only_streams_is_asked_to_stream() -> None:
    only = refusal("This model only support stream mode, please enable the stream parameter to access the model.")
    with served(only, events({"content": "good"}), events({"content": "again"})) as server:
        client = client_of(server)
        assert [(await client.create("hi")).text for _ in range(2)] == ["good", "again"]
        await client.aclose()
    assert [headers["accept"] for headers, _ in server.requests[1:]] == ["text/event-stream"] * 2
    assert server.requests[2][1]["stream_options"] == {"include_usage": True}


async def test_a_limit_that_a_server_requires_is_sent_unless_there_is_one() -> None:
    with served(refusal("max_tokens: Field required"), GOOD, GOOD, GOOD) as server:
        client = client_of(server)
        given: list[Any] = [{}, {"max_tokens": 7}, {"max_completion_tokens": 8}]
        for options in given:
            await client.create("hi", **options)
        await client.aclose()
    assert [body.get("max_tokens") for _, body in server.requests] == [None, 4096, 7, 8]


# Calls that a server could not parse


def unparsed(written: str) -> bytes:
    return refusal(f"error parsing tool call: raw='{written}', err=invalid character", status="500 Internal")


async def test_a_call_that_the_server_could_not_parse_is_the_models_turn_if_it_fits_one_tool() -> None:
    with served(unparsed('{"a": 1, "b": 2}]')) as server:
        client = client_of(server)
        reply = await client.create("hi", tools=[add, FunctionTool("other")])
        await client.aclose()
    (call,) = reply.message.tool_calls
    assert call.name == "add"
    assert len(reply.repairs) >= 1


async def test_a_call_that_nobody_can_parse_is_asked_for_again_and_then_an_error_with_the_models_words() -> None:
    written = "<function=add>ls -R"
    with served(unparsed(written), unparsed(written), unparsed(written)) as server:
        client = client_of(server)
        with pytest.raises(MalformedToolCall, match="<function=add>") as caught:
            await client.create("hi", tools=[add])
        await client.aclose()
    assert (caught.value.generation, len(server.requests)) == (written, 3)


async def test_a_call_that_the_server_could_not_parse_after_text_was_shown_is_not_asked_for_again() -> None:
    late = b'data: {"error": {"code": 500, "message": "Failed to parse input at pos 3: <tool_call>oops"}}\n\n'
    with served([events({"content": "Let me see."}, finish_reason=None, done=False), late], GOOD) as server:
        client = client_of(server)
        async with client.stream("hi", tools=[add]) as deltas:
            with pytest.raises(MalformedToolCall) as caught:
                await deltas.reply()
        await client.aclose()
    assert (caught.value.partial, caught.value.generation) == ("Let me see.", "<tool_call>oops")
    assert len(server.requests) == 1


# Ace Data Cloud


@pytest.mark.parametrize("path", ["openai", "v1"])
async def test_both_addresses_of_ace_data_cloud_work(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with served(GOOD) as server:
        monkeypatch.setenv("ACEDATA_BASE_URL", server.url.removesuffix("v1") + path)
        monkeypatch.setenv("ACEDATA_API_KEY", "k")
        model = open_model("acedata:gpt-5-mini")
        assert isinstance(model, ChatClient)
        await model.create("hi", reasoning_effort="xhigh")
        await model.aclose()
    headers, body = server.requests[0]
    assert (headers["path"], headers["authorization"]) == (f"/{path}/chat/completions", "Bearer k")
    assert body["reasoning_effort"] == "xhigh"  # its page lists fewer, but words newer than a list are no error


@pytest.mark.parametrize("address", ["", "https://api.acedata.cloud/v1"])
async def test_a_missing_token_is_told_before_sending(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACEDATA_API_KEY", raising=False)
    monkeypatch.setenv("ACEDATA_BASE_URL", address)
    model = open_model("acedata:gpt-5-mini")
    with pytest.raises(ConfigError, match="ACEDATA_API_KEY"):
        await model.reply(ChatRequest(messages=[UserMessage("hi")]), lambda event: None)


@pytest.mark.parametrize(
    ("status", "code", "message", "kind"),
    [
        ("400 Bad", "no_token", "No token is given.", AuthenticationFailed),
        ("400 Bad", "bad_request", "The body is not JSON.", BadRequest),
        ("401 No", "invalid_token", "The token is invalid.", AuthenticationFailed),
        ("403 No", "used_up", "Your balance is not enough.", QuotaExceeded),
        ("403 No", "disabled", "The credential is disabled.", AuthenticationFailed),
        ("403 No", "forbidden", "The content did not pass content moderation.", ContentFiltered),
        ("504 Late", "timeout", "The upstream timed out.", Overloaded),
    ],
)
async def test_errors_of_ace_data_cloud_are_understood(
    status: str, code: str, message: str, kind: type[ModelError]
) -> None:
    body = json.dumps({"error": {"code": code, "message": message}, "trace_id": "t-1"}).encode()
    with served(answer(body, status=status)) as server:
        client = ChatClient(server.url, model="m", retry=RetryPolicy(retries=0))
        with pytest.raises(kind, match=message) as caught:
            await client.create("hi")
        await client.aclose()
    assert type(caught.value) is kind
    assert (caught.value.code, caught.value.request_id) == (code, "t-1")
