"""A server under load for a while: ``python benchmarks/serve_soak.py [SECONDS]``; a minute if nothing is given.

    python benchmarks/serve_soak.py 600

Clients ask, stream, leave in the middle, send what is wrong, and let runs wait. Prints the memory of the server ten
times. Fails if it grew by more than a tenth after the first third, if a request failed, or if a run is left. It needs
Linux.
"""

import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import anyio
import httpx2

from agentkit import Agent, serve, tool
from agentkit.chat import ChatRequest
from agentkit.serve.process import listen, serve_forever
from agentkit.testing import Answer, Chunks, FunctionModel, call

TOKEN = "token-of-the-soak"
CLIENTS, PARTS, GROWTH = 8, 10, 1.1
CLOCK = {"type": "function", "function": {"name": "clock"}}


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def answer(request: ChatRequest) -> Answer:
    if request.messages[-1].role != "user":
        return "It is done."
    brought = [call("clock") for each in request.tools if each.name == "clock"]
    return [call("add", a=1, b=2), *brought] if len(request.messages) % 2 else Chunks(*["word "] * 200)


def server() -> None:
    """Serve on a free port, and print it."""
    app = serve.app(
        Agent(FunctionModel(answer), tools=[add]), token=TOKEN, limits=serve.ServerLimits(waiting_seconds=1)
    )
    for backend in app.backends.values():
        model = backend.agent.model  # type: ignore[attr-defined]
        model.requests = _Forgets()
    listener = listen("127.0.0.1", 0)
    print(listener.getsockname()[1], flush=True)
    serve_forever(app, listener, log="error")


class _Forgets(list[ChatRequest]):
    """The requests of a test model, which would keep them all."""

    def append(self, item: ChatRequest) -> None:
        """Forget it."""


async def load(url: str, ends: float, done: list[int]) -> None:
    """Ask until the time is over."""
    user = {"role": "user", "content": "x" * 500}
    headers = {"authorization": f"Bearer {TOKEN}"}
    async with httpx2.AsyncClient(base_url=url, headers=headers, timeout=30) as client:
        for at in itertools.count():
            if time.monotonic() > ends:
                return
            body = {"model": "agent", "messages": [user] * (1 + at % 2), "stream": at % 3 == 0}
            if at % 7 == 1:
                body["tools"] = [CLOCK]  # its run waits, and nobody continues it
            if at % 11 == 2:
                body["temperature"] = 9
            key = {"idempotency-key": f"{id(client)}-{at}"} if at % 5 == 0 else {}
            if at % 13 == 3:
                async with client.stream("POST", "/v1/chat/completions", json={**body, "stream": True}):
                    pass  # it leaves in the middle
            else:
                got = await client.post("/v1/chat/completions", json=body, headers=key)
                assert got.status_code == (400 if "temperature" in body else 200), got.text
            done.append(at)


def megabytes(process: int) -> float:
    """The memory of a process."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


async def soak(url: str, process: int, seconds: float) -> int:
    """Put the server under load; the exit code."""
    done, sizes, ends = list[int](), list[float](), time.monotonic() + seconds
    async with anyio.create_task_group() as tasks:
        for _ in range(CLIENTS):
            tasks.start_soon(load, url, ends, done)
        for part in range(PARTS):
            await anyio.sleep(seconds / PARTS)
            sizes.append(megabytes(process))
            print(f"{part + 1:2}/{PARTS}  {sizes[-1]:6.1f} MB  {len(done)} requests", flush=True)
    async with httpx2.AsyncClient(base_url=url, headers={"authorization": f"Bearer {TOKEN}"}) as client:
        figures = (await client.get("/metrics")).text
    left = next(line for line in figures.splitlines() if line.startswith("agentkit_requests_active{"))
    grew = max(sizes[PARTS // 3 :]) / sizes[PARTS // 3]
    print(json.dumps({"requests": len(done), "grew": round(grew, 3), "left": left.rsplit(" ", 1)[1]}))
    return 0 if grew <= GROWTH and left.endswith(" 0") else 1


if __name__ == "__main__":
    if sys.argv[1:] == ["--server"]:
        server()
    else:
        with subprocess.Popen([sys.executable, __file__, "--server"], stdout=subprocess.PIPE, text=True) as running:
            assert running.stdout is not None
            address = f"http://127.0.0.1:{int(running.stdout.readline())}"
            try:
                code = anyio.run(soak, address, running.pid, float(sys.argv[1]) if len(sys.argv) > 1 else 60.0)
            finally:
                running.terminate()
        sys.exit(code)
