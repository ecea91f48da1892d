"""Answers to what a server asks for while a call is open: a model's reply, or what a person says."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from agentkit import Agent
from agentkit.chat import ChatSettings, Model
from agentkit.errors import ToolError
from agentkit.mcp.options import Answerer
from agentkit.mcp.tools import misfit
from agentkit.messages import AssistantMessage, AudioPart, ContentPart, ImagePart, Message, TextPart, UserMessage
from agentkit.run import Limits
from agentkit.tools import ToolContext

__all__ = ["AskPerson", "Question", "ask_person", "cannot_wait", "fitting", "sample_model"]

_MOST_SAMPLES = 10  # replies that a server may have in one call of a tool
_MOST_TOKENS = 4096  # tokens of one of them, whatever it asks for


@dataclass(frozen=True, slots=True)
class Question:
    """What a server asks a person while a call is open.

    Attributes:
        server: The name of the server.
        message: The question.
        schema: The JSON Schema of the answer, an object of plain values; empty if there is a ``url``.
        url: An address where the person must do something, such as a payment; usually empty.
        tool: The name of the tool that was called.
        call_id: The id of the call.
    """

    server: str
    message: str
    schema: Mapping[str, Any]
    url: str = ""
    tool: str = ""
    call_id: str = ""


AskPerson: TypeAlias = Callable[[Question], Awaitable[Mapping[str, Any] | None]]
"""Asks a person. Returns the answer as its schema has it (``{}`` once they were at a URL); None if they decline."""


def sample_model(model: str | Model | None, server: str) -> Answerer:
    """Have a model answer a sampling request, as a run inside the call, under the limits of the outer run.

    Args:
        model: The model; None for that of the calling agent.
        server: The name of the server, for errors.
    """
    counts: dict[str, int] = {}

    async def answer(context: ToolContext[Any], params: dict[str, Any]) -> dict[str, Any]:
        counts[context.idempotency_key] = count = counts.pop(context.idempotency_key, 0) + 1
        while len(counts) > 1000:
            del counts[next(iter(counts))]
        chosen = model or context.model
        if count > _MOST_SAMPLES or chosen is None:
            raise ToolError(f"a call may sample {_MOST_SAMPLES} replies" if chosen else "there is no model to sample")
        tokens = min(int(params.get("maxTokens") or _MOST_TOKENS), _MOST_TOKENS)
        settings = ChatSettings(max_tokens=tokens, temperature=params.get("temperature"), stop=_stops(params))
        *earlier, last = [_message(each) for each in params.get("messages") or ()] or [UserMessage("")]
        if not isinstance(last, UserMessage):
            raise ToolError("the last message before sampling must be a user message")
        agent = Agent(chosen, instructions=str(params.get("systemPrompt") or ""), name=f"sampled by {server}")
        run = await agent.run(last, history=earlier, settings=settings, limits=Limits(turns=1, on_limit="stop"))
        reply = run.messages[-1]
        name = str(reply.meta.get("model", "")) if isinstance(reply, AssistantMessage) else ""
        content = {"type": "text", "text": run.output_or_none or ""}
        return {"role": "assistant", "content": content, "model": name or "unknown", "stopReason": "endTurn"}

    return answer


def _stops(params: Mapping[str, Any]) -> list[str] | None:
    stops = params.get("stopSequences")
    return [str(each) for each in cast("list[object]", stops)][:4] if isinstance(stops, list) and stops else None


def _message(raw: Mapping[str, Any]) -> Message:
    content = raw.get("content")
    blocks = cast("list[Mapping[str, Any]]", content if isinstance(content, list) else [content])
    parts = tuple(_part(each) for each in blocks)
    if raw.get("role") == "assistant":
        return AssistantMessage("\n".join(each.text for each in parts if isinstance(each, TextPart)))
    return UserMessage(parts[0].text if len(parts) == 1 and isinstance(parts[0], TextPart) else parts)


def _part(block: Mapping[str, Any]) -> ContentPart:
    kind = block.get("type")
    if kind not in ("image", "audio"):
        return TextPart(str(block.get("text", "")))
    try:
        data = base64.b64decode(str(block.get("data", "")))
    except binascii.Error as error:
        raise ToolError(f"its {kind} cannot be read: {error}") from None
    if kind == "image":
        return ImagePart.from_bytes(data)
    return AudioPart(data, "mp3" if "mp" in str(block.get("mimeType")) else "wav")


def ask_person(ask: AskPerson, server: str) -> Answerer:
    """Have a function ask a person the server's question.

    Args:
        ask: The function.
        server: The name of the server.
    """

    async def answer(context: ToolContext[Any], params: dict[str, Any]) -> dict[str, Any]:
        schema = cast("Mapping[str, Any]", params.get("requestedSchema") or {})
        url = str(params.get("url") or "")
        question = Question(server, str(params.get("message", "")), schema, url, context.tool, context.call_id)
        given = await ask(question)
        if given is None:
            return {"action": "decline"}
        return {"action": "accept"} if url else {"action": "accept", "content": fitting(given, schema)}

    return answer


async def cannot_wait(_context: ToolContext[Any], _params: dict[str, Any]) -> dict[str, Any]:
    """Refuse a question for which the call would have to stay open.

    Raises:
        ToolError: Always.
    """
    raise ToolError(
        "the server asks while the call is open, as servers before 2026-07-28 do, and a run with an open call cannot "
        "be saved until somebody answers: give MCPToolset(elicitation=...) a function that asks at once"
    )


def fitting(given: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return an answer with the proposals of the schema where it says nothing.

    Raises:
        ToolError: It does not fit the schema.
    """
    properties = cast("Mapping[str, Any]", schema.get("properties") or {})
    answer = {**{name: each["default"] for name, each in properties.items() if "default" in each}, **given}
    required = cast("Sequence[str]", schema.get("required") or ())
    if missing := [name for name in required if name not in answer]:
        raise ToolError(f"the person's answer lacks {missing[0]!r}")
    if problem := misfit(answer, schema):
        raise ToolError(f"the person's answer does not fit {problem}")
    return answer
