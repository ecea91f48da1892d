"""Where a conversation is kept between runs: the protocol, and what goes through it.

A session holds one conversation: its messages, the rest of the last run's state, and the results of calls that are done
but not yet in the messages. `agentkit.sessions` has two kinds; anything with these four methods is another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

__all__ = ["Change", "Saved", "Session"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """What a session holds.

    Attributes:
        revision: How often it was saved; 0 for a session that is new.
        messages: The messages, each a JSON object as text.
        head: The rest of the last run's state, a JSON object as text; empty when there was no run.
        artifacts: Results that were too long for the model, by the id of their call.
        results: What calls came to that are done, but whose results are not in the messages yet; by their slot.
    """

    revision: int = 0
    messages: Sequence[str] = ()
    head: str = ""
    artifacts: Mapping[str, str] = field(default_factory=dict[str, str])
    results: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What is to be saved, all of it or nothing.

    Attributes:
        revision: The revision that it goes on from.
        start: How many of the saved messages stay; those after them are replaced.
        messages: What comes after these, each a JSON object as text.
        head: In place of the saved one.
        artifacts: Those that are new.
        dropped: Ids of the artifacts that are kept no longer.
    """

    revision: int
    start: int
    messages: Sequence[str]
    head: str
    artifacts: Mapping[str, str] = field(default_factory=dict[str, str])
    dropped: Sequence[str] = ()


@runtime_checkable
class Session(Protocol):
    """One stored conversation. Every method may raise `SessionError`, and leaves what is stored as it was then."""

    def claim(self) -> AbstractAsyncContextManager[None]:
        """Have the session alone until the context is left, or until this process ends in whatever way.

        Raises:
            SessionBusy: Another run has it.
        """
        ...

    async def load(self) -> Saved:
        """What is stored; an empty `Saved` for a session that is new."""
        ...

    async def save(self, change: Change) -> None:
        """Store a change: its revision is one more afterwards. The ``results`` are forgotten, the messages have them.

        Raises:
            SessionConflict: The stored revision is not the one that the change goes on from.
        """
        ...

    async def record(self, slot: str, result: str) -> None:
        """Store what the call of a slot came to; on the disk when this returns."""
        ...
