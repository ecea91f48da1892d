"""Calls that wait for a decision: asked about on a terminal, listed elsewhere, and decided by options."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from agentkit.cli.show import NotesConsole
from agentkit.cli.text import one_line, printable
from agentkit.errors import ConfigError
from agentkit.run.decisions import PendingCall
from agentkit.run.state import RunResult, RunState

__all__ = ["decide", "list_pending", "load_state", "read_line", "save_state", "settle", "write_private"]

_CHOICES = "[y]es, [n]o, [a]lways this tool, or why not: "


def settle(result: RunResult, go_on: Callable[[RunState], RunResult]) -> RunResult:
    """Ask about the calls that wait and let the run go on, until it ends or nobody wants to answer (Ctrl-C, Ctrl-D)."""
    while result.status == "paused" and _ask_about(result.state):
        result = go_on(result.state)
    return result


def _ask_about(state: RunState) -> bool:
    """Decide about each call that waits; False if that was broken off. What was decided until then is kept."""
    notes = NotesConsole()
    try:
        while state.pending:
            _ask(state, state.pending[0], notes)
    except (EOFError, KeyboardInterrupt):
        sys.stderr.write("\n")
        return False
    return True


def _ask(state: RunState, call: PendingCall, notes: NotesConsole) -> None:
    _show(call, notes)
    _forget_what_was_typed()
    said = read_line("its result: " if call.external else _CHOICES).strip()
    match said.lower():
        case "":
            pass  # it is asked again
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


def _show(call: PendingCall, notes: NotesConsole) -> None:
    """All that the tool would get, each argument on a line of its own, as JSON, nothing left out."""
    notes.say((one_line(call.name), "bold"), (f"  {one_line(call.why)}", "dim"))
    for name, value in call.arguments.items():
        label = name if name.isidentifier() else _json(name)
        notes.say(f"  {printable(label)} = {printable(_json(value))}")


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def list_pending(calls: Iterable[PendingCall]) -> None:
    """Show which calls wait, with the ids to decide about them."""
    notes = NotesConsole()
    for call in calls:
        notes.say(("waits  ", "yellow"), f"{'--answer' if call.external else '--approve'} {one_line(call.id)}")
        _show(call, notes)


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
        return RunState.load(Path(path).read_bytes())
    except OSError as error:
        raise ConfigError(f"the state {path!r} cannot be read: {error.strerror}") from None


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
    beside = Path(f"{path}.{os.getpid()}.new")
    try:
        if Path(path).exists() and not Path(path).is_file():
            raise ConfigError(f"the {what} cannot be written to {path!r}: it is not a file")
        beside.touch(mode=0o600, exist_ok=False)
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise ConfigError(f"the {what} cannot be written to {path!r}: {error.strerror}") from None


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
