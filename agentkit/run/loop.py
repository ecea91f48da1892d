"""The loop. It performs what `next_step` decides and records what came of it; nothing else changes a run's state."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import anyio

from agentkit.chat.events import Emit, Mended
from agentkit.chat.mend import mend_calls
from agentkit.chat.messages import AssistantMessage, Message, SystemMessage, ToolCall, ToolMessage, UserMessage
from agentkit.chat.reply import Model, Reply
from agentkit.chat.request import ChatRequest
from agentkit.chat.settings import ChatSettings
from agentkit.errors import AgentKitError, LimitReached, Refused, ToolError, ToolFailed
from agentkit.run.events import CallFinished, CallStarted, RunEnded, RunStarted, TurnFinished, TurnStarted
from agentkit.run.journal import Journal, PlainJournal
from agentkit.run.limits import Limits
from agentkit.run.middleware import Middleware, ToolRequest, around_model, around_run, around_tool
from agentkit.run.state import RunState
from agentkit.run.step import AskModel, Finish, Pause, RunCalls, next_step
from agentkit.run.transcript import interrupted, open_calls
from agentkit.tools.context import ToolContext
from agentkit.tools.execute import Work, execute
from agentkit.tools.tool import Tool, ToolResult

__all__ = ["RunSpec", "run"]

log = logging.getLogger("agentkit")

MAX_RESULT = 64 * 1024  # characters of a tool's result that the model gets to read
_CUT = {"length": "the reply was cut at its token limit", "content_filter": "the reply was cut by a filter"}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """What a run is made with; it never changes while it runs."""

    model: Model
    tools: Mapping[str, Tool] = field(default_factory=dict[str, Tool])
    instructions: str = ""
    settings: ChatSettings = ChatSettings()
    limits: Limits = Limits()
    middleware: Sequence[Middleware] = ()
    journal: Journal = PlainJournal()
    tool_errors: Literal["tell", "raise"] = "tell"
    deps: Any = None
    stream: bool = False


async def run(spec: RunSpec, state: RunState, emit: Emit) -> RunState:
    """Run until one of the five endings. What is raised carries the state; the state is valid however it ends.

    Raises:
        AgentKitError: The run failed.
    """
    emit(RunStarted(state))
    try:
        state.status = "running"
        state = await around_run(spec.middleware, emit, lambda inner: run_turns(spec, inner, emit))(state)
    except BaseException as error:
        state.status = "failed" if isinstance(error, Exception) else "cancelled"
        state.messages.extend(interrupted(call) for call in open_calls(state.messages))
        if isinstance(error, AgentKitError):
            error.state = state
        emit(RunEnded(state, error if isinstance(error, Exception) else None))
        raise
    emit(RunEnded(state))
    return state


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
    reply = await slot.run(lambda: ask(_request(spec, state), emit))
    state.turns = turn
    state.usage += reply.usage
    _record(state, reply, emit)
    emit(TurnFinished(turn, reply))
    if reply.message.refusal and not reply.text and not reply.message.tool_calls:
        raise Refused(f"the model declined to answer: {reply.message.refusal}")


async def run_calls(spec: RunSpec, state: RunState, step: RunCalls, emit: Emit) -> None:
    """One batch of calls; each gets its result in the transcript, in the model's order, whatever happens."""
    results = {call.id: ToolMessage(f"Error: not run: {step.why} was reached", call.id) for call in step.refused}
    failures: list[Exception] = []
    batch = [_work(spec, state, call, results, failures, emit) for call in step.calls]
    state.calls += len(batch)
    if step.refused:
        state.limit = step.why
    try:
        await execute(batch)
    finally:
        calls = (*step.calls, *step.refused)
        state.messages.extend(results.get(call.id) or interrupted(call) for call in calls)
    if failures:
        raise failures[0]


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
        settings = replace(settings, tool_choice="auto")  # a forced choice would be forced for ever
    tools = [tool.definition for tool in spec.tools.values()]
    return ChatRequest(messages=messages, tools=tools, settings=settings, stream=spec.stream)


def _record(state: RunState, reply: Reply, emit: Emit) -> None:
    """Put a reply into the transcript. Calls of a reply that was cut are answered here, so that they never run."""
    taken = (call.id for each in state.messages if isinstance(each, AssistantMessage) for call in each.tool_calls)
    calls, notes = mend_calls(reply.message.tool_calls, salt=f"{state.run_id}:{state.turns}", taken=taken)
    for note in notes:
        emit(Mended(note))
    content = reply.message.content or (None if calls or reply.message.refusal else "")
    if content == "":
        emit(Mended("the model answered with nothing"))
    state.messages.append(replace(reply.message, content=content, tool_calls=calls))
    cut = _CUT.get(reply.finish_reason or "")
    if cut and calls:
        state.messages.extend(ToolMessage(f"Error: not run: {cut}; make the call shorter", call.id) for call in calls)
    elif cut:
        state.limit = cut


def _work(
    spec: RunSpec,
    state: RunState,
    call: ToolCall,
    results: dict[str, ToolMessage],
    failures: list[Exception],
    emit: Emit,
) -> Work:
    """A call made ready: its slot is reserved here, before anything is awaited."""
    key = f"{state.run_id}:call:{call.id}"
    slot = spec.journal.reserve(key)
    tool = spec.tools.get(call.name)
    context: ToolContext[Any] = ToolContext(
        deps=spec.deps,
        run_id=state.run_id,
        turn=state.turns,
        call_id=call.id,
        tool=call.name,
        idempotency_key=key,
        emit=emit,
    )

    async def act() -> None:
        emit(CallStarted(call))
        started = anyio.current_time()
        errors: list[Exception] = []
        result = await slot.run(lambda: _contained(spec, tool, call, context, errors))
        results[call.id] = ToolMessage(_clipped(result.content), call.id)
        if errors and spec.tool_errors == "raise":
            failures.append(_failure(state, call, errors[0]))
        emit(CallFinished(call, result, anyio.current_time() - started, errors[0] if errors else None))

    async def work() -> None:
        try:
            await act()
        except Exception as error:  # noqa: BLE001 - of an observer or a journal; it ends the run when the batch is done
            failures.append(error)

    return Work(work, sequential=tool is not None and tool.sequential)


async def _contained(
    spec: RunSpec, tool: Tool | None, call: ToolCall, context: ToolContext[Any], errors: list[Exception]
) -> ToolResult:
    """Run a call; what it raises becomes a result that the model can read, the unexpected goes to ``errors`` too."""
    wrapped = around_tool(spec.middleware, lambda request: request.tool.call(request.context, request.call.written))
    try:
        if tool is None:
            raise ToolError(_unknown(call.name, spec.tools))
        return await wrapped(ToolRequest(tool, call, context))
    except ToolError as error:
        return ToolResult(f"Error: {error}", is_error=True)
    except Exception as error:  # a tool may raise anything, and its siblings must finish
        log.warning("tool %s raised", call.name, exc_info=error)
        errors.append(error)
        return ToolResult(f"Error: {call.name} failed with {_named(error)}", is_error=True)


def _failure(state: RunState, call: ToolCall, error: Exception) -> ToolFailed:
    failed = ToolFailed(f"tool {call.name} raised {_named(error)}", state=state)
    failed.__cause__ = error
    return failed


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _unknown(name: str, tools: Mapping[str, object]) -> str:
    if not tools:
        return f"there is no tool {name!r}; there are no tools at all, so answer without one"
    near = difflib.get_close_matches(name, tools, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"the tools are {', '.join(tools)}"
    return f"there is no tool {name!r}; {hint}"


def _clipped(content: str) -> str:
    if len(content) <= MAX_RESULT:
        return content
    return f"{content[:MAX_RESULT]}\n[cut: the first {MAX_RESULT:,} of {len(content):,} characters]"
