"""agentkit: tool-calling agents for every server that speaks the Chat Completions API.

::

    from agentkit import Agent, tool

    @tool
    def add(a: int, b: int) -> int:
        "Add two numbers."
        return a + b

    print(Agent("openai:gpt-5-mini", tools=[add]).run_sync("What is 19 + 23?").output)
"""

import agentkit._startup  # noqa: F401 - before everything else
from agentkit.agent import Agent
from agentkit.chat.client import ChatClient
from agentkit.chat.events import Event, ReplyRepaired, Retrying, TextDelta
from agentkit.chat.messages import AssistantMessage, ImagePart, Message, TextPart, ToolCall, ToolMessage, UserMessage
from agentkit.chat.reply import Model, Reply, Usage
from agentkit.chat.request import ChatRequest
from agentkit.chat.settings import ChatSettings, NamedTool
from agentkit.errors import AgentKitError, ConfigError, DefinitionError, ModelError, RunError, ToolError
from agentkit.run.events import CallFinished, CallStarted, RunFinished, RunStarted, TurnFinished, TurnStarted
from agentkit.run.limits import Limits
from agentkit.run.middleware import Middleware
from agentkit.run.state import RunResult, RunState
from agentkit.tools.context import Progress, ToolContext
from agentkit.tools.result import ToolResult
from agentkit.tools.tool import Tool, tool

__version__ = "0.1.0"

__all__ = [
    "Agent",
    "AgentKitError",
    "AssistantMessage",
    "CallFinished",
    "CallStarted",
    "ChatClient",
    "ChatRequest",
    "ChatSettings",
    "ConfigError",
    "DefinitionError",
    "Event",
    "ImagePart",
    "Limits",
    "Message",
    "Middleware",
    "Model",
    "ModelError",
    "NamedTool",
    "Progress",
    "Reply",
    "ReplyRepaired",
    "Retrying",
    "RunError",
    "RunFinished",
    "RunResult",
    "RunStarted",
    "RunState",
    "TextDelta",
    "TextPart",
    "Tool",
    "ToolCall",
    "ToolContext",
    "ToolError",
    "ToolMessage",
    "ToolResult",
    "TurnFinished",
    "TurnStarted",
    "Usage",
    "UserMessage",
    "tool",
]
