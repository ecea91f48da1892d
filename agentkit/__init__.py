"""agentkit: tool-calling agents for every server that speaks the Chat Completions API.

::

    from agentkit import Agent, tool

    @tool
    def add(a: int, b: int) -> int:
        "Add two numbers."
        return a + b

    print(Agent("openai:gpt-5-mini", tools=[add]).run_sync("What is 19 + 23?").output)

The names that most programs need are here. Everything else is in `agentkit.chat`, `agentkit.tools`, `agentkit.run`,
`agentkit.events`, `agentkit.messages`, `agentkit.errors` and the optional packages.
"""

import importlib
import sys
from typing import TYPE_CHECKING, Any

import agentkit._startup as _startup  # before all others: it decides where they may come from

if TYPE_CHECKING or not _startup.is_command:
    from agentkit.agent import Agent, RunOptions, handoff
    from agentkit.chat.client import ChatClient
    from agentkit.chat.content import FilePart, ImagePart, TextPart
    from agentkit.chat.events import Event, TextDelta
    from agentkit.chat.messages import AssistantMessage, Message, SystemMessage, ToolCall, ToolMessage, UserMessage
    from agentkit.chat.reply import Model, Reply, Usage
    from agentkit.chat.settings import ChatSettings
    from agentkit.errors import AgentKitError, ConfigError, DefinitionError, ModelError, ModelRetry, RunError, ToolError
    from agentkit.run.events import ApprovalRequested, CallFinished, CallStarted, RunFinished, RunStarted
    from agentkit.run.limits import Limits
    from agentkit.run.middleware import Middleware
    from agentkit.run.output import OutputSchema, TypedOutput
    from agentkit.run.state import RunResult, RunState
    from agentkit.run.stream import RunStream
    from agentkit.tools.context import Progress, RunContext, ToolContext
    from agentkit.tools.result import ToolResult
    from agentkit.tools.tool import Tool, tool
    from agentkit.tools.toolset import Toolset
else:

    def __getattr__(name: str) -> Any:
        """Import all names when the first of them is used: the command starts without them."""
        if _startup.is_command and name in __all__:
            _startup.is_command = False
            importlib.reload(sys.modules[__name__])
        if name in globals():
            return globals()[name]
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__version__ = "0.1.0"

__all__ = [
    "Agent",
    "AgentKitError",
    "ApprovalRequested",
    "AssistantMessage",
    "CallFinished",
    "CallStarted",
    "ChatClient",
    "ChatSettings",
    "ConfigError",
    "DefinitionError",
    "Event",
    "FilePart",
    "ImagePart",
    "Limits",
    "Message",
    "Middleware",
    "Model",
    "ModelError",
    "ModelRetry",
    "OutputSchema",
    "Progress",
    "Reply",
    "RunContext",
    "RunError",
    "RunFinished",
    "RunOptions",
    "RunResult",
    "RunStarted",
    "RunState",
    "RunStream",
    "SystemMessage",
    "TextDelta",
    "TextPart",
    "Tool",
    "ToolCall",
    "ToolContext",
    "ToolError",
    "ToolMessage",
    "ToolResult",
    "Toolset",
    "TypedOutput",
    "Usage",
    "UserMessage",
    "handoff",
    "tool",
]
