"""The prompts and resources of an `agentkit.mcp.MCPServer`, in the SDK's types. Imports the SDK."""

from __future__ import annotations

import base64
import json
import mimetypes
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast, get_args

import mcp_types as types
from mcp.server.subscriptions import ListenHandler, ResourceUpdated, ServerEvent
from mcp.shared.exceptions import MCPError

from agentkit import Event, TextPart, Tool, ToolResult
from agentkit.errors import ModelRetry, ToolError
from agentkit.mcp.asking import Asking, Context, Params, read_state
from agentkit.mcp.caller import CALLER
from agentkit.mcp.offers import Served, ServedResource
from agentkit.messages import AudioPart, ContentPart, ImagePart, Message, UserMessage
from agentkit.tools import ToolContext

__all__ = ["Reading", "content_block", "page", "session_of"]

_PAGE = 100  # items of a list at once
_WATCHED = 10_000  # resources that clients watch


class Reading:
    """Answers about prompts and resources."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self.listen = ListenHandler(self)
        self._watched: dict[tuple[str, str], Callable[[], None]] = {}

    async def _call(self, made: Tool, arguments: Mapping[str, Any], context: Context, params: Params) -> Any:
        """Run the function of a prompt or a resource; return its result, or the requests to be answered first.

        Raises:
            MCPError: The arguments are wrong, or the function raised.
        """
        name = f"{context.method} {made.name}"
        asking = Asking.of(context, params, read_state(self._served.key, name, params.request_state)[0])
        called: ToolContext[Any] = ToolContext(
            deps=self._served.deps, run_id="", turn=1, call_id="", tool=made.name, idempotency_key="", emit=_ignore
        )
        token = CALLER.set(asking)
        try:
            result = await made.call(called, json.dumps(dict(arguments)))
        except (ModelRetry, ToolError) as error:
            if asking.required:
                return asking.input_required(self._served.key, name)
            raise asking.error(str(error)) from None
        finally:
            CALLER.reset(token)
        return asking.input_required(self._served.key, name) if asking.required else result

    # Prompts.

    async def list_prompts(self, _context: Context, params: types.PaginatedRequestParams | None) -> Any:
        """A page of the prompts."""
        prompts, cursor = page([*self._served.prompts.values()], params)
        return types.ListPromptsResult(prompts=[_listed_prompt(each) for each in prompts], next_cursor=cursor)

    async def get_prompt(self, context: Context, params: types.GetPromptRequestParams) -> Any:
        """The messages of a prompt."""
        made = self._prompt(params.name)
        result = await self._call(made, params.arguments or {}, context, params)
        if not isinstance(result, ToolResult):
            return result
        return types.GetPromptResult(description=made.description, messages=_prompt_messages(result))

    async def complete(self, _context: Context, params: types.CompleteRequestParams) -> types.CompleteResult:
        """Return the choices of an argument that begin with what was typed."""
        made: Tool | None
        if isinstance(params.ref, types.PromptReference):
            made = self._prompt(params.ref.name)
        else:
            made = {each.uri: each.made for each in self._served.resources}.get(params.ref.uri)
        schema: Any = made.parameters.get("properties", {}).get(params.argument.name, {}) if made else {}
        begun = params.argument.value.casefold()
        values = [each for each in map(str, schema.get("enum", ())) if each.casefold().startswith(begun)]
        shown = values[:_PAGE]
        completion = types.Completion(values=shown, total=len(values), has_more=len(values) > len(shown))
        return types.CompleteResult(completion=completion)

    def _prompt(self, name: str) -> Tool:
        found = self._served.prompts.get(name)
        if found is None:
            raise MCPError(types.INVALID_PARAMS, f"there is no prompt {name!r:.80}")
        return found

    # Resources.

    async def list_resources(self, _context: Context, params: types.PaginatedRequestParams | None) -> Any:
        """A page of the resources with a fixed address."""
        fixed = [types.Resource(**_described(each)) for each in self._served.resources if not each.has_variables]
        resources, cursor = page(fixed, params)
        return types.ListResourcesResult(resources=resources, next_cursor=cursor)

    async def list_templates(self, _context: Context, params: types.PaginatedRequestParams | None) -> Any:
        """A page of the resources whose address has variables."""
        described = [_described(each) for each in self._served.resources if each.has_variables]
        made = [types.ResourceTemplate(uri_template=each.pop("uri"), **each) for each in described]
        templates, cursor = page(made, params)
        return types.ListResourceTemplatesResult(resource_templates=templates, next_cursor=cursor)

    async def read_resource(self, context: Context, params: types.ReadResourceRequestParams) -> Any:
        """The contents of a resource."""
        for each in self._served.resources:
            values = each.match(params.uri)
            if values is not None:
                result: Any = each.content
                if each.made is not None:
                    result = await self._call(each.made, values, context, params)
                if isinstance(result, types.InputRequiredResult):
                    return result
                return types.ReadResourceResult(contents=[_contents(params.uri, result)])
        raise MCPError(types.INVALID_PARAMS, f"there is no resource {params.uri!r:.200}", {"uri": params.uri})

    # Changes of resources: `subscribe` and `unsubscribe` for clients before 2026, `listen` later.

    async def watch(self, context: Context, params: types.SubscribeRequestParams) -> types.EmptyResult:
        """Notify the client when a resource changes."""
        place, session = (session_of(context), params.uri), context.session
        if len(self._watched) >= _WATCHED:
            raise MCPError(types.INTERNAL_ERROR, "too many resources are watched")

        async def tell(uri: str) -> None:
            if uri == params.uri:
                await session.send_resource_updated(uri)

        self._watched.pop(place, lambda: None)()
        self._watched[place] = self._served.changes.subscribe(tell)
        return types.EmptyResult()

    async def unwatch(self, context: Context, params: types.UnsubscribeRequestParams) -> types.EmptyResult:
        """Stop notifying it."""
        self._watched.pop((session_of(context), params.uri), lambda: None)()
        return types.EmptyResult()

    async def publish(self, event: ServerEvent) -> None:
        """Part of a bus of the SDK."""
        if isinstance(event, ResourceUpdated):
            await self._served.changes.publish(event.uri)

    def subscribe(self, listener: Callable[[ServerEvent], None]) -> Callable[[], None]:
        """Part of a bus of the SDK: the listener receives changes."""

        async def tell(uri: str) -> None:
            listener(ResourceUpdated(uri=uri))

        return self._served.changes.subscribe(tell)


def _ignore(_event: Event) -> None: ...


def session_of(context: Context) -> str:
    """The id of the session over HTTP before 2026; empty otherwise."""
    return context.request.headers.get("mcp-session-id", "") if context.request is not None else ""


def page(items: Sequence[Any], params: types.PaginatedRequestParams | None) -> tuple[list[Any], str | None]:
    """A page of a list, and where the next one begins.

    Raises:
        MCPError: The cursor is not one of this server.
    """
    cursor = (params.cursor if params else None) or "0"
    if not (cursor.isascii() and cursor.isdecimal() and len(cursor) < 10 and int(cursor) <= len(items)):
        raise MCPError(types.INVALID_PARAMS, f"the cursor {cursor!r:.80} is not from this server")
    end = int(cursor) + _PAGE
    return list(items[int(cursor) : end]), str(end) if end < len(items) else None


def content_block(part: ContentPart) -> types.ContentBlock:
    """Return a part of a message in the SDK's type."""
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


def _listed_prompt(made: Tool) -> types.Prompt:
    needed = made.parameters.get("required", [])
    arguments = [
        types.PromptArgument(name=name, description=each.get("description"), required=name in needed)
        for name, each in made.parameters.get("properties", {}).items()
    ]
    return types.Prompt(name=made.name, description=made.description or None, arguments=arguments)


def _prompt_messages(result: ToolResult) -> list[types.PromptMessage]:
    data: object = result.data
    if not isinstance(data, list | tuple):
        blocks = [types.TextContent(text=result.content), *map(content_block, result.files)]
        return [types.PromptMessage(role="user", content=each) for each in blocks]
    messages: list[types.PromptMessage] = []
    for each in cast("Sequence[Any]", data):
        given = (each,) if isinstance(each, get_args(ContentPart)) else str(each)
        message: Message = each if hasattr(each, "role") else UserMessage(given)
        role: types.Role = "assistant" if message.role == "assistant" else "user"
        content: object = getattr(message, "content", None)
        parts = cast("Sequence[ContentPart]", content) if isinstance(content, tuple) else [TextPart(message.text)]
        messages += [types.PromptMessage(role=role, content=content_block(part)) for part in parts]
    return messages


def _described(resource: ServedResource) -> dict[str, Any]:
    name = resource.uri.rpartition("/")[2] or resource.uri
    described = resource.made.description if resource.made else None
    return {"uri": resource.uri, "name": name, "description": described or None}


def _contents(uri: str, given: Any) -> types.TextResourceContents | types.BlobResourceContents:
    value, mime_type = given, mimetypes.guess_type(uri)[0]
    if isinstance(given, ToolResult):
        value = given.data if isinstance(given.data, str | bytes) else given.content
        mime_type = mime_type or (None if value is given.data else "application/json")
    if isinstance(value, bytes):
        return types.BlobResourceContents(
            uri=uri, blob=base64.b64encode(value).decode(), mime_type=mime_type or "application/octet-stream"
        )
    return types.TextResourceContents(uri=uri, text=str(value), mime_type=mime_type or "text/plain")
