"""Plays a case: a server on a socket or in memory, an agent that talks to it, and what must have come of it."""

import json
import re
from collections.abc import Sequence

import anyio
import httpx2
from pydantic import BaseModel

from agentkit import Agent, ChatClient, ChatSettings, Tool, ToolContext, tool
from agentkit.chat import RetryPolicy
from agentkit.events import (
    CallDelta,
    CallFinished,
    CallStarted,
    ChoiceDelta,
    Event,
    ReasoningDelta,
    RefusalDelta,
    ReplyRepaired,
    Retrying,
    RunFinished,
    RunStarted,
    TextDelta,
    TurnFinished,
    TurnStarted,
)
from tests.conformance import strict
from tests.conformance.case import Case, Outcome, Ran
from tests.conformance.server import Server, serve
from tests.conformance.wire import DONE

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


async def play(case: Case, *, streamed: bool) -> Outcome:
    """Run the agent of a case against its server in memory."""
    server, outcome = server_of(case, streamed=streamed)
    async with httpx2.AsyncClient(transport=server.transport(), trust_env=False) as http:
        await _run(case, outcome, "http://server.test/v1", streamed=streamed, http=http)
    return outcome


async def play_over_a_socket(case: Case, *, streamed: bool, http: object = None) -> Outcome:
    """Run the agent of a case against its server on a socket, through a client of the caller's if there is one."""
    server, outcome = server_of(case, streamed=streamed)
    with serve(server) as url:
        await _run(case, outcome, url, streamed=streamed, http=http)
    return outcome


def server_of(case: Case, *, streamed: bool) -> tuple[Server, Outcome]:
    """The server of a case, and the outcome to which it adds its requests."""
    script = case.script(streamed=streamed)
    assert script is not None
    outcome = Outcome()
    return Server(script, case.refuses, outcome.requests), outcome


async def _run(case: Case, outcome: Outcome, url: str, *, streamed: bool, http: object) -> None:
    deps = Deps()
    outcome.ran = deps.ran
    client = ChatClient(url, **{"model": "m", "retry": RetryPolicy(first_wait=0.0), "http": http, **case.client})
    agent = Agent(
        client, deps_type=Deps, tools=[TOOLS[name] for name in case.tools], settings=case.settings or ChatSettings()
    )
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
