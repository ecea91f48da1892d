"""Session files on the command line: ``--session FILE:NAME`` and ``agentkit sessions``.

Opening a session file creates it, so a command that only reads first checks that it exists.
"""

from __future__ import annotations

import difflib
import functools
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import anyio
import typer

from agentkit.cli.approvals import read_line
from agentkit.cli.errors import handle_errors
from agentkit.cli.files import write_private
from agentkit.cli.terminal_text import call_line, exact_line, one_line, plural, printable
from agentkit.errors import ConfigError, StateError
from agentkit.messages import AssistantMessage, Message, TextPart, ToolMessage
from agentkit.run import RunState
from agentkit.sessions import MemorySessions, Sessions, SQLiteSessions, StoredSession

__all__ = [
    "app",
    "check_not_a_session",
    "check_nothing_waits",
    "describe",
    "last_state",
    "message_text",
    "open_session",
    "split_session",
    "waiting_state",
]

_DEFAULT = "default"
_WIDEST = 40  # of a column; longer cells overflow

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_FileArgument = Annotated[str, typer.Argument(metavar="FILE", help="A session file.")]
_SessionArgument = Annotated[
    str, typer.Argument(metavar="FILE:NAME", help=f"A session in a file; the name defaults to {_DEFAULT!r}.")
]
_JsonOption = Annotated[bool, typer.Option("--json", help="Print a JSON array.")]
_DebugOption = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]


# What the commands that run an agent need.


def split_session(where: str) -> tuple[str, str]:
    """Split ``FILE:NAME``. The name may contain colons if the file exists; the colon of a drive belongs to the file.

    Raises:
        ConfigError: Either part is empty, or there is only a name.
    """
    places = [at for at in reversed(range(len(where))) if where[at] == ":"]
    splits = [(where[:at], where[at + 1 :]) for at in places]
    splits = [(file, name) for file, name in splits if len(file) != 1 or not name.startswith(("\\", "/"))]
    if where and not splits and not Path(where).suffix and Path(where).name == where and not Path(where).exists():
        raise ConfigError(f"there is no file {where!r}: write FILE:NAME, as in chat.db:{where}")
    if not splits or Path(where).is_file():
        splits = [(where, _DEFAULT)]
    file, name = next((each for each in splits if Path(each[0]).is_file()), splits[0])
    if not file:
        raise ConfigError(f"{where!r} does not name a session file: write FILE:NAME")
    if not name:
        raise ConfigError(f"{where!r} names no session after the colon: write {file}:NAME, or {file} for {_DEFAULT!r}")
    return file, name


def open_session(where: str, *, existing: bool = False) -> StoredSession:
    """Open the session ``FILE:NAME``.

    Args:
        where: ``FILE:NAME``.
        existing: Whether it must exist; otherwise it is created on first use.

    Raises:
        ConfigError: It must exist, and there is no such file or session.
    """
    file, name = split_session(where)
    if not existing:
        return SQLiteSessions(file)[name]
    sessions = _open_file(file)
    names = [each.name for each in anyio.run(sessions.list)]
    if name not in names:
        near = difflib.get_close_matches(name, names, n=3)
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"`agentkit sessions list {file}` shows all"
        raise ConfigError(f"there is no session {name!r} in {file}; {hint}")
    return sessions[name]


def check_not_a_session(path: str) -> None:
    """Check that a FILE is not meant as FILE:NAME.

    Raises:
        ConfigError: It is a session.
    """
    if not Path(path).exists() and ":" in path and Path(split_session(path)[0]).is_file():
        raise ConfigError(f"there is no file {path!r}: if it is a session, pass it as --session {path}")


def check_nothing_waits(session: StoredSession, where: str) -> None:
    """Check that a question can be asked in the session.

    Raises:
        StateError: Its last run waits for decisions.
    """
    if (state := waiting_state(session)) is not None:
        names = ", ".join(each.name for each in state.pending)
        raise StateError(
            f"the last run of session {session.name!r} waits for decisions about {names}: "
            f"`agentkit run --session {where}`, without a question, asks about them on a terminal, "
            "and `agentkit resume --session` takes them as options"
        )


def waiting_state(session: StoredSession) -> RunState | None:
    """Load the state of the last run if it waits for decisions."""
    state = anyio.run(session.state)
    return state if state is not None and state.pending else None


def last_state(session: StoredSession) -> RunState:
    """Load the state of the last run.

    Raises:
        StateError: There was none.
    """
    state = anyio.run(session.state)
    if state is None:
        raise StateError("the session has no run to resume: ask something")
    return state


def describe(session: StoredSession) -> str:
    """Return the session's name and whether it is new, in case the name is misspelled."""
    count, name = len(anyio.run(session.load).messages), one_line(repr(session.name))
    return f"session {name} of {plural(count, 'message')}" if count else f"new session {name}"


def _open_file(file: str) -> Sessions:
    """Open a session file for reading. An empty file has no sessions, and reading must not make it a database."""
    if Path(file).is_dir():
        raise ConfigError(f"{file!r} is a directory, not a session file")
    if not Path(file).is_file():
        raise ConfigError(f"there is no file {file!r}")
    return SQLiteSessions(file) if Path(file).stat().st_size else MemorySessions()


def _open_whole_file(file: str) -> Sessions:
    """Open the file of a command that covers all its sessions."""
    if not Path(file).is_file() and ":" in file and Path(alone := split_session(file)[0]).is_file():
        raise ConfigError(f"this command covers all sessions in a file: name only the file, {alone}")
    return _open_file(file)


# The commands.


@app.callback(invoke_without_command=True)
def sessions(context: typer.Context) -> None:
    """Show, search, export and delete conversations saved with `--session`.

    \b
    agentkit sessions list chat.db
    agentkit sessions show chat.db:ada
    """  # noqa: D301 - \b is the character that keeps the lines of the example
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command("list")
def list_sessions(file: _FileArgument, as_json: _JsonOption = False, debug: _DebugOption = False) -> None:
    """List the sessions in a file, most recently saved first."""
    with handle_errors(debug=debug):
        found = anyio.run(_open_whole_file(file).list)
        if as_json:
            records = [
                {
                    "name": each.name,
                    "messages": each.messages,
                    "created": each.created.isoformat(),
                    "updated": each.updated.isoformat(),
                    "status": each.status,
                }
                for each in found
            ]
            typer.echo(json.dumps(records, indent=2))
        elif found:
            times = [each.updated.astimezone().isoformat(" ", "seconds") for each in found]
            rows = [
                (exact_line(each.name), plural(each.messages, "message"), time, each.status)
                for each, time in zip(found, times, strict=True)
            ]
            typer.echo(_table(rows))
        else:
            typer.echo(f"there are no sessions in {one_line(file)}", err=True)


@app.command()
def show(where: _SessionArgument, debug: _DebugOption = False) -> None:
    """Print a conversation: the messages, the calls and their results."""
    with handle_errors(debug=debug):
        messages = anyio.run(open_session(where, existing=True).messages)
        for number, message in enumerate(messages):
            typer.echo(message_text(number, message, messages))
        if not messages:
            typer.echo("no messages", err=True)


@app.command()
def search(
    file: _FileArgument,
    words: Annotated[list[str], typer.Argument(metavar="WORDS", help="Words that a message must contain.")],
    limit: Annotated[int, typer.Option("--limit", min=1, metavar="N", help="Number of messages to print.")] = 20,
    as_json: _JsonOption = False,
    debug: _DebugOption = False,
) -> None:
    """Find messages that contain all the words.

    The number after the session's name is the message's number in `agentkit sessions show`.
    """
    with handle_errors(debug=debug):
        if not " ".join(words).strip():
            raise ConfigError("nothing to search for: give at least one word")
        find = functools.partial(_open_whole_file(file).search, " ".join(words), limit=limit)
        found = anyio.run(find)
        if as_json:
            members = [(each.session, each.number, each.role, each.snippet) for each in found]
            names = ("session", "number", "role", "snippet")
            typer.echo(json.dumps([dict(zip(names, each, strict=True)) for each in members], indent=2))
        elif found:
            rows = [(exact_line(each.session), str(each.number), each.role, one_line(each.snippet)) for each in found]
            typer.echo(_table(rows))
        else:
            typer.echo("no message has all of these words", err=True)


@app.command()
def export(
    where: _SessionArgument,
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="OUT", help="Write to this file; - for standard output.")
    ] = "-",
    debug: _DebugOption = False,
) -> None:
    """Print the messages as JSON lines, in Chat Completions format."""
    with handle_errors(debug=debug):
        session = open_session(where, existing=True)
        if output != "-":
            write_private(output, anyio.run(session.export_lines), "export")
            return
        for message in anyio.run(session.export):
            typer.echo(printable(json.dumps(message, ensure_ascii=not sys.stdout.isatty())))


@app.command()
def delete(
    where: _SessionArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    debug: _DebugOption = False,
) -> None:
    """Delete a session, after asking."""
    with handle_errors(debug=debug):
        session = open_session(where, existing=True)
        if not yes:
            if not (sys.stdin.isatty() and sys.stderr.isatty()):
                raise ConfigError("nothing was deleted, because there is nobody to ask: --yes deletes without asking")
            count = plural(len(anyio.run(session.load).messages), "message")
            try:
                said = read_line(f"delete session {one_line(repr(session.name))} with {count}? [y]es, [n]o: ")
            except EOFError:
                sys.stderr.write("\n")
                said = ""
            if said.strip().lower() not in ("y", "yes"):
                typer.echo("nothing was deleted", err=True)
                raise typer.Exit(1)
        anyio.run(session.delete)


# How it looks.


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Align rows in columns; the cells are printable."""
    widths = [min(_WIDEST, max(map(len, column))) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def message_text(number: int, message: Message, messages: Sequence[Message]) -> str:
    """Show a message of a conversation. Its text is indented, so it cannot look like the header of another message."""
    name = ""
    if isinstance(message, ToolMessage):
        calls = (call for each in messages if isinstance(each, AssistantMessage) for call in each.tool_calls)
        name = f" {one_line(next((call.name for call in calls if call.id == message.tool_call_id), ''))}"
    lines = [f"{number}  {message.role}{name}"]
    content = message.content
    parts = () if content is None or isinstance(content, str) else content
    texts = [message.text, *(f"[{type(part).__name__}]" for part in parts if not isinstance(part, TextPart))]
    texts += [message.refusal or ""] if isinstance(message, AssistantMessage) else []
    for text in filter(None, texts):
        lines += (f"     {line}".rstrip() for line in printable(text.strip("\n")).split("\n"))
    if isinstance(message, AssistantMessage):
        lines += (f"   calls {call_line(call)}" for call in message.tool_calls)
    return "\n".join(lines)
