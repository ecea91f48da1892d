"""Turns the arguments that a model wrote into the call of a function, or into a message about what is wrong with them.

`parse_arguments` reads the string once. `fit_arguments` repairs what can only mean one thing, as soon as a reply has
arrived. `validate_arguments` has pydantic convert them to the function's types, after giving each `Decimal` the digits
that the model wrote and refusing readings that could be wrong. `Signature.bind` makes the call.

A `Shape` looks up what a schema says about each place in the arguments, once per tool.
"""

from __future__ import annotations

import copy
import functools
import inspect
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias, cast

from pydantic_core import ErrorDetails, SchemaValidator, ValidationError

from agentkit.chat.json_schema import JSON_TYPES, JsonSchema, leaf_schemas, member_schemas, types_of
from agentkit.chat.json_values import WrittenNumber, as_mapping, encode_json, parse_json, write_json
from agentkit.errors import ModelRetry, ToolError
from agentkit.tools.context import RunContext
from agentkit.tools.schemas import DECIMAL, is_same, shown_value

Place: TypeAlias = tuple[int | str, ...]
_Parameter = inspect.Parameter

_TYPES = {list: "an array", str: "a string", bool: "a boolean"}


def parse_arguments(text: str) -> dict[str, Any]:
    """Parse the arguments of a call: one JSON object, whose numbers keep the digits that the model wrote.

    Empty text and ``null`` mean no arguments; an object that was encoded twice is decoded; if a name comes twice, the
    last one counts. A lone surrogate becomes U+FFFD.

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


# Facts from a schema, looked up once.

_NUMBERS = frozenset({"integer", "number"})
_KINDS: Mapping[type, frozenset[str]] = {  # the JSON types that a value has
    dict: frozenset({"object"}), list: frozenset({"array"}), str: frozenset({"string"}), bool: frozenset({"boolean"}),
    type(None): frozenset({"null"}), int: _NUMBERS, float: _NUMBERS, WrittenNumber: _NUMBERS,
}  # fmt: skip
_EXPECTED = {  # by the format in the schema
    "date": 'a date such as "2026-05-01"',
    "date-time": 'a date and time such as "2026-05-01T12:30:00"',
    "time": 'a time such as "12:30:00"',
    "duration": 'a duration such as "PT90S" or "00:01:30"',
}
_DIGITS = re.compile(r"\s*[+-]?\d+(?:\.\d*)?\s*")
_BOOLEAN = re.compile(r"true|false|yes|no|on|off|0|1", re.IGNORECASE)


def _values_of(schema: Mapping[str, Any]) -> list[Any] | None:
    """The values that a schema lists, if it lists them."""
    return schema["enum"] if "enum" in schema else [schema["const"]] if "const" in schema else None


LEFT_OUT: Any = object()


class Shape:
    """The values that one place in JSON may hold, and the shapes of their parts.

    Args:
        schemas: The alternatives, with references and unions resolved; none where nothing is known.
        root: The document that they come from.

    Attributes:
        schemas: The same.
        root: The same.
        types: The JSON types of all of them.
        declared: The names of their members.
        is_optional: Whether it is a member that each alternative of the outer object declares and none requires.
        is_decimal: Whether a number there is a `Decimal`, which needs its digits.
    """

    def __init__(self, schemas: Sequence[JsonSchema], root: Mapping[str, Any], *, is_optional: bool = False) -> None:
        self.schemas, self.root, self.is_optional = schemas, root, is_optional
        self.types = self._free = frozenset[str]()  # those of alternatives that list no values
        self._values: list[Any] = []
        self._constants: list[dict[str, Any]] = []
        self._listed = 0  # items of arrays that have a schema of their own
        names: list[Collection[str]] = []
        required = set[str]()
        forms: list[str | None] = []
        decimals: list[bool] = []
        for each in schemas:
            types, values = types_of(each), _values_of(each)
            properties: Mapping[str, Any] = each.get("properties") or {}
            self.types |= types
            self._free |= types if values is None else types & {"array", "object"}
            self._values += values or ()
            constants = {name: inner["const"] for name, inner in properties.items() if "const" in as_mapping(inner)}
            self._constants.append(constants)
            self._listed = max(self._listed, len(each.get("prefixItems") or properties))
            names.append(properties)
            required.update(each.get("required", ()))
            forms += [_EXPECTED.get(each.get("format", ""))] if "string" in types else []
            decimals += [DECIMAL in each] if types & {"number", "string"} else []
        self.declared = frozenset[str]().union(*names)
        self._optional = self.declared.intersection(*names) - required
        self.is_decimal = bool(decimals) and all(decimals)
        self._is_text = not all(forms)
        self._time = "" if self._is_text else " or ".join(dict.fromkeys(map(str, forms)))
        self._members: dict[str | int | None, Shape] = {}
        self._narrowed: dict[int, Shape] = {}

    @classmethod
    def of(cls, schema: Mapping[str, Any]) -> Shape:
        """The shape of the values of a schema."""
        return cls(leaf_schemas(schema, schema), schema)

    def member(self, step: str | int) -> Shape:
        """The shape of a member, by its name, or by its index in an array."""
        key = min(step, self._listed) if isinstance(step, int) else step if step in self.declared else None
        if key not in self._members:
            found = member_schemas(self.schemas, step, self.root)
            self._members[key] = Shape(found, self.root, is_optional=step in self._optional)
        return self._members[key]

    def narrowed(self, value: Mapping[str, Any]) -> Shape:
        """The shape without the alternatives whose constants, such as the tag of a union, the value contradicts."""
        if len(self.schemas) == 1:
            return self
        possible = [
            at
            for at, constants in enumerate(self._constants)
            if not any(name in value and value[name] != each for name, each in constants.items())
        ]
        if len(possible) in (0, len(self.schemas)):
            return self
        if len(possible) > 1:
            return Shape([self.schemas[at] for at in possible], self.root)
        (only,) = possible
        return self._narrowed.get(only) or self._narrowed.setdefault(only, Shape([self.schemas[only]], self.root))

    @functools.cached_property
    def names(self) -> Shape | None:
        """The shape of the names of members, if the schema restricts them."""
        if not any("propertyNames" in each for each in self.schemas):
            return None
        names = [leaf for each in self.schemas for leaf in leaf_schemas(each.get("propertyNames", True), self.root)]
        return Shape(names, self.root)

    def fits(self, value: object) -> bool:
        """Return True if the value has one of the types, or is one of the values that are listed."""
        kinds = _KINDS.get(type(value), frozenset())
        return bool(kinds & self._free) or any(is_same(value, each) for each in self._values)

    def misread(self, value: object) -> str:
        """The expected form, where pydantic would read the value as something that the model may not have meant.

        It reads a number, or a string of digits, for a date or a time as seconds since 1970, and true as the number 1.
        """
        if isinstance(value, bool):
            if not self.types & _NUMBERS or self.types & {"boolean", "string"}:
                return ""
            return f"{'a number' if 'number' in self.types else 'a whole number'}, not a boolean"
        if isinstance(value, int | float):
            return "" if self.types & _NUMBERS else self._time
        if not isinstance(value, str) or self._is_text:
            return ""
        if self._time and _DIGITS.fullmatch(value):
            return self._time
        if "_" in value and self.types & _NUMBERS and not self._time:
            return "a number"
        is_boolean = "boolean" in self.types and self.types <= {"boolean", "null"}
        return "true or false" if is_boolean and not _BOOLEAN.fullmatch(value) else ""

    def map(self, change: Callable[[Any, Shape, Place], Any], value: Any, place: Place = ()) -> Any:
        """The value with everything in it changed, outermost first, except where nothing is known about it.

        Args:
            change: Takes a value, its shape and its place, and returns the new value; `LEFT_OUT` leaves a member out.
            value: The value.
            place: Its place.
        """
        if not self.schemas:
            return value
        value = change(value, self, place)
        if isinstance(value, dict):
            members = cast("dict[str, Any]", value)
            inner = self.narrowed(members)
            made = {name: inner.member(name).map(change, each, (*place, name)) for name, each in members.items()}
            return {name: each for name, each in made.items() if each is not LEFT_OUT}
        if isinstance(value, list):
            items = enumerate(cast("list[object]", value))
            return [self.member(at).map(change, each, (*place, at)) for at, each in items]
        return value


# Arguments that are JSON, but not as the tool takes them.

_WRAPPERS = frozenset({"arguments", "args", "input", "kwargs", "parameters", "params"})


def fit_arguments(arguments: Mapping[str, Any], shape: Shape) -> tuple[dict[str, Any], list[str]]:
    """The arguments in the form that the schema of the tool wants; the second value names what was changed.

    A value that fits, as it is or as validation reads it, is never changed; any other is changed only if it can mean
    just one thing.
    """
    fitter = _Fitter()
    unwrapped = fitter.unwrapped(arguments, shape.root)
    return shape.map(fitter.fitted, unwrapped), fitter.notes


class _Fitter:
    def __init__(self) -> None:
        self.notes: list[str] = []

    def unwrapped(self, arguments: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
        """Take the arguments out of a member such as ``arguments``, if they cannot fit with it."""
        known: Mapping[str, Any] = schema.get("properties", {})
        is_open = schema.get("additionalProperties", not schema.get("required")) is not False
        if len(arguments) != 1 or "patternProperties" in schema or is_open:
            return dict(arguments)
        ((wrapper, inner),) = arguments.items()
        if wrapper in known or wrapper not in _WRAPPERS:
            return dict(arguments)
        if isinstance(inner, str):
            inner = _decoded(inner)
        if isinstance(inner, dict) and known and cast("dict[str, Any]", inner).keys() <= known.keys():
            self.notes.append(f"wrapped in {wrapper!r}")
            return cast("dict[str, Any]", inner)
        return dict(arguments)

    def fitted(self, value: Any, shape: Shape, place: Place) -> Any:
        """The value itself, without its members."""
        if value is None and shape.is_optional and "null" not in shape.types:
            self.notes.append(f"null for {_path(place)}, which may be left out")
            return LEFT_OUT
        if not shape.fits(value):
            meanings = [each for schema in shape.schemas for each in _meanings(value, schema, shape.root)]
            different = {write_json(new): (new, note) for new, note in meanings}
            if len(different) == 1:
                ((value, note),) = different.values()
                self.notes.append(f"{_path(place)} {note}")
        return value


def _meanings(value: Any, schema: JsonSchema, root: Mapping[str, Any]) -> Iterator[tuple[Any, str]]:
    """The possible meanings of a value that does not fit this schema, each with a note on its place."""
    types = types_of(schema)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if (values := _values_of(schema)) is not None:
        yield from _meant(value, values)
    elif is_number and "string" in types and "format" not in schema:
        yield write_json(value), "written as a number"
    if isinstance(value, str) and "null" in types and value.strip() in ("", "null", "None"):
        yield None, "written as a string"
    inner = _decoded(value) if isinstance(value, str) and types & {"array", "object"} else None
    if inner is not None and ("object" if isinstance(inner, dict) else "array") in types:
        yield inner, "written as a string"
    if "array" in types and (is_number or isinstance(value, dict)):
        items = [Shape([each], root) for each in member_schemas([schema], 0, root)]
        if items and all(each.fits(cast("object", value)) and each.types != JSON_TYPES for each in items):
            yield [value], "without its list"


def _meant(value: Any, values: Sequence[Any]) -> Iterator[tuple[Any, str]]:
    """The values of an enum that the value could mean."""
    for each in values:
        if isinstance(value, str) and isinstance(each, str) and each.lower() == value.strip().lower():
            yield each, "in another case"
        elif isinstance(value, str) and isinstance(each, int) and str(each) == value.strip():
            yield each, "written as a string"
        elif isinstance(each, str) and isinstance(value, int | float) and each == write_json(value):
            yield each, "written as a number"


def _decoded(text: str) -> Any:
    """The list or object that a string holds, or None."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        return parse_json(text)
    except ValueError:
        return None


def _path(place: Place) -> str:
    """The place as ``stops[2].city``; empty for the whole."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place).removeprefix(".")


# The arguments as the types of a function.


class Argument(NamedTuple):
    """An argument that the model supplies for a parameter. ``extra``: it collects all keywords without a parameter."""

    name: str
    hint: Any
    required: bool
    description: str
    default: JsonSchema
    extra: bool = False


class Signature(NamedTuple):
    """The parameters of a function as a model sees them, and the way from its arguments to a call.

    Attributes:
        name: The function's name.
        description: The text of its docstring before the sections.
        parameters: The JSON Schema of its arguments, without the context.
        shape: The same as pydantic writes it, with the marks of `generate`.
        context: The name of the parameter that takes the context, if there is one.
        deps_type: ``X`` of ``ToolContext[X]``; None if there is no context, or a bare one.
        arguments: The arguments that the model gives for each parameter.
        validator: Reads a JSON object of the arguments.
        order: The parameters, including the context, without those that already have a value.
        taken: The names that the model must not give.
    """

    name: str
    description: str
    parameters: JsonSchema
    shape: Shape
    context: str | None
    deps_type: Any
    arguments: tuple[Argument, ...]
    validator: SchemaValidator
    order: tuple[inspect.Parameter, ...]
    taken: frozenset[str]

    def bind(
        self, values: Mapping[str, Any], context: RunContext[Any] | None = None
    ) -> tuple[list[Any], dict[str, Any]]:
        """The positional and the keyword arguments of the call with these validated values.

        Raises:
            ToolError: The function takes any keyword, and the model gave one that it must not give.
        """
        rest = dict(values)
        if taken := self.taken & rest.keys():
            raise ToolError(f"{min(taken)}: there is no such parameter")
        if self.context is not None:
            rest[self.context] = context
        has_more = any(each.kind is _Parameter.VAR_POSITIONAL and rest.get(each.name) for each in self.order)
        positional: list[Any] = []
        keywords: dict[str, Any] = {}
        for each in self.order:
            if each.kind is _Parameter.VAR_POSITIONAL:
                positional += rest.pop(each.name, ())
            elif each.kind is _Parameter.VAR_KEYWORD:
                keywords |= rest
            elif each.kind is _Parameter.POSITIONAL_ONLY or (has_more and each.kind is not _Parameter.KEYWORD_ONLY):
                positional.append(rest.pop(each.name, each.default))
            elif each.name in rest:
                keywords[each.name] = rest.pop(each.name)
        return positional, keywords


def bind_arguments(
    signature: Signature, context: RunContext[Any], arguments: str | Mapping[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    """The positional and the keyword arguments of a call, from the string that the model wrote or the parsed object.

    Raises:
        ModelRetry: They do not fit.
        ToolError: See `Signature.bind`.
    """
    given = parse_arguments(arguments) if isinstance(arguments, str) else arguments
    return signature.bind(validate_arguments(signature, given), context)


def validate_arguments(signature: Signature, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Convert arguments to the types of the signature.

    A null for something optional that cannot be null means that it is left out: a strict schema has no other way to say
    so, and models do the same with plain ones. In a free dict, a null is a value like any other.

    Args:
        signature: The function's signature.
        arguments: What `parse_arguments` returned, or any other JSON object. A `Decimal` gets the digits of a
            `WrittenNumber`.

    Raises:
        ModelRetry: They do not fit; a line for each of the first faults says where it is, what was given and what is
            expected.
    """
    return _Complaints(signature).converted(arguments)


def validate_value(signature: Signature, value: object, *, wrapped: bool) -> Any:
    """Convert a value to the type of the only parameter of a signature, as `validate_arguments` does.

    Args:
        signature: The signature that `signature_of_value` makes.
        value: A JSON value, as `parse_json` returns it.
        wrapped: Whether the model knows the value as a member of an object, so that complaints name that member.

    Raises:
        ModelRetry: It does not fit.
    """
    (name,) = signature.parameters["properties"]
    complaints = _Complaints(signature, "the answer is not valid:", "member", 0 if wrapped else 1)
    return complaints.converted({name: value})[name]


class _Reader:
    """Replaces the numbers for a `Decimal` with strings, and notes by place what would be read as something else."""

    def __init__(self) -> None:
        self.refused: dict[Place, str] = {}

    def read(self, value: Any, shape: Shape, place: Place) -> Any:
        """The value itself, without its members."""
        if isinstance(value, dict):
            names = shape.narrowed(cast("dict[str, Any]", value)).names
            for name in cast("dict[str, Any]", value) if names else ():
                if names and (expected := names.misread(name)):
                    self.refused[*place, name] = f"expected {expected} as its name"
        elif expected := shape.misread(value):
            self.refused[place] = f"expected {expected}; got {shown_value(value)}"
        elif isinstance(value, WrittenNumber):
            return value.text if shape.is_decimal else float(value)
        return cast("Any", value)


_ABSENT = ("missing", "missing_argument", "missing_keyword_only_argument", "missing_positional_only_argument")


def _place_of(arguments: object, fault: ErrorDetails) -> Place:
    """The path of the problem; a missing member has one too.

    pydantic's path also names branches of unions, and a branch may have the name of a member. Of all paths that lead
    somewhere, the one that leads to the input that pydantic complains about is taken.
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


# What the model reads.

_SHOULD = re.compile(r"\w+(?: input)? should (?P<is>be )?")  # "Input should be a valid string"
_MEMBER = re.compile(r"<[\w.]+: ([^>]*)>")  # <Color.RED: 'red'>
_MOST_LINES = 5
_LONGEST_PATH, _LONGEST_MESSAGE = 60, 300


class _Complaints(NamedTuple):
    """Converts arguments, and explains to a model what is wrong with them.

    Attributes:
        signature: The function's signature.
        heading: The first line.
        member: The word for a member, used where an object has one too many.
        hidden: How many steps at the start of each place the model does not know.
    """

    signature: Signature
    heading: str = "invalid arguments, nothing was done:"
    member: str = "parameter"
    hidden: int = 0

    def converted(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        reader = _Reader()
        given: dict[str, Any] = self.signature.shape.map(reader.read, dict(arguments))
        try:
            values = self._validated(given)
        except ValidationError as error:
            raise ModelRetry(self.text(given, reader.refused, error)) from error
        except ValueError as error:
            raise ModelRetry(f"the arguments cannot be written as JSON: {error}") from error
        if reader.refused:
            raise ModelRetry(self.text(given, reader.refused))
        return values

    def _validated(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Validate the arguments, if need be without the nulls that mean that something is left out.

        They are read as JSON: strict models take a date, an enum or a tuple from JSON but not from plain Python values.
        """

        def validate(reduced: dict[str, Any]) -> dict[str, Any]:
            return cast("dict[str, Any]", self.signature.validator.validate_json(encode_json(reduced)))

        def is_declared(place: Place) -> bool:  # a property, not a key of a free dict or an item of an array
            owner = functools.reduce(Shape.member, place[:-1], self.signature.shape)
            return bool(place) and place[-1] in owner.declared

        def without(places: set[Place]) -> dict[str, Any]:
            reduced = copy.deepcopy(arguments)
            for *way, last in places:
                holder: Any = functools.reduce(lambda value, step: value[step], way, cast("Any", reduced))
                if isinstance(holder, dict):
                    cast("dict[str, Any]", holder).pop(str(last), None)
            return reduced

        try:
            return validate(arguments)
        except ValidationError as error:
            wrong = [each for each in error.errors() if each["type"] not in _ABSENT and each["input"] is None]
            nulls = {place for place in (_place_of(arguments, fault) for fault in wrong) if is_declared(place)}
            if not nulls:
                raise
        reduced = without(nulls)
        try:
            return validate(reduced)
        except ValidationError as error:
            needed = nulls & {_place_of(reduced, fault) for fault in error.errors() if fault["type"] in _ABSENT}
            if not needed:
                raise
        return validate(without(nulls - needed))

    def text(self, given: Mapping[str, Any], refused: Mapping[Place, str], error: ValidationError | None = None) -> str:
        """A line for each of the first faults."""
        faults: dict[Place, list[ErrorDetails]] = {}
        for fault in error.errors(include_url=False) if error else ():
            faults.setdefault(_place_of(given, fault), []).append(fault)
        complaints = {place: self._complaint(of_place) for place, of_place in faults.items()} | dict(refused)
        lines = [self.heading]
        for place, complaint in list(complaints.items())[:_MOST_LINES]:
            path = _shortened(_path(place[self.hidden :]), _LONGEST_PATH)
            lines.append(f"- {path}: {complaint}" if path else f"- {complaint}")
        if len(complaints) > _MOST_LINES:
            lines.append(f"- and {len(complaints) - _MOST_LINES} more")
        return "\n".join(lines)

    def _complaint(self, faults: Sequence[ErrorDetails]) -> str:
        """The problems in one place: each branch of a union has its own."""
        first = faults[0]
        if first["type"] in _ABSENT:
            return "missing"
        if first["type"] == "extra_forbidden":
            known = _shortened(", ".join(self.signature.parameters["properties"]) or "none", _LONGEST_MESSAGE)
            return f"there is no such {self.member}" + (f"; there are: {known}" if len(first["loc"]) == 1 else "")
        messages = dict.fromkeys(map(self._message, faults))
        expected = "expected " if _SHOULD.match(first["msg"]) else ""
        return f"{expected}{_shortened(' or '.join(messages), _LONGEST_MESSAGE)}; got {shown_value(first['input'])}"

    @staticmethod
    def _message(fault: ErrorDetails) -> str:
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
