"""The loop: it performs what `next_step` decides and records the outcome; nothing else changes a run's state."""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from typing import Any

import anyio
import anyio.lowlevel

from agentkit.chat.events import Emit, Event, ReplyRepaired, RequestAdapted
from agentkit.chat.messages import AssistantMessage, ToolMessage, UserMessage
from agentkit.chat.transport.retry import retry_budget
from agentkit.errors import AgentKitError, LimitReached, ModelRetry, OutputInvalid, SessionError, StateError
from agentkit.run.calls import attach_files, run_calls
from agentkit.run.events import LimitWarning, RunFinished, RunStarted
from agentkit.run.handoffs import follow_handoff
from agentkit.run.limits import Limits, limit_usage, time_limit_in_words
from agentkit.run.middleware import wrap_run, wrap_tool
from agentkit.run.output import OUTPUT_TOOL, Output, TextOutput, count_invalid_output
from agentkit.run.run import Run, journal_of, nested_run
from agentkit.run.spec import AgentSpec, RunSpec
from agentkit.run.state import RunResult, RunState
from agentkit.run.step import AskModel, Finish, Pause, RunCalls, next_step
from agentkit.run.transcript import (
    CONTINUES,
    FINAL,
    REFUSED,
    TRUNCATED,
    UNANSWERED,
    final_result,
    insert_results,
    interrupted_result,
    is_reply,
    labeled,
    last_reply,
    open_calls,
    repair_transcript,
    unlabeled,
)
from agentkit.run.turn import ask_model, offered_tools

log = logging.getLogger("agentkit")
_NEAR = 0.8  # of a limit


async def execute_run(spec: RunSpec, state: RunState, observer: Emit) -> RunResult[Any]:
    """Run until one of the five endings. The state is valid however the run ends, and an exception carries it.

    Raises:
        AgentKitError: The run failed.
    """
    spec = replace(spec, journal=journal_of(spec.journal, state.run_id))
    run: Run[Any] = Run(
        state=state,
        limits=spec.limits,
        deps=spec.deps,
        observer=observer,
        journal=spec.journal,
        turn=state.turns,
        events=spec.events,
        call_tool=wrap_tool(spec.agents[state.agent].middleware),
    )
    loop = _Loop(run, spec)
    state.status = "running"
    try:
        with nested_run(run), retry_budget(spec.limits.request_retries):
            run.emit(RunStarted(state))
            for event in spec.opening_events:
                run.emit(event)
            async with AsyncExitStack() as sources:
                used = {id(source): source for agent in spec.agents.values() for source in agent.sources}
                for each in used.keys() - set(map(id, spec.opened)):
                    await sources.enter_async_context(used[each])
                ended = await wrap_run(spec.middleware, run, loop.run)()
        if ended is not state:
            raise TypeError("around_run must return the state that inner() returned")
        if state.status == "running":  # a middleware swallowed an error
            state.status = "failed"
            close_transcript(state)
        await spec.journal.save(state)
    except BaseException as raised:
        error = _alone(raised)
        state.status = "failed" if isinstance(error, Exception) else "cancelled"
        close_transcript(state)
        if isinstance(error, AgentKitError):
            error.state = state
        await _store_and_report(run, error)
        if error is not raised:
            raise error from None
        raise
    run.emit(RunFinished(state))
    return RunResult(state, *loop.output, tuple(run.events))


class _Loop:
    """The turns of a run."""

    def __init__(self, run: Run[Any], spec: RunSpec) -> None:
        self.run_, self.spec = run, spec
        self.agent = spec.agents[run.state.agent]  # whose turn it is
        self.output: tuple[Any, bool] = (None, False)

    async def run(self) -> RunState:
        """Run the turns within the time limit; what runs longer is cancelled, and the run proceeds to its answer."""
        state, limits = self.run_.state, self.spec.limits
        began = anyio.current_time() - state.seconds
        try:
            for deadline in (limits.working_seconds(), limits.seconds or math.inf):
                state.final_turn = False
                with anyio.CancelScope(deadline=began + deadline):
                    return await self.turns(began)
            state.limit, state.final_turn = time_limit_in_words(limits), True
            return await self.turns(began)
        finally:
            state.seconds = anyio.current_time() - began

    async def turns(self, began: float) -> RunState:
        """The loop itself."""
        run, spec, state = self.run_, self.spec, self.run_.state
        tools = None  # the tools that the model was offered when it was asked
        while True:
            state.seconds = anyio.current_time() - began
            if self.agent.output.tool is not None:
                await self.read_output_calls(self.agent.output)
            if len(spec.agents) > 1:
                follow_handoff(run, spec)
                self.agent = spec.agents[state.agent]
            await spec.journal.save(state)
            limits = spec.limits if run.parent is None else run.effective_limits()
            match next_step(state, limits):
                case AskModel() as step:
                    # A model in memory and a tool may never wait for anything, so other runs get their turn here.
                    await anyio.lowlevel.cancel_shielded_checkpoint()
                    if not step.limit:
                        self.warn()
                    tools = await offered_tools(run, self.agent)
                    await ask_model(run, spec, self.agent, step, limits, tools)
                case RunCalls() as step:
                    tools = await offered_tools(run, self.agent) if tools is None else tools
                    await run_calls(run, spec, self.agent, step, tools)
                case Pause():
                    state.status = "paused"
                    return state
                case Finish() as step:
                    if step.status != "done" or await self.accepts_output():
                        return await self.end(step)

    async def end(self, step: Finish) -> RunState:
        """End the run; if it has reached a limit, the last reply may still hold an output.

        Raises:
            LimitReached: It has, with ``on_limit="raise"``.
        """
        state = self.run_.state
        state.status, state.limit = step.status, step.limit
        if step.limit:
            await self.read_last_answer()
        if step.limit and self.spec.limits.on_limit == "raise":
            raise LimitReached(f"the run reached {step.limit}", state=state)
        return state

    def warn(self) -> None:
        """Report the limits that are nearly used up, each once."""
        warned = self.run_.state.warned
        for each in limit_usage(self.run_.state, self.spec.limits):
            if each.used >= _NEAR * each.most and each.name not in warned and each.most:
                warned.append(each.name)
                self.run_.emit(LimitWarning(each.name, each.used, each.most))

    async def read_output(self, message: AssistantMessage) -> None:
        """Read the output in a reply and ask the validators.

        Raises:
            ModelRetry: It is invalid.
        """
        context = self.run_.context()
        value = await self.agent.output.read(message, context)
        for validator in self.agent.output_validators:
            made = validator(context, value)
            made = await made if inspect.isawaitable(made) else made
            value = value if made is None else made
        self.output, self.run_.state.invalid_outputs = (value, True), 0

    async def accepts_output(self) -> bool:
        """Read the output; if it is not valid, ask the model to try again.

        Raises:
            OutputInvalid: It was invalid too many times in a row.
        """
        last = self.run_.state.messages[-1]
        if not isinstance(last, AssistantMessage) and self.output[1]:  # it was in a call
            return True
        try:
            await self.read_output(last if isinstance(last, AssistantMessage) else self.final_message())
        except ModelRetry as complaint:
            self.object_to(complaint)
            self.run_.add(self.run_.stamp(UserMessage(str(complaint)), **{CONTINUES: True}))
            return False
        return True

    def final_message(self) -> AssistantMessage:
        """Return the answer of a run that a tool ended: the call of the output tool, or another tool's result."""
        reply, final = last_reply(self.run_.state.messages), final_result(self.run_.state.messages)
        calls = [each for each in (reply.tool_calls if reply else ()) if final and each.id == final.tool_call_id]
        is_output = self.agent.output.tool is not None and any(each.name == OUTPUT_TOOL for each in calls)
        return AssistantMessage(None, tuple(calls)) if is_output else AssistantMessage(final.text if final else "")

    async def read_output_calls(self, output: Output[Any]) -> None:
        """Answer the open calls of the output tool, which is never run: the first that is valid is the output.

        Raises:
            OutputInvalid: None was valid, too many times in a row.
        """
        waiting = open_calls(self.run_.state.messages)
        calls = [call for call in waiting if call.name == OUTPUT_TOOL]
        others = [call for call in waiting if call.name != OUTPUT_TOOL] if calls else []
        results: list[ToolMessage] = []
        complaint: ModelRetry | None = None
        for call in calls:
            if others and output.with_calls == "ask_again":
                said = f"Error: not taken: read the results of the other calls first, then call {OUTPUT_TOOL} alone"
            elif self.output[1]:
                said = "Error: not taken: there is an output already"
            else:
                try:
                    await self.read_output(AssistantMessage(None, (call,)))
                    results.append(labeled(ToolMessage("The answer was taken.", call.id), **{FINAL: True}))
                    continue
                except ModelRetry as error:
                    complaint, said = error, f"Error: {error}"
            results.append(ToolMessage(said, call.id))
        if self.output[1] and output.with_calls == "skip":
            results += [ToolMessage("Error: not run: the answer was given", call.id) for call in others]
        insert_results(self.run_.state.messages, map(self.run_.stamp, results))
        if complaint is not None and not self.output[1]:
            self.object_to(complaint)

    def object_to(self, complaint: ModelRetry) -> None:
        """Count an output that is not valid; the next request may then have another form.

        Raises:
            OutputInvalid: It was invalid too many times in a row.
        """
        run, agent = self.run_, self.agent
        try:
            count_invalid_output(run, agent.output, complaint)
        except OutputInvalid as error:
            raise error from complaint
        if changed := agent.output.note_invalid(run, agent.model, complaint):
            run.emit(RequestAdapted(changed))

    async def read_last_answer(self) -> None:
        """Read the output of a run that has reached a limit; there may be none."""
        state = self.run_.state
        last = state.messages[-1] if state.messages else None
        if isinstance(self.agent.output, TextOutput) and not self.agent.output_validators:
            self.output = (state.text, bool(state.text))
        elif isinstance(last, AssistantMessage) and is_reply(last) and not last.tool_calls:
            with suppress(ModelRetry):
                await self.read_output(last)


def _alone(error: BaseException) -> BaseException:
    """Unwrap an error that task groups of a model or a middleware have wrapped into groups."""
    is_group = issubclass(type(error), BaseExceptionGroup)
    inner: tuple[BaseException, ...] = getattr(error, "exceptions", ()) if is_group else ()
    return _alone(inner[0]) if len(inner) == 1 else error


def prepare_resume(given: RunState, agents: Mapping[str, AgentSpec], limits: Limits) -> tuple[RunState, list[Event]]:
    """Copy a state and prepare the copy to be resumed, however the run ended.

    Returns:
        The copy, and an event for each thing that was repaired.

    Raises:
        StateError: The agent whose turn it is is not among these, or the prompt was refused and there is no other.
    """
    state = given.copy()
    if state.agent not in agents and len(agents) == 1 and not (state.agent and next(iter(agents))):
        state.agent = next(iter(agents))  # one of the two has no name
    if state.agent not in agents:
        names = ", ".join(map(repr, agents))
        raise StateError(f"this state belongs to the agent {state.agent!r}, and this agent is {names}")
    agent, known = agents[state.agent], state.fingerprints.get(state.agent) or state.fingerprints.get(given.agent)
    if known and not agent.sources and not known.keys() & agent.tools.keys():
        raise StateError(
            f"this state belongs to another agent: it has the tools {', '.join(sorted(known))}, "
            "and this agent has none of them"
        )
    state.fingerprints[state.agent] = known or {}
    state.messages, notes = repair_transcript(
        [unlabeled(each, UNANSWERED) if UNANSWERED in each.meta else each for each in state.messages], may_wait=True
    )
    if state.messages and state.messages[-1].meta.get(REFUSED) and not state.inbox:
        raise StateError("the prompt of this run was refused and is not sent again: resume it with another prompt")
    calls = {call.id for each in state.messages if isinstance(each, AssistantMessage) for call in each.tool_calls}
    about: dict[str, Any]
    for about in (state.approvals, state.decisions, state.nested):
        for id_ in about.keys() - calls:  # the id may be used again
            del about[id_]
    last = state.messages[-1] if state.messages else None
    unfinished = isinstance(last, AssistantMessage) and (state.limit or last.meta.get(TRUNCATED))
    if unfinished and not open_calls(state.messages) and not state.inbox:
        state.add_message(labeled(UserMessage("Go on."), **{CONTINUES: True}))
    if not open_calls(state.messages) or state.limits != limits:
        state.limit = ""  # with open calls of a batch that has reached a limit, the run ends there
    if state.status in ("failed", "limited"):  # resuming means trying again
        state.failed_turns, state.invalid_outputs, state.mistakes = 0, 0, {}
    state.limits = limits
    state.status, state.final_turn, state.warned = "running", False, []
    return state, [ReplyRepaired(note) for note in notes]


def close_transcript(state: RunState) -> None:
    """Answer the calls that the end of the run has left open; label a prompt that never got a reply."""
    waiting = {*state.approvals, *state.blocked} - state.decisions.keys()
    note = "Error: not run: it was waiting for a decision when the run ended"
    calls = open_calls(state.messages)
    results = [ToolMessage(note, each.id) if each.id in waiting else interrupted_result(each) for each in calls]
    insert_results(state.messages, results)
    attach_files(state)
    state.label_unanswered()


async def _store_and_report(run: Run[Any], error: BaseException) -> None:
    """Store and report how a run failed, even when it is being cancelled; a failure here must not hide why."""
    with anyio.CancelScope(shield=True):
        try:
            await run.journal.save(run.state)
        except Exception as failure:
            unexpected = None if isinstance(failure, SessionError) else failure
            log.warning("the end of the run could not be stored: %s", failure, exc_info=unexpected)
    try:
        run.emit(RunFinished(run.state, error if isinstance(error, Exception) else None))
    except Exception:
        log.exception("an observer of the run raised at its end")
