"""How far the estimate of tokens is off for a model, learned from what its server counts."""

from __future__ import annotations

import threading

from agentkit.chat.reply import Usage

__all__ = ["Scale", "prompt_tokens"]


class Scale:
    """How many tokens of a model one estimated token is, learned from what its server reports.

    The factor stays between 0.5 and 4, and changes only when it is a fifth off, since each change moves what is cut
    and so costs a prompt cache. Safe to use from several threads.
    """

    def __init__(self) -> None:
        self.factor = 1.0
        self._mean: float | None = None
        self._lock = threading.Lock()

    def learn(self, estimated: int, counted: int, *, at_once: bool = False) -> None:
        """Take note that the server counted so many tokens; ``at_once`` when it refused them."""
        if counted <= 0 or estimated < (1 if at_once else _TOO_SMALL):
            return
        measured = min(max(counted / estimated, _LEAST), _MOST)
        with self._lock:
            mean = measured if self._mean is None or at_once else self._mean + _WEIGHT * (measured - self._mean)
            self._mean = mean
            if at_once or not 1 / _NEAR < mean / self.factor < _NEAR:
                self.factor = mean


_TOO_SMALL = 200  # tokens below which what a server adds by itself is most of what it counts
_LEAST, _MOST = 0.5, 4.0
_NEAR, _WEIGHT = 1.2, 0.3


def prompt_tokens(usage: Usage) -> int:
    """The tokens of the request, cached ones with them; some gateways count these beside the others."""
    return usage.prompt_tokens + (usage.cached_tokens if usage.cached_tokens > usage.prompt_tokens else 0)
