import json
import time
from typing import Any

import pytest

from agentkit.chat.transport.status import error_of_status, error_of_value
from agentkit.errors import (
    AuthenticationFailed,
    BadRequest,
    ContextTooLong,
    MalformedToolCall,
    NotFound,
    Overloaded,
    QuotaExceeded,
    RateLimited,
    StatusError,
)


def error(status: int, body: bytes, **headers: str) -> StatusError:
    found = error_of_status(status, headers, body, server="srv")
    assert isinstance(found, StatusError)
    return found


@pytest.mark.parametrize(
    ("status", "body", "kind", "said"),
    [
        (
            401,
            b'{"error":{"message":"bad key","type":"t","param":null,"code":"invalid_api_key"}}',
            AuthenticationFailed,
            "bad key",
        ),
        (403, b'{"error":{"message":"no","code":"x"}}', AuthenticationFailed, "no"),
        (404, b'{"error":"model \\"x\\" not found"}', NotFound, 'model "x" not found'),
        (400, b'{"error":{"code":"bad_request","message":"m"},"trace_id":"t1"}', BadRequest, "m"),
        (422, b'{"detail":[{"loc":["body"],"msg":"field required"}]}', BadRequest, "field required"),
        (400, b'{"object":"error","message":"m","code":400}', BadRequest, "m"),
        (429, b'{"error":{"message":"slow down","code":"rate_limit_exceeded"}}', RateLimited, "slow down"),
        (429, b'{"error":{"message":"pay","code":"insufficient_quota"}}', QuotaExceeded, "pay"),
        (429, b'{"error":{"message":"pay","type":"exceeded_current_quota_error"}}', QuotaExceeded, "pay"),
        (403, b'{"error":{"message":"balance exhausted","code":"used_up"},"trace_id":"t"}', QuotaExceeded, "balance"),
        (402, b"", QuotaExceeded, "nothing more"),
        (429, b'{"error":{"message":"the load balancer says: too fast"}}', RateLimited, "balancer"),
        (429, b'{"error":{"message":"suspended, please check your plan and billing details"}}', QuotaExceeded, "plan"),
        (  # Groq, and OpenAI's: advice about money, in a limit that passes
            429,
            b'{"error":{"message":"Rate limit reached. Please try again in 5s. More? https://x/settings/billing"}}',
            RateLimited,
            "try again in 5s",
        ),
        (  # Gemini's limit of a minute
            429,
            b'[{"error":{"message":"You exceeded your quota, check your billing details. Please retry in 34.07s."}}]',
            RateLimited,
            "retry in 34.07s",
        ),
        (503, b"<html><h1>Bad</h1> gateway</html>", Overloaded, "Bad gateway"),
        (500, b"", Overloaded, "nothing more"),
        (
            400,
            b'{"error":{"message":"maximum context length is 8192","code":"context_length_exceeded"}}',
            ContextTooLong,
            "8192",
        ),
        (
            500,
            b'{"error":{"message":"it exceeds the available context size","type":"exceed_context_size_error"}}',
            ContextTooLong,
            "exceeds",
        ),
        (413, b"prompt is too long: 9 tokens > 8 maximum", ContextTooLong, "too long"),
        (418, b"[]", BadRequest, "nothing more"),
        (400, b"\xff\xfe", BadRequest, "srv"),
    ],
)
def test_every_form_of_an_error_becomes_a_typed_one(status: int, body: bytes, kind: type, said: str) -> None:
    found = error(status, body)
    assert type(found) is kind
    assert found.status == status
    assert said in str(found)
    assert str(found).startswith(f"srv answered {status}")


def test_numbers_of_a_context_that_is_too_small_are_read() -> None:
    message = "This model's maximum context length is 8,192 tokens. However, your messages resulted in 9001 tokens."
    found = error_of_value({"error": {"message": message, "code": "context_length_exceeded"}}, server="srv")
    assert isinstance(found, ContextTooLong)
    assert (found.limit, found.got) == (8192, 9001)


def test_ids_of_a_request_are_kept_for_its_support() -> None:
    assert error(400, b"{}", **{"x-request-id": "r1"}).request_id == "r1"
    assert error(400, b'{"error":{"code":"c","message":"m"},"trace_id":"t1"}').request_id == "t1"


@pytest.mark.parametrize(
    ("value", "kind", "status"),
    [
        ({"error": {"message": "x", "code": 429}}, RateLimited, 429),
        ({"error": {"message": "x", "code": "502"}}, Overloaded, 502),
        ({"error": {"message": "x", "type": "invalid_request_error"}}, BadRequest, 400),
        ({"error": {"message": "x", "type": "rate_limit_error"}}, RateLimited, 429),
        ({"error": "it broke"}, Overloaded, 500),
        ({"error": True}, Overloaded, 500),
    ],
)
def test_an_error_without_a_status_gets_the_one_it_stands_for(value: Any, kind: type, status: int) -> None:
    found = error_of_value(value, server="srv")
    assert type(found) is kind
    assert isinstance(found, StatusError)
    assert found.status == status


GENERATION = """<tool_call>
{"name": "add", "arguments": {"a": 1,}}
</tool_call>"""


@pytest.mark.parametrize(
    ("status", "value", "generation"),
    [
        (500, {"error": f"error parsing tool call: raw='{GENERATION}', err=invalid character '}}'"}, GENERATION),
        (500, {"error": {"message": "error parsing tool call: raw='ls -R\n', err=invalid character 'l'"}}, "ls -R\n"),
        (500, {"error": {"message": "error parsing tool call: raw='it's', err=x"}}, "it's"),
        (500, {"error": {"code": 500, "message": f"Failed to parse input at pos 17: {GENERATION}"}}, GENERATION),
        (500, {"error": {"code": 500, "message": "Failed to parse input at pos 0: "}}, ""),
        (400, {"error": {"message": "Failed", "code": "tool_use_failed", "failed_generation": GENERATION}}, GENERATION),
        (400, {"error": {"message": "Failed", "code": "tool_use_failed"}}, ""),
        (502, {"error": {"message": json.dumps({"error": "error parsing tool call: raw='x', err=y"})}}, "x"),
        (None, {"error": {"message": f"Failed to parse input at pos 17: {GENERATION}"}}, GENERATION),
    ],
)
def test_a_call_that_a_server_could_not_parse_is_an_error_of_its_own_with_what_the_model_wrote(
    status: int | None, value: Any, generation: str
) -> None:
    found = error_of_value(value, server="srv", status=status)
    assert isinstance(found, MalformedToolCall)
    assert found.generation == generation
    assert str(found).startswith("srv could not parse a tool call of the model")


@pytest.mark.parametrize("words", ["a <b> c", "use <tool_call>", "1 < 2 > 1", "<think>"])
def test_what_stands_between_angle_brackets_is_part_of_a_message(words: str) -> None:
    assert words in str(error(500, json.dumps({"error": {"message": words}}).encode()))
    assert words in str(error(500, words.encode()))


@pytest.mark.parametrize(
    "start", ["<html>", "<!DOCTYPE html><html>", "\n<HTML lang='en'>", "<h1>", '<?xml version="1"?>']
)
def test_of_a_page_only_the_words_are_shown(start: str) -> None:
    assert str(error(503, f"{start}<p class='a'>Bad gateway</p>".encode())) == "srv answered 503: Bad gateway"


def test_a_body_of_any_size_is_read_in_no_time() -> None:
    for body in (b"[" * 10_000_000, b'{"error": "' + b"x" * 10_000_000 + b'"}', b"<html>" + b"<" * 10_000_000):
        started = time.process_time()
        error(500, body)
        assert time.process_time() - started < 1
