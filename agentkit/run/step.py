"""What comes next. Pure: it looks at what is known and decides; the loop does it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from agentkit.chat.messages import AssistantMessage, ToolCall
from agentkit.run.limits import Limits
from agentkit.run.repeats import repeated_turns
from agentkit.run.spending import limit_of, out_of_time, reached_limit
from agentkit.run.state import RunState, Status
from agentkit.run.transcript import open_calls

__all__ = ["AskModel", "Finish", "Pause", "RefusedCall", "RunCalls", "Step", "next_step"]

_WARNING = 2  # how many turns before the last that may repeat another the model is told


@dataclass(frozen=True, slots=True)
class AskModel:
    """Send the transcript to the model.

    Attributes:
        closing: The limit after which it must answer without tools; empty while there is none.
        note: What it is told beside the transcript, for this one request.
    """

    closing: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class RefusedCall:
    """A call that is over a limit: ``why`` names it."""

    call: ToolCall
    why: str


@dataclass(frozen=True, slots=True)
class RunCalls:
    """Run ``calls``; those that are refused are answered with why. ``limit`` names the limit if the run ends at it."""

    calls: tuple[ToolCall, ...]
    refused: tuple[RefusedCall, ...] = ()
    limit: str = ""


@dataclass(frozen=True, slots=True)
class Pause:
    """Stop until somebody outside has decided about ``calls``."""

    calls: tuple[ToolCall, ...]


@dataclass(frozen=True, slots=True)
class Finish:
    """The run is over; ``limit`` names the limit if it ended at one."""

    status: Status
    limit: str = ""


Step: TypeAlias = AskModel | RunCalls | Pause | Finish


def next_step(state: RunState, limits: Limits) -> Step:
    """The next thing to do in a run."""
    waiting = open_calls(state.messages)
    if waiting and state.final_turn:
        return RunCalls((), tuple(RefusedCall(call, state.limit) for call in waiting), state.limit)
    if waiting:
        undecided = {call.id for call in waiting if call.id in state.approvals and call.id not in state.decisions}
        kept = {*undecided, *state.blocked} if undecided else undecided
        ready = tuple(call for call in waiting if call.id not in kept)
        return _within(limits, state, ready) if ready else Pause(waiting)
    answered = bool(state.messages) and isinstance(state.messages[-1], AssistantMessage)
    if state.final_turn or (answered and not state.inbox):
        return Finish("limited" if state.limit else "done", state.limit)
    limit = ("" if answered else state.limit) or reached_limit(state, limits)
    repeated = repeated_turns(state.messages) if limits.repeated_turns else 0
    if limits.repeated_turns and repeated >= limits.repeated_turns and not limit:
        limit = f"the limit of {limits.repeated_turns} turns with the same calls and the same results"
    if limit and limits.on_limit != "answer":
        return Finish("limited", limit)
    return AskModel(limit, "" if limit or not limits.repeated_turns else _note(repeated, limits.repeated_turns))


def _within(limits: Limits, state: RunState, calls: Sequence[ToolCall]) -> RunCalls:
    """The calls that the limits allow, and those that they do not."""
    left = len(calls) if limits.calls is None else max(0, limits.calls - state.calls)
    why = "" if limits.calls is None else limit_of(limits.calls, "tool call")
    made = Counter(state.calls_by_tool)
    run: list[ToolCall] = []
    refused: list[RefusedCall] = []
    ends = late = out_of_time(state, limits)
    for call in calls:
        most, decision = limits.calls_of(call.name), state.decisions.get(call.id)
        if late and (decision is None or decision.kind == "approve"):  # it would be cancelled as soon as it begins
            refused.append(RefusedCall(call, late))
        elif most is not None and made[call.name] >= most:
            refused.append(RefusedCall(call, f"{limit_of(most, 'call')} of {call.name}"))
            ends = ends or (refused[-1].why if limits.on_limit != "answer" else "")
        elif len(run) == left:
            refused.append(RefusedCall(call, why))
            ends = why
        else:
            made[call.name] += 1
            run.append(call)
    return RunCalls(tuple(run), tuple(refused), ends)


def _note(repeated: int, most: int) -> str:
    if repeated < max(3, most - _WARNING):
        return ""
    return (
        f"You have made the same calls {repeated} times in a row, and each time the results were the same. "
        "Do something else, or answer with what you have."
    )
