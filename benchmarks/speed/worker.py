"""Runs one driver and measures it: reads the name and the size of a row, and prints what came of it as JSON.

    python worker.py DRIVER BASE_URL [CORE]

It imports nothing but the standard library and the driver, as each driver has an environment of its own.
"""

import asyncio
import gc
import importlib
import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any, Protocol

from tools import TURNS


class Driver(Protocol):
    """An agent that is asked one thing."""

    async def run(self) -> str:
        """Run to the end and return the answer."""
        ...

    async def stream(self) -> int:
        """Run to the end and return how many deltas were read."""
        ...


class Module(Protocol):
    """A driver's module."""

    def open(self, base_url: str, model: str) -> Driver:
        """Make the agent for one model. Agents of one process share their connections as far as they can."""
        ...


class Worker:
    """The rows of one driver."""

    def __init__(self, module: Module, base_url: str) -> None:
        self.module, self.base_url = module, base_url
        self.agents: dict[str, Driver] = {}

    def agent(self, model: str) -> Driver:
        if model not in self.agents:
            self.agents[model] = self.module.open(self.base_url, model)
        return self.agents[model]

    async def timed(self, work: Any, count: int) -> dict[str, float]:
        """Seconds and seconds of CPU for each of ``count`` things."""
        gc.collect()
        began, began_cpu = time.perf_counter(), time.process_time()
        await work
        return {"wall": (time.perf_counter() - began) / count, "cpu": (time.process_time() - began_cpu) / count}

    async def runs(self, size: int) -> dict[str, float]:
        """Runs of two requests, one after the other."""
        agent = self.agent("turns-2")
        assert "five" in await agent.run()

        async def work() -> None:
            for _ in range(size):
                await agent.run()

        return await self.timed(work(), size)

    async def turns(self, size: int) -> dict[str, float]:
        """The turns of one long run; ``growth`` compares the last ten with the ten around the tenth."""
        TURNS.clear()
        assert "five" in await self.agent(f"turns-{size}").run()
        (began, began_cpu), (ended, ended_cpu) = TURNS[0], TURNS[-1]
        count = len(TURNS) - 1
        early, late = TURNS[15][1] - TURNS[5][1], TURNS[-1][1] - TURNS[-11][1]
        return {"wall": (ended - began) / count, "cpu": (ended_cpu - began_cpu) / count, "growth": late / early}

    async def concurrent(self, size: int) -> dict[str, float]:
        """Runs of three requests, so many at once, after as many that open the connections."""
        agent = self.agent("turns-3")
        await asyncio.gather(*(agent.run() for _ in range(size)))
        times = max(1, 200 // size)

        async def several() -> None:
            for _ in range(times):
                assert "five" in await agent.run()

        measured = await self.timed(asyncio.wait([asyncio.ensure_future(several()) for _ in range(size)]), size * times)
        return {**measured, "rss": rss()}

    async def blocking(self, size: int) -> dict[str, float]:
        """One run whose model calls so many tools at once, each of which blocks for 50 ms."""
        agent = self.agent(f"wait-{size}")
        await agent.run()
        return await self.timed(agent.run(), 1)

    async def stream(self, size: int) -> dict[str, float]:
        """The deltas of one streamed answer."""
        agent = self.agent(f"stream-{size}")
        await agent.stream()
        return await self.timed(agent.stream(), size)

    async def fragments(self, size: int) -> dict[str, float]:
        """One streamed run with a call whose arguments come in so many fragments."""
        agent = self.agent(f"fragments-{size}")
        await agent.stream()
        return await self.timed(agent.stream(), 1)

    async def slope(self, size: int) -> dict[str, float]:
        """Bytes that stay of each run, over so many runs, 10 at once."""
        agent = self.agent("turns-2")

        async def several(count: int) -> None:
            for _ in range(count):
                await agent.run()

        async def all_of(count: int) -> float:
            await asyncio.gather(*(several(count // 10) for _ in range(10)))
            TURNS.clear()  # of the benchmark itself, and it grows with each call
            gc.collect()
            return rss()

        before = await all_of(size // 4)
        return {"bytes": (await all_of(size) - before) / size}


def rss() -> float:
    """Bytes of memory that the process has now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def main() -> None:
    name, base_url, *core = sys.argv[1:]
    if core:
        os.sched_setaffinity(0, {int(core[0])})
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65_536), hard))
    module: Any = importlib.import_module(f"drivers.{name}")
    worker = Worker(module, base_url)
    with asyncio.Runner() as runner:
        for line in sys.stdin:
            row, size = json.loads(line)
            try:
                measured = runner.run(getattr(worker, row)(size))
            except Exception as error:  # noqa: BLE001 - of a framework; the others go on
                measured = {"error": f"{type(error).__name__}: {error}"[:500]}
            print(json.dumps(measured), flush=True)


if __name__ == "__main__":
    main()
