"""What `ChatClient.create` and `ChatClient.stream` take and give, beside what a `Model` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

from agentkit.chat.channel import Channel
from agentkit.chat.messages import Message, UserMessage, messages_from
from agentkit.chat.parameters import Parameters
from agentkit.chat.reply import Reply
from agentkit.chat.request import ChatRequest, CustomTool, FunctionTool, ToolDefinition, read_tool
from agentkit.chat.settings import ChatSettings
from agentkit.errors import ConfigError

__all__ = ["Defined", "Prompt", "ReplyStream", "ToolLike", "request_of"]


@runtime_checkable
class Defined(Protocol):
    """Anything with a definition for the model, as `agentkit.Tool` has it."""

    @property
    def definition(self) -> ToolDefinition:
        """The tool as the model gets it."""
        ...


Prompt: TypeAlias = str | Message | Sequence[Message | Mapping[str, Any]]
"""A question, a message, or a whole transcript; messages can be in the form of the API."""

ToolLike: TypeAlias = ToolDefinition | Defined | Mapping[str, Any]
"""A tool: a `FunctionTool` or `CustomTool`, anything with a ``definition``, or the form of the API."""


class ReplyStream(Channel[Reply]):
    """A reply as it is made. ``async with`` sends the request; leaving it early ends the reply.

    ::

        async with client.stream("Count to three.") as deltas:
            async for delta in deltas: ...          # TextDelta, ReasoningDelta, CallDelta, Retrying, Adapted, Mended
            reply = await deltas.reply()
    """

    async def reply(self) -> Reply:
        """Wait for the end and give the reply, the same that `ChatClient.create` gives; unread deltas are dropped.

        Raises:
            ModelError: There is no usable reply.
        """
        return await self.end()


def request_of(
    prompt: Prompt,
    tools: Sequence[ToolLike],
    settings: ChatSettings | None,
    parameters: Parameters,
    *,
    stream: bool = False,
) -> ChatRequest:
    """The request; a parameter by name goes before the same one in ``settings``.

    Raises:
        ConfigError: A parameter, a message or a tool is not one.
    """
    try:
        given = ChatSettings(**parameters)
    except TypeError as error:
        raise ConfigError(f"there is no such parameter: {error}; put what has no name here into extra_body") from None
    return ChatRequest(
        messages=_messages(prompt),
        tools=[_tool(each) for each in tools],
        settings=given.over(settings) if settings else given,
        stream=stream,
    )


def _messages(prompt: Prompt) -> list[Message]:
    if not isinstance(prompt, Sequence):
        return [prompt]
    return [UserMessage(prompt)] if isinstance(prompt, str) else _transcript(prompt)


def _transcript(messages: Sequence[Message | Mapping[str, Any]]) -> list[Message]:
    if not messages:
        raise ConfigError("there are no messages: give a question or a transcript")
    try:
        return messages_from(messages)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _tool(tool: ToolLike) -> ToolDefinition:
    if isinstance(tool, FunctionTool | CustomTool):
        return tool
    return tool.definition if isinstance(tool, Defined) else read_tool(tool)
