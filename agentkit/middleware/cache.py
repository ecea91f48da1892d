"""`Cache`: answer a repeated request without asking the model again."""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import MutableMapping
from contextlib import suppress
from dataclasses import replace
from typing import Protocol, runtime_checkable
from weakref import WeakKeyDictionary, WeakValueDictionary

import anyio
import anyio.lowlevel
from pydantic_core import from_json

from agentkit.chat import Model, Reply, Usage, encode_json, read_reply
from agentkit.errors import ConfigError
from agentkit.events import CallDelta, ReasoningDelta, TextDelta
from agentkit.run import Middleware, ModelTurn, NextModel

__all__ = ["Cache", "CacheStore", "MemoryStore"]


@runtime_checkable
class CacheStore(Protocol):
    """Stores bytes by key, in a dictionary, a table or Redis. Nobody else may be able to write to it."""

    async def get(self, key: str) -> bytes | None:
        """Return the stored value; None if there is none, or it has expired."""
        ...

    async def set(self, key: str, value: bytes) -> None:
        """Store a value, replacing an earlier one."""
        ...


class MemoryStore:
    """Stores replies in this process.

    Args:
        entries: Most replies; the least recently used is dropped first.
        ttl: Seconds that a reply is stored; None for no limit.

    Raises:
        ConfigError: It could not hold a single reply.
    """

    def __init__(self, *, entries: int = 1000, ttl: float | None = 3600.0) -> None:
        if entries < 1:
            raise ConfigError(f"MemoryStore(entries={entries}): must be at least 1")
        self._most, self._ttl = entries, ttl
        self._entries: dict[str, tuple[float, bytes]] = {}  # the most recently used is the last

    async def get(self, key: str) -> bytes | None:
        """Return the stored value, if it is still there."""
        entry = self._entries.pop(key, None)
        if entry is None or (self._ttl is not None and time.monotonic() - entry[0] >= self._ttl):
            return None
        self._entries[key] = entry
        return entry[1]

    async def set(self, key: str, value: bytes) -> None:
        """Store it."""
        self._entries.pop(key, None)
        self._entries[key] = (time.monotonic(), value)
        while len(self._entries) > self._most:
            del self._entries[next(iter(self._entries))]


class Cache(Middleware):
    """Answers a request that was answered before, streamed or not, with the same reply, which takes no tokens.

    Equal requests are sent one after the other, so that the second finds the answer to the first. Replies that were
    truncated, refused, empty or spoken, or have log probabilities, are not stored.

    Args:
        store: Where replies are stored; by default a `MemoryStore`.
        model: A name that tells the model apart from others; by default its repr. A model without a repr of its own is
            known only by identity in a `MemoryStore`; any other store needs a name for it.

    Raises:
        ConfigError: The store is not a store, or the name of the model is not a string.
    """

    def __init__(self, store: CacheStore | None = None, *, model: str = "") -> None:
        if not isinstance(store, CacheStore | None):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigError(f"Cache({store!r:.80}): a store has the async methods get and set; a name is model=")
        if not isinstance(model, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigError(f"Cache(model={model!r:.80}): must be a string that names the model")
        self._store = MemoryStore() if store is None else store
        self._model = model
        self._names: MutableMapping[Model, str] = WeakKeyDictionary()  # of models without a repr
        self._locks: MutableMapping[tuple[object, str], anyio.Lock] = WeakValueDictionary()

    async def around_model(self, turn: ModelTurn, inner: NextModel) -> Reply:  # noqa: D102
        headers = encode_json(sorted((turn.request.settings.extra_headers or {}).items()))
        body = replace(turn.request, stream=False).encode(self._model or self._name_of(turn.model))
        key = hashlib.sha256(b"agentkit reply 1\n" + headers + body).hexdigest()
        lock = self._locks.setdefault((anyio.lowlevel.current_token(), key), anyio.Lock())
        async with lock:
            if (stored := await self._store.get(key)) is None:
                reply = await inner(turn)
                if _is_whole(reply):
                    await self._store.set(key, encode_json(reply.to_record()))
                return reply
        reply = replace(read_reply(from_json(stored)), usage=Usage())
        if reply.message.reasoning:
            turn.emit(ReasoningDelta(reply.message.reasoning))
        if reply.text:
            turn.emit(TextDelta(reply.text))
        for index, call in enumerate(reply.message.tool_calls):
            turn.emit(CallDelta(index, call.id, call.name, call.written))
        return reply

    def _name_of(self, model: Model) -> str:
        """Return the name of a model: its repr, or one for this object only.

        Raises:
            ConfigError: It has no repr of its own, and other processes read the store.
        """
        if type(model).__repr__ is not object.__repr__:
            return repr(model)
        if isinstance(self._store, MemoryStore):
            with suppress(TypeError):  # of a model that cannot be a dictionary key
                return self._names.setdefault(model, uuid.uuid4().hex)
        raise ConfigError(
            f"Cache cannot tell one {type(model).__name__} from another: write Cache(model=...) with a name for it"
        )


def _is_whole(reply: Reply) -> bool:
    return not any(
        each.truncated or each.logprobs or each.message.refusal or each.message.audio or each.message.says_nothing
        for each in reply.choices
    )
