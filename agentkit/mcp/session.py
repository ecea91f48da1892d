"""A session with a server in a task of its own, so that any task may open, use and close it; and its calls."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import logging
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias, cast

import anyio
import anyio.to_thread
import mcp_types as types
from anyio.abc import TaskGroup
from mcp.client.client import Client
from mcp.client.session import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError as SdkError
from pydantic import BaseModel, FileUrl, TypeAdapter, ValidationError

import agentkit
from agentkit.chat import BackgroundTask, escape_controls
from agentkit.errors import AgentKitError, ToolError
from agentkit.mcp.changes import ResourceChanges
from agentkit.mcp.eras import is_known_as_legacy, remember
from agentkit.mcp.errors import MCPError
from agentkit.mcp.events import ServerLogged
from agentkit.mcp.failures import as_error, first_of, status_of
from agentkit.mcp.http import HttpClient
from agentkit.mcp.normalize import clean_text
from agentkit.mcp.oauth import make_provider
from agentkit.mcp.options import Options
from agentkit.mcp.process import process_streams
from agentkit.mcp.target import Command, Target, Url
from agentkit.mcp.tools import Listed
from agentkit.mcp.waiting import Waiting
from agentkit.mcp.wire import LARGEST, Wire
from agentkit.run import RunState
from agentkit.tools import ToolContext

__all__ = ["PAGES", "TOOLS", "LiveSession", "to_json"]

PAGES, TOOLS = 500, 20_000  # of a list, however long
_CLOSE = 8.0  # seconds after which a closing connection is abandoned
_LONGEST = 3600.0  # seconds that a call may take, whatever progress it reports
_ROUNDS = 10  # how often a server may ask for input in one call

_CallResult: TypeAlias = types.CallToolResult | types.InputRequiredResult
_CALL_RESULT: TypeAdapter[_CallResult] = TypeAdapter(types.CallToolResult | types.InputRequiredResult)
_PROBE = 5.0  # seconds from which on a start is one whose first question was ignored

log = logging.getLogger("agentkit.mcp")
for _name in ("mcp", "client"):  # the SDK's loggers: without a handler Python prints their warnings to the terminal
    logging.getLogger(_name).addHandler(logging.NullHandler())


class LiveSession:
    """A session, from its first message to its last."""

    def __init__(self, target: Target, options: Options) -> None:
        self.target, self.options = target, options
        self.wire = Wire(options.name, target.secrets)
        self.tools: list[Listed] | None = None
        self.is_stale = False
        self._client: Client | None = None
        self._settled, self._closing = anyio.Event(), anyio.Event()
        self._failure: Exception | None = None
        self._is_known = False  # as a server of before 2026
        self._tasks: TaskGroup | None = None  # while it is open
        self._watching: dict[ResourceChanges, Sequence[str]] = {}
        self._calls: list[_Call] = []
        # A context of its own: the session is not part of the run that happens to open it.
        self._task = contextvars.Context().run(BackgroundTask, self._work, self._settled.set)

    @property
    def ended(self) -> bool:
        """Whether it can no longer be used."""
        return self.wire.ended.is_set() or self._task.over

    @property
    def client(self) -> Client:
        """The client of the SDK."""
        if self._client is None:
            raise self.error(None, "is not connected")
        return self._client

    @property
    def session(self) -> ClientSession:
        """The session of the SDK."""
        return self.client.session

    def error(self, error: BaseException | None, what: str) -> MCPError:
        """The error of the SDK as ours."""
        return as_error(error, what, self.target, self.options.name, self.wire)

    async def opened(self) -> None:
        """Wait until the session can be used.

        Raises:
            MCPError: It cannot be started or reached.
        """
        while not self._settled.is_set():
            with anyio.move_on_after(self.options.start_timeout):
                await self._settled.wait()
            if not self.wire.is_waiting_for_a_person:
                break
        if not self._settled.is_set():
            raise self.error(None, f"did not answer within {self.options.start_timeout:g} seconds of starting")
        if self._failure is not None:
            raise self._failure

    async def close(self) -> None:
        """End the session."""
        self._closing.set()
        if not self._settled.is_set() or not await self._task.join(_CLOSE):
            self._task.cancel()
            await self._task.join(_CLOSE)

    async def _work(self) -> None:
        self._is_known = await anyio.to_thread.run_sync(is_known_as_legacy, self.target.key)
        mode = "legacy" if self._is_known else "auto"
        for _ in range(3):
            try:
                await self._serve(mode)
            except Exception as error:  # noqa: BLE001 - the SDK raises anything, in groups too; it becomes one error
                if not self._settled.is_set() and (other := self._other_mode(mode, error)):
                    mode, self.wire = other, Wire(self.options.name, self.target.secrets)
                    continue
                self._failure = self.error(error, "cannot be used")
            break
        self.wire.end(self.wire.exit_status)
        self._settled.set()
        for changes in self._watching:
            changes.end(self.error(None, "has closed the connection"))

    def _other_mode(self, mode: str, error: BaseException) -> str:
        """Return how to try again: some servers exit if their first message is unknown, others know only newer ones."""
        error = first_of(error)
        if not isinstance(error, SdkError):
            return ""
        if mode == "auto":
            return "legacy" if isinstance(self.target, Command) and self.wire.ended.is_set() else ""
        return "auto" if error.code == types.UNSUPPORTED_PROTOCOL_VERSION else ""

    async def _serve(self, mode: str) -> None:
        began = anyio.current_time()
        async with Client(
            self._transport(),
            mode=mode,
            cache=None,
            client_info=types.Implementation(name="agentkit", version=agentkit.__version__),
            message_handler=self._on_message,
            logging_callback=self._on_log,
            log_level=cast("types.LoggingLevel", self.options.log_level) if self.options.log_level else None,
            list_roots_callback=self._on_roots if self.options.roots else None,
            sampling_callback=self._on_sampling if self.options.sampling else None,
            elicitation_callback=self._on_elicitation if self.options.elicitation else None,
        ) as client:
            is_legacy = client.session.initialize_result is not None
            was_costly = mode == "legacy" or anyio.current_time() - began > _PROBE
            if is_legacy != self._is_known and (was_costly or self._is_known):
                await anyio.to_thread.run_sync(functools.partial(remember, self.target.key, is_legacy=is_legacy))
            if is_legacy and self.options.log_level and client.server_capabilities.logging is not None:
                await self._set_log_level(client)
            self._client = client
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                tasks.start_soon(self._subscribe, client)
                tasks.start_soon(_set_when, self.wire.ended, self._closing)
                self._settled.set()
                await self._closing.wait()
                tasks.cancel_scope.cancel()

    def _transport(self) -> Any:
        target = self.target
        if isinstance(target, Command):
            return self._process(target)
        if isinstance(target, Url):
            return self._http(target)
        return target.server

    @asynccontextmanager
    async def _process(self, target: Command) -> AsyncGenerator[Any]:
        arguments = await anyio.to_thread.run_sync(target.command_line, self.options.roots)
        async with process_streams(arguments, target.environment, target.cwd, self.wire) as streams:
            yield streams

    @asynccontextmanager
    async def _http(self, target: Url) -> AsyncGenerator[Any]:
        auth = None if self.options.auth is None else make_provider(self.options.auth, target.url, self.wire)
        async with (
            HttpClient(self.wire, target.headers, auth) as client,
            streamable_http_client(target.url, http_client=client, max_sse_event_size=2 * LARGEST) as streams,
        ):
            yield streams

    async def _set_log_level(self, client: Client) -> None:
        """Request log lines; it does not matter if the server refuses."""
        level = cast("types.LoggingLevel", self.options.log_level)
        request = types.SetLevelRequest(params=types.SetLevelRequestParams(level=level))
        with anyio.move_on_after(5):
            try:
                await client.session.send_request(request, types.EmptyResult)
            except (SdkError, ValidationError):
                return

    async def _subscribe(self, client: Client) -> None:
        """Subscribe to changes, from 2026 on; before, they are pushed."""
        tools = client.server_capabilities.tools
        if client.session.discover_result is None or tools is None or not tools.list_changed:
            return
        for attempt in range(5):
            try:
                async with client.listen(tools_list_changed=True) as changes:
                    async for _ in changes:
                        self.is_stale = True
            except (SdkError, RuntimeError, TimeoutError, ValidationError) as error:
                log.debug("%s: the subscription ended: %s", self.options.name, error)
            self.is_stale = True
            await anyio.sleep(2**attempt)

    # What the server sends. The SDK gives the context of a request by name.

    async def _on_message(self, message: Any) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            self.is_stale = True
        elif isinstance(message, types.ResourceUpdatedNotification) and self.session.discover_result is None:
            for changes in self._watching:
                changes.report(str(message.params.uri))

    async def _on_log(self, params: types.LoggingMessageNotificationParams) -> None:
        event = ServerLogged(self.options.name, params.level, params.logger or "", params.data)
        log.debug("%s: %s: %s", self.options.name, params.level, escape_controls(str(params.data)[:500]))
        for context in {call.context.run_id: call.context for call in self._calls}.values():
            context.emit(replace(event))

    async def _on_roots(self, context: Any) -> types.ListRootsResult:  # noqa: ARG002
        return self.roots()

    def roots(self) -> types.ListRootsResult:
        """The directories that the server may work in."""
        return types.ListRootsResult(
            roots=[types.Root(uri=FileUrl(each.resolve().as_uri()), name=each.name) for each in self.options.roots]
        )

    async def _on_sampling(self, context: Any, params: types.CreateMessageRequestParams) -> Any:  # noqa: ARG002
        return await self._asked("sampling/createMessage", params)

    async def _on_elicitation(self, context: Any, params: Any) -> Any:  # noqa: ARG002
        return await self._asked("elicitation/create", params)

    async def _asked(self, method: str, params: BaseModel) -> Any:
        """Answer a request of an older server. It does not say for which call, so the latest one is assumed."""
        if not self._calls:
            return types.ErrorData(code=types.INVALID_REQUEST, message="no call is open that this could belong to")
        return await self._calls[-1].ask(method, params)

    # Requests to the server.

    async def ask(self, request: types.ClientRequest, kind: Any, what: str) -> Any:
        """Send a request other than a call.

        Raises:
            MCPError: It is refused, or there is no answer.
        """
        try:
            with anyio.fail_after(self.options.start_timeout):
                return await self.session.send_request(request, kind)
        except TimeoutError:
            raise self.error(None, f"did not {what} within {self.options.start_timeout:g} seconds") from None
        except (SdkError, ValidationError) as error:
            raise self.error(error, f"did not {what}") from None

    async def watch(self, uris: Sequence[str], changes: ResourceChanges) -> Callable[[], Awaitable[None]]:
        """Report the changes of resources; returns what ends that.

        Raises:
            MCPError: The server does not report them.
        """
        if self.client.session.discover_result is not None:
            return await self._listen(uris, changes)
        able = self.client.server_capabilities.resources
        if able is None or not able.subscribe:
            raise self.error(None, "does not report changes of its resources")
        for uri in uris:
            request = types.SubscribeRequest(params=types.SubscribeRequestParams(uri=uri))
            await self.ask(request, types.EmptyResult, f"watch {uri[:200]!r}")
        self._watching[changes] = uris

        async def stop() -> None:
            del self._watching[changes]
            for uri in set(uris).difference(*self._watching.values()):
                request = types.UnsubscribeRequest(params=types.UnsubscribeRequestParams(uri=uri))
                with contextlib.suppress(MCPError):
                    if not self.ended:
                        await self.ask(request, types.EmptyResult, f"stop watching {uri[:200]!r}")

        return stop

    async def _listen(self, uris: Sequence[str], changes: ResourceChanges) -> Callable[[], Awaitable[None]]:
        """From 2026 on, a task listens for the changes."""
        scope, begun = anyio.CancelScope(), anyio.Event()

        async def listen() -> None:
            with scope:
                try:
                    async with self.client.listen(resource_subscriptions=uris) as updates:
                        if updates.honored.resource_subscriptions:
                            begun.set()
                        async for each in updates:
                            changes.report(str(getattr(each, "uri", "")))
                    changes.end(self.error(None, "reports no more changes of its resources"))
                except (SdkError, RuntimeError, TimeoutError, ValidationError) as error:
                    changes.end(self.error(error, "does not report changes of its resources"))
            begun.set()

        async def stop() -> None:
            self._watching.pop(changes, None)
            scope.cancel()

        if self._tasks is not None:
            self._watching[changes] = uris
            self._tasks.start_soon(listen)
            await begun.wait()
        if changes.error is not None:
            await stop()
            raise changes.error
        return stop

    async def list_tools(self) -> list[Listed]:
        """Return the items of every page of a list.

        Raises:
            MCPError: There is none.
        """
        if self.client.server_capabilities.tools is None and self.session.discover_result is not None:
            return []
        found: dict[str, types.Tool] = {}
        seen: set[str | None] = set()
        cursor: str | None = None
        while cursor not in seen and len(seen) < PAGES and len(found) < TOOLS:
            seen.add(cursor)
            page = await self._page(cursor)
            for each in page.tools:
                if found.setdefault(each.name, each) is not each:
                    log.debug("%s: lists the tool %r twice", self.options.name, each.name)
            cursor = page.next_cursor
            if not cursor:
                break
        else:
            log.warning("%s: its list of tools does not end; the first %d are used", self.options.name, len(found))
        return [_listed(each) for each in found.values()]

    async def _page(self, cursor: str | None) -> types.ListToolsResult:
        try:
            with anyio.fail_after(self.options.start_timeout):
                return await self.session.list_tools(params=types.PaginatedRequestParams(cursor=cursor))
        except TimeoutError:
            raise self.error(None, f"did not list its tools within {self.options.start_timeout:g} seconds") from None
        except (SdkError, ValidationError) as error:
            raise self.error(error, "did not list its tools") from None

    async def call(
        self, name: str, arguments: dict[str, Any], context: ToolContext[Any], seconds: float | None
    ) -> types.CallToolResult:
        """Call a tool.

        Raises:
            ToolError: The server refused the call, exited, or took too long.
        """
        call = _Call(self, name, arguments, context, seconds)
        self._calls.append(call)
        try:
            return await call.run()
        finally:
            self._calls.remove(call)


class _Call:
    """A call of a tool, and what the server asks for while it is open."""

    def __init__(
        self, live: LiveSession, name: str, arguments: dict[str, Any], context: ToolContext[Any], seconds: float | None
    ) -> None:
        self.live, self.name, self.arguments, self.context = live, name, arguments, context
        self._seconds = math.inf if seconds is None else seconds
        self._scope = anyio.CancelScope()
        self._latest = anyio.current_time() + max(_LONGEST, self._seconds)
        self._over = anyio.Event()
        self._questions, self._asked = anyio.create_memory_object_stream[_Question](8)

    async def run(self) -> types.CallToolResult:
        """Send it, and wait for its result."""
        outcome: types.CallToolResult | Exception | None = None
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._answer_questions)
                self._alive()
                with self._scope:
                    try:
                        outcome = await self._rounds()
                    except Exception as error:  # noqa: BLE001 - it leaves the task group as it is, and not in a group
                        outcome = error
                tasks.cancel_scope.cancel()
        finally:
            self._over.set()
            self._questions.close()
            self._asked.close()
        if outcome is None:
            raise ToolError(
                f"the MCP server {self.live.options.name} did not answer within {self._seconds:g} seconds "
                "and was asked to stop; it is not known whether the call had any effect"
            )
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def _alive(self) -> None:
        """Restart the call's clock, because the server reported progress."""
        self._scope.deadline = min(anyio.current_time() + self._seconds, self._latest)

    async def _rounds(self) -> types.CallToolResult:
        """Call, and call again with what the server asked for (2026).

        Raises:
            RunPaused: A person is to answer.
        """
        responses, state = self._answered()
        for _ in range(_ROUNDS):
            result = await self._send(responses, state)
            if isinstance(result, types.CallToolResult):
                return result
            state, requests = result.request_state, result.input_requests or {}
            asked = {
                name: to_json(each.params)
                for name, each in requests.items()
                if self.live.options.pauses and isinstance(each, types.ElicitRequest)
            }
            responses = {name: await self._response(each) for name, each in requests.items() if name not in asked}
            if asked:
                raise Waiting(asked, responses, state).pause(self.live.options.name, self.context.emit)
            self._alive()
        raise ToolError(f"the MCP server {self.live.options.name} asked for more input {_ROUNDS} times in one call")

    def _answered(self) -> tuple[dict[str, Any] | None, str | None]:
        """What a call that has paused is continued with.

        Raises:
            RunPaused: An answer cannot be used.
        """
        paused = cast("RunState | None", self.context.nested)
        waiting = Waiting.of(paused)
        if paused is None or waiting is None:
            return None, None
        answered, problems = waiting.answered(paused)
        if problems:
            raise answered.pause(self.live.options.name, self.context.emit, problems)
        return dict(answered.responses), answered.request_state

    async def _response(self, request: types.InputRequest) -> dict[str, Any]:
        if isinstance(request, types.ListRootsRequest):
            return to_json(self.live.roots())
        made = await self.ask(request.method, request.params)
        if isinstance(made, types.ErrorData):
            raise ToolError(f"the MCP server {self.live.options.name} asked for {request.method}: {made.message}")
        return to_json(made)

    async def _send(self, responses: dict[str, Any] | None, state: str | None) -> _CallResult:
        live = self.live
        request = types.CallToolRequest(
            params=types.CallToolRequestParams(
                name=self.name,
                arguments=self.arguments,
                input_responses=cast("Any", responses),
                request_state=state,
                _meta=cast("Any", {"agentkit/idempotency-key": self.context.idempotency_key}),
            )
        )
        for attempt in range(2):
            try:
                return await live.session.send_request(request, _CALL_RESULT, progress_callback=self._on_progress)
            except SdkError as error:
                if error.code == types.HEADER_MISMATCH and not attempt:  # not run; the spec has the list read again
                    live.tools = await live.list_tools()
                    continue
                raise self._failure(error) from None
            except (ValidationError, RuntimeError) as error:
                raise self._failure(error) from None
        raise AssertionError("unreachable")

    def _failure(self, error: Exception) -> ToolError:
        live = self.live
        if live.wire.session_lost:
            return ToolError(f"{live.options.name} has ended the session; the call was not run: try again")
        is_open = not live.ended and status_of(error) is None
        if is_open and isinstance(error, SdkError) and error.code != types.CONNECTION_CLOSED:
            return ToolError(escape_controls(error.message)[:2000] or f"the server refused it: error {error.code}")
        unknown = "" if status_of(error) else "; it is not known whether the call had any effect"
        return ToolError(f"{live.error(error, 'did not answer')}{unknown}")

    async def _on_progress(self, progress: float, total: float | None, message: str | None) -> None:
        self._alive()
        fraction = max(0.0, min(1.0, progress / total)) if total and math.isfinite(progress / total) else None
        self.context.progress(fraction, clean_text(message or ""))

    async def ask(self, method: str, params: BaseModel) -> Any:
        """Have a request of the server answered in the task of the call, so that it counts for the run of the call."""
        question = _Question(method, params.model_dump(by_alias=True, mode="json", exclude_none=True))
        try:
            await self._questions.send(question)
        except (anyio.ClosedResourceError, anyio.BrokenResourceError):
            return types.ErrorData(code=types.INVALID_REQUEST, message="the call is over")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_set_when, self._over, question.answered)
            await question.answered.wait()
            tasks.cancel_scope.cancel()
        return question.answer or types.ErrorData(code=types.INVALID_REQUEST, message="the call is over")

    async def _answer_questions(self) -> None:
        async for question in self._asked:
            self._scope.deadline = math.inf  # a model or a person may take any time
            question.answer = await self._answer_to(question)
            question.answered.set()
            self._alive()

    async def _answer_to(self, question: _Question) -> Any:
        options = self.live.options
        is_sampling = question.method == "sampling/createMessage"
        answerer = options.sampling if is_sampling else options.elicitation
        if answerer is None:
            return types.ErrorData(code=types.INVALID_REQUEST, message=f"{question.method} is not supported")
        try:
            made = await answerer(self.context, question.params)
            if not is_sampling:
                return types.ElicitResult.model_validate(made)
            kind = types.CreateMessageResultWithTools if question.params.get("tools") else types.CreateMessageResult
            return kind.model_validate(made)
        except (AgentKitError, ValidationError) as error:
            return types.ErrorData(code=types.INVALID_REQUEST, message=str(error))


def to_json(value: BaseModel) -> dict[str, Any]:
    """Return a value of the SDK as JSON values."""
    return value.model_dump(by_alias=True, mode="json", exclude_none=True)


def _listed(tool: types.Tool) -> Listed:
    hints = {} if tool.annotations is None else tool.annotations.model_dump(by_alias=True, exclude_none=True)
    return Listed(
        tool.name,
        tool.description or tool.title or str(hints.get("title", "")),
        tool.input_schema,
        tool.output_schema,
        {name: value for name, value in hints.items() if isinstance(value, bool)},
    )


async def _set_when(event: anyio.Event, other: anyio.Event) -> None:
    await event.wait()
    other.set()


@dataclass(slots=True, eq=False)
class _Question:
    method: str
    params: dict[str, Any]
    answered: anyio.Event = field(default_factory=anyio.Event)
    answer: Any = None
