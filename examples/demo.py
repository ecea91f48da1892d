"""`make demo`: one agent with four tools answers four questions and prints each event as it happens.

python examples/demo.py                          # the embedded model
python examples/demo.py --model ollama:qwen3     # any other
"""

import argparse
import random
import sys
from datetime import datetime
from typing import Literal
from zoneinfo import ZoneInfo

import anyio

from agentkit import Agent, AgentKitError, CallFinished, CallStarted, Model, tool
from agentkit.events import Retrying

ZONES = {"paris": "Europe/Paris", "tokyo": "Asia/Tokyo", "new york": "America/New_York", "london": "Europe/London"}
WEATHER = {"paris": "rainy, 14 degrees", "rome": "sunny, 24 degrees", "tokyo": "cloudy, 19 degrees"}
SIGNS = {"plus": "+", "minus": "-", "times": "*", "divided by": "/"}


@tool
async def get_weather(city: str) -> str:
    """Tell the weather in a city.

    Args:
        city: Name of the city, in English.
    """
    await anyio.sleep(0.5)  # like a real service
    return WEATHER.get(city.lower(), "unknown: there is weather for Paris, Rome and Tokyo only")


@tool
def get_time(city: str) -> str:
    """Tell the time in a city.

    Args:
        city: Name of the city, in English.
    """
    zone = ZONES.get(city.lower())
    return datetime.now(ZoneInfo(zone)).strftime("%H:%M") if zone else f"no time zone is known for {city}"


@tool
def calculate(a: float, operation: Literal["plus", "minus", "times", "divided by"], b: float) -> float:
    """Calculate with two numbers.

    Args:
        a: The first number.
        operation: What to do.
        b: The second number.
    """
    results = {"plus": a + b, "minus": a - b, "times": a * b, "divided by": a / b if b else float("nan")}
    return results[operation]


@tool
def roll_dice(count: int, sides: int = 6) -> list[int]:
    """Roll dice and report what each shows.

    Args:
        count: How many dice.
        sides: How many sides each has.
    """
    return [random.randint(1, sides) for _ in range(count)]


TOOLS = [get_weather, get_time, calculate, roll_dice]
QUESTIONS = [
    "What is 17 times 23?",
    "What's the weather in Paris and Rome?",
    "What time is it in Tokyo?",
    "Roll 3 dice.",
]


async def show(agent: Agent, question: str) -> None:
    print(f"\n? {question}")
    async with agent.stream(question) as stream:
        async for event in stream:
            match event:
                case CallStarted(call):
                    print(f"  -> {call.name}({call.arguments})")
                case CallFinished(call, result):
                    print(f"  <- {call.name}: {result.content}")
                case Retrying(_, wait, reason):
                    print(f"  .. retrying in {wait:.1f} s: {reason}")
                case _:
                    pass
        answer = (await stream.result()).output
    print(f"= {answer}")


async def main(model: str | Model) -> None:
    agent = Agent(model, tools=TOOLS)
    for question in QUESTIONS:
        await show(agent, question)
    await agent.aclose()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="An agent with four tools answers four questions.")
    parser.add_argument("--model", default="local", help="provider:model; default: the embedded model")
    name = parser.parse_args().model
    try:
        anyio.run(main, name)
    except AgentKitError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted")
    if name == "local":
        print("\nThis was a model of 135 million parameters in this process: for trying things out, not for real work.")
    print(
        "To use another server, set OPENAI_BASE_URL and OPENAI_API_KEY and run"
        "\n    make demo ARGS='--model openai:MODEL'        or, with Ollama,    make demo ARGS='--model ollama:qwen3'"
    )
