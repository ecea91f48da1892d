"""From a Python function to a tool that a model can call."""

from agentkit.tools.calls.repair import match_tool_name
from agentkit.tools.context import Remaining, ToolContext
from agentkit.tools.options import Approval, ToolOptions
from agentkit.tools.result import ToolResult
from agentkit.tools.schema.strict import why_not_strict
from agentkit.tools.tool import Tool, ToolFunction, tool
from agentkit.tools.toolset import ToolLike, Toolset, flat_tools

__all__ = [
    "Approval",
    "Remaining",
    "Tool",
    "ToolContext",
    "ToolFunction",
    "ToolLike",
    "ToolOptions",
    "ToolResult",
    "Toolset",
    "flat_tools",
    "match_tool_name",
    "tool",
    "why_not_strict",
]
