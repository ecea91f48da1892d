"""`step`: functions, tools and agents whose calls are recorded; `gather`: several of them at the same time."""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Generic, ParamSpec, TypeVar, cast, overload

import anyio
from anyio.to_thread import run_sync
from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from pydantic_core import PydanticSerializationError, from_json

from agentkit import Agent, Limits, RunResult, RunState, Tool, ToolContext, ToolError, ToolResult
from agentkit.automation.record import arguments_json
from agentkit.automation.scope import Place, current_scope
from agentkit.automation.stored import StoredRun, prompt_json
from agentkit.chat import encode_json
from agentkit.errors import ConfigError, DefinitionError
from agentkit.run import Decision, PendingCall, Prompt, approval_reason

__all__ = ["AgentStep", "JsonFunction", "Step", "ToolStep", "gather", "step"]

P = ParamSpec("P")
T = TypeVar("T")
Deps = TypeVar("Deps")
Out = TypeVar("Out")


class JsonFunction:
    """A function whose arguments and return value are JSON for a record.

    Args:
        function: The function, async or not.
        what: What it becomes: a step or an automation.
        name: Its name; by default the function's own.

    Raises:
        DefinitionError: It has no name, returns more than once, or returns what JSON cannot hold.
    """

    def __init__(self, function: Callable[..., Any], what: str, name: str) -> None:
        if not callable(function):
            raise DefinitionError(f"@{what} takes a function, not {function!r:.80}")
        self.name = name or getattr(function, "__name__", "")
        if not self.name.isidentifier() and not name:
            raise DefinitionError(f"{function!r:.80} needs a name to be recorded under: {what}(..., name=...)")
        if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
            raise DefinitionError(f"{what} {self.name} is a generator: return a list")
        self.function, self.who = function, f"{what} {self.name}"
        self.is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
            getattr(function, "__call__", None)  # noqa: B004 - of an object that is called
        )
        self._read: tuple[inspect.Signature, TypeAdapter[Any]] | None = None
        try:
            self._signature()
        except DefinitionError as error:
            if not isinstance(error.__cause__, NameError):  # a type defined later: it is known when this is called
                raise

    def arguments(self, args: Sequence[Any], kwargs: dict[str, Any]) -> str:
        """Return the arguments of a call as JSON, with the defaults of the function.

        Raises:
            TypeError: They do not fit the function.
            DefinitionError: JSON cannot hold one of them.
        """
        bound = self._signature()[0].bind(*args, **kwargs)
        bound.apply_defaults()
        return arguments_json(self.who, bound.arguments)

    def read(self, arguments: str) -> inspect.BoundArguments:
        """Read what `arguments` returned, according to the annotations of the parameters.

        Raises:
            DefinitionError: An argument is not of its type.
        """
        signature = self._signature()[0]
        bound = inspect.BoundArguments(signature, OrderedDict())
        for name, value in cast("dict[str, Any]", from_json(arguments)).items():
            parameter = signature.parameters[name]
            hint: Any = Any if parameter.annotation is inspect.Parameter.empty else parameter.annotation
            if parameter.kind is parameter.VAR_POSITIONAL:
                hint = tuple[hint, ...]
            elif parameter.kind is parameter.VAR_KEYWORD:
                hint = dict[str, hint]
            try:
                bound.arguments[name] = TypeAdapter(hint).validate_json(encode_json(value))
            except ValidationError as error:
                first = error.errors(include_url=False)[0]
                where = "".join(f"[{each!r}]" for each in first["loc"])
                raise DefinitionError(
                    f"{self.who}: the argument {name}{where} is not of its type {_type_name(hint)}: {first['msg']}"
                ) from None
            except PydanticUserError:
                raise DefinitionError(
                    f"{self.who}: the argument {name!r} is a {_type_name(hint)}, which cannot be read from JSON: "
                    "take JSON's own types, a dataclass or a pydantic model"
                ) from None
        return bound

    def dump(self, value: Any) -> str:
        """Return what the function returned, as JSON.

        Raises:
            DefinitionError: JSON cannot hold it, or it is not of the type that the function is annotated with.
        """
        try:
            return self._signature()[1].dump_json(value, warnings="error").decode()
        except (PydanticSerializationError, ValueError, RecursionError) as error:
            raise DefinitionError(
                f"{self.who} returned a {type(value).__name__}, which cannot be recorded as JSON of its return type: "
                f"{str(error).splitlines()[-1].strip()}; annotate what it returns, or return something else"
            ) from None

    def load(self, value: str) -> Any:
        """Read what `dump` wrote. The program gets this value, even the first time.

        Raises:
            DefinitionError: It is not of the type that the function is annotated with.
        """
        try:
            return self._signature()[1].validate_json(value)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]["msg"]
            raise DefinitionError(
                f"{self.who}: its recorded value cannot be read as its return type ({first}): the type does not read "
                "its own JSON, or has changed since"
            ) from None

    def _signature(self) -> tuple[inspect.Signature, TypeAdapter[Any]]:
        if self._read is None:
            try:
                signature = inspect.signature(self.function, eval_str=True)
            except NameError as error:
                raise DefinitionError(
                    f"{self.who}: {error.name!r} in its annotations is not known in its module: define the type there"
                ) from error
            returns = signature.return_annotation
            try:
                adapter: TypeAdapter[Any] = TypeAdapter(Any if returns is inspect.Signature.empty else returns)
            except PydanticUserError as error:
                raise DefinitionError(
                    f"{self.who} returns {_type_name(returns)}, which cannot be recorded as JSON: "
                    "return JSON's own types, a dataclass or a pydantic model"
                ) from error
            self._read = signature, adapter
        return self._read


def _type_name(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) else str(hint)


class Step(Generic[P, T]):
    """A function whose calls are recorded in the job that makes them.

    Attributes:
        name: Its name in the record.
        function: The function itself, for tests.
    """

    def __init__(self, function: Callable[P, Any], name: str = "") -> None:
        self._json = JsonFunction(function, "step", name)
        self.name, self.function = self._json.name, function

    def __repr__(self) -> str:
        return f"<step {self.name}>"

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, T]:
        """Call the function, or return the recorded value of this call.

        The call takes its place in the job now, in the task of its scope; it may be awaited in any task.

        Raises:
            ConfigError: It is called outside of a job.
            DefinitionError: JSON cannot hold an argument, or its place is not known.
        """
        scope = current_scope(self.name)
        return self._perform(
            scope.enter(self.name, self._json.arguments(args, kwargs)), partial(self.function, *args, **kwargs)
        )

    async def _perform(self, place: Place, call: Callable[[], Any]) -> T:
        async def effect() -> str:
            value = call() if self._json.is_async else await run_sync(call)
            return self._json.dump(await value if inspect.isawaitable(value) else value)

        return cast("T", self._json.load(await place.run(effect)))


class AgentStep(Generic[Deps, Out]):
    """Runs of an agent that are recorded: each has a session of its own, and is resumed where it stopped.

    Attributes:
        name: Its name in the record.
        agent: The agent.
    """

    def __init__(self, agent: Agent[Deps, Out], name: str = "") -> None:
        self.name, self.agent = name or agent.name, agent
        if not self.name:
            raise DefinitionError(f"{agent!r} needs a name to be recorded under: step(agent, name=...)")

    def __repr__(self) -> str:
        return f"<step {self.name}>"

    def __call__(
        self, prompt: Prompt, *, deps: Deps | None = None, limits: Limits | None = None
    ) -> Coroutine[Any, Any, RunResult[Out]]:
        """Run the agent, resume its run, or return the recorded result of this call.

        A run that waits for decisions pauses the job.

        Args:
            prompt: The prompt.
            deps: The dependencies of the run, which are not recorded.
            limits: The limits of the run, in place of the agent's.
        """
        place = current_scope(self.name).enter(self.name, prompt_json(prompt), resumes=True)
        run = StoredRun(deps=deps, limits=limits, on_event=place.job.on_event, run_id=place.effect_key)
        return self._perform(place, prompt, run)

    async def _perform(self, place: Place, prompt: Prompt, run: StoredRun) -> RunResult[Out]:
        session = place.job.sessions[f"{place.job.name}/{place.key} {self.name}"]
        results: list[RunResult[Out]] = []

        async def effect() -> str:
            await place.begin()
            state = (await session.load()).state()
            if state is not None and state.pending and not self._decide(place, state):
                await place.job.wait(place.key, _pending(place, state))
            result = await run.finish(self.agent, prompt, session, state)
            if result.pending:
                await place.job.wait(place.key, _pending(place, result.state))
            results.append(result)
            return encode_json(result.status).decode()

        await place.run(effect)
        if results:
            return results[0]
        state = (await session.load()).state()
        if state is None:
            raise ConfigError(
                f"the session of step {place.key} of the job {place.job.name!r} was deleted: start another job"
            )
        return await run.read(self.agent, state)

    @staticmethod
    def _decide(place: Place, state: RunState) -> bool:
        """Apply the decisions that were made about the run; False if there are none."""
        found = False
        for call in state.pending:
            decision = place.job.journal.decision(f"{place.key}/{call.id}")
            if decision is not None:
                _apply(state, call.id, decision)
                found = True
        return found


class ToolStep:
    """Calls of a tool that are recorded. One that requires approval pauses the job.

    Attributes:
        name: Its name in the record.
        tool: The tool.
    """

    def __init__(self, tool: Tool[Any], deps: Any = None, name: str = "") -> None:
        self.name, self.tool, self._deps = name or tool.name, tool, deps
        kind = tool.deps_type
        if tool.is_method:
            raise DefinitionError(f"tool {tool.name} is a method: take it from an object, not from the class")
        if isinstance(kind, type) and not isinstance(deps, kind):
            raise DefinitionError(f"tool {tool.name} needs deps of the type {kind.__name__}: step(tool, deps=...)")

    def __repr__(self) -> str:
        return f"<step {self.name}>"

    def __call__(self, **arguments: Any) -> Coroutine[Any, Any, ToolResult]:
        """Call the tool, or return the recorded result of this call.

        A `ToolError`, or a refusal by a person, is a result with ``is_error``.

        Args:
            **arguments: The arguments of the tool by name, as a model would give them.
        """
        written = arguments_json(f"step {self.name}", arguments)
        place = current_scope(self.name).enter(self.name, written, resumes=self.tool.may_wait)
        return self._perform(place, from_json(written))  # as a model would write them

    async def _perform(self, place: Place, arguments: dict[str, Any]) -> ToolResult:
        context: ToolContext[Any] = ToolContext(
            deps=self._deps,
            run_id=place.job.name,
            turn=1,
            emit=place.job.on_event,
            call_id=place.key,
            tool=self.tool.name,
            idempotency_key=place.effect_key,
        )

        async def effect() -> str:
            result = await self._result(place, context, arguments)
            return encode_json(result.to_dict()).decode()

        return ToolResult.from_dict(cast("dict[str, Any]", from_json(await place.run(effect))))

    async def _result(self, place: Place, context: ToolContext[Any], arguments: dict[str, Any]) -> ToolResult:
        checked = self.tool.checked(context, arguments)
        reason = await approval_reason(self.tool, context, checked, False)  # noqa: FBT003
        decision = place.job.journal.decision(place.key)
        if reason or decision:
            await place.begin(self.tool.fingerprint)
            if decision is None:
                external = self.tool.is_external
                await place.job.wait(place.key, [PendingCall(place.key, self.tool.name, arguments, reason, external)])
            if decision.kind == "answer":
                value = from_json(decision.answer)
                return ToolResult(value if isinstance(value, str) else decision.answer, data=value)
            if decision.kind == "deny":
                why = f": {decision.reason}" if decision.reason else ""
                return ToolResult(f"Error: not run: a person refused this call{why}", is_error=True)
            if decision.arguments is not None:
                arguments = cast("dict[str, Any]", from_json(decision.arguments))
        try:
            return await self.tool.call(context, arguments)
        except ToolError as error:
            return ToolResult(f"Error: {error}", is_error=True)


def _pending(place: Place, state: RunState) -> list[PendingCall]:
    """Return the pending calls of a run as those of its step."""
    return [replace(each, id=f"{place.key}/{each.id}", path=(place.step, *each.path)) for each in state.pending]


def _apply(state: RunState, id_: str, decision: Decision) -> None:
    match decision.kind:
        case "approve":
            given = None if decision.arguments is None else from_json(decision.arguments)
            state.approve(id_, arguments=given, by=decision.by)
        case "deny":
            state.deny(id_, decision.reason, by=decision.by)
        case "answer":
            state.answer(id_, from_json(decision.answer), by=decision.by)


@overload
def step(function: Agent[Deps, Out], /, *, name: str = "") -> AgentStep[Deps, Out]: ...
@overload
def step(function: Tool[Any], /, *, name: str = "", deps: Any = None) -> ToolStep: ...
@overload
def step(function: Callable[P, Coroutine[Any, Any, T]], /, *, name: str = "") -> Step[P, T]: ...
@overload
def step(function: Callable[P, T], /, *, name: str = "") -> Step[P, T]: ...
@overload
def step(*, name: str) -> Callable[[Callable[P, Any]], Step[P, Any]]: ...
def step(function: Any = None, /, *, name: str = "", deps: Any = None) -> Any:
    """Make a step from a function, a tool or an agent; use it as a decorator, with or without a name.

    In a job, each call is recorded when it is done, and returns the recorded value when the job runs again. Its
    arguments and return value are JSON: whatever pydantic reads and writes according to the annotations.

    Args:
        function: A function (one that is not async runs in a thread); a tool, called with its arguments; or an agent,
            called with a prompt.
        name: The name in the record; by default that of the function, tool or agent.
        deps: The dependencies that a tool receives.

    Raises:
        DefinitionError: It has no name, is a generator, or returns what JSON cannot hold.
    """
    if function is None:
        return partial(step, name=name, deps=deps)
    if issubclass(type(function), Agent):  # `isinstance` would narrow Any to a partially unknown type
        of_agent: AgentStep[Any, Any] = AgentStep(function, name)
        return of_agent
    if issubclass(type(function), Tool):
        return ToolStep(function, deps, name)
    made: Step[..., Any] = Step(function, name)
    return made


async def gather(*steps: Awaitable[T], concurrency: int | None = None) -> list[T]:
    """Await several steps at the same time.

    ::

        texts = await gather(*[read(each) for each in paths])

    If one fails, the others continue; the error is raised when all are done.

    Args:
        steps: Calls of steps, or other awaitables.
        concurrency: Most that run at the same time; None for no limit.

    Returns:
        Their return values, in order.

    Raises:
        Exception: What one of them raised; an `ExceptionGroup` of several.
        ConfigError: ``concurrency`` is not a whole number above 0.
    """
    if concurrency is not None and (isinstance(concurrency, bool) or concurrency < 1):
        raise ConfigError(f"gather(concurrency={concurrency!r:.80}): must be a whole number, at least 1, or None")
    waiting = iter(enumerate(steps))
    results: dict[int, T] = {}
    failures: list[Exception] = []

    async def work() -> None:
        for place, each in waiting:
            try:
                results[place] = await each
            except Exception as error:  # noqa: BLE001 - raised below
                failures.append(error)

    try:
        async with anyio.create_task_group() as tasks:
            for _ in range(min(concurrency or len(steps), len(steps))):
                tasks.start_soon(work)
    finally:
        for each in steps:
            if inspect.iscoroutine(each):
                each.close()  # one that the job was paused before it could start
        if failures:
            raise failures[0] if len(failures) == 1 else ExceptionGroup("several steps failed", failures)
    return [results[place] for place in range(len(steps))]
