"""``agentkit mcp``: approve the tools of MCP servers; and ``--mcp``, which gives them to an agent."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from agentkit.cli.errors import handle_errors
from agentkit.cli.options import DebugOption
from agentkit.cli.terminal_text import plural, printable
from agentkit.errors import ConfigError
from agentkit.mcp import LockFile, MCPToolset, hidden_in
from agentkit.run import call_sync
from agentkit.tools import Tool

__all__ = ["LOCK", "app", "open_servers", "tools_of"]

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True, help="Use MCP servers.")


LOCK = Path("mcp.lock")


def open_servers(servers: Sequence[str], *, lock: Path | None = LOCK) -> list[MCPToolset]:
    """Make toolsets of what a user names: an ``mcp.json``, a command or a URL.

    Args:
        servers: What was named.
        lock: The lock file that holds for them, if there is such a file; None for none.

    Raises:
        ConfigError: The file cannot be read.
        DefinitionError: It is no command.
    """
    found: list[MCPToolset] = []
    lock = lock if lock is not None and lock.exists() else None
    for each in servers:
        if each.endswith(".json") and " " not in each.strip():
            found += MCPToolset.from_config(each, lock=lock)
        else:
            found.append(MCPToolset(each, lock=lock))
    return found


async def tools_of(toolset: MCPToolset) -> Sequence[Tool]:
    """The tools of a server, which is opened for it."""
    async with toolset:
        return await toolset.tools()


@app.callback()
def mcp() -> None:
    """Use MCP servers."""


@app.command()
def lock(
    servers: Annotated[list[str], typer.Argument(metavar="FILE|COMMAND|URL...", help="An mcp.json, or servers.")],
    file: Annotated[Path, typer.Option("--lock", metavar="FILE", help="The lock file.")] = LOCK,
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit with 1 if a tool is not approved.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Approve without asking.")] = False,
    debug: DebugOption = False,
) -> None:
    """Show how the tools of servers differ from those that were approved, and approve them.

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
