"""The events and the result of a run, as they happen."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from types import MappingProxyType
from typing import Any, Generic, Self, TypeVar

from agentkit.chat.events import Emit, Event
from agentkit.chat.stream import Channel
from agentkit.errors import StateError
from agentkit.run.inputs import Prompt
from agentkit.run.loop import close_transcript
from agentkit.run.output import Drafts, TextDrafts
from agentkit.run.state import RunResult, RunState

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
        state: The state of the run so far, even after it was cancelled.
    """

    def __init__(
        self,
        state: RunState,
        start: Callable[[Emit], Awaitable[RunResult[Out]]],
        drafts: Mapping[str, Callable[[], Drafts]] = MappingProxyType({}),
        recent: Collection[Event] = (),
    ) -> None:
        self._drafts, self._recent = drafts, recent
        self._result: RunResult[Out] | None = None

        async def work(emit: Emit) -> None:
            try:
                self._result = await start(emit)
            except Exception:
                if self.state.status == "running":  # it could not begin: perhaps the session is busy
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
        return self._result or RunResult(self.state, events=tuple(self._recent))

    def output(self) -> AsyncIterator[Any]:
        """The output as it grows, and in the end the output itself.

        Each draft is what the model has written so far: text, or dicts and lists of JSON values, even for an output
        that becomes a model or a dataclass. Members still to come are missing; only a string without fixed values
        appears before it is complete. When the model starts over, so do the drafts. The last value is the validated
        output, if there is one. Drafts share their complete parts: do not change them.
        """
        return _Outputs(self, self._drafts)

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
            close_transcript(self.state)
        super()._finish()


class _Outputs:
    """The drafts of a stream and its output; not a generator, which a cancelled wait for its next item would end."""

    def __init__(self, stream: RunStream[Any], drafts: Mapping[str, Callable[[], Drafts]]) -> None:
        self._stream, self._over = stream, False
        self._made = {agent: make() for agent, make in drafts.items()}

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        while not self._over:
            try:
                event = await anext(self._stream)
            except StopAsyncIteration:
                self._over = True
                result = await self._stream.result()
                if result.has_output:
                    return result.output
                break
            if event.origin is None or not event.origin.path:
                drafts = self._made.setdefault(event.origin.agent if event.origin else "", TextDrafts())
                draft, there = drafts.feed(event)
                if there:
                    return draft
        raise StopAsyncIteration
