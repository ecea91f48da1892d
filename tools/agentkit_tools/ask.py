"""`Ask`: ask the user a question, and pause until there is an answer."""

from __future__ import annotations

from agentkit import Tool
from agentkit.tools import Toolset

__all__ = ["Ask"]


class Ask(Toolset):
    """One tool, ``ask_user``: the run pauses with the question until `RunState.answer` provides the answer.

    The pending call has the arguments ``question`` and ``options``, a list that may be empty.
    """

    def __init__(self) -> None:
        parameters = {
            "type": "object",
            "properties": {
                "question": {"type": "string", "description": "The question, in the user's language."},
                "options": {
                    "type": "array",
                    "items": {"type": "string"},
                    "description": "Answers to choose from; empty if any answer will do.",
                },
            },
            "required": ["question", "options"],
            "additionalProperties": False,
        }
        description = "Ask the user a question and wait for the answer. Use it when you cannot go on without knowing."
        super().__init__(Tool.external("ask_user", description, parameters, strict=True))
