"""The strictest server is strict: what it lets pass decides what the suite is worth."""

from typing import Any

import pytest

from tests.conformance.strict import complaints

USER = {"role": "user", "content": "hi"}
CALL: dict[str, Any] = {"id": "a1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CALLED = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "a1", "content": "5"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}


def asked(*messages: Any, **members: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [USER, *messages], **members}


def test_a_good_request_passes() -> None:
    assert complaints(asked(CALLED, RESULT, USER, tools=[TOOL], tool_choice="auto")) == []


def call(**members: Any) -> dict[str, Any]:
    return {**CALLED, "tool_calls": [{**CALL, **members}]}


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (asked(tools=[]), "tools is empty"),
        (asked(tool_choice="auto"), "without tools"),
        (asked(stop=None), "stop is null"),
        (asked(zap=1), "unknown parameter"),
        (asked(stream_options={}), "without stream"),
        (asked(CALLED), "no result"),
        (asked(CALLED, USER, RESULT), "before message 2"),
        (asked(RESULT), "not the next open call"),
        (asked(CALLED, RESULT, RESULT), "not the next open call"),
        (asked(CALLED, RESULT, CALLED, RESULT), "comes twice"),
        (asked({**CALLED, "tool_calls": []}), "tool_calls is empty"),
        (asked({"role": "assistant", "content": None}), "neither content nor calls"),
        (asked({"role": "assistant", "content": ""}), "neither content nor calls"),
        (asked({**CALLED, "refusal": None}, RESULT), "refusal is null"),
        (asked({**CALLED, "reasoning": "x"}, RESULT), "unknown member"),
        (asked(CALLED, {**RESULT, "content": ""}), "content is empty"),
        (asked(CALLED, {**RESULT, "is_error": True}), "unknown member"),
        (asked(call(id="!"), {**RESULT, "tool_call_id": "!"}), "the call id"),
        (asked(call(type="custom"), RESULT), "a call of the shape"),
        (asked(call(function={"name": "f", "arguments": "[1]"}), RESULT), "the arguments"),
        (asked(call(function={"name": "f", "arguments": '{"a": NaN}'}), RESULT), "the arguments"),
        (asked(call(function={"name": "f", "arguments": {}}), RESULT), "the arguments"),
        (asked({"role": "user", "content": [{"type": "text", "text": ""}]}), "an empty text part"),
        (asked({"role": "user", "content": [{"type": "refusal", "refusal": "x"}]}), "a part of the type"),
        (asked({"role": "User", "content": "x"}), "has the role"),
        (asked({"role": "user", "content": "a\x00"}), "no server takes"),
        (asked(tools=[TOOL, TOOL]), "tool name"),
        ({"model": "m", "messages": []}, "no messages"),
    ],
)
def test_a_bad_request_does_not(body: dict[str, Any], complaint: str) -> None:
    assert complaint in "; ".join(complaints(body))
