"""`RateLimit`: bound the requests and tokens in any period of time."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import cast
from weakref import WeakKeyDictionary

import anyio
from anyio.lowlevel import RunVar

from agentkit.chat import Reply
from agentkit.errors import ConfigError
from agentkit.run import Middleware, ModelTurn, NextModel

__all__ = ["RateLimit"]


class _Spent:
    """The amounts of the last ``per`` seconds, with their times."""

    def __init__(self, most: float, per: float) -> None:
        self._most, self._per = most, per
        self._amounts: deque[tuple[float, int]] = deque()
        self._sum = 0

    def add(self, amount: int) -> None:
        self._amounts.append((anyio.current_time(), amount))
        self._sum += amount

    def free_at(self) -> float:
        """Return the earliest time at which the sum falls below the limit, as far as is known."""
        while self._amounts and self._amounts[0][0] <= anyio.current_time() - self._per:
            self._sum -= self._amounts.popleft()[1]
        return self._amounts[0][0] + self._per if self._sum >= self._most and self._amounts else -math.inf


@dataclass(slots=True)
class _Window:
    """The state of a limit in one event loop. Only the holder of ``turn`` waits for time to pass; the others queue."""

    starts: _Spent
    tokens: _Spent
    turn: anyio.Lock = field(default_factory=anyio.Lock)


_WINDOWS: RunVar[MutableMapping[RateLimit, _Window]] = RunVar("agentkit_rate_windows")


class RateLimit(Middleware):
    """Makes requests to the model wait, in the order in which they arrive, so that they stay within a rate.

    All agents and runs of an event loop that have the same object share it. Retries by a client are not counted.

    Args:
        requests: Most requests that start in any ``per`` seconds.
        per: Seconds.
        tokens: A request starts only if the replies of the last ``per`` seconds took fewer; what a reply takes is known
            only once it has arrived, so concurrent requests can exceed this.

    Raises:
        ConfigError: An argument is not a number above 0.
    """

    def __init__(self, requests: int, *, per: float = 60.0, tokens: int | None = None) -> None:
        counts = cast("tuple[object, ...]", (requests, 1 if tokens is None else tokens))
        is_time = isinstance(per, int | float) and per > 0  # pyright: ignore[reportUnnecessaryIsInstance]
        if not is_time or not all(isinstance(each, int) and each > 0 for each in counts):
            raise ConfigError(
                f"RateLimit({requests!r:.80}, per={per!r:.80}, tokens={tokens!r:.80}): must be numbers, all above 0"
            )
        self._requests, self._per, self._tokens = requests, per, math.inf if tokens is None else tokens

    async def around_model(self, turn: ModelTurn, inner: NextModel) -> Reply:  # noqa: D102
        window = self._window()
        async with window.turn:
            while (start := max(window.starts.free_at(), window.tokens.free_at())) > anyio.current_time():  # noqa: ASYNC110 - nothing but time helps
                await anyio.sleep_until(start)
            window.starts.add(1)
        reply = await inner(turn)
        window.tokens.add(reply.usage.total_tokens)
        return reply

    def _window(self) -> _Window:
        try:
            windows = _WINDOWS.get()
        except LookupError:
            _WINDOWS.set(windows := WeakKeyDictionary())
        window = windows.get(self)
        if window is None:
            window = windows[self] = _Window(_Spent(self._requests, self._per), _Spent(self._tokens, self._per))
        return window
