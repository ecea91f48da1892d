"""`Compaction`: shorten requests when a conversation is too long for the model."""

from __future__ import annotations

import math
import threading
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeAlias, TypeVar

from agentkit.chat import ChatRequest, Model, Reply, Usage, size_of_request
from agentkit.compaction.calibration import Calibration, prompt_tokens
from agentkit.errors import ConfigError, ContextTooLong
from agentkit.events import Event, ignore_event
from agentkit.messages import Message
from agentkit.run import Middleware, ModelTurn, NextModel

__all__ = ["Ask", "Compaction", "HistoryShortened", "Recent", "ShorterRequest", "Strategy", "check_least"]

T = TypeVar("T")
Ask: TypeAlias = Callable[[ChatRequest], Awaitable[Reply]]
"""Asks the run's own model, without showing its reply."""

_TRIES = 4  # requests in one turn, each shorter than the refused one before it
_MODELS = 100  # that are remembered


@dataclass(frozen=True, slots=True)
class HistoryShortened(Event):
    """The model is sent less than the whole conversation; emitted when that first happens in a run and when it changes.

    Attributes:
        by: The strategy that shortened it.
        messages: The number of messages that were left out or cleared.
        before: The estimated tokens of the request before.
        after: The estimated tokens of the request after.
        problem: Why there is no summary, if there should be one.
    """

    by: str
    messages: int
    before: int
    after: int
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShorterRequest:
    """The messages of a shorter request.

    Attributes:
        messages: The messages to send.
        left_out: The number of messages that were left out or cleared; when it changes, this is reported.
        usage: The tokens spent to make them.
        problem: What went wrong, if anything.
    """

    messages: list[Message]
    left_out: int
    usage: Usage = Usage()
    problem: str = ""


class Strategy(ABC):
    """One way to shorten a request. One object can serve any number of runs, event loops and threads at once.

    Args:
        tokens: Most tokens of a request; None for as many as the model takes.
    """

    def __init__(self, tokens: int | None = None) -> None:
        self.tokens = math.inf if tokens is None else tokens

    @abstractmethod
    async def shorten(self, request: ChatRequest, budget: float, ask: Ask) -> ShorterRequest | None:
        """Shorten a request.

        Requests of a conversation should begin with the same bytes for as long as possible, for the sake of prompt
        caches.

        Args:
            request: The request, as the earlier strategies left it.
            budget: The estimated tokens it may have; infinite if the limit is not known.
            ask: Asks the run's own model.

        Returns:
            The shorter messages; None for the request as it is.
        """

    async def aclose(self) -> None:
        """Close what it holds open in this event loop."""
        return


class Compaction(Middleware):
    """Sends shorter requests when a conversation is too long; the messages of the run stay as they are.

    The strategies are applied in order, each to what the one before has left, so list the gentlest first. When the
    model refuses a request as too long, its limit is learned and the strategies are applied again with a smaller
    budget. What is learned about a model applies to all runs that share this object.

    Args:
        strategies: One strategy, or several.

    Raises:
        ConfigError: There is no strategy, or something else among them.
    """

    def __init__(self, strategies: Strategy | Sequence[Strategy]) -> None:
        self._strategies = (strategies,) if isinstance(strategies, Strategy) else tuple(strategies)
        if not self._strategies or not all(isinstance(each, Strategy) for each in self._strategies):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigError(f"Compaction({strategies!r:.80}): takes strategies, for example Window(exchanges=20)")
        self._known = Recent[tuple[Model, Calibration]](_MODELS)

    async def around_model(self, turn: ModelTurn, inner: NextModel) -> Reply:  # noqa: D102
        known = self._calibration(turn.model)
        spent, size, refused = Usage(), math.inf, None
        for _ in range(_TRIES):
            passed, usage = await self._compacted(turn, known, inner)
            spent += usage
            if refused is not None and size_of_request(passed) >= size:
                break  # nothing more can be left out
            size = size_of_request(passed)
            try:
                reply = await inner(replace(turn, request=passed))
            except ContextTooLong as error:
                known.learn_limit(error, size)
                refused = error
            else:
                known.learn(size, prompt_tokens(reply.usage))
                return replace(reply, usage=spent + reply.usage) if spent != Usage() else reply
        assert refused is not None  # noqa: S101 - the first request was sent
        raise refused

    async def aclose(self) -> None:
        """Close what the strategies hold open in this event loop."""
        for each in self._strategies:
            await each.aclose()

    async def _compacted(self, turn: ModelTurn, known: Calibration, inner: NextModel) -> tuple[ChatRequest, Usage]:
        """Return the request that the strategies make, and the tokens they spent on it."""
        request, spent = turn.request, Usage()
        reported: dict[Strategy, int] = turn.run.local.setdefault(self, {})

        def ask(asked: ChatRequest) -> Awaitable[Reply]:
            return inner(replace(turn, request=asked, emit=ignore_event))

        for each in self._strategies:
            made = await each.shorten(request, known.budget(each.tokens, request.settings), ask)
            if made is None:
                continue
            before, request = request, replace(request, messages=made.messages)
            spent += made.usage
            if reported.get(each) != made.left_out or made.problem:
                reported[each] = made.left_out
                old, new = (round(size_of_request(one) * known.factor) for one in (before, request))
                turn.emit(HistoryShortened(type(each).__name__, made.left_out, old, new, made.problem))
        return request, spent

    def _calibration(self, model: Model) -> Calibration:
        known = self._known.get(id(model))
        if known is None:
            known = (model, Calibration())  # a reference to the model, so that its id is not reused
            self._known.put(id(model), known)
        return known[1]


class Recent(Generic[T]):
    """The most recently used values by key; safe to use from several threads."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: dict[object, T] = {}
        self._lock = threading.Lock()

    def get(self, key: object) -> T | None:
        """Return the value and make it the most recent."""
        with self._lock:
            if key not in self._values:
                return None
            value = self._values[key] = self._values.pop(key)
            return value

    def put(self, key: object, value: T) -> None:
        """Store a value; the least recently used one may be dropped."""
        with self._lock:
            self._values[key] = value
            if len(self._values) > self._most:
                del self._values[next(iter(self._values))]


def check_least(strategy: str, **values: tuple[int | None, int]) -> None:
    """Check numbers, each given with its minimum. All but ``keep`` may be None.

    Raises:
        ConfigError: One is not a whole number, or is too small.
    """
    for name, (value, least) in values.items():
        if value is None and name != "keep":
            continue
        if not isinstance(value, int) or value < least:
            raise ConfigError(f"{strategy}({name}={value!r:.80}): must be a whole number, at least {least}")
