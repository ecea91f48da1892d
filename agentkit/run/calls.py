"""One batch of calls: each gets its result in the transcript, in the model's order, whatever happens."""

from __future__ import annotations

import functools
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import anyio

from agentkit.chat.events import Emit
from agentkit.chat.messages import Message, ToolCall, ToolMessage
from agentkit.errors import Retry, ToolError, ToolFailed, TooManyMistakes
from agentkit.run.artifacts import READ_RESULT, attached, shown
from agentkit.run.early import Outcome, Start
from agentkit.run.events import CallFinished, CallStarted
from agentkit.run.journal import Slot
from agentkit.run.limits import Limits
from agentkit.run.middleware import ToolRequest, around_tool
from agentkit.run.offer import offer
from agentkit.run.spec import RunSpec
from agentkit.run.state import RunState
from agentkit.run.step import RunCalls
from agentkit.run.transcript import interrupted
from agentkit.tools.context import LoopEmit, Remaining, ToolContext
from agentkit.tools.execute import Work, execute
from agentkit.tools.names import unknown_name
from agentkit.tools.results import OWN_KEYS, ToolResult, to_result
from agentkit.tools.tool import Tool

__all__ = ["run_calls", "starter"]

log = logging.getLogger("agentkit")

# Members of a result's metadata. They are in what a journal keeps, so that a replay comes to the same end.
_MISTAKE = f"{OWN_KEYS}mistake"  # counts against the tool's `retries`
_RAISED = f"{OWN_KEYS}raised"  # what unexpected thing the tool raised, in words


async def run_calls(spec: RunSpec, state: RunState, step: RunCalls, emit: Emit) -> None:
    """Run a batch; when it is done, raise what ends the run.

    Raises:
        ToolFailed: A tool raised, with ``tool_errors="raise"``.
        TooManyMistakes: A tool was called wrongly too often.
        Exception: Whatever an observer or a journal raised.
    """
    batch = _Batch.of(spec, state, emit)
    works = [batch.ready(call) for call in step.calls]
    state.calls += len(works)
    if step.refused:
        state.limit = step.why
    try:
        await execute(works)
    finally:
        state.messages.extend(batch.answer(call) for call in step.calls)
        state.messages.extend(ToolMessage(f"Error: not run: {step.why} was reached", call.id) for call in step.refused)
        state.messages.extend(attached((call, batch.results.get(call.id)) for call in step.calls))
    batch.end(step.calls)


def starter(spec: RunSpec, state: RunState, emit: Emit) -> Start:
    """Lets calls of read-only tools start before the reply is finished, as far as the limit of calls allows."""
    batch = _Batch.of(spec, state, emit)
    started: list[ToolCall] = []
    waiting: list[ToolCall] = []  # a call that must wait: what comes after it may need what it does

    def start(call: ToolCall) -> Callable[[], Awaitable[Outcome]] | None:
        tool, left = batch.tools.get(call.name), batch.view.remaining.calls
        if tool is not None and tool.sequential:
            waiting.append(call)
        if tool is None or not tool.read_only or waiting or len(started) == left or state.closing:
            return None
        started.append(call)
        return lambda: batch.early(call, tool)

    return start


@dataclass(frozen=True, slots=True)
class _View:
    """What tools may see of the run."""

    limits: Limits
    state: RunState

    @property
    def transcript(self) -> tuple[Message, ...]:
        return tuple(self.state.messages)

    @property
    def artifacts(self) -> Mapping[str, str]:
        return self.state.artifacts

    @property
    def remaining(self) -> Remaining:
        calls = None if self.limits.calls is None else max(0, self.limits.calls - self.state.calls)
        return Remaining(turns=max(0, self.limits.turns - self.state.turns), calls=calls)


@dataclass(frozen=True, slots=True)
class _Batch:
    """The calls of one reply on their way."""

    spec: RunSpec
    state: RunState
    emit: LoopEmit
    tools: Mapping[str, Tool]
    view: _View
    results: dict[str, ToolResult] = field(default_factory=dict[str, ToolResult])
    failures: list[Exception] = field(default_factory=list[Exception])

    @staticmethod
    def of(spec: RunSpec, state: RunState, emit: Emit) -> _Batch:
        return _Batch(spec, state, LoopEmit(emit), offer(spec, state), _View(spec.limits, state))

    def ready(self, call: ToolCall) -> Work:
        """A call made ready: its slot is reserved here, before anything is awaited."""
        tool, context = self.tools.get(call.name), self.context(call, self.state.turns)
        run = functools.partial(self.run, call, tool, context, self.spec.journal.reserve(context.idempotency_key))
        return Work(run, sequential=tool is not None and tool.sequential)

    def context(self, call: ToolCall, turn: int) -> ToolContext[Any]:
        return ToolContext(
            deps=self.spec.deps,
            run_id=self.state.run_id,
            turn=turn,
            call_id=call.id,
            tool=call.name,
            idempotency_key=f"{self.state.run_id}:call:{call.id}",
            emit=self.emit,
            view=self.view,
        )

    async def early(self, call: ToolCall, tool: Tool) -> Outcome:
        """Run a call of a reply that is not finished."""
        errors: list[Exception] = []
        return await self.attempt(call, tool, self.context(call, self.state.turns + 1), errors), errors

    async def run(self, call: ToolCall, tool: Tool | None, context: ToolContext[Any], slot: Slot) -> None:
        """Run a call inside its slot and keep what came of it; nothing is raised, so that its siblings go on."""
        try:
            self.emit(CallStarted(call))
            started = anyio.current_time()
            errors: list[Exception] = []
            result = to_result(await slot.run(lambda: self.outcome(call, tool, context, errors)), own=True)
            self.results[call.id] = result
            if _RAISED in result.metadata and self.spec.tool_errors == "raise":
                self.failures.append(_failure(self.state, call, result, errors))
            self.emit(CallFinished(call, result, anyio.current_time() - started, errors[0] if errors else None))
        except Exception as error:  # noqa: BLE001 - of an observer or a journal; it ends the run when the batch is done
            self.failures.append(error)

    async def outcome(
        self, call: ToolCall, tool: Tool | None, context: ToolContext[Any], errors: list[Exception]
    ) -> ToolResult:
        """Run a call, or take what it came to when it was started early."""
        early = None if self.spec.early is None else await self.spec.early.take(call)
        if early is None:
            return await self.attempt(call, tool, context, errors)
        errors += early[1]
        return early[0]

    async def attempt(
        self, call: ToolCall, tool: Tool | None, context: ToolContext[Any], errors: list[Exception]
    ) -> ToolResult:
        """Run a call; what it raises becomes a result for the model to read, the unexpected goes to ``errors`` too."""
        try:
            if tool is None:
                raise ToolError(unknown_name(call.name, self.tools, self.spec.tools))
            return await around_tool(self.spec.middleware, _call)(ToolRequest(tool, call, context))
        except ToolError as error:
            return ToolResult(f"Error: {error}", is_error=True, metadata={_MISTAKE: isinstance(error, Retry)})
        except Exception as error:  # a tool may raise anything, and its siblings must finish
            log.warning("tool %s raised", call.name, exc_info=error)
            errors.append(error)
            told = _named(error)
            return ToolResult(f"Error: {call.name} failed with {told}", is_error=True, metadata={_RAISED: told})

    def answer(self, call: ToolCall) -> ToolMessage:
        """The message that answers a call. What is too long for the model is kept whole."""
        result = self.results.get(call.id)
        if result is None:
            return interrupted(call)
        content, is_cut = shown(call, result, readable=READ_RESULT not in self.spec.tools)
        if is_cut:
            self.state.artifacts[call.id] = result.content
        return ToolMessage(content, call.id)

    def end(self, calls: Iterable[ToolCall]) -> None:
        """Raise what the batch has come to, if it ends the run."""
        spent = list(self._spent(calls))
        if self.failures:
            raise self.failures[0]
        for name in spent:
            raise TooManyMistakes(
                f"tool {name} was called wrongly in {self.state.mistakes[name]} turns in a row",
                tool=name,
                state=self.state,
            )

    def _spent(self, calls: Iterable[ToolCall]) -> Iterator[str]:
        """Count the turns in which a tool was only called wrongly; those with no more retries left are returned."""
        mistaken: dict[str, bool] = {}
        for call in calls:
            if call.id in self.results:
                wrong = bool(self.results[call.id].metadata.get(_MISTAKE))
                mistaken[call.name] = wrong and mistaken.get(call.name, True)
        for name, wrong in mistaken.items():
            if not wrong:
                self.state.mistakes.pop(name, None)
                continue
            self.state.mistakes[name] = self.state.mistakes.get(name, 0) + 1
            tool = self.tools.get(name)
            if tool is not None and self.state.mistakes[name] > tool.retries:
                yield name


async def _call(request: ToolRequest) -> ToolResult:
    return await request.tool.call(request.context, request.call.written)


def _failure(state: RunState, call: ToolCall, result: ToolResult, errors: list[Exception]) -> ToolFailed:
    """The end of the run; on a replay the exception itself is not there, only what the result says of it."""
    failed = ToolFailed(f"tool {call.name} raised {result.metadata[_RAISED]}", state=state)
    failed.__cause__ = errors[0] if errors else None
    return failed


def _named(error: Exception) -> str:
    if isinstance(error, ExceptionGroup):
        return str(error.args[0])
    try:
        told = str(error)
    except Exception:  # noqa: BLE001 - an exception brings code of its own
        told = ""
    return f"{type(error).__name__}: {told}" if told else type(error).__name__
