"""The rule of a valid transcript, and what can be read from one.

Each call of an assistant message is answered by exactly one tool message, in the order of the calls, before any other
message. Which calls are still open is always derived from the messages and stored nowhere.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import cast

from pydantic_core import from_json

from agentkit.chat.decoding.tool_calls import normalize_tool_calls
from agentkit.chat.messages import AssistantMessage, Message, ToolCall, ToolMessage
from agentkit.chat.settings import is_tool_name

__all__ = ["check", "insert_results", "interrupted_result", "last_reply", "last_reply_at", "open_calls", "repaired"]


def open_calls(messages: Sequence[Message]) -> tuple[ToolCall, ...]:
    """The calls of the last assistant message that have no result yet, in the model's order."""
    answered: set[str] = set()
    for message in reversed(messages):
        if isinstance(message, ToolMessage):
            answered.add(message.tool_call_id)
        elif isinstance(message, AssistantMessage):
            return tuple(call for call in message.tool_calls if call.id not in answered)
        else:
            break
    return ()


def last_reply_at(messages: Sequence[Message]) -> int | None:
    """Where the last assistant message is."""
    return next((at for at in reversed(range(len(messages))) if isinstance(messages[at], AssistantMessage)), None)


def last_reply(messages: Sequence[Message]) -> AssistantMessage | None:
    """The last assistant message."""
    place = last_reply_at(messages)
    return None if place is None else cast("AssistantMessage", messages[place])


def insert_results(messages: list[Message], results: Iterable[ToolMessage]) -> None:
    """Put results behind the assistant message that made the calls, in the order of its calls."""
    place = last_reply_at(messages)
    results = list(results)
    if place is None or not results:
        return
    said = cast("AssistantMessage", messages[place])
    order = {call.id: index for index, call in enumerate(said.tool_calls)}
    there = cast("list[ToolMessage]", messages[place + 1 :])
    answers = [*there, *results]
    answers.sort(key=lambda each: order[each.tool_call_id])
    messages[place + 1 :] = answers


def interrupted_result(call: ToolCall, why: str = "the run was interrupted") -> ToolMessage:
    """The result of a call that was not run to its end."""
    return ToolMessage(f"Error: not finished: {why}; it is not known whether it had any effect", call.id)


def check(messages: Sequence[Message]) -> list[str]:
    """What the strictest server would refuse in a transcript, each in a sentence; nothing when it is valid."""
    found: list[str] = []
    waiting: list[str] = []
    seen: set[str] = set()
    for place, message in enumerate(messages, start=1):
        if isinstance(message, ToolMessage):
            if waiting and waiting[0] == message.tool_call_id:
                waiting.pop(0)
            else:
                found.append(f"message {place} answers {message.tool_call_id!r}, which is not the next open call")
            continue
        found += [f"call {id_!r} has no result before message {place}" for id_ in waiting]
        waiting = [call.id for call in message.tool_calls] if isinstance(message, AssistantMessage) else []
        for id_ in waiting:
            if id_ in seen:
                found.append(f"message {place} uses the call id {id_!r} again")
            seen.add(id_)
        calls = message.tool_calls if isinstance(message, AssistantMessage) else ()
        found += [f"message {place}: {complaint}" for call in calls for complaint in _call_complaints(call)]
        if isinstance(message, AssistantMessage) and message.is_empty:
            found.append(f"message {place} is an assistant message with neither content nor calls")
    return found + [f"call {id_!r} has no result" for id_ in waiting]


def repaired(messages: Sequence[Message], *, may_wait: bool = False) -> tuple[list[Message], list[str]]:
    """The transcript made valid, and what had to be done for it, each in a sentence.

    ``may_wait`` leaves the calls of the last message open, for a run that goes on with them.
    """
    made: list[Message] = []
    notes: list[str] = []
    taken: set[str] = set()
    waiting = deque(messages)
    while waiting:
        message = waiting.popleft()
        if isinstance(message, ToolMessage):
            notes.append(f"a result of the call {message.tool_call_id!r}, which is not there, was left out")
        elif isinstance(message, AssistantMessage) and message.tool_calls:
            results: list[ToolMessage] = []
            while waiting and isinstance(waiting[0], ToolMessage):
                results.append(cast("ToolMessage", waiting.popleft()))
            made += _repaired_turn(message, results, taken, notes, complete=bool(waiting) or not may_wait)
        elif isinstance(message, AssistantMessage) and message.is_empty:
            notes.append("an assistant message with neither content nor calls was left out")
        else:
            made.append(message)
    return made, notes


def _repaired_turn(
    message: AssistantMessage, results: list[ToolMessage], taken: set[str], notes: list[str], *, complete: bool
) -> list[Message]:
    """An assistant message with calls, and one result for each of them, in order."""
    calls, mended = normalize_tool_calls(message.tool_calls, salt=str(len(taken)), taken=taken)
    calls = tuple(call if is_tool_name(call.name) else _named(call) for call in calls)
    notes += mended
    taken.update(call.id for call in calls)
    places: list[int] = []
    answers: list[Message] = []
    for asked, call in zip([each for each in message.tool_calls if each.name], calls, strict=True):
        free = (place for place in range(len(results)) if place not in places)
        place = next((each for each in free if results[each].tool_call_id == asked.id), None)
        if place is None and not complete:
            continue
        if place is None:
            notes.append(f"the call {asked.id!r} of {call.name} had no result and got one that says so")
            answers.append(interrupted_result(call))
            continue
        places.append(place)
        answers.append(replace(results[place], tool_call_id=call.id))
    if len(places) < len(results):
        notes.append(f"{len(results) - len(places)} result(s) that answer no call were left out")
    if places != sorted(places):
        notes.append("results were put into the order of their calls")
    said = message if calls == message.tool_calls else replace(message, tool_calls=calls)
    return [] if said.is_empty else [said, *answers]


def _named(call: ToolCall) -> ToolCall:
    return replace(call, name=re.sub(r"[^A-Za-z0-9_-]", "_", call.name)[:64])


def _call_complaints(call: ToolCall) -> Iterator[str]:
    if not call.id.strip():
        yield f"a call of {call.name!r} has no id"
    if not is_tool_name(call.name):
        yield f"the name {call.name[:80]!r} is not one of 1 to 64 letters, digits, '_' and '-'"
    if call.input is None and not _is_object(call.arguments):
        yield f"the arguments of {call.name!r} are not a JSON object: {call.arguments[:80]!r}"


def _is_object(text: str) -> bool:
    try:
        return isinstance(from_json(text, allow_inf_nan=False), dict)
    except ValueError:
        return False
