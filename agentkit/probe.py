"""Find out what a model and its server can do by asking: a handful of small requests, each with a look at the reply.

Works for any `Model`. A `ChatClient` learns on the way, so its ``profile`` is the better for it.
"""

from __future__ import annotations

import base64
import json
import struct
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import anyio

from agentkit.chat import ChatRequest, ChatSettings, FunctionTool, Model, NamedTool, Profile, Reply
from agentkit.constrained import ConstrainedTools
from agentkit.errors import (
    BadRequest,
    ContextTooLong,
    DeadlineExceeded,
    InvalidReply,
    ModelError,
    NotFound,
    Overloaded,
    StatusError,
)
from agentkit.events import Event, TextDelta
from agentkit.messages import (
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

__all__ = ["CONSTRAINED", "REPLY_SECONDS", "Finding", "Verdict", "probe"]

CONSTRAINED = "tool call (ConstrainedTools)"
"""The finding about `ConstrainedTools`, which is tried where the model calls no tools by itself."""

REPLY_SECONDS = 30.0
"""The longest wait for one reply, unless `probe` is given another."""

Verdict: TypeAlias = Literal["yes", "adapted", "accepted only", "no", "unknown"]
"""``yes``: it was asked for and seen; ``adapted``: seen, after another request took the place of the refused one;
``accepted only``: the server took the request, but what was asked for did not come; ``no``: it is refused; ``unknown``:
the note says why nothing can be concluded."""

_REPLIES = 10  # of the longest kind fit into the time for all of them


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was tried.

    Attributes:
        name: What was tried.
        verdict: What came of it.
        note: More about it, in words.
        seconds: The time that the request took.
    """

    name: str
    verdict: Verdict
    note: str = ""
    seconds: float = 0.0


async def probe(model: Model, found: Callable[[Finding], None], *, seconds: float = REPLY_SECONDS) -> Profile:
    """Try what matters to an agent and report each finding as it comes.

    Args:
        model: The model.
        found: Gets each finding.
        seconds: The longest wait for one reply, whatever the model's own deadlines are; after ten times that nothing
            more is tried.

    Returns:
        What is known of the model now, including a limit of tokens that it silently ignores.

    Raises:
        ModelError: Not even a plain question is answered.
        ConfigError: The key is missing.
    """
    probing = _Probing(model, found, seconds)
    await probing.run(_CHECKS[0], required=True)
    for check in _CHECKS[1:]:
        await probing.run(check)
    known: Profile = getattr(model, "profile", Profile())
    if probing.verdicts[_NEW_LIMIT] == "accepted only":
        await probing.run(_check(_COUNT, {_OLD_LIMIT: _is_cut}, max_tokens=_FEW))
        if probing.verdicts[_OLD_LIMIT] == "yes":
            known = known | Profile(token_limit="max_tokens")  # noqa: S106 - no password
    if probing.verdicts["tool call"] in ("no", "accepted only"):
        constrained = _Probing(ConstrainedTools(model), found, seconds, probing.ends)
        await constrained.run(_check(_PARIS, {CONSTRAINED: _calls("get_weather")}, tools=[_WEATHER]))
    return known


@dataclass(frozen=True, slots=True)
class _Answer:
    reply: Reply
    in_chunks: bool


Look: TypeAlias = Callable[[_Answer], tuple[Verdict, str]]
"""Judges an answer: ``yes``, ``accepted only`` or ``unknown``, and a note."""


@dataclass(frozen=True, slots=True)
class _Check:
    request: ChatRequest
    looks: Mapping[str, Look]
    unlike: str = ""  # a check that must have been a "yes" for this one to mean anything: it asks for the opposite


@dataclass(slots=True)
class _Probing:
    model: Model
    found: Callable[[Finding], None]
    seconds: float
    ends: float = 0.0
    usual: tuple[str, ...] = ()  # adaptations that every request needs: they are reported once
    verdicts: dict[str, Verdict] = field(default_factory=dict[str, Verdict])

    async def run(self, check: _Check, *, required: bool = False) -> None:
        events: list[Event] = []
        started = time.monotonic()
        self.ends = self.ends or started + _REPLIES * self.seconds
        try:
            reply = await self._ask(check.request, events)
        except ModelError as error:
            if required or getattr(error, "status", None) in (401, 402, 403):
                raise
            said = f"{error.status}: {error.said}" if isinstance(error, StatusError) and error.said else str(error)
            for name in check.looks:
                self._report(name, "no" if _is_refusal(error) else "unknown", said, started)
            return
        new = "; ".join(each for each in reply.adaptations if each not in self.usual)
        answer = _Answer(reply, any(isinstance(each, TextDelta) for each in events))
        for name, look in check.looks.items():
            verdict, note = look(answer)
            if new and verdict != "unknown":  # either the other request works too, or nothing does
                verdict = "adapted" if verdict == "yes" else "no"
            elif verdict == "yes" and check.unlike and self.verdicts.get(check.unlike) not in ("yes", "adapted"):
                verdict, note = "unknown", f"it means nothing unless {check.unlike!r} is a yes"
            self._report(name, verdict, "; ".join(filter(None, (note, new))), started)
        if required:
            self.usual = reply.adaptations

    async def _ask(self, request: ChatRequest, events: list[Event]) -> Reply:
        left = self.ends - time.monotonic()
        if left <= 0:
            raise DeadlineExceeded(f"not tried: {_REPLIES * self.seconds:g} s are over", which="total")
        with anyio.move_on_after(min(self.seconds, left)):
            return await self.model.reply(request, events.append)
        raise DeadlineExceeded(f"no whole reply within {min(self.seconds, left):g} s", which="total")

    def _report(self, name: str, verdict: Verdict, note: str, started: float) -> None:
        self.verdicts[name] = verdict
        self.found(Finding(name=name, verdict=verdict, note=note, seconds=round(time.monotonic() - started, 2)))


# The requests, and how their replies are judged.


def _seen(answer: _Answer, seen: object, missing: str) -> tuple[Verdict, str]:
    """Judge what was looked for; a truncated reply says nothing about what is missing in it."""
    if seen:
        return "yes", ""
    if answer.reply.finish_reason == "length":
        return "unknown", f"the reply was truncated at the limit of {_MANY} tokens"
    return "accepted only", missing


def _has_text(answer: _Answer) -> tuple[Verdict, str]:
    reply = answer.reply
    return _seen(answer, reply.text.strip(), f"no text (finish_reason {reply.finish_reason})")


def _is_streamed(answer: _Answer) -> tuple[Verdict, str]:
    return _seen(answer, answer.in_chunks, "no chunks of text")


def _has_usage(answer: _Answer) -> tuple[Verdict, str]:
    return ("yes", "") if answer.reply.usage.total_tokens else ("accepted only", "no usage in the reply")


def _is_cut(answer: _Answer) -> tuple[Verdict, str]:
    tokens, text = answer.reply.usage.completion_tokens, answer.reply.text
    if answer.reply.finish_reason == "length" or tokens == _FEW:
        return "yes", ""
    if 0 < tokens < _FEW or (not tokens and len(text) <= _FEW):
        return "unknown", f"the answer was shorter than the limit of {_FEW} tokens by itself: {text[:60]!r}"
    return "accepted only", f"{tokens or 'any number of'} tokens came, {_FEW} were allowed"


def _says(*words: str) -> Look:
    """Look for one of the words, which nobody says without being asked to."""

    def look(answer: _Answer) -> tuple[Verdict, str]:
        text = answer.reply.text.strip()
        said = any(word in text.lower() for word in words)
        return _seen(answer, said, f"not obeyed: {words[0]!r} was to be in {text[:60]!r}")

    return look


def _calls(*names: str) -> Look:
    def look(answer: _Answer) -> tuple[Verdict, str]:
        called = [call.name for call in answer.reply.message.tool_calls]
        return _seen(answer, called == list(names), f"called {', '.join(called) or 'nothing'}")

    return look


def _calls_once(answer: _Answer) -> tuple[Verdict, str]:
    calls = answer.reply.message.tool_calls
    return _seen(answer, len(calls) == 1, f"{len(calls)} calls came") if calls else ("unknown", "no call came")


def _keeps_to_schema(answer: _Answer) -> tuple[Verdict, str]:
    calls = answer.reply.message.tool_calls
    if not calls:
        return "unknown", "no call came"
    written = calls[0].written
    with suppress(ValueError):
        if json.loads(written) in [{"color": each} for each in _COLORS]:
            return "yes", ""
    return "accepted only", f"not obeyed: the schema does not allow {written[:60]}"


def _fits(test: Callable[[Any], bool]) -> Look:
    def look(answer: _Answer) -> tuple[Verdict, str]:
        try:
            return _seen(answer, test(json.loads(answer.reply.text)), "JSON of another form")
        except ValueError:
            return _seen(answer, False, "no JSON")  # noqa: FBT003 - what was seen

    return look


def _is_refusal(error: ModelError) -> bool:
    """The server refused the request, or could do nothing with it, rather than having trouble of its own."""
    if isinstance(error, Overloaded):
        return error.status in (500, 501)
    return isinstance(error, BadRequest | NotFound | ContextTooLong | InvalidReply)


def _check(prompt: str | Sequence[Message], looks: Mapping[str, Look], **options: Any) -> _Check:
    messages = [UserMessage(prompt)] if isinstance(prompt, str) else prompt
    tools, stream = options.pop("tools", ()), options.pop("stream", False)
    unlike = options.pop("unlike", "")
    if not {"max_tokens", "max_completion_tokens"} & options.keys():
        options["max_completion_tokens"] = _MANY
    request = ChatRequest(messages=messages, tools=tools, settings=ChatSettings(**options), stream=stream)
    return _Check(request, looks, unlike)


def _yellow_image() -> str:
    """Make a square as a data URL, in a color that a model without eyes seldom guesses; some refuse a few pixels."""
    size = 64

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress((b"\0" + b"\xff\xff\0" * size) * size)
    header = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


_FEW, _MANY = 8, 400  # tokens
_NEW_LIMIT, _OLD_LIMIT = "limit of tokens (max_completion_tokens)", "limit of tokens (max_tokens)"
_COUNT = "Count from 1 to 100, each number on a line of its own."
_HELLO = UserMessage("Say hello.")
_ONLY = "Whatever the user says, answer with this one word and nothing else: {}"
_CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
_CLOSED = {**_CITY, "additionalProperties": False}
_WEATHER = FunctionTool("get_weather", "Tell the weather in a city.", _CITY)
_COLORS = ("red", "green", "blue")
_WALL = {
    "type": "object",
    "properties": {"color": {"type": "string", "enum": _COLORS}},
    "required": ["color"],
    "additionalProperties": False,
}
_STRICT = FunctionTool("paint_wall", "Paint the wall.", _WALL, strict=True)
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
    _check([SystemMessage(_ONLY.format("banana")), _HELLO], {"system message": _says("banana")}),
    _check([DeveloperMessage(_ONLY.format("tomato")), _HELLO], {"developer message": _says("tomato")}),
    _check(_COUNT, {_NEW_LIMIT: _is_cut}, max_completion_tokens=_FEW),
    _check(_PARIS, {"tool call": _calls("get_weather")}, tools=[_WEATHER]),
    _check(_PARIS, {"streamed tool call": _calls("get_weather")}, tools=[_WEATHER], stream=True),
    _check(_BOTH, {"several calls at once": _calls("get_weather", "get_weather")}, tools=[_WEATHER]),
    _check(
        _BOTH,
        {"one call at a time": _calls_once},
        tools=[_WEATHER],
        parallel_tool_calls=False,
        unlike="several calls at once",
    ),
    _check(
        [_HELLO], {"tool by name": _calls("get_weather")}, tools=[_SONG, _WEATHER], tool_choice=NamedTool("get_weather")
    ),
    _check([_HELLO], {"forced call": _calls("get_weather")}, tools=[_WEATHER], tool_choice="required"),
    _check(_CALLED, {"result of a call": _says("25", "sunny")}, tools=[_WEATHER]),
    _check(
        "Paint the wall purple. Use the tool, with exactly this color.",
        {"strict tool": _keeps_to_schema},
        tools=[_STRICT],
    ),
    _check(
        "Where is the Eiffel Tower? Answer as JSON.",
        {"json_schema": _fits(lambda value: isinstance(value, dict) and value.keys() == {"city"})},
        response_format=_FORM,
    ),
    _check(
        'Where is the Eiffel Tower? Answer as JSON: {"city": ...}',
        {"json_object": _fits(lambda value: isinstance(value, dict))},
        response_format={"type": "json_object"},
    ),
    _check(
        [UserMessage((TextPart("Which color is this image? One word."), ImagePart(_yellow_image())))],
        {"image": _says("yellow")},
    ),
)
