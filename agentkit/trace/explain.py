"""Events that need an explanation, in words: why something was tried again, repaired, adapted, stopped or paused."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from agentkit.events import Event, event_to_dict
from agentkit.trace.members import Raw, list_of, name_of, object_of

__all__ = ["Note", "explain", "note_of"]


class Note(NamedTuple):
    """Why something happened.

    Attributes:
        kind: ``retry``, ``repair``, ``adaptation``, ``limit``, ``pause``, ``error`` or ``other``.
        text: A sentence.
    """

    kind: str
    text: str


def explain(events: Iterable[Event]) -> str:
    """Say why each retry, repair, adaptation, limit and pause of a run happened: a line for each, with its turn.

    Args:
        events: The events of a run, or of several.

    Returns:
        The lines, or a sentence if nothing needs an explanation.
    """
    lines: list[str] = []
    events = list(events)
    if not events:
        return "No events of this run are there to explain."
    for event in events:
        raw = event_to_dict(event)
        if (note := note_of(raw)) is not None:
            lines.append(f"{_place(raw)}{note.text}")
    return "\n".join(lines) or "Nothing was retried, repaired, adapted, limited or paused."


def _place(event: Raw) -> str:
    origin = object_of(event.get("origin"))
    place = [str(each) for each in origin.get("path") or ()]
    place += [f"turn {origin['turn']}"] if origin.get("turn") else []
    return f"{' > '.join(place)}: " if place else ""


def note_of(event: Raw) -> Note | None:
    """Explain an event in its JSON form; None if it needs no explanation."""
    made = _NOTES.get(str(event.get("event")))
    return made(event) if made is not None else None


def _tried_again(event: Raw) -> Note:
    return Note(
        "retry",
        f"The request failed and was sent again after {_seconds(event.get('wait'))} (attempt {event.get('attempt')}): "
        f"{event.get('reason')}",
    )


def _call_tried_again(event: Raw) -> Note:
    return Note(
        "retry",
        f"{event.get('tool')} raised and was run again after {_seconds(event.get('wait'))} "
        f"(attempt {event.get('attempt')}): {_error(event.get('error'))}",
    )


def _limit_near(event: Raw) -> Note:
    used, most = event.get("used", 0), event.get("most", 0)
    return Note("limit", f"Most of the limit of {event.get('limit')} is used: {used:g} of {most:g}.")


def _call_finished(event: Raw) -> Note | None:
    result = object_of(event.get("result"))
    if not result.get("is_error"):
        return None
    return Note("error", f"{name_of(event.get('call'))} gave no result: {_first_line(result.get('content'))}")


def _turn_finished(event: Raw) -> Note | None:
    choice = next(iter(list_of(object_of(event.get("reply")).get("choices"))), object_of(None))
    reason = choice.get("finish_reason")
    why = {"length": "it reached its limit of tokens", "content_filter": "a content filter stopped it"}.get(str(reason))
    return Note("limit", f"The reply was truncated: {why}.") if why else None


def _run_finished(event: Raw) -> Note | None:
    state = object_of(event.get("state"))
    match state.get("status"):
        case "limited":
            return Note("limit", f"The run ended early, as it reached {state.get('limit')}.")
        case "paused":
            waiting = [f"{name}: {each.get('reason')}" for name, each in _waiting(state)]
            return Note("pause", f"The run is paused until somebody decides about {'; '.join(waiting) or 'its calls'}")
        case "cancelled":
            return Note("other", "The run was cancelled.")
        case "failed":
            return Note("error", f"The run failed: {_error(event.get('error'))}")
        case _ if state.get("final_turn"):
            return Note("limit", f"The model had to answer without further calls, at {state.get('limit')}.")
        case _:
            return None


def _waiting(state: Raw) -> Iterable[tuple[str, Raw]]:
    calls = [call for each in list_of(state.get("messages")) for call in list_of(each.get("tool_calls"))]
    names = {call.get("id"): name_of(call) for call in calls}
    asked = object_of(state.get("approvals"))
    return [(names.get(id_, id_), object_of(each)) for id_, each in asked.items()]


def _added(event: Raw) -> Note:
    content = object_of(event.get("message")).get("content")
    return Note("other", f"A message was added: {_first_line(content)}")


def _fallback(event: Raw) -> Note:
    how = "continues the answer" if event.get("continues") else "is asked"
    return Note("retry", f"{event.get('failed')} failed, and {event.get('next')} {how}: {_error(event.get('error'))}")


def _shortened(event: Raw) -> Note:
    sizes = f"{event.get('before', 0):,} to {event.get('after', 0):,} tokens"
    problem = f"; {event['problem']}" if event.get("problem") else ""
    return Note("limit", f"{event.get('by')} sent the model less of the conversation, from about {sizes}{problem}.")


def _logged(event: Raw) -> Note | None:
    if event.get("level") not in ("warning", "error", "critical", "alert", "emergency"):
        return None
    return Note("other", f"The server {event.get('server')} logged: {_first_line(event.get('data'))}")


_NOTES: dict[str, Callable[[Raw], Note | None]] = {
    "Retrying": _tried_again,
    "CallRetried": _call_tried_again,
    "ModelFallback": _fallback,
    "RequestAdapted": lambda e: Note(
        "adaptation", f"The request was changed to what the server accepts: {e.get('what')}"
    ),
    "ReplyRepaired": lambda e: Note("repair", f"The reply was repaired: {e.get('what')}"),
    "CallRepaired": lambda e: Note("repair", f"A call of {e.get('tool')} was repaired: {e.get('what')}"),
    "LimitWarning": _limit_near,
    "ApprovalRequested": lambda e: Note("pause", f"{name_of(e.get('call'))} waits for a decision: {e.get('reason')}"),
    "CallDenied": lambda e: Note(
        "pause", f"{name_of(e.get('call'))} was denied: {e.get('reason') or 'no reason was given'}"
    ),
    "HistoryShortened": _shortened,
    "ServerLogged": _logged,
    "AgentChanged": lambda e: Note("other", f"{e.get('previous')} handed off to {e.get('agent')}."),
    "ToolChanged": lambda e: Note("other", f"The tool {e.get('tool')} was {e.get('how')} since the run was saved."),
    "EventLoopBlocked": lambda e: Note(
        "other", f"{e.get('tool')} kept the event loop busy for {_seconds(e.get('seconds'))}; nothing else could run."
    ),
    "ThreadAbandoned": lambda e: Note("other", f"{e.get('tool')} was abandoned, and its thread still runs."),
    "MessageAdded": _added,
    "CallFinished": _call_finished,
    "TurnFinished": _turn_finished,
    "RunFinished": _run_finished,
}


def _error(error: Any) -> str:
    members = object_of(error)
    return f"{members.get('type')}: {members.get('message')}" if members else "an error that is not agentkit's"


def _first_line(text: Any) -> str:
    line = str(text or "").strip().partition("\n")[0]
    return line if len(line) <= 200 else f"{line[:200]}..."


def _seconds(value: Any) -> str:
    return f"{value:.1f} s" if isinstance(value, int | float) else "some time"
