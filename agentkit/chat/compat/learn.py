"""Facts of a `Profile`, read from what a server refuses in a request. Pure.

Two principles carry most servers: an error that complains about a member we sent, by name, means that this member is
not to be sent; and an error is only a lesson if the request can follow it. An error that says which value a member must
have is followed too. `RULES` adds what a member can be translated to, and complaints that name nothing. That a *value*
is wrong without another being named is no lesson: whoever wrote it must know.

The wordings are those of OpenAI, Azure, vLLM, SGLang, llama.cpp, Ollama, LiteLLM, OpenRouter, Groq, Mistral, DeepSeek,
Gemini, Moonshot, Fireworks, Together, xAI and DashScope; `tests/test_learn.py` has the table.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from agentkit.chat.compat.apply import schemas_of
from agentkit.chat.compat.profile import Fact, Profile, is_kept
from agentkit.chat.compat.rules import RULES, WRONG_VALUE, Body
from agentkit.chat.json_schema import KEYWORDS, keywords_in
from agentkit.chat.json_values import as_mapping, as_mappings
from agentkit.chat.settings import Parameters
from agentkit.errors import BadRequest, NotFound, Overloaded, StatusError

_NEVER_DROPPED = frozenset(
    {"model", "messages", "tools", "stream", "n", "max_tokens", "max_completion_tokens", "tool_choice", "functions"}
    | {"response_format", "modalities", "audio", "web_search_options", "moderation", "function_call"}
)
"""Members that are never left out: without them the request would mean something else. Some are translated."""

_NEVER_ASSIGNED = _NEVER_DROPPED - {"stream"} | {"store", "user", "metadata", "seed", "stop", "service_tier"}

_STATUSES = frozenset({400, 404, 422, 500, 501})
_KEPT_IN_MESSAGES = frozenset({"role", "content", "tool_calls", "tool_call_id"})
_KEPT_IN_TOOLS = frozenset({"type", "function", "custom", "id", "name", "parameters", "description", "arguments"})

_COMPLAINT = re.compile(
    r"unsupported|not.{0,20}support|unrecognized|unknown|unexpected|extra[_ ](?:inputs?|fields?|forbidden)"
    r"|not (?:permitted|allowed|available|enabled|implemented)|additional propert|cannot find field"
    r"|only (?:allowed|supported|available)|no endpoints found|unavailable",
    re.I,
)
_HOPELESS = re.compile(
    r"--enable-auto-tool-choice|--jinja|invalid value|api[_ ]key|\bat least\b|\btoo[_ ]short\b"
    r"|\bmust be an? (?:valid )?(?:string|number|integer|float|bool|list|array|object|dict)",
    re.I,
)
_PASSING = re.compile(  # what a server says that has trouble of its own, whatever it repeats of the request
    r"try(?:ing)? again|\bretry|overload|temporar|service (?:is )?(?:\w+ )?unavailable|internal (?:server )?error"
    r"|timed? ?out",
    re.I,
)
_TOGETHER = re.compile(  # two members do not go together, which says nothing of requests with one of them
    r"\bonly (?:allowed|supported|available|valid) (?:when|if|with)\b|\b(?:unless|together|combin)"
    r"|\bwhen (?!using this model)|\bwith (?:function |parallel )?(?:tools?\b|tool_|stream|response_format|reasoning_)",
    re.I,
)
_VALUE = (
    r"(?P<{0}>\"[\w.-]+\"|'[\w.-]+'|`[\w.-]+`|-?\d+(?:\.\d+)?|true|false|none|null|auto|minimal|low|medium|high)"
    r"(?![\w'\"`]|\.\d|\s*(?:,|or\b|and\b(?! \w+ must)|to\b|-|/))"
)
_MUST_BE = re.compile(  # a member, and the one value that it must have
    rf"\b(?:set|setting|use|specify|pass) [`'\"]?(?P<m1>\w+)[`'\"]? ?(?: to|=|:| as) ?{_VALUE.format('v1')}"
    rf"|(?P<m2>\w+)[`'\"]?(?: parameter| value)? "
    rf"(?:set to |(?:must|should|needs to|has to|can only|may only) be (?:set to |exactly |equal to )?)"
    rf"{_VALUE.format('v2')}"
    rf"|\binvalid (?P<m3>\w+): only {_VALUE.format('v3')} is allowed",
    re.I,
)
_NOT_STREAMED = re.compile(r"\bnon-?stream|\bwithout stream|\bnot streaming", re.I)
_BESIDE = re.compile(r"\b(?:when|if|with|unless|together with|while|without) (?:the )?[`'\"]?(?P<other>\w+)", re.I)
_OTHERS = re.compile(  # what is before it is blamed; what follows says what the server would take
    r"expected (?:one of|a|an)\b|\bsupported (?:values|param\w*|fields|types|roles) (?:are|is|include)|must be one of"
    r"|allowed values|available options|\binstead\b|\bdid you mean",
    re.I,
)


@dataclass(frozen=True, slots=True)
class Lesson:
    """The lesson of a refusal; ``lasting`` if it is about the server rather than this one request."""

    facts: Profile
    lasting: bool = True


def learn_from_error(body: Body, error: StatusError, *, never_drop: frozenset[str] = frozenset()) -> Lesson | None:
    """Read what the refusal of a request teaches; None if it teaches nothing.

    Args:
        body: The body that was refused.
        error: How it was refused.
        never_drop: Names of members of a request that must be sent as they are.
    """
    if error.status not in _STATUSES or not isinstance(error, BadRequest | NotFound | Overloaded):
        return None
    said = error.said or str(error)
    if WRONG_VALUE.search(said) or (error.status >= 500 and _PASSING.search(said)):
        return None
    if (assigned := _assigned(body, error, said)) and not is_kept(assigned.member, never_drop):
        return Lesson(Profile(assign=frozenset({str(assigned)})))
    for rule in RULES:
        touched = map(Fact.parse, rule.facts.drop | rule.facts.assign)
        kept = rule.member in never_drop or any(is_kept(each.member, never_drop) for each in touched)
        if not kept and rule.answers(error, body):
            return Lesson(rule.facts, rule.lasting)
    if keywords := _keywords(body, said):
        return Lesson(keywords)
    dropped = _dropped(body, error, said, never_drop)
    if not dropped:
        return None
    if not _TOGETHER.search(said):
        return Lesson(Profile(drop=frozenset(map(str, dropped))))
    conditions = [_condition(each, body, said) for each in dropped]
    return Lesson(Profile(drop=frozenset(map(str, conditions))), lasting=all(each.relation for each in conditions))


def _assigned(body: Body, error: StatusError, said: str) -> Fact | None:
    """The value that a member must have, if the error says so; a member that was not sent must be a known one."""
    for found in _MUST_BE.finditer(said):
        member = found["m1"] or found["m2"] or found["m3"]
        word = (found["v1"] or found["v2"] or found["v3"]).strip("`'\"")
        quoted = word.lower() not in ("true", "false", "null") and not re.fullmatch(r"-?\d+(?:\.\d+)?", word)
        value = json.dumps(word) if quoted else word.lower()
        if member.lower() in ("value", "it") and len(error.params) == 1:
            member = error.params[0]
        known = member in body or member in Parameters.__annotations__ or "_" in member or member == "stream"
        if known and member not in _NEVER_ASSIGNED and json.dumps(body.get(member)) != value:
            return _condition(Fact(member, value), body, said)
    return None


def _condition(fact: Fact, body: Body, said: str) -> Fact:
    """The fact for requests that also have, or lack, the other member that the error names; else as it is."""
    if _NOT_STREAMED.search(said) and not body.get("stream"):
        return replace(fact, relation="without", other="stream")
    if body.get("tools") and re.search(r"\b(?:function )?tools?\b|\bfunction call", said, re.I):
        return replace(fact, relation="with", other="tools")
    for found in _BESIDE.finditer(said):
        other = "stream" if found["other"].lower() in ("stream", "streaming") else found["other"]
        if other in ("messages", "model") or other == fact.member.partition("_")[0]:
            continue
        if body.get(other):
            return replace(fact, relation="with", other=other)
        if other in Parameters.__annotations__ and re.search(r"\bonly\b", said, re.I):
            return replace(fact, relation="without", other=other)
    return fact


def _keywords(body: Body, said: str) -> Profile | None:
    """The keyword of a JSON Schema that the error names, in quotes or as the end of a path."""
    if not (_COMPLAINT.search(said) and re.search(r"schema|function_declarations|parameters", said, re.I)):
        return None
    used = {keyword for place, member in schemas_of(body) for keyword in keywords_in(place[member])} & KEYWORDS
    blamed = _OTHERS.split(said, maxsplit=1)[0]
    named = {keyword for keyword in used if re.search(rf"[\"'`]{re.escape(keyword)}[\"'`]", blamed)}
    return Profile(schema_drop=frozenset(named)) if named else None


def _dropped(body: Body, error: StatusError, said: str, never_drop: frozenset[str]) -> list[Fact]:
    """The members that the error complains about by name; the server's own word for them is better than its prose."""
    if _HOPELESS.search(said) or not _COMPLAINT.search(said):
        return []
    blamed = _OTHERS.split(said, maxsplit=1)[0]
    paths = [path for path in _paths(body) if not is_kept(path, never_drop)]
    by_word = [path for each in error.params for path in paths if _same(path, each)]
    by_name = sorted((place, path) for path in paths if (place := _place(path.split(".")[-1], blamed)) >= 0)
    found = by_word or [path for place, path in by_name if place == by_name[0][0]]
    if not found:
        return []
    named = {path for path in paths if path in by_word or f", {path}" in blamed} | set(found)
    return [_with_value(path, body, said) for path in sorted(named)]


def _place(name: str, text: str) -> int:
    """Find where the text names a member: in quotes, in a path, behind a colon or a word that calls it one; or -1."""
    first, *rest = name.split("_")
    word = f"(?:{re.escape(name)}|{first}{''.join(each.capitalize() for each in rest)})"
    forms = [
        rf"(?<!role )[\"'`.\[]{word}[\"'`\]:](?! (?:content|message|role|turn))",
        rf": {word}(?=$|[\s.,\"'}}])",
        rf"\w\.{word}(?=$|[\s,;])",
        rf"(?:^|[\s\"]){word}: ",
        rf"\b(?:param\w*|argument|field|property|option) {word}\b",
        rf"\b{word}\b" if rest else rf"\b{word} (?:param\w*|argument|field|is not (?:supported|allowed|permitted))",
    ]
    found = re.search("|".join(forms), text)
    return found.start() if found else -1


def _same(path: str, said: str) -> bool:
    """Return True if a name from the server (``messages[0].name``, ``body.messages.0.name``) means this member."""
    parts = [part for part in re.split(r"[.\[\]/]+", said) if part and not part.isdecimal() and part != "body"]
    mine = path.split(".")
    return bool(parts) and (parts == mine or (len(parts) > 1 and parts[0] == mine[0] and parts[-1] == mine[-1]))


def _with_value(path: str, body: Body, said: str) -> Fact:
    """The member, or only its value when it is this value that is not supported, or that may be left out."""
    only_this = re.search(r"unsupported[ _]value|does not support \S+ with this model", said, re.I)
    if path == "store" or (only_this and "only the default" not in said.lower()):
        value = body.get(path)
        if isinstance(value, str | int | float | None):
            return Fact(path, json.dumps(value, sort_keys=True))
    return Fact(path)


def _paths(body: Body) -> Iterator[str]:
    """The members of the body that can be left out; those of messages and tools as ``messages.name``."""
    private = {"store"} if body.get("store") is False else set[str]()  # without it, some servers keep the request
    yield from sorted(body.keys() - _NEVER_DROPPED - private)
    yield from sorted(
        {f"messages.{name}" for each in as_mappings(body.get("messages")) for name in each.keys() - _KEPT_IN_MESSAGES}
    )
    calls = [call for each in as_mappings(body.get("messages")) for call in as_mappings(each.get("tool_calls"))]
    yield from sorted({f"messages.tool_calls.{name}" for each in calls for name in each.keys() - _KEPT_IN_TOOLS})
    tools = as_mappings(body.get("tools"))
    functions = [as_mapping(each.get("function")) for each in tools]
    yield from sorted({f"tools.{name}" for each in tools for name in each.keys() - _KEPT_IN_TOOLS})
    yield from sorted({f"tools.function.{name}" for each in functions for name in each.keys() - _KEPT_IN_TOOLS})
    form = as_mapping(as_mapping(body.get("response_format")).get("json_schema"))
    yield from sorted(f"response_format.json_schema.{name}" for name in form.keys() - {"name", "schema"})
    yield from sorted(f"stream_options.{name}" for name in as_mapping(body.get("stream_options")))
