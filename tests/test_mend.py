import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.chat.decoding.tool_calls import normalize_tool_calls
from agentkit.chat.messages import ToolCall

values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=5,
)
objects = st.dictionaries(st.text(max_size=3), values, max_size=3)


def mended(arguments: str) -> tuple[list[str], list[str]]:
    calls, notes = normalize_tool_calls([ToolCall("callA0001", "f", arguments)])
    return [call.arguments for call in calls], notes


@pytest.mark.parametrize(
    ("written", "arguments", "note"),
    [
        ('{"a": 1}', ['{"a": 1}'], ""),
        ("", ["{}"], ""),
        (" \n", ["{}"], ""),
        ("null", ["{}"], ""),
        ("[]", ["{}"], "none"),
        ('""', ["{}"], "none"),
        ('"{\\"a\\": 1}"', ['{"a": 1}'], "twice"),
        ("{}{}{}", ["{}"], "ran together"),
        ('{}{"a": 1}', ['{"a": 1}'], "ran together"),
        ('{"a": 1} {"a": 1}', ['{"a": 1}'], "ran together"),
        ('{"a": 1, "b": 2}{"b": 2, "a": 1}', ['{"a": 1, "b": 2}'], "ran together"),
        ('{"a": 1}\n{"a": 2}', ['{"a": 1}', '{"a": 2}'], "2 calls"),
        ('{"a": 1}{"a": true}', ['{"a": 1}', '{"a": true}'], "2 calls"),
    ],
)
def test_arguments_that_have_one_meaning_are_put_right(written: str, arguments: list[str], note: str) -> None:
    made, notes = mended(written)
    assert made == arguments
    assert note in "".join(notes)
    assert bool(notes) == bool(note)


@pytest.mark.parametrize(
    "written",
    ['{"a": ', "[1]", "7", '"text"', '{"a": NaN}', '{"a": 1}{"b"', '{"a": 1}x', "{'a': 1}", "[{}]", '{"a": 1}[]'],
)
def test_all_others_are_kept_aside(written: str) -> None:
    (call,), notes = normalize_tool_calls([ToolCall("callA0001", "f", written)])
    assert (call.arguments, call.malformed) == ("{}", written)
    assert len(notes) == 1


def test_calls_taken_apart_have_ids_of_their_own() -> None:
    calls, _ = normalize_tool_calls([ToolCall("callA0001", "f", '{"a": 1}{"a": 2}')])
    assert calls[0].id == "callA0001"
    assert calls[1].id != "callA0001"
    assert len(calls[1].id) == 9


def test_a_call_of_a_custom_tool_keeps_its_text() -> None:
    (call,), notes = normalize_tool_calls([ToolCall.custom("callA0001", "f", "{}{}")])
    assert call.input == "{}{}"
    assert notes == []


@given(objects)
def test_what_is_an_object_is_never_changed(value: dict[str, Any]) -> None:
    text = json.dumps(value)
    assert mended(text) == ([text], [])


@given(st.lists(objects, min_size=1, max_size=4), st.sampled_from(["", " ", "\n"]))
def test_no_object_is_lost_or_made_up(values: list[dict[str, Any]], between: str) -> None:
    made, _ = mended(between.join(json.dumps(value) for value in values))
    wanted = [value for value in values if value] or [{}]
    last: list[str] = []
    for value in wanted:  # one that equals the one before it was sent again
        if not last or json.dumps(value, sort_keys=True) != last[-1]:
            last.append(json.dumps(value, sort_keys=True))
    assert [json.dumps(json.loads(each), sort_keys=True) for each in made] == last


@given(st.lists(st.builds(ToolCall, st.text(max_size=50), st.text(max_size=3), st.text(max_size=9)), max_size=4))
def test_whatever_comes_what_goes_out_is_valid(calls: list[ToolCall]) -> None:
    made, _ = normalize_tool_calls(calls, taken=["callA0001"])
    ids = [call.id for call in made]
    assert len(set(ids)) == len(ids)
    assert all(0 < len(each) <= 40 and each.isascii() for each in ids)
    assert all(isinstance(json.loads(call.arguments), dict) for call in made)
    assert normalize_tool_calls(made)[0] == made
