"""``tool_choice``: whether the model may, must or must not call a tool, and which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

__all__ = ["AllowedTools", "NamedTool", "ToolChoice", "choice_to_wire", "chosen", "unforced"]


@dataclass(frozen=True, slots=True)
class NamedTool:
    """A `ToolChoice`: the model must call this tool; ``type`` is ``"custom"`` for a custom one."""

    name: str
    type: Literal["function", "custom"] = "function"

    def to_wire(self) -> dict[str, Any]:
        """The choice as the API writes it."""
        return {"type": self.type, self.type: {"name": self.name}}


@dataclass(frozen=True, slots=True)
class AllowedTools:
    """A `ToolChoice`: only these of the request's tools. With ``mode="required"`` the model must call one of them.

    Sending all tools and allowing some keeps the prompt the same, and so its cache.
    """

    tools: Sequence[str | NamedTool]
    mode: Literal["auto", "required"] = "auto"

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the tools."""
        return tuple(each if isinstance(each, str) else each.name for each in self.tools)

    def to_wire(self) -> dict[str, Any]:
        """The choice as the API writes it."""
        tools = [(NamedTool(each) if isinstance(each, str) else each).to_wire() for each in self.tools]
        return {"type": "allowed_tools", "allowed_tools": {"mode": self.mode, "tools": tools}}


ToolChoice: TypeAlias = Literal["none", "auto", "required"] | NamedTool | AllowedTools
"""Whether the model may (``auto``), must (``required``) or must not (``none``) call a tool; or which it may or must."""


def choice_to_wire(choice: ToolChoice | Mapping[str, Any]) -> Any:
    """The choice as the API writes it; one that is written so already stays as it is."""
    return choice.to_wire() if isinstance(choice, NamedTool | AllowedTools) else choice


def chosen(choice: object) -> tuple[str, ...]:
    """The tools that a choice names."""
    return (choice.name,) if isinstance(choice, NamedTool) else choice.names if isinstance(choice, AllowedTools) else ()


def unforced(choice: ToolChoice) -> ToolChoice:
    """The same choice without force: what holds after the call that was forced, as it would be forced for ever."""
    if isinstance(choice, AllowedTools):
        return AllowedTools(choice.tools)
    return "none" if choice == "none" else "auto"
