"""One batch of calls: each gets its result in the transcript, in the model's order, whatever happens."""

from __future__ import annotations

import functools
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import anyio

from agentkit.chat.events import Emit
from agentkit.chat.messages import ToolCall, ToolMessage
from agentkit.errors import ModelRetry, ToolError, ToolFailed, TooManyMistakes
from agentkit.run.approvals import find_pending, may_need_approval
from agentkit.run.artifacts import READ_RESULT, attached, keep, shown
from agentkit.run.decisions import Decision, changed_call
from agentkit.run.early import Outcome, Start
from agentkit.run.events import ApprovalRequested, CallFinished, CallStarted
from agentkit.run.execute import Work, execute
from agentkit.run.journal import Slot, call_slot
from agentkit.run.middleware import ToolRequest, wrap_tool
from agentkit.run.spec import RunSpec
from agentkit.run.spending import effective_limits, spend
from agentkit.run.state import RunState
from agentkit.run.step import RefusedCall, RunCalls
from agentkit.run.transcript import insert_results, interrupted_result, last_reply, open_calls
from agentkit.run.turn import View
from agentkit.tools.calls.repair import unknown_tool_message
from agentkit.tools.context import LoopEmit, ToolContext
from agentkit.tools.result import OWN_KEYS, ToolResult, describe_error, to_result
from agentkit.tools.tool import Tool

__all__ = ["attach_files", "run_calls", "starter"]

log = logging.getLogger("agentkit")

# Members of a result's metadata. They are in what a journal keeps, so that a replay comes to the same end.
_MISTAKE = f"{OWN_KEYS}mistake"  # counts against the tool's `retries`
_UNKNOWN_NAMES = 3  # turns in a row in which the model may call what does not exist and try again
_RAISED = f"{OWN_KEYS}raised"  # what unexpected thing the tool raised, in words


async def run_calls(spec: RunSpec, state: RunState, step: RunCalls, emit: Emit, tools: Mapping[str, Tool]) -> None:
    """Run a batch, apart from calls that have to wait for a decision; when it is done, raise what ends the run.

    Raises:
        ToolFailed: A tool raised, with ``tool_errors="raise"``.
        TooManyMistakes: A tool was called wrongly too often.
        Exception: Whatever an observer or a journal raised.
    """
    batch = _Batch.of(spec, state, emit, tools)
    spend(calls=len(step.calls))  # before anything is awaited: runs beside this one spend from the same limit
    calls: Sequence[ToolCall] = ()
    try:
        calls = await batch.allowed(step.calls)
    finally:
        spend(calls=len(calls) - len(step.calls))
    works = [batch.ready(call) for call in calls]
    for call in calls:
        state.calls_by_tool[call.name] = state.calls_by_tool.get(call.name, 0) + 1
    state.limit = state.limit or step.limit
    try:
        await execute(works)
    finally:
        insert_results(state.messages, [*map(batch.answer, calls), *map(_refusal, step.refused)])
        attach_files(state)
    batch.end(calls)


def starter(spec: RunSpec, state: RunState, emit: Emit, tools: Mapping[str, Tool]) -> Start:
    """Lets calls of read-only tools start before the reply is finished, as far as the limit of calls allows."""
    batch = _Batch.of(spec, state, emit, tools)
    started: list[ToolCall] = []
    waiting: list[ToolCall] = []  # a call that must wait: what comes after it may need what it does

    def start(call: ToolCall) -> Callable[[], Awaitable[Outcome]] | None:
        tool, left = batch.tools.get(call.name), batch.view.remaining.calls
        if tool is not None and tool.sequential:
            waiting.append(call)
        if tool is None or not tool.read_only or waiting or len(started) == left or state.final_turn:
            return None
        if may_need_approval(tool, spec.requires_approval) or spec.limits.calls_of(tool.name) is not None:
            return None
        started.append(call)
        view = replace(batch.view, early=len(started), turn=state.turns + 1)
        return lambda: batch.early(call, tool, view)

    return start


@dataclass(frozen=True, slots=True)
class _Batch:
    """The calls of one reply on their way."""

    spec: RunSpec
    state: RunState
    emit: LoopEmit
    tools: Mapping[str, Tool]
    view: View
    results: dict[str, ToolResult] = field(default_factory=dict[str, ToolResult])
    wrong: dict[str, Exception] = field(default_factory=dict[str, Exception])
    failures: list[Exception] = field(default_factory=list[Exception])

    @staticmethod
    def of(spec: RunSpec, state: RunState, emit: Emit, tools: Mapping[str, Tool]) -> _Batch:
        failures: list[Exception] = [] if spec.early is None else spec.early.failures
        view = View(effective_limits(spec.limits), state)
        return _Batch(spec, state, LoopEmit(emit, failures), tools, view, failures=failures)

    async def allowed(self, calls: Sequence[ToolCall]) -> Sequence[ToolCall]:
        """The calls that need not wait, or no longer."""
        if not any(may_need_approval(self.tools.get(call.name), self.spec.requires_approval) for call in calls):
            return calls
        pairs = [(call, self.tools.get(call.name), self.context(call, self.state.turns)) for call in calls]
        self.wrong.update(await find_pending(self.state, pairs, self.spec.requires_approval))
        waiting = {each.id: each for each in self.state.pending}
        for call in calls:
            if call.id in waiting:
                self.emit(ApprovalRequested(call, waiting[call.id].reason))
        self.state.blocked = list(self._behind(waiting.keys()))
        return [call for call in calls if call.id not in waiting and call.id not in self.state.blocked]

    def _behind(self, waiting: Collection[str]) -> Iterator[str]:
        """The calls that a barrier keeps behind one that waits: none passes a sequential one, nor that one others."""
        somebody_waits = barrier = False
        for call in open_calls(self.state.messages):
            tool = self.tools.get(call.name)
            alone, waits = tool is not None and tool.sequential, call.id in waiting
            behind = not waits and (barrier or (alone and somebody_waits))
            if behind:
                yield call.id
            somebody_waits = somebody_waits or waits
            barrier = barrier or (alone and (waits or behind))

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
            idempotency_key=call_slot(self.state, call),
            emit=self.emit,
            view=self.view,
        )

    async def early(self, call: ToolCall, tool: Tool, view: View) -> Outcome:
        """Run a call of a reply that is not finished."""
        errors: list[Exception] = []
        context = replace(self.context(call, self.state.turns + 1), view=view)
        return await self.attempt(call, tool, context, errors), errors

    async def run(self, call: ToolCall, tool: Tool | None, context: ToolContext[Any], slot: Slot) -> None:
        """Run a call inside its slot and keep what came of it; nothing is raised, so that its siblings go on."""
        try:
            self.emit(CallStarted(call))
            started = anyio.current_time()
            errors: list[Exception] = []
            result = to_result(await slot.run(lambda: self.outcome(call, tool, context, errors)), own=True)
            self.results[call.id] = result
            if _RAISED in result.metadata and self.spec.on_tool_error == "raise":
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
                raise ToolError(unknown_tool_message(call.name, self.tools, self.spec.tools))
            if call.id in self.wrong:
                raise self.wrong[call.id]
            request, decision = ToolRequest(tool, call, context), self.state.decisions.get(call.id)
            return await (self.call(request) if decision is None else self.decided(decision, request))
        except ToolError as error:
            wrong = tool is None or isinstance(error, ModelRetry)
            return ToolResult(f"Error: {error}", is_error=True, metadata={_MISTAKE: wrong})
        except Exception as error:  # a tool may raise anything, and its siblings must finish
            log.warning("tool %s raised", call.name, exc_info=error)
            errors.append(error)
            told = describe_error(error)
            return ToolResult(f"Error: {call.name} failed with {told}", is_error=True, metadata={_RAISED: told})

    async def decided(self, decision: Decision, request: ToolRequest) -> ToolResult:
        """What comes of a call that somebody outside has decided about."""
        if decision.kind == "answer":
            return ToolResult(decision.answer)
        if decision.kind == "deny":
            why = f": {decision.reason}" if decision.reason else ""
            return ToolResult(f"Error: not run: a person refused this call{why}", is_error=True)
        if decision.arguments is None:
            return await self.call(request)
        changed = changed_call(request.call, request.tool, decision.arguments)
        result = await self.call(replace(request, call=changed))
        return replace(result, content=f"[A person changed the arguments to {decision.arguments}]\n{result.content}")

    async def call(self, request: ToolRequest) -> ToolResult:
        return await wrap_tool(self.spec.middleware, _call)(request)

    def answer(self, call: ToolCall) -> ToolMessage:
        """The message that answers a call. What is too long for the model is kept whole."""
        result = self.results.get(call.id)
        if result is None:
            return interrupted_result(call)
        content, is_cut = shown(call, result, readable=READ_RESULT not in self.spec.tools)
        if is_cut:
            keep(self.state.artifacts, call, result)
        if result.files:
            self.state.files[call.id] = list(result.files)
        return ToolMessage(content, call.id, meta=self.spec.meta())

    def end(self, calls: Iterable[ToolCall]) -> None:
        """Raise what the batch has come to, if it ends the run."""
        spent = list(self._spent(calls))
        results = [self.results[call.id] for call in calls if call.id in self.results]
        if results:
            self.state.failed_turns = self.state.failed_turns + 1 if all(each.is_error for each in results) else 0
        if self.failures:
            raise self.failures[0]
        for name in spent:
            what = f"tool {name} was called wrongly" if name else "names that no tool has were called"
            raise TooManyMistakes(f"{what} in {self.state.mistakes[name]} turns in a row", tool=name, state=self.state)

    def _spent(self, calls: Iterable[ToolCall]) -> Iterator[str]:
        """Count the turns in which a tool was only called wrongly; those with no more retries left are returned.

        Names that no tool has count together, as ``""``.
        """
        mistaken: dict[str, bool] = {}
        for call in calls:
            if call.id in self.results:
                wrong = bool(self.results[call.id].metadata.get(_MISTAKE))
                name = call.name if call.name in self.tools else ""
                mistaken[name] = wrong and mistaken.get(name, True)
        if mistaken and "" not in mistaken:
            self.state.mistakes.pop("", None)
        for name, wrong in mistaken.items():
            if not wrong:
                self.state.mistakes.pop(name, None)
                continue
            self.state.mistakes[name] = self.state.mistakes.get(name, 0) + 1
            tool = self.tools.get(name)
            if self.state.mistakes[name] > (_UNKNOWN_NAMES if tool is None else tool.retries):
                yield name


def attach_files(state: RunState) -> None:
    """Let the files of a batch follow when all its calls have their results."""
    said = last_reply(state.messages)
    if state.files and said is not None and not open_calls(state.messages):
        results = [(call, ToolResult("", files=state.files.get(call.id, ()))) for call in said.tool_calls]
        state.messages.extend(attached(results))
        state.files.clear()


def _refusal(refused: RefusedCall) -> ToolMessage:
    return ToolMessage(f"Error: not run: {refused.why} was reached", refused.call.id)


async def _call(request: ToolRequest) -> ToolResult:
    return await request.tool.call(request.context, request.call.written)


def _failure(state: RunState, call: ToolCall, result: ToolResult, errors: list[Exception]) -> ToolFailed:
    """The end of the run; on a replay the exception itself is not there, only what the result says of it."""
    failed = ToolFailed(f"tool {call.name} raised {result.metadata[_RAISED]}", state=state)
    failed.__cause__ = errors[0] if errors else None
    return failed
