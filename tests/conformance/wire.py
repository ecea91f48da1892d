"""What a server can put on the wire, said briefly: the words in which the cases are written."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

DONE = "All done. \u2714"
HANG = b"<hang>"  # in a list of pieces: the server says nothing more until the case is over

Answer: TypeAlias = bytes | Sequence[bytes]
Json: TypeAlias = dict[str, Any]

TWO_AND_THREE = '{"a": 2, "b": 3}'
ONE_AND_ONE = '{"a": 1, "b": 1}'


def http(
    body: bytes | str | Json, *, status: str = "200 OK", kind: str = "application/json", headers: str = ""
) -> bytes:
    """A whole HTTP answer; headers as lines, each with its CRLF."""
    raw = json.dumps(body).encode() if isinstance(body, dict) else body.encode() if isinstance(body, str) else body
    head = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(raw)}\r\nconnection: close\r\n{headers}"
    return head.encode() + b"\r\n" + raw


def fails(status: int, body: bytes | str | Json, *, headers: str = "", kind: str = "application/json") -> bytes:
    """An answer with an error status."""
    return http(body, status=f"{status} No", headers=headers, kind=kind)


def raw_sse(body: str | bytes, kind: str = "text/event-stream") -> bytes:
    """An event stream of these very bytes; the end of the connection is its end."""
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\nconnection: close\r\n\r\n".encode()
    return head + (body.encode() if isinstance(body, str) else body)


def sse(*chunks: Json | str, done: bool = True) -> bytes:
    """An event stream of chunks; a text is the data of an event as it stands."""
    datas = [chunk if isinstance(chunk, str) else json.dumps(chunk) for chunk in chunks]
    return raw_sse("".join(f"data: {data}\n\n" for data in [*datas, *(["[DONE]"] if done else [])]))


def chunk(delta: Any = None, *, end: Any = None, index: Any = 0, **members: Any) -> Json:
    """A chunk with one choice."""
    choice = {"index": index, "delta": delta, "finish_reason": end}
    return {"id": "r1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice], **members}


def whole(message: Any, *, end: Any = "stop", **members: Any) -> Json:
    """The body of an answer that is not streamed."""
    choice = {"index": 0, "message": message, "finish_reason": end}
    return {"id": "r1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], **members}


def piece(name: Any = ..., arguments: Any = ..., **members: Any) -> Json:
    """A call or a piece of one; members that are not given are not there."""
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not ...}
    return {**members, "function": function} if function else members


def add(arguments: Any = TWO_AND_THREE, **members: Any) -> Json:
    """The call that most cases want: add(2, 3)."""
    return piece("add", arguments, **{"index": 0, "id": "callAdd01", "type": "function", **members})


def calls(*pieces: Json, end: Any = "tool_calls", done: bool = True) -> bytes:
    """A streamed reply in which each piece of a call has a chunk of its own."""
    return sse(*(chunk({"tool_calls": [each]}) for each in pieces), chunk({}, end=end), done=done)


def told(*pieces: Json, content: Any = None, end: Any = "tool_calls", **members: Any) -> bytes:
    """A whole reply with these calls."""
    return http(whole({"role": "assistant", "content": content, "tool_calls": list(pieces), **members}, end=end))


def says(text: Any, *, stream: bool, end: Any = "stop", **members: Any) -> bytes:
    """A reply of text, in two pieces if streamed."""
    if not stream:
        return http(whole({"role": "assistant", "content": text, **members}, end=end))
    middle = len(text) // 2
    first: Json = {"role": "assistant", "content": text[:middle], **members}
    return sse(chunk(first), chunk({"content": text[middle:]}), chunk({}, end=end))


def error(message: str, *, status: int = 400, headers: str = "", **members: Any) -> bytes:
    """The documented error body under a status."""
    return fails(status, {"error": {"message": message, "type": "invalid_request_error", **members}}, headers=headers)


def in_both(script: Callable[[str], Sequence[Answer]]) -> dict[str, Any]:
    """The scripts of both modes, which are called ``stream`` and ``whole``."""
    return {mode: script(mode) for mode in ("stream", "whole")}


Refusal: TypeAlias = tuple[Callable[[Mapping[str, Any]], object], bytes]
"""When a request looks so, the server answers that instead of the next answer of the script."""
