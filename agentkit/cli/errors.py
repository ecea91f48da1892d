"""Turn whatever a command raises into a sentence on standard error and an exit code."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import sys
import traceback
from collections.abc import Generator

import typer

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

__all__ = ["handle_errors", "print_error", "report_error", "usage_error"]

_BAD_INPUT = (ConfigError, DefinitionError, AuthenticationFailed, NotFound, StateError)
_WRONG_FILE = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)


@contextlib.contextmanager
def handle_errors(*, debug: bool, serves: bool = False) -> Generator[None]:
    """Turn whatever a command raises into a sentence and an exit code.

    agentkit's log is shown with ``debug``, and by a command that ``serves``, because its clients do not learn what went
    wrong. Otherwise what it says about a run is already on the screen.
    """
    handler = logging.StreamHandler() if debug or serves else logging.NullHandler()
    handler.setFormatter(_PrintableFormatter("%(name)s: %(message)s"))
    logging.getLogger("agentkit").handlers[:] = [handler]
    try:
        yield
    except typer.Exit:
        raise
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except BrokenPipeError:
        with contextlib.suppress(OSError, ValueError):  # the interpreter flushes once more: send that nowhere
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(141) from None
    except Exception as error:  # noqa: BLE001 - tools and models are anybody's code
        raise typer.Exit(report_error(error, debug=debug)) from None


class _PrintableFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def report_error(error: Exception, *, debug: bool) -> int:
    """Print what went wrong, with a traceback for ``debug``.

    Returns:
        The exit code.
    """
    if debug:
        sys.stderr.write(printable("".join(traceback.format_exception(error))))
    ours = isinstance(error, AgentKitError)
    print_error(str(error) if ours else f"{type(error).__name__}: {error} (--debug shows where)")
    return 2 if isinstance(error, _BAD_INPUT) or _is_wrong_file(error) else 1


def _is_wrong_file(error: Exception) -> bool:
    """True if another file is needed; one that is locked, damaged or on a full disk may be the right one."""
    if not isinstance(error, SessionError) or isinstance(error, SessionBusy | SessionConflict):
        return False
    cause = error.__cause__
    return not isinstance(cause, sqlite3.Error) or getattr(cause, "sqlite_errorcode", 0) & 0xFF in _WRONG_FILE


def print_error(sentence: str) -> None:
    """Print an error in one line."""
    from agentkit.cli.console import NotesConsole  # noqa: PLC0415 - it takes its time, and most commands end well

    NotesConsole().say(("error: ", "bold red"), one_line(sentence))


def usage_error(error: typer.TyperException, command: str) -> str:
    """Say what is wrong with the arguments of a command, and where to find help."""
    context: typer.Context | None = getattr(error, "ctx", None)
    path = command if context is None else context.command_path
    message = error.format_message().rstrip(".")
    if path.endswith(" run") and "unexpected extra" in message:
        message = "the question is one argument: put it into quotes"
    return f"{message}{'' if message.endswith('?') else ';'} `{path} --help` says more"
