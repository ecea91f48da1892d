"""What serving an agent costs, against the agent alone: ``python benchmarks/serve.py [REQUESTS] [CHUNKS]``.

    make bench-serve ARGS="1000 2000"

The client is a process of its own, and what counts is the CPU of the server: with HTTP, but without the client. Prints
one JSON object: milliseconds a request and chunks a second, of the agent alone and through the server.
"""

import json
import platform
import sys
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import uvicorn
from starlette.types import Receive, Scope, Send

import agentkit
from agentkit import Agent, serve
from agentkit.chat import ChatRequest, Choice, Reply
from agentkit.events import Emit, TextDelta
from agentkit.messages import AssistantMessage
from agentkit.serve.process import http_config, listen

TOKEN = "token-of-the-benchmark"
CLIENT = Path(__file__).with_name("serve_client.py")
ROUNDS = 5


class Words:
    """A model that says so many words, each in a step of the event loop, as they come from a network."""

    def __init__(self, count: int) -> None:
        self.words = [f"word{at} " for at in range(count)]

    async def reply(self, request: ChatRequest, emit: Emit) -> Reply:  # noqa: D102
        for each in self.words:
            emit(TextDelta(each))
            await anyio.lowlevel.checkpoint()
        message = AssistantMessage("".join(self.words))
        return Reply(choices=(Choice(message=message, finish_reason="stop"),))


async def cpu_of(work: Callable[[], Awaitable[object]], times: int) -> float:
    """CPU milliseconds of this thread for one of so many times, the best of some rounds."""
    rounds: list[float] = []
    for _ in range(ROUNDS):
        began = time.thread_time()
        await work()
        rounds.append((time.thread_time() - began) * 1000 / times)
    return min(rounds)


async def fixed(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with fixed bytes: what is left is the CPU of HTTP."""
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": b"{}" * 300})


async def main(requests: int, chunks: int) -> None:
    short, long = Agent(Words(1)), Agent(Words(chunks))
    streams = max(1, requests // 20)
    listener = listen("127.0.0.1", 0)
    answers = serve.app({"short": short, "long": long}, token=TOKEN)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await (fixed if scope.get("path") == "/fixed" else answers)(scope, receive, send)

    server = uvicorn.Server(http_config(app))
    server.capture_signals = _no_signals  # type: ignore[method-assign]  # they are for the whole process
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1/chat/completions"

    async def ask(model: str, times: int) -> None:
        where = url.replace("/v1/chat/completions", "/fixed") if model == "fixed" else url
        asked = [where, model, TOKEN, str(times), str(chunks)]
        await anyio.run_process([sys.executable, "-I", str(CLIENT), *asked])

    async def alone(times: int) -> None:
        for _ in range(times):
            await short.run("hi")

    async def stream_alone(times: int) -> None:
        for _ in range(times):
            async with long.stream("hi") as stream:
                assert len([each async for each in stream if isinstance(each, TextDelta)]) == chunks

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.serve, [listener])
        await ask("short", 5)
        await alone(5)
        run = await cpu_of(lambda: alone(requests), requests)
        start = await cpu_of(lambda: ask("fixed", 0), 1)  # of a client's process
        http = await cpu_of(lambda: ask("fixed", requests), requests) - start / requests
        served = await cpu_of(lambda: ask("short", requests), requests) - start / requests
        of_stream = await cpu_of(lambda: stream_alone(streams), streams)
        of_served = await cpu_of(lambda: ask("long", streams), streams) - start / streams
        server.should_exit = True
    rates = {"alone": chunks / of_stream * 1000, "served": chunks / of_served * 1000}
    figures = {
        "cpu_ms_a_request": {
            "agent": round(run, 3),
            "http": round(http, 3),
            "served": round(served, 3),
            "added": round(served - run, 3),
            "added_besides_http": round(served - run - http, 3),
        },
        "chunks_a_second": {name: round(rate) for name, rate in rates.items()},
        "ratio_of_chunks": round(rates["served"] / rates["alone"], 2),
    }
    versions = {"agentkit": agentkit.__version__, "python": platform.python_version(), "uvicorn": uvicorn.__version__}
    print(json.dumps({**figures, "requests": requests, "chunks": chunks, **versions}, indent=2))


@contextmanager
def _no_signals() -> Generator[None]:
    yield


if __name__ == "__main__":
    given = [int(each) for each in sys.argv[1:3]]
    how_many, how_long = given + [300, 1000][len(given) :]
    anyio.run(main, how_many, how_long)
