"""The parameters of `ChatSettings` as keyword arguments, for `ChatClient.create` and `ChatClient.stream`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from agentkit.chat.choice import ToolChoice
from agentkit.chat.options import (
    AudioOptions,
    ModerationOptions,
    Prediction,
    PromptCacheOptions,
    ResponseFormat,
    StreamOptions,
    WebSearchOptions,
)

__all__ = ["Parameters"]


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
