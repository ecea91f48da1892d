"""Split a conversation into units that may be left out of a request. Pure.

A conversation is a head (the instructions at its beginning), then units that stay whole: a message, or an assistant
message with the results of its calls and the files of these results. An exchange begins at a message of the user.

A cut leaves out all units before it, but never the head, nor the message that began the exchange it is in. It depends
only on the messages, and is found by replaying them: where they grew too large, the cut moves far enough ahead to stay
there for a while. So a growing conversation keeps its cuts, and requests begin with the same bytes until the next one.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from agentkit.chat import size_of_messages
from agentkit.messages import (
    AssistantMessage,
    Content,
    DeveloperMessage,
    FunctionMessage,
    Message,
    SystemMessage,
    TextPart,
    ToolMessage,
    UserMessage,
)
from agentkit.run import begins_exchange, is_attachment

__all__ = ["Bounds", "Layout", "cleared", "is_of_results", "original"]

_ORIGINAL = "original"  # in the meta of a message, which is never sent


@dataclass(frozen=True, slots=True)
class Bounds:
    """The largest size of a conversation; without ``exchanges``, any number of them fits."""

    tokens: float = math.inf
    exchanges: int | None = None


@dataclass(slots=True)
class _Unit:
    start: int  # the index of its first message
    exchange: int  # counted from 1; 0 before the first user message
    begins: bool  # whether it begins that exchange
    after_results: bool
    size: int = 0


class Layout:
    """The head and the units of a conversation."""

    def __init__(self, messages: Sequence[Message]) -> None:
        self.messages = messages
        self.units: list[_Unit] = []
        self._starts = [0]  # the unit that begins each exchange; exchange 0 has none
        self.head = next((at for at, each in enumerate(messages) if not _is_instruction(each)), len(messages))
        for place in range(self.head, len(messages)):
            self._add(place)
        ends = [each.start for each in self.units[1:]] + [len(messages)]
        for unit, end in zip(self.units, ends, strict=False):
            unit.size = size_of_messages(messages[unit.start : end])
        self._sums = [0, *accumulate(unit.size for unit in self.units)]

    def _add(self, place: int) -> None:
        message = self.messages[place]
        before = self.messages[place - 1] if place > self.head else None
        if self.units and is_of_results(message, before):
            return
        begins = begins_exchange(message)
        if begins:
            self._starts.append(len(self.units))
        self.units.append(_Unit(place, len(self._starts) - 1, begins, _ends_results(before)))

    @property
    def last(self) -> int:
        """The last unit; -1 if there is none."""
        return len(self.units) - 1

    def fits(self, cut: int, last: int, bounds: Bounds) -> bool:
        """Return True if what remains fits when the conversation ends with the unit ``last``."""
        if last < 0:
            return True
        if bounds.exchanges is not None and self._exchange(last, last) - self._exchange(cut, last) >= bounds.exchanges:
            return False
        start = self._start(cut, last)
        kept = self.units[start].size if start is not None and start < cut else 0
        return self._sums[last + 1] - self._sums[cut] + kept <= bounds.tokens

    def cut(self, most: Bounds, goal: Bounds) -> int:
        """Return the first unit that stays: whenever there was more than ``most``, it was reduced to ``goal``."""
        cut = 0
        for last in range(1, len(self.units)):
            if not self.fits(cut, last, most):
                cut = self.moved(cut, last, most, goal)
        return cut

    def moved(self, cut: int, last: int, most: Bounds, goal: Bounds) -> int:
        """Return the next cut: at the first exchange from which the rest is small enough, or within the last one."""
        newest = self._exchange(last, last)
        later = self._starts[self._exchange(cut, last) + 1 : newest + 1]
        if (at := _first(later, lambda start: self.fits(start, last, goal))) is not None:
            return at
        start = self._starts[newest]
        if start > cut and self.fits(start, last, most):
            return start
        inside = range(max(cut, start) + 1, last + 1)
        if (at := _first(inside, lambda unit: self.fits(unit, last, goal))) is None:
            at = _first(inside, lambda unit: self.fits(unit, last, most))
        return last if at is None else at

    def left_out(self, cut: int) -> int:
        """Return the number of messages that a cut leaves out."""
        return self.units[cut].start - self.head - (self._kept_question(cut) is not None)

    def from_cut(self, cut: int, note: str) -> list[Message]:
        """Return what stays, with a note in place of the rest.

        The note is added to a user message, because some servers refuse two of these in a row.
        """
        head, (first, *rest) = list(self.messages[: self.head]), self.messages[self.units[cut].start :]
        question = self._kept_question(cut)
        if question is not None:
            return [*head, _noted(question, after=note), first, *rest]
        if isinstance(first, UserMessage):
            return [*head, _noted(first, note), *rest]
        return [*head, UserMessage(note), first, *rest]

    def _kept_question(self, cut: int) -> UserMessage | None:
        """Return the message that began the exchange of the cut."""
        start = self._start(cut, self.last)
        message = None if start in (None, cut) else self.messages[self.units[start or 0].start]
        return message if isinstance(message, UserMessage) else None

    def _start(self, unit: int, last: int) -> int | None:
        """Return the unit that begins the exchange of this one, when the conversation ends with the unit ``last``."""
        exchange = self._exchange(unit, last)
        return self._starts[exchange] if exchange else None

    def _exchange(self, unit: int, last: int) -> int:
        """True for the last message if it is of the user and after results: it may be a note on their exchange."""
        found = self.units[unit]
        return found.exchange - (unit == last and found.begins and found.after_results and found.exchange > 1)


def _first(units: Sequence[int], fits: Callable[[int], bool]) -> int | None:
    """Return the first unit from which on everything fits."""
    at = bisect_left(units, 1, key=lambda unit: int(fits(unit)))
    return units[at] if at < len(units) else None


def is_of_results(message: Message, before: Message | None) -> bool:
    """Return True if a message belongs to the calls before it: a result, or the files of results."""
    return isinstance(message, ToolMessage | FunctionMessage) or (
        isinstance(before, ToolMessage) and is_attachment(message)
    )


def cleared(message: ToolMessage | UserMessage, content: Content) -> Message:
    """Return the message with a note as its content; it remembers its `original`."""
    return replace(message, content=content, meta={**message.meta, _ORIGINAL: message})


def original(message: Message) -> Message:
    """Return the message that was cleared; any other is its own original."""
    found: object = message.meta.get(_ORIGINAL)
    return found if isinstance(found, Message) else message


def _noted(message: UserMessage, before: str = "", *, after: str = "") -> UserMessage:
    """Return the message with a note before or after its content."""
    if isinstance(message.content, str):
        return replace(message, content="\n\n".join(filter(None, [before, message.content, after])))
    texts = [[TextPart(text)] if text else [] for text in (before, after)]
    return replace(message, content=(*texts[0], *message.content, *texts[1]))


def _is_instruction(message: Message) -> bool:
    return isinstance(message, SystemMessage | DeveloperMessage)


def _ends_results(message: Message | None) -> bool:
    return message is not None and (
        isinstance(message, ToolMessage | FunctionMessage)
        or is_attachment(message)
        or (isinstance(message, AssistantMessage) and bool(message.tool_calls))
    )
