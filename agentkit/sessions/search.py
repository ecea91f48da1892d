"""Searching in messages: the words of a query, what they find, and the part of a text to show.

What a user searches for is data. It is taken apart into words here, so that no character of it means anything to the
full-text index, and so that a search without an index finds the same.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, cast

from agentkit.chat.messages import read_message

__all__ = ["index_query", "is_unspaced", "matches", "role_of", "snippet", "storable", "text_to_index", "words_of"]

_SPEAKERS = ("user", "assistant", "tool")
_WORD = re.compile(r"[^\W_]+")
_SURROGATES = re.compile("[\ud800-\udfff]")
# Scripts that put no spaces between words: Thai, Lao, Burmese, Khmer, Japanese, Chinese.
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
_BEFORE, _LENGTH = 40, 160  # characters of a snippet before the first word found, and in all


def storable(text: str) -> str:
    """The text with U+FFFD for lone surrogates, which UTF-8 cannot express."""
    return _SURROGATES.sub("\ufffd", text)


def role_of(message: str) -> str:
    """The role of a stored message."""
    return str(_read(message).get("role") or "")


def text_to_index(message: str) -> str:
    """What a search looks at in a stored message."""
    raw = _read(message)
    return storable(read_message(raw).text) if raw.get("role") in _SPEAKERS else ""


def _read(message: str) -> Mapping[str, Any]:
    try:
        raw = json.loads(message)
    except ValueError:
        return {}
    return cast("Mapping[str, Any]", raw) if isinstance(raw, dict) else {}


def words_of(query: str) -> tuple[str, ...]:
    """The words that a message must have; none when the query has neither letters nor digits."""
    return tuple(_WORD.findall(unicodedata.normalize("NFC", query)))


def is_unspaced(words: Sequence[str]) -> bool:
    """Whether the index, which cuts texts at spaces, would not find such words."""
    return any(_UNSPACED.search(word) for word in words)


def index_query(words: Sequence[str]) -> str:
    """The words in the language of FTS5: each is a quoted prefix."""
    return " ".join(f'"{word}"*' for word in words)


def matches(text: str, words: Sequence[str]) -> bool:
    """Whether each of the words begins a word of the text; in scripts without spaces, whether it is in the text."""
    folded = _fold(text)
    return all(re.search(_pattern(_fold(word)), folded) for word in words)


def snippet(text: str, words: Sequence[str]) -> str:
    """The part of the text with the first of the words that is in it, on one line."""
    line = " ".join(unicodedata.normalize("NFC", text).split())
    places = [found.start() for word in words if (found := re.search(_pattern(word), line, re.IGNORECASE))]
    start = max(0, min(places, default=0) - _BEFORE)
    start = line.rfind(" ", max(0, start - 20), start) + 1 or start
    shown = line[start : start + _LENGTH]
    return f"{'...' if start else ''}{shown}{'...' if start + _LENGTH < len(line) else ''}"


def _pattern(word: str) -> str:
    return re.escape(word) if _UNSPACED.search(word) else rf"(?<![^\W_]){re.escape(word)}"


def _fold(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(each for each in decomposed if not unicodedata.combining(each)).casefold()
