"""Runs a tool's function: its turn, its tries, its deadline, and where it runs.

Each step adds one thing to the next: permits, tries, the deadline, and the event loop, the thread or the process in
which the function is called. Whatever the function raises becomes an exception of the tool: nothing that it does ends
the program.
"""

from __future__ import annotations

import functools
import inspect
import sys
import threading
import time
import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator, Iterator
from contextlib import aclosing, closing
from typing import Any, Literal, NamedTuple, TypeAlias, cast

import anyio

from agentkit.chat.events import Event
from agentkit.chat.log import log
from agentkit.errors import DefinitionError, RunPaused, ToolError
from agentkit.tools.context import CallRetried, EventLoopBlocked, Progress, ThreadAbandoned, ToolContext
from agentkit.tools.options import PROCESSES, THREADS, Execution, Mark, acquire_tool_permit, acquire_worker_permit
from agentkit.tools.result import ToolResult, to_result
from agentkit.tools.workers import check_portable, open_process, run_in_process, run_in_thread

Kind: TypeAlias = Literal["plain", "async", "generator", "async generator"]
_Run: TypeAlias = Callable[[], Awaitable[ToolResult]]

_FIRST_WAIT, _LONGEST_WAIT = 0.1, 5.0
_BLOCKED = 2.0  # seconds after which a tool that blocks the event loop is reported
_MOST_ABANDONED, _MOST_ABANDONED_IN_ALL = 32, 128  # threads of calls that timed out: of one tool, of the process


def kind_of(function: Callable[..., Any]) -> Kind:
    """Return the kind of value that calling the function returns."""
    call = getattr(function, "__call__", None)  # noqa: B004 - its own kind is asked for, not whether there is one
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call):
        return "async"
    written = inspect.unwrap(function)  # a decorator hides that a function yields
    if inspect.isasyncgenfunction(written) or inspect.isasyncgenfunction(call):
        return "async generator"
    return "generator" if inspect.isgeneratorfunction(written) or inspect.isgeneratorfunction(call) else "plain"


def check_place(how: Execution, function: Callable[..., Any], name: str) -> None:
    """Refuse options that say that a function runs where it cannot.

    Raises:
        DefinitionError: One of them does.
    """
    if how.thread and not how.process:
        return
    kind = kind_of(function)
    if kind in ("async", "async generator"):
        option = "process=True" if how.process else "thread=False"
        raise DefinitionError(f"tool {name!r} is async and runs in the event loop: {option} does not apply")
    if how.process and kind == "generator":
        raise DefinitionError(f"tool {name!r} is a generator: another process cannot report its progress")
    if how.process:
        check_portable(function, name)


async def run_function(
    how: Execution, kind: Kind, context: ToolContext[Any], call: functools.partial[Any]
) -> ToolResult:
    """Run a call of a tool's function when it is its turn.

    Args:
        how: The tool's options.
        kind: What the function returns, see `kind_of`.
        context: The call's context, with an ``emit`` that threads can use.
        call: The function with its arguments.

    Raises:
        ToolError: The function raised it, or took too long, or too many calls of it that timed out still run.
        Exception: Any other exception that the function raised.
    """
    is_limited = how.group or how.max_concurrency is not None or how.rate is not None
    permit = await acquire_tool_permit(how) if is_limited else None
    try:
        return await _Call(how, kind, context, call).with_worker()
    finally:
        if permit is not None:
            permit.release()


class _Call(NamedTuple):
    """A call on its way to the function, through the methods in this order."""

    how: Execution
    kind: Kind
    context: ToolContext[Any]
    call: functools.partial[Any]

    async def with_worker(self) -> ToolResult:
        """Wait for a thread or a process if one is needed; the time of the call does not run meanwhile."""
        if self.kind in ("async", "async generator") or not self.how.thread:
            return await self.with_tries(lambda: self.in_loop(self.called))
        permit = await acquire_worker_permit(PROCESSES if self.how.process else THREADS)
        try:
            if self.how.process:
                await open_process()
                return await self.with_tries(lambda: run_in_process(self.call))
            return await self.with_tries(self.in_thread)
        finally:
            permit.release()

    async def with_tries(self, run: _Run) -> ToolResult:
        """Repeat a failed call if it may run twice. An error that a tool raises on purpose is not a failure."""
        tries = self.how.retries if self.how.idempotent else 0
        for attempt in range(1, tries + 1):
            try:
                return await self.in_time(run)
            except (ToolError, RunPaused):
                raise
            except Exception as error:  # noqa: BLE001 - a tool may raise anything; the last try lets it out
                wait = min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** (attempt - 1))
                self.context.emit(CallRetried(self.context.call_id, self.context.tool, attempt, wait, error))
            await anyio.sleep(wait)
        return await self.in_time(run)

    async def in_time(self, run: _Run) -> ToolResult:
        """Set the deadline. A later result does not count, even if the tool has swallowed the cancellation."""
        if self.how.timeout is None:
            return await self.giving_up(run)
        with anyio.CancelScope(deadline=anyio.current_time() + self.how.timeout) as scope:
            try:
                result = await self.giving_up(run)
            except Exception:
                if not scope.cancel_called:
                    raise
            else:
                if not scope.cancel_called:
                    return result
                self.context.give_up()
        raise ToolError(f"timed out after {self.how.timeout:g} seconds; it is not known whether it had any effect")

    async def giving_up(self, run: _Run) -> ToolResult:
        """Let the tool know when nobody is waiting for it any longer."""
        try:
            return await run()
        except Exception:
            raise
        except BaseException:
            self.context.give_up()
            raise

    async def in_loop(self, run: Callable[[], Coroutine[Any, Any, ToolResult]]) -> ToolResult:
        """Run it in the event loop; the loop's own exceptions pass through."""
        try:
            return await _Watched(run(), self.context)
        except BaseExceptionGroup as group:
            if any(_is_from_outside(each) for each in _leaves(group)):
                raise
            raise _ungrouped(group) from group
        except Exception:
            raise
        except BaseException as error:
            if _is_from_outside(error):
                raise
            raise _as_failure(error) from error

    async def called(self) -> ToolResult:
        """Call the function in the event loop.

        An async generator yields progress and, last, its result: it has no other way to return one.
        """
        value = self.call()
        if self.kind == "async generator" and isinstance(value, AsyncGenerator):
            last: Any = None
            async with aclosing(cast("AsyncGenerator[Any, None]", value)) as values:
                async for last in values:
                    self.report(last)
            return to_result(last)
        if self.kind == "generator" and isinstance(value, Generator):
            value = self.driven(cast("Generator[Any, None, Any]", value))
        elif self.kind == "async" or inspect.isawaitable(value):
            value = await value
        return to_result(value)

    async def in_thread(self) -> ToolResult:
        """Run it in a thread, which keeps running when nobody is waiting for it any longer."""
        running = _ThreadCall(self.how.mark)
        try:
            value = await run_in_thread(functools.partial(self.called_in_thread, running))
        except Exception:
            raise
        except BaseException:
            if running.abandon():
                log.warning(
                    "tool %s was abandoned, but its thread still runs",
                    self.context.tool,
                    extra=self.context.fields,
                )
                self.context.emit(ThreadAbandoned(self.context.call_id, self.context.tool))
            raise
        return value if isinstance(value, ToolResult) else await self.in_loop(value.result)

    def called_in_thread(self, running: _ThreadCall) -> ToolResult | _Awaitable:
        """Call the function and write its result here, where a lazy one may block; an awaitable is left to the loop."""
        try:
            value = self.call()
            if self.kind == "generator" and isinstance(value, Generator):
                value = self.driven(cast("Generator[Any, None, Any]", value))
            return _Awaitable(value) if inspect.isawaitable(value) else to_result(value)
        except BaseExceptionGroup as group:
            raise _ungrouped(group) from group
        except StopIteration as error:  # a future cannot carry it
            raise _as_failure(error) from error
        except Exception:
            raise
        except (
            BaseException
        ) as error:  # no signal and no cancellation reaches a worker thread: it is the function's own
            raise _as_failure(error) from error
        finally:
            running.end()

    def driven(self, values: Generator[Any, None, Any]) -> Any:
        """Run a generator that yields progress and returns the result. In a thread, stop once the call is abandoned."""
        with closing(values):
            while True:
                try:
                    value = next(values)
                except StopIteration as stop:
                    return stop.value
                if self.context.cancelled:
                    return None  # to nobody
                self.report(value)

    def report(self, value: object) -> None:
        """Emit what a generator yielded."""
        context = self.context
        match value:
            case Event():
                context.emit(value)
            case bool():
                context.emit(Progress(context.call_id, context.tool, None, "", value))
            case int() | float() if 0 <= value <= 1:
                context.progress(value)
            case str():
                context.progress(None, value)
            case _:
                context.emit(Progress(context.call_id, context.tool, None, "", value))


class _Watched(NamedTuple):
    """Awaits a coroutine step by step, so that a step which blocks the event loop is reported with its tool."""

    coroutine: Coroutine[Any, Any, ToolResult]
    context: ToolContext[Any]

    def __await__(self) -> Generator[Any, Any, ToolResult]:
        step: Callable[[], Any] = functools.partial(self.coroutine.send, None)
        while True:
            started = time.monotonic()
            try:
                awaited = step()
            except StopIteration as end:
                return cast("ToolResult", end.value)
            finally:
                self._report(time.monotonic() - started)
            try:
                step = functools.partial(self.coroutine.send, (yield awaited))
            except BaseException as error:  # noqa: BLE001 - it goes into the coroutine
                step = functools.partial(self.coroutine.throw, error)

    def _report(self, seconds: float) -> None:
        if seconds >= _BLOCKED:
            fields = self.context.fields
            log.warning("tool %s blocked the event loop for %.1f seconds", fields["tool"], seconds, extra=fields)
            self.context.emit(EventLoopBlocked(self.context.call_id, self.context.tool, seconds))


class _Awaitable(NamedTuple):
    """The coroutine that a sync decorator around an async function returned; trio lets no bare one out of a thread."""

    value: Awaitable[Any]

    async def result(self) -> ToolResult:
        return to_result(await self.value)


class _ThreadCall:
    """A call in a thread, which may outlive its deadline.

    Raises:
        ToolError: Too many calls that outlived theirs still hold a thread.
    """

    def __init__(self, mark: Mark) -> None:
        self.mark, self.ended = mark, False
        with _LOCK:
            of_tool, in_all = sum(each.mark is mark for each in _ABANDONED), len(_ABANDONED)
        if of_tool >= _MOST_ABANDONED:
            raise ToolError(
                f"not run: {of_tool} earlier calls of this tool were given up and still run; do not call it again"
            )
        if in_all >= _MOST_ABANDONED_IN_ALL:
            raise ToolError(f"not run: {in_all} earlier calls of tools were given up and still run")

    def abandon(self) -> bool:
        """Count it among the abandoned ones, unless it has ended."""
        with _LOCK:
            if not self.ended:
                _ABANDONED.add(self)
            return not self.ended

    def end(self) -> None:
        with _LOCK:
            self.ended = True
            _ABANDONED.discard(self)


_LOCK = threading.Lock()
_ABANDONED: set[_ThreadCall] = set()  # those of all event loops together


# Exceptions that must not leave a tool.


def _ungrouped(group: BaseExceptionGroup[BaseException]) -> Exception:
    """One error for a group: its only one, one with all that the model should read, or a group that names each."""
    errors = [each if isinstance(each, Exception) else _as_failure(each) for each in _leaves(group)]
    if len(errors) == 1:
        return errors[0]
    if all(isinstance(each, ToolError) for each in errors):
        return ToolError("; ".join(str(each) for each in errors))
    names = (f"{type(each).__name__}: {each}" if str(each) else type(each).__name__ for each in errors)
    return ExceptionGroup("; ".join(names), errors)


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for each in group.exceptions:
        if isinstance(each, BaseExceptionGroup):
            yield from _leaves(cast("BaseExceptionGroup[BaseException]", each))
        else:
            yield each


def _is_from_outside(error: BaseException) -> bool:
    """Return True if it is a cancellation, Ctrl-C from the event loop's handler, or a close while no task runs."""
    if isinstance(error, GeneratorExit):
        try:
            anyio.get_current_task()
        except RuntimeError:
            return True
        return False
    if isinstance(error, anyio.get_cancelled_exc_class()):
        if not type(error).__module__.startswith("asyncio"):
            return True
        task = sys.modules["asyncio"].current_task()  # not imported: its error is here, so it runs
        return task is None or bool(task.cancelling())  # a tool may also let out the cancellation of another task
    if not isinstance(error, KeyboardInterrupt):
        return False
    raised_in = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    return bool(raised_in) and raised_in[-1].partition(".")[0] in ("asyncio", "trio")


def _as_failure(error: BaseException) -> RuntimeError:
    if isinstance(error, SystemExit):
        return RuntimeError(f"the tool called sys.exit({error.code!r})")
    return RuntimeError(f"the tool raised {type(error).__name__}")
