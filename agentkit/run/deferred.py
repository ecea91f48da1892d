"""Deferred tools: the model is offered them once it has searched for them, so that an agent can have hundreds."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Annotated, Any

from agentkit.chat.json_values import as_mappings, json_value
from agentkit.chat.messages import AssistantMessage, Message, ToolMessage
from agentkit.errors import ConfigError
from agentkit.tools.repair import unknown_tool_message
from agentkit.tools.tool import Tool, ToolFunction, tool

SEARCH_TOOLS = "search_tools"
_MOST_FOUND = 5
_LONGEST_DESCRIPTION = 200  # characters in a result: the whole definition follows in the next request
_NAME_WEIGHT = 3
_SATURATION, _LENGTH_WEIGHT = 1.2, 0.75  # k1 and b of BM25
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_WORD = re.compile(r"[^\W\d_]+|\d+")
_ENDING = re.compile(r"(?<=\w{3})(?:ing|ed|es|(?<!s)s|e)$")


@dataclass(frozen=True, eq=False, kw_only=True)
class _ToolSearch(ToolFunction[Any, Any]):
    """The tool that finds deferred tools; ``among`` holds them by name."""

    among: Mapping[str, Tool] = field(default_factory=dict[str, Tool], repr=False)


def with_search(tools: Mapping[str, Tool], messages: Sequence[Message]) -> Mapping[str, Tool]:
    """Return the tools of a turn: deferred ones only once found, at the end, in the order in which they were found.

    Each request thus begins with the same tools as the one before. The messages show which were found: those that a
    search has listed, or that the model has called.

    Raises:
        ConfigError: A tool has the name of the tool that searches.
    """
    deferred = {name: each for name, each in tools.items() if each.deferred}
    if not deferred:
        return tools
    if SEARCH_TOOLS in tools:
        raise ConfigError(f"a tool is named {SEARCH_TOOLS!r}, which finds the deferred tools of the agent: rename it")
    found = (name for name in dict.fromkeys(_names_found(messages)) if name in deferred)
    plain = {name: each for name, each in tools.items() if not each.deferred}
    return {**plain, SEARCH_TOOLS: _search(deferred), **{name: deferred[name] for name in found}}


def _names_found(messages: Iterable[Message]) -> Iterator[str]:
    """Yield the names in the results of searches, and those of all calls."""
    searches: set[str] = set()
    for message in messages:
        if isinstance(message, AssistantMessage):
            searches |= {call.id for call in message.tool_calls if call.name == SEARCH_TOOLS}
            yield from (call.name for call in message.tool_calls)
        elif isinstance(message, ToolMessage) and message.tool_call_id in searches:
            found = as_mappings(json_value(message.text))  # nothing if it is a sentence that says so
            yield from (str(each.get("name", "")) for each in found)


def _search(among: Mapping[str, Tool]) -> Tool:
    def search_tools(query: Annotated[str, "What the tool should do, in a few words."]) -> object:
        found = rank_tools(query, list(among.values()))[:_MOST_FOUND]
        listed = [{"name": each.name, "description": each.description[:_LONGEST_DESCRIPTION]} for each in found]
        return listed or "No tool was found. Search with other words, or continue without one."

    described = (
        f"Find more tools: {len(among)} are not listed here. You can call those that are found in your next turn."
    )
    made = tool(search_tools, description=described, read_only=True, timeout=None)
    return _ToolSearch(**{each.name: getattr(made, each.name) for each in fields(made)}, among=among)


def missing_tool(name: str, tools: Mapping[str, Tool], switched_off: Mapping[str, Tool]) -> str:
    """The message for a model that called a tool that it was not offered."""
    search = tools.get(SEARCH_TOOLS)
    if not isinstance(search, _ToolSearch):
        return unknown_tool_message(name, tools, switched_off)
    if name in search.among:
        return f"{name} was not run, as you had not seen its parameters; they are listed now, so call it again"
    return f"{unknown_tool_message(name, tools, switched_off)}; {SEARCH_TOOLS} finds {len(search.among)} more"


def rank_tools(query: str, tools: Sequence[Tool]) -> list[Tool]:
    """Return the tools that have a word of the query, the best first, by BM25 over names, descriptions and parameters.

    See `Robertson and Zaragoza, The Probabilistic Relevance Framework <https://doi.org/10.1561/1500000019>`_.
    """
    counts = [Counter(_words(_text(each))) for each in tools]
    sizes = [sum(each.values()) for each in counts]
    average = sum(sizes) / max(1, len(sizes))
    scores = [0.0] * len(tools)
    for word in set(_words(query)):
        holding = sum(word in each for each in counts)
        rarity = math.log(1 + (len(tools) - holding + 0.5) / (holding + 0.5))
        for at, (count, size) in enumerate(zip(counts, sizes, strict=True)):
            if count[word]:
                length = 1 - _LENGTH_WEIGHT + _LENGTH_WEIGHT * size / average
                scores[at] += rarity * count[word] * (_SATURATION + 1) / (count[word] + _SATURATION * length)
    ranked = sorted(range(len(tools)), key=lambda at: -scores[at])
    return [tools[at] for at in ranked if scores[at]]


def _text(each: Tool) -> str:
    parameters: Mapping[str, Any] = each.parameters.get("properties", {})
    described = [f"{name} {member.get('description', '')}" for name, member in parameters.items()]
    return " ".join([*[each.name] * _NAME_WEIGHT, each.description, *described])


def _words(text: str) -> list[str]:
    return [_ENDING.sub("", word.lower()) for word in _WORD.findall(_CAMEL.sub(" ", text))]
