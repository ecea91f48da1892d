"""A thousand agents at once in one process: each with a session in one SQLite file, and a slow reader of its events.

    python benchmarks/scale.py [AGENTS] [ROUNDS]

Each agent asks a model in memory, calls a tool twice and answers in a hundred deltas, which its reader takes its time
to read. Printed are the runs that failed, the runs in a second, how late the event loop was (its 50th and 99th
percentile), and the memory after each round, which must not grow. Each step of a run is on the disk before the next one
begins, so the disk decides how many runs there are in a second; TMPDIR says where the file is.
"""

import gc
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

import anyio

from agentkit import Agent, Limits, tool
from agentkit.chat import ChatRequest
from agentkit.errors import AgentKitError
from agentkit.messages import ToolMessage
from agentkit.sessions import SQLiteSessions
from agentkit.testing import Answer, FunctionModel, call

PAUSE = 0.002  # seconds that a reader takes for each event
BEAT = 0.01  # seconds between two looks at the clock


@tool
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def answer(request: ChatRequest) -> Answer:
    last = [each for each in request.messages[-4:] if isinstance(each, ToolMessage)]
    return "word " * 100 if len(last) == 2 else call("add", a=len(last), b=3)


def megabytes() -> float:
    """The memory that the process has now."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


class Loop:
    """Watches how late the event loop is."""

    def __init__(self) -> None:
        self.late: list[float] = []

    async def watch(self) -> None:
        """Look at the clock again and again."""
        while True:
            expected = time.perf_counter() + BEAT
            await anyio.sleep(BEAT)
            self.late.append((time.perf_counter() - expected) * 1e3)

    def percentile(self, part: int) -> float:
        """How late it was, at most, in so many of a hundred looks."""
        return statistics.quantiles(self.late, n=100)[part - 1]


async def main(agents: int, rounds: int) -> None:
    model = FunctionModel(answer)
    agent = Agent(model, tools=[add], limits=Limits(turns=5))
    failed: list[AgentKitError] = []

    async def one(sessions: SQLiteSessions, name: str) -> None:
        try:
            async with agent.stream("What is 2 + 3?", session=sessions[name]) as stream:
                async for _ in stream:
                    await anyio.sleep(PAUSE)
        except AgentKitError as error:
            failed.append(error)

    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds):
            sessions = SQLiteSessions(Path(folder) / f"{number}.db", timeout=600)
            loop, began = Loop(), time.perf_counter()
            async with anyio.create_task_group() as watching:
                watching.start_soon(loop.watch)
                async with anyio.create_task_group() as tasks:
                    for each in range(agents):
                        tasks.start_soon(one, sessions, f"session-{each}")
                watching.cancel_scope.cancel()
            seconds = time.perf_counter() - began
            model.requests.clear()
            print(
                f"round {number + 1}: {len(failed)} of {agents} failed, {agents / seconds:.0f} runs/s, the loop was "
                f"{loop.percentile(50):.1f} ms late (50 %), {loop.percentile(99):.1f} ms (99 %), {megabytes():.0f} MB",
                flush=True,
            )
            for error in failed[:3]:
                print(f"  {type(error).__name__}: {error}")
            failed.clear()


if __name__ == "__main__":
    agents, rounds, *_ = [*map(int, sys.argv[1:]), *(1000, 3)[len(sys.argv) - 1 :]]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    anyio.run(main, agents, rounds)
