"""A question to an agent, checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias, cast

from agentkit.chat.messages import ContentPart, UserMessage
from agentkit.errors import ConfigError

__all__ = ["Prompt", "parse_prompt"]

Prompt: TypeAlias = str | UserMessage | Sequence[ContentPart]


def parse_prompt(prompt: object) -> UserMessage:
    """The question as a message.

    Raises:
        ConfigError: It is empty, or no question.
    """
    message = prompt if isinstance(prompt, UserMessage) else UserMessage(_content(prompt))
    if not message.content or (isinstance(message.content, str) and not message.content.strip()):
        raise ConfigError("the message is empty: say something")
    return message


def _content(prompt: object) -> str | tuple[ContentPart, ...]:
    if isinstance(prompt, str):
        return prompt
    parts = tuple(cast("Sequence[object]", prompt)) if isinstance(prompt, Sequence) else (prompt,)
    if not all(isinstance(each, ContentPart) for each in parts):
        raise ConfigError(
            "the question is a text, content parts or a UserMessage; the messages before it go into history="
        )
    return cast("tuple[ContentPart, ...]", parts)
