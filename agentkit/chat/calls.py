"""A call that a model makes, of a function or of a custom tool."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agentkit.chat.tolerant import as_mapping, as_text, without

__all__ = ["ToolCall", "read_call"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that the model wants.

    ``arguments`` is a JSON object as text. When the model wrote anything else, what it wrote is in ``malformed`` and
    ``arguments`` is ``"{}"``, as servers refuse a transcript whose arguments are not JSON.

    A call of a custom tool has no arguments (``"{}"``) but an ``input``, any text; for functions that is None.
    """

    id: str
    name: str
    arguments: str
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])
    malformed: str = ""
    input: str | None = None

    @classmethod
    def custom(cls, id: str, name: str, input: str) -> ToolCall:  # noqa: A002 - the API's own words
        """A call of a custom tool."""
        return cls(id, name, "{}", input=input)

    @property
    def written(self) -> str:
        """The arguments, or the input, as the model wrote them."""
        return self.malformed or self.arguments if self.input is None else self.input

    def to_wire(self) -> dict[str, Any]:
        """The call as the API writes it."""
        if self.input is not None:
            return {**self.extra, "id": self.id, "type": "custom", "custom": {"name": self.name, "input": self.input}}
        function = {"name": self.name, "arguments": self.arguments}
        return {**self.extra, "id": self.id, "type": "function", "function": function}

    def to_record(self) -> dict[str, Any]:
        """The call for storing, with what the model wrote in place of arguments."""
        return {**self.to_wire(), "malformed": self.malformed} if self.malformed else self.to_wire()


def read_call(raw: Mapping[str, Any]) -> ToolCall:
    """Read a call from its wire form or its record."""
    id_, extra = str(raw.get("id") or ""), without(raw, "id", "type", "function", "custom", "malformed")
    if "function" not in raw and "custom" in raw:
        custom = as_mapping(raw["custom"])
        return ToolCall(id_, as_text(custom.get("name")), "{}", extra, input=as_text(custom.get("input")))
    function = as_mapping(raw.get("function"))
    arguments = function.get("arguments") or ""
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return ToolCall(id_, as_text(function.get("name")), text, extra, as_text(raw.get("malformed")))
