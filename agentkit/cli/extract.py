"""``agentkit extract``: an object from each of many files."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from agentkit.cli.agents import load_schema, open_chosen
from agentkit.cli.console import NotesConsole
from agentkit.cli.errors import handle_errors
from agentkit.cli.models import check_key
from agentkit.cli.options import DebugOption, InstructionsOption, ModelOption, TimeoutOption
from agentkit.cli.records import RecordFile, json_line
from agentkit.cli.terminal_text import one_line, plural, printable
from agentkit.errors import AuthenticationFailed, ConfigError, MissingKey, NotFound, QuotaExceeded
from agentkit.extract import Extraction, Source, extract_all
from agentkit.run import call_sync

__all__ = ["extract"]

_HOPELESS = (MissingKey, AuthenticationFailed, NotFound, QuotaExceeded)  # no other file would fare better


def extract(
    what: Annotated[
        str,
        typer.Argument(metavar="MODULE:TYPE", help="The type, in a module or file.py, or a JSON Schema (file.json)."),
    ],
    files: Annotated[
        list[str], typer.Argument(metavar="FILES...", help="Text, images, audio or PDFs; - for standard input.")
    ],
    model: ModelOption = "",
    out: Annotated[
        str,
        typer.Option("--out", "-o", metavar="FILE", help="A .jsonl or .csv file; sources already in it are skipped."),
    ] = "",
    instructions: InstructionsOption = "",
    concurrency: Annotated[
        int, typer.Option("--concurrency", min=1, metavar="N", help="Number of files processed at a time.")
    ] = 10,
    timeout: TimeoutOption = None,
    debug: DebugOption = False,
) -> None:
    """Extract one object from each file.

    Without --out, objects are printed as JSON lines. With it, you can repeat the command after an interruption or a
    failure: files already in FILE are skipped. Failures are listed at the end, with exit code 1.

    \b
    agentkit extract invoices.py:Invoice mail/*.txt --out invoices.csv
    agentkit extract my_package.types:Ticket tickets/*.eml --model openai:gpt-5-mini
    """  # noqa: D301
    with handle_errors(debug=debug):
        with contextlib.redirect_stdout(sys.stderr):  # what a module prints is not part of the answer
            output_type: Any = load_schema(what)
        sources = _sources(files)
        _, opened = open_chosen(model, timeout)
        check_key(opened)
        saved = _Saved(RecordFile(out, output_type) if out else None, sources)
        left = [source for source, name in sources.items() if name not in saved.before]
        try:
            call_sync(
                extract_all,
                output_type,
                left,
                model=opened,
                instructions=instructions,
                concurrency=concurrency,
                progress=True,
                on_extraction=saved.add,
            )
        except KeyboardInterrupt:
            if out:
                typer.echo("interrupted; the same command does the files that are left", err=True)
            raise
        saved.report(len(left))
        raise typer.Exit(1 if saved.failed else 0)


class _Saved:
    """Collects extractions: records in a file or on standard output, and failures."""

    def __init__(self, target: RecordFile | None, names: Mapping[Source, str]) -> None:
        self._target, self._names = target, names
        self.before = target.files if target is not None else set[str]()
        self.failed: list[str] = []

    def add(self, extraction: Extraction[Any]) -> None:
        """Save an extraction, or note that it failed. An error that every file would cause ends the command."""
        name = self._names[extraction.source]
        if isinstance(extraction.error, _HOPELESS):
            raise extraction.error
        if extraction.error is not None:
            self.failed.append(f"{name}: {extraction.error}")
        elif self._target is not None:
            self._target.add(name, extraction)
        else:
            line = json_line(name, extraction)
            typer.echo(printable(line) if sys.stdout.isatty() else line, nl=False)

    def report(self, tried: int) -> None:
        """Print how many files are done and which failed."""
        total, failed = len(self._names), len(self.failed)
        counts = [f"{tried - failed} done"]
        counts += [f"{total - tried} done before"] if total > tried else []
        counts += [f"{failed} failed:"] if failed else []
        console = NotesConsole()
        console.say((f"{plural(total, 'file')}: {', '.join(counts)}", "dim"))
        for each in self.failed:
            console.say(f"  {one_line(each)}")


def _sources(files: Sequence[str]) -> Mapping[Source, str]:
    """Return the sources of the files, each once, with the name it was given by."""
    found: dict[Source, str] = {}
    for name in files:
        if name != "-" and not Path(name).is_file():
            what = "is a directory: name the files in it" if Path(name).is_dir() else "is not there"
            raise ConfigError(f"{name!r} {what}")
        found.setdefault(sys.stdin.read() if name == "-" else Path(name), name)
    return found
