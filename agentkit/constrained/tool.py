"""A tool as the constrained strategy sees it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

from agentkit.chat import FunctionTool
from agentkit.constrained.words import ignored, stem

__all__ = ["Parameter", "WantedTool"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a tool: its name, its schema (a union with null without the null), and whether it is required."""

    name: str
    schema: Mapping[str, Any]
    required: bool

    @property
    def words(self) -> str:
        """Its name, as words."""
        return self.name.replace("_", " ")

    @property
    def label(self) -> str:
        """Its description, or its name as words."""
        return str(self.schema.get("description") or self.words)

    @property
    def options(self) -> list[Any]:
        """Its enum values, if it has any."""
        return [self.schema["const"]] if "const" in self.schema else list(self.schema.get("enum", ()))

    @property
    def kind(self) -> str:
        """``number``, ``boolean``, ``options``, ``text``, ``texts``, or ``other`` if only a schema can describe it."""
        if self.options:
            return "options"
        kind = self.schema.get("type")
        if kind == "array":
            return "texts" if _members(self.schema.get("items")).get("type") == "string" else "other"
        kinds = {"integer": "number", "number": "number", "boolean": "boolean", "string": "text"}
        return kinds.get(str(kind), "other")


@dataclass(frozen=True)  # no slots: cached properties
class WantedTool:
    """A tool that the model may call."""

    definition: FunctionTool

    @property
    def name(self) -> str:
        """The name."""
        return self.definition.name

    @cached_property
    def meaning(self) -> str:
        """Its name as words, and its description."""
        return f"{self.name.replace('_', ' ')}: {self.definition.description}"

    @cached_property
    def about(self) -> frozenset[str]:
        """The stems of the words that say what it is about."""
        return frozenset(stem(word) for word in re.findall(r"\w+", self.meaning) if not ignored(word))

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """Its parameters; the required ones first."""
        required = self.definition.parameters.get("required") or ()
        properties = _members(self.definition.parameters.get("properties"))
        found = (Parameter(name, _without_null(_members(raw)), name in required) for name, raw in properties.items())
        return tuple(sorted(found, key=lambda each: not each.required))

    @property
    def numeric(self) -> list[Parameter]:
        """The parameters that are numbers."""
        return [each for each in self.parameters if each.kind == "number"]

    @property
    def options(self) -> list[str]:
        """The enum values of all parameters."""
        return [str(option) for each in self.parameters for option in each.options]


def _without_null(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    variants: list[Any] = [each for each in schema.get("anyOf", ()) if _members(each).get("type") != "null"]
    return {**schema, **_members(variants[0])} if len(variants) == 1 else schema


def _members(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}
