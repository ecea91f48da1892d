"""The next step of a run: a pure decision from the state and the limits, which the loop performs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from agentkit.chat.content import ContentPart
from agentkit.chat.messages import AssistantMessage, Message, ToolCall, ToolMessage
from agentkit.run.approvals import canonical
from agentkit.run.artifacts import attached_files
from agentkit.run.limits import Limits, limit_in_words, time_limit_in_words
from agentkit.run.state import RunState, Status
from agentkit.run.transcript import final_result, is_reply, open_calls

_NEARLY = 1e-6  # of a second: clocks are floats
_WARNING = 2  # turns between the warning to the model and the last repeated turn


@dataclass(frozen=True, slots=True)
class AskModel:
    """Send the messages to the model.

    Attributes:
        limit: The limit after which it must answer without tools; empty if there is none.
        note: A warning to the model, for this one request.
    """

    limit: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class RefusedCall:
    """A call above a limit, which ``reason`` names."""

    call: ToolCall
    reason: str


@dataclass(frozen=True, slots=True)
class RunCalls:
    """Run ``calls``; answer the refused ones with their reason. ``limit`` names the limit if the run ends at it."""

    calls: tuple[ToolCall, ...]
    refused: tuple[RefusedCall, ...] = ()
    limit: str = ""


@dataclass(frozen=True, slots=True)
class Pause:
    """Stop until somebody decides about ``calls``."""

    calls: tuple[ToolCall, ...]


@dataclass(frozen=True, slots=True)
class Finish:
    """End the run; ``limit`` names the limit if it ended at one."""

    status: Status
    limit: str = ""


Step: TypeAlias = AskModel | RunCalls | Pause | Finish


def next_step(state: RunState, limits: Limits) -> Step:
    """Return the next step of a run."""
    waiting = open_calls(state.messages)
    if waiting and state.final_turn:
        return RunCalls((), tuple(RefusedCall(call, state.limit) for call in waiting), state.limit)
    if waiting:
        undecided = {
            call.id
            for call in waiting
            if (call.id in state.approvals and call.id not in state.decisions)
            or (call.id in state.nested and state.nested[call.id].pending)
        }
        blocked = {*undecided, *state.blocked} if undecided else undecided
        ready = tuple(call for call in waiting if call.id not in blocked)
        return _within(limits, state, ready) if ready else Pause(waiting)
    answered = bool(state.messages) and is_reply(state.messages[-1])
    if state.final_turn or ((answered or final_result(state.messages)) and not state.inbox):
        return Finish("limited" if state.limit else "done", state.limit)
    limit = ("" if answered else state.limit) or _reached_limit(state, limits)
    repeated = count_repeated_turns(state.messages) if limits.repeated_turns else 0
    if limits.repeated_turns and repeated >= limits.repeated_turns and not limit:
        limit = f"the limit of {limits.repeated_turns} turns with the same calls and the same results"
    if limit and limits.on_limit != "answer":
        return Finish("limited", limit)
    note = ""
    if limits.repeated_turns and repeated >= max(3, limits.repeated_turns - _WARNING) and not limit:
        note = (
            f"You have made the same calls {repeated} times in a row, and each time the results were the same. "
            "Do something else, or answer with what you have."
        )
    return AskModel(limit, note)


def _reached_limit(state: RunState, limits: Limits) -> str:
    """Return the limit after which the model must answer, in words; empty if none is reached.

    The limits on calls apply when a batch of calls is planned, in `next_step`.
    """
    if state.turns >= limits.turns:
        return limit_in_words(limits.turns, "turn")
    if limits.failed_turns is not None and state.failed_turns >= limits.failed_turns:
        return f"{limit_in_words(limits.failed_turns, 'turn')} in which every call failed"
    if limits.tokens is not None and state.usage.total_tokens >= limits.tokens:
        return limit_in_words(limits.tokens, "token")
    if limits.cost is not None and (state.usage.cost or 0.0) >= limits.cost:
        return f"the cost limit of {limits.cost:g}"
    return _out_of_time(state, limits)


def _out_of_time(state: RunState, limits: Limits) -> str:
    """Return the time limit in words if it is reached; empty if not."""
    if limits.seconds is not None and state.seconds >= limits.working_seconds() - _NEARLY:
        return time_limit_in_words(limits)
    return ""


def _within(limits: Limits, state: RunState, calls: Sequence[ToolCall]) -> RunCalls:
    """Split calls into those that the limits allow and those that they do not."""
    made = Counter(state.calls_by_tool)
    run: list[ToolCall] = []
    refused: list[RefusedCall] = []
    ends = late = _out_of_time(state, limits)
    for call in calls:
        most, decision = limits.calls_of(call.name), state.decisions.get(call.id)
        if late and (decision is None or decision.kind == "approve"):  # it would be cancelled as soon as it begins
            refused.append(RefusedCall(call, late))
        elif most is not None and made[call.name] >= most:
            refused.append(RefusedCall(call, f"{limit_in_words(most, 'call')} of {call.name}"))
            ends = ends or (refused[-1].reason if limits.on_limit != "answer" else "")
        elif limits.calls is not None and len(run) == max(0, limits.calls - state.calls):
            ends = limit_in_words(limits.calls, "tool call")
            refused.append(RefusedCall(call, ends))
        else:
            made[call.name] += 1
            run.append(call)
    return RunCalls(tuple(run), tuple(refused), ends)


def count_repeated_turns(messages: Sequence[Message]) -> int:
    """Count the turns at the end with the same calls and results, in any order; 0 if the last made no call."""
    found, last = 0, None
    for turn in _turns_from_the_end(messages):
        last = last or turn
        if turn is not last and (turn.outcome != last.outcome or turn.calls() != last.calls()):
            break
        found += 1
    return found


@dataclass(frozen=True, slots=True)
class _Turn:
    message: AssistantMessage
    outcome: tuple[list[tuple[str, str]], Sequence[ContentPart]]  # compared first: comparing arguments parses them

    def calls(self) -> list[tuple[str, str]]:
        return sorted([(call.name, canonical(call.written)) for call in self.message.tool_calls])


def _turns_from_the_end(messages: Sequence[Message]) -> Iterator[_Turn]:
    """The turns, up to the last message that is not part of one."""
    results: dict[str, str] = {}
    files: Sequence[ContentPart] = ()
    for message in reversed(messages):
        if isinstance(message, ToolMessage):
            results[message.tool_call_id] = message.text
        elif isinstance(message, AssistantMessage) and message.tool_calls:
            outcome = sorted([(call.name, results.get(call.id, "")) for call in message.tool_calls])
            yield _Turn(message, (outcome, files))
            results, files = {}, ()
        elif results or not (files := attached_files(message)):
            return
