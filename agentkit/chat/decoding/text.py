"""The text of an answer: reasoning, speech, and calls that a model wrote into it. Pure.

Servers without a parser for their model leave its marks in the text: ``<think>`` around its reasoning, and the marks of
calls. A mark counts only at the very beginning of an answer, or right after its reasoning: anywhere else it is a
quotation. From there on the text is held back until the answer is whole, as only then it is known whether it consists
of calls alone.

Each format of calls is known by its exact marks. Nothing is guessed: the whole text must consist of calls of offered
tools with complete arguments, or it stays text. Every parser takes time proportional to the length of the text.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

from agentkit.chat.events import Event, ReasoningDelta, TextDelta
from agentkit.chat.json_values import (
    WrittenNumber,
    as_mapping,
    as_mappings,
    as_text,
    join_surrogates,
    parse_json,
    read_object,
    write_json,
)

MAX_HELD = 1024 * 1024
"""The most characters that are held back because they may be calls; a longer text is text."""

_OPEN, _CLOSE = "<think>", "</think>"
_MAX_SPACE = 1000  # before <think>


@dataclass(slots=True, eq=False)
class TextScanner:
    """Reads the text of one answer.

    Attributes:
        marks: What calls begin with; empty where calls in the text are not looked for.
    """

    marks: tuple[str, ...] = ()
    _said: list[str] = field(default_factory=list[str])
    _size: int = 0  # of the text so far
    _reasoning: list[str] = field(default_factory=list[str])
    _held: list[str] = field(default_factory=list[str])
    _held_size: int = 0
    _rest: str = ""  # too short to tell yet
    _half: str = ""  # the first half of a surrogate pair
    _place: str = "start"  # start, reasoning, after (the reasoning), text, held

    @property
    def text(self) -> str:
        """The text so far, without reasoning and without what is held back."""
        return "".join(self._said)

    @property
    def reasoning(self) -> str:
        """The text between ``<think>`` and ``</think>``."""
        return "".join(self._reasoning).strip()

    @property
    def held(self) -> str:
        """The text that may be calls and has not been emitted."""
        return "".join(self._held)

    def has_said(self, text: str) -> bool:
        """True if the string is all that was said so far."""
        return len(text) == self._size and text == self.text

    def feed(self, text: str) -> Iterable[Event]:
        """Take the next text and return the events that it makes certain."""
        if not text.isascii() or self._half:
            text, self._half = self._half + text, ""
            if "\ud800" <= text[-1:] <= "\udbff":
                text, self._half = text[:-1], text[-1:]
            text = join_surrogates(text)
        return self._say(text) if self._place == "text" else self._read(text)

    def add(self, text: str) -> TextDelta | None:
        """Return the event for the next text if it can only be speech; None if only `feed` can tell."""
        if not text or self._place != "text" or not text.isascii() or self._half:
            return None
        self._said.append(text)
        self._size += len(text)
        return TextDelta(text)

    def finish(self) -> Iterator[Event]:
        """All text has arrived: what was waiting for more is text, and so is reasoning without an end."""
        if self._half:
            self._half = ""
            yield from self._read("\ufffd")
        rest, self._rest = self._rest, ""
        if self._place == "reasoning":
            rest = "".join([_OPEN, *self._reasoning, rest])
            self._reasoning.clear()
        yield from self._say(rest)

    def release(self, *, as_text: bool) -> Iterator[Event]:
        """Release what is held back: as text, or because it was read as calls."""
        held, self._held_size = self.held, 0
        self._held.clear()
        if as_text:
            yield from self._say(held)

    def _read(self, text: str) -> Iterator[Event]:
        if self._place == "text":
            yield from self._say(text)
            return
        if self._place == "held":
            yield from self._hold(text)
            return
        self._rest += text
        if self._place == "start":
            self._start()
        if self._place == "reasoning":
            yield from self._reason()
        if self._place == "after":
            self._rest = self._rest.lstrip()
        if self._place in ("beginning", "after"):
            yield from self._begin()

    def _start(self) -> None:
        beginning = self._rest.lstrip()
        near = len(self._rest) - len(beginning) <= _MAX_SPACE
        if near and beginning.startswith(_OPEN):
            self._rest, self._place = beginning[len(_OPEN) :], "reasoning"
        elif not near or not _OPEN.startswith(beginning):
            self._place = "beginning"

    def _reason(self) -> Iterator[Event]:
        thought, closed, rest = self._rest.partition(_CLOSE)
        if closed:
            self._rest, self._place = rest, "after"
        else:  # what may be the end of the reasoning waits
            last = thought.rfind(_CLOSE[0], max(0, len(thought) - len(_CLOSE) + 1))
            if last >= 0 and _CLOSE.startswith(thought[last:]):
                thought = thought[:last]
            self._rest = self._rest[len(thought) :]
        if thought:
            self._reasoning.append(thought)
            yield ReasoningDelta(thought)

    def _begin(self) -> Iterator[Event]:
        """Decide whether the text begins with the mark of a call, or wait for more of it."""
        beginning = self._rest.lstrip()
        if beginning.startswith(self.marks):
            space = self._rest[: len(self._rest) - len(beginning)]
            self._rest, self._place = "", "held"
            yield from self._say(space)
            yield from self._hold(beginning)
        elif not beginning or not any(mark.startswith(beginning) for mark in self.marks):
            rest, self._rest = self._rest, ""
            self._place = "text" if beginning else self._place
            yield from self._say(rest)

    def _hold(self, text: str) -> Iterator[Event]:
        self._held.append(text)
        self._held_size += len(text)
        if self._held_size > MAX_HELD:
            self._place = "text"
            yield from self.release(as_text=True)

    def _say(self, text: str) -> tuple[Event, ...]:
        if not text:
            return ()
        self._said.append(text)
        self._size += len(text)
        return (TextDelta(text),)


# ruff: noqa: RUF001 - the marks of DeepSeek are made of these characters


Offered: TypeAlias = Mapping[str, Mapping[str, Any]]
"""The tools of a request: name -> JSON Schema of the arguments."""

_Call: TypeAlias = tuple[str, object]
_Format: TypeAlias = Callable[[str, Offered], Iterator[_Call]]

_NONE: Mapping[str, Any] = {}
_JSON = json.JSONDecoder(strict=False, parse_float=WrittenNumber)
_SPACE = re.compile(r"\s*")
_ENDS = re.compile(
    r"(?:\s|;|</?s>|<\|(?:eom_id|eot_id|im_end|end|call|end_of_text|endoftext|return)\|>|<｜end▁of▁sentence｜>)*"
)


class _NoCalls(Exception):
    """The text does not consist of calls only."""


def read_calls(text: str, offered: Offered) -> list[tuple[str, str]]:
    """The calls that the text consists of, the name and the arguments of each; none if it is anything else."""
    for mark, read in _FORMATS:
        if not text.startswith(mark):
            continue
        try:
            calls = [_written(call) for call in read(text, offered)]
        except (_NoCalls, ValueError, RecursionError):
            continue
        if calls and all(name in offered for name, _ in calls):
            return calls
    return []


def read_failed_generation(text: str) -> list[tuple[str, str]]:
    """The calls in Groq's ``failed_generation``, which is known to be calls of any tools: name and arguments."""
    text = text.strip().removeprefix("<tool-use>").removesuffix("</tool-use>").strip()
    try:
        if text.startswith("<function="):
            return [_written(call) for call in _FUNCTION_UNCLOSED(text, {})]
        value: object = parse_json(text)
        calls = as_mappings(as_mapping(value).get("tool_calls")) or as_mappings(value) or [as_mapping(value)]
        return [_written(_from_object({**raw, **as_mapping(raw.get("function"))})) for raw in calls]
    except (_NoCalls, ValueError, RecursionError):
        return []


_KEY = re.compile(r'"((?:[^"\\]|\\.){1,64})"\s*:')


def read_rejected_call(text: str, offered: Offered) -> list[tuple[str, str]]:
    """The calls in text that a server reports as unparsable: the name and the arguments, as written, of each.

    There are none unless the text consists of calls of offered tools, or is arguments that fit exactly one of them,
    which may be malformed.
    """
    text = text.strip()
    if named := read_calls(text, offered):
        return named
    arguments = read_object(text)
    if arguments is not None and arguments.keys() == {"name", "arguments"}:
        named = read_failed_generation(text)
        return named if named and named[0][0] in offered else []
    keys = set(_KEY.findall(text)) if arguments is None else arguments.keys()
    fitting = [name for name, schema in offered.items() if keys and keys <= as_mapping(schema.get("properties")).keys()]
    return [(fitting[0], text)] if len(fitting) == 1 and text.startswith("{") else []


def _written(call: _Call) -> tuple[str, str]:
    """The name of a call, and its arguments as JSON with the digits that the model wrote."""
    name, arguments = call
    if isinstance(arguments, str):
        arguments = parse_json(arguments)
    if not isinstance(arguments, dict) or not name:
        raise _NoCalls
    return name.removeprefix("functions."), write_json(cast("dict[str, Any]", arguments))


def _from_object(raw: Mapping[str, Any]) -> _Call:
    return as_text(raw.get("name")), raw.get("arguments", raw.get("parameters", _NONE))


def _value_at(text: str, at: int) -> tuple[Any, int]:
    """The JSON value at a place, and where it ends."""
    return _JSON.raw_decode(text, _skip(_SPACE, text, at))


def _skip(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return found.end() if found else at


# The formats.


_HARMONY = re.compile(r"(?:<\|start\|>assistant)?<\|channel\|>([^<]{1,200})(?:<\|constrain\|>\s*json)?<\|message\|>")
_HARMONY_CALL = re.compile(r"commentary to=([\w.-]+)\s*")


def _harmony(text: str, _: Offered) -> Iterator[_Call]:
    """``<|channel|>commentary to=functions.name <|constrain|>json<|message|>{...}<|call|>``, after other channels."""
    at = 0
    while at < len(text):
        head = _HARMONY.match(text, at)
        if not head:
            raise _NoCalls
        if call := _HARMONY_CALL.fullmatch(head[1]):
            arguments, at = _value_at(text, head.end())
            yield call[1], arguments
            at = _skip(_ENDS, text, at)
        elif head[1] in ("analysis", "commentary") and (end := text.find("<|end|>", head.end())) >= 0:
            at = end + len("<|end|>")
        else:
            raise _NoCalls


def _by_object(before: str, after: str = "", *, opening: str = "", closing: str = "") -> _Format:
    """A format of calls around objects: patterns of the text before an object and after it.

    The name is a group of the first pattern, or a member of the object, which may also be an array of them.
    ``opening`` is a string before all calls, ``closing`` a pattern after them.
    """
    start, end, last = re.compile(before), re.compile(rf"\s*{after}"), re.compile(rf"(?:{closing})?$")

    def read(text: str, _: Offered) -> Iterator[_Call]:
        text, at = text.removeprefix(opening).strip(), 0
        while at < len(text) and not (at and last.match(text, at)):
            found = start.match(text, at)
            if not found:
                raise _NoCalls
            value, at = _value_at(text, found.end())
            if start.groups:
                yield found[1], value
            else:
                yield from map(_from_object, as_mappings(value) or [as_mapping(value)])
            ended = end.match(text, _skip(_ENDS, text, at))
            if not ended:
                raise _NoCalls
            at = _skip(_ENDS, text, ended.end())

    return read


def _by_argument(calls: str, member: str) -> _Format:
    """A format that writes each argument by itself: patterns of a call (``name``, ``body``) and of an argument.

    An argument is written without quotes: it is a string if its mark (``text``) or the schema says so, else JSON.
    """
    whole, part = re.compile(calls, re.DOTALL), re.compile(member, re.DOTALL)

    def read(text: str, offered: Offered) -> Iterator[_Call]:
        at = 0
        while at < len(text):
            found = whole.match(text, at)
            if not found:
                raise _NoCalls
            properties = as_mapping(offered.get(found["name"].removeprefix("functions."), {}).get("properties"))
            body, place = found["body"].strip(), 0
            arguments: dict[str, object] = {}
            while place < len(body):
                argument = part.match(body, place)
                if not argument:
                    raise _NoCalls
                value, place = argument["value"], argument.end()
                types = as_mapping(properties.get(argument["key"])).get("type")
                is_text = argument.groupdict().get("text", "true" if types == "string" else "false")
                with contextlib.suppress(ValueError):  # anything that is not JSON is a string too
                    value = value if is_text == "true" else parse_json(value)
                arguments[argument["key"]] = value
            yield found["name"], arguments
            at = _skip(_ENDS, text, found.end())

    return read


_HERMES = _by_object(r"<tool_call>", r"(?:</tool_call>)?")  # the last one may not be closed
_LLAMA = _by_object(r"(?:<\|python_tag\|>)?")
_MISTRAL_LIST = _by_object(r"(?:\[TOOL_CALLS\])(?=\s*\[\s*\{)")
_MISTRAL = _by_object(r"\[TOOL_CALLS\]\s*([\w.-]+)(?:\[CALL_ID\]\w+)?(?:\[ARGS\])?")
_FUNCTION = _by_object(r"<function=([\w.-]+)>", "</function>")
_FUNCTION_UNCLOSED = _by_object(r"<function=([\w.-]+?)[>\s]*(?=\{)", r"(?:</function>)?")
_DEEPSEEK = _by_object(
    r"<｜tool▁call▁begin｜>(?:function<｜tool▁sep｜>)?([\w.-]+)(?:<｜tool▁sep｜>|\n```json\n)",
    r"(?:```)?\s*<｜tool▁call▁end｜>",
    opening="<｜tool▁calls▁begin｜>",
    closing=r"<｜tool▁calls▁end｜>(?:<｜end▁of▁sentence｜>)?",
)
_KIMI = _by_object(
    r"<\|tool_call_begin\|>\s*([\w.-]+?)(?::\d+)?\s*<\|tool_call_argument_begin\|>",
    r"<\|tool_call_end\|>",
    opening="<|tool_calls_section_begin|>",
    closing=r"<\|tool_calls_section_end\|>",
)
_XML = r"<function=(?P<name>[\w.-]+)>(?P<body>.*?)</function>\s*(?:</tool_call>)?"
_XML_PARAMETER = r"<parameter=(?P<key>[^>]+)>\n?(?P<value>.*?)\n?</parameter>\s*"
_GLM = r"<tool_call>\s*(?P<name>[\w.-]+)\s(?P<body>.*?)</tool_call>"
_GLM_PARAMETER = r"<arg_key>(?P<key>[^<]+)</arg_key>\s*<arg_value>(?P<value>.*?)</arg_value>\s*"
_DSML = (
    r'(?:<｜DSML｜function_calls>)?\s*<｜DSML｜invoke name="(?P<name>[\w.-]+)">(?P<body>.*?)</｜DSML｜invoke>'
    r"\s*(?:</｜DSML｜function_calls>)?"
)
_DSML_PARAMETER = (
    r'<｜DSML｜parameter name="(?P<key>[^"]+)" string="(?P<text>true|false)">(?P<value>.*?)'
    r"</｜DSML｜parameter>\s*"
)

_FORMATS: tuple[tuple[str, _Format], ...] = (
    ("<tool_call>", _HERMES),
    ("<tool_call>", _by_argument(rf"<tool_call>\s*{_XML}", _XML_PARAMETER)),
    ("<tool_call>", _by_argument(_GLM, _GLM_PARAMETER)),
    ("[TOOL_CALLS]", _MISTRAL_LIST),
    ("[TOOL_CALLS]", _MISTRAL),
    ("<|python_tag|>", _LLAMA),
    ("<function=", _FUNCTION),
    ("<function=", _by_argument(_XML, _XML_PARAMETER)),
    ("<｜tool▁calls▁begin｜>", _DEEPSEEK),
    ("<｜DSML｜function_calls>", _by_argument(_DSML, _DSML_PARAMETER)),
    ("<|tool_calls_section_begin|>", _KIMI),
    ("<|channel|>", _harmony),
    ("<|start|>assistant<|channel|>", _harmony),
)

MARKS = tuple(dict.fromkeys(mark for mark, _ in _FORMATS))
"""The marks that calls in text begin with."""
