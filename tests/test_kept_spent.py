"""What a run had used when its process ended counts when it goes on."""

from pathlib import Path

import anyio
import pytest

from agentkit import Agent, AssistantMessage, Limits, Reply, Usage, tool
from agentkit.chat.reply import Choice
from agentkit.sessions import MemorySessions, Sessions, SQLiteSessions
from agentkit.testing import ScriptedModel, call
from tests.kept import crashed

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["memory", "sqlite"])
def sessions(request: pytest.FixtureRequest, tmp_path: Path) -> Sessions:
    return MemorySessions() if request.param == "memory" else SQLiteSessions(tmp_path / "chat.db", index=False)


async def test_what_an_agent_inside_a_finished_call_has_used_is_not_forgotten(sessions: Sessions) -> None:
    let_go = False
    asked = 0

    @tool(timeout=None)
    async def ask(question: str) -> str:
        """Ask another agent."""
        nonlocal asked
        asked += 1
        usage = Usage(requests=1, prompt_tokens=900, total_tokens=900, cost=0.5)
        inner = Agent(ScriptedModel([Reply(choices=(Choice(message=AssistantMessage(question)),), usage=usage)]))
        return (await inner.run(question)).output

    @tool(timeout=None)
    async def hang() -> None:
        """Never end, until it is let go."""
        if not let_go:
            await anyio.sleep_forever()

    def agent(*script: object) -> Agent:
        return Agent(ScriptedModel(script), tools=[ask, hang])  # type: ignore[arg-type]  # of a test

    first = agent([call("ask", id="a", question="?"), call("hang", id="b")])
    await crashed(first, sessions, "recorded r:call:a", prompt="go", run_id="r")
    let_go = True
    result = await agent("done").run(resume=True, session=sessions["s"], limits=Limits(tokens=900))
    assert (asked, result.status, result.limit) == (1, "limited", "the limit of 900 tokens")
    assert (result.usage.cost, result.state.calls) == (0.5, 2)
