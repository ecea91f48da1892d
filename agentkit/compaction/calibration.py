"""What is learned about a model: how far the token estimate is off, and how long a request may be."""

from __future__ import annotations

import math
import threading

from agentkit.chat import ChatSettings, Usage
from agentkit.errors import ContextTooLong

__all__ = ["Calibration", "prompt_tokens"]

_TOO_SMALL = 200  # below this many tokens, most of what a server counts is its own overhead
_LEAST, _MOST = 0.5, 4.0  # of the factor
_NEAR, _WEIGHT = 1.2, 0.3
_MARGIN = 0.95  # of the limit that a server named, because sizes are estimates
_SHRINK = 0.75  # of a request that was refused without a number


class Calibration:
    """The model's tokens per estimated token, and the limit of a request, learned from its server.

    The factor stays between 0.5 and 4, and changes only when it is a fifth off, since each change moves the cut and so
    invalidates a prompt cache. Safe to use from several threads.

    Attributes:
        factor: The model's tokens per estimated token.
        limit: The model's tokens that a request and its reply may have; infinite until one is refused.
    """

    def __init__(self) -> None:
        self.factor = 1.0
        self.limit = math.inf
        self._mean: float | None = None
        self._lock = threading.Lock()

    def budget(self, tokens: float, settings: ChatSettings) -> float:
        """Return the estimated tokens that a request of at most ``tokens`` may have if its reply is to fit."""
        reply = settings.max_completion_tokens or settings.max_tokens or 0
        learned = max(self.limit * _MARGIN - reply, self.limit / 4)
        return min(tokens, learned) / self.factor

    def learn(self, estimated: int, counted: int, *, at_once: bool = False) -> None:
        """Learn that the server counted this many tokens; ``at_once`` if it refused them."""
        if counted <= 0 or estimated < (1 if at_once else _TOO_SMALL):
            return
        measured = min(max(counted / estimated, _LEAST), _MOST)
        with self._lock:
            mean = measured if self._mean is None or at_once else self._mean + _WEIGHT * (measured - self._mean)
            self._mean = mean
            if at_once or not 1 / _NEAR < mean / self.factor < _NEAR:
                self.factor = mean

    def learn_limit(self, error: ContextTooLong, estimated: int) -> None:
        """Learn that a request of this estimated size was too long."""
        if error.got or (error.limit or 0) > estimated * self.factor:
            self.learn(estimated, error.got or error.limit or 0, at_once=True)
        refused = estimated * self.factor
        limit = error.limit or math.inf
        self.limit = min(self.limit, limit if limit * _MARGIN < refused else refused * _SHRINK)


def prompt_tokens(usage: Usage) -> int:
    """Return the tokens of the request, cached ones included; some gateways count these separately."""
    return usage.prompt_tokens + (usage.cached_tokens if usage.cached_tokens > usage.prompt_tokens else 0)
