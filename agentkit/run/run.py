"""`Run`: a run while it is running, as its middleware and tools see it; and its journal, with a slot for each effect.

`Journal.reserve` is called synchronously and in the model's order, before anything is awaited, so slots have the same
order in every replay, however the effects overlap. A reserved slot is always used. The loop reads the clock and makes
ids through the journal only, so a replay sees the same values.
"""

from __future__ import annotations

import inspect
import time
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Literal, Protocol, TypeAlias, TypeVar

from agentkit.chat.events import (
    AudioDelta,
    CallDelta,
    ChoiceDelta,
    Emit,
    Event,
    Origin,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
)
from agentkit.chat.messages import Message, ToolCall, UserMessage
from agentkit.chat.reply import Model, Reply, Usage
from agentkit.chat.request import ChatRequest
from agentkit.errors import ConfigError, LimitReached
from agentkit.run.events import MessageAdded
from agentkit.run.limits import Limits, limits_within, remaining
from agentkit.run.state import RunState
from agentkit.tools.context import Progress, Remaining, RunContext, ToolContext
from agentkit.tools.options import Approval
from agentkit.tools.result import ToolResult
from agentkit.tools.tool import Tool

T = TypeVar("T")
M = TypeVar("M", bound=Message)
Deps = TypeVar("Deps")

SlotKind: TypeAlias = Literal["model", "tool", "approval", "early", "step"]
"""The kind of effect in a slot: a model request (returns a `Reply`), a tool call (a `ToolResult`), an approval policy
(the reason why the call waits, empty if it need not), a call that starts before the reply is complete (a `ToolResult`),
or a step of an automation (a string, its record)."""


class Slot(Protocol):
    """The place of one effect."""

    async def run(self, effect: Callable[[], Awaitable[T]]) -> T:
        """Run the effect, or return the value that was recorded for it."""
        ...


class Journal(Protocol):
    """Provides slots, time and ids to a run."""

    def reserve(self, key: str, kind: SlotKind) -> Slot:
        """Reserve the slot of an effect.

        Args:
            key: ``RUN:turn:N`` for a model request, ``RUN:call:ID`` for a tool call, ``RUN:approval:ID`` for the policy
                of a call, ``RUN:early:N`` for a call that starts early, ``JOB:step:N`` for a step.
            kind: The kind of effect.
        """
        ...

    async def save(self, state: RunState) -> None:
        """Save the state, if the journal saves states; called before each step and at the end."""
        ...

    def clock(self) -> float:
        """Return the time in seconds since 1970; it never goes backward within a run."""
        ...

    def new_id(self) -> str:
        """Return a new id."""
        ...


def call_slot(state: RunState, call: ToolCall) -> str:
    """Return the key of a call: of its slot, and the idempotency key that its tool receives."""
    return f"{state.run_id}:call:{call.id}"


class _PlainSlot:
    async def run(self, effect: Callable[[], Awaitable[T]]) -> T:
        return await effect()


_PLAIN = _PlainSlot()
_BEGAN = time.time() - time.monotonic()  # the machine's clock may be set during a run


class PlainJournal:
    """Runs each effect and records nothing."""

    def reserve(self, key: str, kind: SlotKind) -> Slot:  # noqa: ARG002 - a journal that records needs them
        """Return a slot that just runs its effect."""
        return _PLAIN

    async def save(self, state: RunState) -> None:
        """Do nothing."""

    def clock(self) -> float:
        """Return the machine's time when agentkit was imported, plus the seconds that have passed since."""
        return _BEGAN + time.monotonic()

    def new_id(self) -> str:
        """Return a random id."""
        return uuid.uuid4().hex


_current: ContextVar[tuple[Run[Any], str] | None] = ContextVar("agentkit_run", default=None)  # and the call inside it
_PASSING = (TextDelta, ReasoningDelta, RefusalDelta, AudioDelta, CallDelta, ChoiceDelta, Progress)


def recent_events() -> deque[Event]:
    """Return a list for the events of a run that keeps the last 2,000."""
    return deque(maxlen=2_000)


@dataclass(frozen=True, slots=True)
class ModelTurn:
    """A model request on its way: ``dataclasses.replace`` makes a changed one to pass to ``inner``.

    Attributes:
        run: The run.
        turn: The turn, counted from 1.
        model: The model to ask.
        request: The request.
        tools: The tools that the model is offered, by name.
        emit: Emits the deltas of the reply and other events; returns at once.
        requires_approval: The approval policy of the agent.
    """

    run: Run[Any]
    turn: int
    model: Model
    request: ChatRequest
    tools: Mapping[str, Tool]
    emit: Emit = field(repr=False)
    requires_approval: Approval = False


@dataclass(frozen=True, slots=True)
class ToolRequest:
    """A tool call on its way: ``dataclasses.replace`` makes a changed one to pass to ``inner``.

    Attributes:
        run: The run.
        tool: The tool.
        call: The call.
        context: The context that the tool receives.
    """

    run: Run[Any]
    tool: Tool
    call: ToolCall
    context: ToolContext[Any]


NextRun: TypeAlias = Callable[[], Awaitable[RunState]]
NextModel: TypeAlias = Callable[[ModelTurn], Awaitable[Reply]]
NextTool: TypeAlias = Callable[[ToolRequest], Awaitable[ToolResult]]


async def reply_of(turn: ModelTurn) -> Reply:
    """Ask the model; the middleware of a request wraps this."""
    answer: Any = turn.model.reply(turn.request, turn.emit)
    reply: Any = await answer if inspect.isawaitable(answer) else answer
    if not isinstance(reply, Reply):
        raise ConfigError(f"the reply() of {turn.model!r} must return a Reply, and returned {reply!r:.80}")
    return reply


async def result_of(request: ToolRequest) -> ToolResult:
    """Call the tool; the middleware of a call wraps this. Runs that are started inside are nested in the call."""
    token = _current.set((request.run, request.call.name))
    try:
        return await request.tool.call(request.context, given_arguments(request.call, request.tool))
    finally:
        _current.reset(token)


def stamped(message: M, time: float, agent: str, **labels: Any) -> M:
    """Return a message as it enters a run: with these labels, the time, and the agent if it has a name."""
    meta = {**message.meta, **labels, "at": round(time, 3)}
    return replace(message, meta={**meta, "agent": agent} if agent else meta)


def given_arguments(call: ToolCall, tool: Tool) -> str | Mapping[str, Any]:
    """Return the arguments of a call for its tool: the parsed object, or the string that the model wrote."""
    if call.malformed or tool.is_custom or call.input is not None:
        return call.written
    try:
        return call.parsed
    except ValueError:  # of a call that no server sent
        return call.written


@dataclass(slots=True, kw_only=True, eq=False)
class Run(Generic[Deps]):
    """A run, as its middleware sees it.

    Attributes:
        state: The live state. Change it only through its methods that say so.
        limits: The limits of the run itself; `effective_limits` also applies those of the outer runs.
        deps: The value passed as ``deps=`` to the run.
        journal: Provides the slots of its effects.
        path: The names of the tool calls that the run is nested in, outermost first.
        parent: The run that it is nested in, if any.
        local: Memory of middleware and tool sources for this run, each under a key of its own.
        turn: The turn, counted from 1; 0 before the first.
        model: The model of the agent whose turn it is.
        call_tool: Runs a tool call inside all the middleware of the run.
        events: Its last 2,000 events, those of nested runs included, without deltas and progress.
    """

    state: RunState
    limits: Limits
    deps: Deps
    observer: Emit = field(repr=False)
    journal: Journal = field(default_factory=PlainJournal, repr=False)
    path: tuple[str, ...] = ()
    parent: Run[Any] | None = field(default=None, repr=False)
    local: dict[Any, Any] = field(default_factory=dict[Any, Any], repr=False)
    turn: int = 0
    model: Model | None = field(default=None, repr=False)
    call_tool: NextTool = field(default=result_of, repr=False)
    events: deque[Event] = field(default_factory=recent_events, repr=False)

    @property
    def run_id(self) -> str:
        """The id of the run."""
        return self.state.run_id

    @property
    def agent(self) -> str:
        """The name of the agent whose turn it is."""
        return self.state.agent

    @property
    def messages(self) -> tuple[Message, ...]:
        """The messages so far."""
        return tuple(self.state.messages)

    @property
    def artifacts(self) -> Mapping[str, str]:
        """The results that were too long for the model, whole, by the id of their call."""
        return self.state.artifacts

    @property
    def remaining(self) -> Remaining:
        """The remaining limits, those of the outer runs included."""
        return remaining(self.state, self.effective_limits())

    def effective_limits(self) -> Limits:
        """Return the limits of the run, reduced to what the outer runs have left."""
        limits, outer = self.limits, self.parent
        while outer is not None:
            limits, outer = limits_within(limits, self.state, outer.limits, outer.state), outer.parent
        nothing_left = self.parent is not None and 0 in (limits.tokens, limits.cost)
        if nothing_left and not self.state.turns and limits.on_limit == "answer":
            return replace(limits, on_limit="stop")  # it has nothing to answer from
        return limits

    def spend(self, usage: Usage | None = None, *, model: str = "", calls: int = 0) -> None:
        """Count usage of a model, and calls, in this run and in the outer runs."""
        run: Run[Any] | None = self
        while run is not None:
            state, run = run.state, run.parent
            state.calls += calls
            if usage is not None:
                state.usage += usage
            if usage is not None and usage.requests:
                known = state.usage_by_model.get(model)
                state.usage_by_model[model] = known + usage if known else usage

    def emit(self, event: Event) -> None:
        """Emit an event to the observer of the run, with its origin; returns at once."""
        if event.origin is None:
            origin = Origin(self.state.run_id, self.state.agent, self.path, self.turn, self.journal.clock())
            object.__setattr__(event, "origin", origin)
        if not isinstance(event, _PASSING):
            self.events.append(event)
        self.observer(event)

    def stamp(self, message: M, **labels: Any) -> M:
        """Return the message as it enters the run: with these labels, the time, and the agent if it has a name."""
        return stamped(message, self.journal.clock(), self.state.agent, **labels)

    def add(self, message: UserMessage) -> None:
        """Add a message that is neither a reply nor a result."""
        self.state.messages.append(message)
        self.emit(MessageAdded(message))

    def context(self) -> RunContext[Deps]:
        """Return the context for instructions, conditions of tools and outputs."""
        state = self.state
        return RunContext(
            deps=self.deps, run_id=state.run_id, agent=state.agent, turn=self.turn, emit=self.emit, view=self
        )

    def tool_context(self, call: ToolCall, emit: Emit | None = None) -> ToolContext[Deps]:
        """Return the context of a call."""
        key = call_slot(self.state, call)
        # The run inside the call, if the process ended during it and the journal stores such states.
        recall: Callable[[str], RunState | None] | None = getattr(self.journal, "nested_state", None)
        return ToolContext(
            deps=self.deps,
            run_id=self.state.run_id,
            agent=self.state.agent,
            turn=self.turn,
            call_id=call.id,
            tool=call.name,
            idempotency_key=key,
            emit=emit or self.emit,
            view=self,
            nested=(recall and recall(key)) or self.state.nested.get(call.id),
        )


@contextmanager
def nested_run(run: Run[Any]) -> Generator[None]:
    """Nest the run in the run whose tool call starts it, and nest the runs that its own calls start in it.

    Raises:
        LimitReached: It is nested deeper than an outer run allows.
    """
    above = _current.get()
    if above is not None:
        run.parent, run.path = above[0], (*above[0].path, *filter(None, above[1:]))
    depth, outer = 0, run.parent
    while outer is not None:
        depth += 1
        if depth > outer.limits.nested_depth:
            raise LimitReached(
                f"agents may call agents {outer.limits.nested_depth} deep here, and no deeper",
                state=run.state,
            )
        outer = outer.parent
    token = _current.set((run, ""))
    try:
        yield
    finally:
        _current.reset(token)


def journal_of(journal: Journal, run_id: str) -> Journal:
    """The journal of a run: its own, or the one of the outer run if that stores the runs inside calls."""
    above = _current.get()
    outer = above[0] if above else None
    nested: Callable[[str], Journal] | None = getattr(outer and outer.journal, "nested", None)
    is_plain = type(journal) is PlainJournal
    return nested(run_id) if outer and nested and is_plain and run_id.startswith(f"{outer.run_id}:call:") else journal
