"""openai-agents."""

from agents import Agent, OpenAIChatCompletionsModel, Runner, function_tool, set_tracing_disabled
from openai import AsyncOpenAI

from tools import TOOLS

set_tracing_disabled(True)


class Driver:
    """An agent."""

    def __init__(self, base_url: str, model: str) -> None:
        client = AsyncOpenAI(base_url=base_url, api_key="none")
        chat = OpenAIChatCompletionsModel(model=model, openai_client=client)
        self.agent = Agent(name="agent", model=chat, tools=[function_tool(each) for each in TOOLS])

    async def run(self) -> str:
        return str((await Runner.run(self.agent, "What is 2 + 3?", max_turns=1000)).final_output)

    async def stream(self) -> int:
        events = 0
        async for _ in Runner.run_streamed(self.agent, "What is 2 + 3?", max_turns=1000).stream_events():
            events += 1
        return events


def open(base_url: str, model: str) -> Driver:  # noqa: A001 - what a driver is asked for
    return Driver(base_url, model)
