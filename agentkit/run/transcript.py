"""The rule of a valid transcript, and what can be read from one.

Each call of an assistant message is answered by exactly one tool message, in the order of the calls, before any other
message. Which calls are still open is always derived from the messages and stored nowhere.
"""

from __future__ import annotations

import operator
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar, cast

from agentkit.chat.decoding.tool_calls import CallIds, normalize_tool_calls
from agentkit.chat.messages import AssistantMessage, Message, ToolCall, ToolMessage, UserMessage
from agentkit.chat.settings import is_tool_name
from agentkit.tools.repair import valid_tool_name

M = TypeVar("M", bound=Message)

# Labels in the `meta` of a message, which is stored and never sent.
CONTINUES = "continues"  # of a user message: it belongs to the exchange before it
CONFIDENCE = "confidence"  # of an assistant message: the probability of the output in it, from 0 to 1
CUT = "cut"  # of an assistant message: why the reply stopped early, so that it holds no output
FINAL = "final"  # of a tool message: it ended the run
HANDED_TO = "handed to"  # of a tool message: the call handed off to the agent of this name
LEFT_OUT = "left out"  # of any message: a hand-off left it out of what later agents read; it is never sent again
REFUSED = "refused"  # of a user message: a guard rejected it; it is never sent again
TRUNCATED = "truncated"  # of an assistant message: it was shown, but the reply never ended
UNANSWERED = "unanswered"  # of a user message: its run ended without any reply; it is sent only if that run is resumed


def labeled(message: M, **labels: Any) -> M:
    """The message with these labels in addition to those that it has."""
    return replace(message, meta={**message.meta, **labels})


def unlabeled(message: M, label: str) -> M:
    """The message without a label."""
    return replace(message, meta={name: value for name, value in message.meta.items() if name != label})


def is_sent(message: Message) -> bool:
    """Return True if requests include the message: not if it was refused, never answered, or left out by a hand-off."""
    return not message.meta or not any(map(message.meta.get, (REFUSED, UNANSWERED, LEFT_OUT)))


def begins_exchange(message: Message) -> bool:
    """Return True if an exchange begins here: at a user message that does not continue the previous exchange."""
    return isinstance(message, UserMessage) and not message.meta.get(CONTINUES)


def is_reply(message: Message) -> bool:
    """Return True if the message is a complete reply of the model."""
    return isinstance(message, AssistantMessage) and not message.meta.get(TRUNCATED)


def final_result(messages: Sequence[Message]) -> ToolMessage | None:
    """The result at the end that came from a tool that ends the run; None if there is none."""
    for message in reversed(messages):
        if not isinstance(message, ToolMessage):
            break
        if message.meta.get(FINAL):
            return message
    return None


def open_calls(messages: Sequence[Message]) -> tuple[ToolCall, ...]:
    """The calls of the last assistant message that have no result yet, in the model's order."""
    answered: set[str] = set()
    for message in reversed(messages):
        if isinstance(message, ToolMessage):
            answered.add(message.tool_call_id)
        elif isinstance(message, AssistantMessage):
            calls = message.tool_calls
            return tuple([call for call in calls if call.id not in answered]) if answered else calls
        else:
            break
    return ()


def last_reply_at(messages: Sequence[Message]) -> int | None:
    """The index of the last assistant message."""
    for at in range(len(messages) - 1, -1, -1):
        if isinstance(messages[at], AssistantMessage):
            return at
    return None


def last_reply(messages: Sequence[Message]) -> AssistantMessage | None:
    """The last assistant message."""
    at = last_reply_at(messages)
    return None if at is None else cast("AssistantMessage", messages[at])


def insert_results(messages: list[Message], results: Iterable[ToolMessage]) -> None:
    """Insert results after the assistant message that made the calls, in the order of its calls."""
    at, results = last_reply_at(messages), list(results)
    if at is None or not results:
        return
    answers = {each.tool_call_id: each for each in [*messages[at + 1 :], *results] if isinstance(each, ToolMessage)}
    calls = cast("AssistantMessage", messages[at]).tool_calls
    messages[at + 1 :] = [answers[call.id] for call in calls if call.id in answers]


class SentMessages:
    """The messages that requests of a run include, and the ids of all its calls: each message is read once.

    Args:
        prepare: Returns a message in the form in which it is sent.
    """

    def __init__(self, prepare: Callable[[Message], Message] | None = None) -> None:
        self.messages: list[Message] = []
        self.call_ids: set[str] = set()
        self._prepare = prepare
        self._read: list[Message] = []

    def follow(self, messages: Sequence[Message]) -> None:
        """Read the messages that were added, or all of them again if earlier ones have changed."""
        if len(messages) < len(self._read) or not all(map(operator.is_, self._read, messages)):
            self.messages, self.call_ids, self._read = [], set(), []
        for message in messages[len(self._read) :]:
            self._read.append(message)
            if is_sent(message):
                self.messages.append(self._prepare(message) if self._prepare else message)
            if isinstance(message, AssistantMessage):
                self.call_ids.update([call.id for call in message.tool_calls])


def interrupted_result(call: ToolCall, reason: str = "the run was interrupted") -> ToolMessage:
    """The result of a call that did not run to its end."""
    return ToolMessage(f"Error: not finished: {reason}; it is not known whether it had any effect", call.id)


def check(messages: Sequence[Message]) -> list[str]:
    """A sentence for each thing in a transcript that the strictest server would refuse; empty if it is valid."""
    found: list[str] = []
    waiting: deque[str] = deque()
    seen: set[str] = set()
    for place, message in enumerate(messages, start=1):
        if isinstance(message, ToolMessage):
            if waiting and waiting[0] == message.tool_call_id:
                waiting.popleft()
            else:
                found.append(f"message {place} answers {message.tool_call_id!r}, which is not the next open call")
            continue
        found += [f"call {id_!r} has no result before message {place}" for id_ in waiting]
        calls = message.tool_calls if isinstance(message, AssistantMessage) else ()
        waiting = deque(call.id for call in calls)
        for id_ in waiting:
            if id_ in seen:
                found.append(f"message {place} uses the call id {id_!r} again")
            seen.add(id_)
        found += [f"message {place}: {complaint}" for call in calls for complaint in _call_complaints(call)]
        if isinstance(message, AssistantMessage) and message.is_empty:
            found.append(f"message {place} is an assistant message with neither content nor calls")
    return found + [f"call {id_!r} has no result" for id_ in waiting]


def repair_transcript(messages: Sequence[Message], *, may_wait: bool = False) -> tuple[list[Message], list[str]]:
    """Make a transcript valid, keeping every real result; takes time in proportion to its length.

    Args:
        messages: The transcript.
        may_wait: Whether the calls of the last message may stay open, for a run that is resumed with them.

    Returns:
        The valid transcript, and a sentence for each thing that was repaired.
    """
    return _Repair(messages).run(may_wait=may_wait) if messages else ([], [])


class _Repair:
    """One repair. Results are found by the id of their call, wherever they are before that id is used again."""

    def __init__(self, messages: Sequence[Message]) -> None:
        self.messages = messages
        self.made: list[Message] = []
        self.notes: list[str] = []
        self.ids = CallIds()
        self.results: dict[str, deque[int]] = {}
        self.used: set[int] = set()
        for at, message in enumerate(messages):
            if isinstance(message, ToolMessage):
                self.results.setdefault(message.tool_call_id, deque()).append(at)

    def run(self, *, may_wait: bool) -> tuple[list[Message], list[str]]:
        last_other = next((at for at in reversed(range(len(self.messages))) if self._is_other(at)), -1)
        reused = self._where_ids_come_again()
        for at, message in enumerate(self.messages):
            if isinstance(message, ToolMessage):
                continue
            if isinstance(message, AssistantMessage) and message.tool_calls:
                self._turn(at, message, reused[at], complete=not may_wait or last_other > at)
            elif isinstance(message, AssistantMessage) and message.is_empty:
                self.notes.append("an assistant message with neither content nor calls was left out")
            else:
                self.made.append(message)
        unused = [
            each for at, each in enumerate(self.messages) if isinstance(each, ToolMessage) and at not in self.used
        ]
        self.notes += [
            f"a result of the call {each.tool_call_id!r}, which does not exist, was left out" for each in unused
        ]
        return self.made, self.notes

    def _is_other(self, at: int) -> bool:
        return not isinstance(self.messages[at], ToolMessage)

    def _where_ids_come_again(self) -> Mapping[int, Mapping[str, int]]:
        """For each message with calls, where each of its ids is used next."""
        coming: dict[str, int] = {}
        found: dict[int, Mapping[str, int]] = {}
        for at in reversed(range(len(self.messages))):
            message = self.messages[at]
            if isinstance(message, AssistantMessage) and message.tool_calls:
                found[at] = {call.id: coming[call.id] for call in message.tool_calls if call.id in coming}
                coming.update((call.id, at) for call in message.tool_calls)
        return found

    def _turn(self, at: int, message: AssistantMessage, reused: Mapping[str, int], *, complete: bool) -> None:
        calls: list[ToolCall] = []
        answers: list[Message] = []
        places: list[int] = []
        for asked in message.tool_calls:
            normalized, notes = normalize_tool_calls([asked], self.ids)
            self.notes += notes
            for call in normalized:
                name = valid_tool_name(call.name)
                calls.append(call if name == call.name else replace(call, name=name))
                place = self._result_of(asked.id, at, reused.get(asked.id, len(self.messages)))
                if place is not None:
                    places.append(place)
                    answers.append(replace(cast("ToolMessage", self.messages[place]), tool_call_id=call.id))
                elif complete:
                    self.notes.append(f"the call {asked.id!r} of {name} had no result and was given one that says so")
                    answers.append(interrupted_result(call))
        self.used.update(places)
        if places != sorted(places):
            self.notes.append("results were sorted into the order of their calls")
        if any(self._is_other(between) for between in range(at + 1, max(places, default=at))):
            self.notes.append("results were moved next to their calls")
        reply = message if calls == list(message.tool_calls) else replace(message, tool_calls=tuple(calls))
        if not reply.is_empty:
            self.made += [reply, *answers]

    def _result_of(self, id_: str, after: int, before: int) -> int | None:
        waiting = self.results.get(id_, deque())
        while waiting and waiting[0] < after:
            waiting.popleft()
        return waiting.popleft() if waiting and waiting[0] < before else None


def _call_complaints(call: ToolCall) -> Iterator[str]:
    if not call.id.strip():
        yield f"a call of {call.name!r} has no id"
    if not is_tool_name(call.name):
        yield f"the name {call.name[:80]!r} is not one of 1 to 64 letters, digits, '_' and '-'"
    if not call.has_valid_arguments:
        yield f"the arguments of {call.name!r} are not a JSON object: {call.arguments[:80]!r}"
