"""What of an answer is read is the caller's to say: how much, and whether calls in its text are calls."""

import gzip
import json
from typing import Any

import pytest

from agentkit.chat.client import ChatClient
from agentkit.chat.decoding.decoder import ReadLimits
from agentkit.chat.messages import UserMessage
from agentkit.chat.reply import Reply
from agentkit.chat.request import ChatRequest, FunctionTool
from agentkit.chat.transport.retry import RetryPolicy
from agentkit.errors import InvalidReply, RateLimited
from tests.replay import answer, completion, events, replay

pytestmark = pytest.mark.anyio

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


@pytest.mark.parametrize("sent", [completion(LONG), events(LONG), packed(LONG)], ids=["whole", "stream", "packed"])
async def test_the_largest_reply_is_a_setting(sent: bytes) -> None:
    assert (await ask(sent, ReadLimits(max_reply=5_000))).text == LONG["content"]
    with pytest.raises(InvalidReply, match=r"more than 1,000 bytes in one reply; ReadLimits\(max_reply=...\) sets the"):
        await ask(sent, ReadLimits(max_reply=1_000))


async def test_the_largest_line_of_a_stream_is_a_setting() -> None:
    assert (await ask(events(LONG), ReadLimits(max_line=5_000))).text == LONG["content"]
    with pytest.raises(InvalidReply, match=r"more than 1,000 bytes.*ReadLimits\(max_line=...\) sets the limit"):
        await ask(events(LONG), ReadLimits(max_line=1_000))
    assert (await ask(completion(LONG), ReadLimits(max_line=1_000))).text == LONG["content"]


@BOTH
async def test_calls_in_the_text_of_an_answer_are_text_where_that_is_switched_off(stream: bool) -> None:
    sent = events(CALL) if stream else completion(CALL)
    reply = await ask(sent, ReadLimits(calls_in_text=False), stream=stream)
    assert (reply.text, reply.message.tool_calls, reply.repairs) == (CALL["content"], (), ())
    reply = await ask(sent, None, stream=stream)
    assert (reply.text, [call.name for call in reply.message.tool_calls]) == ("", ["f"])


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


async def test_an_error_status_is_told_even_if_its_body_cannot_be_read() -> None:
    headers = "content-encoding: br\r\nretry-after: 600\r\n"
    with pytest.raises(RateLimited):
        await ask(answer(b"\x1b\x1b", status="429 Slow", headers=headers), None)
