"""`Guard`: looks at what a model reads, what it answers and what it calls, and may object."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from dataclasses import replace
from typing import Any, Literal, TypeAlias, TypeVar

import anyio

from agentkit.chat.events import Emit, Event
from agentkit.chat.messages import AssistantMessage, Message, SystemMessage
from agentkit.chat.reply import Reply
from agentkit.errors import AgentKitError, ConfigError, ToolError
from agentkit.run.middleware import Middleware, ModelTurn, NextModel, NextRun, NextTool, Run, ToolRequest
from agentkit.run.state import RunState
from agentkit.tools.calls.execute import kind_of
from agentkit.tools.result import ToolResult

__all__ = [
    "TRIPPED",
    "Check",
    "Guard",
    "GuardTripped",
    "Held",
    "beside",
    "check_guard",
    "objection",
    "stop",
    "unanswered",
]

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


class Held:
    """An ``emit`` that keeps what it is told until it is let go."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._kept: list[Event] | None = []

    def __call__(self, event: Event) -> None:  # noqa: D102
        if self._kept is None:
            self._emit(event)
        else:
            self._kept.append(event)

    def let_go(self) -> None:
        """Tell what was kept, and from now on everything at once."""
        kept, self._kept = self._kept or [], None
        for event in kept:
            self._emit(event)


async def beside(check: Callable[[], Awaitable[None]], work: Callable[[], Awaitable[T]], *, first: bool) -> T:
    """What the work comes to, if the check beside it does not raise; the one that raises first cancels the other.

    With ``first`` the check comes before the work.
    """
    if first:
        await check()
        return await work()
    values: list[T] = []
    errors: list[Exception] = []  # kept out of the task group, which would wrap them

    async def look() -> None:
        try:
            await check()
        except Exception as error:  # noqa: BLE001 - raised again below
            errors.append(error)
            tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(look)
        try:
            values.append(await work())
        except Exception as error:  # noqa: BLE001 - raised again below
            errors.append(error)
            tasks.cancel_scope.cancel()
    if errors:
        raise errors[0]
    return values[0]


def check_guard(**checks: object) -> None:
    """Refuse a guard that asks nobody, or what is no function."""
    if all(each is None for each in checks.values()):
        raise ConfigError("Guard() asks nobody: give it a function as input=, output= or tool=")
    for name, each in checks.items():
        if each is not None and not callable(each):
            raise ConfigError(f"Guard({name}={each!r:.80}): must be a function that says whether all is well")


class Guard(Middleware):
    """Asks functions of yours whether all is well; what they object to does not happen.

    They return None or True if so, else False or the reason. They may be async; if not, they must return at once. An
    objection ends the run with `GuardTripped`, but for ``tool``.

    Args:
        input: Is given the messages that no model has answered yet: the question, results of calls. If it is async, it
            runs beside the request and cancels it; nothing is shown before it agrees. If not, it goes first.
        output: Is given each finished `Reply`, before its calls run. Its pieces have been shown by then.
        tool: Is given each `ToolRequest` before it runs. The model reads the objection as the call's result. To end the
            run instead, raise `GuardTripped`: the other calls of the turn finish first.
        hold: Whether nothing of a reply is shown before ``output`` agrees.
    """

    def __init__(
        self,
        *,
        input: Check[Sequence[Message]] | None = None,  # noqa: A002 - the word for it
        output: Check[Reply] | None = None,
        tool: Check[ToolRequest] | None = None,
        hold: bool = False,
    ) -> None:
        check_guard(input=input, output=output, tool=tool)
        self._input, self._output, self._tool, self._hold = input, output, tool, hold
        self._first = input is None or kind_of(input) != "async"

    async def around_run(self, run: Run[Any], inner: NextRun) -> RunState:  # noqa: ARG002, D102
        token = TRIPPED.set(tripped := list[GuardTripped]())
        try:
            state = await inner()
        finally:
            TRIPPED.reset(token)
        stop(*tripped)
        return state

    async def around_model(self, turn: ModelTurn, inner: NextModel) -> Reply:  # noqa: D102
        stop(*TRIPPED.get())
        held = Held(turn.emit)

        async def look() -> None:
            stop(await objection("input", self._input, unanswered(turn.request.messages)))
            if not self._hold:
                held.let_go()

        reply = await beside(look, lambda: inner(replace(turn, emit=held)), first=self._first)
        stop(await objection("output", self._output, reply))
        held.let_go()
        return reply

    async def around_tool(self, call: ToolRequest, inner: NextTool) -> ToolResult:  # noqa: D102
        try:
            objected = await objection("tool", self._tool, call)
        except GuardTripped as error:
            TRIPPED.get().append(objected := error)
        if objected is not None:
            raise ToolError(f"not allowed: {objected.reason}")
        return await inner(call)
