"""Calls that wait for a decision: on a terminal a person is asked; elsewhere they are listed and options decide."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import json
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import Any

from agentkit.cli.console import NotesConsole
from agentkit.cli.terminal_text import one_line, printable, written_arguments
from agentkit.errors import ConfigError, StateError
from agentkit.messages import AssistantMessage
from agentkit.run import PendingCall, RunResult, RunState

__all__ = ["QUIT", "decide", "is_reason", "list_pending", "read_line", "settle"]

QUIT, _REFUSE = "/quit", "/refuse"
_QUESTION = "Allow? [y]es, [n]o, [a]lways, [e]dit, or type a reason to refuse: "
_SHORTEST = 3  # characters of a reason
_CONSENT = frozenset(
    [
        *("y", "ye", "yes", "yea", "yeah", "yep", "yup", "ya", "ok", "okay", "okey", "k", "sure", "fine", "allow"),
        *("allowed", "approve", "approved", "accept", "accepted", "go", "do", "please", "always", "a", "e", "edit"),
        *("proceed", "continue", "confirm", "confirmed", "agree", "agreed", "alright", "right", "correct", "true"),
        *("good", "great", "run", "1", "t"),
    ]
)
_DIFF_STYLES = {"+": "green", "-": "red", "@": "magenta"}


class _Quit(EOFError):
    """The user typed ``/quit`` instead of a decision."""


def settle(result: RunResult[Any], resume: Callable[[RunState], RunResult[Any]]) -> tuple[RunResult[Any], bool]:
    """Ask about the waiting calls and resume the run, until it ends or the user stops answering (Ctrl-C, Ctrl-D).

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
    """Ask for a decision about a call until there is one. Nothing but a clear yes lets it run."""
    _show(call, state)
    with contextlib.suppress(ImportError, OSError, ValueError):  # not on Windows; not a terminal
        termios: Any = importlib.import_module("termios")
        termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)  # what was typed before is not an answer to this
    while not _is_decided(call, state):
        pass


def _is_decided(call: PendingCall, state: RunState) -> bool:
    """Ask once; return True if the answer decides about the call."""
    said = read_line(f"its result, or {_REFUSE}: " if call.external else _QUESTION).strip()
    answer = said.lower()
    if answer == QUIT:
        raise _Quit
    if call.external:
        if answer == _REFUSE:
            state.deny(call.id)
        elif said:
            state.answer(call.id, said)
    elif answer in ("y", "yes"):
        state.approve(call.id)
    elif answer in ("a", "always"):
        state.approve(call.id, always="tool")
    elif answer in ("e", "edit"):
        return _edit(call, state)
    elif answer in ("n", "no"):
        state.deny(call.id)
    elif is_reason(answer):
        state.deny(call.id, said)
    else:
        NotesConsole().say(("that is neither yes nor no: y lets the call run, n or a reason refuses it", "magenta"))
        return False
    return bool(said)


def is_reason(answer: str) -> bool:
    """Return True if an answer is a reason to refuse: not a command, and nothing that could mean consent."""
    words = re.findall(r"[^\W_]+", answer.lower())
    if answer.startswith("/") or not words or len(answer) < _SHORTEST:
        return False
    return words[0] not in _CONSENT and not difflib.get_close_matches(words[0], ("yes", "always", "edit"), cutoff=0.75)


def _edit(call: PendingCall, state: RunState) -> bool:
    """Ask for other arguments, and approve the call with them."""
    written = json.dumps(dict(call.arguments), ensure_ascii=not sys.stdout.isatty())
    NotesConsole().say((f"the arguments as they are: {printable(written)}", "dim"))
    said = read_line("other arguments, as JSON: ").strip()
    try:
        state.approve(call.id, arguments=json.loads(said))
    except (ValueError, StateError) as error:
        what = one_line(str(error)) if said else "nothing was changed"
        NotesConsole().say((f"the call still waits: {what}", "magenta"))
        return False
    return True


def _show(call: PendingCall, state: RunState, *before: tuple[str, str]) -> None:
    """Show exactly what the tool would get: one argument per line, as JSON, with nothing left out.

    A multi-line reason is what the tool says about the call, such as a diff of the change that it would make.
    """
    notes = NotesConsole()
    first, _, rest = call.reason.strip().partition("\n")
    notes.say(*before, (" > ".join(map(one_line, (*call.path, call.name))), "bold"), (f"  {one_line(first)}", "dim"))
    for line in rest.splitlines():
        notes.say("  ", (printable(line), _DIFF_STYLES.get(line[:1], "")))
    *outer, id_ = call.id.split("/")
    for each in outer:
        state = state.nested.get(each, state)
    calls = (each for message in state.messages if isinstance(message, AssistantMessage) for each in message.tool_calls)
    written = next((written_arguments(each) for each in reversed([*calls]) if each.id in (id_, call.id)), None)
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
        seen: A person was already asked about the calls, so only the options are shown with them.
    """
    notes = NotesConsole()
    for call in state.pending if resume_command or not seen else ():
        _show(call, state, ("waits  ", "magenta"))
        if resume_command:
            id_ = shlex.quote(one_line(call.id))
            notes.say(
                f"  --answer {id_}=TEXT, or --deny {id_}" if call.external else f"  --approve {id_}, or --deny {id_}"
            )
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
    """Read a line from the terminal.

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
