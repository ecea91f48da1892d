"""What a server of the SDK answers for an `agentkit.mcp.MCPServer`. Imports the SDK."""

from __future__ import annotations

import base64
import inspect
import json
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, cast

import mcp_types as types
from mcp.server import Server
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from agentkit import CallFinished, CallStarted, Event, Progress, RunResult, RunState, TextPart, ToolCall, ToolResult
from agentkit.chat import escape_controls
from agentkit.errors import AgentKitError, ModelRetry, StateError, ToolError
from agentkit.events import ApprovalRequested, CallRetried, RequestAdapted, Retrying, event_to_dict
from agentkit.mcp.offers import Offer, OneCall, Served, ServedPrompt, ServedResource
from agentkit.messages import AudioPart, ContentPart, ImagePart, Message, read_message
from agentkit.tools import ToolContext

__all__ = ["sdk_server"]

_PAGE = 100  # items of a list at once
_LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
_LOGGED: dict[type[Event], types.LoggingLevel] = {
    CallStarted: "info",
    CallFinished: "info",
    ApprovalRequested: "notice",
    Retrying: "warning",
    RequestAdapted: "warning",
    CallRetried: "warning",
}
_REFUSED = "a person refused"

Context = ServerRequestContext[Any, Any]


def sdk_server(served: Served) -> Server[Any]:
    """Make the server of the SDK."""
    answers = _Answers(served)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # logging is deprecated, and the only way to report to clients before 2026
        return Server(  # pyright: ignore[reportDeprecated] - see above
            served.name,
            version=served.version,
            instructions=served.instructions or None,
            on_list_tools=answers.list_tools,
            on_call_tool=answers.call_tool,
            on_list_prompts=answers.list_prompts if served.prompts else None,
            on_get_prompt=answers.get_prompt if served.prompts else None,
            on_completion=answers.complete if served.prompts else None,
            on_list_resources=answers.list_resources if served.resources else None,
            on_list_resource_templates=answers.list_templates if served.resources else None,
            on_read_resource=answers.read_resource if served.resources else None,
            on_set_logging_level=answers.set_level,
        )


class _Answers:
    def __init__(self, served: Served) -> None:
        self._served = served
        self._level = 0

    async def list_tools(self, _context: Context, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        tools, cursor = _page([_listed(each) for each in self._served.offers.values()], params)
        return types.ListToolsResult(tools=tools, next_cursor=cursor)

    async def call_tool(
        self, context: Context, params: types.CallToolRequestParams
    ) -> types.CallToolResult | types.InputRequiredResult:
        offer = self._served.offers.get(params.name)
        if offer is None:
            raise MCPError(types.INVALID_PARAMS, f"there is no tool {params.name!r:.80}")
        state = self._continued(params) if params.request_state is not None else None
        try:
            while True:
                result, finished = await self._run(offer, params.arguments or {}, state, context)
                if not result.pending:
                    return _written(offer, result, finished)
                if context.protocol_version in MODERN_PROTOCOL_VERSIONS:
                    return self._input_required(result)
                state = await self._decided(result, context)
        except AgentKitError as error:
            return _failed(str(error))

    async def _run(
        self, offer: Offer, arguments: dict[str, Any], state: RunState | None, context: Context
    ) -> tuple[RunResult[Any], ToolResult | None]:
        """Run an offer's agent, or resume its run, and report on it; returns the result of a plain tool too."""
        served, finished = self._served, None
        if offer.made is None:
            given = arguments.get("prompt", "")
            prompt = given if isinstance(given, str) and list(arguments) == ["prompt"] else json.dumps(arguments)
            stream = offer.agent.stream(
                None if state else prompt, resume=state, deps=served.deps, limits=None if state else served.limits
            )
        else:
            model = OneCall(ToolCall("call", offer.name, json.dumps(arguments)))
            stream = offer.agent.stream(None if state else offer.name, resume=state, deps=served.deps, model=model)
        reported = 0
        async with stream:
            async for event in stream:
                if isinstance(event, CallFinished) and event.origin and event.origin.run_id == stream.state.run_id:
                    finished = event.result
                if isinstance(event, Progress | CallStarted):
                    reported += 1
                    await context.session.report_progress(reported, message=_words(event))
                if offer.made is None and (level := _LOGGED.get(type(event))):
                    await self._log(context, level, event_to_dict(event))
            return await stream.result(), finished if offer.made else None

    async def _log(self, context: Context, level: types.LoggingLevel, data: Any) -> None:
        """Send a log message if the client wants it: before 2026 from a level on, later if the request says so."""
        least = self._level
        if context.protocol_version in MODERN_PROTOCOL_VERSIONS:
            wanted = dict(context.meta or {}).get(types.LOG_LEVEL_META_KEY)
            if wanted not in _LEVELS:
                return
            least = _LEVELS.index(wanted)
        if _LEVELS.index(level) >= least:
            params = types.LoggingMessageNotificationParams(level=level, data=data, logger=self._served.name)
            await context.session.send_notification(
                types.LoggingMessageNotification(params=params), related_request_id=context.request_id
            )

    async def set_level(self, _context: Context, params: types.SetLevelRequestParams) -> types.EmptyResult:
        self._level = _LEVELS.index(params.level)
        return types.EmptyResult()

    # Decisions about calls that wait.

    async def _decided(self, result: RunResult[Any], context: Context) -> RunState:
        """Ask the person at the client about each call, in this request: how it was done before 2026.

        Raises:
            ToolError: The client cannot ask anybody.
        """
        capability = types.ClientCapabilities(elicitation=types.ElicitationCapability())
        if not context.session.check_client_capability(capability):
            waiting = ", ".join(each.name for each in result.pending)
            raise ToolError(f"{waiting} needs the approval of a person, and this client cannot ask one (elicitation)")
        for each in result.pending:
            answer = await context.session.elicit_form(
                _question(each), _form(each), related_request_id=context.request_id
            )
            _decide(result.state, each.id, answer.model_dump())
        return result.state

    def _input_required(self, result: RunResult[Any]) -> types.InputRequiredResult:
        """Have the client ask the person, and call again with what the run needs to go on."""
        requests: dict[str, Any] = {
            each.id: types.ElicitRequest(
                params=types.ElicitRequestFormParams(message=_question(each), requested_schema=_form(each))
            )
            for each in result.pending
        }
        return types.InputRequiredResult(
            input_requests=requests, request_state=result.state.to_json(key=self._served.key)
        )

    def _continued(self, params: types.CallToolRequestParams) -> RunState:
        try:
            state = RunState.load(params.request_state or "", key=self._served.key)
            given = params.input_responses or {}
            for pending in state.pending:
                answer = given.get(pending.id)
                _decide(state, pending.id, answer.model_dump() if isinstance(answer, types.ElicitResult) else {})
        except StateError as error:
            raise MCPError(types.INVALID_PARAMS, f"the request state cannot be used: {error}") from None
        if not self._served.may_continue(params.request_state or ""):
            raise MCPError(types.INVALID_PARAMS, "the call was continued already; call the tool anew")
        return state

    # Prompts.

    async def list_prompts(
        self, _context: Context, params: types.PaginatedRequestParams | None
    ) -> types.ListPromptsResult:
        prompts, cursor = _page([_listed_prompt(each) for each in self._served.prompts.values()], params)
        return types.ListPromptsResult(prompts=prompts, next_cursor=cursor)

    async def get_prompt(self, _context: Context, params: types.GetPromptRequestParams) -> types.GetPromptResult:
        prompt = self._prompt(params.name)
        made = prompt.made
        called: ToolContext[Any] = ToolContext(
            deps=self._served.deps, run_id="", turn=1, call_id="", tool=made.name, idempotency_key="", emit=_ignore
        )
        try:
            result = await made.call(called, json.dumps(params.arguments or {}))
        except (ModelRetry, ToolError) as error:
            raise MCPError(types.INVALID_PARAMS, str(error)) from None
        return types.GetPromptResult(description=made.description, messages=_prompt_messages(result))

    async def complete(self, _context: Context, params: types.CompleteRequestParams) -> types.CompleteResult:
        values: list[str] = []
        if isinstance(params.ref, types.PromptReference):
            begun = params.argument.value.casefold()
            choices = self._prompt(params.ref.name).choices(params.argument.name)
            values = [each for each in choices if each.casefold().startswith(begun)]
        shown = values[:_PAGE]
        return types.CompleteResult(
            completion=types.Completion(values=shown, total=len(values), has_more=len(values) > len(shown))
        )

    def _prompt(self, name: str) -> ServedPrompt:
        found = self._served.prompts.get(name)
        if found is None:
            raise MCPError(types.INVALID_PARAMS, f"there is no prompt {name!r:.80}")
        return found

    # Resources.

    async def list_resources(
        self, _context: Context, params: types.PaginatedRequestParams | None
    ) -> types.ListResourcesResult:
        fixed = [types.Resource(**_described(each)) for each in self._served.resources if not each.has_variables]
        resources, cursor = _page(fixed, params)
        return types.ListResourcesResult(resources=resources, next_cursor=cursor)

    async def list_templates(
        self, _context: Context, params: types.PaginatedRequestParams | None
    ) -> types.ListResourceTemplatesResult:
        described = [_described(each) for each in self._served.resources if each.has_variables]
        made = [types.ResourceTemplate(uri_template=each.pop("uri"), **each) for each in described]
        templates, cursor = _page(made, params)
        return types.ListResourceTemplatesResult(resource_templates=templates, next_cursor=cursor)

    async def read_resource(
        self, _context: Context, params: types.ReadResourceRequestParams
    ) -> types.ReadResourceResult:
        for each in self._served.resources:
            values = each.match(params.uri)
            if values is not None:
                content: Any = each.read(**values) if callable(each.read) else each.read
                content = await content if inspect.isawaitable(content) else content
                return types.ReadResourceResult(contents=[_contents(params.uri, content)])
        raise MCPError(types.INVALID_PARAMS, f"there is no resource {params.uri!r:.200}", {"uri": params.uri})


def _ignore(_event: Event) -> None: ...


def _page(items: Sequence[Any], params: types.PaginatedRequestParams | None) -> tuple[list[Any], str | None]:
    cursor = (params.cursor if params else None) or "0"
    if not cursor.isdecimal() or int(cursor) > len(items):
        raise MCPError(types.INVALID_PARAMS, f"the cursor {cursor!r:.80} is not one of this server")
    end = int(cursor) + _PAGE
    return list(items[int(cursor) : end]), str(end) if end < len(items) else None


def _listed(offer: Offer) -> types.Tool:
    hints = None
    if offer.made is not None:
        closed = offer.made.access and not set(offer.made.access) & {"untrusted", "outside"}
        hints = types.ToolAnnotations(
            read_only_hint=offer.made.read_only or None,
            idempotent_hint=offer.made.idempotent or None,
            open_world_hint=False if closed else None,
        )
    schema = {"type": "object", **offer.parameters}
    output = dict(offer.output.schema) if offer.output else None
    return types.Tool(
        name=offer.name,
        description=offer.description or None,
        input_schema=schema,
        output_schema=output,
        annotations=hints,
    )


def _words(event: Progress | CallStarted) -> str:
    if isinstance(event, CallStarted):
        return f"calls {event.call.name}"
    share = "" if event.fraction is None else f"{event.fraction:.0%}"
    return " ".join(part for part in (f"{event.tool}:", share, event.message) if part)


def _written(offer: Offer, result: RunResult[Any], finished: ToolResult | None) -> types.CallToolResult:
    if offer.made is None:
        if not result.has_output:
            return _failed(result.limit or f"the run is {result.status} and gave no output")
        structured = offer.output.write(result.output) if offer.output else None
        text = result.output if isinstance(result.output, str) else json.dumps(structured, ensure_ascii=False)
        return types.CallToolResult(content=[types.TextContent(text=text)], structured_content=structured)
    if finished is None:  # the call never began: what a model would read says why
        return _failed(next(each.text for each in reversed(result.messages) if each.role == "tool"))
    if finished.is_error:
        return _failed(finished.content)
    content = [types.TextContent(text=finished.content), *map(_content, finished.files)]
    structured = offer.output.write(finished.data) if offer.output else None
    return types.CallToolResult(content=content, structured_content=structured)


def _failed(text: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(text=text.removeprefix("Error: "))], is_error=True)


def _content(part: ContentPart) -> types.ContentBlock:
    if isinstance(part, TextPart):
        return types.TextContent(text=part.text)
    if isinstance(part, AudioPart):
        return types.AudioContent(data=base64.b64encode(part.data).decode(), mime_type=f"audio/{part.format}")
    wire: Mapping[str, Any] = part.to_wire()
    address = part.url if isinstance(part, ImagePart) else str(wire.get("file", {}).get("file_data") or "")
    head, _, data = address.partition(";base64,")
    mime_type = head.removeprefix("data:")
    if not data:
        return types.TextContent(text=f"[{address or json.dumps(wire)}]")
    if isinstance(part, ImagePart):
        return types.ImageContent(data=data, mime_type=mime_type)
    name = str(wire.get("file", {}).get("filename") or "file")
    blob = types.BlobResourceContents(uri=f"file:///{name}", blob=data, mime_type=mime_type)
    return types.EmbeddedResource(resource=blob)


def _question(pending: Any) -> str:
    """The question to a person, with all that the call would get, and nothing in it that cannot be seen."""
    place = " > ".join([*pending.path, pending.name])
    arguments = json.dumps(dict(pending.arguments), ensure_ascii=False, indent=2)
    lines = [f"{'Answer' if pending.external else 'Allow'} {place}?", *arguments.split("\n"), pending.reason]
    return "\n".join(map(escape_controls, lines))


def _form(pending: Any) -> dict[str, Any]:
    if pending.external:
        properties = {"answer": {"type": "string", "description": "The result of the call."}}
        return {"type": "object", "properties": properties, "required": ["answer"]}
    return {
        "type": "object",
        "properties": {
            "allow": {"type": "boolean", "description": "Whether the call may run."},
            "reason": {"type": "string", "description": "Why not, for the model."},
        },
        "required": ["allow"],
    }


def _decide(state: RunState, call_id: str, answer: Mapping[str, Any]) -> None:
    """Record what a person answered; whatever is not a clear yes refuses the call."""
    content = answer.get("content")
    values: Mapping[str, Any] = cast("Mapping[str, Any]", content) if isinstance(content, Mapping) else {}
    accepted = answer.get("action") == "accept"
    if accepted and isinstance(values.get("answer"), str):
        state.answer(call_id, values["answer"], by="the client's user")
    elif accepted and values.get("allow") is True:
        state.approve(call_id, by="the client's user")
    else:
        state.deny(call_id, str(values.get("reason") or _REFUSED), by="the client's user")


def _listed_prompt(prompt: ServedPrompt) -> types.Prompt:
    schema = prompt.made.parameters
    arguments = [
        types.PromptArgument(
            name=name, description=each.get("description"), required=name in schema.get("required", [])
        )
        for name, each in schema.get("properties", {}).items()
    ]
    return types.Prompt(name=prompt.made.name, description=prompt.made.description or None, arguments=arguments)


def _prompt_messages(result: ToolResult) -> list[types.PromptMessage]:
    given: object = result.data
    if not isinstance(given, list | tuple):
        blocks = [types.TextContent(text=result.content), *map(_content, result.files)]
        return [types.PromptMessage(role="user", content=each) for each in blocks]
    messages: list[types.PromptMessage] = []
    for each in cast("Sequence[Any]", given):
        message: Message = each if hasattr(each, "role") else read_message({"role": "user", "content": str(each)})
        role: types.Role = "assistant" if message.role == "assistant" else "user"
        content: object = getattr(message, "content", None)
        given_parts = cast("Sequence[ContentPart]", content) if isinstance(content, tuple) else None
        parts = given_parts or [TextPart(text=message.text)]
        messages += [types.PromptMessage(role=role, content=_content(part)) for part in parts]
    return messages


def _described(resource: ServedResource) -> dict[str, Any]:
    described = inspect.getdoc(resource.read) if callable(resource.read) else None
    return {"uri": resource.uri, "name": resource.uri.rpartition("/")[2] or resource.uri, "description": described}


def _contents(uri: str, content: str | bytes) -> types.TextResourceContents | types.BlobResourceContents:
    if isinstance(content, bytes):
        return types.BlobResourceContents(uri=uri, blob=base64.b64encode(content).decode())
    return types.TextResourceContents(uri=uri, text=content, mime_type="text/plain")
