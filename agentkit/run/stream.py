"""A run that is watched while it happens."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType

import anyio

from agentkit.chat.events import Emit, Event, TextDelta
from agentkit.errors import ConfigError
from agentkit.run.state import RunResult, RunState

__all__ = ["RunStream"]


class RunStream:
    """The events of a run, as they happen. ``async with`` starts the run; leaving it early cancels the run.

    ::

        async with agent.stream("...") as events:
            async for event in events: ...
            result = await events.result()

    Iterating ends when the run does, and raises what the run raised.

    Attributes:
        state: The run so far, also after it was cancelled.
    """

    def __init__(self, state: RunState, start: Callable[[Emit], Awaitable[RunState]]) -> None:
        self.state = state
        self._start = start
        # Without bound: the loop must never wait for whoever watches it. What a run can emit is bounded by its limits.
        self._send, self._receive = anyio.create_memory_object_stream[Event](math.inf)
        self._result: RunResult | None = None
        self._error: Exception | None = None

    async def __aenter__(self) -> RunStream:
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        self._tasks.start_soon(self._run)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._tasks.cancel_scope.cancel()
        # An ordinary error of the body is left out, as the task group would wrap it into an exception group.
        ordinary = isinstance(error, Exception)
        try:
            await (
                self._tasks.__aexit__(None, None, None) if ordinary else self._tasks.__aexit__(kind, error, traceback)
            )
        finally:
            self._receive.close()

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        try:
            return await self._receive.receive()
        except anyio.ClosedResourceError:
            raise ConfigError("the run was left before it ended: read its events inside the `async with`") from None
        except anyio.EndOfStream:
            if self._error is not None:
                raise self._error from None
            raise StopAsyncIteration from None

    async def text(self) -> AsyncIterator[str]:
        """Only the pieces of text."""
        async for event in self:
            if isinstance(event, TextDelta):
                yield event.text

    async def result(self) -> RunResult:
        """Wait for the end and give the result; events that nobody has read are dropped.

        Raises:
            AgentKitError: The run failed.
        """
        if self._result is None:
            async for _ in self:
                pass
        assert self._result is not None  # noqa: S101 - the stream ends with a result or with an error
        return self._result

    async def _run(self) -> None:
        with self._send:
            try:
                self._result = RunResult(await self._start(self._send.send_nowait))
            except Exception as error:  # noqa: BLE001 - it is raised to whoever iterates
                self._error = error
