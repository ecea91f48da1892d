"""Full-text queries for SQLite's FTS5 from what a model or a person writes."""

from __future__ import annotations

import re

__all__ = ["match_query"]

_TERM = re.compile(r'"([^"]+)"|(\w+)')
_MOST_TERMS = 32


def match_query(words: str) -> str:
    """Return an FTS5 query for any of the words, and for phrases in double quotes as a whole.

    FTS5 operators in ``words`` have no effect, since every term is quoted. Empty if there are no words.
    """
    terms = [phrase or word for phrase, word in _TERM.findall(words)][:_MOST_TERMS]
    return " OR ".join(f'"{term}"' for term in terms if re.search(r"\w", term))
