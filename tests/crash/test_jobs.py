"""Points at which a job can die, in this process: what its sessions hold then is all that is left of it."""

import pytest

from agentkit.run.transcript import check
from agentkit.sessions import MemorySessions
from tests.crash.jobs import JobWorld
from tests.crash.points import EVERY, Dying
from tests.crash.world import check_ledger
from tests.kept import died

pytestmark = pytest.mark.anyio


async def lives(sessions: MemorySessions, ledger: list[str], *deaths: int) -> list[bool]:
    """Drive a job through these deaths to its end; which of them have come."""
    came: list[bool] = []
    for at in [*deaths, 0]:
        dying = Dying(at)

        def note(line: str, dying: Dying = dying) -> None:
            if not dying.dead:
                ledger.append(line)

        try:
            await JobWorld(sessions, dying, note).drive()
        except BaseException as error:
            if not died(error):
                raise
        came.append(dying.dead)
    return came[:-1]


@pytest.mark.parametrize(("step", "then"), [(EVERY, ()), (7 * EVERY, (3,)), (9 * EVERY, (15, 9))])
async def test_a_job_survives_its_end_at_any_point(step: int, then: tuple[int, ...], anyio_backend_name: str) -> None:
    undisturbed: list[str] = []
    assert await lives(MemorySessions(), undisturbed) == []
    at = 1 if anyio_backend_name == "asyncio" else 4
    while True:
        sessions, ledger = MemorySessions(), list[str]()
        came = await lives(sessions, ledger, at, *then)
        if not came[0]:
            break
        check_ledger(ledger, undisturbed, accidents=sum(came))
        clerk = await sessions["work/today/1 clerk"].messages()
        assert check(clerk) == []
        assert [each.role for each in clerk].count("assistant") == 3
        at += step if anyio_backend_name == "asyncio" else 3 * step
    assert at > 100, "that many points there are at least"
