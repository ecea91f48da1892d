"""Every case of the catalogue, streamed and not, on asyncio and on trio, through a real socket.

All of it over the own connection pool and over a caller's httpx client. A caller's httpx2 client is the library of the
own pool, so there each case runs once: streamed on asyncio, whole on trio.
"""

from itertools import product
from typing import TypeAlias

import httpx
import httpx2
import pytest

from tests.conformance.case import Case
from tests.conformance.cases import CASES
from tests.conformance.play import check, play

MODES = {True: "stream", False: "whole"}
BACKENDS = ("asyncio", "trio")


Row: TypeAlias = tuple[Case, bool, str]  # streamed, backend

ROWS: list[Row] = [
    (case, streamed, backend)
    for case, streamed, backend in product(CASES, MODES, BACKENDS)
    if case.script(streamed=streamed) is not None
]


def over(rows: list[Row]) -> pytest.MarkDecorator:
    params = [pytest.param(*row, id=f"{row[0].id}-{MODES[row[1]]}-{row[2]}") for row in rows]
    return pytest.mark.parametrize(("case", "streamed", "anyio_backend"), params)


@pytest.mark.anyio
@over(ROWS)
async def test_case(case: Case, streamed: bool, anyio_backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-for-somebody-else")
    outcome = await play(case, streamed=streamed)
    check(case, outcome, streamed=streamed)
    assert all("authorization" not in headers for headers, _ in outcome.requests) or "api_key" in case.client


@pytest.mark.anyio
@over(ROWS)
async def test_case_over_a_client_from_httpx(case: Case, streamed: bool, anyio_backend: str) -> None:
    async with httpx.AsyncClient(trust_env=False, verify=False) as http:
        check(case, await play(case, streamed=streamed, http=http), streamed=streamed)


@pytest.mark.anyio
@over([row for row in ROWS if row[1:] in ((True, "asyncio"), (False, "trio"))])
async def test_case_over_a_client_from_httpx2(case: Case, streamed: bool, anyio_backend: str) -> None:
    async with httpx2.AsyncClient(trust_env=False, verify=False) as http:
        check(case, await play(case, streamed=streamed, http=http), streamed=streamed)


def test_every_number_has_a_case_in_both_modes_on_both_backends() -> None:
    assert {(case.q, *rest) for case, *rest in ROWS} == set(product(range(1, 51), MODES, BACKENDS))


def test_no_two_cases_share_a_name() -> None:
    ids = [case.id for case in CASES]
    assert len(set(ids)) == len(ids)
