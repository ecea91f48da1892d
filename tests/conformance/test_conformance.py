"""Every case of the catalogue, streamed and not, on asyncio and on trio, through a real socket."""

import httpx
import pytest

from tests.conformance.case import Case
from tests.conformance.cases import CASES
from tests.conformance.play import check, play

MODES = {"stream": True, "whole": False}
BACKENDS = ("asyncio", "trio")


def rows() -> list[object]:
    return [
        pytest.param(case, MODES[mode], backend, id=f"{case.id}-{mode}-{backend}")
        for case in CASES
        for mode in MODES
        for backend in BACKENDS
        if case.script(streamed=MODES[mode]) is not None
    ]


@pytest.mark.anyio
@pytest.mark.parametrize(("case", "streamed", "anyio_backend"), rows())
async def test_case(case: Case, streamed: bool, anyio_backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-for-somebody-else")
    outcome = await play(case, streamed=streamed)
    check(case, outcome, streamed=streamed)
    assert all("authorization" not in headers for headers, _ in outcome.requests) or "api_key" in case.client


@pytest.mark.anyio
@pytest.mark.parametrize(("case", "streamed", "anyio_backend"), rows())
async def test_case_over_httpx(case: Case, streamed: bool, anyio_backend: str) -> None:
    async with httpx.AsyncClient(trust_env=False, verify=False) as http:
        check(case, await play(case, streamed=streamed, http=http), streamed=streamed)


def test_every_number_has_a_case_in_each_mode_in_which_it_exists() -> None:
    modes = {(case.q, mode) for case in CASES for mode, streamed in MODES.items() if case.script(streamed=streamed)}
    assert {q for q, _ in modes} == set(range(1, 51))
    assert {(q, mode) for q in range(1, 51) for mode in MODES} - modes == set()


def test_no_two_cases_share_a_name() -> None:
    ids = [case.id for case in CASES]
    assert len(set(ids)) == len(ids)
