"""Search in messages: the terms of a query, the text they are matched against, and the snippet to show."""

from __future__ import annotations

import itertools
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, cast

from agentkit.messages import read_message
from agentkit.sessions.base import SearchHit

__all__ = ["SHORTEST_INDEXED", "hit", "index_query", "search_text", "storable", "terms_of"]

SHORTEST_INDEXED = 3  # characters: the index holds all runs of three
_MOST_INDEXED = 32  # terms of a query that are looked up in the index; each message is checked for all of them anyway
_ROLES = ("user", "assistant", "tool")
_SURROGATES = re.compile("[\ud800-\udfff]")
_BEFORE, _LENGTH = 40, 160  # characters of a snippet before the first match, and in total


class _Folds(dict[int, str]):
    """Remove case and accents, one character at a time, so that the time is linear for any text."""

    def __missing__(self, code: int) -> str:
        letters = (each for each in unicodedata.normalize("NFKD", chr(code)) if not unicodedata.combining(each))
        self[code] = folded = storable(unicodedata.normalize("NFC", "".join(letters)).casefold())
        return folded


_FOLDS = _Folds({0: " "})  # SQLite's functions treat NUL as the end of a string


def storable(text: str) -> str:
    """Replace lone surrogates, which UTF-8 cannot express, by U+FFFD."""
    return _SURROGATES.sub("\ufffd", text)


def search_text(message: str) -> str:
    """Return the folded text of a stored message; empty if it is not searched or cannot be read."""
    role, text = _read(message)
    return text.translate(_FOLDS) if role in _ROLES else ""


def terms_of(query: str) -> tuple[str, ...]:
    """Split a query into the folded strings that a message must contain."""
    return tuple(dict.fromkeys(query.translate(_FOLDS).split()))


def index_query(terms: Sequence[str]) -> str:
    """Return the terms that the index can find as an FTS5 query; empty if there are none."""
    indexed = [term for term in terms if len(term) >= SHORTEST_INDEXED][:_MOST_INDEXED]
    return " ".join('"' + term.replace('"', '""') + '"' for term in indexed)


def hit(session: str, number: int, message: str, terms: Sequence[str]) -> SearchHit:
    """Return the snippet of a message that contains the terms."""
    role, text = _read(message)
    line = " ".join(text.split())
    folded = line.translate(_FOLDS)
    place = min((at for term in terms if (at := folded.find(term)) >= 0), default=0)
    if len(folded) != len(line):  # some characters fold to none or to several
        ends = itertools.accumulate(len(each.translate(_FOLDS)) for each in line)
        place = sum(1 for _ in itertools.takewhile(lambda end: end <= place, ends))
    start = max(0, place - _BEFORE)
    start = line.rfind(" ", max(0, start - 20), start) + 1 or start
    snippet = f"{'...' if start else ''}{line[start : start + _LENGTH]}{'...' if start + _LENGTH < len(line) else ''}"
    return SearchHit(session=session, number=number, role=role, snippet=snippet)


def _read(message: str) -> tuple[str, str]:
    """Return the role and text of a stored message; both are empty if it cannot be read."""
    try:
        raw = json.loads(message)
        read = read_message(cast("Mapping[str, Any]", raw) if isinstance(raw, dict) else {})
    except (ValueError, TypeError, RecursionError):
        return "", ""
    return read.role, storable(read.text)
