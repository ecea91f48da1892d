"""pydantic-ai."""

from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.usage import UsageLimits

from tools import TOOLS

LIMITS = UsageLimits(request_limit=None)


class Driver:
    """An agent."""

    def __init__(self, base_url: str, model: str) -> None:
        provider = OpenAIProvider(base_url=base_url, api_key="none")
        self.agent = Agent(OpenAIChatModel(model, provider=provider), tools=TOOLS)

    async def run(self) -> str:
        return str((await self.agent.run("What is 2 + 3?", usage_limits=LIMITS)).output)

    async def stream(self) -> int:
        events = 0
        async with self.agent.run_stream_events("What is 2 + 3?", usage_limits=LIMITS) as stream:
            async for _ in stream:
                events += 1
        return events


def open(base_url: str, model: str) -> Driver:  # noqa: A001 - what a driver is asked for
    return Driver(base_url, model)
