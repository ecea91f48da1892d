"""`Guard`: looks at what a model reads, what it answers and what it calls, and may object."""

from __future__ import annotations

from collections.abc import Sequence

from agentkit.chat.events import Emit
from agentkit.chat.messages import Message
from agentkit.chat.reply import Reply
from agentkit.chat.request import ChatRequest
from agentkit.errors import ToolError
from agentkit.middleware.beside import Held, beside, check_guard
from agentkit.middleware.verdict import TRIPPED, Check, GuardTripped, objection, stop, unanswered
from agentkit.run.middleware import Middleware, NextModel, NextRun, NextTool, ToolRequest
from agentkit.run.state import RunState
from agentkit.tools.results import ToolResult
from agentkit.tools.running import kind_of

__all__ = ["Guard"]


class Guard(Middleware):
    """Asks functions of yours whether all is well; what they object to does not happen.

    They return None or True if so, else False or the reason. They may be async; if not, they must return at once. An
    objection ends the run with `GuardTripped`, but for ``tool``.

    Args:
        input: Is given the messages that no model has answered yet: the question, results of calls. If it is async, it
            runs beside the request and cancels it; nothing is shown before it agrees. If not, it goes first.
        output: Is given each finished `Reply`, before its calls run. Its pieces have been shown by then.
        tool: Is given each `ToolRequest` before it runs. The model reads the objection as the call's result. To end the
            run instead, raise `GuardTripped`: the other calls of the turn finish first.
        hold: Whether nothing of a reply is shown before ``output`` agrees.
    """

    def __init__(
        self,
        *,
        input: Check[Sequence[Message]] | None = None,  # noqa: A002 - the word for it
        output: Check[Reply] | None = None,
        tool: Check[ToolRequest] | None = None,
        hold: bool = False,
    ) -> None:
        check_guard(input=input, output=output, tool=tool)
        self._input, self._output, self._tool, self._hold = input, output, tool, hold
        self._first = input is None or kind_of(input) != "async"

    async def around_run(self, state: RunState, emit: Emit, inner: NextRun) -> RunState:  # noqa: ARG002, D102
        token = TRIPPED.set(tripped := list[GuardTripped]())
        try:
            state = await inner(state)
        finally:
            TRIPPED.reset(token)
        stop(*tripped)
        return state

    async def around_model(self, request: ChatRequest, emit: Emit, inner: NextModel) -> Reply:  # noqa: D102
        stop(*TRIPPED.get())
        held = Held(emit)

        async def look() -> None:
            stop(await objection("input", self._input, unanswered(request.messages)))
            if not self._hold:
                held.let_go()

        reply = await beside(look, lambda: inner(request, held), first=self._first)
        stop(await objection("output", self._output, reply))
        held.let_go()
        return reply

    async def around_tool(self, request: ToolRequest, inner: NextTool) -> ToolResult:  # noqa: D102
        try:
            objected = await objection("tool", self._tool, request)
        except GuardTripped as error:
            TRIPPED.get().append(objected := error)
        if objected is not None:
            raise ToolError(f"not allowed: {objected.reason}")
        return await inner(request)
