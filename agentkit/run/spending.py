"""What a run has used of its limits. A run inside a tool of another counts for that one too."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TypeVar

from agentkit.chat.reply import Reply, Usage
from agentkit.chat.request import ChatRequest
from agentkit.chat.tokens import size_of_messages, size_of_request
from agentkit.errors import ConfigError, LimitReached
from agentkit.run.limits import Limits
from agentkit.run.state import RunState
from agentkit.tools.context import Remaining

__all__ = [
    "Used",
    "effective_limits",
    "limit_of",
    "limit_usage",
    "nested_run",
    "out_of_time",
    "reached_limit",
    "remaining",
    "spend",
]

N = TypeVar("N", int, float)
_NEARLY = 1e-6  # of a second: clocks are floats


@dataclass(frozen=True, slots=True)
class Used:
    """How much of a limit is used: ``name`` is that of `Limits`."""

    name: str
    used: float
    most: float


_above: ContextVar[tuple[tuple[RunState, Limits], ...]] = ContextVar("agentkit_runs_above", default=())


@contextmanager
def nested_run(state: RunState, limits: Limits) -> Generator[None]:
    """Runs that are opened inside belong to this one.

    Raises:
        LimitReached: This run is deeper inside another than that one allows.
    """
    above = _above.get()
    for depth, (_, theirs) in enumerate(reversed(above), start=1):
        if depth > theirs.nested_depth:
            raise LimitReached(f"agents may call agents {theirs.nested_depth} deep here, and no deeper", state=state)
    token = _above.set((*above, (state, limits)))
    try:
        yield
    finally:
        _above.reset(token)


def spend(usage: Usage = Usage(), *, calls: int = 0) -> None:
    """Count what was used, in the innermost run and in all that it is inside of."""
    for state, _ in _above.get():
        state.usage += usage
        state.calls += calls


def effective_limits(limits: Limits) -> Limits:
    """The limits of the innermost run, as far as the runs that it is inside of have so much left."""
    *outer, (state, _) = _above.get()
    for other, theirs in reversed(outer):
        limits = replace(
            limits,
            price=limits.price or theirs.price,
            calls=_smaller(limits.calls, theirs.calls, other.calls, state.calls),
            tokens=_smaller(limits.tokens, theirs.tokens, other.usage.total_tokens, state.usage.total_tokens),
            cost=_smaller(limits.cost, theirs.cost, other.usage.cost or 0.0, state.usage.cost or 0.0),
        )
    if not state.turns and limits.on_limit == "answer" and 0 in (limits.tokens, limits.cost):
        return replace(limits, on_limit="stop")  # the others have left it nothing, and it has nothing to answer from
    return limits


def _smaller(own: N | None, theirs: N | None, their_use: N, own_use: N) -> N | None:
    if theirs is None:
        return own
    left = max(theirs - their_use, type(theirs)(0)) + own_use
    return left if own is None else min(own, left)


def limit_usage(state: RunState, limits: Limits) -> Iterator[Used]:
    """How much is used of each limit that a run can come to."""
    yield Used("turns", state.turns, limits.turns)
    if limits.calls is not None:
        yield Used("calls", state.calls, limits.calls)
    if limits.tokens is not None:
        yield Used("tokens", state.usage.total_tokens, limits.tokens)
    if limits.cost is not None:
        yield Used("cost", state.usage.cost or 0.0, limits.cost)
    if limits.seconds is not None:
        yield Used("seconds", state.seconds, limits.seconds)


def reached_limit(state: RunState, limits: Limits) -> str:
    """The limit after which the model must answer, in words; empty while there is none. Calls have a rule elsewhere."""
    if state.turns >= limits.turns:
        return limit_of(limits.turns, "turn")
    if limits.failed_turns is not None and state.failed_turns >= limits.failed_turns:
        return f"{limit_of(limits.failed_turns, 'turn')} in which every call failed"
    if limits.tokens is not None and state.usage.total_tokens >= limits.tokens:
        return limit_of(limits.tokens, "token")
    if limits.cost is not None and (state.usage.cost or 0.0) >= limits.cost:
        return f"the cost limit of {limits.cost:g}"
    return out_of_time(state, limits)


def out_of_time(state: RunState, limits: Limits) -> str:
    """The limit on the time of a run, if it may not work any more; empty while it may."""
    if limits.seconds is not None and state.seconds >= limits.working_seconds() - _NEARLY:
        return time_limit(limits)
    return ""


def time_limit(limits: Limits) -> str:
    """The limit on the time of a run, in words."""
    return f"the limit of {limits.seconds:g} second{'' if limits.seconds == 1 else 's'}"


def limit_of(most: int, what: str) -> str:
    """A limit in words: so many of what."""
    return f"the limit of {most} {what}{'' if most == 1 else 's'}"


def counted(reply: Reply, request: ChatRequest, state: RunState, limits: Limits) -> Usage:
    """What a reply took: estimated where the server does not say it, and with its price where we know it.

    Raises:
        ConfigError: There is a limit on the cost, and nobody has ever said what a reply costs.
    """
    usage = reply.usage
    if not usage.total_tokens and usage.requests:
        prompt, completion = size_of_request(request), size_of_messages([reply.message])
        total = prompt + completion
        usage = replace(
            usage, prompt_tokens=prompt, completion_tokens=completion, total_tokens=total, estimated_tokens=total
        )
    if usage.cost is not None and not 0 <= usage.cost < math.inf:
        usage = replace(usage, cost=None)  # it would make room in the limit, or reach none
    if usage.cost is None and limits.price is not None:
        usage = replace(usage, cost=limits.price.of(usage))
    if usage.cost is None and state.usage.cost is None and limits.cost is not None and usage.requests:
        raise ConfigError(
            "the server does not say what a request costs, so that Limits(cost=...) cannot hold: "
            "give it a price, Limits(cost=..., price=Price(prompt=..., completion=...))"
        )
    return usage


def remaining(state: RunState, limits: Limits) -> Remaining:
    """What a tool may know of what is left."""
    left = {each.name: max(0, each.most - each.used) for each in limit_usage(state, limits)}
    return Remaining(
        turns=int(left["turns"]),
        calls=None if limits.calls is None else int(left["calls"]),
        tokens=None if limits.tokens is None else int(left["tokens"]),
        cost=left.get("cost"),
        seconds=left.get("seconds"),
    )
