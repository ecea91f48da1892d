"""The strictest server: what it would refuse in a request, by the order rules and shapes of Chat Completions."""

import json
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

_PARAMETERS = {
    "model", "messages", "stream", "stream_options", "max_completion_tokens", "max_tokens", "reasoning_effort",
    "verbosity", "modalities", "audio", "prediction", "n", "tools", "tool_choice", "parallel_tool_calls",
    "web_search_options", "response_format", "temperature", "top_p", "frequency_penalty", "presence_penalty", "seed",
    "stop", "logprobs", "top_logprobs", "logit_bias", "user", "service_tier", "store", "metadata", "safety_identifier",
    "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "moderation",
}  # fmt: skip
_MEMBERS: Mapping[str, set[str]] = {
    "developer": {"role", "content", "name"},
    "system": {"role", "content", "name"},
    "user": {"role", "content", "name"},
    "assistant": {"role", "content", "name", "refusal", "audio", "tool_calls"},
    "tool": {"role", "content", "tool_call_id"},
}
_PARTS: Mapping[str, set[str]] = {
    "developer": {"text"},
    "system": {"text"},
    "user": {"text", "image_url", "input_audio", "file"},
    "assistant": {"text", "refusal"},
    "tool": {"text"},
}
_ID = re.compile(r"[A-Za-z0-9_-]{1,40}")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_UNWRITABLE = re.compile("[\x00\ud800-\udfff]")


def complaints(body: Mapping[str, Any], *, extra: Collection[str] = ()) -> list[str]:
    """What the strictest server would refuse; members named in ``extra`` are known to it."""
    return [
        *(f"unknown parameter {name}" for name in body if name not in {*_PARAMETERS, *extra}),
        *(f"{name} is null" for name, value in body.items() if value is None),
        *_about_tools(body),
        *_about_messages(body.get("messages"), {*extra}),
        *(f"{text!r} has a character that no server takes" for text in _texts(body) if _UNWRITABLE.search(text)),
    ]


def _about_tools(body: Mapping[str, Any]) -> Iterator[str]:
    if "tools" in body and not body["tools"]:
        yield "tools is empty"
    if not body.get("tools"):
        yield from (f"{name} without tools" for name in ("tool_choice", "parallel_tool_calls") if name in body)
    if "stream_options" in body and body.get("stream") is not True:
        yield "stream_options without stream"
    functions = [tool["function"] for tool in body.get("tools") or () if tool.get("type") == "function"]
    names = [function["name"] for function in functions]
    yield from (f"tool name {name!r}" for name in names if not _NAME.fullmatch(name) or names.count(name) > 1)
    for function in functions:
        schema = function.get("parameters")
        if not isinstance(schema, dict) or schema.get("type") != "object":
            yield f"the parameters of {function['name']} are no object"
        elif not isinstance(schema.get("properties"), dict):
            yield f"the parameters of {function['name']} have no properties"


def _about_messages(messages: Any, extra: set[str]) -> Iterator[str]:
    if not isinstance(messages, list) or not messages:
        yield "no messages"
        return
    waiting: list[str] = []
    seen: set[str] = set()
    for place, message in enumerate(messages):
        role = message.get("role")
        if role not in _MEMBERS:
            yield f"message {place} has the role {role!r}"
            continue
        yield from (f"message {place}: {fault}" for fault in _about_message(message, role, extra))
        if role == "tool":
            if waiting[:1] != [message.get("tool_call_id")]:
                yield f"message {place} answers {message.get('tool_call_id')!r}, not the next open call"
            waiting = waiting[1:]
            continue
        yield from (f"call {id_} has no result before message {place}" for id_ in waiting)
        waiting = [call.get("id") for call in message.get("tool_calls") or ()]
        yield from (f"id {id_!r} comes twice" for id_ in waiting if id_ in seen or waiting.count(id_) > 1)
        seen.update(waiting)
    yield from (f"call {id_} has no result" for id_ in waiting)


def _about_message(message: Mapping[str, Any], role: str, extra: set[str]) -> Iterator[str]:
    yield from (f"unknown member {name}" for name in message.keys() - _MEMBERS[role] - extra)
    nulls = {name for name, value in message.items() if value is None}
    if role == "assistant" and message.get("tool_calls"):
        nulls -= {"content"}
    yield from (f"{name} is null" for name in nulls)
    yield from _about_content(message.get("content"), role)
    if "tool_calls" in message:
        if not isinstance(message["tool_calls"], list) or not message["tool_calls"]:
            yield "tool_calls is empty"
        for call in message["tool_calls"] or ():
            yield from _about_call(call, extra)
    elif role == "assistant" and not any(message.get(name) for name in ("content", "refusal", "audio")):
        yield "an assistant message with neither content nor calls"


def _about_content(content: Any, role: str) -> Iterator[str]:
    if isinstance(content, str):
        if not content and role != "assistant":
            yield "content is empty"
    elif isinstance(content, list):
        if not content:
            yield "content is an empty list"
        for part in content:
            if part.get("type") not in _PARTS[role]:
                yield f"a part of the type {part.get('type')!r}"
            elif part["type"] == "text" and not part.get("text"):
                yield "an empty text part"
    elif not (content is None and role == "assistant"):
        yield f"content is {content!r}"


def _about_call(call: Mapping[str, Any], extra: set[str]) -> Iterator[str]:
    if call.get("type") != "function" or call.keys() - {"id", "type", "function"} - extra:
        yield f"a call of the shape {sorted(call)}, type {call.get('type')!r}"
    if not isinstance(call.get("id"), str) or not _ID.fullmatch(call["id"]):
        yield f"the call id {call.get('id')!r}"
    function = call.get("function") or {}
    if function.keys() != {"name", "arguments"} or not _NAME.fullmatch(str(function.get("name"))):
        yield f"a call of {function!r}"
    if not _is_object(function.get("arguments")):
        yield f"the arguments {function.get('arguments')!r}"


def _is_object(arguments: Any) -> bool:
    def refuse(constant: str) -> None:
        raise ValueError(constant)

    try:
        return isinstance(arguments, str) and isinstance(json.loads(arguments, parse_constant=refuse), dict)
    except ValueError:
        return False


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, each in value.items():
            yield from _texts(name)
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)
