"""The server as an ASGI app: paths, limits, and streams whose clients may disconnect at any time."""

from __future__ import annotations

import hashlib
import json
import logging
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import anyio
import anyio.lowlevel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agentkit import RunState
from agentkit.chat import encode_json
from agentkit.errors import ConfigError, SessionError
from agentkit.messages import Message as ChatMessage
from agentkit.serve.agents import AgentBackend, waiting_state
from agentkit.serve.backend import Backend, Caller, Job
from agentkit.serve.completion import Answer, Part, error_chunk
from agentkit.serve.errors import ApiError, api_error, bad_request
from agentkit.serve.events import pending_to_wire
from agentkit.serve.metrics import Metrics
from agentkit.serve.openapi import openapi
from agentkit.serve.page import chat_page
from agentkit.serve.runs import Runs
from agentkit.serve.security import Guard
from agentkit.serve.store import Store
from agentkit.serve.wire import BranchBody, ChatBody, DecisionsBody, Json, parse, parse_body
from agentkit.serve.writer import Writer
from agentkit.sessions import SessionInfo, Sessions, StoredSession

__all__ = ["Server", "ServerLimits"]

log = logging.getLogger("agentkit")
_POLL = 0.1  # seconds between checks of an answer that another request is creating
_KEY = 255  # characters of an idempotency key


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLimits:
    """The limits of a server.

    Attributes:
        body: Most bytes of a request.
        body_seconds: Longest time for a request to arrive.
        requests: Most concurrent requests for a completion; further ones get a 429.
        seconds: Longest time for an answer.
        keep_alive: Seconds of silence in a stream after which a comment is sent, so that no proxy closes it.
        waiting_seconds: How long waiting runs and answers to idempotency keys are stored.

    Raises:
        ConfigError: One of them is not a positive number.
    """

    body: int = 32 * 1024 * 1024
    body_seconds: float = 60
    requests: int = 512
    seconds: float = 600
    keep_alive: float = 15
    waiting_seconds: float = 24 * 3600

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if not getattr(self, name) > 0:
                raise ConfigError(f"ServerLimits({name}={getattr(self, name)!r}): must be a positive number")


class Server:
    """An ASGI app that answers requests with the backends.

    Args:
        backends: The backends, by model name.
        guard: Who may send requests.
        limits: What a request may use.
        store: Where runs wait.
        sessions: The stored conversations, if there are any.
        opens: What is opened when the server starts, and closed when it stops.
    """

    def __init__(
        self,
        backends: Sequence[Backend],
        *,
        guard: Guard,
        limits: ServerLimits,
        store: Store,
        sessions: Sessions | None = None,
        opens: Sequence[Any] = (),
    ) -> None:
        self.backends = {each.name: each for each in backends}
        self.metrics = Metrics()
        self._guard, self._limits, self._store, self._sessions = guard, limits, store, sessions
        self._runs = Runs(store, limits.waiting_seconds)
        self._created = int(time.time())
        self._opens = opens
        routes: list[BaseRoute] = [
            Route("/v1/chat/completions", self._chat, methods=["POST"]),
            Route("/openai/chat/completions", self._chat, methods=["POST"]),
            Route("/v1/models", self._models),
            Route("/openai/models", self._models),
            Route("/v1/models/{model:path}", self._model),
            Route("/v1/runs/{run_id}", self._run),
            Route("/v1/runs/{run_id}/decisions", self._decide, methods=["POST"]),
            Route("/v1/sessions", self._list_sessions),
            Route("/v1/sessions/{name}", self._session, methods=["GET", "DELETE"]),
            Route("/v1/sessions/{name}/branch", self._branch, methods=["POST"]),
            Route("/", self._page),
            Route("/healthz", _healthz),
            Route("/metrics", self._metrics),
            Route("/openapi.json", self._openapi),
        ]
        self._router = Router(routes, redirect_slashes=False, default=_not_found, lifespan=self._lifespan)

    @property
    def is_open(self) -> bool:
        """Whether it admits everyone who can reach it."""
        return self._guard.is_open

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "lifespan":
            await self._router(scope, receive, send)
            return
        if scope["type"] != "http":
            raise RuntimeError(f"this app answers HTTP, not {scope['type']}")
        request_id = f"req_{uuid.uuid4().hex}"
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        exchange = _Exchange(send, {"x-request-id": request_id})
        try:
            origin = self._guard.check_place(headers)
            if origin:
                exchange.headers |= _cross_origin(origin, headers)
            if scope["method"] == "OPTIONS" and "access-control-request-method" in headers and origin:
                await Response(status_code=204)(scope, receive, exchange.send)
                return
            owner = self._guard.owner(headers) if _needs_token(scope) else ""
            scope = {**scope, "app": self, "state": {**scope.get("state", {}), "caller": Caller(owner, headers)}}
            await self._router(scope, receive, exchange.send)
        except Exception as error:
            if exchange.started:
                log.error("an answer ended early", exc_info=error)
                raise
            failed = _of_http(error) if isinstance(error, HTTPException) else api_error(error)
            await _json(failed.body(), failed.status, failed.headers)(scope, receive, exchange.send)

    @asynccontextmanager
    async def _lifespan(self, _app: Any) -> AsyncGenerator[None]:
        async with AsyncExitStack() as stack:
            for each in self._opens:
                await stack.enter_async_context(each)
            yield

    # Completions.

    async def _chat(self, request: Request) -> ASGIApp:
        raw = parse(await self._body(request))
        body = parse_body(raw, ChatBody)
        backend = self.backends.get(body.model)
        if backend is None:
            raise _no_model(body.model)
        caller = _caller(request)
        return self._answer(request, body.model, raw, body, lambda: backend.prepare(body, raw, caller))

    async def _decide(self, request: Request) -> ASGIApp:
        raw = parse(await self._body(request))
        body = parse_body(raw, DecisionsBody)
        run_id, caller = request.path_params["run_id"], _caller(request)
        known = await self._runs.load(caller.owner, run_id)
        if known is None:
            raise _no_run(run_id)

        async def prepare() -> Job:
            run = await self._runs.take(caller.owner, run_id)
            backend = None if run is None else self.backends.get(run.model)
            if run is None or not isinstance(backend, AgentBackend):
                raise _no_run(run_id)
            try:
                return await backend.decide(run_id, run, body, caller)
            except BaseException:
                with anyio.CancelScope(shield=True):
                    await self._runs.save(caller.owner, run_id, run)
                raise

        return self._answer(request, known.model, raw, body, prepare)

    def _answer(
        self,
        request: Request,
        model: str,
        raw: Json,
        body: ChatBody | DecisionsBody,
        prepare: Callable[[], Awaitable[Job]],
    ) -> ASGIApp:
        """An ASGI app that answers with a completion, and cancels it if the client disconnects."""
        if body.stream_options is not None and not body.stream:
            raise bad_request("'stream_options' is only allowed when 'stream' is true.", "stream_options")
        key = self._idempotency_key(request, raw)

        async def answer(_scope: Scope, receive: Receive, send: Send) -> None:
            if self.metrics.active >= self._limits.requests:
                self.metrics.count(model, "429", 0)
                raise ApiError(
                    429,
                    "The server is answering as many requests as it can: try again.",
                    type="rate_limit_error",
                    code="too_many_requests",
                    headers={"retry-after": "1"},
                )
            writer = Writer(send, body.stream_options, stream=bool(body.stream), keep_alive=self._limits.keep_alive)
            began = time.monotonic()
            outcome, answers = "cancelled", list[Answer]()
            self.metrics.active += 1
            try:
                outcome = await self._until_left(receive, lambda: self._once(key, writer, prepare, answers), writer)
            finally:
                self.metrics.active -= 1
                self.metrics.count(model, outcome, time.monotonic() - began, (each.usage for each in answers))

        return answer

    async def _until_left(self, receive: Receive, work: Callable[[], Awaitable[None]], writer: Writer) -> str:
        """Work until done, out of time, or the client disconnects; return the outcome."""
        failures: list[Exception] = []
        watches, works = True, True

        async def watch() -> None:
            nonlocal watches
            while (await receive())["type"] != "http.disconnect":
                pass
            watches = False
            if works:
                tasks.cancel_scope.cancel("the client has left")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch)
            if writer.streams:
                tasks.start_soon(writer.flush_in_time)
            try:
                with anyio.fail_after(self._limits.seconds):
                    await work()
            except Exception as error:  # noqa: BLE001 - it is raised below, and not in a group
                failures.append(error)
            works = False
            if writer.ended and not writer.streams:
                await anyio.lowlevel.checkpoint()  # a server says now that there is nothing more to receive
            if watches or writer.streams:
                tasks.cancel_scope.cancel("the answer is complete")
        if not failures:
            return "200" if writer.ended else "cancelled"
        failed = api_error(failures[0])
        if writer.started:
            await writer.end(error_chunk(failed.body()))
        else:
            await writer.fail(failed)
        return str(failed.status)

    async def _once(
        self, key: str, writer: Writer, prepare: Callable[[], Awaitable[Job]], answers: list[Answer]
    ) -> None:
        """Answer, or repeat the answer to an earlier request with the same key."""
        if not key:
            await self._make(writer, prepare, answers)
            return
        name, _, digest = key.rpartition(":")
        mine = json.dumps({"digest": digest, "body": None})
        while (known := await self._store.add(name, mine, self._limits.seconds + 60)) is not None:
            stored = json.loads(known)
            if stored["digest"] != digest:
                raise ApiError(409, "This Idempotency-Key was used for another request.", code="idempotency_key_reused")
            if stored["body"] is not None:
                await writer.repeat(stored["body"])
                return
            await anyio.sleep(_POLL)
        try:
            writer.records = True
            await self._make(writer, prepare, answers)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._store.take(name)
            raise
        body = writer.recorded()
        if body is None:
            await self._store.take(name)
        else:
            await self._store.put(name, json.dumps({"digest": digest, "body": body}), self._limits.waiting_seconds)

    async def _make(self, writer: Writer, prepare: Callable[[], Awaitable[Job]], answers: list[Answer]) -> None:
        job = await prepare()
        if not writer.streams:
            answers += await job.run(None)
            await writer.whole(job.completion.whole(answers))
            return
        chunks = writer.chunks(job)

        async def send(index: int, part: Part) -> None:
            await writer.write(chunks.encode(index, part))

        answers += await job.run(send)
        await writer.end(chunks.end(answers))

    def _idempotency_key(self, request: Request, raw: Json) -> str:
        """Return the key of a stored answer and a hash of the request, if it has an ``Idempotency-Key``."""
        given = request.headers.get("idempotency-key", "")
        if not given:
            return ""
        if len(given) > _KEY:
            raise bad_request(f"An Idempotency-Key has at most {_KEY} characters.", "Idempotency-Key")
        session = request.headers.get("x-agentkit-session", "")
        digest = hashlib.sha256(json.dumps([request.url.path, session, raw], sort_keys=True).encode()).hexdigest()
        return f"answer:{_caller(request).owner}:{given}:{digest}"

    async def _body(self, request: Request) -> bytes:
        """Read a body of JSON within the limits.

        Raises:
            ApiError: It is something else, too large, or too slow.
        """
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise ApiError(415, "The Content-Type must be application/json.", code="unsupported_content_type")
        length = request.headers.get("content-length", "0")
        data, more = bytearray(), True
        try:
            with anyio.fail_after(self._limits.body_seconds):
                while more:
                    message = await request.receive()
                    if message["type"] == "http.disconnect":
                        raise ApiError(400, "The request ended early.", code="request_incomplete")
                    data += message.get("body", b"")
                    more = message.get("more_body", False)
                    if max(len(data), int(length) if length.isdecimal() else 0) > self._limits.body:
                        too_large = f"The request is larger than {self._limits.body:,} bytes."
                        raise ApiError(413, too_large, code="request_too_large")
        except TimeoutError:
            raise ApiError(408, "The request did not arrive in time.", code="timeout") from None
        return bytes(data)

    # Models, runs, sessions.

    async def _models(self, _request: Request) -> Response:
        return _json({"object": "list", "data": [self._model_object(name) for name in self.backends]})

    async def _model(self, request: Request) -> Response:
        name = request.path_params["model"]
        if name not in self.backends:
            raise _no_model(name)
        return _json(self._model_object(name))

    def _model_object(self, name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": self._created, "owned_by": "agentkit"}

    async def _run(self, request: Request) -> Response:
        run_id = request.path_params["run_id"]
        run = await self._runs.load(_caller(request).owner, run_id)
        if run is None:
            raise _no_run(run_id)
        state = await waiting_state(run_id, run, self._named(run.session) if run.session else None)
        return _json({"id": run_id, "object": "agentkit.run", "model": run.model, **_waiting(state)})

    def _named(self, name: str) -> StoredSession:
        if self._sessions is None:
            raise ApiError(404, "This server has no sessions.", code="no_sessions")
        return self._sessions[name]

    async def _infos(self) -> Sequence[SessionInfo]:
        return () if self._sessions is None else await self._sessions.list()

    async def _list_sessions(self, _request: Request) -> Response:
        return _json({"object": "list", "data": [_session_object(each) for each in await self._infos()]})

    async def _session(self, request: Request) -> Response:
        name = request.path_params["name"]
        session = self._named(name)
        info = next((each for each in await self._infos() if each.name == name), None)
        if info is None:
            raise ApiError(404, f"There is no session {name!r:.80}.", code="session_not_found")
        if request.method == "DELETE":
            await session.delete()
            return _json({"id": name, "object": "agentkit.session", "deleted": True})
        state, messages = await session.state(), await session.messages()
        waits = (
            {"run_id": state.run_id, "pending": pending_to_wire(state)} if state is not None and state.pending else {}
        )
        return _json({**_session_object(info), "messages": [_message(each) for each in messages], **waits})

    async def _branch(self, request: Request) -> Response:
        body = parse_body(parse(await self._body(request)), BranchBody)
        try:
            made = await self._named(request.path_params["name"]).branch(body.name, messages=body.messages)
        except SessionError as error:
            raise ApiError(409, str(error), code="session_not_copied") from None
        return _json({"id": made.name, "object": "agentkit.session"})

    # The rest.

    async def _page(self, _request: Request) -> Response:
        agents = any(isinstance(each, AgentBackend) for each in self.backends.values())
        page, policy = chat_page(agents=agents, sessions=self._sessions is not None)
        headers = {"content-security-policy": policy, "referrer-policy": "no-referrer"}
        return Response(page, media_type="text/html", headers=headers)

    async def _metrics(self, _request: Request) -> Response:
        return Response(self.metrics.text(), media_type="text/plain; version=0.0.4")

    async def _openapi(self, _request: Request) -> Response:
        return _json(openapi())


class _Exchange:
    """Sends an answer: adds headers, and knows whether it has begun."""

    def __init__(self, send: Send, headers: dict[str, str]) -> None:
        self._send = send
        self.headers = {"cache-control": "no-store", "x-content-type-options": "nosniff", **headers}
        self.started = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            more = [(name.encode(), value.encode("latin-1")) for name, value in self.headers.items()]
            message = {**message, "headers": [*message.get("headers", ()), *more]}
        await self._send(message)


def _caller(request: Request) -> Caller:
    return cast("Caller", request.scope["state"]["caller"])


def _needs_token(scope: Scope) -> bool:
    """True if a request needs the token: all but those for pages and the health check."""
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    return scope["method"] not in ("GET", "HEAD") or path.startswith(("/v1", "/openai", "/metrics"))


def _cross_origin(origin: str, headers: Mapping[str, str]) -> dict[str, str]:
    asked = headers.get("access-control-request-headers", "authorization, content-type")
    allowed = ", ".join(each for each in asked.replace(" ", "").split(",") if each.replace("-", "").isalnum())
    return {
        "access-control-allow-origin": origin,
        "access-control-allow-methods": "GET, POST, DELETE",
        "access-control-allow-headers": allowed,
        "access-control-expose-headers": "x-request-id, retry-after",
        "access-control-max-age": "600",
        "vary": "origin",
    }


def _json(body: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(encode_json(body), status, headers, "application/json")


async def _healthz(_request: Request) -> Response:
    return _json({"status": "ok"})


async def _not_found(scope: Scope, _receive: Receive, _send: Send) -> None:
    raise ApiError(404, f"Invalid URL ({scope['method']} {scope['path']:.80})", code="unknown_url")


def _of_http(error: HTTPException) -> ApiError:
    return ApiError(error.status_code, error.detail, headers=error.headers)


def _no_model(name: str) -> ApiError:
    return ApiError(404, f"The model {name!r:.80} does not exist.", param="model", code="model_not_found")


def _no_run(run_id: str) -> ApiError:
    return ApiError(404, f"No run {run_id!r:.80} is waiting for a decision.", code="run_not_found")


def _waiting(state: RunState) -> dict[str, Any]:
    return {"status": state.status, "pending": pending_to_wire(state)}


def _session_object(info: SessionInfo) -> dict[str, Any]:
    return {
        "id": info.name,
        "object": "agentkit.session",
        "messages": info.messages,
        "created": int(info.created.timestamp()),
        "updated": int(info.updated.timestamp()),
        "status": info.status,
    }


def _message(message: ChatMessage) -> dict[str, Any]:
    return message.to_wire()
