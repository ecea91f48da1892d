"""`ChatClient`, the `Model` that asks a server, and `open_model`, which finds the model that a name means."""

from __future__ import annotations

import difflib
import random
import time
import uuid
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack, overload
from urllib.parse import urljoin, urlsplit

import anyio
import anyio.to_thread
from pydantic_core import from_json

from agentkit.chat.compat.apply import PreparedRequest, apply_profile
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
from agentkit.chat.log import log
from agentkit.chat.providers import PROVIDERS, find_provider, is_self_hosted
from agentkit.chat.reply import Model, ModelInfo, Out, ParsedReply, Reply, ReplyShape, parse_reply, reply_type
from agentkit.chat.request import ChatRequest, FunctionTool, Prompt, ToolLike, request_of
from agentkit.chat.settings import ChatSettings, OtherParameters, Parameters, ResponseFormat
from agentkit.chat.stream import ParsedReplyStream, ReplyStream
from agentkit.chat.transport.address import ApiKey, Credentials, parse_address, without_secrets
from agentkit.chat.transport.http import Http
from agentkit.chat.transport.redaction import Redactor
from agentkit.chat.transport.response import Deadlines
from agentkit.chat.transport.retry import RetryPolicy, spend_retry, wait_before_retry
from agentkit.errors import AgentKitError, BadRequest, ConfigError, ModelError, StatusError

if TYPE_CHECKING:
    from agentkit.chat.compat.learn import Lesson

_MOST_LESSONS = 8  # refusals that one request may learn from


class ChatClient:
    """A client for one model of one server.

    Args:
        base_url: The server's address, to which ``/chat/completions`` is appended, for example
            ``"https://api.openai.com/v1"``. A query in it is sent with each request. A user and a password
            (``https://user:password@host/v1``) are sent as HTTP Basic authentication, and shown nowhere.
        model: The model's name on that server.
        api_key: Sent as a bearer token; None or empty for servers without keys. A string, anything with
            ``get_secret_value()``, or a function, async or not, that is called before each request, in a thread if it
            is not async. It may raise `ConfigError`.
        key_header: The header that the key is sent in, if not as a bearer token: ``"api-key"`` for Azure.
        name: The server's name in errors and records; by default its host.
        headers: Sent with each request; they take precedence over our own. Their values are secrets, except those of
            well-known names.
        http: An ``httpx2.AsyncClient`` or ``httpx.AsyncClient`` to send through (proxies, certificates); the caller
            closes it. Or the name of an HTTP engine, ``"httpx2"`` or ``"aiohttp"`` (extra ``agentkit[fast]``).
        deadlines: How long a try may take.
        retry: How often a failed request is sent again.
        read_limits: How much of an answer is read, and how.
        profile: Known facts about the model; see `Profile`.
        learn: Whether a refusal that names its cause changes the request, which is then sent again; the client
            remembers what it learned. Each reply says in ``adaptations`` what was changed.
        never_drop: Members of a request that are sent as they are whatever the server says, for example ``{"seed"}``.
        profile_file: A file that keeps what is learned between processes; see `ProfileFile`.

    Raises:
        ConfigError: The address or the key is invalid, or there is both a key and a password in the address.
    """

    def __init__(  # noqa: PLR0913 - a user-facing constructor, like Agent's
        self,
        base_url: str,
        *,
        model: str,
        api_key: ApiKey = None,
        key_header: str = "",
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
        address = parse_address(base_url)
        self.base_url = address.base_url
        self.model = model
        self.name = name or urlsplit(self.base_url).netloc
        self._url = address.url
        self._is_self_hosted = is_self_hosted(base_url)
        self._credentials = Credentials(api_key, address.login, header=key_header, server=self.name)
        self._headers = {name.lower(): value for name, value in (headers or {}).items()}
        self._http = Http(http)
        self._deadlines = deadlines or Deadlines()
        self._retry = retry or RetryPolicy()
        self._read_limits = read_limits or ReadLimits()
        self._learn = learn
        self._never_drop = frozenset([never_drop] if isinstance(never_drop, str) else never_drop)
        self._file = ProfileFile(profile_file) if profile_file is not None else None
        stored = self._file.load(self.base_url, self.model) if self._file else Profile()
        self._profile = ((profile or Profile()) | stored).keeping(self._never_drop)

    def __repr__(self) -> str:
        return f"ChatClient({self.base_url!r}, model={self.model!r})"

    @property
    def info(self) -> ModelInfo:
        """The server and the model, for traces and records."""
        return ModelInfo(provider=self.name, model=self.model, address=self.base_url)

    @property
    def profile(self) -> Profile:
        """Everything known about the model: what was given, what the file holds, and what was learned since."""
        return self._profile

    @overload
    async def create(
        self,
        prompt: Prompt,
        *,
        response_format: ReplyShape[Out],
        tools: Sequence[ToolLike] = (),
        settings: ChatSettings | None = None,
        emit: Emit = ignore_event,
        **parameters: Unpack[OtherParameters],
    ) -> ParsedReply[Out]: ...

    @overload
    async def create(
        self,
        prompt: Prompt,
        *,
        response_format: ResponseFormat | None = None,
        tools: Sequence[ToolLike] = (),
        settings: ChatSettings | None = None,
        emit: Emit = ignore_event,
        **parameters: Unpack[OtherParameters],
    ) -> Reply: ...

    async def create(
        self,
        prompt: Prompt,
        *,
        response_format: Any = None,
        tools: Sequence[ToolLike] = (),
        settings: ChatSettings | None = None,
        emit: Emit = ignore_event,
        **parameters: Unpack[OtherParameters],
    ) -> Reply:
        """Ask and wait for the whole reply.

        Args:
            prompt: A question, a message, or a whole transcript.
            response_format: The form of the answer: a type, whose value is then ``reply.parsed`` (see `ParsedReply`),
                or a `ResponseFormat` of the API.
            tools: The tools that the model may call; the calls are in ``reply.message.tool_calls``, nothing is run.
            settings: Parameters that go with the request.
            emit: Receives retries and adaptations.
            **parameters: The same by name: ``temperature=0.2``; they take precedence over ``settings``.

        Raises:
            ModelError: There is no usable reply; with a type, also if the reply is a refusal (`Refused`), is truncated
                (`IncompleteReply`) or holds no valid value (`InvalidReply`).
            ConfigError: A parameter is out of its limits, or the key is missing.
            DefinitionError: No JSON Schema expresses the type.
        """
        ask = self._asking(prompt, tools, settings, response_format, parameters)[0]
        return await ask(emit)

    @overload
    def stream(
        self,
        prompt: Prompt,
        *,
        response_format: ReplyShape[Out],
        tools: Sequence[ToolLike] = (),
        settings: ChatSettings | None = None,
        **parameters: Unpack[OtherParameters],
    ) -> ParsedReplyStream[Out]: ...

    @overload
    def stream(
        self,
        prompt: Prompt,
        *,
        response_format: ResponseFormat | None = None,
        tools: Sequence[ToolLike] = (),
        settings: ChatSettings | None = None,
        **parameters: Unpack[OtherParameters],
    ) -> ReplyStream: ...

    def stream(
        self,
        prompt: Prompt,
        *,
        response_format: Any = None,
        tools: Sequence[ToolLike] = (),
        settings: ChatSettings | None = None,
        **parameters: Unpack[OtherParameters],
    ) -> ReplyStream:
        """Ask as `create` does and read the reply as it is made; see `ReplyStream`."""
        ask, typed = self._asking(prompt, tools, settings, response_format, parameters, stream=True)
        return ParsedReplyStream[Any](ask) if typed else ReplyStream(ask)

    def _asking(
        self,
        prompt: Prompt,
        tools: Sequence[ToolLike],
        settings: ChatSettings | None,
        form: Any,
        parameters: OtherParameters,
        *,
        stream: bool = False,
    ) -> tuple[Callable[[Emit], Awaitable[Reply]], bool]:
        """The function that makes the reply, and whether the reply has a type."""
        kind = None if form is None or isinstance(form, Mapping) else reply_type(form)
        given: Parameters = {**parameters, "response_format": kind.response_format if kind else form}
        request = request_of(prompt, tools, settings, given, stream=stream)

        async def ask(emit: Emit) -> Reply:
            reply = await self.reply(request, emit)
            return await parse_reply(kind, reply) if kind else reply

        return ask, kind is not None

    async def reply(self, request: ChatRequest, emit: Emit = ignore_event) -> Reply:
        """Answer a request: adapted to the server, and repeated where that helps, as long as no text was shown.

        Raises:
            ModelError: There is no usable reply.
            ConfigError: The key is missing.
        """
        watch = _Watch(emit, streamed=request.stream)
        known, lasting = self._profile, Profile()  # lessons of refusals are remembered if the request then works
        prepared = apply_profile(request, self.model, known)
        steps = 0
        while True:
            lessons: list[Lesson | None] = []
            try:
                reply = await self._reply_retrying(request, prepared, watch, lessons)
            except StatusError as error:
                lesson = lessons[-1] if steps < _MOST_LESSONS else None
                if error.status >= 500 and lessons[-2:-1] != [lesson]:
                    lesson = None  # a server error teaches only what the one before it taught as well
                known = known | lesson.facts if lesson else known
                again = apply_profile(request, self.model, known)
                useless = lesson is None or again.body == prepared.body
                if useless or self._changes_kept(prepared.body, again.body):
                    if prepared.changes:
                        error.add_note(f"tried with these changes: {'; '.join(prepared.changes)}")
                    raise
                lasting = lasting | lesson.facts if lesson and lesson.lasting else lasting
                watch(RequestAdapted("; ".join(each for each in again.changes if each not in prepared.changes)))
                prepared, steps = again, steps + 1
            else:
                if lasting:
                    await self.remember(lasting)
                return replace(reply, adaptations=prepared.changes) if prepared.changes else reply

    async def _reply_retrying(
        self, request: ChatRequest, prepared: PreparedRequest, watch: _Watch, lessons: list[Lesson | None]
    ) -> Reply:
        """Send a body until there is a reply, with one idempotency key; ``lessons`` gets what each failure teaches."""
        idempotency_key = uuid.uuid4().hex
        attempt = 1
        while True:
            try:
                return await self._exchange(request, prepared, watch, idempotency_key)
            except ModelError as error:
                if self._moved_by_a_slash(error):
                    continue
                learns = self._learn and not watch.shown
                lessons.append(self._lesson_of(error, prepared) if learns else None)
                wait = wait_before_retry(self._retry, error, attempt=attempt, now=time.time(), dice=random.random)
                shown = watch.shown and not self._retry.after_text
                learned = lessons[-1] is not None and isinstance(error, StatusError) and error.status < 500
                if wait is None or shown or learned or not spend_retry():
                    raise
                watch(Retrying(attempt, wait, str(error)))
            await anyio.sleep(wait)
            attempt += 1

    def _changes_kept(self, before: bytes, after: bytes) -> bool:
        """Return True if a member of the body that must not be dropped has changed or is missing."""
        if not self._never_drop:
            return False
        one, other = from_json(before), from_json(after)
        return any(name in one and one[name] != other.get(name) for name in self._never_drop)

    def _lesson_of(self, error: ModelError, prepared: PreparedRequest) -> Lesson | None:
        if not isinstance(error, StatusError):
            return None
        from agentkit.chat.compat.learn import learn_from_error  # noqa: PLC0415 - servers rarely refuse anything

        return learn_from_error(from_json(prepared.body), error, never_drop=self._never_drop)

    async def _exchange(
        self, request: ChatRequest, prepared: PreparedRequest, watch: _Watch, idempotency_key: str
    ) -> Reply:
        """Send one request and read its answer; no error holds a key."""
        redactor = Redactor()
        decoder = ResponseDecoder(
            watch,
            server=f"{self.name} (model {self.model})",
            choices=request.settings.n or 1,
            offered={tool.name: tool.parameters if isinstance(tool, FunctionTool) else None for tool in request.tools},
            taken=request.call_ids,
            calls_in_text=prepared.calls_in_text or self._is_self_hosted,
            redactor=redactor,
            read_limits=self._read_limits,
        )
        headers = {
            "content-type": "application/json",
            "accept": "text/event-stream" if prepared.stream else "application/json",
            "accept-encoding": "identity",
            "idempotency-key": idempotency_key,
            **await self._credentials.headers(redactor, seconds=self._deadlines.total),
            **self._headers,
        }
        for name, value in (request.settings.extra_headers or {}).items():
            headers[name.lower()] = value
        try:
            await self._http.send(
                self._url,
                headers=headers,
                body=prepared.body,
                sink=decoder,
                deadlines=self._deadlines,
                stream=prepared.stream,
                redactor=redactor,
            )
            return decoder.finish()
        except AgentKitError as error:
            if isinstance(error, ModelError):
                error.partial = error.partial or decoder.text
            redactor.error(error)
            raise

    def _moved_by_a_slash(self, error: ModelError) -> bool:
        """Return True if the server permanently redirects to the same address with a trailing slash."""
        if not isinstance(error, BadRequest) or error.status not in (301, 302, 307, 308):
            return False
        path, question_mark, query = self._url.partition("?")
        if path.endswith("/"):
            return False
        there = urljoin(self._url, error.headers.get("location", ""))
        if there.partition("?")[0] != f"{path}/":
            return False
        self._url = f"{path}/{question_mark}{query}"
        return True

    async def remember(self, facts: Profile) -> None:
        """Add facts to the profile of this client, and to its file if it has one."""
        known = self._profile | facts
        if known == self._profile:
            return
        self._profile = known
        if self._file is not None:
            try:
                await anyio.to_thread.run_sync(self._file.save, self.base_url, self.model, facts)
            except ConfigError as error:
                self._file = None  # reported once; the reply is worth more than the file
                log.warning("%s", error)

    async def aclose(self) -> None:
        """Close the connections that this client opened in the running event loop; it can still be used.

        A connection that a request uses is closed when that request ends.
        """
        await self._http.aclose()


def open_model(
    name: str,
    *,
    deadlines: Deadlines | None = None,
    retry: RetryPolicy | None = None,
    profile_file: str | Path | None = None,
) -> Model:
    """Open the model that ``provider:model`` means.

    ``provider`` is a row of `PROVIDERS`, or a name that an installed package registers under the entry point group
    ``agentkit.models`` (``local`` is one): a function that takes the string after the colon, which may be empty.

    Args:
        name: For example ``"openai:gpt-5-mini"``.
        deadlines: For models of the table; see `ChatClient`.
        retry: Likewise.
        profile_file: Likewise.

    Raises:
        ConfigError: There is no such provider, the model's name or the provider's address is missing, or the model has
            no such option.
    """
    prefix, _, model = name.partition(":")
    provider = find_provider(prefix)
    if provider is None:
        entries = {entry.name: entry for entry in entry_points(group="agentkit.models")}
        if prefix not in entries:
            raise ConfigError(_unknown_provider(name, prefix, [*PROVIDERS, *entries]))
        if deadlines or retry or profile_file:
            raise ConfigError(f"{name!r} is not a provider's model, so it has no deadlines, retries or profile file")
        opened: Model = entries[prefix].load()(model)
        return opened
    if not model:
        raise ConfigError(f"{name!r} names no model; write for example {prefix}:{_EXAMPLES.get(prefix, 'MODEL')}")

    async def key() -> str:
        return provider.key()

    return ChatClient(
        provider.base_url,
        model=model,
        api_key=key,
        key_header=provider.key_header,
        name=provider.name,
        deadlines=deadlines,
        retry=retry,
        profile=provider.profile,
        profile_file=profile_file,
    )


_EXAMPLES = {"openai": "gpt-5-mini", "ollama": "qwen3"}


def _unknown_provider(name: str, prefix: str, known: Sequence[str]) -> str:
    if prefix in ("http", "https"):
        shown = without_secrets(name)
        return f"{shown!r} is an address: use ChatClient({shown!r}, model=...), or openai:MODEL with OPENAI_BASE_URL"
    near = difflib.get_close_matches(prefix, known, n=1)
    hint = f"; did you mean {name.replace(prefix, near[0], 1)!r}?" if near else ""
    if not hint and name and ":" not in name:
        hint = f"; did you mean 'openai:{name}'?"
    write = f"{hint} Write" if hint else "; write"
    return f"there is no provider {prefix!r}{write} provider:model with one of {', '.join(sorted(known))}"


class _Watch:
    """Passes events on and records whether streamed text was shown, after which nothing may be sent again."""

    def __init__(self, emit: Emit, *, streamed: bool) -> None:
        self._emit = emit
        self._streamed = streamed
        self.shown = False

    def __call__(self, event: Event) -> None:
        delta = event.delta if isinstance(event, ChoiceDelta) else event
        self.shown = self.shown or (self._streamed and isinstance(delta, TextDelta | RefusalDelta | AudioDelta))
        self._emit(event)
