"""The harness itself works, and what it has found stays mended."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conformance.cases import CASES
from tests.fuzz.harness import one_input, reader

ANSWERS = [answer for case in CASES for script in (case.stream, case.whole) for answer in script or ()]


@given(st.binary(max_size=60))
def test_any_bytes(data: bytes) -> None:
    one_input(data)


def test_every_answer_of_the_suite_is_the_same_however_it_is_cut() -> None:
    for answer in ANSWERS:
        body = answer.partition(b"\r\n\r\n")[2] if isinstance(answer, bytes) else b""
        reader(body[:3000])


@pytest.mark.parametrize("data", list[bytes]([b"\x01[{}]"]))
def test_found(data: bytes) -> None:
    one_input(data)
