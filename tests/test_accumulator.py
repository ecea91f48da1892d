import copy
import itertools
import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.chat.content import AudioOutput, OtherPart, UrlCitation
from agentkit.chat.decoding.accumulator import ReplyAccumulator
from agentkit.chat.events import AudioDelta, CallDelta, ChoiceDelta, Event, ReasoningDelta, RefusalDelta, TextDelta
from agentkit.chat.messages import AssistantMessage, ToolCall
from agentkit.chat.reply import Logprobs, Reply, TokenLogprob
from tests.replies import chunks_of, replies
from tests.scaling import assert_linear


def chunk(delta: dict[str, Any] | None = None, finish_reason: str | None = None, **members: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}], **members}


def piece(**members: Any) -> dict[str, Any]:
    function = {name: members.pop(name) for name in ("name", "arguments") if name in members}
    return {**members, "function": function}


def merged(*chunks: dict[str, Any]) -> tuple[Reply, list[Event]]:
    merger = ReplyAccumulator()
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
    assert len(reply.repairs) == 4


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
    tokens = (TokenLogprob(token="a", logprob=-1.0), TokenLogprob(token="b", logprob=-2.0))
    assert merged(*chunks)[0].choices[0].logprobs == Logprobs(content=tokens)


def test_several_answers_are_kept_apart() -> None:
    merger = ReplyAccumulator(choices=2)
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
    assert events == [CallDelta(0, "x", "f", "{}"), CallDelta(1, "y", "g", "{}")]


@given(replies(), st.randoms(use_true_random=False))
def test_a_streamed_reply_is_the_whole_one_to_the_last_member(reply: dict[str, Any], dice: random.Random) -> None:
    whole, streamed = ReplyAccumulator(choices=len(reply["choices"])), ReplyAccumulator(choices=len(reply["choices"]))
    whole.add(reply)
    for each in chunks_of(reply, dice):
        streamed.add(each)
    assert streamed.finish() == whole.finish()
    assert streamed.finished


@given(replies(), st.randoms(use_true_random=False))
def test_what_an_observer_is_told_adds_up_to_each_answer(reply: dict[str, Any], dice: random.Random) -> None:
    merger = ReplyAccumulator(choices=len(reply["choices"]))
    told = [event for each in chunks_of(reply, dice) for event in merger.add(each)] + merger.close()
    for index, choice in enumerate(merger.finish().choices):
        of_this = [each.delta for each in told if isinstance(each, ChoiceDelta) and each.choice == index]
        check_told(of_this if index else told, choice.message)


def check_told(told: list[Event], message: AssistantMessage) -> None:
    assert "".join(each.text for each in told if isinstance(each, TextDelta)) == (message.content or "")
    assert "".join(each.text for each in told if isinstance(each, RefusalDelta)) == (message.refusal or "")
    assert b"".join(each.data for each in told if isinstance(each, AudioDelta)) == (
        message.audio.data if message.audio else b""
    )
    for index, call in enumerate(message.tool_calls):
        pieces = [each.arguments for each in told if isinstance(each, CallDelta) and each.index == index]
        assert "".join(pieces) == call.written


JUNK = st.recursive(
    st.sampled_from([float("nan"), float("inf"), "\ud800"])
    | st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def spoilt(draw: st.DrawFn, value: Any) -> Any:
    """The value with some of its members replaced by anything."""
    if draw(st.integers(0, 5)) == 0:
        return draw(JUNK)
    if isinstance(value, dict):
        return {name: draw(spoilt(each)) for name, each in value.items()}
    if isinstance(value, list):
        return [draw(spoilt(each)) for each in value]
    return value


@given(st.data(), replies(), st.randoms(use_true_random=False))
def test_nothing_a_server_sends_makes_merging_fail(
    data: st.DataObject, reply: dict[str, Any], dice: random.Random
) -> None:
    merger = ReplyAccumulator(choices=2)
    for each in chunks_of(reply, dice)[:8]:
        chunk = data.draw(spoilt(each))
        merger.add(chunk if isinstance(chunk, dict) else {})
    made = merger.finish()
    assert made.choices
    assert all(isinstance(json.loads(call.arguments), dict) for call in made.message.tool_calls)
    assert json.loads(made.message.wire)


ENVELOPES: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"id": st.just("a"), "object": st.just("chat.completion.chunk")},
    optional={
        "created": st.integers(0, 1),
        "model": st.sampled_from(["m", "n", None]),
        "usage": st.none() | st.just({"total_tokens": 3}),
        "obfuscation": st.text("xyz", max_size=2),
        "provider": st.sampled_from(["p", ["q"]]),
        "service_tier": st.none() | st.just("flex"),
    },
)
DELTAS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "content": st.sampled_from(
            ["", "a", "b ", "<", "<think>", "</think>", "\u00e9", "\ud83d", "\ude00", None, ["c"]]
        )
    },
    optional={
        "role": st.just("assistant"),
        "tool_calls": st.sampled_from(
            [
                *(None, [], [piece(name="f", arguments="{}", index=0)]),
                *([piece(arguments="", index=0)], [piece(arguments="")], [piece(arguments="", index=0, id="a")]),
                [piece(arguments="", index=0), piece(arguments="", index=1)],
            ]
        ),
        "refusal": st.sampled_from([None, "no"]),
        "reasoning_content": st.sampled_from([None, "", "hm"]),
        "odd": st.sampled_from([None, 0, "new"]),
    },
)
CHOICES: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"delta": DELTAS},
    optional={
        "index": st.sampled_from([0, 0, 0, 1, "0", None]),
        "finish_reason": st.sampled_from([None, None, "stop", "length"]),
        "logprobs": st.sampled_from([None, {"content": [{"token": "a", "logprob": -1.0}]}]),
        "usage": st.none() | st.just({"total_tokens": 4}),
        "content_filter_results": st.sampled_from([{}, {"hate": {"filtered": False}}]),
    },
)


@st.composite
def similar_chunks(draw: st.DrawFn) -> list[dict[str, Any]]:
    """A few chunks, each repeated a few times with other texts, as most of a stream is."""
    chunks: list[dict[str, Any]] = []
    for envelope in draw(st.lists(ENVELOPES, min_size=1, max_size=3)):
        choices = draw(st.lists(CHOICES, min_size=1, max_size=2) | st.lists(CHOICES, min_size=1, max_size=1))
        for text in draw(st.lists(DELTAS.map(lambda delta: delta["content"]), min_size=1, max_size=5)):
            copies = [copy.deepcopy({**each, "delta": {**each["delta"], "content": text}}) for each in choices]
            for each in copies:
                for call in each["delta"].get("tool_calls") or ():
                    call["function"]["arguments"] = draw(st.sampled_from(["", "{}", '{"a":', "1}", "\u00e9", None]))
            chunks.append({**envelope, "choices": copies})
    return chunks


@given(similar_chunks(), st.integers(1, 2))
def test_what_is_taken_without_reading_the_whole_chunk_gives_the_same_reply(
    chunks: list[dict[str, Any]], choices: int
) -> None:
    careful, quick = ReplyAccumulator(choices=choices), ReplyAccumulator(choices=choices)
    read, taken = list[Event](), list[Event]()
    for each in chunks:
        read += careful.add(copy.deepcopy(each))
        delta = quick.add_more(each)
        taken += quick.add(each) if delta is None else [delta]
        assert (quick.text, taken) == (careful.text, read)
    assert quick.close() == careful.close()
    assert quick.finish() == careful.finish()
    assert quick.finished == careful.finished


def test_a_chunk_that_differs_only_in_its_text_is_not_read_as_a_whole() -> None:
    merger = ReplyAccumulator()
    made = [merger.add_more(chunk({"content": text}, id="x", created=1)) for text in ("a", "b")]
    merger.add(chunk({"content": "c"}, id="x", created=1))
    made += [merger.add_more(chunk({"content": text}, id="x", created=1)) for text in ("d", "\u00e9", "e")]
    assert made == [None, None, TextDelta("d"), None, TextDelta("e")]
    assert merger.add_more(chunk({"content": "f"}, id="x", created=2)) is None
    assert merger.text == "cde"


def test_a_chunk_that_only_continues_the_arguments_of_a_call_is_not_read_as_a_whole() -> None:
    def more(arguments: str, **members: Any) -> dict[str, Any]:
        return chunk({"tool_calls": [{"index": 0, "function": {"arguments": arguments}, **members}]})

    merger = ReplyAccumulator(names=["add"])
    merger.add(chunk({"tool_calls": [{"index": 0, "id": "call_1", "function": {"name": "add", "arguments": ""}}]}))
    assert merger.add_more(more('{"a"')) is None
    merger.add(more('{"a"'))
    assert [merger.add_more(more(each)) for each in (": ", "1}")] == [
        CallDelta(0, "call_1", "", ": "),
        CallDelta(0, "call_1", "", "1}"),
    ]
    assert merger.add_more(more("{}", id="call_2")) is None
    merger.add(chunk({}, "tool_calls"))
    assert merger.finish().message.tool_calls[0].arguments == '{"a": 1}'


@pytest.mark.parametrize("member", ["reasoning_content", "reasoning", "reasoning_text"])
def test_reasoning_remembers_the_member_it_came_in(member: str) -> None:
    reply, _ = merged(chunk({member: "h"}), chunk({member: "m"}, "stop"))
    assert reply.message.reasoning_members == {member: "hm"}
    assert member not in reply.message.to_wire()


def test_reasoning_given_under_two_names_is_taken_once() -> None:
    reply, _ = merged(chunk({"reasoning": "hm", "reasoning_content": "hm"}, "stop"))
    assert reply.message.reasoning == "hm"


def test_pieces_of_reasoning_details_are_joined_by_their_index() -> None:
    head = {"type": "reasoning.text", "index": 0, "format": "f"}
    sealed = {"type": "reasoning.encrypted", "index": 1, "data": "x"}
    pieces = [{**head, "text": "a"}, {**head, "text": "b"}, sealed, {**head, "text": None, "signature": "s"}]
    reply, _ = merged(*(chunk({"reasoning_details": [each]}) for each in pieces), chunk({}, "stop"))
    assert reply.message.reasoning_details == ({**head, "text": "ab", "signature": "s"}, sealed)
    assert reply.message.reasoning == "ab"
    assert reply.message.reasoning_members == {"reasoning_details": list(reply.message.reasoning_details)}


def test_thinking_inside_the_content_is_reasoning_and_other_parts_are_kept() -> None:
    image = {"type": "image", "url": "u"}
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
    parts = [thinking, {"type": "text", "text": "yes"}, {"type": "refusal", "refusal": "no"}, image]
    reply, events = merged(chunk({"content": parts}, "stop"))
    assert (reply.message.content, reply.message.reasoning, reply.message.refusal) == ("yes", "hm", "no")
    assert reply.choices[0].extra == {"content": [image]}
    assert set(events) == {ReasoningDelta("hm"), TextDelta("yes"), RefusalDelta("no")}


@pytest.mark.parametrize("cuts", [["AAECAw=="], ["AAE", "CAw", "=="], ["AAE=", "AgM="], ["A", "A", "ECAw"]])
def test_sound_is_joined_wherever_it_was_cut(cuts: list[str]) -> None:
    deltas: list[dict[str, Any]] = [
        {"audio": {"id": "a", "transcript": "Hel"}},
        *({"audio": {"data": each}} for each in cuts),
    ]
    last: dict[str, Any] = {"audio": {"transcript": "lo", "expires_at": 9}}
    reply, events = merged(*(chunk(each) for each in [*deltas, last]), chunk({}, "stop"))
    assert reply.audio == AudioOutput(id="a", data=b"\x00\x01\x02\x03", transcript="Hello", expires_at=9)
    assert (reply.message.content, reply.text) == (None, "Hello")
    assert events[0] == AudioDelta(b"", "Hel")


def test_citations_are_values_and_other_annotations_stay_as_they_came() -> None:
    citation = {"type": "url_citation", "url_citation": {"url": "u", "title": "t", "start_index": 1, "end_index": 2}}
    other = {"type": "file_citation"}
    reply, _ = merged(chunk({"annotations": [citation]}), chunk({"annotations": [citation, other]}, "stop"))
    cited = UrlCitation(url="u", title="t", start_index=1, end_index=2)
    assert reply.message.annotations == (cited, OtherPart(other))
    assert reply.message.citations == (cited,)


def test_a_custom_call_has_an_input_whole_and_in_pieces() -> None:
    whole = {"id": "a", "type": "custom", "custom": {"name": "sql", "input": "{not json"}}
    pieces = [
        {"index": 0, "id": "a", "type": "custom", "custom": {"name": "sql", "input": ""}},
        {"index": 0, "custom": {"input": "{not"}},
        {"index": 0, "id": "a", "custom": {"name": "sql", "input": " json"}},
    ]
    (one,), (other,) = (
        reply.message.tool_calls
        for reply in (
            merged(chunk({"tool_calls": [whole]}, "tool_calls"))[0],
            merged(*(chunk({"tool_calls": [each]}) for each in pieces), chunk({}, "tool_calls"))[0],
        )
    )
    assert one == other == ToolCall.custom("a", "sql", "{not json")
    assert one.written == "{not json"
    assert one.to_wire() == whole


def test_custom_and_other_calls_stay_apart() -> None:
    pieces = [
        {"index": 0, "id": "a", "custom": {"name": "sql", "input": "x"}},
        {"index": 0, "id": "b", "custom": {"name": "sql", "input": "y"}},
        {"index": 1, "id": "c", "function": {"name": "f", "arguments": "{}"}},
    ]
    reply, _ = merged(chunk({"tool_calls": pieces}, "tool_calls"))
    assert [call.written for call in reply.message.tool_calls] == ["x", "y", "{}"]


def test_what_a_reply_says_of_itself_is_read() -> None:
    about = {"id": "r", "created": 1.0, "service_tier": "flex", "system_fingerprint": "fp", "moderation": {"x": 1}}
    reply, _ = merged(chunk({"content": "a"}, "stop", **about, metadata={"k": "v"}, provider="P", obfuscation="zz"))
    assert (reply.id, reply.created, reply.service_tier, reply.system_fingerprint) == ("r", 1, "flex", "fp")
    assert (reply.metadata, reply.moderation, reply.extra) == ({"k": "v"}, {"x": 1}, {"provider": "P"})


def test_fewer_answers_than_asked_for_are_told() -> None:
    merger = ReplyAccumulator(choices=3)
    merger.add(chunk({"content": "a"}, "stop"))
    reply = merger.finish()
    assert len(reply.choices) == 1
    assert reply.repairs == ("3 answers were requested, but 1 came",)


def test_numbers_that_json_does_not_know_are_not_sent_back() -> None:
    odd = {"score": float("nan"), "list": [float("inf"), 1]}
    call = piece(index=0, id="x", name="f", arguments="{}", extra_content=odd)
    reply, _ = merged(chunk({"tool_calls": [call], "extra_content": odd, "reasoning_details": [odd]}, "tool_calls"))
    clean = {"score": None, "list": [None, 1]}
    sent = json.loads(reply.message.wire)
    assert (sent["tool_calls"][0]["extra_content"], sent["extra_content"]) == (clean, clean)
    assert reply.message.reasoning_details == (clean,)


def test_signatures_of_thoughts_in_the_message_are_sent_back() -> None:
    signature = {"google": {"thought_signature": "s"}}
    reply, _ = merged(chunk({"content": "a"}), chunk({"extra_content": signature}, "stop"))
    assert reply.message.to_wire()["extra_content"] == signature


def test_an_annotation_that_comes_twice_is_one_and_has_no_nan() -> None:
    odd = {"type": "file_path", "score": float("nan"), "scores": [float("inf")]}
    cited = {"type": "url_citation", "url_citation": {"url": "https://a.example", "score": float("nan")}}
    message = merged(*[chunk({"annotations": [odd, cited]})] * 2, chunk({}, "stop"))[0].message
    written = message.to_record()["annotations"]
    assert len(written) == 2
    assert written[0] == {"type": "file_path", "score": None, "scores": [None]}
    json.dumps(message.to_record(), allow_nan=False)


def test_objects_of_reasoning_are_joined_by_index_and_type() -> None:
    pieces: list[dict[str, Any]] = [
        {"index": 0, "type": "reasoning.text", "text": None, "id": None},
        {"index": 1, "type": "reasoning.text", "text": "b"},
        {"index": 0, "type": "reasoning.text", "text": "a"},
        {"type": "reasoning.text", "text": "c"},
        {"type": "reasoning.text", "text": "d"},
        {"index": 0, "type": "reasoning.text", "text": "a", "id": "r", "format": None},
        {"index": [0], "type": {"a": 1}, "data": "e"},
        {"index": [0], "type": {"a": 1}, "data": "e"},
    ]
    message = merged(*(chunk({"reasoning_details": [each]}) for each in pieces), chunk({}, "stop"))[0].message
    assert message.reasoning_details == (
        {"index": 0, "type": "reasoning.text", "text": "aa", "id": "r"},
        {"index": 1, "type": "reasoning.text", "text": "b"},
        {"type": "reasoning.text", "text": "c"},
        {"type": "reasoning.text", "text": "d"},
        {"index": [0], "type": {"a": 1}, "data": "ee"},
    )


@pytest.mark.parametrize(
    "arguments",
    ['{"a": "}"}', '{"a": "\\"}"}', '{"a": {"b": "{"}}', ' {"a": "\\\\"}', '{"a": 1}', '{"a": "\\u007d"}'],
)
def test_the_end_of_arguments_is_found_wherever_they_are_cut(arguments: str) -> None:
    pieces = [piece(index=0, name="f", arguments=each) for each in arguments]
    found = calls(*pieces, piece(index=0, name="f", arguments='{"z": 1}'))
    assert [json.loads(each) for _, each in found] == [json.loads(arguments), {"z": 1}]


OFFERED = ["tool_tool_x", "look", "look_up", "a", "b"]


@pytest.mark.parametrize(
    ("pieces", "names"),
    [
        ([piece(index=0, id="x", name="lo"), piece(index=0, name="ok")], ["look"]),
        ([piece(index=0, id="x", name="tool_"), piece(index=0, name="tool_x")], ["tool_tool_x"]),
        ([piece(index=0, name="look"), piece(index=0, name="_up"), piece(index=0, name="look_up")], ["look_up"]),
        ([piece(id="x", name="lo"), piece(id="x", name="ok"), piece(id="x", name="look")], ["look"]),
        ([piece(name="lo"), piece(name="ok_u"), piece(name="p")], ["look_up"]),
        ([piece(name="lo"), piece(name="look_up")], ["look_up"]),
        ([piece(index=0, name="look", arguments="{"), piece(index=0, name="look", arguments="}")], ["look"]),
        ([piece(index=0, name="a"), piece(index=0, name="b")], ["a", "b"]),
        ([piece(name="a"), piece(name="b")], ["a", "b"]),
        ([piece(name="look"), piece(name="look_up")], ["look", "look_up"]),
        ([piece(index=0, name="get_"), piece(index=0, name="unknown")], ["get_unknown"]),
    ],
)
def test_the_tools_that_were_offered_tell_where_a_name_goes_on(pieces: list[dict[str, Any]], names: list[str]) -> None:
    merger = ReplyAccumulator(names=OFFERED)
    for each in [*pieces, piece(arguments="{}")]:
        merger.add(chunk({"tool_calls": [each]}))
    calls = merger.finish().message.tool_calls
    assert [call.name for call in calls] == names
    assert {call.written for call in calls} <= {"", "{}"}


@given(st.data(), st.sampled_from(OFFERED))
def test_a_name_is_read_wherever_it_is_cut(data: st.DataObject, name: str) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(1, len(name)))) | {0, len(name)})
    merger = ReplyAccumulator(names=OFFERED)
    for start, end in itertools.pairwise(cuts):
        merger.add(chunk({"tool_calls": [piece(index=0, name=name[start:end], arguments="")]}))
    assert [call.name for call in merger.finish().message.tool_calls] == [name]


def test_pieces_of_answers_beside_the_first_say_which_answer_they_are_of() -> None:
    merger = ReplyAccumulator(choices=2)
    told = [
        event for index in (0, 1) for event in merger.add({"choices": [{"index": index, "delta": {"content": "a"}}]})
    ]
    assert told == [TextDelta("a"), ChoiceDelta(1, TextDelta("a"))]


LONG: dict[str, Callable[[int], dict[str, Any]]] = {
    "messages": lambda at: {"choices": [{"message": {"content": "b"}} if at else {"delta": {"content": "a"}}]},
    "names": lambda at: {"tool_calls": [piece(index=0, name="f")]},
    "annotations": lambda at: {"annotations": [{"type": "file_path", "at": at}]},
    "details": lambda at: {"reasoning_details": [{"index": at, "type": "reasoning.text", "text": "a"}]},
    "one-detail": lambda at: {"reasoning_details": [{"index": 0, "type": "reasoning.text", "text": "a" * 100}]},
    "parts": lambda at: {"content": [{"type": "odd", "at": at}]},
    "quoted-ends": lambda at: {"tool_calls": [piece(index=0, name="f", arguments='{"a": "}' if not at else "}")]},
    "ends": lambda at: {"tool_calls": [piece(index=0, name="f", arguments="x{}")]},
    "space": lambda at: {"tool_calls": [piece(index=0, name="f", arguments=" ")]},
    "ids": lambda at: {
        "tool_calls": [piece(id=f"{at}", name="" if at else "f", arguments='{"a": "{"}' if at else "[")]
    },
}


@pytest.mark.parametrize("delta", LONG.values(), ids=LONG)
def test_the_time_to_read_a_reply_grows_with_its_length_only(delta: Callable[[int], dict[str, Any]]) -> None:
    def read(pieces: int) -> Callable[[], object]:
        made = [delta(at) for at in range(pieces)]
        chunks = [each if "choices" in each else chunk(each) for each in made]
        return lambda: merged(*chunks)

    assert_linear(read, 500)
