"""`Cache`: what was asked before is answered without asking again."""

from __future__ import annotations

import hashlib
from collections.abc import MutableMapping
from dataclasses import replace
from weakref import WeakValueDictionary

import anyio
import anyio.lowlevel

from agentkit.chat.events import CallDelta, Emit, ReasoningDelta, TextDelta
from agentkit.chat.messages import encode_json
from agentkit.chat.reply import Reply
from agentkit.chat.request import ChatRequest
from agentkit.middleware.checks import check_cache
from agentkit.middleware.store import CacheStore, MemoryStore, read_reply, record_of
from agentkit.middleware.words import Names
from agentkit.run.middleware import Middleware, NextModel, model_of

__all__ = ["Cache"]


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
        check_cache(store, model)
        self._store = MemoryStore() if store is None else store
        self._model, self._names = model, Names()
        self._locks: MutableMapping[tuple[object, str], anyio.Lock] = WeakValueDictionary()

    async def around_model(self, request: ChatRequest, emit: Emit, inner: NextModel) -> Reply:  # noqa: D102
        key = self._key(request, inner)
        lock = self._locks.setdefault((anyio.lowlevel.current_token(), key), anyio.Lock())
        async with lock:
            if (kept := await self._store.get(key)) is not None:
                return _shown(read_reply(kept), emit)
            reply = await inner(request, emit)
            if _is_whole(reply):
                await self._store.set(key, record_of(reply))
            return reply

    def _key(self, request: ChatRequest, inner: NextModel) -> str:
        headers = encode_json(sorted((request.settings.extra_headers or {}).items()))
        name = self._model or self._names.of(model_of(inner), give=isinstance(self._store, MemoryStore))
        body = replace(request, stream=False).encode(name)
        return hashlib.sha256(b"agentkit reply 1\n" + headers + body).hexdigest()


def _is_whole(reply: Reply) -> bool:
    return not any(
        each.cut or each.logprobs or each.message.refusal or each.message.audio or each.message.says_nothing
        for each in reply.choices
    )


def _shown(reply: Reply, emit: Emit) -> Reply:
    if reply.message.reasoning:
        emit(ReasoningDelta(reply.message.reasoning))
    if reply.text:
        emit(TextDelta(reply.text))
    for index, call in enumerate(reply.message.tool_calls):
        emit(CallDelta(index, call.name, call.written))
    return reply
