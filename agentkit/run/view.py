"""What tools and their conditions may see of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from agentkit.chat.messages import Message
from agentkit.run.limits import Limits
from agentkit.run.spending import remaining
from agentkit.run.state import RunState
from agentkit.tools.context import Remaining

__all__ = ["View"]


@dataclass(frozen=True, slots=True)
class View:
    """A run as its tools see it, live; ``asked`` is the transcript as the model saw it, if that is to show.

    ``early`` counts the calls that have started for the reply of turn ``turn`` while that is not in the state.
    """

    limits: Limits
    state: RunState
    asked: tuple[Message, ...] | None = None
    early: int = 0
    turn: int = 0

    @property
    def transcript(self) -> tuple[Message, ...]:
        """The messages so far."""
        return tuple(self.state.messages) if self.asked is None else self.asked

    @property
    def artifacts(self) -> Mapping[str, str]:
        """The results that were too long for the model."""
        return self.state.artifacts

    @property
    def remaining(self) -> Remaining:
        """What is left of the limits."""
        left = remaining(self.state, self.limits)
        if not self.early or self.state.turns >= self.turn:
            return left
        calls = None if left.calls is None else left.calls - self.early
        return replace(left, turns=None if left.turns is None else left.turns - 1, calls=calls)
