"""What can be read from an English request without a model: numbers, names, possible arguments. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

__all__ = [
    "GAP",
    "ignored",
    "is_in_quotes",
    "is_negative",
    "led_by",
    "mentions",
    "numbers",
    "quoted",
    "spans",
    "stem",
    "stems",
    "value_of",
]

GAP = " | "  # replaces what was used in a request
MOST_WORDS = 60  # of a request are looked at for arguments,
LONGEST = 12  # and of so many words an argument may consist

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_NUMBERS = (
    {word: value for value, word in enumerate(_ONES.split())}
    | {word: 10 * value for value, word in enumerate(_TENS.split(), start=2)}
    | {"dozen": 12, "hundred": 100}
)
_NUMBER = re.compile(
    rf"(?<![\w.])-?\d+(?:,\d{{3}})*(?:\.\d+)?|\b(?:{'|'.join(sorted(_NUMBERS, key=len, reverse=True))})\b", re.I
)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ARTICLES = _words("a an the my our i")
_NOT_FIRST = _words(  # words that hardly begin an argument,
    "in on at for of to with from by about into and or is are was be please now that saying me us it them called named "
    "mentioning anything any some what what's how much many if whether do does did can could you there have has want "
    "need let know tell give make put get show per as"
)
_NOT_LAST = (_NOT_FIRST | _ARTICLES | {"which", "who"}) - {"it", "them", "me", "you"}  # or end one,
_NOT_OPENING = _NOT_FIRST | _words(  # or begin a request as one
    "i i'm i'd i'll i've it's we which where when who check look find search is will would should set start change use "
    "try tell"
)
_QUOTED = re.compile(r"""["“](.+?)["”]|(?<!\w)['\u2018](.+?)['\u2019](?!\w)|: (.+)| (?:that|saying) (.+)""")
_NEGATIVE = re.compile(r"\b(off|no|not|never|without|stop|disable|don't|false)\b", re.I)
_EDGE = " .,;:!?()\"“”'\u2018\u2019-"


def stem(word: str) -> str:
    """Strip the ending of a word, so that *rolls* and *rolling* are the same."""
    return re.sub(r"(ing|ed|es|er|s|e)$", "", word.lower()) if len(word) > 3 else word.lower()


def stems(text: str) -> set[str]:
    """Find the stems of all words."""
    return {stem(word) for word in re.findall(r"\w+", text)}


def ignored(word: str) -> bool:
    """True if the word says nothing about what is wanted."""
    return word.lower() in _NOT_LAST


def mentions(text: str, phrase: str) -> bool:
    """True if the text has all words of the phrase."""
    return stems(phrase) <= stems(text)


def is_negative(text: str) -> bool:
    """True if the text turns something off."""
    return bool(_NEGATIVE.search(text))


def numbers(text: str) -> list[re.Match[str]]:
    """Find the numbers in a string, in digits or words."""
    return list(_NUMBER.finditer(text))


def value_of(number: str) -> int | float:
    """Read a number, as an integer if it is one."""
    word = number.lower()
    value = float(_NUMBERS[word]) if word in _NUMBERS else float(word.replace(",", ""))
    return int(value) if value == int(value) else value


def quoted(text: str) -> tuple[re.Match[str] | None, str]:
    """Find what is in quotes or after a colon, *that* or *saying*: its place, and the words."""
    found = _QUOTED.search(text)
    return found, next(filter(None, found.groups())).strip(" .") if found else ""


def is_in_quotes(found: re.Match[str]) -> bool:
    """True if what `quoted` found is in quotation marks."""
    return found[1] is not None or found[2] is not None


def led_by(preposition: str, phrases: Collection[str], text: str) -> list[str]:
    """Find the phrases that follow the preposition in the text."""
    return [each for each in phrases if re.search(rf"\b{preposition}\s+(the\s+)?{re.escape(each)}", text, re.I)]


def spans(text: str, about: Collection[str]) -> list[str]:
    """Find the phrases of a request that could be an argument, each once.

    Args:
        text: The request, with `GAP` for what is used up.
        about: Stems that only say which tool is meant: no phrase extends beyond such a word.
    """
    found: dict[str, None] = {}
    for place, part in enumerate(text.split(GAP.strip())):
        words = list(re.finditer(r"[^\s\"“”?!]+", part))[:MOST_WORDS]
        for index, first in enumerate(words):
            opening = not place and not index
            if first[0].lower().strip(",.") not in (_NOT_OPENING if opening else _NOT_FIRST):
                found.update(dict.fromkeys(_from(part, words[index : index + LONGEST], about, opening=not place)))
    return list(found)


def _from(part: str, words: list[re.Match[str]], about: Collection[str], *, opening: bool) -> Iterator[str]:
    for count, last in enumerate(words, start=1):
        bare = last[0].lower().strip(".,;:!?)")
        if stem(bare) in about and (last[0].islower() or (last.start() == 0 and opening)):
            return
        phrase = part[words[0].start() : last.end()].strip(_EDGE)
        article_and_noun = count == 2 and words[0][0].lower() in _ARTICLES
        if bare not in _NOT_LAST and phrase and phrase.lower() not in _ARTICLES and not article_and_noun:
            yield phrase
