"""pydantic-ai: an agent whose model is our agent, with a tool of its own and a typed output."""

import sys

import anyio
from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

HELLO, QUESTION, SUNNY = sys.argv[3:6]
model = OpenAIChatModel("agent", provider=OpenAIProvider(base_url=sys.argv[1], api_key=sys.argv[2]))
assert Agent(model).run_sync("hi").output == HELLO
agent = Agent(model)


@agent.tool_plain
def weather(city: str) -> str:
    """Tell the weather."""
    return "sunny"


assert SUNNY in agent.run_sync(QUESTION).output


async def stream() -> str:
    async with Agent(model).run_stream("hi") as result:
        return [each async for each in result.stream_text()][-1]


assert anyio.run(stream) == HELLO


class Place(BaseModel):
    city: str


assert Agent(model, output_type=NativeOutput(Place)).run_sync(QUESTION).output == Place(city="Paris")
