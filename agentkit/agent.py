"""`Agent`: a model with tools and instructions; `handoff`: a tool that gives the conversation to another agent."""
# pyright: reportUnnecessaryTypeIgnoreComment=false
# mypy rejects a default for a parameter whose type is a type variable; pyright infers the variable from the default.

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import fields, replace
from types import NoneType, TracebackType
from typing import TYPE_CHECKING, Any, Generic, Literal, Self, TypedDict, Unpack, cast, overload

from agentkit.chat.client import open_model
from agentkit.chat.events import Emit, Event, ignore_event
from agentkit.chat.reply import Model
from agentkit.chat.settings import ChatSettings
from agentkit.errors import ConfigError, DefinitionError
from agentkit.run.agent_tool import agent_tool
from agentkit.run.blocking import SyncRunStream, run_blocking
from agentkit.run.checks import check_agent, check_deps, check_limits, check_observer, check_run, check_settings
from agentkit.run.handoffs import Handoff, Keep, agents_of, agents_of_run
from agentkit.run.inputs import History, Prompt
from agentkit.run.limits import Limits
from agentkit.run.middleware import Middleware
from agentkit.run.output import Drafts, OutputType, output_of
from agentkit.run.run import Journal, PlainJournal
from agentkit.run.session_run import Session, StartRun, start_run
from agentkit.run.spec import AgentSpec, Instructions, OutputValidator, RunSpec
from agentkit.run.state import RunResult, RunState
from agentkit.run.stream import RunStream
from agentkit.tools.options import Approval, ToolOptions
from agentkit.tools.tool import Needs, Tool
from agentkit.tools.toolset import ToolLike, ToolSource, split_tools
from agentkit.tools.workers import check_process

if TYPE_CHECKING:  # type variables have defaults for type checkers on every version, at run time from 3.13
    from typing_extensions import TypeVar

    Deps_contra = TypeVar("Deps_contra", default=None, contravariant=True)
    Out = TypeVar("Out", default=str)
else:
    from typing import TypeVar

    Deps_contra = TypeVar("Deps_contra", contravariant=True)
    Out = TypeVar("Out")

Deps = TypeVar("Deps")
_NO_DEPS: Any = NoneType
_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9_-]+")
_LONGEST_NAME = 64


class AgentOptions(TypedDict, total=False):
    """The arguments of `Agent`, as `Agent.replace` takes them."""

    model: str | Model
    tools: Iterable[ToolLike[Any]]
    instructions: Instructions | Sequence[Instructions]
    output_type: Any
    output_validators: Sequence[OutputValidator]
    deps_type: Any
    name: str
    description: str
    settings: ChatSettings | None
    limits: Limits | None
    requires_approval: Approval
    on_tool_error: Literal["report", "report_type", "raise"]
    middleware: Sequence[Middleware]
    journal: Journal | None
    repair: bool


class RunOptions(TypedDict, total=False):
    """The options of `Agent.run` and `Agent.stream`, for functions that pass them on."""

    deps: Any
    history: History
    session: Session | None
    model: str | Model | None
    tools: Iterable[ToolLike[Any]]
    settings: ChatSettings | None
    limits: Limits | None
    run_id: str


class Agent(Generic[Deps_contra, Out]):
    """A model with tools and instructions. Immutable and cheap; a run never changes it.

    ``async with agent`` opens the sources of its tools once for all runs inside, and closes its connections at the end.
    Without it, each run opens and closes the sources.

    Args:
        model: ``"provider:model"`` (``"openai:gpt-5-mini"``, ``"ollama:qwen3"``), ``"local"`` for the embedded model,
            or any object with a ``reply`` method (see `Model`).
        tools: Functions, with or without ``@tool``, `Tool` objects, toolsets and other sources of tools. Their names
            must differ.
        instructions: The system message of every request: a string, a function of the `RunContext` that returns one
            (it may be async), or a sequence of these.
        output_type: The type of the output: whatever pydantic can validate, a function whose parameters are the shape
            and whose return value is the output, or a list of several of these as alternatives. `TypedOutput` and
            `OutputSchema` have further options.
        output_validators: Functions of the `RunContext` and the output, async or not. They may raise `ModelRetry`, so
            that the model tries again; what they return replaces the output, unless it is None.
        deps_type: The type of the ``deps`` of its runs, which tools receive as ``context.deps``.
        name: Identifies the agent in events and in saved runs.
        description: What the agent can do; the model that uses it as a tool reads this.
        settings: Parameters of its requests.
        limits: The limits of its runs.
        requires_approval: The calls that wait for a decision, in addition to those of tools that require approval
            themselves: True for all of them, or a function that decides; see ``requires_approval`` of `tool`.
        on_tool_error: The effect of an unexpected exception in a tool: ``"report"`` gives the model the type and a
            short message, ``"report_type"`` the type alone; ``"raise"`` ends the run with `ToolFailed`.
        middleware: Wraps runs, model requests and tool calls; the first is the outermost.
        journal: Records the effects of its runs, for a durable engine.
        repair: Whether to repair names and arguments of calls that can only mean one thing. If False, the model reads
            what is wrong with them instead.

    Raises:
        DefinitionError: A function cannot become a tool, or two tools have the same name.
        ConfigError: An argument has the wrong type or value, or the provider does not exist.
    """

    def __init__(  # noqa: PLR0913 - a user-facing constructor: each argument is a concept that users know
        self,
        model: str | Model,
        *,
        tools: Iterable[ToolLike[Deps_contra]] = (),
        instructions: Instructions | Sequence[Instructions] = "",
        output_type: OutputType[Out] = str,  # type: ignore[assignment]  # the default of Out
        output_validators: Sequence[OutputValidator] = (),
        deps_type: type[Deps_contra] = _NO_DEPS,
        name: str = "",
        description: str = "",
        settings: ChatSettings | None = None,
        limits: Limits | None = None,
        requires_approval: Approval = False,
        on_tool_error: Literal["report", "report_type", "raise"] = "report",
        middleware: Sequence[Middleware] = (),
        journal: Journal | None = None,
        repair: bool = True,
    ) -> None:
        given = self._given = AgentOptions(
            model=model,
            tools=(listed := _listed(tools)),  # once: it may be an iterator
            instructions=instructions,
            output_type=output_type,
            output_validators=output_validators,
            deps_type=deps_type,
            name=name,
            description=description,
            settings=settings,
            limits=limits,
            requires_approval=requires_approval,
            on_tool_error=on_tool_error,
            middleware=middleware,
            journal=journal,
            repair=repair,
        )
        parts = check_agent(given)
        fixed, sources = _split_tools(listed)
        self._spec = AgentSpec(
            model=_model(model),
            name=name,
            tools=fixed,
            sources=sources,
            instructions=parts,
            settings=settings or ChatSettings(),
            output=output_of(output_type),
            output_validators=tuple(output_validators),
            requires_approval=requires_approval,
            on_tool_error=on_tool_error,
            repair=repair,
            middleware=tuple(middleware),
        )
        self._run = RunSpec(
            agents=agents_of(self._spec),
            limits=limits or Limits(),
            middleware=tuple(middleware),
            journal=journal or PlainJournal(),
        )
        self._open: list[AsyncExitStack] = []
        check_limits(self._run.limits, self.agents)

    if not TYPE_CHECKING:

        def __class_getitem__(cls, parameters: Any) -> Any:
            """Give ``Agent[Deps]`` the default output at run time too."""
            pair = parameters if isinstance(parameters, tuple) else (parameters, str)
            return super().__class_getitem__(pair)

    def __repr__(self) -> str:
        named = f", name={self.name!r}" if self.name else ""
        tools = f", tools=[{', '.join(self.tools)}]" if self.tools else ""
        return f"Agent({self.model!r}{tools}{named})"

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self  # nothing in it changes

    # Its parts.

    @property
    def agents(self) -> Mapping[str, AgentSpec]:
        """The specifications of the agents of its runs by name: its own first, then those that it hands off to."""
        return self._run.agents

    @property
    def model(self) -> Model:
        """The model."""
        return self._spec.model

    @property
    def tools(self) -> Mapping[str, Tool]:
        """The tools by name, without those of its sources."""
        return self._spec.tools

    @property
    def name(self) -> str:
        """The name."""
        return self._spec.name

    @property
    def description(self) -> str:
        """The description of the agent, as given."""
        return self._given.get("description", "")

    @property
    def instructions(self) -> Instructions | Sequence[Instructions]:
        """The instructions, as passed to `Agent`."""
        return self._given.get("instructions", "")

    @property
    def output_type(self) -> OutputType[Out]:
        """The output type, as passed to `Agent`."""
        return cast("OutputType[Out]", self._given.get("output_type", str))

    @property
    def deps_type(self) -> type[Any]:
        """The type of the ``deps`` of its runs."""
        return cast("type[Any]", self._given.get("deps_type", NoneType))

    @property
    def settings(self) -> ChatSettings:
        """The parameters of its requests."""
        return self._spec.settings

    @property
    def limits(self) -> Limits:
        """The limits of its runs."""
        return self._run.limits

    @property
    def requires_approval(self) -> Approval:
        """The approval policy, in addition to those of the tools."""
        return self._spec.requires_approval

    @property
    def on_tool_error(self) -> Literal["report", "report_type", "raise"]:
        """The effect of an unexpected exception in a tool."""
        return self._spec.on_tool_error

    @property
    def middleware(self) -> Sequence[Middleware]:
        """The middleware, the outermost first."""
        return self._run.middleware

    def replace(self, **changes: Unpack[AgentOptions]) -> Agent[Any, Any]:
        """Return a new agent that differs in these arguments.

        Raises:
            DefinitionError: As `Agent`.
            ConfigError: As `Agent`.
        """
        options: Any = {**self._given, **changes}
        return Agent(**options)

    # Running it.

    async def run(  # noqa: PLR0913 - spelled out, so that editors complete them
        self,
        prompt: Prompt | None = None,
        *,
        deps: Deps_contra | None = None,
        history: History = None,
        session: Session | None = None,
        resume: RunState | bool | None = None,
        model: str | Model | None = None,
        tools: Iterable[ToolLike[Deps_contra]] = (),
        settings: ChatSettings | None = None,
        limits: Limits | None = None,
        run_id: str = "",
        on_event: Emit = ignore_event,
    ) -> RunResult[Out]:
        """Run until there is an output.

        Args:
            prompt: A string, content parts, or a `UserMessage`. Optional with ``resume``, where it is added to the
                conversation.
            deps: The dependencies of the run, which tools receive as ``context.deps``.
            history: The messages before the prompt: an earlier result or its messages, or dicts as the API writes them.
            session: The stored conversation to continue; each step of the run is stored in it.
            resume: The state of a stopped run, however it ended; True for the last run of the session.
            model: A model for this run, in place of the agent's.
            tools: Further tools for this run.
            settings: Request parameters that take precedence over the agent's.
            limits: Limits for this run, in place of the agent's.
            run_id: The id of the run, by which a journal finds its effects; random by default.
            on_event: A function that is called with each event and must return at once. `stream` is usually easier.

        Returns:
            The result; its ``status`` is ``"done"``, ``"limited"`` or ``"paused"``.

        Raises:
            AgentKitError: The run failed; ``error.state`` holds everything that was done.
        """
        _, start, *_ = self._start(
            prompt, deps, history, session, resume, model, tools, settings, limits, run_id, stream=False
        )
        return await start(check_observer(on_event))

    def stream(  # noqa: PLR0913 - spelled out, so that editors complete them
        self,
        prompt: Prompt | None = None,
        *,
        deps: Deps_contra | None = None,
        history: History = None,
        session: Session | None = None,
        resume: RunState | bool | None = None,
        model: str | Model | None = None,
        tools: Iterable[ToolLike[Deps_contra]] = (),
        settings: ChatSettings | None = None,
        limits: Limits | None = None,
        run_id: str = "",
    ) -> RunStream[Out]:
        """Stream a run with the options of `run`: ``async with agent.stream(...) as stream``; see `RunStream`."""
        started = self._start(
            prompt, deps, history, session, resume, model, tools, settings, limits, run_id, stream=True
        )
        return RunStream(*started)

    def run_sync(  # noqa: PLR0913 - spelled out, so that editors complete them
        self,
        prompt: Prompt | None = None,
        *,
        deps: Deps_contra | None = None,
        history: History = None,
        session: Session | None = None,
        resume: RunState | bool | None = None,
        model: str | Model | None = None,
        tools: Iterable[ToolLike[Deps_contra]] = (),
        settings: ChatSettings | None = None,
        limits: Limits | None = None,
        run_id: str = "",
        on_event: Emit = ignore_event,
    ) -> RunResult[Out]:
        """Run until there is an output, in code that is not async; see `run`.

        Raises:
            Interrupted: Ctrl-C; a `KeyboardInterrupt` whose ``state`` can be resumed.
        """
        state, start, *_ = self._start(
            prompt, deps, history, session, resume, model, tools, settings, limits, run_id, stream=False
        )
        observer = check_observer(on_event)
        return run_blocking(lambda: start(observer), state=state, owner=self)

    def stream_sync(  # noqa: PLR0913 - spelled out, so that editors complete them
        self,
        prompt: Prompt | None = None,
        *,
        deps: Deps_contra | None = None,
        history: History = None,
        session: Session | None = None,
        resume: RunState | bool | None = None,
        model: str | Model | None = None,
        tools: Iterable[ToolLike[Deps_contra]] = (),
        settings: ChatSettings | None = None,
        limits: Limits | None = None,
        run_id: str = "",
    ) -> SyncRunStream[Out]:
        """Stream a run in code that is not async: ``with agent.stream_sync(...) as stream``; see `SyncRunStream`."""
        started = self._start(
            prompt, deps, history, session, resume, model, tools, settings, limits, run_id, stream=True
        )
        return SyncRunStream(RunStream(*started))

    def as_tool(
        self,
        name: str = "",
        description: str = "",
        *,
        input_type: type[Any] | None = None,
        **options: Unpack[ToolOptions],
    ) -> Tool:
        """Make the agent a tool of other agents.

        Its run is nested in the run that calls it. It has the same ``deps``; its calls, tokens and cost also count for
        the limits of the outer run; its events arrive in the outer stream, with their path. When it waits for
        decisions, so does the outer run, whose ``pending`` calls then have a path.

        Args:
            name: The name of the tool; by default that of the agent.
            description: The description that the model reads; by default that of the agent.
            input_type: A dataclass, a pydantic model or a TypedDict: its fields are the arguments, and the agent reads
                them as JSON. By default there is one argument, the ``prompt``, a string.
            **options: See `ToolOptions`. By default the tool has no timeout, and the ``access`` that the agent's own
                tools have without an approval.

        Raises:
            DefinitionError: The agent has no name or no description, or the type cannot be described to a model or has
                no fields.
        """
        return agent_tool(self, name or self.name, description or self.description, input_type, options)

    async def __aenter__(self) -> Self:
        stack = AsyncExitStack()
        async with stack:
            for source in self._sources():
                await stack.enter_async_context(source)
            self._open.append(stack.pop_all())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._open.pop().aclose()
        if not self._open:
            await self.aclose()

    async def aclose(self) -> None:
        """Close the connections of the model and the middleware in this event loop; the agent can still be used.

        Those of the agents that it hands off to are closed too.
        """
        agents = self.agents.values()
        for each in (*(agent.model for agent in agents), *(each for agent in agents for each in agent.middleware)):
            close = getattr(each, "aclose", None)
            if close is not None:
                await close()

    def _sources(self) -> list[ToolSource]:
        sources = {id(source): source for agent in self.agents.values() for source in agent.sources}
        return list(sources.values())

    def _start(  # noqa: PLR0913 - the arguments of `run`
        self,
        prompt: Prompt | None,
        deps: Deps_contra | None,
        history: History,
        session: Session | None,
        resume: RunState | bool | None,  # noqa: FBT001 - as of `run`
        model: str | Model | None,
        tools: Iterable[ToolLike[Deps_contra]],
        settings: ChatSettings | None,
        limits: Limits | None,
        run_id: str,
        *,
        stream: bool,
    ) -> tuple[RunState, StartRun, Mapping[str, Callable[[], Drafts]], Collection[Event]]:
        """Combine the agent with the options of a run; return what a `RunStream` takes."""
        check_process()
        check_settings(settings, limits)
        agent = self._spec
        if further := _listed(tools):
            fixed, sources = _split_tools([*agent.tools.values(), *agent.sources, *further])
            agent = replace(agent, tools=fixed, sources=sources)
        if model is not None:
            agent = replace(agent, model=_model(model))
        if settings:
            agent = replace(agent, settings=settings.over(agent.settings))
        agents = agents_of_run(agent, self._run.middleware)
        check_deps(deps, self.deps_type, [tool for each in agents.values() for tool in each.tools.values()])
        if limits is not None:
            check_limits(limits, agents)
        spec = replace(
            self._run,
            agents=agents,
            deps=deps,
            limits=limits or self._run.limits,
            stream=stream,
            opened=self._sources() if self._open else (),
        )
        check_run(prompt, history, session, resume, run_id)
        state, start = start_run(
            spec, prompt, history=history, session=session, resume=resume, limits=limits, run_id=run_id
        )
        return state, start, {name: each.output.drafts for name, each in agents.items()}, spec.events


def _model(model: object) -> Model:
    if isinstance(model, str):
        return open_model(model)
    if isinstance(model, type) or not isinstance(model, Model):
        raise ConfigError(f'a model is a name such as "openai:gpt-5-mini" or an object with reply(), not {model!r}')
    return model


def _listed(tools: object) -> tuple[Any, ...]:
    if isinstance(tools, str) or not isinstance(tools, Iterable):
        raise ConfigError(f"tools= takes a list of tools, not {tools!r:.80}")
    return tuple(cast("Any", tools))


def _split_tools(tools: Iterable[Any]) -> tuple[dict[str, Tool], tuple[ToolSource, ...]]:
    fixed, sources = split_tools(tools)
    return {each.name: each for each in fixed}, tuple(sources)


@overload
def handoff(agent: Agent[Deps, Any], *, when: str = "", keep: Keep = "all", name: str = "") -> Handoff[Needs[Deps]]: ...
@overload
def handoff(agent: str, *, when: str, keep: Keep = "all", name: str = "") -> Handoff[Needs[object]]: ...
def handoff(agent: Agent[Any, Any] | str, *, when: str = "", keep: Keep = "all", name: str = "") -> Handoff[Any]:
    """Make a tool that gives the conversation to another agent.

    From the next turn on, the run has the model, instructions, tools, settings and output of that agent. The limits and
    ``deps`` stay those of the run.

    Args:
        agent: The agent, or the name of one in the run, such as the agent that hands off to this one, so that it can
            get the conversation back.
        when: When to hand off, which the model reads; by default the description of the agent.
        keep: The messages that the agent reads: ``"all"``, ``"last exchange"`` for the last message of the user and
            everything after it, or a function that takes the messages and returns those to read. The others stay in the
            state and are no longer sent.
        name: The name of the tool; ``transfer_to_`` and the name of the agent by default.

    Raises:
        DefinitionError: The agent has no name, it has no description and ``when`` is missing, or ``keep`` is none of
            these.
    """
    if isinstance(agent, str):
        to, agents = agent, dict[str, AgentSpec]()
    elif hasattr(cast("object", agent), "agents"):
        to, agents, when = agent.name, dict(agent.agents), when or agent.description
    else:
        raise DefinitionError(f"handoff(...) takes an agent or the name of one, not {agent!r:.80}")
    if not to:
        raise DefinitionError(f"{agent!r} needs a name to be handed off to: Agent(..., name=...)")
    if not when:
        raise DefinitionError(f"when to hand off to {to!r} is missing: handoff(..., when=...)")
    if keep not in ("all", "last exchange") and not callable(keep):
        raise DefinitionError(
            f'handoff(keep={keep!r:.80}): must be "all", "last exchange" or a function of the messages'
        )

    def transfer(_context: object, _arguments: object) -> str:
        return f"The conversation was handed off to {to}."

    made = Tool.from_schema(
        name or _NOT_IN_NAMES.sub("_", f"transfer_to_{to}")[:_LONGEST_NAME],
        f"Hand the conversation off to {to}. {when}",
        {"type": "object", "properties": {}},
        transfer,
        thread=False,
    )
    return Handoff(**{each.name: getattr(made, each.name) for each in fields(made)}, to=to, keep=keep, agents=agents)
