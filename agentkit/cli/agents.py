"""The agent that a command line describes, either a named one or a model with tools, and the options of its runs."""

from __future__ import annotations

import contextlib
import difflib
import inspect
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import anyio

from agentkit import Agent, ChatSettings, Limits, OutputSchema, RunOptions, RunState
from agentkit.chat import ChatClient, Deadlines, Model, open_model
from agentkit.cli.console import NotesConsole
from agentkit.cli.load import call_named, is_place, load_agent, load_tools, load_value
from agentkit.cli.logs import LoggedRun, find_run, log_run
from agentkit.cli.models import check_key, choose_model
from agentkit.cli.terminal_text import one_line
from agentkit.errors import ConfigError, DefinitionError, StateError
from agentkit.messages import TextPart, UserMessage
from agentkit.run import Price, call_sync
from agentkit.tools import ToolLike

__all__ = ["OpenAgent", "Setup", "open_again", "open_agent"]


@dataclass(frozen=True, slots=True)
class Setup:
    """The options of a command line that describe an agent, as they were written.

    Attributes:
        agent: ``module:name`` of an agent; empty for a plain one.
        model: The model, in place of the agent's own.
        tools: Modules and files with tools, and names in them.
        toolsets: Specs of ready-made tools.
        instructions: Instructions, in addition to the agent's own.
        deps: ``module:name`` of the dependencies of the runs, or of a function that returns them.
        parameters: Parameters of requests, each ``name=value``.
        limits: Limits of runs, each ``name=value``.
        schema: ``module:name`` of the type of the output, or a file with a JSON Schema.
        timeout: The longest wait for one reply, in seconds.
        mcp: MCP servers: files, commands and URLs.
    """

    agent: str = ""
    model: str = ""
    tools: Sequence[str] | None = None
    toolsets: Sequence[str] | None = None
    instructions: str = ""
    deps: str = ""
    parameters: Sequence[str] | None = None
    limits: Sequence[str] | None = None
    schema: str = ""
    timeout: float | None = None
    mcp: Sequence[str] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the options as JSON values. Headers are left out, as they may hold keys."""
        given = {name: value for name, value in asdict(self).items() if value}
        given["parameters"] = [each for each in self.parameters or () if not each.startswith("extra_headers")]
        return {name: value for name, value in given.items() if value}

    def over(self, started: Mapping[str, Any]) -> Setup:
        """Return the options of an earlier command line, overridden by those of this one."""
        known = {each.name for each in fields(self)}
        return Setup(**{**{name: value for name, value in started.items() if name in known}, **self.to_dict()})


@dataclass(slots=True, kw_only=True)
class OpenAgent:
    """An agent that is ready to run.

    Attributes:
        agent: The agent.
        model: The name of its model, as people read it.
        options: The options of each of its runs.
        limits: The limits from the command line, by name.
        setup: The options as they were written, with the model that was chosen.
    """

    agent: Agent[Any, Any]
    model: str
    options: RunOptions
    limits: Mapping[str, Any]
    setup: Setup
    _deps: object = field(default=None, repr=False)

    @property
    def tools(self) -> list[str]:
        """The names of its tools, except those of sources that are not open."""
        return [*self.agent.tools, *(tool.name for tool in cast("Any", self.options.get("tools", ())))]

    def options_for(self, state: RunState | None = None) -> RunOptions:
        """Return the options of a new run, or of one that is resumed from a state."""
        if not self.limits:
            return self.options
        limits = (state and state.limits) or self.agent.limits
        return {**self.options, "limits": replace(limits, **self.limits)}

    @property
    def has_tools(self) -> bool:
        """True if it may have tools: what the sources of a named agent offer is unknown until they are open."""
        return bool(self.setup.agent or self.setup.mcp or self.tools or self.is_typed)

    @property
    def is_typed(self) -> bool:
        """True if its output is something other than the text of the model."""
        return self.agent.output_type is not str

    def log(self, state: RunState) -> None:
        """Write the current state of a run to the log."""
        asked = [each for each in state.messages[state.prior_messages :] if isinstance(each, UserMessage)]
        content = asked[0].content if asked else ""
        parts = [content] if isinstance(content, str) else [each.text for each in content if isinstance(each, TextPart)]
        log_run(
            LoggedRun(
                id=state.run_id,
                started=time.time() - state.seconds,
                directory=str(Path.cwd()),
                setup=json.dumps(self.setup.to_dict()),
                model=self.model,
                prompt="\n".join(parts),
                answer=state.text if state.turns else "",
                status=state.status,
                turns=state.turns,
                calls=state.calls,
                tokens=state.usage.total_tokens,
                cost=state.usage.cost,
                seconds=state.seconds,
            )
        )

    def require_tools(self, state: RunState) -> None:
        """Check that the tools of a run are available again.

        Raises:
            StateError: The run has tools, and the agent has none.
        """
        known = state.fingerprints.get(state.agent)
        if known and not self.setup.agent and not self.setup.mcp and not self.tools:
            names = ", ".join(sorted(known))
            raise StateError(
                f"this run has the tools {names}: give the same --tools, --with and --mcp as when it was started"
            )

    @contextlib.contextmanager
    def hold(self) -> Generator[None]:
        """Keep the sources of the agent's tools and its dependencies open for all runs inside the block.

        One task in the event loop of `call_sync` opens and closes them, as anyio's cancel scopes require.
        """
        ready: Future[Callable[[], None]] = Future()

        async def keep_open() -> None:
            end = anyio.Event()
            try:
                async with contextlib.AsyncExitStack() as stack:
                    if self._deps is not None:
                        self.options["deps"] = await _entered(self._deps, stack)
                    await stack.enter_async_context(self.agent)
                    ready.set_result(end.set)
                    await end.wait()
            except Exception as error:
                if ready.done():
                    raise
                ready.set_exception(error)

        thread = threading.Thread(target=call_sync, args=[keep_open], daemon=True)
        thread.start()
        close = ready.result()

        async def finish() -> None:
            close()

        try:
            yield
        finally:
            call_sync(finish)
            thread.join(10)


async def _entered(made: Any, stack: contextlib.AsyncExitStack) -> Any:
    """Await a value if it is awaitable, and enter it if it is a context manager."""
    value = await made if inspect.isawaitable(made) else made
    if isinstance(value, contextlib.AbstractAsyncContextManager):
        return await stack.enter_async_context(cast("Any", value))
    if isinstance(value, contextlib.AbstractContextManager):
        return stack.enter_context(cast("Any", value))
    return value


def open_agent(setup: Setup) -> OpenAgent:
    """Make the agent that the options describe. Anything its modules print goes to standard error.

    Raises:
        ConfigError: A name does not exist or is wrong, there is no model, or its key is missing.
        DefinitionError: A function cannot become a tool, or two tools have the same name.
    """
    with contextlib.redirect_stdout(sys.stderr):
        changes: dict[str, Any] = {"output_type": load_schema(setup.schema)} if setup.schema else {}
        deps = load_value(setup.deps, "dependencies") if setup.deps else None
        deps = call_named(deps, setup.deps) if callable(deps) else deps
        tools: list[ToolLike[Any]] = [*load_tools(setup.tools or (), setup.toolsets or ())]
        if setup.mcp:
            from agentkit.cli.mcp import open_servers  # noqa: PLC0415 - few commands need it

            tools += open_servers(setup.mcp)
        options: RunOptions = {}
        if setup.agent:
            if not is_place(setup.agent):
                raise ConfigError(
                    f"{setup.agent!r:.80} does not name an agent: write app.py:agent or package.module:agent"
                )
            agent = load_agent(setup.agent)
            model, opened = setup.model, _open_model(setup.model, setup.timeout) if setup.model else agent.model
            own = agent.instructions
            if setup.instructions:
                listed = [own] if isinstance(own, str) or callable(own) else [*own]
                changes["instructions"] = [*listed, setup.instructions]
            agent = agent.replace(model=opened, **changes)
            if tools:
                options["tools"] = tools
        else:
            model, opened = open_chosen(setup.model, setup.timeout)
            agent = Agent(opened, tools=tools, instructions=setup.instructions, **changes)
    if setup.timeout is not None and not model:
        raise ConfigError("--timeout needs --model: this agent has its own model")
    check_key(opened)
    if setup.parameters:
        options["settings"] = _settings(setup.parameters)
    given = _assignments(setup.limits or (), "--limit", [each.name for each in fields(Limits)])
    if isinstance(given.get("price"), dict):
        given["price"] = Price(**given["price"])
    replace(agent.limits, **given)  # refuses what is wrong
    shown = model or _name_of(opened)
    return OpenAgent(
        agent=agent, model=shown, options=options, limits=given, setup=replace(setup, model=model), _deps=deps
    )


def open_again(state: RunState, setup: Setup) -> OpenAgent:
    """Make the agent of a run that is resumed, with the options of this command line in place of the run's own.

    The log of runs has the original options. A saved state does not name code, since whoever wrote it could then have
    any code imported.

    Raises:
        ConfigError: The log does not know the run, and there is no model; or it was started in another directory.
        StateError: The run has tools, and the agent has none.
    """
    opened = open_agent(_started_as(state, setup))
    opened.require_tools(state)
    return opened


def _started_as(state: RunState, setup: Setup) -> Setup:
    run = find_run(state.run_id)
    if run is None:
        if not (setup.model or setup.agent or os.environ.get("AGENTKIT_MODEL")):
            raise ConfigError(
                "the log of runs does not know how this run was started: "
                "give --model, or --agent, and the same --tools and --with as when it was started"
            )
        return setup
    started: dict[str, Any] = json.loads(run.setup)
    places = [name for name in ("agent", "tools", "toolsets", "deps", "schema", "mcp") if started.get(name)]
    if run.directory != str(Path.cwd()) and places:
        raise ConfigError(
            f"this run was started in {run.directory!r}, which its {places[0]} came from: resume it there"
        )
    made = setup.over(started)
    what = [made.agent, made.model, *(made.tools or ()), *(made.toolsets or ()), *(made.mcp or ())]
    NotesConsole().say((one_line(f"resumed as it was started: {', '.join(filter(None, what))}"), "dim"))
    return made


def open_chosen(model: str, timeout: float | None) -> tuple[str, Model]:
    """Choose the model if none is given, print which one and why, and open it.

    Raises:
        ConfigError: There is no model, or no such provider.
    """
    model, why = choose_model(model)
    if why:
        NotesConsole().say((f"model {one_line(model)}: {why}", "dim"))
    return model, _open_model(model, timeout)


def _open_model(model: str, timeout: float | None) -> Model:
    if timeout is None:
        return open_model(model)
    return open_model(model, deadlines=Deadlines(first_byte=timeout, idle=timeout, total=timeout))


def _name_of(model: Model) -> str:
    info = getattr(model, "info", None)
    return f"{info.provider}:{info.model}" if isinstance(model, ChatClient) and info else type(model).__name__


def load_schema(where: str) -> Any:
    """Import the type of an output, or read a JSON Schema from a file.

    Raises:
        ConfigError: It does not exist, or cannot be read.
        DefinitionError: It is not a JSON Schema.
    """
    if not where.endswith(".json"):
        value = load_value(where, "type")
        if isinstance(value, ModuleType):
            raise ConfigError(f"{where} is a module: name a type in it, {where}:TYPE")
        return value
    try:
        schema = json.loads(Path(where).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"the schema {where!r} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"the schema {where!r} is not JSON: {error}") from None
    if not isinstance(schema, dict):
        raise ConfigError(f"the schema {where!r} is not a JSON object")
    try:
        return OutputSchema(cast("dict[str, Any]", schema))
    except DefinitionError as error:
        complaint = str(error).removeprefix("OutputSchema: ")
        raise DefinitionError(f"the schema {where!r} is not a JSON Schema: {complaint}") from None


def _settings(parameters: Sequence[str]) -> ChatSettings:
    """Read request parameters. Unknown ones are sent unchanged, because many servers have parameters of their own."""
    names = [each.name for each in fields(ChatSettings)]
    given = _assignments(parameters, "-o", names, others=True)
    known = {name: value for name, value in given.items() if name in names}
    extra = {name: value for name, value in given.items() if name not in names}
    if extra:
        known["extra_body"] = {**(known.get("extra_body") or {}), **extra}
    return ChatSettings(**known)


def _assignments(given: Sequence[str], option: str, names: Sequence[str], *, others: bool = False) -> dict[str, Any]:
    """Read ``name=value`` pairs; a value is JSON, or a string if it is not valid JSON."""
    found: dict[str, Any] = {}
    for each in given:
        name, equals, value = each.partition("=")
        name = name.strip().replace("-", "_")
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.85 if others else 0.5)
        if not equals:
            raise ConfigError(f"{option} {each!r:.80}: write {option} {name or 'name'}=VALUE")
        if name not in names and (near or not others or not name):
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names)}"
            raise ConfigError(f"{option} {each!r:.80}: there is no {name!r}; {hint}")
        try:
            found[name] = None if value == "none" else json.loads(value)
        except ValueError:
            found[name] = value
    return found
