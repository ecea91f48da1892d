"""agent-framework."""

from agent_framework import Agent
from agent_framework_openai import OpenAIChatCompletionClient

from tools import TOOLS


class Driver:
    """An agent."""

    def __init__(self, base_url: str, model: str) -> None:
        client = OpenAIChatCompletionClient(model=model, base_url=base_url, api_key="none")
        client.function_invocation_configuration["max_iterations"] = 1000
        self.agent = Agent(client, tools=list(TOOLS))

    async def run(self) -> str:
        return str((await self.agent.run("What is 2 + 3?")).text)

    async def stream(self) -> int:
        events = 0
        async for _ in self.agent.run("What is 2 + 3?", stream=True):
            events += 1
        return events


def open(base_url: str, model: str) -> Driver:  # noqa: A001 - what a driver is asked for
    return Driver(base_url, model)
