"""The answer to a request from the results of its calls."""

from __future__ import annotations

import re
from collections.abc import Sequence

from agentkit.chat import ChatSettings
from agentkit.constrained.asking import Asking, dialogue
from agentkit.messages import AssistantMessage, Message, ToolMessage, UserMessage

__all__ = ["PROMPT", "answer"]

EXAMPLES = [  # request, results, answer
    ("What does altruistic mean?", ["find_meaning: unselfish"], "Altruistic means unselfish."),
    (
        "Is there a museum in New Delhi?",
        ['find_museum: {"name": "National Museum", "open": true}'],
        "Yes, the National Museum in New Delhi is open.",
    ),
    (
        "Make it 22 degrees in the kitchen and play Chopin",
        ["set_heating: set to 22", "start_song: playing Nocturne"],
        "The heating in the kitchen is set to 22 and Nocturne is playing.",
    ),
]


def _question(request: str, results: Sequence[str]) -> str:
    return f"Question: {request}\nResult: " + "\nResult: ".join(results)


PROMPT = dialogue(
    "Answer the question in one short sentence with the result.",
    *((_question(asked, results), reply) for asked, results, reply in EXAMPLES),
)


async def answer(asking: Asking, request: str, messages: Sequence[Message], settings: ChatSettings) -> str:
    """Write a sentence from the results of the calls in ``messages``, or the bare results if the model leaves any out.

    With a ``response_format`` the answer is what the model writes in it.
    """
    names = {each.id: each.name for said in messages if isinstance(said, AssistantMessage) for each in said.tool_calls}
    results = [(names.get(each.tool_call_id, "tool"), each.text) for each in messages if isinstance(each, ToolMessage)]
    question = UserMessage(_question(request, [f"{name}: {content}" for name, content in results]))
    reply = await asking.ask([*PROMPT, question], prompt=PROMPT, settings=settings.over(ChatSettings(max_tokens=120)))
    if (settings.response_format or {}).get("type", "text") != "text":
        return reply.text
    text = reply.text.strip()
    if not reply.choices[0].truncated and all(_is_reported(content, text) for _, content in results):
        return text
    if len(results) == 1:
        return f"The result is: {results[0][1]}"
    return "The results are: " + "; ".join(content for _, content in results)


def _is_reported(result: str, text: str) -> bool:
    """True if the text has all numbers of the result or, without numbers, half of its longer words."""
    said = set(re.findall(r"\w+(?:[.:]\d+)*", text.lower()))
    figures = re.findall(r"\d+(?:[.:]\d+)*", result)
    if figures:
        return said.issuperset(figures)
    words = re.findall(r"\w{4,}", result.lower())
    return sum(word in said for word in words) * 2 >= len(words)
