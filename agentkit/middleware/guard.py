"""`Guard`: your functions check what a model reads, answers and calls."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, Literal, TypeAlias, TypeVar

import anyio

from agentkit.chat import Reply
from agentkit.errors import AgentKitError, ConfigError, ToolError
from agentkit.events import DeltasDiscarded, Emit, Event
from agentkit.messages import AssistantMessage, Message, SystemMessage
from agentkit.run import Middleware, ModelTurn, NextModel, NextRun, NextTool, Run, RunState, ToolRequest
from agentkit.tools import ToolResult

__all__ = ["Guard", "GuardTripped"]

T = TypeVar("T")
Verdict: TypeAlias = bool | str | None
"""None or True if all is well; otherwise False or the reason."""
Check: TypeAlias = Callable[[T], Verdict | Awaitable[Verdict]]


class GuardTripped(AgentKitError):
    """A guard objected, which ended the run. A guard's function may raise it itself.

    Attributes:
        reason: The reason, in words.
        guard: ``"input"``, ``"output"`` or ``"tool"``.
        check: The name of the function.
    """

    def __init__(self, reason: str, *, guard: str = "", check: str = "") -> None:
        super().__init__(reason)
        self.reason, self.guard, self.check = reason, guard, check

    def __str__(self) -> str:
        return f"the {self.guard} guard {self.check} objected: {self.reason}" if self.guard else self.reason


class Guard(Middleware):
    """Calls your functions to check what goes in and out; what they object to does not happen.

    They return None or True if all is well, and False or the reason if not. They may be async; if not, they must return
    at once. An objection ends the run with `GuardTripped`, except for ``tool``. What was refused is never sent to a
    model later, not even from a session or ``history=``: a message of the user is left out, and a note takes the place
    of a result.

    Args:
        input: Receives the messages that no model has answered yet: the question, results of calls. If it is async, it
            runs alongside the request and can cancel it; nothing is shown before it agrees. If not, it runs first.
        output: Receives each finished `Reply`, before its calls run. Its deltas have been shown by then, and are
            discarded by a `DeltasDiscarded` event.
        tool: Receives each `ToolRequest` before it runs. The model reads the objection as the call's result. To end the
            run instead, raise `GuardTripped`: the other calls of the turn finish first.
        hold: Whether nothing of a reply is shown before ``output`` agrees.

    Raises:
        ConfigError: There is no function, or one is not a function.
    """

    def __init__(
        self,
        *,
        input: Check[Sequence[Message]] | None = None,  # noqa: A002 - the word of the API
        output: Check[Reply] | None = None,
        tool: Check[ToolRequest] | None = None,
        hold: bool = False,
    ) -> None:
        checks: dict[str, object] = {"input": input, "output": output, "tool": tool}
        if all(each is None for each in checks.values()):
            raise ConfigError("Guard() checks nothing: give it a function as input=, output= or tool=")
        for name, each in checks.items():
            if each is not None and not callable(each):
                raise ConfigError(f"Guard({name}={each!r:.80}): must be a function that returns a verdict")
        self._input, self._output, self._tool, self._hold = input, output, tool, hold
        is_async = inspect.iscoroutinefunction(input) or inspect.iscoroutinefunction(type(input).__call__)
        self._alongside = input is not None and is_async

    async def around_run(self, run: Run[Any], inner: NextRun) -> RunState:  # noqa: D102
        state = await inner()
        self._raise_tripped(run)
        return state

    async def around_model(self, turn: ModelTurn, inner: NextModel) -> Reply:  # noqa: D102
        self._raise_tripped(turn.run)
        held = _HeldEvents(turn.emit)

        async def judge_input() -> None:
            try:
                _raise(await _objection("input", self._input, _unanswered(turn.request.messages)))
            except GuardTripped:
                turn.run.state.refuse_input()
                raise
            if not self._hold:
                held.release()

        async def ask() -> Reply:
            return await inner(replace(turn, emit=held))

        if self._alongside:
            reply = await _alongside(judge_input, ask)
        else:
            await judge_input()
            reply = await ask()
        try:
            _raise(await _objection("output", self._output, reply))
        except GuardTripped:
            if not self._hold:
                turn.emit(DeltasDiscarded())
            raise
        held.release()
        return reply

    async def around_tool(self, call: ToolRequest, inner: NextTool) -> ToolResult:  # noqa: D102
        try:
            objection = await _objection("tool", self._tool, call)
        except GuardTripped as error:
            call.run.local.setdefault(self, []).append(objection := error)
        if objection is not None:
            raise ToolError(f"not allowed: {objection.reason}")
        return await inner(call)

    def _raise_tripped(self, run: Run[Any]) -> None:
        """Raise a `GuardTripped` that a function for tools has raised in this run."""
        for error in run.local.get(self, ()):
            raise error


class _HeldEvents:
    """An ``emit`` that holds events back until they are released."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._held: list[Event] | None = []

    def __call__(self, event: Event) -> None:
        if self._held is None:
            self._emit(event)
        else:
            self._held.append(event)

    def release(self) -> None:
        """Emit what was held back, and everything else at once from now on."""
        held, self._held = self._held or [], None
        for event in held:
            self._emit(event)


async def _objection(
    guard: Literal["input", "output", "tool"], check: Check[T] | None, value: T
) -> GuardTripped | None:
    """Return the objection of a check to a value.

    Raises:
        GuardTripped: The check raised it.
        TypeError: It returned something that is not a verdict and must not count as agreement.
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
            f"the {guard} guard {name} returned {verdict!r:.80}; it must return None or True "
            "if all is well, and False or the reason as a string if not"
        )
    return GuardTripped(verdict or "it gave no reason", guard=guard, check=name)


def _raise(objection: GuardTripped | None) -> None:
    if objection is not None:
        raise objection


def _unanswered(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Return the messages that no model has answered yet, without instructions."""
    answered = next((at for at in range(len(messages), 0, -1) if isinstance(messages[at - 1], AssistantMessage)), 0)
    return tuple(each for each in messages[answered:] if not isinstance(each, SystemMessage))


async def _alongside(check: Callable[[], Awaitable[None]], work: Callable[[], Awaitable[T]]) -> T:
    """Return the result of the work if the check agrees; whichever raises first cancels the other."""
    values: list[T] = []
    errors: list[Exception] = []  # raised outside the task group, which would wrap it in a group

    async def guarded(what: Callable[[], Awaitable[None]]) -> None:
        try:
            await what()
        except Exception as error:  # noqa: BLE001 - raised again below
            errors.append(error)
            tasks.cancel_scope.cancel()

    async def value() -> None:
        values.append(await work())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(guarded, check)
        await guarded(value)
    if errors:
        raise errors[0]
    return values[0]
