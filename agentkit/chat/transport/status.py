"""Typed errors from a server's error responses. Pure.

Error bodies come in many forms: ``{"error": {...}}`` (OpenAI), ``{"error": "text"}``, ``{"detail": ...}`` (FastAPI),
``{"message": ...}``, ``{"object": "error", ...}`` (vLLM), ``{"error": {"code", "message"}, "trace_id"}`` (Ace Data
Cloud), HTML, or nothing. A page of Ace Data Cloud lists its codes: a missing token is 400 ``no_token``, a used up
balance, a disabled credential and moderated content are 403.

Whatever is shown is redacted first and shortened afterward, so that no part of a key remains at the end of it.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

from pydantic_core import from_json

from agentkit.chat.json_values import as_mapping, as_mappings, as_text
from agentkit.errors import (
    AuthenticationFailed,
    BadRequest,
    ContentFiltered,
    ContextTooLong,
    MalformedToolCall,
    ModelError,
    NotFound,
    Overloaded,
    QuotaExceeded,
    RateLimited,
    StatusError,
)

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
_MOST_READ = 8 * _MOST_SAID
_WRITTEN = 64  # characters that the end of a key may take, escaped
_HTML = re.compile(r"\s*<(?:!doctype|html|head|body|title|h1|center|pre|\?xml)\b", re.I)
_MALFORMED_CALL = re.compile(  # Ollama, llama.cpp
    r"error parsing tool call: raw='(?P<raw>.*)', err=|\bfailed to parse input at pos \d+: (?P<rest>.*)", re.I | re.S
)
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


def error_of_status(
    status: int, headers: Mapping[str, str], body: bytes, *, server: str, redact: Callable[[str], str] = str
) -> ModelError:
    """Read the error of an answer with an error status.

    Args:
        status: The status.
        headers: The answer's headers, names in lower case.
        body: The answer's body.
        server: Names the server in the message.
        redact: Takes the secrets out of a string.
    """
    value: object = body[: 16 * _MOST_READ].decode("utf-8", "replace")
    if len(body) <= 16 * _MOST_READ:
        with contextlib.suppress(ValueError):
            value = from_json(body)
    return error_of_value(value, status=status, headers=headers, server=server, redact=redact)


def error_of_value(
    value: object,
    *,
    server: str,
    status: int | None = None,
    headers: Mapping[str, str] | None = None,
    redact: Callable[[str], str] = str,
) -> ModelError:
    """Read an error object, which a stream and even an answer with status 200 can hold; see `error_of_status`."""
    headers = headers or {}
    words, codes = _words_of(value), [excerpt(code, redact=redact) for code in _codes_of(value)]
    said = excerpt(words, _MOST_SAID, redact=redact)
    message = excerpt(said)
    status = status or _status_of(codes)
    about = " ".join([*codes, said])
    known: dict[str, Any] = {
        "code": codes[0] if codes else None,
        "request_id": headers.get("x-request-id") or as_text(as_mapping(value).get("trace_id")) or None,
        "body": excerpt(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), redact=redact),
    }
    generation = _failed_generation(value, words)
    if generation is not None:
        malformed = MalformedToolCall(f"{server} could not parse a tool call of the model: {message}", **known)
        malformed.generation = generation
        return malformed
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


def excerpt(value: object, most: int = 200, *, redact: Callable[[str], str] = str) -> str:
    """Shorten what a server sent to its beginning, on one line; it is redacted before it is shortened."""
    given = str(value)
    read = " ".join(given[: 4 * _MOST_READ].split())
    text = redact(read[:_MOST_READ])
    if len(given) > _MOST_READ:  # what was read may end within a key
        text = text[:-_WRITTEN]
    return text if len(text) <= most else f"{text[:most]}..."


def _failed_generation(value: object, words: str) -> str | None:
    """The model's text in an error of a server that could not parse a call in it: Groq, Ollama, llama.cpp."""
    report = as_mapping(as_mapping(value).get("error"))
    if report.get("code") == "tool_use_failed":
        return as_text(report.get("failed_generation"))
    found = _MALFORMED_CALL.search(words)
    return found["raw"] or found["rest"] or "" if found else None


def _kind(status: int, text: str) -> type[StatusError]:
    if status == 413 or (status in (400, 422, 500) and _TOO_LONG.search(text)):
        return ContextTooLong
    is_without_credit = _NO_CREDIT.search(text) or (_OF_MONEY.search(text) and not _FOR_NOW.search(text))
    if status == 402 or (status in (403, 429) and is_without_credit):
        return QuotaExceeded
    if status in (401, 403) or (status == 400 and _NO_KEY.search(text)):
        return AuthenticationFailed
    named: dict[int, type[StatusError]] = {404: NotFound, 429: RateLimited}
    return named.get(status) or (Overloaded if status >= 500 else BadRequest)


def _words_of(value: object) -> str:
    """Everything the server said, wherever it put it, including what an upstream server said to it.

    Gateways put the body of another error into a string, as JSON; from a page of HTML only the words are taken.
    """
    if isinstance(value, str):
        if value.startswith("{"):
            with contextlib.suppress(ValueError):
                return _words_of(from_json(value)) or value
        return re.sub(r"<[^>]{0,500}>", " ", value[: 4 * _MOST_READ]) if _HTML.match(value) else value
    if isinstance(value, list):
        return "; ".join(filter(None, (_words_of(each) for each in cast("list[object]", value)[:50])))
    members = as_mapping(value)
    loc = members.get("loc")
    place = [".".join(str(part) for part in cast("list[object]", loc))] if isinstance(loc, list) else []
    names = ("error", "message", "detail", "msg", "errors", "metadata", "raw")
    return ": ".join(filter(None, [*place, *(_words_of(members[name]) for name in names if name in members)]))


def _codes_of(value: object) -> list[str]:
    members = as_mapping(value)
    inner = _codes_of(members["error"]) if "error" in members else []
    return inner + [str(members[name]) for name in ("code", "type") if isinstance(members.get(name), str | int)]


def _params_of(value: object) -> Iterator[str]:
    """The members that the server names: ``param`` (OpenAI), or those that pydantic reports as unknown."""
    members = as_mapping(value)
    for each in (as_mapping(members.get("error")), members):
        if as_text(each.get("param")):
            yield as_text(each["param"])
    for each in as_mappings(members.get("detail")):
        loc = each.get("loc")
        if isinstance(loc, list) and as_text(each.get("type")) in ("", "extra_forbidden", "value_error.extra"):
            yield ".".join(str(part) for part in cast("list[object]", loc))


def _status_of(codes: list[str]) -> int:
    """Return the status that an error without one stands for; 500 if it does not say."""
    text = " ".join(codes)
    number = next((int(code) for code in codes if code.isdecimal() and 400 <= int(code) <= 599), None)
    if number is not None:
        return number
    words = {"rate_limit": 429, "quota": 429, "invalid": 400, "authentication": 401, "not_found": 404, "context": 400}
    return next((status for word, status in words.items() if word in text), 500)


def _number(pattern: re.Pattern[str], text: str) -> int | None:
    found = pattern.search(text)
    return int(found[1].replace(",", "")) if found else None
