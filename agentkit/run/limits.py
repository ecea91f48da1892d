"""How far a run may go, and how far it has gone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Literal

from agentkit.chat.reply import Usage
from agentkit.errors import ConfigError

__all__ = ["Limits", "Price"]

_NEEDED = ("turns", "nested_depth", "request_retries")  # must be numbers
_ANSWERING = 0.1  # of the time of a run: what is kept for its last answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a million tokens cost, in any currency.

    Attributes:
        prompt: Those of requests.
        completion: Those of replies.
        cached: Those of requests that came from a cache; None if they cost the same.
    """

    prompt: float
    completion: float
    cached: float | None = None

    def __post_init__(self) -> None:
        for name in ("prompt", "completion", "cached"):
            if (value := getattr(self, name)) is not None and not 0 <= value < math.inf:
                raise ConfigError(f"Price({name}={value!r}): a price is a number that is not negative")

    def of(self, usage: Usage) -> float:
        """What these tokens cost."""
        cached = self.prompt if self.cached is None else self.cached
        fresh = usage.prompt_tokens - usage.cached_tokens
        return (fresh * self.prompt + usage.cached_tokens * cached + usage.completion_tokens * self.completion) / 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How far a run may go before it ends as ``limited``. None is no limit, but for ``turns``, ``nested_depth``, ``request_retries``.

    ``calls``, ``tokens``, ``cost``, ``nested_depth`` and ``request_retries`` hold for a run together with the runs of agents inside
    its tools, ``turns``, ``repeated_turns`` and ``failed_turns`` for each run by itself.

    Attributes:
        turns: Most replies of the model.
        calls: Most tool calls.
        calls_per_tool: Most calls of each tool, one number for all or by name. A call above it gets an error as its
            result, and with ``on_limit="answer"`` the run goes on.
        tokens: Most tokens of requests and replies together; counted after each reply.
        cost: Most that the run may cost, as the server reports it or as ``price`` says; counted after each reply.
        price: What tokens cost, for servers that do not report it.
        seconds: Longest time that it runs, waiting for decisions not counted. With ``on_limit="answer"`` the last tenth
            is kept for the answer. What still runs then is cancelled.
        nested_depth: How deep agents in tools of agents in tools may go; 0 for none.
        repeated_turns: How many turns in a row may make the same calls with the same results. Two before that, from 3 on,
            the model is told.
        failed_turns: How many turns in a row may have nothing but failed calls.
        request_retries: Most requests that are sent again.
        on_limit: ``"answer"`` asks the model once more, without tools, for an answer from what it has; ``"stop"`` ends
            the run as it is; ``"raise"`` raises `LimitReached`.
    """

    turns: int = 50
    calls: int | None = 500
    calls_per_tool: int | Mapping[str, int] | None = None
    tokens: int | None = 10_000_000
    cost: float | None = None
    price: Price | None = field(default=None, repr=False)
    seconds: float | None = 3600
    nested_depth: int = 8
    repeated_turns: int | None = 5
    failed_turns: int | None = 10
    request_retries: int = 20
    on_limit: Literal["answer", "stop", "raise"] = "answer"

    def __post_init__(self) -> None:
        for complaint in chain(self._wrong_kinds(), self._wrong()):
            raise ConfigError(f"Limits({complaint}")
        if self.on_limit not in ("answer", "stop", "raise"):
            raise ConfigError(f'Limits(on_limit={self.on_limit!r}): must be "answer", "stop" or "raise"')

    def _wrong_kinds(self) -> Iterator[str]:
        """What is no number at all, as type checkers are not everywhere."""
        for name in ("turns", "nested_depth", "request_retries", "calls", "tokens", "repeated_turns", "failed_turns"):
            value: object = getattr(self, name)
            if not _is_count(value) and (value is not None or name in _NEEDED):
                yield f"{name}={value!r}): must be a whole number{'' if name in _NEEDED else ', or None for no limit'}"
        for name in ("cost", "seconds"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
                yield f"{name}={value!r}): must be a number, or None for no limit"
        if not all(each is None or _is_count(each) for each in self._per_tool()):
            yield f"calls_per_tool={self.calls_per_tool!r}): must be a whole number, or one for each tool by its name"
        price: Any = self.price
        if not isinstance(price, Price | None):
            yield f"price={price!r}): must be a Price(prompt=..., completion=...)"

    def _per_tool(self) -> Iterable[object]:
        per_tool = self.calls_per_tool
        return per_tool.values() if isinstance(per_tool, Mapping) else [per_tool]

    def _wrong(self) -> Iterator[str]:
        if self.turns < 1:
            yield f"turns={self.turns}): a run needs at least one turn"
        if self.repeated_turns is not None and self.repeated_turns < 2:
            yield f"repeated_turns={self.repeated_turns}): the first turn that repeats another is the second"
        if self.failed_turns is not None and self.failed_turns < 1:
            yield f"failed_turns={self.failed_turns}): a run must be allowed one failure at least"
        for name, what in (
            ("calls", "calls"),
            ("nested_depth", "levels"),
            ("request_retries", "request_retries"),
            ("tokens", "tokens"),
        ):
            value = getattr(self, name)
            if value is not None and value < 0:
                yield f"{name}={value}): the number of {what} cannot be negative"
        for name in ("cost", "seconds"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                yield f"{name}={value}): must be above 0, or None for no limit"
        for most in self._per_tool():
            if isinstance(most, int) and most < 0:
                yield f"calls_per_tool={most}): the number of calls cannot be negative"

    def calls_of(self, tool: str) -> int | None:
        """Most calls of one tool."""
        return self.calls_per_tool.get(tool) if isinstance(self.calls_per_tool, Mapping) else self.calls_per_tool

    def working_seconds(self) -> float:
        """How long a run may work before it has to answer."""
        if self.seconds is None:
            return math.inf
        return self.seconds * (1 - _ANSWERING) if self.on_limit == "answer" else self.seconds


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
