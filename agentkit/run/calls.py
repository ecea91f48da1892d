"""One batch of calls: each gets its result in the transcript, in the model's order, whatever happens."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any, cast

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
    given_arguments,
    may_need_approval,
    misfit,
    rule_hash,
)
from agentkit.run.artifacts import READ_RESULT, attached, keep, shown
from agentkit.run.deferred import missing_tool
from agentkit.run.events import ApprovalRequested, CallDenied, CallFinished, CallStarted
from agentkit.run.handoffs import Handoff
from agentkit.run.journal import Slot
from agentkit.run.middleware import Run, ToolRequest
from agentkit.run.spec import AgentSpec, RunSpec
from agentkit.run.state import RunState
from agentkit.run.step import RunCalls
from agentkit.run.transcript import (
    FINAL,
    HANDED_TO,
    insert_results,
    interrupted_result,
    labeled,
    last_reply,
    open_calls,
)
from agentkit.tools.context import LoopEmit, ToolContext
from agentkit.tools.result import OWN_KEYS, ToolResult, describe_error, to_result
from agentkit.tools.tool import Tool

# Members of a result's metadata. They are in what a journal records, so that a replay comes to the same end.
_MISTAKE = f"{OWN_KEYS}mistake"  # counts against the tool's `retries`
_UNKNOWN_NAMES = 3  # turns in a row in which the model may call what does not exist and try again
_RAISED = f"{OWN_KEYS}raised"  # the unexpected exception that the tool raised, in words


async def run_calls(run: Run[Any], spec: RunSpec, agent: AgentSpec, step: RunCalls, tools: Mapping[str, Tool]) -> None:
    """Run a batch, apart from calls that have to wait for a decision; when it is done, raise what ends the run.

    Raises:
        ToolFailed: A tool raised, with ``on_tool_error="raise"``.
        TooManyMistakes: A tool was called wrongly too often.
        Exception: Whatever an observer or a journal raised.
    """
    state = run.state
    run.turn = state.turns
    batch = _Batch(run, spec, agent, tools)
    again = [call for call in step.calls if call.id in state.nested]  # they were counted when they began
    run.spend(calls=len(step.calls) - len(again))  # before anything is awaited, as other runs spend from the same limit
    calls: Sequence[ToolCall] = ()
    try:
        calls = await batch.allowed(step.calls)
    finally:
        run.spend(calls=len(calls) - len(step.calls))
    works = [batch.prepare(call) for call in calls]
    for call in (each for each in calls if each.id not in state.nested):
        state.calls_by_tool[call.name] = state.calls_by_tool.get(call.name, 0) + 1
    state.limit = state.limit or step.limit
    try:
        await _run_together(works)
    finally:
        done = [call for call in calls if call.id not in batch.paused]
        refused = [ToolMessage(f"Error: not run: {each.reason} was reached", each.call.id) for each in step.refused]
        insert_results(state.messages, [*map(batch.answer, done), *refused])
        state.nested = {id_: each for id_, each in state.nested.items() if id_ not in batch.results} | batch.paused
        attach_files(state)
    batch.end(calls)


@dataclass(frozen=True, slots=True)
class _Work:
    """A call that is ready to run; ``run`` does not raise, as that would end its siblings."""

    run: Callable[[], Coroutine[Any, Any, None]]
    sequential: bool


async def _run_together(works: Sequence[_Work]) -> None:
    """Run a batch: all at once, except that a sequential call runs alone, in its place."""
    for sequential, group in groupby(works, key=lambda work: work.sequential):
        together = list(group)
        if sequential or len(together) == 1:
            for work in together:
                await work.run()
        else:
            async with anyio.create_task_group() as tasks:
                for work in together:
                    tasks.start_soon(work.run)


@dataclass(frozen=True, slots=True)
class _Batch:
    """The calls of one reply on their way."""

    run_: Run[Any]
    spec: RunSpec
    agent: AgentSpec
    tools: Mapping[str, Tool]
    results: dict[str, ToolResult] = field(default_factory=dict[str, ToolResult])
    wrong: dict[str, Exception] = field(default_factory=dict[str, Exception])
    failures: list[Exception] = field(default_factory=list[Exception])
    paused: dict[str, RunState] = field(default_factory=dict[str, RunState])

    @property
    def state(self) -> RunState:
        return self.run_.state

    # Waiting for decisions.

    async def allowed(self, calls: Sequence[ToolCall]) -> Sequence[ToolCall]:
        """Return the calls that need not wait; why the others wait is recorded in the state.

        A decision counts only for exactly the call that it was made for. Calls with invalid arguments do not wait: the
        complaint is their result.
        """
        policy, state = self.agent.requires_approval, self.state
        asked = [
            (call, tool, self.spec.journal.reserve(f"{state.run_id}:approval:{call.id}", "approval"))
            for call in calls
            if (tool := self.tools.get(call.name)) is not None
            and (may_need_approval(tool, policy) or call.id in state.decisions)
        ]
        for call, tool, slot in asked:
            await self._decide(call, tool, slot)
        if not asked:
            return calls
        waiting = {each.id: each for each in state.pending}
        for call in calls:
            if call.id in waiting:
                self.run_.emit(ApprovalRequested(call, waiting[call.id].reason))
        state.blocked = list(self._behind(waiting.keys()))
        return [call for call in calls if call.id not in waiting and call.id not in state.blocked]

    async def _decide(self, call: ToolCall, tool: Tool, slot: Slot) -> None:
        state, context = self.state, self.context(call)
        request = ApprovalRequest("", call_hash(call, tool), rule_hash(tool), tool.is_external, tool.is_custom)
        decision, reason = state.decisions.pop(call.id, None), ""
        if decision is not None and decision.hash == request.hash:
            reason = misfit(tool, context, decision)
            if not reason:
                state.decisions[call.id] = decision
                return
        if decision is not None:
            state.files.pop(call.id, None)  # of an answer
        rule = None if reason else self._standing_decision(request)
        if not reason and rule is None:
            try:
                arguments = tool.checked(context, given_arguments(call, tool))
            except Exception as error:  # noqa: BLE001 - of the arguments' own types, as when the call would run
                self.wrong[call.id] = error
            else:
                policy = self.agent.requires_approval
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
        """Yield the calls behind a barrier: none overtakes a waiting sequential call, nor does that overtake others."""
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
        slot = self.spec.journal.reserve(context.idempotency_key, "tool")
        return _Work(functools.partial(self.run, call, tool, context, slot), tool is not None and tool.sequential)

    async def run(self, call: ToolCall, tool: Tool | None, context: ToolContext[Any], slot: Slot) -> None:
        """Run a call inside its slot and record its result; nothing is raised, so its siblings continue."""
        decision, clock = self.state.decisions.get(call.id), self.run_.journal.clock
        denied = decision is not None and decision.kind == "deny"
        try:
            if not denied:
                self.run_.emit(CallStarted(call))
            started = clock()
            errors: list[Exception] = []
            attempt = functools.partial(self.attempt, call, tool, context, errors)
            result = to_result(await slot.run(attempt), own=True)
            self.results[call.id] = result
            if _RAISED in result.metadata and self.agent.on_tool_error == "raise":
                failed = ToolFailed(f"tool {call.name} raised {result.metadata[_RAISED]}", state=self.state)
                failed.__cause__ = errors[0] if errors else None  # on a replay there is only what the result says of it
                self.failures.append(failed)
            if decision is not None and denied:
                self.run_.emit(CallDenied(call, decision.reason))
            else:
                self.run_.emit(CallFinished(call, result, clock() - started, errors[0] if errors else None))
        except RunPaused as pause:
            self.paused[call.id] = cast("RunState", pause.state)
        except Exception as error:  # noqa: BLE001 - of an observer or a journal; it ends the run when the batch is done
            self.failures.append(error)

    async def attempt(
        self, call: ToolCall, tool: Tool | None, context: ToolContext[Any], errors: list[Exception]
    ) -> ToolResult:
        """Run a call; an exception becomes a result that the model reads, an unexpected one is added to ``errors``."""
        try:
            if tool is None:
                raise ToolError(missing_tool(call.name, self.tools, self.agent.tools))
            if call.id in self.wrong:
                raise self.wrong[call.id]
            request, decision = ToolRequest(self.run_, tool, call, context), self.state.decisions.get(call.id)
            call_tool = self.run_.call_tool
            return await (call_tool(request) if decision is None else self._decided(decision, request))
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
        message = self.run_.stamp(ToolMessage(content, call.id))
        tool, decision = self.tools.get(call.name), self.state.decisions.get(call.id)
        if isinstance(tool, Handoff) and not result.is_error and (decision is None or decision.kind != "answer"):
            message = labeled(message, **{HANDED_TO: tool.to})
        return labeled(message, **{FINAL: True}) if result.final else message

    def end(self, calls: Iterable[ToolCall]) -> None:
        """Raise the error of the batch, if one ends the run."""
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
        """Count the turns in which a tool was only called wrongly; yield those with no more retries left.

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
    """Add the files of a batch when all its calls have their results."""
    reply = last_reply(state.messages)
    if state.files and reply is not None and not open_calls(state.messages):
        results = [(call, ToolResult("", files=state.files.get(call.id, ()))) for call in reply.tool_calls]
        state.messages.extend(attached(results))
        state.files.clear()
