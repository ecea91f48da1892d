"""Runs functions that are not async in a worker thread, or in a process of its own.

A program does not wait for these threads when it ends. trio's are such threads; anyio's on asyncio are not: one that
hangs would keep the interpreter from ending. So asyncio gets threads of this module, and `anyio.from_thread` works in
them as in anyio's.

anyio pickles what passes between two processes. Both are this program, and nothing that a model wrote is unpickled:
only validated values, on their way to the function that declared their types, and what that function returned, which is
tried out first, as it may not survive the way back. This program reads no other pickle (I8). The function itself is
found by its name in its module, never by a name that a model could choose.

The other process imports the script that was started, under the name ``__mp_main__``. A script that runs agents outside
of ``if __name__ == "__main__":`` would run them there once more; `check_process` ends it instead. It also refuses to
run an agent inside a tool's process: the limits of the outer run could not count what it uses.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import math
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext, suppress
from contextvars import ContextVar, copy_context
from dataclasses import replace
from queue import Empty, SimpleQueue
from types import FunctionType
from typing import Any, NamedTuple, TypeVar, cast

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread

from agentkit.errors import ConfigError, DefinitionError, ModelRetry, ToolError
from agentkit.tools.result import ToolResult, to_result
from agentkit.tools.signature import name_of

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
    done, outcome, context = anyio.Event(), Future[T](), copy_context()
    if sniffio := sys.modules.get("sniffio"):  # the function may open a loop of its own
        context.run(sniffio.current_async_library_cvar.set, None)
    with anyio.CancelScope() as scope:

        def job() -> None:
            known.current_token, known.current_cancel_scope = token, scope
            try:
                outcome.set_result(context.run(work))
            except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
                outcome.set_exception(error)
            finally:
                del known.current_token, known.current_cancel_scope

        try:
            worker = _IDLE.pop()
        except IndexError:
            worker = _Worker()
        worker.jobs.put((job, lambda: soon(done.set)))
        await done.wait()
    return outcome.result()


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
            _IDLE.append(self)  # first, so that it is there when the report arrives
            with suppress(RuntimeError):  # the loop is closed: nobody waits
                report()
            del job, report  # nothing of the call lives on in a thread that waits


_IDLE: list[_Worker] = []

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_IDLE.clear)  # a child has none of its parent's threads


# Processes.

around_process_call: ContextVar[Callable[[], AbstractContextManager[object]]] = ContextVar(
    "agentkit_around_process_call", default=nullcontext
)
"""Makes the context manager in which a call runs in its process. It is sent there: a function of a module, or a partial
of one. A middleware sets it around a tool call, so that a trace continues there."""

_UNGUARDED = (
    "the script runs agents also when a process for tools imports it: "
    'put what it does under `if __name__ == "__main__":`'
)


_RUNNING: list[str] = []  # in a process for tools: the function that it runs; what that starts later counts as well


class _Named(NamedTuple):
    """A function by its location, because ``@tool`` put a `Tool` where pickle would look for it."""

    module: str
    path: str

    def find(self) -> Callable[..., Any]:
        found: Any = importlib.import_module(self.module)
        for step in self.path.split("."):
            found = getattr(found, step)
        return cast("Callable[..., Any]", getattr(found, "function", found))


def check_portable(function: Callable[..., Any], name: str) -> None:
    """Refuse a function that another process could not find.

    Raises:
        DefinitionError: It was made inside another function.
    """
    if isinstance(function, FunctionType) and "<" in function.__qualname__:
        raise DefinitionError(
            f"tool {name!r}: process=True needs a function of a module, and {function.__qualname__} is inside another"
        )
    if function.__module__ == "__main__" and not hasattr(sys.modules.get("__main__"), "__file__"):
        raise DefinitionError(
            f"tool {name!r}: process=True needs a function of a file, which another process can import"
        )


def check_process() -> None:
    """Refuse to run an agent in a process for tools.

    Raises:
        SystemExit: The process imports the script, which runs an agent on import; the process that started it says so.
        ConfigError: A tool with ``process=True`` runs an agent.
    """
    frame = inspect.currentframe() if "__mp_main__" in sys.modules else None
    while frame is not None:
        if frame.f_code.co_name == "<module>" and frame.f_globals.get("__name__") == "__mp_main__":
            raise SystemExit(_UNGUARDED)
        frame = frame.f_back
    if _RUNNING:
        raise ConfigError(
            f"{_RUNNING[0]} runs an agent in another process, where the limits of its run cannot count it: "
            "make it async, or take process=True off"
        )


async def open_process() -> None:
    """Have a process ready, so that its start neither counts as time of a call nor is cancelled with one.

    anyio leaves a process behind if its start is cancelled.

    Raises:
        RuntimeError: It did not start, usually because the script cannot be imported.
    """
    from anyio import to_process  # noqa: PLC0415 - it loads what starts processes, and few programs need it

    check_process()
    sys.modules.setdefault("__mp_main__", sys.modules["__main__"])  # where classes of the script come back from
    with anyio.CancelScope(shield=True):
        try:
            await to_process.run_sync(bool, limiter=anyio.CapacityLimiter(math.inf))
        except anyio.BrokenWorkerProcess as error:
            why = error.__cause__ or error
            reason = str(why) if isinstance(why, SystemExit) else f"{type(why).__name__}: {why}"
            raise RuntimeError(f"no process for the tool could be started; {reason}") from error


async def run_in_process(call: functools.partial[Any]) -> ToolResult:
    """Call the function in another process, which is killed if this is cancelled."""
    function: Callable[..., Any] = call.func
    portable = _Named(function.__module__, function.__qualname__) if isinstance(function, FunctionType) else function
    from anyio import to_process  # noqa: PLC0415 - as above

    limiter = anyio.CapacityLimiter(math.inf)  # the call has its permit already
    work = functools.partial(_perform, portable, call.args, call.keywords, around_process_call.get())
    return await to_process.run_sync(work, cancellable=True, limiter=limiter)


def _perform(
    function: _Named | Callable[..., Any],
    args: tuple[Any, ...],
    keywords: dict[str, Any],
    around: Callable[[], AbstractContextManager[object]],
) -> ToolResult:
    found = function.find() if isinstance(function, _Named) else function
    _RUNNING[:] = [name_of(found)]
    try:
        with around():
            result = to_result(found(*args, **keywords))
    except Exception as error:
        if _travels(error):
            raise
        kind = next((kind for kind in (ModelRetry, ToolError) if isinstance(error, kind)), None)  # for the model
        raise (kind(str(error)) if kind else RuntimeError(f"{type(error).__name__}: {error}")) from None
    except BaseException as error:  # it would end the process, and say nothing
        raise RuntimeError(f"the tool raised {type(error).__name__}") from error
    if not _travels(result.metadata):
        result = replace(result, metadata={})
    return result if _travels(result.data) else replace(result, data=None)


def _travels(value: object) -> bool:
    """Return True if it can be sent to the parent process: the function has run, and its result must not be lost."""
    from multiprocessing.reduction import ForkingPickler  # noqa: PLC0415 - only in the other process

    pickler: Any = ForkingPickler  # its stub takes `loads` for a method
    try:
        pickler.loads(pickler.dumps(value))
    except Exception:  # noqa: BLE001 - a value brings code of its own
        return False
    return True
