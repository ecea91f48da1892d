"""The three middleware chains: around a run, a model request and a tool call. There are no other hooks.

`ModelTurn` and `ToolRequest` carry their `Run`. A wrapped call returns a finished value; what happens meanwhile is
emitted as events.
"""

from __future__ import annotations

import functools
import inspect
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeAlias, TypeVar, cast

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
from agentkit.errors import ConfigError, DefinitionError, LimitReached
from agentkit.run.approvals import given_arguments
from agentkit.run.events import MessageAdded
from agentkit.run.journal import Journal, PlainJournal, call_slot
from agentkit.run.limits import Limits, limits_within, remaining
from agentkit.run.state import RunState
from agentkit.run.transcript import stamped
from agentkit.tools.context import Progress, Remaining, RunContext, ToolContext
from agentkit.tools.execute import kind_of
from agentkit.tools.options import Approval
from agentkit.tools.result import ToolResult
from agentkit.tools.tool import Tool

_PASSING = (TextDelta, ReasoningDelta, RefusalDelta, AudioDelta, CallDelta, ChoiceDelta, Progress)

T = TypeVar("T")
M = TypeVar("M", bound=Message)
Deps = TypeVar("Deps")


def recent_events() -> deque[Event]:
    """Return a list for the events of a run that keeps the last 2,000."""
    return deque(maxlen=2_000)


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
    call_tool: NextTool = field(default_factory=lambda: wrap_tool(()), repr=False)
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
            run.state.calls += calls
            if usage is not None:
                run.state.usage += usage
            if usage is not None and usage.requests:
                by_model = run.state.usage_by_model
                by_model[model] = by_model.get(model, Usage()) + usage
            run = run.parent

    def emit(self, event: Event) -> None:
        """Emit an event to the observer of the run, with its origin; returns at once."""
        if event.origin is None:
            origin = Origin(self.state.run_id, self.state.agent, self.path, self.turn, self.journal.clock())
            object.__setattr__(event, "origin", origin)
        if not isinstance(event, _PASSING):
            self.events.append(event)
        self.observer(event)

    def stamp(self, message: M) -> M:
        """Return the message as it enters the run: with the time, and the agent if it has a name."""
        return stamped(message, self.journal.clock(), self.agent)

    def add(self, message: UserMessage) -> None:
        """Add a message that is neither a reply nor a result."""
        self.state.messages.append(message)
        self.emit(MessageAdded(message))

    def context(self) -> RunContext[Deps]:
        """Return the context for instructions, conditions of tools and outputs."""
        return RunContext(
            deps=self.deps, run_id=self.run_id, agent=self.agent, turn=self.turn, emit=self.emit, view=self
        )

    def tool_context(self, call: ToolCall, emit: Emit | None = None) -> ToolContext[Deps]:
        """Return the context of a call."""
        return ToolContext(
            deps=self.deps,
            run_id=self.run_id,
            agent=self.agent,
            turn=self.turn,
            call_id=call.id,
            tool=call.name,
            idempotency_key=call_slot(self.state, call),
            emit=emit or self.emit,
            view=self,
            nested=self._recorded(call) or self.state.nested.get(call.id),
        )

    def _recorded(self, call: ToolCall) -> RunState | None:
        """The state of the run inside a call, if the process ended during it and the journal stores such states."""
        recall: Callable[[str], RunState | None] | None = getattr(self.journal, "nested_state", None)
        return recall(call_slot(self.state, call)) if recall else None


_current: ContextVar[tuple[Run[Any], str] | None] = ContextVar("agentkit_run", default=None)


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
    """The journal of a run: its own, or that of the run whose call it is in, if that stores the runs inside calls."""
    above = _current.get()
    outer = above[0] if above else None
    nested: Callable[[str], Journal] | None = getattr(outer and outer.journal, "nested", None)
    is_plain = type(journal) is PlainJournal
    return nested(run_id) if outer and nested and is_plain and run_id.startswith(f"{outer.run_id}:call:") else journal


@contextmanager
def enclosing_call(run: Run[Any], call: ToolCall) -> Generator[None]:
    """Nest the runs that are started inside the block in this call."""
    token = _current.set((run, call.name))
    try:
        yield
    finally:
        _current.reset(token)


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


class Middleware:
    """Base class of middleware: override what you need and call ``inner`` for the rest.

    The first of several is the outermost.
    """

    async def around_run(self, run: Run[Any], inner: NextRun) -> RunState:  # noqa: ARG002
        """Wrap a whole run."""
        return await inner()

    async def around_model(self, turn: ModelTurn, inner: NextModel) -> Reply:
        """Wrap one request to the model."""
        return await inner(turn)

    async def around_tool(self, call: ToolRequest, inner: NextTool) -> ToolResult:
        """Wrap one tool call. Exceptions of the tool pass through here."""
        return await inner(call)

    async def aclose(self) -> None:
        """Close its connections in this event loop; `Agent.aclose` calls this. It can still be used afterward."""


class _FunctionMiddleware(Middleware):
    """A middleware that is one function."""

    def __init__(self, function: Callable[..., Awaitable[Any]], method: str, first: str) -> None:
        name = getattr(function, "__name__", None) or repr(function)
        if kind_of(function) != "async":
            raise DefinitionError(f"@{method} takes an async function that returns once, and {name} is not one")
        try:
            inspect.signature(function).bind(first, "inner")
        except TypeError as error:
            raise DefinitionError(f"@{method}: {name} must take ({first}, inner); {error}") from None
        self._function, self._repr, self.__doc__ = function, f"{method}({name})", inspect.getdoc(function)

    def __repr__(self) -> str:
        return self._repr


class _AroundRun(_FunctionMiddleware):
    async def around_run(self, run: Run[Any], inner: NextRun) -> RunState:
        return cast("RunState", await self._function(run, inner))


class _AroundModel(_FunctionMiddleware):
    async def around_model(self, turn: ModelTurn, inner: NextModel) -> Reply:
        return cast("Reply", await self._function(turn, inner))


class _AroundTool(_FunctionMiddleware):
    async def around_tool(self, call: ToolRequest, inner: NextTool) -> ToolResult:
        return cast("ToolResult", await self._function(call, inner))


def around_run(function: Callable[[Run[Any], NextRun], Awaitable[RunState]]) -> Middleware:
    """Make middleware from an async function that wraps a whole run.

    ::

        @around_run
        async def timed(run, inner):
            print(run.run_id)
            return await inner()

    Raises:
        DefinitionError: The function is not async, or takes other parameters.
    """
    return _AroundRun(function, "around_run", "run")


def around_model(function: Callable[[ModelTurn, NextModel], Awaitable[Reply]]) -> Middleware:
    """Make middleware from an async function of ``(turn, inner)`` that wraps one request to the model.

    Raises:
        DefinitionError: The function is not async, or takes other parameters.
    """
    return _AroundModel(function, "around_model", "turn")


def around_tool(function: Callable[[ToolRequest, NextTool], Awaitable[ToolResult]]) -> Middleware:
    """Make middleware from an async function of ``(call, inner)`` that wraps one tool call.

    Raises:
        DefinitionError: The function is not async, or takes other parameters.
    """
    return _AroundTool(function, "around_tool", "call")


def wrap_run(middleware: Sequence[Middleware], run: Run[Any], core: NextRun) -> NextRun:
    """Wrap a run in its middleware."""
    return _wrapped(middleware, "around_run", core, RunState, run)


def wrap_model(middleware: Sequence[Middleware]) -> NextModel:
    """Wrap the request to the model in the middleware."""
    return _wrapped(middleware, "around_model", _ask, Reply)


def wrap_tool(middleware: Sequence[Middleware]) -> NextTool:
    """Wrap tool calls in the middleware."""
    return _wrapped(middleware, "around_tool", _call, ToolResult)


async def _ask(turn: ModelTurn) -> Reply:
    answer: Any = turn.model.reply(turn.request, turn.emit)
    reply: Any = await answer if inspect.isawaitable(answer) else answer
    if not isinstance(reply, Reply):
        raise ConfigError(f"the reply() of {turn.model!r} must return a Reply, and returned {reply!r:.80}")
    return reply


async def _call(request: ToolRequest) -> ToolResult:
    with enclosing_call(request.run, request.call):
        return await request.tool.call(request.context, given_arguments(request.call, request.tool))


def _wrapped(
    middleware: Sequence[Middleware], method: str, core: Callable[..., Awaitable[T]], kind: type[T], *given: object
) -> Callable[..., Awaitable[T]]:
    """Wrap ``core`` in each middleware that overrides the method; ``given`` are the arguments that come first."""
    for each in reversed(middleware):
        if getattr(type(each), method) is not getattr(Middleware, method):
            core = functools.partial(_layer, each, method, core, kind, *given)
    return core


async def _layer(each: Middleware, method: str, inner: Callable[..., Awaitable[T]], kind: type[T], *given: object) -> T:
    value: object = await getattr(each, method)(*given, inner)
    if not isinstance(value, kind):
        who = repr(each) if isinstance(each, _FunctionMiddleware) else f"{type(each).__name__}.{method}"
        raise TypeError(
            f"{who} returned {type(value).__name__} and not a {kind.__name__}; "
            "did you forget `return await inner(...)`?"
        )
    return value
