"""`ChatClient`: the `Model` that asks a server, and `open_model`, which finds the model that a name means."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any
from urllib.parse import urlsplit

import anyio

from agentkit.chat.constrained import ConstrainedTools
from agentkit.chat.endpoints import ENDPOINTS, Endpoint, find_endpoint
from agentkit.chat.events import Emit, Retrying, TextDelta, nobody
from agentkit.chat.http import Deadlines, Http
from agentkit.chat.reader import ReplyReader
from agentkit.chat.reply import Model, Reply
from agentkit.chat.request import ChatRequest
from agentkit.chat.retry import RetryPolicy, wait_before_retry
from agentkit.errors import ConfigError, ModelError

__all__ = ["ChatClient", "open_model"]


class ChatClient:
    """A client for one model of one server.

    Args:
        base_url: The server's address, to which ``/chat/completions`` is appended, for example
            ``"https://api.openai.com/v1"``.
        model: The model's name there.
        api_key: Sent as a bearer token; empty for servers without keys. A function is asked before each request and
            may raise `ConfigError`.
        name: What errors call the server; by default its host.
        headers: Sent with each request; they go before our own.
        http: An ``httpx2.AsyncClient`` or ``httpx.AsyncClient`` to send through (proxies, certificates); the caller
            closes it.
        deadlines: How long a try may take.
        retry: How often a failed request is sent again.
    """

    def __init__(
        self,
        base_url: str,
        *,
        model: str,
        api_key: str | Callable[[], str] = "",
        name: str = "",
        headers: Mapping[str, str] | None = None,
        http: Any = None,
        deadlines: Deadlines | None = None,
        retry: RetryPolicy | None = None,
    ) -> None:
        address = urlsplit(base_url)
        if address.scheme not in ("http", "https") or not address.hostname:
            raise ConfigError(
                f"{base_url!r} is not the address of a server; write for example http://127.0.0.1:8000/v1"
            )
        self.base_url = base_url.rstrip("/")
        self.model = model
        self.name = name or address.netloc.rpartition("@")[2]
        self._api_key = api_key
        self._headers = dict(headers or {})
        self._http = Http(http)
        self._deadlines = deadlines or Deadlines()
        self._retry = retry or RetryPolicy()

    def __repr__(self) -> str:
        return f"ChatClient({self.base_url!r}, model={self.model!r})"

    async def reply(self, request: ChatRequest, emit: Emit = nobody) -> Reply:
        """Answer a request; failed tries are repeated as long as no text was shown.

        Raises:
            ModelError: There is no usable reply.
            ConfigError: The key is missing.
        """
        body = request.encode(self.model)
        shown = False

        def watch(event: object) -> None:
            nonlocal shown
            shown = shown or isinstance(event, TextDelta)

        attempt = 1
        while True:
            try:
                return await self._exchange(request, body, _both(watch, emit))
            except ModelError as error:
                now = time.time()
                wait = wait_before_retry(self._retry, error, attempt=attempt, now=now, dice=random.random)
                if wait is None or (shown and request.stream):
                    raise
                emit(Retrying(attempt, wait, str(error)))
            await anyio.sleep(wait)
            attempt += 1

    async def _exchange(self, request: ChatRequest, body: bytes, emit: Emit) -> Reply:
        key = self._api_key() if callable(self._api_key) else self._api_key
        server = f"{self.name} (model {self.model})"
        reader = ReplyReader(emit, server=server, choices=request.settings.n or 1, secret=key)
        await self._http.send(
            f"{self.base_url}/chat/completions",
            headers=self._header_lines(key, request),
            body=body,
            sink=reader,
            deadlines=self._deadlines,
            stream=request.stream,
        )
        return reader.finish()

    def _header_lines(self, key: str, request: ChatRequest) -> dict[str, str]:
        headers = {
            "content-type": "application/json",
            "accept": "text/event-stream" if request.stream else "application/json",
            "accept-encoding": "identity",
        }
        if key:
            headers["authorization"] = f"Bearer {key}"
        for given in (self._headers, request.settings.extra_headers or {}):
            headers |= {name.lower(): value for name, value in given.items()}
        return headers

    async def aclose(self) -> None:
        """Close the connections that this client opened in the running event loop; it can still be used."""
        await self._http.aclose()


def open_model(name: str) -> Model:
    """The model that ``endpoint:model`` means.

    ``endpoint`` is a row of `ENDPOINTS`, or a name that an installed package registers under the entry point group
    ``agentkit.models`` (``local`` is one): a function that takes what stands behind the colon, or an empty string.

    Raises:
        ConfigError: There is no such endpoint, or the model's name is missing.
    """
    prefix, _, model = name.partition(":")
    endpoint = find_endpoint(prefix)
    if endpoint is not None:
        if not model:
            raise ConfigError(f"{name!r} names no model; write for example {prefix}:{_EXAMPLES.get(prefix, 'MODEL')}")
        return _client(endpoint, model)
    for entry in entry_points(group="agentkit.models", name=prefix):
        opened: Model = entry.load()(model)
        return opened
    known = ", ".join(sorted({*ENDPOINTS, *(entry.name for entry in entry_points(group="agentkit.models"))}))
    raise ConfigError(f"there is no endpoint {prefix!r}; write endpoint:model with one of {known}")


_EXAMPLES = {"openai": "gpt-5-mini", "ollama": "qwen3"}


def _client(endpoint: Endpoint, model: str) -> Model:
    client = ChatClient(endpoint.base_url, model=model, api_key=endpoint.key, name=endpoint.name)
    return client if endpoint.native_tools else ConstrainedTools(client)


def _both(first: Emit, second: Emit) -> Emit:
    def emit(event: Any) -> None:
        first(event)
        second(event)

    return emit
