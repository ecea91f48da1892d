"""Hostile inputs: how long they block the event loop, what memory they take, and how both grow with their size.

    make bench-hostile ARGS="growing"      # or: python benchmarks/hostile.py [PART OF A NAME ...]

Each row runs in a process of its own, once at its size and once at twice its size. The loop counts as blocked for the
CPU time that its thread spends between two turns of a task that does nothing; memory is the growth of the resident set
while the input is read, without the input itself. Servers are played in memory: nothing is measured but the client. It
needs Linux, which says how much memory a process has had.
"""

import argparse
import ctypes
import gc
import gzip
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import anyio
import httpx2

from agentkit import Agent, Limits, tool
from agentkit.chat import ChatClient, Deadlines, RetryPolicy
from agentkit.errors import AgentKitError
from agentkit.messages import FilePart
from agentkit.testing import ScriptedModel, call

MB = 1024 * 1024
BLOCKED, MEMORY, GROWTH = 50.0, 64.0, 2.2  # milliseconds, MB, and times as long for twice the size
LONGEST = 60.0  # seconds that a row may take

Work: TypeAlias = Callable[[], Awaitable[object]]


class Measured(NamedTuple):
    """What one size came to: milliseconds, MB and seconds of CPU; NaN where it took too long."""

    blocked: float
    memory: float
    seconds: float


@dataclass(frozen=True)
class Row:
    """An input of any size: ``make`` prepares it, which is not measured, and returns the work."""

    size: int
    unit: str
    make: Callable[[int], Work]


ROWS: dict[str, Row] = {}


def row(name: str, size: int, unit: str) -> Callable[[Callable[[int], Work]], Callable[[int], Work]]:
    def add(make: Callable[[int], Work]) -> Callable[[int], Work]:
        ROWS[name] = Row(size, unit, make)
        return make

    return add


# The server and the agents.


class Body(httpx2.AsyncByteStream):
    """A body in parts."""

    def __init__(self, parts: Sequence[bytes]) -> None:
        self._parts = parts

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self._parts:
            await anyio.lowlevel.checkpoint()
            yield part


def in_reads(data: bytes, size: int = 64 * 1024) -> list[bytes]:
    """Bytes as a socket gives them."""
    return [data[start : start + size] for start in range(0, len(data), size)]


@tool
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def against(body: bytes, *, stream: bool, encoding: str = "identity") -> Work:
    """An agent against a server whose every answer is this body."""
    headers = {"content-type": "text/event-stream" if stream else "application/json", "content-encoding": encoding}
    parts = in_reads(body)

    async def work() -> None:
        answer = httpx2.MockTransport(lambda _: httpx2.Response(200, headers=headers, stream=Body(parts)))
        async with httpx2.AsyncClient(transport=answer, trust_env=False) as http:
            client = ChatClient(
                "http://hostile.test/v1",
                model="m",
                http=http,
                retry=RetryPolicy(retries=0),
                deadlines=Deadlines(total=LONGEST),
            )
            agent = Agent(client, tools=[add])
            with suppress(AgentKitError):
                if stream:
                    async with agent.stream("Go!") as events:
                        async for _ in events:
                            pass
                else:
                    await agent.run("Go!")

    return work


def events(deltas: Iterator[dict[str, Any]], reason: str) -> bytes:
    """A stream of deltas with its end."""
    choices = [*({"delta": delta} for delta in deltas), {"delta": {}, "finish_reason": reason}]
    return (
        b"".join(b"data: %b\n\n" % json.dumps({"choices": [each]}).encode() for each in choices) + b"data: [DONE]\n\n"
    )


def whole(message: dict[str, Any], reason: str = "stop") -> bytes:
    """A reply that is not streamed."""
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": reason}
    return json.dumps({"id": "r", "choices": [choice]}).encode()


def called(arguments: str, place: int = 0) -> dict[str, Any]:
    return {
        "index": place,
        "id": f"call{place:05}",
        "type": "function",
        "function": {"name": "add", "arguments": arguments},
    }


# What a server sends.


@row("line feeds from gzip", 16, "MiB unpacked")
def line_feeds(size: int) -> Work:
    return against(gzip.compress(b"\n" * size * MB), stream=True, encoding="gzip")


@row("tiny deltas in few reads", 100_000, "deltas")
def tiny_deltas(size: int) -> Work:
    return against(events(({"content": "a"} for _ in range(size)), "stop"), stream=True)


@row("a name that grows by a letter", 1_600, "deltas")
def growing_name(size: int) -> Work:
    def deltas() -> Iterator[dict[str, Any]]:
        for length in range(1, size):
            yield {"tool_calls": [{"index": 0, "id": "c1", "function": {"name": "a" * length, "arguments": ""}}]}

    return against(events(deltas(), "tool_calls"), stream=True)


@row("nothing but quote marks", 7 * MB, "bytes")
def quote_marks(size: int) -> Work:
    return against(whole({"content": "> " * (size // 2)}), stream=False)


@row("nothing but numbered points", 7 * MB, "bytes")
def numbered_points(size: int) -> Work:
    return against(whole({"content": "1. " * (size // 3)}), stream=False)


@row("an open mark and no end", 7 * MB, "bytes")
def open_mark(size: int) -> Work:
    return against(whole({"content": "<|start|>assistant" + "a" * size}), stream=False)


@row("objects run together in the arguments", 200_000, "objects")
def objects_together(size: int) -> Work:
    return against(whole({"content": None, "tool_calls": [called("{}" * size)]}, "tool_calls"), stream=False)


@row("calls in one reply", 10_000, "calls")
def calls_in_reply(size: int) -> Work:
    calls = [called('{"a": 1, "b": 2}', place) for place in range(size)]
    return against(whole({"content": None, "tool_calls": calls}, "tool_calls"), stream=False)


# What a program hands in.


@row("a turn of many calls in the history", 2_000, "objects")
def many_calls_in_history(size: int) -> Work:
    history: list[dict[str, Any]] = [
        {"role": "user", "content": "Go!"},
        {"role": "assistant", "content": None, "tool_calls": [called('{"a": 1, "b": 2}' * size)]},
    ]

    async def work() -> None:
        with suppress(AgentKitError):
            await Agent(ScriptedModel(["ok"]), tools=[add]).run("And now?", history=history)

    return work


@row("a docstring of spaces", 800, "spaces")
def docstring_of_spaces(size: int) -> Work:
    def function(x: int) -> int:
        return x

    function.__doc__ = f"Do it.\n\n:param {' ' * size}x\n:returns {' ' * size}"

    async def work() -> None:
        with suppress(AgentKitError):
            tool(function)

    return work


@row("a sparse file", 2_048, "MB")
def sparse_file(size: int) -> Work:
    path = Path(tempfile.mkdtemp()) / "sparse.pdf"
    with path.open("wb") as file:
        file.truncate(size * MB)

    async def work() -> None:
        with suppress(AgentKitError, OSError, MemoryError):
            FilePart.from_path(path)
        path.unlink()

    return work


@row("calls of a tool that hangs", 200, "calls")
def hanging_tool(size: int) -> Work:
    @tool(timeout=0.01)
    def hang(n: int) -> str:
        """Hang."""
        time.sleep(LONGEST)
        return ""

    async def work() -> None:
        script = [[call("hang", n=n) for n in range(start, start + 20)] for start in range(0, size, 20)]
        limits = Limits(turns=len(script) + 1, calls=None, failed_turns=None, repeated_turns=None)
        with suppress(AgentKitError):
            await Agent(ScriptedModel([*script, "done"]), tools=[hang]).run("Go!", limits=limits)

    return work


# Measuring.


def resident(which: str) -> float:
    """The resident set in MB: ``VmRSS`` now, ``VmHWM`` at its largest."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(which)) / 1024


def forget_preparation() -> None:
    """Give back what preparing the input has freed, and begin a new largest resident set."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


async def measure(work: Work) -> Measured:
    """Run the work beside a task that looks how long it has waited for its turn."""
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            before = time.thread_time()
            await anyio.sleep(0.001)
            longest = max(longest, time.thread_time() - before)

    forget_preparation()
    before, start = resident("VmRSS"), time.process_time()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch)
        await anyio.sleep(0.005)
        with anyio.move_on_after(LONGEST):
            await work()
        await anyio.sleep(0.005)
        tasks.cancel_scope.cancel()
    return Measured(1000 * longest, resident("VmHWM") - before, time.process_time() - start)


def measured(name: str, size: int) -> Measured:
    """Measure in a process of its own; one that takes too long is ended."""
    command = [sys.executable, __file__, "--row", name, "--size", str(size)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=2 * LONGEST)
    except subprocess.TimeoutExpired:
        return Measured(math.nan, math.nan, math.nan)
    return Measured(*json.loads(done.stdout))


def line(name: str, size: str, small: Measured, large: Measured) -> str:
    """A row of the table; what is over its limit is bold."""
    growth = large.seconds / max(small.seconds, 0.02)

    def cell(value: float, limit: float, unit: str) -> str:
        shown = "too long" if math.isnan(value) else f"{value:,.1f}{unit}"
        return shown if value <= limit else f"**{shown}**"

    cells = [cell(large.blocked, BLOCKED, " ms"), cell(large.memory, MEMORY, " MB"), cell(growth, GROWTH, " x")]
    return f"| {name} | {size} | {' | '.join(cells)} | {large.seconds:.2f} s |"


def main(words: Sequence[str]) -> None:
    print(f"| input | size | blocks the loop (at most {BLOCKED:g} ms) | memory (at most {MEMORY:g} MB) "
          f"| twice the size takes (at most {GROWTH:g} x) | CPU |")  # fmt: skip
    print("|---|---|---|---|---|---|")
    for name, each in ROWS.items():
        if all(word in name for word in words):
            small, large = measured(name, each.size), measured(name, 2 * each.size)
            if large.seconds > GROWTH * small.seconds:  # once more, as a busy machine disturbs what takes milliseconds
                again = measured(name, each.size), measured(name, 2 * each.size)
                small, large = (
                    min(both, key=lambda one: one.seconds) for both in zip((small, large), again, strict=True)
                )
            print(line(name, f"{2 * each.size:,} {each.unit}", small, large), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("words", nargs="*", help="measure only rows whose names have these words")
    parser.add_argument("--row", choices=ROWS)
    parser.add_argument("--size", type=int, default=0)
    options = parser.parse_args()
    if options.row:
        print(json.dumps(anyio.run(measure, ROWS[options.row].make(options.size))), flush=True)
        os._exit(0)  # without waiting for threads that hang
    main(options.words)
