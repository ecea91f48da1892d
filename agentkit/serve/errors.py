"""Errors in the API's format: a status and ``{"error": {"message", "type", "param", "code"}}``."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

from agentkit import errors
from agentkit.errors import AgentKitError, ModelError, StatusError

__all__ = ["ApiError", "api_error", "bad_request"]

log = logging.getLogger("agentkit")
_LONGEST_WAIT = 3600


class ApiError(Exception):
    """An error that is sent to a client.

    Attributes:
        status: The HTTP status.
        message: What went wrong, for a person.
        type: ``invalid_request_error``, ``server_error`` or the like.
        param: The wrong parameter, or None.
        code: A word for programs; None if there is none.
        headers: Headers of the response.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "",  # noqa: A002 - the member's name
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.type = type or ("server_error" if status >= 500 else "invalid_request_error")
        self.param = param
        self.code = code
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """The error as the API writes it."""
        members = {"message": self.message, "type": self.type, "param": self.param, "code": self.code}
        return {"error": members}


def bad_request(message: str, param: str | None = None, *, code: str | None = None) -> ApiError:
    """The error for an invalid request."""
    return ApiError(400, message, param=param, code=code)


_OURS: Mapping[type[AgentKitError], tuple[int, str]] = {  # the first match counts; clients may read their messages
    errors.MissingKey: (500, "upstream_key_missing"),
    errors.SessionBusy: (409, "session_busy"),
    errors.SessionConflict: (409, "session_conflict"),
    errors.SessionError: (500, "session_error"),
    errors.StateError: (409, "run_waiting"),
    errors.ConfigError: (400, "invalid_value"),
    errors.ContextTooLong: (400, "context_length_exceeded"),
    errors.ContentFiltered: (400, "content_filter"),
    errors.AuthenticationFailed: (502, "upstream_authentication"),
    errors.NotFound: (502, "upstream_not_found"),
    errors.RateLimited: (429, "rate_limit_exceeded"),
    errors.QuotaExceeded: (429, "insufficient_quota"),
    errors.Overloaded: (503, "upstream_overloaded"),
    errors.DeadlineExceeded: (504, "upstream_timeout"),
    errors.ConnectionFailed: (502, "upstream_unreachable"),
    errors.ModelError: (502, "upstream_invalid_reply"),
    errors.LimitReached: (500, "limit_reached"),
    errors.OutputInvalid: (500, "output_invalid"),
}


def api_error(error: BaseException) -> ApiError:
    """Return the error for a client; details that it must not see, such as a tool's exception, are only logged."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, errors.BadRequest):
        status = error.status if 400 <= error.status < 500 else 400
        param = error.params[0] if error.params else None
        return ApiError(status, error.said or str(error), param=param, code=error.code)
    for kind, (status, code) in _OURS.items():
        if isinstance(error, kind):
            return ApiError(status, str(error), type=_type(status), code=code, headers=_headers(error))
    if isinstance(error, AgentKitError):
        log.warning("a run failed: %s", error)
        return ApiError(500, f"The agent failed ({type(error).__name__}).", code="agent_failed")
    if isinstance(error, TimeoutError):
        return ApiError(504, "The request took longer than this server allows.", code="timeout")
    log.error("a request failed unexpectedly", exc_info=error)
    return ApiError(500, "The server had an error while processing the request.", code="internal_error")


def _type(status: int) -> str:
    return "rate_limit_error" if status == 429 else ""


def _headers(error: AgentKitError) -> dict[str, str]:
    """Return how long to wait, as the upstream server said, and whether waiting helps."""
    if isinstance(error, errors.QuotaExceeded):
        return {"x-should-retry": "false"}
    if not isinstance(error, ModelError) or not isinstance(error, StatusError):
        return {}
    try:
        seconds = float(error.headers.get("retry-after", ""))
    except ValueError:
        seconds = 1.0
    is_short = 0 <= seconds <= _LONGEST_WAIT
    return {"retry-after": str(max(1, math.ceil(seconds)) if is_short else _LONGEST_WAIT)}
