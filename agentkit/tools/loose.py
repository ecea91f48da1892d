r"""Reads a docstring that keeps to no style, as a person would: a line that begins with a parameter's name is about it.

All of these are read::

    Parameters:                 Arguments                  ## Inputs               @param {str} city - The city.
    city: The city.             - `city` (str) -- The      * **city**: The city.   \param city The city.
      unit (str): The unit.         city.                  1. unit = the unit.     :city: The city.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field

__all__ = ["read_loosely"]

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
