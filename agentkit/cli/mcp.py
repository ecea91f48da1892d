"""``agentkit mcp``: approve the tools of MCP servers, or be a server; and ``--mcp``, which gives them to an agent."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import anyio
import typer

from agentkit import Agent
from agentkit.cli.errors import handle_errors
from agentkit.cli.load import load_tools, load_value
from agentkit.cli.options import DebugOption
from agentkit.cli.terminal_text import plural, printable
from agentkit.errors import ConfigError
from agentkit.mcp import LockFile, MCPServer, MCPToolset, hidden_in
from agentkit.run import call_sync
from agentkit.tools import Tool

__all__ = ["LOCK", "app", "open_servers", "tools_of"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)


LOCK = Path("mcp.lock")


def open_servers(servers: Sequence[str], *, lock: Path | None = LOCK) -> list[MCPToolset]:
    """Make toolsets from an ``mcp.json``, a command or a URL.

    A run waits for what they ask a person: who started it is asked on the terminal, or answers when it is resumed.

    Args:
        servers: The files, commands and URLs.
        lock: The lock file that applies to them, if it exists; None for none.

    Raises:
        ConfigError: The file cannot be read.
        DefinitionError: It is not a command.
    """
    found: list[MCPToolset] = []
    lock = lock if lock is not None and lock.exists() else None
    for each in servers:
        if each.endswith(".json") and " " not in each.strip():
            found += MCPToolset.from_config(each, lock=lock, elicitation=True)
        else:
            found.append(MCPToolset(each, lock=lock, elicitation=True))
    return found


async def tools_of(toolset: MCPToolset) -> Sequence[Tool]:
    """Open a server and return its tools."""
    async with toolset:
        return await toolset.tools()


@app.callback(invoke_without_command=True)
def mcp(context: typer.Context) -> None:
    """Approve the tools of MCP servers, or serve tools over MCP."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command()
def lock(
    servers: Annotated[list[str], typer.Argument(metavar="FILE|COMMAND|URL...", help="An mcp.json, commands or URLs.")],
    file: Annotated[Path, typer.Option("--lock", metavar="FILE", help="The lock file.")] = LOCK,
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit with 1 if a tool is not approved.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Approve without asking.")] = False,
    debug: DebugOption = False,
) -> None:
    """Show what has changed in the tools of servers, and approve it.

    An agent with MCPToolset(..., lock="mcp.lock") gets only approved tools.

    \b
    agentkit mcp lock mcp.json
    agentkit mcp lock "uvx mcp-server-time" --check
    """  # noqa: D301
    with handle_errors(debug=debug):
        locked = LockFile(file)
        differs = False
        for toolset in open_servers(servers, lock=None):
            differs = call_sync(_compare, locked, toolset, check, yes) or differs
        if check and differs:
            raise typer.Exit(1)


@app.command()
def serve(
    offers: Annotated[
        list[str], typer.Argument(metavar="MODULE[:NAME]...", help="Modules or files, or the tools and agents in them.")
    ],
    http: Annotated[
        bool, typer.Option("--http", help="Serve streamable HTTP instead of standard input and output.")
    ] = False,
    host: Annotated[str, typer.Option("--host", metavar="ADDRESS", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="The port to listen on; 0 for any free port.")
    ] = 8000,
    token: Annotated[
        str, typer.Option("--token", envvar="AGENTKIT_TOKEN", help="The token that clients send over HTTP.")
    ] = "",
    name: Annotated[str, typer.Option("--name", help="The name of the server.")] = "agentkit",
    debug: DebugOption = False,
) -> None:
    """Offer tools and agents to MCP clients, as a server.

    \b
    agentkit mcp serve tools.py
    agentkit mcp serve app.py:agent tools.py:search --http --port 9000
    """  # noqa: D301
    with handle_errors(debug=debug):
        with contextlib.redirect_stdout(sys.stderr):  # what a module prints is not part of the protocol
            server = _server(offers, name)
        if http:
            _serve_http(server, host, port, token)
        else:
            anyio.run(_serve_stdio, server)


def _server(offers: Sequence[str], name: str) -> MCPServer:
    values = [load_value(each, "tool, agent or server") for each in offers]
    if len(values) == 1 and isinstance(values[0], MCPServer):
        return values[0]
    made: list[Any] = []
    for place, value in zip(offers, values, strict=True):
        made += [value] if isinstance(value, Agent) else load_tools([place])
    return MCPServer(*made, name=name)


async def _serve_stdio(server: MCPServer) -> None:
    """Serve until the client disconnects or a signal arrives."""
    stop = anyio.Event()

    async def stop_at_signal() -> None:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as received:
            async for _number in received:
                stop.set()
                break

    async with anyio.create_task_group() as tasks:
        if sys.platform != "win32":
            tasks.start_soon(stop_at_signal)
        await server.serve_stdio(stop)
        tasks.cancel_scope.cancel()


def _serve_http(server: MCPServer, host: str, port: int, token: str) -> None:
    from agentkit.serve import process  # noqa: PLC0415 - a server for programs on this machine needs no web server

    process.check_reach(host, is_open=not token)
    app = server.app(token=token or None, host=host)
    listener = process.listen(host, port)
    shown = f"[{host}]" if ":" in host else host
    typer.echo(f"serving {server.name} at http://{shown}:{listener.getsockname()[1]}/mcp (Ctrl-C stops)", err=True)
    process.serve_forever(app, listener)


async def _compare(locked: LockFile, toolset: MCPToolset, check: bool, yes: bool) -> bool:
    async with toolset:
        listed = await toolset.listed()
    hidden = [f"the tool {each.name!r} is refused: {where}" for each in listed if (where := hidden_in(each))]
    clean = [each for each in listed if not hidden_in(each)]
    changes, gone = locked.changes(toolset.name, clean), locked.missing(toolset.name, listed)
    lines = [*hidden, *map(str, changes), *(f"the tool {each!r} is gone" for each in gone)]
    typer.echo(printable("\n".join([f"{toolset.name}: {plural(len(listed), 'tool')}", *lines])))
    if check or not (changes or gone):
        return bool(hidden or changes or gone)
    if not yes and not typer.confirm(f"Approve the tools of {toolset.name} as they are now?"):
        raise ConfigError(f"the tools of {toolset.name} are not approved")
    locked.approve(toolset.name, clean)
    return True
