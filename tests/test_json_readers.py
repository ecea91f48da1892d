import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.chat.json_values import (
    as_count,
    as_index,
    as_mapping,
    as_mappings,
    as_number,
    as_text,
    join_surrogates,
    json_safe,
    json_value,
    omit,
    read_object,
    text_of_content,
)

SURROGATES = st.text(st.characters() | st.characters(categories=["Cs"]), max_size=6)
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | SURROGATES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SURROGATES, inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("read", "raw", "value"),
    [
        (as_text, "a", "a"),
        (as_text, None, ""),
        (as_text, ["a"], ""),
        (as_number, 2, 2.0),
        (as_number, True, None),
        (as_number, float("nan"), None),
        (as_number, "2", None),
        (as_count, 2.9, 2),
        (as_count, -2, 0),
        (as_count, float("inf"), 0),
        (as_count, None, 0),
        (as_index, 1, 1),
        (as_index, "1", 1),
        (as_index, True, None),
        (as_index, "one", None),
        (as_index, 10**400, None),
        (as_mapping, {"a": 1}, {"a": 1}),
        (as_mapping, [1], {}),
        (as_mappings, [{"a": 1}, 2, None], [{"a": 1}]),
        (as_mappings, {"a": 1}, []),
        (text_of_content, [{"type": "text", "text": "a"}, {"text": "b"}, {"type": "image_url"}], "ab"),
        (text_of_content, {"text": "a"}, "a"),
        (json_value, "[1]", [1]),
        (json_value, "NaN", None),
        (read_object, '{"a": 1}', {"a": 1}),
        (read_object, "[1]", None),
        (read_object, '{"a": "\\ud83d"}', None),
        (join_surrogates, "a\ud83d\ude00b", "a\U0001f600b"),
        (join_surrogates, "a\ud83db", "a\ufffdb"),
        (join_surrogates, "\ufeffa\xe4", "\ufeffa\xe4"),
        (json_safe, {"a": [float("inf"), 1]}, {"a": [None, 1]}),
    ],
)
def test_what_is_there_is_read_and_what_is_not_is_empty(
    read: Callable[[Any], object], raw: object, value: object
) -> None:
    assert read(raw) == value


def test_members_are_omitted_by_name() -> None:
    assert omit({"a": 1, "b": None, "c": 3}, "a", "x") == {"b": None, "c": 3}


@given(JUNK)
def test_no_value_makes_a_reader_fail(raw: object) -> None:
    for read in (as_text, as_number, as_count, as_index, as_mapping, as_mappings, text_of_content):
        read(raw)
    json.dumps(json_safe(raw), allow_nan=False)


@given(SURROGATES)
def test_a_string_without_lone_surrogates_can_be_encoded_and_is_otherwise_the_same(text: str) -> None:
    joined = join_surrogates(text)
    assert joined.encode().decode() == joined
    assert join_surrogates(joined) == joined
    json_value(text)
