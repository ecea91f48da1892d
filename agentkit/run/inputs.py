"""The input of a run: a prompt, and the messages before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias, cast, runtime_checkable

from agentkit.chat.content import ContentPart
from agentkit.chat.messages import Message, UserMessage
from agentkit.chat.request import given_message
from agentkit.errors import ConfigError
from agentkit.run.transcript import repair_transcript

Prompt: TypeAlias = str | UserMessage | Sequence[ContentPart]
"""A string, content parts, or a `UserMessage`."""


@runtime_checkable
class Conversation(Protocol):
    """Anything with messages, such as a `RunResult` or a `RunState`."""

    @property
    def messages(self) -> Sequence[Message]:
        """The messages."""
        ...


History: TypeAlias = Sequence[Message | Mapping[str, Any]] | Conversation | None
"""The messages before a prompt: an earlier result or its state, messages, or dicts as the API writes them."""

_ROLES = {"human": "user", "ai": "assistant", "model": "assistant"}


def parse_prompt(prompt: object) -> UserMessage:
    """Read a prompt.

    Raises:
        ConfigError: It is empty, or not a prompt.
    """
    if isinstance(prompt, str | UserMessage):
        message = UserMessage(prompt) if isinstance(prompt, str) else prompt
    else:
        parts = tuple(cast("Sequence[object]", prompt)) if isinstance(prompt, Sequence) else (prompt,)
        if not all(isinstance(each, ContentPart) for each in parts):
            raise ConfigError(
                f"a prompt is a string, content parts or a UserMessage, not {prompt!r:.80}; "
                "the messages before it go into history="
            )
        message = UserMessage(cast("tuple[ContentPart, ...]", parts))
    if not message.content or (isinstance(message.content, str) and not message.content.strip()):
        raise ConfigError("the prompt is empty")
    return message


def parse_history(history: object) -> tuple[list[Message], list[str]]:
    """Read the messages before a prompt and make them valid.

    Returns:
        The messages, and a sentence for each thing that was repaired.

    Raises:
        ConfigError: They are not messages.
    """
    given: object = history
    state: object = getattr(history, "state", history)
    if isinstance(state, Conversation):
        given = [*state.messages, *getattr(state, "inbox", ())]
    if isinstance(given, str) or not isinstance(given, Sequence | None):
        raise ConfigError(f"history takes a list of messages, for example result.messages, not {given!r:.80}")
    messages = cast("Sequence[object]", given or ())
    return repair_transcript([_message(each, place) for place, each in enumerate(messages, start=1)])


def _message(raw: object, place: int) -> Message:
    if isinstance(raw, Message):
        return raw
    dump: Any = getattr(raw, "model_dump", None)
    if not isinstance(raw, Mapping) and not callable(dump):
        raise ConfigError(f"message {place} of the history is neither a message nor an object: {raw!r:.80}")
    known = cast("Mapping[str, Any]", raw if isinstance(raw, Mapping) else dump(exclude_none=True))
    try:
        return given_message({**known, "role": _ROLES.get(str(known.get("role")), known.get("role"))})
    except ConfigError as error:
        raise ConfigError(f"message {place} of the history: {error}") from None
