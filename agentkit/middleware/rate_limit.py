"""`RateLimit`: so many requests, so many tokens, in any stretch of time."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import anyio
from anyio.lowlevel import RunVar

from agentkit.chat.reply import Reply
from agentkit.errors import ConfigError
from agentkit.run.middleware import Middleware, ModelTurn, NextModel

__all__ = ["RateLimit"]


@dataclass(slots=True)
class _Window:
    """What happened lately in an event loop. Only the holder of ``turn`` waits for time to pass; the others queue."""

    turn: anyio.Lock = field(default_factory=anyio.Lock)
    starts: deque[tuple[float, int]] = field(default_factory=deque[tuple[float, int]])
    tokens: deque[tuple[float, int]] = field(default_factory=deque[tuple[float, int]])


_WINDOWS: RunVar[MutableMapping[RateLimit, _Window]] = RunVar("agentkit_rate_windows")


class RateLimit(Middleware):
    """Lets requests to the model wait, in the order in which they come, until they keep to a rate.

    All agents and runs of an event loop that have the same object share it. What a client sends again by itself is not
    counted.

    Args:
        requests: Most requests that start in any ``per`` seconds.
        per: Seconds.
        tokens: A request starts only if the replies of the last ``per`` seconds took fewer; what a reply takes is known
            when it is there, so requests that run at the same time can take more.
    """

    def __init__(self, requests: int, *, per: float = 60.0, tokens: int | None = None) -> None:
        _check_rate(requests, per, tokens)
        self._requests, self._per, self._tokens = requests, per, math.inf if tokens is None else tokens

    async def around_model(self, turn: ModelTurn, inner: NextModel) -> Reply:  # noqa: D102
        window = _window(self)
        async with window.turn:
            while (start := self._free_at(window)) > anyio.current_time():  # noqa: ASYNC110 - nothing but time helps
                await anyio.sleep_until(start)
            window.starts.append((anyio.current_time(), 1))
        reply = await inner(turn)
        window.tokens.append((anyio.current_time(), reply.usage.total_tokens))
        return reply

    def _free_at(self, window: _Window) -> float:
        """When the next request may start, as far as is known now."""
        free, past = -math.inf, anyio.current_time() - self._per
        for spent, most in ((window.starts, self._requests), (window.tokens, self._tokens)):
            while spent and spent[0][0] <= past:
                spent.popleft()
            if sum(amount for _, amount in spent) >= most:
                free = max(free, spent[0][0] + self._per)
        return free


def _window(limit: RateLimit) -> _Window:
    try:
        windows = _WINDOWS.get()
    except LookupError:
        _WINDOWS.set(windows := WeakKeyDictionary())
    return windows.setdefault(limit, _Window())


def _check_rate(requests: object, per: object, tokens: object) -> None:
    """Refuse a rate that lets nothing through, or is none."""
    counts = all(isinstance(each, int) and each > 0 for each in (requests, 1 if tokens is None else tokens))
    if not counts or not isinstance(per, int | float) or not per > 0:
        raise ConfigError(
            f"RateLimit({requests!r:.80}, per={per!r:.80}, tokens={tokens!r:.80}): must be numbers, all above 0"
        )
