"""`automation`: a function of steps, and the jobs that run it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Literal, Never, ParamSpec, TypeVar, cast, overload

import anyio
from pydantic_core import from_json

from agentkit.automation.record import Head, StepJournal, arguments_json, fingerprint
from agentkit.automation.scope import JobRun, Scope
from agentkit.automation.steps import JsonFunction
from agentkit.automation.stored import SessionStore, check_sessions
from agentkit.chat import encode_json
from agentkit.errors import ConfigError, DefinitionError, SessionBusy, SessionError, StateError
from agentkit.events import Emit, ignore_event
from agentkit.run import Decision, Journal, PendingCall, PlainJournal, Session, SessionSnapshot, SessionUpdate

__all__ = ["Automation", "Job", "JobResult", "automation"]

P = ParamSpec("P")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class JobResult(Generic[T_co]):
    """The outcome of running a job: done, or paused.

    Attributes:
        job: The name of its session.
        status: ``"done"``, or ``"paused"`` when it waits for decisions.
        pending: The calls that wait.
    """

    job: str
    status: Literal["done", "paused"]
    pending: tuple[PendingCall, ...] = ()
    _output: T_co | None = None

    @property
    def output(self) -> T_co:
        """What the automation returned.

        Raises:
            StateError: The job is paused.
        """
        if self.status != "done":
            names = ", ".join(each.name for each in self.pending)
            raise StateError(f"the job {self.job!r} waits for decisions about {names}: decide, and run it again")
        return cast("T_co", self._output)


class Job(Generic[P, T]):
    """One job of an automation, under a name. Everything about it is in its session.

    Attributes:
        name: The name of its session.
    """

    def __init__(
        self, program: JsonFunction, sessions: SessionStore, name: str, *, on_event: Emit, journal: Journal
    ) -> None:
        self.name = f"{program.name}/{name}"
        self._program, self._sessions, self._on_event, self._journal = program, sessions, on_event, journal

    def __repr__(self) -> str:
        return f"<job {self.name!r}>"

    async def run(self, *args: P.args, **kwargs: P.kwargs) -> JobResult[T]:
        """Run the job with these arguments: from the beginning, or after the finished steps.

        Returns:
            The result; for a job that is done, the recorded one.

        Raises:
            SessionBusy: It runs elsewhere.
            ConfigError: It was started with other arguments. DefinitionError: An argument is not of the type of its
                parameter, or JSON cannot hold it.
            StateError: The program has changed since, or its record cannot be used.
            Exception: What the automation raised; the job can be run again.
        """
        return await self._run(self._program.arguments(args, kwargs))

    async def resume(self) -> JobResult[T]:
        """Run the job with the arguments that it was started with; see `run`.

        Raises:
            ConfigError: It was never started.
        """
        return await self._run(None)

    async def status(self) -> Literal["", "running", "paused", "failed", "done"]:
        """Return the job's status. It is ``"running"`` after a crash too, and empty if the job was never started."""
        head = Head.read(await self._sessions[self.name].load(), self.name)
        return head.state.status if head else ""

    async def pending(self) -> tuple[PendingCall, ...]:
        """Return the calls that wait for a decision."""
        stored = await self._sessions[self.name].load()
        head = Head.read(stored, self.name)
        calls = head.pending if head else ()
        return tuple(each for each in calls if f"decision {each.id}" not in {**stored.artifacts, **stored.results})

    async def approve(self, id: str, *, arguments: Mapping[str, Any] | None = None, by: str = "") -> None:  # noqa: A002
        """Let a pending call run when the job is run again; see `RunState.approve`.

        Raises:
            StateError: No such call is pending.
            SessionBusy: The job is running.
        """
        given = None if arguments is None else arguments_json(f"the approval of {id!r}", arguments)
        await self._decide(id, Decision(kind="approve", hash="", arguments=given, by=by))

    async def deny(self, id: str, reason: str = "", *, by: str = "") -> None:  # noqa: A002
        """Refuse a pending call, with a reason for the model or the program; see `approve`."""
        await self._decide(id, Decision(kind="deny", hash="", reason=reason, by=by))

    async def answer(self, id: str, value: object, *, by: str = "") -> None:  # noqa: A002
        """Provide the result of a pending call, a JSON value, instead of running it; see `approve`."""
        (answer,) = from_json(arguments_json(f"the answer to {id!r}", {"value": value})).values()
        await self._decide(id, Decision(kind="answer", hash="", answer=encode_json(answer).decode(), by=by))

    async def _decide(self, id_: str, decision: Decision) -> None:
        async with self._claimed() as session:
            waiting = await self.pending()
            call = next((each for each in waiting if each.id == id_), None)
            if call is None:
                ids = ", ".join(repr(each.id) for each in waiting) or "none"
                raise StateError(f"no call {id_!r} of the job {self.name!r} waits for a decision; waiting: {ids}")
            if call.external and decision.kind == "approve":
                raise StateError(
                    f"call {id_!r} of {call.name} does not run here: pass its result to answer({id_!r}, ...)"
                )
            made = asdict(decision) | {"at": self._journal.clock()}
            await session.record(f"decision {id_}", encode_json(made).decode())

    @asynccontextmanager
    async def _claimed(self) -> AsyncGenerator[Session]:
        session = self._sessions[self.name]
        async with AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(session.claim())
            except SessionBusy as error:
                raise SessionBusy(f"the job {self.name!r} is already running, perhaps in another process") from error
            yield session

    async def _run(self, arguments: str | None) -> JobResult[T]:
        async with self._claimed() as session:
            stored = await session.load()
            head = self._head(stored, arguments)
            if head.state.status == "done":
                return JobResult(self.name, "done", (), self._program.load(head.output))
            saved = _Saved(session, stored)
            await saved.save(head.ended("running"))
            journal = StepJournal(self.name, session, saved.records, self._journal)
            job = JobRun(self.name, self._sessions, journal, self._on_event, anyio.CancelScope())
            with job.cancel:
                try:
                    output = await self._call(job, head.arguments)
                except Exception:
                    with anyio.CancelScope(shield=True), suppress(SessionError):
                        await saved.save(head.ended("failed", pending=job.pending))
                    raise
                await saved.save(head.ended("done", pending=(), output=output))
                return JobResult(self.name, "done", (), self._program.load(output))
            await saved.save(head.ended("paused", pending=job.pending))
            return JobResult(self.name, "paused", job.pending)

    def _head(self, stored: SessionSnapshot, arguments: str | None) -> Head:
        head = Head.read(stored, self.name)
        if head is None and arguments is None:
            raise ConfigError(f"the job {self.name!r} was never started: run it with its arguments")
        if head is None:
            self._program.read(cast("str", arguments))  # refuse wrong ones before they are recorded
            return Head(automation=self._program.name, arguments=cast("str", arguments))
        if arguments is not None and fingerprint(arguments) != fingerprint(head.arguments):
            raise ConfigError(
                f"the job {self.name!r} was started with other arguments ({head.arguments:.200}): give the other job "
                "another name, or resume() this one"
            )
        return head

    async def _call(self, job: JobRun, arguments: str) -> str:
        scope = Scope(job, "", fingerprint(arguments, self._program.name), anyio.get_current_task().id)
        given = self._program.read(arguments)
        with scope.current():
            return self._program.dump(await self._program.function(*given.args, **given.kwargs))


class _Saved:
    """The contents of a job's session."""

    def __init__(self, session: Session, stored: SessionSnapshot) -> None:
        self.records = {**stored.artifacts, **stored.results}
        self._session, self._revision, self._saved = session, stored.revision, dict(stored.artifacts)

    async def save(self, head: Head) -> None:
        """Store the head, and the records that have only been added to the session."""
        new = {key: record for key, record in self.records.items() if self._saved.get(key) != record}
        await self._session.save(
            SessionUpdate(revision=self._revision, start=0, messages=(), head=head.model_dump_json(), artifacts=new)
        )
        self._revision += 1
        self._saved |= new


class Automation(Generic[P, T]):
    """A function whose steps are recorded; see `automation`.

    Attributes:
        name: Its name, the prefix of its sessions' names.
        function: The function itself.
    """

    def __init__(self, function: Callable[P, Coroutine[Any, Any, T]], name: str = "") -> None:
        self._program = JsonFunction(function, "automation", name)
        if not self._program.is_async:
            raise DefinitionError(f"automation {self._program.name} must be an async function")
        self.name, self.function = self._program.name, function

    def __repr__(self) -> str:
        return f"<automation {self.name}>"

    if not TYPE_CHECKING:

        def __call__(self, *_: Any, **__: Any) -> Never:
            """Refuse a direct call."""
            raise ConfigError(f"an automation runs as a job: {self.name}.job(sessions, name).run(...)")

    def job(
        self, sessions: SessionStore, name: str, *, on_event: Emit = ignore_event, journal: Journal | None = None
    ) -> Job[P, T]:
        """Return the job of this name, which need not have been started.

        Args:
            sessions: Where the job is stored, and the runs of its agents.
            name: The name, such as a day or an order number.
            on_event: Receives the events of the agents and tools inside, and must return at once.
            journal: Records the steps too, for a durable engine.

        Raises:
            ConfigError: These are not sessions, or the name is empty or not a string.
        """
        check_sessions(sessions)
        if not isinstance(name, str) or not name:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigError(f"a job needs a name by which it can be found again, and {name!r:.80} is not valid")
        return Job(self._program, sessions, name, on_event=on_event, journal=journal or PlainJournal())


@overload
def automation(function: Callable[P, Coroutine[Any, Any, T]], /, *, name: str = "") -> Automation[P, T]: ...
@overload
def automation(*, name: str) -> Callable[[Callable[P, Coroutine[Any, Any, T]]], Automation[P, T]]: ...
def automation(function: Any = None, /, *, name: str = "") -> Any:
    """Make an automation from an async function, whose steps are recorded; a decorator, with or without a name.

    ::

        @automation
        async def inbox(folder: str) -> int:
            return len(await gather(*[handle(each) for each in await list_mails(folder)]))

        result = await inbox.job(SQLiteSessions("work.db"), "monday").run("mails")

    A job that is run again continues after its last finished step. Between steps, the function must be deterministic:
    anything that reads the clock, a file or the network, or has an effect, belongs in a step.

    Args:
        function: The function. Its arguments and return value are JSON: whatever pydantic reads and writes according to
            the annotations.
        name: Its name; by default that of the function.

    Raises:
        DefinitionError: It has no name, is not async, or returns what JSON cannot hold.
    """
    if function is None:
        return partial(automation, name=name)
    made: Automation[..., Any] = Automation(function, name)
    return made
