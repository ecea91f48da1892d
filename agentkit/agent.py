"""`Agent`: the front door."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, TypedDict, Unpack

import anyio

from agentkit.chat.client import open_model
from agentkit.chat.events import Emit, ignore_event
from agentkit.chat.reply import Model
from agentkit.chat.settings import ChatSettings
from agentkit.errors import ConfigError, Interrupted, StateError
from agentkit.run.checked import check_agent, check_names, check_options
from agentkit.run.journal import Journal, PlainJournal
from agentkit.run.limits import Limits
from agentkit.run.loop import run
from agentkit.run.middleware import Middleware
from agentkit.run.opening import History, parse_history, prepare_resume
from agentkit.run.prompt import Prompt, parse_prompt
from agentkit.run.session_run import Session, resume_in_session, run_in_session
from agentkit.run.spec import RunSpec
from agentkit.run.state import RunResult, RunState
from agentkit.run.stream import RunStream
from agentkit.tools.calls.process import check_process
from agentkit.tools.options import Approval
from agentkit.tools.tool import Tool
from agentkit.tools.toolset import ToolLike, flat_tools

__all__ = ["Agent", "Prompt", "RunOptions"]


class RunOptions(TypedDict, total=False):
    """What one run can be given beside its question.

    Attributes:
        history: The messages before the question: an earlier result or its transcript, or messages as on the wire.
        deps: Given to tools as ``context.deps``.
        limits: Instead of the agent's.
        settings: Request parameters that go before the agent's.
        run_id: Names the run; a journal finds its effects by it. Made up if not given.
        session: Where the conversation is kept: the run knows what is in it, and each step is stored in it.
    """

    history: History
    deps: Any
    limits: Limits
    settings: ChatSettings
    run_id: str
    session: Session


class Agent:
    """A model with tools and instructions. Immutable and cheap; a run never changes it.

    Args:
        model: ``"endpoint:model"`` (``"openai:gpt-5-mini"``, ``"ollama:qwen3"``), ``"local"`` for the embedded model,
            or any object with a ``reply`` method (see `Model`).
        tools: Functions, with or without ``@tool``, `Tool` objects and toolsets. Their names must differ.
        instructions: What the model is to do; sent as the system message of every request.
        settings: Parameters of the requests.
        name: Tells agents apart, in records and where a saved run is gone on with.
        limits: How far a run may go.
        requires_approval: Which calls wait until somebody outside has allowed them, beside those of tools that ask for it
            themselves: all, or those for which a function says so; see ``requires_approval`` of `tool`.
        middleware: What wraps runs, model turns and tool calls; the first is the outermost.
        on_tool_error: ``"report"`` gives the model a short result when a tool raises something unexpected; ``"raise"`` ends
            the run with `ToolFailed`.
        repair: False takes calls as the model wrote them: it is told what is wrong with a name or with arguments, even
            where they can only mean one thing.
        eager: True starts calls of ``read_only`` tools while the reply that makes them is still streaming; their
            results are used only if it finishes well.
        journal: Where a durable engine records the effects of a run.

    Raises:
        DefinitionError: A function cannot become a tool, or two tools have one name.
        ConfigError: There is no such endpoint.
    """

    def __init__(  # noqa: PLR0913 - the front door: each is a word that users know
        self,
        model: str | Model,
        *,
        tools: Iterable[ToolLike] = (),
        instructions: str = "",
        name: str = "",
        settings: ChatSettings | None = None,
        limits: Limits | None = None,
        requires_approval: Approval = False,
        middleware: Sequence[Middleware] = (),
        on_tool_error: Literal["report", "raise"] = "report",
        repair: bool = True,
        eager: bool = False,
        journal: Journal | None = None,
    ) -> None:
        check_agent(
            words={"instructions": instructions, "name": name},
            settings=settings,
            limits=limits,
            requires_approval=requires_approval,
            middleware=middleware,
            on_tool_error=on_tool_error,
        )
        self._spec = RunSpec(
            model=_model(model),
            tools={each.name: each for each in flat_tools(tools)},
            name=name,
            instructions=instructions,
            settings=settings or ChatSettings(),
            limits=limits or Limits(),
            requires_approval=requires_approval,
            middleware=tuple(middleware),
            on_tool_error=on_tool_error,
            repair=repair,
            eager=eager,
            journal=journal or PlainJournal(),
        )
        check_names(self._spec.limits, self._spec.tools)

    def __repr__(self) -> str:
        return f"Agent({self.model!r}, tools=[{', '.join(self.tools)}])"

    @property
    def model(self) -> Model:
        """The model."""
        return self._spec.model

    @property
    def tools(self) -> Mapping[str, Tool]:
        """The tools by name."""
        return self._spec.tools

    async def run(
        self, prompt: Prompt | RunState | None = None, *, on_event: Emit = ignore_event, **options: Unpack[RunOptions]
    ) -> RunResult:
        """Run until there is an answer.

        Args:
            prompt: The question: text, content parts, or a whole message. A `RunState` is gone on with, however it
                ended; None goes on with the last run of the session.
            on_event: Told what happens; must return at once. `stream` is the more comfortable way to watch.
            **options: See `RunOptions`.

        Returns:
            The result; its ``status`` is ``"done"``, ``"limited"`` or ``"paused"``.

        Raises:
            AgentKitError: The run failed; ``error.state`` holds all that was done.
        """
        _, start = self._open(prompt, options, stream=False)
        return RunResult(await start(on_event))

    def stream(self, prompt: Prompt | RunState | None = None, **options: Unpack[RunOptions]) -> RunStream:
        """The same as `run`, to be watched: ``async with agent.stream(...) as events``; see `RunStream`."""
        return RunStream(*self._open(prompt, options, stream=True))

    def run_sync(
        self, prompt: Prompt | RunState | None = None, *, on_event: Emit = ignore_event, **options: Unpack[RunOptions]
    ) -> RunResult:
        """The same as `run`, for code that is not async.

        Raises:
            Interrupted: Ctrl-C; a `KeyboardInterrupt` whose ``state`` can be gone on with.
        """
        state, start = self._open(prompt, options, stream=False)

        async def main() -> RunResult:
            try:
                return RunResult(await start(on_event))
            finally:
                await self.aclose()

        if _in_event_loop():
            raise ConfigError("run_sync was called inside an event loop: write `await agent.run(...)` there")
        try:
            return anyio.run(main)
        except KeyboardInterrupt:
            raise Interrupted(state) from None

    async def aclose(self) -> None:
        """Close what the model and the middleware hold open in this event loop; the agent can still be used."""
        for each in (self.model, *self._spec.middleware):
            close = getattr(each, "aclose", None)
            if close is not None:
                await close()

    def _open(
        self, prompt: Prompt | RunState | None, options: RunOptions, *, stream: bool
    ) -> tuple[RunState, Callable[[Emit], Awaitable[RunState]]]:
        """The state of a new run, and what starts it."""
        check_process()
        unknown = options.keys() - RunOptions.__annotations__.keys()
        if unknown:
            raise TypeError(f"a run takes {', '.join(sorted(RunOptions.__annotations__))}; not {min(unknown)!r}")
        check_options(prompt, options)
        settings, limits, session = options.get("settings"), options.get("limits"), options.get("session")
        spec = replace(
            self._spec,
            deps=options.get("deps"),
            limits=limits or self._spec.limits,
            settings=settings.over(self._spec.settings) if settings else self._spec.settings,
            stream=stream,
        )
        if limits is not None:
            check_names(limits, spec.tools)
        if prompt is None or isinstance(prompt, RunState):
            return _gone_on_with(prompt, spec, session, limits)
        history, news = parse_history(options.get("history"))
        spec = replace(spec, news=news)
        state = RunState(
            messages=[*history, spec.stamp(parse_prompt(prompt))],
            run_id=options.get("run_id") or uuid.uuid4().hex,
            agent=spec.name,
            limits=spec.limits,
            fingerprints=spec.fingerprints,
            artifacts=_artifacts(options.get("history")),
        )
        if session is None:
            return state, lambda emit: run(spec, state, emit)
        return state, lambda emit: run_in_session(session, spec, state, emit)


def _gone_on_with(
    given: RunState | None, spec: RunSpec, session: Session | None, limits: Limits | None
) -> tuple[RunState, Callable[[Emit], Awaitable[RunState]]]:
    if session is not None:
        live = RunState(messages=[]) if given is None else given.copy()
        live.status = "running"
        return live, lambda emit: resume_in_session(session, spec, live, emit, given=given, limits=limits)
    if given is None:
        raise ConfigError("the question is missing; only a session can be gone on with without one")
    if given.revision:
        raise StateError(
            "this state is kept in a session, which would not know what a run without it does: give session= too "
            "(or set state.revision = 0 to go on apart from it)"
        )
    spec = replace(spec, limits=limits or given.limits or spec.limits)
    state, news = prepare_resume(given, spec)
    return state, lambda emit: run(replace(spec, news=news), state, emit)


def _model(model: object) -> Model:
    if isinstance(model, str):
        return open_model(model)
    if not isinstance(model, Model):
        raise ConfigError(f'a model is a name such as "openai:gpt-5-mini" or an object with reply(), not {model!r}')
    return model


def _artifacts(history: History) -> dict[str, str]:
    """What results of an earlier run were cut: the model may want to read on."""
    state = history.state if isinstance(history, RunResult) else history
    return dict(state.artifacts) if isinstance(state, RunState) else {}


def _in_event_loop() -> bool:
    try:
        anyio.current_time()
    except RuntimeError:
        return False
    return True
