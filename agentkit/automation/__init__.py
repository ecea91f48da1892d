"""Programs of many runs, and of many steps that survive crashes.

::

    from agentkit import Agent
    from agentkit.automation import automation, gather, map_runs, step
    from agentkit.sessions import SQLiteSessions

    async with map_runs(Agent("openai:gpt-5-mini"), ["What is 2 + 2?", "What is 3 + 3?"]) as outcomes:
        async for each in outcomes:
            print(each.output)

    answer = step(Agent("openai:gpt-5-mini", name="answer"))

    @automation
    async def both() -> list[str]:
        return [each.output for each in await gather(answer("What is 2 + 2?"), answer("What is 3 + 3?"))]

    print((await both.job(SQLiteSessions("work.db"), "today").run()).output)
"""

from agentkit.automation.job import Automation, Job, JobResult, automation
from agentkit.automation.map import RunMap, RunOutcome, map_runs
from agentkit.automation.scope import idempotency_key
from agentkit.automation.steps import AgentStep, Step, ToolStep, gather, step
from agentkit.automation.stored import SessionStore

__all__ = [
    "AgentStep",
    "Automation",
    "Job",
    "JobResult",
    "RunMap",
    "RunOutcome",
    "SessionStore",
    "Step",
    "ToolStep",
    "automation",
    "gather",
    "idempotency_key",
    "map_runs",
    "step",
]
