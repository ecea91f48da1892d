"""How often the embedded model calls the right tool with the right arguments.

    make bench

81 fixed questions (`local_model.jsonl`) over the 8 tools below: 59 for one call, 8 for two calls, 14 for none. For each
argument the file lists the values that count as right; an argument that nobody asked for counts as wrong. The questions
were written before the strategy was tuned, which was done with other questions, mostly over other tools.
"""

import json
import platform
import sys
import time
from collections import defaultdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import anyio

from agentkit import ChatSettings, Tool, UserMessage, tool
from agentkit.chat import ChatRequest
from agentkit.chat.events import ignore_event
from agentkit.local import open_model

QUESTIONS = Path(__file__).with_suffix(".jsonl")


def get_weather(city: str, unit: Literal["celsius", "fahrenheit"] = "celsius") -> None:
    """Get the current weather in a city.

    Args:
        city: Name of the city
        unit: Temperature unit
    """


def calculate(operation: Literal["add", "subtract", "multiply", "divide"], a: float, b: float) -> None:
    """Do arithmetic with two numbers.

    Args:
        operation: What to do with the numbers
        a: First number
        b: Second number
    """


def get_time(city: str) -> None:
    """Get the current local time in a city.

    Args:
        city: Name of the city
    """


def convert_currency(amount: float, from_currency: str, to_currency: str) -> None:
    """Convert an amount of money from one currency to another.

    Args:
        amount: Amount of money
        from_currency: Currency to convert from, e.g. USD or euros
        to_currency: Currency to convert to, e.g. USD or euros
    """


def search_notes(query: str) -> None:
    """Search the user's notes for a word or topic.

    Args:
        query: What to look for
    """


def send_message(recipient: str, text: str) -> None:
    """Send a text message to a person.

    Args:
        recipient: Name of the person
        text: The message to send
    """


def set_timer(minutes: int, label: str = "") -> None:
    """Start a countdown timer.

    Args:
        minutes: Length in minutes
        label: What the timer is for
    """


def roll_dice(sides: int, count: int = 1) -> None:
    """Roll dice and return the result.

    Args:
        sides: Number of sides of each die
        count: How many dice to roll
    """


TOOLS: list[Tool] = [
    tool(each)
    for each in (
        get_weather,
        calculate,
        get_time,
        convert_currency,
        search_notes,
        send_message,
        set_timer,
        roll_dice,
    )
]


def same(value: Any, wanted: Any) -> bool:
    if isinstance(value, str) and isinstance(wanted, str):
        return value.strip(" .!?\"'").lower() == wanted.strip(" .!?\"'").lower()
    return type(value) is not bool and value == wanted


def right(arguments: dict[str, Any], wanted: dict[str, list[Any]]) -> bool:
    return arguments.keys() <= wanted.keys() and all(
        any(same(arguments.get(name), value) for value in values) for name, values in wanted.items()
    )


async def main() -> None:
    model = open_model("")
    settings = ChatSettings(max_tokens=1)  # what it says when it calls nothing does not matter here
    tools = [each.definition for each in TOOLS]
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    seconds: list[float] = []
    for line in QUESTIONS.read_text(encoding="utf-8").splitlines():
        item = json.loads(line)
        started = time.perf_counter()
        request = ChatRequest(messages=[UserMessage(item["question"])], tools=tools, settings=settings)
        reply = await model.reply(request, ignore_event)
        seconds.append(time.perf_counter() - started)
        calls = [(call.name, json.loads(call.arguments)) for call in reply.message.tool_calls]
        names_right = [name for name, _ in calls] == [name for name, _ in item["calls"]]
        pairs = zip(calls, item["calls"], strict=False)
        calls_right = names_right and all(right(arguments, wanted) for (_, arguments), (_, wanted) in pairs)
        group = counts[("no tool", "one call", "two calls")[len(item["calls"])]]
        for place, hit in enumerate((True, names_right, calls_right)):
            group[place] += hit
        if "--misses" in sys.argv and not calls_right:
            print(f"  {item['question']}\n    {calls}")
    await model.aclose()
    report(counts, seconds)


def report(counts: dict[str, list[int]], seconds: list[float]) -> None:
    counts["one and two"] = [one + two for one, two in zip(counts["one call"], counts["two calls"], strict=True)]
    print(f"{datetime.now(UTC):%Y-%m-%d}, xllamacpp {version('xllamacpp')}, Python {platform.python_version()}")
    for name in ("one call", "two calls", "one and two", "no tool"):
        total, names, calls = counts[name]
        print(f"{name:12} {total:3} questions   right tool {names / total:4.0%}   right call {calls / total:4.0%}")
    print(f"seconds a question: median {sorted(seconds)[len(seconds) // 2]:.1f}, most {max(seconds):.1f}")


if __name__ == "__main__":
    anyio.run(main)
