import gzip
import json
import tracemalloc
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import httpx2
import pytest

from agentkit.chat.client import ChatClient
from agentkit.chat.compat.profile import Profile
from agentkit.chat.decoding.decoder import ReadLimits, ResponseDecoder
from agentkit.chat.events import CallDelta, Event
from agentkit.chat.messages import UserMessage
from agentkit.chat.reply import Reply
from agentkit.chat.request import ChatRequest, FunctionTool
from agentkit.chat.transport.retry import RetryPolicy
from agentkit.errors import InvalidReply, MalformedToolCall, RateLimited
from tests.replay import answer, completion, events, replay
from tests.scaling import assert_linear

LONG = {"content": "x" * 2_000}
CALL = {"content": '<tool_call>{"name": "f", "arguments": {}}</tool_call>'}
BOTH = pytest.mark.parametrize("stream", [True, False])


def packed(message: dict[str, Any]) -> bytes:
    body = json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]}).encode()
    return answer(gzip.compress(body), headers="content-encoding: gzip\r\n")


async def ask(sent: bytes, reading: ReadLimits | None, *, stream: bool = False) -> Reply:
    with replay(sent) as server:
        client = ChatClient(server.url, model="m", retry=RetryPolicy(retries=0), read_limits=reading)
        try:
            messages = [UserMessage("hi")]
            return await client.reply(ChatRequest(messages=messages, tools=[FunctionTool("f")], stream=stream))
        finally:
            await client.aclose()


@pytest.mark.anyio
@pytest.mark.parametrize("sent", [completion(LONG), events(LONG), packed(LONG)], ids=["whole", "stream", "packed"])
async def test_the_largest_reply_is_a_setting(sent: bytes) -> None:
    assert (await ask(sent, ReadLimits(max_reply=5_000))).text == LONG["content"]
    with pytest.raises(InvalidReply, match=r"more than 1,000 bytes in one reply; ReadLimits\(max_reply=...\) sets the"):
        await ask(sent, ReadLimits(max_reply=1_000))


@pytest.mark.anyio
async def test_the_largest_line_of_a_stream_is_a_setting() -> None:
    assert (await ask(events(LONG), ReadLimits(max_line=5_000))).text == LONG["content"]
    with pytest.raises(InvalidReply, match=r"more than 1,000 bytes.*ReadLimits\(max_line=...\) sets the limit"):
        await ask(events(LONG), ReadLimits(max_line=1_000))
    assert (await ask(completion(LONG), ReadLimits(max_line=1_000))).text == LONG["content"]


@pytest.mark.anyio
@BOTH
async def test_calls_in_the_text_of_an_answer_are_text_where_that_is_switched_off(stream: bool) -> None:
    sent = events(CALL) if stream else completion(CALL)
    reply = await ask(sent, ReadLimits(calls_in_text=False), stream=stream)
    assert (reply.text, reply.message.tool_calls, reply.repairs) == (CALL["content"], (), ())
    reply = await ask(sent, None, stream=stream)
    assert (reply.text, [call.name for call in reply.message.tool_calls]) == ("", ["f"])


@pytest.mark.anyio
@BOTH
@pytest.mark.parametrize("encoding", ["br", "zstd"])
async def test_a_compression_that_cannot_be_read_is_told_once_and_not_asked_for_again(
    encoding: str, stream: bool
) -> None:
    sent = answer(b"\x1b" * 1_000_000, headers=f"content-encoding: {encoding}\r\n")
    with replay(sent, completion({"content": "good"})) as server:
        client = ChatClient(server.url, model="m", retry=RetryPolicy(first_wait=0))
        with pytest.raises(InvalidReply, match=rf"compressed its answer \({encoding}\)"):
            await client.reply(ChatRequest(messages=[UserMessage("hi")], stream=stream))
        await client.aclose()
        assert len(server.requests) == 1


@pytest.mark.anyio
async def test_an_error_status_is_told_even_if_its_body_cannot_be_read() -> None:
    headers = "content-encoding: br\r\nretry-after: 600\r\n"
    with pytest.raises(RateLimited):
        await ask(answer(b"\x1b\x1b", status="429 Slow", headers=headers), None)


class Hosted:
    """A client of a server somewhere on the internet, which plays these answers and remembers the requests."""

    def __init__(self, *answers: dict[str, Any], **options: Any) -> None:
        self.answers = list(answers)
        self.requests: list[dict[str, Any]] = []
        http = httpx2.AsyncClient(transport=httpx2.MockTransport(self.play))
        self.client = ChatClient("https://llm.example.com/v1", model="m", http=http, **options)

    def play(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(json.loads(request.content))
        answer = self.answers.pop(0)
        if "error" in answer:
            return httpx2.Response(400, json=answer)
        return httpx2.Response(200, json={"choices": [{"message": answer, "finish_reason": "stop"}]})

    async def ask(self) -> Reply:
        return await self.client.reply(ChatRequest(messages=[UserMessage("hi")], tools=[FunctionTool("f")]))


@pytest.mark.anyio
async def test_calls_in_the_text_of_a_hosted_server_are_text_unless_its_profile_says_that_it_has_no_parser() -> None:
    reply = await Hosted(CALL).ask()
    assert (reply.text, reply.message.tool_calls) == (CALL["content"], ())
    reply = await Hosted(CALL, profile=Profile(calls_in_text=True)).ask()
    assert (reply.text, [call.name for call in reply.message.tool_calls]) == ("", ["f"])
    reply = await Hosted(CALL, profile=Profile(calls_in_text=True), read_limits=ReadLimits(calls_in_text=False)).ask()
    assert reply.message.tool_calls == ()


@pytest.mark.anyio
async def test_that_a_server_has_no_parser_is_learned_from_its_refusal() -> None:
    refusal = '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'
    server = Hosted({"error": {"message": refusal}}, CALL, CALL)
    for _ in range(2):
        reply = await server.ask()
        assert [call.name for call in reply.message.tool_calls] == ["f"]
        assert reply.adaptations == ('tool_choice is set to "none" with tools',)
    assert [request.get("tool_choice") for request in server.requests] == [None, "none", "none"]
    assert server.client.profile.calls_in_text


# The decoder itself.

OFFERED: dict[str, Any] = {
    "weather": {"type": "object", "properties": {"city": {"type": "string"}}},
    "pay": {"type": "object", "properties": {"to": {"type": "string"}, "amount": {"type": "number"}}},
}
STREAM = {"content-type": "text/event-stream"}
DONE = b"data: [DONE]\n\n"


def decode(
    parts: Iterable[bytes], *, status: int = 200, headers: dict[str, str] | None = None, calls_in_text: bool = False
) -> tuple[Reply, list[Event]]:
    emitted: list[Event] = []
    decoder = ResponseDecoder(emitted.append, server="s", offered=OFFERED, calls_in_text=calls_in_text)
    decoder.start(status, headers or {})
    for part in parts:
        decoder.feed(part)
    return decoder.finish(), emitted


def event(delta: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps({"choices": [{"index": 0, "delta": delta}]}).encode() + b"\n\n"


def body(message: dict[str, Any]) -> bytes:
    return json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]}).encode()


OLLAMA = "error parsing tool call: raw='{}', err=invalid character 'x' after top-level value"
LLAMA_CPP = "Failed to parse input at pos 12: {}"
REJECTED = pytest.mark.parametrize(
    ("words", "written"),
    [
        (OLLAMA, '{"city": "Paris"}'),
        (OLLAMA, '{"city": "Paris"}}'),
        (OLLAMA, '{"city": "it\'s", err=\'x\'"'),
        (LLAMA_CPP, '<tool_call>{"name": "weather", "arguments": {"city": "Paris"}}</tool_call>'),
        (LLAMA_CPP, '{"name": "weather", "arguments": {"city": "Paris"}}'),
    ],
)


@REJECTED
@pytest.mark.parametrize("streamed", [True, False])
def test_a_call_that_the_server_could_not_parse_is_the_turn_of_the_model(
    words: str, written: str, streamed: bool
) -> None:
    error = {"error": {"message": words.replace("{}", written), "type": "api_error", "code": None}}
    if streamed:
        parts = [event({"content": "Let me look."}), b"data: " + json.dumps(error).encode() + b"\n\n"]
        reply, emitted = decode(parts, headers=STREAM)
        assert reply.text == "Let me look."
    else:
        reply, emitted = decode([json.dumps(error).encode()], status=500)
    (call,) = reply.message.tool_calls
    assert call.name == "weather"
    assert call.parsed == {"city": "Paris"} or call.malformed == written
    assert [each.call_id for each in emitted if isinstance(each, CallDelta)] == [call.id]
    assert reply.repairs[0] == "the server could not parse a call; it was read from its error message"


@pytest.mark.parametrize("written", ["{}", '{"day": 1}', "<b>hm</b>", '<tool_call>{"name": "weath', ""])
def test_a_call_that_nobody_can_parse_is_an_error_with_the_words_of_the_model(written: str) -> None:
    error = {"error": {"message": OLLAMA.replace("{}", written)}}
    with pytest.raises(MalformedToolCall, match="could not parse a tool call") as raised:
        decode([json.dumps(error).encode()], status=500)
    assert raised.value.generation == written


@pytest.mark.parametrize("message", [{}, {"role": "assistant"}, {"content": None}, {"content": ""}])
def test_a_reply_that_says_nothing_is_a_reply(message: dict[str, Any]) -> None:
    reply, _ = decode([body(message)])
    assert reply.message.says_nothing
    end = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'
    assert decode([event(message), end], headers=STREAM)[0].message.says_nothing


@pytest.mark.parametrize(
    "end",
    [
        {"finish_reason": "error"},
        {"finish_reason": "MALFORMED_FUNCTION_CALL"},
        {"finish_reason": "stop", "native_finish_reason": "network_error"},
        {"finish_reason": None, "native_finish_reason": "error"},
    ],
)
def test_a_reply_whose_end_says_that_it_failed_is_an_error(end: dict[str, Any]) -> None:
    chunk = {"choices": [{"delta": {"content": "half an ans"}, **end}]}
    with pytest.raises(InvalidReply, match="says that making the reply failed"):
        decode([f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n".encode()], headers=STREAM)


def test_a_finish_reason_in_camel_case_ends_a_stream_too() -> None:
    end = b'data: {"choices":[{"delta":{},"finishReason":"stop"}]}\n\n'
    assert decode([event({"content": "hi"}), end], headers=STREAM)[0].text == "hi"


TEXTS = {
    "quotations": "> " * 7_500_000,
    "numbers": "1." * 7_500_000,
    "open-channel": "<|channel|>analysis<|message|>" + "x" * 15_000_000,
    "open-call": "<tool_call>" + '{"a":' * 2_000_000,
    "open-parameter": "<function=pay>" + "<parameter=to>" * 1_000_000,
}


def fragment(**function: str) -> bytes:
    return event({"tool_calls": [{"index": 0, "function": function}]})


STREAMED: dict[str, Callable[[], list[bytes]]] = {
    "stream": lambda: [event({"content": TEXTS["open-channel"][:40]}), *[event({"content": "> " * 40_000})] * 150],
    "growing-name": lambda: [fragment(name="a" * size) for size in range(2_000)],
    "growing-arguments": lambda: [fragment(name="pay", arguments="a" * size) for size in range(2_000)],
}
WHOLE: dict[str, dict[str, Any]] = {
    **{name: {"content": text} for name, text in TEXTS.items()},
    "objects": {"tool_calls": [{"function": {"name": "pay", "arguments": '{"a":1}' * 800_000}}]},
    "different-objects": {"tool_calls": [{"function": {"name": "pay", "arguments": '{"a":1}{"a":2}' * 400_000}}]},
}


@pytest.mark.parametrize("name", [*STREAMED, *WHOLE])
def test_nothing_that_a_server_sends_takes_much_more_memory_than_its_size(name: str) -> None:
    streamed = name in STREAMED
    parts = [*STREAMED[name](), DONE] if streamed else [body(WHOLE[name])]
    tracemalloc.start()
    try:
        reply, _ = decode(parts, headers=STREAM if streamed else {}, calls_in_text=True)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 64 * 1024 * 1024
    assert len(reply.message.tool_calls) <= 1
    assert reply.text == TEXTS.get(name, reply.text)


@pytest.mark.parametrize("in_text", [True, False])
def test_a_reply_with_more_calls_than_1024_is_refused_while_it_is_read(in_text: bool) -> None:
    call = {"function": {"name": "weather", "arguments": "{}"}}
    text = '<tool_call>{"name": "weather"}</tool_call>' * 20_000
    message = {"content": text} if in_text else {"tool_calls": [call] * 20_000}
    with pytest.raises(InvalidReply, match="more than 1,024 calls in one reply"):
        decode([body(message)], calls_in_text=True)
    with pytest.raises(InvalidReply, match="more than 1,024 calls in one reply"):
        decode([event(message), DONE], headers=STREAM, calls_in_text=True)


@pytest.mark.parametrize(
    "delta",
    [
        {"content": "> "},
        {"reasoning": "hm"},
        {"tool_calls": [{"index": 0, "function": {"name": "pay", "arguments": " "}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"a":1}'}}]},
        {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "b", "arguments": ""}}]},
    ],
    ids=["text", "reasoning", "arguments", "objects", "name"],
)
def test_a_stream_is_decoded_in_linear_time(delta: dict[str, Any]) -> None:
    assert_linear(lambda size: partial(decode, [event(delta) * size, DONE], headers=STREAM), 500)
