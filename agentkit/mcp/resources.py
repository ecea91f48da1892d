"""What a server offers besides tools: resources to read, and prompts, which are messages. Imports no SDK."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentkit.errors import ToolError
from agentkit.mcp.errors import MCPError
from agentkit.mcp.normalize import clean_text
from agentkit.mcp.tools import to_tool_result
from agentkit.messages import AssistantMessage, ContentPart, Message, TextPart, UserMessage
from agentkit.tools import Access, Tool, ToolResult, tool

__all__ = ["Prompt", "Resource", "prompt_messages", "resource_parts", "resource_tools"]

_READS: tuple[Access, ...] = ("untrusted",)


@dataclass(frozen=True, slots=True)
class Resource:
    """Something that can be read from a server.

    Attributes:
        uri: Its address; for a template, with names in braces to fill in.
        name: Its name.
        description: What it is.
        mime_type: Its type, if the server says.
        is_template: Whether the address is a template.
    """

    uri: str
    name: str
    description: str = ""
    mime_type: str = ""
    is_template: bool = False

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Resource:
        """The resource or the template that a server lists."""
        uri = str(raw.get("uri") or raw.get("uriTemplate") or "")
        about = str(raw.get("description") or raw.get("title") or "")
        return cls(uri, str(raw.get("name") or uri), about, str(raw.get("mimeType") or ""), "uriTemplate" in raw)


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt that a server offers.

    Attributes:
        name: Its name.
        description: What it is for.
        arguments: Its arguments by name, with what each is.
        required: The names of the required ones.
    """

    name: str
    description: str
    arguments: Mapping[str, str]
    required: tuple[str, ...] = ()

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Prompt:
        """The prompt that a server lists."""
        arguments: Sequence[Mapping[str, Any]] = raw.get("arguments") or ()
        return cls(
            str(raw["name"]),
            str(raw.get("description") or raw.get("title") or ""),
            {str(each["name"]): str(each.get("description") or "") for each in arguments},
            tuple(str(each["name"]) for each in arguments if each.get("required")),
        )


def resource_parts(contents: Sequence[Mapping[str, Any]]) -> tuple[ContentPart, ...]:
    """Return what was read as content for a prompt."""
    result = to_tool_result({"content": [{"type": "resource", "resource": each} for each in contents]})
    return (TextPart(result.content), *result.files) if result.content else tuple(result.files)


def prompt_messages(messages: Sequence[Mapping[str, Any]]) -> list[Message]:
    """The messages of a prompt, for ``history=`` or for a prompt of a run."""
    made: list[Message] = []
    for each in messages:
        result = to_tool_result({"content": [each["content"]]})
        if each.get("role") == "assistant":
            made.append(AssistantMessage(clean_text(result.content)))
        elif result.files:
            text = [TextPart(result.content)] if result.content else []
            made.append(UserMessage((*text, *result.files)))
        else:
            made.append(UserMessage(clean_text(result.content)))
    return made


def resource_tools(
    listing: Callable[[], Awaitable[Sequence[Resource]]], read: Callable[[str], Awaitable[Sequence[Mapping[str, Any]]]]
) -> list[Tool]:
    """Return two tools with which a model can find and read resources."""

    @tool(read_only=True, access=_READS)
    async def list_resources() -> str:
        """List the resources that can be read: their addresses, names and what they are."""
        try:
            found = await listing()
        except MCPError as error:
            raise ToolError(str(error)) from None
        lines = [f"{each.uri} ({each.name}){f': {each.description}' if each.description else ''}" for each in found]
        return "\n".join(lines) or "(no resources)"

    @tool(read_only=True, access=_READS)
    async def read_resource(uri: str) -> ToolResult:
        """Read a resource.

        Args:
            uri: The address of the resource; for a template, with its names filled in.
        """
        try:
            contents = await read(uri)
        except MCPError as error:
            raise ToolError(str(error)) from None
        return to_tool_result({"content": [{"type": "resource", "resource": each} for each in contents]})

    return [list_resources, read_resource]
