"""The text of an answer as it streams in, divided into reasoning, speech and what may be calls. Pure.

Servers without a parser for their model leave its marks in the text: ``<think>`` around its reasoning, and the marks of
calls (see `agentkit.chat.decoding.tool_parsers`). A mark counts only at the very beginning of an answer, or right after
its reasoning: anywhere else it is a quotation. From there on the text is held back until the answer is whole, as only
then it is known whether it consists of calls alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from agentkit.chat.events import Event, ReasoningDelta, TextDelta
from agentkit.chat.json_values import join_surrogates

__all__ = ["MAX_HELD", "TextScanner"]

MAX_HELD = 1024 * 1024
"""The most characters that are held back because they may be calls; a longer text is text."""

_OPEN, _CLOSE = "<think>", "</think>"
_MAX_SPACE = 1000  # before <think>


@dataclass(slots=True, eq=False)
class TextScanner:
    """Reads the text of one answer.

    Attributes:
        marks: What calls begin with; empty where calls in the text are not looked for.
    """

    marks: tuple[str, ...] = ()
    _said: list[str] = field(default_factory=list[str])
    _size: int = 0  # of the text so far
    _reasoning: list[str] = field(default_factory=list[str])
    _held: list[str] = field(default_factory=list[str])
    _held_size: int = 0
    _rest: str = ""  # too short to be understood yet
    _half: str = ""  # the first half of a surrogate pair
    _place: str = "start"  # start, reasoning, after (the reasoning), text, held

    @property
    def text(self) -> str:
        """The text so far, without reasoning and without what is held back."""
        return "".join(self._said)

    @property
    def reasoning(self) -> str:
        """The text between ``<think>`` and ``</think>``."""
        return "".join(self._reasoning).strip()

    @property
    def held(self) -> str:
        """The text that may be calls and has not been emitted."""
        return "".join(self._held)

    def has_said(self, text: str) -> bool:
        """True if the string is all that was said so far."""
        return len(text) == self._size and text == self.text

    def feed(self, text: str) -> Iterable[Event]:
        """Take the next text and give the events that it makes certain."""
        if not text.isascii() or self._half:
            text, self._half = self._half + text, ""
            if "\ud800" <= text[-1:] <= "\udbff":
                text, self._half = text[:-1], text[-1:]
            text = join_surrogates(text)
        return self._say(text) if self._place == "text" else self._read(text)

    def add(self, text: str) -> bool:
        """Take the next text if it is speech, whatever it is; False if only `feed` can tell."""
        plain = self._place == "text" and text.isascii() and not self._half
        if plain and text:
            self._said.append(text)
            self._size += len(text)
        return plain

    def finish(self) -> Iterator[Event]:
        """All text has come: what was waiting for more is text, and so is reasoning without an end."""
        if self._half:
            self._half = ""
            yield from self._read("\ufffd")
        rest, self._rest = self._rest, ""
        if self._place == "reasoning":
            rest = "".join([_OPEN, *self._reasoning, rest])
            self._reasoning.clear()
        yield from self._say(rest)

    def release(self, *, as_text: bool) -> Iterator[Event]:
        """Let go of what is held back: as text, or because it was read as calls."""
        held, self._held_size = self.held, 0
        self._held.clear()
        if as_text:
            yield from self._say(held)

    def _read(self, text: str) -> Iterator[Event]:
        if self._place == "text":
            yield from self._say(text)
            return
        if self._place == "held":
            yield from self._hold(text)
            return
        self._rest += text
        if self._place == "start":
            self._start()
        if self._place == "reasoning":
            yield from self._reason()
        if self._place == "after":
            self._rest = self._rest.lstrip()
        if self._place in ("beginning", "after"):
            yield from self._begin()

    def _start(self) -> None:
        beginning = self._rest.lstrip()
        near = len(self._rest) - len(beginning) <= _MAX_SPACE
        if near and beginning.startswith(_OPEN):
            self._rest, self._place = beginning[len(_OPEN) :], "reasoning"
        elif not near or not _OPEN.startswith(beginning):
            self._place = "beginning"

    def _reason(self) -> Iterator[Event]:
        thought, closed, rest = self._rest.partition(_CLOSE)
        if closed:
            self._rest, self._place = rest, "after"
        else:  # what may be the end of the reasoning waits
            last = thought.rfind(_CLOSE[0], max(0, len(thought) - len(_CLOSE) + 1))
            if last >= 0 and _CLOSE.startswith(thought[last:]):
                thought = thought[:last]
            self._rest = self._rest[len(thought) :]
        if thought:
            self._reasoning.append(thought)
            yield ReasoningDelta(thought)

    def _begin(self) -> Iterator[Event]:
        """Decide whether what is said begins with the mark of a call, or wait for more of it."""
        beginning = self._rest.lstrip()
        if beginning.startswith(self.marks):
            space = self._rest[: len(self._rest) - len(beginning)]
            self._rest, self._place = "", "held"
            yield from self._say(space)
            yield from self._hold(beginning)
        elif not beginning or not any(mark.startswith(beginning) for mark in self.marks):
            rest, self._rest = self._rest, ""
            self._place = "text" if beginning else self._place
            yield from self._say(rest)

    def _hold(self, text: str) -> Iterator[Event]:
        self._held.append(text)
        self._held_size += len(text)
        if self._held_size > MAX_HELD:
            self._place = "text"
            yield from self.release(as_text=True)

    def _say(self, text: str) -> tuple[Event, ...]:
        if not text:
            return ()
        self._said.append(text)
        self._size += len(text)
        return (TextDelta(text),)
