"""`ValueType`: a type that a model fills in, its JSON Schema, and the way from what the model wrote to a value.

The schema and the validator are those of a function with one parameter of this type, so that an output and an argument
of a tool are described, repaired and explained in the same way.
"""

from __future__ import annotations

import functools
import inspect
import re
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Union, cast, get_args, get_origin

from pydantic_core import CoreSchema, core_schema, from_json

from agentkit.chat.json_schema import JsonSchema, leaf_schemas, strict_form, why_not_strict, without_keywords
from agentkit.chat.json_values import encode_json, parse_json
from agentkit.chat.reply import REPLY_TYPES
from agentkit.chat.settings import ResponseFormat, json_schema
from agentkit.errors import ConfigError, DefinitionError, ModelRetry
from agentkit.tools.arguments import Shape, Signature, fit_arguments, validate_value
from agentkit.tools.context import RunContext
from agentkit.tools.repair import Unreadable, json_values_in, repair_json
from agentkit.tools.schemas import check_schema, complaint_about, faults_of
from agentkit.tools.signature import name_of, read_signature, signature_of_value

VALUE = "value"  # the member that holds what is not an object
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]+")
_LONGEST_NAME = 64
_THOUGHT = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)
_FENCED = re.compile(r"```[A-Za-z]*[ \t]*\n(.*?)```", re.DOTALL)
_SAYS_NOTHING = ("title", "description", "default", "examples")


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """The call of an output function: its validated arguments.

    Attributes:
        function: The function.
        signature: Its signature.
        values: Its arguments by name.
    """

    function: Callable[..., Any]
    signature: Signature
    values: Mapping[str, Any]

    async def run(self, context: RunContext[Any] | None) -> Any:
        """Call the function; what it returns is the output.

        Raises:
            ModelRetry: The function raised it.
        """
        positional, keywords = self.signature.bind(self.values, context)
        value = self.function(*positional, **keywords)
        return await value if inspect.isawaitable(value) else value


class ValueType:
    """A type that a model fills in.

    Args:
        kind: A type, a function whose parameters are the shape of the value, or a list of several of these.
        name: 1 to 64 letters, digits, underscores and dashes; by default derived from the name of the type.
        description: The purpose; by default the docstring.

    Attributes:
        name: The name.
        description: The description that the model reads.
        schema: The JSON Schema, always one of an object.
        strict: The same in the part of JSON Schema that strict servers take; None if it cannot say the same.
        wrapped: Whether the value is the member ``value`` of that object, as it is not an object itself.

    Raises:
        DefinitionError: No JSON Schema expresses the type, or two alternatives are indistinguishable.
    """

    def __init__(self, kind: Any, *, name: str = "", description: str = "") -> None:
        self.name = _valid_name(name or _name_of(kind))
        signature = self._signature(kind)
        inner: JsonSchema = dict(signature.parameters["properties"][VALUE])
        definitions: Mapping[str, Any] = signature.parameters.get("$defs", {})
        if not inner.keys() - {*_SAYS_NOTHING}:
            raise DefinitionError(f"output type {_shown(kind)}: it may be anything; give it a type")
        _check_distinct(kind, signature.shape.root)
        self._read_signature = signature
        self._set_schema(inner, definitions, description)
        self.strict = strict_form(self.name, self.schema, strict=None, of_function=True)

    def __repr__(self) -> str:
        return f"ValueType({self.name})"

    def _signature(self, kind: Any) -> Signature:
        try:
            return signature_of_value(_hint(kind), self.name)
        except DefinitionError as error:
            if not str(error).startswith(f"tool {self.name!r}: parameter 'value'"):
                raise
            cause = str(error.__cause__ or error).partition("\n")[0].partition(". ")[0].rstrip(".")
            raise DefinitionError(
                f"output type {_shown(kind)}: no JSON Schema expresses it ({cause}); use JSON's own types, a dataclass "
                "or a pydantic model"
            ) from error

    def _set_schema(self, inner: JsonSchema, definitions: Mapping[str, Any], description: str) -> None:
        reference = str(inner.get("$ref", "")).removeprefix("#/$defs/")
        if reference in definitions and inner.keys() <= {"$ref", "description"}:
            inner = {**definitions[reference], **{key: each for key, each in inner.items() if key != "$ref"}}
        self.wrapped = inner.get("type") != "object" or bool(inner.keys() & {"anyOf", "oneOf", "allOf"})
        self.description = description or str(inner.get("description", ""))
        schema: JsonSchema = (
            {"type": "object", "properties": {VALUE: inner}, "required": [VALUE], "additionalProperties": False}
            if self.wrapped
            else {key: each for key, each in inner.items() if key != "description"}
        )
        self.schema: JsonSchema = {**schema, "$defs": dict(definitions)} if definitions else schema

    @functools.cached_property
    def _alternatives(self) -> list[JsonSchema]:
        """The schemas of the value, if it is not an object."""
        return leaf_schemas(self.schema["properties"][VALUE], self.schema) if self.wrapped else []

    @functools.cached_property
    def is_choice(self) -> bool:
        """True if the value is one of a few: a bool, a constant, a member of an enum."""
        return bool(self._alternatives) and all(
            each.keys() & {"enum", "const"} or each.get("type") in ("boolean", "null") for each in self._alternatives
        )

    @functools.cached_property
    def strings(self) -> frozenset[str]:
        """The strings that the value itself may be, if it is one of a few: a model may write them without quotes."""
        values = [each for leaf in self._alternatives for each in leaf.get("enum", [leaf.get("const")])]
        return frozenset(each for each in values if isinstance(each, str))

    @functools.cached_property
    def takes_text(self) -> bool:
        """Return True if any string is a value."""
        return any(
            leaf.get("type") == "string" and leaf.keys() <= {"type", *_SAYS_NOTHING} for leaf in self._alternatives
        )

    @property
    def response_format(self) -> ResponseFormat:
        """The response format that requests the value: strict, if the schema can be."""
        schema, strict = (self.schema, None) if self.strict is None else (self.strict, True)
        return json_schema(self.name, schema, description=self.description, strict=strict)

    async def parse(self, text: str) -> tuple[Any, list[str]]:
        """Read the value in the text of an answer as `read_text` does; for a function, return its result.

        Raises:
            ModelRetry: There is no valid value.
            ConfigError: The function takes the context of a run.
        """
        value, notes = self.read_text(text)
        if not isinstance(value, FunctionCall):
            return value, notes
        if value.signature.context is not None:
            raise ConfigError(f"{name_of(value.function)} takes the context of a run: give it to an agent")
        return await value.run(None), notes

    def read(self, value: Any) -> tuple[Any, list[str]]:
        """Read a JSON value that the model wrote; the second value names what had to be repaired.

        Raises:
            ModelRetry: It is not valid; the message says where, what came and what is expected.
        """
        if self._is_schema(value):
            raise ModelRetry("this is the JSON Schema itself; answer with a value that fits it")
        if self.wrapped and isinstance(value, dict) and cast("dict[str, Any]", value).keys() == {VALUE}:
            value = cast("dict[str, Any]", value)[VALUE]
        return self._converted(value)

    @functools.cached_property
    def _shapes(self) -> tuple[Shape, Shape]:
        """The shapes of the object that holds the value, and of the value itself."""
        parameters = self._read_signature.parameters
        inner = {**parameters["properties"][VALUE], "$defs": parameters.get("$defs", {})}
        return Shape.of(parameters), Shape.of(inner)

    def _converted(self, value: Any) -> tuple[Any, list[str]]:
        outer, inner = self._shapes
        fitted, notes = fit_arguments({VALUE: value}, outer)
        if not notes and not self.wrapped and isinstance(value, dict):  # {"arguments": {...}}
            unwrapped, notes = fit_arguments(cast("dict[str, Any]", value), inner)
            fitted = {VALUE: unwrapped}
        return validate_value(self._read_signature, fitted[VALUE], wrapped=self.wrapped), notes

    def read_text(self, text: str) -> tuple[Any, list[str]]:
        """Read the value in the text of an answer: the text is JSON, or there is exactly one value in it.

        Raises:
            NoValue: There is no JSON in it.
            ModelRetry: The value is not valid, or there are several.
        """
        text = _THOUGHT.sub("", text).strip()
        if text in self.strings:
            return self._converted(text)
        if "<think>" in text[:16]:
            raise NoValue("there is only reasoning that does not end, and no answer")
        if (found := _parsed(text)) is not None:
            value, forgiven = found[0]
            made, notes = self.read(value)
            return made, [*forgiven, *notes]
        fenced = [each for block in _FENCED.findall(text) for each in _parsed(block.strip()) or ()]
        candidates = [value for value, _ in fenced] or json_values_in(text)
        return self._read_one(text, candidates)

    def _read_one(self, text: str, candidates: Sequence[Any]) -> tuple[Any, list[str]]:
        """The one value of several candidates that is valid."""
        different = list({encode_json(each): each for each in candidates}.values())
        if not different and self.takes_text and text:
            return self._converted(text)
        if not different:
            raise NoValue("there is no JSON in it")
        valid: list[tuple[Any, list[str]]] = []
        complaint: ModelRetry | None = None
        for each in different:
            try:
                valid.append(self.read(each))
            except ModelRetry as error:
                complaint = error
        if not valid and complaint is not None:
            raise complaint
        if len(valid) > 1:
            raise ModelRetry(f"there are {len(valid)} JSON values in the answer; write exactly one")
        made, notes = valid[0]
        return made, ["surrounded by other text", *notes]

    def _is_schema(self, value: object) -> bool:
        if not isinstance(value, dict):
            return False
        given = cast("dict[str, Any]", value)
        return any(
            each and given.get("properties") == each.get("properties", ...) and given.get("type") == "object"
            for each in (self.schema, self.strict)
        )


REPLY_TYPES.append(ValueType)


class NoValue(ModelRetry):
    """The text of an answer contains no value."""


class SchemaType(ValueType):
    """A hand-written JSON Schema; the value is parsed JSON.

    Args:
        schema: The schema.
        name: 1 to 64 letters, digits, underscores and dashes.
        description: The purpose; by default that of the schema.

    Raises:
        DefinitionError: It is not a JSON Schema.
    """

    def __init__(self, schema: Mapping[str, Any], *, name: str = "", description: str = "") -> None:
        given: object = schema
        if not isinstance(given, dict):
            raise DefinitionError(f"OutputSchema takes a JSON Schema as a dict, not {given!r:.80}")
        if complaint := complaint_about(given, "member"):
            raise DefinitionError(f"OutputSchema: {complaint}")
        self.name = _valid_name(name or str(schema.get("title", "")) or "output")
        definitions = {**schema.get("definitions", {}), **schema.get("$defs", {})}
        inner = {key: each for key, each in schema.items() if key not in ("$defs", "$schema", "$id", "title")}
        checked = check_schema(self.name, {"properties": {VALUE: inner}, "required": [VALUE], "$defs": definitions})
        self._set_schema(checked["properties"][VALUE], checked["$defs"], description)
        self._given = schema
        found = why_not_strict(self.schema, of_function=False)
        self.strict = None if found else strict_form(self.name, self.schema, strict=True, of_function=False)

    def _converted(self, value: Any) -> tuple[Any, list[str]]:
        value = from_json(encode_json(value)) if not isinstance(value, str) else value
        if faults := faults_of(value, self._given):
            raise ModelRetry("\n".join(["the answer is not valid:", *(f"- {each}" for each in faults)]))
        return value, []


def _parsed(text: str) -> list[tuple[Any, list[str]]] | None:
    """Return the JSON value of the whole text, in a list, with its repairs; None if it is not JSON."""
    try:
        return [(parse_json(text), [])]
    except ValueError:
        pass
    try:
        return [repair_json(text)]
    except (Unreadable, ValueError):
        return None


# From the type that a program gives for its output to one that pydantic reads.


@dataclass(frozen=True, eq=False)
class _FunctionArguments:
    """Has pydantic validate the arguments of a function and make a `FunctionCall` from them."""

    function: Callable[..., Any]
    signature: Signature

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        from agentkit.tools.generate import AllArguments  # noqa: PLC0415 - pydantic has loaded it

        inner = AllArguments(self.signature.arguments).__get_pydantic_core_schema__(source, handler)
        return core_schema.no_info_after_validator_function(
            lambda values: FunctionCall(self.function, self.signature, values), inner
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: Any) -> JsonSchema:
        made: JsonSchema = handler(schema)
        for name, each in self.signature.parameters["properties"].items():
            if name in made.get("properties", {}):
                made["properties"][name] |= {key: each[key] for key in ("description", "default") if key in each}
        return {**made, "description": self.signature.description} if self.signature.description else made


def _hint(kind: Any) -> Any:
    if isinstance(kind, str):
        raise DefinitionError(f"output type {kind!r} is a string: give the type itself")
    if isinstance(kind, list):
        members = [_hint(each) for each in cast("list[object]", kind)]
        if not members:
            raise DefinitionError("output_type=[] has no type in it")
        return Union[tuple(members)]  # noqa: UP007 - made of a tuple
    if not _is_function(kind):
        return kind
    name = name_of(kind)
    signature = read_signature(kind)
    known = [each for each in signature.arguments if not each.extra]
    untyped = [each.name for each in known if each.hint is Any]
    if untyped:
        raise DefinitionError(
            f"output function {name}: parameter {untyped[0]!r} has no annotation; the annotations are the shape of the "
            "output"
        )
    if not known:
        raise DefinitionError(f"output function {name}: it has no parameters that a model could fill in")
    return Annotated[dict[str, Any], _FunctionArguments(kind, signature)]


def _is_function(kind: Any) -> bool:
    is_type = isinstance(kind, type) or get_origin(kind) is not None or kind is None or kind is Any
    is_named = hasattr(kind, "__supertype__")  # by a `NewType`; by a ``type`` statement or a form of `typing` below
    return callable(kind) and not (is_type or is_named or type(kind).__module__ in ("typing", "typing_extensions"))


def _name_of(kind: Any) -> str:
    if isinstance(kind, list):
        return "_or_".join(map(_name_of, cast("list[object]", kind)))
    if get_origin(kind) is Annotated:
        return _name_of(get_args(kind)[0])
    if isinstance(kind, types.UnionType) or get_origin(kind) is Union:
        return "_or_".join(map(_name_of, get_args(kind)))
    if get_origin(kind) is None and _is_function(kind):
        return name_of(kind)
    arguments = [each for each in get_args(kind) if isinstance(each, type)]
    name = str(getattr(kind, "__name__", "") or getattr(kind, "_name", "") or "output")
    return "_".join([name, *map(_name_of, arguments)]) if arguments and "[" not in name else name


def _valid_name(name: str) -> str:
    return _NOT_IN_NAMES.sub("_", name).strip("_-")[:_LONGEST_NAME] or "output"


def _shown(kind: Any) -> str:
    shown: str = name_of(kind) if _is_function(kind) else inspect.formatannotation(cast("object", kind))
    return shown if len(shown) <= 80 else f"{shown[:80]}..."


def _check_distinct(kind: Any, generated: Mapping[str, Any]) -> None:
    """Refuse alternatives with the same shape: nobody could say which one the model means."""
    given: Sequence[Any] = cast("Sequence[object]", kind) if isinstance(kind, list) else ()
    functions = [name_of(each) for each in given if _is_function(each)]
    if len(functions) > len(set(functions)):
        raise DefinitionError(f"output type {_shown(kind)}: two of its functions have one name; keep one")
    seen: dict[bytes, JsonSchema] = {}
    for each in leaf_schemas(generated["properties"][VALUE], generated):
        bare, _ = without_keywords(each, ("description", "title"))
        if "properties" in each and seen.setdefault(encode_json(bare), each) is not each:
            raise DefinitionError(
                f"output type {_shown(kind)}: two of its alternatives have the same shape and cannot be "
                "distinguished; give each a field such as kind: Literal['...'] of its own"
            )
