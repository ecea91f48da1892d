"""Faults 17 to 28: error statuses, bodies that are no reply, and compression."""

from __future__ import annotations

import base64
import email.utils
import gzip
import json
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from agentkit.testing.server.table import TEXT, Play, Table, events, fine, play_bytes
from agentkit.testing.server.wire import Wire, as_chunks, completion, head, whole

__all__ = ["TABLE"]

TABLE = Table()


def _error(message: str, *, code: str | int | None = None, type: str = "server_error") -> str:  # noqa: A002 - the API's
    return json.dumps({"error": {"message": message, "type": type, "param": None, "code": code}})


def _answers(number: int, name: str, sentence: str, body: str, status: str = "200 OK", **headers: object) -> None:
    headers = {"connection": "close", **headers}
    TABLE.add(number, name, sentence, play_bytes(lambda: [whole(body, status, **headers)]))


_answers(17, "status_408", "408 Request Timeout.", _error("Request timed out."), "408 Request Timeout")
_answers(18, "status_409", "409 Conflict.", _error("The model is being loaded."), "409 Conflict")

for _name, _sentence, _headers in (
    ("rate_limited_ms", "with retry-after-ms", {"retry_after_ms": 20}),
    ("rate_limited_seconds", "with retry-after in seconds", {"retry_after": "0.02"}),
    ("rate_limited_garbage", "with a meaningless retry-after", {"retry_after": "soon, \x80\xff"}),
    ("rate_limited_negative", "with a negative retry-after", {"retry_after": -5}),
    ("rate_limited_huge", "with a retry-after of 10 minutes", {"retry_after": 600}),
    ("rate_limited_endless", "with an infinite retry-after", {"retry_after": "1e400"}),
):
    _body = _error("Rate limit reached for requests.", code="rate_limit_exceeded", type="requests")
    _answers(19, _name, f"429 {_sentence}.", _body, "429 Too Many Requests", **_headers)


@TABLE.plays(19)
def rate_limited_date(wire: Wire) -> None:
    """429 with a retry-after that is a date, half a second in the past."""
    when = email.utils.formatdate(time.time() - 0.5, usegmt=True)
    wire.send(whole(_error("Slow down."), "429 Too Many Requests", retry_after=when, connection="close"))


_answers(
    20,
    "quota_exceeded",
    "429 because the account has no credit.",
    _error(
        "You exceeded your current quota, please check your plan and billing details.",
        code="insufficient_quota",
        type="insufficient_quota",
    ),
    "429 Too Many Requests",
    retry_after=0,
)

_answers(21, "status_500", "500 with a JSON body.", _error("The server had an error."), "500 Internal Server Error")
_answers(21, "status_502", "502 with HTML.", "<html><h1>502 Bad Gateway</h1></html>", "502 Bad Gateway")
_answers(21, "status_503", "503 with plain text.", "no healthy upstream", "503 Service Unavailable", retry_after=0)
_answers(21, "status_504", "504 with an empty body.", "", "504 Gateway Timeout")
_answers(21, "status_529", "529 with a JSON body.", _error("Overloaded", type="overloaded_error"), "529 Overloaded")
_answers(22, "unauthorized", "401.", _error("Incorrect API key provided.", code="invalid_api_key"), "401 Unauthorized")
_answers(
    23,
    "too_large",
    "413 from a proxy, with HTML.",
    "<html>413 Request Entity Too Large</html>",
    "413 Payload Too Large",
)
_answers(
    23,
    "context_too_long",
    "400 because the messages do not fit the model.",
    _error(
        "This model's maximum context length is 4096 tokens. However, your messages resulted in 5000 tokens.",
        code="context_length_exceeded",
        type="invalid_request_error",
    ),
    "400 Bad Request",
)
_answers(24, "html_200", "200 with HTML.", "<!doctype html><html>Welcome to nginx!</html>", content_type="text/html")
_answers(24, "empty_200", "200 with an empty body.", "")


@TABLE.plays(25)
def wrong_content_type(wire: Wire) -> None:
    """The right body with the content type of an image."""
    body = b"".join(events()) if wire.request.stream else json.dumps(completion(fine())).encode()
    wire.send(whole(body, content_type="image/png", connection="close"))


_answers(26, "error_200", "200 with an error in it.", _error("The upstream failed.", code=503))
_answers(26, "error_text_200", "200 with an error that is a string.", json.dumps({"error": "model is loading"}))


def _reply(number: int, name: str, sentence: str, **members: Any) -> None:
    _answers(number, name, sentence, json.dumps({**completion(fine()), **members}))


_STOP = {"index": 0, "finish_reason": "stop"}
_reply(27, "choices_empty", "200 with no choices.", choices=[])
_reply(27, "choices_null", "200 with null for choices.", choices=None)
_reply(27, "message_null", "200 with a choice whose message is null.", choices=[{**_STOP, "message": None}])
_reply(
    27,
    "fields_odd",
    "A reply with members of the wrong type and unknown members.",
    id=7,
    created="now",
    usage={"prompt_tokens": "many", "completion_tokens": None, "total_tokens": -3},
    object=None,
    system_fingerprint={"a": [1]},
    choices=[{"index": None, "finish_reason": "stop", "message": {"content": TEXT, "role": None, "mood": {"x": 1}}}],
    surprise=[{"deep": None}],
)
_answers(27, "json_cut", "200 with JSON that ends in the middle.", json.dumps(completion(fine()))[:-40])


_PAD, _PADS = b" " * (1 << 20), 200  # 200 MB of blanks inside of a JSON text
_START, _END = b'{"choices": [], "pad": "', b'"}'


def _deflated(packer: Any) -> Iterator[bytes]:
    """The text, packed: a block after a full flush does not depend on what was before it, so one serves for all."""
    yield packer.compress(_START) + packer.flush(zlib.Z_FULL_FLUSH)
    yield packer.compress(_PAD) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(_PAD) + packer.flush(zlib.Z_FULL_FLUSH)
    yield from [block] * (_PADS - 1)
    yield packer.compress(_END) + packer.flush(zlib.Z_FINISH)


def _gzip_bomb() -> Iterator[bytes]:
    return _deflated(zlib.compressobj(9, zlib.DEFLATED, 31))


def _deflate_bomb() -> Iterator[bytes]:
    return _deflated(zlib.compressobj(9, zlib.DEFLATED, 15))


def _zstd_bomb() -> Iterator[bytes]:
    """A frame of RLE blocks (RFC 8878): three bytes that say "the next byte, 128 KB times", and that byte."""

    def block(kind: int, size: int, data: bytes, *, last: bool = False) -> bytes:
        return ((size << 3) | (kind << 1) | last).to_bytes(3, "little") + data

    yield b"\x28\xb5\x2f\xfd\x00\x58" + block(0, len(_START), _START)  # magic, no options, a window of 2 MB
    yield from [block(1, 1 << 17, b" ")] * (_PADS * 8)
    yield block(0, len(_END), _END, last=True)


_BROTLI_BOMB = base64.b64decode(
    "y///P/gdB865Ky6iEwRun0IJAreXIltdzaITRiYrCeiyDMCBl2yxhRpqh97/Ef///+CXAIjDIgDd+z/+///BLwEQhwUAuvd//P//g18CIA4LAHTv"
    "//j//we/BEAcFgDo3v/x//8PfgmAOCwA0L3/4///H/wSAHFYAKB7/8f//z/4JQDisABA9/6P//9/8EsAxGEBgO79H////+CXAIjDAgDd+z/+///B"
    "LwEQhwUAuvd//P//g18CIA4LAHTv//j//we/BEAcFgDo3v/x//8PfgmAOCwA0L3/4///H/wSAHFYAKB7/8f//z/4JQDisABA9/6P//9/8EsAxGEB"
    "gO79H////+CXAIjDAgDd+z/+///BLwEQhwUAuvd//P//g18CIA4LAHTv//j//we/BEAcFgDo3v/x//8PfgmAOCwA0L3/4///H/wSAHFYAKB7/8f/"
    "/z/4JQDisABA9/6P//9/8EsAxGEBgO79X2QA4JcS6SsiJAkAqA=="
)


def _bomb(encoding: str, body: Callable[[], Iterator[bytes]]) -> Play:
    first = head(content_type="application/json", content_encoding=encoding, transfer_encoding="chunked")
    return play_bytes(lambda: [first, *as_chunks(body())])


for _name, _encoding, _packed in (
    ("gzip_bomb", "gzip", _gzip_bomb),
    ("deflate_bomb", "deflate", _deflate_bomb),
    ("brotli_bomb", "br", lambda: iter([_BROTLI_BOMB])),
    ("zstd_bomb", "zstd", _zstd_bomb),
):
    TABLE.add(28, _name, f"A body of at most 200 KB that unpacks ({_encoding}) to 200 MB.", _bomb(_encoding, _packed))


@TABLE.plays(28)
def gzip_unasked(wire: Wire) -> None:
    """An ordinary reply, compressed though nobody asked for it."""
    body = b"".join(events()) if wire.request.stream else json.dumps(completion(fine())).encode()
    wire.send(whole(gzip.compress(body), content_encoding="gzip", connection="close"))


@TABLE.plays(28)
def encoding_wrong(wire: Wire) -> None:
    """The label says gzip and the body is plain."""
    body = b"".join(events()) if wire.request.stream else json.dumps(completion(fine())).encode()
    wire.send(whole(body, content_encoding="gzip", connection="close"))
