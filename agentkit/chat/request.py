"""One request to a model, and its encoding to bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from agentkit.chat.messages import Message, encode_json
from agentkit.chat.settings import ChatSettings, NamedTool

__all__ = ["ChatRequest", "FunctionTool"]


@dataclass(frozen=True)  # no slots: `cached_property` keeps the encoded bytes in __dict__
class FunctionTool:
    """A function the model may call: ``parameters`` is the JSON Schema of its arguments."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=lambda: {"type": "object", "properties": {}})
    strict: bool | None = None

    def to_wire(self) -> dict[str, Any]:
        """The tool as the API writes it."""
        function: dict[str, Any] = {"name": self.name, "parameters": dict(self.parameters)}
        if self.description:
            function["description"] = self.description
        if self.strict is not None:
            function["strict"] = self.strict
        return {"type": "function", "function": function}

    @cached_property
    def wire(self) -> bytes:
        """The tool as JSON, encoded once."""
        return encode_json(self.to_wire())


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """One request to a model. `Model.reply` takes it; ``stream`` asks for the reply in pieces as it is made."""

    messages: Sequence[Message]
    tools: Sequence[FunctionTool] = ()
    settings: ChatSettings = ChatSettings()
    stream: bool = False

    def encode(self, model: str) -> bytes:
        """The body of the HTTP request, for the model of this name.

        ``tools``, ``tool_choice`` and ``parallel_tool_calls`` are left out without tools, as servers refuse them then.
        """
        body: dict[str, Any] = {"model": model, **self.settings.to_wire()}
        if self.stream:
            options = self.settings.stream_options
            body |= {"stream": True, "stream_options": {"include_usage": True} if options is None else dict(options)}
        if self.tools:
            body |= self._tool_members()
        body |= self.settings.extra_body or {}
        pieces = [encode_json(body)[:-1], b',"messages":[', b",".join(message.wire for message in self.messages), b"]"]
        if self.tools:
            pieces += [b',"tools":[', b",".join(tool.wire for tool in self.tools), b"]"]
        return b"".join([*pieces, b"}"])

    def _tool_members(self) -> dict[str, Any]:
        members: dict[str, Any] = {}
        choice = self.settings.tool_choice
        if choice is not None:
            members["tool_choice"] = choice.to_wire() if isinstance(choice, NamedTool) else choice
        if self.settings.parallel_tool_calls is not None:
            members["parallel_tool_calls"] = self.settings.parallel_tool_calls
        return members
