"""One request to a model: its encoding to bytes, and an estimate of the tokens that it takes.

Each model counts tokens by a vocabulary of its own. The estimate counts four ASCII characters as a token, a letter of
another alphabet as a half, a Chinese, Japanese or Korean character as one, and an emoji as one and a half. That is
close for English prose, and up to a third off for code, numbers and other languages. What is not text counts by rules
that differ from server to server: an image is a constant, sound and files go by their bytes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol, TypeAlias, cast, runtime_checkable

from agentkit.chat.content import AudioPart, ContentPart, FilePart, ImagePart, RefusalPart, TextPart
from agentkit.chat.json_values import as_mapping, as_mappings, as_text, encode_json, parse_json
from agentkit.chat.messages import AssistantMessage, FunctionMessage, Message, UserMessage, read_message
from agentkit.chat.settings import AllowedTools, ChatSettings, Parameters, choice_to_wire, chosen_tools, is_tool_name
from agentkit.errors import ConfigError

_MEMBERS = frozenset({"name", "description", "parameters", "strict", "format"})
_LISTS = ("content", "tool_calls")  # the members of a message that are lists of objects
_KNOWN = "estimated_tokens"  # what a message remembers
_MESSAGE = 4  # around each message, and around each call
_IMAGE, _SMALL_IMAGE = 1_000, 100
_FILE, _BYTES_OF_FILE = 1_000, 50  # the least a file takes; characters of base64 a token
_SOUND, _BYTES_OF_SOUND = 50, 2_000


@dataclass(frozen=True)  # no slots: `cached_property` keeps the encoded bytes in __dict__
class _Definition:
    name: str
    description: str = ""

    def to_wire(self) -> dict[str, Any]:
        """The tool as the API writes it."""
        raise NotImplementedError

    @cached_property
    def wire(self) -> bytes:
        """The tool as JSON, encoded once.

        Raises:
            ConfigError: No server would accept it.
        """
        for complaint in self._complaints():
            raise ConfigError(complaint)
        return encode_json(self.to_wire())

    def _complaints(self) -> Iterator[str]:
        if not is_tool_name(self.name):
            yield f"a tool is named {self.name!r}, but a name is 1 to 64 letters, digits, _ and -"


@dataclass(frozen=True)
class FunctionTool(_Definition):
    """A function the model may call.

    Attributes:
        name: 1 to 64 letters, digits, underscores and dashes.
        description: Its purpose; the model reads it.
        parameters: The JSON Schema of its arguments, an object.
        strict: Whether the server must follow the schema, which may then use only part of JSON Schema (default false).
        strict_parameters: The same schema in that part of JSON Schema, sent instead of ``parameters`` if ``strict``.
    """

    parameters: Mapping[str, Any] = field(default_factory=lambda: {"type": "object", "properties": {}})
    strict: bool | None = None
    strict_parameters: Mapping[str, Any] | None = None

    def to_wire(self) -> dict[str, Any]:
        """The tool as the API writes it."""
        parameters = self.strict_parameters if self.strict and self.strict_parameters is not None else self.parameters
        function: dict[str, Any] = {"name": self.name, "parameters": dict(parameters)}
        if self.description:
            function["description"] = self.description
        if self.strict is not None:
            function["strict"] = self.strict
        return {"type": "function", "function": function}

    def _complaints(self) -> Iterator[str]:
        yield from super()._complaints()
        kind = self.parameters.get("type", "object")
        if kind != "object":
            yield f"the parameters of the tool {self.name} are a schema of the type {kind!r}, but must be an object"


@dataclass(frozen=True, slots=True)
class Grammar:
    """The grammar of a custom tool's input; ``syntax`` is ``"lark"`` or ``"regex"``."""

    syntax: str
    definition: str


@dataclass(frozen=True)
class CustomTool(_Definition):
    """A tool whose input is any string, or one that follows a grammar: a query, a program, a patch.

    Its calls are `ToolCall` values with an ``input``. Few servers know custom tools.

    Attributes:
        name: 1 to 64 letters, digits, underscores and dashes.
        description: Its purpose; the model reads it.
        grammar: The grammar of its input; None allows any string.
    """

    grammar: Grammar | None = None

    def to_wire(self) -> dict[str, Any]:
        """The tool as the API writes it."""
        custom: dict[str, Any] = {"name": self.name}
        if self.description:
            custom["description"] = self.description
        if self.grammar is not None:
            grammar = {"syntax": self.grammar.syntax, "definition": self.grammar.definition}
            custom["format"] = {"type": "grammar", "grammar": grammar}
        return {"type": "custom", "custom": custom}


ToolDefinition: TypeAlias = FunctionTool | CustomTool


@runtime_checkable
class Defined(Protocol):
    """Anything with a definition for the model, such as an `agentkit.Tool`."""

    @property
    def definition(self) -> ToolDefinition:
        """The tool as the model sees it."""
        ...


def read_tool(tool: object) -> ToolDefinition:
    """The definition of a `ToolLike`.

    Raises:
        ConfigError: It is not a tool; or, in the form of the API, it is neither a function nor a custom tool, has no
            name, or has a member that would be lost.
    """
    if isinstance(tool, FunctionTool | CustomTool):
        return tool
    if isinstance(tool, Defined):
        return tool.definition
    if not isinstance(tool, Mapping):
        raise ConfigError(f"{tool!r:.80} is not a tool; @agentkit.tool makes one of a function")
    raw = as_mapping(cast("object", tool))
    function, custom = as_mapping(raw.get("function")), as_mapping(raw.get("custom"))
    name, description = as_text((function or custom).get("name")), as_text((function or custom).get("description"))
    if not name:
        raise ConfigError(f"a tool is {{'type': 'function', 'function': {{'name': ...}}}}, not {dict(raw)!r}")
    lost = (raw.keys() - {"type", "function", "custom"}) | ((function or custom).keys() - _MEMBERS)
    if lost:
        raise ConfigError(
            f"the tool {name!r} has members that have no name here ({', '.join(sorted(lost))}): leave them out, "
            "or give all tools in extra_body={'tools': [...]}"
        )
    if custom:
        grammar = as_mapping(as_mapping(custom.get("format")).get("grammar"))
        form = Grammar(as_text(grammar.get("syntax")), as_text(grammar.get("definition"))) if grammar else None
        return CustomTool(name, description, form)
    parameters = as_mapping(function.get("parameters")) or {"type": "object", "properties": {}}
    return FunctionTool(name, description, parameters, function.get("strict"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """One request to a model, the argument of `Model.reply`.

    Attributes:
        messages: The conversation.
        tools: The tools that the model may call.
        settings: Its parameters.
        stream: Whether the reply is streamed, so that its deltas can be shown as they come.
        used_ids: Ids of calls that are no longer among the messages; no call of the reply gets one of them.
    """

    messages: Sequence[Message]
    tools: Sequence[ToolDefinition] = ()
    settings: ChatSettings = ChatSettings()
    stream: bool = False
    used_ids: Collection[str] = frozenset()

    @property
    def call_ids(self) -> set[str]:
        """The ids of all earlier calls."""
        asked = {
            call.id for message in self.messages if isinstance(message, AssistantMessage) for call in message.tool_calls
        }
        return asked.union(self.used_ids)

    def encode(self, model: str, *, members: Mapping[str, Any] | None = None) -> bytes:
        """The body of the HTTP request, for the model of this name.

        ``tools``, ``tool_choice`` and ``parallel_tool_calls`` are left out without tools, as servers refuse them then.
        ``members``, if given, replace those that the method `members` makes.

        Raises:
            ConfigError: No server would accept it; nothing has been sent.
        """
        try:
            sent = [
                each.wire for each in self.messages if not (isinstance(each, AssistantMessage) and each.says_nothing)
            ]
            messages = b",".join(sent)
            for complaint in self._complaints(messages):
                raise ConfigError(complaint)
            start = encode_json(self.members(model) if members is None else members)[:-1]
            parts = [start, b',"messages":[', messages, b"]"]
            if self.tools:
                parts += [b',"tools":[', b",".join([tool.wire for tool in self.tools]), b"]"]
            return b"".join([*parts, b"}"])
        except (TypeError, ValueError, RecursionError) as error:
            raise ConfigError(f"the request holds what JSON cannot express: {error}") from error

    def members(self, model: str) -> dict[str, Any]:
        """The members of the body besides messages and tools."""
        body: dict[str, Any] = {"model": model, **self.settings.to_wire()}
        if self.stream:
            options = self.settings.stream_options
            body |= {"stream": True, "stream_options": {"include_usage": True} if options is None else dict(options)}
        if self.tools and self.settings.tool_choice is not None:
            body["tool_choice"] = choice_to_wire(self.settings.tool_choice)
        if self.tools and self.settings.parallel_tool_calls is not None:
            body["parallel_tool_calls"] = self.settings.parallel_tool_calls
        body |= self.settings.extra_body or {}
        return body

    def _complaints(self, messages: bytes) -> Iterator[str]:
        names = [tool.name for tool in self.tools]
        if not messages:
            yield "a request needs at least one message"
        if len(set(names)) < len(names):
            yield f"two tools are named {next(name for name in names if names.count(name) > 1)!r}"
        if isinstance(self.settings.tool_choice, AllowedTools) and not self.settings.tool_choice.tools:
            yield 'tool_choice allows no tool at all: name one, or write "none"'
        for name in chosen_tools(self.settings.tool_choice) if names else ():
            if name not in names:
                yield f"tool_choice names {name!r}, which is not one of the tools ({', '.join(names)})"
        if names and "tools" in (self.settings.extra_body or ()):
            yield "there are tools= and tools in extra_body: give only one of them"
        form = (self.settings.response_format or {}).get("type")
        if form == "json_object" and b"json" not in messages.lower():
            yield 'with response_format json_object the messages must ask for JSON: the word "json" is not in them'


Prompt: TypeAlias = str | Message | Sequence[Message | Mapping[str, Any]]
"""A question, a message, or a whole conversation; messages can be in the form of the API."""

ToolLike: TypeAlias = ToolDefinition | Defined | Mapping[str, Any]
"""A tool: a `FunctionTool` or `CustomTool`, anything with a ``definition``, or the form of the API."""


def request_of(
    prompt: Prompt,
    tools: Sequence[ToolLike],
    settings: ChatSettings | None,
    parameters: Parameters,
    *,
    stream: bool = False,
) -> ChatRequest:
    """The request of a prompt; a parameter by name takes precedence over the same one in ``settings``.

    Raises:
        ConfigError: A parameter, a message or a tool is malformed.
    """
    unknown = sorted(parameters.keys() - Parameters.__annotations__.keys())
    if unknown:
        hint = "client.stream(...) streams" if "stream" in unknown else "put what has no name here into extra_body"
        raise ConfigError(f"there is no such parameter: {', '.join(unknown)}; {hint}")
    base = cast("object", settings)
    if not isinstance(base, ChatSettings | None):
        raise ConfigError(f"settings= takes ChatSettings(...), not {settings!r:.80}")
    given: Sequence[object]
    if isinstance(prompt, str | Message):
        given = [UserMessage(prompt) if isinstance(prompt, str) else prompt]
    else:
        given = _listed(prompt, "a prompt is a question, a message like UserMessage('...'), or a list of messages")
    if not given:
        raise ConfigError("there are no messages: give a question or a conversation")
    return ChatRequest(
        messages=[each if isinstance(each, Message) else given_message(each) for each in given],
        tools=[read_tool(each) for each in _listed(tools, "tools= takes a list of tools")],
        settings=ChatSettings(**parameters).over(base or ChatSettings()),
        stream=stream,
    )


def given_message(raw: object) -> Message:
    """A message that a program gave in the form of the API, or as an object with ``model_dump``.

    Nothing that a program wrote may get lost, unlike what a server sent; null members are left out.

    Raises:
        ConfigError: It is not a message.
    """
    given = as_mapping(_plain(raw, 1))
    given = {name: _plain(value, 2) if name in _LISTS else value for name, value in given.items()}
    if "role" not in given:
        raise ConfigError(f"a message is like UserMessage('...') or {{'role': ..., 'content': ...}}, not {raw!r:.80}")
    try:
        parse_json(encode_json(given).decode())
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(f"a message holds what JSON cannot express: {error}") from error
    try:
        message = read_message(given)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    content: Any = given.get("content")
    readable = isinstance(content, str) or (content and as_mappings(content) == content)
    if not readable and (content or not isinstance(message, AssistantMessage | FunctionMessage)):
        raise ConfigError(
            f"the content of a message of the {message.role} is a string or a list of parts, not {content!r:.80}"
        )
    return message


def _plain(raw: Any, levels: int) -> Any:
    """The value with pydantic models, which other libraries have, as dicts.

    Members that are null are left out for this many levels of objects: further in, null may be data.
    """
    dump = getattr(raw, "model_dump", None)
    given: object = dump() if callable(dump) and not isinstance(raw, type) else raw
    if isinstance(given, Mapping):
        members = cast("Mapping[str, object]", given).items()
        return {name: _plain(value, levels - 1) for name, value in members if value is not None or levels < 1}
    return [_plain(each, levels) for each in cast("list[object]", given)] if isinstance(given, list | tuple) else given


def _listed(given: object, wanted: str) -> Sequence[object]:
    if isinstance(given, Sequence) and not isinstance(given, str | bytes):
        return cast("Sequence[object]", given)
    raise ConfigError(f"{wanted}, not {given!r:.80}")


# Tokens.


def size_of_text(text: str) -> int:
    """The tokens of a string."""
    if text.isascii():
        return -(-len(text) // 4)
    plain = len(text.encode("ascii", "ignore"))
    return -(-plain // 4) + (len(text.encode("utf-8", "surrogatepass")) - len(text) + 1) // 2


def size_of_messages(messages: Iterable[Message]) -> int:
    """The tokens of messages. Each is counted once: a message never changes."""
    found = 0
    for message in messages:
        known = message.__dict__.get(_KNOWN)
        if known is None:
            content, calls = message.content or "", message.tool_calls if isinstance(message, AssistantMessage) else ()
            known = _MESSAGE + sum(_MESSAGE + size_of_text(call.name) + size_of_text(call.written) for call in calls)
            known += size_of_text(content) if isinstance(content, str) else sum(map(_size_of_part, content))
            message.__dict__[_KNOWN] = known
        found += known
    return found


def size_of_request(request: ChatRequest) -> int:
    """The tokens of a request: its messages, its tools, and the schema that the answer must follow."""
    return size_of_messages(request.messages) + size_around(request)


def size_around(request: ChatRequest) -> int:
    """The tokens of a request besides its messages."""
    tools = sum(size_of_text(tool.wire.decode()) for tool in request.tools)
    form = request.settings.response_format
    return tools + (size_of_text(encode_json(dict(form)).decode()) if form else 0)


def _size_of_part(part: ContentPart) -> int:
    match part:
        case TextPart(text) | RefusalPart(text):
            return size_of_text(text)
        case ImagePart():
            return _SMALL_IMAGE if part.detail == "low" else _IMAGE
        case AudioPart():
            return max(_SOUND, len(part.data) // _BYTES_OF_SOUND)
        case FilePart():
            return max(_FILE, len(part.file_data or "") // _BYTES_OF_FILE)
        case _:
            return _IMAGE
