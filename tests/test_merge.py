import json
from typing import Any

import pytest

from agentkit.chat.events import CallDelta, Event, ReasoningDelta, TextDelta
from agentkit.chat.merge import Merger
from agentkit.chat.messages import ToolCall
from agentkit.chat.reply import Reply


def chunk(delta: dict[str, Any] | None = None, finish_reason: str | None = None, **members: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}], **members}


def piece(**members: Any) -> dict[str, Any]:
    function = {name: members.pop(name) for name in ("name", "arguments") if name in members}
    return {**members, "function": function}


def merged(*chunks: dict[str, Any]) -> tuple[Reply, list[Event]]:
    merger = Merger()
    events = [event for each in chunks for event in merger.add(each)]
    return merger.finish(), events


def calls(*pieces: dict[str, Any]) -> list[tuple[str, str]]:
    reply, _ = merged(*(chunk({"tool_calls": [each]}) for each in pieces), chunk({}, "tool_calls"))
    return [(call.name, call.arguments) for call in reply.message.tool_calls]


def test_text_is_joined_and_each_piece_is_told() -> None:
    reply, events = merged(
        chunk({"role": "assistant", "content": ""}), chunk({"content": "Hel"}), chunk({"content": "lo"}, "stop")
    )
    assert reply.text == "Hello"
    assert reply.finish_reason == "stop"
    assert events == [TextDelta("Hel"), TextDelta("lo")]


@pytest.mark.parametrize("member", ["reasoning_content", "reasoning", "reasoning_text"])
def test_reasoning_is_read_in_each_of_its_spellings(member: str) -> None:
    reply, events = merged(chunk({member: "hm"}), chunk({"content": "yes"}, "stop"))
    assert reply.message.reasoning == "hm"
    assert events[0] == ReasoningDelta("hm")


def test_a_whole_message_is_the_same_as_its_pieces() -> None:
    call = {"id": "a", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
    whole = {"choices": [{"message": {"content": "hi", "tool_calls": [call]}, "finish_reason": "stop"}]}
    pieces = [
        chunk({"content": "h"}),
        chunk({"content": "i"}),
        chunk({"tool_calls": [piece(index=0, id="a", name="add", arguments="")]}),
        chunk({"tool_calls": [piece(index=0, arguments='{"a"')]}),
        chunk({"tool_calls": [piece(index=0, arguments=": 1}")]}),
        chunk({}, "stop"),
    ]
    assert merged(whole)[0] == merged(*pieces)[0]


ONE = [("f", '{"a":1}')]
TWO = [("f", '{"a":1}'), ("g", '{"b":2}')]


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([piece(index=0, id="x", name="f", arguments='{"a":'), piece(index=0, arguments="1}")], ONE),
        ([piece(id="x", name="f", arguments='{"a":'), piece(arguments="1}")], ONE),
        ([piece(id="x", name="f", arguments='{"a":'), piece(id="x", name="f", arguments="1}")], ONE),
        ([piece(index=0, id="x", name="f", arguments='{"a":'), piece(index=0, id="y", name="f", arguments="1}")], ONE),
        ([piece(index=0, id="x", name="f"), piece(index=0, id="", name=None, arguments='{"a":1}')], ONE),
        ([piece(index=0, id="x", name="f", arguments='{"a":1}'), piece(index=0, arguments='{"a":1}')], ONE),
        ([piece(index=0, id="x", name="f", arguments={"a": 1})], [("f", '{"a": 1}')]),
        ([piece(index=0, id="x", name="f", arguments=None)], [("f", "{}")]),
        ([piece(index=0, id="x", name="f", arguments="")], [("f", "{}")]),
        ([piece(index=0, id="x", name="f", arguments=json.dumps('{"a":1}'))], ONE),
        (
            [
                piece(index=0, id="x", name="f", arguments='{"a":1}'),
                piece(index=1, id="y", name="g", arguments='{"b":2}'),
            ],
            TWO,
        ),
        (
            [
                piece(index=0, id="x", name="f", arguments='{"a":1}'),
                piece(index=0, id="y", name="g", arguments='{"b":2}'),
            ],
            TWO,
        ),
        ([piece(index=0, id="x", name="f", arguments='{"a":1}'), piece(index=0, name="g", arguments='{"b":2}')], TWO),
        ([piece(id="x", name="f", arguments='{"a":1}'), piece(id="y", name="g", arguments='{"b":2}')], TWO),
        ([piece(name="f", arguments='{"a":1}'), piece(name="g", arguments='{"b":2}')], TWO),
        (
            [
                piece(index=0, id="x", name="f", arguments='{"a":1}'),
                piece(index=1, id="x", name="g", arguments='{"b":2}'),
            ],
            TWO,
        ),
        (
            [
                piece(index=1, id="x", name="f", arguments='{"a":1}'),
                piece(index=5, id="y", name="g", arguments='{"b":2}'),
            ],
            TWO,
        ),
        (
            [
                piece(index=0, id="x", name="f", arguments='{"a"'),
                piece(index=1, id="y", name="g", arguments='{"b"'),
                piece(index=0, arguments=":1}"),
                piece(index=1, arguments=":2}"),
            ],
            TWO,
        ),
        (
            [
                piece(index=0, name="", arguments=""),
                piece(index=0, id="x", name="f"),
                piece(index=0, arguments='{"a":1}'),
            ],
            ONE,
        ),
    ],
)
def test_pieces_of_calls_find_together(pieces: list[dict[str, Any]], expected: list[tuple[str, str]]) -> None:
    assert calls(*pieces) == expected


def test_the_deprecated_form_of_a_call_is_one() -> None:
    reply, _ = merged(
        chunk({"function_call": {"name": "f", "arguments": '{"a"'}}), chunk({"function_call": {"arguments": ":1}"}})
    )
    assert [(call.name, call.arguments) for call in reply.message.tool_calls] == ONE


def test_every_call_gets_an_id_of_its_own() -> None:
    pieces = [
        piece(index=place, id=given, name="f", arguments="{}")
        for place, given in enumerate(["x", "x", None, "", "!" * 400])
    ]
    reply, _ = merged(chunk({"tool_calls": pieces}, "tool_calls"))
    ids = [call.id for call in reply.message.tool_calls]
    assert len(set(ids)) == 5
    assert all(0 < len(each) <= 40 and each.isalnum() for each in ids)
    assert len(reply.mended) == 4


def test_arguments_that_are_no_object_are_kept_aside_and_the_transcript_stays_valid() -> None:
    reply, _ = merged(chunk({"tool_calls": [piece(index=0, id="x", name="f", arguments='{"a": ')]}, "tool_calls"))
    (call,) = reply.message.tool_calls
    assert call == ToolCall("x", "f", "{}", malformed='{"a": ')
    assert call.written == '{"a": '
    assert b"malformed" not in reply.message.wire


def test_members_of_calls_that_are_unknown_are_sent_back() -> None:
    signature = {"google": {"thought_signature": "s"}}
    reply, _ = merged(
        chunk({"tool_calls": [piece(index=0, id="x", name="f", arguments="{}", extra_content=signature)]})
    )
    assert reply.message.tool_calls[0].to_wire()["extra_content"] == signature


@pytest.mark.parametrize(
    "odd",
    [
        {"choices": []},
        {"choices": None},
        {},
        {"choices": [None, 3, {"index": 0, "delta": None}]},
        {"choices": [{"index": 7, "delta": {"content": "other"}}]},
        chunk({"content": None, "tool_calls": None, "role": ""}),
        chunk({"content": 5, "tool_calls": [None, {}], "refusal": 3}, ""),
        {"id": None, "model": 3, "created": "x", "usage": None},
    ],
)
def test_odd_chunks_are_survived(odd: dict[str, Any]) -> None:
    reply, _ = merged(chunk({"content": "a"}), odd, chunk({"content": "b"}, "stop"))
    assert reply.text == "ab"


def test_usage_is_replaced_not_added_and_counts_the_request_even_when_it_is_missing() -> None:
    reply, _ = merged(
        chunk({}, usage={"prompt_tokens": 3, "completion_tokens": 1}),
        {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}},
    )
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens, reply.usage.total_tokens) == (3, 2, 5)
    assert merged(chunk({"content": "x"}, "stop"))[0].usage.requests == 1


def test_logprobs_are_joined() -> None:
    first, second = {"token": "a", "logprob": -1.0}, {"token": "b", "logprob": -2.0}
    chunks = [{"choices": [{"delta": {}, "logprobs": {"content": [each]}}]} for each in (first, second)]
    assert merged(*chunks)[0].choices[0].logprobs == {"content": [first, second]}


def test_several_answers_are_kept_apart() -> None:
    merger = Merger(choices=2)
    for index, text in ((0, "a"), (1, "x"), (0, "b"), (1, "y")):
        merger.add({"choices": [{"index": index, "delta": {"content": text}, "finish_reason": "stop"}]})
    assert [choice.message.text for choice in merger.finish().choices] == ["ab", "xy"]


def test_call_pieces_say_which_call_they_belong_to() -> None:
    _, events = merged(
        chunk(
            {
                "tool_calls": [
                    piece(index=0, id="x", name="f", arguments="{}"),
                    piece(index=1, id="y", name="g", arguments="{}"),
                ]
            }
        )
    )
    assert events == [CallDelta(0, "f", "{}"), CallDelta(1, "g", "{}")]
