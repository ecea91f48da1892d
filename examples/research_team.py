"""A research team over the files of a folder: a planner, two searchers that work at once, and a writer.

python examples/research_team.py notes "What did we decide about prices, and why?"
"""

import sys
from pathlib import Path

import anyio
from agentkit_tools import Files, Search
from pydantic import BaseModel, Field

from agentkit import Agent, CallFinished, CallStarted, Event, Model, TextDelta


class Plan(BaseModel):
    """The question, divided into two that can be answered apart from each other."""

    first: str = Field(min_length=3)
    second: str = Field(min_length=3)


class Finding(BaseModel):
    """What the files say."""

    answer: str
    files: list[str]


def open_team(model: str | Model, folder: Path) -> tuple[Agent[None, Plan], Agent]:
    planner = Agent(model, output_type=Plan, name="planner", instructions="Divide the question.")
    searcher = Agent(
        model,
        tools=[Files(folder), Search(folder)],
        output_type=Finding,
        name="searcher",
        description="Answers a question from the files, and names them.",
        instructions="Search the files until you can answer. Say so if they do not know.",
    )
    writer = Agent(
        model,
        tools=[searcher.as_tool()],
        name="writer",
        instructions="Give each question to a searcher, both at once. Then answer, and name the files in brackets.",
    )
    return planner, writer


def show(event: Event) -> None:
    """Print what the team does; the path of an event says who does it."""
    who = " > ".join(("writer", *event.origin.path)) if event.origin else "writer"
    match event:
        case CallStarted(call):
            print(f"{who}: {call.name}({call.arguments})")
        case CallFinished(call, result):
            print(f"{who}: {call.name} -> {result.content[:70]}")
        case TextDelta(text) if event.origin and not event.origin.path:
            print(text, end="", flush=True)
        case _:
            pass


async def main(question: str, model: str | Model, folder: Path) -> str:
    planner, writer = open_team(model, folder)
    plan = (await planner.run(question)).output
    asked = f"{question}\n\nThe questions for the searchers:\n- {plan.first}\n- {plan.second}"
    async with writer.stream(asked) as stream:
        async for event in stream:
            show(event)
        print()
        return (await stream.result()).output


if __name__ == "__main__":
    anyio.run(main, sys.argv[2], "openai:gpt-5-mini", Path(sys.argv[1]))
