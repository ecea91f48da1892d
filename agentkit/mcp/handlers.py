"""The request handlers of the SDK's server for an `agentkit.mcp.MCPServer`. Imports the SDK."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from typing import Any, cast

import mcp_types as types
from mcp.server import Server
from mcp.shared.exceptions import MCPError

from agentkit import CallFinished, CallStarted, Event, Progress, RunResult, RunState, ToolCall, ToolResult
from agentkit.chat import escape_controls
from agentkit.errors import AgentKitError, StateError, ToolError
from agentkit.events import ApprovalRequested, CallRetried, RequestAdapted, Retrying, event_to_dict
from agentkit.mcp.asking import Asking, Context, can_elicit, is_modern, missing, read_state
from agentkit.mcp.caller import CALLER
from agentkit.mcp.offers import Offer, OneCall, Served
from agentkit.mcp.reading import Reading, content_block, page, session_of
from agentkit.mcp.waiting import ELICITATION
from agentkit.run import PendingCall

__all__ = ["sdk_server"]

_SESSIONS = 10_000  # whose log level is known
_LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
_LOGGED: dict[type[Event], types.LoggingLevel] = {
    CallStarted: "info",
    CallFinished: "info",
    ApprovalRequested: "notice",
    Retrying: "warning",
    RequestAdapted: "warning",
    CallRetried: "warning",
    Progress: "debug",
}
_OF_AGENTS = (CallStarted, CallFinished, ApprovalRequested)  # they say nothing new about a call of a plain tool
_REFUSED = "a person refused"


def sdk_server(served: Served) -> Server[Any]:
    """Make the server of the SDK."""
    answers, reading = _Answers(served), Reading(served)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # logging is deprecated, and the only way to report to clients before 2026
        return Server(  # pyright: ignore[reportDeprecated] - see above
            served.name,
            version=served.version,
            instructions=served.instructions or None,
            get_tool_input_schema=lambda name: served.offers[name].parameters if name in served.offers else None,
            on_list_tools=answers.list_tools,
            on_call_tool=answers.call_tool,
            on_list_prompts=reading.list_prompts if served.prompts else None,
            on_get_prompt=reading.get_prompt if served.prompts else None,
            on_completion=reading.complete if served.prompts or served.resources else None,
            on_list_resources=reading.list_resources if served.resources else None,
            on_list_resource_templates=reading.list_templates if served.resources else None,
            on_read_resource=reading.read_resource if served.resources else None,
            on_subscribe_resource=reading.watch if served.resources else None,
            on_unsubscribe_resource=reading.unwatch if served.resources else None,
            on_subscriptions_listen=reading.listen if served.resources else None,
            on_set_logging_level=answers.set_level,
        )


class _Answers:
    def __init__(self, served: Served) -> None:
        self._served = served
        self._levels: dict[str, int] = {}  # by session

    async def list_tools(self, _context: Context, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        try:
            offers, cursor = page([*(await self._served.offered()).values()], params)
        except AgentKitError as error:
            raise MCPError(types.INTERNAL_ERROR, str(error)) from None
        return types.ListToolsResult(tools=[_listed(each) for each in offers], next_cursor=cursor)

    async def call_tool(
        self, context: Context, params: types.CallToolRequestParams
    ) -> types.CallToolResult | types.InputRequiredResult:
        try:
            offer = await self._served.offer(params.name)
        except AgentKitError as error:
            return _failed(str(error))
        if offer is None:
            raise MCPError(types.INVALID_PARAMS, f"there is no tool {params.name!r:.80}")
        key, name = self._served.key, f"{context.method} {offer.name}"
        answers, stored = read_state(key, name, params.request_state)
        asking = Asking.of(context, params, answers)
        asking.may_wait = offer.made is not None
        state = self._continued(stored, params, asking) if stored is not None else None
        try:
            while True:
                before = state.to_json() if state and is_modern(context) else None
                result, finished = await self._run(offer, params.arguments or {}, state, asking)
                if asking.required:
                    return asking.input_required(key, name, before)
                if not result.pending:
                    if finished and finished.is_error and asking.lacking and is_modern(context):
                        raise missing(*asking.lacking)
                    return _written(offer, result, finished)
                questions = _questions(result, context)
                if is_modern(context):
                    asking.required |= questions
                    return asking.input_required(key, name, result.state.to_json())
                state = result.state
                for call_id, question in questions.items():
                    _decide(state, call_id, (await asking.send(question)).model_dump())
        except AgentKitError as error:
            return _failed(str(error))

    async def _run(
        self, offer: Offer, arguments: dict[str, Any], state: RunState | None, asking: Asking
    ) -> tuple[RunResult[Any], ToolResult | None]:
        """Run an offer's agent, or resume its run, and report its progress; also returns the result of a plain tool."""
        served, context, finished = self._served, asking.context, None
        if offer.made is None:
            prompt = arguments.get("prompt")
            if not isinstance(prompt, str) or len(arguments) > 1:
                raise ToolError("invalid arguments, nothing was done: an agent takes a prompt, which is a string")
            limits, model = None if state else served.limits, None
        else:
            prompt, limits = offer.name, None
            model = OneCall(ToolCall("call", offer.name, json.dumps(arguments)))
        token = CALLER.set(asking)
        try:
            stream = offer.agent.stream(
                None if state else prompt, resume=state, deps=served.deps, limits=limits, model=model
            )
            reported = 0
            async with stream:
                async for event in stream:
                    if isinstance(event, CallFinished) and event.origin and event.origin.run_id == stream.state.run_id:
                        finished = event.result
                    if isinstance(event, Progress) or (isinstance(event, CallStarted) and not offer.made):
                        reported += 1
                        await context.session.report_progress(reported, message=_words(event))
                    level = _LOGGED.get(type(event))
                    if level and (not offer.made or not isinstance(event, _OF_AGENTS)):
                        await self._log(context, level, event_to_dict(event))
                return await stream.result(), finished if offer.made else None
        finally:
            CALLER.reset(token)

    async def _log(self, context: Context, level: types.LoggingLevel, data: Any) -> None:
        """Send a log message if the client wants it: before 2026 by level, later if the request says so."""
        least = self._levels.get(session_of(context), _LEVELS.index("info"))
        if is_modern(context):
            wanted = dict(context.meta or {}).get(types.LOG_LEVEL_META_KEY)
            if wanted not in _LEVELS:
                return
            least = _LEVELS.index(wanted)
        if _LEVELS.index(level) >= least:
            params = types.LoggingMessageNotificationParams(level=level, data=data, logger=self._served.name)
            await context.session.send_notification(
                types.LoggingMessageNotification(params=params), related_request_id=context.request_id
            )

    async def set_level(self, context: Context, params: types.SetLevelRequestParams) -> types.EmptyResult:
        self._levels[session_of(context)] = _LEVELS.index(params.level)
        while len(self._levels) > _SESSIONS:
            del self._levels[next(iter(self._levels))]
        return types.EmptyResult()

    def _continued(self, stored: str, params: types.CallToolRequestParams, asking: Asking) -> RunState:
        """Return the run that a call continues, with the decisions about it."""
        try:
            state = RunState.load(stored)
        except StateError as error:
            raise MCPError(types.INVALID_PARAMS, f"the request state cannot be used: {error}") from None
        if not self._served.may_continue(params.request_state or ""):
            raise MCPError(types.INVALID_PARAMS, "the call was already continued; call the tool again")
        for pending in state.pending:
            _decide(state, pending.id, asking.answers.pop(pending.id, {}))
        return state


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
    if finished is None:  # the call never started: the text for the model says why
        return _failed(next(each.text for each in reversed(result.messages) if each.role == "tool"))
    if finished.is_error:
        return _failed(finished.content)
    content = [types.TextContent(text=finished.content), *map(content_block, finished.files)]
    structured = offer.output.write(finished.data) if offer.output else None
    return types.CallToolResult(content=content, structured_content=structured)


def _failed(text: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(text=text.removeprefix("Error: "))], is_error=True)


def _questions(result: RunResult[Any], context: Context) -> dict[str, types.ElicitRequest]:
    """What a person at the client must decide, by the id of the call.

    Raises:
        MCPError: The client cannot ask anybody.
        ToolError: The same, before 2026.
    """
    if can_elicit(context):
        return {each.id: _question(each) for each in result.pending}
    if is_modern(context):
        raise missing("elicitation")
    waiting = ", ".join(each.name for each in result.pending)
    raise ToolError(f"{waiting} needs a person's approval, and this client cannot ask for it (elicitation)")


def _question(pending: PendingCall) -> types.ElicitRequest:
    """Return the question for a person, with all arguments of the call and no invisible characters."""
    if asked := _elicited(pending):
        message = "\n".join(map(escape_controls, str(asked["message"]).split("\n")))
        return types.ElicitRequest(
            params=types.ElicitRequestFormParams(message=message, requested_schema=asked["schema"])
        )
    place = " > ".join([*pending.path, pending.name])
    arguments = json.dumps(dict(pending.arguments), ensure_ascii=False, indent=2)
    lines = [f"{'Answer' if pending.external else 'Allow'} {place}?", *arguments.split("\n"), pending.reason]
    message = "\n".join(map(escape_controls, lines))
    params = types.ElicitRequestFormParams(message=message, requested_schema=_form(pending))
    return types.ElicitRequest(params=params)


def _elicited(pending: PendingCall) -> Mapping[str, Any]:
    """What another MCP server, whose tool this is, asks a person; empty if it is something else."""
    is_form = pending.external and pending.name == ELICITATION and {"message", "schema"} <= pending.arguments.keys()
    return pending.arguments if is_form else {}


def _form(pending: PendingCall) -> dict[str, Any]:
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
    """Record a person's answer; anything but a clear yes refuses the call."""
    content = answer.get("content")
    values: Mapping[str, Any] = cast("Mapping[str, Any]", content) if isinstance(content, Mapping) else {}
    accepted = answer.get("action") == "accept"
    pending = next(each for each in state.pending if each.id == call_id)
    if accepted and _elicited(pending):
        state.answer(call_id, values, by="the client's user")
    elif accepted and isinstance(values.get("answer"), str):
        state.answer(call_id, values["answer"], by="the client's user")
    elif accepted and values.get("allow") is True:
        state.approve(call_id, by="the client's user")
    else:
        state.deny(call_id, str(values.get("reason") or _REFUSED), by="the client's user")
