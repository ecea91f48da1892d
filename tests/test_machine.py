"""Runs, failures, cancellations, crashes, decisions and edits in any order: the transcript is valid after each."""

import functools
import itertools
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import anyio
import anyio.lowlevel
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from agentkit import Agent, Limits, RunState, tool
from agentkit.chat import ChatRequest
from agentkit.errors import AgentKitError, ModelError, SessionConflict, StateError
from agentkit.messages import AssistantMessage, ToolCall, ToolMessage
from agentkit.run import RunStream, SessionSnapshot
from agentkit.run.transcript import check, open_calls, repair_transcript
from agentkit.sessions import MemorySessions
from agentkit.testing import Answer, FunctionModel
from agentkit.tools import Tool, ToolContext
from tests.crash.points import Dying, Watched
from tests.explore import EXPLORE
from tests.kept import died

NAMES = ("do", "fail", "send", "ask", "alone", "picture", "unheard_of")
TURN = st.one_of(
    st.just("text"),
    st.just("error"),
    st.just("bug"),
    st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(["same", "own", "", "a b"])), min_size=1, max_size=4),
)
SCRIPT = st.lists(TURN, min_size=1, max_size=4)
LIMITS = st.sampled_from(
    [None, Limits(turns=1), Limits(turns=2, on_limit="stop"), Limits(calls=1), Limits(calls_per_tool=1, failed_turns=2)]
)


@dataclass(frozen=True)
class How:
    """What happens to a run: after how many awaits it is cancelled or told something, at which point it dies."""

    cancel: int | None = None
    say: int | None = None
    death: int = 0
    limits: Limits | None = None


HOW = st.one_of(
    st.builds(How, limits=LIMITS),
    st.builds(How, limits=LIMITS, cancel=st.integers(0, 60)),
    st.builds(How, limits=LIMITS, say=st.integers(0, 40)),
    st.builds(How, limits=LIMITS, death=st.integers(1, 40)),
)


async def watch(stream: RunStream[str], how: How) -> BaseException | None:
    """Run a stream to its end; what it raised."""
    try:
        async with stream as events:
            for _ in range(how.cancel or how.say or 0):
                await anyio.lowlevel.checkpoint()
            if how.cancel is not None:
                events.cancel()
            if how.say is not None and events.state.status == "running":
                events.send("this too")
            await events.result()
    except (AgentKitError, ZeroDivisionError) as error:
        return error
    except BaseException as error:
        if not died(error):
            raise
        return error
    return None


class Effects:
    """What the tools did, and what they may do."""

    def __init__(self) -> None:
        self.started: Counter[str] = Counter()
        self.allowed: set[str] = set()  # calls that somebody has approved
        self.live = RunState(messages=[])  # the state of the run that is going on

    async def work(self, context: ToolContext[Any]) -> None:
        self.started[context.idempotency_key] += 1
        for _ in context.tool * 2:  # calls of one batch take their time, each another
            await anyio.lowlevel.checkpoint()


@tool
async def do(context: ToolContext[Effects]) -> str:
    await context.deps.work(context)
    return "done"


@tool
async def fail(context: ToolContext[Effects]) -> str:
    await context.deps.work(context)
    raise OSError("broken")


@tool(requires_approval=True)
async def send(context: ToolContext[Effects]) -> str:
    rules = [each.kind for each in context.deps.live.rules if each.tool == "send"]
    allowed = context.idempotency_key in context.deps.allowed or rules[-1:] == ["approve"]
    assert allowed, "nobody has approved this"
    await context.deps.work(context)
    return "sent"


@tool(sequential=True)
async def alone(context: ToolContext[Effects]) -> str:
    await context.deps.work(context)
    return "alone " * 12_000


@tool
async def picture(context: ToolContext[Effects]) -> bytes:
    await context.deps.work(context)
    return b"\x89PNG\r\n\x1a\n" + bytes(20)


ask = Tool.external("ask", "Ask a person.", {"type": "object", "properties": {}})
TOOLS = [do, fail, picture, send, alone, ask]


class Conversation(RuleBasedStateMachine):
    """One session and the last state, to which anything may happen."""

    def __init__(self) -> None:
        super().__init__()
        self.sessions = MemorySessions()
        self.saved = SessionSnapshot()  # what the session holds
        self.stored: RunState | None = None  # the same, as a state
        self.state: RunState | None = None
        self.kept = False  # whether the state is the one of the session
        self.effects = Effects()
        self.in_flight: Counter[str] = Counter()  # in how many crashes a call was started and not recorded
        self.refused = False
        self.edited = False  # whether the state has not run since somebody changed its messages
        self.older: list[RunState] = []
        self.names = itertools.count()
        self.backend = "asyncio"

    def agent(self, script: list[Any]) -> Agent:
        turns = iter(script)

        def answer(request: ChatRequest) -> Answer:
            assert check(request.messages) == [], "a request that servers refuse"
            turn = next(turns, "text")
            if turn == "error":
                return ModelError("down")
            if turn == "bug":
                raise ZeroDivisionError
            if isinstance(turn, str):
                return "an answer"
            ids = (f"{id_}{next(self.names)}" if id_ == "own" else id_ for _, id_ in turn)
            return AssistantMessage(
                None, tuple(ToolCall(i, name, "{}") for (name, _), i in zip(turn, ids, strict=True))
            )

        return Agent(FunctionModel(answer), tools=TOOLS)

    # What happens.

    @initialize(backend=st.sampled_from(["asyncio", "trio"]))
    def on(self, backend: str) -> None:
        self.backend = backend

    def perform(self, agent: Agent, prompt: str | RunState | None, how: How, **options: Any) -> None:
        """Run, and look at what is left of it."""
        before, self.refused = self.saved, False
        dying = Dying(how.death if "session" in options else 0)
        started = self.effects.started.copy()
        if how.limits is not None:
            options["limits"] = how.limits
        if "session" in options:
            options["session"] = Watched(self.sessions["s"], dying)

        async def main() -> tuple[RunStream[str], BaseException | None]:
            options["deps"] = self.effects
            if isinstance(prompt, str):
                stream = agent.stream(prompt, **options)
            else:
                stream = agent.stream(resume=prompt or True, **options)
            self.effects.live = stream.state
            error = await watch(stream, how)
            self.saved, self.stored = await self.sessions["s"].load(), await self.sessions["s"].state()
            return stream, error

        stream, error = anyio.run(main, backend=self.backend)
        if dying.dead:
            self.crashed({key for key, count in self.effects.started.items() if count > started[key]})
            return
        if isinstance(error, StateError | SessionConflict) and error.state is None:
            assert self.saved == before, "what is refused changes nothing"
            self.refused = True
            return
        assert stream.state.status != "running"
        if "session" in options and self.saved == before:
            return  # it was cancelled before it had begun
        self.state, self.kept, self.edited = stream.state, "session" in options, False
        if self.kept and stream.state.revision:
            assert self.stored is not None
            assert self.stored.messages == stream.state.messages
            self.older.append(stream.state.copy())

    def crashed(self, started: set[str]) -> None:
        """The process is gone: what it has started and not recorded may run again."""
        saved, state = self.saved, self.stored and self.stored.copy()
        self.state, self.kept, self.edited = state, True, False
        if state is None:
            return
        told = {each.tool_call_id for each in state.messages if isinstance(each, ToolMessage)}
        known = set(saved.results) | {f"{state.run_id}:call:{each}" for each in told}
        self.in_flight.update(started - known)

    @rule(script=SCRIPT, how=HOW)
    def ask_in_the_session(self, script: list[Any], how: How) -> None:
        self.perform(self.agent(script), "question", how, session=True)

    @rule(script=SCRIPT, how=HOW)
    def ask_without_a_session(self, script: list[Any], how: How) -> None:
        self.perform(self.agent(script), "question", how)

    @precondition(lambda self: self.state)
    @rule(script=SCRIPT, how=HOW, on_the_wire=st.booleans())
    def ask_with_a_history(self, script: list[Any], how: How, on_the_wire: bool) -> None:
        assert self.state is not None
        messages = self.state.messages
        history = [each.to_wire() for each in messages] if on_the_wire else messages
        self.perform(self.agent(script), "question", how, history=history)

    @rule(script=SCRIPT, how=HOW)
    def go_on_in_the_session(self, script: list[Any], how: How) -> None:
        self.perform(self.agent(script), None, how, session=True)

    @rule(script=SCRIPT, deaths=st.lists(st.integers(2, 16), min_size=2, max_size=4))
    def die_again_and_again(self, script: list[Any], deaths: list[int]) -> None:
        for each in deaths:
            question = None if self.stored and self.stored.status == "running" else "question"
            self.perform(self.agent(script), question, How(death=each), session=True)

    @precondition(lambda self: self.state)
    @rule(script=SCRIPT, how=HOW)
    def go_on_with_the_state(self, script: list[Any], how: How) -> None:
        self.perform(self.agent(script), self.state, how, **({"session": True} if self.kept else {}))

    @precondition(lambda self: self.older)
    @rule(data=st.data())
    def go_on_with_a_state_that_is_out_of_date(self, data: st.DataObject) -> None:
        state = data.draw(st.sampled_from(self.older))
        if state.revision != self.saved.revision:
            self.perform(self.agent([]), state, How(), session=True)
            assert self.refused

    @precondition(lambda self: self.state and self.state.pending)
    @rule(place=st.integers(0, 3), kind=st.sampled_from(["approve", "always", "changed", "deny", "never", "answer"]))
    def decide(self, place: int, kind: str) -> None:
        assert self.state is not None
        pending = self.state.pending
        about = pending[place % len(pending)]
        if kind == "answer" or (about.external and kind not in ("deny", "never")):
            self.state.answer(about.id, "an answer")
        elif kind in ("deny", "never"):
            self.state.deny(about.id, always=kind == "never")
        else:
            self.state.approve(about.id, always=kind == "always", arguments={} if kind == "changed" else None)
            self.effects.allowed.add(f"{self.state.run_id}:call:{about.id}")

    @precondition(lambda self: self.state)
    @rule()
    def decide_about_what_is_not_pending(self) -> None:
        assert self.state is not None
        before = self.state.to_json()
        for decide in (self.state.approve, self.state.deny, functools.partial(self.state.answer, value="x")):
            try:
                decide("nothing of this name")
            except StateError:
                assert self.state.to_json() == before
            else:
                raise AssertionError("it was taken")

    @precondition(lambda self: self.state)
    @rule()
    def say(self) -> None:
        assert self.state is not None
        self.state.add_message("one thing more")

    @precondition(lambda self: self.state)
    @rule()
    def save_and_load(self) -> None:
        assert self.state is not None
        self.state = RunState.load(self.state.to_json())

    @precondition(lambda self: self.state and self.state.messages)
    @rule(place=st.integers(0, 30), how=st.sampled_from(["delete", "double", "swap", "rename"]))
    def edit(self, place: int, how: str) -> None:
        assert self.state is not None
        messages = list(self.state.messages)
        place %= len(messages)
        message = messages[place]
        if how == "delete":
            del messages[place]
        elif how == "double":
            messages.insert(place, message)
        elif how == "swap":
            messages[place], messages[-1] = messages[-1], messages[place]
        elif isinstance(message, AssistantMessage):
            calls = tuple(replace(each, id="same") for each in message.tool_calls)
            messages[place] = replace(message, tool_calls=calls)
        self.state.messages = messages
        self.edited = True
        self.effects.started.clear()  # calls that are no more there may come again under their ids
        self.in_flight.clear()

    # What always holds.

    @invariant()
    def every_transcript_at_rest_is_valid(self) -> None:
        for state in (self.stored, None if self.edited else self.state):
            if state is None:
                continue
            if state.status in ("paused", "running"):
                assert repair_transcript(state.messages, may_wait=True) == (state.messages, [])
                assert state.status == "running" or open_calls(state.messages)
            else:
                assert check(state.messages) == []

    @invariant()
    def no_call_runs_twice_but_those_in_flight_at_a_crash(self) -> None:
        for key, count in self.effects.started.items():
            assert count <= 1 + self.in_flight[key], key


def test_a_transcript_is_valid_whatever_happens_to_it() -> None:
    # A story that fails is long, and to shorten it takes longer than a test may: `make explore` has the time.
    phases = tuple(Phase) if EXPLORE else (Phase.explicit, Phase.generate)
    stories = 500 if EXPLORE else 60
    run_state_machine_as_test(
        Conversation, settings=settings(max_examples=stories, stateful_step_count=20, phases=phases)
    )
