from __future__ import annotations

import datetime as dt
import decimal
import enum
import json
import re
import uuid
from typing import Annotated, Any, Literal, NamedTuple

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, field_validator

from agentkit.chat.json_values import encode_json
from agentkit.errors import ModelRetry, ToolError
from agentkit.tools.arguments import Signature, fit_arguments, parse_arguments, validate_arguments
from agentkit.tools.signature import read_signature


def read_arguments(signature: Signature, text: str) -> dict[str, Any]:
    return validate_arguments(signature, parse_arguments(text))


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("", {}),
        (" \n", {}),
        ("null", {}),
        ("{}", {}),
        ('""', {}),
        ('{"a": [1, 2.5, true, null, "x"]}', {"a": [1, 2.5, True, None, "x"]}),
        (r'"{\"a\": 1}"', {"a": 1}),
        ('"null"', {}),
        ('{"a": 1, "a": 2}', {"a": 2}),
        ('{"a": 123456789012345678901234567890}', {"a": 123456789012345678901234567890}),
        ('{"a": ' + "9" * 310 + "}", {"a": int("9" * 310)}),
        ('{"a": 0.' + "9" * 310 + "}", {"a": 1.0}),
        ('{"a": "line\nline\ttab"}', {"a": "line\nline\ttab"}),
        (r'{"a": "\ud83d\ude00 \ud800"}', {"a": "😀 �"}),
        ('{"a": "\ud800"}', {"a": "�"}),
        ('{"é": "\\u0000"}', {"é": "\0"}),
    ],
)
def test_the_text_becomes_a_dict(text: str, arguments: dict[str, Any]) -> None:
    assert parse_arguments(text) == arguments


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[1]", "must be one JSON object, not an array"),
        ("5", "must be one JSON object, not a number"),
        ("1.5", "must be one JSON object, not a number"),
        ("true", "must be one JSON object, not a boolean"),
        (r'"\"x\""', "must be one JSON object, not a string"),
        ('"hello"', "not valid JSON"),
        ('{"a": 1', "not valid JSON: .* send one complete JSON object"),
        ('{"a": 1}{"b": 2}', "not valid JSON: Extra data"),
        ("{'a': 1}", "not valid JSON"),
        ('{"a": NaN}', "not valid JSON: NaN is not a JSON value"),
        ('{"a": -Infinity}', "-Infinity is not a JSON value"),
        ('{"a": 1e999}', "not valid JSON"),
        ('{"a": ' + "9" * 310 + ".5}", "not valid JSON"),
        ('{"a": [{"b": -' + "9" * 309 + ".0}]}", "not valid JSON"),
        ('{"a": ' + "9" * 100_000 + "}", "not valid JSON"),
        ("[" * 100_000, "nested too deeply|not valid JSON"),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, "nested too deeply|not valid JSON"),
        ('{"a":' * 300 + "1" + "}" * 300, "nested too deeply|not valid JSON: recursion"),
    ],
)
def test_what_is_not_an_object_is_a_mistake_of_the_model(text: str, complaint: str) -> None:
    with pytest.raises(ToolError, match=complaint) as caught:
        parse_arguments(text)
    assert len(str(caught.value)) < 200


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.text(alphabet=st.characters()) | JSON.map(json.dumps) | JSON.map(json.dumps).map(json.dumps))
def test_any_text_is_a_dict_that_can_be_encoded_or_a_tool_error(text: str) -> None:
    try:
        arguments = parse_arguments(text)
    except ToolError:
        return
    assert isinstance(arguments, dict)
    encode_json(arguments)


TEXTS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0")
)  # servers refuse it, so that encoding replaces it
FINITE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
)


@given(st.dictionaries(TEXTS, FINITE))
def test_an_object_is_read_as_it_was_written(arguments: dict[str, Any]) -> None:
    assert parse_arguments(json.dumps(arguments)) == arguments


# What the model reads when the arguments do not fit.


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Stop(BaseModel):
    city: str
    nights: Annotated[int, Field(ge=1)] = 1

    @field_validator("city")
    @classmethod
    def known(cls, city: str) -> str:
        if city == "Atlantis":
            raise ValueError("Atlantis has sunk")
        return city


def travel(
    stops: list[Stop], budget: float = 1, pet: Cat | int | None = None, mode: Literal["car", "train"] = "car"
) -> None: ...


SIGNATURE = read_signature(travel)


def complaint(arguments: dict[str, Any]) -> list[str]:
    with pytest.raises(ToolError) as caught:
        validate_arguments(SIGNATURE, arguments)
    head, *lines = str(caught.value).splitlines()
    assert head == "invalid arguments, nothing was done:"
    return lines


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        ({}, ["- stops: missing"]),
        ({"stops": [{}]}, ["- stops[0].city: missing"]),
        ({"stops": "Rome"}, ['- stops: expected a valid array; got "Rome"']),
        (
            {"stops": [{"city": "Rome", "nights": 0}]},
            ["- stops[0].nights: expected greater than or equal to 1; got 0"],
        ),
        ({"stops": [{"city": "Atlantis"}]}, ['- stops[0].city: Atlantis has sunk; got "Atlantis"']),
        ({"stops": [], "mode": "bus"}, ["- mode: expected 'car' or 'train'; got \"bus\""]),
        ({"stops": [], "speed": 3}, ["- speed: there is no such parameter; there are: stops, budget, pet, mode"]),
        ({"stops": [], "pet": {"kind": "cat"}}, ["- pet.lives: missing", "- pet: expected a valid integer; got "]),
        ({"stops": [], "budget": "NaN"}, ['- budget: expected a finite number; got "NaN"']),
        ({"stops": {}, "budget": []}, ["- stops: expected a valid array; got {}", "- budget: expected a valid number"]),
    ],
)
def test_each_fault_is_a_line_with_its_place_what_is_expected_and_what_came(
    arguments: dict[str, Any], lines: list[str]
) -> None:
    told = complaint(arguments)
    assert len(told) == len(lines)
    for said, wanted in zip(told, lines, strict=True):
        assert said.startswith(wanted)


class Color(enum.Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("hint", "value", "line"),
    [
        (Literal[Color.RED, "x"], "blue", "- x: expected 'red' or 'x'; got \"blue\""),
        (Annotated[str, Field(pattern="^a+$")], "b", "- x: expected to match pattern '^a+$'; got \"b\""),
        (Annotated[str, Field(min_length=2)], "b", '- x: expected to have at least 2 characters; got "b"'),
        (uuid.UUID, 5, "- x: expected a string, bytes or UUID object; got 5"),
        (complex, [], "- x: expected a valid python complex object, a number, or a valid complex string; got []"),
    ],
)
def test_what_is_expected_is_said_without_names_of_python_and_links(hint: Any, value: Any, line: str) -> None:
    def function(x: Any) -> None: ...

    function.__annotations__["x"] = hint
    with pytest.raises(ToolError) as caught:
        validate_arguments(read_signature(function), {"x": value})
    assert str(caught.value).splitlines()[1:] == [line]


class Ring(BaseModel):
    kind: Literal["size"]
    size: dict[str, int]
    note: int


class Stone(BaseModel):
    kind: Literal["stone"]


def wear(jewel: Annotated[Ring | Stone, Field(discriminator="kind")]) -> None: ...


@pytest.mark.parametrize(
    ("jewel", "lines"),
    [
        ({"kind": "size", "size": {"note": 1}, "note": "x"}, ["- jewel.note: "]),
        ({"kind": "size", "size": {"note": "x"}, "note": 1}, ["- jewel.size.note: "]),
        ({"kind": "size", "size": {"kind": 1}}, ["- jewel.note: missing"]),
        ({"kind": "size", "size": {"size": {"size": 1}}, "note": 1}, ["- jewel.size.size: expected a valid integer"]),
        ({"kind": "other"}, ["- jewel: 'kind' must be one of 'size', 'stone'; got {\"kind\":\"other\"}"]),
        ({"size": {}}, ["- jewel: 'kind' is missing; got {\"size\":{}}"]),
        ("ring", ['- jewel: expected an object; got "ring"']),
    ],
)
def test_the_tag_of_a_union_is_not_taken_for_a_member_of_the_same_name(jewel: Any, lines: list[str]) -> None:
    with pytest.raises(ToolError) as caught:
        validate_arguments(read_signature(wear), {"jewel": jewel})
    told = str(caught.value).splitlines()[1:]
    assert len(told) == len(lines)
    for said, wanted in zip(told, lines, strict=True):
        assert said.startswith(wanted)


# Decimals have the digits that were written.


class Item(BaseModel):
    price: decimal.Decimal
    weight: float = 1


def pay(
    total: decimal.Decimal,
    items: dict[str, Item] = {},  # noqa: B006
    tip: decimal.Decimal | str = "",
    rest: Any = None,
) -> None: ...


@pytest.mark.parametrize("again", [lambda text: text, json.dumps], ids=["once", "encoded twice"])
def test_a_decimal_has_the_digits_that_were_written_wherever_it_is(again: Any) -> None:
    text = (
        '{"total": 12345678901234567890.123456789, "items": {"a": {"price": 1.10, "weight": 1.10}}, "tip": 1.5, '
        '"rest": [1.10]}'
    )
    values = read_arguments(read_signature(pay), again(text))
    assert str(values["total"]) == "12345678901234567890.123456789"
    assert (str(values["items"]["a"].price), values["items"]["a"].weight) == ("1.10", 1.1)
    assert (values["tip"], values["rest"]) == (decimal.Decimal("1.5"), [1.1])
    assert [type(each) for each in (values["items"]["a"].weight, *values["rest"])] == [float, float]


@given(st.decimals(-(10**300), 10**300, allow_nan=False))
def test_any_number_arrives_in_a_decimal_as_it_was_written(number: decimal.Decimal) -> None:
    values = read_arguments(read_signature(pay), f'{{"total": {number}, "items": {{"a": {{"price": {number}}}}}}}')
    assert str(values["total"]) == str(values["items"]["a"].price) == str(number)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "- total: missing"),
        ('{"total": 1e999}', "the arguments are not valid JSON"),
        ('{"total": 1.5, "items": {"\ud800": {"price": []}}}', "items.\ufffd.price: expected an integer, "),
        ("[1.5]", "must be one JSON object"),
    ],
)
def test_what_does_not_fit_beside_decimals_is_said_as_ever(text: str, complaint: str) -> None:
    with pytest.raises(ToolError, match=complaint):
        read_arguments(read_signature(pay), text)


def test_many_faults_and_long_values_stay_short() -> None:
    told = complaint({"stops": [{"city": ["x" * 10_000]}] * 40, "y" * 10_000: 1})
    assert len(told) == 6
    assert told[-1] == "- and 36 more"
    assert max(map(len, told)) < 200
    assert "pydantic" not in "".join(told)


@given(st.dictionaries(st.sampled_from(["stops", "budget", "pet", "mode", "x"]), JSON))
def test_arguments_fit_or_are_a_tool_error(arguments: dict[str, Any]) -> None:
    try:
        validate_arguments(SIGNATURE, arguments)
    except ToolError:
        return


# Readings that could be wrong.


@pytest.mark.parametrize(
    ("hint", "value", "expected"),
    [
        (dt.datetime, 2025, 'a date and time such as "2026-05-01T12:30:00"'),
        (dt.datetime, "2025", 'a date and time such as "2026-05-01T12:30:00"'),
        (dt.datetime, "2025.0", 'a date and time such as "2026-05-01T12:30:00"'),
        (dt.datetime, 1764288000.5, 'a date and time such as "2026-05-01T12:30:00"'),
        (dt.datetime, "20251128", 'a date and time such as "2026-05-01T12:30:00"'),
        (dt.date, "20251128", 'a date such as "2026-05-01"'),
        (dt.date, 0, 'a date such as "2026-05-01"'),
        (dt.date | None, "-86400", 'a date such as "2026-05-01"'),
        (dt.time, 1230, 'a time such as "12:30:00"'),
        (dt.time, "1230", 'a time such as "12:30:00"'),
        (dt.timedelta, 90, 'a duration such as "PT90S" or "00:01:30"'),
        (dt.date | dt.time, 1230, 'a date such as "2026-05-01" or a time such as "12:30:00"'),
        (int, True, "a whole number, not a boolean"),
        (float, False, "a number, not a boolean"),
        (int | None, True, "a whole number, not a boolean"),
        (Literal[1, 2], True, "a whole number, not a boolean"),
        (int, "1_0", "a number"),
        (bool, "t", "true or false"),
        (bool, "y", "true or false"),
    ],
    ids=str,
)
def test_a_reading_that_could_be_wrong_is_refused_with_the_form_that_is_expected(
    hint: Any, value: Any, expected: str
) -> None:
    def function(x: Any) -> None: ...

    def inside(x: Any) -> None: ...

    function.__annotations__["x"] = hint
    holder = pydantic.create_model("Holder", y=(list[hint], ...))
    inside.__annotations__["x"] = holder | str
    with pytest.raises(ModelRetry) as caught:
        validate_arguments(read_signature(function), {"x": value})
    line = f"expected {expected}; got {json.dumps(value)}"
    assert str(caught.value) == f"invalid arguments, nothing was done:\n- x: {line}"
    with pytest.raises(ModelRetry, match=re.escape(f"x.y[1]: {line}")):
        validate_arguments(read_signature(inside), {"x": {"y": [value, value]}})


@pytest.mark.parametrize(
    ("hint", "value", "arrives"),
    [
        (dt.datetime, "2025-11-28T10:00:00Z", dt.datetime(2025, 11, 28, 10, tzinfo=dt.UTC)),
        (dt.datetime, "2025-11-28 10:00", dt.datetime(2025, 11, 28, 10)),  # noqa: DTZ001 - as it was written
        (dt.date, "2025-11-28", dt.date(2025, 11, 28)),
        (dt.time, "12:30", dt.time(12, 30)),
        (dt.timedelta, "PT90S", dt.timedelta(seconds=90)),
        (dt.date | int, 2025, 2025),
        (dt.date | str, "2025", "2025"),
        (bool, "true", True),
        (bool, "No", False),
        (bool, 1, True),
        (int | bool, True, True),
        (int, "5", 5),
        (int, 5.0, 5),
        (float, 1, 1.0),
        (Any, True, True),
        (Literal["1", True], True, True),
    ],
    ids=str,
)
def test_a_reading_that_cannot_be_wrong_is_made(hint: Any, value: Any, arrives: Any) -> None:
    def function(x: Any) -> None: ...

    function.__annotations__["x"] = hint
    (read,) = validate_arguments(read_signature(function), {"x": value}).values()
    assert (read, type(read)) == (arrives, type(arrives))


def test_the_tag_of_a_union_says_which_types_its_members_have() -> None:
    class Switch(BaseModel):
        kind: Literal["switch"]
        value: bool

    class Dial(BaseModel):
        kind: Literal["dial"]
        value: int
        since: dt.date | None = None

    def turn(what: Switch | Dial) -> None: ...

    signature = read_signature(turn)
    assert validate_arguments(signature, {"what": {"kind": "switch", "value": True}})["what"].value is True
    with pytest.raises(ModelRetry) as caught:
        validate_arguments(signature, {"what": {"kind": "dial", "value": True, "since": 5, "more": 1}})
    assert "- what.value: expected a whole number, not a boolean; got true" in str(caught.value)
    assert '- what.since: expected a date such as "2026-05-01"; got 5' in str(caught.value)


def test_the_names_of_a_dict_are_read_as_carefully_as_its_values() -> None:
    def plan(days: dict[dt.date, int]) -> None: ...

    assert validate_arguments(read_signature(plan), {"days": {"2026-05-01": 1}}) == {"days": {dt.date(2026, 5, 1): 1}}
    with pytest.raises(ModelRetry, match=r'days\.20251128: expected a date such as "2026-05-01" as its name'):
        validate_arguments(read_signature(plan), {"days": {"20251128": 1}})


def test_a_named_tuple_may_come_as_an_array_whose_items_are_repaired_and_read_like_its_members() -> None:
    class Visit(NamedTuple):
        order_id: str
        price: decimal.Decimal
        day: dt.date | None = None

    def plan(visit: Visit) -> None: ...

    signature = read_signature(plan)
    fitted, notes = fit_arguments(parse_arguments('{"visit": [7, 1.10]}'), signature.shape)
    visit = validate_arguments(signature, fitted)["visit"]
    assert (visit.order_id, str(visit.price), notes) == ("7", "1.10", ["visit[0] written as a number"])
    with pytest.raises(ModelRetry, match=r"visit\[2\]: expected a date"):
        validate_arguments(signature, {"visit": ["7", 1, 2025]})
