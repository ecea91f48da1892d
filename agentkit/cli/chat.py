"""``agentkit chat``: a conversation in a terminal."""

from __future__ import annotations

import functools
import sys
from typing import Annotated

import typer

from agentkit import Agent, Limits
from agentkit.cli.agents import load, open_named, require_tools
from agentkit.cli.conversation import converse
from agentkit.cli.errors import handle_errors, report_error
from agentkit.cli.options import (
    TURNS,
    TURNS_HELP,
    DebugOption,
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
from agentkit.cli.run import resume_command_of
from agentkit.cli.sessions import describe, open_session, waiting_state
from agentkit.cli.terminal_text import one_line

__all__ = ["chat"]


def chat(  # noqa: PLR0913 - each is an option of the command
    model: ModelOption = "local",
    tools: ToolsOption = None,
    with_: WithOption = None,
    instructions: InstructionsOption = "",
    timeout: TimeoutOption = None,
    max_turns: Annotated[int, typer.Option("--max-turns", min=1, metavar="N", help=f"{TURNS_HELP}.")] = TURNS,
    session: SessionOption = None,
    trace: TraceOption = "",
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Talk with a model; /quit or Ctrl-D ends, Ctrl-C stops an answer.

    \b
    agentkit chat --model ollama:qwen3 --tools tools.py --session chat.db:ada
    """  # noqa: D301
    with handle_errors(debug=debug):
        agent = Agent(
            open_named(model, timeout),
            tools=load(tools, with_),
            instructions=instructions,
            limits=Limits(turns=max_turns),
        )
        stored = None if session is None else open_session(session)
        waiting = None if stored is None else waiting_state(stored)
        if waiting is not None:
            require_tools(agent, waiting)
        if sys.stdin.isatty() and not as_json:
            what = [one_line(model), f"tools: {', '.join(agent.tools)}" if agent.tools else "no tools"]
            what += [] if stored is None else [describe(stored)]
            typer.echo(f"{', '.join(what)}; /quit or Ctrl-D ends, Ctrl-C stops an answer", err=True)
        display = open_display(sys.stdout, as_json=as_json, trace=trace)
        report_failure = functools.partial(report_error, debug=debug)
        raise typer.Exit(converse(agent, display, report_failure, stored, resume_command_of("", session)))
