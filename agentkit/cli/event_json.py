"""Events as JSON, one record each: what ``--json`` prints. Pure.

A record's ``event`` is the event's class name in snake_case; its other members are those of the class, with these
shapes::

    run_started    run_id
    turn_started   turn
    text_delta     text
    reasoning_delta text
    call_delta     index, name, arguments
    choice_delta   choice, delta                         a record of one of these, for an answer other than the first
    retrying       attempt, wait, reason                 chunks of the failed attempt are discarded
    reply_repaired what
    request_adapted what                                 how the request is sent now, as the server refused it
    turn_finished  turn, message, finish_reason, usage   message: as on the wire
    call_started   call                                  {id, name, arguments}; arguments: text, as the model wrote it
    progress       call_id, tool, fraction, message
    call_finished  call, result, seconds, [error]        result: {content, is_error}
    approval_requested call, reason                             it waits for a decision
    limit_warning  limit, used, most
    tool_changed   tool, how                             how: "changed", "removed" or "added", since the state was saved
    message_added  message                               as on the wire; added while the run was busy
    run_finished   status, output, turns, calls, usage, [limit], [pending], [error]

``pending`` has ``{id, name, arguments, reason, external}`` for each call that waits; its ``arguments`` are an object.

``usage`` is ``{requests, prompt_tokens, completion_tokens, total_tokens, cached_tokens, reasoning_tokens, ...}`` and an
``error`` is ``{type, message}``. The members of any other event are written as pydantic writes them. New members may
be added; none is taken away.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, fields
from typing import Any

from pydantic_core import to_jsonable_python

from agentkit.events import (
    ApprovalRequested,
    CallDenied,
    CallFinished,
    CallStarted,
    ChoiceDelta,
    Event,
    MessageAdded,
    RunFinished,
    RunStarted,
    TurnFinished,
)
from agentkit.messages import ToolCall
from agentkit.run import RunState

__all__ = ["json_line"]

_WORD = re.compile(r"(?<!^)(?=[A-Z])")


def json_line(event: Event, *, error: BaseException | None = None) -> str:
    """The record of an event in one line of ASCII; ``error`` goes in where the event itself names none."""
    record = _record(event)
    if error is not None:
        record.setdefault("error", _error(error))
    plain: object = to_jsonable_python(record, fallback=repr, bytes_mode="base64")
    try:
        return json.dumps(plain, allow_nan=False)
    except ValueError:  # JSON has no NaN and no infinity, which a tool's progress may hold: they become text
        return json.dumps(json.loads(json.dumps(plain), parse_constant=str))


def _record(event: Event) -> dict[str, Any]:
    return {"event": _WORD.sub("_", type(event).__name__).lower(), **_members(event)}


def _members(event: Event) -> dict[str, Any]:
    match event:
        case ChoiceDelta(choice, delta):
            return {"choice": choice, "delta": _record(delta)}
        case RunStarted(state):
            return {"run_id": state.run_id}
        case TurnFinished(turn, reply):
            usage = asdict(reply.usage)
            message = reply.message.to_wire()
            return {"turn": turn, "message": message, "finish_reason": reply.finish_reason, "usage": usage}
        case CallStarted(call):
            return {"call": _call(call)}
        case CallFinished(call, result, seconds, error):
            told = {"content": result.content, "is_error": result.is_error}
            return {"call": _call(call), "result": told, "seconds": round(seconds, 6), **_if_any(error)}
        case ApprovalRequested(call, reason) | CallDenied(call, reason):
            return {"call": _call(call), "reason": reason}
        case MessageAdded(message):
            return {"message": message.to_wire()}
        case RunFinished(state, error):
            return {**_ending(state), **_if_any(error)}
        case _:
            return {each.name: getattr(event, each.name) for each in fields(event) if each.name != "origin"}


def _call(call: ToolCall) -> dict[str, str]:
    return {"id": call.id, "name": call.name, "arguments": call.written}


def _ending(state: RunState) -> dict[str, Any]:
    more: dict[str, Any] = {"limit": state.limit} if state.limit else {}
    if state.status == "paused":
        more["pending"] = [asdict(each) for each in state.pending]
    numbers = {"turns": state.turns, "calls": state.calls, "usage": asdict(state.usage)}
    return {"status": state.status, "output": state.text, **numbers, **more}


def _if_any(error: BaseException | None) -> dict[str, Any]:
    return {} if error is None else {"error": _error(error)}


def _error(error: BaseException) -> dict[str, str]:
    return {"type": type(error).__name__, "message": str(error)}
