"""Whether a value is of a type; written apart from pydantic, to have a second opinion."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Collection, Iterable, Mapping, MutableSequence, Sequence
from collections.abc import Set as AbstractSet
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typing_extensions
from pydantic import BaseModel

_ABSTRACT = (Sequence, MutableSequence, Iterable, Collection)


def is_a(value: Any, hint: Any) -> bool:
    """Whether the value, with all that it holds, is of the type. A bool is no int, and an int no float."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint in (Any, object) or isinstance(hint, typing.TypeVar):
        return True
    if hint in (None, NoneType):
        return value is None
    if origin is Annotated:
        return is_a(value, arguments[0])
    if hasattr(hint, "__supertype__"):
        return is_a(value, hint.__supertype__)
    if origin in (Union, UnionType):
        return any(is_a(value, each) for each in arguments)
    if origin is Literal:
        return any(type(value) is type(each) and value == each for each in arguments)
    if hasattr(hint, "__required_keys__"):
        return _is_typed_dict(value, hint)
    return _is_container(value, origin or hint, arguments) and _has_fields(value)


def _is_container(value: Any, kind: Any, arguments: tuple[Any, ...]) -> bool:
    if kind is list or kind in _ABSTRACT:
        is_right = type(value) is list or (kind in _ABSTRACT and isinstance(value, tuple))
        return is_right and all(is_a(each, *arguments[:1]) for each in value if arguments)
    if kind in (int, float, str, bytes, bool, complex):
        return type(value) is kind
    if not isinstance(value, kind):
        return False
    if kind is tuple and arguments[1:] == (...,):
        return all(is_a(each, arguments[0]) for each in value)
    if kind is tuple and arguments:
        return len(value) == len(arguments) and all(map(is_a, value, arguments))
    if issubclass(kind, Mapping):
        keys, values = (*arguments, int)[:2] if arguments else (Any, Any)
        return all(is_a(key, keys) and is_a(each, values) for key, each in value.items())
    if issubclass(kind, AbstractSet) or kind.__name__ == "deque":
        return all(is_a(each, *arguments[:1]) for each in value if arguments)
    return True


def _is_typed_dict(value: Any, kind: Any) -> bool:
    hints = typing_extensions.get_type_hints(kind)
    written = typing_extensions.get_type_hints(kind, include_extras=True)  # `__required_keys__` does not read texts
    needed = {key for key in kind.__required_keys__ if str(get_origin(written[key])) != "typing.NotRequired"}
    return (
        type(value) is dict
        and needed <= value.keys() <= hints.keys()
        and all(is_a(each, hints[key]) for key, each in value.items())
    )


def _has_fields(value: Any) -> bool:
    """Whether the fields of an object are of their types."""
    kind = type(value)
    if isinstance(value, BaseModel):
        return all(is_a(getattr(value, name), field.annotation) for name, field in kind.model_fields.items())
    if dataclasses.is_dataclass(kind) or hasattr(kind, "_fields"):
        return all(is_a(getattr(value, name), hint) for name, hint in typing.get_type_hints(kind).items())
    return True
