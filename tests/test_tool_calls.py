import json
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.chat.decoding.accumulator import ReplyAccumulator
from agentkit.chat.decoding.tool_calls import MAX_CALLS, CallIds, normalize_tool_calls
from agentkit.chat.events import CallDelta, Event
from agentkit.chat.messages import ToolCall
from agentkit.chat.reply import Reply
from agentkit.errors import InvalidReply
from tests.scaling import assert_linear

values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=5,
)
objects = st.dictionaries(st.text(max_size=3), values, max_size=3)


def normalized(arguments: str) -> tuple[ToolCall, list[str]]:
    (call,), notes = normalize_tool_calls([ToolCall("callA0001", "f", arguments)])
    return call, notes


@pytest.mark.parametrize(
    ("written", "arguments", "note"),
    [
        ('{"a": 1}', '{"a": 1}', ""),
        ("", "{}", ""),
        (" \n", "{}", ""),
        ("null", "{}", ""),
        ("[]", "{}", "instead of an object"),
        ('""', "{}", "instead of an object"),
        ('"{\\"a\\": 1}"', '{"a": 1}', "twice"),
        ("{}{}{}", "{}", "more than once"),
        ('{}{"a": 1}', '{"a": 1}', "more than once"),
        ('{"a": 1}{}', '{"a": 1}', "more than once"),
        ('{"a": 1} {"a": 1}', '{"a": 1}', "more than once"),
        ('{"a": 1, "b": 2}{"b": 2, "a": 1}', '{"b": 2, "a": 1}', "more than once"),
    ],
)
def test_arguments_that_have_one_meaning_are_repaired(written: str, arguments: str, note: str) -> None:
    call, notes = normalized(written)
    assert (call.arguments, call.malformed) == (arguments, "")
    assert note in "".join(notes)
    assert bool(notes) == bool(note)


@pytest.mark.parametrize(
    "written",
    [
        '{"a": ',
        "[1]",
        "7",
        '"text"',
        '{"a": NaN}',
        '{"a": 1}{"b"',
        '{"a": 1}x',
        "{'a': 1}",
        "[{}]",
        '{"a": 1}[]',
        '{"x":500}{"x":50}',
        '{"a": 1}\n{"a": 2}',
        '{"a": 1}{"a": true}',
        '{"a": 1}{}{"a": 1.0}',
    ],
)
def test_all_other_arguments_are_malformed_and_never_more_than_one_call(written: str) -> None:
    call, notes = normalized(written)
    assert (call.arguments, call.malformed) == ("{}", written)
    assert len(notes) == 1


@pytest.mark.parametrize("arguments", ['{"a": 1}', '"{\\"a\\": 1}"', '{"a": 1}{"a": 1}', ' {"a": 1}\n'])
def test_the_arguments_of_a_call_are_parsed_once(arguments: str) -> None:
    call, _ = normalized(arguments)
    assert call.parsed == {"a": 1}
    assert call.parsed is call.parsed


def test_what_was_normalized_is_not_parsed_again() -> None:
    call, _ = normalized('{"a": 1}')
    (again,), notes = normalize_tool_calls([call], CallIds({call.id}))
    assert again.id != call.id
    assert again.parsed is call.parsed
    assert (again.has_valid_arguments, len(notes)) == (True, 1)


def test_the_arguments_of_a_malformed_call_are_empty_and_those_of_an_invalid_one_an_error() -> None:
    assert normalized("[1]")[0].parsed == {}
    with pytest.raises(ValueError, match="the arguments of f are not a JSON object: 'x'"):
        _ = ToolCall("a", "f", "x").parsed
    assert not ToolCall("a", "f", "[]").has_valid_arguments
    assert ToolCall.custom("a", "f", "[]").has_valid_arguments


def test_a_call_of_a_custom_tool_keeps_its_input() -> None:
    (call,), notes = normalize_tool_calls([ToolCall.custom("callA0001", "f", "{}{}")])
    assert call.input == "{}{}"
    assert notes == []


@given(objects)
def test_what_is_an_object_is_never_changed(value: dict[str, Any]) -> None:
    text = json.dumps(value)
    call, notes = normalized(text)
    assert (call.arguments, call.parsed, notes) == (text, value, [])


@given(st.lists(objects, min_size=1, max_size=4), st.sampled_from(["", " ", "\n"]))
def test_several_objects_are_one_call_only_if_they_say_the_same(values: list[dict[str, Any]], between: str) -> None:
    call, _ = normalized(between.join(json.dumps(value) for value in values))
    meanings = {json.dumps(value, sort_keys=True) for value in values if value} or {"{}"}
    if len(meanings) == 1:
        assert {json.dumps(json.loads(call.arguments), sort_keys=True)} == meanings
    else:
        assert call.malformed


@given(st.lists(st.builds(ToolCall, st.text(max_size=50), st.text(max_size=3), st.text(max_size=9)), max_size=4))
def test_whatever_comes_what_goes_out_is_valid(calls: list[ToolCall]) -> None:
    made, _ = normalize_tool_calls(calls, CallIds({"callA0001"}))
    ids = [call.id for call in made]
    assert len(made) == len([call for call in calls if call.name])
    assert len(set(ids)) == len(ids)
    assert all(0 < len(each) <= 40 and each.isascii() for each in ids)
    assert all(isinstance(json.loads(call.arguments), dict) for call in made)
    assert normalize_tool_calls(made)[0] == made


def test_an_id_is_never_given_twice_even_if_all_that_tells_replies_apart_is_the_same() -> None:
    ids = CallIds()
    given = [CallIds(ids.taken).assign("", "f", []) for _ in range(5)]
    assert len(set(given)) == 5


# Calls of a reply, from its deltas.


def fragment(**members: Any) -> dict[str, Any]:
    function = {name: members.pop(name) for name in ("name", "arguments") if name in members}
    return {**members, "function": function}


def decoded(
    *lists: list[dict[str, Any]], names: tuple[str, ...] = (), taken: tuple[str, ...] = (), whole: bool = False
) -> tuple[Reply, list[CallDelta]]:
    accumulator = ReplyAccumulator(names=names, taken=taken)
    member = "message" if whole else "delta"
    events: list[Event] = []
    for calls in lists:
        events += accumulator.add({"id": "r", "choices": [{member: {"tool_calls": calls}}]}, whole=whole)
    events += accumulator.close()
    return accumulator.finish(), [event for event in events if isinstance(event, CallDelta)]


PAY = fragment(name="pay", arguments='{"x":500}')


@pytest.mark.parametrize(
    "call", [PAY, {**PAY, "id": "a"}, {**PAY, "id": "a", "index": 0}, fragment(name="ping", arguments="")]
)
def test_two_identical_calls_of_a_whole_reply_are_two_calls(call: dict[str, Any]) -> None:
    reply, deltas = decoded([call, call], whole=True)
    first, second = reply.message.tool_calls
    assert (first.name, first.arguments) == (second.name, second.arguments)
    assert first.id != second.id
    assert [delta.call_id for delta in deltas] == [first.id, second.id]


@pytest.mark.parametrize("call", [PAY, {**PAY, "id": "a"}, {**PAY, "id": "a", "index": 0}])
def test_two_identical_calls_in_one_delta_are_two_calls(call: dict[str, Any]) -> None:
    assert len(decoded([call, call])[0].message.tool_calls) == 2


def test_two_identical_calls_without_id_and_index_in_two_deltas_are_two_calls() -> None:
    assert len(decoded([PAY], [PAY])[0].message.tool_calls) == 2


@pytest.mark.parametrize("call", [{**PAY, "id": "a"}, {**PAY, "index": 0}, {**PAY, "id": "a", "index": 0}])
def test_a_call_that_is_sent_again_under_its_id_or_index_is_one_call(call: dict[str, Any]) -> None:
    reply, deltas = decoded([call], [call])
    assert [call.arguments for call in reply.message.tool_calls] == ['{"x":500}']
    assert [delta.arguments for delta in deltas] == ['{"x":500}']


@pytest.mark.parametrize("whole", [True, False])
def test_two_objects_as_the_arguments_of_one_call_are_malformed(whole: bool) -> None:
    reply, _ = decoded([fragment(index=0, id="a", name="pay", arguments='{"x":500}{"x":50}')], whole=whole)
    (call,) = reply.message.tool_calls
    assert (call.arguments, call.malformed) == ("{}", '{"x":500}{"x":50}')


def test_an_object_that_follows_without_name_and_id_is_no_call_of_its_own() -> None:
    lists = [[fragment(index=0, id="a", name="pay", arguments='{"x":500}')], [fragment(index=0, arguments='{"x":50}')]]
    (call,) = decoded(*lists)[0].message.tool_calls
    assert call.malformed == '{"x":500}{"x":50}'


def test_the_first_delta_of_a_call_has_its_final_id_and_its_name_and_the_others_only_what_is_new() -> None:
    reply, deltas = decoded(
        [fragment(index=0, id="bad id!", name="pay", arguments="")],
        [fragment(index=0, name="pay", arguments='{"x":')],
        [fragment(index=0, name="pay", arguments="5}")],
        [fragment(index=1, id="b", name="ping")],
    )
    first, second = reply.message.tool_calls
    assert deltas == [
        CallDelta(0, first.id, "pay", '{"x":'),
        CallDelta(0, first.id, "", "5}"),
        CallDelta(1, second.id, "ping", ""),
    ]
    assert (first.id.isalnum(), second.id) == (True, "b")


def test_an_id_that_the_conversation_has_already_is_replaced_before_the_first_delta_leaves() -> None:
    reply, deltas = decoded([fragment(index=0, id="call_0", name="pay", arguments="{}")], taken=("call_0",))
    assert reply.message.tool_calls[0].id == deltas[0].call_id != "call_0"
    assert reply.repairs == (
        f"pay had the id 'call_0', which is malformed or already used; it is {deltas[0].call_id} now",
    )


def test_arguments_that_come_before_the_name_leave_with_it() -> None:
    _, deltas = decoded([fragment(index=0, id="a", arguments='{"x":')], [fragment(index=0, name="pay", arguments="5}")])
    assert deltas == [CallDelta(0, "a", "pay", '{"x":5}')]


def test_calls_without_a_name_are_dropped_and_leave_no_gap() -> None:
    reply, deltas = decoded([fragment(index=0, id="a", arguments="{}"), fragment(index=1, id="b", name="pay")])
    assert [call.id for call in reply.message.tool_calls] == ["b"]
    assert deltas == [CallDelta(0, "b", "pay", "")]
    assert reply.repairs == ("a call without a name was dropped (arguments '{}')",)


def test_a_name_has_at_most_64_characters_however_it_grows() -> None:
    lists = [[fragment(index=0, name=f"{part:03}")] for part in range(100)]
    reply, deltas = decoded(*lists, [fragment(index=0, arguments="{}")])
    name = "".join(f"{part:03}" for part in range(100))[:64]
    assert [delta.name for delta in deltas] == [name] == [call.name for call in reply.message.tool_calls]
    assert "more than 64 characters" in reply.repairs[-1]
    long = "b" * 70
    lists = [[fragment(name=long, arguments="{")], [fragment(name=long, arguments="}")]]
    assert [call.arguments for call in decoded(*lists)[0].message.tool_calls] == ["{}"]


def test_a_name_that_changes_after_its_arguments_began_never_means_the_tool_that_it_began_with() -> None:
    lists = [[fragment(index=0, name="pay", arguments="{")], [fragment(index=0, name="_later", arguments="}")]]
    reply, deltas = decoded(*lists, names=("pay",))
    assert [call.name for call in reply.message.tool_calls] == ["pay_later"] == ["".join(each.name for each in deltas)]


@pytest.mark.parametrize("whole", [True, False])
def test_a_reply_has_at_most_1024_calls(whole: bool) -> None:
    calls = [fragment(index=index, name="f", arguments="{}") for index in range(MAX_CALLS)]
    assert len(decoded(calls, whole=whole)[0].message.tool_calls) == MAX_CALLS
    with pytest.raises(InvalidReply, match="more than 1,024 calls"):
        decoded(calls, [fragment(index=MAX_CALLS, name="f")], whole=whole)


@pytest.mark.parametrize("unit", ['{"a":1}', "{}", '{"a":1} \n', "[1]", '"a"', '{"a":', '{"a":"{"}'])
def test_arguments_are_normalized_in_linear_time(unit: str) -> None:
    assert_linear(lambda size: partial(normalized, unit * size), 5_000)
