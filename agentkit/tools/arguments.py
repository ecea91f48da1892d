"""From the text a model wrote as arguments to validated values; what is wrong with it is said for the model to read."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, cast

from pydantic import ValidationError
from pydantic_core import ErrorDetails, from_json

from agentkit.chat.messages import encode_json
from agentkit.errors import Retry
from agentkit.tools.schema import Signature

__all__ = ["parse_arguments", "validate_arguments"]

_SHORT = 4000  # a number cannot have more digits than Python reads
_MAY_BE_TOO_LARGE = re.compile(r"\d(?:[eE]|\d{307})")  # a number is infinite with an exponent or 309 digits only
_MOST_LINES = 5
_LONGEST_VALUE = 60
_TYPES = {list: "an array", str: "a string", bool: "a boolean", int: "a number", float: "a number"}


def parse_arguments(text: str) -> dict[str, Any]:
    """Read a call's arguments: one JSON object.

    No text and ``null`` are no arguments; an object that was encoded once more, as a string, is decoded; of a name that
    comes twice, the last holds. Half a surrogate pair becomes U+FFFD.

    Raises:
        Retry: It is not a JSON object, holds NaN or an infinity, or is nested more than 200 deep.
    """
    if len(text) < _SHORT and not _MAY_BE_TOO_LARGE.search(text):
        try:
            value = from_json(text, allow_inf_nan=False)  # what is nearly always enough
        except (TypeError, ValueError):  # a lone surrogate is a TypeError
            value = None
        if isinstance(value, dict):
            return cast("dict[str, Any]", value)
    value = _decode(text)
    if isinstance(value, str):
        value = _decode(value)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Retry(f"the arguments must be one JSON object, not {_TYPES[type(value)]}")
    return cast("dict[str, Any]", value)


def validate_arguments(signature: Signature, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as the types of the signature.

    Raises:
        Retry: They do not fit it; a line for each of the first faults says where, what came and what is expected.
    """
    try:
        return signature.validate(arguments)
    except ValidationError as error:
        raise Retry(_explain(signature, arguments, error)) from error
    except ValueError as error:
        raise Retry(f"the arguments cannot be written as JSON: {error}") from error


def _decode(text: str) -> Any:
    if not text.strip():
        return None
    try:
        # The standard parser takes what models do write: raw line ends in strings and half surrogate pairs. The second
        # one limits the depth, so that whoever walks the values is safe; encoding in between refuses infinity.
        value = json.loads(text, strict=False, parse_constant=_refuse)
        return from_json(encode_json(value))
    except RecursionError:
        raise Retry("the arguments are nested too deeply") from None
    except ValueError as error:
        fault = str(error).partition(";")[0]
        raise Retry(f"the arguments are not valid JSON: {fault}; send one complete JSON object") from error


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON value")


def _explain(signature: Signature, arguments: Mapping[str, Any], error: ValidationError) -> str:
    faults: dict[str, list[ErrorDetails]] = {}
    for details in error.errors(include_url=False, include_context=False):
        faults.setdefault(_path(arguments, details), []).append(details)
    lines = [f"{path}: {_complaint(signature, of_path)}" for path, of_path in faults.items()]
    if len(lines) > _MOST_LINES:
        lines[_MOST_LINES:] = [f"and {len(lines) - _MOST_LINES} more"]
    return "\n".join(["invalid arguments, nothing was done:", *(f"- {line}" for line in lines)])


def _path(arguments: Mapping[str, Any], details: ErrorDetails) -> str:
    """Where the fault is, as ``stops[2].city``: pydantic's names for the branches of a union are left out."""
    path, value = "", cast("Any", arguments)
    for place, step in enumerate(details["loc"], 1):
        absent = details["type"] == "missing" and place == len(details["loc"])
        if isinstance(value, dict) and (absent or step in value):
            path, value = f"{path}.{step}", cast("dict[int | str, Any]", value).get(step)
        elif isinstance(value, list) and isinstance(step, int):
            path, value = f"{path}[{step}]", cast("Sequence[Any]", value)[step] if not absent else None
    return _cut(path.removeprefix("."))


def _complaint(signature: Signature, faults: Sequence[ErrorDetails]) -> str:
    """What is wrong in one place: of a union, each branch has its own fault."""
    first = faults[0]
    if first["type"] == "missing":
        return "missing"
    if first["type"] == "extra_forbidden":
        known = ", ".join(signature.parameters["properties"]) or "none"
        return "there is no such parameter" + (f"; there are: {known}" if len(first["loc"]) == 1 else "")
    told = dict.fromkeys(each["msg"].removeprefix("Value error, ").removeprefix("Input should be ") for each in faults)
    expected = "expected " if first["msg"].startswith("Input should be ") else ""
    return f"{expected}{' or '.join(told)}; got {_shown(first['input'])}"


def _shown(value: object) -> str:
    return _cut(encode_json(value).decode())


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."
