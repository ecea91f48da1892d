"""From a function's signature to the JSON Schema of its arguments, and from validated values back to a call.

pydantic writes the schema and validates; this module decides what of a signature the model is to see, and makes the
schema small: no titles, no definition that is used only once, and ``items`` in every array, as the API wants them.
"""

from __future__ import annotations

import functools
import inspect
import re
import typing
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import CodeType, GenericAlias, MethodType, NoneType, SimpleNamespace, UnionType
from typing import Annotated, Any, TypeAlias, get_args, get_origin

from pydantic import GetCoreSchemaHandler, TypeAdapter
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import CoreSchema, core_schema, to_jsonable_python

from agentkit.chat.messages import encode_json
from agentkit.errors import DefinitionError, ToolError
from agentkit.tools.context import ToolContext
from agentkit.tools.docstrings import read_docstring

__all__ = ["JsonSchema", "Signature", "name_of", "read_signature"]

JsonSchema: TypeAlias = dict[str, Any]
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
    _adapter: TypeAdapter[dict[str, Any]] = field(repr=False)

    def validate(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments, each as its parameter's type, or `pydantic.ValidationError`."""
        # As JSON, because strict models take a date, an enum or a tuple from JSON but not from Python's plain values.
        return self._adapter.validate_json(encode_json(arguments))

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
    hints = _hints(order, name, source)
    context = _context(hints, name)
    arguments = [_argument(each, hints[each.name], name) for each in order if each.name != context]
    adapter, generated = _generate(arguments, name)
    docstring = read_docstring(_documentation(function, source))
    parameters = _parameters(generated, arguments, docstring.parameters)
    taken = ({each.name for each in declared} | hidden) - parameters["properties"].keys()
    return Signature(name, docstring.summary, parameters, context, order, frozenset(taken), adapter)


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
        return {*function.keywords} | _given(function.func)
    method = function if inspect.isroutine(function) else getattr(function, "__call__", None)  # noqa: B004
    return (
        {*inspect.signature(method.__func__).parameters} - {*inspect.signature(method).parameters}
        if isinstance(method, MethodType)
        else set()
    )


def _hints(parameters: Sequence[inspect.Parameter], name: str, source: Any) -> dict[str, Any]:
    """The annotations as types, one by one: an error then knows its parameter, and the return type never matters."""
    hints: dict[str, Any] = {}
    names = _names_around(source)
    for each in parameters:
        if each.annotation is _Parameter.empty:
            raise DefinitionError(
                f"tool {name!r}: parameter {each.name!r} has no type annotation; write for example {each.name}: str"
            )
        alone = SimpleNamespace(__annotations__={each.name: each.annotation})
        try:
            found = typing.get_type_hints(alone, getattr(source, "__globals__", {}), names, include_extras=True)
        except Exception as error:  # annotations are the author's expressions: they can raise anything
            raise DefinitionError(
                f"tool {name!r}: the annotation of parameter {each.name!r} cannot be resolved ({error}); "
                "its names must be importable where the function is defined"
            ) from error
        hints[each.name] = found[each.name]
    return hints


def _names_around(source: Any) -> dict[str, Any]:
    """The names an annotation may use besides the globals: type parameters, the closure, functions still running.

    Of a class local to a function, ``from __future__ import annotations`` leaves only the name; the class itself is in
    the function's frame.
    """
    names: dict[str, Any] = {each.__name__: each for each in getattr(source, "__type_params__", ())}
    if "<locals>" not in getattr(source, "__qualname__", ""):
        return names
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_locals is not frame.f_globals and _holds(frame.f_code, source.__code__):
            names = {**frame.f_locals, **names}
        frame = frame.f_back
    for name, cell in zip(source.__code__.co_freevars, source.__closure__ or (), strict=False):
        try:
            names[name] = cell.cell_contents
        except ValueError:  # assigned later: usually the tool itself
            continue
    return names


def _holds(outer: CodeType, inner: CodeType) -> bool:
    return any(each is inner or _holds(each, inner) for each in outer.co_consts if isinstance(each, CodeType))


def _members(hint: Any) -> list[Any]:
    """The types of a union, also of one below `Annotated` or a ``type`` statement; of another type itself."""
    if get_origin(hint) is Annotated:
        return _members(get_args(hint)[0])
    if type(hint).__name__ == "TypeAliasType":  # not in Python 3.11
        return _members(hint.__value__)
    if get_origin(hint) in (typing.Union, UnionType):
        return [member for each in get_args(hint) for member in _members(each)]
    return [hint]


def _context(hints: Mapping[str, Any], name: str) -> str | None:
    found = [
        parameter
        for parameter, hint in hints.items()
        if any((get_origin(member) or member) is ToolContext for member in _members(hint))
    ]
    if len(found) > 1:
        raise DefinitionError(f"tool {name!r}: {' and '.join(map(repr, found))} both take the ToolContext; keep one")
    return found[0] if found else None


@dataclass(frozen=True, slots=True)
class _Argument:
    """A parameter that the model gives. ``extra``: it stands for all keywords that have no parameter."""

    name: str
    hint: Any
    required: bool
    description: str
    default: JsonSchema
    extra: bool


def _argument(parameter: inspect.Parameter, hint: Any, name: str) -> _Argument:
    default = parameter.default
    if isinstance(default, FieldInfo):  # `x: int = Field(ge=1)`: pydantic's way to say it, and pydantic fills it in
        hint, default = Annotated[hint, default], _Parameter.empty
    notes = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    infos = [note for note in notes if isinstance(note, FieldInfo)]
    if any(info.alias or info.validation_alias for info in infos):
        raise DefinitionError(f"tool {name!r}: parameter {parameter.name!r} has an alias; give it that name itself")
    if default is None and not any(member in (None, NoneType, Any, object) for member in _members(hint)):
        hint = typing.Optional[hint]  # noqa: UP045 - `|` does not take every hint; `x: str = None` is read as it is meant
    several = parameter.kind is _Parameter.VAR_POSITIONAL
    return _Argument(
        name=parameter.name,
        hint=GenericAlias(list, (hint,)) if several else hint,
        required=default is _Parameter.empty and not several and all(info.is_required() for info in infos),
        description=_note(notes),
        default={} if default is _Parameter.empty else _shown(default),
        extra=parameter.kind is _Parameter.VAR_KEYWORD,
    )


def _note(notes: Sequence[Any]) -> str:
    """The description among the notes of an `Annotated`: ``Field(description=)``, plain text or a `Doc`."""
    for note in notes:
        for text in (note, getattr(note, "description", None), getattr(note, "documentation", None)):
            if isinstance(text, str):
                return inspect.cleandoc(text)
    return ""


def _shown(default: object) -> JsonSchema:
    """The default as the schema shows it; nothing, if JSON cannot express it."""
    try:
        value = to_jsonable_python(_stable(default))
        encode_json(value)
    except Exception:  # noqa: BLE001 - a default may be any object, and the schema is complete without it
        return {}
    return {"default": value}


def _stable(value: Any) -> Any:
    """The value with sets as sorted lists: texts in a set come in another order in every process."""
    if isinstance(value, set | frozenset):
        return sorted(map(_stable, typing.cast("set[Any]", value)), key=repr)
    if isinstance(value, list | tuple):
        return [_stable(each) for each in typing.cast("Sequence[Any]", value)]
    if isinstance(value, dict):
        return {key: _stable(each) for key, each in typing.cast("Mapping[Any, Any]", value).items()}
    return value


@dataclass(frozen=True, slots=True)
class _AllArguments:
    """Tells pydantic to validate a dict of the arguments. A core schema takes every name, also `schema` and `_x`."""

    arguments: Sequence[_Argument]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        fields = {
            each.name: core_schema.typed_dict_field(handler.generate_schema(each.hint), required=each.required)
            for each in self.arguments
            if not each.extra
        }
        config = core_schema.CoreConfig(allow_inf_nan=False)
        extras = [handler.generate_schema(each.hint) for each in self.arguments if each.extra]
        if not extras:
            return core_schema.typed_dict_schema(fields, extra_behavior="forbid", config=config)
        return core_schema.typed_dict_schema(fields, extra_behavior="allow", extras_schema=extras[0], config=config)


class _Generator(GenerateJsonSchema):
    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012 - the base class declares it

    def encode_default(self, dft: Any) -> Any:
        return super().encode_default(_stable(dft))


def _generate(arguments: Sequence[_Argument], name: str) -> tuple[TypeAdapter[dict[str, Any]], JsonSchema]:
    try:
        return _try_to_generate(arguments)
    except Exception as error:  # types bring code of their own, which can raise anything
        raise DefinitionError(f"tool {name!r}: {_culprit(arguments)}") from error


def _try_to_generate(arguments: Sequence[_Argument]) -> tuple[TypeAdapter[dict[str, Any]], JsonSchema]:
    adapter = TypeAdapter[dict[str, Any]](Annotated[dict[str, Any], _AllArguments(arguments)])
    return adapter, adapter.json_schema(schema_generator=_Generator)


def _culprit(arguments: Sequence[_Argument]) -> str:
    for each in arguments:
        try:
            _try_to_generate([each])
        except Exception as error:  # noqa: BLE001 - see above
            reason = str(error).partition("\n")[0].partition(". ")[0].rstrip(".")
            hint = inspect.formatannotation(each.hint)
            return (
                f"parameter {each.name!r} of type {hint} cannot be described ({reason}); "
                "use JSON's own types, a dataclass or a pydantic model, or take it from `ToolContext.deps`"
            )
    return "its parameters cannot be described together; use simpler types"


def _parameters(generated: JsonSchema, arguments: Sequence[_Argument], descriptions: Mapping[str, str]) -> JsonSchema:
    compact = _compact(generated)
    properties = compact.get("properties", {})
    for each in arguments:
        text = each.description or descriptions.get(each.name, "")
        if not each.extra:
            properties[each.name] |= ({"description": text} if text else {}) | each.default
    schema: JsonSchema = {"type": "object", "properties": properties}
    return schema | {key: compact[key] for key in ("required", "additionalProperties", "$defs") if key in compact}


_ONE = ("items", "additionalProperties", "contains", "not", "propertyNames")
_LIST = ("anyOf", "oneOf", "allOf", "prefixItems")
_NAMED = ("properties", "patternProperties", "$defs")


def _map(change: Callable[[JsonSchema], JsonSchema], schema: JsonSchema) -> JsonSchema:
    """The schema with each schema directly inside it changed; defaults and enums, which are data, stay as they are."""

    def changed(key: str, value: Any) -> Any:
        if key in _ONE and isinstance(value, dict):
            return change(typing.cast("JsonSchema", value))
        if key in _LIST:
            return [changed("items", each) for each in value]
        if key in _NAMED:
            return {name: changed("items", each) for name, each in value.items()}
        return value

    return {key: changed(key, value) for key, value in schema.items()}


def _compact(schema: JsonSchema) -> JsonSchema:
    """The schema with only the definitions kept apart that are used twice: also those, then, that hold themselves."""
    tidy = _tidy(schema)
    uses = Counter(re.findall(r'"\$ref":"#/\$defs/([^"]+)"', encode_json(tidy).decode()))
    definitions: dict[str, JsonSchema] = tidy.pop("$defs", {})
    apart = {name for name in definitions if uses[name] > 1}

    def inlined(node: JsonSchema) -> JsonSchema:
        name = node.get("$ref", "").removeprefix("#/$defs/")
        if name in apart or name not in definitions:
            return _map(inlined, node)
        return inlined(definitions[name]) | {key: value for key, value in node.items() if key != "$ref"}

    left = {name: _map(inlined, each) for name, each in definitions.items() if name in apart}
    return inlined(tidy) | ({"$defs": left} if left else {})


def _tidy(schema: JsonSchema) -> JsonSchema:
    """Without titles and OpenAPI's discriminators; an array without ``items`` gets those of its prefix."""
    tidy = _map(_tidy, {key: value for key, value in schema.items() if key not in ("title", "discriminator")})
    if tidy.get("type") == "array" and "items" not in tidy:
        prefix: list[JsonSchema] = tidy.get("prefixItems", [])
        kinds = [each for index, each in enumerate(prefix) if each not in prefix[:index]]
        tidy["items"] = {"anyOf": kinds} if len(kinds) > 1 else kinds[0] if kinds else {}
    return tidy
