"""Where a transcript may be cut. Pure.

A transcript is a head (the instructions at its beginning), then units that stay whole: a message, or an assistant
message with the results of its calls and the files of these results. A turn begins at a message of the user.

A cut leaves out all units before it, but never the head and never the question of the turn that it falls into. It is a
function of the messages alone, found by going through them as they came: where they grew too large, the cut moves far
enough ahead that it can stay there for a while. So a transcript that grows keeps its cuts, and what is sent begins
with the same bytes until the next one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from agentkit.chat.content import Content, TextPart
from agentkit.chat.messages import (
    AssistantMessage,
    DeveloperMessage,
    FunctionMessage,
    Message,
    SystemMessage,
    ToolMessage,
    UserMessage,
)
from agentkit.chat.tokens import size_of_messages
from agentkit.run.transcript import CONTINUES

__all__ = ["FILES", "Bounds", "Layout", "cleared", "is_of_results", "noted", "original"]

_ORIGINAL = "original"  # in the meta of a message, which is never sent
FILES = "Attached to the result of "  # how the message begins that holds the files of results


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much of a transcript there may be; None is no bound."""

    tokens: float | None = None
    turns: int | None = None


@dataclass(slots=True)
class _Unit:
    start: int  # the place of its first message
    turn: int  # which turn it belongs to, counted from 1; 0 before the first question
    asks: bool  # whether it begins that turn
    after_results: bool
    size: int = 0


class Layout:
    """The head and the units of a transcript."""

    def __init__(self, messages: Sequence[Message]) -> None:
        self.messages = messages
        self.units: list[_Unit] = []
        self._questions = [0]  # the unit that begins each turn; turn 0 has none
        instructions = (each for each in enumerate(messages) if not _is_instruction(each[1]))
        self.head = next(instructions, (len(messages), None))[0]
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
        asks = isinstance(message, UserMessage) and not message.meta.get(CONTINUES)
        if asks:
            self._questions.append(len(self.units))
        self.units.append(_Unit(place, len(self._questions) - 1, asks, _ends_results(before)))

    @property
    def last(self) -> int:
        """The last unit."""
        return len(self.units) - 1

    def question(self, unit: int, last: int | None = None) -> int | None:
        """The unit that begins the turn of this one, when the transcript ends with the unit ``last``."""
        turn = self._turn(unit, self.last if last is None else last)
        return self._questions[turn] if turn else None

    def fits(self, cut: int, last: int, bounds: Bounds) -> bool:
        """Whether what stays is within the bounds, when the transcript ends with the unit ``last``."""
        if bounds.turns is not None and self._turn(last, last) - self._turn(cut, last) >= bounds.turns:
            return False
        return bounds.tokens is None or self._size(cut, last) <= bounds.tokens

    def cut(self, most: Bounds, goal: Bounds) -> int:
        """The first unit that stays: whenever there was more than ``most``, it was cut down to ``goal``."""
        cut = 0
        for last in range(1, len(self.units)):
            if not self.fits(cut, last, most):
                cut = self.moved(cut, last, most, goal)
        return cut

    def moved(self, cut: int, last: int, most: Bounds, goal: Bounds) -> int:
        """The next cut: at the first turn with which the rest is small enough, else within the last turn."""
        turn = self._turn(last, last)
        for start in self._questions[self._turn(cut, last) + 1 : turn + 1]:
            if self.fits(start, last, goal):
                return start
        start = self._questions[turn]
        if start > cut and self.fits(start, last, most):
            return start
        for bounds in (goal, most):
            for inside in range(max(cut, start) + 1, last + 1):
                if self.fits(inside, last, bounds):
                    return inside
        return last

    def left_out(self, cut: int) -> int:
        """How many messages a cut leaves out."""
        return self.units[cut].start - self.head - (self._kept_question(cut) is not None)

    def view(self, cut: int, note: str) -> list[Message]:
        """What stays, with a note in place of what does not.

        The note is put into a message of the user, as two of these in a row are more than some servers take.
        """
        kept = list(self.messages[self.units[cut].start :])
        head = list(self.messages[: self.head])
        question = self._kept_question(cut)
        if question is not None:
            return [*head, noted(question, after=note), *kept]
        first = kept[0]
        return (
            [*head, noted(first, note), *kept[1:]]
            if isinstance(first, UserMessage)
            else [*head, UserMessage(note), *kept]
        )

    def _kept_question(self, cut: int) -> UserMessage | None:
        """The question of the turn that the cut falls into."""
        question = self.question(cut)
        message = None if question in (None, cut) else self.messages[self.units[question or 0].start]
        return message if isinstance(message, UserMessage) else None

    def _turn(self, unit: int, last: int) -> int:
        """A user message behind results that is the last of all belongs to their turn: it may be a note about it."""
        found = self.units[unit]
        return found.turn - (unit == last and found.asks and found.after_results and found.turn > 1)

    def _size(self, cut: int, last: int) -> int:
        question = self.question(cut, last)
        kept = self.units[question].size if question is not None and question < cut else 0
        return self._sums[last + 1] - self._sums[cut] + kept


def is_of_results(message: Message, before: Message | None) -> bool:
    """Whether a message belongs to the calls before it: a result, or the files of results."""
    return isinstance(message, ToolMessage | FunctionMessage) or (
        isinstance(before, ToolMessage) and _holds_files(message)
    )


def noted(message: UserMessage, before: str = "", *, after: str = "") -> UserMessage:
    """The message with a note before or after what it says."""
    if isinstance(message.content, str):
        return replace(message, content="\n\n".join(filter(None, [before, message.content, after])))
    texts = [[TextPart(text)] if text else [] for text in (before, after)]
    return replace(message, content=(*texts[0], *message.content, *texts[1]))


def cleared(message: ToolMessage | UserMessage, content: Content) -> Message:
    """The message with a note for its content, which knows what it stands for."""
    return replace(message, content=content, meta={**message.meta, _ORIGINAL: message})


def original(message: Message) -> Message:
    """What a message stands for that another view has cleared; any other is itself."""
    found: object = message.meta.get(_ORIGINAL)
    return found if isinstance(found, Message) else message


def _is_instruction(message: Message) -> bool:
    return isinstance(message, SystemMessage | DeveloperMessage)


def _holds_files(message: Message) -> bool:
    parts = message.content if isinstance(message, UserMessage) and isinstance(message.content, tuple) else ()
    return bool(parts) and isinstance(parts[0], TextPart) and parts[0].text.startswith(FILES)


def _ends_results(message: Message | None) -> bool:
    return message is not None and (
        isinstance(message, ToolMessage | FunctionMessage)
        or (isinstance(message, UserMessage) and _holds_files(message))
        or (isinstance(message, AssistantMessage) and bool(message.tool_calls))
    )
