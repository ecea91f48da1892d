"""The events and the result of a run, as they happen."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from agentkit.chat.events import Emit
from agentkit.chat.stream import Channel
from agentkit.errors import StateError
from agentkit.run.inputs import Prompt
from agentkit.run.state import RunResult, RunState

__all__ = ["RunStream"]

Out = TypeVar("Out")


class RunStream(Channel, Generic[Out]):
    """The events of a run, as they happen. ``async with`` starts the run; leaving it early cancels the run.

    ::

        async with agent.stream("...") as stream:
            async for event in stream: ...
            result = await stream.result()

    The run has a task of its own: any task may leave the block, in any way, and read the events. Leaving the block
    waits for the end of the run and cancels nothing else. Iterating ends when the run does, and raises its error. A
    slow reader gets fewer, longer deltas, and every other event.

    Attributes:
        state: The state of the run so far, also after it was cancelled.
    """

    def __init__(self, state: RunState, start: Callable[[Emit], Awaitable[RunResult[Out]]]) -> None:
        self._result: RunResult[Out] | None = None

        async def work(emit: Emit) -> None:
            try:
                self._result = await start(emit)
            except Exception:
                if self.state.status == "running":  # it could not begin: the session is busy, perhaps
                    self.state.status = "failed"
                raise

        super().__init__(work)
        self.state = state

    def __repr__(self) -> str:
        return f"RunStream({self.state.status if self._task else 'not started'}, turns={self.state.turns})"

    async def result(self) -> RunResult[Out]:
        """Wait for the end and return the result. Unread events can still be read inside the block.

        Returns:
            The result; for a cancelled run, what there is so far.

        Raises:
            AgentKitError: The run failed.
        """
        await self.wait()
        return self._result or RunResult(self.state)

    def send(self, prompt: Prompt) -> None:
        """Send a message to the running run; the model reads it in its next turn.

        Call it in the event loop of the run; from another thread, use `anyio.from_thread.run_sync`.

        Raises:
            StateError: The run has ended.
            ConfigError: The message is empty or malformed.
        """
        if self.state.status != "running":
            raise StateError(
                "the run has ended and reads no more messages: start another run with history=result or in its session"
            )
        self.state.add_message(prompt)

    def _finish(self) -> None:
        if self.state.status == "running":  # it was cancelled before it began
            self.state.status = "cancelled"
        super()._finish()
