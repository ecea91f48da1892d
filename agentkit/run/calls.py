"""One batch of calls: each gets its result in the transcript, in the model's order, whatever happens."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from operator import itemgetter
from typing import Any, TypeAlias, cast

import anyio

from agentkit.chat.log import failure_in_short, log
from agentkit.chat.messages import ToolCall, ToolMessage
from agentkit.errors import ModelRetry, RunPaused, ToolError, ToolFailed, TooManyMistakes
from agentkit.run.approvals import (
    ApprovalRequest,
    Decision,
    approval_reason,
    call_hash,
    changed_call,
    misfit,
    rule_hash,
)
from agentkit.run.artifacts import READ_RESULT, attached, keep, shown
from agentkit.run.deferred import missing_tool
from agentkit.run.events import ApprovalRequested, CallDenied, CallFinished, CallStarted
from agentkit.run.handoffs import Handoff
from agentkit.run.run import Journal, Run, Slot, ToolRequest, given_arguments
from agentkit.run.spec import AgentSpec, RunSpec
from agentkit.run.state import RunState
from agentkit.run.step import RunCalls
from agentkit.run.transcript import (
    FINAL,
    HANDED_TO,
    insert_results,
    interrupted_result,
    last_reply,
    open_calls,
)
from agentkit.tools.context import LoopEmit, ToolContext
from agentkit.tools.result import OWN_KEYS, ToolResult, describe_error, to_result
from agentkit.tools.tool import Tool

# Members of a result's metadata. A journal records them, so that a replay ends in the same way.
_MISTAKE = f"{OWN_KEYS}mistake"  # counts against the tool's `retries`
_UNKNOWN_NAMES = 3  # turns in a row in which the model may call tools that do not exist
_RAISED = f"{OWN_KEYS}raised"  # the unexpected exception that the tool raised, in words


async def run_calls(run: Run[Any], spec: RunSpec, agent: AgentSpec, step: RunCalls, tools: Mapping[str, Tool]) -> None:
    """Run a batch, apart from calls that have to wait for a decision; when it is done, raise what ends the run.

    Raises:
        ToolFailed: A tool raised, with ``on_tool_error="raise"``.
        TooManyMistakes: A tool was called wrongly too often.
        Exception: Whatever an observer or a journal raised.
    """
    state = run.state
    calls: Sequence[ToolCall] = step.calls
    run.turn = state.turns
    batch = _Batch(run, state, spec.journal, agent, tools)
    new = [call for call in calls if call.id not in state.nested]  # the others were counted when they began
    run.spend(calls=len(new))  # before anything is awaited, as other runs spend from the same limit
    if asked := [call for call in calls if batch.may_wait(call)]:
        calls = ()
        try:
            calls = await batch.allowed(step.calls, asked)
        finally:
            run.spend(calls=len(calls) - len(step.calls))
    works = [batch.prepare(call) for call in calls]
    for call in calls:
        if call.id not in state.nested:
            state.calls_by_tool[call.name] = state.calls_by_tool.get(call.name, 0) + 1
    state.limit = state.limit or step.limit
    try:
        await _run_together(works)
    finally:
        answers = [batch.answer(call) for call in calls if call.id not in batch.paused]
        answers += [ToolMessage(f"Error: not run: {each.reason} was reached", each.call.id) for each in step.refused]
        insert_results(state.messages, answers)
        state.nested = {id_: each for id_, each in state.nested.items() if id_ not in batch.results} | batch.paused
        if state.files:
            attach_files(state)
    batch.end(calls)


_Work: TypeAlias = tuple[bool, Callable[[], Coroutine[Any, Any, None]]]
"""A call that is ready: whether it is sequential; a function that does not raise, as that would end its siblings."""


async def _run_together(works: Sequence[_Work]) -> None:
    """Run a batch: all at once, except that a sequential call runs alone, in its place."""
    for sequential, group in groupby(works, key=itemgetter(0)):
        together = [run for _, run in group]
        if sequential or len(together) == 1:
            for run in together:
                await run()
        else:
            async with anyio.create_task_group() as tasks:
                for run in together:
                    tasks.start_soon(run)


@dataclass(frozen=True, slots=True)
class _Batch:
    """The calls of one reply on their way."""

    run_: Run[Any]
    state: RunState
    journal: Journal
    agent: AgentSpec
    tools: Mapping[str, Tool]
    results: dict[str, ToolResult] = field(default_factory=dict[str, ToolResult])
    wrong: dict[str, Exception] = field(default_factory=dict[str, Exception])
    failures: list[Exception] = field(default_factory=list[Exception])
    paused: dict[str, RunState] = field(default_factory=dict[str, RunState])

    # Waiting for decisions.

    def may_wait(self, call: ToolCall) -> bool:
        """Return True if a decision about the call may be needed, or has been made."""
        tool = self.tools.get(call.name)
        policy = self.agent.requires_approval
        return tool is not None and (tool.may_wait or policy is not False or call.id in self.state.decisions)

    async def allowed(self, calls: Sequence[ToolCall], asked: Sequence[ToolCall]) -> Sequence[ToolCall]:
        """Return the calls that need not wait. The state records why others wait; only calls in ``asked`` may have to.

        A decision counts only for exactly the call that it was made for. Calls with invalid arguments do not wait: the
        complaint is their result.
        """
        state = self.state
        slots = [self.journal.reserve(f"{state.run_id}:approval:{call.id}", "approval") for call in asked]
        for call, slot in zip(asked, slots, strict=True):
            await self._decide(call, self.tools[call.name], slot)
        waiting = {each.id: each for each in state.pending}
        for call in calls:
            if call.id in waiting:
                self.run_.emit(ApprovalRequested(call, waiting[call.id].reason))
        state.blocked = list(self._behind(waiting.keys()))
        return [call for call in calls if call.id not in waiting and call.id not in state.blocked]

    async def _decide(self, call: ToolCall, tool: Tool, slot: Slot) -> None:
        state, context, policy = self.state, self.context(call), self.agent.requires_approval
        request = ApprovalRequest("", call_hash(call, tool), rule_hash(tool), tool.is_external, tool.is_custom)
        decision, reason, rule = state.decisions.pop(call.id, None), "", None
        if decision is not None and decision.hash == request.hash:
            reason = misfit(tool, context, decision)
            if not reason:
                state.decisions[call.id] = decision
                return
        if decision is not None:
            state.files.pop(call.id, None)  # of an answer
        if not reason:
            rule = self._standing_decision(request)
        if not reason and rule is None:
            try:
                arguments = tool.checked(context, given_arguments(call, tool))
            except Exception as error:  # noqa: BLE001 - of the arguments' own types, as when the call would run
                self.wrong[call.id] = error
            else:
                reason = await slot.run(lambda: approval_reason(tool, context, arguments, policy))
        state.approvals.pop(call.id, None)
        if rule is not None:
            state.decisions[call.id] = rule
        elif reason:
            state.approvals[call.id] = replace(request, reason=reason)

    def _standing_decision(self, request: ApprovalRequest) -> Decision | None:
        """Return the latest standing decision about such calls."""
        for rule in reversed(self.state.rules):
            if rule.hash in (request.hash, request.rule):
                now = self.run_.journal.clock()
                return Decision(kind=rule.kind, hash=request.hash, reason=rule.reason, by=rule.by, at=now)
        return None

    def _behind(self, waiting: Collection[str]) -> Iterator[str]:
        """Yield the calls behind a barrier: a waiting sequential call neither overtakes others nor is overtaken."""
        somebody_waits = barrier = False
        for call in open_calls(self.state.messages):
            tool = self.tools.get(call.name)
            alone, waits = tool is not None and tool.sequential, call.id in waiting
            behind = not waits and (barrier or (alone and somebody_waits))
            if behind:
                yield call.id
            somebody_waits = somebody_waits or waits
            barrier = barrier or (alone and (waits or behind))

    # Running.

    def context(self, call: ToolCall) -> ToolContext[Any]:
        return self.run_.tool_context(call, LoopEmit(self.run_.emit, self.failures))

    def prepare(self, call: ToolCall) -> _Work:
        """Prepare a call; its slot is reserved here, before anything is awaited."""
        tool, context = self.tools.get(call.name), self.context(call)
        slot = self.journal.reserve(context.idempotency_key, "tool")
        return tool is not None and tool.sequential, functools.partial(self.run, call, tool, context, slot)

    async def run(self, call: ToolCall, tool: Tool | None, context: ToolContext[Any], slot: Slot) -> None:
        """Run a call inside its slot and record its result; nothing is raised, so its siblings continue."""
        decision, errors = self.state.decisions.get(call.id), list[Exception]()
        denial = decision if decision is not None and decision.kind == "deny" else None
        try:
            if denial is None:
                self.run_.emit(CallStarted(call))
            started = self.journal.clock()
            recorded = await slot.run(functools.partial(self.attempt, call, tool, context, decision, errors))
            result = self.results[call.id] = to_result(recorded, own=True)
            if _RAISED in result.metadata and self.agent.on_tool_error == "raise":
                failed = ToolFailed(f"tool {call.name} raised {result.metadata[_RAISED]}", state=self.state)
                failed.__cause__ = errors[0] if errors else None  # on a replay, only the result describes it
                self.failures.append(failed)
            if denial is not None:
                self.run_.emit(CallDenied(call, denial.reason))
            else:
                seconds = self.journal.clock() - started
                self.run_.emit(CallFinished(call, result, seconds, errors[0] if errors else None))
        except RunPaused as pause:
            self.paused[call.id] = cast("RunState", pause.state)
        except Exception as error:  # noqa: BLE001 - of an observer or a journal; it ends the run when the batch is done
            self.failures.append(error)

    async def attempt(
        self,
        call: ToolCall,
        tool: Tool | None,
        context: ToolContext[Any],
        decision: Decision | None,
        errors: list[Exception],
    ) -> ToolResult:
        """Run a call; an exception becomes a result that the model reads, an unexpected one is added to ``errors``."""
        try:
            if tool is None:
                raise ToolError(missing_tool(call.name, self.tools, self.agent.tools))
            if call.id in self.wrong:
                raise self.wrong[call.id]
            request = ToolRequest(self.run_, tool, call, context)
            return await (self.run_.call_tool(request) if decision is None else self._decided(decision, request))
        except ToolError as error:
            wrong = tool is None or isinstance(error, ModelRetry)
            return ToolResult(f"Error: {error}", is_error=True, metadata={_MISTAKE: wrong})
        except RunPaused:
            raise
        except Exception as error:  # noqa: BLE001 - a tool may raise anything, and its siblings must finish
            log.warning("tool %s raised %s", call.name, failure_in_short(error), extra=context.fields)
            log.debug("the traceback of %s:", call.name, exc_info=error, extra=context.fields)
            errors.append(error)
            reported = describe_error(error, type_only=self.agent.on_tool_error == "report_type")
            return ToolResult(f"Error: {call.name} failed with {reported}", is_error=True, metadata={_RAISED: reported})

    async def _decided(self, decision: Decision, request: ToolRequest) -> ToolResult:
        if decision.kind == "answer":
            return ToolResult(decision.answer)
        if decision.kind == "deny":
            reason = f": {decision.reason}" if decision.reason else ""
            return ToolResult(f"Error: not run: a person refused this call{reason}", is_error=True)
        if decision.arguments is None:
            return await self.run_.call_tool(request)
        changed = changed_call(request.call, request.tool, decision.arguments)
        result = await self.run_.call_tool(replace(request, call=changed))
        return replace(result, content=f"[A person changed the arguments to {decision.arguments}]\n{result.content}")

    # Results.

    def answer(self, call: ToolCall) -> ToolMessage:
        """Return the message that answers a call. A result that is too long for the model is stored whole."""
        result = self.results.get(call.id)
        if result is None:
            return interrupted_result(call)
        content, is_cut = shown(call, result, readable=READ_RESULT not in self.agent.tools)
        if is_cut:
            keep(self.state.artifacts, call, result)
        if result.files:
            self.state.files[call.id] = list(result.files)
        tool, decision = self.tools.get(call.name), self.state.decisions.get(call.id)
        labels: dict[str, Any] = {FINAL: True} if result.final else {}
        if isinstance(tool, Handoff) and not result.is_error and (decision is None or decision.kind != "answer"):
            labels[HANDED_TO] = tool.to
        return self.run_.stamp(ToolMessage(content, call.id), **labels)

    def end(self, calls: Iterable[ToolCall]) -> None:
        """Raise the error of the batch, if one ends the run."""
        state, results = self.state, [call for call in calls if call.id in self.results]
        if results:
            good = [call for call in results if not self.results[call.id].is_error]
            state.failed_turns = 0 if good else state.failed_turns + 1
        spent = self._count_mistakes(results)
        if self.failures:
            raise self.failures[0]
        if spent is not None:
            what = f"tool {spent} was called wrongly" if spent else "tools that do not exist were called"
            raise TooManyMistakes(f"{what} in {state.mistakes[spent]} turns in a row", tool=spent, state=state)

    def _count_mistakes(self, calls: Iterable[ToolCall]) -> str | None:
        """Count the turns in which a tool was only called wrongly; return the first that has no more retries left.

        Calls of tools that do not exist count together, as ``""``.
        """
        mistakes, wrong = self.state.mistakes, dict[str, bool]()
        for call in calls:
            name = call.name if call.name in self.tools else ""
            wrong[name] = bool(self.results[call.id].metadata.get(_MISTAKE)) and wrong.get(name, True)
        spent: list[str] = []
        for name in wrong:
            if wrong[name]:
                mistakes[name] = mistakes.get(name, 0) + 1
                if mistakes[name] > (self.tools[name].retries if name else _UNKNOWN_NAMES):
                    spent.append(name)
        for name in [*wrong, ""] if wrong else ():
            if not wrong.get(name):
                mistakes.pop(name, None)
        return spent[0] if spent else None


def attach_files(state: RunState) -> None:
    """Add the files of a batch when all its calls have their results."""
    reply = last_reply(state.messages)
    if state.files and reply is not None and not open_calls(state.messages):
        results = [(call, ToolResult("", files=state.files.get(call.id, ()))) for call in reply.tool_calls]
        state.messages.extend(attached(results))
        state.files.clear()
