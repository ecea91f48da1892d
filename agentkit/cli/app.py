"""The commands, each in a module that is imported when its command is used.

A command starts fast because it imports only what it needs: this module, `errors` and `console` import nothing of
agentkit but its exceptions.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sys
from collections.abc import Generator, Sequence
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

from agentkit.cli.errors import print_error, usage_error

__all__ = ["COMMANDS", "Command", "run_command"]

_STARTING = "starting ..."
_COMPLETING = "_AGENTKIT_COMPLETE"  # the variable by which a shell asks for completions


class Command(NamedTuple):
    """A command: how the list shows it, and where it is.

    Attributes:
        name: What the user types.
        place: ``module:name`` of a function with typer's parameters, or of a `typer.Typer` with commands of its own.
            The function wraps its work in `handle_errors`.
        summary: One line for the list.
    """

    name: str
    place: str
    summary: str


COMMANDS = (
    Command("run", "agentkit.cli.run:run", "Answer one question."),
    Command("chat", "agentkit.cli.chat:chat", "Talk to a model or an agent."),
    Command("resume", "agentkit.cli.run:resume", "Resume a saved run."),
    Command("serve", "agentkit.cli.serve:serve", "Serve agents over the Chat Completions API."),
    Command("extract", "agentkit.cli.extract:extract", "Extract objects from files."),
    Command("tools", "agentkit.cli.tools:tools", "Print the schemas of tools, or lint them."),
    Command("models", "agentkit.cli.models:app", "List the providers, or download the embedded model."),
    Command("sessions", "agentkit.cli.sessions:app", "Show, search, export and delete saved conversations."),
    Command("view", "agentkit.cli.view:view", "Turn a trace into a page: what a run did, and when."),
    Command("mcp", "agentkit.cli.mcp:app", "Approve the tools of MCP servers, or serve tools over MCP."),
    Command("logs", "agentkit.cli.logs:logs", "Show the log of runs."),
    Command("new", "agentkit.cli.new:new", "Create a starter project: an agent, a tool and a test."),
    Command("doctor", "agentkit.cli.doctor:doctor", "Find out what a model and its server can do."),
)


class _Group(TyperGroup):
    """The group of all commands: it lists them by their summaries, and imports the one that is used."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = {each.name: TyperCommand(each.name, help=each.summary) for each in COMMANDS}

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - as typer calls it
        """Return the names in the order of the table."""
        return [each.name for each in COMMANDS]

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Find the command that is used, and import it."""
        name, found, rest = super().resolve_command(ctx, args)
        return name, _load(name) if name in self.commands else found, rest


@contextlib.contextmanager
def _starting() -> Generator[None]:
    """Show on a terminal that the command is starting, until it prints something; not while a shell completes."""
    shown = sys.stderr.isatty() and _COMPLETING not in os.environ
    if shown:
        sys.stderr.write(f"\r{_STARTING}")
        sys.stderr.flush()
    try:
        yield
    finally:
        if shown:
            sys.stderr.write(f"\r{' ' * len(_STARTING)}\r")
            sys.stderr.flush()


def _load(name: str | None) -> object:
    module, _, attribute = next(each.place for each in COMMANDS if each.name == name).partition(":")
    with _starting():
        value: Any = getattr(importlib.import_module(module), attribute)
    if isinstance(value, typer.Typer):
        return typer.main.get_command(value)
    made = typer.Typer(add_completion=False, rich_markup_mode=None)
    made.command(name)(value)
    return typer.main.get_command(made)


app = typer.Typer(
    cls=_Group,
    rich_markup_mode=None,  # help is plain text: its examples keep their lines
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def main_options(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Run agents that call tools, on any server that speaks Chat Completions.

    \b
    agentkit run --tools tools.py "Weather in Paris?"
    agentkit run --model ollama:qwen3 "Hello"

    Exit codes: 0 done, 1 failed, 2 bad input or configuration, 3 ended at a limit, 4 a call waits for a decision,
    130 interrupted.
    """  # noqa: D301 - \b is the character that keeps the lines of the example
    if version:
        typer.echo(f"agentkit {importlib.import_module('agentkit').__version__}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


def run_command(arguments: Sequence[str]) -> int:
    """Run a command and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # an output that is not UTF-8 must not fail
    group: Any = typer.main.get_command(app)
    try:
        return int(group.main(list(arguments), prog_name="agentkit", standalone_mode=False) or 0)
    except typer.TyperException as error:
        command = arguments[0] if arguments[:1] and arguments[0] in group.commands else ""
        print_error(usage_error(error, f"agentkit {command}".rstrip()))
        return 2
    except typer.Abort:
        return 130
