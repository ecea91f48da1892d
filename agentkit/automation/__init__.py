"""Programs of many runs.

::

    from agentkit import Agent
    from agentkit.automation import map_runs

    async with map_runs(Agent("openai:gpt-5-mini"), ["What is 2 + 2?", "What is 3 + 3?"]) as outcomes:
        async for each in outcomes:
            print(each.output)
"""

from agentkit.automation.map import RunMap, RunOutcome, map_runs
from agentkit.automation.stored import SessionStore

__all__ = ["RunMap", "RunOutcome", "SessionStore", "map_runs"]
