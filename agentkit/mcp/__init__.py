"""MCP servers as tools.

::

    from agentkit import Agent
    from agentkit.mcp import MCPToolset

    agent = Agent("openai:gpt-5-mini", tools=[MCPToolset("uvx mcp-server-time")])

`MCPServer` is the other direction: tools and agents behind MCP. The SDK (``pip install 'agentkit[mcp]'``) is imported
when a connection opens, or a server starts. See docs/mcp.md and docs/mcp-server.md.
"""

from agentkit.mcp.answers import Question
from agentkit.mcp.auth import OAuth
from agentkit.mcp.caller import Elicit, ListRoots, Sample, ask_client
from agentkit.mcp.changes import ResourceChanges
from agentkit.mcp.errors import MCPError
from agentkit.mcp.events import ServerLogged
from agentkit.mcp.lock import LockFile, hidden_in
from agentkit.mcp.resources import Prompt, Resource
from agentkit.mcp.server import MCPServer
from agentkit.mcp.toolset import MCPToolset

__all__ = [
    "Elicit",
    "ListRoots",
    "LockFile",
    "MCPError",
    "MCPServer",
    "MCPToolset",
    "OAuth",
    "Prompt",
    "Question",
    "Resource",
    "ResourceChanges",
    "Sample",
    "ServerLogged",
    "ask_client",
    "hidden_in",
]
