"""Approvals in runs that are stored step by step, or replayed."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest

from agentkit import Agent, RunState, tool
from agentkit.chat.messages import ToolMessage
from agentkit.errors import SessionConflict, StateError
from agentkit.run import PlainJournal, Slot, SlotKind
from agentkit.sessions import MemorySessions
from agentkit.testing import Answer, ScriptedModel, call

pytestmark = pytest.mark.anyio
T = TypeVar("T")

deleted: list[str] = []


@pytest.fixture(autouse=True)
def nothing_deleted() -> None:
    deleted.clear()


@tool(requires_approval=True)
def delete(path: str) -> str:
    """Delete a file."""
    deleted.append(path)
    return f"deleted {path}"


def agent(*script: Answer, **options: Any) -> Agent:
    return Agent(ScriptedModel(script), tools=[delete], **options)


async def test_the_run_of_a_session_waits_is_decided_and_goes_on_once() -> None:
    session = MemorySessions()["s"]
    result = await agent(call("delete", id="d", path="a")).run("go", session=session)
    assert result.status == "paused"
    with pytest.raises(StateError, match="waits for decisions about delete: decide, then resume it"):
        await agent("no").run("and now?", session=session)
    state = await session.state()
    assert state is not None
    state.approve("d", always=True)
    done = await agent("done").run(resume=state, session=session)
    assert (done.status, deleted) == ("done", ["a"])
    with pytest.raises(SessionConflict, match="has changed since this state was read"):
        await agent("again").run(resume=state, session=session)
    assert deleted == ["a"]


async def test_what_holds_always_holds_for_the_later_runs_of_a_session() -> None:
    session = MemorySessions()["s"]
    state = (await agent(call("delete", id="d", path="a")).run("go", session=session)).state
    state.approve("d", always="arguments")
    await agent("done").run(resume=state, session=session)
    calls = [call("delete", path="a"), call("delete", path="b")]
    result = await agent(calls).run("again", session=session)
    assert deleted == ["a", "a"]
    assert [each.arguments["path"] for each in result.pending] == ["b"]


async def test_a_session_that_is_gone_on_with_undecided_runs_nothing() -> None:
    session = MemorySessions()["s"]
    await agent(call("delete", path="a")).run("go", session=session)
    result = await agent("done").run(resume=True, session=session)
    assert (result.status, deleted) == ("paused", [])


class Recorded(PlainJournal):
    """Replays what was recorded, as a durable engine does."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def reserve(self, key: str, kind: SlotKind) -> Slot:
        return RecordedSlot(self.values, key)


class RecordedSlot:
    def __init__(self, values: dict[str, Any], key: str) -> None:
        self.values, self.key = values, key

    async def run(self, effect: Callable[[], Awaitable[T]]) -> T:
        if self.key not in self.values:
            self.values[self.key] = await effect()
        value: T = self.values[self.key]
        return value


async def test_a_replay_pauses_where_the_run_did_and_repeats_nothing() -> None:
    journal = Recorded()
    made = agent([call("delete", id="d", path="a"), call("delete", id="e", path="b")], "done", journal=journal)
    await made.run("go", run_id="r")
    result = await made.run("go", run_id="r")
    assert (result.status, deleted) == ("paused", [])
    result.state.approve("d")
    result.state.deny("e")
    stored = result.state.to_json()
    await made.run(resume=RunState.load(stored))
    done = await made.run(resume=RunState.load(stored))
    assert (done.status, deleted) == ("done", ["a"])
    results = [each.text for each in done.messages if isinstance(each, ToolMessage)]
    assert results == ["deleted a", "Error: not run: a person refused this call"]
