"""The OpenAPI document: requests as the server validates them, responses as it writes them."""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic.json_schema import models_json_schema

from agentkit.serve.wire import BranchBody, ChatBody, DecisionsBody

__all__ = ["openapi"]

_REF = "#/components/schemas/"
_STRING: dict[str, Any] = {"type": "string"}
_INTEGER: dict[str, Any] = {"type": "integer"}
_NULL: dict[str, Any] = {"type": "null"}


def _object(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"type": "object", "properties": {**required, **(optional or {})}, "required": [*required]}


def _const(value: str) -> dict[str, Any]:
    return {"type": "string", "const": value}


def _array(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, _NULL]}


_REASONS = {"type": "string", "enum": ["stop", "length", "tool_calls", "content_filter", "function_call"]}
_LOGPROBS = _or_null(_object({name: _or_null(_array({"type": "object"})) for name in ("content", "refusal")}))
_USAGE = _object(dict.fromkeys(("prompt_tokens", "completion_tokens", "total_tokens"), _INTEGER))
_CALL = {
    "anyOf": [
        _object(
            {
                "id": _STRING,
                "type": _const("function"),
                "function": _object(dict.fromkeys(("name", "arguments"), _STRING)),
            }
        ),
        _object(
            {"id": _STRING, "type": _const("custom"), "custom": _object(dict.fromkeys(("name", "input"), _STRING))}
        ),
    ]
}
_MESSAGE = _object(
    {"role": _const("assistant"), "content": _or_null(_STRING), "refusal": _or_null(_STRING)},
    {"tool_calls": _array(_CALL), "annotations": _array({"type": "object"}), "audio": {"type": "object"}},
)
_HEAD = {"id": _STRING, "created": _INTEGER, "model": _STRING}
_SCHEMAS: dict[str, Any] = {
    "ChatCompletion": _object(
        {
            **_HEAD,
            "object": _const("chat.completion"),
            "choices": _array(
                _object({"index": _INTEGER, "message": _MESSAGE, "finish_reason": _REASONS, "logprobs": _LOGPROBS})
            ),
            "usage": _USAGE,
        },
        {
            "service_tier": _STRING,
            "system_fingerprint": _STRING,
            "metadata": {"type": "object"},
            "agentkit": {"type": "object"},
        },
    ),
    "ChatCompletionChunk": _object(
        {
            **_HEAD,
            "object": _const("chat.completion.chunk"),
            "choices": _array(
                _object({"index": _INTEGER, "delta": {"type": "object"}, "finish_reason": _or_null(_REASONS)})
            ),
        },
        {"usage": _or_null(_USAGE), "agentkit": {"type": "object"}},
    ),
    "Error": _object(
        {"error": _object({"message": _STRING, "type": _STRING, "param": _or_null(_STRING), "code": _or_null(_STRING)})}
    ),
    "Model": _object({"id": _STRING, "object": _const("model"), "created": _INTEGER, "owned_by": _STRING}),
    "Run": _object(
        {
            "id": _STRING,
            "object": _const("agentkit.run"),
            "model": _STRING,
            "status": _STRING,
            "pending": _array({"type": "object"}),
        }
    ),
    "Session": _object({"id": _STRING, "object": _const("agentkit.session")}),
}
_SCHEMAS["ModelList"] = _object({"object": _const("list"), "data": _array({"$ref": f"{_REF}Model"})})
_SCHEMAS["SessionList"] = _object({"object": _const("list"), "data": _array({"$ref": f"{_REF}Session"})})


def _content(name: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": _REF + name}}}


def _responses(name: str, *errors: int, stream: bool = False) -> dict[str, Any]:
    content = _content(name)
    if stream:
        content["text/event-stream"] = {"schema": {"$ref": f"{_REF}ChatCompletionChunk"}}
    failed = {"description": "What is wrong", "content": _content("Error")}
    found = sorted({401, 403, *errors})
    return {"200": {"description": "The answer", "content": content}} | {str(each): failed for each in found}


def _operation(
    name: str, answer: str, *errors: int, body: str = "", stream: bool = False, parameter: str = ""
) -> dict[str, Any]:
    made: dict[str, Any] = {"operationId": name, "responses": _responses(answer, *errors, stream=stream)}
    if body:
        made["requestBody"] = {"required": True, "content": _content(body)}
    if parameter:
        made["parameters"] = [{"name": parameter, "in": "path", "required": True, "schema": _STRING}]
    return made


_BODY = (400, 408, 413, 415)
_MODEL = (429, 500, 502, 503, 504)


@cache
def openapi() -> dict[str, Any]:
    """Return the document."""
    bodies = [(each, "validation") for each in (ChatBody, DecisionsBody, BranchBody)]
    _, made = models_json_schema(bodies, ref_template=f"{_REF}{{model}}")  # type: ignore[arg-type]
    chat = ("ChatCompletion", *_BODY, 404, 409, *_MODEL)
    text = {"description": "The answer", "content": {"text/plain": {"schema": _STRING}}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Chat Completions", "version": "1"},
        "components": {
            "schemas": {**made["$defs"], **_SCHEMAS},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
        "paths": {
            "/v1/chat/completions": {"post": _operation("createChatCompletion", *chat, body="ChatBody", stream=True)},
            "/openai/chat/completions": {"post": _operation("createCompletion", *chat, body="ChatBody", stream=True)},
            "/v1/models": {"get": _operation("listModels", "ModelList")},
            "/v1/models/{model}": {"get": _operation("retrieveModel", "Model", 404, parameter="model")},
            "/v1/runs/{run_id}": {"get": _operation("retrieveRun", "Run", 404, parameter="run_id")},
            "/v1/runs/{run_id}/decisions": {
                "post": _operation("decide", *chat, body="DecisionsBody", stream=True, parameter="run_id")
            },
            "/v1/sessions": {"get": _operation("listSessions", "SessionList")},
            "/v1/sessions/{name}": {
                "get": _operation("retrieveSession", "Session", 404, parameter="name"),
                "delete": _operation("deleteSession", "Session", 404, 409, parameter="name"),
            },
            "/v1/sessions/{name}/branch": {
                "post": _operation("branchSession", "Session", *_BODY, 404, 409, body="BranchBody", parameter="name")
            },
            "/healthz": {
                "get": {"operationId": "health", "security": [], "responses": {"200": {"description": "It is up"}}}
            },
            "/metrics": {"get": {"operationId": "metrics", "responses": {**_responses("Error"), "200": text}}},
        },
    }
