"""Whether a model goes round in a circle: the same calls with the same results, turn after turn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from agentkit.chat.messages import AssistantMessage, Message, ToolMessage

__all__ = ["repeated_turns"]

_Turn: TypeAlias = frozenset[tuple[str, str, str]]


def repeated_turns(messages: Sequence[Message]) -> int:
    """How many turns at the end made the same calls and got the same results, in any order; 0 if the last made none."""
    turns = _turns_from_the_end(messages)
    last = next(turns, None)
    if last is None:
        return 0
    found = 1
    for turn in turns:
        if turn != last:
            break
        found += 1
    return found


def _turns_from_the_end(messages: Sequence[Message]) -> Iterator[_Turn]:
    """What each turn called and got, up to the last message that is not part of one."""
    results: dict[str, str] = {}
    for message in reversed(messages):
        if isinstance(message, ToolMessage):
            results[message.tool_call_id] = message.text
        elif isinstance(message, AssistantMessage) and message.tool_calls:
            yield frozenset((call.name, call.written, results.get(call.id, "")) for call in message.tool_calls)
            results = {}
        else:
            return
