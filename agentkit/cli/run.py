"""``agentkit run`` and ``agentkit resume``: one question to an agent."""

from __future__ import annotations

import functools
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from pydantic_core import to_json

from agentkit import RunState
from agentkit.cli.agents import OpenAgent, Setup, open_again, open_agent
from agentkit.cli.approvals import decide, list_pending, settle
from agentkit.cli.conversation import ask
from agentkit.cli.errors import handle_errors
from agentkit.cli.files import check_unused, check_writable, load_state, write_private
from agentkit.cli.inputs import read_prompt
from agentkit.cli.live import open_display
from agentkit.cli.load import is_place
from agentkit.cli.logs import data_directory, is_on
from agentkit.cli.options import (
    AnswerOption,
    ApproveOption,
    AttachOption,
    DebugOption,
    DenyOption,
    DepsOption,
    InstructionsOption,
    JsonOption,
    LimitOption,
    McpOption,
    ModelOption,
    ParameterOption,
    SchemaOption,
    SessionOption,
    TimeoutOption,
    ToolsOption,
    TraceOption,
    WithOption,
)
from agentkit.cli.sessions import check_not_a_session, check_nothing_waits, last_state, open_session
from agentkit.cli.terminal_text import one_line, printable
from agentkit.errors import ConfigError
from agentkit.run import Prompt
from agentkit.sessions import StoredSession

__all__ = ["resume", "resume_command_of", "run"]


def run(  # noqa: PLR0913 - each is an option of the command
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[AGENT] PROMPT", help="An agent, such as app.py:agent, and the question; - reads standard input."
        ),
    ] = None,
    attach: AttachOption = None,
    model: ModelOption = "",
    tools: ToolsOption = None,
    with_: WithOption = None,
    mcp: McpOption = None,
    instructions: InstructionsOption = "",
    deps: DepsOption = "",
    parameters: ParameterOption = None,
    limits: LimitOption = None,
    schema: SchemaOption = "",
    timeout: TimeoutOption = None,
    state: Annotated[
        str, typer.Option("--state", metavar="FILE", help="Save the state of the run here, for `agentkit resume`.")
    ] = "",
    session: SessionOption = None,
    trace: TraceOption = "",
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Answer one question.

    The answer goes to standard output, tool calls and notes to standard error. Piped input is sent before the question,
    or is the question. On a terminal you are asked about calls that need approval; elsewhere the run pauses
    with exit code 4. With --session and no question, the last run of the session is resumed.

    \b
    agentkit run --model openai:gpt-5-mini --tools tools.py:add "What is 19 + 23?"
    agentkit run app.py:agent --deps app.py:connect "Which orders are late?"
    cat notes.txt | agentkit run "Summarize"
    agentkit run -a photo.jpg "What is this?"
    agentkit run --session chat.db:ada "I am Ada."
    """  # noqa: D301
    with handle_errors(debug=debug):
        agent, question = _split_words(words or ())
        prompt = read_prompt(question, attach or ())
        _check_places(prompt, state, session)
        setup = Setup(agent, model, tools, with_, instructions, deps, parameters, limits, schema, timeout, mcp)
        stored = None if session is None else open_session(session, existing=prompt is None)
        opened = open_agent(setup) if stored is None or prompt is not None else open_again(last_state(stored), setup)
        resume_command = resume_command_of(state, session)
        if state:
            check_unused(state, resume_command)
        if session is not None and stored is not None and prompt is not None:
            check_nothing_waits(stored, session)
        raise typer.Exit(_answer(opened, prompt, _Save(state, stored, resume_command), trace=trace, as_json=as_json))


def resume(  # noqa: PLR0913 - each is an option of the command
    state: Annotated[
        str, typer.Argument(metavar="FILE", help="The file written by --state; the run is saved there again.")
    ] = "",
    session: SessionOption = None,
    approve: ApproveOption = None,
    deny: DenyOption = None,
    answer: AnswerOption = None,
    agent: Annotated[
        str, typer.Option("--agent", metavar="MODULE[:NAME]", help="The agent, if the log no longer knows it.")
    ] = "",
    model: ModelOption = "",
    tools: ToolsOption = None,
    with_: WithOption = None,
    mcp: McpOption = None,
    instructions: InstructionsOption = "",
    deps: DepsOption = "",
    parameters: ParameterOption = None,
    limits: LimitOption = None,
    schema: SchemaOption = "",
    timeout: TimeoutOption = None,
    trace: TraceOption = "",
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Resume a saved run with the agent, model and tools it was started with.

    They are read from the log of runs; options override them.

    \b
    agentkit run --tools tools.py --state run.json "Clean up."
    agentkit resume run.json --approve call_1
    agentkit resume --session chat.db:ada --approve call_1
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
        setup = Setup(agent, model, tools, with_, instructions, deps, parameters, limits, schema, timeout, mcp)
        opened = open_again(saved, setup)
        save = _Save(state, stored, resume_command_of(state, session))
        raise typer.Exit(_answer(opened, saved, save, trace=trace, as_json=as_json))


def _check_places(prompt: Prompt | None, state: str, session: str | None) -> None:
    if prompt is None and session is None:
        raise ConfigError("the question is missing; `agentkit run --help` says more")
    if state and session is not None:
        raise ConfigError("a run is saved in a session or in a file: give --session or --state, not both")


def _split_words(words: Sequence[str]) -> tuple[str, str | None]:
    """Split the arguments into the agent, if there is one, and the question."""
    agent, rest = (words[0], words[1:]) if words and is_place(words[0]) else ("", words)
    if len(rest) > 1:
        raise ConfigError("the question must be one argument: put it in quotes; `agentkit run --help` says more")
    return agent, rest[0] if rest else None


@dataclass(frozen=True, slots=True)
class _Save:
    """Where a run is saved, if anywhere, and the command that resumes it from there."""

    file: str
    session: StoredSession | None
    resume_command: str


def _answer(opened: OpenAgent, prompt: Prompt | RunState | None, save: _Save, *, trace: str, as_json: bool) -> int:
    """Run, save the state in the file if there is one, and return the exit code."""
    if save.file:
        check_writable(save.file, "state")
    display = open_display(sys.stdout, as_json=as_json, streams=not opened.has_tools, trace=trace)
    display.writes_answer = not opened.is_typed
    can_ask = sys.stdin.isatty() and sys.stderr.isatty() and not as_json
    ask_agent = functools.partial(ask, opened, display=display, session=save.session)
    try:
        with opened.hold():
            result = ask_agent(prompt)
            if can_ask:
                result, _ = settle(result, ask_agent)
    except KeyboardInterrupt:
        if save.resume_command and display.state is not None and not as_json:
            typer.echo(f"`{save.resume_command}` resumes it", err=True)
        raise
    finally:
        if save.file and display.state is not None:
            write_private(save.file, display.state.to_json(), "state")
    if result.status == "paused" and can_ask and not save.resume_command and is_on():
        save = _save_paused(result.state)
    if result.status == "done" and save.file and Path(save.file).parent == _paused_directory():
        Path(save.file).unlink()  # it was saved only to be resumed
    if result.has_output and opened.is_typed and not as_json:
        typer.echo(printable(to_json(result.output, indent=2, fallback=repr).decode()))
    if result.status == "paused" and not as_json:
        # A session stores no partial decisions, so the calls that were decided are listed again with the others.
        paused = result.state if save.session is None else last_state(save.session)
        list_pending(paused, save.resume_command, seen=can_ask)
    return {"limited": 3, "paused": 4}.get(result.status, 0)


def _save_paused(state: RunState) -> _Save:
    """Save a run that was left undecided, because asking again would cost as much again."""
    file = _paused_directory() / f"{state.run_id}.json"
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(str(file), state.to_json(), "state")
    return _Save(str(file), None, resume_command_of(str(file), None))


def _paused_directory() -> Path:
    return data_directory() / "paused"


def resume_command_of(file: str, session: str | None) -> str:
    """Return the command that resumes the run; empty if it is not saved."""
    place = ["--session", session] if session is not None else [file] if file else []
    return one_line(shlex.join(["agentkit", "resume", *place])) if place else ""
