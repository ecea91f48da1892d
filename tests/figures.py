"""Figures on how easy the core is to read: ``python -m tests.figures`` prints them beside their budgets.

- Lines and modules of the core (errors, chat, tools, run, agent), everything in its files counted.
- Private functions of modules for each thousand of these lines: methods and nested functions are not counted.
- Files and hops of one tool call: what a reader has to open to follow a call from the model's reply to its result. The
  files are those of the package in which a function runs; a hop is a call of a function in another file. The call is of
  an async function with two arguments, in an agent without anything else, whose model replies as a whole and reports
  the tokens it used.
- Calls of Python functions: what a run costs, see `tests.cost`.
"""

import ast
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import anyio

import agentkit
from agentkit import Agent, CallFinished, tool
from agentkit.chat import ChatRequest, Choice, Reply, Usage
from agentkit.events import Event
from agentkit.messages import AssistantMessage, ToolCall
from tests.cost import costs

USAGE = Usage(requests=1, prompt_tokens=9, completion_tokens=5, total_tokens=14)
PACKAGE = Path(agentkit.__file__).parent
CORE = ("errors.py", "chat", "tools", "run", "agent.py")


class Budget(NamedTuple):
    """What a figure may be today, and what it is meant to be. Lower the first whenever the figure falls."""

    today: float
    aim: float


BUDGETS = {
    "lines of the core": Budget(20_338, 14_000),
    "modules of the core": Budget(78, 80),
    "private functions per 1,000 lines": Budget(9.3, 8.0),
    "files of one tool call": Budget(15, 16),
    "hops of one tool call": Budget(37, 40),
    "calls of a run of two requests": Budget(595, 600),
    "calls of a streamed chunk": Budget(13, 15),
    "calls of a turn for each before it": Budget(0, 0),
}


def core_files() -> list[Path]:
    """The files of the core."""
    paths = [PACKAGE / name for name in CORE]
    return [file for path in paths for file in ([path] if path.is_file() else sorted(path.rglob("*.py")))]


def figures() -> dict[str, float]:
    """All figures, measured."""
    sources = [file.read_text(encoding="utf-8") for file in core_files()]
    lines = sum(source.count("\n") for source in sources)
    functions = [
        node.name
        for source in sources
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    trace_call()  # what is cached is cached afterwards
    files, hops = trace_call()
    private = sum(name.startswith("_") for name in functions)
    measured = [lines, len(sources), round(1000 * private / lines, 1), len(files), len(hops)]
    return {**dict(zip(BUDGETS, measured, strict=False)), **costs()}


class Trace:
    """The functions of the package that run while it is on, each counted when it begins."""

    def __init__(self) -> None:
        self.files: set[str] = set()
        self.hops: list[tuple[str, str]] = []
        self._seen: list[FrameType] = []  # a coroutine is entered each time it is resumed

    def on(self) -> None:
        sys.setprofile(self._enter)

    def off(self) -> None:
        sys.setprofile(None)

    def _enter(self, frame: FrameType, event: str, arg: Any) -> None:
        file = self._file(frame)
        if event != "call" or not file or any(frame is each for each in self._seen):
            return
        self._seen.append(frame)
        self.files.add(file)
        caller = frame.f_back
        while caller is not None and not self._file(caller):
            caller = caller.f_back
        if caller is not None and self._file(caller) != file:
            self.files.add(self._file(caller))  # it may be running since before
            self.hops.append((self._file(caller), file))

    def _file(self, frame: FrameType) -> str:
        """The file of the package, or an empty string for what is not part of it or only of the test."""
        path = Path(frame.f_code.co_filename)
        return path.relative_to(PACKAGE).as_posix() if path.is_relative_to(PACKAGE) else ""


@tool
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


class TracedModel:
    """Calls the tool and then answers, with usage as servers report it; what comes of the call is traced."""

    def __init__(self, trace: Trace) -> None:
        asked = AssistantMessage(None, (ToolCall("call_1", "add", '{"a": 2, "b": 3}'),))
        self.replies = [Reply(choices=(Choice(message=each),), usage=USAGE) for each in (asked, AssistantMessage("5"))]
        self.trace = trace

    async def reply(self, request: ChatRequest, emit: Callable[[Event], None]) -> Reply:
        reply = self.replies.pop(0)
        if self.replies:
            self.trace.on()
        return reply


def trace_call() -> tuple[set[str], list[tuple[str, str]]]:
    """The files and the hops of one tool call, from the model's reply to its result."""
    trace = Trace()

    def observe(event: Event) -> None:
        if isinstance(event, CallFinished):
            trace.off()

    async def main() -> None:
        await Agent(TracedModel(trace), tools=[add]).run("What is 2 + 3?", on_event=observe)

    try:
        anyio.run(main)
    finally:
        trace.off()
    return trace.files, trace.hops


def report() -> str:
    """The figures beside their budgets, a line each."""
    return "\n".join(
        f"{name:<36}{value:>8,g}   budget {BUDGETS[name].today:,g}, aim {BUDGETS[name].aim:,g}"
        for name, value in figures().items()
    )


if __name__ == "__main__":
    print(report())  # noqa: T201
