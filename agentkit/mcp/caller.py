"""What a function behind an `agentkit.mcp.MCPServer` may ask the client that called it."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from agentkit.errors import ToolError

__all__ = ["CALLER", "Caller", "ClientRequest", "Elicit", "ListRoots", "Sample", "ask_client"]


@dataclass(frozen=True, slots=True)
class Elicit:
    """Ask the person at the client. The answer is an object as the client sent it; None if the person declined.

    Attributes:
        message: The question.
        schema: The JSON Schema of the answer: an object with members that are strings, numbers, booleans or choices.
    """

    message: str
    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Sample:
    """Ask the client's model. The answer is its text.

    Attributes:
        prompt: What to ask.
        max_tokens: The longest answer.
        instructions: The system prompt.
    """

    prompt: str
    max_tokens: int = 1024
    instructions: str = ""


@dataclass(frozen=True, slots=True)
class ListRoots:
    """Ask for the folders that the client works in. The answer is a list of ``file:`` URIs."""


ClientRequest: TypeAlias = Elicit | Sample | ListRoots


class Caller(Protocol):
    """The client of the current call."""

    async def ask(self, requests: Mapping[str, ClientRequest]) -> dict[str, Any]:
        """Answer requests by their names."""
        ...


CALLER: ContextVar[Caller | None] = ContextVar("agentkit_mcp_caller", default=None)
"""The client of the current call."""


async def ask_client(**requests: ClientRequest) -> dict[str, Any]:
    """Ask the MCP client whose call this is, in a function that an `agentkit.mcp.MCPServer` serves.

    ::

        answers = await ask_client(order=Elicit("How many?", {"type": "object", "properties": {...}}))

    With clients that speak the protocol of 2026, a call cannot stay open for an answer: it ends, and the client calls
    again with the answers. The function then runs again from the beginning, and answered requests are not repeated. So
    ask before you change anything, under names that mean the same each time.

    Args:
        requests: What to ask, each under a name of its own.

    Returns:
        The answers by their names; None for what the client cannot answer or the person declined.

    Raises:
        ToolError: No client called the function, or it can answer none of the requests.
    """
    caller = CALLER.get()
    if caller is None:
        raise ToolError("no MCP client made this call, so there is nobody to ask")
    return await caller.ask(requests)
