"""`Options`: how a server is started, and how its requests are answered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from agentkit.mcp.auth import OAuth
from agentkit.tools import ToolContext

__all__ = ["Answerer", "Options"]

Answerer: TypeAlias = Callable[[ToolContext[Any], dict[str, Any]], Awaitable[dict[str, Any]]]
"""Answers a request that a server sent during a call; params and result are JSON values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a server is started, and how its requests are answered.

    Attributes:
        name: The server's name in errors and events.
        start_timeout: Seconds within which it must answer; also for each list.
        log_level: The lowest level of log lines that it is asked to send; empty for none.
        roots: The directories that the server hears it may work in.
        auth: How to log in, with OAuth.
        sampling: Answers its requests for a model's reply; None to refuse them.
        elicitation: Answers its questions to a person while the call is open; None if it may not ask.
        pauses: Whether the run waits for answers instead, where the server supports it.
    """

    name: str
    start_timeout: float = 60
    log_level: str = "info"
    roots: tuple[Path, ...] = ()
    auth: OAuth | None = None
    sampling: Answerer | None = None
    elicitation: Answerer | None = None
    pauses: bool = False
