"""Calls that wait for a decision: a person is asked on a terminal; elsewhere they are listed, and options decide."""

from __future__ import annotations

import contextlib
import importlib
import json
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import Any

from agentkit.cli.console import NotesConsole
from agentkit.cli.terminal_text import one_line, printable, written_arguments
from agentkit.errors import ConfigError
from agentkit.messages import AssistantMessage
from agentkit.run import PendingCall, RunResult, RunState

__all__ = ["QUIT", "decide", "list_pending", "read_line", "settle"]

QUIT = "/quit"


class _Quit(EOFError):
    """Somebody typed ``/quit`` instead of a decision."""


def settle(result: RunResult[str], resume: Callable[[RunState], RunResult[str]]) -> tuple[RunResult[str], bool]:
    """Ask about the calls that wait and resume the run, until it ends or nobody wants to answer (Ctrl-C, Ctrl-D).

    Returns:
        The last result, and whether ``/quit`` was typed. The decisions made until then are in its state.
    """
    while result.status == "paused":
        try:
            while result.state.pending:
                _ask_about(result.state.pending[0], result.state)
        except _Quit:
            return result, True
        except (EOFError, KeyboardInterrupt):
            sys.stderr.write("\n")
            break
        result = resume(result.state)
    return result, False


def _ask_about(call: PendingCall, state: RunState) -> None:
    """Ask for a decision about a call. An empty line decides nothing."""
    _show(call, state)
    with contextlib.suppress(ImportError, OSError, ValueError):  # not on Windows; not a terminal
        termios: Any = importlib.import_module("termios")
        termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)  # whatever was typed before is no answer to this
    prompt = "its result: " if call.external else "[y]es, [n]o, [a]lways this tool, or why not: "
    match read_line(prompt).strip():
        case "":
            pass
        case said if said == QUIT:
            raise _Quit
        case said if call.external:
            state.answer(call.id, said)
        case said if said.lower() in ("y", "yes"):
            state.approve(call.id)
        case said if said.lower() in ("a", "always"):
            state.approve(call.id, always="tool")
        case said:
            state.deny(call.id, "" if said.lower() in ("n", "no") else said)


def _show(call: PendingCall, state: RunState, *before: tuple[str, str]) -> None:
    """Show everything that the tool would get, exactly: one argument a line, as JSON, with nothing left out."""
    notes = NotesConsole()
    notes.say(*before, (one_line(call.name), "bold"), (f"  {one_line(call.reason)}", "dim"))
    calls = (each for message in state.messages if isinstance(message, AssistantMessage) for each in message.tool_calls)
    written = next((written_arguments(each) for each in reversed([*calls]) if each.id == call.id), None)
    if written is None:
        written = {name: json.dumps(value, ensure_ascii=False) for name, value in call.arguments.items()}
    for name, value in written.items():
        label = name if name.isidentifier() else json.dumps(name, ensure_ascii=False)
        notes.say(f"  {printable(label)} = {printable(value)}")


def list_pending(state: RunState, resume_command: str, *, seen: bool = False) -> None:
    """Show which calls wait, and the options that decide about them if the run is saved.

    Args:
        state: The run.
        resume_command: The command that resumes it; empty if it is not saved anywhere.
        seen: A person was asked about the calls already, so that they are shown only with the options.
    """
    notes = NotesConsole()
    for call in state.pending if resume_command or not seen else ():
        _show(call, state, ("waits  ", "yellow"))
        if resume_command:
            id_ = shlex.quote(one_line(call.id))
            notes.say(f"  --answer {id_}=TEXT" if call.external else f"  --approve {id_}, or --deny {id_}")
    if resume_command:
        notes.say(f"decide with `{resume_command}` and these options")
    else:
        notes.say("this run is not saved: with --session FILE:NAME it could wait for decisions")


def decide(state: RunState, approve: Sequence[str], deny: Sequence[str], answer: Sequence[str]) -> None:
    """Decide as the options of ``resume`` say: ``ID`` to approve, ``ID=REASON`` to deny, ``ID=TEXT`` to answer.

    Raises:
        ConfigError: An answer has no text.
        StateError: No such call waits.
    """
    for id_ in approve:
        state.approve(id_)
    for given in deny:
        id_, _, reason = given.partition("=")
        state.deny(id_, reason)
    for given in answer:
        id_, equals, text = given.partition("=")
        if not equals:
            raise ConfigError(f"--answer {given!r:.80} has no text: write --answer ID=TEXT")
        state.answer(id_, text)


def read_line(prompt: str) -> str:
    """Read a line that is typed on the terminal.

    Raises:
        EOFError: Ctrl-D.
    """
    if sys.stdout.isatty():
        return input(prompt)
    sys.stderr.write(prompt)  # `input` would write it to standard output
    sys.stderr.flush()
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line
