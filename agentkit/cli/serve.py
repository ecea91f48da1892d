"""``agentkit serve``: agents, or models alone, behind the Chat Completions API."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentkit import Agent
from agentkit.cli.errors import handle_errors
from agentkit.cli.load import load_agent, load_tools
from agentkit.cli.options import DebugOption, InstructionsOption, ToolsOption, WithOption
from agentkit.cli.terminal_text import one_line
from agentkit.errors import ConfigError
from agentkit.sessions import SQLiteSessions

if TYPE_CHECKING:
    from agentkit.serve import Server

__all__ = ["Setup", "make_server", "serve"]

_SETUP = "AGENTKIT_SERVE"  # the variable that has the options, for the processes of a server with several workers
_TOKEN = "AGENTKIT_TOKEN"  # noqa: S105 - the name of a variable


_Agents = Annotated[
    list[str] | None,
    typer.Argument(metavar="[NAME=]MODULE:AGENT...", help="Agents in modules or files, each by the model's name."),
]
_Model = Annotated[
    str, typer.Option("--model", "-m", metavar="MODEL", help="The model behind, in place of the agents' own.")
]
_Gateway = Annotated[
    list[str] | None,
    typer.Option("--gateway", metavar="[NAME=]MODEL", help="Serve a model without an agent; can be repeated."),
]
_Fallback = Annotated[
    list[str] | None,
    typer.Option("--fallback", metavar="MODEL", help="With --gateway: the model to ask where it gives no reply."),
]
_Record = Annotated[
    str, typer.Option("--record", metavar="FILE", help="With --gateway: append requests and replies to a file.")
]
_Host = Annotated[str, typer.Option("--host", metavar="ADDRESS", help="The address to listen on.")]
_Port = Annotated[int, typer.Option("--port", "-p", min=0, max=65535, help="The port; 0 for a free one.")]
_Token = Annotated[
    str, typer.Option("--token", envvar=_TOKEN, metavar="TOKEN", help="What clients send; a new one by default.")
]
_NoToken = Annotated[bool, typer.Option("--no-token", help="Let in every program of this machine.")]
_AllowedHost = Annotated[
    list[str] | None,
    typer.Option("--allowed-host", metavar="NAME", help="A name that the server is reached by; can be repeated."),
]
_Origin = Annotated[
    list[str] | None,
    typer.Option("--origin", metavar="URL", help="A site whose pages may call the server; can be repeated."),
]
_Sessions = Annotated[str, typer.Option("--sessions", metavar="FILE", help="Store conversations that clients name.")]
_Store = Annotated[
    str, typer.Option("--store", metavar="FILE", help="Store runs that wait, so that they survive a restart.")
]
_Workers = Annotated[int, typer.Option("--workers", min=1, max=64, help="The number of processes.")]
_MaxRequests = Annotated[
    int, typer.Option("--max-requests", min=1, metavar="N", help="Most requests at a time in a process.")
]
_Timeout = Annotated[float, typer.Option("--timeout", min=1, metavar="SECONDS", help="Longest time of an answer.")]
_Drain = Annotated[
    float, typer.Option("--drain", min=0, metavar="SECONDS", help="Time for answers to end after SIGTERM.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """The options that describe a server, as JSON values: each of its processes makes it from them.

    Attributes:
        agents: ``[NAME=]MODULE:AGENT`` each.
        model: The model behind the agents.
        tools: Modules and files with tools, for an agent that is not named.
        toolsets: Specs of ready-made tools, for the same.
        instructions: Its instructions.
        gateway: ``[NAME=]MODEL`` each.
        fallback: The models to ask next.
        record: A file for requests and replies.
        token: What clients send; None for nothing.
        hosts: The names that the server is reached by.
        origins: The sites whose pages may call it.
        sessions: The file of sessions.
        store: The file of runs that wait.
        limits: The members of `ServerLimits`.
    """

    agents: Sequence[str] = ()
    model: str = ""
    tools: Sequence[str] = ()
    toolsets: Sequence[str] = ()
    instructions: str = ""
    gateway: Sequence[str] = ()
    fallback: Sequence[str] = ()
    record: str = ""
    token: str | None = None
    hosts: Sequence[str] = ()
    origins: Sequence[str] = ()
    sessions: str = ""
    store: str = ""
    limits: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def check(self) -> None:
        """Refuse options that do not go together.

        Raises:
            ConfigError: Some do not.
        """
        makes = self.tools or self.toolsets or self.instructions
        if self.gateway and (self.agents or self.model or makes or self.sessions):
            raise ConfigError("--gateway serves models without an agent: leave out agents, tools and sessions")
        if (self.fallback or self.record) and not self.gateway:
            raise ConfigError("--fallback and --record are for models of --gateway")
        if self.agents and makes:
            raise ConfigError("--tools, --with and --instructions make an agent: leave them out if one is named")


def serve(  # noqa: PLR0913 - each is an option of the command
    agents: _Agents = None,
    model: _Model = "",
    tools: ToolsOption = None,
    with_: WithOption = None,
    instructions: InstructionsOption = "",
    gateway: _Gateway = None,
    fallback: _Fallback = None,
    record: _Record = "",
    host: _Host = "127.0.0.1",
    port: _Port = 8000,
    token: _Token = "",
    no_token: _NoToken = False,
    allowed_host: _AllowedHost = None,
    origin: _Origin = None,
    sessions: _Sessions = "",
    store: _Store = "",
    workers: _Workers = 1,
    max_requests: _MaxRequests = 512,
    timeout: _Timeout = 600,
    drain: _Drain = 30,
    debug: DebugOption = False,
) -> None:
    """Serve agents to every client of the Chat Completions API.

    \b
    agentkit serve app.py:agent
    agentkit serve shop=shop.py:agent desk=desk.py:agent --sessions chat.db
    agentkit serve --model ollama:qwen3 --tools tools.py
    agentkit serve --gateway openai:gpt-5-mini --fallback ollama:qwen3
    """  # noqa: D301
    with handle_errors(debug=debug):
        if no_token and token:
            raise ConfigError("give --token or --no-token, not both")
        made = "" if no_token or token else secrets.token_urlsafe(24)
        setup = Setup(
            agents=agents or (),
            model=model,
            tools=tools or (),
            toolsets=with_ or (),
            instructions=instructions,
            gateway=gateway or (),
            fallback=fallback or (),
            record=record,
            token=None if no_token else token or made,
            hosts=_names(host, allowed_host or ()),
            origins=origin or (),
            sessions=sessions,
            store=store,
            limits={"requests": max_requests, "seconds": timeout},
        )
        _serve(setup, host, port, made, workers=workers, drain=drain)


def _names(host: str, allowed: Sequence[str]) -> list[str]:
    """The names that a server is reached by."""
    if host not in ("0.0.0.0", "::"):  # noqa: S104 - it is what the user typed
        return [host, *allowed]
    if not allowed:
        raise ConfigError(
            f"on {host} the server has many names: give each that clients use with --allowed-host, or '*' for all"
        )
    return [*allowed]


def _serve(setup: Setup, host: str, port: int, made: str, *, workers: int, drain: float) -> None:
    from agentkit.serve import process  # noqa: PLC0415 - without the extra: a sentence, not a traceback

    setup.check()
    process.check_reach(host, is_open=setup.token is None)
    with contextlib.ExitStack() as stack:
        if workers > 1 and not setup.store:
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="agentkit-"))
            setup = replace(setup, store=str(Path(directory) / "runs.db"))
        server = make_server(setup)
        listener = process.listen(host, port)
        shown = f"[{host}]" if ":" in host else host
        names = ", ".join(one_line(each) for each in server.backends)
        address = f"http://{shown}:{listener.getsockname()[1]}"
        typer.echo(f"serving {names} at {address}/v1 (Ctrl-C stops)", err=True)
        typer.echo(f"chat page: {address}/{f'#token={made}' if made else ''}", err=True)
        if made:
            typer.echo(f"token: {made}", err=True)
        if workers == 1:
            process.serve_forever(server, listener, drain=drain)
            return
        os.environ[_SETUP] = json.dumps(asdict(setup))
        process.serve_forever(f"{__name__}:make_server", listener, workers=workers, drain=drain)


def make_server(setup: Setup | None = None) -> Server:
    """Make the server that a command line describes.

    Args:
        setup: The options; by default those of the command that started this process.

    Raises:
        ConfigError: Something in them is wrong.
    """
    from agentkit import serve as serving  # noqa: PLC0415 - the extra may be missing

    given = setup or Setup(**json.loads(os.environ.pop(_SETUP)))
    shared: dict[str, Any] = {"token": given.token, "hosts": given.hosts, "origins": given.origins}
    shared["limits"] = serving.ServerLimits(**given.limits)
    shared["store"] = serving.FileStore(given.store) if given.store else None
    with contextlib.redirect_stdout(sys.stderr):  # of modules that print
        if given.gateway:
            named = [_named(each, each) for each in given.gateway]
            models = {name: [model, *given.fallback] for name, model in named}
            return serving.gateway(models, record=given.record or None, **shared)
        agents = _agents(given)
    sessions = SQLiteSessions(given.sessions) if given.sessions else None
    return serving.app(agents, sessions=sessions, **shared)


def _agents(setup: Setup) -> dict[str, Agent[Any, Any]]:
    if not setup.agents:
        tools = load_tools(setup.tools, setup.toolsets)
        model = setup.model or os.environ.get("AGENTKIT_MODEL") or "local"
        return {"agent": Agent(model, tools=tools, instructions=setup.instructions)}
    found: dict[str, Agent[Any, Any]] = {}
    for each in setup.agents:
        name, place = _named(each, "")
        agent: Agent[Any, Any] = load_agent(place)
        name = name or agent.name or Path(place.rpartition(":")[2]).stem
        if name in found:
            raise ConfigError(f"two agents are named {name!r}: write NAME={place} for one of them")
        found[name] = agent.replace(model=setup.model) if setup.model else agent
    return found


def _named(text: str, default: str) -> tuple[str, str]:
    """Split ``NAME=REST``; without a name, the default."""
    name, equals, rest = text.partition("=")
    return (name, rest) if equals else (default, text)
