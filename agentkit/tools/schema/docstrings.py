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

__all__ = ["Docstring", "read_docstring", "read_loosely"]

_DECORATION = r"[#*_=>\s`]*"
_HEADER = re.compile(
    rf"{_DECORATION}(?:(?:input|keyword|kw|other|optional|required|function|tool)[ -]?)?"
    rf"(?:args?|arguments?|param(?:eter)?s?|inputs?|kwargs|attributes|fields|options)\b{_DECORATION}:?{_DECORATION}",
    re.IGNORECASE,
)
_INLINE = re.compile(r"\s*(?:args|arguments|parameters|params|inputs):\s+", re.IGNORECASE)
_OTHER = re.compile(
    rf"{_DECORATION}(?:(?:returns?|return values?|yields?|raises?|exceptions?|throws|examples?|notes?|usage|see also|"
    rf"warnings?|"
    rf"references|todo|output|result)\b{_DECORATION}(?::.*|))|\s*[:@\\](?:returns?|rtype|raises?|yields?|type|throws)\b.*|"
    r"\s*>>>.*",
    re.IGNORECASE,
)
_UNDERLINE = re.compile(r"\s*[-=~^]{3,}\s*")
_BULLET = r"(?:[-*•+]\s+|\d+[.)]\s+)?"
_TAG = r"[:@\\](?:param(?:eter)?|arg(?:ument)?|key(?:word)?|kwarg)\s+(?:\{[^}]*\}\s*)?(?:[\w.\[\], |]+\s+)??"
_KIND = r"(?:\s*\((?:[^()]|\([^()]*\))*\)|\s*\[[^\]]*\]|\s*<[^>]*>)?"


@dataclass(slots=True)
class _Entry:
    name: str
    indent: int
    lines: list[str] = field(default_factory=list[str])

    @property
    def text(self) -> str:
        return re.sub(r"\n{2,}", "\n\n", "\n".join(self.lines)).strip()


def read_loosely(text: str, names: Collection[str] = ()) -> tuple[str, dict[str, str]]:
    """The text in front of what is said about parameters, and what is said about each.

    Args:
        text: The docstring, its common indentation removed.
        names: The parameters. Without them, only what stands below a headline such as "Parameters" is read.
    """
    reader = _Reader(_entry_pattern(names), bool(names))
    for line in text.splitlines():
        reader.read(line)
    return "\n".join(reader.summary).strip(), {
        each.name: each.text for each in reader.entries if each.name and each.text
    }


def _entry_pattern(names: Collection[str]) -> re.Pattern[str]:
    known = "|".join(sorted(map(re.escape, names), key=len, reverse=True)) or r"[A-Za-z_]\w*"
    quotes = r"[`*_\"']*"
    return re.compile(
        rf"(?P<indent>\s*)(?:{_TAG}\*{{0,2}}{quotes}(?P<tagged>{known})\b{quotes}\s*[:\u2013\u2014-]*\s*|"
        rf"{_BULLET}{quotes}:?\\?\*{{0,2}}(?P<plain>{known})\b{quotes}(?P<kind>{_KIND}){quotes}\s*"
        rf"(?:::?|=(?!=)|--?(?=\s)|\u2013|\u2014|\s{{3,}}|\t|$)\s*(?:[*_`]{{2}}\s*)?)(?P<said>.*)"
    )


class _Reader:
    """Goes through the lines once, and knows whether it is in a section, and in which entry."""

    def __init__(self, entry: re.Pattern[str], names_are_known: bool) -> None:  # noqa: FBT001 - of this module only
        self.summary: list[str] = []
        self.entries: list[_Entry] = []
        self._entry = entry
        self._known = names_are_known
        self._place = "summary"  # then "section", and "elsewhere" below a headline such as "Returns"
        self._after_gap = False
        self._underlined = False

    def read(self, line: str) -> None:
        if not line.strip():
            self._blank()
        elif _HEADER.fullmatch(line):
            self._place, self._underlined = "section", False
        elif (
            self._place == "summary" and (inline := _INLINE.match(line)) and self._entry.fullmatch(line[inline.end() :])
        ):
            self._place = "section"
            self.read(" " * inline.end() + line[inline.end() :])
        elif _UNDERLINE.fullmatch(line) and self._place != "summary":
            self._underlined = True
        elif _OTHER.fullmatch(line) and not self._is_deeper(line):
            self._place = "elsewhere"
        elif (found := self._begins(line)) is not None:
            self._begin(found)
        else:
            self._go_on(line)
        self._after_gap = not line.strip()

    def _blank(self) -> None:
        if self._place == "summary":
            self.summary.append("")
        elif self._place == "section" and self.entries:
            self.entries[-1].lines.append("")

    def _begins(self, line: str) -> re.Match[str] | None:
        if self._place == "elsewhere" or (self._place == "summary" and not self._known):
            return None
        found = self._entry.fullmatch(line)
        if found is None or (not found["said"] and not found["tagged"] and self._place == "summary"):
            return None
        bare = not found["said"] and not found["kind"] and not line.rstrip().endswith((":", "-"))
        return None if bare and not self._underlined else found

    def _begin(self, found: re.Match[str]) -> None:
        self._place = "section"
        self.entries.append(_Entry(found["tagged"] or found["plain"], len(found["indent"]), [found["said"]]))

    def _is_deeper(self, line: str) -> bool:
        indent = len(line) - len(line.lstrip())
        return self._place == "section" and bool(self.entries) and indent > self.entries[-1].indent

    def _go_on(self, line: str) -> None:
        if self._place == "summary":
            self.summary.append(line)
        elif self._place == "section" and self.entries:
            entry = self.entries[-1]
            if self._is_deeper(line) or not self._after_gap:
                if self._underlined and len(entry.lines) == 1:
                    entry.lines.clear()  # NumPy style has the type in the first line
                self._unknown(entry, line)
            else:
                self._place = "elsewhere"

    def _unknown(self, entry: _Entry, line: str) -> None:
        """Add the line to its entry, or begin an entry for a name that is no parameter, which is not shown."""
        indent = len(line) - len(line.lstrip())
        if indent == entry.indent and re.match(rf"\s*{_BULLET}[`*]*\*{{0,2}}[A-Za-z_]\w*[`*]*{_KIND}\s*:", line):
            self.entries.append(_Entry("", indent))
        else:
            entry.lines.append(line.strip())


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
