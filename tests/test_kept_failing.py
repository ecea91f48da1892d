"""Runs in sessions when the process ends, the session fails, or a task is cancelled: nothing is lost or done twice."""

import asyncio  # noqa: TID251 - what users of it do is played
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio.lowlevel
import pytest

from agentkit import Event, RunState
from agentkit.chat.events import ReplyRepaired
from agentkit.chat.messages import ToolMessage
from agentkit.errors import SessionError
from agentkit.run.events import RunStarted
from agentkit.run.transcript import check
from agentkit.sessions import MemorySessions, Sessions, SQLiteSessions
from agentkit.testing import Answer, call
from agentkit.tools.context import ToolContext
from tests.crash.points import Failing, Watched
from tests.kept import World, crashed, roles, stored

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["memory", "sqlite"])
def sessions(request: pytest.FixtureRequest, tmp_path: Path) -> Sessions:
    return MemorySessions() if request.param == "memory" else SQLiteSessions(tmp_path / "chat.db", index=False)


# Processes that end.


async def test_a_call_that_was_finished_is_not_repeated_and_one_in_flight_runs_with_the_same_key(
    sessions: Sessions,
) -> None:
    world = World()
    calls = [call("draw", id="a"), call("hang", id="b"), call("send", id="x", to="a")]
    agent = world.agent(calls, "never")
    await crashed(agent, sessions, "recorded r:call:a", prompt="go", run_id="r")
    assert world.done == {"r:call:a": 1, "r:call:b": 1}
    world.let_go = True
    assert (await stored(sessions)).status == "running"
    paused = await world.agent("never").run(resume=True, session=sessions["s"])
    assert [each.id for each in paused.pending] == ["x"], "what had not been asked is asked now"
    assert world.done == {"r:call:a": 1, "r:call:b": 2}
    paused.state.deny("x")
    result = await world.agent("done").run(resume=paused.state, session=sessions["s"])
    assert roles(result.messages) == ["user", "assistant", "tool", "tool", "tool", "user", "assistant"]
    assert result.state.calls == 3
    assert len(result.state.artifacts["a"]) == 100_000


async def test_a_new_question_after_a_crash_knows_what_was_finished(sessions: Sessions) -> None:
    world = World()
    calls = [call("hang", id="a"), call("draw", id="b"), call("hang", id="c")]
    await crashed(world.agent(calls, "never"), sessions, "recorded r:call:b", prompt="go", run_id="r")
    told: list[Event] = []
    result = await world.agent("well").run("what now?", session=sessions["s"], on_event=told.append)
    assert [each.what for each in told if isinstance(each, ReplyRepaired)] == [
        "the call 'a' of hang had no result and was given one that says so",
        "the call 'c' of hang had no result and was given one that says so",
    ]
    assert roles(result.messages) == ["user", "assistant", *["tool"] * 3, "user", "user", "assistant"]
    said = [each.text for each in result.messages[2:6]]
    assert "interrupted" in said[0]
    assert "interrupted" in said[2]
    assert (len(said[1]) < 70_000, said[1][:5], "[truncated: " in said[1]) == (True, "much ", True)
    assert said[3].startswith("Attached to the result of draw")
    assert len(result.state.artifacts["b"]) == 100_000
    assert world.done["r:call:b"] == 1


async def test_a_question_whose_process_ended_before_any_reply_is_sent_only_if_its_run_is_resumed(
    sessions: Sessions,
) -> None:
    await World().agent("Hello.").run("Hi.", session=sessions["s"])
    await crashed(World().agent("never"), sessions, "after save", prompt="Lost?", run_id="r")
    world = World()
    await world.agent("Here.").run("And now?", session=sessions["s"])
    assert [each.text for each in world.model.requests[0].messages] == ["Hi.", "Hello.", "And now?"]
    assert [each.text for each in await sessions["s"].messages()] == ["Hi.", "Hello.", "Lost?", "And now?", "Here."]


@pytest.mark.parametrize("ending", ["crash", "cancel", "question"])
async def test_a_result_outlives_a_second_accident(sessions: Sessions, ending: str) -> None:
    world = World()
    calls = [call("do", id="a", what="it"), call("hang", id="b")]
    await crashed(world.agent(calls), sessions, "recorded r:call:a", prompt="go", run_id="r")
    if ending == "crash":
        await crashed(world.agent(), sessions, "after load")
        world.let_go = True
        await crashed(world.agent("never"), sessions, "before record")
    if ending == "cancel":

        async def look(context: ToolContext[Any], arguments: dict[str, Any]) -> bool:
            events.cancel()
            await anyio.lowlevel.checkpoint()
            return False

        async with world.agent("never", requires_approval=look).stream(resume=True, session=sessions["s"]) as events:
            assert (await events.result()).status == "cancelled"
    world.let_go = True
    result = await world.agent("done").run(
        *["and now?"] * (ending == "question"), resume=ending != "question", session=sessions["s"]
    )
    said = [each.text for each in result.messages if isinstance(each, ToolMessage)]
    assert (result.status, said[0]) == ("done", "it is done")
    assert (said[1] == "null") == (ending == "crash")
    assert world.done["r:call:a"] == 1


# Sessions that fail.


@pytest.mark.parametrize("kind", ["claim", "load", "save", "record"])
@pytest.mark.parametrize("number", [1, 2, 3])
async def test_a_session_that_fails_once_ends_the_run_with_its_error_and_nothing_is_done_twice(
    sessions: Sessions, kind: str, number: int
) -> None:
    world = World()
    calls = [call("do", id="a", what="a"), call("draw", id="b")]
    script: list[Answer] = [calls, call("do", id="c", what="c"), "done"]
    watched = Watched(sessions["s"], Failing(kind, number))
    if kind in ("claim", "load") and number > 1:
        await world.agent("there").run("before", session=watched)
        if number == 3:
            await world.agent("there").run("and before", session=watched)
    before = await sessions["s"].load()
    with pytest.raises(SessionError, match="the disk is full") as caught:
        await world.agent(*script).run("go", session=watched)
    if kind in ("claim", "load") or (kind, number) == ("save", 1):
        assert await sessions["s"].load() == before
        return
    state = caught.value.state
    assert isinstance(state, RunState)
    assert check(state.messages) == []
    assert (await stored(sessions)).messages == state.messages, "when it can be stored after all, it is"
    result = await world.agent(*script[state.turns :]).run(resume=state, session=sessions["s"])
    assert (result.status, check(result.messages), result.output) == ("done", [], "done")
    assert set(world.done.values()) == {1}


@pytest.mark.parametrize("kind", ["save", "record"])
@pytest.mark.parametrize("number", [1, 2, 3])
async def test_a_session_that_goes_on_failing_keeps_what_it_had_and_the_error_has_the_rest(
    sessions: Sessions, kind: str, number: int
) -> None:
    world = World()
    script: list[Answer] = [[call("do", id="a", what="a"), call("draw", id="b")], call("do", id="c", what="c"), "done"]
    failing = Failing("record", number) if kind == "record" else Failing("nothing")
    saves = Failing("save", *range(number + (kind == "record"), 20))

    def passes(point: str) -> None:
        failing(point)
        saves(point)

    watched = Watched(sessions["s"], passes)
    with pytest.raises(SessionError, match="the disk is full") as caught:
        await world.agent(*script).run("go", session=watched)
    state = caught.value.state
    assert isinstance(state, RunState)
    assert state.revision == (await sessions["s"].load()).revision == len(watched.changes)
    done = world.done.copy()
    if state.revision:
        result = await world.agent(*script[state.turns :]).run(
            resume=RunState.load(state.to_json()), session=sessions["s"]
        )
        assert (result.status, check(result.messages)) == ("done", [])
        assert tuple(await sessions["s"].messages()) == result.messages
        assert world.done.keys() >= done.keys()
    assert set(world.done.values()) <= {1}


@pytest.mark.parametrize("times", [1, 2])
async def test_a_question_that_could_not_be_stored_can_be_asked_again(sessions: Sessions, times: int) -> None:
    await World().agent("Hello.").run("Hi.", session=sessions["s"])
    before = await sessions["s"].load()
    for _ in range(times):
        with pytest.raises(SessionError, match="the disk is full"):
            await World().agent("never").run("Who am I?", session=Watched(sessions["s"], Failing("save", 1)))
        assert await sessions["s"].load() == before
    result = await World().agent("You are Ada.").run("Who am I?", session=sessions["s"])
    assert [each.text for each in result.messages] == ["Hi.", "Hello.", "Who am I?", "You are Ada."]


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("how", ["the state", "the state of the error", "the stream"])
async def test_an_approval_that_could_not_be_stored_is_not_lost(sessions: Sessions, times: int, how: str) -> None:
    world = World()
    calls = [call("do", id="d", what="it"), call("send", id="x", to="a")]
    state = (await world.agent(calls).run("go", session=sessions["s"])).state
    before = await sessions["s"].load()
    state.approve("x")
    for _ in range(times):
        failing = Watched(sessions["s"], Failing("save", 1))
        with pytest.raises(SessionError, match="the disk is full") as caught:
            if how == "the stream":
                async with world.agent("never").stream(resume=state, session=failing) as events:
                    await events.result()
            else:
                await world.agent("never").run(resume=state, session=failing)
        assert await sessions["s"].load() == before
        assert world.done.total() == 1
        if how != "the state":
            given = caught.value.state if how == "the state of the error" else events.state
            assert isinstance(given, RunState)
            assert (given.status, given.pending, given.messages) == ("paused", (), state.messages)
            state = given
    result = await world.agent("done").run(resume=state, session=sessions["s"])
    assert [each.text for each in result.messages[2:]] == ["it is done", "sent to a", "done"]
    assert set(world.done.values()) == {1}


async def test_a_call_that_ran_before_the_first_write_is_not_forgotten(sessions: Sessions) -> None:
    world = World()
    calls = [call("do", id="a", what="a"), call("hang", id="b"), call("do", id="c", what="c")]
    await crashed(world.agent(calls), sessions, "recorded r:call:c", prompt="go", run_id="r")
    world.let_go = True
    with pytest.raises(SessionError, match="the disk is full"):
        await world.agent("never").run(resume=True, session=Watched(sessions["s"], Failing("record", 1)))
    result = await world.agent("done").run(resume=True, session=sessions["s"])
    assert result.status == "done"
    assert [world.done[f"r:call:{each}"] for each in "abc"] == [1, 2, 1], "the one in flight runs again, once"


async def test_a_session_that_breaks_in_its_own_way_loses_no_result(sessions: Sessions) -> None:
    def passes(point: str) -> None:
        if point == "before record":
            raise OSError("gone")

    world = World()
    with pytest.raises(OSError, match="gone"):
        await world.agent([call("do", id="a", what="it")]).run("go", session=Watched(sessions["s"], passes))
    result = await world.agent("done").run(resume=True, session=sessions["s"])
    assert (result.status, result.messages[2].text) == ("done", "it is done")
    assert world.done.total() == 1


async def test_a_database_that_gets_locked_loses_nothing_that_the_error_does_not_have(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    session = SQLiteSessions(path, timeout=0.05)["s"]
    with closing(sqlite3.connect(path, isolation_level=None)) as other:

        def passes(point: str) -> None:
            if point == "before record":
                other.execute("BEGIN IMMEDIATE")

        world = World()
        with pytest.raises(SessionError, match="another program has locked it") as caught:
            await world.agent([call("do", id="a", what="it")]).run("go", session=Watched(session, passes))
        assert (await session.load()).results == {}
        other.execute("ROLLBACK")
    state = caught.value.state
    assert isinstance(state, RunState)
    result = await world.agent("done").run(resume=state, session=session)
    assert (result.status, result.messages[2].text, world.done.total()) == ("done", "it is done", 1)


# Tasks of asyncio that are cancelled in its own way, as web servers and `asyncio.timeout` do it.


def soon(rounds: int, what: Callable[[], object]) -> None:
    """Do it after so many rounds of the event loop."""
    if not rounds:
        what()
        return
    asyncio.get_running_loop().call_soon(soon, rounds - 1, what)


async def cancel_at(sessions: Sessions, point: int, rounds: int) -> bool:
    world, passed = World(), 0

    def passes(name: str) -> None:
        nonlocal passed
        passed += 1
        if passed == point:
            soon(rounds, task.cancel)

    script: list[Answer] = [[call("do", id="a", what="a"), call("draw", id="b")], "done"]
    session = sessions[f"{point}"]
    live: list[RunState] = []

    def look(event: Event) -> None:
        if isinstance(event, RunStarted):
            live.append(event.state)

    running = world.agent(*script).run("go", session=Watched(session, passes), on_event=look)
    task = asyncio.create_task(running)
    try:
        await task
    except asyncio.CancelledError:
        pass
    else:
        return False
    saved = await session.load()
    if not live or not live[0].revision:
        return True
    state = live[0]
    assert (saved.revision, check(state.messages)) == (state.revision, [])
    assert state.status == "cancelled" or (state.status, state.text) == ("done", "done")
    told = [each.text for each in state.messages if isinstance(each, ToolMessage)]
    assert sum("interrupted" not in each for each in told) == len(world.done), "what was recorded is told"
    result = await world.agent(*script[state.turns :]).run(resume=state, session=session)
    assert (result.status, check(result.messages)) == ("done", [])
    assert tuple(await session.messages()) == result.messages
    assert set(world.done.values()) <= {1}
    return True


@pytest.mark.parametrize("rounds", [0, 2, 4])
@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_a_task_that_asyncio_cancels_stores_its_end_wherever_it_is(kind: str, rounds: int, tmp_path: Path) -> None:
    async def main() -> None:
        sessions = MemorySessions() if kind == "memory" else SQLiteSessions(tmp_path / "chat.db", index=False)
        point = 1
        while await cancel_at(sessions, point, rounds):
            point += 1
        assert point > 8

    asyncio.run(main())
