"""Runs that are kept in a session: conversations, decisions, and what becomes of failing and ended processes."""

from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from agentkit import Agent, ConfigError, Event, Limits, RunState
from agentkit.chat.events import ReplyRepaired
from agentkit.chat.messages import ToolMessage, UserMessage
from agentkit.errors import ModelError, SessionBusy, SessionConflict, StateError
from agentkit.run.events import CallStarted
from agentkit.run.transcript import check
from agentkit.sessions import MemorySessions, Sessions, SQLiteSessions
from agentkit.testing import Answer, ScriptedModel, call
from tests.crash.points import Watched
from tests.kept import World, roles, stored

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["memory", "sqlite"])
def sessions(request: pytest.FixtureRequest, tmp_path: Path) -> Sessions:
    return MemorySessions() if request.param == "memory" else SQLiteSessions(tmp_path / "chat.db", index=False)


# Conversations.


async def test_a_session_remembers_earlier_runs(sessions: Sessions) -> None:
    world = World()
    await world.agent([call("do", what="it")], "first").run("one", session=sessions["s"])
    result = await world.agent("second").run("two", session=sessions["s"])
    assert (result.status, result.output) == ("done", "second")
    assert roles(result.messages) == ["user", "assistant", "tool", "assistant", "user", "assistant"]
    assert result.messages == tuple(await sessions["s"].messages())
    assert [each.text for each in world.model.requests[0].messages] == ["one", "", "it is done", "first", "two"]


async def test_sessions_do_not_know_of_each_other(sessions: Sessions) -> None:
    for name in ("s", "t"):
        await Agent(ScriptedModel(["yes"])).run(f"I am {name}", session=sessions[name])
    assert [each.text for each in await sessions["t"].messages()] == ["I am t", "yes"]


async def test_a_step_stores_only_the_messages_that_are_new(sessions: Sessions) -> None:
    script: list[Answer] = [*([call("do", what=str(n))] for n in range(10)), "done"]
    for question in ("one", "two"):
        watched = Watched(sessions["s"], lambda point: None)
        await World().agent(*script).run(question, session=watched)
        written = sum(len(each.messages) for each in watched.changes)
        assert written == 1 + 2 * 10 + 1, "each message once"
    assert len(await sessions["s"].messages()) == 2 * (1 + 2 * 10 + 1)


async def test_long_results_and_rules_live_on_in_the_session(sessions: Sessions) -> None:
    first = await World().agent([call("draw", id="d"), call("send", id="x", to="a")]).run("go", session=sessions["s"])
    first.state.approve("x", always="tool")
    await World().agent("done").run(resume=first.state, session=sessions["s"])
    world = World()
    script: list[Answer] = [[call("send", to="b"), call("read_result", call_id="d", start=99_990)], "done"]
    result = await world.agent(*script).run("again", session=sessions["s"])
    said = [each.text for each in result.messages if isinstance(each, ToolMessage)]
    assert said[-2:] == ["sent to b", "much much \n[this is the end]"]


async def test_a_stream_keeps_its_run_too(sessions: Sessions) -> None:
    async with Agent(ScriptedModel(["hello"])).stream("hi", session=sessions["s"]) as events:
        assert "".join([text async for text in events.text()]) == "hello"
    assert [each.text for each in await sessions["s"].messages()] == ["hi", "hello"]
    assert (await stored(sessions)).status == "done"


def test_run_sync_keeps_its_run_too(sessions: Sessions) -> None:
    Agent(ScriptedModel(["hello"])).run_sync("hi", session=sessions["s"])
    assert Agent(ScriptedModel(["again"])).run_sync("hi", session=sessions["s"]).output == "again"
    assert len(anyio.run(sessions["s"].messages)) == 4


async def test_the_beginning_of_another_session_is_made_valid_and_its_long_results_stay(sessions: Sessions) -> None:
    world = World()
    await world.agent([call("draw", id="d"), call("do", id="e", what="it")], "done").run("one", session=sessions["s"])
    copy = await sessions["s"].branch("copy", messages=3)
    told: list[Event] = []
    agent = world.agent([call("read_result", call_id="d", start=99_995)], "yes")
    result = await agent.run("two", session=copy, on_event=told.append)
    assert check(world.model.requests[0].messages) == []
    assert ["'e'" in each.what for each in told if isinstance(each, ReplyRepaired)] == [True]
    assert result.messages[-2].text.startswith("much")
    assert tuple(await copy.messages()) == result.messages
    beginning = await sessions["s"].branch("beginning", messages=1)
    with pytest.raises(StateError, match="no run to resume"):
        await world.agent("never").run(resume=True, session=beginning)


async def test_agents_with_names_share_a_conversation_but_not_a_run(sessions: Sessions) -> None:
    paused = await World().agent([call("send", id="x", to="a")], name="writer").run("go", session=sessions["s"])
    with pytest.raises(StateError, match="state belongs to the agent 'writer', and this agent is 'reader'"):
        await World().agent("never", name="reader").run(resume=True, session=sessions["s"])
    assert (await stored(sessions)).pending == paused.pending
    paused.state.deny("x")
    await World().agent("fine", name="writer").run(resume=paused.state, session=sessions["s"])
    assert (await World().agent("I read it", name="reader").run("and?", session=sessions["s"])).status == "done"
    speakers = [each.meta.get("agent") for each in await sessions["s"].messages() if each.role == "assistant"]
    assert speakers == ["writer", "writer", "reader"]


async def test_a_session_and_a_history_are_not_given_together(sessions: Sessions) -> None:
    with pytest.raises(ConfigError, match="not both"):
        await World().agent("never").run("go", session=sessions["s"], history=[])


async def test_an_empty_session_without_a_question_is_refused(sessions: Sessions) -> None:
    with pytest.raises(StateError, match="no run to resume"):
        await World().agent("never").run(resume=True, session=sessions["s"])
    assert (await sessions["s"].load()).revision == 0


# Going on.


async def test_a_run_that_is_done_has_nothing_to_go_on_with_and_gives_its_answer_again(sessions: Sessions) -> None:
    await World().agent("hello").run("hi", session=sessions["s"])
    result = await World().agent().run(resume=True, session=sessions["s"])
    assert (result.status, result.output, len(result.messages)) == ("done", "hello", 2)


async def test_a_run_whose_model_failed_is_stored_and_gone_on_with(sessions: Sessions) -> None:
    world = World()
    with pytest.raises(ModelError) as caught:
        await world.agent([call("do", what="it")], ModelError("down")).run("go", session=sessions["s"])
    assert (await stored(sessions)).status == "failed"
    assert caught.value.state is not None
    assert caught.value.state.revision == (await stored(sessions)).revision
    result = await world.agent("up again").run(resume=True, session=sessions["s"])
    assert (result.output, roles(result.messages)) == ("up again", ["user", "assistant", "tool", "assistant"])
    assert set(world.done.values()) == {1}


async def test_a_state_that_an_error_carries_is_the_one_of_the_session(sessions: Sessions) -> None:
    with pytest.raises(ModelError) as caught:
        await World().agent(ModelError("down")).run("go", session=sessions["s"])
    state = caught.value.state
    assert isinstance(state, RunState)
    assert (await World().agent("up").run(resume=state, session=sessions["s"])).status == "done"


async def test_a_run_at_its_limit_goes_on_with_a_higher_one(sessions: Sessions) -> None:
    limits = Limits(turns=1, on_limit="stop")
    agent = World().agent([call("do", what="it")])
    assert (await agent.run("go", session=sessions["s"], limits=limits)).status == "limited"
    assert (await World().agent("done").run(resume=True, session=sessions["s"])).status == "limited", (
        "the limits are stored too"
    )
    result = await World().agent("done").run(resume=True, session=sessions["s"], limits=Limits(turns=2))
    assert (result.status, result.output) == ("done", "done")


async def test_a_cancelled_run_is_stored_as_cancelled(sessions: Sessions) -> None:
    world = World()
    calls = [call("do", id="a", what="it"), call("hang", id="h")]
    async with world.agent(calls).stream("go", session=sessions["s"]) as events:
        async for event in events:
            if isinstance(event, CallStarted) and event.call.id == "h":
                events.cancel()
    state = await stored(sessions)
    assert (state.status, check(state.messages), state.revision) == ("cancelled", [], events.state.revision)
    result = await world.agent("fine").run(resume=True, session=sessions["s"])
    assert (result.status, roles(result.messages)) == ("done", ["user", "assistant", "tool", "tool", "assistant"])
    assert "interrupted" in str(result.messages[3])
    assert max(world.done.values()) == 1


async def test_what_is_said_before_the_session_is_read_is_heard(sessions: Sessions) -> None:
    with pytest.raises(ModelError):
        await World().agent(ModelError("down")).run("go", session=sessions["s"])
    async with World().agent("yes").stream(resume=True, session=sessions["s"]) as events:
        events.send("hurry")
        result = await events.result()
    assert [each.text for each in result.messages] == ["go", "hurry", "yes"]


@pytest.mark.parametrize("kept", [True, False])
async def test_a_run_that_is_gone_on_with_can_be_talked_to_at_once(sessions: Sessions, kept: bool) -> None:
    options = {"session": sessions["s"]} if kept else {}
    paused = (await World().agent([call("send", id="x", to="a")]).run("go", **options)).state  # type: ignore[arg-type]
    paused.add_message("first")
    paused.deny("x")
    async with World().agent("yes").stream(resume=paused, **options) as events:  # type: ignore[arg-type]
        events.send("second")
        result = await events.result()
    assert [each.text for each in result.messages if isinstance(each, UserMessage)] == ["go", "first", "second"]


# Decisions.


async def test_a_new_question_is_refused_while_calls_wait_for_decisions(sessions: Sessions) -> None:
    await World().agent([call("send", id="x", to="a")]).run("go", session=sessions["s"])
    before = await sessions["s"].load()
    with pytest.raises(StateError, match="waits for decisions about send"):
        await World().agent("never").run("and now?", session=sessions["s"])
    assert await sessions["s"].load() == before


@pytest.mark.parametrize("from_store", [True, False])
async def test_a_state_that_was_decided_about_resumes(sessions: Sessions, from_store: bool) -> None:
    world = World()
    calls = [call("do", what="it"), call("send", id="x", to="a"), call("send", id="y", to="b")]
    paused = await world.agent(calls).run("go", session=sessions["s"])
    state = await stored(sessions) if from_store else RunState.load(paused.state.to_json())
    state.approve("x")
    state.deny("y", "not today")
    result = await world.agent("done").run(resume=state, session=sessions["s"])
    assert (result.status, check(result.messages)) == ("done", [])
    assert [each.text for each in result.messages[2:5]] == [
        "it is done",
        "sent to a",
        "Error: not run: a person refused this call: not today",
    ]
    assert sorted(world.done.values()) == [1, 1]
    assert tuple(await sessions["s"].messages()) == result.messages


async def test_a_call_that_is_not_pending_cannot_be_decided_and_the_session_stays_as_it_was(sessions: Sessions) -> None:
    await World().agent([call("send", id="x", to="a")]).run("go", session=sessions["s"])
    before = await sessions["s"].load()
    state = await stored(sessions)
    with pytest.raises(StateError, match="no call 'z' waits for a decision; waiting: 'x'"):
        state.approve("z")
    assert await sessions["s"].load() == before


async def test_of_two_who_resume_one_after_the_other_the_first_one_wins(sessions: Sessions) -> None:
    world = World()
    await world.agent([call("send", id="x", to="a")]).run("go", session=sessions["s"])
    one, other = await stored(sessions), await stored(sessions)
    one.approve("x")
    other.deny("x")
    await world.agent("done").run(resume=one, session=sessions["s"])
    before = await sessions["s"].load()
    for again in (one, other):
        with pytest.raises(SessionConflict, match="has changed since this state was read"):
            await world.agent("never").run(resume=again, session=sessions["s"])
    assert (world.done.total(), await sessions["s"].load()) == (1, before)


async def test_of_two_who_resume_at_once_one_wins(sessions: Sessions) -> None:
    world = World()
    await world.agent([call("send", id="x", to="a")]).run("go", session=sessions["s"])
    endings: list[str] = []

    async def resume() -> None:
        state = await stored(sessions)
        state.approve("x")
        try:
            endings.append((await world.agent("done").run(resume=state, session=sessions["s"])).status)
        except (SessionBusy, SessionConflict):
            endings.append("refused")

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(resume)
    assert (sorted(endings), world.done.total()) == (["done", "refused", "refused"], 1)


async def test_a_session_that_is_busy_refuses_questions(sessions: Sessions) -> None:
    async with World().agent([call("hang")]).stream("go", session=sessions["s"]) as events:
        async for event in events:
            if isinstance(event, CallStarted):
                before = await sessions["s"].load()
                with pytest.raises(SessionBusy, match="another run has session 's'"):
                    await World().agent("never").run("me too", session=sessions["s"])
                assert await sessions["s"].load() == before
                events.cancel()
