"""How a command ends: whatever it raises becomes a sentence on standard error and an exit code."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import sys
import traceback
from collections.abc import Generator, Sequence

import typer

from agentkit.cli.output import NotesConsole
from agentkit.cli.terminal_text import one_line, printable
from agentkit.errors import (
    AgentKitError,
    AuthenticationFailed,
    ConfigError,
    DefinitionError,
    NotFound,
    SessionBusy,
    SessionConflict,
    SessionError,
    StateError,
)

__all__ = ["complain", "reported", "say_error", "usage"]

_BAD_INPUT = (ConfigError, DefinitionError, AuthenticationFailed, NotFound, StateError)
_WRONG_FILE = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)


@contextlib.contextmanager
def reported(*, debug: bool) -> Generator[None]:
    """Turn whatever a command raises into a sentence and an exit code."""
    _log_to_stderr(debug=debug)
    try:
        yield
    except typer.Exit:
        raise
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except BrokenPipeError:
        _drop_output()
        raise typer.Exit(141) from None
    except Exception as error:  # noqa: BLE001 - tools and models are anybody's code
        raise typer.Exit(complain(error, debug=debug)) from None


def complain(error: Exception, *, debug: bool) -> int:
    """Say what went wrong, with a traceback if wanted; the exit code for it."""
    if debug:
        sys.stderr.write(printable("".join(traceback.format_exception(error))))
    if isinstance(error, AgentKitError):
        say_error(str(error))
    else:
        say_error(f"{type(error).__name__}: {error} (--debug shows where)")
    return 2 if isinstance(error, _BAD_INPUT) or _is_wrong_file(error) else 1


def _is_wrong_file(error: Exception) -> bool:
    """Whether another file has to be given. One that is locked, or damaged, or has no room, may be the right one."""
    if not isinstance(error, SessionError) or isinstance(error, SessionBusy | SessionConflict):
        return False
    cause = error.__cause__
    return not isinstance(cause, sqlite3.Error) or getattr(cause, "sqlite_errorcode", 0) & 0xFF in _WRONG_FILE


def say_error(sentence: str) -> None:
    """Print an error in one line."""
    NotesConsole().say(("error: ", "bold red"), one_line(sentence))


def usage(error: typer.TyperException, command: object, given: Sequence[str]) -> str:
    """What is wrong with what was typed, and which help says more."""
    path = "agentkit"
    for word in given:
        command = getattr(command, "commands", {}).get(word)
        if command is None:
            break
        path += f" {word}"
    message = error.format_message().rstrip(".")
    if path.endswith(" run") and "unexpected extra" in message:
        message = "the question is one argument: put it into quotes"
    return f"{message}; `{path} --help` says more"


class _PrintableFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def _log_to_stderr(*, debug: bool) -> None:
    """Show agentkit's log only for debugging: what it tells of a run is shown already."""
    handler = logging.StreamHandler() if debug else logging.NullHandler()
    handler.setFormatter(_PrintableFormatter("%(name)s: %(message)s"))
    logging.getLogger("agentkit").handlers[:] = [handler]


def _drop_output() -> None:
    """Nobody reads any more: let the interpreter's last flush go nowhere instead of failing."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
