"""Where `Cache` keeps replies, and their form there."""

from __future__ import annotations

import time
from typing import Any, Protocol, runtime_checkable

from pydantic_core import from_json

from agentkit.chat.messages import encode_json, read_message
from agentkit.chat.reply import Choice, Reply, Usage
from agentkit.errors import ConfigError

__all__ = ["CacheStore", "MemoryStore", "read_reply", "record_of"]


@runtime_checkable
class CacheStore(Protocol):
    """Keeps bytes by key: a dictionary, a table, Redis. What it gives back must be what only you could write."""

    async def get(self, key: str) -> bytes | None:
        """What was set, or None if there is nothing, or no more."""
        ...

    async def set(self, key: str, value: bytes) -> None:
        """Keep it, in place of what was there."""
        ...


class MemoryStore:
    """Keeps replies in this process.

    Args:
        entries: How many; the one that was not asked for the longest goes first.
        ttl: For how many seconds; None for as long as there is room.
    """

    def __init__(self, *, entries: int = 1000, ttl: float | None = 3600.0) -> None:
        if entries < 1:
            raise ConfigError(f"MemoryStore(entries={entries}): it needs room for one at least")
        self._most, self._ttl = entries, ttl
        self._entries: dict[str, tuple[float, bytes]] = {}  # the one that was asked for last is the last

    async def get(self, key: str) -> bytes | None:
        """What was set, if it is still there."""
        entry = self._entries.pop(key, None)
        if entry is None or (self._ttl is not None and time.monotonic() - entry[0] >= self._ttl):
            return None
        self._entries[key] = entry
        return entry[1]

    async def set(self, key: str, value: bytes) -> None:
        """Keep it."""
        self._entries.pop(key, None)
        self._entries[key] = (time.monotonic(), value)
        while len(self._entries) > self._most:
            del self._entries[next(iter(self._entries))]


_MEMBERS = ("id", "model", "created", "service_tier", "system_fingerprint", "metadata", "moderation", "extra")


def record_of(reply: Reply) -> bytes:
    """A reply as JSON, without what its request took and what became of it on the way."""
    choices = [
        {"message": each.message.to_record(), "finish_reason": each.finish_reason, "extra": each.extra}
        for each in reply.choices
    ]
    return encode_json({"choices": choices, **{name: getattr(reply, name) for name in _MEMBERS}})


def read_reply(record: bytes) -> Reply:
    """The reply of a record. It has taken no tokens."""
    members: dict[str, Any] = from_json(record)
    choices: list[dict[str, Any]] = members.pop("choices")
    messages: list[Any] = [read_message(each.pop("message")) for each in choices]
    read = (Choice(message=message, **each) for message, each in zip(messages, choices, strict=True))
    return Reply(choices=tuple(read), usage=Usage(), **members)
