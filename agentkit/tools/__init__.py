"""From a Python function to a tool that a model can call."""

from agentkit.chat.json_schema import JsonSchema, leaf_schemas, member_schemas, subschemas, why_not_strict
from agentkit.tools.context import LoopEmit, Remaining, RunContext, ToolContext
from agentkit.tools.options import Access, Approval, ToolOptions
from agentkit.tools.repair import match_tool_name
from agentkit.tools.result import ToolResult
from agentkit.tools.tool import Needs, Tool, ToolFunction, tool
from agentkit.tools.toolset import SourceRun, ToolLike, Toolset, ToolSource, flat_tools, split_tools
from agentkit.tools.workers import around_process_call

__all__ = [
    "Access",
    "Approval",
    "JsonSchema",
    "LoopEmit",
    "Needs",
    "Remaining",
    "RunContext",
    "SourceRun",
    "Tool",
    "ToolContext",
    "ToolFunction",
    "ToolLike",
    "ToolOptions",
    "ToolResult",
    "ToolSource",
    "Toolset",
    "around_process_call",
    "flat_tools",
    "leaf_schemas",
    "match_tool_name",
    "member_schemas",
    "split_tools",
    "subschemas",
    "tool",
    "why_not_strict",
]
