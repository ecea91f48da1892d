"""What type checkers refuse: each line that ends in ``# refused`` is an error to both, and nothing else is."""

from __future__ import annotations

from agentkit import Agent, TypedOutput, handoff
from agentkit.automation import automation, map_runs
from agentkit.sessions import MemorySessions
from tests.typing.right import Deps, Invoice, Other, add, count, counted, whoami


async def outputs() -> None:
    result = await Agent("m", output_type=Invoice).run("")
    result.output.total()  # refused
    number: int = (await Agent("m").run("")).output  # refused
    agent: Agent[None, int] = Agent("m", output_type=Invoice)  # refused
    TypedOutput(Invoice, way="xml")  # refused
    Agent("m", output_type=3)  # refused
    assert number
    assert agent


async def dependencies() -> None:
    agent = Agent("m", tools=[whoami, add], deps_type=Deps)
    await agent.run("", deps=Other(key="a"))  # refused
    Agent("m", tools=[whoami], deps_type=Other)  # refused
    Agent("m", tools=[handoff(agent)], deps_type=Other, name="first")  # refused
    other: Agent[Other] = Agent("m", tools=[whoami])  # refused by mypy
    assert other


async def automations() -> None:
    await count(1)  # refused
    await counted.job(MemorySessions(), "a").run(1)  # refused
    automation(str.upper)  # refused
    await map_runs(Agent("m", deps_type=Deps), ["a"], deps=Other(key="a"))  # refused
    text: str = (await counted.job(MemorySessions(), "a").run("a")).output  # refused
    assert text
