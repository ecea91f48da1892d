"""Whether a model goes round in a circle: the same calls with the same results, turn after turn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from agentkit.chat.messages import AssistantMessage, ContentPart, Message, ToolMessage
from agentkit.run.artifacts import attached_files
from agentkit.run.decisions import canonical

__all__ = ["repeated_turns"]

_Turn: TypeAlias = tuple[frozenset[tuple[str, str, str]], Sequence[ContentPart]]


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
    files: Sequence[ContentPart] = ()
    for message in reversed(messages):
        if isinstance(message, ToolMessage):
            results[message.tool_call_id] = message.text
        elif isinstance(message, AssistantMessage) and message.tool_calls:
            calls = ((call.name, canonical(call.written), results.get(call.id, "")) for call in message.tool_calls)
            yield frozenset(calls), files
            results, files = {}, ()
        elif results or not (files := attached_files(message)):
            return
