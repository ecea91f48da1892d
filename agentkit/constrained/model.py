"""`ConstrainedTools`: a `Model` around a `Model`."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import replace

from agentkit.chat import (
    AllowedTools,
    ChatRequest,
    ChatSettings,
    Choice,
    FunctionTool,
    Model,
    NamedTool,
    Reply,
    ToolChoice,
)
from agentkit.constrained.answering import PROMPT as ANSWERING
from agentkit.constrained.answering import answer
from agentkit.constrained.asking import Asking
from agentkit.constrained.choosing import NO_TOOL, choose, split
from agentkit.constrained.choosing import PROMPT as CHOOSING
from agentkit.constrained.filling import PROMPT as FILLING
from agentkit.constrained.filling import fill
from agentkit.constrained.slots import PromptSlots
from agentkit.constrained.tool import WantedTool
from agentkit.errors import ConfigError
from agentkit.events import CallDelta, Emit, RequestAdapted, TextDelta, ignore_event
from agentkit.messages import AssistantMessage, Message, ToolCall, ToolMessage, UserMessage

__all__ = ["ConstrainedTools"]


class ConstrainedTools:
    """Lets a chat model that was not trained to call tools call them.

    The model never writes a call. It is asked how probable the user's request is, given what each tool does; the best
    tool, if it is clearly better than none, is called with arguments copied from the request. The model then writes one
    sentence from the results. English only; it reads only the last user message, makes at most two calls, and makes no
    further calls after results.

    Needs llama.cpp's server (``local``, ``llama.cpp:``), whose grammars can force a string and report its probability.
    If a model can call tools by itself, let it.

    Settings, including ``response_format``, apply to the text that it writes. Those that cannot apply to a call, such
    as ``temperature``, are reported as a `RequestAdapted` event; what it cannot do at all is refused.

    Args:
        model: The model to wrap.
        slots: The slots of its server, if available: the examples and tools are then read only once.
    """

    def __init__(self, model: Model, *, slots: PromptSlots | None = None) -> None:
        self._model = model
        self._slots = slots

    def __repr__(self) -> str:
        return f"ConstrainedTools({self._model!r})"

    async def prepare(self) -> None:
        """Have the model read the examples that every question begins with, so that no answer has to wait for that.

        Raises:
            ModelError: There is no usable reply.
        """
        asking = Asking(self._model, self._slots, ignore_event)
        no_tool = [*CHOOSING, UserMessage(f"Tool: {NO_TOOL}")]
        for prompt, shared in ((no_tool, CHOOSING), (FILLING, ()), (ANSWERING, ())):
            messages = prompt if shared else [*prompt, UserMessage("Hello")]
            await asking.ask(messages, prompt=prompt, shared=shared, settings=ChatSettings(max_tokens=1))

    async def aclose(self) -> None:
        """Close what the wrapped model holds open."""
        close = getattr(self._model, "aclose", None)
        if close is not None:
            await close()

    async def reply(self, request: ChatRequest, emit: Emit) -> Reply:
        """Answer a request.

        Raises:
            ConfigError: It asks for something that cannot be combined with tools here.
            ModelError: The wrapped model gave no usable reply.
        """
        _check(request)
        asking = Asking(self._model, self._slots, emit)
        question, results = _open_question(request.messages)
        settings = replace(request.settings, tool_choice=None, parallel_tool_calls=None)
        if results:
            text = await answer(asking, question, results, settings)
            emit(TextDelta(text))
            return Reply(choices=(Choice(message=AssistantMessage(text), finish_reason="stop"),), usage=asking.usage)
        wanted = await _wanted(asking, " ".join(question.split()), request)
        if not wanted:
            messages = [each for each in request.messages if not isinstance(each, ToolMessage) and each.text]
            reply = await self._model.reply(replace(request, messages=messages, tools=(), settings=settings), emit)
            return replace(reply, usage=reply.usage + asking.usage)
        calls: list[ToolCall] = []
        for part, tool in wanted:
            arguments = json.dumps(await fill(asking, part, tool), ensure_ascii=False)
            call = ToolCall(uuid.uuid4().hex[:9], tool.name, arguments)
            emit(CallDelta(len(calls), call.id, call.name, arguments))
            calls.append(call)
        names = [name for name in _OF_TEXT if getattr(settings, name) is not None]
        adaptations = (f"{', '.join(names)}: not used to choose tools and arguments",) if names else ()
        for each in adaptations:
            emit(RequestAdapted(each))
        choice = Choice(message=AssistantMessage(None, tuple(calls)), finish_reason="tool_calls")
        return Reply(choices=(choice,), usage=asking.usage, adaptations=adaptations)


_OF_TEXT = (  # settings that a model would also use to write a call
    "temperature", "top_p", "seed", "frequency_penalty", "presence_penalty", "logit_bias", "logprobs", "top_logprobs",
    "reasoning_effort", "verbosity",
)  # fmt: skip


def _check(request: ChatRequest) -> None:
    if not request.tools:
        return
    for tool in request.tools:
        if not isinstance(tool, FunctionTool):
            raise ConfigError(f"ConstrainedTools cannot call the custom tool {tool.name!r}: give it a function")
    if (request.settings.n or 1) > 1:
        raise ConfigError(f"ConstrainedTools gives one answer when tools are offered, not n={request.settings.n}")


async def _wanted(asking: Asking, question: str, request: ChatRequest) -> Sequence[tuple[str, WantedTool]]:
    """Find the calls to make: the part of the question that each is for, and its tool."""
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
    """Find the user's question, and the calls made for it with their results.

    A user message after the results (the note of a run at its limit) does not begin a new question.
    """
    last = next((place for place in reversed(range(len(messages))) if isinstance(messages[place], ToolMessage)), None)
    spoken = [place for place, message in enumerate(messages) if isinstance(message, UserMessage)]
    answered = last is not None and not any(isinstance(each, AssistantMessage) for each in messages[last + 1 :])
    if answered and last is not None:
        asked = max((place for place in spoken if place < last), default=0)
        return messages[asked].text, list(messages[asked + 1 : last + 1])
    return (messages[spoken[-1]].text if spoken else ""), []
