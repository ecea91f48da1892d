"""The options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = [
    "AnswerOption",
    "ApproveOption",
    "AttachOption",
    "DebugOption",
    "DenyOption",
    "DepsOption",
    "InstructionsOption",
    "JsonOption",
    "LimitOption",
    "McpOption",
    "ModelOption",
    "ParameterOption",
    "SchemaOption",
    "SessionOption",
    "TimeoutOption",
    "ToolsOption",
    "TraceOption",
    "WithOption",
]

ModelOption = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        metavar="MODEL",
        help="PROVIDER:MODEL or local. Default: the agent's own, or AGENTKIT_MODEL, or one whose key is set.",
    ),
]
DepsOption = Annotated[
    str,
    typer.Option(
        "--deps", metavar="MODULE:NAME", help="The dependencies of the agent, or a function that returns them."
    ),
]
ParameterOption = Annotated[
    list[str] | None,
    typer.Option(
        "--option", "-o", metavar="NAME=VALUE", help="A request parameter, such as temperature=0.2; can be repeated."
    ),
]
LimitOption = Annotated[
    list[str] | None,
    typer.Option("--limit", metavar="NAME=VALUE", help="A limit of the run, such as turns=5; can be repeated."),
]
SchemaOption = Annotated[
    str,
    typer.Option("--schema", metavar="MODULE:TYPE", help="The type of the output, or a JSON Schema (file.json)."),
]
AttachOption = Annotated[
    list[str] | None,
    typer.Option(
        "--attach", "-a", metavar="FILE", help="An image, audio, PDF or text file, or an image URL; can be repeated."
    ),
]
ToolsOption = Annotated[
    list[str] | None,
    typer.Option("--tools", "-t", metavar="MODULE[:NAME]", help="Tools from a module or file.py; can be repeated."),
]
WithOption = Annotated[
    list[str] | None,
    typer.Option(
        "--with", "-w", metavar="NAME[:ARGUMENT]", help="Ready-made tools, such as files:notes; can be repeated."
    ),
]
McpOption = Annotated[
    list[str] | None,
    typer.Option(
        "--mcp",
        metavar="FILE|COMMAND|URL",
        help='Tools from MCP servers: an mcp.json, "uvx ..." or a URL; can be repeated.',
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
    list[str] | None,
    typer.Option("--answer", metavar="ID=TEXT", help="Provide the result of this call; can be repeated."),
]
TimeoutOption = Annotated[
    float | None,
    typer.Option("--timeout", min=1, metavar="SECONDS", help="Longest wait for one model reply, 600 by default."),
]
TraceOption = Annotated[
    str, typer.Option("--trace", metavar="FILE", help="Write every event here, for `agentkit view`.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print events as JSON, one object per line.")]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]
