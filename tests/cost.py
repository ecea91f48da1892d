"""What a run costs, in calls of the package's Python functions: the same on every machine, however busy it is.

A coroutine counts each time it is resumed. Python 3.11 counts comprehensions too, so that later versions stay below.
"""

import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from types import FrameType
from typing import Any

import anyio
import httpx2

import agentkit
from agentkit import Agent, Limits, tool
from agentkit.chat import ChatClient

PACKAGE = f"{Path(agentkit.__file__).parent}/"
TOGETHER = 4  # events of a stream in one read


@tool
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def reply(message: dict[str, Any]) -> httpx2.Response:
    choice = {"index": 0, "message": {"role": "assistant", "content": None, **message}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}
    return httpx2.Response(200, json={"id": "r", "created": 1, "model": "m", "choices": [choice], "usage": usage})


async def stream(words: int) -> AsyncIterator[bytes]:
    head = {"id": "r", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    choices: list[dict[str, Any]] = [
        {"index": 0, "delta": {"content": f"word{at} "}, "finish_reason": None} for at in range(words)
    ]
    choices.append({"index": 0, "delta": {}, "finish_reason": "stop"})
    events = [f"data: {json.dumps({**head, 'choices': [choice]})}\n\n" for choice in choices]
    for at in range(0, len(events), TOGETHER):
        yield "".join(events[at : at + TOGETHER]).encode()


def agent(*, turns: int = 1, words: int = 0) -> Agent:
    """An agent whose model calls a tool in each of its turns but the last, or streams so many words."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        if words:
            return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=stream(words))
        results = request.content.count(b'"role":"tool"')
        if results == turns - 1:
            return reply({"content": "done"})
        function = {"name": "add", "arguments": json.dumps({"a": results, "b": 3})}
        return reply({"tool_calls": [{"id": f"call_{results}", "type": "function", "function": function}]})

    client = httpx2.AsyncClient(transport=httpx2.MockTransport(answer))
    model = ChatClient("https://llm.example.com/v1", model="m", http=client)
    return Agent(model, tools=[add], limits=Limits(turns=1000))


def calls_of(work: Callable[[], Awaitable[object]]) -> int:
    """The calls once what is prepared once is prepared; the fewest of three times, as work yields on a busy machine."""
    count, counts = 0, list[int]()

    def profile(frame: FrameType, event: str, arg: Any) -> None:
        nonlocal count
        count += event == "call" and frame.f_code.co_filename.startswith(PACKAGE)

    async def main() -> None:
        nonlocal count
        await work()
        for _ in range(3):
            count = 0
            sys.setprofile(profile)
            try:
                await work()
            finally:
                sys.setprofile(None)
            counts.append(count)

    anyio.run(main)
    return min(counts)


def calls_of_run(turns: int) -> int:
    """The calls of a run with so many requests."""
    asked = agent(turns=turns)
    return calls_of(lambda: asked.run("What is 2 + 3?"))


def calls_of_stream(words: int) -> int:
    """The calls of a run that streams so many words, which are read."""
    asked = agent(words=words)

    async def read() -> None:
        async with asked.stream("Count.") as events:
            async for _ in events:
                pass

    return calls_of(read)


def costs() -> dict[str, float]:
    """The figures: of a short run, of a streamed chunk, and of a turn for each turn before it."""
    ten, twenty, thirty = map(calls_of_run, (10, 20, 30))
    return {
        "calls of a run of two requests": calls_of_run(2),
        "calls of a streamed chunk": (calls_of_stream(300) - calls_of_stream(100)) / 200,
        "calls of a turn for each before it": (thirty - 2 * twenty + ten) / 100,
    }
