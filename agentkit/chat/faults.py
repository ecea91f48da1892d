"""What a server says when it fails -> a typed error. Pure.

Error bodies come in many forms: ``{"error": {...}}`` (OpenAI), ``{"error": "text"}``, ``{"detail": ...}`` (FastAPI),
``{"message": ...}``, ``{"object": "error", ...}`` (vLLM), ``{"error": {"code", "message"}, "trace_id"}`` (Ace Data
Cloud), HTML, or nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import cast

from pydantic_core import from_json

from agentkit.chat.tolerant import as_mapping, as_text
from agentkit.errors import (
    AuthenticationFailed,
    BadRequest,
    ContextTooLong,
    ModelError,
    NotFound,
    Overloaded,
    QuotaExceeded,
    RateLimited,
    StatusError,
)

__all__ = ["error_of_status", "error_of_value", "excerpt"]

_NO_CREDIT = re.compile(
    r"insufficient_?(quota|balance|credit)|exceeded_current_quota|billing|out of credit|balance", re.I
)
_TOO_LONG = re.compile(
    r"context_length_exceeded|maximum context length|context (window|size)|prompt is too long|too many tokens"
    r"|exceed_context_size|input is too long",
    re.I,
)
_LIMIT = re.compile(r"(?:maximum context length is|context size \(?|limit of|n_ctx\W+|>) ?(\d[\d,]*)", re.I)
_GOT = re.compile(r"(?:resulted in|requested|n_prompt_tokens\W+|prompt is too long:|request \() ?(\d[\d,]*)", re.I)

_HINTS: Mapping[type[StatusError], str] = {
    AuthenticationFailed: "check the key and what it is allowed to do",
    NotFound: "check the model's name and the base URL",
    QuotaExceeded: "the account has no credit left",
    RateLimited: "too many requests for now",
}


def error_of_status(status: int, headers: Mapping[str, str], body: bytes, *, server: str) -> ModelError:
    """The error for an answer with an error status; ``server`` names the endpoint in its message."""
    try:
        value: object = from_json(body)
    except ValueError:
        value = body.decode("utf-8", "replace")
    return error_of_value(value, status=status, headers=headers, server=server)


def error_of_value(
    value: object, *, server: str, status: int | None = None, headers: Mapping[str, str] | None = None
) -> ModelError:
    """The error for an error object, which a stream and even an answer with status 200 can hold."""
    headers = headers or {}
    message, codes = _message_of(value), _codes_of(value)
    status = status or _status_of(codes)
    kind = _kind(status, " ".join([*codes, message]))
    hint = f" ({_HINTS[kind]})" if kind in _HINTS else ""
    error = kind(
        f"{server} answered {status}: {message or 'nothing more'}{hint}",
        status=status,
        headers=dict(headers),
        code=codes[0] if codes else None,
        request_id=headers.get("x-request-id") or _trace_id(value),
        body=excerpt(value),
    )
    if isinstance(error, ContextTooLong):
        error.limit, error.got = _number(_LIMIT, message), _number(_GOT, message)
    return error


def excerpt(value: object, most: int = 200) -> str:
    """The beginning of what a server sent, on one line."""
    text = " ".join(str(value).split())
    return text if len(text) <= most else f"{text[:most]}..."


def _kind(status: int, text: str) -> type[StatusError]:
    if status in (400, 413, 422, 500) and _TOO_LONG.search(text):
        return ContextTooLong
    if status == 402 or (status in (403, 429) and _NO_CREDIT.search(text)):
        return QuotaExceeded
    if status in (401, 403):
        return AuthenticationFailed
    named: dict[int, type[StatusError]] = {404: NotFound, 429: RateLimited}
    return named.get(status) or (Overloaded if status >= 500 else BadRequest)


def _message_of(value: object) -> str:
    """The server's own words, wherever it put them."""
    if isinstance(value, str):
        return excerpt(re.sub(r"<[^>]{0,500}>", " ", value))
    if isinstance(value, list):
        return excerpt("; ".join(filter(None, (_message_of(each) for each in cast("list[object]", value)))))
    members = as_mapping(value)
    found = (_message_of(members[name]) for name in ("error", "message", "detail", "msg", "errors") if name in members)
    return next(filter(None, found), "")


def _codes_of(value: object) -> list[str]:
    members = as_mapping(value)
    inner = _codes_of(members["error"]) if "error" in members else []
    return inner + [str(members[name]) for name in ("code", "type") if isinstance(members.get(name), str | int)]


def _status_of(codes: list[str]) -> int:
    """The status that an error without one stands for; 500 when it does not say."""
    text = " ".join(codes)
    number = next((int(code) for code in codes if code.isdecimal() and 400 <= int(code) <= 599), None)
    if number is not None:
        return number
    words = {"rate_limit": 429, "quota": 429, "invalid": 400, "authentication": 401, "not_found": 404, "context": 400}
    return next((status for word, status in words.items() if word in text), 500)


def _trace_id(value: object) -> str | None:
    return as_text(as_mapping(value).get("trace_id")) or None


def _number(pattern: re.Pattern[str], text: str) -> int | None:
    found = pattern.search(text)
    return int(found[1].replace(",", "")) if found else None
