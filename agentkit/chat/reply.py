"""What a model answers: a finished reply, its usage, and the tolerant reading of both.

Members that servers leave out, send as null or with another type never make a reply unreadable, as long as they are
not needed: what is not used is not checked.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Protocol, TypeAlias, cast, runtime_checkable

from agentkit.chat.content import AudioOutput
from agentkit.chat.decoding.lenient import as_count, as_mapping, as_mappings, as_number, as_text, without
from agentkit.chat.events import Emit
from agentkit.chat.messages import AssistantMessage
from agentkit.chat.request import ChatRequest

__all__ = ["Choice", "Logprobs", "Model", "Reply", "TokenLogprob", "Usage", "read_logprobs", "read_usage"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens that a reply, or a whole run, took. What a server does not report counts as 0.

    Attributes:
        requests: Replies, also those without a usage report.
        prompt_tokens: Tokens of the requests.
        completion_tokens: Tokens of the replies, with ``reasoning_tokens``.
        total_tokens: Both.
        cached_tokens: Those of the prompt that came from a cache.
        cache_write_tokens: Those of the prompt that were put into a cache.
        reasoning_tokens: Those of the completion that were thought and not shown.
        prompt_audio_tokens: Sound in the prompt.
        prompt_text_tokens: Text in the prompt.
        prompt_image_tokens: Images in the prompt.
        completion_audio_tokens: Sound in the completion.
        completion_text_tokens: Text in the completion.
        accepted_prediction_tokens: Those of ``prediction`` that were in the completion.
        rejected_prediction_tokens: Those that were not; they are paid for all the same.
        cost: What it cost in the server's currency; None where no server said it (gateways do).
        estimated_tokens: Those of ``total_tokens`` that no server reported and a run estimated.
    """

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    prompt_audio_tokens: int = 0
    prompt_text_tokens: int = 0
    prompt_image_tokens: int = 0
    completion_audio_tokens: int = 0
    completion_text_tokens: int = 0
    accepted_prediction_tokens: int = 0
    rejected_prediction_tokens: int = 0
    cost: float | None = None
    estimated_tokens: int = 0

    def at_least(self, other: Usage) -> Usage:
        """Of each number the larger one."""
        return Usage(**{name: _larger(getattr(self, name), getattr(other, name)) for name in _USAGE})

    def __add__(self, other: Usage) -> Usage:
        return Usage(**{name: _sum(getattr(self, name), getattr(other, name)) for name in _USAGE})


_USAGE = tuple(each.name for each in fields(Usage))


def _larger(one: Any, other: Any) -> Any:
    return one if other is None else other if one is None else max(one, other)


def _sum(one: Any, other: Any) -> Any:
    return one if other is None else other if one is None else one + other


_Bytes: TypeAlias = bytes  # the member of this name hides the type


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLogprob:
    """A token of the answer and how probable it was.

    Attributes:
        token: The token as text.
        logprob: The natural logarithm of its probability; -9999 stands for very improbable.
        bytes: Its UTF-8 bytes, where they were told: a character may spread over several tokens.
        top_logprobs: The most probable tokens at this place.
        extra: Members that have no name here.
    """

    token: str
    logprob: float
    bytes: _Bytes | None = None
    top_logprobs: tuple[TokenLogprob, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def probability(self) -> float:
        """From 0 to 1."""
        return math.exp(min(self.logprob, 0.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Logprobs:
    """The log probabilities of an answer: of its ``content``, and of its ``refusal``."""

    content: tuple[TokenLogprob, ...] = ()
    refusal: tuple[TokenLogprob, ...] = ()


_CUT = {"length": "the reply was cut at its token limit", "content_filter": "the reply was cut by a filter"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One of the answers of a reply; there are several only with ``n`` above 1.

    Attributes:
        message: What goes into the transcript.
        finish_reason: The server's word for why the answer ended (``stop``, ``length``, ``tool_calls``, ...), which
            only tells whether it is whole: whether there are calls is seen from the message. A word of its own for a
            cut or a filter (``MAX_TOKENS``, ``SAFETY``) is ``length`` or ``content_filter`` here.
        logprobs: The log probabilities, if they were asked for.
        extra: Members of the answer and of its message that have no name here.
    """

    message: AssistantMessage
    finish_reason: str | None = None
    logprobs: Logprobs | None = None
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def text(self) -> str:
        """The answer's text."""
        return self.message.text

    @property
    def cut(self) -> str:
        """In words, that the answer stopped at the token limit or at a filter, so that its calls may be unfinished.

        Empty when it did not.
        """
        return _CUT.get(self.finish_reason or "", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A finished reply of a model.

    Attributes:
        choices: The answers; mostly one.
        usage: The tokens it took, with zeros where the server said nothing.
        id: The server's id of the reply.
        model: The model that answered, as the server names it.
        created: When, in seconds since 1970; 0 if the server did not say.
        service_tier: The tier that served it.
        system_fingerprint: Changes when the server's configuration does (deprecated).
        metadata: That of the request, where the server repeats it.
        moderation: What the server's moderation found, as it says it.
        mended: What the server got wrong and was put right, in words.
        adaptations: What of the request had to change for the server to take it, in words.
        extra: Members of the reply that have no name here.
    """

    choices: tuple[Choice, ...]
    usage: Usage = Usage(requests=1)
    id: str = ""
    model: str = ""
    created: int = 0
    service_tier: str = ""
    system_fingerprint: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    moderation: Mapping[str, Any] = field(default_factory=dict[str, Any])
    mended: tuple[str, ...] = ()
    adaptations: tuple[str, ...] = ()
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

    @property
    def audio(self) -> AudioOutput | None:
        """What the first answer says aloud, if that was asked for."""
        return self.message.audio


@runtime_checkable
class Model(Protocol):
    """Whatever answers a request: a client of a server, a script in a test, a wrapper around another model.

    ``reply`` returns a finished reply; what it sees on the way it tells through ``emit``. It raises `ModelError` when
    there is none.
    """

    async def reply(self, request: ChatRequest, emit: Emit) -> Reply:
        """Answer a request."""
        ...


# Where each number stands in a report; of several places, the first that holds one counts. The last are those of
# DeepSeek and of gateways in front of Anthropic's models.
_PROMPT, _COMPLETION = "prompt_tokens_details", "completion_tokens_details"
_PLACES: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "prompt_tokens": (("prompt_tokens",),),
    "completion_tokens": (("completion_tokens",),),
    "total_tokens": (("total_tokens",),),
    "cached_tokens": ((_PROMPT, "cached_tokens"), ("prompt_cache_hit_tokens",), ("cache_read_input_tokens",)),
    "cache_write_tokens": ((_PROMPT, "cache_write_tokens"), ("cache_creation_input_tokens",)),
    "reasoning_tokens": ((_COMPLETION, "reasoning_tokens"),),
    "prompt_audio_tokens": ((_PROMPT, "audio_tokens"),),
    "prompt_text_tokens": ((_PROMPT, "text_tokens"),),
    "prompt_image_tokens": ((_PROMPT, "image_tokens"),),
    "completion_audio_tokens": ((_COMPLETION, "audio_tokens"),),
    "completion_text_tokens": ((_COMPLETION, "text_tokens"),),
    "accepted_prediction_tokens": ((_COMPLETION, "accepted_prediction_tokens"),),
    "rejected_prediction_tokens": ((_COMPLETION, "rejected_prediction_tokens"),),
}


def read_usage(raw: object) -> Usage:
    """Read a usage report; what is missing or not a number counts as 0."""
    report = as_mapping(raw)
    counts = {name: next(filter(None, (_count(report, way) for way in ways)), 0) for name, ways in _PLACES.items()}
    counts["total_tokens"] = counts["total_tokens"] or counts["prompt_tokens"] + counts["completion_tokens"]
    return Usage(requests=1, cost=as_number(report.get("cost")), **counts)


def _count(report: Mapping[str, Any], way: tuple[str, ...]) -> int:
    value: object = report
    for name in way:
        value = as_mapping(value).get(name)
    return as_count(value)


def read_logprobs(raw: object) -> Logprobs | None:
    """Read log probabilities; tokens without a number are left out."""
    if not isinstance(raw, Mapping):
        return None
    members = as_mapping(cast("object", raw))
    return Logprobs(content=_tokens(members.get("content")), refusal=_tokens(members.get("refusal")))


def _tokens(raw: object) -> tuple[TokenLogprob, ...]:
    return tuple(
        TokenLogprob(
            token=as_text(item.get("token")),
            logprob=logprob,
            bytes=_bytes(item.get("bytes")),
            top_logprobs=_tokens(item.get("top_logprobs")),
            extra=without(item, "token", "logprob", "bytes", "top_logprobs"),
        )
        for item in as_mappings(raw)
        if (logprob := as_number(item.get("logprob"))) is not None
    )


def _bytes(raw: object) -> _Bytes | None:
    try:
        return bytes(cast("list[int]", raw)) if isinstance(raw, list) else None
    except (TypeError, ValueError):
        return None
