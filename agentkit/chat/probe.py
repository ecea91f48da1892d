"""What a model and its server can do, found out by asking: a handful of small requests, each with a look at the reply.

Works for any `Model`. A `ChatClient` learns on the way, so its ``profile`` is the better for it.
"""

from __future__ import annotations

import base64
import json
import struct
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from agentkit.chat.events import Event, TextDelta
from agentkit.chat.messages import (
    AssistantMessage,
    DeveloperMessage,
    ImagePart,
    Message,
    SystemMessage,
    TextPart,
    ToolCall,
    ToolMessage,
    UserMessage,
)
from agentkit.chat.profile import NO_FACTS, Profile
from agentkit.chat.reply import Model, Reply
from agentkit.chat.request import ChatRequest, FunctionTool
from agentkit.chat.settings import ChatSettings, NamedTool
from agentkit.chat.tolerant import as_mapping
from agentkit.errors import BadRequest, ContextTooLong, ModelError, NotFound, Overloaded, StatusError

__all__ = ["Finding", "Verdict", "probe"]

Verdict: TypeAlias = Literal["yes", "adapted", "ignored", "no", "failed"]
"""``adapted``: another request had to stand in for the one that was asked for; ``ignored``: accepted, but not done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was tried.

    Attributes:
        name: What was tried.
        verdict: What came of it.
        note: More, in words.
        seconds: How long the request took.
    """

    name: str
    verdict: Verdict
    note: str = ""
    seconds: float = 0.0


async def probe(model: Model, found: Callable[[Finding], None]) -> Profile:
    """Try what matters to an agent and tell each finding as it comes.

    Returns:
        What is known of the model now, the limit of tokens that it ignores without a word included.

    Raises:
        ModelError: Not even a plain question is answered.
        ConfigError: The key is missing.
    """
    probing = _Probing(model, found)
    await probing.run(_CHECKS[0], required=True)
    for check in _CHECKS[1:]:
        await probing.run(check)
    known: Profile = getattr(model, "profile", NO_FACTS)
    if probing.verdicts[_NEW_LIMIT] == "ignored":
        await probing.run(_check(_COUNT, {_OLD_LIMIT: _is_cut}, max_tokens=_FEW))
        if probing.verdicts[_OLD_LIMIT] == "yes":
            known = known | Profile(token_limit="max_tokens")  # noqa: S106 - no password
    return known


@dataclass(frozen=True, slots=True)
class _Answer:
    reply: Reply
    in_pieces: bool


Look: TypeAlias = Callable[[_Answer], str]
"""Whether an answer has what it should: nothing, or in words what is missing."""


@dataclass(frozen=True, slots=True)
class _Check:
    request: ChatRequest
    looks: Mapping[str, Look]


@dataclass(slots=True)
class _Probing:
    model: Model
    found: Callable[[Finding], None]
    usual: tuple[str, ...] = ()  # adaptations that every request needs: they are told once
    verdicts: dict[str, Verdict] = field(default_factory=dict[str, Verdict])

    async def run(self, check: _Check, *, required: bool = False) -> None:
        events: list[Event] = []
        started = time.monotonic()
        try:
            reply = await self.model.reply(check.request, events.append)
        except ModelError as error:
            refused = isinstance(error, BadRequest | NotFound | ContextTooLong | Overloaded)
            if required or (not refused and getattr(error, "status", None) in (401, 402, 403)):
                raise
            said = f"{error.status}: {error.said}" if isinstance(error, StatusError) and error.said else str(error)
            for name in check.looks:
                self._tell(name, "no" if refused else "failed", said, started)
            return
        new = "; ".join(each for each in reply.adaptations if each not in self.usual)
        for name, look in check.looks.items():
            missing = look(_Answer(reply, any(isinstance(each, TextDelta) for each in events)))
            verdict: Verdict = "ignored" if missing else "adapted" if new else "yes"
            self._tell(name, verdict, "; ".join(filter(None, (missing, new))), started)
        if required:
            self.usual = reply.adaptations

    def _tell(self, name: str, verdict: Verdict, note: str, started: float) -> None:
        self.verdicts[name] = verdict
        self.found(Finding(name=name, verdict=verdict, note=note, seconds=round(time.monotonic() - started, 2)))


# What is asked, and how the replies are looked at.


def _has_text(answer: _Answer) -> str:
    return "" if answer.reply.text.strip() else f"no text (finish_reason {answer.reply.finish_reason})"


def _is_streamed(answer: _Answer) -> str:
    return "" if answer.in_pieces else "no pieces of text"


def _has_usage(answer: _Answer) -> str:
    return "" if answer.reply.usage.total_tokens else "no usage in the reply"


def _is_cut(answer: _Answer) -> str:
    tokens = answer.reply.usage.completion_tokens
    if answer.reply.finish_reason == "length" or 0 < tokens <= _FEW:
        return ""
    return f"{tokens or 'any number of'} tokens came, {_FEW} were allowed"


def _calls(*names: str) -> Look:
    def look(answer: _Answer) -> str:
        called = [call.name for call in answer.reply.message.tool_calls]
        return "" if called == list(names) else f"called {', '.join(called) or 'nothing'}"

    return look


def _fits(test: Callable[[Any], bool]) -> Look:
    def look(answer: _Answer) -> str:
        try:
            return "" if test(json.loads(answer.reply.text)) else "JSON of another form"
        except ValueError:
            return "no JSON"

    return look


def _sees_red(answer: _Answer) -> str:
    return "" if "red" in answer.reply.text.lower() else "the model does not say what is in the image"


def _check(prompt: str | Sequence[Message], looks: Mapping[str, Look], **options: Any) -> _Check:
    messages = [UserMessage(prompt)] if isinstance(prompt, str) else prompt
    tools, stream = options.pop("tools", ()), options.pop("stream", False)
    if not {"max_tokens", "max_completion_tokens"} & options.keys():
        options["max_completion_tokens"] = _MANY
    return _Check(ChatRequest(messages=messages, tools=tools, settings=ChatSettings(**options), stream=stream), looks)


def _red_image() -> str:
    """A red square as a data URL; some models refuse images of a few pixels."""
    size = 64

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress((b"\0" + b"\xff\0\0" * size) * size)
    header = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


_FEW, _MANY = 8, 400  # tokens
_NEW_LIMIT, _OLD_LIMIT = "limit of tokens (max_completion_tokens)", "limit of tokens (max_tokens)"
_COUNT = "Count from 1 to 100, each number on a line of its own."
_HELLO = UserMessage("Say hello.")
_CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
_CLOSED = {**_CITY, "additionalProperties": False}
_WEATHER = FunctionTool("get_weather", "Tell the weather in a city.", _CITY)
_STRICT = FunctionTool("get_weather", "Tell the weather in a city.", _CLOSED, strict=True)
_SONG = FunctionTool("find_song", "Find a song by its title.", {**_CITY, "properties": {"city": {"type": "string"}}})
_PARIS = "What is the weather in Paris? Use the tool."
_BOTH = "What is the weather in Paris and in Rome? Call the tool once for each city, both calls at once."
_FORM = {"type": "json_schema", "json_schema": {"name": "place", "schema": _CLOSED, "strict": True}}
_CALLED: Sequence[Message] = (
    UserMessage("What is the weather in Paris?"),
    AssistantMessage(None, (ToolCall("a1b2c3d4e", "get_weather", '{"city": "Paris"}'),)),
    ToolMessage("Sunny, 25 degrees.", "a1b2c3d4e"),
)

_CHECKS: tuple[_Check, ...] = (
    _check([_HELLO], {"plain reply": _has_text, "usage": _has_usage}),
    _check([_HELLO], {"streamed reply": _is_streamed, "usage in a stream": _has_usage}, stream=True),
    _check([SystemMessage("Be brief."), _HELLO], {"system message": _has_text}),
    _check([DeveloperMessage("Be brief."), _HELLO], {"developer message": _has_text}),
    _check(_COUNT, {_NEW_LIMIT: _is_cut}, max_completion_tokens=_FEW),
    _check(_PARIS, {"tool call": _calls("get_weather")}, tools=[_WEATHER]),
    _check(_PARIS, {"streamed tool call": _calls("get_weather")}, tools=[_WEATHER], stream=True),
    _check(_BOTH, {"several calls at once": _calls("get_weather", "get_weather")}, tools=[_WEATHER]),
    _check(_PARIS, {"one call at a time": _calls("get_weather")}, tools=[_WEATHER], parallel_tool_calls=False),
    _check(
        [_HELLO], {"tool by name": _calls("get_weather")}, tools=[_SONG, _WEATHER], tool_choice=NamedTool("get_weather")
    ),
    _check([_HELLO], {"forced call": _calls("get_weather")}, tools=[_WEATHER], tool_choice="required"),
    _check(_CALLED, {"result of a call": _has_text}, tools=[_WEATHER]),
    _check(_PARIS, {"strict tool": _calls("get_weather")}, tools=[_STRICT]),
    _check(
        "Where is the Eiffel Tower? Answer as JSON.",
        {"json_schema": _fits(lambda value: list(as_mapping(value)) == ["city"])},
        response_format=_FORM,
    ),
    _check(
        'Where is the Eiffel Tower? Answer as JSON: {"city": ...}',
        {"json_object": _fits(lambda value: isinstance(value, dict))},
        response_format={"type": "json_object"},
    ),
    _check(
        [UserMessage((TextPart("Which colour is this image? One word."), ImagePart(_red_image())))],
        {"image": _sees_red},
    ),
)
