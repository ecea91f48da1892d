"""Reads docstrings: the description of a function or a class, and those of its parameters or attributes.

docstring_parser, which only this module imports, reads docstrings that follow the rules of a style. `read_loosely`
reads whatever a person would still understand, and is preferred where it finds more of the parameters. Both take time
linear in the length of the docstring.
"""

from __future__ import annotations

import ast
import enum
import inspect
import re
import textwrap
import typing
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Annotated, Any, NamedTuple, get_args, get_origin

QUALIFIERS = ("Required", "NotRequired", "ReadOnly")  # may wrap the type of a key of a typed dict

_DECORATION = "#*_=> \t`"
_HEADER = re.compile(
    r"(?:(?:input|keyword|kw|other|optional|required|function|tool)[ -]?)?"
    r"(?:args?|arguments?|param(?:eter)?s?|inputs?|kwargs|attributes|fields|options)",
    re.IGNORECASE,
)
_INLINE = re.compile(r"\s*(?:args|arguments|parameters|params|inputs):\s+", re.IGNORECASE)
_OTHER = re.compile(
    r"(?:returns?|return values?|yields?|raises?|exceptions?|throws|examples?|notes?|usage|see also|warnings?|"
    r"references|todo|output|result)\b[#*_=>\s`]*(?::.*|)|[:@\\](?:returns?|rtype|raises?|yields?|type|throws)\b.*|"
    r">>>.*",
    re.IGNORECASE,
)
_UNDERLINE = re.compile(r"\s*[-=~^]{3,}\s*")
_BULLET = r"(?:[-*•+]\s+|\d+[.)]\s+)?"
_TAG = re.compile(r"\s*[:@\\](?:param(?:eter)?|arg(?:ument)?|key(?:word)?|kwarg)\s+(?:\{[^}]*\}\s*)?")
_TAGGED_TYPE = re.compile(r"[\w.\[\],|]+")
_MOST_TYPE_WORDS = 8  # in front of a name: `:param dict[str, int] | None counts:`
_KIND = r"(?:\s*\((?:[^()]|\([^()]*\))*\)|\s*\[[^\]]*\]|\s*<[^>]*>)?"
_SPACE = re.compile(r"\s+")


class _Entry(NamedTuple):
    name: str
    indent: int
    lines: list[str]
    kind: str = ""
    tagged: bool = False

    @property
    def text(self) -> str:
        return re.sub(r"\n{2,}", "\n\n", "\n".join(self.lines)).strip()


def read_loosely(text: str, names: Collection[str] = ()) -> tuple[str, dict[str, str]]:
    """The text in front of the descriptions of parameters, and the description of each.

    Args:
        text: The docstring, its common indentation removed.
        names: The parameters. Without them, only text below a heading such as "Parameters" is read.
    """
    reader = _Reader(names)
    for line in text.splitlines():
        reader.read(line)
    return "\n".join(reader.summary).strip(), {
        each.name: each.text for each in reader.entries if each.name and each.text
    }


class _Reader:
    """Reads the lines once, and keeps track of the section and the entry it is in."""

    def __init__(self, names: Collection[str]) -> None:
        known = "|".join(sorted(map(re.escape, names), key=len, reverse=True)) or r"[A-Za-z_]\w*"
        quotes = r"[`*_\"']*"
        self.summary: list[str] = []
        self.entries: list[_Entry] = []
        self._known = bool(names)
        self._tagged = re.compile(rf"\*{{0,2}}{quotes}(?P<name>{known})\b{quotes}\s*[:\u2013\u2014-]*\s*(?P<text>.*)")
        self._plain = re.compile(
            rf"(?P<indent>\s*){_BULLET}{quotes}:?\\?\*{{0,2}}(?P<name>{known})\b{quotes}(?P<kind>{_KIND}){quotes}\s*"
            rf"(?:::?|=(?!=)|--?(?=\s)|\u2013|\u2014|\s{{3,}}|\t|$)\s*(?:[*_`]{{2}}\s*)?(?P<text>.*)"
        )
        self._place = "summary"  # then "section", and "elsewhere" below a headline such as "Returns"
        self._after_gap = False
        self._underlined = False

    def read(self, line: str) -> None:
        if not line.strip():
            self._blank()
        elif _HEADER.fullmatch(line.strip(_DECORATION + ":")):
            self._place, self._underlined = "section", False
        elif self._place == "summary" and (inline := _INLINE.match(line)) and self._entry_in(line[inline.end() :]):
            self._place = "section"
            self.read(" " * inline.end() + line[inline.end() :])
        elif _UNDERLINE.fullmatch(line) and self._place != "summary":
            self._underlined = True
        elif _OTHER.fullmatch(line.lstrip(_DECORATION)) and not self._is_deeper(line):
            self._place = "elsewhere"
        elif (entry := self._begins(line)) is not None:
            self._place = "section"
            self.entries.append(entry)
        else:
            self._continue(line)
        self._after_gap = not line.strip()

    def _blank(self) -> None:
        if self._place == "summary":
            self.summary.append("")
        elif self._place == "section" and self.entries:
            self.entries[-1].lines.append("")

    def _begins(self, line: str) -> _Entry | None:
        if self._place == "elsewhere" or (self._place == "summary" and not self._known):
            return None
        entry = self._entry_in(line)
        if entry is None or entry.tagged:
            return entry
        if not entry.lines[0] and (
            self._place == "summary" or not (entry.kind or self._underlined or line.rstrip().endswith((":", "-")))
        ):
            return None
        return entry

    def _entry_in(self, line: str) -> _Entry | None:
        """The entry that the line begins: ``:param int x: text``, ``x (int): text``, ``- x: text`` and the like."""
        if tag := _TAG.match(line):
            at, indent = tag.end(), len(line) - len(line.lstrip())
            for _ in range(_MOST_TYPE_WORDS):
                if found := self._tagged.fullmatch(line, at):
                    return _Entry(found["name"], indent, [found["text"]], tagged=True)
                word = _TAGGED_TYPE.match(line, at)
                gap = word and _SPACE.match(line, word.end())
                if not gap:
                    return None
                at = gap.end()
            return None
        found = self._plain.fullmatch(line)
        return found and _Entry(found["name"], len(found["indent"]), [found["text"]], kind=found["kind"])

    def _is_deeper(self, line: str) -> bool:
        indent = len(line) - len(line.lstrip())
        return self._place == "section" and bool(self.entries) and indent > self.entries[-1].indent

    def _continue(self, line: str) -> None:
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
        """Add the line to its entry, or begin a hidden entry for a name that is not a parameter."""
        indent = len(line) - len(line.lstrip())
        if indent == entry.indent and re.match(rf"\s*{_BULLET}[`*]*\*{{0,2}}[A-Za-z_]\w*[`*]*{_KIND}\s*:", line):
            self.entries.append(_Entry("", indent, []))
        else:
            entry.lines.append(line.strip())


# Epytext is read as reST, as docstring_parser takes quadratic time for it.
_EPYTEXT = re.compile(r"^@(?=(?:param|keyword|type|returns?|rtype|raises?|yields?)\b)", re.MULTILINE)
_TYPE = re.compile(
    r"[(\[](?:optional|required|str|string|text|int|integer|float|number|bool|boolean|list|dict|tuple|set|array|object|any)"
    r"\b[^()\[\]]*(?:\[[^\]]*\][^()\[\]]*)?[)\]]\s*[:.,\u2013\u2014-]*\s*",
    re.IGNORECASE,
)


_TYPE_LINE = re.compile(
    r"^\s*[:@]type\s+(\w+)\s*:\s*(\S.*)$", re.MULTILINE
)  # also of a parameter that is not described


@dataclass(frozen=True, slots=True)
class Docstring:
    """The parts of a docstring.

    Attributes:
        summary: The text in front of the sections: what the function does.
        parameters: The description of each parameter, by its name without stars.
        types: The type of each parameter, as the docstring writes it, if it names one.
    """

    summary: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict[str, str])
    types: Mapping[str, str] = field(default_factory=dict[str, str], compare=False)


def read_docstring(text: str | None, names: Collection[str] = ()) -> Docstring:
    """Read a docstring in Google, NumPy, reST or Epytext style, whichever finds the most parameters, or loosely.

    Never raises: what no style can read is taken as plain text.

    Args:
        text: The docstring.
        names: The names of the parameters, if they are known; a loosely written docstring cannot be read without them.
    """
    plain = inspect.cleandoc(text or "").strip()
    by_rules = _by_rules(_EPYTEXT.sub(":", plain), names)
    loosely = Docstring(*read_loosely(plain, names))
    best = max(by_rules, loosely, key=lambda each: len(each.parameters.keys() & names if names else each.parameters))
    described = {
        name: _TYPE.sub("", said, count=1) if _TYPE.match(said) else said for name, said in best.parameters.items()
    }
    return Docstring(best.summary, {name: said for name, said in described.items() if said}, by_rules.types)


def _by_rules(plain: str, names: Collection[str]) -> Docstring:
    import docstring_parser  # noqa: PLC0415 - only a program that makes tools of functions needs it

    def names_of(param: docstring_parser.DocstringParam) -> list[str]:
        return [name.strip(" *\\`") for name in param.arg_name.split(",")]  # NumPy style: `x, y : int`

    def described(reading: docstring_parser.Docstring) -> dict[str, str]:
        params = [(each, each.description.strip()) for each in reading.params if each.description]
        return {name: text for param, text in params for name in names_of(param)}

    styles = docstring_parser.DocstringStyle
    readings: list[docstring_parser.Docstring] = []
    for style in (styles.GOOGLE, styles.NUMPYDOC, styles.REST):  # plain text reads the same in all of them
        with suppress(Exception):  # the parsers raise all kinds of errors; a comment must never break a program
            readings.append(docstring_parser.parse(plain, style))
    best = max(
        readings,
        key=lambda each: (len(described(each).keys() & names), len(each.params), len(each.meta)),
        default=None,
    )
    if best is None or not best.meta:
        return Docstring(plain)
    gap = "\n\n" if best.blank_after_short_description else "\n"
    summary = gap.join(each for each in (best.short_description, best.long_description) if each)
    types = {name: param.type_name for param in best.params if param.type_name for name in names_of(param)}
    types |= dict(_TYPE_LINE.findall(plain))
    return Docstring(summary, described(best), types)


# Descriptions of attributes, which may also be in `Annotated` and in strings below them.


def attribute_docs(kind: type) -> dict[str, str]:
    """The description of each attribute: in its `Annotated`, in a string below it, or in the docstring of the class.

    Inherited attributes count too. Never raises: without the source of the class, it finds less.
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
    """The strings below attributes: ``city: str`` and on the next line, in quotes, its description."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    except Exception:  # noqa: BLE001 - a class made at run time has no source; its schema is complete without
        return {}
    body = tree.body[0].body if tree.body and isinstance(tree.body[0], ast.ClassDef) else []
    texts: dict[str, str] = {}
    for pair in pairwise(body):
        match pair:
            case (
                ast.AnnAssign(target=ast.Name(name)) | ast.Assign(targets=[ast.Name(name)]),
                ast.Expr(ast.Constant(str(text))),
            ):
                texts[name] = inspect.cleandoc(text)
            case _:
                continue
    return texts


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
