"""The rule of a valid transcript, and what can be read from one.

Each call of an assistant message is answered by exactly one tool message, in the order of the calls, before any other
message. Which calls are still open is always derived from the messages and stored nowhere.
"""

from __future__ import annotations

from collections.abc import Sequence

from agentkit.chat.messages import AssistantMessage, Message, ToolCall, ToolMessage

__all__ = ["complaints", "interrupted", "open_calls"]


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


def interrupted(call: ToolCall, why: str = "the run was interrupted") -> ToolMessage:
    """The result of a call that was not run to its end."""
    return ToolMessage(f"Error: not finished: {why}; it is not known whether it had any effect", call.id)


def complaints(messages: Sequence[Message]) -> list[str]:
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
        if isinstance(message, AssistantMessage) and _is_empty(message):
            found.append(f"message {place} is an assistant message with neither content nor calls")
    return found + [f"call {id_!r} has no result" for id_ in waiting]


def _is_empty(message: AssistantMessage) -> bool:
    return message.content is None and message.refusal is None and not message.tool_calls
