"""`ChatClient`: the `Model` that asks a server, and `open_model`, which finds the model that a name means."""

from __future__ import annotations

import difflib
import logging
import random
import time
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Unpack
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
from pydantic_core import from_json

from agentkit.chat.compat.apply import PreparedRequest, fit
from agentkit.chat.compat.learn import Lesson, learn
from agentkit.chat.compat.profile import Profile, ProfileFile
from agentkit.chat.decoding.decoder import ReadLimits, ResponseDecoder
from agentkit.chat.events import (
    AudioDelta,
    ChoiceDelta,
    Emit,
    Event,
    RefusalDelta,
    RequestAdapted,
    Retrying,
    TextDelta,
    ignore_event,
)
from agentkit.chat.providers import PROVIDERS, Provider, find_provider, is_self_hosted
from agentkit.chat.reply import Model, Reply
from agentkit.chat.request import ChatRequest, FunctionTool, Prompt, ToolLike, request_of
from agentkit.chat.settings import ChatSettings, Parameters
from agentkit.chat.stream import ReplyStream
from agentkit.chat.transport.http import Deadlines, Http, authorization, read_address, secrets_in, without_login
from agentkit.chat.transport.retry import RetryPolicy, spend_retry, wait_before_retry
from agentkit.errors import ConfigError, ModelError, StatusError

__all__ = ["ChatClient", "open_model"]

log = logging.getLogger("agentkit")

_MOST_LESSONS = 8  # refusals that one request may learn from


class ChatClient:
    """A client for one model of one server.

    Args:
        base_url: The server's address, to which ``/chat/completions`` is appended, for example
            ``"https://api.openai.com/v1"``. A user and a password in it (``https://user:password@host/v1``) are sent
            as HTTP's Basic authentication, and shown nowhere.
        model: The model's name there.
        api_key: Sent as a bearer token; None or empty for servers without keys. A function is asked before each
            request and may raise `ConfigError`.
        name: What errors call the server; by default its host.
        headers: Sent with each request; they go before our own.
        http: An ``httpx2.AsyncClient`` or ``httpx.AsyncClient`` to send through (proxies, certificates); the caller
            closes it.
        deadlines: How long a try may take.
        retry: How often a failed request is sent again.
        read_limits: How much of an answer is read, and how.
        profile: What is known of the model already; see `Profile`.
        learn: Whether a refusal that names what it does not like changes the request, which is then sent again; what
            was learned so is remembered in the client. Each reply says in ``adaptations`` what was changed.
        never_drop: Members of a request that are sent as they are whatever the server says, for example ``{"seed"}``.
        profile_file: Where what is learned is also kept between processes; nowhere unless given.

    Raises:
        ConfigError: The address is none, or a password stands in it beside a key.
    """

    def __init__(  # noqa: PLR0913 - the front door of the protocol: as with Agent, each is one setting of the whole
        self,
        base_url: str,
        *,
        model: str,
        api_key: str | Callable[[], str] | None = None,
        name: str = "",
        headers: Mapping[str, str] | None = None,
        http: Any = None,
        deadlines: Deadlines | None = None,
        retry: RetryPolicy | None = None,
        read_limits: ReadLimits | None = None,
        profile: Profile | None = None,
        learn: bool = True,
        never_drop: Collection[str] = (),
        profile_file: str | Path | None = None,
    ) -> None:
        self.base_url, self._login = read_address(base_url)
        self.model = model
        self.name = name or urlsplit(self.base_url).netloc
        self._api_key = api_key
        self._headers = dict(headers or {})
        self._http = Http(http)
        self._deadlines = deadlines or Deadlines()
        self._retry = retry or RetryPolicy()
        self._read_limits = read_limits or ReadLimits()
        self._learn = learn
        self._never_drop = frozenset([never_drop] if isinstance(never_drop, str) else never_drop)
        self._file = ProfileFile(profile_file) if profile_file is not None else None
        stored = self._file.load(self.base_url, self.model) if self._file else Profile()
        self._profile = ((profile or Profile()) | stored).keeping(self._never_drop)
        if not callable(api_key):
            self._authorization()  # raises

    def __repr__(self) -> str:
        return f"ChatClient({self.base_url!r}, model={self.model!r})"

    @property
    def profile(self) -> Profile:
        """What is known of the model: what was given, what the file knew, and what was learned since."""
        return self._profile

    async def create(
        self,
        prompt: Prompt,
        *,
        tools: Sequence[ToolLike] = (),
        settings: ChatSettings | None = None,
        emit: Emit = ignore_event,
        **parameters: Unpack[Parameters],
    ) -> Reply:
        """Ask and wait for the whole reply.

        Args:
            prompt: A question, a message, or a whole transcript.
            tools: What the model may call; the calls are in ``reply.message.tool_calls``, nothing is run.
            settings: Parameters that go with the request.
            emit: Told of retries and adaptations.
            **parameters: The same by name: ``temperature=0.2``; they go before those of ``settings``.

        Raises:
            ModelError: There is no usable reply.
            ConfigError: A parameter is out of its limits, or the key is missing.
        """
        return await self.reply(request_of(prompt, tools, settings, parameters), emit)

    def stream(
        self,
        prompt: Prompt,
        *,
        tools: Sequence[ToolLike] = (),
        settings: ChatSettings | None = None,
        **parameters: Unpack[Parameters],
    ) -> ReplyStream:
        """The same as `create`, to be watched: ``async with client.stream(...) as deltas``; see `ReplyStream`."""
        request = request_of(prompt, tools, settings, parameters, stream=True)
        return ReplyStream(lambda emit: self.reply(request, emit))

    async def reply(self, request: ChatRequest, emit: Emit = ignore_event) -> Reply:
        """Answer a request: adapted to the server, and repeated where that helps, as long as no text was shown.

        Raises:
            ModelError: There is no usable reply.
            ConfigError: The key is missing.
        """
        return await self._reply_adapting(request, _Watch(emit, streamed=request.stream))

    async def _reply_adapting(self, request: ChatRequest, watch: _Watch) -> Reply:
        """Send what the server is known to take; what a refusal teaches is kept if the request then worked."""
        known, lasting = self._profile, Profile()
        fitted = fit(request, self.model, known)
        steps = 0
        while True:
            taught: list[Lesson | None] = []
            try:
                reply = await self._reply_retrying(request, fitted.body, watch, taught)
            except StatusError as error:
                lesson = _what_is_certain(error, taught) if steps < _MOST_LESSONS else None
                known = known | lesson.facts if lesson else known
                again = fit(request, self.model, known)
                if lesson is None or again.body == fitted.body or _changed(fitted.body, again.body, self._never_drop):
                    _tell_what_was_tried(error, fitted)
                    raise
                lasting = lasting | lesson.facts if lesson.lasting else lasting
                watch(RequestAdapted("; ".join(each for each in again.changes if each not in fitted.changes)))
                fitted, steps = again, steps + 1
            else:
                await self._remember(lasting)
                return replace(reply, adaptations=fitted.changes) if fitted.changes else reply

    async def _reply_retrying(
        self, request: ChatRequest, body: bytes, watch: _Watch, taught: list[Lesson | None]
    ) -> Reply:
        """Send a body until there is a reply, with one idempotency key; ``taught`` gets what each failure teaches."""
        idempotency_key = uuid.uuid4().hex
        attempt = 1
        while True:
            try:
                return await self._exchange(request, body, watch, idempotency_key)
            except ModelError as error:
                taught.append(self._lesson(body, error, watch))
                now = time.time()
                wait = wait_before_retry(self._retry, error, attempt=attempt, now=now, dice=random.random)
                void = watch.shown and not self._retry.after_text
                learned = taught[-1] is not None and not _may_pass(error)
                if wait is None or void or learned or not spend_retry():
                    raise
                watch(Retrying(attempt, wait, str(error)))
            await anyio.sleep(wait)
            attempt += 1

    async def _exchange(self, request: ChatRequest, body: bytes, watch: _Watch, idempotency_key: str) -> Reply:
        server = f"{self.name} (model {self.model})"
        offered = {tool.name: tool.parameters if isinstance(tool, FunctionTool) else None for tool in request.tools}
        choices = request.settings.n or 1
        headers = self._header_lines(request, idempotency_key)
        secrets = [*secrets_in(self._http.headers), *secrets_in(headers), self._login.partition(":")[2]]
        reader = ResponseDecoder(
            watch,
            server=server,
            choices=choices,
            offered=offered,
            taken=request.call_ids,
            calls_in_text=self._profile.calls_in_text or is_self_hosted(self.base_url),
            secrets=secrets,
            read_limits=self._read_limits,
        )
        try:
            await self._http.send(
                f"{self.base_url}/chat/completions",
                headers=headers,
                body=body,
                sink=reader,
                deadlines=self._deadlines,
                stream=request.stream,
            )
            return reader.finish()
        except ModelError as error:
            error.partial = error.partial or reader.text
            raise

    def _authorization(self) -> str:
        key = self._api_key() if callable(self._api_key) else self._api_key or ""
        return authorization(key, self._login, server=self.name)

    def _header_lines(self, request: ChatRequest, idempotency_key: str) -> dict[str, str]:
        headers = {
            "content-type": "application/json",
            "accept": "text/event-stream" if request.stream else "application/json",
            "accept-encoding": "identity",
            "idempotency-key": idempotency_key,
        }
        if who := self._authorization():
            headers["authorization"] = who
        for given in (self._headers, request.settings.extra_headers or {}):
            headers |= {name.lower(): value for name, value in given.items()}
        return headers

    def _lesson(self, body: bytes, error: ModelError, watch: _Watch) -> Lesson | None:
        if not self._learn or watch.shown or not isinstance(error, StatusError):
            return None
        return learn(from_json(body), error, never_drop=self._never_drop)

    async def _remember(self, facts: Profile) -> None:
        known = self._profile | facts
        if known == self._profile:
            return
        self._profile = known
        if self._file is not None:
            try:
                await anyio.to_thread.run_sync(self._file.save, self.base_url, self.model, facts)
            except ConfigError as error:
                self._file = None  # told once; the reply is worth more than the file
                log.warning("%s", error)

    async def aclose(self) -> None:
        """Close the connections that this client opened in the running event loop; it can still be used."""
        await self._http.aclose()


def open_model(name: str, *, profile_file: str | Path | None = None) -> Model:
    """The model that ``endpoint:model`` means.

    ``endpoint`` is a row of `PROVIDERS`, or a name that an installed package registers under the entry point group
    ``agentkit.models`` (``local`` is one): a function that takes what stands behind the colon, or an empty string.

    Args:
        name: For example ``"openai:gpt-5-mini"``.
        profile_file: For models of the table; see `ChatClient`.

    Raises:
        ConfigError: There is no such endpoint, or the model's name is missing.
    """
    prefix, _, model = name.partition(":")
    endpoint = find_provider(prefix)
    if endpoint is not None:
        if not model:
            raise ConfigError(f"{name!r} names no model; write for example {prefix}:{_EXAMPLES.get(prefix, 'MODEL')}")
        return _client(endpoint, model, profile_file)
    entries = {entry.name: entry for entry in entry_points(group="agentkit.models")}
    if prefix in entries:
        opened: Model = entries[prefix].load()(model)
        return opened
    raise ConfigError(_unknown_provider(name, prefix, [*PROVIDERS, *entries]))


def _unknown_provider(name: str, prefix: str, known: Sequence[str]) -> str:
    if prefix in ("http", "https"):
        name = without_login(name)
        return f"{name!r} is an address: use ChatClient({name!r}, model=...), or openai:MODEL with OPENAI_BASE_URL"
    near = difflib.get_close_matches(prefix, known, n=1)
    hint = f"; did you mean {name.replace(prefix, near[0], 1)!r}?" if near else ""
    if not hint and name and ":" not in name:
        hint = f"; did you mean 'openai:{name}'?"
    return f"there is no endpoint {prefix!r}{hint or ''}; write endpoint:model with one of {', '.join(sorted(known))}"


class _Watch:
    """Passes events on and knows whether text was shown of a stream, after which nothing may be sent again."""

    def __init__(self, emit: Emit, *, streamed: bool) -> None:
        self._emit = emit
        self._streamed = streamed
        self.shown = False

    def __call__(self, event: Event) -> None:
        piece = event.delta if isinstance(event, ChoiceDelta) else event
        self.shown = self.shown or (self._streamed and isinstance(piece, TextDelta | RefusalDelta | AudioDelta))
        self._emit(event)


def _may_pass(error: ModelError) -> bool:
    return isinstance(error, StatusError) and error.status >= 500


def _what_is_certain(error: StatusError, taught: list[Lesson | None]) -> Lesson | None:
    """What the last failure of a body taught: an error of the server only if the one before taught the same."""
    lesson = taught[-1]
    return None if _may_pass(error) and taught[-2:-1] != [lesson] else lesson


def _changed(before: bytes, after: bytes, names: Collection[str]) -> bool:
    """Whether any of these members of a body is another one, or gone."""
    if not names:
        return False
    one, other = from_json(before), from_json(after)
    return any(name in one and one[name] != other.get(name) for name in names)


def _tell_what_was_tried(error: StatusError, fitted: PreparedRequest) -> None:
    if fitted.changes:
        error.add_note(f"tried with these changes: {'; '.join(fitted.changes)}")


_EXAMPLES = {"openai": "gpt-5-mini", "ollama": "qwen3"}


def _client(endpoint: Provider, model: str, profile_file: str | Path | None) -> Model:
    client = ChatClient(
        endpoint.base_url,
        model=model,
        api_key=endpoint.key,
        name=endpoint.name,
        profile=endpoint.profile,
        profile_file=profile_file,
    )
    return client
