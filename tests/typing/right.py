"""What type checkers infer; both accept all of it. Nothing here is run."""

from __future__ import annotations

from typing import Any, assert_type

from pydantic import BaseModel

from agentkit import Agent, ChatClient, OutputSchema, RunContext, ToolContext, TypedOutput, handoff, tool
from agentkit.automation import JobResult, RunOutcome, automation, gather, map_runs, step
from agentkit.chat import ParsedReply, Reply
from agentkit.run import Handoff, RunResult
from agentkit.sessions import MemorySessions
from agentkit.tools import Needs, ToolResult


class Invoice(BaseModel):
    number: str


class Refusal(BaseModel):
    reason: str


class Deps(BaseModel):
    user: str


class Other(BaseModel):
    key: str


def total(prices: list[float]) -> float:
    return sum(prices)


async def looked_up(number: int) -> Invoice:
    return Invoice(number=str(number))


@tool
def whoami(context: ToolContext[Deps]) -> str:
    """Say who the user is."""
    return context.deps.user


@tool
def add(a: int, b: int) -> int:
    """Add."""
    return a + b


async def outputs() -> None:
    assert_type(await Agent("m").run(""), RunResult[str])
    assert_type(await Agent("m", output_type=Invoice).run(""), RunResult[Invoice])
    assert_type((await Agent("m", output_type=Invoice).run("")).output.number, str)
    assert_type((await Agent("m", output_type=int).run("")).output, int)
    assert_type((await Agent("m", output_type=list[int]).run("")).output, list[int])
    assert_type((await Agent("m", output_type=TypedOutput(Invoice, way="tool")).run("")).output, Invoice)
    assert_type((await Agent("m", output_type=OutputSchema({})).run("")).output, dict[str, Any])
    assert_type((await Agent("m", output_type=total).run("")).output, float)
    assert_type((await Agent("m", output_type=Invoice).run("")).output_or_none, Invoice | None)
    assert_type(Agent("m", output_type=Invoice).run_sync("").output, Invoice)
    async with Agent("m", output_type=Invoice).stream("") as events:
        assert_type((await events.result()).output, Invoice)


async def replies(client: ChatClient) -> None:
    assert_type(await client.create(""), Reply)
    assert_type(await client.create("", response_format={"type": "json_object"}, temperature=0), Reply)
    assert_type((await client.create("", response_format=Invoice, seed=1)).parsed, Invoice)
    assert_type((await client.create("", response_format=list[Invoice])).parsed, list[Invoice])
    assert_type((await client.create("", response_format=TypedOutput(Invoice))).parsed, Invoice)
    assert_type((await client.create("", response_format=OutputSchema({}))).parsed_or_none, dict[str, Any] | None)
    either: ParsedReply[Invoice | Refusal] = await client.create("", response_format=Invoice | Refusal)
    assert_type(either.parsed, Invoice | Refusal)
    async with client.stream("", response_format=Invoice) as deltas:
        assert_type((await deltas.reply()).parsed, Invoice)
    async with client.stream("") as plain:
        assert_type(await plain.reply(), Reply)


async def unions() -> None:
    either: Agent[None, Invoice | Refusal] = Agent("m", output_type=Invoice | Refusal)
    assert_type((await either.run("")).output, Invoice | Refusal)
    listed: Agent[None, Invoice | Refusal] = Agent("m", output_type=[Invoice, Refusal])
    assert_type((await listed.run("")).output, Invoice | Refusal)


async def handoffs() -> None:
    billing = Agent("m", output_type=Invoice, name="billing", description="Bills.")
    triage: Agent[None, str | Invoice] = Agent("m", tools=[handoff(billing), add], name="triage")
    assert_type((await triage.run("")).output, str | Invoice)
    needing = Agent("m", tools=[whoami], deps_type=Deps, name="needing", description="Needs.")
    assert_type(handoff(needing), Handoff[Needs[Deps]])
    first = Agent("m", tools=[handoff(needing), handoff("other", when="Else.")], deps_type=Deps, name="first")
    await first.run("", deps=Deps(user="ada"))


async def functions_that_are_async() -> None:
    agent: Agent[None, Invoice] = Agent("m", output_type=looked_up)
    assert_type((await agent.run("")).output, Invoice)


async def dependencies() -> None:
    agent = Agent("m", tools=[whoami, add], deps_type=Deps, output_type=Invoice)
    assert_type(agent, Agent[Deps, Invoice])
    await agent.run("", deps=Deps(user="ada"))

    def check(context: RunContext[Deps], invoice: Invoice) -> Invoice:
        assert_type(context.deps, Deps)
        return invoice

    Agent("m", deps_type=Deps, output_type=Invoice, output_validators=[check])


@step
async def count(text: str) -> int:
    return len(text)


@step
def upper(text: str) -> str:
    return text.upper()


@automation
async def counted(text: str) -> int:
    return await count(text)


async def automations() -> None:
    agent = Agent("m", output_type=Invoice, name="reads")
    assert_type(await map_runs(agent, ["a"]), list[RunOutcome[Invoice]])
    async with map_runs(agent, ["a"]) as outcomes:
        async for each in outcomes:
            assert_type(each.output, Invoice)
    assert_type(await count("a"), int)
    assert_type(await upper("a"), str)
    assert_type(await gather(count("a"), count("b")), list[int])
    assert_type(await step(agent)("a"), RunResult[Invoice])
    assert_type(await step(add)(a=1, b=2), ToolResult)
    assert_type(await counted.job(MemorySessions(), "a").run("a"), JobResult[int])
    assert_type((await counted.job(MemorySessions(), "a").resume()).output, int)
