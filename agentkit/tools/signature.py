"""From a function's signature to the JSON Schema of its arguments, and from validated values back to a call.

`annotations` makes the types readable for pydantic, `generate` has pydantic write the schema and the validator, and
`schemas` makes the schema small. This module decides which parts of a signature the model sees.
"""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import GenericAlias, MethodType, NoneType
from typing import Annotated, Any, cast, get_args, get_origin

from pydantic_core import SchemaValidator, to_jsonable_python

from agentkit.chat.json_schema import JsonSchema
from agentkit.chat.json_values import encode_json
from agentkit.errors import DefinitionError
from agentkit.tools.annotations import keyword_fields, read_hints, stream_in, union_members
from agentkit.tools.arguments import Argument, Shape, Signature
from agentkit.tools.context import RunContext, ToolContext
from agentkit.tools.docstrings import attribute_docs, note_of, read_docstring
from agentkit.tools.schemas import compact, stable

_Parameter = inspect.Parameter


def arguments_of(
    function: Callable[..., Any], args: Sequence[Any], keywords: Mapping[str, Any], context: object
) -> dict[str, Any]:
    """The arguments of a call under the names that the model knows, with defaults filled in.

    It contains neither the context nor the arguments of a partial, which may be secret.
    """
    signature = inspect.signature(function)
    bound = signature.bind(*args, **keywords)
    bound.apply_defaults()
    known, hidden = bound.arguments, _given(function)
    for each in signature.parameters.values():
        if each.kind is _Parameter.VAR_KEYWORD:
            known |= known.pop(each.name)
    return {name: value for name, value in known.items() if value is not context and name not in hidden}


def name_of(function: Callable[..., Any]) -> str:
    """The name that its author gave the function; for a callable object, that of its class."""
    if isinstance(function, functools.partial):
        return name_of(function.func)
    return str(getattr(function, "__name__", type(function).__name__))


def is_method(function: Callable[..., Any]) -> bool:
    """Return True if it is an unbound function from the body of a class, cached or not."""
    bound = isinstance(function, MethodType | staticmethod | functools.partial)
    if bound or not inspect.isfunction(inspect.unwrap(function)):
        return False
    names = getattr(function, "__qualname__", "").split(".")
    first = next(iter(inspect.signature(function).parameters), "") if len(names) > 1 else ""
    return first in ("self", "cls") and names[-2] != "<locals>"


def read_signature(function: Callable[..., Any], *, method: bool = False) -> Signature:
    """Read the signature of a function.

    Args:
        function: A function, async function, bound method, callable object or `functools.partial`. Keyword arguments of
            a partial are neither shown to the model nor taken from it.
        method: Whether this is a method in the body of its class, whose first parameter is left out.

    Raises:
        DefinitionError: An annotation cannot be resolved, or JSON Schema cannot express it.
    """
    name, source = name_of(function), _source(function)
    declared = _declared(function, name)
    hidden = _given(function) | ({declared[0].name} if method else set[str]())
    order = tuple(each for each in declared if each.name not in hidden)
    docstring = read_docstring(_documentation(function, source), [each.name for each in order])
    hints = read_hints(order, name, function, source, docstring.types)
    context, deps_type = _context(hints, name)
    arguments = [
        argument
        for each in order
        if each.name != context
        for argument in _arguments(each, hints[each.name], name)
        if argument.name not in hidden
    ]
    validator, generated, parameters = _generated(arguments, docstring.parameters, name)
    taken = ({each.name for each in declared} | hidden) - parameters["properties"].keys()
    return Signature(
        name=name,
        description=docstring.summary,
        parameters=parameters,
        shape=Shape.of(generated),
        context=context,
        deps_type=deps_type,
        arguments=tuple(arguments),
        order=order,
        taken=frozenset(taken),
        validator=validator,
    )


def signature_of_value(kind: Any, name: str) -> Signature:
    """The signature of a function with one parameter, ``value``, of this type.

    Raises:
        DefinitionError: JSON Schema cannot express the type, or a name in it cannot be resolved.
    """
    parameter = _Parameter("value", _Parameter.KEYWORD_ONLY, annotation=kind)
    hint = read_hints([parameter], name, kind, kind, {})["value"]
    argument = _argument(parameter, hint, name)
    validator, generated, parameters = _generated([argument], {}, name)
    return Signature(
        name=name,
        description="",
        parameters=parameters,
        shape=Shape.of(generated),
        context=None,
        deps_type=None,
        arguments=(argument,),
        order=(parameter,),
        taken=frozenset(),
        validator=validator,
    )


def _declared(function: Callable[..., Any], name: str) -> list[inspect.Parameter]:
    try:
        declared = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError) as error:
        raise DefinitionError(
            f"tool {name!r}: Python cannot tell its parameters; write an annotated function that calls it"
        ) from error
    if declared and hasattr(function, "dispatch") and hasattr(function, "registry"):  # singledispatch reads no keywords
        declared[0] = declared[0].replace(kind=_Parameter.POSITIONAL_ONLY)
    return declared


def _source(function: Any) -> Any:
    """The function as it was written, below partials, decorators, methods and callable objects."""
    if isinstance(function, functools.partial):
        return _source(cast("Any", function.func))
    function = inspect.unwrap(function)
    if isinstance(function, type):
        function = getattr(function, "__init__")  # noqa: B009 - as an attribute, type checkers refuse it for subclasses
    elif not inspect.isroutine(function):
        function = type(function).__call__
    return inspect.unwrap(getattr(function, "__func__", function))


def _documentation(function: Any, source: Any) -> str | None:
    while isinstance(function, functools.partial):
        function = cast("Any", function.func)
    if isinstance(function, type) or inspect.isroutine(function):
        return inspect.getdoc(function)
    return source.__doc__ or inspect.getdoc(cast("object", type(function)))


def _given(function: Callable[..., Any]) -> set[str]:
    """Names that already have a value: those of a partial, perhaps secret, and a method's own object."""
    if isinstance(function, functools.partial):
        whole, left = inspect.signature(function.func), inspect.signature(cast("Any", function))
        first = {*whole.parameters} - {*left.parameters}
        return {*function.keywords} | first | _given(function.func)
    method = function if inspect.isroutine(function) else getattr(function, "__call__", None)  # noqa: B004
    return (
        {*inspect.signature(method.__func__).parameters} - {*inspect.signature(method).parameters}
        if isinstance(method, MethodType)
        else set()
    )


def _context(hints: Mapping[str, Any], name: str) -> tuple[str | None, Any]:
    """The parameter that takes the context, and the type of the dependencies that it wants."""
    found = [
        (parameter, member)
        for parameter, hint in hints.items()
        for member in union_members(hint)
        if (get_origin(member) or member) in (ToolContext, RunContext)
    ]
    if len(found) > 1:
        both = " and ".join(repr(parameter) for parameter, _ in found)
        raise DefinitionError(f"tool {name!r}: {both} both take the ToolContext; keep one")
    if not found:
        return None, None
    (deps,) = get_args(found[0][1]) or (None,)
    return found[0][0], None if deps is Any or isinstance(deps, typing.TypeVar) else deps


def _arguments(parameter: inspect.Parameter, hint: Any, name: str) -> Iterator[Argument]:
    """The model's arguments for a parameter: one, or for ``**options: Unpack[Options]`` one for each key."""
    fields = keyword_fields(hint) if parameter.kind is _Parameter.VAR_KEYWORD else None
    if fields is None:
        yield _argument(parameter, hint, name)
        return
    docs = attribute_docs(get_args(hint)[0])
    for key, (of_key, required) in fields.items():
        notes = get_args(of_key)[1:] if get_origin(of_key) is Annotated else ()
        yield Argument(key, of_key, required, note_of(notes) or docs.get(key, ""), {})


def _argument(parameter: inspect.Parameter, hint: Any, name: str) -> Argument:
    from pydantic.fields import FieldInfo  # noqa: PLC0415 - as below

    default = parameter.default
    if stream := stream_in(hint):
        raise DefinitionError(
            f"tool {name!r}: parameter {parameter.name!r} is {stream}, which yields its items one by one; "
            "arguments arrive as a whole, so take a list, for example list[int]"
        )
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


def _generated(
    arguments: Sequence[Argument], descriptions: Mapping[str, str], name: str
) -> tuple[SchemaValidator, JsonSchema, JsonSchema]:
    """The validator of the arguments, and their schema: as pydantic writes it, and as the model reads it."""
    from agentkit.tools.generate import generate  # noqa: PLC0415 - it loads most of pydantic

    validator, generated = generate(arguments, name)
    small = compact(generated)
    properties = small.get("properties", {})
    for each in arguments:
        text = each.description or descriptions.get(each.name, "")
        if not each.extra:
            properties[each.name] |= ({"description": text} if text else {}) | each.default
    schema: JsonSchema = {"type": "object", "properties": properties}
    schema |= {key: small[key] for key in ("required", "additionalProperties", "$defs") if key in small}
    return validator, generated, schema
