"""What a request must not hold, told in one sentence before anything is sent. Pure.

Limits are those of the `API reference <https://platform.openai.com/docs/api-reference/chat/create>`_. Words are open:
one that is merely newer than our list is never refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from agentkit.chat.choice import AllowedTools, NamedTool
from agentkit.chat.tolerant import as_mapping
from agentkit.errors import ConfigError

__all__ = ["check_settings", "is_tool_name"]

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
