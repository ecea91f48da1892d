"""What the functions of a `Guard` are asked, and what they say."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from typing import Any, Literal, TypeAlias, TypeVar

from agentkit.chat.messages import AssistantMessage, Message, SystemMessage
from agentkit.errors import AgentKitError

__all__ = ["TRIPPED", "Check", "GuardTripped", "objection", "stop", "unanswered"]

T = TypeVar("T")
Verdict: TypeAlias = bool | str | None
"""None or True if all is well; False, or the reason, if not."""
Check: TypeAlias = Callable[[T], Verdict | Awaitable[Verdict]]


class GuardTripped(AgentKitError):
    """A guard objected, and so the run ended. A function of a guard may raise it itself.

    Attributes:
        reason: Why, in words.
        guard: Which: ``"input"``, ``"output"`` or ``"tool"``.
        check: The name of the function.
    """

    def __init__(self, reason: str, *, guard: str = "", check: str = "") -> None:
        super().__init__(reason)
        self.reason, self.guard, self.check = reason, guard, check

    def __str__(self) -> str:
        return f"the {self.guard} guard {self.check} objected: {self.reason}" if self.guard else self.reason


TRIPPED: ContextVar[list[GuardTripped]] = ContextVar("agentkit_tripped_tool_guards")
"""What functions for tool guards have raised in this run."""


async def objection(guard: Literal["input", "output", "tool"], check: Check[T] | None, value: T) -> GuardTripped | None:
    """What a check has against a value.

    Raises:
        GuardTripped: The check raised it itself.
        TypeError: It returned what is no verdict, which must not pass for agreement.
    """
    if check is None:
        return None
    name = getattr(check, "__name__", type(check).__name__)
    try:
        verdict: Any = check(value)
        if inspect.isawaitable(verdict):
            verdict = await verdict
    except GuardTripped as error:
        error.guard, error.check = guard, name
        raise
    if verdict is None or verdict is True:
        return None
    if verdict is not False and not isinstance(verdict, str):
        raise TypeError(
            f"the {guard} guard {name} returned {verdict!r:.80}; it returns None or True if all is well, else False or "
            "the reason as text"
        )
    return GuardTripped(verdict or "it gave no reason", guard=guard, check=name)


def unanswered(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The messages that no model has answered yet, without instructions."""
    answered = [place for place, each in enumerate(messages, start=1) if isinstance(each, AssistantMessage)]
    return tuple(each for each in messages[max(answered, default=0) :] if not isinstance(each, SystemMessage))


def stop(*objections: GuardTripped | None) -> None:
    """Raise the first objection."""
    for each in objections:
        if each is not None:
            raise each
