"""What a model answers: a finished reply, its usage, and the tolerant reading of both.

Members that servers leave out, send as null or with another type never make a reply unreadable, as long as they are
not needed: what is not used is not checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from agentkit.chat.events import Emit
from agentkit.chat.messages import AssistantMessage
from agentkit.chat.request import ChatRequest
from agentkit.chat.tolerant import as_count, as_mapping

__all__ = ["Choice", "Model", "Reply", "Usage", "read_usage"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens that a reply, or a whole run, took. ``requests`` counts replies, also those without a usage report."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            requests=self.requests + other.requests,
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            total_tokens=self.total_tokens + other.total_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
            reasoning_tokens=self.reasoning_tokens + other.reasoning_tokens,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One of the answers of a reply; there are several only with ``n`` above 1.

    Attributes:
        message: What goes into the transcript.
        finish_reason: The server's word for why the answer ended (``stop``, ``length``, ``tool_calls``, ...), which
            only tells whether it is whole: whether there are calls is seen from the message.
        logprobs: The log probabilities as the server sent them, joined over a stream.
    """

    message: AssistantMessage
    finish_reason: str | None = None
    logprobs: Mapping[str, Any] | None = None

    @property
    def cut(self) -> bool:
        """Whether the answer stopped at the token limit or at a filter, so that its calls may be unfinished."""
        return self.finish_reason in ("length", "content_filter")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A finished reply of a model.

    Attributes:
        choices: The answers; mostly one.
        usage: The tokens it took, with zeros where the server said nothing.
        id: The server's id of the reply.
        model: The model that answered, as the server names it.
        mended: What the server got wrong and was put right, in words.
        extra: Members of the reply that have no name here.
    """

    choices: tuple[Choice, ...]
    usage: Usage = Usage(requests=1)
    id: str = ""
    model: str = ""
    mended: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def message(self) -> AssistantMessage:
        """The first answer's message."""
        return self.choices[0].message

    @property
    def finish_reason(self) -> str | None:
        """Why the first answer ended."""
        return self.choices[0].finish_reason

    @property
    def text(self) -> str:
        """The first answer's text."""
        return self.message.text


@runtime_checkable
class Model(Protocol):
    """Whatever answers a request: a client of a server, a script in a test, a wrapper around another model.

    ``reply`` returns a finished reply; what it sees on the way it tells through ``emit``. It raises `ModelError` when
    there is none.
    """

    async def reply(self, request: ChatRequest, emit: Emit) -> Reply:
        """Answer a request."""
        ...


def read_usage(raw: object) -> Usage:
    """Read a usage report; what is missing or not a number counts as 0."""
    report = as_mapping(raw)
    prompt, completion = as_count(report.get("prompt_tokens")), as_count(report.get("completion_tokens"))
    return Usage(
        requests=1,
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=as_count(report.get("total_tokens")) or prompt + completion,
        cached_tokens=as_count(as_mapping(report.get("prompt_tokens_details")).get("cached_tokens")),
        reasoning_tokens=as_count(as_mapping(report.get("completion_tokens_details")).get("reasoning_tokens")),
    )
