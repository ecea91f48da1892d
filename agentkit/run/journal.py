"""Every effect of a run has a slot: the seam at which a durable engine records and replays.

`Journal.reserve` is called synchronously and in the model's order, before anything is awaited, so that the order of the
slots is the same in every replay, however the effects then overlap. A reserved slot is always used. The loop reads the
clock and makes ids through the journal only, so that a replay sees the same ones.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Literal, Protocol, TypeAlias, TypeVar

from agentkit.chat.messages import ToolCall
from agentkit.run.state import RunState

__all__ = ["Journal", "PlainJournal", "Slot", "SlotKind", "call_slot"]

T = TypeVar("T")
SlotKind: TypeAlias = Literal["model", "tool", "approval", "early"]
"""What runs in a slot: a model request (it returns a `Reply`), a tool call (a `ToolResult`), an approval policy (the
reason why the call waits, a string, empty if it need not), or a call that starts before the reply is complete (a
`ToolResult`)."""


class Slot(Protocol):
    """The place of one effect."""

    async def run(self, effect: Callable[[], Awaitable[T]]) -> T:
        """Run the effect, or return the value that it returned when it was run before."""
        ...


class Journal(Protocol):
    """Hands out slots, time and ids."""

    def reserve(self, key: str, kind: SlotKind) -> Slot:
        """Reserve the slot of an effect.

        Args:
            key: ``RUN:turn:N`` for a model request, ``RUN:call:ID`` for a tool call, ``RUN:approval:ID`` for the policy
                of a call, ``RUN:early:N`` for a call that starts early.
            kind: What runs in it.
        """
        ...

    async def save(self, state: RunState) -> None:
        """Store the state, if the journal is one that does; called before each step and at the end."""
        ...

    def clock(self) -> float:
        """The time, in seconds since 1970; it never goes backwards within a run."""
        ...

    def new_id(self) -> str:
        """A new id."""
        ...


def call_slot(state: RunState, call: ToolCall) -> str:
    """The key of a call: of its slot, and the idempotency key that its tool is given."""
    return f"{state.run_id}:call:{call.id}"


class _PlainSlot:
    async def run(self, effect: Callable[[], Awaitable[T]]) -> T:
        return await effect()


_PLAIN = _PlainSlot()
_BEGAN = time.time() - time.monotonic()  # the clock of the machine may be set while a run goes on; this one is not


class PlainJournal:
    """Runs each effect and records nothing."""

    def reserve(self, key: str, kind: SlotKind) -> Slot:  # noqa: ARG002 - a journal that records needs them
        """A slot that just runs its effect."""
        return _PLAIN

    async def save(self, state: RunState) -> None:
        """Stores nothing."""

    def clock(self) -> float:
        """The time of the machine when agentkit was imported, and the seconds that have passed since."""
        return _BEGAN + time.monotonic()

    def new_id(self) -> str:
        """A random id."""
        return uuid.uuid4().hex
