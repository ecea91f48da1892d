"""Complaints of servers that have an answer of their own: what they say -> the fact to learn. A table. Pure.

The first rule whose words are in the error and whose complaint the request can have caused is the one that holds, so
what is translated comes step by step: a tool by name, then any tool, then an instruction.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from agentkit.chat.compat.apply import schemas_of
from agentkit.chat.compat.profile import Profile
from agentkit.chat.decoding.lenient import as_mapping, as_mappings
from agentkit.chat.json_schema import keywords_in

__all__ = ["RULES", "WRONG_VALUE", "Body", "Rule"]

Body: TypeAlias = Mapping[str, Any]
Test: TypeAlias = Callable[[Body], bool]


WRONG_VALUE = re.compile(  # the member is known and what was given for it is wrong: whoever wrote it must know
    r"\b(?:must|should|can|needs? to) be (?:in\b|within|less|lower|greater|>|<|positive|non-?negative|a multiple)"
    r"|\bbetween \S+ and\b|\brange\b|\bat most\b|\bat least (?!(?:1|one)\b)|\bmore than (?!one\b)|\bexceed"
    r"|\b(?:less|fewer|lower|greater|larger|higher|longer|shorter|smaller) than\b"
    r"|\btoo[_ ](?:large|big|high|low|small|many|few|long)\b|\b(?:minimum|maximum) length\b"
    r"|\bmatch\w* (?:the )?(?:\S+ )?pattern|\bno (?:function|tool)s? (?:is )?(?:named|called|with)\b"
    r"|\bnot (?:found|present|specified|defined) in\b|\bunknown (?:tool|function|model):? [\"'`]",
    re.I,
)


@dataclass(frozen=True, slots=True)
class Rule:
    """A complaint and its answer.

    Attributes:
        member: The member of the request that is sent otherwise.
        said: What the error says.
        fits: Whether the body has what the error complains about.
        facts: What is learned.
        lasting: Whether it holds for later requests too.
    """

    member: str
    said: re.Pattern[str]
    fits: Test
    facts: Profile
    lasting: bool = True


def _messages(body: Body) -> list[Mapping[str, Any]]:
    return as_mappings(body.get("messages"))


def _roles(body: Body) -> list[Any]:
    return [each.get("role") for each in _messages(body)]


def _has(name: str) -> Test:
    return lambda body: body.get(name) is not None


def _role(role: str) -> Test:
    return lambda body: role in _roles(body)


def _in_turn(*roles: str) -> Test:
    return lambda body: any(pair == roles for pair in itertools.pairwise(_roles(body)))


def _choice(*words: str) -> Test:
    return lambda body: ("by name" if isinstance(body.get("tool_choice"), dict) else body.get("tool_choice")) in words


def _format(kind: str) -> Test:
    return lambda body: as_mapping(body.get("response_format")).get("type") == kind


def _scattered_instructions(body: Body) -> bool:
    places = [place for place, role in enumerate(_roles(body)) if role in ("system", "developer")]
    return len(places) > 1 or places not in ([], [0])


def _null(body: Body) -> bool:
    return any(each.get("role") == "assistant" and each.get("content", "") is None for each in _messages(body))


def _only_texts(body: Body) -> bool:
    lists = [as_mappings(each["content"]) for each in _messages(body) if isinstance(each.get("content"), list)]
    return any(all(part.get("type") == "text" for part in parts) for parts in lists)


def _empty(body: Body) -> bool:
    parts = [part for each in _messages(body) for part in as_mappings(each.get("content"))]
    silent = any(not each.get("content") and not each.get("tool_calls") for each in _messages(body))
    blank = any(each.get("content") == "" for each in _messages(body))
    return silent or blank or any(part.get("type") == "text" and not part.get("text") for part in parts)


def _calls_without_tools(body: Body) -> bool:
    return not body.get("tools") and any(each.get("tool_calls") for each in _messages(body))


def _references(body: Body) -> bool:
    return any({"$ref", "$defs", "const"} & keywords_in(place[member]) for place, member in schemas_of(body))


def _strict(body: Body) -> bool:
    form = as_mapping(as_mapping(body.get("response_format")).get("json_schema"))
    functions = (as_mapping(tool.get("function")) for tool in as_mappings(body.get("tools")))
    return any(each.get("strict") for each in (form, *functions))


_UNKNOWN = (
    r"unsupported|not.{0,20}support|unrecognized|unknown|unexpected|not (?:permitted|allowed|available|enabled)"
    r"|unavailable|extra (?:inputs?|fields?)|no endpoints"
)
_WRONG = rf"{_UNKNOWN}|invalid|not one of|must be|only|input should be|requires"


def _refused(topic: str, no: str = _WRONG) -> str:
    """A complaint about a topic, in either order."""
    return rf"(?:{topic}).{{0,120}}(?:{no})|(?:{no}).{{0,120}}(?:{topic})"


_CHOICE = rf"^(?!.*--enable-auto-tool-choice).*(?:{_refused('tool[_ ]?choice')})"
_NOT_SCHEMA = r"invalid schema|json_schema\.name"
_SCHEMA = rf"^(?!.*(?:{_NOT_SCHEMA})).*(?:{_refused(r'response[_ ]?format|json_schema|structured output')})"
_JSON = _refused(r"response[_ ]?format|json_object|json mode")
_DEVELOPER = rf"{_refused(r'developer')}|(?:unexpected|unknown|invalid|unsupported)[^.]{{0,30}}\brole"
_IN_TURN = r"\balternat(?:e|es|ing|ion)\b(?! (?:model|provider|endpoint|region))"
_ALTERNATE = rf"\b(?:role|user|assistant)s?\b.{{0,60}}{_IN_TURN}|{_IN_TURN}.{{0,60}}\b(?:role|user|assistant)s?\b"
_SYSTEM = (
    r"'system' with this model"
    r"|\bsystem (?:role|message|prompt|instruction)s?.{0,40}"
    r"(?:(?:\bnot|n't) (?:be |yet |currently )?(?:support|allow|permit|accept|enabled|available)|unsupported)"
    rf"|{_ALTERNATE}"
    r"|developer instruction is not enabled|(?:unexpected|unknown|unsupported)[^.]{0,20}\brole:? \W?system"
)
_PLACE = (
    r"(?:\bsystem\W{1,2}(?:role|message|prompt|instruction)s?|\brole:? \W?system\b)"
    r".{0,60}(?:beginning|first|only one|multiple|start)"
    r"|(?:multiple|more than one|only one|several).{0,20}system"
)
_STRING = (
    r"\bcontent\b.{0,80}(?:valid string|a string|string type|must be string|be a str\b)"
    r"|(?:sequence|array|list).{0,40}expected a string"
)
_BLANK = (
    r"\bcontent\b.{0,60}(?:empty|blank|at least (?:1|one)|required|too[_ ]short|missing)"
    r"|(?:empty|blank|missing).{0,40}\bcontent\b|either content or tool|text.{0,40}non-?empty"
)
_REASONING = r"reasoning_content.{0,80}(?:passed back|missing|required|must)|missing.{0,20}reasoning_content"
_STRICT = r"invalid schema for .{0,400}(?:'(?:required|additionalProperties)' is required|strict)"
_NAME = r"\bname\b.{0,60}(?:required|missing|empty|must)|(?:required|missing).{0,30}\bname\b"
_STREAM = (  # not of stream_options, which can be left out alone
    r"^(?!.*stream[_ ]?options).*(?:cannot use tools with stream|\bstream(?:ing|ed)?\b(?!_).{0,20}not support)"
)
_TOOLS = (
    r"expects the .?tools=|toolconfig field must be defined|requires .?tools"
    r"|tools.{0,30}(?:must be|required).{0,60}tool.?(?:use|call)"
)


def _rule(member: str, said: str, fits: Test, facts: Profile, *, lasting: bool = True) -> Rule:
    return Rule(member, re.compile(said, re.I | re.S), fits, facts, lasting)


_OLD_LIMIT = Profile(token_limit="max_tokens")  # noqa: S106 - no password
_NEW_LIMIT = Profile(token_limit="max_completion_tokens")  # noqa: S106 - no password
_NOT_STRICT = Profile(drop=frozenset({"tools.function.strict", "response_format.json_schema.strict"}))
_NOT_STREAMED = Profile(drop=frozenset({"stream", "stream_options"}))

RULES: tuple[Rule, ...] = (
    # A limit of tokens has two names.
    _rule(
        "max_completion_tokens", _refused("max_completion_tokens", _UNKNOWN), _has("max_completion_tokens"), _OLD_LIMIT
    ),
    _rule("max_tokens", _refused("max_tokens", _UNKNOWN), _has("max_tokens"), _NEW_LIMIT),
    # Roles, and where instructions may stand.
    _rule("messages", _DEVELOPER, _role("developer"), Profile(system_role="system")),
    _rule("messages", rf"{_PLACE}|{_ALTERNATE}", _scattered_instructions, Profile(single_system_message=True)),
    _rule("messages", _ALTERNATE, _in_turn("user", "user"), Profile(merge_user_turns=True)),
    _rule("messages", _SYSTEM, _role("system"), Profile(system_role="user", merge_user_turns=True)),
    _rule(
        "messages", r"role \W?user\W? after role \W?tool", _in_turn("tool", "user"), Profile(assistant_after_tool=True)
    ),
    # What forces a call: a name, then any tool, then words, then nothing at all.
    _rule("tool_choice", _CHOICE, _choice("by name"), Profile(tool_choice="required")),
    _rule("tool_choice", _CHOICE, _choice("required"), Profile(tool_choice="auto")),
    _rule("tool_choice", _CHOICE, _choice("auto", "none"), Profile(tool_choice="never")),
    # The form of the answer: a schema, then any JSON, then words.
    _rule("response_format", _SCHEMA, _format("json_schema"), Profile(response_format="json_object")),
    _rule("response_format", _JSON, _format("json_object"), Profile(response_format="prompt")),
    # Schemas.
    _rule("tools", r"\$ref|\$defs|#/|\bconst\b", _references, Profile(inline_schemas=True)),
    _rule("strict", _STRICT, _strict, _NOT_STRICT, lasting=False),
    # Messages.
    _rule("messages", _REASONING, _role("assistant"), Profile(reasoning="reasoning_content")),
    _rule(
        "messages",
        rf"{_STRING}|{_BLANK}|content.{{0,40}}null|null.{{0,40}}content",
        _null,
        Profile(null_content_as_empty=True),
    ),
    _rule("messages", _STRING, _only_texts, Profile(plain_content=True)),
    _rule("messages", _BLANK, _empty, Profile(fill_empty_content=True)),
    _rule("messages", _NAME, _role("tool"), Profile(tool_names=True)),
    _rule("tools", _TOOLS, _calls_without_tools, Profile(keep_tools=True)),
    # A stream is only the way a reply comes.
    _rule("stream", _STREAM, _has("stream"), _NOT_STREAMED),
)
