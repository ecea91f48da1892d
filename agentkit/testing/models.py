"""Models for tests: they answer without a network, through the same interface as a real one."""

from __future__ import annotations

import inspect
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, cast

from agentkit.chat import ChatRequest, Choice, Reply, Usage
from agentkit.errors import DefinitionError
from agentkit.events import CallDelta, Emit, TextDelta
from agentkit.messages import AssistantMessage, Message, ToolCall

__all__ = ["Answer", "Chunks", "FunctionModel", "ScriptedModel", "call"]


@dataclass(frozen=True, slots=True)
class Chunks:
    """An answer that is streamed in these chunks."""

    chunks: tuple[str, ...]

    def __init__(self, *chunks: str) -> None:
        object.__setattr__(self, "chunks", chunks)


Answer: TypeAlias = str | Chunks | ToolCall | Sequence[ToolCall] | AssistantMessage | Reply | Exception
"""An answer of a test model: a string, calls, a message, a whole reply, or an error to raise."""


def call(name: str, /, *, id: str = "", **arguments: Any) -> ToolCall:  # noqa: A002 - the API's own word
    """A call of the tool ``name``. Its default id is ``call_TURN_PLACE``, both counted from 1."""
    return ToolCall(id, name, json.dumps(arguments))


class FunctionModel:
    """A model that calls a function, which may be async, with the request to get the answer.

    Attributes:
        requests: All requests so far.
    """

    def __init__(self, function: Callable[[ChatRequest], Answer | Awaitable[Answer]]) -> None:
        self._function = function
        self.requests: list[ChatRequest] = []

    async def reply(self, request: ChatRequest, emit: Emit) -> Reply:
        """Answer with the function."""
        self.requests.append(request)
        answer = self._function(request)
        return _play(await answer if inspect.isawaitable(answer) else answer, emit, turn=len(self.requests))


class ScriptedModel:
    """A model that plays a script, one answer per request.

    ::

        model = ScriptedModel([[call("add", a=1, b=2), call("add", a=3, b=4)], "3 and 7."])

    Attributes:
        requests: All requests so far.
    """

    def __init__(self, script: Sequence[Answer]) -> None:
        self._script = list(script)
        self.requests: list[ChatRequest] = []

    @property
    def left(self) -> int:
        """The number of answers not requested yet."""
        return len(self._script) - len(self.requests)

    async def reply(self, request: ChatRequest, emit: Emit) -> Reply:
        """Play the next answer.

        Raises:
            AssertionError: The script has run out; the message shows the last request.
        """
        self.requests.append(request)
        if self.left < 0:
            raise AssertionError(
                f"the script has {len(self._script)} answer(s), but the model was asked {len(self.requests)} times; "
                f"the last request was:\n{_told(request)}"
            )
        return _play(self._script[len(self.requests) - 1], emit, turn=len(self.requests))


def _play(answer: Answer, emit: Emit, *, turn: int) -> Reply:
    if isinstance(answer, Exception):
        raise answer
    chunks = answer.chunks if isinstance(answer, Chunks) else ()
    reply = as_reply(answer, turn)
    for chunk in chunks or ([reply.text] if reply.text else []):
        emit(TextDelta(chunk))
    for index, each in enumerate(reply.message.tool_calls):
        emit(CallDelta(index, each.id, each.name, each.written))
    return reply


def as_reply(answer: Answer, turn: int) -> Reply:
    match answer:
        case Reply():
            return answer
        case AssistantMessage():
            message = answer
        case str():
            message = AssistantMessage(answer)
        case Chunks():
            message = AssistantMessage("".join(answer.chunks))
        case ToolCall():
            message = AssistantMessage(None, _with_ids([answer], turn))
        case _:
            try:
                message = AssistantMessage(None, _with_ids(cast("Sequence[ToolCall]", answer), turn))
            except (AttributeError, TypeError):
                raise DefinitionError(
                    "a model of a test answers with text, call(...), a list of calls, a message, a Reply or an "
                    f"exception, not with {answer!r:.80}"
                ) from None
    reason = "tool_calls" if message.tool_calls else "stop"
    return Reply(choices=(Choice(message=message, finish_reason=reason),), usage=Usage(requests=1))


def _with_ids(calls: Sequence[ToolCall], turn: int) -> tuple[ToolCall, ...]:
    return tuple(replace(each, id=each.id or f"call_{turn}_{place}") for place, each in enumerate(calls, start=1))


def _told(request: ChatRequest) -> str:
    lines = [f"  {_line(message)}" for message in request.messages]
    tools = ", ".join(tool.name for tool in request.tools) or "none"
    return "\n".join([*lines, f"  tools: {tools}; tool_choice: {request.settings.tool_choice or 'not set'}"])


def _line(message: Message) -> str:
    calls = message.tool_calls if isinstance(message, AssistantMessage) else ()
    called = ", ".join(f"{each.name}({each.arguments})" for each in calls)
    return f"{message.role}: {' '.join(filter(None, [message.text, called]))}"
