"""The commands. They read what the user typed and leave the work to the other modules of the package."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import io
import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import anyio
import typer

import agentkit
from agentkit import Agent, Limits, RunState, Tool, local
from agentkit.chat import Deadlines, Model, open_model
from agentkit.cli.approvals import decide, list_pending, settle
from agentkit.cli.conversation import ask, converse
from agentkit.cli.doctor import Examination, find_model
from agentkit.cli.errors import handle_errors, print_error, report_error, usage_error
from agentkit.cli.files import check_unused, check_writable, load_state, write_private
from agentkit.cli.load import load_tools
from agentkit.cli.models import list_models
from agentkit.cli.output import open_display
from agentkit.cli.sessions import (
    check_not_a_session,
    check_nothing_waits,
    describe,
    last_state,
    open_session,
    sessions_app,
    waiting_state,
)
from agentkit.cli.terminal_text import one_line, printable
from agentkit.cli.tool_report import report
from agentkit.errors import ConfigError, StateError
from agentkit.probe import REPLY_SECONDS
from agentkit.sessions import StoredSession

__all__ = ["app", "run_command"]

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
_TURNS_HELP = "Most replies of the model in one run"

_ModelOption = Annotated[
    str,
    typer.Option("--model", "-m", envvar="AGENTKIT_MODEL", metavar="MODEL", help="PROVIDER:MODEL or local."),
]
_ToolsOption = Annotated[
    list[str] | None,
    typer.Option("--tools", "-t", metavar="MODULE[:NAME]", help="Tools of a module or a file.py; can be repeated."),
]
_WithOption = Annotated[
    list[str] | None,
    typer.Option(
        "--with", "-w", metavar="NAME[:ARGUMENT]", help="Ready-made tools, such as files:notes; can be repeated."
    ),
]
_InstructionsOption = Annotated[
    str, typer.Option("--instructions", "-i", metavar="TEXT", help="What the model should do.")
]
_SessionOption = Annotated[
    str | None,
    typer.Option("--session", metavar="FILE:NAME", help="Save the conversation here; the name defaults to `default`."),
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
_TimeoutOption = Annotated[
    float | None,
    typer.Option(
        "--timeout", min=1, metavar="SECONDS", help="Longest wait for one reply of the model; 600 if not given."
    ),
]
_JsonOption = Annotated[bool, typer.Option("--json", help="Print events for programs, one JSON object a line.")]
_DebugOption = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]


def _open(model: str, timeout: float | None) -> str | Model:
    if timeout is None:
        return model
    return open_model(model, deadlines=Deadlines(first_byte=timeout, idle=timeout, total=timeout))


def run_command(arguments: Sequence[str]) -> int:
    """Run a command and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # an output that is not UTF-8 must not fail
    command = typer.main.get_command(app)
    try:
        return int(command.main(list(arguments), prog_name="agentkit", standalone_mode=False) or 0)
    except typer.TyperException as error:
        print_error(usage_error(error, command, arguments))
        return 2
    except typer.Abort:
        return 130


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
    with_: _WithOption = None,
    instructions: _InstructionsOption = "",
    timeout: _TimeoutOption = None,
    max_turns: Annotated[
        int | None, typer.Option("--max-turns", min=1, metavar="N", help=f"{_TURNS_HELP}; {_TURNS} by default.")
    ] = None,
    state: Annotated[
        str, typer.Option("--state", metavar="FILE", help="Save the state of the run here, for `agentkit resume`.")
    ] = "",
    session: _SessionOption = None,
    as_json: _JsonOption = False,
    debug: _DebugOption = False,
) -> None:
    """Answer one question.

    The answer goes to standard output, tool calls and notes to standard error. On a terminal you are asked about calls
    that need approval; elsewhere the run pauses with exit code 4. With --session and no question, the last run of the
    session is resumed.

    \b
    agentkit run --model openai:gpt-5-mini --tools tools.py:add "What is 19 + 23?"
    agentkit run --with files:notes --with http:api.example.com "What is in my notes?"
    agentkit run --session chat.db:ada "I am Ada."
    """  # noqa: D301
    with handle_errors(debug=debug):
        if prompt is None and session is None:
            raise ConfigError("the question is missing; `agentkit run --help` says more")
        if state and session is not None:
            raise ConfigError("a run is saved in a session or in a file: give --session or --state, not both")
        limits = Limits(turns=max_turns or _TURNS)
        agent = Agent(_open(model, timeout), tools=_load(tools, with_), instructions=instructions, limits=limits)
        resume_command = _resume_command(state, session)
        if state:
            check_unused(state, resume_command)
        if prompt == "-":
            try:
                prompt = sys.stdin.read()
            except UnicodeDecodeError as error:
                raise ConfigError(f"standard input is not {error.encoding} text: {error.reason}") from error
        save = _Save(state, None if session is None else open_session(session, existing=prompt is None), resume_command)
        more_turns = None
        if session is not None and save.session is not None:
            if prompt is not None:
                check_nothing_waits(save.session, session)
            else:
                _check_tools(agent, last_state(save.session))
                more_turns = limits if max_turns is not None else None
        raise typer.Exit(_answer(agent, prompt, save, limits=more_turns, as_json=as_json))


@app.command()
def resume(  # noqa: PLR0913 - each is an option of the command
    state: Annotated[
        str, typer.Argument(metavar="FILE", help="The file of --state; the run is saved there again.")
    ] = "",
    session: _SessionOption = None,
    approve: _ApproveOption = None,
    deny: _DenyOption = None,
    answer: _AnswerOption = None,
    model: _ModelOption = "local",
    tools: _ToolsOption = None,
    with_: _WithOption = None,
    instructions: _InstructionsOption = "",
    timeout: _TimeoutOption = None,
    as_json: _JsonOption = False,
    debug: _DebugOption = False,
) -> None:
    """Resume a run that was saved, with the same model, tools and instructions.

    \b
    agentkit run --tools tools.py --state run.json "Clean up."
    agentkit resume run.json --tools tools.py --approve call_1
    agentkit resume --session chat.db:ada --tools tools.py --approve call_1
    """  # noqa: D301
    with handle_errors(debug=debug):
        if state and session is not None:
            raise ConfigError("a run is saved in a session or in a file: give FILE or --session, not both")
        if not state and session is None:
            raise ConfigError("say what to resume: the FILE of --state, or --session FILE:NAME")
        stored = None if session is None else open_session(session, existing=True)
        if stored is None:
            check_not_a_session(state)
        saved = load_state(state) if stored is None else last_state(stored)
        decide(saved, approve or (), deny or (), answer or ())
        agent = Agent(_open(model, timeout), tools=_load(tools, with_), instructions=instructions)
        _check_tools(agent, saved)
        save = _Save(state, stored, _resume_command(state, session))
        raise typer.Exit(_answer(agent, saved, save, as_json=as_json))


@app.command()
def chat(  # noqa: PLR0913 - each is an option of the command
    model: _ModelOption = "local",
    tools: _ToolsOption = None,
    with_: _WithOption = None,
    instructions: _InstructionsOption = "",
    timeout: _TimeoutOption = None,
    max_turns: Annotated[int, typer.Option("--max-turns", min=1, metavar="N", help=f"{_TURNS_HELP}.")] = _TURNS,
    session: _SessionOption = None,
    as_json: _JsonOption = False,
    debug: _DebugOption = False,
) -> None:
    """Talk with a model; /quit or Ctrl-D ends, Ctrl-C stops an answer.

    \b
    agentkit chat --model ollama:qwen3 --tools tools.py --session chat.db:ada
    """  # noqa: D301
    with handle_errors(debug=debug):
        agent = Agent(
            _open(model, timeout), tools=_load(tools, with_), instructions=instructions, limits=Limits(turns=max_turns)
        )
        stored = None if session is None else open_session(session)
        waiting = None if stored is None else waiting_state(stored)
        if waiting is not None:
            _check_tools(agent, waiting)
        if sys.stdin.isatty() and not as_json:
            what = [one_line(model), f"tools: {', '.join(agent.tools)}" if agent.tools else "no tools"]
            what += [] if stored is None else [describe(stored)]
            typer.echo(f"{', '.join(what)}; /quit or Ctrl-D ends, Ctrl-C stops an answer", err=True)
        display = open_display(sys.stdout, as_json=as_json)
        report_failure = functools.partial(report_error, debug=debug)
        raise typer.Exit(converse(agent, display, report_failure, stored, _resume_command("", session)))


@app.command()
def tools(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="MODULE[:NAME]...", help="A module or file.py, or tools in it.")
    ] = None,
    with_: _WithOption = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Print what they can do, and what could be better; exit with 1 if any could."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, also with --check.")] = False,
    debug: _DebugOption = False,
) -> None:
    """Print the JSON schemas of tools as a model gets them, or what they can do and what could be better about them.

    \b
    agentkit tools tools.py
    agentkit tools --check my_package.tools:add
    agentkit tools --check --with files:. --with http:api.example.com
    """  # noqa: D301
    with handle_errors(debug=debug):
        if not names and not with_:
            raise ConfigError("say which tools: MODULE[:NAME], or --with NAME; `agentkit tools --help` says more")
        found = _load(names, with_)
        if check:
            raise typer.Exit(1 if report(found, as_json=as_json, write=typer.echo) else 0)
        schemas = [tool.definition.to_wire() for tool in found]
        typer.echo(printable(json.dumps(schemas, indent=2, ensure_ascii=not sys.stdout.isatty())))


@app.command()
def doctor(
    where: Annotated[str, typer.Argument(metavar="MODEL|URL", help="PROVIDER:MODEL, local, or a URL.")] = "local",
    name: Annotated[str, typer.Option("--name", metavar="MODEL", help="The model's name at the URL.")] = "",
    key_variable: Annotated[
        str, typer.Option("--key-variable", metavar="NAME", help="The variable that holds the key for the URL.")
    ] = "",
    timeout: Annotated[
        float, typer.Option("--timeout", min=1, metavar="SECONDS", help="Longest wait for one reply.")
    ] = REPLY_SECONDS,
    save: Annotated[str, typer.Option("--save", metavar="FILE", help="Save what was learned, for profile_file=.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    debug: _DebugOption = False,
) -> None:
    """Find out what a model and its server can do, with about sixteen small requests.

    \b
    agentkit doctor ollama:qwen3
    agentkit doctor http://127.0.0.1:8000/v1 --name qwen3 --save profiles.json
    """  # noqa: D301
    with handle_errors(debug=debug):
        examination = Examination(
            model=find_model(where, name, key_variable),
            name=where,
            seconds=timeout,
            as_json=as_json,
            save=save,
            write=lambda text: typer.echo(printable(text)),
        )
        examination.run()


@models_app.callback(invoke_without_command=True)
def models(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    debug: _DebugOption = False,
) -> None:
    """List where models can be; `agentkit models pull` downloads the embedded one.

    \b
    agentkit models
    agentkit models pull
    """  # noqa: D301
    if context.invoked_subcommand is None:
        with handle_errors(debug=debug):
            found = list_models()
            typer.echo(json.dumps(found.to_json(), indent=2) if as_json else found.to_text())


@models_app.command()
def pull(debug: _DebugOption = False) -> None:
    """Download the weights of the embedded model (98 MB) into a cache, check their SHA-256, and prepare the model."""
    with handle_errors(debug=debug):
        typer.echo(f"looking for {local.WEIGHTS} ...", err=True)
        typer.echo(f"the embedded model's weights are in {local.pull()}")
        if importlib.util.find_spec("xllamacpp") is not None:
            typer.echo("the model reads its examples ...", err=True)
            anyio.run(local.open_model("").prepare)


# What the commands share.


@dataclass(frozen=True, slots=True)
class _Save:
    """The place where a run is saved, if any, and the command that resumes it from there."""

    file: str
    session: StoredSession | None
    resume_command: str


def _answer(
    agent: Agent, prompt: str | RunState | None, save: _Save, *, limits: Limits | None = None, as_json: bool
) -> int:
    """Run, save the state in the file if there is one, and return the exit code."""
    if save.file:
        check_writable(save.file, "state")
    display = open_display(sys.stdout, as_json=as_json)
    can_ask = sys.stdin.isatty() and sys.stderr.isatty() and not as_json
    ask_agent = functools.partial(ask, agent, display=display, session=save.session, limits=limits)
    try:
        result = ask_agent(prompt)
        if can_ask:
            result, _ = settle(result, ask_agent)
    except KeyboardInterrupt:
        if save.resume_command and display.state is not None and not as_json:
            typer.echo(f"`{save.resume_command}` resumes it, given the same model and tools", err=True)
        raise
    finally:
        if save.file and display.state is not None:
            write_private(save.file, display.state.to_json(), "state")
    if result.status == "paused" and not as_json:
        # A session stores no decisions about only some of the calls: the others are listed together with them.
        paused = result.state if save.session is None else last_state(save.session)
        list_pending(paused, save.resume_command, seen=can_ask)
    return {"limited": 3, "paused": 4}.get(result.status, 0)


def _resume_command(file: str, session: str | None) -> str:
    """The command that resumes the run; empty if it is not saved."""
    place = ["--session", session] if session is not None else [file] if file else []
    return one_line(shlex.join(["agentkit", "resume", *place])) if place else ""


def _check_tools(agent: Agent, state: RunState) -> None:
    known = state.fingerprints.get(state.agent)
    if known and not agent.tools:
        names = ", ".join(sorted(known))
        raise StateError(f"this run has the tools {names}: give the same --tools and --with as when it was started")


def _load(names: Sequence[str] | None, toolsets: Sequence[str] | None) -> list[Tool]:
    with contextlib.redirect_stdout(sys.stderr):  # what a module prints is not part of the answer
        return load_tools(names or (), toolsets or ())
