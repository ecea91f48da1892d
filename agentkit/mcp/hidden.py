"""Characters that a model reads but a person cannot see. Pure.

They can smuggle instructions into a description. Those that languages and emoji need are allowed: joiners in emoji and
in scripts that join letters, Arabic and Hebrew marks, flags.
"""

from __future__ import annotations

import re
import unicodedata

__all__ = ["find_hidden", "show_hidden"]

_TAGS = "\U000e0000-\U000e007f"
_FLAG = re.compile("\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{1,10}\U000e007f")
_ALWAYS = re.compile(f"[{_TAGS}\u202d\u202e\u00ad\u180e\u2061-\u2064\U000e0100-\U000e01ef\U0001d173-\U0001d17a]")
_DIRECTION = re.compile("[\u202a-\u202c\u2066-\u2069]")
_ZERO_WIDTH = re.compile("[\u200b\u2060\ufeff]")
_JOINERS = re.compile("[\u200c\u200d]")
_SELECTORS = re.compile("[\ufe00-\ufe0f]{2,}")
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def find_hidden(text: str) -> list[int]:
    """Return the positions of hidden characters without a legitimate use."""
    if text.isascii() and not _CONTROLS.search(text):
        return []
    plain = _FLAG.sub(lambda found: "x" * len(found[0]), text)
    found = [each.start() for each in _ALWAYS.finditer(plain)]
    found += [each.start() for each in _CONTROLS.finditer(plain)]
    found += [each.start() for each in _SELECTORS.finditer(plain)]
    if not any(unicodedata.bidirectional(each) in ("R", "AL") for each in plain):
        found += [each.start() for each in _DIRECTION.finditer(plain)]
    found += [each.start() for each in _ZERO_WIDTH.finditer(plain) if _is_inside(plain, each.start(), latin=False)]
    found += [each.start() for each in _JOINERS.finditer(plain) if _is_inside(plain, each.start(), latin=True)]
    return sorted(found)


def show_hidden(text: str) -> str:
    r"""Return the string with hidden characters escaped: ``\u202e``."""
    places = set(find_hidden(text))
    return "".join(
        each.encode("unicode_escape").decode("ascii") if at in places else each for at, each in enumerate(text)
    )


def _is_inside(text: str, at: int, *, latin: bool) -> bool:
    """True if it is inside a word, or next to another invisible character."""
    before, after = text[at - 1 : at], text[at + 1 : at + 2]
    if latin:  # Persian and the scripts of India need joiners, and so do emoji; the Latin script does not
        return _is_latin(before) and _is_latin(after)
    return all(each.isalnum() or unicodedata.category(each) == "Cf" for each in (before, after) if each) and bool(
        before and after
    )


def _is_latin(character: str) -> bool:
    return character.isalpha() and unicodedata.name(character, "").startswith("LATIN")
