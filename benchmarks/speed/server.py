"""A fast fake server of Chat Completions: every reply is made once, so that what is measured is the client.

    python server.py [CORE]      # prints its port, and stops when its standard input ends

The model's name says what it does, whatever is asked: ``turns-200`` calls ``add`` until 199 results are there and then
answers; ``wait-10`` calls ``wait`` ten times in one turn; ``stream-5000`` answers in 5,000 deltas; ``fragments-500``
calls ``note`` with arguments in 500 fragments. Streams are written four events at a time.
"""

import asyncio
import functools
import json
import os
import re
import sys
from collections.abc import Iterator
from typing import Any

MODEL = re.compile(rb'"model": ?"([a-z]+)-(\d+)"')
RESULT = re.compile(rb'"role": ?"tool"')
STREAM = re.compile(rb'"stream": ?true')
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
TOGETHER = 4  # events of a stream in one write

Value = dict[str, Any]


def messages(kind: str, size: int, results: int) -> Value:
    """The message that answers a request whose history holds so many results of tools."""
    if kind == "turns" and results < size - 1:
        return {"tool_calls": [called(f"call_{results}", "add", f'{{"a": {results}, "b": 3}}')]}
    if kind == "wait" and not results:
        return {"tool_calls": [called(f"call_{each}", "wait", "{}") for each in range(size)]}
    if kind == "fragments" and not results:
        return {"tool_calls": [called("call_0", "note", json.dumps({"text": "word " * size}))]}
    return {"content": "word " * size if kind == "stream" else "It is five."}


def called(id_: str, name: str, arguments: str) -> Value:
    return {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}}


def deltas(kind: str, size: int, message: Value) -> Iterator[Value]:
    """The message in parts."""
    yield {"role": "assistant", "content": ""}
    if text := message.get("content"):
        yield from ({"content": f"{word} "} for word in text.split()) if kind == "stream" else [{"content": text}]
    for index, call in enumerate(message.get("tool_calls", ())):
        arguments = call["function"]["arguments"]
        step = max(1, len(arguments) // size) if kind == "fragments" else len(arguments)
        yield {
            "tool_calls": [{"index": index, **call, "function": {"name": call["function"]["name"], "arguments": ""}}]
        }
        for at in range(0, len(arguments), step):
            yield {"tool_calls": [{"index": index, "function": {"arguments": arguments[at : at + step]}}]}


@functools.cache
def reply(kind: str, size: int, results: int, *, stream: bool) -> tuple[bytes, ...]:
    """The bytes of a reply, a write each."""
    message = messages(kind, size, results)
    reason = "tool_calls" if "tool_calls" in message else "stop"
    common: Value = {"id": f"chatcmpl-{results}", "created": 1_764_374_400, "model": f"{kind}-{size}"}
    usage = {"prompt_tokens": 20 + 10 * results, "completion_tokens": 10, "total_tokens": 30 + 10 * results}
    if not stream:
        choice = {"index": 0, "message": {"role": "assistant", "content": None, **message}, "finish_reason": reason}
        body = json.dumps({**common, "object": "chat.completion", "choices": [choice], "usage": usage}).encode()
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        return (head.encode() + body,)
    common["object"] = "chat.completion.chunk"
    choices: list[list[Value]] = [
        [{"index": 0, "delta": delta, "finish_reason": None}] for delta in deltas(kind, size, message)
    ]
    choices.append([{"index": 0, "delta": {}, "finish_reason": reason}])
    events = [json.dumps({**common, "choices": each}).encode() for each in choices]
    events += [json.dumps({**common, "choices": [], "usage": usage}).encode(), b"[DONE]"]
    writes = [b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"]
    for at in range(0, len(events), TOGETHER):
        block = b"".join(b"data: " + event + b"\n\n" for event in events[at : at + TOGETHER])
        writes.append(b"%x\r\n%s\r\n" % (len(block), block))
    return (*writes, b"0\r\n\r\n")


class Connection(asyncio.Protocol):
    """A connection with one request after the other."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.received = bytearray()

    def data_received(self, data: bytes) -> None:
        self.received += data
        head_end = self.received.find(b"\r\n\r\n")
        if head_end < 0:
            return
        length = LENGTH.search(self.received, 0, head_end)
        end = head_end + 4 + (int(length[1]) if length else 0)
        if len(self.received) < end:
            return
        body = bytes(self.received[head_end + 4 : end])
        del self.received[:end]
        model = MODEL.search(body)
        assert model is not None, body[:200]
        results = len(RESULT.findall(body))
        for part in reply(model[1].decode(), int(model[2]), results, stream=bool(STREAM.search(body))):
            self.transport.write(part)


async def main() -> None:
    if len(sys.argv) > 1:
        os.sched_setaffinity(0, {int(sys.argv[1])})
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
