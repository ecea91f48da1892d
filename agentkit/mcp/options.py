"""`Options`: how a server is started, and how what it asks for is answered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from agentkit.mcp.auth import OAuth
from agentkit.tools import ToolContext

__all__ = ["Answerer", "Options"]

Answerer: TypeAlias = Callable[[ToolContext[Any], dict[str, Any]], Awaitable[dict[str, Any]]]
"""Answers a request of a server that came while a call was open: its params as JSON values, and so its result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a server is started, and how what it asks for is answered.

    Attributes:
        name: What the server is called in errors and events.
        start_timeout: Seconds until it has to have answered; also for each list that it is asked for.
        log_level: The least level of its log lines that it is asked to send; empty for none.
        roots: The directories that it may work in, as it is informed.
        auth: How it lets the agent in, if by OAuth.
        sampling: Answers its requests for a model's reply; None if it may not ask.
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
