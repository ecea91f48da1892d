"""`map_runs`: many runs of one agent."""

from __future__ import annotations

import hashlib
import math
from collections import Counter, deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Generator, Iterable, Sequence, Sized
from contextlib import aclosing
from dataclasses import dataclass
from itertools import count
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, cast

import anyio

from agentkit import Agent, Limits, RunResult, RunState
from agentkit.automation.progress import ProgressLine
from agentkit.automation.stored import SessionStore, StoredRun, check_sessions, prompt_json
from agentkit.errors import ConfigError, LimitReached
from agentkit.events import Emit, ignore_event
from agentkit.messages import UserMessage
from agentkit.run import BackgroundTask, Prompt, Run, nested_run

__all__ = ["RunMap", "RunOutcome", "map_runs"]

Deps = TypeVar("Deps")
Out = TypeVar("Out")
_AHEAD = 4  # times the concurrency: how many runs may be started and not yet read
_DEEP = 2**32  # agents inside tools are limited by the runs themselves
_GRACE = 10.0  # seconds that cancelled runs have to end before the caller continues


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOutcome(Generic[Out]):
    """The outcome of one prompt.

    Attributes:
        index: The place of the prompt, counted from 0.
        prompt: The prompt.
        result: The result of its run; None if the run failed.
        error: The exception that the run raised, or None.
        session: The name of its session; empty without sessions.
    """

    index: int
    prompt: Prompt
    result: RunResult[Out] | None = None
    error: Exception | None = None
    session: str = ""

    @property
    def output(self) -> Out:
        """The output of the run.

        Raises:
            Exception: What the run raised.
            RunError: There is no output, because the run is paused or reached a limit.
        """
        if self.error is not None:
            raise self.error
        return cast("RunResult[Out]", self.result).output

    @property
    def is_done(self) -> bool:
        """Whether there is an output."""
        return self.result is not None and self.result.has_output


class RunMap(Generic[Out]):
    """The outcomes of many runs, as they arrive; see `map_runs`.

    ``async with`` starts the runs, and leaving it early cancels those that are still running. ``await`` instead waits
    for all of them and returns a list.
    """

    def __init__(
        self,
        agent: Agent[Any, Out],
        prompts: Iterable[Prompt] | AsyncIterable[Prompt],
        stored: StoredRun,
        *,
        places: tuple[int, bool],
        names: _Names | None,
        budget: Limits,
        line: ProgressLine,
    ) -> None:
        self._agent, self._prompts, self._stored, self._names = agent, prompts, stored, names
        concurrency, self._ordered = places
        self._budget, self._line = budget, line
        self._running = anyio.Semaphore(concurrency)
        self._unread = anyio.Semaphore(_AHEAD * concurrency)
        self._finished: dict[int, RunOutcome[Out]] = {}
        self._ready: deque[RunOutcome[Out]] = deque()
        self._next = 0
        self._wake = anyio.Event()
        self._error: BaseException | None = None
        self._task: BackgroundTask | None = None
        self._left = False

    def __repr__(self) -> str:
        return f"RunMap({self._agent!r})"

    async def __aenter__(self) -> Self:
        if self._task is not None:
            raise ConfigError("these runs were already started: each `async with` needs its own map_runs(...)")
        self._task = BackgroundTask(self._work, self._notify)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._left = True
        self._line.clear()
        if self._task is not None:
            self._task.cancel()
            await self._task.join(_GRACE)

    def __await__(self) -> Generator[Any, Any, list[RunOutcome[Out]]]:
        return self._collect().__await__()

    def __aiter__(self) -> AsyncIterator[RunOutcome[Out]]:
        return self

    async def __anext__(self) -> RunOutcome[Out]:
        if self._task is None:
            raise ConfigError(
                "these runs were not started: write `async with map_runs(...) as outcomes:` and read them inside, or "
                "`await map_runs(...)` for a list"
            )
        if self._left:
            raise ConfigError("the `async with` has ended: read the outcomes inside it")
        while not self._ready:
            if self._task.over:
                self._line.clear()
                if self._error is not None:
                    raise self._error
                raise StopAsyncIteration
            self._task.check_loop()
            self._line.draw()
            if self._wake.is_set():
                self._wake = anyio.Event()
            await self._wake.wait()
        self._line.clear()
        self._unread.release()
        return self._ready.popleft()

    async def _collect(self) -> list[RunOutcome[Out]]:
        async with self:
            return [each async for each in self]

    async def _work(self) -> None:
        try:
            together: Run[None] = Run(
                state=RunState(messages=[]), limits=self._budget, deps=None, observer=ignore_event
            )
            if (self._budget.tokens, self._budget.cost) == (None, None):
                await self._start_all(None)
            else:
                with nested_run(together):
                    await self._start_all(together)
        except anyio.get_cancelled_exc_class():
            raise
        except BaseException as error:  # noqa: BLE001 - it is raised to whoever reads
            inner = cast("Sequence[BaseException]", getattr(error, "exceptions", ()))
            self._error = inner[0] if len(inner) == 1 else error

    async def _start_all(self, together: Run[None] | None) -> None:
        """Start a run for each prompt as others end; if the iterable raises, wait for the runs in progress."""
        failure: Exception | None = None
        async with aclosing(_each(self._prompts)) as prompts, anyio.create_task_group() as tasks:
            for index in count():
                await self._unread.acquire()
                await self._running.acquire()
                try:
                    prompt = await anext(prompts)
                    name = self._names.of(prompt) if self._names else ""
                except StopAsyncIteration:
                    break
                except Exception as error:  # noqa: BLE001 - raised when the runs have ended
                    failure = error
                    break
                tasks.start_soon(self._run_one, index, prompt, name, together)
        if failure is not None:
            raise failure

    async def _run_one(self, index: int, prompt: Prompt, name: str, together: Run[None] | None) -> None:
        try:
            result = await self._result_of(prompt, name, together)
            outcome: RunOutcome[Out] = RunOutcome(index=index, prompt=prompt, result=result, session=name)
        except Exception as error:  # noqa: BLE001 - it is the outcome
            outcome = RunOutcome(index=index, prompt=prompt, error=error, session=name)
        self._running.release()
        self._line.count(failed=outcome.error is not None)
        if not self._ordered:
            self._ready.append(outcome)
        else:
            self._finished[index] = outcome
            while self._next in self._finished:
                self._ready.append(self._finished.pop(self._next))
                self._next += 1
        self._notify()

    async def _result_of(self, prompt: Prompt, name: str, together: Run[None] | None) -> RunResult[Out]:
        session = self._names.sessions[name] if self._names and name else None
        state = (await session.load()).state() if session else None
        left = together.remaining if together else None
        if left is not None and 0 in (left.tokens, left.cost) and (state is None or state.status != "done"):
            raise LimitReached("not started: the runs together have used up total_tokens= or total_cost=", state=state)
        if session is not None:
            return await self._stored.finish(self._agent, prompt, session, state)
        stored = self._stored
        return await self._agent.run(prompt, deps=stored.deps, limits=stored.limits, on_event=stored.on_event)

    def _notify(self) -> None:
        self._wake.set()


class _Names:
    """Names the session of each prompt: the same prompts get the same names, in any order."""

    def __init__(self, sessions: SessionStore, agent: str, key: Callable[[Prompt], str] | None) -> None:
        self.sessions, self._agent, self._key = sessions, agent or "agent", key
        self._seen: Counter[str] = Counter()

    def of(self, prompt: Prompt) -> str:
        """Return the name for the next prompt; empty for an invalid prompt, which its run will refuse.

        Raises:
            ConfigError: An earlier prompt has the same key.
        """
        if self._key is None:
            try:
                key = _hash(prompt_json(prompt))
            except ConfigError:
                return ""
        elif not isinstance(key := self._key(prompt), str) or not key:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigError(f"key= must return a string that names the prompt, not {key!r:.80}")
        seen = _hash(key)
        self._seen[seen] += 1
        if self._key is not None and self._seen[seen] > 1:
            raise ConfigError(f"two prompts have the key {key!r:.80}: key= must return a different one for each")
        again = f" ({self._seen[seen]})" if self._seen[seen] > 1 else ""
        return f"{self._agent}/{key}{again}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]


async def _each(prompts: Iterable[Prompt] | AsyncIterable[Prompt]) -> AsyncGenerator[Prompt]:
    try:
        if isinstance(prompts, AsyncIterable):
            async for prompt in prompts:
                yield prompt
        else:
            for prompt in prompts:
                yield prompt
    finally:
        if isinstance(prompts, AsyncGenerator):
            await prompts.aclose()


def map_runs(  # noqa: PLR0913 - spelled out, so that editors complete them
    agent: Agent[Deps, Out],
    prompts: Iterable[Prompt] | AsyncIterable[Prompt],
    *,
    concurrency: int = 10,
    ordered: bool = True,
    deps: Deps | None = None,
    limits: Limits | None = None,
    total_tokens: int | None = None,
    total_cost: float | None = None,
    sessions: SessionStore | None = None,
    key: Callable[[Prompt], str] | None = None,
    progress: bool = False,
    on_event: Emit = ignore_event,
) -> RunMap[Out]:
    """Run an agent for each of many prompts: ``async with`` for the outcomes as they arrive, ``await`` for a list.

    A run that fails does not stop the others: its exception is the ``error`` of its outcome. A prompt is taken when a
    run can start, and at most four times ``concurrency`` runs are started but not yet read, so memory is bounded.

    Args:
        agent: The agent. Limits in its middleware, such as a `RateLimit`, apply to all runs together.
        prompts: A list, a generator or an async generator.
        concurrency: Most runs at the same time.
        ordered: Whether the outcomes come in the order of the prompts, or as the runs end.
        deps: The dependencies of the runs.
        limits: The limits of each run, in place of the agent's.
        total_tokens: Most tokens of all runs together. Runs stop there as at a limit of their own, and later ones are
            not started: their error is `LimitReached`.
        total_cost: Most that all runs together may cost, counted in the same way.
        sessions: Where the runs are stored. With the same sessions, a prompt that is done is not run again, and a run
            that was interrupted is resumed.
        key: Returns a name for a prompt, by which its session is found again; by default a hash of the prompt.
        progress: Whether to show how far the runs are, on standard error if that is a terminal.
        on_event: Receives the events of all runs and must return at once; ``event.origin.run_id`` names the run.

    Raises:
        ConfigError: An argument has the wrong type or value.
    """
    _check(agent, prompts, concurrency, (total_tokens, total_cost))
    for name, function in (("key", key), ("on_event", on_event)):
        if function is not None and not callable(function):
            raise ConfigError(f"map_runs({name}={function!r:.80}): must be a function")
    if sessions is not None:
        check_sessions(sessions)
    elif key is not None:
        raise ConfigError("key= names the sessions of the runs: pass sessions= too")
    return RunMap(
        agent,
        prompts,
        StoredRun(deps=deps, limits=limits, on_event=on_event),
        places=(concurrency, ordered),
        names=None if sessions is None else _Names(sessions, agent.name, key),
        budget=Limits(calls=None, seconds=None, tokens=total_tokens, cost=total_cost, nested_depth=_DEEP),
        line=ProgressLine(len(prompts) if isinstance(prompts, Sized) else None, shown=progress),
    )


def _check(agent: object, prompts: object, concurrency: object, totals: tuple[object, object]) -> None:
    if not isinstance(agent, Agent):
        raise ConfigError(f"map_runs takes an Agent and its prompts, not {agent!r:.80}")
    if isinstance(prompts, str | UserMessage) or not isinstance(prompts, Iterable | AsyncIterable):
        raise ConfigError(f"map_runs takes a list or a generator of prompts, not {prompts!r:.80}")
    if isinstance(concurrency, bool) or not isinstance(concurrency, int) or concurrency < 1:
        raise ConfigError(f"map_runs(concurrency={concurrency!r:.80}): must be a whole number, at least 1")
    for name, total in zip(("total_tokens", "total_cost"), totals, strict=True):
        is_number = isinstance(total, int | float) and not isinstance(total, bool) and 0 < total < math.inf
        if total is not None and not is_number:
            raise ConfigError(f"map_runs({name}={total!r:.80}): must be a number above 0, or None for no limit")
