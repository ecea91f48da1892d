"""``agentkit tools``: print the schemas of tools; with ``--check``, lint them."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, cast

import typer

from agentkit.cli.errors import handle_errors
from agentkit.cli.load import load_tools
from agentkit.cli.mcp import open_servers, tools_of
from agentkit.cli.options import DebugOption, McpOption, WithOption
from agentkit.cli.terminal_text import one_line, plural, printable
from agentkit.errors import ConfigError
from agentkit.lint import ACCESS, LintWarning, lint_tools
from agentkit.run import call_sync
from agentkit.tools import Tool, ToolFunction, why_not_strict

__all__ = ["report", "tools"]


def report(tools: Sequence[Tool], *, as_json: bool, write: Callable[[str], None]) -> int:
    """Print what tools can do, and what could be improved about them.

    Args:
        tools: The tools.
        as_json: Print one JSON array.
        write: Prints a string.

    Returns:
        The number of warnings.
    """
    warnings = lint_tools(tools)
    of_tools = [(tool, [each for each in warnings if each.tool == tool.name]) for tool in tools]
    if as_json:
        write(printable(json.dumps([_record(*each) for each in of_tools], indent=2)))
    else:
        found = f"{plural(len(warnings), 'thing')} to improve" if warnings else "nothing to improve"
        last = [*_summary(tools), f"{plural(len(tools), 'tool')}, {found}"]
        write("\n\n".join([*(_paragraph(*each) for each in of_tools), "\n".join(last)]))
    return len(warnings)


def _record(tool: Tool, warnings: Sequence[LintWarning]) -> dict[str, Any]:
    reason = _why_not_strict(tool)
    return {
        "name": tool.name,
        "signature": _signature(tool),
        "strict": not reason,
        "why_not_strict": reason or None,
        "access": [kind for kind in ACCESS if kind in tool.access],
        "may_wait": tool.may_wait,
        "advice": [{"parameter": each.parameter or None, "what": each.what} for each in warnings],
    }


def _paragraph(tool: Tool, warnings: Sequence[LintWarning]) -> str:
    reason = _why_not_strict(tool)
    lines = [f"not strict: {reason}" if reason else "strict"]
    can = [meaning for kind, meaning in ACCESS.items() if kind in tool.access]
    can += ["may wait for approval"] if tool.may_wait and not tool.is_external else []
    lines += [", ".join(can)] if can else []
    lines += (f"- {each.parameter}: {each.what}" if each.parameter else f"- {each.what}" for each in warnings)
    return "\n".join([one_line(_signature(tool)), *(f"  {one_line(line)}" for line in lines)])


def _summary(tools: Sequence[Tool]) -> Iterator[str]:
    """Yield a line for each kind of access that some of the tools have."""
    for kind, meaning in ACCESS.items():
        names = [f"{tool.name} (may wait)" if tool.may_wait else tool.name for tool in tools if kind in tool.access]
        if names:
            yield f"{meaning}: {one_line(', '.join(names))}"


def _why_not_strict(tool: Tool) -> str:
    """Return why a tool's schema is not sent as strict; empty if it is."""
    if tool.is_custom:
        return "it takes a string, so it has no schema"
    is_function = isinstance(tool, ToolFunction)
    if tool.strict is False:
        return "strict=False" if is_function else "its schema is sent as it is, without strict=True"
    found = why_not_strict(tool.parameters, of_function=is_function)
    return " ".join(filter(None, found)) if found else ""


def _signature(tool: Tool) -> str:
    """Write a tool as a model sees it, in the notation of a Python function."""
    if tool.is_custom:
        return f"{tool.name}(text)"
    required = tool.parameters.get("required", ())
    parameters: list[str] = []
    for name, schema in tool.parameters.get("properties", {}).items():
        default = json.dumps(schema["default"], ensure_ascii=False) if "default" in _node(schema) else "..."
        parameters.append(f"{name}: {_type(schema)}" + ("" if name in required else f" = {default}"))
    return f"{tool.name}({', '.join(parameters)})"


def _type(schema: object) -> str:
    node = _node(schema)
    if "$ref" in node:
        return str(node["$ref"]).rpartition("/")[2]
    if "enum" in node or "const" in node:
        return " | ".join(json.dumps(each, ensure_ascii=False) for each in node.get("enum", [node.get("const")]))
    for keyword in ("anyOf", "oneOf"):
        if keyword in node:
            return " | ".join(map(_type, node[keyword]))
    if node.get("type") == "array":
        return f"array[{_type(node.get('items'))}]"
    kind = node.get("format", node.get("type", "any"))
    return " | ".join(map(str, cast("list[object]", kind))) if isinstance(kind, list) else str(kind)


def _node(schema: object) -> dict[str, Any]:
    return cast("dict[str, Any]", schema) if isinstance(schema, dict) else {}


def tools(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="MODULE[:NAME]...", help="A module or file.py, or tools in it.")
    ] = None,
    with_: WithOption = None,
    mcp: McpOption = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Lint: print what the tools can do and what to improve; exit with 1 if there is anything."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, also with --check.")] = False,
    debug: DebugOption = False,
) -> None:
    """Print the JSON schemas of tools as a model receives them, or lint the tools with --check.

    \b
    agentkit tools tools.py
    agentkit tools --check my_package.tools:add
    agentkit tools --check --with files:. --with http:api.example.com
    """  # noqa: D301
    with handle_errors(debug=debug):
        if not names and not with_ and not mcp:
            raise ConfigError("say which tools: MODULE[:NAME], or --with NAME; `agentkit tools --help` says more")
        with contextlib.redirect_stdout(sys.stderr):  # what a module prints
            found = load_tools(names or (), with_ or ())
            for each in open_servers(mcp or ()):
                found += call_sync(tools_of, each)
        if check:
            raise typer.Exit(1 if report(found, as_json=as_json, write=typer.echo) else 0)
        schemas = [tool.definition.to_wire() for tool in found]
        typer.echo(printable(json.dumps(schemas, indent=2, ensure_ascii=not sys.stdout.isatty())))
