"""Calls that a model wrote into its text, because its server has no parser for them. Pure.

Each format is known by its exact marks. Nothing is guessed: the whole text must consist of calls of offered tools with
complete arguments, or it stays text. Every parser takes time proportional to the length of the text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias, cast

from agentkit.chat.json_values import (
    WrittenNumber,
    as_mapping,
    as_mappings,
    as_text,
    parse_json,
    read_object,
    write_json,
)

__all__ = ["MARKS", "Offered", "read_calls", "read_failed_generation", "read_rejected_call"]

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
    """The text is not made of calls only."""


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
    """The calls in Groq's ``failed_generation``, which is known to be calls, of whatever tool: name and arguments."""
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
    """The calls in what a server says that it could not parse: the name and the arguments, as written, of each.

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


def _object_at(text: str, at: int) -> tuple[Any, int]:
    """The JSON value at a place, and where it ends."""
    space = _SPACE.match(text, at)
    return _JSON.raw_decode(text, space.end() if space else at)


def _after_ends(text: str, at: int) -> int:
    found = _ENDS.match(text, at)
    return found.end() if found else at


# The formats.


def _hermes(text: str, _: Offered) -> Iterator[_Call]:
    """``<tool_call>{"name": ..., "arguments": {...}}</tool_call>``, the last one perhaps not closed."""
    at = 0
    while at < len(text):
        if not text.startswith("<tool_call>", at):
            raise _NoCalls
        value, at = _object_at(text, at + len("<tool_call>"))
        yield _from_object(as_mapping(value))
        at = _after_ends(text, at)
        at = _after_ends(text, at + len("</tool_call>") if text.startswith("</tool_call>", at) else at)


def _mistral(text: str, _: Offered) -> Iterator[_Call]:
    """``[TOOL_CALLS][{"name": ..., "arguments": {...}}]``."""
    values, at = _object_at(text, len("[TOOL_CALLS]"))
    if not as_mappings(values) or _after_ends(text, at) < len(text):
        raise _NoCalls
    yield from (_from_object(raw) for raw in as_mappings(values))


def _llama(text: str, _: Offered) -> Iterator[_Call]:
    """``<|python_tag|>{"name": ..., "parameters": {...}}; ...``."""
    at = len("<|python_tag|>")
    while at < len(text):
        value, at = _object_at(text, at)
        yield _from_object(as_mapping(value))
        at = _after_ends(text, at)


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
            arguments, at = _object_at(text, head.end())
            yield call[1], arguments
            at = _after_ends(text, at)
        elif head[1] in ("analysis", "commentary") and (end := text.find("<|end|>", head.end())) >= 0:
            at = end + len("<|end|>")
        else:
            raise _NoCalls


def _by_object(before: str, after: str = "", *, opening: str = "", closing: str = "") -> _Format:
    """A format of calls around an object: patterns of what is before it, with the name, and of what is after it.

    ``opening`` is a string before all calls, ``closing`` a pattern after them.
    """
    start, end, last = re.compile(before), re.compile(rf"\s*{after}"), re.compile(rf"(?:{closing})?$")

    def read(text: str, _: Offered) -> Iterator[_Call]:
        text, at = text.removeprefix(opening).strip(), 0
        while at < len(text) and not (at and last.match(text, at)):
            found = start.match(text, at)
            if not found:
                raise _NoCalls
            arguments, at = _object_at(text, found.end())
            ended = end.match(text, at)
            if not ended:
                raise _NoCalls
            yield found[1], arguments
            at = _after_ends(text, ended.end())

    return read


def _by_argument(calls: str, member: str) -> _Format:
    """A format that writes each argument by itself: patterns of a call (``name``, ``body``) and of an argument."""
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
                arguments[argument["key"]] = _typed(argument, properties)
                place = argument.end()
            yield found["name"], arguments
            at = _after_ends(text, found.end())

    return read


def _typed(found: re.Match[str], properties: Mapping[str, Any]) -> object:
    """An argument that was written without quotes: a string if the mark or the schema says so, else JSON."""
    value, is_text = found["value"], found.groupdict().get("text")
    types = as_mapping(properties.get(found["key"])).get("type")
    if is_text == "true" or (is_text is None and types == "string"):
        return value
    try:
        return parse_json(value)
    except ValueError:
        return value


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
    ("<tool_call>", _hermes),
    ("<tool_call>", _by_argument(rf"<tool_call>\s*{_XML}", _XML_PARAMETER)),
    ("<tool_call>", _by_argument(_GLM, _GLM_PARAMETER)),
    ("[TOOL_CALLS]", _mistral),
    ("[TOOL_CALLS]", _MISTRAL),
    ("<|python_tag|>", _llama),
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
