"""Words that are not used do not come back: docs/architecture.md lists them, in the last column of its vocabulary."""

import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "architecture.md"
FOLDERS = ("agentkit", "tools", "docs", "examples")

# How often a word still stands somewhere. Lower a number when the words are fewer, and delete it when there are none.
LEFT: dict[str, int] = {
    "a text": 4,  # text files
    "the house": 2,  # in examples for the embedded model
}


def unused_words() -> list[str]:
    """The last column of the table."""
    _, _, section = PAGE.read_text(encoding="utf-8").partition("\n## Vocabulary\n")
    table, _, _ = section.partition("\n## ")
    return re.findall(r"`([^`]+)`", "\n".join(row.rsplit("|", 2)[1] for row in re.findall(r"^\|.*\|$", table, re.M)))


def sources() -> dict[str, str]:
    """What is read by people: path -> text, without the vocabulary itself."""
    paths = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*")) if path.suffix in (".py", ".md")]
    found = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in [ROOT / "README.md", *paths]}
    page = str(PAGE.relative_to(ROOT))
    return {**found, page: found[page].partition("\n## Vocabulary\n")[0]}


lower = cache(str.lower)  # each text is searched for each word


def places_of(word: str, texts: dict[str, str]) -> list[str]:
    """The lines in which a word stands, in whatever case unless it is a name in code."""
    is_name = bool(re.search("[A-Z_]", word))
    pattern = re.compile(rf"(?<!\w){re.escape(word)}(?!\w)", 0 if is_name else re.IGNORECASE)
    return [
        f"{path}:{number}: {line.strip()[:100]}"
        for path, text in texts.items()
        if word.lower() in lower(text)
        for number, line in enumerate(text.splitlines(), start=1)
        for _ in pattern.findall(line)
    ]


def test_words_that_are_not_used_do_not_come_back() -> None:
    texts = sources()
    problems: list[str] = []
    for word in unused_words():
        places = places_of(word, texts)
        if len(places) > LEFT.get(word, 0):
            problems += [f"{word!r} stands {len(places)} times, not at most {LEFT.get(word, 0)}:", *places[-5:]]
    assert not problems, "\n".join(problems)


def test_the_list_of_what_is_left_names_words_of_the_table() -> None:
    words = unused_words()
    assert len(words) == len(set(words)) > 40
    assert [word for word in LEFT if word not in words] == []


def test_a_word_is_found_in_any_case_and_only_whole() -> None:
    assert places_of("mend", {"a": "Mend it.\nTo amend a commend."}) == ["a:1: Mend it."]
    assert places_of("Endpoint", {"a": "an endpoint\nclass Endpoint:"}) == ["a:2: class Endpoint:"]
