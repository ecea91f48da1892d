"""Q47 to Q50: error bodies, retry headers, context overflow, retries."""

# ruff: noqa: E501 - what servers say is longer than a line

from email.utils import formatdate
from typing import Any

from agentkit.chat import RetryPolicy
from agentkit.errors import (
    AuthenticationFailed,
    BadRequest,
    ContextTooLong,
    IncompleteReply,
    ModelError,
    NotFound,
    Overloaded,
    QuotaExceeded,
    RateLimited,
)
from tests.conformance.case import Case, Outcome
from tests.conformance.wire import Json, add, calls, chunk, error, fails, sse, told

ONCE = {"retry": RetryPolicy(retries=0)}
SLOW = {"retry": RetryPolicy(first_wait=0.001)}


def always(answer: bytes, kind: type[ModelError], reads: str, **members: Any) -> dict[str, Any]:
    return {"stream": [answer], "whole": [answer], "error": kind, "reads": reads, "asks": 1, **members}


def once(answer: bytes) -> dict[str, Any]:
    """A failure, then a good reply."""
    return {"stream": [answer, calls(add())], "whole": [answer, told(add())], "told": ["Retrying"]}


def waits(outcome: Outcome) -> list[float]:
    return [event.wait for event in outcome.events if hasattr(event, "wait")]


def overflow(limit: int | None, got: int | None) -> Any:
    return lambda outcome: (outcome.error.limit, outcome.error.got) == (limit, got)


BODIES: list[tuple[str, int, Json | str, type[ModelError], str]] = [
    (
        "openai",
        400,
        {"error": {"message": "no such field", "type": "invalid_request_error", "param": None, "code": None}},
        BadRequest,
        "no such field",
    ),
    ("text", 400, {"error": "no such field"}, BadRequest, "no such field"),
    ("fastapi", 400, {"detail": "no such field"}, BadRequest, "no such field"),
    (
        "fastapi-422",
        422,
        {"detail": [{"loc": ["body", "zap"], "msg": "no such field", "type": "value_error"}]},
        BadRequest,
        "no such field",
    ),
    ("message", 400, {"message": "no such field"}, BadRequest, "no such field"),
    (
        "vllm",
        400,
        {"object": "error", "message": "no such field", "type": "BadRequestError", "param": None, "code": 400},
        BadRequest,
        "no such field",
    ),
    (
        "acedata",
        401,
        {"error": {"code": "invalid_token", "message": "the token is wrong"}, "trace_id": "t1"},
        AuthenticationFailed,
        "the token is wrong",
    ),
    ("html", 404, "<html><body><h1>404 page not found</h1></body></html>", NotFound, "page not found"),
    ("empty", 404, "", NotFound, "404"),
    ("plain", 403, "Forbidden for you", AuthenticationFailed, "Forbidden for you"),
    (
        "openrouter-raw",
        400,
        {
            "error": {
                "message": "Provider returned error",
                "code": 400,
                "metadata": {"raw": '{"error":{"message":"no such field"}}', "provider_name": "X"},
            }
        },
        BadRequest,
        "no such field",
    ),
    (
        "list",
        400,
        '[{"error": {"code": 400, "message": "no such field", "status": "INVALID_ARGUMENT"}}]',
        BadRequest,
        "no such field",
    ),
    ("code-a-number", 400, {"error": {"message": "no such field", "code": 20015}}, BadRequest, "no such field"),
    ("broken-json", 400, '{"error": {"message": "no such fie', BadRequest, "no such fie"),
]

OVERFLOWS: list[tuple[str, int, str, dict[str, Any], int | None, int | None]] = [
    (
        "openai",
        400,
        "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.",
        {"code": "context_length_exceeded"},
        8192,
        9000,
    ),
    (
        "vllm",
        400,
        "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens (4000 in the messages, 1000 in the completion).",
        {},
        4096,
        5000,
    ),
    ("anthropic", 400, "prompt is too long: 205000 tokens > 200000 maximum", {}, 200000, 205000),
    (
        "llama-cpp",
        400,
        "the request exceeds the available context size, try increasing it",
        {"type": "exceed_context_size_error"},
        None,
        None,
    ),
    (
        "llama-cpp-numbers",
        400,
        "request (9000 tokens) exceeds the available context size (8192 tokens), try increasing it",
        {},
        8192,
        9000,
    ),
    ("too-many-tokens", 400, "too many tokens: 9000 > 8192", {}, 8192, None),
    ("of-413", 413, "Request Entity Too Large", {}, None, None),
    (
        "gemini",
        400,
        "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
        {},
        1048576,
        1200000,
    ),
    (
        "groq",
        400,
        "Please reduce the length of the messages or completion.",
        {"code": "context_length_exceeded"},
        None,
        None,
    ),
    ("with-status-500", 500, "Context window exceeded: maximum context length is 4096 tokens", {}, 4096, None),
]

FAILING = [
    *(
        Case(q=47, name=name, **always(fails(status, body), kind, pattern))
        for name, status, body, kind, pattern in BODIES
    ),
    # Q48, about when to ask again
    *(
        Case(q=48, name=name, **once(fails(status, {"error": {"message": "busy"}}, headers=headers)), client=SLOW)
        for name, status, headers in (
            *((f"status-{status}", status, "") for status in (408, 409, 425, 429, 500, 502, 503, 504, 529)),
            ("milliseconds", 429, "retry-after-ms: 2\r\n"),
            ("seconds-as-float", 429, "retry-after: 0.002\r\n"),
            ("date", 503, f"retry-after: {formatdate(0, usegmt=True)}\r\n"),
            ("garbage", 503, "retry-after: soon\r\n"),
            ("negative", 503, "retry-after: -7\r\n"),
            ("told-to-in-spite-of-400", 400, "x-should-retry: true\r\n"),
        )
    ),
    Case(
        q=48,
        name="not-told-to",
        **always(fails(503, {"error": {"message": "busy"}}, headers="x-should-retry: false\r\n"), Overloaded, "busy"),
    ),
    Case(
        q=48,
        name="milliseconds-are-kept-to",
        **once(fails(429, {}, headers="retry-after-ms: 3\r\nretry-after: 9\r\n")),
        also=lambda outcome: waits(outcome) == [0.003],
    ),
    *(
        Case(
            q=48,
            name=f"reset-{name}",
            **once(fails(429, {"error": {"message": "busy"}}, headers=headers)),
            also=lambda outcome: 0.019 <= waits(outcome)[0] <= 0.06,
        )
        for name, headers in (
            ("milliseconds", "x-ratelimit-remaining-requests: 0\r\nx-ratelimit-reset-requests: 20ms\r\n"),
            ("seconds", "x-ratelimit-remaining-tokens: 0\r\nx-ratelimit-reset-tokens: 0.02s\r\n"),
        )
    ),
    *(
        Case(q=48, name=name, **always(fails(429, body, headers=headers), RateLimited, "429"))
        for name, body, headers in (
            ("too-long-in-seconds", {}, "retry-after: 600\r\n"),
            ("too-long-in-minutes", {}, "x-ratelimit-remaining-requests: 0\r\nx-ratelimit-reset-requests: 6m0s\r\n"),
            ("too-long-in-words", {"error": {"message": "Rate limit reached. Please try again in 20m5s."}}, ""),
        )
    ),
    Case(
        q=48,
        name="in-words",
        **once(fails(429, {"error": {"message": "Rate limit reached. Please try again in 20ms. Visit us."}})),
        also=lambda outcome: 0.019 <= waits(outcome)[0] <= 0.06,
    ),
    *(
        Case(q=48, name=name, **always(fails(429, {"error": body}), QuotaExceeded, "credit"))
        for name, body in (
            (
                "no-quota-of-openai",
                {
                    "message": "You exceeded your current quota",
                    "type": "insufficient_quota",
                    "code": "insufficient_quota",
                },
            ),
            ("no-quota-of-moonshot", {"message": "Your account is suspended", "type": "exceeded_current_quota_error"}),
        )
    ),
    Case(
        q=48,
        name="no-credit",
        **always(fails(402, {"error": {"message": "Insufficient credits", "code": 402}}), QuotaExceeded, "credit"),
    ),
    # Q49, about the context is too long
    *(
        Case(
            q=49,
            name=name,
            **always(error(message, status=status, **members), ContextTooLong, "", also=overflow(limit, got)),
        )
        for name, status, message, members, limit, got in OVERFLOWS
    ),
    Case(
        q=49,
        name="in-a-stream",
        stream=[sse({"error": {"message": OVERFLOWS[0][2], "code": "context_length_exceeded"}})],
        error=ContextTooLong,
        asks=1,
        also=overflow(8192, 9000),
    ),
    # Q50, about retries
    Case(
        q=50,
        name="two-failures",
        stream=[error("a", status=500), error("b", status=503), calls(add())],
        whole=[error("a", status=500), error("b", status=503), told(add())],
        told=["Retrying.*attempt=1", "Retrying.*attempt=2"],
    ),
    Case(
        q=50,
        name="three-failures",
        stream=[error("a", status=500)] * 3,
        whole=[error("a", status=500)] * 3,
        error=Overloaded,
        asks=3,
        told=["Retrying"],
    ),
    Case(
        q=50,
        name="before-the-first-visible-text",
        stream=[sse(chunk({"role": "assistant", "content": ""}), done=False), calls(add())],
        told=["Retrying"],
    ),
    Case(
        q=50,
        name="not-after-it",
        stream=[sse(chunk({"content": "All "}), done=False), calls(add())],
        error=IncompleteReply,
        asks=1,
    ),
    Case(q=50, name="dropped-connection", stream=[b"", calls(add())], whole=[b"", told(add())], told=["Retrying"]),
    Case(
        q=50,
        name="in-the-second-turn",
        stream=[calls(add()), error("a", status=500)],
        whole=[told(add()), error("a", status=500)],
        told=["Retrying"],
    ),
    Case(q=50, name="not-a-bad-request", **always(error("no"), BadRequest, "no")),
    Case(q=50, name="not-a-wrong-key", **always(error("no", status=401), AuthenticationFailed, "no")),
]
