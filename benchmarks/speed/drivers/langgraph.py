"""langchain, whose agents run on langgraph."""

from langchain.agents import create_agent
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

from tools import TOOLS

PROMPT = {"messages": [{"role": "user", "content": "What is 2 + 3?"}]}
CONFIG = {"recursion_limit": 10_000}


class Driver:
    """An agent."""

    def __init__(self, base_url: str, model: str) -> None:
        chat = ChatOpenAI(model=model, base_url=base_url, api_key="none", use_responses_api=False)
        self.agent = create_agent(chat, tools=[tool(each) for each in TOOLS])

    async def run(self) -> str:
        return str((await self.agent.ainvoke(PROMPT, CONFIG))["messages"][-1].content)

    async def stream(self) -> int:
        events = 0
        async for _ in self.agent.astream(PROMPT, CONFIG, stream_mode="messages"):
            events += 1
        return events


def open(base_url: str, model: str) -> Driver:  # noqa: A001 - what a driver is asked for
    return Driver(base_url, model)
