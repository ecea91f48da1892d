"""What `ChatClient.create` and `ChatClient.stream` take and give, beside what a `Model` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias, cast, runtime_checkable

from agentkit.chat.channel import Channel
from agentkit.chat.messages import AssistantMessage, FunctionMessage, Message, UserMessage, read_message
from agentkit.chat.parameters import Parameters
from agentkit.chat.reply import Reply
from agentkit.chat.request import ChatRequest, CustomTool, FunctionTool, ToolDefinition, read_tool
from agentkit.chat.settings import ChatSettings
from agentkit.chat.tolerant import as_mapping, as_mappings
from agentkit.errors import ConfigError

__all__ = ["Defined", "Prompt", "ReplyStream", "ToolLike", "given_message", "request_of"]


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
    unknown = sorted(parameters.keys() - Parameters.__annotations__.keys())
    if unknown:
        hint = "client.stream(...) streams" if "stream" in unknown else "put what has no name here into extra_body"
        raise ConfigError(f"there is no such parameter: {', '.join(unknown)}; {hint}")
    given = ChatSettings(**parameters)
    return ChatRequest(
        messages=_messages(prompt),
        tools=[_tool(each) for each in _listed(tools, "tools= takes a list of tools")],
        settings=given.over(_settings(settings)),
        stream=stream,
    )


def _messages(prompt: object) -> list[Message]:
    if isinstance(prompt, str):
        return [UserMessage(prompt)]
    if isinstance(prompt, Message):
        return [prompt]
    messages = _listed(prompt, "a prompt is a question, a message like UserMessage('...'), or a list of messages")
    if not messages:
        raise ConfigError("there are no messages: give a question or a transcript")
    return [each if isinstance(each, Message) else given_message(each) for each in messages]


def given_message(raw: object) -> Message:
    """A message in the form of the API. Of what somebody wrote nothing may be lost, unlike of what a server sent.

    Raises:
        ConfigError: It is no message.
    """
    given = as_mapping(raw)
    if "role" not in given:
        raise ConfigError(f"a message is like UserMessage('...') or {{'role': ..., 'content': ...}}, not {raw!r:.80}")
    try:
        message = read_message(given)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    content: Any = given.get("content")
    said = isinstance(content, str) or (content and as_mappings(content) == content)
    if not said and (content or not isinstance(message, AssistantMessage | FunctionMessage)):
        raise ConfigError(
            f"the content of a message of the {message.role} is a text or a list of parts, not {content!r:.80}"
        )
    return message


def _settings(settings: object) -> ChatSettings:
    if isinstance(settings, ChatSettings | None):
        return settings or ChatSettings()
    raise ConfigError(f"settings= takes ChatSettings(...), not {settings!r:.80}")


def _tool(tool: object) -> ToolDefinition:
    if isinstance(tool, FunctionTool | CustomTool):
        return tool
    if isinstance(tool, Defined):
        return tool.definition
    if isinstance(tool, Mapping):
        return read_tool(as_mapping(cast("object", tool)))
    raise ConfigError(f"{tool!r:.80} is no tool; what makes one of a function is @agentkit.tool")


def _listed(given: object, wanted: str) -> Sequence[object]:
    if isinstance(given, Sequence) and not isinstance(given, str | bytes):
        return cast("Sequence[object]", given)
    raise ConfigError(f"{wanted}, not {given!r:.80}")
