"""Files that commands write, such as states and exports: readable by their owner only, and written atomically."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from agentkit.chat import write_atomically
from agentkit.errors import ConfigError, StateError
from agentkit.run import RunState

__all__ = ["check_unused", "check_writable", "load_state", "write_private"]


def load_state(path: str) -> RunState:
    """Load the state of a run from a file.

    Raises:
        ConfigError: The file cannot be read.
        StateError: It is not a state.
    """
    try:
        stored = Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"the state {path!r} cannot be read: {error.strerror}") from None
    if stored.startswith(b"SQLite format 3\0"):
        raise ConfigError(f"{path!r} is a session file: pass it as --session {path}:NAME")
    try:
        return RunState.load(stored)
    except StateError as error:
        raise StateError(f"{path!r}: {error}") from None


def check_unused(path: str, resume_command: str) -> None:
    """Check that a new run can be saved in a file: it is new or empty, or holds a run that waits for no decision.

    Raises:
        ConfigError: The file cannot be written.
        StateError: It holds a run that waits, or something else.
    """
    check_writable(path, "state")
    if not Path(path).exists() or not Path(path).stat().st_size:
        return
    try:
        state = load_state(path)
    except (ConfigError, StateError) as error:
        raise StateError(f"{error}, and would be overwritten: name another file for --state") from None
    if state.pending:
        names = ", ".join(each.name for each in state.pending)
        raise StateError(
            f"{path!r} holds a run that waits for decisions about {names}: "
            f"decide with `{resume_command}`, or name another file"
        )


def write_private(path: str, text: str, what: str) -> None:
    """Write a file atomically, readable by its owner only.

    Args:
        path: The file; one that exists is replaced.
        text: Its content.
        what: What it is, for the error.

    Raises:
        ConfigError: It cannot be written, or something other than a file is there.
    """
    _check_kind(path, what)
    try:
        write_atomically(path, text)
    except OSError as error:
        raise ConfigError(f"the {what} cannot be written to {path!r}: {error.strerror}") from None


def check_writable(path: str, what: str) -> None:
    """Check that `write_private` can write a file, before work is done for it.

    Raises:
        ConfigError: It cannot be written, or something other than a file is there.
    """
    _check_kind(path, what)
    try:
        with tempfile.TemporaryFile(dir=Path(os.path.realpath(path)).parent):
            pass
    except OSError as error:
        raise ConfigError(f"the {what} cannot be written to {path!r}: {error.strerror}") from None


def _check_kind(path: str, what: str) -> None:
    if Path(path).exists() and not Path(path).is_file():
        raise ConfigError(f"the {what} cannot be written to {path!r}: it is not a file")
