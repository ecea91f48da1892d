"""What a transcript is made of: the messages of Chat Completions, as values.

Shapes and order rules come from the `Chat Completions reference
<https://platform.openai.com/docs/api-reference/chat/create>`_. Every message is immutable and encodes itself to JSON
once (`wire`), so that a long transcript is not encoded again for every request. Members that this module does not
know are kept in ``extra`` and sent back as they came.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, TypeAlias, cast

from agentkit.chat.tolerant import as_mapping, as_mappings, as_text, without

__all__ = [
    "AssistantMessage",
    "AudioPart",
    "ContentPart",
    "DeveloperMessage",
    "FilePart",
    "ImagePart",
    "Message",
    "OtherPart",
    "SystemMessage",
    "TextPart",
    "ToolCall",
    "ToolMessage",
    "UserMessage",
    "encode_json",
    "read_message",
]

_SURROGATES = re.compile("[\ud800-\udfff]")


def encode_json(value: object) -> bytes:
    """Encode to compact UTF-8 JSON; lone surrogates, which no server accepts, become U+FFFD.

    Raises:
        TypeError: The value holds something that JSON cannot express.
        ValueError: It holds NaN, an infinity or itself.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    try:
        return text.encode()
    except UnicodeEncodeError:
        return _SURROGATES.sub("\ufffd", text).encode()


@dataclass(frozen=True, slots=True)
class TextPart:
    """A piece of text."""

    text: str

    def to_wire(self) -> dict[str, Any]:
        """The part as the API writes it."""
        return {"type": "text", "text": self.text}


@dataclass(frozen=True, slots=True)
class ImagePart:
    """An image by URL (``https:`` or ``data:``); ``detail`` is ``"auto"``, ``"low"`` or ``"high"``."""

    url: str
    detail: str | None = None

    def to_wire(self) -> dict[str, Any]:
        """The part as the API writes it."""
        image = {"url": self.url} if self.detail is None else {"url": self.url, "detail": self.detail}
        return {"type": "image_url", "image_url": image}


@dataclass(frozen=True, slots=True)
class AudioPart:
    """Sound as bytes; ``format`` is ``"wav"`` or ``"mp3"``."""

    data: bytes
    format: str

    def to_wire(self) -> dict[str, Any]:
        """The part as the API writes it."""
        audio = {"data": base64.b64encode(self.data).decode("ascii"), "format": self.format}
        return {"type": "input_audio", "input_audio": audio}


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePart:
    """A file: ``file_data`` (base64 or a data URL) with its ``filename``, or the ``file_id`` of an uploaded one."""

    filename: str | None = None
    file_data: str | None = None
    file_id: str | None = None

    def to_wire(self) -> dict[str, Any]:
        """The part as the API writes it."""
        members = {"filename": self.filename, "file_data": self.file_data, "file_id": self.file_id}
        return {"type": "file", "file": {name: value for name, value in members.items() if value is not None}}


@dataclass(frozen=True, slots=True)
class OtherPart:
    """A part of a type this version does not know, kept as it came."""

    raw: Mapping[str, Any]

    def to_wire(self) -> dict[str, Any]:
        """The part as it came."""
        return dict(self.raw)


ContentPart: TypeAlias = TextPart | ImagePart | AudioPart | FilePart | OtherPart
Content: TypeAlias = str | tuple[ContentPart, ...]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that the model wants.

    ``arguments`` is a JSON object as text. When the model wrote anything else, what it wrote is in ``malformed`` and
    ``arguments`` is ``"{}"``, as servers refuse a transcript whose arguments are not JSON.
    """

    id: str
    name: str
    arguments: str
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])
    malformed: str = ""

    @property
    def written(self) -> str:
        """The arguments as the model wrote them."""
        return self.malformed or self.arguments

    def to_wire(self) -> dict[str, Any]:
        """The call as the API writes it."""
        function = {"name": self.name, "arguments": self.arguments}
        return {**self.extra, "id": self.id, "type": "function", "function": function}


# Messages keep a __dict__ (no slots) for one reason: `cached_property` stores the encoded bytes in it.
@dataclass(frozen=True)
class _Message:
    role: ClassVar[str]

    def to_wire(self) -> dict[str, Any]:
        """The message as the API writes it."""
        raise NotImplementedError

    @cached_property
    def wire(self) -> bytes:
        """The message as JSON, encoded once."""
        return encode_json(self.to_wire())


@dataclass(frozen=True)
class _ContentMessage(_Message):
    content: Content
    name: str | None = field(default=None, kw_only=True)
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any], kw_only=True)

    def to_wire(self) -> dict[str, Any]:
        wire = {**self.extra, "role": self.role, "content": _content_to_wire(self.content)}
        if self.name is not None:
            wire["name"] = self.name
        return wire

    @property
    def text(self) -> str:
        """The text of the message, its other parts left out."""
        return _text_of(self.content)


@dataclass(frozen=True)
class SystemMessage(_ContentMessage):
    """What the model is to do, from the one who runs it."""

    role: ClassVar[str] = "system"


@dataclass(frozen=True)
class DeveloperMessage(_ContentMessage):
    """The same as `SystemMessage`, under the name that newer OpenAI models use."""

    role: ClassVar[str] = "developer"


@dataclass(frozen=True)
class UserMessage(_ContentMessage):
    """What the user says: text, or parts (text, images, audio, files)."""

    role: ClassVar[str] = "user"


@dataclass(frozen=True)
class ToolMessage(_Message):
    """The result of the call ``tool_call_id``."""

    role: ClassVar[str] = "tool"
    content: str
    tool_call_id: str
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any], kw_only=True)

    def to_wire(self) -> dict[str, Any]:
        """The message as the API writes it."""
        return {**self.extra, "role": "tool", "tool_call_id": self.tool_call_id, "content": self.content}

    @property
    def text(self) -> str:
        """The result."""
        return self.content


@dataclass(frozen=True)
class AssistantMessage(_Message):
    """What the model said: text, calls, or both; ``refusal`` says why it declined, ``reasoning`` how it thought.

    ``reasoning`` is not sent back: most servers refuse members they do not know.
    """

    role: ClassVar[str] = "assistant"
    content: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    refusal: str | None = field(default=None, kw_only=True)
    reasoning: str | None = field(default=None, kw_only=True)
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any], kw_only=True)

    def to_wire(self) -> dict[str, Any]:
        """The message as the API writes it."""
        wire: dict[str, Any] = {**self.extra, "role": "assistant", "content": self.content}
        if self.refusal is not None:
            wire["refusal"] = self.refusal
        if self.tool_calls:
            wire["tool_calls"] = [call.to_wire() for call in self.tool_calls]
        return wire

    @property
    def text(self) -> str:
        """The text of the message, empty when there is none."""
        return self.content or ""


Message: TypeAlias = SystemMessage | DeveloperMessage | UserMessage | AssistantMessage | ToolMessage

_CONTENT_MESSAGES: Mapping[str, type[SystemMessage | DeveloperMessage | UserMessage]] = {
    "system": SystemMessage,
    "developer": DeveloperMessage,
    "user": UserMessage,
}


def read_message(raw: Mapping[str, Any]) -> Message:
    """Read a message from its wire form, keeping members this version does not know.

    Raises:
        ValueError: The role is none of system, developer, user, assistant and tool.
    """
    role = raw.get("role")
    if role == "assistant":
        return _read_assistant(raw)
    if role == "tool":
        extra = without(raw, "role", "content", "tool_call_id")
        return ToolMessage(_text_of(_read_content(raw.get("content"))), str(raw.get("tool_call_id") or ""), extra=extra)
    kind = _CONTENT_MESSAGES.get(str(role))
    if kind is None:
        raise ValueError(f"a message has the role {role!r}; known are system, developer, user, assistant and tool")
    extra = without(raw, "role", "content", "name")
    return kind(_read_content(raw.get("content")), name=raw.get("name"), extra=extra)


def _read_assistant(raw: Mapping[str, Any]) -> AssistantMessage:
    content = raw.get("content")
    return AssistantMessage(
        None if content is None else _text_of(_read_content(content)),
        tuple(_read_call(call) for call in as_mappings(raw.get("tool_calls"))),
        refusal=raw.get("refusal"),
        extra=without(raw, "role", "content", "tool_calls", "refusal"),
    )


def _read_call(raw: Mapping[str, Any]) -> ToolCall:
    function = as_mapping(raw.get("function"))
    extra = without(raw, "id", "type", "function")
    arguments = function.get("arguments") or ""
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return ToolCall(str(raw.get("id") or ""), as_text(function.get("name")), text, extra)


def _read_content(raw: object) -> Content:
    if isinstance(raw, str):
        return raw
    return tuple(_read_part(part) for part in as_mappings(raw)) or ""


def _read_part(raw: Mapping[str, Any]) -> ContentPart:
    match raw:
        case {"type": "text", "text": str(text), **rest} if not rest:
            return TextPart(text)
        case {"type": "image_url", "image_url": {"url": str(url), **image}, **rest} if not rest:
            return ImagePart(url, cast("str | None", image.get("detail")))
        case {"type": "file", "file": {**file}, **rest} if not rest and file.keys() <= {
            "filename",
            "file_data",
            "file_id",
        }:
            return FilePart(**cast("dict[str, str]", file))
        case _:
            return OtherPart(raw)


def _content_to_wire(content: Content) -> str | list[dict[str, Any]]:
    return content if isinstance(content, str) else [part.to_wire() for part in content]


def _text_of(content: Content) -> str:
    if isinstance(content, str):
        return content
    return "".join(part.text for part in content if isinstance(part, TextPart))


def messages_from(raw: Sequence[Mapping[str, Any] | Message]) -> list[Message]:
    """Read several messages, each a value of this module or its wire form."""
    return [read_message(each) if isinstance(each, Mapping) else each for each in raw]
