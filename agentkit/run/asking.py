"""A turn's request: the transcript, the tools, and what holds for this one request only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from agentkit.chat.choice import unforced
from agentkit.chat.messages import Message, SystemMessage, UserMessage
from agentkit.chat.request import ChatRequest
from agentkit.run.spec import RunSpec
from agentkit.run.state import RunState
from agentkit.run.step import AskModel
from agentkit.tools.tool import Tool

__all__ = ["request_of"]


def request_of(spec: RunSpec, state: RunState, step: AskModel, tools: Mapping[str, Tool]) -> ChatRequest:
    """The request of the next turn. Instructions and notes are sent and not stored: they are not said by anybody."""
    settings = spec.settings
    messages: list[Message] = list(state.messages)
    if spec.instructions:
        messages.insert(0, SystemMessage(spec.instructions))
    if step.note:
        messages.append(UserMessage(step.note))
    if step.closing:
        settings = replace(settings, tool_choice="none")
        note = f"You have reached {step.closing}. No tool can be called any more. Answer now with what you have."
        messages.append(UserMessage(note))
    elif state.turns and settings.tool_choice not in (None, "none"):
        settings = replace(settings, tool_choice=unforced(settings.tool_choice))
    definitions = [tool.definition for tool in tools.values()]
    return ChatRequest(messages=messages, tools=definitions, settings=settings, stream=spec.stream)
