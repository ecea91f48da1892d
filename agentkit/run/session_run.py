"""Starts runs, and runs in sessions: the messages before a run, and a journal that stores each step.

A crash loses nothing of a run in a session.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, fields, replace
from typing import Any, Protocol, Self, TypeAlias, TypeVar, cast, runtime_checkable

import anyio

from agentkit.chat.events import Emit, ReplyRepaired
from agentkit.chat.messages import AssistantMessage, Message, ToolCall, ToolMessage
from agentkit.errors import SessionConflict, StateError
from agentkit.run.artifacts import attached, keep, shown
from agentkit.run.inputs import History, Prompt, parse_history, parse_prompt
from agentkit.run.limits import Limits
from agentkit.run.loop import execute_run, prepare_resume
from agentkit.run.run import Journal, PlainJournal, Slot, SlotKind, call_slot, stamped
from agentkit.run.serialization import dump_head, dump_message, dump_result, load_head, load_message, load_result
from agentkit.run.spec import RunSpec
from agentkit.run.state import RunResult, RunState
from agentkit.run.transcript import insert_results, interrupted_result, last_reply_at, open_calls, repair_transcript
from agentkit.tools.result import ToolResult


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSnapshot:
    """The content of a session.

    Attributes:
        revision: How often it was saved; 0 for a new session.
        messages: The messages, each as the string of a JSON object.
        head: The rest of the last run's state, as the string of a JSON object; empty when there was no run.
        artifacts: Results that were too long for the model, by the id of their call.
        results: Results of finished calls that are not in the messages yet, by their slot.
    """

    revision: int = 0
    messages: Sequence[str] = ()
    head: str = ""
    artifacts: Mapping[str, str] = field(default_factory=dict[str, str])
    results: Mapping[str, str] = field(default_factory=dict[str, str])

    def state(self) -> RunState | None:
        """Return the state of the last run, to inspect or to decide about its calls; None if there was none.

        Raises:
            StateError: It cannot be read.
        """
        if not self.head:
            return None
        state = RunState.from_members(load_head(self.head, self.messages, self.artifacts))
        state.revision = self.revision
        return state


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionUpdate:
    """A change to a session, to be saved completely or not at all.

    Attributes:
        revision: The revision that it is based on.
        start: How many of the saved messages stay.
        messages: The messages that replace the rest, each as the string of a JSON object.
        head: The new head.
        artifacts: The new artifacts.
        dropped: Ids of the artifacts to remove.
    """

    revision: int
    start: int
    messages: Sequence[str]
    head: str
    artifacts: Mapping[str, str] = field(default_factory=dict[str, str])
    dropped: Sequence[str] = ()

    @classmethod
    def from_history(cls, history: History) -> Self:
        """Begin a new session with whatever ``history=`` of a run accepts.

        Raises:
            ConfigError: These are not messages.
        """
        messages, _ = parse_history(history)
        state = history.state if isinstance(history, RunResult) else history
        artifacts = state.artifacts if isinstance(state, RunState) else {}
        return cls(revision=0, start=0, messages=[*map(dump_message, messages)], head="", artifacts=artifacts)


@runtime_checkable
class Session(Protocol):
    """One stored conversation. A method that raises a `SessionError` has changed nothing."""

    def claim(self) -> AbstractAsyncContextManager[None]:
        """Hold the session exclusively until the block is left, or until this process ends in any way.

        Raises:
            SessionBusy: Another run holds it.
        """
        ...

    async def load(self) -> SessionSnapshot:
        """Return what is stored; an empty `SessionSnapshot` for a new session."""
        ...

    async def save(self, change: SessionUpdate) -> None:
        """Store a change, increase the revision by one, and remove the ``results``, which its messages hold.

        Raises:
            SessionConflict: The change is based on another revision than the stored one.
        """
        ...

    async def record(self, slot: str, result: str) -> None:
        """Store the result of the call in a slot durably before returning."""
        ...


T = TypeVar("T")


StartRun: TypeAlias = Callable[[Emit], Awaitable[RunResult[Any]]]


def start_run(
    spec: RunSpec,
    prompt: Prompt | None,
    *,
    history: History,
    session: Session | None,
    resume: RunState | bool | None,
    limits: Limits | None,
    run_id: str,
) -> tuple[RunState, StartRun]:
    """Return the state of a new or a resumed run, and the function that starts it."""
    if resume:
        return _start_again(spec, prompt, session, None if resume is True else resume, limits)
    messages, notes = parse_history(history)
    spec = replace(spec, opening_events=[ReplyRepaired(note) for note in notes])
    earlier: object = getattr(history, "state", history)  # of a result
    agent = next(iter(spec.agents))
    if isinstance(earlier, RunState) and earlier.agent in spec.agents:
        agent = earlier.agent
    state = RunState(
        messages=[*messages, stamped(parse_prompt(prompt), spec.journal.clock(), agent)],
        prior_messages=len(messages),
        run_id=run_id or spec.journal.new_id(),
        agent=agent,
        limits=spec.limits,
        artifacts=dict(getattr(earlier, "artifacts", ())),
    )
    if session is None:
        return state, lambda emit: execute_run(spec, state, emit)
    return state, lambda emit: run_in_session(session, spec, state, emit)


def _start_again(
    spec: RunSpec, prompt: Prompt | None, session: Session | None, given: RunState | None, limits: Limits | None
) -> tuple[RunState, StartRun]:
    if session is not None:
        live = RunState(messages=[]) if given is None else given.copy()
        live.status = "running"
        if prompt is not None:
            live.add_message(prompt)
        return live, lambda emit: resume_in_session(session, spec, live, emit, given=given, limits=limits)
    assert given is not None  # noqa: S101 - without a session there is a state
    if given.revision:
        raise StateError(
            "this state belongs to a session, which would miss what a run without it does: pass session= too "
            "(or set state.revision = 0 to resume outside of it)"
        )
    spec = replace(spec, limits=limits or given.limits or spec.limits)
    if prompt is not None:
        given = given.copy()
        given.add_message(prompt)
    state, events = prepare_resume(given, spec.agents, spec.limits)
    return state, lambda emit: execute_run(replace(spec, opening_events=events), state, emit)


async def run_in_session(session: Session, spec: RunSpec, state: RunState, emit: Emit) -> RunResult[Any]:
    """Run with the messages of the session before the prompt.

    Raises:
        SessionBusy: Another run holds the session.
        StateError: Its last run waits for decisions, or cannot be read.
    """
    async with session.claim():
        saved = await session.load()
        before = saved.state() or RunState(  # a session that begins with given messages has no run yet
            messages=[load_message(each) for each in saved.messages], artifacts=dict(saved.artifacts)
        )
        if before.pending:
            names = ", ".join(each.name for each in before.pending)
            raise StateError(f"the last run of the session waits for decisions about {names}: decide, then resume it")
        stored = list(before.messages)
        notes = _close(before, saved.results)
        state.messages[:0] = before.messages
        state.prior_messages = len(before.messages)
        state.artifacts, state.rules = before.artifacts, before.rules
        if before.agent in spec.agents:  # it had the conversation
            state.agent = before.agent
        journal = _SessionJournal(session, saved, stored, spec.journal)
        events = [*map(ReplyRepaired, notes), *spec.opening_events]
        return await execute_run(replace(spec, journal=journal, opening_events=events), state, emit)


async def resume_in_session(
    session: Session, spec: RunSpec, live: RunState, emit: Emit, *, given: RunState | None, limits: Limits | None
) -> RunResult[Any]:
    """Resume the last run of the session, or a state of it with decisions about its calls.

    Args:
        session: Where it is stored.
        spec: What to run with.
        live: Becomes the state that runs; restored if nothing of the run could be stored.
        emit: Receives the events.
        given: The state to resume; None for the stored one.
        limits: Limits in place of those that the run began with.

    Raises:
        SessionBusy: Another run holds the session.
        SessionConflict: The session has changed since the state was read.
        StateError: There is nothing to resume, or the stored state cannot be read.
    """
    async with session.claim():
        saved = await session.load()
        stored = saved.state()
        if stored is None and given is not None:
            raise StateError("this state does not belong to this session: resume it in the session that it came from")
        if stored is None:
            raise StateError("the session has no run to resume: pass a prompt instead of resume=")
        if given is not None and (given.revision, given.run_id) != (saved.revision, stored.run_id):
            raise SessionConflict(
                "the session has changed since this state was read, or never had it: load its state and decide again"
            )
        spec = replace(spec, limits=limits or stored.limits or spec.limits)
        resumed = (given or stored).copy()
        resumed.inbox += live.inbox[len(given.inbox) if given else 0 :]  # messages that were added since it was opened
        state, events = prepare_resume(resumed, spec.agents, spec.limits)
        _become(live, state)
        journal = _SessionJournal(session, saved, list(stored.messages), spec.journal)
        try:
            return await execute_run(replace(spec, journal=journal, opening_events=events), live, emit)
        except BaseException:
            if journal.is_refused:
                _become(live, (given or stored).copy())
            raise


def _become(live: RunState, state: RunState) -> None:
    for each in fields(RunState):
        setattr(live, each.name, getattr(state, each.name))


def _close(state: RunState, results: Mapping[str, str]) -> list[str]:
    """Close a run that is not resumed, with the stored results of its calls and the messages that it never read.

    Returns:
        A sentence for each thing that was repaired.
    """
    known = [call for call in open_calls(state.messages) if call_slot(state, call) in results]
    insert_results(state.messages, map(interrupted_result, known))
    _settle(state, results)
    state.label_unanswered()
    state.messages, notes = repair_transcript(state.messages)
    state.messages += state.inbox
    return notes


def _settle(state: RunState, results: Mapping[str, str]) -> None:
    """Give interrupted calls their stored results."""
    place = last_reply_at(state.messages)
    if place is None:
        return
    calls = {call.id: call for call in cast("AssistantMessage", state.messages[place]).tool_calls}
    finished: list[tuple[ToolCall, ToolResult]] = []
    for at, message in enumerate(state.messages[place + 1 :], place + 1):
        call = calls.get(message.tool_call_id) if isinstance(message, ToolMessage) else None
        stored = results.get(call_slot(state, call)) if call else None
        if call is None or stored is None or message != interrupted_result(call):
            continue
        finished.append((call, load_result(stored)[0]))
        content, is_cut = shown(*finished[-1], readable=True)
        if is_cut:
            keep(state.artifacts, *finished[-1])
        state.messages[at] = ToolMessage(content, call.id)
    state.messages += attached(finished)


_STATE = ":state"  # after the slot of a call: the state of the run inside it


class _Results:
    """Results that are not in the messages of a session yet, and states of runs inside calls, by their keys."""

    def __init__(self, session: Session, stored: Mapping[str, str]) -> None:
        self._session, self.stored = session, dict(stored)
        self.failure: Exception | None = None
        self.has_stored = False

    async def store(self, key: str, value: str) -> None:
        """Store a string at once. If that fails, the run fails at its next save: what has happened stays."""
        self.has_stored = True
        self.stored[key] = value
        try:
            await _to_its_end(lambda: self._session.record(key, value))
        except Exception as error:  # noqa: BLE001 - a session may be anybody's code
            self.failure = error

    def forget_inside(self, key: str) -> None:
        """Forget the stored run inside the call in this slot; the next save removes it."""
        self.stored = {each: value for each, value in self.stored.items() if not each.startswith(f"{key}:")}


class _Recorder:
    """A journal that stores results, and the states of runs inside calls, with what the run had used by then."""

    def __init__(self, inner: Journal, results: _Results) -> None:
        self._inner, self._results, self._state = inner, results, RunState(messages=[])
        self.clock, self.new_id = inner.clock, inner.new_id

    def reserve(self, key: str, kind: SlotKind) -> Slot:
        return _RecordedSlot(self, key, self._inner.reserve(key, kind))

    async def save(self, state: RunState) -> None:
        """Save the state."""
        raise NotImplementedError

    def spent(self) -> list[str]:
        """The usage of the run, for `restore`, then that of the runs that it is nested in."""
        return [dump_result(ToolResult(""), self._state.usage, self._state.calls)]

    def restore(self, spent: Sequence[str]) -> ToolResult:
        """Add the usage recorded for a call, and return its stored result."""
        result, usage, calls = load_result(spent[0])
        self._state.usage = usage.at_least(self._state.usage)
        self._state.calls = max(calls, self._state.calls)
        return result

    def recall(self, key: str) -> ToolResult | None:
        """Return the result of an effect that ran before; what the run had used by then counts again."""
        stored = self._results.stored.get(key)
        return None if stored is None else self.restore([stored])

    async def record(self, key: str, result: ToolResult) -> None:
        """Store the result of an effect."""
        await self._results.store(key, dump_result(result, self._state.usage, self._state.calls))

    def nested(self, key: str) -> Journal:
        """Return the journal of the run inside the call in this slot."""
        return _NestedJournal(self, key)

    def nested_state(self, key: str) -> RunState | None:
        """Return the state of that run when the process ended, if it had one."""
        stored = self._results.stored.get(f"{key}{_STATE}")
        if stored is None:
            return None
        state, *spent = json.loads(stored)
        self.restore(spent)
        return RunState.load(state)


class _SessionJournal(_Recorder):
    """Stores the state between steps, and the result of each call as soon as it is known.

    A run whose first write fails has done nothing yet. It `is_refused`: it ends there, and its end is not stored
    either, so its approvals stay and its question can be asked again.
    """

    def __init__(self, session: Session, saved: SessionSnapshot, written: list[Message], inner: Journal) -> None:
        super().__init__(inner, _Results(session, saved.results))
        self._session, self._revision = session, saved.revision
        self._written, self._artifacts = written, dict(saved.artifacts)
        self.is_refused = False

    async def save(self, state: RunState) -> None:
        self._state = state
        await self._inner.save(state)
        results = self._results
        failure, results.failure = results.failure, None
        if failure is not None:  # once: how the run ended is stored if it can be
            raise failure
        if self.is_refused:
            return
        if state.status in ("failed", "cancelled"):
            _settle(state, results.stored)
        slots = tuple(call_slot(state, call) for call in open_calls(state.messages))
        within = tuple(f"{slot}:" for slot in slots)
        if not any(key in slots or key.startswith(within) for key in results.stored):
            await _to_its_end(lambda: self._save(state))  # otherwise results that are not in the messages are lost

    async def _save(self, state: RunState) -> None:
        start = self._unchanged(state.messages)
        before, state.revision = state.revision, self._revision + 1
        change = SessionUpdate(
            revision=self._revision,
            start=start,
            messages=[dump_message(each) for each in state.messages[start:]],
            head=dump_head(state),
            artifacts={name: text for name, text in state.artifacts.items() if self._artifacts.get(name) != text},
            dropped=sorted(self._artifacts.keys() - state.artifacts.keys()),
        )
        try:
            await self._session.save(change)
        except BaseException:
            state.revision = before
            self.is_refused = not self._results.has_stored
            raise
        self._results.has_stored = True
        self._revision += 1
        self._written, self._artifacts = list(state.messages), dict(state.artifacts)
        self._results.stored.clear()

    def _unchanged(self, messages: list[Message]) -> int:
        """The number of messages at the beginning that are still as they were stored."""
        same = [*map(operator.is_, self._written, messages)]  # nearly all of them, in a long run
        for place in range(same.index(False) if False in same else len(same), len(same)):
            old, new = self._written[place], messages[place]
            if old != new or old.meta != new.meta:
                return place
        return len(same)


class _NestedJournal(_Recorder):
    """The journal of a run inside a call: its states and results are stored with the results of the outer run.

    They stay until the call has its own result. Each is stored with what the outer runs had used by then.
    """

    def __init__(self, outer: _Recorder, key: str) -> None:
        super().__init__(PlainJournal(), outer._results)
        self._outer, self._key = outer, key
        self.clock, self.new_id = outer.clock, outer.new_id

    async def save(self, state: RunState) -> None:
        self._state = state
        if state.status == "paused":  # the state of the outer run holds this one from now on
            self._results.forget_inside(self._key)
        else:
            await self._results.store(f"{self._key}{_STATE}", json.dumps([state.to_json(), *self._outer.spent()]))

    def recall(self, key: str) -> ToolResult | None:
        stored = self._results.stored.get(key)
        return None if stored is None else self.restore(json.loads(stored))

    async def record(self, key: str, result: ToolResult) -> None:
        own = dump_result(result, self._state.usage, self._state.calls)
        await self._results.store(key, json.dumps([own, *self._outer.spent()]))

    def restore(self, spent: Sequence[str]) -> ToolResult:
        self._outer.restore(spent[1:])
        return super().restore(spent)

    def spent(self) -> list[str]:
        return [*super().spent(), *self._outer.spent()]


class _RecordedSlot:
    def __init__(self, journal: _Recorder, key: str, inner: Slot) -> None:
        self._journal, self._key, self._inner = journal, key, inner

    async def run(self, effect: Callable[[], Awaitable[T]]) -> T:
        known = self._journal.recall(self._key)
        if known is not None:
            return cast("T", known)
        value = await self._inner.run(effect)
        if isinstance(value, ToolResult):
            await self._journal.record(self._key, value)
        return value


async def _to_its_end(work: Callable[[], Awaitable[None]]) -> None:
    """Finish something short, even when this is cancelled.

    ``task.cancel()`` of asyncio ignores shields, so the work has a task of its own.
    """
    failures: list[BaseException] = []

    async def shielded() -> None:
        with anyio.CancelScope(shield=True):
            try:
                await work()
            except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - raised below, and not in a group
                failures.append(error)

    with anyio.CancelScope(shield=True):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(shielded)
    if failures:
        raise failures[0]
