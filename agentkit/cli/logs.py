"""The log of runs: what was asked, what was answered, and how each run was started. ``agentkit logs`` reads it.

It is a file in the user's data folder that only the user can read, and holds neither keys nor attachments. A log that
cannot be written never fails a run.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import sys
from collections.abc import Generator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from agentkit.cli.console import NotesConsole
from agentkit.cli.errors import handle_errors
from agentkit.cli.options import DebugOption
from agentkit.cli.terminal_text import one_line, plural, printable, shortened
from agentkit.errors import ConfigError

__all__ = ["LoggedRun", "data_directory", "find_run", "is_on", "log_run", "logs"]

_MOST = 10_000  # runs; the oldest are deleted
_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    id TEXT PRIMARY KEY, started REAL NOT NULL, directory TEXT NOT NULL, setup TEXT NOT NULL, model TEXT NOT NULL,
    prompt TEXT NOT NULL, answer TEXT NOT NULL, status TEXT NOT NULL, turns INTEGER NOT NULL, calls INTEGER NOT NULL,
    tokens INTEGER NOT NULL, cost REAL, seconds REAL NOT NULL
)
"""


class LoggedRun(NamedTuple):
    """A run in the log; the members are those of the table.

    Attributes:
        id: The id of the run.
        started: When, in seconds since 1970.
        directory: The working directory of the command.
        setup: The options that describe the agent, as a JSON object.
        model: The name of the model.
        prompt: The question.
        answer: The last text of the model.
        status: How it ended, or ``running``.
        turns: Replies of the model.
        calls: Tool calls.
        tokens: Tokens of requests and replies.
        cost: What it cost; None if that is unknown.
        seconds: How long it ran.
    """

    id: str
    started: float
    directory: str
    setup: str
    model: str
    prompt: str
    answer: str
    status: str
    turns: int
    calls: int
    tokens: int
    cost: float | None
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return the run as JSON values."""
        return {**self._asdict(), "setup": json.loads(self.setup)}


def data_directory(environment: Mapping[str, str] = os.environ) -> Path:
    """The directory for the user's data: ``AGENTKIT_DATA``, or ``agentkit`` in the user's data directory.

    That is ``XDG_DATA_HOME``, or else ``LOCALAPPDATA`` on Windows, or else ``~/.local/share``.
    """
    if own := environment.get("AGENTKIT_DATA", "").strip():
        return Path(own).expanduser()
    base = environment.get("XDG_DATA_HOME", "").strip() or (
        environment.get("LOCALAPPDATA", "").strip() if sys.platform == "win32" else ""
    )
    return (Path(base) if base and Path(base).is_absolute() else Path.home() / ".local" / "share") / "agentkit"


def is_on(environment: Mapping[str, str] = os.environ) -> bool:
    """Return True unless ``AGENTKIT_LOG`` is off, or ``agentkit logs --off`` turned the log off."""
    setting = environment.get("AGENTKIT_LOG", "").strip().lower()
    return setting not in ("0", "off", "no", "false") and not (data_directory(environment) / "logs-off").exists()


def log_run(run: LoggedRun) -> None:
    """Write a run to the log, replacing what was known about it."""
    if not is_on():
        return
    places = ", ".join("?" * len(run))
    try:
        with _open() as log:
            log.execute(f"INSERT OR REPLACE INTO runs VALUES ({places})", run)  # noqa: S608 - question marks
            log.execute("DELETE FROM runs WHERE rowid <= (SELECT max(rowid) FROM runs) - ?", [_MOST])
    except (OSError, sqlite3.Error) as error:
        NotesConsole().say((f"this run is not in the log: {one_line(str(error))}", "dim"))


def find_run(id_: str) -> LoggedRun | None:
    """Find a run by its id; None if it is not in the log."""
    try:
        found = _select("WHERE id = ?", [id_])
    except (OSError, sqlite3.Error):
        return None
    return found[0] if found else None


def _file() -> Path:
    return data_directory() / "logs.db"


@contextlib.contextmanager
def _open() -> Generator[sqlite3.Connection]:
    """Open the log in a transaction; only its owner can read it."""
    file = _file()
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))
    with contextlib.closing(sqlite3.connect(file, timeout=5)) as log, log:
        log.execute(_SCHEMA)
        yield log


def _select(condition: str, values: list[Any]) -> list[LoggedRun]:
    if not _file().exists():
        return []
    with _open() as log:
        rows = log.execute(f"SELECT * FROM runs {condition}", values).fetchall()  # noqa: S608 - written here
    return [LoggedRun(*row) for row in rows]


def logs(
    id_: Annotated[str, typer.Argument(metavar="[ID]", help="The start of a run's id: print that run in full.")] = "",
    search: Annotated[
        str,
        typer.Option(
            "--search", "-q", metavar="WORDS", help="Only runs whose question or answer contains these words."
        ),
    ] = "",
    count: Annotated[int, typer.Option("--count", "-n", min=1, metavar="N", help="Number of runs to print.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array.")] = False,
    path: Annotated[bool, typer.Option("--path", help="Print where the log is.")] = False,
    on: Annotated[bool | None, typer.Option("--on/--off", help="Turn the log on or off.")] = None,
    debug: DebugOption = False,
) -> None:
    """Show the log of runs, latest last.

    \b
    agentkit logs
    agentkit logs --search "late orders"
    agentkit logs --off
    """  # noqa: D301 - \b is the character that keeps the lines of the example
    with handle_errors(debug=debug):
        if on is not None:
            _turn(on=on)
            return
        if path:
            typer.echo(str(_file()))
            return
        found = _find(id_, search, count)
        if as_json:
            typer.echo(json.dumps([each.to_dict() for each in found], indent=2))
        elif id_:
            typer.echo("\n\n".join(map(_whole, found)))
        elif found:
            typer.echo("\n\n".join(map(_brief, found)))
        else:
            typer.echo("no run has all of these words" if search else f"there are no runs in {_file()}", err=True)


def _turn(*, on: bool) -> None:
    marker = data_directory() / "logs-off"
    if on:
        marker.unlink(missing_ok=True)
    else:
        marker.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        marker.touch(mode=0o600)
    typer.echo(f"the log of runs is {'on' if is_on() else 'off'}", err=True)
    if on and not is_on():
        raise ConfigError("the variable AGENTKIT_LOG turns it off")


def _find(id_: str, search: str, count: int) -> list[LoggedRun]:
    """Find runs, the latest last."""
    words = search.split()
    conditions = ["id LIKE ? ESCAPE '!'"] + ["(prompt LIKE ? ESCAPE '!' OR answer LIKE ? ESCAPE '!')"] * len(words)
    values = [f"{_escaped(id_)}%", *(f"%{_escaped(word)}%" for word in words for _ in range(2)), count]
    found = _select(f"WHERE {' AND '.join(conditions)} ORDER BY started DESC LIMIT ?", list(values))
    if id_ and not found:
        raise ConfigError(f"there is no run {id_!r:.80} in the log; `agentkit logs` lists them")
    return found[::-1]


def _escaped(text: str) -> str:
    return text.replace("!", "!!").replace("%", "!%").replace("_", "!_")


def _head(run: LoggedRun) -> str:
    when = datetime.fromtimestamp(run.started).astimezone().isoformat(" ", "seconds")
    figures = [run.status, plural(run.turns, "turn"), plural(run.calls, "call")]
    figures += [f"{run.tokens:,} tokens"] if run.tokens else []
    figures += [] if run.cost is None else [f"cost {run.cost:.4g}"]
    return "  ".join(map(one_line, (run.id[:12], when, run.model, ", ".join(figures))))


def _brief(run: LoggedRun) -> str:
    return f"{_head(run)}\n  > {shortened(run.prompt)}\n    {shortened(run.answer)}".rstrip()


def _whole(run: LoggedRun) -> str:
    setup = json.dumps({"directory": run.directory, **json.loads(run.setup)}, ensure_ascii=False)
    return f"{_head(run)}\n{one_line(setup)}\n\n> {printable(run.prompt)}\n\n{printable(run.answer)}".rstrip()
