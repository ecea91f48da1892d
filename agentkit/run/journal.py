"""The journal: a slot for every effect of a run, where a durable engine records and replays it.

`Journal.reserve` is called synchronously and in the model's order, before anything is awaited, so slots have the same
order in every replay, however the effects overlap. A reserved slot is always used. The loop reads the clock and makes
ids through the journal only, so a replay sees the same values.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Literal, Protocol, TypeAlias, TypeVar

from agentkit.chat.messages import ToolCall
from agentkit.run.state import RunState

T = TypeVar("T")
SlotKind: TypeAlias = Literal["model", "tool", "approval", "early", "step"]
"""The kind of effect in a slot: a model request (returns a `Reply`), a tool call (a `ToolResult`), an approval policy
(the reason why the call waits, empty if it need not), a call that starts before the reply is complete (a `ToolResult`),
or a step of an automation (a string, its record)."""


class Slot(Protocol):
    """The place of one effect."""

    async def run(self, effect: Callable[[], Awaitable[T]]) -> T:
        """Run the effect, or return the value that was recorded for it."""
        ...


class Journal(Protocol):
    """Provides slots, time and ids to a run."""

    def reserve(self, key: str, kind: SlotKind) -> Slot:
        """Reserve the slot of an effect.

        Args:
            key: ``RUN:turn:N`` for a model request, ``RUN:call:ID`` for a tool call, ``RUN:approval:ID`` for the policy
                of a call, ``RUN:early:N`` for a call that starts early, ``JOB:step:N`` for a step.
            kind: The kind of effect.
        """
        ...

    async def save(self, state: RunState) -> None:
        """Save the state, if the journal saves states; called before each step and at the end."""
        ...

    def clock(self) -> float:
        """Return the time in seconds since 1970; it never goes backward within a run."""
        ...

    def new_id(self) -> str:
        """Return a new id."""
        ...


def call_slot(state: RunState, call: ToolCall) -> str:
    """Return the key of a call: of its slot, and the idempotency key that its tool receives."""
    return f"{state.run_id}:call:{call.id}"


class _PlainSlot:
    async def run(self, effect: Callable[[], Awaitable[T]]) -> T:
        return await effect()


_PLAIN = _PlainSlot()
_BEGAN = time.time() - time.monotonic()  # the machine's clock may be set during a run


class PlainJournal:
    """Runs each effect and records nothing."""

    def reserve(self, key: str, kind: SlotKind) -> Slot:  # noqa: ARG002 - a journal that records needs them
        """Return a slot that just runs its effect."""
        return _PLAIN

    async def save(self, state: RunState) -> None:
        """Do nothing."""

    def clock(self) -> float:
        """Return the machine's time when agentkit was imported, plus the seconds that have passed since."""
        return _BEGAN + time.monotonic()

    def new_id(self) -> str:
        """Return a random id."""
        return uuid.uuid4().hex
