"""Requests to the client of a call: sent while it is open before 2026, and as its result later. Imports the SDK."""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, TypeAlias, cast

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from agentkit.errors import ToolError
from agentkit.mcp.caller import ClientRequest, Elicit, Sample

__all__ = ["Asking", "Context", "Params", "can_elicit", "is_modern", "missing", "read_state"]

Context: TypeAlias = ServerRequestContext[Any, Any]
Params: TypeAlias = types.CallToolRequestParams | types.GetPromptRequestParams | types.ReadResourceRequestParams
_Result: TypeAlias = types.ElicitResult | types.CreateMessageResult | types.ListRootsResult


def is_modern(context: Context) -> bool:
    """True if the client speaks a protocol of 2026 or later."""
    return context.protocol_version in MODERN_PROTOCOL_VERSIONS


def can_elicit(context: Context) -> bool:
    """True if the client can show a form to a person."""
    able = context.session.client_capabilities
    return bool(able and able.elicitation and (able.elicitation.form or not able.elicitation.url))


def missing(*names: str) -> MCPError:
    """Return the error for a client that lacks capabilities the call needs."""
    data: dict[str, Any] = {"requiredCapabilities": {name: {} for name in names}}
    return MCPError(types.MISSING_REQUIRED_CLIENT_CAPABILITY, f"the client has no {' or '.join(names)}", data)


@dataclass(slots=True)
class Asking:
    """The client of one call.

    Attributes:
        context: The call.
        answers: The answers, by the names of the requests.
        required: What must be answered before the call can continue, for clients from 2026 on.
        lacking: The capabilities without which nothing can be answered.
        may_wait: Whether the call can start again once it is answered.
    """

    context: Context
    answers: dict[str, Any] = field(default_factory=dict[str, Any])
    required: dict[str, types.InputRequest] = field(default_factory=dict[str, types.InputRequest])
    lacking: tuple[str, ...] = ()
    may_wait: bool = True

    @classmethod
    def of(cls, context: Context, params: Params, earlier: Mapping[str, Any]) -> Asking:
        """Return the client of a call, which may have answers in addition to those of earlier rounds."""
        brought = {name: each.model_dump(mode="json") for name, each in (params.input_responses or {}).items()}
        return cls(context, {**earlier, **brought})

    async def ask(self, requests: Mapping[str, ClientRequest]) -> dict[str, Any]:
        """Answer requests by their names.

        Raises:
            ToolError: They cannot be answered, or not yet.
        """
        possible = {name: each for name, each in requests.items() if self._can(each)}
        if requests and not possible:
            self.lacking = tuple(sorted({_capability(each) for each in requests.values()}))
            raise ToolError(f"the client can answer nothing of what was asked: it has no {' or '.join(self.lacking)}")
        unanswered = {name: each for name, each in possible.items() if _read(each, self.answers.get(name)) is _NOTHING}
        if unanswered and is_modern(self.context):
            if not self.may_wait:
                raise ToolError("clients that speak the protocol of 2026 cannot be asked from inside an agent's run")
            self.required |= {name: _request(each) for name, each in unanswered.items()}
            raise ToolError("the call waits for answers from the client")
        for name, each in unanswered.items():
            self.answers[name] = (await self.send(_request(each))).model_dump(mode="json")
        return {name: _read(each, self.answers[name]) if name in possible else None for name, each in requests.items()}

    async def send(self, request: types.InputRequest) -> _Result:
        """Send a request while the call is open.

        Raises:
            ToolError: The client answered with an error.
        """
        try:
            return await self.context.session.send_request(
                request, _KINDS[type(request)], metadata=ServerMessageMetadata(self.context.request_id)
            )
        except MCPError as error:
            raise ToolError(f"the client did not answer ({request.method}): {error}") from None

    def input_required(self, key: bytes, name: str, run: str | None = None) -> types.InputRequiredResult:
        """Return what the client must answer before it calls again: everything required.

        Args:
            key: Signs the state of the call.
            name: What is called.
            run: The state of its run.
        """
        body = json.dumps({"name": name, "answers": self.answers, "run": run})
        return types.InputRequiredResult(input_requests=self.required, request_state=f"{_signature(key, body)}.{body}")

    def error(self, message: str) -> MCPError:
        """Return the error of a call that failed, perhaps for lack of a capability."""
        if self.lacking and is_modern(self.context):
            return missing(*self.lacking)
        return MCPError(types.INVALID_PARAMS, message)

    def _can(self, request: ClientRequest) -> bool:
        if isinstance(request, Elicit):
            return can_elicit(self.context)
        able = self.context.session.client_capabilities
        return able is not None and getattr(able, _capability(request)) is not None


_NOTHING = object()
_KINDS: dict[type, type[_Result]] = {
    types.ElicitRequest: types.ElicitResult,
    types.CreateMessageRequest: types.CreateMessageResult,
    types.ListRootsRequest: types.ListRootsResult,
}


def _capability(request: ClientRequest) -> str:
    return "elicitation" if isinstance(request, Elicit) else "sampling" if isinstance(request, Sample) else "roots"


def _request(request: ClientRequest) -> types.InputRequest:
    if isinstance(request, Elicit):
        params = types.ElicitRequestFormParams(message=request.message, requested_schema=dict(request.schema))
        return types.ElicitRequest(params=params)
    if isinstance(request, Sample):
        message = types.SamplingMessage(role="user", content=types.TextContent(text=request.prompt))
        return types.CreateMessageRequest(
            params=types.CreateMessageRequestParams(
                messages=[message], max_tokens=request.max_tokens, system_prompt=request.instructions or None
            )
        )
    return types.ListRootsRequest()


def _read(request: ClientRequest, raw: Any) -> Any:
    """Return the answer to a request; `_NOTHING` if it is not an answer to it."""
    given = cast("dict[str, Any]", raw) if isinstance(raw, dict) else {}
    if isinstance(request, Elicit):
        content = given.get("content")
        if given.get("action") == "accept" and isinstance(content, dict):
            return cast("dict[str, Any]", content)
        return None if given.get("action") in ("decline", "cancel") else _NOTHING
    if isinstance(request, Sample):
        content = given.get("content")
        text: object = cast("dict[str, Any]", content).get("text") if isinstance(content, dict) else None
        return text if isinstance(text, str) else _NOTHING
    roots = given.get("roots")
    return [str(each["uri"]) for each in cast("list[dict[str, Any]]", roots)] if isinstance(roots, list) else _NOTHING


def read_state(key: bytes, name: str, state: str | None) -> tuple[dict[str, Any], str | None]:
    """Return the answers and the state of the run that `Asking.input_required` signed.

    Raises:
        MCPError: Something else wrote it, or it is for another call.
    """
    if state is None:
        return {}, None
    signature, _, body = state.partition(".")
    if not hmac.compare_digest(signature.encode(), _signature(key, body).encode()):
        raise MCPError(types.INVALID_PARAMS, "the request state cannot be used: its signature is wrong")
    read = json.loads(body)
    if read["name"] != name:
        raise MCPError(types.INVALID_PARAMS, f"the request state cannot be used: it is that of {read['name']!r:.80}")
    return read["answers"], read["run"]


def _signature(key: bytes, body: str) -> str:
    return hmac.new(key, body.encode("utf-8", "surrogatepass"), sha256).hexdigest()
