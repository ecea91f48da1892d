"""What the tests of runs in sessions share."""

from collections import Counter

import anyio
import anyio.lowlevel
import pytest

from agentkit import Agent, RunState, tool
from agentkit.chat.content import ImagePart
from agentkit.sessions import Sessions
from agentkit.testing import Answer, ScriptedModel
from agentkit.tools.context import ToolContext
from agentkit.tools.options import Approval
from agentkit.tools.result import ToolResult
from tests.crash.points import Died, Dying, Watched


class World:
    """Counts what was done, by the keys of the calls that did it."""

    def __init__(self) -> None:
        self.done: Counter[str] = Counter()
        self.model = ScriptedModel([])
        self.let_go = False

    def agent(self, *script: Answer, requires_approval: Approval = False, name: str = "") -> Agent:
        @tool
        async def do(what: str, context: ToolContext[None]) -> str:
            """Do something."""
            await anyio.lowlevel.checkpoint()
            self.done[context.idempotency_key] += 1
            return f"{what} is done"

        @tool(requires_approval=True)
        async def send(to: str, context: ToolContext[None]) -> str:
            """Send something."""
            self.done[context.idempotency_key] += 1
            return f"sent to {to}"

        @tool
        async def draw(context: ToolContext[None]) -> ToolResult:
            """Make much text and a picture."""
            self.done[context.idempotency_key] += 1
            return ToolResult("much " * 20_000, files=[ImagePart("https://example.org/a.png")])

        @tool(timeout=None)
        async def hang(context: ToolContext[None]) -> None:
            """Never end, until it is let go."""
            self.done[context.idempotency_key] += 1
            if not self.let_go:
                await anyio.sleep_forever()

        self.model = ScriptedModel(script)
        return Agent(self.model, tools=[do, send, draw, hang], requires_approval=requires_approval, name=name)


def roles(messages: object) -> list[str]:
    return [each.role for each in messages]  # type: ignore[attr-defined]


async def stored(sessions: Sessions) -> RunState:
    state = await sessions["s"].state()
    assert state is not None
    return state


async def crashed(agent: Agent, sessions: Sessions, after: str, **options: object) -> None:
    """Run until a point of the session has been passed, and die there."""
    dying = Dying(-1)

    def passes(point: str) -> None:
        dying(point)
        if point == after:
            dying.dead = True
            raise Died

    with pytest.raises(BaseException) as caught:  # noqa: PT011 - alone, or in a group that a task group has made of it
        await agent.run(resume="prompt" not in options, session=Watched(sessions["s"], passes), **options)  # type: ignore[arg-type]
    assert died(caught.value), caught.value


def died(error: BaseException) -> bool:
    return isinstance(error, Died) or (isinstance(error, BaseExceptionGroup) and any(map(died, error.exceptions)))
