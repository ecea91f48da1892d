"""From a function's signature to the JSON Schema of its arguments, and from validated values back to a call.

pydantic writes the schema and validates (`generate`), of types that `hints` makes readable; this module decides what of
a signature the model is to see, and `compact` makes it small.
"""

from __future__ import annotations

import copy
import functools
import inspect
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import GenericAlias, MethodType, NoneType
from typing import Annotated, Any, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, SchemaValidator, to_jsonable_python

from agentkit.chat.messages import encode_json
from agentkit.errors import DefinitionError, ToolError
from agentkit.tools.attributes import attribute_docs, note_of
from agentkit.tools.compact import JsonSchema, as_schema, compact
from agentkit.tools.context import ToolContext
from agentkit.tools.docstrings import read_docstring
from agentkit.tools.generate import Argument, generate, stable
from agentkit.tools.hints import keyword_fields, read_hints, union_members

__all__ = ["JsonSchema", "Signature", "name_of", "read_signature"]

_Parameter = inspect.Parameter


@dataclass(frozen=True, slots=True)
class Signature:
    """What the model must know to call a function, and how its answer becomes a call.

    Attributes:
        name: The function's name.
        description: What its docstring says of it.
        parameters: The JSON Schema of its arguments, without the context.
        context: The name of the parameter that takes the `ToolContext`, if there is one.
    """

    name: str
    description: str
    parameters: JsonSchema
    context: str | None
    _order: tuple[inspect.Parameter, ...] = field(repr=False)
    _taken: frozenset[str] = field(repr=False)
    _validator: SchemaValidator = field(repr=False)

    def validate(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments, each as its parameter's type, or `pydantic.ValidationError`.

        A null for what may be left out, and is not null itself, stands for leaving it out: a strict schema has no other
        way to say it, and models do the same with plain ones. In a free dict a null is a value like any other.
        """
        try:
            return self._validated(arguments)
        except ValidationError as error:
            found = _places(arguments, error, lambda fault: fault["type"] != "missing" and fault["input"] is None)
            nulls = {place for place in found if _is_declared(place, self.parameters, self.parameters)}
            if not nulls:
                raise
        try:
            return self._validated(_without(arguments, nulls))
        except ValidationError as error:
            needed = _places(arguments, error, lambda fault: fault["type"] == "missing") & nulls
            if not needed:
                raise
        return self._validated(_without(arguments, nulls - needed))

    def _validated(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        # As JSON, because strict models take a date, an enum or a tuple from JSON but not from Python's plain values.
        return typing.cast("dict[str, Any]", self._validator.validate_json(encode_json(arguments)))

    def bind(
        self, values: Mapping[str, Any], context: ToolContext[Any] | None = None
    ) -> tuple[list[Any], dict[str, Any]]:
        """The positional and the keyword arguments of the call with these validated values.

        Raises:
            ToolError: The function takes any keyword, and one was given that is not for the model to give.
        """
        rest = dict(values)
        if taken := self._taken & rest.keys():
            raise ToolError(f"{min(taken)}: there is no such parameter")
        if self.context is not None:
            rest[self.context] = context
        has_more = any(each.kind is _Parameter.VAR_POSITIONAL and rest.get(each.name) for each in self._order)
        positional: list[Any] = []
        keywords: dict[str, Any] = {}
        for each in self._order:
            if each.kind is _Parameter.VAR_POSITIONAL:
                positional += rest.pop(each.name, ())
            elif each.kind is _Parameter.VAR_KEYWORD:
                keywords |= rest
            elif each.kind is _Parameter.POSITIONAL_ONLY or (has_more and each.kind is not _Parameter.KEYWORD_ONLY):
                positional.append(rest.pop(each.name, each.default))
            elif each.name in rest:
                keywords[each.name] = rest.pop(each.name)
        return positional, keywords


_Place: typing.TypeAlias = tuple[int | str, ...]


def _places(arguments: object, error: ValidationError, wanted: Callable[[ErrorDetails], bool]) -> set[_Place]:
    """Where in the arguments the wanted faults are, without pydantic's names for the branches of a union."""
    faults = error.errors(include_url=False, include_context=False)
    return {_place(arguments, fault["loc"]) for fault in faults if wanted(fault)}


def _place(value: Any, location: _Place) -> _Place:
    place: list[int | str] = []
    for step in location:
        if (isinstance(value, dict) and step in value) or _has_item(value, step):
            place.append(step)
            value = typing.cast("Any", value)[step]
    return tuple(place)


def _is_declared(place: _Place, schema: object, root: JsonSchema, seen: frozenset[str] = frozenset()) -> bool:
    """Whether there is a property at this place, not a key of a free dict or an item of an array."""
    node = as_schema(schema)
    if node is None or not place:
        return False
    reference = str(node.get("$ref", ""))
    if reference and reference not in seen:
        target = root if reference == "#" else root.get("$defs", {}).get(reference.rpartition("/")[2])
        if _is_declared(place, target, root, seen | {reference}):
            return True
    branches = [each for key in ("anyOf", "oneOf", "allOf") for each in node.get(key, ())]
    if any(_is_declared(place, each, root, seen) for each in branches):
        return True
    step, rest = place[0], place[1:]
    if isinstance(step, str) and step in node.get("properties", {}):
        return not rest or _is_declared(rest, node["properties"][step], root)
    inner = node.get("additionalProperties") if isinstance(step, str) else _items(node, step)
    return _is_declared(rest, inner, root)


def _items(node: JsonSchema, index: int) -> object:
    prefix = node.get("prefixItems", ())
    return prefix[index] if index < len(prefix) else node.get("items")


def _has_item(value: Any, step: int | str) -> bool:
    return isinstance(value, list) and isinstance(step, int) and step < len(typing.cast("Sequence[Any]", value))


def _without(arguments: Mapping[str, Any], places: set[_Place]) -> dict[str, Any]:
    """A copy without the members at these places; what is in an array stays."""
    reduced = copy.deepcopy(dict(arguments))
    for *way, last in places:
        holder: Any = functools.reduce(lambda value, step: value[step], way, typing.cast("Any", reduced))
        members = as_schema(holder)
        if members is not None:
            members.pop(str(last), None)
    return reduced


def name_of(function: Callable[..., Any]) -> str:
    """The name that its author gave the function; of a callable object its class."""
    if isinstance(function, functools.partial):
        return name_of(function.func)
    return str(getattr(function, "__name__", type(function).__name__))


def read_signature(function: Callable[..., Any], *, method: bool = False) -> Signature:
    """Read what a function takes.

    Args:
        function: A function, async function, bound method, callable object or `functools.partial`. What a partial
            gives by keyword is neither shown to the model nor taken from it.
        method: Whether this is a method in the body of its class: its first parameter is left out then.

    Raises:
        DefinitionError: A parameter has no annotation, or one that JSON Schema cannot express.
    """
    name, source = name_of(function), _source(function)
    declared = _declared(function, name)
    hidden = _given(function) | ({declared[0].name} if method else set[str]())
    order = tuple(each for each in declared if each.name not in hidden)
    hints = read_hints(order, name, function, source)
    context = _context(hints, name)
    arguments = [
        argument
        for each in order
        if each.name != context
        for argument in _arguments(each, hints[each.name], name)
        if argument.name not in hidden
    ]
    validator, generated = generate(arguments, name)
    docstring = read_docstring(_documentation(function, source), [each.name for each in arguments])
    parameters = _parameters(generated, arguments, docstring.parameters)
    taken = ({each.name for each in declared} | hidden) - parameters["properties"].keys()
    return Signature(name, docstring.summary, parameters, context, order, frozenset(taken), validator)


def _declared(function: Callable[..., Any], name: str) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError) as error:
        raise DefinitionError(
            f"tool {name!r}: Python cannot tell its parameters; write an annotated function that calls it"
        ) from error


def _source(function: Any) -> Any:
    """The function as it was written, below partials, decorators, methods and callable objects."""
    if isinstance(function, functools.partial):
        return _source(typing.cast("Any", function.func))
    function = inspect.unwrap(function)
    if isinstance(function, type):
        function = getattr(function, "__init__")  # noqa: B009 - as an attribute, type checkers refuse it for subclasses
    elif not inspect.isroutine(function):
        function = type(function).__call__
    return inspect.unwrap(getattr(function, "__func__", function))


def _documentation(function: Any, source: Any) -> str | None:
    while isinstance(function, functools.partial):
        function = typing.cast("Any", function.func)
    if isinstance(function, type) or inspect.isroutine(function):
        return inspect.getdoc(function)
    return source.__doc__ or inspect.getdoc(typing.cast("object", type(function)))


def _given(function: Callable[..., Any]) -> set[str]:
    """Names that have their value: what a partial gives, perhaps a secret, and what a method calls its object."""
    if isinstance(function, functools.partial):
        whole, left = inspect.signature(function.func), inspect.signature(typing.cast("Any", function))
        first = {*whole.parameters} - {*left.parameters}
        return {*function.keywords} | first | _given(function.func)
    method = function if inspect.isroutine(function) else getattr(function, "__call__", None)  # noqa: B004
    return (
        {*inspect.signature(method.__func__).parameters} - {*inspect.signature(method).parameters}
        if isinstance(method, MethodType)
        else set()
    )


def _context(hints: Mapping[str, Any], name: str) -> str | None:
    found = [
        parameter
        for parameter, hint in hints.items()
        if any((get_origin(member) or member) is ToolContext for member in union_members(hint))
    ]
    if len(found) > 1:
        raise DefinitionError(f"tool {name!r}: {' and '.join(map(repr, found))} both take the ToolContext; keep one")
    return found[0] if found else None


def _arguments(parameter: inspect.Parameter, hint: Any, name: str) -> Iterator[Argument]:
    """What the model gives for a parameter: one argument, or of ``**options: Unpack[Options]`` one for each key."""
    fields = keyword_fields(hint) if parameter.kind is _Parameter.VAR_KEYWORD else None
    if fields is None:
        yield _argument(parameter, hint, name)
        return
    docs = attribute_docs(get_args(hint)[0])
    for key, (of_key, required) in fields.items():
        notes = get_args(of_key)[1:] if get_origin(of_key) is Annotated else ()
        yield Argument(key, of_key, required, note_of(notes) or docs.get(key, ""), {})


def _argument(parameter: inspect.Parameter, hint: Any, name: str) -> Argument:
    default = parameter.default
    if isinstance(default, FieldInfo):  # `x: int = Field(ge=1)`: pydantic's way to say it, and pydantic fills it in
        hint, default = Annotated[hint, default], _Parameter.empty
    notes = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    infos = [note for note in notes if isinstance(note, FieldInfo)]
    if any(info.alias or info.validation_alias for info in infos):
        raise DefinitionError(f"tool {name!r}: parameter {parameter.name!r} has an alias; give it that name itself")
    if default is None and not any(member in (None, NoneType, Any, object) for member in union_members(hint)):
        hint = typing.Optional[hint]  # noqa: UP045 - `|` does not take every hint; `x: str = None` is read as it is meant
    several = parameter.kind is _Parameter.VAR_POSITIONAL
    return Argument(
        name=parameter.name,
        hint=GenericAlias(list, (hint,)) if several else hint,
        required=default is _Parameter.empty and not several and all(info.is_required() for info in infos),
        description=note_of(notes),
        default={} if default is _Parameter.empty else _shown(default),
        extra=parameter.kind is _Parameter.VAR_KEYWORD,
    )


def _shown(default: object) -> JsonSchema:
    """The default as the schema shows it; nothing, if JSON cannot express it."""
    try:
        value = to_jsonable_python(stable(default), bytes_mode="base64")
        encode_json(value)
    except Exception:  # noqa: BLE001 - a default may be any object, and the schema is complete without it
        return {}
    return {"default": value}


def _parameters(generated: JsonSchema, arguments: Sequence[Argument], descriptions: Mapping[str, str]) -> JsonSchema:
    small = compact(generated)
    properties = small.get("properties", {})
    for each in arguments:
        text = each.description or descriptions.get(each.name, "")
        if not each.extra:
            properties[each.name] |= ({"description": text} if text else {}) | each.default
    schema: JsonSchema = {"type": "object", "properties": properties}
    return schema | {key: small[key] for key in ("required", "additionalProperties", "$defs") if key in small}
