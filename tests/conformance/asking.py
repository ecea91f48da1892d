"""What servers refuse: the words in which the cases of requests are written."""

# ruff: noqa: E501 - what servers say is longer than a line

from collections.abc import Callable, Mapping
from typing import Any

from agentkit import ChatSettings
from tests.conformance.case import Case, Outcome
from tests.conformance.wire import (
    Json,
    Refusal,
    add,
    calls,
    error,
    fails,
    says,
    told,
)

GOOD: dict[str, Any] = {"stream": [calls(add())], "whole": [told(add())]}
USER: Json = {"role": "user", "content": "Hello."}
ASSISTANT: Json = {"role": "assistant", "content": "Hello."}
CALLED: Json = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"id": "callOld01", "type": "function", "function": {"name": "add", "arguments": "{}"}}],
}
RESULT: Json = {"role": "tool", "tool_call_id": "callOld01", "content": "5"}
DETAIL = {"type": "reasoning.encrypted", "data": "gAAA", "id": "rs_1", "index": 0}
SCHEMA = {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"], "additionalProperties": False}
JSON_SCHEMA = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}


def text(written: str) -> dict[str, Any]:
    return {"final": written, "stream": [says(written, stream=True)], "whole": [says(written, stream=False)]}


def when(
    looks_so: Callable[[Mapping[str, Any]], object], message: str, *, status: int = 400, **members: Any
) -> Refusal:
    """The server refuses requests that look so."""
    return looks_so, error(message, status=status, **members)


def has(name: str) -> Callable[[Mapping[str, Any]], object]:
    return lambda body: name in body


def roles(body: Mapping[str, Any]) -> list[str]:
    return [message["role"] for message in body["messages"]]


def last(**members: Any) -> Callable[[Outcome], bool]:
    """Whether the last request has these members, or lacks those that are None."""
    return lambda outcome: all(outcome.bodies[-1].get(name) == value for name, value in members.items())


def unsupported(name: str, *, value: Any, refused: Refusal | None = None, style: str = "openai", **more: Any) -> Case:
    """A server that refuses one parameter; it is left out then."""
    says_so = {
        "openai": f"Unsupported parameter: '{name}' is not supported with this model.",
        "value": f"Unsupported value: '{name}' does not support {value} with this model. Only the default (1) value is supported.",
        "unknown": f"Unrecognized request argument supplied: {name}",
    }
    settings = ChatSettings(**{name: value, **more})
    refusal = refused or when(has(name), says_so[style], param=name, code="unsupported_parameter")
    q = 39 if style in ("openai", "value") else 40
    return Case(
        q=q,
        name=name.replace("_", "-"),
        **GOOD,
        settings=settings,
        refuses=[refusal],
        asks=3,
        told=[name],
        also=last(**{name: None}),
    )


def forbidden(name: str) -> Refusal:
    detail = [{"type": "extra_forbidden", "loc": ["body", name], "msg": "Extra inputs are not permitted", "input": 1}]
    return has(name), fails(422, {"detail": detail})


def named(body: Mapping[str, Any]) -> bool:
    return isinstance(body.get("tool_choice"), dict)


def required(body: Mapping[str, Any]) -> bool:
    return body.get("tool_choice") == "required"


def kind_of_format(body: Mapping[str, Any]) -> Any:
    return (body.get("response_format") or {}).get("type")


def lacks_reasoning(body: Mapping[str, Any]) -> bool:
    return any(each.get("tool_calls") and "reasoning_content" not in each for each in body["messages"])
