"""``agentkit run`` and ``agentkit resume``: one question to an agent."""

from __future__ import annotations

import functools
import shlex
import sys
from dataclasses import dataclass
from typing import Annotated

import typer

from agentkit import Agent, Limits, RunState
from agentkit.cli.agents import load, open_named, require_tools
from agentkit.cli.approvals import decide, list_pending, settle
from agentkit.cli.conversation import ask
from agentkit.cli.errors import handle_errors
from agentkit.cli.files import check_unused, check_writable, load_state, write_private
from agentkit.cli.options import (
    TURNS,
    TURNS_HELP,
    AnswerOption,
    ApproveOption,
    DebugOption,
    DenyOption,
    InstructionsOption,
    JsonOption,
    ModelOption,
    SessionOption,
    TimeoutOption,
    ToolsOption,
    TraceOption,
    WithOption,
)
from agentkit.cli.output import open_display
from agentkit.cli.sessions import check_not_a_session, check_nothing_waits, last_state, open_session
from agentkit.cli.terminal_text import one_line
from agentkit.errors import ConfigError
from agentkit.sessions import StoredSession

__all__ = ["resume", "run"]


def run(  # noqa: PLR0913 - each is an option of the command
    prompt: Annotated[
        str | None, typer.Argument(metavar="PROMPT", help="The question; - reads it from standard input.")
    ] = None,
    model: ModelOption = "local",
    tools: ToolsOption = None,
    with_: WithOption = None,
    instructions: InstructionsOption = "",
    timeout: TimeoutOption = None,
    max_turns: Annotated[
        int | None, typer.Option("--max-turns", min=1, metavar="N", help=f"{TURNS_HELP}; {TURNS} by default.")
    ] = None,
    state: Annotated[
        str, typer.Option("--state", metavar="FILE", help="Save the state of the run here, for `agentkit resume`.")
    ] = "",
    session: SessionOption = None,
    trace: TraceOption = "",
    as_json: JsonOption = False,
    debug: DebugOption = False,
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
        limits = Limits(turns=max_turns or TURNS)
        agent = Agent(open_named(model, timeout), tools=load(tools, with_), instructions=instructions, limits=limits)
        resume_command = resume_command_of(state, session)
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
                require_tools(agent, last_state(save.session))
                more_turns = limits if max_turns is not None else None
        raise typer.Exit(_answer(agent, prompt, save, limits=more_turns, trace=trace, as_json=as_json))


def resume(  # noqa: PLR0913 - each is an option of the command
    state: Annotated[
        str, typer.Argument(metavar="FILE", help="The file of --state; the run is saved there again.")
    ] = "",
    session: SessionOption = None,
    approve: ApproveOption = None,
    deny: DenyOption = None,
    answer: AnswerOption = None,
    model: ModelOption = "local",
    tools: ToolsOption = None,
    with_: WithOption = None,
    instructions: InstructionsOption = "",
    timeout: TimeoutOption = None,
    trace: TraceOption = "",
    as_json: JsonOption = False,
    debug: DebugOption = False,
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
        agent = Agent(open_named(model, timeout), tools=load(tools, with_), instructions=instructions)
        require_tools(agent, saved)
        save = _Save(state, stored, resume_command_of(state, session))
        raise typer.Exit(_answer(agent, saved, save, trace=trace, as_json=as_json))


@dataclass(frozen=True, slots=True)
class _Save:
    """The place where a run is saved, if any, and the command that resumes it from there."""

    file: str
    session: StoredSession | None
    resume_command: str


def _answer(
    agent: Agent,
    prompt: str | RunState | None,
    save: _Save,
    *,
    limits: Limits | None = None,
    trace: str,
    as_json: bool,
) -> int:
    """Run, save the state in the file if there is one, and return the exit code."""
    if save.file:
        check_writable(save.file, "state")
    display = open_display(sys.stdout, as_json=as_json, trace=trace)
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


def resume_command_of(file: str, session: str | None) -> str:
    """The command that resumes the run; empty if it is not saved."""
    place = ["--session", session] if session is not None else [file] if file else []
    return one_line(shlex.join(["agentkit", "resume", *place])) if place else ""
