"""The messages of Chat Completions as values.

Shapes and order rules come from the `Chat Completions reference
<https://platform.openai.com/docs/api-reference/chat/create>`_. A message is immutable and encoded to JSON once
(`wire`), so that a long conversation is not encoded again for every request. Members without a name here are kept in
``extra`` and sent back as they came.

A message has two forms. ``to_wire`` is what a request holds; servers refuse members they do not know, so what only
replies have (reasoning, citations, the bytes of a spoken answer) is left out. ``to_record`` has all of it, for storing,
and also ``meta``: what a program knows about a message, such as when it was made and by which agent. `read_message`
reads both.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, TypeAlias, cast

from agentkit.chat.content import (
    Annotation,
    AudioOutput,
    Content,
    ContentPart,
    TextPart,
    UrlCitation,
    content_to_wire,
    read_annotation,
    read_audio,
    read_content,
)
from agentkit.chat.json_values import as_mapping, as_mappings, as_text, encode_json, omit, parse_json, read_object
from agentkit.errors import ConfigError


@dataclass(frozen=True)  # no slots: `cached_property` stores the parsed arguments in __dict__
class ToolCall:
    """A tool call that a model made.

    A call of a custom tool has an ``input`` instead of arguments.

    Attributes:
        id: Ties the result to the call; unique within a conversation.
        name: The tool's name.
        arguments: A JSON object as a string; ``"{}"`` if the model wrote anything else, as servers refuse a
            conversation whose arguments are not JSON.
        extra: Members that have no name here, sent back as they came.
        malformed: What the model wrote, if that is not a JSON object.
        input: The input of a custom tool, any string; None for a function.
    """

    id: str
    name: str
    arguments: str
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])
    malformed: str = ""
    input: str | None = None

    @classmethod
    def custom(cls, id: str, name: str, input: str) -> ToolCall:  # noqa: A002 - the API's own words
        """A call of a custom tool."""
        return cls(id, name, "{}", input=input)

    @cached_property
    def has_valid_arguments(self) -> bool:
        """True if the arguments are a JSON object, as every server requires. In a reply they always are."""
        return self.input is not None or read_object(self.arguments) is not None

    @cached_property
    def parsed(self) -> dict[str, Any]:
        """The arguments as a dict, parsed once in the life of a call, see `parse_json`; do not change it.

        Raises:
            ValueError: ``arguments`` is not a JSON object.
        """
        try:
            arguments: object = parse_json(self.arguments)
        except ValueError:
            arguments = None
        if not isinstance(arguments, dict):
            raise ValueError(f"the arguments of {self.name} are not a JSON object: {self.arguments[:80]!r}")
        return cast("dict[str, Any]", arguments)

    @property
    def written(self) -> str:
        """The arguments, or the input, as the model wrote them."""
        return self.malformed or self.arguments if self.input is None else self.input

    def to_wire(self) -> dict[str, Any]:
        """The call as the API writes it."""
        if self.input is not None:
            return {**self.extra, "id": self.id, "type": "custom", "custom": {"name": self.name, "input": self.input}}
        function = {"name": self.name, "arguments": self.arguments}
        return {**self.extra, "id": self.id, "type": "function", "function": function}

    def to_record(self) -> dict[str, Any]:
        """The call for storing, with what the model wrote instead of valid arguments."""
        return {**self.to_wire(), "malformed": self.malformed} if self.malformed else self.to_wire()


def read_call(raw: Mapping[str, Any]) -> ToolCall:
    """Read a call from its wire form or its record."""
    id_, extra = str(raw.get("id") or ""), omit(raw, "id", "type", "function", "custom", "malformed")
    if not raw.get("function") and raw.get("custom"):
        custom = as_mapping(raw["custom"])
        return ToolCall(id_, as_text(custom.get("name")), "{}", extra, input=as_text(custom.get("input")))
    function = as_mapping(raw.get("function"))
    arguments = function.get("arguments") or ""
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return ToolCall(id_, as_text(function.get("name")), text, extra, as_text(raw.get("malformed")))


REASONING_FIELDS = ("reasoning_content", "reasoning", "reasoning_text")
"""The members in which servers return reasoning as text."""

_META = "agentkit"  # facts about a message that are never sent, in records only
_THOUGHTS = "thoughts"  # reasoning without a member of its own, in records only
_GOOD_NAME = re.compile(r"[^\s<|\\/>]+")


# Messages keep a __dict__ (no slots) for one reason: `cached_property` stores the encoded bytes in it.
@dataclass(frozen=True)
class _Message:
    role: ClassVar[str]
    _named: ClassVar[tuple[str, ...]] = ("name",)  # the members besides role and content, as the API names them
    content: Content | None
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any], kw_only=True)
    meta: Mapping[str, Any] = field(default_factory=dict[str, Any], kw_only=True, compare=False, repr=False)

    @property
    def text(self) -> str:
        """The text of the message, without its other parts; empty if there is none."""
        content = self.content or ""
        if isinstance(content, str):
            return content
        return "".join(part.text for part in content if isinstance(part, TextPart))

    def to_wire(self) -> dict[str, Any]:
        """The message as a request holds it."""
        wire = {**self.extra, "role": self.role, "content": content_to_wire(self.content)}
        for name in self._named:
            if (value := getattr(self, name)) is not None:
                wire[name] = value
        return wire

    def to_record(self) -> dict[str, Any]:
        """The message with everything known about it, as JSON data; `read_message` returns the same message again."""
        return self.to_wire() | ({_META: dict(self.meta)} if self.meta else {})

    @cached_property
    def wire(self) -> bytes:
        """The message as JSON, encoded once.

        Raises:
            ConfigError: No server would accept it (a malformed name, an empty list of parts).
        """
        for complaint in self._complaints():
            raise ConfigError(complaint)
        wire = self.to_wire()
        if isinstance(wire.get("content"), list):  # servers refuse an empty text next to other parts
            said = [part for part in wire["content"] if part != {"type": "text", "text": ""}]
            wire["content"] = said or wire["content"]
        return encode_json(wire)

    def _complaints(self) -> Iterator[str]:
        """Why no server would accept it."""
        name, content = getattr(self, "name", None), cast("object", self.content)
        if name is not None and not _GOOD_NAME.fullmatch(name):
            yield f"a message has the name {name!r:.80}; a name has no spaces and none of < | \\ / >"
        if isinstance(content, str) or (content is None and self.role == "assistant"):
            return
        parts = cast("Sequence[object]", content if isinstance(content, list | tuple) else (content,))
        if not parts:
            yield f"a message of the {self.role} has an empty list of parts; give it text, or one part"
        if not all(isinstance(each, ContentPart) for each in parts):
            yield (
                f"the content of a message of the {self.role} is a string or parts like (TextPart('...'),), "
                f"not {content!r:.80}"
            )


@dataclass(frozen=True)
class _ContentMessage(_Message):
    content: Content
    name: str | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class SystemMessage(_ContentMessage):
    """Instructions for the model from the developer of the program."""

    role: ClassVar[str] = "system"


@dataclass(frozen=True)
class DeveloperMessage(_ContentMessage):
    """The same as `SystemMessage`, under the name that newer OpenAI models use."""

    role: ClassVar[str] = "developer"


@dataclass(frozen=True)
class UserMessage(_ContentMessage):
    """A message of the user: text, or parts (text, images, audio, files)."""

    role: ClassVar[str] = "user"


@dataclass(frozen=True)
class ToolMessage(_Message):
    """The result of the call ``tool_call_id``: text, or text parts."""

    role: ClassVar[str] = "tool"
    _named: ClassVar[tuple[str, ...]] = ("tool_call_id",)
    content: Content
    tool_call_id: str

    def _complaints(self) -> Iterator[str]:
        yield from super()._complaints()
        if not self.tool_call_id:
            yield "a tool message names no call: give it the tool_call_id of the call it answers"


@dataclass(frozen=True)
class FunctionMessage(_Message):
    """The result of a call in the deprecated form ``function_call``; use `ToolMessage` instead."""

    role: ClassVar[str] = "function"
    content: str | None
    name: str

    def _complaints(self) -> Iterator[str]:
        """Nothing: it is deprecated, and servers differ."""
        yield from ()


@dataclass(frozen=True)
class AssistantMessage(_Message):
    """A message of the model: text, calls, or both.

    Attributes:
        content: Text, or text and refusal parts; replies always have text.
        tool_calls: The calls it makes.
        refusal: Why it declined.
        name: Distinguishes participants of the same role.
        audio: The spoken answer. Later requests hold its id, which expires; without an id, its transcript.
        reasoning: The reasoning that the server showed. It is not part of `to_wire`, as most servers refuse members
            they do not know; a server that requires it gets it back as `reasoning_members`.
        reasoning_field: The member that held it; empty if it came in ``reasoning_details`` or in the content.
        reasoning_details: Reasoning as objects, some of them signed or encrypted.
        annotations: The sources that the server names; never sent back. See ``citations``.
        extra: Members that have no name here, sent back as they came.
    """

    role: ClassVar[str] = "assistant"
    _named: ClassVar[tuple[str, ...]] = ("refusal", "name")
    content: Content | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    refusal: str | None = field(default=None, kw_only=True)
    name: str | None = field(default=None, kw_only=True)
    audio: AudioOutput | None = field(default=None, kw_only=True)
    reasoning: str | None = field(default=None, kw_only=True)
    reasoning_field: str = field(default=REASONING_FIELDS[0], kw_only=True)
    reasoning_details: tuple[Mapping[str, Any], ...] = field(default=(), kw_only=True)
    annotations: tuple[Annotation, ...] = field(default=(), kw_only=True)

    @property
    def text(self) -> str:
        """The text of the message, or what it spoke if it wrote nothing; empty if there is neither."""
        return super().text or (self.audio.transcript if self.audio else "")

    @property
    def citations(self) -> tuple[UrlCitation, ...]:
        """The pages that it cites."""
        return tuple(each for each in self.annotations if isinstance(each, UrlCitation))

    @property
    def is_empty(self) -> bool:
        """True if it has neither content nor calls, so that no server would accept it."""
        said = self.content is not None or self.refusal is not None or self.audio is not None
        return not said and not self.tool_calls and not self.extra.get("function_call")

    @cached_property
    def says_nothing(self) -> bool:
        """True if it is empty or only has empty text; it stays in the conversation, but is not sent."""
        return self.is_empty or (self.content in ("", ()) and replace(self, content=None).is_empty)

    def to_wire(self) -> dict[str, Any]:
        """The message as a request holds it."""
        wire = super().to_wire()
        if self.audio is not None and self.audio.id:
            wire["audio"] = {"id": self.audio.id}
        elif self.content is None and self.audio is not None:
            wire["content"] = self.audio.transcript
        if self.tool_calls:
            wire["tool_calls"] = [call.to_wire() for call in self.tool_calls]
        return wire

    def to_record(self) -> dict[str, Any]:
        """The message with everything known about it, as JSON data; `read_message` returns the same message again."""
        record = super().to_record() | self.reasoning_members
        record["content"] = content_to_wire(self.content)
        if self.reasoning is not None and not self.reasoning_field:
            record[_THOUGHTS] = self.reasoning
        if self.audio is not None:
            record["audio"] = self.audio.to_record()
        if self.annotations:
            record["annotations"] = [each.to_wire() for each in self.annotations]
        if self.tool_calls:
            record["tool_calls"] = [call.to_record() for call in self.tool_calls]
        return record

    @property
    def reasoning_members(self) -> dict[str, Any]:
        """The reasoning in the members that it came in, for a server that requires it besides `to_wire`."""
        members: dict[str, Any] = {}
        if self.reasoning is not None and self.reasoning_field:
            members[self.reasoning_field] = self.reasoning
        if self.reasoning_details:
            members["reasoning_details"] = [dict(each) for each in self.reasoning_details]
        return members

    def _complaints(self) -> Iterator[str]:
        yield from super()._complaints()
        ids = [call.id for call in self.tool_calls]
        if len(set(ids)) < len(ids):
            yield f"two calls of one assistant message have the same id ({', '.join(ids)})"


Message: TypeAlias = SystemMessage | DeveloperMessage | UserMessage | AssistantMessage | ToolMessage | FunctionMessage

_CONTENT_MESSAGES: Mapping[str, type[SystemMessage | DeveloperMessage | UserMessage]] = {
    "system": SystemMessage,
    "developer": DeveloperMessage,
    "user": UserMessage,
}


def read_message(raw: Mapping[str, Any]) -> Message:
    """Read a message from its wire form or its record, keeping members this version does not know.

    Raises:
        ValueError: The role is none of system, developer, user, assistant, tool and function.
    """
    meta = as_mapping(raw.get(_META))
    if meta:
        return replace(read_message(omit(raw, _META)), meta=meta)
    role, content = raw.get("role"), raw.get("content")
    name = as_text(raw.get("name")) or None
    if role == "assistant":
        return _read_assistant(raw, name)
    if role == "tool":
        extra = omit(raw, "role", "content", "tool_call_id")
        return ToolMessage(read_content(content), str(raw.get("tool_call_id") or ""), extra=extra)
    extra = omit(raw, "role", "content", "name")
    if role == "function":
        return FunctionMessage(content if isinstance(content, str) else None, name or "", extra=extra)
    kind = _CONTENT_MESSAGES.get(str(role))
    if kind is None:
        raise ValueError(f"a message has the role {role!r:.80}; known are system, developer, user, assistant and tool")
    return kind(read_content(content), name=name, extra=extra)


_ASSISTANT_MEMBERS = ("role", "content", "name", "tool_calls", "reasoning_details")


def _read_assistant(raw: Mapping[str, Any], name: str | None) -> AssistantMessage:
    content, refusal, audio = raw.get("content"), raw.get("refusal"), as_mapping(raw.get("audio"))
    spelled = next((each for each in (*REASONING_FIELDS, _THOUGHTS) if isinstance(raw.get(each), str)), "")
    return AssistantMessage(
        None if content is None else read_content(content),
        tuple(read_call(call) for call in as_mappings(raw.get("tool_calls"))),
        refusal=refusal if isinstance(refusal, str) else None,
        name=name,
        audio=read_audio(audio) if audio else None,
        reasoning=raw[spelled] if spelled else None,
        reasoning_field="" if spelled == _THOUGHTS else spelled or REASONING_FIELDS[0],
        reasoning_details=tuple(as_mappings(raw.get("reasoning_details"))),
        annotations=tuple(read_annotation(each) for each in as_mappings(raw.get("annotations"))),
        extra=omit(raw, *_ASSISTANT_MEMBERS, "refusal", "audio", "annotations", spelled),
    )
