"""Measure how often the embedded model calls the right tool with the right arguments, and what an answer costs.

    make bench-model
    python benchmarks/local_model.py unseen      # one of the two sets; --misses prints what went wrong

Two sets of fixed questions, each over tools of its own: `local_model.jsonl` (81 questions, 8 tools: 59 for one call, 8
for two, 14 for none) and `local_model.unseen.jsonl` (40 questions, 7 tools: 30, 4 and 6). For each argument a file
lists the values that count as right; an argument that nobody asked for counts as wrong. The questions of the first set
were written before the strategy was tuned, which was done with other questions, mostly over other tools. The second set
was written later, and nothing was ever tuned on it.

Times are seconds of CPU, which say the same on a busy machine as on a quiet one.
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
from agentkit.events import ignore_event
from agentkit.local import LocalModel, open_model

HERE = Path(__file__).parent


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


def translate(text: str, language: str) -> None:
    """Translate a text into another language.

    Args:
        text: The text to translate
        language: The language to translate into
    """


def book_table(restaurant: str, day: str, people: int) -> None:
    """Book a table in a restaurant.

    Args:
        restaurant: Name of the restaurant
        day: Day of the visit
        people: How many people come
    """


def find_recipe(ingredient: str, diet: Literal["vegetarian", "vegan", "gluten-free"] | None = None) -> None:
    """Find a recipe for cooking.

    Args:
        ingredient: What to cook with
        diet: What the recipe must respect
    """


def play_music(artist: str, song: str = "") -> None:
    """Play music.

    Args:
        artist: Who plays or sings
        song: Title of the song
    """


def create_task(title: str, due: str = "", priority: Literal["low", "normal", "high"] = "normal") -> None:
    """Add a task to the to-do list.

    Args:
        title: What is to be done
        due: When it is due
        priority: How important it is
    """


def get_stock_price(company: str) -> None:
    """Get the price of a company's shares on the stock market.

    Args:
        company: Name of the company
    """


def get_distance(origin: str, destination: str, mode: Literal["car", "train", "foot"] = "car") -> None:
    """Measure the distance between two places.

    Args:
        origin: Where to start
        destination: Where to arrive
        mode: How one travels
    """


SETS: dict[str, tuple[Path, list[Tool]]] = {
    "first": (
        HERE / "local_model.jsonl",
        [
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
        ],
    ),
    "unseen": (
        HERE / "local_model.unseen.jsonl",
        [
            tool(each)
            for each in (
                translate,
                book_table,
                find_recipe,
                play_music,
                create_task,
                get_stock_price,
                get_distance,
            )
        ],
    ),
}


def same(value: Any, wanted: Any) -> bool:
    if isinstance(value, str) and isinstance(wanted, str):
        return value.strip(" .!?\"'").lower() == wanted.strip(" .!?\"'").lower()
    return type(value) is not bool and value == wanted


def right(arguments: dict[str, Any], wanted: dict[str, list[Any]]) -> bool:
    return arguments.keys() <= wanted.keys() and all(
        any(same(arguments.get(name), value) for value in values) for name, values in wanted.items()
    )


async def main(names: list[str]) -> None:
    model = open_model("")
    print(f"{datetime.now(UTC):%Y-%m-%d}, xllamacpp {version('xllamacpp')}, Python {platform.python_version()}")
    for name in names:
        await measure(name, model)
    await model.aclose()


async def measure(name: str, model: LocalModel) -> None:
    questions, tools = SETS[name]
    settings = ChatSettings(max_tokens=1)  # what it says when it calls nothing does not matter here
    definitions = [each.definition for each in tools]
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    seconds: list[float] = []
    for line in questions.read_text(encoding="utf-8").splitlines():
        item = json.loads(line)
        started = time.process_time() if seconds else 0.0  # the first one pays for starting Python and the model, too
        request = ChatRequest(messages=[UserMessage(item["question"])], tools=definitions, settings=settings)
        reply = await model.reply(request, ignore_event)
        seconds.append(time.process_time() - started)
        calls = [(call.name, json.loads(call.arguments)) for call in reply.message.tool_calls]
        names_right = [name for name, _ in calls] == [name for name, _ in item["calls"]]
        pairs = zip(calls, item["calls"], strict=False)
        calls_right = names_right and all(right(arguments, wanted) for (_, arguments), (_, wanted) in pairs)
        group = counts[("no tool", "one call", "two calls")[len(item["calls"])]]
        for place, hit in enumerate((True, names_right, calls_right)):
            group[place] += hit
        if "--misses" in sys.argv and not calls_right:
            print(f"  {item['question']}\n    {calls}")
    report(name, counts, seconds)


def report(name: str, counts: dict[str, list[int]], seconds: list[float]) -> None:
    counts["one and two"] = [one + two for one, two in zip(counts["one call"], counts["two calls"], strict=True)]
    print(f"set {name!r}")
    for group in ("one call", "two calls", "one and two", "no tool"):
        total, names, calls = counts[group]
        print(f"{group:12} {total:3} questions   right tool {names / total:4.0%}   right call {calls / total:4.0%}")
    first, *later = seconds
    later.sort()
    print(f"CPU seconds a question: first {first:.1f}, median {later[len(later) // 2]:.1f}, most {later[-1]:.1f}")


if __name__ == "__main__":
    anyio.run(main, [each for each in sys.argv[1:] if each in SETS] or list(SETS))
