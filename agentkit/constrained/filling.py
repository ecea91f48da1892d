"""The arguments of a call, copied from the request: a small model copies better than it writes.

Numbers are read from the request without a model; enum values are those that it mentions, or the one that explains it
best; strings are phrases of the request, of which the model picks one under a schema that allows nothing else.
"""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

from agentkit.constrained.asking import Asking, dialogue
from agentkit.constrained.choosing import best_meaning
from agentkit.constrained.tool import Parameter, WantedTool
from agentkit.constrained.words import (
    GAP,
    ignored,
    is_in_quotes,
    is_negative,
    led_by,
    mentions,
    numbers,
    quoted,
    spans,
    stem,
    stems,
    value_of,
)
from agentkit.messages import AssistantMessage, Message, UserMessage

__all__ = ["PROMPT", "fill"]

EXAMPLES: list[tuple[str, str, list[tuple[str, Any]]]] = [  # request, what the tool does, each argument and its value
    ("What does altruistic mean?", "Find the meaning of a word in a dictionary.", [("The word", "altruistic")]),
    (
        "Put dinner with Kim on Tuesday at nine in my calendar",
        "Create a calendar entry.",
        [("What the entry is about", "dinner with Kim"), ("Day", "Tuesday"), ("Place", None)],
    ),
    (
        "Comment on the video Funny Cats that I have never laughed so much!",
        "Write a comment on a video.",
        [("Title of the video", "Funny Cats"), ("The comment", "I have never laughed so much")],
    ),
    (
        "I need a train from Lyon to Marseille",
        "Book a train.",
        [("Where to start", "Lyon"), ("Where to go", "Marseille"), ("When to leave", None)],
    ),
    (
        "Is there a train from Oslo to Narvik in the morning?",
        "Book a train.",
        [("Where to start", "Oslo"), ("Where to go", "Narvik"), ("When to leave", "in the morning")],
    ),
    ("Is there a museum in New Delhi?", "Find a museum.", [("Place", "New Delhi")]),
    (
        "Invite Ben, Lena and Mr Omar to the party",
        "Invite guests to an event.",
        [("Who is invited", ["Ben", "Lena", "Mr Omar"])],
    ),
    ("Please also invite Zoe to the party", "Invite guests to an event.", [("Who is invited", ["Zoe"])]),
    ("I'm cold, make it 22 degrees instead of 18", "Set the heating of the house.", [("Degrees to set", 22)]),
]
PROMPT = dialogue(
    "Copy the arguments of the tool from the request.",
    *(
        (f"Request: {request}\nTool: {description}\n{question}?" if not place else f"{question}?", json.dumps(value))
        for request, description, values in EXAMPLES
        for place, (question, value) in enumerate(values)
    ),
)
_LONG_TEXTS = frozenset({"text", "message", "body", "content", "comment"})
_DIRECTIONS = {
    "from": frozenset({"from", "origin", "source", "departure"}),
    "to": frozenset({"to", "destination", "target", "arrival"}),
}


async def fill(asking: Asking, request: str, tool: WantedTool) -> dict[str, Any]:
    """Find the arguments of the call that the request asks for."""
    filling = _Filling(asking, request, tool)
    for parameter in sorted(tool.parameters, key=lambda each: (not each.required, not each.options)):
        await filling.add(parameter)
    return {each.name: filling.values[each.name] for each in tool.parameters if each.name in filling.values}


class _Filling:
    def __init__(self, asking: Asking, request: str, tool: WantedTool) -> None:
        self.values: dict[str, Any] = {}
        self._asking = asking
        self._request = request
        self._tool = tool
        self._dialogue: list[Message] = []
        self._opening = f"Request: {request}\nTool: {tool.definition.description}\n"
        self._numbers = _numbers_of(request, tool)
        self._quoted, self._quote = quoted(request)
        self._texts = sum(each.required and each.kind == "text" for each in tool.parameters)
        self._rest = self._without_used()  # what no argument has used yet

    async def add(self, parameter: Parameter) -> None:
        """Find the value of a parameter, if the request has one."""
        match parameter.kind:
            case "number" if parameter.name in self._numbers:
                self.values[parameter.name] = value_of(self._numbers[parameter.name][0])
            case "boolean" if parameter.required or mentions(self._request, parameter.words):
                self.values[parameter.name] = not is_negative(self._request)
            case "options":
                await self._add_option(parameter)
            case "text" if self._quote and self._wants_quote(parameter):
                self.values[parameter.name] = self._quote
            case "text" | "texts":
                await self._add_text(parameter)
            case _ if parameter.required:
                self.values[parameter.name] = await self._ask(parameter, self._schema(parameter))
            case _:
                pass

    async def _add_option(self, parameter: Parameter) -> None:
        said = [option for option in parameter.options if mentions(self._request, str(option))]
        for option in said:
            self._rest = re.sub(re.escape(str(option)), GAP, self._rest, flags=re.I)
        options = said or parameter.options
        if len(options) == 1:
            self.values[parameter.name] = options[0]
        elif said or parameter.required:
            about = f"{self._tool.meaning} {parameter.words}:"
            ways = [f"{about} {json.dumps(option)} ({parameter.label})" for option in options]
            scores = await best_meaning(self._asking, self._request, ways)
            self.values[parameter.name] = options[scores.index(max(scores))]

    def _wants_quote(self, parameter: Parameter) -> bool:
        words = set(re.findall(r"[a-z]+", f"{parameter.name} {parameter.label}".lower()))
        in_quotes = self._quoted is not None and is_in_quotes(self._quoted)
        if self._texts == 1:
            return in_quotes and (parameter.required or bool(_LONG_TEXTS & words))
        return bool(_LONG_TEXTS & words)

    async def _add_text(self, parameter: Parameter) -> None:
        found = spans(self._rest, self._tool.about) or ([self._request] if parameter.required else [])
        if not found:
            return
        if parameter.kind == "texts":
            found = [each for each in found if not re.search(r",|\band\b", each)] or found
            most = 1 + len(re.findall(r",|\band\b", self._rest))
            schema = {"type": "array", "items": {"enum": found}, "minItems": 1, "maxItems": most}
            self._take(parameter, await self._ask(parameter, schema))
            return
        options = self._directed(parameter, found)
        options = options if parameter.required else [None, *options]
        value = await self._ask(parameter, {"enum": options}) if len(options) > 1 else options[0]
        if value is not None:
            self._take(parameter, value)

    def _take(self, parameter: Parameter, value: str | list[str]) -> None:
        self.values[parameter.name] = value
        for used in [value] if isinstance(value, str) else value:
            self._rest = self._rest.replace(used, GAP, 1)

    def _directed(self, parameter: Parameter, found: list[str]) -> list[Any]:
        """Return what follows *from* for an origin and what follows *to* for a destination; otherwise nothing."""
        words = set(re.split(r"_|(?=[A-Z])", parameter.name.lower()))
        for preposition, names in _DIRECTIONS.items():
            led = led_by(preposition, found, self._request)
            if names & words:
                found = led or found
            elif any(names & words for names in _DIRECTIONS.values()):
                found = [each for each in found if each not in led] or found
        return list(found)

    async def _ask(self, parameter: Parameter, schema: dict[str, Any]) -> Any:
        self._dialogue.append(UserMessage(f"{self._opening}{parameter.label}?"))
        self._opening = ""
        value = await self._asking.pick(PROMPT, self._dialogue, schema)
        self._dialogue.append(AssistantMessage(json.dumps(value, ensure_ascii=False)))
        return value

    def _schema(self, parameter: Parameter) -> dict[str, Any]:
        definitions = self._tool.definition.parameters.get("$defs")
        return {**parameter.schema, "$defs": definitions} if definitions else dict(parameter.schema)

    def _without_used(self) -> str:
        used = [match.span() for match in self._numbers.values()]
        if self._quoted and self._texts > 1:
            used = [each for each in used if each[0] < self._quoted.start()] + [self._quoted.span()]
        rest = self._request
        for start, end in sorted(used, reverse=True):
            rest = rest[:start] + GAP + rest[end:]
        return rest


def _numbers_of(request: str, tool: WantedTool) -> dict[str, re.Match[str]]:
    """Assign the request's numbers to numeric parameters, preferring one next to a parameter's word ("8 sides")."""
    free, wanted = numbers(request)[:6], tool.numeric[:6]
    ways = itertools.permutations(free, min(len(wanted), len(free)))
    best = max(ways, key=lambda way: sum(_fit(each, found, request) for each, found in zip(wanted, way, strict=False)))
    pairs = zip(wanted, best, strict=False)
    return {each.name: found for each, found in pairs if _fit(each, found, request) >= 0}


def _fit(parameter: Parameter, found: re.Match[str], request: str) -> int:
    if parameter.schema.get("type") == "integer" and not isinstance(value_of(found[0]), int):
        return -9
    said = re.findall(r"\w+", f"{parameter.words} {parameter.schema.get('description', '')}")
    words = {stem(word) for word in said if not ignored(word) and word.lower() != "number"}
    after = re.findall(r"\w+", request[found.end() :])[:1]
    return int(bool(words & stems(" ".join(after))))
