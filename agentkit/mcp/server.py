"""`MCPServer`: tools and agents as an MCP server. The SDK is imported when it starts."""

from __future__ import annotations

import hmac
import json
import os
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from agentkit import Agent, Limits, Tool
from agentkit.errors import ConfigError
from agentkit.mcp.offers import ResourceContent, Served, ServedResource, make_offers
from agentkit.mcp.standard_input import own_input
from agentkit.tools import ToolLike, tool

if TYPE_CHECKING:
    import anyio
    from mcp.server import Server
    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["MCPServer"]


class MCPServer:
    """Tools and agents behind MCP.

    ::

        MCPServer(search, Files("notes"), agent).run_stdio()

    An agent is a tool that takes a prompt. Its events are log messages and progress; calls that need approval are
    elicitations, which a person answers in the client.

    Args:
        *offers: Functions, tools, toolsets and agents. The names of agents must be valid names of tools. Those of an
            `MCPToolset` are offered as they are when they are listed.
        name: The name of the server.
        version: Its version.
        instructions: What a model should know about the server.
        prompts: Functions whose result is a prompt: a string, or messages. Their docstrings describe them.
        resources: What can be read, by address: a string, bytes, or a function. ``{name}`` in an address is an
            argument of the function.
        deps: Passed to each run.
        limits: The limits of each call of an agent.
        key: Signs the state of a call that waits for a decision, which the client carries. By default a new one for
            each process, so that a call does not outlive it.

    Raises:
        DefinitionError: Two offers have the same name, an agent has none, or something cannot become a tool.
    """

    def __init__(
        self,
        *offers: ToolLike[Any] | Agent[Any, Any],
        name: str = "agentkit",
        version: str = "",
        instructions: str = "",
        prompts: Sequence[Callable[..., Any]] = (),
        resources: Mapping[str, ResourceContent | Callable[..., Any]] | None = None,
        deps: Any = None,
        limits: Limits | None = None,
        key: bytes | None = None,
    ) -> None:
        made: list[Tool[Any]] = [each if isinstance(each, Tool) else tool(each) for each in prompts]
        self.name = name
        known, proxies = make_offers(offers)
        self._served = Served(
            name=name,
            version=version,
            instructions=instructions,
            offers=known,
            proxies=proxies,
            prompts={each.name: each for each in made},
            resources=[ServedResource.of(uri, read) for uri, read in (resources or {}).items()],
            deps=deps,
            limits=limits,
            key=key or os.urandom(32),
        )

    def sdk_server(self) -> Server[Any]:
        """Return the server of the SDK, for transports of your own.

        Raises:
            ConfigError: The extra ``mcp`` is not installed.
        """
        try:
            from agentkit.mcp.handlers import sdk_server  # noqa: PLC0415 - imports the SDK, which takes a second
        except ModuleNotFoundError as error:
            raise ConfigError("being an MCP server needs the SDK: pip install 'agentkit[mcp]'") from error
        return sdk_server(self._served)

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[None]:
        """Open the sources of the agents' tools."""
        async with AsyncExitStack() as stack:
            for agent in self._served.agents:
                await stack.enter_async_context(agent)
            yield

    async def updated(self, uri: str) -> None:
        """Notify the clients that watch a resource that it changed; they read it again.

        Args:
            uri: Its address, with the values of its variables.
        """
        await self._served.changes.publish(uri)

    async def serve_stdio(self, stop: anyio.Event | None = None) -> None:
        """Serve over standard input and output until the client closes them.

        Args:
            stop: Ends it when it is set: calls that are open are cancelled.
        """
        server = self.sdk_server()
        from mcp.server.stdio import stdio_server  # noqa: PLC0415 - imports the SDK

        with own_input(stop) as lines:
            async with self.opened(), stdio_server(stdin=cast("Any", lines)) as (reader, writer):
                await server.run(reader, writer, server.create_initialization_options())

    def app(self, *, token: str | None = None, host: str = "127.0.0.1") -> ASGIApp:
        """Make an ASGI app that serves streamable HTTP at ``/mcp``.

        On a loopback address, requests whose ``Host`` or ``Origin`` is another one are refused.

        Args:
            token: The token that clients send as ``Authorization: Bearer``; None admits everyone who can reach it.
            host: The address that the app will listen on.
        """
        served = self.sdk_server().streamable_http_app(host=host)
        served.router.lifespan_context = _both(served.router.lifespan_context, self.opened)
        return served if token is None else _WithToken(served, token)


@dataclass(frozen=True, slots=True)
class _WithToken:
    """An app that admits only requests with the token."""

    app: ASGIApp
    token: str = field(repr=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sent = dict(scope.get("headers", ())).get(b"authorization", b"")
        if scope["type"] != "http" or hmac.compare_digest(sent, b"Bearer " + self.token.encode()):
            await self.app(scope, receive, send)
            return
        body = json.dumps({"error": "unauthorized"}).encode()
        headers = [(b"content-type", b"application/json"), (b"www-authenticate", b"Bearer")]
        await send({"type": "http.response.start", "status": 401, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _both(first: Callable[[Any], Any], second: Callable[[], Any]) -> Callable[[Any], Any]:
    @asynccontextmanager
    async def both(app: Any) -> AsyncGenerator[Any]:
        async with second(), first(app) as state:
            yield state

    return both
