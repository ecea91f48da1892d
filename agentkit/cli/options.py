"""The options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = [
    "TURNS",
    "TURNS_HELP",
    "AnswerOption",
    "ApproveOption",
    "DebugOption",
    "DenyOption",
    "InstructionsOption",
    "JsonOption",
    "ModelOption",
    "SessionOption",
    "TimeoutOption",
    "ToolsOption",
    "TraceOption",
    "WithOption",
]

TURNS = 50
TURNS_HELP = "Most replies of the model in one run"

ModelOption = Annotated[
    str,
    typer.Option("--model", "-m", envvar="AGENTKIT_MODEL", metavar="MODEL", help="PROVIDER:MODEL or local."),
]
ToolsOption = Annotated[
    list[str] | None,
    typer.Option("--tools", "-t", metavar="MODULE[:NAME]", help="Tools of a module or a file.py; can be repeated."),
]
WithOption = Annotated[
    list[str] | None,
    typer.Option(
        "--with", "-w", metavar="NAME[:ARGUMENT]", help="Ready-made tools, such as files:notes; can be repeated."
    ),
]
InstructionsOption = Annotated[
    str, typer.Option("--instructions", "-i", metavar="TEXT", help="What the model should do.")
]
SessionOption = Annotated[
    str | None,
    typer.Option("--session", metavar="FILE:NAME", help="Save the conversation here; the name defaults to `default`."),
]
ApproveOption = Annotated[
    list[str] | None, typer.Option("--approve", metavar="ID", help="Let this call run; can be repeated.")
]
DenyOption = Annotated[
    list[str] | None, typer.Option("--deny", metavar="ID[=REASON]", help="Refuse this call; can be repeated.")
]
AnswerOption = Annotated[
    list[str] | None, typer.Option("--answer", metavar="ID=TEXT", help="Give the result of this call; can be repeated.")
]
TimeoutOption = Annotated[
    float | None,
    typer.Option(
        "--timeout", min=1, metavar="SECONDS", help="Longest wait for one reply of the model; 600 if not given."
    ),
]
TraceOption = Annotated[
    str, typer.Option("--trace", metavar="FILE", help="Write every event here, for `agentkit view`.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print events for programs, one JSON object a line.")]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]
