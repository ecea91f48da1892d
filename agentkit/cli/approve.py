"""Calls that wait for a decision: asked about on a terminal, listed elsewhere, and decided by options."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import shlex
import sys
from collections.abc import Callable, Generator, Iterable, Sequence
from pathlib import Path
from typing import Any

from agentkit.cli.output import NotesConsole
from agentkit.cli.terminal_text import one_line, printable
from agentkit.errors import ConfigError, StateError
from agentkit.run.decisions import PendingCall
from agentkit.run.state import RunResult, RunState

__all__ = [
    "QUIT",
    "check_free",
    "check_writable",
    "decide",
    "list_pending",
    "load_state",
    "read_line",
    "save_state",
    "settle",
    "write_private",
]

QUIT = "/quit"

_CHOICES = "[y]es, [n]o, [a]lways this tool, or why not: "


class _Quit(EOFError):
    """Somebody typed /quit at a question."""


def settle(result: RunResult, go_on: Callable[[RunState], RunResult]) -> tuple[RunResult, bool]:
    """Ask about the calls that wait and let the run go on, until it ends or nobody wants to answer (Ctrl-C, Ctrl-D).

    Returns:
        What the run came to, and whether ``/quit`` was typed. What was decided until then is kept in its state.
    """
    while result.status == "paused":
        try:
            _ask_about(result.state)
        except _Quit:
            return result, True
        except (EOFError, KeyboardInterrupt):
            sys.stderr.write("\n")
            break
        result = go_on(result.state)
    return result, False


def _ask_about(state: RunState) -> None:
    """Decide about each call that waits."""
    notes = NotesConsole()
    while state.pending:
        _ask(state, state.pending[0], notes)


def _ask(state: RunState, call: PendingCall, notes: NotesConsole) -> None:
    _show(call, notes)
    _forget_what_was_typed()
    said = read_line("its result: " if call.external else _CHOICES).strip()
    match said.lower():
        case "":
            pass  # it is asked again
        case _ if said == QUIT:
            raise _Quit
        case _ if call.external:
            state.answer(call.id, said)
        case "y" | "yes":
            state.approve(call.id)
        case "a" | "always":
            state.approve(call.id, always="tool")
        case "n" | "no":
            state.deny(call.id)
        case _:
            state.deny(call.id, said)


def _show(call: PendingCall, notes: NotesConsole, *before: tuple[str, str]) -> None:
    """All that the tool would get, each argument on a line of its own, as JSON, nothing left out."""
    notes.say(*before, (one_line(call.name), "bold"), (f"  {one_line(call.reason)}", "dim"))
    for name, value in call.arguments.items():
        label = name if name.isidentifier() else _json(name)
        notes.say(f"  {printable(label)} = {printable(_json(value))}")


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def list_pending(calls: Iterable[PendingCall], go_on: str, *, seen: bool = False) -> None:
    """Show which calls wait, and the options that decide about them if the run is kept.

    Args:
        calls: Those that wait.
        go_on: The command that goes on with the run; empty if nothing keeps it.
        seen: Whether somebody was asked about them already, so that they are shown only with the options.
    """
    notes = NotesConsole()
    for call in calls if go_on or not seen else ():
        _show(call, notes, ("waits  ", "yellow"))
        if go_on:
            id_ = shlex.quote(one_line(call.id))
            notes.say(f"  --answer {id_}=TEXT" if call.external else f"  --approve {id_}, or --deny {id_}")
    if go_on:
        notes.say(f"decide with `{go_on}` and these options")
    else:
        notes.say("nothing keeps this run: with --session FILE:NAME it could wait for decisions")


def decide(state: RunState, approve: Sequence[str], deny: Sequence[str], answer: Sequence[str]) -> None:
    """Decide as the options of ``resume`` say: ``ID`` to approve, ``ID=REASON`` to deny, ``ID=TEXT`` to answer.

    Raises:
        ConfigError: An option has no text.
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


def load_state(path: str) -> RunState:
    """The state in a file.

    Raises:
        ConfigError: It cannot be read.
        StateError: It is no state.
    """
    try:
        stored = Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"the state {path!r} cannot be read: {error.strerror}") from None
    if stored.startswith(b"SQLite format 3\0"):
        raise ConfigError(f"{path!r} is a file of sessions: give it as --session {path}:NAME")
    try:
        return RunState.load(stored)
    except StateError as error:
        raise StateError(f"{path!r}: {error}") from None


def check_free(path: str, go_on: str) -> None:
    """See to it that a new run can be kept in a file: it is new or empty, or holds a run that waits for nobody.

    Raises:
        ConfigError: It cannot be written.
        StateError: A run waits in it, or there is something else in it.
    """
    check_writable(path, "state")
    if not Path(path).exists() or not Path(path).stat().st_size:
        return
    try:
        state = load_state(path)
    except (ConfigError, StateError) as error:
        raise StateError(f"{error}; it would be overwritten: name another file for --state") from None
    if state.pending:
        names = ", ".join(each.name for each in state.pending)
        raise StateError(
            f"{path!r} holds a run that waits for decisions about {names}: decide with `{go_on}`, or name another file"
        )


def save_state(path: str, state: RunState) -> None:
    """Write a state for its owner only, whole or not at all.

    Raises:
        ConfigError: It cannot be written.
    """
    write_private(path, state.to_json(), "state")


def write_private(path: str, text: str, what: str) -> None:
    """Write a file for its owner only, whole or not at all.

    Raises:
        ConfigError: It cannot be written, or there is something else than a file.
    """
    with _beside(path, what) as beside:
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)


def check_writable(path: str, what: str) -> None:
    """See to it that `write_private` can write a file, before work is done for it.

    Raises:
        ConfigError: It cannot be written, or there is something else than a file.
    """
    with _beside(path, what):
        pass


@contextlib.contextmanager
def _beside(path: str, what: str) -> Generator[Path]:
    """A new file beside the one that is to be written, which is gone afterwards if it has not become that."""
    beside = Path(f"{path}.{os.getpid()}.new")
    try:
        if Path(path).exists() and not Path(path).is_file():
            raise ConfigError(f"the {what} cannot be written to {path!r}: it is not a file")
        beside.touch(mode=0o600, exist_ok=False)
        yield beside
    except OSError as error:
        raise ConfigError(f"the {what} cannot be written to {path!r}: {error.strerror}") from None
    finally:
        with contextlib.suppress(OSError):
            beside.unlink()


def read_line(prompt: str) -> str:
    """A line that is typed on the terminal.

    Raises:
        EOFError: Ctrl-D.
    """
    if sys.stdout.isatty():
        return input(prompt)
    sys.stderr.write(prompt)
    sys.stderr.flush()
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line


def _forget_what_was_typed() -> None:
    """What was typed before the question was there is no answer to it."""
    with contextlib.suppress(ImportError, OSError, ValueError):  # not on Windows; not a terminal
        termios: Any = importlib.import_module("termios")
        termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)
