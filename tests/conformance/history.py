"""Q41 to Q46: what servers want of the messages, and of keys."""

# ruff: noqa: E501 - what servers say is longer than a line

import json

from agentkit.chat import PROVIDERS
from tests.conformance.asking import ASSISTANT, CALLED, DETAIL, GOOD, RESULT, USER, lacks_reasoning, text, when
from tests.conformance.case import ADDED, Case
from tests.conformance.wire import TWO_AND_THREE, add, calls, chunk, http, piece, sse, told

HISTORY = [
    # Q41, about content
    Case(
        q=41,
        name="null-beside-calls",
        **GOOD,
        refuses=[
            when(
                lambda body: any(
                    each["role"] == "assistant" and each.get("content") == "" for each in body["messages"]
                ),
                "messages: text content blocks must be non-empty",
            )
        ],
    ),
    Case(
        q=41,
        name="empty-text-beside-calls",
        **GOOD,
        refuses=[
            when(
                lambda body: any(
                    each["role"] == "assistant" and each.get("content") is None for each in body["messages"]
                ),
                "messages[1].content: Input should be a valid string, got null",
            )
        ],
        asks=3,
        told=["content"],
    ),
    Case(q=41, name="empty-assistant-message", **GOOD, history=[USER, {"role": "assistant", "content": ""}]),
    Case(
        q=41,
        name="empty-text-part",
        **GOOD,
        history=[
            {"role": "user", "content": [{"type": "text", "text": ""}, {"type": "text", "text": "Hello."}]},
            ASSISTANT,
        ],
    ),
    Case(
        q=41,
        name="empty-result",
        tools=("silent",),
        ran=[("silent", {})],
        stream=[calls(piece("silent", "{}", index=0, id="a1"))],
        whole=[told(piece("silent", "{}", id="a1"))],
    ),
    # Q42, about reasoning comes back
    Case(
        q=42,
        name="deepseek",
        extra=["reasoning_content"],
        stream=[sse(chunk({"reasoning_content": "hm"}), chunk({"tool_calls": [add()]}), chunk({}, end="tool_calls"))],
        whole=[told(add(), reasoning_content="hm")],
        refuses=[when(lacks_reasoning, "The `reasoning_content` in the thinking mode must be passed back to the API.")],
        also=lambda outcome: outcome.message(1)["reasoning_content"] == "hm",
        asks=3,
        told=["Adapted.*reasoning"],
    ),
    Case(
        q=42,
        name="deepseek-foreign-turns",
        extra=["reasoning_content"],
        history=[USER, CALLED, RESULT, ASSISTANT],
        **text("Just so."),
        asks=2,
        told=["reasoning_content"],
        refuses=[when(lacks_reasoning, "The `reasoning_content` in the thinking mode must be passed back to the API.")],
    ),
    Case(
        q=42,
        name="openrouter-details",
        client={"profile": PROVIDERS["openrouter"].profile},
        extra=["reasoning_details"],
        stream=[
            sse(chunk({"reasoning_details": [DETAIL]}), chunk({"tool_calls": [add()]}), chunk({}, end="tool_calls"))
        ],
        whole=[told(add(), reasoning_details=[DETAIL])],
        also=lambda outcome: outcome.message(1).get("reasoning_details") == [DETAIL],
    ),
    Case(
        q=42,
        name="not-to-those-that-never-sent-it",
        **GOOD,
        refuses=[
            when(
                lambda body: "reasoning" in json.dumps(body),
                "Extra inputs are not permitted: messages.1.reasoning_content",
            )
        ],
    ),
    # Q43, about orphans and order
    Case(
        q=43,
        name="results-in-order",
        tools=("first", "second"),
        ran=[("first", {}), ("second", {})],
        stream=[calls(piece("first", "{}", index=0, id="a1"), piece("second", "{}", index=1, id="a2"))],
        whole=[told(piece("first", "{}", id="a1"), piece("second", "{}", id="a2"))],
        also=lambda outcome: [outcome.message(place)["content"] for place in (2, 3)] == ["first", "second"],
    ),
    Case(
        q=43,
        name="call-without-result",
        **GOOD,
        history=[USER, CALLED],
        told=["had no result and was given one that says so"],
        also=lambda outcome: outcome.message(2)["role"] == "tool",
    ),
    Case(
        q=43,
        name="result-without-call",
        **GOOD,
        history=[USER, RESULT, ASSISTANT],
        told=["a result of the call 'callOld01', which does not exist, was left out"],
    ),
    Case(
        q=43,
        name="results-out-of-order",
        **GOOD,
        history=[
            USER,
            {
                **CALLED,
                "tool_calls": [
                    *CALLED["tool_calls"],
                    {"id": "callOld02", "type": "function", "function": {"name": "add", "arguments": "{}"}},
                ],
            },
            {**RESULT, "tool_call_id": "callOld02"},
            RESULT,
            ASSISTANT,
        ],
        told=["results were sorted into the order of their calls"],
    ),
    # Q44, about characters
    Case(
        q=44,
        name="half-a-pair-in-text",
        final="a\ufffdb",
        stream=[
            sse(
                '{"choices": [{"delta": {"content": "a\\ud83d"}}]}',
                '{"choices": [{"delta": {"content": "b"}, "finish_reason": "stop"}]}',
            )
        ],
        whole=[http('{"choices": [{"message": {"content": "a\\ud83db"}, "finish_reason": "stop"}]}')],
    ),
    Case(
        q=44,
        name="a-pair-cut-by-a-chunk",
        final="a😀b",
        stream=[
            sse(
                '{"choices": [{"delta": {"content": "a\\ud83d"}}]}',
                '{"choices": [{"delta": {"content": "\\ude00b"}, "finish_reason": "stop"}]}',
            )
        ],
        whole=[http('{"choices": [{"message": {"content": "a\\ud83d\\ude00b"}, "finish_reason": "stop"}]}')],
    ),
    Case(
        q=44,
        name="half-a-pair-in-arguments",
        tools=("weather",),
        ran=[("weather", {"city": "a\ufffdb"})],
        stream=[calls(piece("weather", '{"city": "a\\ud83db"}', index=0, id="a1"))],
        whole=[told(piece("weather", '{"city": "a\\ud83db"}', id="a1"))],
        told=["Repaired.*Unicode"],
    ),
    Case(
        q=44,
        name="a-pair-cut-within-arguments",
        tools=("weather",),
        ran=[("weather", {"city": "a😀b"})],
        stream=[
            sse(
                '{"choices": [{"delta": {"tool_calls": [{"index": 0, "id": "a1", "function": {"name": "weather", "arguments": "{\\"city\\": \\"a\\ud83d"}}]}}]}',
                '{"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"arguments": "\\ude00b\\"}"}}]}, "finish_reason": "stop"}]}',
            )
        ],
    ),
    Case(
        q=44,
        name="null-character-in-text",
        **{
            **GOOD,
            "stream": [sse(chunk({"content": "a\x00b"}), chunk({"tool_calls": [add()]}), chunk({}, end="stop"))],
            "whole": [told(add(), content="a\x00b")],
        },
    ),
    Case(
        q=44,
        name="in-a-result",
        tools=("odd",),
        ran=[("odd", {})],
        stream=[calls(piece("odd", "{}", index=0, id="a1"))],
        whole=[told(piece("odd", "{}", id="a1"))],
    ),
    Case(q=44, name="in-the-question", prompt="a\x00b\ud800c", **GOOD),
    # Q45, about keys
    Case(
        q=45,
        name="no-key",
        **GOOD,
        also=lambda outcome: all("authorization" not in headers for headers, _ in outcome.requests),
    ),
    Case(
        q=45,
        name="its-own-key",
        **GOOD,
        client={"api_key": "sk-mine"},
        also=lambda outcome: all(headers["authorization"] == "Bearer sk-mine" for headers, _ in outcome.requests),
    ),
    # Q46, about failed calls
    Case(
        q=46,
        name="failed-tool",
        tools=("broken",),
        ran=[("broken", {})],
        stream=[calls(piece("broken", "{}", index=0, id="a1"))],
        whole=[told(piece("broken", "{}", id="a1"))],
        also=lambda outcome: (
            outcome.message(2)["content"].startswith("Error:") and "is_error" not in outcome.message(2)
        ),
    ),
    Case(
        q=46,
        name="failed-tool-beside-a-good-one",
        tools=("broken", "add"),
        ran=[("broken", {}), *ADDED],
        stream=[calls(piece("broken", "{}", index=0, id="a1"), piece("add", TWO_AND_THREE, index=1, id="a2"))],
        whole=[told(piece("broken", "{}", id="a1"), piece("add", TWO_AND_THREE, id="a2"))],
        also=lambda outcome: (
            outcome.message(2)["content"].startswith("Error:") and outcome.message(3)["content"] == "5"
        ),
    ),
    Case(
        q=46,
        name="wrong-arguments",
        ran=(),
        stream=[calls(add('{"a": 2}'))],
        whole=[told(add('{"a": 2}'))],
        also=lambda outcome: (
            outcome.message(2)["content"].startswith("Error:") and "missing" in outcome.message(2)["content"]
        ),
    ),
]
