"""The loop. It performs what `next_step` decides and records what came of it; nothing else changes a run's state."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import replace

import anyio

from agentkit.chat.decoding.tool_calls import normalize_tool_calls
from agentkit.chat.events import Emit, ReplyRepaired
from agentkit.chat.messages import AssistantMessage, ToolCall, ToolMessage
from agentkit.chat.reply import Reply
from agentkit.chat.transport.retry import retry_budget
from agentkit.errors import AgentKitError, LimitReached, Refused, SessionError
from agentkit.run.calls import attach_files, run_calls, starter
from agentkit.run.early import EarlyCalls
from agentkit.run.events import LimitWarning, MessageAdded, RunFinished, RunStarted, TurnFinished, TurnStarted
from agentkit.run.middleware import wrap_model, wrap_run
from agentkit.run.opening import GOES_ON
from agentkit.run.spec import RunSpec
from agentkit.run.spending import counted, effective_limits, limit_usage, nested_run, spend, time_limit
from agentkit.run.state import RunState
from agentkit.run.step import AskModel, Finish, Pause, RunCalls, next_step
from agentkit.run.transcript import insert_results, interrupted_result, open_calls
from agentkit.run.turn import offer, repair_tool_calls, request_of
from agentkit.tools.tool import Tool

__all__ = ["RunSpec", "run"]

log = logging.getLogger("agentkit")
_NEAR = 0.8  # of a limit


async def run(spec: RunSpec, state: RunState, emit: Emit) -> RunState:
    """Run until one of the five endings. What is raised carries the state; the state is valid however it ends.

    Raises:
        AgentKitError: The run failed.
    """
    state.status = "running"
    try:
        emit(RunStarted(state))
        for what in spec.news:
            emit(what)
        with retry_budget(spec.limits.request_retries), nested_run(state, spec.limits):
            state = await _opened(spec, state, emit)
        if state.status == "running":  # a middleware took an error for an answer
            state.status = "failed"
            _close(state)
        await spec.journal.keep(state)
    except BaseException as raised:
        error = _alone(raised)
        state.status = "failed" if isinstance(error, Exception) else "cancelled"
        _close(state)
        if isinstance(error, AgentKitError):
            error.state = state
        await _keep_at_the_end(spec, state)
        _tell_end(state, error, emit)
        if error is not raised:
            raise error from None
        raise
    emit(RunFinished(state))
    return state


def _alone(error: BaseException) -> BaseException:
    """The error itself, where task groups of a model or a middleware have wrapped one error into groups."""
    is_group = issubclass(type(error), BaseExceptionGroup)
    inner: tuple[BaseException, ...] = getattr(error, "exceptions", ()) if is_group else ()
    return _alone(inner[0]) if len(inner) == 1 else error


def _close(state: RunState) -> None:
    """Answer the calls that the end of the run has left open."""
    insert_results(state.messages, [_unfinished(state, call) for call in open_calls(state.messages)])
    attach_files(state)


def _unfinished(state: RunState, call: ToolCall) -> ToolMessage:
    """The result of a call that the end of the run has left open."""
    if (call.id in state.approvals or call.id in state.blocked) and call.id not in state.decisions:
        return ToolMessage("Error: not run: it was waiting for a decision when the run ended", call.id)
    return interrupted_result(call)


async def _keep_at_the_end(spec: RunSpec, state: RunState) -> None:
    """Store how a run failed, also when it is being cancelled; what fails here must not hide why."""
    with anyio.CancelScope(shield=True):
        try:
            await spec.journal.keep(state)
        except Exception as error:
            unexpected = None if isinstance(error, SessionError) else error
            log.warning("the end of the run could not be stored: %s", error, exc_info=unexpected)


def _tell_end(state: RunState, error: BaseException, emit: Emit) -> None:
    """Tell how a run failed; an observer that fails too must not hide why."""
    try:
        emit(RunFinished(state, error if isinstance(error, Exception) else None))
    except Exception:
        log.exception("an observer of the run raised at its end")


async def _opened(spec: RunSpec, state: RunState, emit: Emit) -> RunState:
    """The run with its onion around it, and room for calls that start early, if it was asked for that."""
    if spec.eager:
        spec = replace(spec, early=EarlyCalls())
    whole = wrap_run(spec.middleware, emit, lambda inner: run_turns(spec, inner, emit))
    return await (whole(state) if spec.early is None else spec.early.around(lambda: whole(state)))


async def run_turns(spec: RunSpec, state: RunState, emit: Emit) -> RunState:
    """The loop with its time: what runs when it is up is cancelled, and the run goes on to its answer or its end."""
    began = anyio.current_time() - state.seconds
    try:
        for deadline in (spec.limits.working_seconds(), spec.limits.seconds or math.inf):
            state.final_turn = False
            with anyio.CancelScope(deadline=began + deadline):
                return await _turns(spec, state, emit, began)
        state.limit, state.final_turn = time_limit(spec.limits), True
        return await _turns(spec, state, emit, began)
    finally:
        state.seconds = anyio.current_time() - began


async def _turns(spec: RunSpec, state: RunState, emit: Emit, began: float) -> RunState:
    """The loop itself."""
    offered: Mapping[str, Tool] | None = None  # what the model may call, as it was when it was asked
    while True:
        state.seconds = anyio.current_time() - began
        await spec.journal.keep(state)
        match next_step(state, effective_limits(spec.limits)):
            case AskModel() as step:
                if not step.closing:
                    _warn(spec, state, emit)
                offered = offer(spec, state)
                await ask_model(spec, state, step, emit, offered)
            case RunCalls() as step:
                await run_calls(spec, state, step, emit, offered or offer(spec, state))
            case Pause():
                state.status = "paused"
                return state
            case Finish(status, limit):
                state.status, state.limit = status, limit
                if limit and spec.limits.on_limit == "raise":
                    raise LimitReached(f"the run reached {limit}", state=state)
                return state


def _warn(spec: RunSpec, state: RunState, emit: Emit) -> None:
    for each in limit_usage(state, spec.limits):
        if each.used >= _NEAR * each.most and each.name not in state.warned and each.most:
            state.warned.append(each.name)
            emit(LimitWarning(each.name, each.used, each.most))


async def ask_model(spec: RunSpec, state: RunState, step: AskModel, emit: Emit, tools: Mapping[str, Tool]) -> None:
    """One request to the model; its reply goes into the transcript."""
    turn = state.turns + 1
    state.limit, state.final_turn = step.closing, bool(step.closing)
    slot = spec.journal.reserve(f"{state.run_id}:turn:{turn}")
    ask = wrap_model(spec.middleware, spec.model)
    _take_in(spec, state, emit)
    emit(TurnStarted(turn))
    watch = emit if spec.early is None else spec.early.watch(emit, starter(spec, state, emit, tools))
    request = request_of(spec, state, step, tools)
    reply = await slot.run(lambda: ask(request, watch))
    state.turns = turn
    _record(spec, state, reply, emit, tools)
    spend(counted(reply, request, state, effective_limits(spec.limits)))
    emit(TurnFinished(turn, reply))
    if reply.message.refusal and not reply.text and not reply.message.tool_calls:
        raise Refused(f"the model declined to answer: {reply.message.refusal}")


def _take_in(spec: RunSpec, state: RunState, emit: Emit) -> None:
    """Put what was said meanwhile into the transcript."""
    answered = not state.messages or isinstance(state.messages[-1], AssistantMessage)
    while state.inbox:
        message = spec.stamp(state.inbox.pop(0))
        state.messages.append(message if answered else replace(message, meta={**message.meta, GOES_ON: True}))
        answered = False
        emit(MessageAdded(message))


def _record(spec: RunSpec, state: RunState, reply: Reply, emit: Emit, tools: Mapping[str, Tool]) -> None:
    """Put a reply into the transcript. Calls of a reply that was cut are answered here, so that they never run."""
    taken = {call.id for each in state.messages if isinstance(each, AssistantMessage) for call in each.tool_calls}
    taken |= state.approvals.keys() | state.decisions.keys()
    calls, notes = normalize_tool_calls(reply.message.tool_calls, salt=f"{state.run_id}:{state.turns}", taken=taken)
    for note in notes:
        emit(ReplyRepaired(note))
    calls, repaired = repair_tool_calls(calls, tools, switched_off=spec.tools, forgive=spec.repair)
    for event in repaired:
        emit(event)
    content = reply.message.content or (None if calls or reply.message.refusal or reply.message.audio else "")
    if content == "":
        emit(ReplyRepaired("the model answered with nothing"))
    said = spec.stamp(replace(reply.message, content=content, tool_calls=calls))
    state.messages.append(replace(said, meta={**said.meta, "model": reply.model}) if reply.model else said)
    cut, advice = reply.choices[0].truncated, reply.choices[0].advice
    if cut and calls:
        state.messages.extend(ToolMessage(f"Error: not run: {cut}; {advice}", call.id) for call in calls)
    elif cut:
        state.limit = cut
