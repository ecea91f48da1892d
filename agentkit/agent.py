"""`Agent`: the front door."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, TypedDict, Unpack, cast

import anyio

from agentkit.chat.client import open_model
from agentkit.chat.events import Emit, nobody
from agentkit.chat.reply import Model
from agentkit.chat.settings import ChatSettings
from agentkit.errors import ConfigError
from agentkit.run.journal import Journal, PlainJournal
from agentkit.run.limits import Limits
from agentkit.run.loop import run
from agentkit.run.middleware import Middleware
from agentkit.run.opening import History, Prompt, read_history, read_question
from agentkit.run.spec import RunSpec
from agentkit.run.state import RunResult, RunState
from agentkit.run.stream import RunStream
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
    """

    history: History
    deps: Any
    limits: Limits
    settings: ChatSettings
    run_id: str


class Agent:
    """A model with tools and instructions. Immutable and cheap; a run never changes it.

    Args:
        model: ``"endpoint:model"`` (``"openai:gpt-5-mini"``, ``"ollama:qwen3"``), ``"local"`` for the embedded model,
            or any object with a ``reply`` method (see `Model`).
        tools: Functions, with or without ``@tool``, `Tool` objects and toolsets. Their names must differ.
        instructions: What the model is to do; sent as the system message of every request.
        settings: Parameters of the requests.
        limits: How far a run may go.
        middleware: What wraps runs, model turns and tool calls; the first is the outermost.
        tool_errors: ``"tell"`` gives the model a short result when a tool raises something unexpected; ``"raise"`` ends
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
        settings: ChatSettings | None = None,
        limits: Limits | None = None,
        middleware: Sequence[Middleware] = (),
        tool_errors: Literal["tell", "raise"] = "tell",
        repair: bool = True,
        eager: bool = False,
        journal: Journal | None = None,
    ) -> None:
        for complaint in _wrong(instructions, settings, limits, middleware, tool_errors):
            raise ConfigError(complaint)
        self._spec = RunSpec(
            model=_model(model),
            tools={each.name: each for each in flat_tools(tools)},
            instructions=instructions,
            settings=settings or ChatSettings(),
            limits=limits or Limits(),
            middleware=tuple(middleware),
            tool_errors=tool_errors,
            repair=repair,
            eager=eager,
            journal=journal or PlainJournal(),
        )

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

    async def run(self, prompt: Prompt, *, emit: Emit = nobody, **options: Unpack[RunOptions]) -> RunResult:
        """Run until there is an answer.

        Args:
            prompt: The question: text, content parts, or a whole message.
            emit: Told what happens; must return at once. `stream` is the more comfortable way to watch.
            **options: See `RunOptions`.

        Returns:
            The result; its ``status`` is ``"done"``, ``"limited"`` or ``"paused"``.

        Raises:
            AgentKitError: The run failed; ``error.state`` holds all that was done.
        """
        return RunResult(await run(*self._open(prompt, options), emit))

    def stream(self, prompt: Prompt, **options: Unpack[RunOptions]) -> RunStream:
        """The same as `run`, to be watched: ``async with agent.stream(...) as events``; see `RunStream`."""
        spec, state = self._open(prompt, options)
        watched = replace(spec, stream=True)
        return RunStream(state, lambda emit: run(watched, state, emit))

    def run_sync(self, prompt: Prompt, *, emit: Emit = nobody, **options: Unpack[RunOptions]) -> RunResult:
        """The same as `run`, for code that is not async."""

        async def main() -> RunResult:
            try:
                return await self.run(prompt, emit=emit, **options)
            finally:
                await self.aclose()

        if _in_event_loop():
            raise ConfigError("run_sync was called inside an event loop: write `await agent.run(...)` there")
        return anyio.run(main)

    async def aclose(self) -> None:
        """Close what the model holds open in this event loop; the agent can still be used."""
        close = getattr(self.model, "aclose", None)
        if close is not None:
            await close()

    def _open(self, prompt: Prompt, options: RunOptions) -> tuple[RunSpec, RunState]:
        unknown = options.keys() - RunOptions.__annotations__.keys()
        if unknown:
            raise TypeError(f"a run takes {', '.join(sorted(RunOptions.__annotations__))}; not {min(unknown)!r}")
        settings = options.get("settings")
        spec = replace(
            self._spec,
            deps=options.get("deps"),
            limits=options.get("limits") or self._spec.limits,
            settings=settings.over(self._spec.settings) if settings else self._spec.settings,
        )
        history, mended = read_history(options.get("history"))
        messages = [*history, read_question(prompt)]
        state = RunState(messages=messages, run_id=options.get("run_id") or uuid.uuid4().hex)
        return replace(spec, mended=tuple(mended)), state


def _model(model: object) -> Model:
    if isinstance(model, str):
        return open_model(model)
    if not isinstance(model, Model):
        raise ConfigError(f'a model is a name such as "openai:gpt-5-mini" or an object with reply(), not {model!r}')
    return model


def _wrong(instructions: object, settings: object, limits: object, middleware: object, errors: object) -> list[str]:
    """What is wrong with the agent's arguments, as type checkers are not everywhere."""
    given = cast("Sequence[object]", middleware) if isinstance(middleware, Sequence) else [middleware]
    whole = all(isinstance(each, Middleware) for each in given)
    checks = [
        (isinstance(instructions, str), f"instructions is a text, not {instructions!r:.80}"),
        (isinstance(settings, ChatSettings | None), f"settings is a ChatSettings(...), not {settings!r:.80}"),
        (isinstance(limits, Limits | None), f"limits is a Limits(...), not {limits!r:.80}"),
        (whole, f"middleware is a list of Middleware objects, not {middleware!r:.80}"),
        (errors in ("tell", "raise"), f'tool_errors is "tell" or "raise", not {errors!r}'),
    ]
    return [complaint for right, complaint in checks if not right]


def _in_event_loop() -> bool:
    try:
        anyio.current_time()
    except RuntimeError:
        return False
    return True
