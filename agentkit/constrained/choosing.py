"""Choose the tool for a request.

A small model cannot say which tool fits a request, but it can tell how probable the request is, given what a tool does
("noisy channel"): the tool whose description explains the request best is chosen, if it does so clearly better than "no
tool".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice

from agentkit.constrained.asking import Asking, dialogue
from agentkit.constrained.tool import WantedTool
from agentkit.constrained.words import mentions, numbers, stems
from agentkit.messages import UserMessage

__all__ = ["NO_TOOL", "PROMPT", "best_meaning", "choose", "split"]

MARGIN = 2.5  # nats by which a tool must explain the request better than no tool
MOST_SPLITS = 2  # places at which a request may be split in two
BONUS = 2.0  # nats for each word of the request, at most two, that points to one tool only
NO_TOOL = "Small talk, general knowledge, or anything else."
EXAMPLES = [  # what a tool does, and a request for it
    ("find meaning: Find the meaning of a word in a dictionary.", "What does altruistic mean?"),
    ("create entry: Create a calendar entry.", "Put the dentist on Tuesday at nine in my calendar"),
    (NO_TOOL, "Who invented the telephone?"),
    ("set heating: Set the heating of the house.", "I'm cold, make it 22 degrees"),
    (NO_TOOL, "Hello, nice to meet you!"),
]
PROMPT = dialogue(
    "Write what a person would type to use the tool.", *((f"Tool: {what}", said) for what, said in EXAMPLES)
)
_AND = re.compile(r",? and (?:also |then )?|; ")
_NAME = r"[A-Z][\w'-]*(?: [A-Z][\w'-]*)*"


async def best_meaning(asking: Asking, request: str, meanings: Sequence[str]) -> list[float]:
    """Judge how well each meaning explains the request, in nats."""
    return await asking.probabilities(request, PROMPT, [UserMessage(f"Tool: {meaning}") for meaning in meanings])


async def choose(
    asking: Asking, request: str, tools: Sequence[WantedTool], margin: float = MARGIN
) -> WantedTool | None:
    """Choose the tool for a request; None if it needs none."""
    able = [tool for tool in tools if _has_numbers(request, tool)]
    if not able:
        return None
    *scores, none = await best_meaning(asking, request, [*(tool.meaning for tool in able), NO_TOOL])
    total = {
        tool.name: score + BONUS * _own_words(request, tool, tools) for tool, score in zip(able, scores, strict=True)
    }
    best = max(able, key=lambda tool: total[tool.name])
    return best if total[best.name] - none > margin else None


async def split(asking: Asking, request: str, tools: Sequence[WantedTool]) -> list[tuple[str, WantedTool]]:
    """Split a request into one or two, each with its tool; empty if it needs no tool."""
    tool = await choose(asking, request, tools)
    if tool is None:
        return []
    for left, right in _halves(request):
        first = await choose(asking, left, tools)
        if first is None or any(each.kind == "texts" for each in first.parameters):
            continue
        twin = _twin(left, right, first)
        if twin:
            return [(left, first), (twin, first)]
        second = await choose(asking, right, tools) if " " in right else None
        if second and (second is not first or (len(right.split()) > 2 and _alike(left, right, first))):
            return [(left, first), (right, second)]
    return [(request, tool)]


def _has_numbers(request: str, tool: WantedTool) -> bool:
    return len(numbers(request)) >= sum(each.required for each in tool.numeric)


def _own_words(request: str, tool: WantedTool, tools: Sequence[WantedTool]) -> int:
    others = {word for other in tools if other is not tool for word in other.about}
    return min(2, len(stems(request) & (tool.about - others)))


def _halves(request: str) -> Iterator[tuple[str, str]]:
    for found in islice(_AND.finditer(request), MOST_SPLITS):
        left, right = request[: found.start()].strip(), request[found.end() :].strip()
        if left.count('"') % 2 == 0:
            yield left, right


def _alike(left: str, right: str, tool: WantedTool) -> bool:
    """True if both halves name a listed value, or neither does."""
    return any(mentions(left, each) for each in tool.options) == any(mentions(right, each) for each in tool.options)


def _twin(left: str, right: str, tool: WantedTool) -> str:
    """Make *weather in Rome* from *weather in Paris* and *Rome*. Both must be names or listed values."""
    other = re.sub(r"^(in|at|for|to|the|of)\s+(the\s+)?", "", right.strip(" .?!"))
    last = re.search(rf"{_NAME}$", left)
    if last and last.start() > 0 and re.fullmatch(_NAME, other):
        return left[: last.start()] + other
    options = {each.lower() for each in tool.options}
    same = next((each for each in options if left.lower().endswith(each)), None)
    return left[: -len(same)] + other if same and other.lower() in options else ""
