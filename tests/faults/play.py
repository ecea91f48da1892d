"""One agent run against a server that fails, and everything that must hold however it ends."""

import functools
import gc
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from ssl import PROTOCOL_TLS_SERVER, SSLContext, create_default_context
from typing import Any

import anyio
import trustme

from agentkit import Agent, tool
from agentkit.chat.client import ChatClient
from agentkit.chat.events import Event, TextDelta
from agentkit.chat.http import Deadlines
from agentkit.chat.messages import Message
from agentkit.chat.retry import RetryPolicy
from agentkit.errors import ModelError
from agentkit.run.transcript import complaints
from agentkit.testing import Server
from agentkit.testing.server import Request, Scripted
from tests.conformance import strict

KEY = "sk-secret-of-mine"
AMPLE = Deadlines(connect=8, first_byte=8, idle=8, total=8)
QUICK = Deadlines(connect=0.2, first_byte=0.2, idle=0.2, total=0.4)


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
        return "".join(event.text for event in self.events if isinstance(event, TextDelta))


async def play(
    script: Iterable[Scripted],
    *,
    stream: bool,
    tries: int = 1,
    deadlines: Deadlines = AMPLE,
    http: Callable[[], Any] = nullcontext,
    tls: SSLContext | None = None,
    runs: int = 1,
) -> Outcome:
    """Run an agent with two tools against a server that plays the script; ``http`` opens a client of the caller's."""
    outcome = Outcome()
    with leaving_nothing(), Server(script, tls=tls) as server:
        retry = RetryPolicy(retries=tries - 1, first_wait=0.0)
        async with http() as library:
            client = ChatClient(server.url, model="m", api_key=KEY, retry=retry, deadlines=deadlines, http=library)
            agent = Agent(client, tools=tools(outcome))
            started = time.monotonic()
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
            result = await agent.run("Go!", history=outcome.messages, emit=outcome.events.append)
        outcome.text, outcome.messages = result.output, result.state.messages
    except ModelError as error:
        outcome.error, outcome.messages = error, error.state.messages


def check(outcome: Outcome) -> None:
    """What holds for every run, whatever the server did."""
    assert complaints(outcome.messages) == []
    for request in outcome.requests:
        assert strict.complaints(request.body) == []
        assert request.headers["authorization"] == f"Bearer {KEY}"
    if outcome.error is not None:
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


@functools.cache
def certificate() -> tuple[SSLContext, SSLContext]:
    """What a server on loopback proves itself with, and what a client takes as proof."""
    authority = trustme.CA()
    server, client = SSLContext(PROTOCOL_TLS_SERVER), create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(client)
    return server, client


def our_threads() -> set[str]:
    """The threads of this process, without the idle ones that event loops keep for later."""
    names = {thread.name for thread in threading.enumerate()}
    return {name for name in names if not name.startswith(("Trio thread", "AnyIO worker", "asyncio_"))}


def open_sockets() -> set[str]:
    """The sockets of this process, where the system tells."""
    return {target for each in Path("/proc/self/fd").glob("*") if (target := target_of(each)).startswith("socket:")}


def target_of(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""
