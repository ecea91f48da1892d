"""Calls that start while the reply is still streaming, if the run was asked for that.

Only tools that are marked ``read_only`` start early, as nobody knows yet whether the reply will finish well. A call of
the finished reply takes the result of the early one with the same name and the same arguments; what nobody takes is
cancelled and forgotten, like all that started for a reply that was cut off or is asked for again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar, cast

import anyio
from pydantic_core import from_json

from agentkit.chat.events import CallDelta, Emit, Event, RequestAdapted, Retrying
from agentkit.chat.messages import ToolCall
from agentkit.tools.result import ToolResult

__all__ = ["EarlyCalls", "Outcome", "Start"]

T = TypeVar("T")
Outcome: TypeAlias = tuple[ToolResult, list[Exception]]
"""What an early call came to: its result, and the unexpected exception behind it, if there was one."""
Start: TypeAlias = Callable[[ToolCall], Callable[[], Awaitable[Outcome]] | None]
"""Makes a call ready to start early, or says that it must wait; it must not block."""

_LONGEST = 64 * 1024  # characters of arguments that are looked at while they arrive


@dataclass(slots=True)
class _Early:
    """A call that has started."""

    name: str
    arguments: Any
    done: anyio.Event = field(default_factory=anyio.Event)
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    outcome: Outcome | None = None

    async def run(self, work: Callable[[], Awaitable[Outcome]]) -> None:
        with self.scope:
            self.outcome = await work()
        self.done.set()


class EarlyCalls:
    """The early calls of one run.

    Attributes:
        failures: What observers raised when a call told them something; it ends the run after the batch.
    """

    def __init__(self) -> None:
        self.failures: list[Exception] = []
        self._begun: dict[int, _Early] = {}
        self._names: dict[int, str] = {}
        self._written: dict[int, str] = {}
        self._complete: set[int] = set()
        self._started = 0  # in the whole run, so that no two early calls share an id

    async def around(self, body: Callable[[], Awaitable[T]]) -> T:
        """Run a run; what still runs at its end is cancelled."""
        failure: BaseException | None = None
        async with anyio.create_task_group() as self._tasks:
            try:
                return await body()
            except anyio.get_cancelled_exc_class():
                raise
            except BaseException as error:  # noqa: BLE001 - raised again where no group wraps it
                failure = error
            finally:
                self._tasks.cancel_scope.cancel()
        raise cast("BaseException", failure)

    def watch(self, emit: Emit, start: Start) -> Emit:
        """An ``emit`` for one request to the model that starts calls as their arguments become complete."""
        self._forget()

        def look(event: Event) -> None:
            emit(event)
            if isinstance(event, Retrying | RequestAdapted):
                self._forget()
            elif isinstance(event, CallDelta):
                self._add(event, start)

        return look

    async def take(self, call: ToolCall) -> Outcome | None:
        """What an early call of the same came to, or None if none has started."""
        arguments = _complete(call.written)
        for index, early in self._begun.items():
            if (early.name, early.arguments) == (call.name, arguments):
                del self._begun[index]
                await early.done.wait()
                return early.outcome
        return None

    def _add(self, piece: CallDelta, start: Start) -> None:
        before = self._written.get(piece.index, "")
        name = self._names.setdefault(piece.index, piece.name)
        if piece.index in self._begun or len(before) > _LONGEST:
            return
        text = self._written[piece.index] = before + piece.arguments
        if not piece.arguments.rstrip().endswith("}"):
            return
        arguments = _complete(text)
        if arguments is None:
            return
        self._complete.add(piece.index)
        if not self._complete.issuperset(range(piece.index)):
            return  # an earlier call is not known yet, and may have to run alone and first
        work = start(ToolCall(f"early_{self._started}", name, text))
        if work is not None:
            self._started += 1
            early = self._begun[piece.index] = _Early(name, arguments)
            self._tasks.start_soon(early.run, work)

    def _forget(self) -> None:
        for early in self._begun.values():
            early.scope.cancel()
        self._begun.clear()
        self._names.clear()
        self._written.clear()
        self._complete.clear()


def _complete(text: str) -> Any:
    """The object that a text is, or None."""
    try:
        value = from_json(text, allow_inf_nan=False)
    except (TypeError, ValueError):
        return None
    return cast("Any", value) if isinstance(value, dict) else None
