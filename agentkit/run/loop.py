"""The loop. It performs what `next_step` decides and records what came of it; nothing else changes a run's state."""

from __future__ import annotations

import logging
from dataclasses import replace

from agentkit.chat.budget import retry_budget
from agentkit.chat.choice import unforced
from agentkit.chat.events import Emit, Mended
from agentkit.chat.mend import mend_calls
from agentkit.chat.messages import AssistantMessage, Message, SystemMessage, ToolMessage, UserMessage
from agentkit.chat.reply import Reply
from agentkit.chat.request import ChatRequest
from agentkit.errors import AgentKitError, LimitReached, Refused
from agentkit.run.calls import run_calls, starter
from agentkit.run.early import EarlyCalls
from agentkit.run.events import RunEnded, RunStarted, TurnFinished, TurnStarted
from agentkit.run.mending import repair_calls
from agentkit.run.middleware import around_model, around_run
from agentkit.run.offer import offer
from agentkit.run.spec import RunSpec
from agentkit.run.state import RunState
from agentkit.run.step import AskModel, Finish, Pause, RunCalls, next_step
from agentkit.run.transcript import interrupted, open_calls

__all__ = ["RunSpec", "run"]

log = logging.getLogger("agentkit")
_CUT = {"length": "the reply was cut at its token limit", "content_filter": "the reply was cut by a filter"}


async def run(spec: RunSpec, state: RunState, emit: Emit) -> RunState:
    """Run until one of the five endings. What is raised carries the state; the state is valid however it ends.

    Raises:
        AgentKitError: The run failed.
    """
    state.status = "running"
    try:
        emit(RunStarted(state))
        for what in spec.mended:
            emit(Mended(what))
        with retry_budget(spec.limits.retries):
            state = await _opened(spec, state, emit)
    except BaseException as error:
        state.status = "failed" if isinstance(error, Exception) else "cancelled"
        state.messages.extend(interrupted(call) for call in open_calls(state.messages))
        if isinstance(error, AgentKitError):
            error.state = state
        _tell_end(state, error, emit)
        raise
    if state.status == "running":  # a middleware took an error for an answer
        state.status = "failed"
    emit(RunEnded(state))
    return state


def _tell_end(state: RunState, error: BaseException, emit: Emit) -> None:
    """Tell how a run failed; an observer that fails too must not hide why."""
    try:
        emit(RunEnded(state, error if isinstance(error, Exception) else None))
    except Exception:
        log.exception("an observer of the run raised at its end")


async def _opened(spec: RunSpec, state: RunState, emit: Emit) -> RunState:
    """The run with its onion around it, and room for calls that start early, if it was asked for that."""
    if spec.eager:
        spec = replace(spec, early=EarlyCalls())
    whole = around_run(spec.middleware, emit, lambda inner: run_turns(spec, inner, emit))
    return await (whole(state) if spec.early is None else spec.early.around(lambda: whole(state)))


async def run_turns(spec: RunSpec, state: RunState, emit: Emit) -> RunState:
    """The loop itself."""
    while True:
        match next_step(state, spec.limits):
            case AskModel(closing):
                await ask_model(spec, state, closing, emit)
            case RunCalls() as step:
                await run_calls(spec, state, step, emit)
            case Pause():
                state.status = "paused"
                return state
            case Finish(status, limit):
                state.status, state.limit = status, limit
                if limit and spec.limits.on_limit == "raise":
                    raise LimitReached(f"the run reached {limit}", state=state)
                return state


async def ask_model(spec: RunSpec, state: RunState, closing: str, emit: Emit) -> None:
    """One request to the model; its reply goes into the transcript."""
    turn = state.turns + 1
    state.limit, state.closing = closing, bool(closing)
    slot = spec.journal.reserve(f"{state.run_id}:turn:{turn}")
    ask = around_model(spec.middleware, spec.model.reply)
    emit(TurnStarted(turn))
    watch = emit if spec.early is None else spec.early.watch(emit, starter(spec, state, emit))
    reply = await slot.run(lambda: ask(_request(spec, state), watch))
    state.turns = turn
    state.usage += reply.usage
    _record(spec, state, reply, emit)
    emit(TurnFinished(turn, reply))
    if reply.message.refusal and not reply.text and not reply.message.tool_calls:
        raise Refused(f"the model declined to answer: {reply.message.refusal}")


def _request(spec: RunSpec, state: RunState) -> ChatRequest:
    settings = spec.settings
    messages: list[Message] = list(state.messages)
    if spec.instructions:
        messages.insert(0, SystemMessage(spec.instructions))
    if state.closing:
        settings = replace(settings, tool_choice="none")
        note = f"You have reached {state.limit}. No tool can be called any more. Answer now with what you have."
        messages.append(UserMessage(note))
    elif state.turns and settings.tool_choice not in (None, "none"):
        settings = replace(settings, tool_choice=unforced(settings.tool_choice))
    tools = [tool.definition for tool in offer(spec, state).values()]
    return ChatRequest(messages=messages, tools=tools, settings=settings, stream=spec.stream)


def _record(spec: RunSpec, state: RunState, reply: Reply, emit: Emit) -> None:
    """Put a reply into the transcript. Calls of a reply that was cut are answered here, so that they never run."""
    taken = (call.id for each in state.messages if isinstance(each, AssistantMessage) for call in each.tool_calls)
    calls, notes = mend_calls(reply.message.tool_calls, salt=f"{state.run_id}:{state.turns}", taken=taken)
    for note in notes:
        emit(Mended(note))
    calls, repaired = repair_calls(calls, offer(spec, state), switched_off=spec.tools, forgive=spec.repair)
    for event in repaired:
        emit(event)
    content = reply.message.content or (None if calls or reply.message.refusal or reply.message.audio else "")
    if content == "":
        emit(Mended("the model answered with nothing"))
    state.messages.append(replace(reply.message, content=content, tool_calls=calls))
    cut = _CUT.get(reply.finish_reason or "")
    if cut and calls:
        state.messages.extend(ToolMessage(f"Error: not run: {cut}; make the call shorter", call.id) for call in calls)
    elif cut:
        state.limit = cut
