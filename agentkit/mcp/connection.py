"""The connection to a server that all runs of an event loop share.

It starts the server when it is first needed, and again after it has exited. A call in flight is never repeated, because
nobody knows whether it took effect.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import anyio
import mcp_types as types

from agentkit.errors import ToolError
from agentkit.mcp.changes import ResourceChanges
from agentkit.mcp.errors import MCPError
from agentkit.mcp.options import Options
from agentkit.mcp.session import PAGES, TOOLS, LiveSession, to_json
from agentkit.mcp.target import Target
from agentkit.mcp.tools import Listed
from agentkit.tools import ToolContext

__all__ = ["Connection"]

_LISTS: dict[str, tuple[Any, Any, str]] = {
    "resources": (types.ListResourcesRequest, types.ListResourcesResult, "resources"),
    "templates": (types.ListResourceTemplatesRequest, types.ListResourceTemplatesResult, "resource_templates"),
    "prompts": (types.ListPromptsRequest, types.ListPromptsResult, "prompts"),
}


class Connection:
    """The connection to a server in one event loop.

    Args:
        target: The server.
        options: How it is started, and what it may request.
    """

    def __init__(self, target: Target, options: Options) -> None:
        self.users = 0
        self._target, self._options = target, options
        self._lock = anyio.Lock()
        self._live: LiveSession | None = None

    async def live(self) -> LiveSession:
        """The connection, opened again if it has ended.

        Raises:
            MCPError: The server cannot be started or reached.
        """
        async with self._lock:
            if self._live is not None and self._live.ended:
                await self._live.close()
                self._live = None
            if self._live is None:
                live = LiveSession(self._target, self._options)
                try:
                    await live.opened()
                except BaseException:
                    await live.close()
                    raise
                self._live = live
            return self._live

    async def tools(self) -> list[Listed]:
        """Return the tools of the server, requested again when they have changed.

        Raises:
            MCPError: The server cannot be reached, or gives no list.
        """
        live = await self.live()
        if live.tools is None or live.is_stale:
            live.is_stale = False
            live.tools = await live.list_tools()
        return live.tools

    async def call(
        self, name: str, arguments: dict[str, Any], context: ToolContext[Any], seconds: float | None
    ) -> dict[str, Any]:
        """Call a tool, once.

        Returns:
            The result as JSON values.

        Raises:
            ToolError: The server cannot be started, refused the call, exited, or took too long.
        """
        try:
            live = await self.live()
            if live.tools is None:  # the session knows for each tool which arguments are also sent as headers
                live.tools = await live.list_tools()
        except MCPError as error:
            raise ToolError(f"not run: {error}") from None
        result = await live.call(name, arguments, context, seconds)
        return to_json(result)

    async def listing(self, kind: str) -> list[dict[str, Any]]:
        """The ``resources``, ``templates`` or ``prompts`` of the server, as JSON values.

        Raises:
            MCPError: The server cannot be reached, or gives no list.
        """
        live = await self.live()
        capabilities = live.client.server_capabilities
        if (capabilities.prompts if kind == "prompts" else capabilities.resources) is None:
            return []
        request, result, member = _LISTS[kind]
        found: list[dict[str, Any]] = []
        seen: set[str | None] = set()
        cursor: str | None = None
        while cursor not in seen and len(seen) < PAGES and len(found) < TOOLS:
            seen.add(cursor)
            asked = request(params=types.PaginatedRequestParams(cursor=cursor))
            page = await live.ask(asked, result, f"list its {kind}")
            found += [to_json(each) for each in getattr(page, member)]
            if not (cursor := page.next_cursor):
                break
        return found

    async def read(self, uri: str) -> list[dict[str, Any]]:
        """The contents of a resource, as JSON values.

        Raises:
            MCPError: The server cannot be reached, or has no such resource.
        """
        request = types.ReadResourceRequest(params=types.ReadResourceRequestParams(uri=uri))
        result = await (await self.live()).ask(request, types.ReadResourceResult, f"read {uri[:200]!r}")
        return [to_json(each) for each in result.contents]

    async def watch(self, uris: Sequence[str], changes: ResourceChanges) -> Callable[[], Awaitable[None]]:
        """Report the changes of resources; returns what ends that.

        Raises:
            MCPError: The server cannot be reached, or does not report them.
        """
        return await (await self.live()).watch(uris, changes)

    async def prompt(self, name: str, arguments: dict[str, str]) -> list[dict[str, Any]]:
        """The messages of a prompt, as JSON values.

        Raises:
            MCPError: The server cannot be reached, or has no such prompt.
        """
        request = types.GetPromptRequest(params=types.GetPromptRequestParams(name=name, arguments=arguments))
        result = await (await self.live()).ask(request, types.GetPromptResult, f"give the prompt {name[:200]!r}")
        return [to_json(each) for each in result.messages]

    async def close(self) -> None:
        """Close the connection, ending the server's process and everything it started."""
        live, self._live = self._live, None
        if live is not None:
            await live.close()
