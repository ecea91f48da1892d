"""`MCPToolset`: the tools of an MCP server, for agents."""

from __future__ import annotations

import hashlib
import importlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

import anyio.to_thread
from anyio.lowlevel import EventLoopToken, current_token

from agentkit.chat import Model
from agentkit.errors import ConfigError, DefinitionError, ToolError
from agentkit.mcp.answers import AskPerson, ask_person, cannot_wait, sample_model
from agentkit.mcp.auth import OAuth
from agentkit.mcp.changes import ResourceChanges
from agentkit.mcp.config import read_config
from agentkit.mcp.errors import MCPError
from agentkit.mcp.hidden import show_hidden
from agentkit.mcp.lock import LockFile, hidden_in
from agentkit.mcp.options import Options
from agentkit.mcp.resources import Prompt, Resource, prompt_messages, resource_parts, resource_tools
from agentkit.mcp.target import Target, Url, read_target
from agentkit.mcp.tools import Listed, Policy, make_tools, to_tool_result, valid_names
from agentkit.messages import ContentPart, Message
from agentkit.tools import Approval, SourceRun, Tool, ToolContext, ToolResult

if TYPE_CHECKING:
    from agentkit.mcp.connection import Connection

__all__ = ["MCPToolset"]

_Change: TypeAlias = Callable[[list[Tool], bool], list[Tool]]  # the tools, and whether they are the first ones known

log = logging.getLogger("agentkit.mcp")


class MCPToolset:
    """The tools of an MCP server. Give it to ``Agent(tools=[...])`` among other tools.

    Creating this object does nothing: ``async with agent`` starts the server or connects to it, once for all runs
    inside; otherwise each run does. A server that exits is started again for the next call or turn, but a call in
    flight is never repeated: the model reads that it is not known whether it had an effect.

    Args:
        server: A command (a string, or a list of the program and its arguments), a URL, or a server object of the SDK.
        name: Its name in errors and events; by default the last part of the command, or the host.
        env: Variables for the command, in addition to the few that every program needs (``PATH``, ``HOME`` and the
            like). It gets no other variable of this process, and so no key unless you pass it.
        cwd: The directory that the command starts in.
        headers: Headers of each HTTP request, ``{"authorization": "Bearer ..."}`` for example.
        auth: How to log in to a server with a URL, with OAuth.
        sandbox: Whether the command runs in bubblewrap (Linux): it reads the system but no home directory, changes only
            ``cwd`` and ``roots``, and has no network; ``"network"`` gives it one.
        lock: The lock file, see ``agentkit mcp lock``. A tool that has changed since it was approved is blocked.
        requires_approval: As of `ToolOptions`, for all of its tools.
        trust_annotations: Whether to trust the server's claim that a tool is read-only (``readOnlyHint``): such a tool
            then needs no approval.
        timeout: Seconds that a call may take, restarted by each progress report, and at most an hour; None for no
            limit.
        start_timeout: Seconds within which the server must be ready, and must list its tools.
        roots: Directories that the server may work in; it is informed of them.
        log_level: The lowest level of log lines to request from the server, as `ServerLogged` events; ``""`` for none.
        resources: Whether the model gets two more tools, ``list_resources`` and ``read_resource``.
        sampling: Whether the server may have a model reply while a call is open: True for the model of the agent, or
            another one. It is a run inside the call, which counts for the limits of the run, at most 10 in a call.
        elicitation: Whether the server may ask a person. True makes its questions external calls: the run pauses with
            them in `RunState.pending`, can be saved, and is resumed with `RunState.answer` or `deny`, which needs a
            server of 2026-07-28. A function asks while the call is open, whatever the server supports; see `Question`.

    Raises:
        DefinitionError: The server is none of these, or an option does not apply to it.
    """

    def __init__(  # noqa: PLR0913 - the way in: an option has a name and a default
        self,
        server: str | Sequence[str] | object,
        *,
        name: str = "",
        env: Mapping[str, str] | None = None,
        cwd: str | Path | None = None,
        headers: Mapping[str, str] | None = None,
        auth: OAuth | None = None,
        sandbox: bool | Literal["network"] = False,
        lock: str | Path | None = None,
        requires_approval: Approval = False,
        trust_annotations: bool = False,
        timeout: float | None = 60,
        start_timeout: float = 60,
        roots: Sequence[str | Path] = (),
        log_level: str = "info",
        resources: bool = False,
        sampling: bool | str | Model = False,
        elicitation: bool | AskPerson = False,
    ) -> None:
        target = read_target(server, env=env, cwd=cwd, headers=headers, sandbox=sandbox)
        if auth is not None and not isinstance(target, Url):
            raise DefinitionError("MCPToolset: auth= applies only to a URL")
        for option, seconds in (("timeout", timeout), ("start_timeout", start_timeout)):
            if seconds is not None and not seconds > 0:
                raise DefinitionError(f"MCPToolset: {option}={seconds!r} must be above 0 seconds")
        name = name or target.name
        options = Options(
            name=name,
            start_timeout=start_timeout,
            log_level=log_level,
            auth=auth,
            sampling=sample_model(None if sampling is True else sampling, name) if sampling else None,
            elicitation=ask_person(elicitation, name)
            if callable(elicitation)
            else cannot_wait
            if elicitation
            else None,
            pauses=elicitation is True,
            roots=tuple(Path(each) for each in roots),
        )
        self._lock = None if lock is None else LockFile(lock)
        self._blocked: dict[str, str] = {}
        self._policy = Policy(requires_approval, trust_annotations)
        self._timeout = timeout
        self._with_resources = resources
        self._server = _Server(target, options)
        self._changes: tuple[_Change, ...] = ()
        self._made: tuple[object, list[Tool]] = (None, [])
        self._output_schemas: dict[str, Mapping[str, Any] | None] = {}

    @classmethod
    def from_config(
        cls,
        path: str | Path,
        *names: str,
        prefix: bool = True,
        lock: str | Path | None = None,
        requires_approval: Approval = False,
        elicitation: bool | AskPerson = False,
    ) -> list[MCPToolset]:
        """Return the servers of an ``mcp.json`` of other programs: ``tools=[*MCPToolset.from_config("mcp.json")]``.

        Args:
            path: The file. ``${VAR}`` and ``${VAR:-default}`` in it are filled in from the environment.
            *names: Which of its servers; all if none is named.
            prefix: Whether tool names are prefixed with the name of their server, to keep them distinct.
            lock: See `MCPToolset`.
            requires_approval: As of `ToolOptions`, for all of their tools.
            elicitation: Whether they may ask a person, see `MCPToolset`.

        Raises:
            ConfigError: The file cannot be read, or has no such server.
        """
        entries = read_config(path)
        if unknown := [each for each in names if each not in {entry.name for entry in entries}]:
            known = ", ".join(each.name for each in entries) or "none"
            raise ConfigError(f"{path} has no server {unknown[0]!r}; there are {known}")
        shared: dict[str, Any] = {"lock": lock, "requires_approval": requires_approval, "elicitation": elicitation}
        made: list[MCPToolset] = [
            cls(each.server, name=each.name, **shared, **each.options)
            for each in entries
            if not names or each.name in names
        ]
        return [each.prefixed(f"{valid_names([each.name])[each.name]}_") for each in made] if prefix else made

    @property
    def name(self) -> str:
        """The name of the server."""
        return self._server.options.name

    def __repr__(self) -> str:
        return f"MCPToolset({self._server.target})"

    async def __aenter__(self) -> Self:
        await self._server.enter()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._server.leave()

    async def tools(self, run: SourceRun | None = None) -> Sequence[Tool]:  # noqa: ARG002 - of every source
        """Return the current tools of the server.

        Raises:
            MCPError: The server cannot be reached, and its tools are not known yet; or none of them is approved.
            ConfigError: The lock file cannot be read.
            DefinitionError: A tool is renamed that the server does not have.
        """
        try:
            listing = await self._server.connection().tools()
        except MCPError as error:
            if self._made[0] is None:
                raise
            log.warning("%s; its tools stay as they were", error)
            return self._made[1]
        if listing is not self._made[0]:
            tools = make_tools(self._screened(listing), self._policy, self._call)
            if self._with_resources:
                taken = {each.name for each in tools}
                tools += [each for each in resource_tools(self.resources, self._read) if each.name not in taken]
            for change in self._changes:
                tools = change(tools, self._made[0] is None)
            self._made = (listing, tools)
            self._output_schemas = {each.name: each.output_schema for each in listing}
        return self._made[1]

    async def listed(self) -> Sequence[Listed]:
        """Return the tools as the server lists them, approved or not.

        Raises:
            MCPError: The server cannot be reached.
        """
        return await self._server.connection().tools()

    async def resources(self) -> list[Resource]:
        """Return the resources of the server, and templates of their addresses.

        Raises:
            MCPError: The server cannot be reached.
        """
        connection = self._server.connection()
        found = [*await connection.listing("resources"), *await connection.listing("templates")]
        return [Resource.of(each) for each in found]

    async def read_resource(self, uri: str) -> tuple[ContentPart, ...]:
        """Read a resource, as content for a prompt: ``UserMessage(await toolset.read_resource(uri))``.

        Raises:
            MCPError: The server cannot be reached, or has no such resource.
        """
        return resource_parts(await self._read(uri))

    def watch(self, *uris: str) -> ResourceChanges:
        """Watch resources: ``async with toolset.watch(uri) as changes``, and ``async for uri in changes`` inside.

        Entering the block raises an `MCPError` if the server does not report changes. The iterator gives the address of
        a resource each time that it has changed, and raises an `MCPError` when the connection ends.
        """
        return ResourceChanges(self._server.connection().watch, uris)

    async def prompts(self) -> list[Prompt]:
        """The prompts that the server offers.

        Raises:
            MCPError: The server cannot be reached.
        """
        return [Prompt.of(each) for each in await self._server.connection().listing("prompts")]

    async def prompt(self, name: str, **arguments: str) -> list[Message]:
        """The messages of a prompt, for ``history=`` of a run.

        Raises:
            MCPError: The server cannot be reached, or has no such prompt.
        """
        return prompt_messages(await self._server.connection().prompt(name, arguments))

    async def _read(self, uri: str) -> list[dict[str, Any]]:
        return await self._server.connection().read(uri)

    def _screened(self, listing: Sequence[Listed]) -> list[Listed]:
        """Return the tools to offer: those without hidden characters and, with a lock file, only approved ones."""
        self._blocked = {}
        seen: list[Listed] = []
        for each in listing:
            if where := hidden_in(each):
                log.warning("%s: the tool %s is left out: %s", self.name, show_hidden(each.name), where)
            else:
                seen.append(each)
        if self._lock is None:
            return seen
        if not self._lock.knows(self.name):
            raise MCPError(
                f"no tool of the MCP server {self.name} is approved in {str(self._lock.path)!r}: "
                "look at its tools and approve them with `agentkit mcp lock`",
                server=self.name,
            )
        changes = {each.name: each for each in self._lock.changes(self.name, seen)}
        for change in changes.values():
            log.warning("%s: %s", self.name, f"{change}".replace("\n", " | "))
            self._blocked[change.name] = str(change)
        approved = [changes[each.name].approved if each.name in changes else each for each in seen]
        return [each for each in approved if each is not None]

    async def _call(self, name: str, arguments: dict[str, Any], context: ToolContext[Any]) -> ToolResult:
        if name in self._blocked:
            raise ToolError(f"not run: {self._blocked[name]}\nApprove it with `agentkit mcp lock`.")
        result = await self._server.connection().call(name, arguments, context, self._timeout)
        return to_tool_result(result, self._output_schemas.get(name))

    # Derived toolsets, which share the connection.

    def prefixed(self, prefix: str) -> MCPToolset:
        """With this prefix before each name: ``"fs_"`` makes ``fs_read`` of ``read``."""
        return self._changed(lambda tools, _: [_renamed(each, prefix + each.name, prefix) for each in tools])

    def filtered(self, keep: Callable[[Tool], bool]) -> MCPToolset:
        """Only the tools that the function returns True for."""
        return self._changed(lambda tools, _: [each for each in tools if keep(each)])

    def only(self, *names: str) -> MCPToolset:
        """Only the tools of these names."""
        return self._changed(lambda tools, _: [each for each in tools if each.name in names])

    def without(self, *names: str) -> MCPToolset:
        """All but the tools of these names."""
        return self._changed(lambda tools, _: [each for each in tools if each.name not in names])

    def deferred(self) -> MCPToolset:
        """The same tools, offered only once the model has searched for them; for servers with many tools."""
        return self._changed(lambda tools, _: [replace(each, deferred=True) for each in tools])

    def renamed(self, names: Mapping[str, str] | None = None, /, **more: str) -> MCPToolset:
        """With other names: ``renamed(read="read_file")``, or ``renamed({"get-user": "get_user"})``."""
        new = {**(names or {}), **more}

        def change(tools: list[Tool], first: bool) -> list[Tool]:  # noqa: FBT001 - nobody else calls it
            missing = new.keys() - {each.name for each in tools}
            if missing and first:
                known = ", ".join(each.name for each in tools) or "none"
                raise DefinitionError(f"the MCP server {self.name} has no tool {min(missing)!r}; there are {known}")
            return [replace(each, name=new.get(each.name, each.name)) for each in tools]

        return self._changed(change)

    def _changed(self, change: _Change) -> MCPToolset:
        made = object.__new__(type(self))
        made.__dict__.update(self.__dict__, _changes=(*self._changes, change), _made=(None, []))
        return made


def _renamed(tool: Tool, name: str, prefix: str) -> Tool:
    if len(name) > 64:
        name = f"{name[:57]}_{hashlib.sha256(name.encode()).hexdigest()[:6]}"
    return replace(tool, name=name, prefix=prefix + tool.prefix)


class _Server:
    """A server, and its connection in each event loop that uses it."""

    def __init__(self, target: Target, options: Options) -> None:
        self.target, self.options = target, options
        self._here: dict[EventLoopToken, Connection] = {}

    async def enter(self) -> None:
        """Use the connection of this event loop from now on; the first use opens it.

        Raises:
            ConfigError: The extra is not installed.
            MCPError: The server cannot be started or reached.
        """
        module = await anyio.to_thread.run_sync(_load)
        token = current_token()
        connection = self._here.setdefault(token, module.Connection(self.target, self.options))
        connection.users += 1
        try:
            await connection.live()
        except BaseException:
            await self.leave()
            raise

    async def leave(self) -> None:
        """Use it no more; the last who does closes it."""
        connection = self.connection()
        connection.users -= 1
        if not connection.users:
            del self._here[current_token()]
            await connection.close()

    def connection(self) -> Connection:
        """The connection of this event loop."""
        try:
            return self._here[current_token()]
        except KeyError:
            raise ConfigError(f"the MCP server {self.options.name} is not open: use it in `async with`") from None


def _load() -> Any:
    """The module that needs the SDK: importing it takes a second or two, in which the event loop must not stop."""
    try:
        return importlib.import_module("agentkit.mcp.connection")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("mcp", "mcp_types"):
            raise
        raise ConfigError("MCP servers need the mcp package: pip install 'agentkit[mcp]'") from None
