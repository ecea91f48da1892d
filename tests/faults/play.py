"""One agent run against a server that fails, and everything that must hold however it ends."""

import functools
import gc
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from ssl import PROTOCOL_TLS_SERVER, SSLContext, create_default_context
from typing import Any

import anyio
import httpx
import httpx2
import trustme

from agentkit import Agent, tool
from agentkit.chat import ChatClient, Deadlines, ReadLimits, RetryPolicy
from agentkit.errors import ModelError
from agentkit.events import Event, Retrying, RunFinished, TextDelta, TurnStarted
from agentkit.messages import Message
from agentkit.run.transcript import check as check_transcript
from agentkit.testing import Server
from agentkit.testing.server import Request, Scripted
from tests.conformance import strict

MB = 1024 * 1024
KEY = "sk-secret-of-mine"
AMPLE = Deadlines(connect=8, first_byte=8, idle=8, total=8)
QUICK = Deadlines(connect=0.2, first_byte=0.2, idle=0.2, total=0.4)
QUICK_WHOLE = Deadlines(connect=0.2, total=0.2)


@dataclass(frozen=True)
class Size:
    """How answers are read, and how many bytes a run may need at most for those that are over the limits."""

    limits: ReadLimits
    memory: int


FULL = Size(ReadLimits(), 40 * MB)
SMALL = Size(ReadLimits(max_reply=MB, max_line=MB // 4), 8 * MB)


@dataclass
class Outcome:
    """What came of a run: its text or its error, what the tools did, and what the server saw."""

    text: str | None = None
    error: ModelError | None = None
    did: list[tuple[str, Any]] = field(default_factory=list[tuple[str, Any]])
    events: list[Event] = field(default_factory=list[Event])
    requests: list[Request] = field(default_factory=list[Request])
    messages: list[Message] = field(default_factory=list[Message])
    seconds: float = 0.0

    @property
    def shown(self) -> str:
        """The text that an observer saw since the last turn or try began."""
        shown = ""
        for event in self.events:
            if isinstance(event, TurnStarted | Retrying):
                shown = ""
            elif isinstance(event, TextDelta):
                shown += event.text
        return shown


async def play(
    script: Iterable[Scripted],
    *,
    stream: bool,
    tries: int = 1,
    deadlines: Deadlines = AMPLE,
    library: str = "own",
    tls: SSLContext | None = None,
    runs: int = 1,
    size: Size | None = None,
) -> Outcome:
    """Run an agent with two tools against a server that plays the script, through one of `CLIENTS`.

    With a ``size`` it is about memory.
    """
    outcome = Outcome()
    with leaving_nothing(), Server(script, tls=tls) as server:
        retry = RetryPolicy(retries=tries - 1, first_wait=0.0)
        async with CLIENTS[library]() as http:
            client = ChatClient(
                server.url,
                model="m",
                api_key=KEY,
                retry=retry,
                deadlines=deadlines,
                read_limits=size.limits if size else None,
                http=http,
            )
            agent = Agent(client, tools=tools(outcome))
            started = time.monotonic()
            with using_little_memory(size.memory) if size else nullcontext():
                for _ in range(runs):
                    await go_on(agent, outcome, stream=stream)
            outcome.seconds = time.monotonic() - started
            await agent.aclose()
    outcome.requests = server.requests
    check(outcome)
    assert outcome.seconds <= deadlines.total * tries * runs + 0.5
    return outcome


def tools(outcome: Outcome) -> list[Any]:
    """Tools that write down what they did."""

    @tool
    async def pay(amount: int) -> str:
        """Pay an amount."""
        outcome.did.append(("pay", amount))
        return "paid"

    @tool
    async def note(text: str) -> str:
        """Keep a text."""
        outcome.did.append(("note", len(text)))
        return "noted"

    return [pay, note]


async def go_on(agent: Agent, outcome: Outcome, *, stream: bool) -> None:
    """Ask a question, after all that was said before."""
    try:
        if stream:
            async with agent.stream("Go!", history=outcome.messages) as events:
                async for event in events:
                    outcome.events.append(event)
                result = await events.result()
        else:
            result = await agent.run("Go!", history=outcome.messages, on_event=outcome.events.append)
        outcome.text, outcome.messages = result.output, result.state.messages
    except ModelError as error:
        outcome.error, outcome.messages = error, error.state.messages


def check(outcome: Outcome) -> None:
    """What holds for every run, whatever the server did."""
    assert check_transcript(outcome.messages) == []
    ended = outcome.events[-1]
    assert isinstance(ended, RunFinished)
    assert (ended.state.messages, ended.error) == (outcome.messages, outcome.error)
    assert outcome.error is not None or outcome.shown == outcome.text
    for request in outcome.requests:
        assert strict.complaints(request.body) == []
        assert request.headers["authorization"] == f"Bearer {KEY}"
    if outcome.error is not None:
        assert outcome.shown.startswith(outcome.error.partial)
        assert KEY not in f"{outcome.error} {outcome.error.body} {outcome.error!r}"
        assert len(str(outcome.error)) < 2000


@contextmanager
def leaving_nothing() -> Iterator[None]:
    """No task, thread or socket is left after the block."""
    tasks, threads, sockets = len(anyio.get_running_tasks()), our_threads(), open_sockets()
    yield
    assert len(anyio.get_running_tasks()) <= tasks
    assert our_threads() <= threads
    if not open_sockets() <= sockets:
        gc.collect()
    assert open_sockets() <= sockets


@contextmanager
def using_little_memory(most: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()


@functools.cache
def certificate() -> tuple[SSLContext, SSLContext]:
    """What a server on loopback proves itself with, and what a client takes as proof."""
    authority = trustme.CA()
    server, client = SSLContext(PROTOCOL_TLS_SERVER), create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(client)
    return server, client


def callers(library: Any) -> Any:
    """A client with one connection: whatever keeps it after a failure makes the next request wait for ever."""
    limits = library.Limits(max_connections=1)
    return library.AsyncClient(verify=certificate()[1], trust_env=False, limits=limits)


CLIENTS: Mapping[str, Callable[[], Any]] = {  # the own connection pool, or a client of the caller's
    "own": nullcontext,
    "httpx2": functools.partial(callers, httpx2),
    "httpx": functools.partial(callers, httpx),
}


def our_threads() -> set[str]:
    """The threads of this process, without those that are kept for later: idle workers, and the loop of `run_sync`."""
    names = {thread.name for thread in threading.enumerate()} - {"agentkit"}
    return {name for name in names if not name.startswith(("Trio thread", "AnyIO worker", "asyncio_", "agentkit tool"))}


def open_sockets() -> set[str]:
    """The sockets of this process, where the system tells."""
    return {target for each in Path("/proc/self/fd").glob("*") if (target := target_of(each)).startswith("socket:")}


def target_of(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""
