"""Every parameter of a Chat Completions request besides model, messages and tools, checked before anything is sent.

Names are those of the wire, in the `API reference <https://platform.openai.com/docs/api-reference/chat/create>`_.
A value out of the documented limits is refused in one sentence; a word that is merely newer than our list is not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypeAlias

from agentkit.errors import ConfigError

__all__ = ["ChatSettings", "NamedTool", "ToolChoice"]


@dataclass(frozen=True, slots=True)
class NamedTool:
    """A `ToolChoice`: the model must call this tool."""

    name: str

    def to_wire(self) -> dict[str, Any]:
        """The choice as the API writes it."""
        return {"type": "function", "function": {"name": self.name}}


ToolChoice: TypeAlias = Literal["none", "auto", "required"] | NamedTool
"""Whether the model may (``auto``), must (``required``) or must not (``none``) call a tool; or which it must call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatSettings:
    """Parameters of a request besides model, messages and tools. None means: not sent, the server's default holds.

    Attributes:
        temperature: Randomness, 0 to 2 (server's default 1).
        top_p: Share of the probability mass that is drawn from, 0 to 1 (default 1).
        max_completion_tokens: Most tokens of a reply, reasoning included.
        max_tokens: The older name of the same; many servers know only this one. Not both.
        stop: One to four texts that end the reply.
        seed: For repeatable sampling where the server can.
        n: Number of replies, 1 to 128 (default 1).
        frequency_penalty: -2 to 2 (default 0).
        presence_penalty: -2 to 2 (default 0).
        logit_bias: Token id (digits) to bias, -100 to 100.
        logprobs: Whether to return log probabilities.
        top_logprobs: How many alternatives of each token, 0 to 20; needs ``logprobs``.
        reasoning_effort: For reasoning models: none, minimal, low, medium, high, xhigh, max.
        verbosity: low, medium, high.
        tool_choice: See `ToolChoice`; in a run, forcing holds for the first turn only.
        parallel_tool_calls: Whether one reply may hold several calls (default true).
        response_format: ``{"type": "json_schema", "json_schema": {...}}`` or ``{"type": "json_object"}``.
        modalities: What to answer with: text, audio.
        audio: ``{"voice": ..., "format": ...}``; needed when ``modalities`` has audio.
        prediction: ``{"type": "content", "content": ...}``: text that the reply will mostly repeat.
        web_search_options: ``{"search_context_size": ..., "user_location": {...}}``.
        service_tier: auto, default, flex, scale, priority, fast.
        store: Whether the server keeps the completion.
        metadata: At most 16 pairs; keys of 64, values of 512 characters.
        moderation: ``{"model": ..., "policy": {...}}``.
        prompt_cache_key: Groups requests that share a prefix.
        prompt_cache_options: ``{"mode": "implicit" or "explicit", "ttl": "30m"}``.
        prompt_cache_retention: in_memory, 24h (deprecated).
        safety_identifier: A stable, hashed id of the end user.
        user: Its deprecated predecessor.
        stream_options: ``{"include_usage": ..., "include_obfuscation": ...}``; streamed requests only.
        extra_body: Members of the body that have no name here, added as they are.
        extra_headers: Headers to add to the request.
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
    response_format: Mapping[str, Any] | None = None
    modalities: Sequence[str] | None = None
    audio: Mapping[str, Any] | None = None
    prediction: Mapping[str, Any] | None = None
    web_search_options: Mapping[str, Any] | None = None
    service_tier: str | None = None
    store: bool | None = None
    metadata: Mapping[str, str] | None = None
    moderation: Mapping[str, Any] | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: Mapping[str, Any] | None = None
    prompt_cache_retention: str | None = None
    safety_identifier: str | None = None
    user: str | None = None
    stream_options: Mapping[str, Any] | None = None
    extra_body: Mapping[str, Any] | None = None
    extra_headers: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        _check(self)

    def over(self, base: ChatSettings) -> ChatSettings:
        """These settings, with those of ``base`` where these say nothing."""
        return replace(base, **_given(self))

    def to_wire(self) -> dict[str, Any]:
        """The parameters as the API writes them, without tool choice, headers and extra members."""
        wire = _given(self)
        for name in ("tool_choice", "parallel_tool_calls", "extra_body", "extra_headers", "stream_options"):
            wire.pop(name, None)
        return wire


def _given(settings: ChatSettings) -> dict[str, Any]:
    values = ((each.name, getattr(settings, each.name)) for each in fields(settings))
    return {name: value for name, value in values if value is not None}


_RANGES: Mapping[str, tuple[float, float]] = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "frequency_penalty": (-2, 2),
    "presence_penalty": (-2, 2),
    "n": (1, 128),
    "top_logprobs": (0, 20),
    "max_completion_tokens": (1, float("inf")),
    "max_tokens": (1, float("inf")),
}


def _check(settings: ChatSettings) -> None:
    for name, (low, high) in _RANGES.items():
        value = getattr(settings, name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ConfigError(f"{name} must be a number, not {value!r}")
        if not low <= value <= high:
            limits = f"at least {low}" if high == float("inf") else f"from {low} to {high}"
            raise ConfigError(f"{name} is {value}, but must be {limits}")
    for complaint in _complaints(settings):
        raise ConfigError(complaint)


def _complaints(settings: ChatSettings) -> list[str]:
    stop, metadata = settings.stop, settings.metadata or {}
    too_long = [key for key, value in metadata.items() if len(key) > 64 or len(value) > 512]
    biases = (settings.logit_bias or {}).values()
    checks = [
        (settings.top_logprobs is not None and not settings.logprobs, "top_logprobs needs logprobs=True"),
        (
            settings.max_tokens is not None and settings.max_completion_tokens is not None,
            "max_tokens is the older name of max_completion_tokens: give only one of them",
        ),
        (
            stop is not None and not isinstance(stop, str) and not 1 <= len(stop) <= 4,
            "stop takes one to four texts",
        ),
        (len(metadata) > 16, f"metadata has {len(metadata)} pairs, but at most 16 are allowed"),
        (bool(too_long), f"metadata {too_long[:1]}: a key has at most 64 characters, a value 512"),
        (
            "audio" in (settings.modalities or ()) and settings.audio is None,
            'modalities has "audio", so audio={"voice": ..., "format": ...} must be given too',
        ),
        (any(not -100 <= bias <= 100 for bias in biases), "logit_bias values must be from -100 to 100"),
    ]
    return [complaint for wrong, complaint in checks if wrong]
