"""The parameters of `ChatSettings` as keyword arguments, for `ChatClient.create` and `ChatClient.stream`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, NotRequired, TypeAlias, TypedDict

from agentkit.chat.decoding.lenient import as_mapping
from agentkit.errors import ConfigError

__all__ = [
    "AllowedTools",
    "ApproximateLocation",
    "AudioOptions",
    "ChatSettings",
    "Mode",
    "ModerationOptions",
    "ModerationPolicy",
    "NamedTool",
    "Parameters",
    "Prediction",
    "PromptCacheOptions",
    "ResponseFormat",
    "StreamOptions",
    "ToolChoice",
    "UserLocation",
    "VoiceId",
    "WebSearchOptions",
    "check_settings",
    "choice_to_wire",
    "chosen",
    "is_tool_name",
    "json_schema",
    "unforced",
]

ResponseFormat: TypeAlias = Mapping[str, Any]
"""``{"type": "text"}`` (the default), ``{"type": "json_object"}``, or what `json_schema` makes."""


def json_schema(
    name: str, schema: Mapping[str, Any], *, description: str = "", strict: bool | None = True
) -> ResponseFormat:
    """A ``response_format``: the answer is JSON of this schema.

    Args:
        name: 1 to 64 letters, digits, underscores and dashes.
        schema: The JSON Schema.
        description: What it is for; the model reads it.
        strict: Whether the server has to keep to the schema, which then may use only part of JSON Schema; None sends
            nothing.
    """
    members: dict[str, Any] = {"name": name, "schema": dict(schema)}
    if description:
        members["description"] = description
    if strict is not None:
        members["strict"] = strict
    return {"type": "json_schema", "json_schema": members}


class VoiceId(TypedDict):
    """A voice of one's own."""

    id: str


class AudioOptions(TypedDict):
    """How the answer sounds.

    Attributes:
        voice: alloy, ash, ballad, cedar, coral, echo, fable, marin, nova, onyx, sage, shimmer, verse; or a `VoiceId`.
        format: wav, aac, mp3, flac, opus, pcm16; a streamed answer is pcm16.
    """

    voice: str | VoiceId
    format: str


class Prediction(TypedDict):
    """Text that the answer will mostly repeat, for example the file that is to be changed: makes it faster.

    Attributes:
        type: content.
        content: The text, or text parts as the API writes them.
    """

    type: Literal["content"]
    content: str | Sequence[Mapping[str, Any]]


class ApproximateLocation(TypedDict, total=False):
    """Where the user roughly is.

    Attributes:
        city: ``Paris``?
        region: ``Brittany``?
        country: Two letters of ISO 3166, ``FR``?
        timezone: An IANA name, ``Europe/Paris``?
    """

    city: str
    region: str
    country: str
    timezone: str


class UserLocation(TypedDict):
    """Where the user is: ``{"type": "approximate", "approximate": {...}}``."""

    type: Literal["approximate"]
    approximate: ApproximateLocation


class WebSearchOptions(TypedDict, total=False):
    """Search the web for the answer; an empty one will do.

    Attributes:
        search_context_size: How much of what is found is read: low, medium (the default), high?
        user_location: Where the user is?
    """

    search_context_size: str
    user_location: UserLocation


class StreamOptions(TypedDict, total=False):
    """What a streamed reply has.

    Attributes:
        include_usage: A last chunk with the usage? agentkit asks for it unless these options are given.
        include_obfuscation: Padding that hides the length of the chunks (default true)?
    """

    include_usage: bool
    include_obfuscation: bool


class PromptCacheOptions(TypedDict, total=False):
    """How prompts are cached.

    Attributes:
        mode: implicit (the default); explicit caches up to parts with ``prompt_cache_breakpoint`` only?
        ttl: How long, ``30m``?
    """

    mode: str
    ttl: str


class Mode(TypedDict):
    """What happens with flagged text: ``score`` tells, ``block`` withholds."""

    mode: str


class ModerationPolicy(TypedDict, total=False):
    """What happens with flagged text of the request (``input``?) and of the answer (``output``?)."""

    input: Mode
    output: Mode


class ModerationOptions(TypedDict):
    """Moderation of request and answer.

    Attributes:
        model: The moderation model.
        policy: What happens with flagged text?
    """

    model: str
    policy: NotRequired[ModerationPolicy]


@dataclass(frozen=True, slots=True)
class NamedTool:
    """A `ToolChoice`: the model must call this tool; ``type`` is ``"custom"`` for a custom one."""

    name: str
    type: Literal["function", "custom"] = "function"

    def to_wire(self) -> dict[str, Any]:
        """The choice as the API writes it."""
        return {"type": self.type, self.type: {"name": self.name}}


@dataclass(frozen=True, slots=True)
class AllowedTools:
    """A `ToolChoice`: only these of the request's tools. With ``mode="required"`` the model must call one of them.

    Sending all tools and allowing some keeps the prompt the same, and so its cache.
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
"""Whether the model may (``auto``), must (``required``) or must not (``none``) call a tool; or which it may or must."""


def choice_to_wire(choice: ToolChoice | Mapping[str, Any]) -> Any:
    """The choice as the API writes it; one that is written so already stays as it is."""
    return choice.to_wire() if isinstance(choice, NamedTool | AllowedTools) else choice


def chosen(choice: object) -> tuple[str, ...]:
    """The tools that a choice names."""
    return (choice.name,) if isinstance(choice, NamedTool) else choice.names if isinstance(choice, AllowedTools) else ()


def unforced(choice: ToolChoice) -> ToolChoice:
    """The same choice without force: what holds after the call that was forced, as it would be forced for ever."""
    if isinstance(choice, AllowedTools):
        return AllowedTools(choice.tools)
    return "none" if choice == "none" else "auto"


_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_NO_LIMIT = float("inf")
_RANGES: Mapping[str, tuple[float, float]] = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "frequency_penalty": (-2, 2),
    "presence_penalty": (-2, 2),
    "n": (1, 128),
    "top_logprobs": (0, 20),
    "max_completion_tokens": (1, _NO_LIMIT),
    "max_tokens": (1, _NO_LIMIT),
    "seed": (-(2**63), 2**63 - 1),
}
_WHOLE = ("n", "top_logprobs", "max_completion_tokens", "max_tokens", "seed")
_KINDS: Mapping[str, tuple[Any, str]] = {
    **dict.fromkeys(("logprobs", "parallel_tool_calls", "store"), (bool, "True or False")),
    **dict.fromkeys(("reasoning_effort", "verbosity", "service_tier", "safety_identifier", "user"), (str, "a text")),
    **dict.fromkeys(("prompt_cache_key", "prompt_cache_retention"), (str, "a text")),
    **dict.fromkeys(
        ("response_format", "audio", "prediction", "web_search_options", "moderation"), (Mapping, "an object")
    ),
    **dict.fromkeys(("logit_bias", "metadata", "stream_options", "prompt_cache_options"), (Mapping, "an object")),
    **dict.fromkeys(("extra_body", "extra_headers"), (Mapping, "an object")),
    "tool_choice": ((str, NamedTool, AllowedTools, Mapping), "a word, NamedTool(...) or AllowedTools([...])"),
    "function_call": ((str, Mapping), "a word or an object"),
}
_NEEDED: Mapping[str, tuple[str, ...]] = {  # an object -> the members it must have
    "audio": ("voice", "format"),
    "prediction": ("type", "content"),
    "moderation": ("model",),
    "response_format": ("type",),
    "response_format.json_schema": ("name",),
    "web_search_options.user_location": ("type", "approximate"),
}


def is_tool_name(name: str) -> bool:
    """Whether a function or a schema may have this name."""
    return bool(_TOOL_NAME.fullmatch(name))


def check_settings(given: Mapping[str, Any]) -> None:
    """Check the parameters that were given.

    Raises:
        ConfigError: A value cannot work; the first that is found is told.
    """
    for complaints in (_kinds, _ranges, _members, _lists, _pairs, _together):
        for complaint in complaints(given):
            raise ConfigError(complaint)


def _kinds(given: Mapping[str, Any]) -> Iterator[str]:
    for name, (kind, said) in _KINDS.items():
        if name in given and not isinstance(given[name], kind):
            yield f"{name} must be {said}, not {given[name]!r}"


def _ranges(given: Mapping[str, Any]) -> Iterator[str]:
    for name, (low, high) in _RANGES.items():
        value = given.get(name, low)
        kind, said = (int, "a whole number") if name in _WHOLE else (int | float, "a number")
        if isinstance(value, bool) or not isinstance(value, kind):
            yield f"{name} must be {said}, not {value!r}"
        elif not low <= value <= high:
            limits = f"at least {low}" if high == _NO_LIMIT else f"from {low} to {high}"
            yield f"{name} is {value}, but must be {limits}"


def _members(given: Mapping[str, Any]) -> Iterator[str]:
    for path, needed in _NEEDED.items():
        value: Any = given
        for name in path.split("."):
            value = as_mapping(value).get(name)
        missing = [] if value is None else [name for name in needed if _is_missing(as_mapping(value), name)]
        if missing:
            yield f"{path} must have {' and '.join(missing)}"
    form = as_mapping(given.get("response_format"))
    schema = as_mapping(form.get("json_schema"))
    if form.get("type") == "json_schema" and not schema:
        yield 'a response_format of the type json_schema must have json_schema={"name": ..., "schema": {...}}'
    if schema and not is_tool_name(str(schema["name"])):
        yield f"the json_schema is named {schema['name']!r}, but a name is 1 to 64 letters, digits, _ and -"


def _is_missing(value: Mapping[str, Any], name: str) -> bool:
    """Whether a member is missing; one that is called like a type is needed for that type only."""
    if name != "type" and value.get("type") not in (None, "", name):
        return False
    return value.get(name) in (None, "")


def _lists(given: Mapping[str, Any]) -> Iterator[str]:
    stop = given.get("stop", "")
    if not isinstance(stop, str) and not (_is_list(stop) and 1 <= len(stop) <= 4 and _are_texts(stop)):
        yield "stop takes one to four texts"
    modalities = given.get("modalities", ("text",))
    if not (_is_list(modalities) and modalities and _are_texts(modalities)):
        yield f'modalities must be a list like ["text", "audio"], not {modalities!r}'
    if as_mapping(given.get("prediction")).get("content") == []:
        yield "the content of the prediction has no parts"
    functions = given.get("functions", ({"name": "f"},))
    if not (
        _is_list(functions) and 1 <= len(functions) <= 128 and all(as_mapping(each).get("name") for each in functions)
    ):
        yield 'functions takes 1 to 128 objects like {"name": ..., "parameters": {...}}'


def _pairs(given: Mapping[str, Any]) -> Iterator[str]:
    metadata = as_mapping(given.get("metadata"))
    if len(metadata) > 16:
        yield f"metadata has {len(metadata)} pairs, but at most 16 are allowed"
    for key, value in metadata.items():
        if not _are_texts((key, value)):
            yield f"metadata {key!r} is {value!r}, but keys and values are texts"
        elif len(key) > 64 or len(value) > 512:
            yield f"metadata {key[:64]!r} is too long: a key has at most 64 characters, a value 512"
    for token, bias in as_mapping(given.get("logit_bias")).items():
        if not str(token).isdecimal():
            yield f"logit_bias {token!r} is no id of a token: its keys are digits"
        elif not isinstance(bias, int | float) or not -100 <= bias <= 100:
            yield f"logit_bias {token} is {bias!r}, but must be a number from -100 to 100"


def _together(given: Mapping[str, Any]) -> Iterator[str]:
    if given.get("top_logprobs") is not None and not given.get("logprobs"):
        yield "top_logprobs needs logprobs=True"
    if {"max_tokens", "max_completion_tokens"} <= given.keys():
        yield "max_tokens is the older name of max_completion_tokens: give only one of them"
    if "audio" in given.get("modalities", ()) and "audio" not in given:
        yield 'modalities has "audio", so audio={"voice": ..., "format": ...} must be given too'
    if "function_call" in given and "functions" not in given:
        yield "function_call needs functions; for tools it is tool_choice"
    if len(given.get("safety_identifier", "")) > 128:
        yield "safety_identifier has more than 128 characters: send a hash of what identifies the user"
    if "messages" in given.get("extra_body", {}):
        yield "extra_body has messages: give them as the messages of the request"
    if given.get("extra_body", {}).get("n") is not None:
        yield "extra_body has n: give it by its own name, or only one of the answers is read"


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _are_texts(values: Sequence[object]) -> bool:
    return all(isinstance(each, str) for each in values)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatSettings:
    """Parameters of a request besides model, messages and tools. None means: not sent, the server's default holds.

    To send null, which is hardly ever needed, write ``extra_body={"stop": None}``. Objects are dicts as the API writes
    them; `agentkit.chat.settings` says what each may hold.

    Attributes:
        temperature: Randomness, 0 to 2 (server's default 1).
        top_p: Share of the probability mass that is drawn from, 0 to 1 (default 1).
        max_completion_tokens: Most tokens of a reply, reasoning included; at least 1.
        max_tokens: The older name of the same; many servers know only this one. Not both.
        stop: One to four texts that end the reply. Newest reasoning models refuse it.
        seed: For repeatable sampling where the server can; 64 bits (deprecated).
        n: Number of replies, 1 to 128 (default 1).
        frequency_penalty: -2 to 2 (default 0).
        presence_penalty: -2 to 2 (default 0).
        logit_bias: Token id (digits) to bias, -100 to 100.
        logprobs: Whether to return log probabilities (default false).
        top_logprobs: How many alternatives of each token, 0 to 20; needs ``logprobs``.
        reasoning_effort: For reasoning models: none, minimal, low, medium (default), high, xhigh, max.
        verbosity: low, medium (default), high.
        tool_choice: See `ToolChoice` (default auto); in a run, forcing holds for the first turn only.
        parallel_tool_calls: Whether one reply may hold several calls (default true).
        response_format: See `ResponseFormat` (default text).
        modalities: What to answer with: text, audio (default text).
        audio: How the answer sounds, see `AudioOptions`; needed when ``modalities`` has audio.
        prediction: Text that the reply will mostly repeat, see `Prediction`.
        web_search_options: Lets the model search the web, see `WebSearchOptions`.
        service_tier: auto (default), default, flex, scale, priority, fast.
        store: Whether the server keeps the completion (default false).
        metadata: At most 16 pairs; keys of 64, values of 512 characters.
        moderation: See `ModerationOptions`.
        prompt_cache_key: Groups requests that share a prefix.
        prompt_cache_options: See `PromptCacheOptions`.
        prompt_cache_retention: in_memory, 24h (deprecated).
        safety_identifier: A stable, hashed id of the end user, at most 128 characters.
        user: Its deprecated predecessor.
        stream_options: See `StreamOptions`; sent with streamed requests only.
        functions: The deprecated form of tools: 1 to 128 of ``{"name": ..., "description": ..., "parameters": ...}``.
        function_call: The deprecated form of ``tool_choice``: none, auto or ``{"name": ...}``; needs ``functions``.
        extra_body: Members of the body that have no name here, added as they are; they go before all others.
        extra_headers: Headers to add to the request.

    Raises:
        ConfigError: A value is out of its limits.
    """

    temperature: float | None = None
    top_p: float | None = None
    max_completion_tokens: int | None = None
    max_tokens: int | None = None
    stop: str | Sequence[str] | None = None
    seed: int | None = None
    n: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logit_bias: Mapping[str, int] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    reasoning_effort: str | None = None
    verbosity: str | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    modalities: Sequence[str] | None = None
    audio: AudioOptions | Mapping[str, Any] | None = None
    prediction: Prediction | Mapping[str, Any] | None = None
    web_search_options: WebSearchOptions | Mapping[str, Any] | None = None
    service_tier: str | None = None
    store: bool | None = None
    metadata: Mapping[str, str] | None = None
    moderation: ModerationOptions | Mapping[str, Any] | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: PromptCacheOptions | Mapping[str, Any] | None = None
    prompt_cache_retention: str | None = None
    safety_identifier: str | None = None
    user: str | None = None
    stream_options: StreamOptions | Mapping[str, Any] | None = None
    functions: Sequence[Mapping[str, Any]] | None = None
    function_call: str | Mapping[str, Any] | None = None
    extra_body: Mapping[str, Any] | None = None
    extra_headers: Mapping[str, str] | None = field(default=None, repr=False)  # may hold a key

    def __post_init__(self) -> None:
        check_settings(_given(self))

    def over(self, base: ChatSettings) -> ChatSettings:
        """These settings, with those of ``base`` where these say nothing."""
        given = _given(self)
        if given.keys() & _TOKEN_LIMITS:  # two names of one thing
            given = dict.fromkeys(_TOKEN_LIMITS) | given
        return replace(base, **given)

    def to_wire(self) -> dict[str, Any]:
        """The parameters as the API writes them, without tool choice, headers and extra members."""
        return {name: value for name, value in _given(self).items() if name not in _SENT_OTHERWISE}


_TOKEN_LIMITS = ("max_tokens", "max_completion_tokens")
_SENT_OTHERWISE = ("tool_choice", "parallel_tool_calls", "extra_body", "extra_headers", "stream_options")


def _given(settings: ChatSettings) -> dict[str, Any]:
    values = ((each.name, getattr(settings, each.name)) for each in fields(settings))
    return {name: value for name, value in values if value is not None}


class Parameters(TypedDict, total=False):
    """What can be given by name; `ChatSettings` says what each means and checks it."""

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
    response_format: ResponseFormat | None
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
