"""``agentkit tools --check``: each tool as a model sees it, and what could be better."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from agentkit.cli.terminal_text import one_line, printable
from agentkit.lint import LintWarning, lint_tools
from agentkit.tools.schema.simplify import as_list, as_schema
from agentkit.tools.schema.strict import why_not_strict
from agentkit.tools.tool import Tool, ToolFunction

__all__ = ["report"]


def report(tools: Sequence[Tool], *, as_json: bool, write: Callable[[str], None]) -> int:
    """Print what is to be said of tools; how much advice there is.

    Args:
        tools: What to look at.
        as_json: Whether to print one JSON array.
        write: Prints a text.
    """
    advice = lint_tools(tools)
    found = [_Checked.of(each, [one for one in advice if one.tool == each.name]) for each in tools]
    if as_json:
        write(printable(json.dumps([each.to_json() for each in found], indent=2)))
    else:
        write("\n\n".join([*(each.to_text() for each in found), _sum(len(tools), len(advice))]))
    return len(advice)


@dataclass(frozen=True, slots=True)
class _Checked:
    name: str
    signature: str
    why_not_strict: str
    advice: Sequence[LintWarning]

    @classmethod
    def of(cls, tool: Tool, advice: Sequence[LintWarning]) -> _Checked:
        return cls(tool.name, _signature(tool), _why_not_strict(tool), advice)

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "signature": self.signature,
            "strict": not self.why_not_strict,
            "why_not_strict": self.why_not_strict or None,
            "advice": [{"parameter": each.parameter or None, "what": each.what} for each in self.advice],
        }

    def to_text(self) -> str:
        strictness = f"not strict: {self.why_not_strict}" if self.why_not_strict else "strict"
        lines = [strictness, *(f"- {_subject(each)}{each.what}" for each in self.advice)]
        return "\n".join([one_line(self.signature), *(f"  {one_line(line)}" for line in lines)])


def _subject(advice: LintWarning) -> str:
    return f"{advice.parameter}: " if advice.parameter else ""


def _sum(tools: int, advice: int) -> str:
    count = f"{tools} tool{'' if tools == 1 else 's'}"
    return (
        f"{count}, {advice} thing{'' if advice == 1 else 's'} to improve" if advice else f"{count}, nothing to improve"
    )


def _why_not_strict(tool: Tool) -> str:
    if tool.is_custom:
        return "it takes a text, so it has no schema"
    if tool.strict is False:
        return "strict=False" if isinstance(tool, ToolFunction) else "its schema is sent as it is, without strict=True"
    found = why_not_strict(tool.parameters, of_function=isinstance(tool, ToolFunction))
    return " ".join(filter(None, found)) if found else ""


def _signature(tool: Tool) -> str:
    """The tool as a model sees it, much as Python writes a function."""
    if tool.is_custom:
        return f"{tool.name}(text)"
    required = tool.parameters.get("required", ())
    parameters = (
        f"{name}: {_kind(schema)}{'' if name in required else _default(schema)}"
        for name, schema in tool.parameters.get("properties", {}).items()
    )
    return f"{tool.name}({', '.join(parameters)})"


def _default(schema: object) -> str:
    node = as_schema(schema) or {}
    return f" = {_text(node['default'])}" if "default" in node else " = ..."


def _kind(schema: object) -> str:
    node = as_schema(schema) or {}
    if "$ref" in node:
        return str(node["$ref"]).rpartition("/")[2]
    if "enum" in node or "const" in node:
        return " | ".join(_text(each) for each in node.get("enum", [node.get("const")]))
    for keyword in ("anyOf", "oneOf"):
        if keyword in node:
            return " | ".join(map(_kind, node[keyword]))
    if node.get("type") == "array":
        return f"array[{_kind(node.get('items'))}]"
    kind = node.get("format", node.get("type", "any"))
    return " | ".join(map(str, as_list(kind) or [kind]))


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
