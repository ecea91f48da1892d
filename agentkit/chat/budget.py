"""How many requests a run may send again altogether, so that a server that fails again and again is not hammered."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

__all__ = ["retry_budget", "spend_retry"]


@dataclass(slots=True)
class _Left:
    retries: int


_left: ContextVar[_Left | None] = ContextVar("agentkit_retries_left", default=None)


@contextmanager
def retry_budget(retries: int) -> Generator[None]:
    """All that runs inside shares so many retries, runs of other agents included: the outermost budget holds."""
    if _left.get() is not None:
        yield
        return
    token = _left.set(_Left(retries))
    try:
        yield
    finally:
        _left.reset(token)


def spend_retry() -> bool:
    """Whether one more request may be sent again; without a budget always."""
    left = _left.get()
    if left is None:
        return True
    left.retries -= 1
    return left.retries >= 0
