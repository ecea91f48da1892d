import copy
import json
import pickle  # noqa: TID251 - calls travel to worker processes, which read only what this process wrote
from collections.abc import Callable
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.chat.content import (
    AudioOutput,
    AudioPart,
    FilePart,
    ImagePart,
    OtherPart,
    RefusalPart,
    TextPart,
    UrlCitation,
)
from agentkit.chat.json_values import encode_json
from agentkit.chat.messages import (
    REASONING_FIELDS,
    AssistantMessage,
    DeveloperMessage,
    FunctionMessage,
    Message,
    SystemMessage,
    ToolCall,
    ToolMessage,
    UserMessage,
    read_message,
)
from agentkit.errors import ConfigError

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
    {"role": "assistant", "content": "Hello", "name": "Ada", "newer": [1]},
    {"role": "assistant", "content": None, "refusal": "no"},
    {"role": "assistant", "content": [{"type": "text", "text": "a"}, {"type": "refusal", "refusal": "no"}]},
    {"role": "assistant", "content": None, "audio": {"id": "audio_1"}},
    {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "a", "type": "custom", "custom": {"name": "sql", "input": "select 1"}}],
    },
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}, "extra": 1}],
    },
    {"role": "tool", "tool_call_id": "a", "content": "3", "name": "f"},
    {"role": "tool", "tool_call_id": "a", "content": [{"type": "text", "text": "3"}]},
    {"role": "function", "name": "f", "content": "3"},
    {"role": "function", "name": "f", "content": None},
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
        (AssistantMessage((TextPart("a"), RefusalPart("no"))), "a"),
        (AssistantMessage(None, audio=AudioOutput(id="a", transcript="said")), "said"),
        (ToolMessage("r", "id"), "r"),
        (ToolMessage((TextPart("a"), TextPart("b")), "id"), "ab"),
        (FunctionMessage(None, "f"), ""),
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
    assert sent == "".join("\ufffd" if "\ud800" <= each <= "\udfff" or each == "\0" else each for each in text)


SENT_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
WORD = st.text("abcxyz_", min_size=1, max_size=5)
EXTRA = st.dictionaries(WORD.map("x_{}".format), st.none() | st.integers() | SENT_TEXT, max_size=2)
MARK = st.none() | st.just({"mode": "explicit"})
PARTS = st.one_of(
    st.builds(TextPart, SENT_TEXT, prompt_cache_breakpoint=MARK, extra=EXTRA),
    st.builds(ImagePart, WORD.map("https://x/{}".format), st.none() | WORD, prompt_cache_breakpoint=MARK, extra=EXTRA),
    st.builds(AudioPart, st.binary(max_size=9), WORD, prompt_cache_breakpoint=MARK, extra=EXTRA),
    st.builds(
        FilePart,
        filename=st.none() | SENT_TEXT,
        file_data=st.none() | SENT_TEXT,
        file_id=st.none() | WORD,
        prompt_cache_breakpoint=MARK,
        extra=EXTRA,
    ),
    st.builds(RefusalPart, SENT_TEXT, prompt_cache_breakpoint=MARK, extra=EXTRA),
    WORD.map(lambda kind: OtherPart({"type": kind, "value": 1})),
)
CONTENT = SENT_TEXT | st.lists(PARTS, min_size=1, max_size=3).map(tuple)
CALLS = st.lists(
    st.builds(ToolCall, WORD, WORD, st.just("{}"), EXTRA, st.just("") | WORD)
    | st.builds(ToolCall.custom, WORD, WORD, SENT_TEXT),
    max_size=2,
    unique_by=lambda call: call.id,
).map(tuple)
CITATION = st.builds(UrlCitation, url=WORD, title=SENT_TEXT, start_index=st.integers(0, 9), extra=EXTRA)
SPOKEN = st.builds(AudioOutput, id=WORD, data=st.binary(max_size=5), transcript=SENT_TEXT, expires_at=st.integers(0, 9))
NAMED = {"name": st.none() | WORD, "extra": EXTRA}
MESSAGES = st.one_of(
    st.builds(SystemMessage, CONTENT, **NAMED),
    st.builds(DeveloperMessage, CONTENT, **NAMED),
    st.builds(UserMessage, CONTENT, **NAMED),
    st.builds(ToolMessage, CONTENT, WORD, extra=EXTRA),
    st.builds(FunctionMessage, st.none() | SENT_TEXT, WORD, extra=EXTRA),
    st.builds(
        AssistantMessage,
        st.none() | CONTENT,
        CALLS,
        refusal=st.none() | SENT_TEXT,
        audio=st.none() | SPOKEN,
        annotations=st.lists(CITATION, max_size=2).map(tuple),
        reasoning_details=st.lists(EXTRA, max_size=2).map(tuple),
        **NAMED,
    ),
    st.builds(AssistantMessage, reasoning=SENT_TEXT, reasoning_field=st.sampled_from([*REASONING_FIELDS, ""])),
)


@given(MESSAGES)
def test_any_message_comes_back_from_its_record_and_sends_the_same_again(message: Message) -> None:
    record = json.loads(json.dumps(message.to_record()))
    assert read_message(record) == message
    assert json.loads(read_message(json.loads(message.wire)).wire) == json.loads(message.wire)


def pickled(call: ToolCall) -> ToolCall:
    return cast("ToolCall", pickle.loads(pickle.dumps(call)))


COPIES: list[Callable[[ToolCall], ToolCall]] = [copy.copy, copy.deepcopy, pickled]


@pytest.mark.parametrize("copied", COPIES)
def test_a_call_can_be_copied_whether_its_arguments_were_parsed_or_not(copied: Callable[[ToolCall], ToolCall]) -> None:
    call = ToolCall("a", "f", '{"a": 1.50}', {"x": 1})
    assert copied(call) == call
    assert call.parsed == {"a": 1.5} == copied(call).parsed
    assert copied(call) == call == ToolCall("a", "f", '{"a": 1.50}', {"x": 1})
    assert str(call.parsed["a"].text) == "1.50"


def test_what_only_replies_have_is_not_sent_but_recorded() -> None:
    message = AssistantMessage(
        "yes",
        reasoning="hm",
        reasoning_field="reasoning",
        reasoning_details=({"type": "reasoning.text", "text": "hm"},),
        annotations=(UrlCitation(url="https://x"),),
        audio=AudioOutput(id="audio_1", data=b"\x00", transcript="yes", expires_at=9),
    )
    assert message.to_wire() == {"role": "assistant", "content": "yes", "audio": {"id": "audio_1"}}
    record = message.to_record()
    assert (record["reasoning"], record["audio"]["data"]) == ("hm", "AA==")
    assert record["annotations"][0]["url_citation"]["url"] == "https://x"
    assert message.reasoning_members == {
        "reasoning": "hm",
        "reasoning_details": [{"type": "reasoning.text", "text": "hm"}],
    }


def test_what_was_spoken_without_an_id_is_sent_back_as_text() -> None:
    message = AssistantMessage(None, audio=AudioOutput(data=b"\x00", transcript="Hello"))
    assert message.to_wire() == {"role": "assistant", "content": "Hello"}
    assert read_message(message.to_record()) == message


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        (UserMessage("hi", name="two words"), "no spaces"),
        (AssistantMessage("hi", name="a/b"), "'a/b'"),
        (UserMessage(()), "empty list of parts"),
        (UserMessage(cast("Any", [])), "empty list of parts"),
        (UserMessage(cast("Any", None)), "is a string or parts .*, not None"),
        (UserMessage(cast("Any", ("hi", TextPart("you")))), r"is a string or parts .*, not \('hi'"),
        (ToolMessage(cast("Any", 3), "a"), "message of the tool is a string or parts .*, not 3"),
        (AssistantMessage(()), "empty list of parts"),
        (ToolMessage("3", ""), "names no call"),
        (AssistantMessage(None, (ToolCall("a", "f", "{}"), ToolCall("a", "g", "{}"))), "same id"),
    ],
)
def test_a_message_that_no_server_takes_is_refused_when_it_is_to_be_sent(message: Message, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        _ = message.wire


@pytest.mark.parametrize(
    "odd",
    [
        {
            "role": "assistant",
            "content": 3,
            "refusal": 4,
            "name": 5,
            "audio": "x",
            "annotations": {},
            "tool_calls": [1],
        },
        {"role": "assistant", "reasoning": {"a": 1}, "reasoning_details": "x"},
        {"role": "assistant", "tool_calls": [{"custom": 3}, {"function": []}, {}]},
        {"role": "user", "content": [None, {}, {"type": 3}, {"type": "text"}, {"type": "file", "file": 3}], "name": 3},
        {"role": "tool", "content": None, "tool_call_id": 7},
        {"role": "function", "content": [], "name": None},
    ],
)
def test_odd_members_never_make_a_message_unreadable(odd: dict[str, Any]) -> None:
    assert json.loads(json.dumps(read_message(odd).to_record()))


def test_whether_an_assistant_message_says_anything_is_known() -> None:
    assert AssistantMessage(None).is_empty
    assert not AssistantMessage("").is_empty
    assert not AssistantMessage(None, audio=AudioOutput(id="a")).is_empty
    assert not AssistantMessage(None, extra={"function_call": {"name": "f", "arguments": "{}"}}).is_empty
