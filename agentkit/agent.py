"""`Agent`: the front door."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, TypeAlias, TypedDict, Unpack

import anyio

from agentkit.chat.client import open_model
from agentkit.chat.events import Emit, nobody
from agentkit.chat.messages import ContentPart, Message, UserMessage, messages_from
from agentkit.chat.reply import Model
from agentkit.chat.settings import ChatSettings
from agentkit.errors import ConfigError, DefinitionError
from agentkit.run.journal import Journal, PlainJournal
from agentkit.run.limits import Limits
from agentkit.run.loop import RunSpec, run
from agentkit.run.middleware import Middleware
from agentkit.run.state import RunResult, RunState
from agentkit.run.stream import RunStream
from agentkit.run.transcript import complaints, open_calls
from agentkit.tools.tool import Tool, as_tool

__all__ = ["Agent", "Prompt", "RunOptions"]

Prompt: TypeAlias = str | UserMessage | Sequence[ContentPart]


class RunOptions(TypedDict, total=False):
    """What one run can be given beside its question.

    Attributes:
        history: The messages before the question, for example ``result.transcript`` of an earlier run.
        deps: Given to tools as ``context.deps``.
        limits: Instead of the agent's.
        settings: Request parameters that go before the agent's.
        run_id: Names the run; a journal finds its effects by it. Made up if not given.
    """

    history: Sequence[Message | Mapping[str, Any]]
    deps: Any
    limits: Limits
    settings: ChatSettings
    run_id: str


class Agent:
    """A model with tools and instructions. Immutable and cheap; a run never changes it.

    Args:
        model: ``"endpoint:model"`` (``"openai:gpt-5-mini"``, ``"ollama:qwen3"``), ``"local"`` for the embedded model,
            or any object with a ``reply`` method (see `Model`).
        tools: Functions, with or without ``@tool``, and `Tool` objects. Their names must differ.
        instructions: What the model is to do; sent as the system message of every request.
        settings: Parameters of the requests.
        limits: How far a run may go.
        middleware: What wraps runs, model turns and tool calls; the first is the outermost.
        tool_errors: ``"tell"`` gives the model a short result when a tool raises something unexpected; ``"raise"`` ends
            the run with `ToolFailed`.
        journal: Where a durable engine records the effects of a run.

    Raises:
        DefinitionError: A function cannot become a tool, or two tools have one name.
        ConfigError: There is no such endpoint.
    """

    def __init__(
        self,
        model: str | Model,
        *,
        tools: Iterable[Tool | Callable[..., Any]] = (),
        instructions: str = "",
        settings: ChatSettings | None = None,
        limits: Limits | None = None,
        middleware: Sequence[Middleware] = (),
        tool_errors: Literal["tell", "raise"] = "tell",
        journal: Journal | None = None,
    ) -> None:
        self._spec = RunSpec(
            model=open_model(model) if isinstance(model, str) else model,
            tools=_by_name(tools),
            instructions=instructions,
            settings=settings or ChatSettings(),
            limits=limits or Limits(),
            middleware=tuple(middleware),
            tool_errors=tool_errors,
            journal=journal or PlainJournal(),
        )

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
        settings = options.get("settings")
        spec = replace(
            self._spec,
            deps=options.get("deps"),
            limits=options.get("limits") or self._spec.limits,
            settings=settings.over(self._spec.settings) if settings else self._spec.settings,
        )
        history = _checked(messages_from(options.get("history", ())))
        run_id = options.get("run_id") or uuid.uuid4().hex
        return spec, RunState(messages=[*history, _question(prompt)], run_id=run_id)


def _by_name(tools: Iterable[Tool | Callable[..., Any]]) -> dict[str, Tool]:
    by_name: dict[str, Tool] = {}
    for each in tools:
        tool = as_tool(each)
        if tool.name in by_name:
            raise DefinitionError(f"two tools are named {tool.name!r}: give one of them another with @tool(name=...)")
        by_name[tool.name] = tool
    return by_name


def _question(prompt: Prompt) -> UserMessage:
    message = (
        prompt if isinstance(prompt, UserMessage) else UserMessage(prompt if isinstance(prompt, str) else tuple(prompt))
    )
    if not message.content or (isinstance(message.content, str) and not message.content.strip()):
        raise ConfigError("the question is empty: say what the agent is to do")
    return message


def _checked(history: list[Message]) -> list[Message]:
    if open_calls(history):
        raise ConfigError(
            "the history ends in calls without results, so no question can follow: give their results first"
        )
    for complaint in complaints(history):
        raise ConfigError(f"the history is not a valid transcript: {complaint}")
    return history


def _in_event_loop() -> bool:
    try:
        anyio.current_time()
    except RuntimeError:
        return False
    return True
