"""From the arguments that a model wrote to validated values, or to a message for the model that says what is wrong.

The string is parsed once (`parse_arguments`). pydantic validates what came out of it. Two things that pydantic does not
do are done before: a `Decimal` gets the digits that the model wrote, and readings that could be wrong are refused.
"""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from agentkit.chat.json_schema import JsonSchema, leaf_schemas, member_schemas, possible_schemas, types_of
from agentkit.chat.json_values import WrittenNumber, parse_json
from agentkit.errors import ModelRetry
from agentkit.tools.schemas import DECIMAL, shown_value
from agentkit.tools.signature import Signature

Place: TypeAlias = tuple[int | str, ...]

_SHOULD = re.compile(r"\w+(?: input)? should (?P<is>be )?")  # "Input should be a valid string"
_MEMBER = re.compile(r"<[\w.]+: ([^>]*)>")  # <Color.RED: 'red'>
_ABSENT = ("missing", "missing_argument", "missing_keyword_only_argument", "missing_positional_only_argument")
_MOST_LINES = 5
_LONGEST_PATH, _LONGEST_MESSAGE = 60, 300
_TYPES = {list: "an array", str: "a string", bool: "a boolean"}


def parse_arguments(text: str) -> dict[str, Any]:
    """Parse the arguments of a call: one JSON object, whose numbers keep the digits that the model wrote.

    No text and ``null`` are no arguments; an object that was encoded once more, as a string, is decoded; of a name that
    comes twice, the last holds. A lone surrogate becomes U+FFFD.

    Raises:
        ModelRetry: It is not a JSON object, holds NaN or an infinity, or is nested more than 200 deep.
    """
    try:
        value = parse_json(text) if text.strip() else None
        if isinstance(value, str):
            value = parse_json(value) if value.strip() else None
    except ValueError as error:
        fault = str(error).partition(";")[0]
        raise ModelRetry(f"the arguments are not valid JSON: {fault}; send one complete JSON object") from error
    if value is None:
        return {}
    if not isinstance(value, dict):
        kind = next((name for each, name in _TYPES.items() if isinstance(value, each)), "a number")
        raise ModelRetry(f"the arguments must be one JSON object, not {kind}")
    return cast("dict[str, Any]", value)


def validate_arguments(signature: Signature, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Convert arguments to the types of the signature.

    A null for what may be left out, and is not null itself, stands for leaving it out: a strict schema has no other way
    to say it, and models do the same with plain ones. In a free dict a null is a value like any other.

    Args:
        signature: What the function takes.
        arguments: What `parse_arguments` returned, or any other JSON object. A `Decimal` gets the digits of a
            `WrittenNumber`.

    Raises:
        ModelRetry: They do not fit; a line for each of the first faults says where, what came and what is expected.
    """
    return _converted(signature, arguments, _Words())


def validate_value(signature: Signature, value: object, *, wrapped: bool) -> Any:
    """Convert a value to the type of the only parameter of a signature, as `validate_arguments` does.

    Args:
        signature: What `signature_of_value` makes.
        value: A JSON value, as `parse_json` returns it.
        wrapped: Whether the model knows the value as a member of an object, so that complaints name that member.

    Raises:
        ModelRetry: It does not fit.
    """
    (name,) = signature.parameters["properties"]
    words = _Words("the answer is not valid:", "member", 0 if wrapped else 1)
    return _converted(signature, {name: value}, words)[name]


@dataclass(frozen=True, slots=True)
class _Words:
    """The wording of a complaint to the model.

    Attributes:
        heading: The first line.
        member: The word for what an object has too many of.
        hidden: How many steps of each place the model does not know.
    """

    heading: str = "invalid arguments, nothing was done:"
    member: str = "parameter"
    hidden: int = 0


def _converted(signature: Signature, arguments: Mapping[str, Any], words: _Words) -> dict[str, Any]:
    reader = _Reader(signature.schema)
    given = reader.read(dict(arguments), leaf_schemas(signature.schema, signature.schema), ())
    complaints = _Complaints(signature, given, words)
    try:
        values = _without_nulls(signature, given)
    except ValidationError as error:
        raise ModelRetry(complaints.text(reader.refused, error)) from error
    except ValueError as error:
        raise ModelRetry(f"the arguments cannot be written as JSON: {error}") from error
    if reader.refused:
        raise ModelRetry(complaints.text(reader.refused))
    return values


def _without_nulls(signature: Signature, arguments: dict[str, Any]) -> dict[str, Any]:
    """Validate the arguments, if need be without the nulls that stand for leaving something out."""

    def is_declared(place: Place) -> bool:  # a property, not a key of a free dict or an item of an array
        holders = leaf_schemas(signature.parameters, signature.parameters)
        for step in place[:-1]:
            holders = member_schemas(holders, step, signature.parameters)
        return bool(place) and any(place[-1] in each.get("properties", ()) for each in holders)

    def without(places: set[Place]) -> dict[str, Any]:
        reduced = copy.deepcopy(arguments)
        for *way, last in places:
            holder: Any = functools.reduce(lambda value, step: value[step], way, cast("Any", reduced))
            if isinstance(holder, dict):
                cast("dict[str, Any]", holder).pop(str(last), None)
        return reduced

    try:
        return signature.validate(arguments)
    except ValidationError as error:
        wrong = [each for each in error.errors() if each["type"] not in _ABSENT and each["input"] is None]
        found = {_place_of(arguments, fault) for fault in wrong}
        nulls = {place for place in found if is_declared(place)}
        if not nulls:
            raise
    reduced = without(nulls)
    try:
        return signature.validate(reduced)
    except ValidationError as error:
        needed = nulls & {_place_of(reduced, fault) for fault in error.errors() if fault["type"] in _ABSENT}
        if not needed:
            raise
    return signature.validate(without(nulls - needed))


def _place_of(arguments: object, fault: ErrorDetails) -> Place:
    """The path of the problem; a missing member has one too.

    pydantic also names the branches of unions on the way to it. Such a name may be that of a member as well: of all
    ways that lead to something, the one to what pydantic found is taken.
    """
    steps = fault["loc"]
    absent = steps[-1:] if fault["type"] in _ABSENT else ()
    way = steps[: len(steps) - len(absent)]
    found: dict[Place, Any] = {(): arguments}
    for step in way:
        for place, value in list(found.items()):
            is_item = isinstance(value, list) and isinstance(step, int) and step < len(cast("list[object]", value))
            if is_item or (isinstance(value, dict) and step in value):
                found[*place, step] = cast("Any", value)[step]
    best = max(found, key=lambda place: (found[place] == fault["input"], place[-1:] == way[-1:], len(place)))
    return (*best, *absent)


# Before pydantic: the digits of decimals, and readings of pydantic that could be wrong.

_EXPECTED = {  # by the format in the schema
    "date": 'a date such as "2026-05-01"',
    "date-time": 'a date and time such as "2026-05-01T12:30:00"',
    "time": 'a time such as "12:30:00"',
    "duration": 'a duration such as "PT90S" or "00:01:30"',
}
_DIGITS = re.compile(r"\s*[+-]?\d+(?:\.\d*)?\s*")
_BOOLEAN = re.compile(r"true|false|yes|no|on|off|0|1", re.IGNORECASE)


@dataclass(slots=True)
class _Reader:
    """Goes through a value together with the schemas that it may be of.

    Attributes:
        root: The schema of the whole, with the marks of `generate`.
        refused: By place, what is wrong with a value that would be read as something else.
    """

    root: JsonSchema
    refused: dict[Place, str] = field(default_factory=dict[Place, str])

    def read(self, value: Any, schemas: Sequence[JsonSchema], place: Place) -> Any:
        """The value with strings in place of the numbers of a `Decimal`."""
        if not schemas:
            return value
        if isinstance(value, dict):
            return self._object(cast("dict[str, Any]", value), schemas, place)
        if isinstance(value, list):
            items = enumerate(cast("list[object]", value))
            return [self.read(each, member_schemas(schemas, at, self.root), (*place, at)) for at, each in items]
        if expected := _misread(value, schemas):
            self.refused[place] = f"expected {expected}; got {shown_value(value)}"
        if isinstance(value, WrittenNumber):
            others = [each for each in schemas if DECIMAL not in each and types_of(each) & {"number", "string"}]
            return value.text if not others and any(DECIMAL in each for each in schemas) else float(value)
        return value

    def _object(self, value: dict[str, Any], schemas: Sequence[JsonSchema], place: Place) -> dict[str, Any]:
        possible = possible_schemas(value, schemas)
        for key in value if any("propertyNames" in each for each in possible) else ():
            names = [leaf for each in possible for leaf in leaf_schemas(each.get("propertyNames", True), self.root)]
            if expected := _misread(key, names):
                self.refused[(*place, key)] = f"expected {expected} as its name"
        return {
            key: self.read(each, member_schemas(possible, key, self.root), (*place, key)) for key, each in value.items()
        }


def _misread(value: object, schemas: Sequence[JsonSchema]) -> str:
    """The form that is expected where pydantic would read the value as something that the model may not have meant.

    A number, or a string of digits, for a date or a time would be seconds since 1970; true would be the number 1.
    """
    types = [(each, types_of(each)) for each in schemas]
    allowed = frozenset[str]().union(*(kinds for _, kinds in types))
    formats = [_EXPECTED.get(each.get("format", "")) for each, kinds in types if "string" in kinds]
    if isinstance(value, bool):
        is_number = allowed & {"integer", "number"} and not allowed & {"boolean", "string"}
        return f"{'a whole number' if 'number' not in allowed else 'a number'}, not a boolean" if is_number else ""
    if isinstance(value, int | float):
        is_time = formats and all(formats) and not allowed & {"integer", "number"}
        return " or ".join(dict.fromkeys(map(str, formats))) if is_time else ""
    if not isinstance(value, str) or (formats and not all(formats)):
        return ""
    if formats and _DIGITS.fullmatch(value):
        return " or ".join(dict.fromkeys(map(str, formats)))
    if allowed & {"integer", "number"} and not formats and "_" in value:
        return "a number"
    if "boolean" in allowed and allowed <= {"boolean", "null"} and not _BOOLEAN.fullmatch(value):
        return "true or false"
    return ""


# What the model reads.


@dataclass(frozen=True, slots=True)
class _Complaints:
    """Explains to a model what is wrong with its arguments."""

    signature: Signature
    arguments: Mapping[str, Any]
    words: _Words

    def text(self, refused: Mapping[Place, str], error: ValidationError | None = None) -> str:
        """A line for each of the first faults."""
        faults: dict[Place, list[ErrorDetails]] = {}
        for fault in error.errors(include_url=False) if error else ():
            faults.setdefault(_place_of(self.arguments, fault), []).append(fault)
        complaints = {place: self._complaint(of_place) for place, of_place in faults.items()} | dict(refused)
        lines = [f"- {self._path(place)}{complaint}" for place, complaint in list(complaints.items())[:_MOST_LINES]]
        if len(complaints) > _MOST_LINES:
            lines.append(f"- and {len(complaints) - _MOST_LINES} more")
        return "\n".join([self.words.heading, *lines])

    def _path(self, place: Place) -> str:
        """The place as ``stops[2].city:``; nothing for the whole."""
        steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in place[self.words.hidden :])
        path = _shortened("".join(steps).removeprefix("."), _LONGEST_PATH)
        return f"{path}: " if path else ""

    def _complaint(self, faults: Sequence[ErrorDetails]) -> str:
        """The problems in one place: each branch of a union has its own."""
        first = faults[0]
        if first["type"] in _ABSENT:
            return "missing"
        if first["type"] == "extra_forbidden":
            known = _shortened(", ".join(self.signature.parameters["properties"]) or "none", _LONGEST_MESSAGE)
            return f"there is no such {self.words.member}" + (f"; there are: {known}" if len(first["loc"]) == 1 else "")
        messages = dict.fromkeys(map(self._message, faults))
        expected = "expected " if _SHOULD.match(first["msg"]) else ""
        return f"{expected}{_shortened(' or '.join(messages), _LONGEST_MESSAGE)}; got {shown_value(first['input'])}"

    def _message(self, fault: ErrorDetails) -> str:
        """The message of pydantic without the parts meant for Python programmers."""
        message, context = fault["msg"], fault.get("ctx", {})
        if fault["type"] == "union_tag_invalid":
            return f"{context['discriminator']} must be one of {context['expected_tags']}"
        if fault["type"] == "union_tag_not_found":
            return f"{context['discriminator']} is missing"
        plain = _MEMBER.sub(r"\1", message.removeprefix("Value error, ").partition(" following the rules at ")[0])
        found = _SHOULD.match(plain)
        return plain if found is None else f"{'' if found['is'] else 'to '}{plain[found.end() :]}"


def _shortened(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[:longest]}..."
