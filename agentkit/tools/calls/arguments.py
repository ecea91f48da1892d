"""From the text a model wrote as arguments to validated values; what is wrong with it is said for the model to read."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, Self, cast

from pydantic import ValidationError
from pydantic_core import ErrorDetails, from_json

from agentkit.chat.messages import encode_json
from agentkit.errors import ModelRetry
from agentkit.tools.schema.signature import Place, Signature, is_absent, place_of
from agentkit.tools.schema.simplify import as_list, as_schema

__all__ = ["Written", "as_written", "parse_arguments", "read_arguments", "validate_arguments", "write"]


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


_SHORT = 4000  # a number cannot have more digits than Python reads
_MAY_BE_TOO_LARGE = re.compile(r"\d(?:[eE]|\d{307})")  # a number is infinite with an exponent or 309 digits only
_SHOULD = re.compile(r"\w+(?: input)? should (?P<is>be )?")  # "Input should be a valid string"
_MEMBER = re.compile(r"<[\w.]+: ([^>]*)>")  # <Color.RED: 'red'>
_MOST_LINES = 5
_LONGEST_VALUE, _LONGEST_WORDS = 60, 300
_TYPES = {list: "an array", str: "a string", bool: "a boolean", int: "a number", float: "a number"}


def read_arguments(signature: Signature, text: str) -> dict[str, Any]:
    """From the text of a call to the values of the signature's types. A `Decimal` has the digits that the text has.

    Raises:
        ModelRetry: The text is not a JSON object, or the arguments do not fit the signature.
    """
    arguments = parse_arguments(text)
    if arguments and signature.takes_decimals:
        value = as_written(text)
        exact = _exactly(signature, as_written(value) if isinstance(value, str) else value, ())
        arguments = from_json(encode_json(exact))
    return validate_arguments(signature, arguments)


def _exactly(signature: Signature, value: Any, place: Place) -> Any:
    """The value with the text of a number where that becomes a `Decimal`: JSON's numbers are read as floats."""
    if isinstance(value, Written):
        return value.text if signature.is_decimal(place) else float(value)
    if (members := as_schema(value)) is not None:
        return {key: _exactly(signature, each, (*place, key)) for key, each in members.items()}
    if (items := as_list(value)) is not None:
        return [_exactly(signature, each, (*place, index)) for index, each in enumerate(items)]
    return value


def parse_arguments(text: str) -> dict[str, Any]:
    """Read a call's arguments: one JSON object.

    No text and ``null`` are no arguments; an object that was encoded once more, as a string, is decoded; of a name that
    comes twice, the last holds. Half a surrogate pair becomes U+FFFD.

    Raises:
        ModelRetry: It is not a JSON object, holds NaN or an infinity, or is nested more than 200 deep.
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
        raise ModelRetry(f"the arguments must be one JSON object, not {_TYPES[type(value)]}")
    return cast("dict[str, Any]", value)


def validate_arguments(signature: Signature, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as the types of the signature.

    Raises:
        ModelRetry: They do not fit it; a line for each of the first faults says where, what came and what is expected.
    """
    try:
        return signature.validate(arguments)
    except ValidationError as error:
        raise ModelRetry(_explain(signature, arguments, error)) from error
    except ValueError as error:
        raise ModelRetry(f"the arguments cannot be written as JSON: {error}") from error


def _decode(text: str) -> Any:
    if not text.strip():
        return None
    try:
        # The standard parser takes what models do write: raw line ends in strings and half surrogate pairs. The second
        # one limits the depth, so that whoever walks the values is safe; encoding in between refuses infinity.
        value = json.loads(text, strict=False, parse_constant=_refuse)
        return from_json(encode_json(value))
    except RecursionError:
        raise ModelRetry("the arguments are nested too deeply") from None
    except ValueError as error:
        fault = str(error).partition(";")[0]
        raise ModelRetry(f"the arguments are not valid JSON: {fault}; send one complete JSON object") from error


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON value")


def _explain(signature: Signature, arguments: Mapping[str, Any], error: ValidationError) -> str:
    faults: dict[str, list[ErrorDetails]] = {}
    for details in error.errors(include_url=False):
        faults.setdefault(_path(place_of(arguments, details)), []).append(details)
    lines = [f"{path}: {_complaint(signature, of_path)}" for path, of_path in faults.items()]
    if len(lines) > _MOST_LINES:
        lines[_MOST_LINES:] = [f"and {len(lines) - _MOST_LINES} more"]
    return "\n".join(["invalid arguments, nothing was done:", *(f"- {line}" for line in lines)])


def _path(place: Place) -> str:
    """The place as ``stops[2].city``."""
    return _cut("".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place).removeprefix("."))


def _complaint(signature: Signature, faults: Sequence[ErrorDetails]) -> str:
    """What is wrong in one place: of a union, each branch has its own fault."""
    first = faults[0]
    if is_absent(first):
        return "missing"
    if first["type"] == "extra_forbidden":
        known = _cut(", ".join(signature.parameters["properties"]) or "none", _LONGEST_WORDS)
        return "there is no such parameter" + (f"; there are: {known}" if len(first["loc"]) == 1 else "")
    told = dict.fromkeys(map(_words, faults))
    expected = "expected " if _SHOULD.match(first["msg"]) else ""
    return f"{expected}{_cut(' or '.join(told), _LONGEST_WORDS)}; got {_shown(first['input'])}"


def _words(fault: ErrorDetails) -> str:
    """What pydantic says, without what only a Python programmer reads."""
    message, context = fault["msg"], fault.get("ctx", {})
    if fault["type"] == "union_tag_invalid":
        return f"{context['discriminator']} must be one of {context['expected_tags']}"
    if fault["type"] == "union_tag_not_found":
        return f"{context['discriminator']} is missing"
    plain = _MEMBER.sub(r"\1", message.removeprefix("Value error, ").partition(" following the rules at ")[0])
    found = _SHOULD.match(plain)
    return plain if found is None else f"{'' if found['is'] else 'to '}{plain[found.end() :]}"


def _shown(value: object) -> str:
    return _cut(encode_json(value).decode())


def _cut(text: str, longest: int = _LONGEST_VALUE) -> str:
    return text if len(text) <= longest else f"{text[:longest]}..."
