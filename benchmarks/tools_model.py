"""How often the embedded model picks the right ready-made tool, and calls it rightly.

    .venv/bin/python benchmarks/tools_model.py [Files Clock ...] [--misses]

Five questions a tool (`tools_model.jsonl`), each asked with the tools of its toolset alone. A call is right when the
right tool is called and each argument that the file lists has one of the values that count; others may be anything.
Tools that need a network, a sandbox or a person are not asked about.
"""

import json
import platform
import re
import sys
import tempfile
import time
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
from agentkit_tools import Calculator, Clock, Files, Memory, Random, Search, Sql

from agentkit import ChatSettings, UserMessage
from agentkit.chat import ChatRequest
from agentkit.events import ignore_event
from agentkit.local import open_model
from agentkit.tools import Toolset

QUESTIONS = Path(__file__).with_suffix(".jsonl")


def toolsets(folder: Path) -> dict[str, Toolset]:
    (folder / "empty.db").touch()
    return {
        "Files": Files(folder, write=True),
        "Clock": Clock("Europe/Paris"),
        "Calculator": Calculator(),
        "Random": Random(),
        "Memory": Memory(folder / "memory.db"),
        "Search": Search({"a": "text"}),
        "Sql": Sql(folder / "empty.db"),
    }


def plain(value: object) -> str:
    return re.sub(r"[\s\"'.?!;]+", " ", str(value)).strip().lower()


def right(arguments: dict[str, Any], wanted: dict[str, list[Any]]) -> bool:
    """Whether each argument is one of the values; one that begins with ~ need only be contained."""
    for name, values in wanted.items():
        given = plain(arguments.get(name, ""))
        if not any(plain(each[1:]) in given if str(each).startswith("~") else plain(each) == given for each in values):
            return False
    return True


async def main() -> None:
    model = open_model("")
    settings = ChatSettings(max_tokens=200)
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        offered = toolsets(Path(folder))
        for line in QUESTIONS.read_text(encoding="utf-8").splitlines():
            item = json.loads(line)
            chosen = [each for each in sys.argv[1:] if not each.startswith("-")]
            if chosen and item["toolset"] not in chosen:
                continue
            tools = [each.definition for each in offered[item["toolset"]]]
            request = ChatRequest(messages=[UserMessage(item["question"])], tools=tools, settings=settings)
            reply = await model.reply(request, ignore_event)
            calls = reply.message.tool_calls
            named = bool(calls) and calls[0].name == item["tool"]
            called = named and right(json.loads(calls[0].arguments), item["arguments"])
            for place, hit in enumerate((True, named, called)):
                counts[item["tool"]][place] += hit
            if "--misses" in sys.argv and not called:
                print(f"  {item['question']}\n    {[(each.name, each.arguments) for each in calls]}")
    close = getattr(model, "aclose", None)
    if close is not None:
        await close()
    print(f"{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, {time.perf_counter() - started:.0f} s")
    for name, (total, names, hits) in counts.items():
        print(f"{name:18} {total:2} questions   right tool {names / total:4.0%}   right call {hits / total:4.0%}")
    total, names, hits = (sum(column) for column in zip(*counts.values(), strict=True))
    print(f"{'all':18} {total:2} questions   right tool {names / total:4.0%}   right call {hits / total:4.0%}")


if __name__ == "__main__":
    anyio.run(main)
