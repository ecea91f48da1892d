"""Plays a case: a server on a real socket, an agent that talks to it, and what must have come of it."""

import json
import re
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import anyio
from pydantic import BaseModel

from agentkit import Agent, ChatClient, ChatSettings, Tool, ToolContext, tool
from agentkit.chat.events import (
    CallDelta,
    ChoiceDelta,
    Event,
    ReasoningDelta,
    RefusalDelta,
    ReplyRepaired,
    Retrying,
    TextDelta,
)
from agentkit.chat.transport.retry import RetryPolicy
from agentkit.run.events import CallFinished, CallStarted, RunFinished, RunStarted, TurnFinished, TurnStarted
from tests.conformance import strict
from tests.conformance.case import DONE, Case, Outcome, Ran
from tests.conformance.wire import HANG, Answer, Refusal, says

ORDINARY = (
    TextDelta,
    ReasoningDelta,
    RefusalDelta,
    CallDelta,
    ChoiceDelta,
    RunStarted,
    RunFinished,
    TurnStarted,
    TurnFinished,
    CallStarted,
    CallFinished,
)


class Deps:
    """What the tools write down, and the meeting point of two of them."""

    def __init__(self) -> None:
        self.ran: list[Ran] = []
        self.second_is_done = anyio.Event()


@tool
async def add(context: ToolContext[Deps], a: int, b: int) -> int:
    """Add two numbers."""
    context.deps.ran.append(("add", {"a": a, "b": b}))
    return a + b


@tool
async def weather(context: ToolContext[Deps], city: str) -> str:
    """Tell the weather in a city."""
    context.deps.ran.append(("weather", {"city": city}))
    return f"sunny in {city}"


class Place(BaseModel):
    """A place to visit."""

    city: str
    days: int | None = None


@tool
async def visit(context: ToolContext[Deps], place: Place) -> str:
    """Visit a place."""
    context.deps.ran.append(("visit", place.model_dump()))
    return "visited"


@tool
async def now(context: ToolContext[Deps]) -> str:
    """Tell the time."""
    context.deps.ran.append(("now", {}))
    return "12:00"


@tool
async def broken(context: ToolContext[Deps]) -> str:
    """Fail."""
    context.deps.ran.append(("broken", {}))
    raise RuntimeError("out of order")


@tool
async def silent(context: ToolContext[Deps]) -> str:
    """Return nothing to read."""
    context.deps.ran.append(("silent", {}))
    return ""


@tool
async def odd(context: ToolContext[Deps]) -> str:
    """Return what no server takes."""
    context.deps.ran.append(("odd", {}))
    return "a\x00b\ud800c"


@tool
async def first(context: ToolContext[Deps]) -> str:
    """Finish after the second."""
    context.deps.ran.append(("first", {}))
    await context.deps.second_is_done.wait()
    return "first"


@tool
async def second(context: ToolContext[Deps]) -> str:
    """Finish before the first."""
    context.deps.ran.append(("second", {}))
    context.deps.second_is_done.set()
    return "second"


TOOLS: dict[str, Tool] = {each.name: each for each in (add, weather, visit, now, broken, silent, odd, first, second)}


async def play(case: Case, *, streamed: bool, http: object = None) -> Outcome:
    """Run the agent of a case against its server, through a client of the caller's if there is one."""
    outcome, deps = Outcome(), Deps()
    outcome.ran = deps.ran
    script = case.script(streamed=streamed)
    assert script is not None
    with serve(script, case.refuses, outcome) as url:
        client = ChatClient(url, **{"model": "m", "retry": RetryPolicy(first_wait=0.0), "http": http, **case.client})
        agent = Agent(client, tools=[TOOLS[name] for name in case.tools], settings=case.settings or ChatSettings())
        try:
            if streamed:
                async with agent.stream(case.prompt, history=case.history, deps=deps) as events:
                    async for event in events:
                        outcome.events.append(event)
                    outcome.result = await events.result()
            else:
                outcome.result = await agent.run(
                    case.prompt, history=case.history, deps=deps, on_event=outcome.events.append
                )
        except Exception as error:  # noqa: BLE001 - of whatever type it is, the case knows which it must be
            outcome.error = error
        finally:
            await agent.aclose()
    return outcome


def check(case: Case, outcome: Outcome, *, streamed: bool) -> None:
    """What must hold of every case."""
    if case.error is None and outcome.error is not None:
        raise outcome.error
    assert _sorted(outcome.ran) == _sorted(case.wanted)
    if case.error is not None:
        assert type(outcome.error) is case.error, outcome.error or outcome.result
        assert re.search(case.reads, str(outcome.error)), outcome.error
    else:
        assert outcome.result is not None
        assert outcome.result.output == case.final
        assert not streamed or _shown(outcome) == case.final
    for body in outcome.bodies:
        assert strict.complaints(body, extra=case.extra) == []
    assert len(outcome.requests) == _asks(case, streamed=streamed)
    told = [_words(event) for event in outcome.events if not isinstance(event, ORDINARY)]
    assert all(any(re.search(pattern, each) for each in told) for pattern in case.told), told
    assert case.told or not told, told
    assert case.also is None or case.also(outcome)


def _words(event: Event) -> str:
    return f"{'ReplyRepaired ' if isinstance(event, ReplyRepaired) else ''}{event}"


def _sorted(ran: Sequence[Ran]) -> list[str]:
    return sorted(json.dumps(each) for each in ran)


def _asks(case: Case, *, streamed: bool) -> int:
    script = case.script(streamed=streamed) or ()
    return case.asks if case.asks is not None else len(script) + (case.final == DONE and not case.error)


def _shown(outcome: Outcome) -> str:
    """The text that an observer saw since the last turn or try began."""
    shown = ""
    for event in outcome.events:
        if isinstance(event, TurnStarted | Retrying):
            shown = ""
        elif isinstance(event, TextDelta):
            shown += event.text
    return shown


@contextmanager
def serve(script: Sequence[Answer], refuses: Sequence[Refusal], outcome: Outcome) -> Iterator[str]:
    """A server that answers as the script says, and then with `DONE`."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        over = threading.Event()
        thread = threading.Thread(target=_serve, args=(listener, script, refuses, outcome, over), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        finally:
            over.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(5)


def _serve(
    listener: socket.socket,
    script: Sequence[Answer],
    refuses: Sequence[Refusal],
    outcome: Outcome,
    over: threading.Event,
) -> None:
    left = list(script)
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            headers, body = _read(connection)
            outcome.requests.append((headers, body))
            refusal = next((answer for looks_so, answer in refuses if looks_so(body)), None)
            answer = refusal or (left.pop(0) if left else says(DONE, stream=bool(body.get("stream"))))
            threading.Thread(target=_send, args=(connection.dup(), answer, over), daemon=True).start()


def _send(connection: socket.socket, answer: Answer, over: threading.Event) -> None:
    with connection, suppress(OSError):  # of a client that has had enough
        for piece in [answer] if isinstance(answer, bytes) else answer:
            if piece == HANG:
                over.wait(20)
            else:
                connection.sendall(piece)


def _read(connection: socket.socket) -> tuple[dict[str, str], Any]:
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines[1:])}
    while len(body) < int(headers.get("content-length", "0")):
        body += connection.recv(65536)
    return {"path": lines[0].split()[1], **headers}, json.loads(body)
