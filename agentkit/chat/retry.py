"""Whether and when a failed request is sent again. Pure: the caller brings the error and the dice.

Follows the official client in its delays (0.5 s, doubling to 8 s) and its headers (``retry-after-ms``,
``retry-after``, ``x-should-retry``).
"""

from __future__ import annotations

import email.utils
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from agentkit.errors import (
    ConnectionFailed,
    ContextTooLong,
    DeadlineExceeded,
    IncompleteReply,
    InvalidReply,
    ModelError,
    QuotaExceeded,
    StatusError,
)

__all__ = ["RetryPolicy", "wait_before_retry"]

_TRY_AGAIN = frozenset({408, 409, 425, 429, 529})


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and how patiently a request is sent again.

    Attributes:
        retries: Most further tries after the first.
        first_wait: Seconds before the first retry; each further one waits twice as long.
        most_wait: Most seconds of a wait that we choose ourselves.
        most_asked: Most seconds of a wait that the server asks for; if it wants more, there is no retry.
    """

    retries: int = 2
    first_wait: float = 0.5
    most_wait: float = 8.0
    most_asked: float = 120.0


def wait_before_retry(
    policy: RetryPolicy, error: ModelError, *, attempt: int, now: float, dice: Callable[[], float]
) -> float | None:
    """Seconds to wait before the next try, or None to give up.

    Args:
        policy: How patient to be.
        error: Why this try failed.
        attempt: The try that failed, counted from 1.
        now: Seconds since the epoch, for a ``retry-after`` that is a date.
        dice: Gives a number from 0 up to 1; a wait of ours is shortened by up to a quarter of itself.
    """
    if attempt > policy.retries or not _worth_it(error):
        return None
    asked = _asked(error.headers, now) if isinstance(error, StatusError) else None
    if asked is not None:
        return asked if asked <= policy.most_asked else None
    wait = min(policy.first_wait * 2.0 ** (attempt - 1), policy.most_wait)
    return wait * (1 - dice() / 4)


def _worth_it(error: ModelError) -> bool:
    if isinstance(error, QuotaExceeded | ContextTooLong):
        return False
    if isinstance(error, StatusError):
        told = error.headers.get("x-should-retry")
        if told in ("true", "false"):
            return told == "true"
        return error.status in _TRY_AGAIN or error.status >= 500
    return isinstance(error, ConnectionFailed | DeadlineExceeded | IncompleteReply | InvalidReply)


def _asked(headers: Mapping[str, str], now: float) -> float | None:
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    text = headers.get("retry-after")
    seconds = _number(text)
    if seconds is not None or text is None:
        return seconds
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - now)
    except ValueError:
        return None


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 <= value < float("inf") else None
