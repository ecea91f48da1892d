"""What serving costs, in calls of the package's functions: no more than is written down here."""

from typing import Any

from agentkit import Agent, serve
from agentkit.testing import Chunks, FunctionModel
from tests.cost import calls_of
from tests.serve.asgi import TOKEN, Client

WORDS = 200
A_REQUEST, A_CHUNK = 150, 12  # more than without the server; lower them whenever they fall


def made(words: int) -> Agent:
    return Agent(FunctionModel(lambda request: Chunks(*["word "] * words)))


def added(words: int, **more: Any) -> int:
    agent = made(words)
    client = Client(serve.app(agent, token=TOKEN))

    async def alone() -> None:
        if not more:
            await agent.run("hi")
            return
        async with agent.stream("hi") as stream:
            async for _ in stream:
                pass

    async def served() -> None:
        async with client.open(
            "POST", "/v1/chat/completions", {"model": "agent", "messages": [{"role": "user", "content": "hi"}], **more}
        ) as answer:
            await answer.ended.wait()
        assert answer.status == 200

    return calls_of(served) - calls_of(alone)


def test_a_request_costs_few_calls_more_through_a_server() -> None:
    assert added(1) <= A_REQUEST


def test_a_chunk_costs_few_calls_more_through_a_server() -> None:
    few, many = added(10, stream=True), added(10 + WORDS, stream=True)
    assert (many - few) / WORDS <= A_CHUNK
