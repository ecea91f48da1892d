from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentkit.chat.messages import encode_json
from agentkit.tools.calls.repair import Unreadable, fit_arguments, repair_text


@pytest.mark.parametrize(
    ("text", "arguments", "forgiven"),
    [
        ('{"a": 1}', {"a": 1}, []),
        ("{'a': 'x'}", {"a": "x"}, ["with single quotes"]),
        (r"{'a': 'it\'s', 'b': '\"'}", {"a": "it's", "b": '"'}, ["with single quotes"]),
        ('{"a": 1,}', {"a": 1}, ["with a trailing comma"]),
        ('{"a": [1, 2,],}', {"a": [1, 2]}, ["with a trailing comma"]),
        ("{a: 1, b_2: {c-d: 3}}", {"a": 1, "b_2": {"c-d": 3}}, ["with keys without quotes"]),
        ('{"a": True, "b": False, "c": None}', {"a": True, "b": False, "c": None}, ["with Python's literals"]),
        ('```json\n{"a": 1}\n```', {"a": 1}, ["in a code fence"]),
        ('```\n{"a": 1}```\n```', {"a": 1}, ["in a code fence"]),
        ('{"a": 1}}', {"a": 1}, ["followed by something else"]),
        ('{"a": 1}])  ;\n```', {"a": 1}, ["followed by something else"]),
        ('{"a": 1}<｜tool▁call▁end｜>', {"a": 1}, ["followed by something else"]),  # noqa: RUF001
        ('{"a": 1}<|im_end|>', {"a": 1}, ["followed by something else"]),
        ('{"a": 1}{"a": 1}', {"a": 1}, ["written more than once"]),
        ('{}{"a": 1}', {"a": 1}, ["written more than once"]),
        ('{"a": 1}{}', {"a": 1}, ["written more than once"]),
        (r'"{\"a\": 1}"', {"a": 1}, ["encoded twice"]),
        (r'"{\"a\": 1,}"', {"a": 1}, ["encoded twice", "with a trailing comma"]),
        ('{"a": "one\ntwo\t"}', {"a": "one\ntwo\t"}, ["with line ends in a text"]),
        (r'{"a": "\d+\.txt"}', {"a": r"\d+\.txt"}, ["with a lone backslash"]),
        (r'{"a": "\d+\\n", "b": "x\ny"}', {"a": r"\d+\n", "b": "x\ny"}, ["with a lone backslash"]),
        (r'{"a": "\ud83d\ude00 \ud800"}', {"a": "😀 �"}, []),
        (r'{"a": "\u0041\n\/"}', {"a": "A\n/"}, []),
        ('{"a": -1.5e3, "b": 123456789012345678901234567890}', {"a": -1500.0, "b": 123456789012345678901234567890}, []),
        ("{}", {}, []),
    ],
)
def test_what_has_one_meaning_only_is_forgiven_and_told(
    text: str, arguments: dict[str, Any], forgiven: list[str]
) -> None:
    assert repair_text(text) == (arguments, forgiven)


@pytest.mark.parametrize(
    "text",
    [
        "", "null", "5", "[1]", '"x"', "hello",
        '{"a": 1', '{"a": "x', '{"a": ', '{"a"', '{"a": [1', '{"a": "x\\', '{"a": "\\u12"}', '```json\n{"a": 1',
        '{"a": 1}{"b": 2}', '{"a": 1}{"a": true}', '{"a": 1}, "b": 2}', '{"a": 1} {"b"', '{"a": 1}[2]',
        "{'a': 'it's'}", '{"a": 1 "b": 2}', '{"a": x}', '{"a": undefined}', '{"a": NaN}', '{"a": -Infinity}',
        '{"a": 1}0', '{"a": 1} is wrong, do not send', '{"a": 1}</tool_call>', '{"a": 1}<|no', '{"a": 1}, then 2',
        '```\n{"a": 1}```\nThat is all.', r'{"a": "C:\temp\new\data"}', r'{"a": "\d+\n"}',
        '{"a": 1e999}', '{"a": ' + "9" * 100_000 + "}", '{"a": 01}', '{"a": 1_000}', '{"a": .5}', '{"a": +1}',
        "{,}", '{"a":,}', "{1: 2}", '{"a": (1, 2)}', "__import__('os')", '{"a": 1 + 1}', '{"a": "b" "c"}',
        "[" * 100_000, '{"a":' * 100_000, '{"a":' * 300 + "1" + "}" * 300, '"' + '{"a":' * 1000,
    ],
)  # fmt: skip
def test_what_is_incomplete_or_has_two_meanings_is_not_touched(text: str) -> None:
    with pytest.raises(Unreadable):
        repair_text(text)


TEXTS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=9
)  # encoding replaces it, as servers refuse it
FEW = settings(max_examples=30, deadline=None)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)
OBJECTS = st.dictionaries(TEXTS, JSON, max_size=4)


@FEW
@given(OBJECTS)
def test_json_is_read_as_it_is(arguments: dict[str, Any]) -> None:
    assert repair_text(json.dumps(arguments)) == (json.loads(encode_json(arguments)), [])


@FEW
@given(OBJECTS, st.floats(0, 1, exclude_max=True))
def test_a_cut_object_is_never_completed(arguments: dict[str, Any], part: float) -> None:
    text = json.dumps(arguments)
    with pytest.raises(Unreadable):
        repair_text(text[: int(part * len(text))])


def test_reading_takes_time_in_proportion() -> None:
    assert repair_text("{}" * 200_000) == ({}, ["written more than once"])
    assert repair_text('{"a": 1}' + " " * 500_000 + "}" * 500_000 + "<|x|>" * 9999)[0] == {"a": 1}


@given(st.dictionaries(st.text("abc"), st.text("ab'\"\\\n") | st.booleans() | st.none() | st.integers()))
def test_what_python_writes_of_a_dict_is_read_back(arguments: dict[str, Any]) -> None:
    assert repair_text(repr(arguments))[0] == arguments


@given(st.text() | st.text("{}[]\"':,\\`atrue1 \n"))
def test_any_text_is_an_object_that_can_be_sent_or_unreadable(text: str) -> None:
    try:
        arguments, _ = repair_text(text)
    except Unreadable:
        return
    encode_json(arguments)


# Arguments that are JSON, but not as the tool takes them.

SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "array", "items": {"type": "integer"}},
        "options": {"$ref": "#/$defs/Options"},
        "tree": {"$ref": "#"},
        "either": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "mixed": {"anyOf": [{"type": "array"}, {"type": "string"}]},
        "many": {"type": ["object", "null"]},
        "kind": {"enum": ["[a]", "b"]},
        "any": {},
        "loop": {"$ref": "#/$defs/Loop"},
    },
    "required": ["city", "days"],
    "$defs": {"Options": {"type": "object"}, "Loop": {"$ref": "#/$defs/Loop"}},
}


@pytest.mark.parametrize(
    ("arguments", "fitted", "notes"),
    [
        ({"city": "Rome"}, {"city": "Rome"}, []),
        ({"arguments": {"city": "Rome"}}, {"city": "Rome"}, ["wrapped in 'arguments'"]),
        ({"input": '{"city": "Rome"}'}, {"city": "Rome"}, ["wrapped in 'input'"]),
        ({"input": "Rome"}, {"input": "Rome"}, []),
        ({"input": {"town": "Rome"}}, {"input": {"town": "Rome"}}, []),
        ({"arguments": {"city": "Rome"}, "days": []}, {"arguments": {"city": "Rome"}, "days": []}, []),
        ({"days": "[1, 2]"}, {"days": [1, 2]}, ["days written as a text"]),
        ({"days": "{}"}, {"days": "{}"}, []),
        ({"days": "1, 2"}, {"days": "1, 2"}, []),
        ({"days": "[1, 2"}, {"days": "[1, 2"}, []),
        ({"city": "[1, 2]"}, {"city": "[1, 2]"}, []),
        ({"mixed": "[1]", "kind": "[a]", "any": "[1]", "loop": "[1]"}, None, []),
        ({"options": '{"a": 1}', "tree": '{"city": "x"}'}, {"options": {"a": 1}, "tree": {"city": "x"}},
         ["options written as a text", "tree written as a text"]),
        ({"options": None}, {}, ["null for options, which may be left out"]),
        ({"either": None, "any": None, "many": None, "days": None}, None, []),
        ({"either": "null", "many": "None"}, {"either": None, "many": None},
         ["either written as a text", "many written as a text"]),
        ({"either": "5"}, None, []),
    ],
)  # fmt: skip
def test_arguments_are_put_into_the_form_of_the_schema(
    arguments: dict[str, Any], fitted: dict[str, Any] | None, notes: list[str]
) -> None:
    assert fit_arguments(arguments, SCHEMA) == (arguments if fitted is None else fitted, notes)


def test_a_tool_that_has_such_a_parameter_or_takes_anything_is_left_alone() -> None:
    known: dict[str, Any] = {"properties": {"a": {}}}
    schemas: list[dict[str, Any]] = [
        {"properties": {"input": {"type": "object"}, "a": {}}, "additionalProperties": False},
        {"properties": {}},
        {},
        known,
        {**known, "required": ["a"], "additionalProperties": True},
        {**known, "additionalProperties": {"type": "object"}},
        {**known, "additionalProperties": False, "patternProperties": {"^in": {}}},
    ]
    for schema in schemas:
        assert fit_arguments({"input": {"a": 1}}, schema) == ({"input": {"a": 1}}, [])
    unsaid = {**known, "required": ["a"]}  # as it stands it cannot fit
    assert fit_arguments({"input": {"a": 1}}, unsaid) == ({"a": 1}, ["wrapped in 'input'"])


@FEW
@given(OBJECTS | st.fixed_dictionaries({}, optional=dict.fromkeys(SCHEMA["properties"], JSON)))
def test_fitting_never_fails_and_a_second_time_changes_nothing(arguments: dict[str, Any]) -> None:
    fitted, _ = fit_arguments(arguments, SCHEMA)
    assert fit_arguments(fitted, SCHEMA) == (fitted, [])
