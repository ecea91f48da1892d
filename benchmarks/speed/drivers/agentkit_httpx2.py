"""agentkit, on httpx2, unless another engine is named."""

import os

from agentkit import Agent, Limits
from agentkit.chat import ChatClient
from tools import TOOLS


class Driver:
    """An agent."""

    def __init__(self, client: ChatClient) -> None:
        self.agent = Agent(client, tools=TOOLS, limits=Limits(turns=1000, calls=10_000))

    async def run(self) -> str:
        return (await self.agent.run("What is 2 + 3?")).output

    async def stream(self) -> int:
        events = 0
        async with self.agent.stream("What is 2 + 3?") as stream:
            async for _ in stream:
                events += 1
        return events


def open(base_url: str, model: str) -> Driver:  # noqa: A001 - what a driver is asked for
    return Driver(ChatClient(base_url, model=model, http=os.environ.get("AGENTKIT_HTTP", "httpx2")))
