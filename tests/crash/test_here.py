"""Points at which a run can die, in this process: what the session holds then is all that is left of it."""

import pytest

from agentkit.run.transcript import check
from agentkit.sessions import MemorySessions
from tests.crash.points import EVERY, Dying
from tests.crash.world import World, check_ledger, plain, transcripts
from tests.kept import died

pytestmark = pytest.mark.anyio


async def lives(story: str, sessions: MemorySessions, ledger: list[str], *deaths: int) -> list[bool]:
    """Drive a conversation through these deaths to its end; which of them have come."""
    came: list[bool] = []
    for at in [*deaths, 0]:
        dying = Dying(at)

        def note(line: str, dying: Dying = dying) -> None:
            if not dying.dead:
                ledger.append(line)

        try:
            await World(sessions, dying, note, story).drive()
        except BaseException as error:
            if not died(error):
                raise
        came.append(dying.dead)
    return came[:-1]


async def spent_in(sessions: MemorySessions) -> int:
    """The calls that count for the last run of the conversation."""
    state = await sessions["alice"].state()
    return state.calls if state else 0


@pytest.mark.parametrize(
    ("story", "step", "then"),
    [("calls", EVERY, ()), ("calls", 11, (3,)), ("calls", 11, (15, 9)), ("agents", EVERY, ()), ("agents", 17, (15, 9))],
)
async def test_a_conversation_survives_its_end_at_any_point(
    story: str, step: int, then: tuple[int, ...], anyio_backend_name: str
) -> None:
    undisturbed: list[str] = []
    sessions = MemorySessions()
    assert await lives(story, sessions, undisturbed) == []
    check_ledger(undisturbed, undisturbed, accidents=0)
    spent = await spent_in(sessions)
    expected = {name: plain(each) for name, each in (await transcripts(sessions)).items()}
    assert all(check(each) == [] for each in (await transcripts(sessions)).values())
    at = 1 if anyio_backend_name == "asyncio" else 4
    while True:
        sessions, ledger = MemorySessions(), list[str]()
        came = await lives(story, sessions, ledger, at, *then)
        if not came[0]:
            break
        check_ledger(ledger, undisturbed, accidents=sum(came))
        assert {name: plain(each) for name, each in (await transcripts(sessions)).items()} == expected
        assert await spent_in(sessions) >= spent, "what was used before counts too"
        at += step if anyio_backend_name == "asyncio" else max(6, step)
    assert at > 120, "that many points there are at least"
