"""Runs in code that is not async: one event loop, in a thread of its own, serves all calls.

Connections belong to an event loop, so they stay open between calls. This works in a script, in any thread, and inside
a running event loop, such as a notebook's, which is blocked meanwhile.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import weakref
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import CancelledError, Future, wait
from contextlib import suppress
from types import TracebackType
from typing import Any, Generic, ParamSpec, Protocol, Self, TypeVar

import anyio
from anyio.from_thread import BlockingPortal
from anyio.lowlevel import current_token

from agentkit.chat.background import call_in_loop
from agentkit.chat.events import Event
from agentkit.chat.stream import TextFilter
from agentkit.chat.transport.http import close_connections
from agentkit.errors import ConfigError, Interrupted
from agentkit.run.inputs import Prompt
from agentkit.run.state import RunResult, RunState
from agentkit.run.stream import RunStream

P = ParamSpec("P")
T = TypeVar("T")
Out = TypeVar("Out")
log = logging.getLogger("agentkit")

_GRACE = 10.0  # seconds that a call has to end after Ctrl-C
_AT_EXIT = 5.0  # seconds that open runs and connections have to end when the program does
_SLICE = 0.1 if sys.platform == "win32" else None  # seconds; there, Ctrl-C does not interrupt a wait


class Closable(Protocol):
    """Anything that holds something open in an event loop."""

    async def aclose(self) -> None:
        """Close it."""
        ...


class BackgroundLoop:
    """An event loop in a daemon thread."""

    def __init__(self) -> None:
        self._opened: Future[BlockingPortal] = Future()
        self._resources: weakref.WeakKeyDictionary[Closable, None] = weakref.WeakKeyDictionary()  # in order
        self._thread = threading.Thread(target=self._main, name="agentkit", daemon=True)
        self._thread.start()
        self._portal = self._opened.result()

    @property
    def alive(self) -> bool:
        """True if it is running; never in a forked process."""
        return self._thread.is_alive()

    def call(self, work: Callable[[], Awaitable[T]], *, grace: float = _GRACE) -> T:
        """Run something in the loop and wait for it, with the context variables of the caller.

        Args:
            work: What to run.
            grace: Seconds that the work has to end after Ctrl-C.

        Raises:
            ConfigError: The caller runs in this loop, which would wait for itself, or in another process.
            KeyboardInterrupt: Ctrl-C; the work was cancelled.
        """
        if not self.alive:
            raise ConfigError("this stream belongs to the event loop of another process, or the program is ending")
        if threading.current_thread() is self._thread:
            raise ConfigError(
                "run_sync, stream_sync and call_sync cannot be used in an async function that one of them runs, as "
                "it would wait for itself: await the async method instead, for example `await agent.run(...)`"
            )
        call = _Call(work)
        try:
            self._portal.start_task_soon(call.perform)
            while not call.outcome.done():
                wait([call.outcome], _SLICE)
            return call.outcome.result()
        except KeyboardInterrupt:
            if not call.outcome.done():
                call_in_loop(self._token, call.cancel)
                wait([call.outcome], grace)
            raise

    def close_later(self, resource: Closable) -> None:
        """Close a resource when the loop ends, before those that were added earlier."""
        self._resources.setdefault(resource)

    def close(self) -> None:
        """End the loop: cancel all work and close all resources, within some seconds."""
        call_in_loop(self._token, self._end.set)
        self._thread.join(_AT_EXIT)

    def _main(self) -> None:
        try:
            anyio.run(self._serve)
        except BaseException as error:  # noqa: BLE001 - raised to whoever waits for the loop
            if not self._opened.done():
                self._opened.set_exception(error)

    async def _serve(self) -> None:
        self._token, self._end = current_token(), anyio.Event()
        async with BlockingPortal() as portal:
            self._opened.set_result(portal)
            await self._end.wait()
            await portal.stop(cancel_remaining=True)
        with anyio.move_on_after(_AT_EXIT):
            for resource in reversed(list(self._resources)):
                try:
                    await resource.aclose()
                except Exception:
                    log.exception("%r could not be closed at the end of the program", resource)
            await close_connections()


class _Call(Generic[T]):
    """A call on its way through the loop."""

    def __init__(self, work: Callable[[], Awaitable[T]]) -> None:
        self.outcome: Future[T] = Future()
        self._work = work
        self._scope: anyio.CancelScope | None = None
        self._cancelled = False

    async def perform(self) -> None:
        try:
            with anyio.CancelScope() as self._scope:
                if self._cancelled:
                    self._scope.cancel()
                self.outcome.set_result(await self._work())
        except anyio.get_cancelled_exc_class():
            raise
        except BaseException as error:  # noqa: BLE001 - a SystemExit, too, is the caller's and must not end the loop
            self.outcome.set_exception(error)
        finally:
            if not self.outcome.done():
                self.outcome.set_exception(CancelledError())

    def cancel(self) -> None:
        self._cancelled = True
        if self._scope is not None:
            self._scope.cancel()


_loops: list[BackgroundLoop] = []  # the last one is in use; a forked process must not touch the others
_lock = threading.Lock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


def background_loop() -> BackgroundLoop:
    """The event loop of all synchronous calls of this process, started by the first of them."""
    with _lock:
        if not _loops or not _loops[-1].alive:
            _loops.append(BackgroundLoop())
        return _loops[-1]


@atexit.register
def close_background_loop() -> None:
    """End that event loop, if there is one."""
    if _loops and _loops[-1].alive:
        _loops[-1].close()


def call_sync(function: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Call an async function from code that is not async, and wait for its result.

    ::

        client = ChatClient("http://127.0.0.1:8000/v1", model="qwen3")
        print(call_sync(client.create, "Hello?").text)

    All such calls share one event loop, in a thread of its own, so connections stay open between them. The function
    sees the context variables of the caller. This works inside a running event loop too, which is blocked meanwhile.

    Args:
        function: The async function or method.
        *args: Its arguments.
        **kwargs: Its keyword arguments.

    Raises:
        ConfigError: The caller is an async function that such a call runs: `await` the function instead.
        KeyboardInterrupt: Ctrl-C; the function was cancelled.
    """
    return background_loop().call(lambda: function(*args, **kwargs))


def run_blocking(start: Callable[[], Awaitable[T]], *, state: RunState, owner: Closable) -> T:
    """Run and wait for the end.

    Args:
        start: Starts the run.
        state: The state of the run, given to the error when it is interrupted.
        owner: The agent, closed when the program ends.

    Raises:
        Interrupted: Ctrl-C; the run was cancelled.
    """
    loop = background_loop()
    loop.close_later(owner)
    try:
        return loop.call(start)
    except KeyboardInterrupt:
        raise Interrupted(state) from None


class SyncRunStream(Generic[Out]):
    """The events of a run as they happen, for code that is not async.

    ::

        with agent.stream_sync("...") as stream:
            for event in stream: ...
            result = stream.result()

    The run begins with the ``with`` or, without one, when the first event is requested. Leaving the block early cancels
    the run and waits for its end; leaving a loop without ``with`` early cancels it too, but does not wait.

    Args:
        stream: The stream to read.
    """

    def __init__(self, stream: RunStream[Out]) -> None:
        self._stream = stream
        self._loop: BackgroundLoop | None = None
        self._read: deque[Event] = deque()

    def __repr__(self) -> str:
        return f"Sync{self._stream!r}"

    def __enter__(self) -> Self:
        if self._loop is not None:
            raise ConfigError("this stream was started before: each `with` needs a stream of its own")
        self._open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._read.clear()
        self._call(lambda: self._stream.__aexit__(kind, error, traceback))

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        async def read() -> None:
            async for event in self._stream:
                self._read.append(event)
                if not self._stream.unread:  # all available ones, because each trip into the loop and back costs time
                    return

        if not self._read:
            self._call(read)
        if not self._read:
            raise StopIteration
        return self._read.popleft()

    def __del__(self) -> None:
        if self._loop is not None and self._loop.alive:
            self._stream.cancel()

    @property
    def state(self) -> RunState:
        """The state of the run so far, also after it was cancelled."""
        return self._stream.state

    def text(self, *, path: tuple[str, ...] = ()) -> Iterator[str]:
        """Return an iterator of the text only; see `RunStream.text`."""
        wanted = TextFilter(path)
        return filter(None, map(wanted.text_of, self))

    def output(self) -> Iterator[Any]:
        """Return an iterator of the output as it grows, and in the end the output itself; see `RunStream.output`."""
        drafts, end = self._stream.output(), object()

        async def read() -> Any:
            return await anext(drafts, end)

        return iter(lambda: self._call(read), end)

    def result(self) -> RunResult[Out]:
        """Wait for the end and return the result; see `RunStream.result`."""
        return self._call(self._stream.result)

    def send(self, prompt: Prompt) -> None:
        """Send a message to the running run; see `RunStream.send`."""

        async def send() -> None:
            self._stream.send(prompt)

        self._call(send)

    def cancel(self) -> None:
        """Cancel the run without waiting for its end; see `RunStream.cancel`."""
        self._stream.cancel()

    def close(self) -> None:
        """Cancel the run if it is still running, and wait for its end."""
        self._read.clear()
        if self._loop is not None:
            self._call(self._stream.aclose)

    def _open(self) -> BackgroundLoop:
        if self._loop is None:
            self._loop = background_loop()
            self._loop.close_later(self._stream)
            self._loop.call(self._stream.__aenter__)
        return self._loop

    def _call(self, work: Callable[[], Awaitable[T]]) -> T:
        try:
            return self._open().call(work)
        except KeyboardInterrupt:
            with suppress(KeyboardInterrupt):  # pressed again: nobody wants to wait
                self._open().call(self._stream.aclose, grace=0)
            raise Interrupted(self.state) from None
