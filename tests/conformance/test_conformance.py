"""Every case of the catalogue, streamed and not.

The cases about the transport (Q1 to Q8) and the first of every other number go over sockets, on asyncio and on trio:
through our own connection pool, through a caller's httpx client and through a caller's httpx2 client. All others are
about what a server says, not about how it arrives: they are played in memory, below a client of httpx2, and the event
loops take turns (`make explore` plays all on both).
"""

from itertools import product
from typing import TypeAlias

import httpx
import httpx2
import pytest

from tests.conformance.case import Case
from tests.conformance.cases import CASES
from tests.conformance.play import check, play, play_over_a_socket
from tests.conformance.transport import TRANSPORT
from tests.explore import EXPLORE

MODES = {True: "stream", False: "whole"}
BACKENDS = ("asyncio", "trio")

Row: TypeAlias = tuple[Case, bool, str]  # case, streamed, backend


IDS_OF_TRANSPORT = {case.id for case in TRANSPORT}


def rows_of(cases: list[Case]) -> list[Row]:
    every = product(cases, MODES, BACKENDS)
    return [(case, streamed, on) for case, streamed, on in every if case.script(streamed=streamed) is not None]


def is_of_transport(case: Case) -> bool:
    """Whether it is about connections, bytes or deadlines."""
    answers = [*(case.stream or ()), *(case.whole or ())]
    return case.id in IDS_OF_TRANSPORT or not all(
        answer[:4] == b"HTTP" for answer in answers if isinstance(answer, bytes)
    )


def is_its_turn(row: Row) -> bool:
    """One case is streamed on asyncio and whole on trio, the next the other way round."""
    case, streamed, backend = row
    return (PLACES[case.id] % 2 == 0) == (streamed == (backend == "asyncio"))


PLACES = {case.id: place for place, case in enumerate(CASES)}
ROWS = rows_of(CASES)
FIRST = {(case.q, *rest): (case, *rest) for case, *rest in reversed(ROWS)}
IN_MEMORY = [row for row in ROWS if not is_of_transport(row[0]) and (EXPLORE or is_its_turn(row))]
OVER_SOCKETS = [row for row in ROWS if is_of_transport(row[0]) or row in FIRST.values()]


def played(rows: list[Row]) -> pytest.MarkDecorator:
    params = [pytest.param(*row, id=f"{row[0].id}-{MODES[row[1]]}-{row[2]}") for row in rows]
    return pytest.mark.parametrize(("case", "streamed", "anyio_backend"), params)


@pytest.mark.anyio
@played(IN_MEMORY)
async def test_case(case: Case, streamed: bool, anyio_backend: str) -> None:
    check(case, await play(case, streamed=streamed), streamed=streamed)


@pytest.mark.anyio
@played(OVER_SOCKETS)
async def test_case_over_a_socket(
    case: Case, streamed: bool, anyio_backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-for-somebody-else")
    outcome = await play_over_a_socket(case, streamed=streamed)
    check(case, outcome, streamed=streamed)
    assert all("authorization" not in headers for headers, _ in outcome.requests) or "api_key" in case.client


@pytest.mark.anyio
@played([row for row in OVER_SOCKETS if is_its_turn(row) or is_of_transport(row[0])])
async def test_case_over_a_client_from_httpx(case: Case, streamed: bool, anyio_backend: str) -> None:
    async with httpx.AsyncClient(trust_env=False, verify=False) as http:
        check(case, await play_over_a_socket(case, streamed=streamed, http=http), streamed=streamed)


@pytest.mark.anyio
@played([row for row in OVER_SOCKETS if is_its_turn(row)])  # it is the own pool's library
async def test_case_over_a_client_from_httpx2(case: Case, streamed: bool, anyio_backend: str) -> None:
    async with httpx2.AsyncClient(trust_env=False, verify=False) as http:
        check(case, await play_over_a_socket(case, streamed=streamed, http=http), streamed=streamed)


def test_every_number_has_a_case_in_both_modes_on_both_backends() -> None:
    every = set(product(range(1, 51), MODES, BACKENDS))
    assert {(case.q, *rest) for case, *rest in OVER_SOCKETS} == every


def test_every_case_is_played_in_each_of_its_modes() -> None:
    played = {(case.id, streamed) for case, streamed, _ in [*IN_MEMORY, *OVER_SOCKETS]}
    assert played == {(case.id, streamed) for case, streamed, _ in ROWS}
    assert {row[1:] for row in IN_MEMORY} == set(product(MODES, BACKENDS))


def test_no_two_cases_share_a_name() -> None:
    ids = [case.id for case in CASES]
    assert len(set(ids)) == len(ids)
