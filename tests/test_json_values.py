"""JSON values: digits survive, what is not JSON is refused."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.chat.json_values import WrittenNumber, parse_json, write_json

VALUES: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@pytest.mark.parametrize("digits", ["1.50", "0.1000000000000000055511151231257827", "1e2", "1E+2", "-0.0"])
def test_a_number_with_a_fraction_or_an_exponent_keeps_its_digits(digits: str) -> None:
    value = parse_json(f'{{"n": [{digits}]}}')
    assert value == {"n": [float(digits)]}
    assert value["n"][0].text == digits
    assert write_json(value) == f'{{"n":[{digits}]}}'


def test_a_whole_number_keeps_its_digits_as_an_int() -> None:
    assert parse_json("[100000000000000000000000001]") == [100000000000000000000000001]


def test_a_written_number_survives_copies() -> None:
    number = WrittenNumber("1.50")
    for twin in (copy.copy(number), copy.deepcopy(number)):
        assert (twin, twin.text) == (1.5, "1.50")


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", '{"a":}', "NaN", "[Infinity]", '{"a": 1e999}', '{"a": -1e999}'),
        *("[" * 300 + "]" * 300, "[1.5," * 201 + "1" + "]" * 201, "[" * 100_000, '{"a":1.5,"b":' * 100_000),
    ],
)
def test_what_is_not_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        parse_json(text)
    assert len(str(caught.value)) < 200


def test_line_ends_in_strings_and_lone_surrogates_are_read() -> None:
    assert parse_json('{"a": "x\ny", "b": "\\ud800!"}') == {"a": "x\ny", "b": "\ufffd!"}
    assert parse_json('{"\\ud800": 1.0, "b": "\\ud83d\\ude00"}') == {"\ufffd": 1.0, "b": "😀"}


@given(VALUES)
def test_whatever_is_written_reads_the_same(value: Any) -> None:
    text = json.dumps(value)
    assert parse_json(text) == json.loads(text.replace("\\u0000", "\\u0000"))
    assert json.loads(write_json(parse_json(text))) == json.loads(text.replace("\\u0000", "\\ufffd"))
