"""How far a run may go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from agentkit.errors import ConfigError

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How far a run may go before it ends as ``limited``.

    Attributes:
        turns: Most replies of the model.
        calls: Most tool calls, or None for no limit of their own.
        retries: Most requests that are sent again in the whole run, runs of agents inside its tools included.
        on_limit: ``"answer"`` asks the model once more, without tools, for an answer from what it has; ``"stop"`` ends
            the run as it is; ``"raise"`` raises `LimitReached`.
    """

    turns: int = 50
    calls: int | None = 500
    retries: int = 20
    on_limit: Literal["answer", "stop", "raise"] = "answer"

    def __post_init__(self) -> None:
        if self.turns < 1:
            raise ConfigError(f"Limits(turns={self.turns}): a run needs at least one turn")
        if self.calls is not None and self.calls < 0:
            raise ConfigError(f"Limits(calls={self.calls}): the number of calls cannot be negative")
        if self.retries < 0:
            raise ConfigError(f"Limits(retries={self.retries}): the number of retries cannot be negative")
        if self.on_limit not in ("answer", "stop", "raise"):
            raise ConfigError(f'Limits(on_limit={self.on_limit!r}): must be "answer", "stop" or "raise"')
