"""The specifications of agents and runs."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from agentkit.chat.events import Event
from agentkit.chat.reply import Model
from agentkit.chat.settings import ChatSettings
from agentkit.run.limits import Limits
from agentkit.run.middleware import Middleware
from agentkit.run.output import Output, TextOutput
from agentkit.run.run import Journal, PlainJournal, recent_events
from agentkit.tools.context import RunContext
from agentkit.tools.options import Approval
from agentkit.tools.tool import Tool
from agentkit.tools.toolset import ToolSource

Instructions: TypeAlias = str | Callable[[RunContext[Any]], str | Awaitable[str]]
"""A string, or a function of the run's context that returns one; it may be async."""

OutputValidator: TypeAlias = Callable[[RunContext[Any], Any], Any]
"""A function of the run's context and the output that returns the output or a replacement; None leaves it unchanged.

It raises `ModelRetry` to have the model try again, and may be async.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSpec:
    """The specification of an agent; it never changes.

    Attributes:
        model: The model.
        name: Identifies the agent.
        tools: Its tools by name.
        sources: The sources of further tools.
        instructions: The parts of its instructions.
        settings: Parameters of its requests.
        output: How its output is requested and read.
        output_validators: Functions that may reject its output, in order.
        requires_approval: The approval policy, in addition to those of the tools.
        on_tool_error: The effect of an unexpected exception in a tool.
        repair: Whether calls that can only mean one thing are repaired.
        middleware: Wraps the model requests and tool calls of its turns; the first is the outermost.
    """

    model: Model
    name: str = ""
    tools: Mapping[str, Tool] = field(default_factory=dict[str, Tool])
    sources: Sequence[ToolSource] = ()
    instructions: Sequence[Instructions] = ()
    settings: ChatSettings = ChatSettings()
    output: Output[Any] = field(default_factory=TextOutput)
    output_validators: Sequence[OutputValidator] = ()
    requires_approval: Approval = False
    on_tool_error: Literal["report", "report_type", "raise"] = "report"
    repair: bool = True
    middleware: Sequence[Middleware] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """The specification of a run; it never changes while the run is running.

    Attributes:
        agents: The agents by name, beginning with the one that was run; ``agent`` of the state names the one whose turn
            it is.
        limits: The limits of the run.
        middleware: Wraps the run as a whole; the first is the outermost.
        journal: Provides the slots of its effects.
        deps: The dependencies, which tools receive as ``context.deps``.
        stream: Whether replies are requested as streams.
        opened: The sources that are open already, and stay open after the run.
        opening_events: Report what was repaired in the input of the run, and what has changed since it stopped.
        events: Receives the events that its result will have, even if the run is cancelled.
    """

    agents: Mapping[str, AgentSpec]
    limits: Limits = Limits()
    middleware: Sequence[Middleware] = ()
    journal: Journal = field(default_factory=PlainJournal)
    deps: Any = None
    stream: bool = False
    opened: Sequence[ToolSource] = ()
    opening_events: Sequence[Event] = ()
    events: deque[Event] = field(default_factory=recent_events)
