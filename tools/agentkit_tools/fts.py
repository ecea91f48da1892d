"""Full-text queries for SQLite's FTS5 from what a model or a person writes."""

from __future__ import annotations

import re

__all__ = ["match_query"]

_TERM = re.compile(r'"([^"]+)"|(\w+)')
_MOST_TERMS = 32


def match_query(words: str) -> str:
    """An FTS5 query that finds what contains any of the words, a phrase in double quotes as a whole.

    No operator of FTS5 has a meaning in ``words``: every term is quoted. Empty if there is no word in them.
    """
    terms = [phrase or word for phrase, word in _TERM.findall(words)][:_MOST_TERMS]
    return " OR ".join(f'"{term}"' for term in terms if re.search(r"\w", term))
