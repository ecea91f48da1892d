"""The request parameters that are objects, as the API writes them. A plain dict does as well: words are open.

``?`` in the descriptions marks what may be left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NotRequired, TypeAlias, TypedDict

__all__ = [
    "ApproximateLocation",
    "AudioOptions",
    "Mode",
    "ModerationOptions",
    "ModerationPolicy",
    "Prediction",
    "PromptCacheOptions",
    "ResponseFormat",
    "StreamOptions",
    "UserLocation",
    "VoiceId",
    "WebSearchOptions",
    "json_schema",
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
