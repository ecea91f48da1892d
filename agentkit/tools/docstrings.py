"""What a docstring says about a function and its parameters. The only module that imports docstring_parser."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field

import docstring_parser

__all__ = ["Docstring", "read_docstring"]

# In the order in which a tie is decided: what nobody marked up reads the same in all of them.
_STYLES = (
    docstring_parser.DocstringStyle.GOOGLE,
    docstring_parser.DocstringStyle.NUMPYDOC,
    docstring_parser.DocstringStyle.REST,
    docstring_parser.DocstringStyle.EPYDOC,
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


def read_docstring(text: str | None) -> Docstring:
    """Read a docstring in Google, NumPy, reST or Epytext style, whichever finds the most parameters.

    Never raises: what no style can read is taken as plain text.
    """
    plain = inspect.cleandoc(text or "").strip()
    readings = [reading for style in _STYLES if (reading := _read(plain, style)) is not None]
    best = max(readings, key=lambda reading: (len(reading.params), len(reading.meta)), default=None)
    if best is None or not best.meta:
        return Docstring(plain)
    return Docstring(_summary(best), _parameters(best))


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
        name.strip(" *\\"): param.description.strip()
        for param in reading.params
        if param.description
        for name in param.arg_name.split(",")  # NumPy style describes several at once: `x, y : int`
    }
