"""What a docstring says about a function and its parameters. The only module that imports docstring_parser.

The parser reads what is written by the rules of a style. `loose` reads what a person would still understand; it is
taken where it finds more of the parameters.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import docstring_parser

from agentkit.tools.loose import read_loosely

__all__ = ["Docstring", "read_docstring"]

# In the order in which a tie is decided: what nobody marked up reads the same in all of them.
_STYLES = (
    docstring_parser.DocstringStyle.GOOGLE,
    docstring_parser.DocstringStyle.NUMPYDOC,
    docstring_parser.DocstringStyle.REST,
    docstring_parser.DocstringStyle.EPYDOC,
)
_TYPE = re.compile(
    r"[(\[](?:optional|required|str|string|text|int|integer|float|number|bool|boolean|list|dict|tuple|set|array|object|any)"
    r"\b[^()\[\]]*(?:\[[^\]]*\][^()\[\]]*)?[)\]]\s*[:.,\u2013\u2014-]*\s*",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Docstring:
    """A docstring, taken apart.

    Attributes:
        summary: The text in front of the sections: what the function does.
        parameters: What is said of each parameter, by its name without stars.
    """

    summary: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict[str, str])


def read_docstring(text: str | None, names: Collection[str] = ()) -> Docstring:
    """Read a docstring in Google, NumPy, reST or Epytext style, whichever finds the most parameters, or loosely.

    Never raises: what no style can read is taken as plain text.

    Args:
        text: The docstring.
        names: The names of the parameters, if they are known: a loosely written text is understood by them.
    """
    plain = inspect.cleandoc(text or "").strip()
    by_rules = _by_rules(plain, names)
    loosely = Docstring(*read_loosely(plain, names))
    best = loosely if _found(loosely, names) > _found(by_rules, names) else by_rules
    described = {
        name: _TYPE.sub("", said, count=1) if _TYPE.match(said) else said for name, said in best.parameters.items()
    }
    return Docstring(best.summary, {name: said for name, said in described.items() if said})


def _found(docstring: Docstring, names: Collection[str]) -> int:
    return len(docstring.parameters.keys() & names if names else docstring.parameters)


def _by_rules(plain: str, names: Collection[str]) -> Docstring:
    readings = [reading for style in _STYLES if (reading := _read(plain, style)) is not None]
    best = max(readings, key=lambda each: (_known(each, names), len(each.params), len(each.meta)), default=None)
    if best is None or not best.meta:
        return Docstring(plain)
    return Docstring(_summary(best), _parameters(best))


def _known(reading: docstring_parser.Docstring, names: Collection[str]) -> int:
    return len(_parameters(reading).keys() & names)


def _read(text: str, style: docstring_parser.DocstringStyle) -> docstring_parser.Docstring | None:
    try:
        return docstring_parser.parse(text, style)
    except Exception:  # noqa: BLE001 - the parsers raise all kinds of errors; a comment must never break a program
        return None


def _summary(reading: docstring_parser.Docstring) -> str:
    gap = "\n\n" if reading.blank_after_short_description else "\n"
    return gap.join(text for text in (reading.short_description, reading.long_description) if text)


def _parameters(reading: docstring_parser.Docstring) -> dict[str, str]:
    return {
        name.strip(" *\\`"): param.description.strip()
        for param in reading.params
        if param.description
        for name in param.arg_name.split(",")  # NumPy style describes several at once: `x, y : int`
    }
