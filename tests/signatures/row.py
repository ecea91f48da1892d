"""What a row of the table says, and how one is written for a single type."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from agentkit.tools.tool import Tool, tool

Schema = dict[str, Any]

SAME = "the strict schema is the plain one"

# Why a schema has no strict form.
ANYTHING = "may be anything; give it a type"
FREE = "takes members of any name, which strict schemas do not allow"
BASE64 = "has the format 'base64', which strict schemas do not allow"
SHORT = "has 'minLength', which strict schemas do not allow"


@dataclass(frozen=True)
class Row:
    """A function, and what is promised of it.

    Attributes:
        name: Of the test.
        function: Becomes a tool; it returns what it was given.
        parameters: Its schema.
        strict: The strict form of the schema, or why there is none.
        written: The arguments as a model writes them.
        received: What the function was given then; the types count too.
        gets: The type of what the function returns, whatever it is called with.
    """

    name: str
    function: Callable[..., Any]
    parameters: Schema
    strict: Schema | str
    written: str
    received: Any
    gets: Any

    def __str__(self) -> str:
        return self.name


def tool_of(row: Row, **options: Any) -> Tool:
    """The function of a row as a tool."""
    return row.function if isinstance(row.function, Tool) else tool(row.function, name="f", **options)


def takes(hint: Any) -> Callable[..., Any]:
    """A function with one parameter of this type."""

    def function(x: Any) -> Any:
        return x

    function.__annotations__["x"] = hint
    return function


def of_type(hint: Any, schema: Schema, strict: Schema | str, written: str, received: Any, name: str = "") -> Row:
    """The row of a parameter ``x`` of this type, which a model must give; all that is said is of ``x`` alone."""
    name = name or (hint.__name__ if isinstance(hint, type) and not hasattr(hint, "__args__") else str(hint))
    parameters = {"type": "object", "properties": {"x": schema}, "required": ["x"], "additionalProperties": False}
    form: Schema | str = {**parameters, "properties": {"x": schema if strict == SAME else strict}}
    if isinstance(strict, str) and strict != SAME:
        place, reason = strict.split(": ", 1) if strict.startswith("x.") else ("x", strict)
        form = f"parameter {place!r} {reason}"
    return Row(name, takes(hint), parameters, form, f'{{"x": {written}}}', received, hint)


def members(properties: Schema, *required: str, **more: Any) -> Schema:
    """The schema of an object that has these members and no others."""
    needed = {"required": list(required)} if required else {}
    return {"type": "object", "properties": properties, **needed, "additionalProperties": False, **more}


def or_null(schema: Schema, default: str) -> Schema:
    """The strict schema of what has a default, which is said as JSON."""
    return {"anyOf": [schema, {"type": "null"}], "description": f"Null for the default, {default}."}
