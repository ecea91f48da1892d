"""Worker threads that a program does not wait for when it ends.

trio's worker threads are such threads. On asyncio, anyio's are not: one that hangs would keep the interpreter from
ending. So this module has threads of its own for asyncio, and `anyio.from_thread` works in them as in anyio's.
"""

from __future__ import annotations

import math
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from contextvars import Context, copy_context
from queue import Empty, SimpleQueue
from typing import TypeVar

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread

__all__ = ["run_in_thread"]

T = TypeVar("T")

_LONGEST_IDLE = 10.0  # seconds that a thread waits for more to do


async def run_in_thread(work: Callable[[], T]) -> T:
    """Call a function in a worker thread, with the caller's context variables. Cancelling leaves the thread alone."""
    token = anyio.lowlevel.current_token()
    soon = getattr(token.native_token, "call_soon_threadsafe", None)  # an asyncio loop has it
    known = getattr(anyio.from_thread, "threadlocals", None)  # how anyio knows a thread as its own; not public
    await anyio.lowlevel.checkpoint()
    if soon is None or known is None:
        # The call has its permit already. anyio's own limiter would, on trio, count threads that never end.
        return await anyio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(math.inf))
    done, outcome, context = anyio.Event(), Future[T](), _outside_of_the_loop()
    with anyio.CancelScope() as scope:

        def job() -> None:
            known.current_token, known.current_cancel_scope = token, scope
            try:
                outcome.set_result(context.run(work))
            except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
                outcome.set_exception(error)
            finally:
                del known.current_token, known.current_cancel_scope

        _hand_over(job, lambda: soon(done.set))
        await done.wait()
    return outcome.result()


def _outside_of_the_loop() -> Context:
    """The context of the caller, but not as one of code in an event loop: a function may open a loop of its own."""
    context = copy_context()
    sniffio = sys.modules.get("sniffio")  # if anything has set what is reset here, it is imported
    if sniffio is not None:
        context.run(sniffio.current_async_library_cvar.set, None)
    return context


# Threads that have nothing to do wait here for more, those of all event loops together.


class _Worker:
    __slots__ = ("jobs",)

    def __init__(self) -> None:
        self.jobs = SimpleQueue[tuple[Callable[[], object], Callable[[], object]]]()
        threading.Thread(target=self._work, name="agentkit tool", daemon=True).start()

    def _work(self) -> None:
        while True:
            try:
                job, report = self.jobs.get(timeout=_LONGEST_IDLE)
            except Empty:
                with suppress(ValueError):  # it has just been taken: there is something to do
                    _IDLE.remove(self)
                    return
                continue
            job()
            _IDLE.append(self)  # first, so that whoever waits for the report finds it
            with suppress(RuntimeError):  # the loop is closed: nobody waits
                report()
            del job, report  # nothing of the call lives on in a thread that waits


_IDLE: list[_Worker] = []

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_IDLE.clear)  # a child has none of its parent's threads


def _hand_over(job: Callable[[], object], report: Callable[[], object]) -> None:
    """Have the job done by a thread that has nothing to do, or a new one; ``report`` is called after it."""
    try:
        worker = _IDLE.pop()
    except IndexError:
        worker = _Worker()
    worker.jobs.put((job, report))
