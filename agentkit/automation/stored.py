"""A run under a name: started, resumed or read again, depending on what its session holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

from agentkit import Agent, Limits, RunResult
from agentkit.chat import encode_json
from agentkit.errors import ConfigError
from agentkit.events import Emit, ignore_event
from agentkit.messages import ContentPart, UserMessage
from agentkit.run import Prompt, RunState, Session

__all__ = ["SessionStore", "StoredRun", "check_sessions", "prompt_json"]

Out = TypeVar("Out")
_READ = Limits(calls=None, tokens=None, seconds=None, on_limit="stop")  # without turns, the model is not asked


class SessionStore(Protocol):
    """Sessions by name: `SQLiteSessions`, `MemorySessions`, or your own."""

    def __getitem__(self, name: str, /) -> Session:
        """Return the session of this name, which need not exist yet."""
        ...


def check_sessions(sessions: object) -> None:
    """Check that these are sessions.

    Raises:
        ConfigError: They are a path, a single session, or something else.
    """
    if isinstance(sessions, str) or not hasattr(sessions, "__getitem__"):
        raise ConfigError(f'sessions= takes all sessions of a file, SQLiteSessions("work.db"), not {sessions!r:.80}')


def prompt_json(prompt: Prompt) -> str:
    """Return a prompt as JSON.

    Raises:
        ConfigError: It is not a prompt.
    """
    try:
        message = prompt if isinstance(prompt, UserMessage) else UserMessage(_content(prompt))
        return encode_json(message.to_record()).decode()
    except (AttributeError, TypeError):
        raise ConfigError(f"a prompt is a string, content parts or a UserMessage, not {prompt!r:.80}") from None


def _content(prompt: str | Sequence[ContentPart]) -> str | tuple[ContentPart, ...]:
    return prompt if isinstance(prompt, str) else tuple(prompt)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRun:
    """How the run of a session is started or resumed.

    Attributes:
        deps: The dependencies of the run.
        limits: The limits of the run, also when it is resumed; None for those of the agent.
        on_event: Receives its events.
        run_id: The id of the run; random by default.
    """

    deps: Any = None
    limits: Limits | None = None
    on_event: Emit = field(default=ignore_event, repr=False)
    run_id: str = ""

    async def finish(
        self, agent: Agent[Any, Out], prompt: Prompt, session: Session, state: RunState | None
    ) -> RunResult[Out]:
        """Start the run or resume it. If it is done, only its output is read again.

        An output that the agent no longer accepts is requested again.

        Args:
            agent: The agent.
            prompt: The prompt, sent only if there is no run in the session.
            session: Where the run is stored.
            state: The state that the session holds, perhaps with decisions.
        """
        limits = self.limits or agent.limits
        if state is None:
            return await agent.run(
                prompt, deps=self.deps, session=session, limits=limits, on_event=self.on_event, run_id=self.run_id
            )
        if state.status == "done" and (result := await self.read(agent, state)).has_output:
            return result
        return await agent.run(resume=state, deps=self.deps, session=session, limits=limits, on_event=self.on_event)

    async def read(self, agent: Agent[Any, Out], state: RunState) -> RunResult[Out]:
        """Read the result of a run that has ended, without a request and without storing anything."""
        ended = replace(state, revision=0, limit="")
        result = await agent.run(resume=ended, deps=self.deps, limits=replace(_READ, turns=max(1, state.turns)))
        result.state.status, result.state.limit, result.state.limits = state.status, state.limit, state.limits
        return result
