"""`Cache`: what was asked before is answered without asking again."""

from __future__ import annotations

import hashlib
import time
from collections.abc import MutableMapping
from dataclasses import replace
from typing import Protocol, runtime_checkable
from weakref import WeakValueDictionary

import anyio
import anyio.lowlevel
from pydantic_core import from_json

from agentkit.chat.events import CallDelta, Emit, ReasoningDelta, TextDelta
from agentkit.chat.messages import encode_json
from agentkit.chat.reply import Reply, Usage, read_reply
from agentkit.errors import ConfigError
from agentkit.middleware.words import Names
from agentkit.run.middleware import Middleware, ModelTurn, NextModel

__all__ = ["Cache", "CacheStore", "MemoryStore"]


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


class Cache(Middleware):
    """Answers a request that was answered before, streamed or not, with the same reply: it takes no tokens.

    Requests that are the same are asked one after the other, so that the second finds the answer to the first. Not kept
    are replies that were cut, refused, empty or spoken, or have log probabilities.

    Args:
        store: Where replies are kept; by default a `MemoryStore`.
        model: Names the model, as its replies are no other's; by default the model's repr, which must tell it apart. A
            model without a repr of its own is, in a `MemoryStore`, only itself; another store needs a name for it.

    Raises:
        ConfigError: The store is none, or the name of the model is no text.
    """

    def __init__(self, store: CacheStore | None = None, *, model: str = "") -> None:
        _check_cache(store, model)
        self._store = MemoryStore() if store is None else store
        self._model, self._names = model, Names()
        self._locks: MutableMapping[tuple[object, str], anyio.Lock] = WeakValueDictionary()

    async def around_model(self, turn: ModelTurn, inner: NextModel) -> Reply:  # noqa: D102
        key = self._key(turn)
        lock = self._locks.setdefault((anyio.lowlevel.current_token(), key), anyio.Lock())
        async with lock:
            if (kept := await self._store.get(key)) is not None:
                return _shown(replace(read_reply(from_json(kept)), usage=Usage()), turn.emit)
            reply = await inner(turn)
            if _is_whole(reply):
                await self._store.set(key, encode_json(reply.to_record()))
            return reply

    def _key(self, turn: ModelTurn) -> str:
        request = turn.request
        headers = encode_json(sorted((request.settings.extra_headers or {}).items()))
        name = self._model or self._names.of(turn.model, give=isinstance(self._store, MemoryStore))
        body = replace(request, stream=False).encode(name)
        return hashlib.sha256(b"agentkit reply 1\n" + headers + body).hexdigest()


def _is_whole(reply: Reply) -> bool:
    return not any(
        each.truncated or each.logprobs or each.message.refusal or each.message.audio or each.message.says_nothing
        for each in reply.choices
    )


def _shown(reply: Reply, emit: Emit) -> Reply:
    if reply.message.reasoning:
        emit(ReasoningDelta(reply.message.reasoning))
    if reply.text:
        emit(TextDelta(reply.text))
    for index, call in enumerate(reply.message.tool_calls):
        emit(CallDelta(index, call.id, call.name, call.written))
    return reply


def _check_cache(store: object, model: object) -> None:
    """Refuse what is no store, and no name of a model."""
    if not isinstance(store, CacheStore | None):
        raise ConfigError(f"Cache({store!r:.80}): a store has the async methods get and set; a name is model=")
    if not isinstance(model, str):
        raise ConfigError(f"Cache(model={model!r:.80}): must be a text that names the model")
