import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.chat.messages import (
    AssistantMessage,
    AudioPart,
    DeveloperMessage,
    FilePart,
    ImagePart,
    SystemMessage,
    TextPart,
    ToolCall,
    ToolMessage,
    UserMessage,
    encode_json,
    read_message,
)

WIRE: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {"role": "developer", "content": "Be brief.", "name": "boss"},
    {"role": "user", "content": "Hi"},
    {
        "role": "user",
        "content": [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": "data:,"}}],
    },
    {"role": "user", "content": [{"type": "file", "file": {"file_id": "f1"}}, {"type": "newer", "newer": 1}]},
    {"role": "user", "content": [{"type": "text", "text": "x", "prompt_cache_breakpoint": {"mode": "explicit"}}]},
    {"role": "assistant", "content": "Hello", "annotations": [{"type": "url_citation"}]},
    {"role": "assistant", "content": None, "refusal": "no"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}, "extra": 1}],
    },
    {"role": "tool", "tool_call_id": "a", "content": "3", "name": "f"},
]


@pytest.mark.parametrize("wire", WIRE)
def test_a_message_comes_back_from_its_wire_form_with_every_member(wire: dict[str, Any]) -> None:
    message = read_message(wire)
    assert message.to_wire() == wire
    assert json.loads(message.wire) == wire


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (SystemMessage("a"), "a"),
        (DeveloperMessage("a"), "a"),
        (UserMessage((TextPart("a"), ImagePart("data:,", "low"), TextPart("b"))), "ab"),
        (AssistantMessage(None), ""),
        (ToolMessage("r", "id"), "r"),
    ],
)
def test_a_message_knows_its_text(message: Any, text: str) -> None:
    assert message.text == text


def test_parts_are_written_as_the_api_wants_them() -> None:
    parts = (
        ImagePart("https://x/y.png", "low"),
        AudioPart(b"\x00\x01", "wav"),
        FilePart(filename="a.pdf", file_data="data:,"),
    )
    assert UserMessage(parts).to_wire()["content"] == [
        {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "low"}},
        {"type": "input_audio", "input_audio": {"data": "AAE=", "format": "wav"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:,"}},
    ]


def test_a_role_that_no_server_knows_is_refused() -> None:
    with pytest.raises(ValueError, match="'robot'"):
        read_message({"role": "robot", "content": "x"})


def test_arguments_given_as_an_object_become_text() -> None:
    message = read_message(
        {"role": "assistant", "tool_calls": [{"id": 1, "function": {"name": "f", "arguments": {"a": 1}}}]}
    )
    assert isinstance(message, AssistantMessage)
    assert message.tool_calls == (ToolCall("1", "f", '{"a": 1}'),)


def test_a_message_is_encoded_once() -> None:
    message = UserMessage("x")
    assert message.wire is message.wire


@given(st.text(alphabet=st.characters(categories=None)))
def test_any_text_can_be_sent(text: str) -> None:
    sent = json.loads(encode_json({"content": text}))["content"]
    assert sent == "".join("\ufffd" if "\ud800" <= each <= "\udfff" else each for each in text)
