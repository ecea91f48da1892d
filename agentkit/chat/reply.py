"""A finished reply of a model, and its usage.

Members that are not used are not checked: a server may leave them out, or send null or another type, and the reply
stays readable. A reply has a form for storing, `Reply.to_record`, which `read_reply` reads.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from types import UnionType
from typing import Any, Generic, Protocol, TypeAlias, TypeVar, cast, runtime_checkable

from agentkit.chat.content import AudioOutput
from agentkit.chat.events import Emit
from agentkit.chat.json_values import as_count, as_mapping, as_mappings, as_number, as_text, json_safe, omit
from agentkit.chat.messages import AssistantMessage, read_message
from agentkit.chat.request import ChatRequest
from agentkit.chat.settings import ResponseFormat
from agentkit.errors import ConfigError, ContentFiltered, IncompleteReply, InvalidReply, ModelError, ModelRetry, Refused

Out = TypeVar("Out")
Out_co = TypeVar("Out_co", covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens that a reply, or a whole run, used. What a server does not report counts as 0.

    Attributes:
        requests: Replies, including those without a usage report.
        prompt_tokens: Tokens of the requests.
        completion_tokens: Tokens of the replies, with ``reasoning_tokens``.
        total_tokens: Both.
        cached_tokens: Prompt tokens that came from a cache.
        cache_write_tokens: Prompt tokens that were written to a cache.
        reasoning_tokens: Completion tokens of reasoning.
        prompt_audio_tokens: Sound in the prompt.
        prompt_text_tokens: Text in the prompt.
        prompt_image_tokens: Images in the prompt.
        completion_audio_tokens: Sound in the completion.
        completion_text_tokens: Text in the completion.
        accepted_prediction_tokens: Tokens of ``prediction`` that were in the completion.
        rejected_prediction_tokens: Those that were not; they are billed all the same.
        cost: The cost in the server's currency; None if no server reported it (gateways do).
        estimated_tokens: Tokens in ``total_tokens`` that no server reported and a run estimated.
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
        """The larger of the two, number by number."""
        return self._combined(other, max)

    def __add__(self, other: Usage) -> Usage:
        return self._combined(other, operator.add)

    def _combined(self, other: Usage, operation: Callable[[Any, Any], Any]) -> Usage:
        combined: dict[str, Any] = {}
        for name in _USAGE:
            one, another = getattr(self, name), getattr(other, name)
            combined[name] = another if one is None else one if another is None else operation(one, another)
        return Usage(**combined)


_USAGE = tuple(each.name for each in fields(Usage))


_Bytes: TypeAlias = bytes  # the member of this name hides the type


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLogprob:
    """A token of the answer and how probable it was.

    Attributes:
        token: The token as text.
        logprob: The natural logarithm of its probability; -9999 stands for very improbable.
        bytes: Its UTF-8 bytes, if the server reports them: a character may spread over several tokens.
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
        """The probability, from 0 to 1."""
        return math.exp(min(self.logprob, 0.0))

    def to_record(self) -> dict[str, Any]:
        """The token as a server writes it."""
        return {
            **self.extra,
            "token": self.token,
            "logprob": self.logprob,
            "bytes": None if self.bytes is None else list(self.bytes),
            "top_logprobs": [each.to_record() for each in self.top_logprobs],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Logprobs:
    """The log probabilities of an answer: of its ``content``, and of its ``refusal``."""

    content: tuple[TokenLogprob, ...] = ()
    refusal: tuple[TokenLogprob, ...] = ()


_TRUNCATED = {
    "length": "the reply was truncated at its token limit",
    "content_filter": "the reply was truncated by a content filter",
}
_ADVICE = {"length": "make the call shorter", "content_filter": "leave out what the filter may object to"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One answer of a reply; there are several only with ``n`` above 1.

    Attributes:
        message: What goes into the conversation.
        finish_reason: The server's word for why the answer ended (``stop``, ``length``, ``tool_calls``, ...). It only
            says whether the answer is whole: the message shows whether there are calls. A server's own word for a
            token limit or a filter (``MAX_TOKENS``, ``SAFETY``) is ``length`` or ``content_filter`` here.
        logprobs: The log probabilities, if they were requested.
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
    def truncated(self) -> str:
        """Why the answer stopped early, in words, so that its calls may be unfinished; empty if it is whole."""
        return _TRUNCATED.get(self.finish_reason or "", "")

    @property
    def advice(self) -> str:
        """The hint for the model after a truncated answer with calls; empty if the answer is whole."""
        return _ADVICE.get(self.finish_reason or "", "")

    def to_record(self) -> dict[str, Any]:
        """The answer as JSON data."""
        record: dict[str, Any] = {"message": self.message.to_record(), "finish_reason": self.finish_reason}
        if self.logprobs is not None:
            record["logprobs"] = {
                "content": [each.to_record() for each in self.logprobs.content],
                "refusal": [each.to_record() for each in self.logprobs.refusal],
            }
        return {**record, "extra": json_safe(self.extra)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A finished reply of a model.

    Attributes:
        choices: The answers; nearly always one.
        usage: The tokens it used; numbers that the server does not report are 0.
        id: The server's id of the reply.
        model: The model that answered, as the server names it.
        created: When, in seconds since 1970; 0 if the server did not say.
        service_tier: The tier that served it.
        system_fingerprint: Changes when the server's configuration does (deprecated).
        metadata: That of the request, where the server repeats it.
        moderation: The findings of the server's moderation, as it writes them.
        repairs: A sentence for each thing that was wrong with the server's reply and was repaired.
        adaptations: A sentence for each change to the request that made the server accept it.
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
    repairs: tuple[str, ...] = ()
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
        """The first answer as speech, if that was requested."""
        return self.message.audio

    def to_record(self) -> dict[str, Any]:
        """The reply with all that is known about it, as JSON data; `read_reply` returns the same reply again."""
        return {
            "choices": [each.to_record() for each in self.choices],
            "usage": asdict(self.usage),
            "repairs": list(self.repairs),
            "adaptations": list(self.adaptations),
            **{name: json_safe(getattr(self, name)) for name in _PLAIN},
        }


_PLAIN: Mapping[str, Callable[[object], Any]] = {  # the members of a reply that are recorded as they are
    **dict.fromkeys(("id", "model", "service_tier", "system_fingerprint"), as_text),
    **dict.fromkeys(("metadata", "moderation", "extra"), as_mapping),
    "created": as_count,
}


def read_reply(record: Mapping[str, Any]) -> Reply:
    """Read a reply from its record.

    Raises:
        ValueError: It is not the record of a reply.
    """
    choices: list[Choice] = []
    for each in as_mappings(record.get("choices")):
        message = read_message(as_mapping(each.get("message")))
        if not isinstance(message, AssistantMessage):
            raise ValueError(f"the message of a reply is the assistant's, not the {message.role}'s")
        reason, logprobs = as_text(each.get("finish_reason")) or None, read_logprobs(each.get("logprobs"))
        choices.append(
            Choice(message=message, finish_reason=reason, logprobs=logprobs, extra=as_mapping(each.get("extra")))
        )
    if not choices:
        raise ValueError(f"the record of a reply has choices, not {dict(record)!r:.80}")
    usage = as_mapping(record.get("usage"))
    return Reply(
        choices=tuple(choices),
        usage=Usage(**{name: usage[name] for name in _USAGE if name in usage}),
        **{name: read(record.get(name)) for name, read in _PLAIN.items()},
        repairs=tuple(map(as_text, record.get("repairs") or ())),
        adaptations=tuple(map(as_text, record.get("adaptations") or ())),
    )


@runtime_checkable
class ReplyType(Protocol[Out_co]):
    """A type of values that a client requests and reads, such as a `TypedOutput` or an `OutputSchema`."""

    @property
    def response_format(self) -> ResponseFormat:
        """The response format that requests a value."""
        ...

    async def parse(self, text: str) -> tuple[Out_co, Sequence[str]]:
        """The value in the text of an answer, and a note on each repair.

        Raises:
            ModelRetry: There is no valid value.
        """
        ...


ReplyShape: TypeAlias = ReplyType[Out] | type[Out] | Sequence[type[Out]] | UnionType
"""The type of a reply: a type, a union or a list of types, or a `ReplyType`."""

REPLY_TYPES: list[Callable[[Any], ReplyType[Any]]] = []
"""Makers of a `ReplyType` from a Python type. This package knows no types: `agentkit.tools` adds its reader here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedReply(Reply, Generic[Out_co]):
    """A reply that was requested with a type for its answer.

    Attributes:
        parsed_or_none: The value of the first answer; None if it calls tools instead.
    """

    parsed_or_none: Out_co | None = None

    @property
    def parsed(self) -> Out_co:
        """The value of the first answer.

        Raises:
            ConfigError: It calls tools instead.
        """
        if self.message.tool_calls:
            raise ConfigError("this reply calls tools, so it has no value yet: answer its calls and ask again")
        return cast("Out_co", self.parsed_or_none)


def reply_type(shape: Any) -> ReplyType[Any]:
    """Return the `ReplyType` of a type.

    Raises:
        DefinitionError: No JSON Schema expresses it.
    """
    is_one = not isinstance(shape, type) and isinstance(shape, ReplyType)
    return cast("ReplyType[Any]", shape) if is_one else REPLY_TYPES[-1](shape)


async def parse_reply(kind: ReplyType[Out], reply: Reply) -> ParsedReply[Out]:
    """Read the value of a reply.

    Raises:
        Refused: The model declined.
        IncompleteReply: The reply was truncated at its token limit: what looks like a value may not be one.
        ContentFiltered: It was truncated by a filter.
        InvalidReply: It holds no valid value; the message says what is wrong, ``partial`` is its text.
    """
    members: dict[str, Any] = {each.name: getattr(reply, each.name) for each in fields(reply)}
    if reply.message.tool_calls:
        return ParsedReply(**members)
    if reply.message.refusal and not reply.text:
        raise Refused(f"the model declined to answer: {reply.message.refusal}")
    try:
        if reason := reply.choices[0].truncated:
            early = IncompleteReply if reply.finish_reason == "length" else ContentFiltered
            raise early(f"{reason}, so it holds no value")
        value, notes = await kind.parse(reply.text)
    except ModelError as error:
        error.partial = reply.text
        raise
    except ModelRetry as complaint:
        invalid = InvalidReply(f"the reply holds no valid value: {complaint}")
        invalid.partial = reply.text
        raise invalid from complaint
    members["repairs"] = (*reply.repairs, *notes)
    return ParsedReply(**members, parsed_or_none=value)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """The server and the model, for traces and records.

    Attributes:
        provider: The name of the server: that of a row of `PROVIDERS`, or its host.
        model: The model's name there.
        address: Its address, without secrets; empty if it has none.
    """

    provider: str
    model: str
    address: str = ""


@runtime_checkable
class Model(Protocol):
    """Anything that answers a request: a client of a server, a script in a test, a wrapper around another model.

    ``reply`` returns a finished reply and emits deltas and other events on the way. It raises `ModelError` when there
    is no usable reply. A model may also have an attribute ``info``, a `ModelInfo`.
    """

    async def reply(self, request: ChatRequest, emit: Emit) -> Reply:
        """Answer a request."""
        ...


# Where each number is in a report: in which of its objects, and under which name; of several places, the first that
# holds one counts. The last are those of DeepSeek and of gateways to Anthropic's models.
_PROMPT, _COMPLETION = "prompt_tokens_details", "completion_tokens_details"
_PLACES: Mapping[str, tuple[tuple[str, str], ...]] = {
    "prompt_tokens": (("", "prompt_tokens"),),
    "completion_tokens": (("", "completion_tokens"),),
    "total_tokens": (("", "total_tokens"),),
    "cached_tokens": ((_PROMPT, "cached_tokens"), ("", "prompt_cache_hit_tokens"), ("", "cache_read_input_tokens")),
    "cache_write_tokens": ((_PROMPT, "cache_write_tokens"), ("", "cache_creation_input_tokens")),
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
    """Read a usage report; anything missing or not a number counts as 0."""
    report = as_mapping(raw)
    objects = {"": report, _PROMPT: as_mapping(report.get(_PROMPT)), _COMPLETION: as_mapping(report.get(_COMPLETION))}
    counts = dict.fromkeys(_PLACES, 0)
    for name, places in _PLACES.items():
        for where, member in places:
            counts[name] = counts[name] or (as_count(objects[where][member]) if member in objects[where] else 0)
    counts["total_tokens"] = counts["total_tokens"] or counts["prompt_tokens"] + counts["completion_tokens"]
    return Usage(requests=1, cost=as_number(report.get("cost")), **counts)


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
            extra=omit(item, "token", "logprob", "bytes", "top_logprobs"),
        )
        for item in as_mappings(raw)
        if (logprob := as_number(item.get("logprob"))) is not None
    )


def _bytes(raw: object) -> _Bytes | None:
    try:
        return bytes(cast("list[int]", raw)) if isinstance(raw, list) else None
    except (TypeError, ValueError):
        return None
