"""The harness itself works, and what it has found stays mended."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.answers import ANSWERS
from tests.fuzz.harness import TARGETS, one_input, reader, seeds


@given(st.binary(max_size=60))
def test_any_bytes(data: bytes) -> None:
    one_input(data)


def test_every_answer_of_the_suite_is_the_same_however_it_is_cut() -> None:
    for body in ANSWERS:
        reader(body[:3000])


def test_every_target_has_seeds_that_pass() -> None:
    found = {seed for body in ANSWERS for seed in seeds(body) if len(seed) < 2000}
    assert {seed[0] for seed in found} == set(range(len(TARGETS)))
    for seed in found:
        one_input(seed)


def pieces_of_arguments(*pieces: str) -> bytes:
    functions = [{"name": "add", "arguments": piece} for piece in pieces]
    calls = [{"index": 0, "id": "a1", "function": function} for function in functions]
    return json.dumps([{"choices": [{"delta": {"tool_calls": [call]}}]} for call in calls]).encode()


FOUND = {
    "merge": [b"[{}]", pieces_of_arguments("{", "{\ud800")],
    "mend": [b"\x1d{}", "\u3000{}\u00a0".encode()],
    "sse": [b"x" * 1001 + b"\n"],
}


@pytest.mark.parametrize(("target", "data"), [(name, data) for name, found in FOUND.items() for data in found])
def test_found(target: str, data: bytes) -> None:
    {each.__name__: each for each in TARGETS}[target](data)
