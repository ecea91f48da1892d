"""How models and figures are called in keys, events and lines."""

from __future__ import annotations

import uuid
from collections.abc import MutableMapping
from contextlib import suppress
from weakref import WeakKeyDictionary

from agentkit.chat.reply import Model, Usage
from agentkit.errors import ConfigError

__all__ = ["Names", "counted", "named", "printable", "tokens_of"]


class Names:
    """What tells models apart: their repr. One that has none can be given a name, which holds for that object only."""

    def __init__(self) -> None:
        self._given: MutableMapping[Model, str] = WeakKeyDictionary()

    def of(self, model: Model | None, *, give: bool) -> str:
        """The name of a model.

        Raises:
            ConfigError: It has none.
        """
        if model is not None and _has_repr(model):
            return repr(model)
        if model is not None and give:
            with suppress(TypeError):  # of a model that cannot be a key
                return self._given.setdefault(model, uuid.uuid4().hex)
        raise ConfigError(
            f"Cache cannot tell one {type(model).__name__} from another: write Cache(model=...) with a name for it"
        )


def named(model: Model | None) -> str:
    """A model for people: its type, if it has no repr of its own."""
    return repr(model) if _has_repr(model) else type(model).__name__


def _has_repr(model: Model | None) -> bool:
    return type(model).__repr__ is not object.__repr__


def counted(count: int, what: str) -> str:
    """``1 call``, ``2 calls``."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def tokens_of(usage: Usage) -> str:
    """The tokens after a comma; nothing if no server told them, and no run has estimated them."""
    if usage.requests and not usage.total_tokens:
        return ""
    about = "about " if usage.estimated_tokens else ""
    return f", {about}{usage.prompt_tokens}+{usage.completion_tokens} tokens"


def printable(character: str) -> str:
    """The character, escaped if it could break a line or a terminal."""
    return character if character.isprintable() else character.encode("unicode_escape").decode()
