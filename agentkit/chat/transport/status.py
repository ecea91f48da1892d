"""What a server says when it fails -> a typed error. Pure.

Error bodies come in many forms: ``{"error": {...}}`` (OpenAI), ``{"error": "text"}``, ``{"detail": ...}`` (FastAPI),
``{"message": ...}``, ``{"object": "error", ...}`` (vLLM), ``{"error": {"code", "message"}, "trace_id"}`` (Ace Data
Cloud), HTML, or nothing. A page of Ace Data Cloud lists its codes: a missing token is 400 ``no_token``, a used up
balance, a disabled credential and moderated content are 403.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

from pydantic_core import from_json

from agentkit.chat.decoding.lenient import as_mapping, as_mappings, as_text
from agentkit.errors import (
    AuthenticationFailed,
    BadRequest,
    ContentFiltered,
    ContextTooLong,
    ModelError,
    NotFound,
    Overloaded,
    QuotaExceeded,
    RateLimited,
    StatusError,
)

__all__ = ["error_of_status", "error_of_value", "excerpt"]

_NO_CREDIT = re.compile(r"insufficient[_ ]?(?:quota|balance|credit)|exceeded_current_quota|out of credit|used_up", re.I)
_OF_MONEY = re.compile(r"\bbilling\b|\bbalance\b", re.I)  # also in advice: "you need more? see .../billing"
_FOR_NOW = re.compile(r"rate[_ ]limit|(?:try again|retry) (?:in|after) \d", re.I)
_TOO_LONG = re.compile(
    r"context_length_exceeded|maximum context length|context (window|size)|prompt is too long|too many tokens"
    r"|exceed_context_size|input is too long|(?:input|prompt) tokens? count.{0,40}exceeds",
    re.I,
)
_FILTERED = re.compile(
    r"content_filter|content_policy|content management policy|ResponsibleAIPolicy|moderation|flagged_input"
    r"|data_inspection_failed",
    re.I,
)
_NO_KEY = re.compile(
    r"\b(?:no_token|invalid_token|token_expired|invalid_api_key|incorrect_api_key|missing_api_key)\b", re.I
)
_MOST_SAID = 2_000  # characters
_LIMIT = re.compile(
    r"(?:maximum context length is|context size \(?|limit of|n_ctx\W+|tokens allowed \(|>) ?(\d[\d,]*)", re.I
)
_GOT = re.compile(
    r"(?:resulted in|requested|token count \(|n_prompt_tokens\W+|prompt is too long:|request \() ?(\d[\d,]*)", re.I
)

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
    said, codes = excerpt(_words_of(value), _MOST_SAID), _codes_of(value)
    message = excerpt(said)
    status = status or _status_of(codes)
    about = " ".join([*codes, said])
    known: dict[str, Any] = {
        "code": codes[0] if codes else None,
        "request_id": headers.get("x-request-id") or _trace_id(value),
        "body": excerpt(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)),
    }
    if status in (400, 403, 422, 451) and (_FILTERED.search(about) or "flagged_input" in str(value)[:_MOST_SAID]):
        return ContentFiltered(f"{server} answered {status}: {message or 'filtered'} (change the request)", **known)
    kind = _kind(status, about)
    hint = f" ({_HINTS[kind]})" if kind in _HINTS else ""
    error = kind(
        f"{server} answered {status}: {message or 'nothing more'}{hint}",
        status=status,
        headers=dict(headers),
        **known,
    )
    error.params, error.said = tuple(_params_of(value)), said
    if isinstance(error, ContextTooLong):
        error.limit, error.got = _number(_LIMIT, said), _number(_GOT, said)
    return error


def excerpt(value: object, most: int = 200) -> str:
    """The beginning of what a server sent, on one line."""
    text = " ".join(str(value).split())
    return text if len(text) <= most else f"{text[:most]}..."


def _kind(status: int, text: str) -> type[StatusError]:
    if status == 413 or (status in (400, 422, 500) and _TOO_LONG.search(text)):
        return ContextTooLong
    if status == 402 or (status in (403, 429) and _is_without_credit(text)):
        return QuotaExceeded
    if status in (401, 403) or (status == 400 and _NO_KEY.search(text)):
        return AuthenticationFailed
    named: dict[int, type[StatusError]] = {404: NotFound, 429: RateLimited}
    return named.get(status) or (Overloaded if status >= 500 else BadRequest)


def _is_without_credit(text: str) -> bool:
    return bool(_NO_CREDIT.search(text) or (_OF_MONEY.search(text) and not _FOR_NOW.search(text)))


def _words_of(value: object) -> str:
    """All that the server said, wherever it put it, with what a gateway was told by the server behind it."""
    if isinstance(value, str):
        return _words_of_text(value[: _MOST_SAID * 4])
    if isinstance(value, list):
        return "; ".join(filter(None, (_words_of(each) for each in cast("list[object]", value)[:50])))
    members = as_mapping(value)
    loc = members.get("loc")
    place = [".".join(str(part) for part in cast("list[object]", loc))] if isinstance(loc, list) else []
    names = ("error", "message", "detail", "msg", "errors", "metadata", "raw")
    return ": ".join(filter(None, [*place, *(_words_of(members[name]) for name in names if name in members)]))


def _words_of_text(text: str) -> str:
    """The text without the tags of HTML; gateways put the body of another error into it as JSON."""
    if text.startswith("{"):
        with contextlib.suppress(ValueError):
            return _words_of(from_json(text)) or text
    return re.sub(r"<[^>]{0,500}>", " ", text)


def _codes_of(value: object) -> list[str]:
    members = as_mapping(value)
    inner = _codes_of(members["error"]) if "error" in members else []
    return inner + [str(members[name]) for name in ("code", "type") if isinstance(members.get(name), str | int)]


def _params_of(value: object) -> Iterator[str]:
    """The members that the server names: ``param`` (OpenAI), or what pydantic found beside those that it knows."""
    members = as_mapping(value)
    for each in (as_mapping(members.get("error")), members):
        if as_text(each.get("param")):
            yield as_text(each["param"])
    for each in as_mappings(members.get("detail")):
        loc = each.get("loc")
        if isinstance(loc, list) and as_text(each.get("type")) in ("", "extra_forbidden", "value_error.extra"):
            yield ".".join(str(part) for part in cast("list[object]", loc))


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
