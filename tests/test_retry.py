import pytest

from agentkit.chat.transport.retry import RetryPolicy, wait_before_retry
from agentkit.errors import (
    AuthenticationFailed,
    BadRequest,
    ConnectionFailed,
    ContextTooLong,
    DeadlineExceeded,
    IncompleteReply,
    InvalidReply,
    MalformedToolCall,
    ModelError,
    Overloaded,
    QuotaExceeded,
    RateLimited,
    Refused,
)

NOW = 1_000_000_000.0  # 2001-09-09 01:46:40 UTC


def wait(error: ModelError, attempt: int = 1, dice: float = 0.0) -> float | None:
    return wait_before_retry(RetryPolicy(), error, attempt=attempt, now=NOW, dice=lambda: dice)


def limited(**headers: str) -> RateLimited:
    return RateLimited("", status=429, headers={name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (ConnectionFailed(""), 0.5),
        (DeadlineExceeded("", which="first_byte"), 0.5),
        (DeadlineExceeded("", which="idle", answered=True), None),  # the server may still be working on it
        (DeadlineExceeded("", which="total", answered=True), None),
        (MalformedToolCall(""), 0.5),
        (IncompleteReply(""), 0.5),
        (InvalidReply(""), 0.5),
        (Overloaded("", status=503), 0.5),
        (BadRequest("", status=408), 0.5),
        (BadRequest("", status=409), 0.5),
        (limited(), 0.5),
        (limited(retry_after_ms="1500"), 1.5),
        (limited(retry_after="7"), 7.0),
        (limited(retry_after="0.25"), 0.25),
        (limited(retry_after="Sun, 09 Sep 2001 01:46:50 GMT"), 10.0),
        (limited(retry_after="Sun, 09 Sep 2001 01:46:30 GMT"), 0.0),
        (limited(retry_after="soon"), 0.5),
        (limited(retry_after="-5"), 0.5),
        (limited(retry_after="600"), None),
        (limited(x_ratelimit_reset_requests="1s"), 1.0),
        (limited(x_ratelimit_reset_tokens="1m0.5s"), 60.5),
        (limited(x_ratelimit_reset_requests="350ms", x_ratelimit_reset_tokens="2s"), 2.0),
        (limited(x_ratelimit_reset_requests="9s", x_ratelimit_remaining_requests="5"), 0.5),
        (limited(x_ratelimit_reset="1000000003"), 3.0),
        (limited(x_ratelimit_reset="1000000003000"), 3.0),
        (limited(x_ratelimit_reset_requests="soon"), 0.5),
        (limited(retry_after="7", x_ratelimit_reset_requests="1s"), 7.0),
        (RateLimited("Rate limit reached. Please try again in 20s.", status=429), 20.0),
        (RateLimited("Please retry after 1m30s", status=429), 90.0),
        (RateLimited("Please try again in 6h", status=429), None),
        (RateLimited("Please retry after 26 seconds.", status=429), 26.0),
        (RateLimited("Try again in 1 minute, or pay", status=429), 60.0),
        (RateLimited("retry in 900 milliseconds", status=429), 0.9),
        (RateLimited("retry in 3 tries", status=429), 0.5),
        (Overloaded("try again in 20s", status=500), 0.5),
        (limited(x_should_retry="false"), None),
        (BadRequest("", status=400, headers={"x-should-retry": "true"}), 0.5),
        (BadRequest("", status=400), None),
        (AuthenticationFailed("", status=401), None),
        (QuotaExceeded("", status=429), None),
        (ContextTooLong("", status=400), None),
        (Refused(""), None),
    ],
)
def test_what_is_worth_another_try_and_when(error: ModelError, seconds: float | None) -> None:
    assert wait(error) == seconds


def test_the_wait_is_read_from_all_that_the_server_said() -> None:
    error = RateLimited("a long answer...", status=429)
    error.said = "x" * 300 + " Please try again in 15.5s."
    assert wait(error) == 15.5


def test_what_would_come_again_as_it_was_is_not_asked_for_again() -> None:
    error = InvalidReply("compressed with br")
    error.again = False
    assert wait(error) is None


def test_waits_double_and_end() -> None:
    assert [wait(Overloaded("", status=500), attempt) for attempt in (1, 2, 3)] == [0.5, 1.0, None]


def test_a_wait_of_ours_is_shortened_by_chance_and_one_that_was_asked_for_is_not() -> None:
    assert wait(ConnectionFailed(""), dice=1.0) == 0.375
    assert wait(limited(retry_after="8"), dice=1.0) == 8.0


def test_a_long_outage_is_not_asked_ever_more_slowly() -> None:
    policy = RetryPolicy(retries=100)
    assert wait_before_retry(policy, ConnectionFailed(""), attempt=99, now=NOW, dice=lambda: 0.0) == 8.0
