"""MCP servers as tools.

::

    from agentkit import Agent
    from agentkit.mcp import MCPToolset

    agent = Agent("openai:gpt-5-mini", tools=[MCPToolset("uvx mcp-server-time")])

The SDK (``pip install 'agentkit[mcp]'``) is imported when a connection opens. See docs/mcp.md.
"""

from agentkit.mcp.answers import Question
from agentkit.mcp.auth import OAuth
from agentkit.mcp.errors import MCPError
from agentkit.mcp.events import ServerLogged
from agentkit.mcp.lock import LockFile, hidden_in
from agentkit.mcp.resources import Prompt, Resource
from agentkit.mcp.toolset import MCPToolset

__all__ = ["LockFile", "MCPError", "MCPToolset", "OAuth", "Prompt", "Question", "Resource", "ServerLogged", "hidden_in"]
