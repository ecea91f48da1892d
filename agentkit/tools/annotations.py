"""Turns annotations as they were written into types that pydantic can read.

An annotation may be a string, name something local to a function, or hold a type variable that the object's class
binds; and pydantic does not read ``typing.TypedDict`` before Python 3.12. A parameter without an annotation has the
type that the docstring names, or that of its default; otherwise it may be any JSON value.
"""

from __future__ import annotations

import ast
import collections.abc as abc
import inspect
import re
import sys
import typing
from collections.abc import Callable, Mapping, Sequence
from types import CodeType, GenericAlias, MethodType, SimpleNamespace, UnionType
from typing import Annotated, Any, get_args, get_origin

from agentkit.errors import DefinitionError
from agentkit.tools.docstrings import QUALIFIERS

_STREAMS = (abc.Iterator, abc.Generator, abc.AsyncIterable, abc.AsyncIterator, abc.AsyncGenerator)


def read_hints(
    parameters: Sequence[inspect.Parameter], name: str, function: Any, source: Any, described: Mapping[str, str]
) -> dict[str, Any]:
    """Resolve the annotations one by one, so that an error names its parameter and the return type never matters.

    Args:
        parameters: The parameters to read.
        name: The tool's name, for errors.
        function: The object that becomes a tool.
        source: The function as it was written, below partials, decorators and objects.
        described: The types that the docstring names, for parameters without an annotation.

    Raises:
        DefinitionError: An annotation cannot be resolved.
    """
    names, variables = {**_names_of_class(function), **names_around(source)}, _type_arguments(function)
    hints: dict[str, Any] = {}
    for each in parameters:
        written = each.annotation
        if written is inspect.Parameter.empty:
            written = _described_type(_NOT_A_TYPE.sub("", described.get(each.name, "")).strip())
            if written is Any:
                written = next((kind for kind in (bool, int, float, str) if type(each.default) is kind), Any)
        alone = SimpleNamespace(__annotations__={each.name: written})
        try:
            found = typing.get_type_hints(alone, getattr(source, "__globals__", {}), names, include_extras=True)
            hints[each.name] = _readable(_filled(found[each.name], variables), {})
        except Exception as error:  # annotations are the author's expressions: they can raise anything
            reason = (str(error) or type(error).__name__).partition("\n")[0]
            raise DefinitionError(
                f"tool {name!r}: the annotation of parameter {each.name!r} cannot be resolved ({reason}); "
                "its names must be importable where the function is defined"
            ) from error
    return hints


_DESCRIBED: dict[str, Any] = {  # the names of types in docstrings
    "str": str, "string": str, "text": str,
    "int": int, "integer": int,
    "float": float, "number": int | float, "numeric": int | float,
    "bool": bool, "boolean": bool,
    "list": list, "array": list, "sequence": list,
    "dict": dict, "dictionary": dict, "mapping": dict, "object": dict,
    "None": None, "none": None, "null": None,
}  # fmt: skip
_LIST_OF = re.compile(r"(?:list|array|sequence)s? of (\w+?)s?", re.IGNORECASE)
_NOT_A_TYPE = re.compile(r"(?:^|,)\s*(?:optional|required|default\b.*)$")


def _described_type(text: str) -> Any:
    """The type that a docstring names (``int``, ``list of str``, ``{'a', 'b'} or None``); `Any` if it names none."""
    if found := _LIST_OF.fullmatch(text):
        inner = _described_type(found[1])
        return list if inner is Any else GenericAlias(list, (inner,))
    try:
        tree = ast.parse(re.sub(r",? or ", " | ", text), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return Any
    return _type_of_node(tree)


def _type_of_node(node: ast.expr) -> Any:
    match node:
        case ast.Name(name) if name in _DESCRIBED:
            return _DESCRIBED[name]
        case ast.Constant(None):
            return None
        case ast.Set(elements) | ast.Subscript(ast.Name("Literal"), ast.Tuple(elements)) if all(
            isinstance(each, ast.Constant) for each in elements
        ):
            values = [each.value for each in elements if isinstance(each, ast.Constant)]
            return typing.Literal[tuple(values)] if all(isinstance(each, str | int) for each in values) else Any
        case ast.BinOp(left, ast.BitOr(), right):
            members = [_type_of_node(left), _type_of_node(right)]
            return Any if Any in members else typing.Union[tuple(members)]  # noqa: UP007 - made of a tuple
        case ast.Subscript(ast.Name("Optional"), inner):
            return _type_of_node(ast.BinOp(inner, ast.BitOr(), ast.Constant(None)))
        case ast.Subscript(ast.Name("list" | "List" | "Sequence"), inner):
            return GenericAlias(list, (_type_of_node(inner),))
        case ast.Subscript(ast.Name("dict" | "Dict" | "Mapping"), ast.Tuple([ast.Name("str"), inner])):
            return GenericAlias(dict, (str, _type_of_node(inner)))
        case _:
            return Any


def names_around(source: Any) -> dict[str, Any]:
    """The names an annotation may use besides the globals: type parameters, the closure, functions still running.

    With ``from __future__ import annotations``, an annotation only names a local class; the class itself is in the
    frame of its function, or of the class body that is being run.
    """
    names: dict[str, Any] = {each.__name__: each for each in getattr(source, "__type_params__", ())}
    if "." not in getattr(source, "__qualname__", "") or not hasattr(source, "__code__"):
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


def _names_of_class(function: Any) -> dict[str, Any]:
    """The names of its class that a method may use: type parameters and nested classes."""
    owner = getattr(function, "__self__", None) if isinstance(function, MethodType) else None
    if owner is None:
        return {}
    names: dict[str, Any] = {}
    for each in reversed((owner if isinstance(owner, type) else type(owner)).__mro__):
        names |= {name: value for name, value in vars(each).items() if isinstance(value, type)}
        names |= {variable.__name__: variable for variable in getattr(each, "__type_params__", ())}
    return names


def is_type_alias(hint: Any) -> bool:
    """Return True if it was made by a ``type`` statement, or by typing_extensions before Python 3.12."""
    return type(hint).__name__ == "TypeAliasType"


def union_members(hint: Any) -> list[Any]:
    """The types of a union, even one inside `Annotated` or a ``type`` statement; for any other type, only itself."""
    if get_origin(hint) is Annotated:
        return union_members(get_args(hint)[0])
    if is_type_alias(hint):
        return union_members(hint.__value__)
    if get_origin(hint) in (typing.Union, UnionType):
        return [member for each in get_args(hint) for member in union_members(each)]
    return [hint]


def stream_in(hint: Any) -> str:
    """The name of an iterator or generator that the type is or holds; empty for any other type."""
    kind = get_origin(hint) or hint
    if any(kind is each for each in _STREAMS):
        return str(kind.__name__)
    return next((found for each in get_args(hint) if (found := stream_in(each))), "")


# Type variables.


def _type_arguments(function: Any) -> dict[Any, Any]:
    """The types bound to type variables of the object's class, as in ``Box[int]().put`` or its subclasses."""
    owner = getattr(function, "__self__", None) if isinstance(function, MethodType) else function
    found: dict[Any, Any] = {}
    if owner is None or inspect.isroutine(owner):
        return found
    kind: type[Any] = owner if isinstance(owner, type) else type(owner)
    bases = [base for each in kind.__mro__ for base in each.__dict__.get("__orig_bases__", ())]
    for alias in [getattr(owner, "__orig_class__", None), *bases]:
        for variable, argument in zip(getattr(get_origin(alias), "__parameters__", ()), get_args(alias), strict=False):
            found.setdefault(variable, _filled(argument, found))
    return found


def _filled(hint: Any, variables: Mapping[Any, Any]) -> Any:
    if isinstance(hint, typing.TypeVar):
        return variables.get(hint, hint)
    free = getattr(hint, "__parameters__", ()) if get_origin(hint) is not None else ()
    if not any(each in variables for each in free):
        return hint
    return hint[tuple(variables.get(each, each) for each in free)]


# Typed dicts.


def keyword_fields(hint: Any) -> dict[str, tuple[Any, bool]] | None:
    """Each key of ``**options: Unpack[Options]`` with its type and whether it is required; None for any other hint."""
    if _special(hint) != "Unpack" or not hasattr(get_args(hint)[0], "__required_keys__"):
        return None
    return _fields(get_args(hint)[0], {})


def _special(hint: Any) -> str:
    """The name of a special form such as `Required`, whether it is typing's or typing_extensions'."""
    return str(getattr(get_origin(hint), "_name", ""))


def _fields(kind: Any, seen: Mapping[Any, Any]) -> dict[str, tuple[Any, bool]]:
    fields: dict[str, tuple[Any, bool]] = {}
    for key, written in typing.get_type_hints(kind, None, names_around(kind), include_extras=True).items():
        hint, required = written, key in kind.__required_keys__
        while (qualifier := _special(hint)) in QUALIFIERS:
            required = {"Required": True, "NotRequired": False}.get(qualifier, required)
            hint = get_args(hint)[0]
        fields[key] = (_readable(hint, seen), required)
    return fields


def _readable(hint: Any, seen: Mapping[Any, Any]) -> Any:
    """The hint in a form that pydantic reads: a list for each `Collection`, a twin for each ``typing.TypedDict``.

    From Python 3.12 on, pydantic reads the latter itself.
    """
    if sys.version_info < (3, 12) and typing.is_typeddict(hint) and type(hint).__module__ == "typing":
        return _twin(hint, seen)
    arguments = get_args(hint)
    origin = get_origin(hint)
    if (origin or hint) is abc.Collection:
        return GenericAlias(list, tuple(_readable(each, seen) for each in arguments)) if arguments else list
    if origin in (None, typing.Literal) or _special(hint) == "Unpack" or not arguments:
        return hint
    if origin is Annotated:
        inner = _readable(arguments[0], seen)
        return hint if inner is arguments[0] else Annotated[inner, *hint.__metadata__]
    new = tuple(_readable(each, seen) for each in arguments)
    if all(one is other for one, other in zip(new, arguments, strict=True)):
        return hint
    if origin in (typing.Union, UnionType):
        return typing.Union[new]  # noqa: UP007 - made of a tuple
    return hint.copy_with(new) if hasattr(hint, "copy_with") else origin[new]


def _twin(kind: Any, seen: Mapping[Any, Any]) -> Any:
    if kind in seen:
        raise TypeError("a typing.TypedDict that holds itself needs Python 3.12, or typing_extensions.TypedDict")
    extensions = sys.modules["typing_extensions"]  # pydantic depends on it and wants its TypedDict; we do not import it
    make: Callable[..., Any] = extensions.TypedDict
    required, not_required = typing.Required, typing.NotRequired
    fields = _fields(kind, {**seen, kind: None})
    twin = make(
        kind.__name__, {key: (required if must else not_required)[hint] for key, (hint, must) in fields.items()}
    )
    twin.__module__, twin.__qualname__, twin.__doc__ = kind.__module__, kind.__qualname__, kind.__doc__
    if hasattr(kind, "__pydantic_config__"):
        twin.__pydantic_config__ = kind.__pydantic_config__
    return twin
