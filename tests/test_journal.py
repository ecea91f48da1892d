from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest

from agentkit import Agent, tool
from agentkit.run import PlainJournal, Slot, SlotKind
from agentkit.run.state import RunState
from agentkit.testing import Answer, ScriptedModel, call

pytestmark = pytest.mark.anyio
T = TypeVar("T")


class Recorder(PlainJournal):
    """A journal that keeps what effects returned and, on a replay, returns it instead of running them."""

    def __init__(self) -> None:
        self.reserved: list[str] = []
        self.kept: dict[str, Any] = {}
        self.ran: list[str] = []
        self.states: list[tuple[str, int]] = []

    def reserve(self, key: str, kind: SlotKind) -> Slot:
        place = key.partition(":")[2]
        self.reserved.append(place)
        journal = self

        class Recording:
            async def run(self, effect: Callable[[], Awaitable[T]]) -> T:
                if place not in journal.kept:
                    journal.ran.append(place)
                    journal.kept[place] = await effect()
                kept: T = journal.kept[place]
                return kept

        return Recording()

    async def save(self, state: RunState) -> None:
        self.states.append((state.status, len(state.messages)))


@tool
async def double(n: int) -> int:
    """Double."""
    return n * 2


SCRIPT: list[Answer] = [[call("double", id="b", n=1), call("double", id="a", n=2), call("nothing", id="c")], "done"]
SLOTS = ["turn:1", "call:b", "call:a", "call:c", "turn:2"]


async def test_slots_are_reserved_in_the_models_order_before_any_call_runs() -> None:
    journal = Recorder()
    await Agent(ScriptedModel(SCRIPT), tools=[double], journal=journal).run("go")
    assert journal.reserved == SLOTS
    assert sorted(journal.ran) == sorted(SLOTS)


async def test_a_replay_repeats_nothing_that_was_done() -> None:
    journal = Recorder()
    first = await Agent(ScriptedModel(SCRIPT), tools=[double], journal=journal).run("go")
    journal.ran.clear()
    again = await Agent(ScriptedModel([]), tools=[double], journal=journal).run("go")
    assert journal.ran == []
    assert again.messages == first.messages
