"""Every effect of a run has a slot: the seam at which a durable engine records and replays.

`Journal.reserve` is called synchronously and in the model's order, before anything is awaited, so that the order of the
slots is the same in every replay, however the effects then overlap. A reserved slot is always used.

`Journal.keep` is called between the steps of a run, when its state is whole.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from agentkit.chat.messages import ToolCall
from agentkit.run.state import RunState

__all__ = ["Journal", "PlainJournal", "Slot", "call_slot"]

T = TypeVar("T")


class Slot(Protocol):
    """The place of one effect."""

    async def run(self, effect: Callable[[], Awaitable[T]]) -> T:
        """Run the effect, or return what it returned when it was run before."""
        ...


class Journal(Protocol):
    """Gives out slots."""

    def reserve(self, key: str) -> Slot:
        """The slot of the effect ``key``: ``RUN:turn:N`` for a model request, ``RUN:call:ID`` for a tool call."""
        ...

    async def keep(self, state: RunState) -> None:
        """Store the state, if the journal is one that does; called before each step and at the end."""
        ...


def call_slot(state: RunState, call: ToolCall) -> str:
    """The key of a call: its slot's, and the idempotency key that its tool is given."""
    return f"{state.run_id}:call:{call.id}"


class _PlainSlot:
    async def run(self, effect: Callable[[], Awaitable[T]]) -> T:
        return await effect()


class PlainJournal:
    """Runs each effect and records nothing."""

    def reserve(self, key: str) -> Slot:  # noqa: ARG002 - a journal that records would need the key
        """A slot that just runs its effect."""
        return _PLAIN

    async def keep(self, state: RunState) -> None:
        """Stores nothing."""


_PLAIN = _PlainSlot()
