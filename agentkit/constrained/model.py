"""`ConstrainedTools`: a `Model` around a `Model`."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import replace

from agentkit.chat.messages import AssistantMessage, Message, ToolCall, ToolMessage, UserMessage
from agentkit.chat.reply import Choice, Model, Reply
from agentkit.chat.request import ChatRequest, FunctionTool
from agentkit.chat.settings import AllowedTools, NamedTool, ToolChoice
from agentkit.constrained.answering import answer
from agentkit.constrained.asking import Asking
from agentkit.constrained.choosing import choose, split
from agentkit.constrained.filling import fill
from agentkit.constrained.tool import WantedTool
from agentkit.events import CallDelta, Emit, TextDelta

__all__ = ["ConstrainedTools"]


class ConstrainedTools:
    """Gives a chat model that knows no tools a way to call them.

    The model never writes a call. It is asked how probable the user's request is, given what each tool does; the best
    tool, if it is clearly better than none, is called with arguments copied from the request. After the results it
    writes one sentence from them. English only; it looks at the last user message alone, makes at most two calls, and
    never calls again after results.

    Needs llama.cpp's server (``local``, ``llama.cpp:``), whose grammars can force a text and tell its probability.
    Where a model calls tools by itself, that is better.

    Args:
        model: The model to wrap.
    """

    def __init__(self, model: Model) -> None:
        self._model = model

    def __repr__(self) -> str:
        return f"ConstrainedTools({self._model!r})"

    async def aclose(self) -> None:
        """Close what the wrapped model holds open."""
        close = getattr(self._model, "aclose", None)
        if close is not None:
            await close()

    async def reply(self, request: ChatRequest, emit: Emit) -> Reply:
        """Answer a request.

        Raises:
            ModelError: The wrapped model gave no usable reply.
        """
        asking = Asking(self._model)
        question, results = _open_question(request.messages)
        if results:
            text = await answer(asking, question, results)
            emit(TextDelta(text))
            return _reply(AssistantMessage(text), asking)
        wanted = await _wanted(asking, " ".join(question.split()), request)
        if not wanted:
            return await self._chat(request, asking, emit)
        calls: list[ToolCall] = []
        for part, tool in wanted:
            arguments = json.dumps(await fill(asking, part, tool), ensure_ascii=False)
            call = ToolCall(uuid.uuid4().hex[:9], tool.name, arguments)
            emit(CallDelta(len(calls), call.id, call.name, arguments))
            calls.append(call)
        return _reply(AssistantMessage(None, tuple(calls)), asking)

    async def _chat(self, request: ChatRequest, asking: Asking, emit: Emit) -> Reply:
        settings = replace(request.settings, tool_choice=None, parallel_tool_calls=None)
        plain = replace(request, messages=_without_calls(request.messages), tools=(), settings=settings)
        reply = await self._model.reply(plain, emit)
        return replace(reply, usage=reply.usage + asking.usage)


async def _wanted(asking: Asking, question: str, request: ChatRequest) -> Sequence[tuple[str, WantedTool]]:
    """The calls to make: what each is for, and its tool."""
    tools = [WantedTool(each) for each in request.tools if isinstance(each, FunctionTool)]
    choice: ToolChoice = request.settings.tool_choice or "auto"
    if isinstance(choice, AllowedTools):
        tools, choice = [tool for tool in tools if tool.name in choice.names], choice.mode
    if not tools or not question or choice == "none":
        return ()
    if isinstance(choice, NamedTool):
        return [(question, tool) for tool in tools if tool.name == choice.name]
    if request.settings.parallel_tool_calls is False:
        tool = await choose(asking, question, tools)
        wanted = [(question, tool)] if tool else []
    else:
        wanted = await split(asking, question, tools)
    if not wanted and choice == "required":
        return [(question, await choose(asking, question, tools, float("-inf")) or tools[0])]
    return wanted


def _open_question(messages: Sequence[Message]) -> tuple[str, list[Message]]:
    """The user's question, and the calls made for it with their results.

    What the user says behind the results (the note of a run at its limit) does not make a new question of it.
    """
    last = next((place for place in reversed(range(len(messages))) if isinstance(messages[place], ToolMessage)), None)
    spoken = [place for place, message in enumerate(messages) if isinstance(message, UserMessage)]
    answered = last is not None and not any(isinstance(each, AssistantMessage) for each in messages[last + 1 :])
    if answered and last is not None:
        asked = max((place for place in spoken if place < last), default=0)
        return messages[asked].text, list(messages[asked + 1 : last + 1])
    return (messages[spoken[-1]].text if spoken else ""), []


def _without_calls(messages: Sequence[Message]) -> list[Message]:
    return [message for message in messages if not isinstance(message, ToolMessage) and message.text]


def _reply(message: AssistantMessage, asking: Asking) -> Reply:
    reason = "tool_calls" if message.tool_calls else "stop"
    return Reply(choices=(Choice(message=message, finish_reason=reason),), usage=asking.usage)
