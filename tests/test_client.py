import json
import socket
from collections.abc import Sequence
from typing import Any

import anyio
import httpx
import httpx2
import pytest

from agentkit.chat.client import ChatClient
from agentkit.chat.decoding.decoder import ReadLimits
from agentkit.chat.events import Event, ReplyRepaired, Retrying, TextDelta
from agentkit.chat.messages import UserMessage
from agentkit.chat.reply import Reply
from agentkit.chat.request import ChatRequest
from agentkit.chat.settings import ChatSettings
from agentkit.chat.transport.response import Deadlines
from agentkit.chat.transport.retry import RetryPolicy
from agentkit.errors import (
    AuthenticationFailed,
    BadRequest,
    ConfigError,
    ConnectionFailed,
    ContentFiltered,
    DeadlineExceeded,
    IncompleteReply,
    InvalidReply,
    ModelError,
    Overloaded,
    RateLimited,
)
from tests.replay import HANG, answer, completion, events, replay

pytestmark = pytest.mark.anyio

KEY = "sk-secret-of-mine"
AT_ONCE = RetryPolicy(first_wait=0.0)


async def ask(
    *answers: bytes | Sequence[bytes], stream: bool = False, retry: RetryPolicy = AT_ONCE, **options: Any
) -> tuple[Reply, list[Event]]:
    seen: list[Event] = []
    with replay(*answers) as server:
        client = ChatClient(server.url, model="m", api_key=KEY, retry=retry, **options)
        try:
            reply = await client.reply(ChatRequest(messages=[UserMessage("hi")], stream=stream), seen.append)
        finally:
            await client.aclose()
    return reply, seen


async def test_a_question_gets_its_answer() -> None:
    with replay(completion({"content": "hello"}, usage={"prompt_tokens": 2, "completion_tokens": 1})) as server:
        client = ChatClient(server.url, model="m", api_key=KEY)
        reply = await client.reply(ChatRequest(messages=[UserMessage("hi")]))
        await client.aclose()
    assert reply.text == "hello"
    assert reply.usage.total_tokens == 3
    ((headers, body),) = server.requests
    assert headers["path"] == "/v1/chat/completions"
    assert headers["authorization"] == f"Bearer {KEY}"
    assert body == {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


async def test_a_streamed_answer_is_told_in_pieces() -> None:
    reply, seen = await ask(events({"content": "Hel"}, {"content": "lo"}), stream=True)
    assert reply.text == "Hello"
    assert seen == [TextDelta("Hel"), TextDelta("lo")]


@pytest.mark.parametrize("stream", [True, False])
async def test_either_form_of_an_answer_is_read_whatever_was_asked_for(stream: bool) -> None:
    assert (await ask(events({"content": "a"}), stream=stream))[0].text == "a"
    assert (await ask(completion({"content": "a"}), stream=stream))[0].text == "a"


@pytest.mark.parametrize("library", [httpx, httpx2])
async def test_a_client_of_the_callers_is_used_and_left_open(library: Any) -> None:
    async with library.AsyncClient(headers={"x-mine": "1"}, verify=False) as http:
        with replay(completion({"content": "a"}), completion({"content": "b"})) as server:
            client = ChatClient(server.url, model="m", http=http)
            for expected in "ab":
                assert (await client.reply(ChatRequest(messages=[UserMessage("hi")]))).text == expected
            await client.aclose()
        assert server.requests[0][0]["x-mine"] == "1"
        assert "authorization" not in server.requests[0][0]
        assert not http.is_closed
        with pytest.raises(ConnectionFailed):
            await ChatClient(server.url, model="m", http=http, retry=RetryPolicy(retries=0)).reply(
                ChatRequest(messages=[UserMessage("hi")])
            )


def test_any_other_client_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"httpx2\.AsyncClient"):
        ChatClient("http://127.0.0.1:1/v1", model="m", http=httpx.Client)


CUT = events({"content": "par"}, {"content": "tial"}, finish_reason=None, done=False)
GOOD = completion({"content": "good"})


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"HTTP/1.1 200",
        answer(b"<html>Welcome</html>", kind="text/html"),
        answer(b""),
        answer(b'{"id": "r1"'),
        answer(b'{"choices": []}'),
        answer(b'{"hello": 1}'),
        answer(b"[]"),
        answer(b'{"error": {"message": "later", "code": 503}}'),
        answer(b"later", status="503 Service Unavailable"),
        answer(b"{}", status="429 Too Many", headers="retry-after-ms: 1\r\n"),
        b"HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n{}",
        events(finish_reason=None, done=False),
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: {broken\n\n",
        b'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\nevent: error\ndata: {"message": "x"}\n\n',
        completion({"content": ""}, finish_reason="error"),
    ],
)
async def test_what_may_pass_is_tried_again_and_told(bad: bytes) -> None:
    reply, seen = await ask(bad, GOOD)
    assert reply.text == "good"
    assert [type(event) for event in seen if not isinstance(event, TextDelta)] == [Retrying]


@pytest.mark.parametrize(
    ("bad", "kind"),
    [
        (
            answer(b'{"error": {"message": "no", "code": "invalid_api_key"}}', status="401 Unauthorized"),
            AuthenticationFailed,
        ),
        (answer(b"", status="307 Redirect", headers="location: http://127.0.0.1:1/\r\n"), BadRequest),
        (completion({"content": ""}, finish_reason="content_filter"), ContentFiltered),
    ],
)
async def test_what_will_not_pass_is_told_at_once(bad: bytes, kind: type[ModelError]) -> None:
    with pytest.raises(kind):
        await ask(bad, retry=RetryPolicy(retries=0))


async def test_tries_come_to_an_end() -> None:
    with pytest.raises(Overloaded):
        await ask(*[answer(b"", status="500 Oops")] * 3, GOOD)


async def test_a_long_wait_that_the_server_asks_for_ends_the_tries() -> None:
    with pytest.raises(RateLimited) as caught:
        await ask(answer(b"", status="429 Slow", headers="retry-after: 600\r\n"), GOOD)
    assert caught.value.headers["retry-after"] == "600"


async def test_a_stream_that_was_cut_is_never_an_answer_and_not_repeated_once_text_was_shown() -> None:
    with pytest.raises(IncompleteReply) as caught:
        await ask(CUT, GOOD, stream=True)
    assert caught.value.partial == "partial"


async def test_a_stream_that_was_cut_before_anything_was_shown_is_asked_again() -> None:
    assert (
        await ask(events({"role": "assistant"}, finish_reason=None, done=False), events({"content": "a"}), stream=True)
    )[0].text == "a"


async def test_calls_of_a_stream_that_was_cut_are_never_given_out() -> None:
    call = {"index": 0, "id": "a", "function": {"name": "pay", "arguments": '{"amount": 10}'}}
    with pytest.raises(IncompleteReply):
        await ask(
            events({"tool_calls": [call]}, finish_reason=None, done=False), stream=True, retry=RetryPolicy(retries=0)
        )


async def test_the_end_may_be_told_by_either_of_its_signs() -> None:
    assert (await ask(events({"content": "a"}, done=False), stream=True))[0].text == "a"
    assert (await ask(events({"content": "a"}, finish_reason=None), stream=True))[0].text == "a"


async def test_what_was_mended_is_told() -> None:
    _, seen = await ask(completion({"content": None, "tool_calls": [{"function": {"name": "f"}}]}))
    assert [type(event) for event in seen][-1] is ReplyRepaired


@pytest.mark.parametrize(
    ("deadlines", "sent", "which"),
    [
        (Deadlines(first_byte=0.05), [HANG], "first_byte"),
        (Deadlines(first_byte=0.05), [b"HTTP/1.1 200 OK\r\n\r\n: wait\n\n", HANG], "first_byte"),
        (Deadlines(idle=0.05), [events({"content": "a"}, finish_reason=None, done=False), HANG], "idle"),
        (Deadlines(total=0.05), [HANG], "total"),
    ],
)
async def test_nothing_waits_for_ever(deadlines: Deadlines, sent: list[bytes], which: str) -> None:
    with pytest.raises(DeadlineExceeded) as caught:
        await ask(sent, stream=True, deadlines=deadlines, retry=RetryPolicy(retries=0))
    assert caught.value.which == which


async def test_an_answer_without_end_is_refused() -> None:
    with pytest.raises(InvalidReply, match="bytes"):
        await ask([b"HTTP/1.1 200 OK\r\n\r\n{", *[b" " * 1_000_000] * 17, HANG], retry=RetryPolicy(retries=0))


async def test_a_server_that_is_not_there_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    client = ChatClient(f"http://127.0.0.1:{port}/v1", model="m", retry=RetryPolicy(retries=0))
    with pytest.raises(ConnectionFailed, match=f"127.0.0.1:{port}.*is the server running"):
        await client.reply(ChatRequest(messages=[UserMessage("hi")]))
    await client.aclose()


@pytest.mark.parametrize("stream", [True, False])
async def test_the_key_is_in_no_error(stream: bool) -> None:
    said = json.dumps({"error": {"message": f"wrong key {KEY}", "code": KEY}}).encode()
    for bad in (
        answer(said, status="401 No"),
        answer(said),
        answer(KEY.encode()),
        b"HTTP/1.1 200 OK\r\n\r\ndata: " + said + b"\n\n",
    ):
        with pytest.raises(ModelError) as caught:
            await ask(bad, stream=stream, retry=RetryPolicy(retries=0))
        assert KEY not in f"{caught.value} {vars(caught.value)}"


async def test_a_header_of_the_callers_goes_before_ours_whatever_its_case() -> None:
    with replay(completion({"content": "a"})) as server:
        client = ChatClient(server.url, model="m", api_key=KEY, headers={"Authorization": "Basic x"})
        settings = ChatSettings(extra_headers={"X-Mine": "1", "ACCEPT": "*/*"})
        await client.reply(ChatRequest(messages=[UserMessage("hi")], settings=settings))
        await client.aclose()
    headers, _ = server.requests[0]
    assert (headers["authorization"], headers["x-mine"], headers["accept"]) == ("Basic x", "1", "*/*")


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("key", ["a", "test", KEY])
async def test_what_the_model_says_is_never_changed_for_the_sake_of_a_key(key: str, stream: bool) -> None:
    call = {"index": 0, "id": "x", "function": {"name": "read", "arguments": json.dumps({"path": f"/home/{key}/a"})}}
    message = {"content": f"the {key} passed", "tool_calls": [call]}
    with replay(events(message) if stream else completion(message)) as server:
        client = ChatClient(server.url, model="m", api_key=key)
        reply = await client.reply(ChatRequest(messages=[UserMessage("hi")], stream=stream))
        await client.aclose()
    assert reply.text == f"the {key} passed"
    assert json.loads(reply.message.tool_calls[0].arguments) == {"path": f"/home/{key}/a"}


def sse(*lines: str) -> bytes:
    return b"HTTP/1.1 200 OK\r\n\r\n" + "".join(f"data: {line}\n\n" for line in lines).encode()


async def test_a_call_with_a_broken_event_in_its_middle_is_never_given_out() -> None:
    def piece(arguments: str) -> str:
        call = {"index": 0, "id": "x", "function": {"name": "pay", "arguments": arguments}}
        return json.dumps({"choices": [{"delta": {"tool_calls": [call]}}]})

    end = json.dumps({"choices": [{"delta": {}, "finish_reason": "tool_calls"}]})
    with pytest.raises(IncompleteReply, match="malformed"):
        broken = sse(piece('{"amount": 1'), piece("00")[:-5], piece("}"), end, "[DONE]")
        await ask(broken, stream=True, retry=RetryPolicy(retries=0))


async def test_a_broken_event_in_the_middle_of_text_is_left_out_and_told() -> None:
    text = [json.dumps({"choices": [{"delta": {"content": each}}]}) for each in "ab"]
    reply, seen = await ask(sse(text[0], '{"broken', text[1], "[DONE]"), stream=True)
    assert reply.text == "ab"
    assert isinstance(seen[-1], ReplyRepaired)


async def test_a_server_that_says_done_and_keeps_the_connection_open_has_answered() -> None:
    with anyio.fail_after(10):
        reply, _ = await ask([events({"content": "a"}), HANG], stream=True)
    assert reply.text == "a"


@pytest.mark.parametrize("choices", ["[null]", "[]", '[{"message": null, "finish_reason": "stop"}]', '"x"'])
async def test_an_answer_without_a_message_is_no_answer(choices: str) -> None:
    with pytest.raises(InvalidReply, match="without any message"):
        await ask(answer(f'{{"choices": {choices}}}'.encode()), retry=RetryPolicy(retries=0))


def test_a_client_does_not_show_its_key() -> None:
    assert KEY not in repr(ChatClient("http://127.0.0.1:1/v1", model="m", api_key=KEY))


@pytest.mark.parametrize("key", [None, "", "  \n"])
async def test_no_key_is_no_header(key: str | None) -> None:
    with replay(completion({"content": "a"})) as server:
        client = ChatClient(server.url, model="m", api_key=key)
        await client.reply(ChatRequest(messages=[UserMessage("hi")]))
        await client.aclose()
    assert "authorization" not in server.requests[0][0]


async def test_a_line_break_behind_a_key_is_left_out_and_any_other_strange_character_refused() -> None:
    with replay(completion({"content": "a"})) as server:
        client = ChatClient(server.url, model="m", api_key=f"{KEY}\n")
        await client.reply(ChatRequest(messages=[UserMessage("hi")]))
        await client.aclose()
    assert server.requests[0][0]["authorization"] == f"Bearer {KEY}"
    for key in ("gööd", "two\nlines"):
        with pytest.raises(ConfigError, match="the API key holds") as caught:
            await ChatClient(server.url, model="m", api_key=key).reply(ChatRequest(messages=[UserMessage("hi")]))
        assert key not in str(caught.value)


async def test_a_server_that_has_moved_is_told_with_where_to_and_asked_once() -> None:
    moved = answer(b"", status="301 Moved", headers="location: https://elsewhere/v1\r\n")
    with pytest.raises(BadRequest, match="moved to 'https://elsewhere/v1'"):
        await ask(moved, GOOD)


async def test_a_stream_that_stalls_when_the_reply_is_whole_has_answered() -> None:
    reply, _ = await ask([events({"content": "a"}, done=False), HANG], stream=True, deadlines=Deadlines(idle=0.05))
    assert reply.text == "a"


async def test_events_that_say_nothing_do_not_keep_a_stream_alive() -> None:
    with pytest.raises(DeadlineExceeded) as caught:
        nothing = [sse('{"choices": []}'), *[b'data: {"choices": []}\n\n'] * 50, HANG]
        await ask(nothing, stream=True, deadlines=Deadlines(first_byte=0.05), retry=RetryPolicy(retries=0))
    assert caught.value.which == "first_byte"


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("http://h:1/v1/", "http://h:1/v1"),
        ("http://h:1/v1/chat/completions", "http://h:1/v1"),
    ],
)
def test_an_address_is_taken_as_people_write_it(address: str, url: str) -> None:
    assert ChatClient(address, model="m").base_url == url


def test_a_password_in_an_address_is_not_shown() -> None:
    assert "hunter2" not in repr(ChatClient("http://me:hunter2@h/v1", model="m"))


async def test_a_stream_that_broke_after_its_text_was_shown_is_asked_again_where_the_caller_allows_it() -> None:
    retry = RetryPolicy(first_wait=0.0, after_text=True)
    reply, seen = await ask(CUT, events({"content": "whole"}), stream=True, retry=retry)
    assert reply.text == "whole"
    assert [type(event) for event in seen] == [TextDelta, TextDelta, Retrying, TextDelta]
    assert seen[-1] == TextDelta("whole")


@pytest.mark.parametrize("before", [0, 150, 170, 185, 1970, 1990])
async def test_no_part_of_a_key_is_in_any_member_of_an_error(before: int) -> None:
    said = {"message": f"{'x ' * (before // 2)}{KEY}", "code": KEY, "param": KEY, "type": [KEY]}
    for bad in (answer(json.dumps({"error": said}).encode(), status="400 No"), answer(KEY.encode() * 20)):
        for options in ({"api_key": KEY}, {"headers": {"API-Key": KEY}}):
            with replay(bad) as server:
                client = ChatClient(server.url, model="m", retry=RetryPolicy(retries=0), learn=False, **options)
                with pytest.raises(ModelError) as caught:
                    await client.reply(ChatRequest(messages=[UserMessage("hi")]))
                assert KEY[:6] not in f"{caught.value} {vars(caught.value)}"
                await client.aclose()


@pytest.mark.parametrize("blanks", [b"\n" * 200, b" \r\n" * 50, b"\xef\xbb\xbf" + b" " * 70])
@pytest.mark.parametrize("stream", [True, False])
async def test_blank_lines_that_keep_a_connection_alive_may_come_before_either_form_of_an_answer(
    blanks: bytes, stream: bool
) -> None:
    whole = events({"content": "hello"}) if stream else completion({"content": "hello"})
    head, _, body = whole.partition(b"\r\n\r\n")
    head = b"\r\n".join(line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length"))
    reply, _ = await ask([head + b"\r\n\r\n" + blanks, body], stream=stream)
    assert reply.text == "hello"


async def test_blank_lines_before_a_stream_are_not_its_first_event() -> None:
    slow = Deadlines(first_byte=0.3, idle=30, total=30)
    with pytest.raises(DeadlineExceeded) as caught:
        await ask([b"HTTP/1.1 200 OK\r\n\r\n", b"\n", HANG], stream=True, deadlines=slow, retry=RetryPolicy(retries=0))
    assert caught.value.which == "first_byte"


@pytest.mark.parametrize(
    "end", [b"", HANG, b"data: " + b"x" * 2_000, b'data: {"error": {"message": "no"}}\n\n', b"!\r\n"]
)
async def test_the_text_that_was_shown_is_in_the_error_however_the_reply_broke_off(end: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\n" + (b"transfer-encoding: chunked\r\n\r\n" if end == b"!\r\n" else b"\r\n")
    text = b'data: {"choices": [{"index": 0, "delta": {"content": "It is "}}]}\n\n'
    text = f"{len(text):x}\r\n".encode() + text + b"\r\n" if end == b"!\r\n" else text
    options: dict[str, Any] = {"deadlines": Deadlines(idle=0.3), "read_limits": ReadLimits(max_line=1_000)}
    with pytest.raises(ModelError) as caught:
        await ask([head, text, end], stream=True, **options)
    assert caught.value.partial == "It is "
    if isinstance(caught.value, ConnectionFailed):
        assert "broke before the reply was complete" in str(caught.value)


@pytest.mark.parametrize("library", [None, httpx, httpx2])
@pytest.mark.parametrize("name", ["x-gateway-token", "Ocp-Apim-Subscription-Key", "cf-aig-authorization", "Cookie"])
async def test_the_value_of_any_header_that_is_secret_by_its_name_is_in_no_error(library: Any, name: str) -> None:
    secret = {name: "Bearer id=of-mine-123; more"}
    http = library.AsyncClient(headers=secret, verify=False) if library else None
    said = json.dumps({"error": {"message": "of-mine-123 is wrong", "code": "id=of-mine-123"}}).encode()
    with pytest.raises(AuthenticationFailed, match=r"\*\*\* is wrong") as caught:
        await ask(answer(said, status="401 No"), http=http, headers=None if http else secret)
    if http:
        await http.aclose()
    assert "of-mine-123" not in f"{caught.value} {vars(caught.value)}"


async def test_a_header_that_is_no_text_is_told_in_a_sentence() -> None:
    with pytest.raises(ConfigError, match="cannot send to http"):
        await ask(completion({"content": "hello"}), headers={"x-team": 1})
