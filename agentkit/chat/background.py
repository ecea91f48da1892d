"""A task that no block of the caller holds open.

A task group that stays open across a user's ``yield`` cancels the user's own task when the generator is left early, and
cannot be left from another task. So the work behind a stream is not a child of the task that reads it: on asyncio it is
a task of the event loop, on trio a system task. Nothing else starts a task outside of a task group.
"""

from __future__ import annotations

import contextvars
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from anyio.lowlevel import EventLoopToken, checkpoint_if_cancelled, current_token

from agentkit.errors import ConfigError

_tasks: set[object] = set()  # an event loop of asyncio refers to its tasks only weakly


class BackgroundTask:
    """Work that starts now in a task of its own, with the context variables of the code that starts it.

    Args:
        work: The work. It handles its own errors: only a cancellation may leave it.
        on_end: Called in the event loop once the work is over, even if it was cancelled before its first step.
    """

    def __init__(self, work: Callable[[], Awaitable[None]], on_end: Callable[[], None]) -> None:
        self._work = work
        self._on_end = on_end
        self._token = current_token()
        self._scope = anyio.CancelScope()
        self._over = anyio.Event()
        loop: Any = self._token.native_token
        if hasattr(loop, "create_task"):
            task = loop.create_task(self._run())
            _tasks.add(task)
            task.add_done_callback(self._end)
        else:
            import trio  # noqa: PLC0415 - it is installed if this runs on it, and only then

            trio.lowlevel.spawn_system_task(self._run_on_trio, context=contextvars.copy_context())

    @property
    def over(self) -> bool:
        """True if the work has ended."""
        return self._over.is_set()

    def cancel(self) -> None:
        """Cancel the work; may be called from any thread, and does not wait."""
        if not self._over.is_set():
            call_in_loop(self._token, self._scope.cancel)

    def check_loop(self) -> None:
        """Check that the caller runs in the event loop of the work.

        Raises:
            ConfigError: It does not, and would wait forever.
        """
        if current_token() != self._token:
            raise ConfigError("a stream must be read in the event loop that started it")

    async def wait(self) -> None:
        """Wait until the work is over."""
        await self._over.wait()

    async def join(self, seconds: float) -> bool:
        """Wait until the work is over, even while the waiting task is being cancelled.

        Args:
            seconds: The longest time to wait.

        Returns:
            Whether the work is over.
        """
        cancelled: BaseException | None = None
        with anyio.move_on_after(seconds, shield=True) as patience:
            while not self._over.is_set():
                try:
                    await self._over.wait()
                except anyio.get_cancelled_exc_class() as error:
                    if patience.cancel_called:
                        raise
                    cancelled = error  # `Task.cancel()` of asyncio, which no shield keeps out
        if cancelled is not None:
            raise cancelled
        return self._over.is_set()

    async def _run(self) -> None:
        with self._scope:
            await checkpoint_if_cancelled()  # it may have been cancelled before its first step
            await self._work()

    async def _run_on_trio(self) -> None:
        try:
            await self._run()
        finally:
            self._end()

    def _end(self, task: object = None) -> None:
        _tasks.discard(task)
        self._over.set()
        self._on_end()


def call_in_loop(token: EventLoopToken, function: Callable[[], None]) -> None:
    """Call a function in an event loop: at once from within it, soon from another thread, never if it has ended."""
    try:
        here = current_token() == token
    except RuntimeError:  # this thread runs no event loop
        here = False
    if here:
        function()
        return
    loop: Any = token.native_token
    schedule = getattr(loop, "call_soon_threadsafe", None) or loop.run_sync_soon  # asyncio or trio
    try:
        schedule(function)
    except RuntimeError:
        return  # the event loop has ended, and with it all of its tasks
