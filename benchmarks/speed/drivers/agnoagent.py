"""agno."""

from agno.agent import Agent
from agno.models.openai import OpenAILike

from tools import TOOLS


class Driver:
    """An agent."""

    def __init__(self, base_url: str, model: str) -> None:
        chat = OpenAILike(id=model, base_url=base_url, api_key="none")
        self.agent = Agent(model=chat, tools=list(TOOLS), telemetry=False)

    async def run(self) -> str:
        return str((await self.agent.arun("What is 2 + 3?")).content)

    async def stream(self) -> int:
        events = 0
        async for _ in self.agent.arun("What is 2 + 3?", stream=True, stream_events=True):
            events += 1
        return events


def open(base_url: str, model: str) -> Driver:  # noqa: A001 - what a driver is asked for
    return Driver(base_url, model)
