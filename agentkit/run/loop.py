"""The loop. It performs what `next_step` decides and records what came of it; nothing else changes a run's state."""

from __future__ import annotations

import logging
import math
from contextlib import AsyncExitStack
from typing import Any

import anyio
import anyio.lowlevel

from agentkit.chat.events import Emit
from agentkit.chat.messages import AssistantMessage, ToolCall, ToolMessage, UserMessage
from agentkit.chat.transport.retry import retry_budget
from agentkit.errors import AgentKitError, LimitReached, ModelRetry, OutputInvalid, SessionError
from agentkit.run.calls import attach_files, run_calls
from agentkit.run.events import LimitWarning, RunFinished, RunStarted
from agentkit.run.limits import limit_usage, time_limit_in_words
from agentkit.run.middleware import Run, nested_run, wrap_run, wrap_tool
from agentkit.run.spec import AgentSpec, RunSpec
from agentkit.run.state import RunResult, RunState
from agentkit.run.step import AskModel, Finish, Pause, RunCalls, next_step
from agentkit.run.transcript import CONTINUES, final_result, insert_results, interrupted_result, labeled, open_calls
from agentkit.run.turn import ask_model, offered_tools

__all__ = ["execute_run"]

log = logging.getLogger("agentkit")
_NEAR = 0.8  # of a limit


async def execute_run(spec: RunSpec, state: RunState, observer: Emit) -> RunResult[Any]:
    """Run until one of the five endings. The state is valid however it ends; what is raised carries it.

    Raises:
        AgentKitError: The run failed.
    """
    run: Run[Any] = Run(
        state=state,
        limits=spec.limits,
        deps=spec.deps,
        observer=observer,
        journal=spec.journal,
        turn=state.turns,
        call_tool=wrap_tool(spec.middleware),
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
            _close(state)
        await spec.journal.save(state)
    except BaseException as raised:
        error = _alone(raised)
        state.status = "failed" if isinstance(error, Exception) else "cancelled"
        _close(state)
        if isinstance(error, AgentKitError):
            error.state = state
        await _save_at_the_end(spec, state)
        _report_end(run, error)
        if error is not raised:
            raise error from None
        raise
    run.emit(RunFinished(state))
    return loop.result()


class _Loop:
    """The turns of a run."""

    def __init__(self, run: Run[Any], spec: RunSpec) -> None:
        self.run_, self.spec = run, spec
        self.output: tuple[Any, bool] = (None, False)

    @property
    def agent(self) -> AgentSpec:
        """The agent whose turn it is."""
        return self.spec.agents[self.run_.state.agent]

    def result(self) -> RunResult[Any]:
        """The result of the run that has ended."""
        state = self.run_.state
        if self.output[1] or state.status == "paused":  # a paused run has no output: whoever reads it must notice
            return RunResult(state, *self.output)
        return RunResult(state, *self.agent.output.unfinished(state.text))

    async def run(self) -> RunState:
        """The turns with their time limit: what still runs then is cancelled, and the run goes on to its answer."""
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
        tools = None  # what the model may call, as it was when it was asked
        while True:
            state.seconds = anyio.current_time() - began
            await spec.journal.save(state)
            limits = run.effective_limits()
            match next_step(state, limits):
                case AskModel() as step:
                    # Neither a model in memory nor a tool has to wait for anything; other runs get their turn here.
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
                case Finish("done", _) if not await self.accepts_output():
                    pass
                case Finish(status, limit):
                    state.status, state.limit = status, limit
                    if limit and spec.limits.on_limit == "raise":
                        raise LimitReached(f"the run reached {limit}", state=state)
                    return state

    def warn(self) -> None:
        """Report the limits that are nearly used up, each once."""
        state = self.run_.state
        for each in limit_usage(state, self.spec.limits):
            if each.used >= _NEAR * each.most and each.name not in state.warned and each.most:
                state.warned.append(each.name)
                self.run_.emit(LimitWarning(each.name, each.used, each.most))

    async def accepts_output(self) -> bool:
        """Read the output; if it is not valid, ask the model to try again.

        Raises:
            OutputInvalid: It was not valid too many times in a row.
        """
        run, state, output = self.run_, self.run_.state, self.agent.output
        last = state.messages[-1]
        if not isinstance(last, AssistantMessage):  # a tool ended the run
            final = final_result(state.messages)
            self.output = (final.text if final else "", True)
            return True
        try:
            self.output = (await output.read(last, run.context()), True)
        except ModelRetry as complaint:
            state.invalid_outputs += 1
            if state.invalid_outputs > output.retries:
                raise OutputInvalid(
                    f"the output was invalid {state.invalid_outputs} times in a row: {complaint}", state=state
                ) from complaint
            run.add(run.stamp(labeled(UserMessage(str(complaint)), **{CONTINUES: True})))
            return False
        state.invalid_outputs = 0
        return True


def _alone(error: BaseException) -> BaseException:
    """The error itself, where task groups of a model or a middleware have wrapped one error into groups."""
    is_group = issubclass(type(error), BaseExceptionGroup)
    inner: tuple[BaseException, ...] = getattr(error, "exceptions", ()) if is_group else ()
    return _alone(inner[0]) if len(inner) == 1 else error


def _close(state: RunState) -> None:
    """Answer the calls that the end of the run has left open; label a prompt that never got a reply."""
    insert_results(state.messages, [_unfinished(state, call) for call in open_calls(state.messages)])
    attach_files(state)
    state.label_unanswered()


def _unfinished(state: RunState, call: ToolCall) -> ToolMessage:
    """The result of a call that the end of the run has left open."""
    if (call.id in state.approvals or call.id in state.blocked) and call.id not in state.decisions:
        return ToolMessage("Error: not run: it was waiting for a decision when the run ended", call.id)
    return interrupted_result(call)


async def _save_at_the_end(spec: RunSpec, state: RunState) -> None:
    """Store how a run failed, also when it is being cancelled; what fails here must not hide why."""
    with anyio.CancelScope(shield=True):
        try:
            await spec.journal.save(state)
        except Exception as error:
            unexpected = None if isinstance(error, SessionError) else error
            log.warning("the end of the run could not be stored: %s", error, exc_info=unexpected)


def _report_end(run: Run[Any], error: BaseException) -> None:
    """Report how a run failed; an observer that fails too must not hide why."""
    try:
        run.emit(RunFinished(run.state, error if isinstance(error, Exception) else None))
    except Exception:
        log.exception("an observer of the run raised at its end")
