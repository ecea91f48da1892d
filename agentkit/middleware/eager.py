"""`Eager`: start calls of read-only tools while the reply that makes them is still streaming."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import anyio
import anyio.abc
from pydantic_core import from_json

from agentkit.chat import Model, Reply
from agentkit.events import CallDelta, DeltasDiscarded, Event
from agentkit.messages import ToolCall
from agentkit.run import (
    Middleware,
    ModelTurn,
    NextModel,
    NextRun,
    NextTool,
    Run,
    RunState,
    ToolRequest,
)
from agentkit.tools import LoopEmit, Remaining, ToolResult

__all__ = ["Eager"]

_ID = "agentkit-early-"  # prefix of the ids of early calls
_LONGEST = 64 * 1024  # characters of arguments that are examined while they arrive


@dataclass(slots=True)
class _EarlyCall:
    """A call that has started: its result, or what it raised."""

    name: str
    arguments: dict[str, Any]
    done: anyio.Event = field(default_factory=anyio.Event)
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    result: ToolResult | None = None
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class _View:
    """The run as an early call sees it: as it will be once the reply has arrived."""

    run: Run[Any]
    turn: int
    early: int

    @property
    def messages(self) -> tuple[Any, ...]:
        return self.run.messages

    @property
    def artifacts(self) -> Mapping[str, str]:
        return self.run.artifacts

    @property
    def model(self) -> Model | None:
        return self.run.model

    @property
    def remaining(self) -> Remaining:
        left = self.run.remaining
        if self.run.state.turns >= self.turn:
            return left
        calls = None if left.calls is None else left.calls - self.early
        return replace(left, turns=None if left.turns is None else left.turns - 1, calls=calls)


class _EarlyCalls:
    """The early calls of one run."""

    def __init__(self, run: Run[Any], tasks: anyio.abc.TaskGroup) -> None:
        self._run, self._tasks = run, tasks
        self.failures: list[Exception] = []  # what observers raised when an early call emitted something
        self._started: dict[int, _EarlyCall] = {}
        self._written: dict[int, list[str]] = {}
        self._names: dict[int, str] = {}  # a call's name arrives once
        self._complete: set[int] = set()
        self._waits = False  # for a sequential tool: later calls may depend on it
        self._count = 0  # in the whole run, so that no two early calls share an id

    def look(self, event: Event, turn: ModelTurn) -> None:
        """Start a call when its arguments are complete; discard the calls of a discarded reply."""
        if isinstance(event, DeltasDiscarded):
            self.forget()
        elif isinstance(event, CallDelta) and event.index not in self._started:
            self._add(event, turn)

    def end_if_failed(self) -> None:
        """Raise an observer's exception from an early call, now that the batch is done."""
        if self.failures:
            raise self.failures[0]

    def forget(self) -> None:
        """Cancel the calls that no reply has used."""
        for early in self._started.values():
            early.scope.cancel()
        self._started.clear()
        self._written.clear()
        self._names.clear()
        self._complete.clear()
        self._waits = False

    async def take(self, call: ToolCall) -> _EarlyCall | None:
        """Return the finished early call with this name and these arguments; None if there is none, or this is one."""
        if call.id.startswith(_ID):
            return None
        arguments = _complete(call.written)
        for index, early in self._started.items():
            if (early.name, early.arguments) == (call.name, arguments):
                del self._started[index]
                await early.done.wait()
                return early
        return None

    def _add(self, delta: CallDelta, turn: ModelTurn) -> None:
        name = self._names.setdefault(delta.index, delta.name)
        fragments = self._written.setdefault(delta.index, [])
        if sum(map(len, fragments)) > _LONGEST:
            return
        fragments.append(delta.arguments)
        if not delta.arguments.rstrip().endswith("}"):
            return
        text = "".join(fragments)
        arguments = _complete(text)
        if arguments is None:
            return
        self._complete.add(delta.index)
        if self._complete.issuperset(range(delta.index)):  # otherwise an earlier one may have to run first and alone
            self._start(delta.index, name, text, arguments, turn)

    def _start(self, index: int, name: str, text: str, arguments: dict[str, Any], turn: ModelTurn) -> None:
        tool, run = turn.tools.get(name), self._run
        self._waits = self._waits or (tool is not None and tool.sequential)
        if tool is None or not tool.read_only or self._waits or run.state.final_turn:
            return
        if (
            tool.may_wait
            or turn.requires_approval is not False
            or run.limits.calls_of(tool.name) is not None
            or len(self._started) == run.remaining.calls
        ):
            return
        id_ = f"{_ID}{self._count}"
        call = ToolCall.custom(id_, name, text) if tool.is_custom else ToolCall(id_, name, text)
        self._count += 1
        early = self._started[index] = _EarlyCall(name, arguments)
        slot = run.journal.reserve(f"{run.run_id}:early:{self._count}", "early")
        context = replace(
            run.tool_context(call, LoopEmit(run.emit, self.failures)),
            view=_View(run, turn.turn, len(self._started)),
            turn=turn.turn,
        )

        async def work() -> None:
            with early.scope:
                try:
                    early.result = await slot.run(lambda: run.call_tool(ToolRequest(run, tool, call, context)))
                except Exception as error:  # noqa: BLE001 - raised where the call of the finished reply takes it
                    early.error = error
            early.done.set()

        self._tasks.start_soon(work)


class Eager(Middleware):
    """Starts calls of tools that are marked ``read_only`` while the reply that makes them is still streaming.

    A call of the finished reply takes the result of the early call with the same name and arguments. Early calls that
    the reply does not make are cancelled and discarded, and so are all of a reply that broke off or is requested again.
    Calls that may have to wait for a decision, and tools with a limit of their own, never start early. An early call
    passes through all middleware; list this one first, so that its result does not pass through the others again.
    """

    async def around_run(self, run: Run[Any], inner: NextRun) -> RunState:  # noqa: D102
        errors: list[BaseException] = []
        async with anyio.create_task_group() as tasks:
            run.local[self] = _EarlyCalls(run, tasks)
            try:
                state = await inner()
                run.local[self].end_if_failed()
                return state
            except anyio.get_cancelled_exc_class():
                raise
            except BaseException as error:  # noqa: BLE001 - raised again where no group wraps it
                errors.append(error)
            finally:
                tasks.cancel_scope.cancel()
        raise errors[0]

    async def around_model(self, turn: ModelTurn, inner: NextModel) -> Reply:  # noqa: D102
        early: _EarlyCalls = turn.run.local[self]
        early.end_if_failed()
        early.forget()

        def emit(event: Event) -> None:
            turn.emit(event)
            early.look(event, turn)

        return await inner(replace(turn, emit=emit))

    async def around_tool(self, call: ToolRequest, inner: NextTool) -> ToolResult:  # noqa: D102
        early: _EarlyCall | None = await call.run.local[self].take(call.call)
        if early is None:  # none has started, or this is one
            return await inner(call)
        if early.error is not None:
            raise early.error
        return cast("ToolResult", early.result)


def _complete(text: str) -> dict[str, Any] | None:
    """Parse a string as a JSON object; None if it is anything else."""
    try:
        value = from_json(text, allow_inf_nan=False)
    except (TypeError, ValueError):
        return None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None
