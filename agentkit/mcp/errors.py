"""`MCPError`: what went wrong with a server."""

from __future__ import annotations

from agentkit.errors import AgentKitError

__all__ = ["MCPError"]


class MCPError(AgentKitError):
    """An MCP server could not be started or reached, or gave no usable answer.

    Attributes:
        server: The name of the server.
        status: The HTTP status, if the server refused a request over HTTP.
        exit_status: The exit status of the server's process, if it has exited; negative for a signal.
        stderr: The last lines that the process wrote to its standard error.
    """

    def __init__(
        self,
        message: str,
        *,
        server: str = "",
        status: int | None = None,
        exit_status: int | None = None,
        stderr: str = "",
    ) -> None:
        super().__init__(message)
        self.server = server
        self.status = status
        self.exit_status = exit_status
        self.stderr = stderr
