"""Work that is watched while it happens: its events as they come, and what it came to."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Generic, Self, TypeVar

import anyio
import anyio.abc

from agentkit.chat.events import Emit, Event, TextDelta
from agentkit.chat.reply import Reply
from agentkit.errors import ConfigError

__all__ = ["Channel", "ReplyStream"]

T = TypeVar("T")


class Channel(Generic[T]):
    """The events of some work, as they happen. ``async with`` starts the work; leaving it early cancels the work.

    Iterating ends when the work does, and raises what the work raised.

    Args:
        start: Does the work and tells what happens through the `Emit` that it is given.
    """

    def __init__(self, start: Callable[[Emit], Awaitable[T]]) -> None:
        self._start = start
        self._tasks: anyio.abc.TaskGroup | None = None
        self._ends: list[T] = []
        self._error: Exception | None = None

    async def __aenter__(self) -> Self:
        if self._tasks is not None:
            raise ConfigError("it was started before: each `async with` needs a stream of its own")
        # Without bound: the work must never wait for whoever watches it. What it can emit is bounded by its limits.
        self._send, self._receive = anyio.create_memory_object_stream[Event](math.inf)
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        self._tasks.start_soon(self._run)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._tasks is not None  # noqa: S101 - it was entered
        self._tasks.cancel_scope.cancel()
        try:
            # Only a cancellation is the task group's business: any other error it would wrap into an exception group.
            if isinstance(error, anyio.get_cancelled_exc_class()):
                await self._tasks.__aexit__(kind, error, traceback)
            else:
                await self._tasks.__aexit__(None, None, None)
        finally:
            self._receive.close()

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        if self._tasks is None:
            raise ConfigError("it was not started: write `async with ... as events:` and read the events inside")
        try:
            return await self._receive.receive()
        except anyio.ClosedResourceError:
            raise ConfigError("it was left before it ended: read its events inside the `async with`") from None
        except anyio.EndOfStream:
            if self._error is not None:
                raise self._error from None
            raise StopAsyncIteration from None

    async def text(self) -> AsyncIterator[str]:
        """Only the pieces of text."""
        async for event in self:
            if isinstance(event, TextDelta):
                yield event.text

    async def end(self) -> T:
        """Wait for the end and give what the work came to; events that nobody has read are dropped."""
        if not self._ends:
            async for _ in self:
                pass
        return self._ends[0]

    async def _run(self) -> None:
        with self._send:
            try:
                self._ends.append(await self._start(self._send.send_nowait))
            except Exception as error:  # noqa: BLE001 - it is raised to whoever iterates
                self._error = error


class ReplyStream(Channel[Reply]):
    """A reply as it is made. ``async with`` sends the request; leaving it early ends the reply.

    ::

        async with client.stream("Count to three.") as deltas:
            async for delta in deltas: ...  # TextDelta, ReasoningDelta, CallDelta, Retrying, RequestAdapted, ...
            reply = await deltas.reply()
    """

    async def reply(self) -> Reply:
        """Wait for the end and give the reply, the same that `ChatClient.create` gives; unread deltas are dropped.

        Raises:
            ModelError: There is no usable reply.
        """
        return await self.end()
