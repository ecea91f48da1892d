"""A run that is watched while it happens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from agentkit.chat.events import Emit
from agentkit.chat.stream import Channel
from agentkit.errors import StateError
from agentkit.run.prompt import Prompt
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
        self._scope: anyio.CancelScope | None = None  # made in the event loop of the run
        self._cancelled = False

        async def begin(emit: Emit) -> RunResult:
            self._scope = anyio.CancelScope()
            try:
                with self._scope:
                    if self._cancelled:
                        self._scope.cancel()
                    self.state = await start(emit)
            except Exception:
                if state.status == "running":  # it could not begin: the session is busy, perhaps
                    state.status = "failed"
                raise
            finally:
                if self.state.status == "running":  # it was cancelled before it had begun
                    self.state.status = "cancelled"
            return RunResult(self.state)

        super().__init__(begin)
        self.state = state

    async def result(self) -> RunResult:
        """Wait for the end and give the result; events that nobody has read are dropped.

        Raises:
            AgentKitError: The run failed.
        """
        return await self.end()

    def cancel(self) -> None:
        """End the run now: what runs is cancelled, and the result is ``cancelled``. Its state can be gone on with.

        Call it in the event loop of the run; from another thread by ``call_soon_threadsafe`` or `anyio.from_thread`.
        """
        self._cancelled = True
        if self._scope is not None:
            self._scope.cancel()

    def send(self, prompt: Prompt) -> None:
        """Tell the running agent something more: it reads it in its next turn.

        Raises:
            StateError: The run has ended.
            ConfigError: It is empty, or no question.
        """
        if self.state.status != "running":
            raise StateError("the run has ended and reads no more: ask on with history=result, or in the session")
        self.state.add_message(prompt)
