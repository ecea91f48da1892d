"""The text of an answer, as it comes: what of it is thought, what is said, and what may be calls. Pure.

Servers without a parser for their model leave its marks in the text: ``<think>`` around its thoughts, and marks of
calls (see `agentkit.chat.decoding.tool_parsers`). A mark counts only where a model puts it and a quotation does not:
``<think>`` at
the very beginning, that of a call at the beginning of what is said. Only marks that no prose contains may follow other
text, at the beginning of a line and outside of code fences. From there on the text is held back until the answer is
whole, as only then it is known whether it is a call.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from agentkit.chat.decoding.tool_parsers import CONTROL_MARKS
from agentkit.chat.events import Event, ReasoningDelta, TextDelta

__all__ = ["TextScanner", "joined"]

_OPEN, _CLOSE = "<think>", "</think>"
_LONGEST_MARK = 64
_MOST_SPACE = 1000  # before <think>
_FENCE = re.compile(r"(?P<before>(?:[\s>*+-]|\d+[.)])*)(?P<fence>`{3,}|~{3,})(?P<info>.*)", re.DOTALL)
_SURROGATES = re.compile("[\ud800-\udfff]")


def joined(text: str) -> str:
    """The text with halves of a character joined, and U+FFFD for a half that stands alone."""
    if not _SURROGATES.search(text):
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


@dataclass(slots=True, eq=False)
class TextScanner:
    """Reads the text of one answer.

    Attributes:
        marks: The beginnings of calls to look for; none when no tools were offered.
    """

    marks: tuple[str, ...] = ()
    _said: list[str] = field(default_factory=list[str])
    _size: int = 0  # of what was said
    _thoughts: list[str] = field(default_factory=list[str])
    _held: list[str] = field(default_factory=list[str])
    _rest: str = ""
    _half: str = ""
    _place: str = "start"  # start, thoughts, after (the thoughts), text, held
    _beginning: bool = True  # nothing but white space was said
    _new_line: bool = True
    _line: list[str] = field(default_factory=list[str])  # the pieces of the last line, which has no end yet
    _fence: str = ""  # what opened the code fence that is open
    _fence_at: int = 0  # and how far into its line

    @property
    def text(self) -> str:
        """What was said so far, without what is held."""
        return "".join(self._said)

    def is_all(self, text: str) -> bool:
        """Whether a text is what was said so far; nothing is put together to tell that it is not."""
        return len(text) == self._size and text == self.text

    @property
    def thoughts(self) -> str:
        """What stood between ``<think>`` and ``</think>``."""
        return "".join(self._thoughts).strip()

    @property
    def held(self) -> str:
        """The text from a call's mark on, which was not told yet."""
        return "".join(self._held)

    def feed(self, text: str) -> Iterator[Event]:
        """Take the next piece and give what an observer is told."""
        text, self._half = self._half + text, ""
        if "\ud800" <= text[-1:] <= "\udbff":  # half of a character, whose other half may come next
            text, self._half = text[:-1], text[-1:]
        self._rest += joined(text)
        yield from self._go_on()

    def finish(self) -> Iterator[Event]:
        """All has come: what was waiting for more is text after all, and thoughts without an end are text too."""
        if self._half:
            self._half = ""
            self._rest += "\ufffd"
            yield from self._go_on()
        rest, self._rest = self._rest, ""
        if self._place == "thoughts":
            rest = "".join([_OPEN, *self._thoughts, rest])
            self._thoughts.clear()
        yield from self._say(rest)

    def release(self, *, as_text: bool) -> Iterator[Event]:
        """What was held has been read as calls, or it is text."""
        held = self.held
        self._held.clear()
        if as_text:
            yield from self._say(held)

    def _go_on(self) -> Iterator[Event]:
        if self._place == "start":
            self._begin()
        if self._place == "thoughts":
            yield from self._think()
        if self._place == "after":
            self._rest = self._rest.lstrip()
            self._place = "text" if self._rest else "after"
        if self._place == "text":
            yield from self._read()
        if self._place == "held":
            self._held.append(self._rest)
            self._rest = ""

    def _begin(self) -> None:
        beginning = self._rest.lstrip()
        if beginning.startswith(_OPEN):
            self._rest, self._place = beginning[len(_OPEN) :], "thoughts"
        elif not _OPEN.startswith(beginning) or len(self._rest) > _MOST_SPACE:
            self._place = "text"

    def _think(self) -> Iterator[Event]:
        thought, closed, rest = self._rest.partition(_CLOSE)
        if closed:
            self._rest, self._place = rest, "after"
        else:  # what may be the end of the thoughts waits
            thought = thought[: len(thought) - _overlap(thought, _CLOSE)]
            self._rest = self._rest[len(thought) :]
        if thought:
            self._thoughts.append(thought)
            yield ReasoningDelta(thought)

    def _read(self) -> Iterator[Event]:
        """Say everything up to a mark, or up to what may become one."""
        said = 0
        at = 0 if self._new_line else self._next_line(0)
        if self._beginning:
            at = len(self._rest) - len(self._rest.lstrip())
        while self.marks and at >= 0:
            self._watch_fences(self._rest[said:at])
            said = at
            marks = self.marks if self._beginning else tuple(each for each in self.marks if each in CONTROL_MARKS)
            if self._rest.startswith(marks, at) and not self._fence:
                self._place = "held"
                break
            if len(self._rest) - at < _LONGEST_MARK and any(mark.startswith(self._rest[at:]) for mark in self.marks):
                break
            self._beginning = False
            at = self._next_line(at)
        else:
            at = len(self._rest)
            self._watch_fences(self._rest[said:])
        self._new_line = at < len(self._rest) or self._rest.endswith("\n") or (self._new_line and not self._rest)
        text, self._rest = self._rest[:at], self._rest[at:]
        yield from self._say(text)

    def _next_line(self, start: int) -> int:
        end = self._rest.find("\n", start)
        return end + 1 if end >= 0 else -1

    def _watch_fences(self, text: str) -> None:
        """Keep track of code fences, a whole line at a time."""
        *ended, rest = text.split("\n") if self.marks else [""]
        for line in ended:
            self._end_line("".join([*self._line, line]))
            self._line.clear()
        if rest:
            self._line.append(rest)

    def _end_line(self, line: str) -> None:
        """A fence ends with as many of its characters as it began with, or more; in doubt it goes on."""
        found = _FENCE.match(line)
        if not found:
            return
        before, fence, info = found.groups()
        if not self._fence:
            if fence[0] == "~" or "`" not in info:
                self._fence, self._fence_at = fence, len(before)
        elif fence.startswith(self._fence) and not info.strip() and not before.strip(" \t>"):
            self._fence = "" if len(before) <= self._fence_at + 3 else self._fence

    def _say(self, text: str) -> Iterator[Event]:
        if text:
            self._said.append(text)
            self._size += len(text)
            yield TextDelta(text)


def _overlap(text: str, mark: str) -> int:
    """How many characters at the end of the text are the beginning of the mark."""
    return next((size for size in range(min(len(text), len(mark) - 1), 0, -1) if text.endswith(mark[:size])), 0)
