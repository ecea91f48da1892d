"""What a run is made with."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

from agentkit.chat.events import Event
from agentkit.chat.messages import AssistantMessage, UserMessage
from agentkit.chat.reply import Model
from agentkit.chat.settings import ChatSettings
from agentkit.run.early import EarlyCalls
from agentkit.run.journal import Journal, PlainJournal
from agentkit.run.limits import Limits
from agentkit.run.middleware import Middleware
from agentkit.tools.options import Approval
from agentkit.tools.tool import Tool

__all__ = ["RunSpec"]

M = TypeVar("M", UserMessage, AssistantMessage)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """What a run is made with; it never changes while it runs."""

    model: Model
    name: str = ""
    tools: Mapping[str, Tool] = field(default_factory=dict[str, Tool])
    instructions: str = ""
    settings: ChatSettings = ChatSettings()
    limits: Limits = Limits()
    middleware: Sequence[Middleware] = ()
    journal: Journal = PlainJournal()
    on_tool_error: Literal["report", "raise"] = "report"
    requires_approval: Approval = False
    repair: bool = True
    eager: bool = False
    early: EarlyCalls | None = None
    deps: Any = None
    stream: bool = False
    news: Sequence[Event] = ()  # what was put right in what the run was given, and what has changed since

    def stamp(self, message: M) -> M:
        """A message that enters the transcript now: labels that it has stay."""
        return replace(message, meta={**message.meta, **self.meta()})

    @property
    def fingerprints(self) -> dict[str, str]:
        """What each tool is to the model, by name."""
        return {name: tool.fingerprint for name, tool in self.tools.items()}

    def meta(self) -> dict[str, Any]:
        """What is kept of a message that is made now, beside the message."""
        return {"at": round(time.time(), 3), "agent": self.name} if self.name else {"at": round(time.time(), 3)}
