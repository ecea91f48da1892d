"""Every parameter of a Chat Completions request besides model, messages and tools, checked before anything is sent.

Names are those of the wire, in the `API reference <https://platform.openai.com/docs/api-reference/chat/create>`_.
A value out of the documented limits is refused in one sentence; a word that is merely newer than our list is not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from agentkit.chat.checks import check_settings
from agentkit.chat.choice import AllowedTools, NamedTool, ToolChoice
from agentkit.chat.options import (
    AudioOptions,
    ModerationOptions,
    Prediction,
    PromptCacheOptions,
    ResponseFormat,
    StreamOptions,
    WebSearchOptions,
)

__all__ = ["AllowedTools", "ChatSettings", "NamedTool", "ToolChoice"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatSettings:
    """Parameters of a request besides model, messages and tools. None means: not sent, the server's default holds.

    To send null, which is hardly ever needed, write ``extra_body={"stop": None}``. Objects are dicts as the API writes
    them; `agentkit.chat.options` says what each may hold.

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
