"""The attributes of the semantic conventions, taken from requests, replies and tools."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from agentkit.chat import ChatRequest, Model, ModelInfo, Reply, Usage
from agentkit.messages import AssistantMessage, Message, SystemMessage, ToolMessage
from agentkit.trace import Mask

__all__ = [
    "Attributes",
    "content_of_reply",
    "content_of_request",
    "model_attributes",
    "reply_attributes",
    "request_attributes",
    "usage_attributes",
]

Attributes: TypeAlias = dict[str, str | bool | int | float | Sequence[str]]

_PROVIDERS = {  # where the conventions use another name
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "google": "gcp.gemini",
    "mistral": "mistral_ai",
    "vertex": "gcp.vertex_ai",
    "xai": "x_ai",
}
_SETTINGS = {
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "frequency_penalty": "gen_ai.request.frequency_penalty",
    "presence_penalty": "gen_ai.request.presence_penalty",
    "seed": "gen_ai.request.seed",
    "n": "gen_ai.request.choice.count",
    "max_tokens": "gen_ai.request.max_tokens",
    "max_completion_tokens": "gen_ai.request.max_tokens",
}


def model_attributes(model: Model) -> Attributes:
    """Return who answers: ``gen_ai.provider.name``, ``gen_ai.request.model`` and the address."""
    info = getattr(model, "info", None)
    if not isinstance(info, ModelInfo):
        return {"gen_ai.provider.name": type(model).__name__}
    made: Attributes = {
        "gen_ai.provider.name": _PROVIDERS.get(info.provider, info.provider),
        "gen_ai.request.model": info.model,
    }
    address = urlsplit(info.address)
    if address.hostname:
        made["server.address"] = address.hostname
        made["server.port"] = address.port or (443 if address.scheme == "https" else 80)
    return made


def request_attributes(request: ChatRequest) -> Attributes:
    """The parameters of a request."""
    settings = request.settings
    made: Attributes = {name: value for key, name in _SETTINGS.items() if (value := getattr(settings, key)) is not None}
    if settings.stop is not None:
        made["gen_ai.request.stop_sequences"] = (
            [settings.stop] if isinstance(settings.stop, str) else list(settings.stop)
        )
    if settings.response_format is not None:
        made["gen_ai.output.type"] = "json"
    if request.stream:
        made["gen_ai.request.stream"] = True
    return made


def reply_attributes(reply: Reply) -> Attributes:
    """What is known of a reply."""
    named = {"gen_ai.response.model": reply.model, "gen_ai.response.id": reply.id}
    made: Attributes = {name: value for name, value in named.items() if value}
    made["gen_ai.response.finish_reasons"] = [each.finish_reason for each in reply.choices if each.finish_reason]
    if reply.repairs:
        made["agentkit.repairs"] = list(reply.repairs)
    if reply.adaptations:
        made["agentkit.adaptations"] = list(reply.adaptations)
    return made | usage_attributes(reply.usage)


def usage_attributes(usage: Usage) -> Attributes:
    """Return tokens and cost; unreported values are left out, rather than 0."""
    made: Attributes = {}
    if usage.total_tokens:
        made["gen_ai.usage.input_tokens"] = usage.prompt_tokens
        made["gen_ai.usage.output_tokens"] = usage.completion_tokens
    for name, value in (
        ("gen_ai.usage.cache_read.input_tokens", usage.cached_tokens),
        ("gen_ai.usage.cache_creation.input_tokens", usage.cache_write_tokens),
        ("gen_ai.usage.reasoning.output_tokens", usage.reasoning_tokens),
    ):
        if value:
            made[name] = value
    if usage.cost is not None:
        made["agentkit.usage.cost"] = usage.cost
    return made


def content_of_request(request: ChatRequest, mask: Mask) -> Attributes:
    """The instructions, messages and tools of a request, in the form of the conventions, with secrets masked."""
    system = [each for each in request.messages if isinstance(each, SystemMessage)]
    others = [each for each in request.messages if not isinstance(each, SystemMessage)]
    made: Attributes = {"gen_ai.input.messages": _json([_message(each) for each in others], mask)}
    if system:
        made["gen_ai.system_instructions"] = _json([part for each in system for part in _text_parts(each)], mask)
    if request.tools:
        made["gen_ai.tool.definitions"] = _json([each.to_wire() for each in request.tools], mask)
    return made


def content_of_reply(reply: Reply, mask: Mask) -> Attributes:
    """The answers of a reply, in the form of the conventions, with secrets masked."""
    answers = [{**_message(each.message), "finish_reason": each.finish_reason or ""} for each in reply.choices]
    return {"gen_ai.output.messages": _json(answers, mask)}


def _json(value: Any, mask: Mask) -> str:
    return json.dumps(mask(value), ensure_ascii=False, default=str)


def _message(message: Message) -> Mapping[str, Any]:
    parts: list[Mapping[str, Any]] = []
    if isinstance(message, ToolMessage):
        parts.append({"type": "tool_call_response", "id": message.tool_call_id, "response": message.text})
        return {"role": "tool", "parts": parts}
    if isinstance(message, AssistantMessage) and message.reasoning:
        parts.append({"type": "reasoning", "content": message.reasoning})
    parts += _text_parts(message)
    if isinstance(message, AssistantMessage):
        for call in message.tool_calls:
            parts.append({"type": "tool_call", "id": call.id, "name": call.name, "arguments": call.written})
    return {"role": message.role, "parts": parts}


def _text_parts(message: Message) -> list[Mapping[str, Any]]:
    """Return the text of a message; images, sound and files are named, not copied."""
    content = message.content
    if content is None or isinstance(content, str):
        return [{"type": "text", "content": content}] if content else []
    text = getattr(message, "text", "")
    parts: list[Mapping[str, Any]] = [{"type": "text", "content": text}] if text else []
    return parts + [{"type": type(each).__name__} for each in content if type(each).__name__ != "TextPart"]
