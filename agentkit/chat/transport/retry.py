"""Decide whether and when to retry a failed request. Pure: the caller supplies the error, the time and the randomness.

Follows the official client in its delays (0.5 s, doubling to 8 s) and its headers (``retry-after-ms``,
``retry-after``, ``x-should-retry``). Where these are missing, a rate limit's reset (``x-ratelimit-reset-requests`` and
``-tokens``: ``350ms``, ``1s``, ``6m0s`` or a time) or the words of the error ("try again in 20s") say how long to wait.
"""

from __future__ import annotations

import email.utils
import math
import re
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
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

_left: ContextVar[list[int] | None] = ContextVar("agentkit_retries_left", default=None)  # one number, shared


@contextmanager
def retry_budget(retries: int) -> Generator[None]:
    """Everything inside shares this many retries, nested runs included: the outermost budget applies."""
    if _left.get() is not None:
        yield
        return
    token = _left.set([retries])
    try:
        yield
    finally:
        _left.reset(token)


def spend_retry() -> bool:
    """Return True if one more retry is allowed; without a budget, always."""
    left = _left.get()
    if left is None:
        return True
    left[0] -= 1
    return left[0] >= 0


_TRY_AGAIN = frozenset({408, 409, 425, 429, 529})
_RESETS = ("x-ratelimit-reset-requests", "x-ratelimit-reset-tokens", "x-ratelimit-reset")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(ms|s|m|h|d)")
_DURATION = re.compile(rf"(?:{_PART.pattern})+")
_HINT = re.compile(rf"(?:try again|retry) (?:in|after) ((?:{_PART.pattern})+)", re.I)
_LONG_UNIT = re.compile(r"(?<=\d) ?(milliseconds?|seconds?|minutes?|hours?)\b", re.I)
_SHORT = {"mil": "ms", "sec": "s", "min": "m", "hou": "h"}


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """The number of retries of a request and the waits between them.

    Attributes:
        retries: Maximum number of further tries after the first.
        first_wait: Seconds before the first retry; each further one waits twice as long.
        most_wait: The longest wait that we choose ourselves, in seconds.
        most_asked: The longest wait that the server may ask for, in seconds; if it wants more, there is no retry.
        after_text: Whether a stream is retried even if some of its text was already shown. `Retrying` then
            says that what was shown is discarded.
    """

    retries: int = 2
    first_wait: float = 0.5
    most_wait: float = 8.0
    most_asked: float = 120.0
    after_text: bool = False


def wait_before_retry(
    policy: RetryPolicy, error: ModelError, *, attempt: int, now: float, dice: Callable[[], float]
) -> float | None:
    """Seconds to wait before the next try, or None to give up.

    Args:
        policy: How patient to be.
        error: Why this try failed.
        attempt: The try that failed, counted from 1.
        now: Seconds since the epoch, for a ``retry-after`` that is a date.
        dice: Returns a random number from 0 up to 1; it shortens a wait that we choose by up to a quarter.
    """
    if attempt > policy.retries or not _is_worth_it(error):
        return None
    asked = _asked(error, now) if isinstance(error, StatusError) else None
    if asked is not None:
        return asked if asked <= policy.most_asked else None
    wait = min(policy.first_wait * 2.0 ** (attempt - 1), policy.most_wait)
    return wait * (1 - dice() / 4)


def _is_worth_it(error: ModelError) -> bool:
    if isinstance(error, QuotaExceeded | ContextTooLong):
        return False
    if isinstance(error, StatusError):
        wish = error.headers.get("x-should-retry")
        if wish in ("true", "false"):
            return wish == "true"
        return error.status in _TRY_AGAIN or error.status >= 500
    if isinstance(error, InvalidReply):
        return error.again
    if isinstance(error, DeadlineExceeded):
        return not error.answered  # otherwise the server may still be working on it
    return isinstance(error, ConnectionFailed | IncompleteReply)


def _asked(error: StatusError, now: float) -> float | None:
    """The wait that the server asks for, in seconds."""
    headers = error.headers
    milliseconds = _seconds(headers.get("retry-after-ms"), now)
    if milliseconds is not None:
        return milliseconds / 1000
    after = _seconds(headers.get("retry-after"), now)
    if after is not None or error.status not in (429, 503):
        return after
    used_up = (  # of several limits, those that the server says are used up
        name for name in _RESETS if (_seconds(headers.get(name.replace("reset", "remaining")), now) or 0) < 1
    )
    resets = [reset for name in used_up if (reset := _seconds(headers.get(name), now)) is not None]
    if resets:
        return max(resets)
    hint = _HINT.search(_LONG_UNIT.sub(lambda unit: _SHORT[unit[1][:3].lower()], error.said or str(error)))
    return _seconds(hint[1], now) if hint else None


def _seconds(text: str | None, now: float) -> float | None:
    """The seconds that a number, a duration (``1m30s``) or a time stands for: one in seconds, milliseconds or words."""
    text = (text or "").strip()
    try:
        value = float(text)
    except ValueError:
        if _DURATION.fullmatch(text):
            return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
        try:
            return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - now)
        except ValueError:
            return None
    if not 0 <= value < math.inf:
        return None
    if value > 1e11:
        value /= 1000
    return max(0.0, value - now) if value > 1e9 else value
