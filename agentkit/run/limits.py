"""The limits of a run, and how much of them it has used."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, Literal, Protocol, TypeVar

from agentkit.chat.messages import Message
from agentkit.chat.reply import Reply, Usage
from agentkit.chat.request import ChatRequest, size_of_messages, size_of_request
from agentkit.errors import ConfigError
from agentkit.tools.context import Remaining

N = TypeVar("N", int, float)
_MOST = 2**53  # the largest number that is the same as a float
_NEEDED = ("turns", "nested_depth", "request_retries", "handoffs")  # must be numbers
_COUNTS = (  # with the least that each may be, and why
    ("turns", 1, "a run needs at least one turn"),
    ("repeated_turns", 2, "must be at least 2, as the first turn repeats none"),
    ("failed_turns", 1, "must be at least 1"),
    ("calls", 0, "the number of calls cannot be negative"),
    ("nested_depth", 0, "the number of levels cannot be negative"),
    ("request_retries", 0, "the number of request_retries cannot be negative"),
    ("handoffs", 0, "the number of hand-offs cannot be negative"),
    ("tokens", 0, "the number of tokens cannot be negative"),
)
_ANSWERING = 0.1  # of the time of a run: reserved for its last answer


class Spent(Protocol):
    """The consumption of a run so far; `RunState` is one."""

    turns: int
    calls: int
    usage: Usage
    seconds: float
    failed_turns: int


@dataclass(frozen=True, slots=True)
class LimitUsage:
    """The use of a limit; ``name`` is its attribute in `Limits`."""

    name: str
    used: float
    most: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """The price of a million tokens, in any currency.

    Attributes:
        prompt: A million tokens of requests.
        completion: A million tokens of replies.
        cached: A million tokens of requests that came from the server's cache; None for the price of ``prompt``.
    """

    prompt: float
    completion: float
    cached: float | None = None

    def __post_init__(self) -> None:
        for name in ("prompt", "completion", "cached"):
            if (value := getattr(self, name)) is not None and not 0 <= value < math.inf:
                raise ConfigError(f"Price({name}={value!r}): a price is a number that is not negative")

    def of(self, usage: Usage) -> float:
        """Return the cost of these tokens."""
        cached = self.prompt if self.cached is None else self.cached
        fresh = usage.prompt_tokens - usage.cached_tokens
        return (fresh * self.prompt + usage.cached_tokens * cached + usage.completion_tokens * self.completion) / 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of a run. None means no limit, where it is allowed.

    ``calls``, ``tokens``, ``cost``, ``nested_depth`` and ``request_retries`` apply to a run together with the runs of
    agents inside its tools; ``turns``, ``repeated_turns`` and ``failed_turns`` apply to each run by itself.

    Attributes:
        turns: Maximum number of replies of the model.
        calls: Maximum number of tool calls.
        calls_per_tool: Maximum number of calls of each tool: one number for all, or a dict by name. A call above it
            gets an error as its result, and with ``on_limit="answer"`` the run continues.
        tokens: Maximum number of tokens of requests and replies together; counted after each reply.
        cost: Maximum cost, as the server reports it or by ``price``; counted after each reply.
        price: The price of tokens, for servers that do not report a cost.
        seconds: Maximum time that the run works; waiting for decisions does not count. With ``on_limit="answer"`` the
            last tenth is reserved for the answer, and whatever still runs then is cancelled.
        nested_depth: How deep agents may call agents; 0 for not at all.
        repeated_turns: Maximum number of turns in a row with the same calls and the same results. Two turns before
            that, but not before the third, the model gets a warning.
        failed_turns: Maximum number of turns in a row in which every call fails.
        request_retries: Maximum number of requests that are sent again.
        handoffs: Maximum number of hand-offs between agents in one exchange; one above it gets an error as its result.
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
    handoffs: int = 10
    on_limit: Literal["answer", "stop", "raise"] = "answer"

    def __post_init__(self) -> None:
        for complaint in chain(self._wrong_counts(), self._wrong_numbers()):
            raise ConfigError(f"Limits({complaint}")
        price: Any = self.price
        if not isinstance(price, Price | None):
            raise ConfigError(f"Limits(price={price!r}): must be a Price(prompt=..., completion=...)")
        if self.on_limit not in ("answer", "stop", "raise"):
            raise ConfigError(f'Limits(on_limit={self.on_limit!r}): must be "answer", "stop" or "raise"')

    def _wrong_counts(self) -> Iterator[str]:
        for name, least, why in _COUNTS:
            value: object = getattr(self, name)
            optional = "" if name in _NEEDED else ", or None for no limit"
            if not _is_count(value) and (value is not None or not optional):
                yield f"{name}={value!r}): must be a whole number{optional}"
            elif isinstance(value, int) and value < least:
                yield f"{name}={value}): {why}"
        per_tool = self.calls_per_tool
        several: Iterable[object] = per_tool.values() if isinstance(per_tool, Mapping) else [per_tool]
        for most in several:
            if most is not None and not _is_count(most):
                yield f"calls_per_tool={per_tool!r}): must be a whole number, or one for each tool by its name"
            elif isinstance(most, int) and most < 0:
                yield f"calls_per_tool={most}): the number of calls cannot be negative"

    def _wrong_numbers(self) -> Iterator[str]:
        for name in ("cost", "seconds"):
            value: object = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
                yield f"{name}={value!r}): must be a number, or None for no limit"
            elif value is not None and not 0 < value < math.inf:
                yield f"{name}={value}): must be above 0, or None for no limit"

    def calls_of(self, tool: str) -> int | None:
        """Return the limit on the calls of one tool."""
        return self.calls_per_tool.get(tool) if isinstance(self.calls_per_tool, Mapping) else self.calls_per_tool

    def working_seconds(self) -> float:
        """Return the seconds that a run may work before it has to answer."""
        if self.seconds is None:
            return math.inf
        return self.seconds * (1 - _ANSWERING) if self.on_limit == "answer" else self.seconds


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _MOST


def limits_within(limits: Limits, spent: Spent, outer: Limits, outer_spent: Spent) -> Limits:
    """Return the limits of a nested run, reduced to what the outer run has left."""
    return replace(
        limits,
        price=limits.price or outer.price,
        calls=_smaller(limits.calls, outer.calls, outer_spent.calls, spent.calls),
        tokens=_smaller(limits.tokens, outer.tokens, outer_spent.usage.total_tokens, spent.usage.total_tokens),
        cost=_smaller(limits.cost, outer.cost, outer_spent.usage.cost or 0.0, spent.usage.cost or 0.0),
    )


def _smaller(own: N | None, theirs: N | None, their_use: N, own_use: N) -> N | None:
    if theirs is None:
        return own
    left = max(theirs - their_use, type(theirs)(0)) + own_use
    return left if own is None else min(own, left)


def limit_usage(spent: Spent, limits: Limits) -> list[LimitUsage]:
    """Return the use of each limit that is a sum."""
    usage = [
        ("turns", spent.turns, limits.turns),
        ("calls", spent.calls, limits.calls),
        ("tokens", spent.usage.total_tokens, limits.tokens),
        ("cost", spent.usage.cost or 0.0, limits.cost),
        ("seconds", spent.seconds, limits.seconds),
    ]
    return [LimitUsage(name, used, most) for name, used, most in usage if most is not None]


def time_limit_in_words(limits: Limits) -> str:
    """Return the time limit in words."""
    return f"the limit of {limits.seconds:g} second{'' if limits.seconds == 1 else 's'}"


def limit_in_words(most: int, what: str) -> str:
    """Return a limit in words."""
    return f"the limit of {most} {what}{'' if most == 1 else 's'}"


def estimated_usage(usage: Usage, request: ChatRequest, answer: Message) -> Usage:
    """Return the usage with estimates of the tokens of a request and its answer."""
    prompt, completion = size_of_request(request), size_of_messages([answer])
    total = prompt + completion
    return replace(
        usage, prompt_tokens=prompt, completion_tokens=completion, total_tokens=total, estimated_tokens=total
    )


def priced_usage(reply: Reply, request: ChatRequest, spent: Spent, limits: Limits) -> Usage:
    """Return the usage of a reply: estimated where the server does not report it, with its cost where it is known.

    Raises:
        ConfigError: There is a limit on the cost, but neither a reported cost nor a price.
    """
    usage = reply.usage
    if not usage.total_tokens and usage.requests:
        usage = estimated_usage(usage, request, reply.choices[0].message)
    if usage.cost is not None and not 0 <= usage.cost < math.inf:
        usage = replace(usage, cost=None)  # it would raise the limit, or never reach one
    if usage.cost is None and limits.price is not None:
        usage = replace(usage, cost=limits.price.of(usage))
    if usage.cost is None and spent.usage.cost is None and limits.cost is not None and usage.requests:
        raise ConfigError(
            "the server does not report what a request costs, so Limits(cost=...) cannot be enforced: "
            "set a price, Limits(cost=..., price=Price(prompt=..., completion=...))"
        )
    return usage


def remaining(spent: Spent, limits: Limits) -> Remaining:
    """Return the limits that remain."""
    left = {each.name: max(0, each.most - each.used) for each in limit_usage(spent, limits)}
    return Remaining(
        turns=int(left["turns"]),
        calls=None if limits.calls is None else int(left["calls"]),
        tokens=None if limits.tokens is None else int(left["tokens"]),
        cost=left.get("cost"),
        seconds=left.get("seconds"),
    )
