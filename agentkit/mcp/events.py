"""The events of MCP servers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agentkit.events import Event

__all__ = ["ServerLogged"]


@dataclass(frozen=True, slots=True)
class ServerLogged(Event):
    """A server wrote a log line while a call of the run was open.

    Attributes:
        server: The name of the server.
        level: ``"debug"``, ``"info"``, ``"notice"``, ``"warning"``, ``"error"``, ``"critical"``, ``"alert"`` or
            ``"emergency"``.
        logger: The part of the server that wrote it; may be empty.
        data: What it wrote: a string or other JSON values. Escape it before you print it.
    """

    server: str
    level: str
    logger: str
    data: Any
