"""Q1 to Q8: the stream's bytes."""

import json

from agentkit.chat import Deadlines, RetryPolicy
from agentkit.errors import (
    BadRequest,
    DeadlineExceeded,
    IncompleteReply,
    InvalidReply,
    Overloaded,
)
from tests.conformance.case import Case
from tests.conformance.shapes import used
from tests.conformance.wire import HANG, add, calls, chunk, http, piece, raw_sse, says, sse, told, whole

ONCE = {"retry": RetryPolicy(retries=0)}
GOOD = calls(add())
HEAD = raw_sse("")
CHUNKS = [json.dumps(chunk({"tool_calls": [add()]})), json.dumps(chunk({}, end="tool_calls"))]
UTF8 = "Zürich \u2028 \x85 日本 😀"


def lines(end: str, *, space: str = " ", before: str = "") -> str:
    return before + "".join(f"data:{space}{data}{end}{end}" for data in [*CHUNKS, "[DONE]"])


def bytewise(answer: bytes) -> list[bytes]:
    """The answer's body in pieces of one byte."""
    head, _, body = answer.partition(b"\r\n\r\n")
    return [head + b"\r\n\r\n", *(bytes([each]) for each in body)]


def with_length(body: str, length: int) -> bytes:
    return f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}".encode()


TRANSPORT = [
    # Q1, about the decoder
    Case(q=1, name="plain", stream=[GOOD], whole=[told(add())]),
    Case(q=1, name="crlf", stream=[raw_sse(lines("\r\n"))]),
    Case(q=1, name="cr", stream=[raw_sse(lines("\r"))]),
    Case(q=1, name="no-space-after-the-colon", stream=[raw_sse(lines("\n", space=""))]),
    Case(
        q=1,
        name="bom",
        stream=[raw_sse(lines("\n", before="\ufeff"))],
        whole=[http("\ufeff" + json.dumps(whole({"tool_calls": [add()]})))],
    ),
    Case(
        q=1,
        name="blank-lines-first",
        stream=[raw_sse(lines("\n", before="\n\r\n"))],
        whole=[http(" \n\n" + json.dumps(whole({"tool_calls": [add()]})))],
    ),
    Case(q=1, name="every-byte-alone", stream=[bytewise(raw_sse(lines("\r\n")))], whole=[bytewise(told(add()))]),
    Case(
        q=1,
        name="unicode-cut-anywhere",
        tools=["weather"],
        ran=[("weather", {"city": UTF8})],
        stream=[
            bytewise(
                raw_sse(
                    "".join(
                        f"data: {json.dumps(each, ensure_ascii=False)}\n\n"
                        for each in [
                            chunk(
                                {
                                    "tool_calls": [
                                        piece(
                                            "weather", json.dumps({"city": UTF8}, ensure_ascii=False), id="a1", index=0
                                        )
                                    ]
                                }
                            ),
                            chunk({}, end="tool_calls"),
                        ]
                    )
                )
            )
        ],
        whole=[
            http(
                json.dumps(
                    whole({"tool_calls": [piece("weather", json.dumps({"city": UTF8}, ensure_ascii=False), id="a1")]}),
                    ensure_ascii=False,
                )
            )
        ],
    ),
    Case(
        q=1,
        name="data-on-many-lines",
        stream=[
            raw_sse(
                "".join(
                    "".join(f"data: {line}\n" for line in json.dumps(json.loads(data), indent=1).split("\n")) + "\n"
                    for data in CHUNKS
                )
                + "data: [DONE]\n\n"
            )
        ],
        whole=[http(json.dumps(whole({"tool_calls": [add()]}), indent=1))],
    ),
    Case(q=1, name="other-fields", stream=[raw_sse("retry: 10\nid: 7\nfoo: bar\nevent: message\n" + lines("\n"))]),
    Case(q=1, name="unknown-field-first", stream=[raw_sse("foo: bar\n\n" + lines("\n"))]),
    Case(
        q=1,
        name="named-events",
        stream=[raw_sse("".join(f"event: completion.chunk\ndata: {data}\n\n" for data in [*CHUNKS, "[DONE]"]))],
    ),
    # Q2, about keep-alive
    Case(q=2, name="comments", stream=[raw_sse(": OPENROUTER PROCESSING\n\n: ping\n\n:\n\n" + lines("\n:\n"))]),
    Case(q=2, name="empty-data", stream=[raw_sse("event: ping\ndata:\n\ndata: \n\ndata\n\n" + lines("\n"))]),
    Case(
        q=2,
        name="blank-lines-before-json",
        whole=[
            [
                told(add()).partition(b"{")[0].replace(b"content-length", b"x-length"),
                b"\n",
                b"  \n\n",
                b"{" + told(add()).partition(b"{")[2],
            ]
        ],
    ),
    Case(
        q=2,
        name="comments-do-not-stop-the-first-byte-deadline",
        error=DeadlineExceeded,
        reads="first_byte",
        client={**ONCE, "deadlines": Deadlines(first_byte=0.1)},
        stream=[[HEAD, b": ping\n\n", b": ping\n\n", HANG]],
    ),
    # Q3, about the end
    Case(q=3, name="no-done", stream=[calls(add(), done=False)]),
    Case(q=3, name="done-unterminated", stream=[raw_sse(lines("\n").rstrip("\n"))]),
    Case(q=3, name="done-followed-by-more", stream=[raw_sse(lines("\n") + lines("\n") + "data: {broken\n\n")]),
    Case(q=3, name="done-without-finish-reason", stream=[calls(add(), end=None)]),
    Case(
        q=3,
        name="usage-after-finish-reason-without-done",
        stream=[
            sse(
                chunk({"tool_calls": [add()]}),
                chunk({}, end="tool_calls"),
                {"choices": [], "usage": {"prompt_tokens": 3}},
                done=False,
            )
        ],
        also=used(3, 0),
    ),
    Case(q=3, name="neither", stream=[sse(chunk({"role": "assistant"}), done=False), GOOD], told=["Retrying"]),
    Case(
        q=3,
        name="text-without-end",
        stream=[sse(chunk({"content": "All "}), done=False), GOOD],
        error=IncompleteReply,
        asks=1,
    ),
    Case(
        q=3,
        name="body-cut",
        whole=[with_length(json.dumps(whole({"tool_calls": [add()]}))[:-3], 9999), told(add())],
        told=["Retrying"],
    ),
    Case(q=3, name="whole-without-finish-reason", whole=[told(add(), end=None)]),
    # Q4, about errors inside an answer of status 200
    *(
        Case(
            q=4,
            name=name,
            stream=[raw_sse(f"{event}data: {json.dumps(data)}\n\n"), GOOD],
            whole=[http(data), told(add())],
            told=["Retrying.*busy"],
        )
        for name, event, data in (
            ("error-object", "", {"error": {"message": "busy", "code": 503}}),
            ("error-text", "", {"error": "busy"}),
            ("error-beside-empty-choices", "", {"choices": [], "error": {"message": "busy", "code": 502}}),
            ("error-of-vllm", "", {"object": "error", "message": "busy", "type": "InternalServerError", "code": 500}),
            (
                "error-in-choice",
                "",
                {
                    "choices": [
                        {
                            "index": 0,
                            "delta": {"content": ""},
                            "finish_reason": "error",
                            "error": {"code": 502, "message": "busy"},
                        }
                    ]
                },
            ),
        )
    ),
    Case(
        q=4,
        name="error-event",
        stream=[raw_sse('event: error\ndata: {"message": "busy", "type": "overloaded"}\n\n'), GOOD],
        told=["Retrying.*busy"],
    ),
    Case(
        q=4, name="error-event-of-text", stream=[raw_sse("event: error\ndata: busy\n\n"), GOOD], told=["Retrying.*busy"]
    ),
    Case(
        q=4,
        name="finish-reason-error",
        stream=[sse(chunk({}, end="error")), GOOD],
        whole=[http(whole({"content": ""}, end="error")), told(add())],
        told=["Retrying"],
    ),
    Case(
        q=4,
        name="call-before-an-error",
        stream=[sse(chunk({"tool_calls": [add()]}), {"error": {"message": "busy", "code": 503}}, done=False), GOOD],
        told=["Retrying.*busy"],
    ),
    Case(
        q=4,
        name="call-and-finish-reason-error",
        stream=[calls(add(), end="error"), GOOD],
        whole=[told(add(), end="error"), told(add())],
        told=["Retrying"],
    ),
    Case(
        q=4,
        name="text-before-an-error-is-kept",
        stream=[sse(chunk({"content": "half"}), {"error": {"message": "busy", "code": 503}})],
        error=Overloaded,
        reads="busy",
        also=lambda outcome: getattr(outcome.error, "partial", "") == "half",
    ),
    Case(
        q=4,
        name="lasting-error",
        stream=[sse({"error": {"message": "no such thing", "code": 400}})],
        whole=[http({"error": {"message": "no such thing", "code": 400}})],
        error=BadRequest,
        reads="no such thing",
    ),
    # Q5, about one form for the other
    Case(q=5, name="the-other-form", stream=[told(add())], whole=[GOOD]),
    Case(
        q=5,
        name="the-other-form-of-text",
        stream=[says("Just so.", stream=False)],
        whole=[says("Just so.", stream=True)],
        final="Just so.",
    ),
    Case(
        q=5,
        name="wrong-content-type",
        stream=[raw_sse(lines("\n"), "application/json")],
        whole=[http(whole({"tool_calls": [add()]}), kind="text/event-stream")],
    ),
    Case(
        q=5,
        name="no-known-content-type",
        stream=[raw_sse(lines("\n"), "text/plain; charset=utf-8")],
        whole=[http(whole({"tool_calls": [add()]}), kind="text/html")],
    ),
    # Q6, about broken chunks
    Case(
        q=6,
        name="broken-chunk-of-text",
        final="Just so.",
        stream=[
            sse(chunk({"content": "Just "}), '{"choices": [{"del', chunk({"content": "so."}), chunk({}, end="stop"))
        ],
        told=["ReplyRepaired.*not JSON"],
    ),
    Case(
        q=6,
        name="broken-chunk-beside-calls",
        stream=[sse(chunk({"tool_calls": [add()]}), '{"choices": [{"del', chunk({}, end="tool_calls")), GOOD],
        told=["Retrying"],
    ),
    Case(
        q=6,
        name="broken-chunk-where-the-calls-were",
        stream=[sse('{"choices": [{"del', chunk({}, end="tool_calls")), GOOD],
        told=["Retrying"],
    ),
    Case(
        q=6,
        name="broken-last-chunk",
        stream=[sse(chunk({"role": "assistant"}), '{"choices": [{"del', done=False), GOOD],
        told=["Retrying"],
    ),
    Case(q=6, name="broken-body", whole=[http('{"choices": [{"message": {"con'), told(add())], told=["Retrying"]),
    # Q7, about no completion at all
    *(
        Case(q=7, name=name, stream=[answer], whole=[answer], error=InvalidReply, reads=pattern, client=ONCE)
        for name, answer, pattern in (
            ("html", http("<html><h1>Welcome</h1></html>", kind="text/html"), "Welcome"),
            ("plain-text", http("upstream is fine", kind="text/plain"), "upstream is fine"),
            ("empty", http(b""), "empty"),
            ("empty-stream", raw_sse(""), "empty"),
            ("html-called-a-stream", raw_sse("<html>Welcome</html>"), "Welcome"),
            ("other-json", http({"hello": "you"}), "hello"),
            ("json-list", http("[1, 2]"), r"\[1, 2\]"),
            ("no-choices", http({"id": "r1", "choices": []}), "choice"),
            ("choices-null", http({"id": "r1", "choices": None}), "choice"),
            ("stream-of-nothing", sse(), "choice"),
            ("stream-without-choices", sse({"id": "r1", "choices": []}, {"hello": "you"}), "choice"),
        )
    ),
    Case(
        q=7,
        name="then-a-good-one",
        stream=[http("<html>", kind="text/html"), GOOD],
        whole=[http("<html>", kind="text/html"), told(add())],
        told=["Retrying"],
    ),
    # Q8, about deadlines
    Case(
        q=8,
        name="first-byte",
        stream=[[HANG]],
        error=DeadlineExceeded,
        reads="first_byte",
        client={**ONCE, "deadlines": Deadlines(first_byte=0.1)},
    ),
    Case(
        q=8,
        name="idle",
        stream=[[sse(chunk({"content": "Just"}), done=False), HANG]],
        error=DeadlineExceeded,
        reads="idle",
        client={**ONCE, "deadlines": Deadlines(idle=0.1)},
        also=lambda outcome: getattr(outcome.error, "which", "") == "idle",
    ),
    Case(
        q=8,
        name="total",
        stream=[[HEAD, HANG]],
        whole=[[HANG]],
        error=DeadlineExceeded,
        reads="total",
        client={**ONCE, "deadlines": Deadlines(total=0.1)},
    ),
    Case(
        q=8,
        name="late-then-good",
        stream=[[HANG], GOOD],
        told=["Retrying.*first_byte"],
        client={"deadlines": Deadlines(first_byte=0.1)},
    ),
    Case(
        q=8,
        name="late-then-good-whole",
        whole=[[HANG], told(add())],
        told=["Retrying.*total"],
        client={"deadlines": Deadlines(total=0.5)},
    ),
]
