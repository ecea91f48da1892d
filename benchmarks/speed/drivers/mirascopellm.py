"""mirascope, whose loop its users write."""

import asyncio

from mirascope import llm

from tools import TOOLS, add, note, wait


async def blocking_wait() -> str:
    """Wait for fifty milliseconds."""
    return await asyncio.to_thread(wait)  # it has no threads for tools that block


blocking_wait.__name__ = "wait"
ASYNC_TOOLS = [llm.tool(each) for each in (add, blocking_wait, note)]
assert len(ASYNC_TOOLS) == len(TOOLS)


class Driver:
    """A loop around its calls."""

    def __init__(self, model: str) -> None:
        self.model = llm.Model(f"bench/{model}:completions")

    async def run(self) -> str:
        response = await self.model.call_async("What is 2 + 3?", tools=ASYNC_TOOLS)
        while response.tool_calls:
            response = await response.resume(await response.execute_tools())
        return str(response.text())

    async def stream(self) -> int:
        events = 0
        response = await self.model.stream_async("What is 2 + 3?", tools=ASYNC_TOOLS)
        while True:
            async for _ in response.chunk_stream():
                events += 1
            if not response.tool_calls:
                return events
            response = await response.resume(await response.execute_tools())


def open(base_url: str, model: str) -> Driver:  # noqa: A001 - what a driver is asked for
    llm.register_provider("openai:completions", "bench/", api_key="none", base_url=base_url)
    return Driver(model)
