"""A run that is watched while it happens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from agentkit.chat.channel import Channel
from agentkit.chat.events import Emit
from agentkit.run.state import RunResult, RunState

__all__ = ["RunStream"]


class RunStream(Channel[RunResult]):
    """The events of a run, as they happen. ``async with`` starts the run; leaving it early cancels the run.

    ::

        async with agent.stream("...") as events:
            async for event in events: ...
            result = await events.result()

    Iterating ends when the run does, and raises what the run raised.

    Attributes:
        state: The run so far, also after it was cancelled.
    """

    def __init__(self, state: RunState, start: Callable[[Emit], Awaitable[RunState]]) -> None:
        async def begin(emit: Emit) -> RunResult:
            return RunResult(await start(emit))

        super().__init__(begin)
        self.state = state

    async def result(self) -> RunResult:
        """Wait for the end and give the result; events that nobody has read are dropped.

        Raises:
            AgentKitError: The run failed.
        """
        return await self.end()
