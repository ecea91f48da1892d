"""Streams: the events of some work as they happen, and its result."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from copy import copy
from io import StringIO
from types import TracebackType
from typing import Generic, Self, cast

import anyio

from agentkit.chat.background import BackgroundTask
from agentkit.chat.events import CallDelta, Emit, Event, ReasoningDelta, RefusalDelta, TextDelta
from agentkit.chat.log import log
from agentkit.chat.reply import Out, ParsedReply, Reply
from agentkit.errors import ConfigError

_BEHIND = 256  # with so many unread events, adjacent deltas are joined
_GRACE = 10.0  # seconds that cancelled work has to end before its caller continues
_JOINED: dict[type[Event], str] = {  # the kinds of deltas that can be joined, and the member that grows
    TextDelta: "text",
    ReasoningDelta: "text",
    RefusalDelta: "text",
    CallDelta: "arguments",
}


class _JoinedDelta:
    """Deltas that become one event when it is read."""

    __slots__ = ("_first", "_member", "_same", "_text")

    def __init__(self, first: Event) -> None:
        self._first, self._member = first, _JOINED[type(first)]
        self._same = ("index", "call_id", "name") if isinstance(first, CallDelta) else ()
        self._text = StringIO(newline="")  # unchanged: line ends are not translated
        self._text.write(getattr(first, self._member))

    def add(self, event: Event) -> bool:
        """Take an event, if it is of the same kind, origin and call."""
        first = self._first
        if type(event) is not type(first) or (event.origin or ())[:-1] != (first.origin or ())[:-1]:  # all but the time
            return False
        if any(getattr(event, name) != getattr(first, name) for name in self._same):
            return False
        self._text.write(getattr(event, self._member))
        return True

    def to_event(self) -> Event:
        event = copy(self._first)
        object.__setattr__(event, self._member, self._text.getvalue())  # it is frozen, but not shared yet
        return event


class Channel:
    """The events of some work, as they happen. ``async with`` starts the work; leaving it early cancels the work.

    The work has a task of its own, so any task may leave the block, in any way: leaving it cancels the work, waits for
    its end, and cancels nothing else. Iterating ends when the work does, and raises what the work raised. If waiting
    for the next event is cancelled, for example by a timeout, no event is lost: ask again.

    The work never waits for a slow reader. When many events are unread, deltas that follow one another and belong
    together become one event, so the backlog is proportional to the size of the reply, not to the number of its chunks.
    Other events are never joined, and none is dropped.

    Args:
        start: Does the work and reports what happens through its `Emit`.
        grace: Seconds that cancelled work has to end before the block is left without it.
    """

    def __init__(self, start: Callable[[Emit], Awaitable[None]], *, grace: float = _GRACE) -> None:
        self._start = start
        self._grace = grace
        self._events: deque[Event | _JoinedDelta] = deque()
        self._wake: anyio.Event | None = None  # set when there is something to read, or nothing more
        self._task: BackgroundTask | None = None
        self._cancelled = False
        self._left = False
        self._error: BaseException | None = None
        self._raised = False

    async def __aenter__(self) -> Self:
        if self._task is not None:
            raise ConfigError("this stream was started before: each `async with` needs a stream of its own")
        self._task = BackgroundTask(self._work, self._finish)
        if self._cancelled:
            self._task.cancel()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()
        if error is None and not isinstance(self._error, Exception) and not self._raised:
            self._raise_error()  # perhaps a SystemExit that nobody has read

    async def aclose(self) -> None:
        """Leave the stream: cancel the work, if it is not over, and wait for its end."""
        self._left = True
        if self._task is None:
            return
        self.cancel()
        if not await self._task.join(self._grace):
            log.warning("%r has not ended %g s after it was cancelled and is left to itself", self, self._grace)

    def cancel(self) -> None:
        """Cancel the work, without waiting for its end; events already reported can still be read.

        It may be called from any thread.
        """
        self._cancelled = True
        if self._task is not None:
            self._task.cancel()

    @property
    def unread(self) -> int:
        """The number of events that can be read without waiting."""
        return len(self._events)

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        task = self._task or self._started()
        if self._left:
            raise ConfigError("this stream was left: read its events inside the `async with`")
        while not self._events:
            if task.over:
                self._raise_error()
                raise StopAsyncIteration
            task.check_loop()
            self._wake = self._wake or anyio.Event()
            await self._wake.wait()
        event = self._events.popleft()
        return event.to_event() if isinstance(event, _JoinedDelta) else event

    def text(self, *, path: tuple[str, ...] = ()) -> AsyncIterator[str]:
        """Only the text, as it arrives, with a blank line between the texts of two turns.

        After a timeout it can be asked again, like the stream itself.

        Args:
            path: The names of the tool calls that lead to the nested run whose text is wanted; by default the text of
                the run itself.
        """
        return _Text(self, path)

    async def wait(self) -> None:
        """Wait until the work is over. Events that nobody has read can be read after it.

        Raises:
            AgentKitError: The work failed.
        """
        task = self._started()
        if not task.over:
            task.check_loop()
            await task.wait()
        self._raise_error()

    def _started(self) -> BackgroundTask:
        if self._task is None:
            raise ConfigError("this stream was not started: write `async with ... as events:` and read it inside")
        return self._task

    def _raise_error(self) -> None:
        if self._error is not None:
            self._raised = True
            raise self._error

    async def _work(self) -> None:
        try:
            await self._start(self._put)
        except anyio.get_cancelled_exc_class():
            raise
        except BaseException as error:  # noqa: BLE001 - it is raised to whoever reads
            self._error = error

    def _put(self, event: Event) -> None:
        if len(self._events) < _BEHIND or type(event) not in _JOINED:
            self._events.append(event)
        else:
            last = self._events[-1]
            if not isinstance(last, _JoinedDelta) or not last.add(event):
                self._events.append(_JoinedDelta(event))
        if self._wake is not None:
            self._notify()

    def _finish(self) -> None:
        self._notify()

    def _notify(self) -> None:
        if self._wake is not None:
            self._wake.set()
            self._wake = None


class TextFilter:
    """Picks the text of one run out of its events and those of nested runs."""

    def __init__(self, path: tuple[str, ...]) -> None:
        self._path, self._turn = path, 0

    def text_of(self, event: Event) -> str:
        """The text of an event, empty if it has none or belongs to another run."""
        if not isinstance(event, TextDelta) or (event.origin is not None and event.origin.path != self._path):
            return ""
        turn = 0 if event.origin is None else event.origin.turn
        begins, self._turn = self._turn not in (0, turn), turn
        return f"\n\n{event.text}" if begins else event.text


class _Text:
    """The text of a stream; not a generator, which would end when waiting for its next item is cancelled."""

    def __init__(self, stream: Channel, path: tuple[str, ...]) -> None:
        self._stream, self._filter = stream, TextFilter(path)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        while True:
            if text := self._filter.text_of(await anext(self._stream)):
                return text


class ReplyStream(Channel):
    """A reply as it is made. ``async with`` sends the request; leaving it early ends the reply.

    ::

        async with client.stream("Count to three.") as deltas:
            async for delta in deltas: ...  # TextDelta, ReasoningDelta, CallDelta, Retrying, RequestAdapted, ...
            reply = await deltas.reply()

    Args:
        ask: Makes the reply and reports what happens through its `Emit`.
        grace: Seconds that the request, left early, has to end.
    """

    def __init__(self, ask: Callable[[Emit], Awaitable[Reply]], *, grace: float = _GRACE) -> None:
        self._reply: Reply | None = None

        async def work(emit: Emit) -> None:
            self._reply = await ask(emit)

        super().__init__(work, grace=grace)

    async def reply(self) -> Reply:
        """Wait for the end and return the reply, the same that `ChatClient.create` returns.

        Raises:
            ModelError: There is no usable reply.
            ConfigError: The stream was cancelled or left before the reply was complete.
        """
        await self.wait()
        if self._reply is None:
            raise ConfigError(
                "this stream was cancelled or left early, so there is no reply: wait for it inside the block"
            )
        return self._reply

    def __repr__(self) -> str:
        state = "not started" if self._task is None else "complete" if self._reply is not None else "incomplete"
        return f"ReplyStream({state})"


class ParsedReplyStream(ReplyStream, Generic[Out]):
    """A reply as it is made, requested with a type for its answer."""

    async def reply(self) -> ParsedReply[Out]:
        """Wait for the end and return the reply, whose value is ``parsed``.

        Raises:
            ModelError: There is no usable reply, or no valid value in it.
            ConfigError: The stream was cancelled or left before the reply was complete.
        """
        return cast("ParsedReply[Out]", await super().reply())
