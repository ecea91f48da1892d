"""The context of a tool call: the run it belongs to, and the events that it can emit."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Generic, Protocol, TypeVar

import anyio.from_thread
import anyio.lowlevel

from agentkit.chat.events import Emit, Event
from agentkit.chat.messages import Message
from agentkit.chat.reply import Model

Deps = TypeVar("Deps")


@dataclass(frozen=True, slots=True)
class Progress(Event):
    """A running call reports how far it is: ``fraction`` from 0 to 1, or None when it cannot know.

    ``data`` is the value that a generator yielded, if it was neither a fraction nor a string.
    """

    call_id: str
    tool: str
    fraction: float | None
    message: str
    data: Any = None


@dataclass(frozen=True, slots=True)
class CallRetried(Event):
    """An idempotent tool raised ``error`` and is run again after ``wait`` seconds; ``attempt`` counts from 1."""

    call_id: str
    tool: str
    attempt: int
    wait: float
    error: Exception


@dataclass(frozen=True, slots=True)
class ThreadAbandoned(Event):
    """A call was abandoned, but its thread keeps running, since nothing can stop a thread."""

    call_id: str
    tool: str


@dataclass(frozen=True, slots=True)
class EventLoopBlocked(Event):
    """A call kept the event loop busy for ``seconds`` without a pause: nothing else in the program could run.

    Put long work into a function that is not async: it runs in a thread.
    """

    call_id: str
    tool: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Remaining:
    """The remaining limits of a run; None where there is no limit."""

    turns: int | None = None
    calls: int | None = None
    tokens: int | None = None
    cost: float | None = None
    seconds: float | None = None


class RunView(Protocol):
    """The part of a run that its tools may see."""

    @property
    def messages(self) -> tuple[Message, ...]:
        """The messages so far."""
        ...

    @property
    def remaining(self) -> Remaining:
        """The remaining limits of the run."""
        ...

    @property
    def artifacts(self) -> Mapping[str, str]:
        """The results that were too long for the model, whole, by the id of their call."""
        ...

    @property
    def model(self) -> Model | None:
        """The model of the agent whose turn it is."""
        ...


class _NoRun:
    """The view of a tool that is called without a run."""

    messages: tuple[Message, ...] = ()
    remaining = Remaining()
    artifacts: Mapping[str, str] = MappingProxyType({})
    model: Model | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext(Generic[Deps]):
    """The run, as instructions, tool conditions and output validators see it.

    Attributes:
        deps: The value passed as ``deps=`` to the run.
        run_id: The run.
        agent: The name of the agent whose turn it is.
        turn: The turn, counted from 1.
        emit: Emits an event to the observers of the run; returns at once.
    """

    deps: Deps
    run_id: str
    turn: int
    emit: Emit
    agent: str = ""
    view: RunView = field(default=_NoRun(), repr=False)

    @property
    def messages(self) -> tuple[Message, ...]:
        """The messages of the run so far; during a call, the last one of the assistant holds that call."""
        return self.view.messages

    @property
    def remaining(self) -> Remaining:
        """The remaining limits of the run; during a call, that call is already deducted."""
        return self.view.remaining

    @property
    def artifacts(self) -> Mapping[str, str]:
        """The results of this run that were too long for the model, whole, by the id of their call."""
        return self.view.artifacts

    @property
    def model(self) -> Model | None:
        """The model of the agent whose turn it is, for a tool that asks the model itself; None outside a run."""
        return self.view.model


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolContext(RunContext[Deps]):
    """The context of a call: given to a tool that declares a parameter of this type, which the model never sees.

    Attributes:
        call_id: The id of the call.
        tool: The name of the tool.
        idempotency_key: The same for every try of this call, even after a resume: pass it to whatever must happen once.
        nested: The state of the run that this call started and that paused, when the call is resumed; see `RunPaused`.
    """

    call_id: str
    tool: str
    idempotency_key: str
    nested: Any = field(default=None, repr=False)
    _given_up: threading.Event = field(default_factory=threading.Event, repr=False, compare=False)

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of a log record that identify this call: ``logger.info("...", extra=context.fields)``."""
        return {name: getattr(self, name) for name in ("run_id", "agent", "turn", "call_id", "tool")}

    @property
    def cancelled(self) -> bool:
        """True if nobody waits for this call any longer: it timed out, or the run was cancelled.

        A long loop in a thread should check it from time to time, as a thread cannot be stopped from outside.
        """
        return self._given_up.is_set()

    def progress(self, fraction: float | None = None, message: str = "") -> None:
        """Report the progress of the call. Nothing is reported after its end.

        Args:
            fraction: From 0 to 1; None when it cannot be known.
            message: What is being done.
        """
        self.emit(Progress(self.call_id, self.tool, fraction, message))

    def give_up(self) -> None:
        """Let the tool know that nobody is waiting for it any longer; called by the code that runs it."""
        self._given_up.set()


class LoopEmit:
    """An ``emit`` that may be called from any thread: the event is emitted in the event loop where this was made.

    Args:
        emit: Emits the event.
        failures: Takes what an observer raises, since that does not concern the tool that emits; without a list, it is
            raised there.
    """

    __slots__ = ("_closed", "_emit", "_failures", "_home", "_token")

    def __init__(self, emit: Emit, failures: list[Exception] | None = None) -> None:
        self._home, self._token = threading.get_ident(), anyio.lowlevel.current_token()
        self._emit, self._failures, self._closed = emit, failures, False

    def __call__(self, event: Event) -> None:
        """Emit the event, unless this is closed."""
        if self._closed:
            return
        if threading.get_ident() == self._home:
            self._forward(event)
            return
        try:
            anyio.from_thread.run_sync(self._forward, event, token=self._token)
        except Exception:
            if not self._closed:  # otherwise the loop has ended
                raise

    def close(self) -> None:
        """Discard all later events, because nobody can see them any longer."""
        self._closed = True

    def _forward(self, event: Event) -> None:
        if self._closed:
            return
        try:
            self._emit(event)
        except Exception as error:
            if self._failures is None:
                raise
            self._failures.append(error)
