"""What a run is opened with, checked: a question, and the messages before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, cast

from agentkit.chat.messages import ContentPart, Message, UserMessage, read_message
from agentkit.errors import ConfigError
from agentkit.run.state import RunResult
from agentkit.run.transcript import repaired

__all__ = ["History", "Prompt", "read_history", "read_question"]

Prompt: TypeAlias = str | UserMessage | Sequence[ContentPart]
History: TypeAlias = Sequence[Message | Mapping[str, Any]] | RunResult | None


def read_question(prompt: object) -> UserMessage:
    """The question as a message.

    Raises:
        ConfigError: It is empty, or no question.
    """
    message = prompt if isinstance(prompt, UserMessage) else UserMessage(_content(prompt))
    if not message.content or (isinstance(message.content, str) and not message.content.strip()):
        raise ConfigError("the question is empty: say what the agent is to do")
    return message


def read_history(history: object) -> tuple[list[Message], list[str]]:
    """The messages before the question: a transcript, an earlier result, or messages as they are on the wire.

    What no server would accept is put right; the second value says what was.

    Raises:
        ConfigError: They are not messages.
    """
    given: object = history.transcript if isinstance(history, RunResult) else history
    if isinstance(given, str) or not isinstance(given, Sequence | None):
        raise ConfigError(f"history is a list of messages, for example result.transcript, not {given!r:.80}")
    messages = cast("Sequence[object]", given or ())
    return repaired([_message(each, place) for place, each in enumerate(messages, start=1)])


def _content(prompt: object) -> str | tuple[ContentPart, ...]:
    if isinstance(prompt, str):
        return prompt
    parts = tuple(cast("Sequence[object]", prompt)) if isinstance(prompt, Sequence) else (prompt,)
    if not all(isinstance(each, ContentPart) for each in parts):
        raise ConfigError(
            "the question is a text, content parts or a UserMessage; the messages before it go into history="
        )
    return cast("tuple[ContentPart, ...]", parts)


def _message(raw: object, place: int) -> Message:
    if isinstance(raw, Message):
        return raw
    if not isinstance(raw, Mapping):
        raise ConfigError(f"message {place} of the history is neither a message nor an object: {raw!r:.80}")
    try:
        return read_message(cast("Mapping[str, Any]", raw))
    except ValueError as error:
        raise ConfigError(f"message {place} of the history: {error}") from None
