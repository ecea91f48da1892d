"""Whatever bytes a server sends: no crash, no hang, and nothing but a valid reply or a typed error.

``make fuzz SECONDS=60 TARGET=merge`` lets atheris look for bytes that break it; it is needed for that only.
"""

import json
import re
from collections.abc import Iterator

from agentkit.chat.decoding.accumulator import ReplyAccumulator
from agentkit.chat.decoding.decoder import ResponseDecoder
from agentkit.chat.decoding.text import MARKS, read_calls, read_failed_generation
from agentkit.chat.decoding.tool_calls import normalize_tool_calls
from agentkit.chat.events import Event
from agentkit.chat.json_values import as_mapping, as_mappings, encode_json
from agentkit.chat.messages import ToolCall
from agentkit.chat.reply import Reply
from agentkit.chat.transport.body import ServerSentEvent, SseDecoder
from agentkit.chat.transport.redaction import Redactor
from agentkit.errors import ModelError

OFFERED = {"add": {"type": "object", "properties": {"a": {"type": "integer"}, "t": {"type": "string"}}}}


def sse(data: bytes) -> None:
    """However the bytes are cut, the events are the same."""
    assert _events([data]) == _events([bytes([each]) for each in data])


def merge(data: bytes) -> None:
    """Chunks of any JSON make a reply that can be sent back."""
    try:
        chunks = json.loads(data.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError):
        return
    merger = ReplyAccumulator(calls_in_text=OFFERED)
    for chunk in as_mappings(chunks if isinstance(chunks, list) else [as_mapping(chunks)]):
        merger.add(chunk)
    _check(merger.finish())


def mend(data: bytes) -> None:
    """Arguments of any text are an object afterwards, and stay what they are."""
    text = data.decode("utf-8", "replace")
    calls, _ = normalize_tool_calls([ToolCall(text[:8], "add", text), ToolCall(text[:8], text[:3], text[8:])])
    assert all(isinstance(json.loads(call.arguments), dict) for call in calls)
    assert normalize_tool_calls(calls)[0] == calls


def embedded(data: bytes) -> None:
    """Text of any kind is calls of offered tools, or none."""
    text = data.decode("utf-8", "replace")
    for mark in (*MARKS, ""):
        assert all(name in OFFERED for name, _ in read_calls(mark + text, OFFERED))
    read_failed_generation(text)


def reader(data: bytes) -> None:
    """An answer of any bytes is a reply or a typed error, the same however it is cut."""
    for status in (200, 400):
        whole = _outcome(data, [data], status)
        assert True not in whole, "the key is in an error"
        assert whole == _outcome(data, [bytes([each]) for each in data], status)


TARGETS = (sse, merge, mend, embedded, reader)


def one_input(data: bytes) -> None:
    """The first byte says which target the rest is for."""
    TARGETS[data[0] % len(TARGETS) if data else 0](data[1:])


def seeds(body: bytes) -> Iterator[bytes]:
    """What an answer has for each of the targets, in the form that `one_input` takes."""
    datas = re.findall(rb"^data: *(\{.*\})", body, re.MULTILINE) or [body]
    texts = re.findall(rb'"(?:content|arguments)": "((?:[^"\\]|\\.)*)"', body)
    parts = {sse: [body], reader: [body], merge: [b"[" + b",".join(datas) + b"]"]}
    parts[mend] = parts[embedded] = [text.replace(rb"\n", b"\n").replace(b"\\", b"") for text in texts]
    for number, target in enumerate(TARGETS):
        yield from (bytes([number]) + part for part in parts[target])


def _events(pieces: list[bytes]) -> list[ServerSentEvent] | str:
    decoder = SseDecoder(max_line=1000)
    try:
        return [event for piece in pieces for event in decoder.feed(piece)] + list(decoder.finish())
    except ModelError as error:
        return type(error).__name__


def _outcome(data: bytes, pieces: list[bytes], status: int) -> tuple[object, ...]:
    events: list[Event] = []
    redactor = Redactor()
    redactor.add("sk-secret-of-mine")
    taken = ResponseDecoder(events.append, server="s", offered=OFFERED, redactor=redactor)
    taken.start(status, {"content-type": "text/event-stream"} if data[:1] == b"d" else {})
    try:
        for piece in pieces:
            taken.feed(piece)
        reply = taken.finish()
    except ModelError as error:
        redactor.error(error)
        return (type(error), "sk-secret-of-mine" in f"{error}{error.body}", error.partial)
    _check(reply)
    return (repr(reply),)


def _check(reply: Reply) -> None:
    for choice in reply.choices:
        wire = json.loads(encode_json(choice.message.to_wire()))
        ids = [call["id"] for call in wire.get("tool_calls", ())]
        assert len(set(ids)) == len(ids)
        for call in choice.message.tool_calls:
            assert call.input is not None or isinstance(json.loads(call.arguments), dict)
