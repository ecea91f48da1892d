"""A model without an agent: whatever the server behind sends, clients get what the API says."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from agentkit import ChatClient, serve
from agentkit.chat import ChatRequest, Choice, Reply, RetryPolicy, Usage
from agentkit.errors import BadRequest, ConfigError, ConnectionFailed
from agentkit.events import CallDelta, ChoiceDelta, DeltasDiscarded, Emit, Event, ReasoningDelta, Retrying, TextDelta
from agentkit.messages import AssistantMessage, ToolCall
from agentkit.testing import Answer, ScriptedModel, Server, call, raw
from tests.serve.asgi import TOKEN, USER, Client

pytestmark = pytest.mark.anyio

CLOCK = {"type": "function", "function": {"name": "clock"}}
SQL = {"type": "custom", "custom": {"name": "sql"}}


class Plays:
    """A model that emits these events and replies with this message."""

    def __init__(self, *events: Event, message: AssistantMessage) -> None:
        self.events, self.message = events, message

    async def reply(self, request: ChatRequest, emit: Emit) -> Reply:
        for each in self.events:
            emit(each)
        usage = Usage(requests=1, prompt_tokens=3, completion_tokens=4, total_tokens=7, reasoning_tokens=2)
        return Reply(choices=(Choice(message=self.message, finish_reason="stop"),), usage=usage)


def gateway(*models: Any, **options: Any) -> Client:
    return Client(serve.gateway({"gpt": list(models)}, token=TOKEN, **options), model="gpt")


async def test_a_reply_has_every_member_and_the_usage_of_the_model() -> None:
    asks = gateway(Plays(ReasoningDelta("hm"), TextDelta("ok"), message=AssistantMessage("ok", reasoning="hm")))
    whole = await asks.chat()
    ChatCompletion.model_validate(whole.json, strict=True)
    assert whole.message | {"annotations": []} == {
        "role": "assistant",
        "content": "ok",
        "refusal": None,
        "annotations": [],
        "reasoning_content": "hm",
    }
    assert whole.json["usage"]["completion_tokens_details"]["reasoning_tokens"] == 2
    streamed = await asks.chat(stream=True, stream_options={"include_usage": True})
    for chunk in streamed.chunks:
        ChatCompletionChunk.model_validate(chunk, strict=True)
    deltas = [each["choices"][0]["delta"] for each in streamed.chunks if each["choices"]]
    assert [each["reasoning_content"] for each in deltas if "reasoning_content" in each] == ["hm"]
    assert (streamed.text, streamed.chunks[-1]["usage"]["total_tokens"]) == ("ok", 7)


async def test_calls_are_streamed_as_the_model_writes_them() -> None:
    deltas = (CallDelta(0, "c1", "clock", ""), CallDelta(0, "c1", "", '{"zone"'), CallDelta(0, "c1", "", ': "UTC"}'))
    message = AssistantMessage(None, (ToolCall("c1", "clock", '{"zone": "UTC"}'),))
    for stream in (True, False):
        asks = gateway(Plays(*deltas, message=message))
        answer = await asks.chat(tools=[CLOCK], stream=stream)
        if not stream:
            (made,) = answer.message["tool_calls"]
            assert made == {
                "id": "c1",
                "type": "function",
                "function": {"name": "clock", "arguments": '{"zone": "UTC"}'},
            }
            assert answer.json["choices"][0]["finish_reason"] == "tool_calls"  # whatever the server says
            continue
        parts = [part for each in answer.chunks for part in each["choices"][0]["delta"].get("tool_calls", ())]
        assert [each["function"].get("name") for each in parts] == ["clock", None, None]
        assert "".join(each["function"]["arguments"] for each in parts) == '{"zone": "UTC"}'
        assert answer.chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


async def test_what_had_no_deltas_comes_at_the_end() -> None:
    message = AssistantMessage("Hi.", (ToolCall("c1", "clock", "{}"), ToolCall.custom("c2", "sql", "select 1")))
    answer = await gateway(Plays(CallDelta(1, "c2", "sql", "select 1"), message=message)).chat(
        tools=[CLOCK, SQL], stream=True
    )
    parts = [part for each in answer.chunks for part in each["choices"][0]["delta"].get("tool_calls", ())]
    assert answer.text == "Hi."
    assert [(each["index"], each["type"]) for each in parts] == [(0, "function"), (1, "custom")]


async def test_several_answers_are_told_by_their_index() -> None:
    class Two:
        async def reply(self, request: ChatRequest, emit: Emit) -> Reply:
            assert request.settings.n == 2
            emit(TextDelta("one"))
            emit(ChoiceDelta(1, TextDelta("two")))
            choices = [Choice(message=AssistantMessage(each), finish_reason="stop") for each in ("one", "two")]
            return Reply(choices=tuple(choices))

    assert [each["message"]["content"] for each in (await gateway(Two()).chat(n=2)).json["choices"]] == ["one", "two"]
    streamed = await gateway(Two()).chat(n=2, stream=True)
    texts = [(each["choices"][0]["index"], each["choices"][0]["delta"].get("content")) for each in streamed.chunks]
    assert [each for each in texts if each[1]] == [(0, "one"), (1, "two")]


async def test_a_text_that_begins_again_goes_on_where_it_was_and_another_one_ends_the_stream() -> None:
    again = Retrying(1, 0.0, "it broke")
    same = Plays(TextDelta("one tw"), again, TextDelta("one "), TextDelta("two"), message=AssistantMessage("one two"))
    assert (await gateway(same).chat(stream=True)).text == "one two"
    other = Plays(TextDelta("one"), again, TextDelta("two"), message=AssistantMessage("two"))
    failed = await gateway(other).chat(stream=True)
    assert failed.status == 502 or json.loads(failed.data[-1])["error"]["code"] == "stream_interrupted"
    assert "two" not in failed.body.decode().replace("with other words", "")
    assert (await gateway(other).chat()).message["content"] == "two"
    shorter = Plays(TextDelta("one two"), DeltasDiscarded(), TextDelta("one"), message=AssistantMessage("one"))
    assert b"stream_interrupted" in (await gateway(shorter).chat(stream=True)).body
    called = Plays(CallDelta(0, "c", "clock", "{"), again, TextDelta("x"), message=AssistantMessage("x"))
    assert b"stream_interrupted" in (await gateway(called).chat(stream=True, tools=[CLOCK])).body


async def test_parameters_that_only_the_server_behind_knows_are_passed_on() -> None:
    model = ScriptedModel(["ok", "ok"])
    await gateway(model).chat(top_k=5, temperature=0, tools=[CLOCK], tool_choice="required", functions=None)
    settings = model.requests[0].settings
    assert (settings.extra_body, settings.temperature, settings.tool_choice) == ({"top_k": 5}, 0, "required")
    refused = await gateway(model).chat(agentkit={"events": True})
    assert refused.error["param"] == "agentkit"
    form = await gateway(model).chat(response_format={"type": "json_object"})
    assert (form.status, form.error["param"]) == (400, "response_format")


async def test_what_the_server_behind_refuses_is_refused_in_its_words() -> None:
    error = BadRequest("400: no such thing", status=400, code="odd")
    error.said, error.params = "no such thing", ("logit_bias",)
    answer = await gateway(ScriptedModel([error])).chat()
    assert answer.error == {
        "message": "no such thing",
        "type": "invalid_request_error",
        "param": "logit_bias",
        "code": "odd",
    }


async def test_the_next_model_is_asked_where_one_gives_no_reply() -> None:
    for stream in (False, True):
        down, up = ScriptedModel([ConnectionFailed("down")]), ScriptedModel(["ok"])
        answer = await gateway(down, up).chat(stream=stream)
        assert (answer.text if stream else answer.message["content"]) == "ok"
    refused = ScriptedModel([BadRequest("wrong", status=400)])
    assert (await gateway(refused, ScriptedModel(["not asked"])).chat()).status == 400


async def test_requests_and_replies_are_recorded(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    asks = gateway(ScriptedModel(["ok", ConnectionFailed("down")]), record=path)
    await asks.chat()
    await asks.chat()
    first, second = map(json.loads, path.read_text().splitlines())
    assert first["request"]["messages"] == [USER]
    assert (first["model"], first["reply"]["choices"][0]["message"]["content"], first["error"]) == ("gpt", "ok", None)
    assert (second["reply"], second["error"]) == (None, "ConnectionFailed: down")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


ODD: list[tuple[str, Answer | Any, str]] = [
    ("calls with stop as the reason", [call("clock", id="x")], "tool_calls"),
    ("text", "ok", "stop"),
]


@pytest.mark.parametrize(("name", "answer", "reason"), ODD, ids=[each[0] for each in ODD])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_real_server_behind_looks_right(name: str, answer: Any, reason: str, stream: bool) -> None:
    with Server([answer]) as behind:
        model = ChatClient(behind.url, model="m", retry=RetryPolicy(retries=0))
        got = await gateway(model).chat(tools=[CLOCK], stream=stream)
        await model.aclose()
    last = got.chunks[-1] if stream else got.json
    assert last["choices"][0]["finish_reason"] == reason


BENT = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n"
    b'{"choices": [{"message": {"content": null, "tool_calls": [{"id": null, "function": {"name": "clock", '
    b'"arguments": {"zone": "UTC"}}}]}, "finish_reason": "stop"}]}'
)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_reply_that_bends_the_protocol_is_straightened(stream: bool) -> None:
    with Server([raw(BENT)]) as behind:
        model = ChatClient(behind.url, model="m", retry=RetryPolicy(retries=0))
        got = await gateway(model).chat(tools=[CLOCK], stream=stream)
        await model.aclose()
    if not stream:
        ChatCompletion.model_validate(got.json, strict=True)
    calls = (
        got.message["tool_calls"]
        if not stream
        else [part for each in got.chunks for part in each["choices"][0]["delta"].get("tool_calls", ())]
    )
    assert calls[0]["id"]
    assert json.loads(calls[0]["function"]["arguments"]) == {"zone": "UTC"}


def test_a_gateway_needs_a_model() -> None:
    with pytest.raises(ConfigError, match="needs a model"):
        serve.gateway({}, token=TOKEN)
    with pytest.raises(ConfigError, match="a model is a name"):
        serve.gateway({"x": [3]}, token=TOKEN)  # type: ignore[list-item]
    with pytest.raises(ConfigError, match="cannot be written"):
        serve.gateway(ScriptedModel([]), token=TOKEN, record="/nowhere/log")
