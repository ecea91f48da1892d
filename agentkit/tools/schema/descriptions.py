"""Descriptions of attributes, read from the source of their class, for schemas."""

from __future__ import annotations

import ast
import enum
import inspect
import textwrap
import typing
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Any, get_args, get_origin

from agentkit.tools.schema.docstrings import read_docstring

__all__ = ["QUALIFIERS", "attribute_docs", "class_summary", "note_of"]

QUALIFIERS = ("Required", "NotRequired", "ReadOnly")  # what may stand around the type of a key of a typed dict


def attribute_docs(kind: type) -> dict[str, str]:
    """The description of each attribute: in its `Annotated`, in a string below it, or in the docstring of the class.

    What the class inherits counts too. Never raises: of a class whose source is not there, less is known.
    """
    docs: dict[str, str] = {}
    bases: tuple[type, ...] = kind.__mro__
    for each in reversed(bases):
        if each.__module__ not in ("builtins", "typing", "enum", "pydantic.main"):
            docs |= dict(read_docstring(_own_docstring(each)).parameters) | _texts_below(each)
    return docs if enum.Enum in bases else docs | _notes(kind)


def class_summary(kind: type) -> str:
    """The docstring of the class up to its first section; empty for one that Python generated."""
    return read_docstring(_own_docstring(kind)).summary


def note_of(notes: Sequence[Any]) -> str:
    """The description among the notes of an `Annotated`: ``Field(description=)``, plain text or a `Doc`."""
    for note in notes:
        for text in (note, getattr(note, "description", None), getattr(note, "documentation", None)):
            if isinstance(text, str):
                return inspect.cleandoc(text)
    return ""


def _own_docstring(kind: type) -> str:
    text = kind.__dict__.get("__doc__") or ""
    made = text.startswith(f"{kind.__name__}(") or text == "An enumeration."
    return "" if made else text


def _texts_below(kind: type) -> dict[str, str]:
    """The strings that stand below attributes: ``city: str`` and on the next line, in quotes, its description."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    except Exception:  # noqa: BLE001 - a class made at run time has no source; its schema is complete without
        return {}
    body = tree.body[0].body if tree.body and isinstance(tree.body[0], ast.ClassDef) else []
    texts: dict[str, str] = {}
    for statement, below in pairwise(body):
        name = _assigned(statement)
        match below:
            case ast.Expr(ast.Constant(str(text))) if name:
                texts[name] = inspect.cleandoc(text)
            case _:
                continue
    return texts


def _assigned(statement: ast.stmt) -> str:
    match statement:
        case ast.AnnAssign(target=ast.Name(name)) | ast.Assign(targets=[ast.Name(name)]):
            return name
        case _:
            return ""


def _notes(kind: type) -> dict[str, str]:
    try:
        hints: Mapping[str, Any] = typing.get_type_hints(kind, include_extras=True)
    except Exception:  # noqa: BLE001 - pydantic resolves what the schema needs; these are only descriptions
        return {}
    notes = {name: note_of(_notes_of(hint)) for name, hint in hints.items()}
    return {name: text for name, text in notes.items() if text}


def _notes_of(hint: Any) -> Sequence[Any]:
    """The notes of an `Annotated`, also below `Required` and the like."""
    if get_origin(hint) is Annotated:
        return get_args(hint)[1:]
    return _notes_of(get_args(hint)[0]) if getattr(get_origin(hint), "_name", "") in QUALIFIERS else ()
