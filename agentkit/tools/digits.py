"""Numbers that know the digits they were written with, which a float has only 17 of."""

from __future__ import annotations

import json
import math
from typing import Any, Self

from agentkit.chat.messages import encode_json
from agentkit.tools.compact import as_list, as_schema

__all__ = ["Written", "as_written", "write"]


class Written(float):
    """A number that knows how it was written."""

    def __new__(cls, text: str) -> Self:
        """The number that the text says."""
        made = super().__new__(cls, text)
        made.text = text
        return made

    text: str


def as_written(text: str) -> Any:
    """The JSON value of a text, its numbers with a fraction or an exponent as `Written`."""
    return json.loads(text, strict=False, parse_float=Written)


def write(value: Any) -> str:
    """The value as JSON, each `Written` number as it was written.

    Raises:
        ValueError: JSON cannot express it.
    """
    if isinstance(value, Written) and math.isfinite(value):
        return value.text
    if (members := as_schema(value)) is not None:
        return "{" + ",".join(f"{encode_json(key).decode()}:{write(each)}" for key, each in members.items()) + "}"
    if (items := as_list(value)) is not None:
        return "[" + ",".join(map(write, items)) + "]"
    return encode_json(value).decode()
