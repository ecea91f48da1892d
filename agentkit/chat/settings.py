"""The parameters of a request besides model, messages and tools: `ChatSettings`, and `Parameters` for keywords.

Names and limits come from the `Chat Completions reference
<https://platform.openai.com/docs/api-reference/chat/create>`_; the table below has a row for each parameter.
"""

# ruff: noqa: RUF009 - `takes` makes fields

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import chain
from typing import Any, Literal, NamedTuple, NotRequired, TypeAlias, TypedDict

from agentkit.chat.json_schema import strict_form, why_not_strict
from agentkit.chat.json_values import as_mapping
from agentkit.errors import ConfigError

ResponseFormat: TypeAlias = Mapping[str, Any]
"""``{"type": "text"}`` (the default), ``{"type": "json_object"}``, or what `json_schema` makes."""


def json_schema(
    name: str, schema: Mapping[str, Any], *, description: str = "", strict: bool | None = True
) -> ResponseFormat:
    """A ``response_format`` that makes the answer JSON of this schema.

    Args:
        name: 1 to 64 letters, digits, underscores and dashes.
        schema: The JSON Schema.
        description: The purpose of the answer; the model reads it.
        strict: Whether the server must follow the schema. True sends it in the part of JSON Schema that strict servers
            take: each object is closed. None does not mention it.

    Raises:
        ConfigError: It cannot be strict; the message says which member is in the way.
    """
    form = strict_form(name, schema, strict=None, of_function=False) if strict else dict(schema)
    if form is None:
        place, reason = why_not_strict(schema, of_function=False) or ("", "")
        member = f"{place!r} " if place else ""
        raise ConfigError(f"the json_schema {name!r} cannot be strict: {member}{reason}; or give strict=None")
    members: dict[str, Any] = {"name": name, "schema": form}
    if description:
        members["description"] = description
    if strict is not None:
        members["strict"] = strict
    return {"type": "json_schema", "json_schema": members}


class VoiceId(TypedDict):
    """A custom voice."""

    id: str


class AudioOptions(TypedDict):
    """The voice and format of a spoken answer.

    Attributes:
        voice: alloy, ash, ballad, cedar, coral, echo, fable, marin, nova, onyx, sage, shimmer, verse; or a `VoiceId`.
        format: wav, aac, mp3, flac, opus, pcm16; a streamed answer is pcm16.
    """

    voice: str | VoiceId
    format: str


class Prediction(TypedDict):
    """Text that the answer will mostly repeat, for example a file to be changed, which makes the answer faster.

    Attributes:
        type: content.
        content: A string, or text parts as the API writes them.
    """

    type: Literal["content"]
    content: str | Sequence[Mapping[str, Any]]


class ApproximateLocation(TypedDict, total=False):
    """The approximate location of the user.

    Attributes:
        city: For example ``Paris``.
        region: For example ``Brittany``.
        country: Two letters of ISO 3166, for example ``FR``.
        timezone: An IANA name, for example ``Europe/Paris``.
    """

    city: str
    region: str
    country: str
    timezone: str


class UserLocation(TypedDict):
    """The location of the user: ``{"type": "approximate", "approximate": {...}}``."""

    type: Literal["approximate"]
    approximate: ApproximateLocation


class WebSearchOptions(TypedDict, total=False):
    """Lets the model search the web; all members are optional.

    Attributes:
        search_context_size: How much of the results the model reads: low, medium (the default), high.
        user_location: See `UserLocation`.
    """

    search_context_size: str
    user_location: UserLocation


class StreamOptions(TypedDict, total=False):
    """Options of a streamed reply.

    Attributes:
        include_usage: Send the usage in a last chunk; agentkit requests it unless these options are given.
        include_obfuscation: Pad the chunks to hide their lengths (default true).
    """

    include_usage: bool
    include_obfuscation: bool


class PromptCacheOptions(TypedDict, total=False):
    """Options of the prompt cache.

    Attributes:
        mode: implicit (the default), or explicit to cache only up to parts with ``prompt_cache_breakpoint``.
        ttl: How long the cache lasts, for example ``30m``.
    """

    mode: str
    ttl: str


class Mode(TypedDict):
    """The treatment of flagged text: ``score`` reports it, ``block`` withholds it."""

    mode: str


class ModerationPolicy(TypedDict, total=False):
    """The treatment of flagged text in the request (``input``) and in the answer (``output``)."""

    input: Mode
    output: Mode


class ModerationOptions(TypedDict):
    """Moderation of request and answer.

    Attributes:
        model: The moderation model.
        policy: What to do with flagged text.
    """

    model: str
    policy: NotRequired[ModerationPolicy]


@dataclass(frozen=True, slots=True)
class NamedTool:
    """A `ToolChoice` that makes the model call this tool; ``type`` is ``"custom"`` for a custom tool."""

    name: str
    type: Literal["function", "custom"] = "function"

    def to_wire(self) -> dict[str, Any]:
        """The choice as the API writes it."""
        return {"type": self.type, self.type: {"name": self.name}}


@dataclass(frozen=True, slots=True)
class AllowedTools:
    """A `ToolChoice` that allows only some of the request's tools; with ``mode="required"`` the model must call one.

    Sending all tools and allowing some keeps the prompt, and so its cache, the same.
    """

    tools: Sequence[str | NamedTool]
    mode: Literal["auto", "required"] = "auto"

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the tools."""
        return tuple(each if isinstance(each, str) else each.name for each in self.tools)

    def to_wire(self) -> dict[str, Any]:
        """The choice as the API writes it."""
        tools = [(NamedTool(each) if isinstance(each, str) else each).to_wire() for each in self.tools]
        return {"type": "allowed_tools", "allowed_tools": {"mode": self.mode, "tools": tools}}


ToolChoice: TypeAlias = Literal["none", "auto", "required"] | NamedTool | AllowedTools
"""The model may (``auto``), must (``required``) or must not (``none``) call a tool, or is limited to certain ones."""


def choice_to_wire(choice: ToolChoice | Mapping[str, Any]) -> Any:
    """The choice as the API writes it."""
    return choice.to_wire() if isinstance(choice, NamedTool | AllowedTools) else choice


def chosen_tools(choice: object) -> tuple[str, ...]:
    """The tools that a choice names."""
    return (choice.name,) if isinstance(choice, NamedTool) else choice.names if isinstance(choice, AllowedTools) else ()


def without_force(choice: ToolChoice) -> ToolChoice:
    """The same choice without force, for the turns after the forced call, which would otherwise be forced forever."""
    if isinstance(choice, AllowedTools):
        return AllowedTools(choice.tools)
    return "none" if choice == "none" else "auto"


_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def is_tool_name(name: str) -> bool:
    """True if a function or a schema may have this name."""
    return bool(_TOOL_NAME.fullmatch(name))


_WORDS: Mapping[type, str] = {
    str: "a string",
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    Mapping: "an object",
    Sequence: "a list",
}


class Kind(NamedTuple):
    """The values that a parameter takes: their types, the same in words, limits of numbers, and members of objects."""

    types: tuple[type, ...]
    words: str
    low: float
    high: float
    members: tuple[str, ...]

    def complaints(self, name: str, value: Any) -> Iterator[str]:
        """The complaints about the value of a parameter; a boolean is never a number."""
        if not isinstance(value, self.types) or (isinstance(value, bool) and bool not in self.types):
            yield f"{name} must be {self.words}, not {value!r:.80}"
        elif isinstance(value, int | float) and not self.low <= value <= self.high:
            limits = f"at least {self.low}" if self.high == math.inf else f"from {self.low} to {self.high}"
            yield f"{name} is {value}, but must be {limits}"
        elif missing := missing_members(as_mapping(value), self.members):
            yield f"{name} must have {' and '.join(missing)}"


def takes(
    *types: type,
    words: str = "",
    low: float = -math.inf,
    high: float = math.inf,
    members: tuple[str, ...] = (),
    secret: bool = False,
) -> Any:
    """A field for a parameter with values of these types, None by default; a secret one is left out of the repr."""
    kind = Kind((int, float) if types == (float,) else types, words or _WORDS[types[0]], low, high, members)
    return field(default=None, metadata={"kind": kind}, repr=not secret)


def missing_members(value: Mapping[str, Any], members: Iterable[str]) -> list[str]:
    """The members that an object lacks; one that is named like a type is required for that type only."""
    kind = value.get("type") or ""
    required = [each for each in members if each == "type" or kind in ("", each)] if "type" in members else members
    return [each for each in required if value.get(each) in (None, "")]


def are_strings(values: Iterable[object]) -> bool:
    """True if each value is a string."""
    return all(isinstance(each, str) for each in values)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatSettings:
    """Parameters of a request besides model, messages and tools. None is not sent: the server's default applies.

    To send null, which is hardly ever needed, write ``extra_body={"stop": None}``. Objects are dicts as the API writes
    them; `AudioOptions`, `Prediction` and the like are their types.

    Attributes:
        temperature: Randomness, 0 to 2 (server's default 1).
        top_p: Share of the probability mass to sample from, 0 to 1 (default 1).
        max_completion_tokens: The most tokens of a reply, reasoning included; at least 1.
        max_tokens: The older name of the same; many servers know only this one. Give one of the two.
        stop: One to four strings that end the reply. The newest reasoning models refuse it.
        seed: For repeatable sampling on servers that support it; 64 bits (deprecated).
        n: Number of replies, 1 to 128 (default 1).
        frequency_penalty: -2 to 2 (default 0).
        presence_penalty: -2 to 2 (default 0).
        logit_bias: Token id (digits) to bias, -100 to 100.
        logprobs: Whether to return log probabilities (default false).
        top_logprobs: Number of alternatives for each token, 0 to 20; needs ``logprobs``.
        reasoning_effort: For reasoning models: none, minimal, low, medium (default), high, xhigh, max.
        verbosity: low, medium (default), high.
        tool_choice: See `ToolChoice` (default auto); in a run, forcing holds for the first turn only.
        parallel_tool_calls: Whether one reply may hold several calls (default true).
        response_format: See `ResponseFormat` (default text).
        modalities: Forms of the answer: text, audio (default text).
        audio: See `AudioOptions`; required if ``modalities`` has audio.
        prediction: Text that the reply will mostly repeat, see `Prediction`.
        web_search_options: Lets the model search the web, see `WebSearchOptions`.
        service_tier: auto (default), default, flex, scale, priority, fast.
        store: Whether the server stores the completion (default false).
        metadata: At most 16 pairs; keys of 64, values of 512 characters.
        moderation: See `ModerationOptions`.
        prompt_cache_key: Groups requests that share a prefix.
        prompt_cache_options: See `PromptCacheOptions`.
        prompt_cache_retention: in_memory, 24h (deprecated).
        safety_identifier: A stable, hashed id of the end user, at most 128 characters.
        user: The deprecated predecessor of ``safety_identifier``.
        stream_options: See `StreamOptions`; sent with streamed requests only.
        functions: The deprecated form of tools: 1 to 128 of ``{"name": ..., "description": ..., "parameters": ...}``.
        function_call: The deprecated form of ``tool_choice``: none, auto or ``{"name": ...}``; needs ``functions``.
        extra_body: Members of the body that have no name here, added as they are; they take precedence.
        extra_headers: Headers to add to the request.

    Raises:
        ConfigError: A value is out of its limits.
    """

    temperature: float | None = takes(float, low=0, high=2)
    top_p: float | None = takes(float, low=0, high=1)
    max_completion_tokens: int | None = takes(int, low=1)
    max_tokens: int | None = takes(int, low=1)
    stop: str | Sequence[str] | None = takes(str, Sequence, words="one to four strings")
    seed: int | None = takes(int, low=-(2**63), high=2**63 - 1)
    n: int | None = takes(int, low=1, high=128)
    frequency_penalty: float | None = takes(float, low=-2, high=2)
    presence_penalty: float | None = takes(float, low=-2, high=2)
    logit_bias: Mapping[str, int] | None = takes(Mapping)
    logprobs: bool | None = takes(bool)
    top_logprobs: int | None = takes(int, low=0, high=20)
    reasoning_effort: str | None = takes(str)
    verbosity: str | None = takes(str)
    tool_choice: ToolChoice | None = takes(
        str, NamedTool, AllowedTools, Mapping, words="a word, NamedTool(...) or AllowedTools([...])"
    )
    parallel_tool_calls: bool | None = takes(bool)
    response_format: ResponseFormat | None = takes(Mapping, members=("type",))
    modalities: Sequence[str] | None = takes(list, tuple, words='a list like ["text", "audio"]')
    audio: AudioOptions | Mapping[str, Any] | None = takes(Mapping, members=("voice", "format"))
    prediction: Prediction | Mapping[str, Any] | None = takes(Mapping, members=("type", "content"))
    web_search_options: WebSearchOptions | Mapping[str, Any] | None = takes(Mapping)
    service_tier: str | None = takes(str)
    store: bool | None = takes(bool)
    metadata: Mapping[str, str] | None = takes(Mapping)
    moderation: ModerationOptions | Mapping[str, Any] | None = takes(Mapping, members=("model",))
    prompt_cache_key: str | None = takes(str)
    prompt_cache_options: PromptCacheOptions | Mapping[str, Any] | None = takes(Mapping)
    prompt_cache_retention: str | None = takes(str)
    safety_identifier: str | None = takes(str)
    user: str | None = takes(str)
    stream_options: StreamOptions | Mapping[str, Any] | None = takes(Mapping)
    functions: Sequence[Mapping[str, Any]] | None = takes(Sequence)
    function_call: str | Mapping[str, Any] | None = takes(str, Mapping, words="a word or an object")
    extra_body: Mapping[str, Any] | None = takes(Mapping)
    extra_headers: Mapping[str, str] | None = takes(Mapping, secret=True)  # it may hold a key

    def __post_init__(self) -> None:
        given = self._given()
        wrong_kinds = (_KINDS[name].complaints(name, value) for name, value in given.items())
        for complaint in chain(*wrong_kinds, self._wrong_objects(), self._wrong_lists(), self._wrong_pairs()):
            raise ConfigError(complaint)
        for complaint in self._wrong_together(given):
            raise ConfigError(complaint)

    def _wrong_objects(self) -> Iterator[str]:
        form = self.response_format or {}
        schema = as_mapping(form.get("json_schema"))
        if form.get("type") == "json_schema" and not schema:
            yield 'a response_format of the type json_schema must have json_schema={"name": ..., "schema": {...}}'
        if schema and not schema.get("name"):
            yield "response_format.json_schema must have name"
        elif schema and not is_tool_name(str(schema["name"])):
            yield f"the json_schema is named {schema['name']!r}, but a name is 1 to 64 letters, digits, _ and -"
        where = (self.web_search_options or {}).get("user_location")
        if where is not None and (missing := missing_members(as_mapping(where), ("type", "approximate"))):
            yield f"web_search_options.user_location must have {' and '.join(missing)}"
        if (self.prediction or {}).get("content") == []:
            yield "the content of the prediction has no parts"

    def _wrong_lists(self) -> Iterator[str]:
        if not isinstance(self.stop, str | None) and not (1 <= len(self.stop) <= 4 and are_strings(self.stop)):
            yield "stop must be one to four strings"
        if self.modalities is not None and not (self.modalities and are_strings(self.modalities)):
            yield f'modalities must be a list like ["text", "audio"], not {self.modalities!r}'
        functions = ({"name": "f"},) if self.functions is None else self.functions
        if not (1 <= len(functions) <= 128 and all(as_mapping(each).get("name") for each in functions)):
            yield 'functions must be 1 to 128 objects like {"name": ..., "parameters": {...}}'

    def _wrong_pairs(self) -> Iterator[str]:
        metadata = self.metadata or {}
        if len(metadata) > 16:
            yield f"metadata has {len(metadata)} pairs, but at most 16 are allowed"
        for key, value in metadata.items():
            if not are_strings((key, value)):
                yield f"metadata {key!r} is {value!r}, but keys and values must be strings"
            elif len(key) > 64 or len(value) > 512:
                yield f"metadata {key[:64]!r} is too long: a key has at most 64 characters, a value 512"
        biases: Mapping[Any, Any] = self.logit_bias or {}
        for token, bias in biases.items():
            if not str(token).isdecimal():
                yield f"logit_bias {token!r} is not the id of a token: its keys are digits"
            elif not isinstance(bias, int | float) or not -100 <= bias <= 100:
                yield f"logit_bias {token} is {bias!r}, but must be a number from -100 to 100"

    def _wrong_together(self, given: Mapping[str, Any]) -> Iterator[str]:
        extra = self.extra_body or {}
        if self.top_logprobs is not None and not self.logprobs:
            yield "top_logprobs needs logprobs=True"
        if given.keys() >= {*_TOKEN_LIMITS}:
            yield "max_tokens is the older name of max_completion_tokens: give only one of them"
        if "audio" in (self.modalities or ()) and self.audio is None:
            yield 'modalities has "audio", so audio={"voice": ..., "format": ...} must be given too'
        if self.function_call is not None and self.functions is None:
            yield "function_call needs functions; for tools it is tool_choice"
        if len(self.safety_identifier or "") > 128:
            yield "safety_identifier has more than 128 characters: send a hash of what identifies the user"
        if "messages" in extra:
            yield "extra_body has messages: give them as the messages of the request"
        if extra.get("n") is not None:
            yield "extra_body has n: give it by its own name, or only one of the answers is read"

    def over(self, base: ChatSettings) -> ChatSettings:
        """These settings, with those of ``base`` for parameters that are not given here."""
        given = self._given()
        if given.keys() & _TOKEN_LIMITS:  # two names of one thing
            given = dict.fromkeys(_TOKEN_LIMITS) | given
        return replace(base, **given)

    def to_wire(self) -> dict[str, Any]:
        """The parameters as the API writes them, without tool choice, headers and extra members."""
        return {name: value for name in _SENT if (value := getattr(self, name)) is not None}

    def _given(self) -> dict[str, Any]:
        return {name: value for name in _KINDS if (value := getattr(self, name)) is not None}


_TOKEN_LIMITS = ("max_tokens", "max_completion_tokens")
_KINDS: Mapping[str, Kind] = {each.name: each.metadata["kind"] for each in fields(ChatSettings)}
_SENT_OTHERWISE = {"tool_choice", "parallel_tool_calls", "extra_body", "extra_headers", "stream_options"}
_SENT = tuple(name for name in _KINDS if name not in _SENT_OTHERWISE)


class OtherParameters(TypedDict, total=False):
    """The parameters besides ``response_format``."""

    temperature: float | None
    top_p: float | None
    max_completion_tokens: int | None
    max_tokens: int | None
    stop: str | Sequence[str] | None
    seed: int | None
    n: int | None
    frequency_penalty: float | None
    presence_penalty: float | None
    logit_bias: Mapping[str, int] | None
    logprobs: bool | None
    top_logprobs: int | None
    reasoning_effort: str | None
    verbosity: str | None
    tool_choice: ToolChoice | None
    parallel_tool_calls: bool | None
    modalities: Sequence[str] | None
    audio: AudioOptions | Mapping[str, Any] | None
    prediction: Prediction | Mapping[str, Any] | None
    web_search_options: WebSearchOptions | Mapping[str, Any] | None
    service_tier: str | None
    store: bool | None
    metadata: Mapping[str, str] | None
    moderation: ModerationOptions | Mapping[str, Any] | None
    prompt_cache_key: str | None
    prompt_cache_options: PromptCacheOptions | Mapping[str, Any] | None
    prompt_cache_retention: str | None
    safety_identifier: str | None
    user: str | None
    stream_options: StreamOptions | Mapping[str, Any] | None
    functions: Sequence[Mapping[str, Any]] | None
    function_call: str | Mapping[str, Any] | None
    extra_body: Mapping[str, Any] | None
    extra_headers: Mapping[str, str] | None


class Parameters(OtherParameters, total=False):
    """The keywords of `ChatClient.create` and `ChatClient.stream`; `ChatSettings` explains and checks them."""

    response_format: ResponseFormat | None
