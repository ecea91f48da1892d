"""Learns facts of a `Profile` from a server's refusals. Pure.

Two principles carry most servers: an error that complains about a member we sent, by name, means that this member is
not to be sent; and an error is only a lesson if the request can follow it. An error that says which value a member must
have is followed too. `RULES` adds what a member can be translated to, and complaints that name nothing. A complaint
that a *value* is wrong teaches nothing unless it names a right one: the author has to know.

The wordings are those of OpenAI, Azure, vLLM, SGLang, llama.cpp, Ollama, LiteLLM, OpenRouter, Groq, Mistral, DeepSeek,
Gemini, Moonshot, Fireworks, Together, xAI and DashScope; `tests/test_learn.py` has the table.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from agentkit.chat.compat.profile import Fact, Profile, is_kept
from agentkit.chat.compat.rules import RULES, UNKNOWN, WRONG_VALUE, SentBody
from agentkit.chat.json_schema import KEYWORDS
from agentkit.chat.json_values import as_mapping
from agentkit.chat.settings import Parameters
from agentkit.errors import BadRequest, NotFound, Overloaded, StatusError

_NEVER_DROPPED = frozenset(
    {"model", "messages", "tools", "stream", "n", "max_tokens", "max_completion_tokens", "tool_choice", "functions"}
    | {"response_format", "modalities", "audio", "web_search_options", "moderation", "function_call"}
)
"""Members that are never left out: without them the request would mean something else. Some are translated."""

_NEVER_ASSIGNED = _NEVER_DROPPED - {"stream"} | {"store", "user", "metadata", "seed", "stop", "service_tier"}

_STATUSES = frozenset({400, 404, 422, 500, 501})
_KEPT_IN_TOOLS = frozenset({"type", "function", "custom", "id", "name", "parameters", "description", "arguments"})

_COMPLAINT = re.compile(UNKNOWN, re.I)
_HOPELESS = re.compile(
    r"--enable-auto-tool-choice|--jinja|invalid value|api[_ ]key|\bat least\b|\btoo[_ ]short\b"
    r"|\bmust be an? (?:valid )?(?:string|number|integer|float|bool|list|array|object|dict)",
    re.I,
)
_PASSING = re.compile(  # a server that is itself in trouble says so, whatever it repeats of the request
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
_OTHERS = re.compile(  # text before it names what is wrong; text after it, what the server would take
    r"expected (?:one of|a|an)\b|\bsupported (?:values|param\w*|fields|types|roles) (?:are|is|include)|must be one of"
    r"|allowed values|available options|\binstead\b|\bdid you mean",
    re.I,
)


class Lesson(NamedTuple):
    """The lesson of a refusal; ``lasting`` if it is about the server rather than this one request."""

    facts: Profile
    lasting: bool = True


def learn_from_error(
    body: Mapping[str, Any], error: StatusError, *, never_drop: frozenset[str] = frozenset()
) -> Lesson | None:
    """Read what the refusal of a body teaches, None if nothing; members of the names in ``never_drop`` are kept."""
    if error.status not in _STATUSES or not isinstance(error, BadRequest | NotFound | Overloaded):
        return None
    said = error.said or str(error)
    if WRONG_VALUE.search(said) or (error.status >= 500 and _PASSING.search(said)):
        return None
    return _Refusal(SentBody(body), said, error.params, never_drop).lesson()


class _Refusal(NamedTuple):
    """The text of an error about a body, the members that it names separately, and those that are never dropped."""

    sent: SentBody
    said: str
    params: Sequence[str]
    never_drop: frozenset[str]

    def lesson(self) -> Lesson | None:
        if (assigned := self._assigned()) and not is_kept(assigned.member, self.never_drop):
            return Lesson(Profile(assign=frozenset({str(assigned)})))
        for rule in RULES:
            touched = map(Fact.parse, rule.facts.drop | rule.facts.assign)
            kept = rule.member in self.never_drop or any(is_kept(each.member, self.never_drop) for each in touched)
            if not kept and rule.answers(self.said, self.params, self.sent):
                return Lesson(rule.facts, rule.lasting)
        if keywords := self._keywords():
            return Lesson(Profile(schema_drop=frozenset(keywords)))
        dropped = self._dropped()
        if not dropped:
            return None
        if not _TOGETHER.search(self.said):
            return Lesson(Profile(drop=frozenset(map(str, dropped))))
        conditions = [self._condition(each) for each in dropped]
        return Lesson(Profile(drop=frozenset(map(str, conditions))), lasting=all(each.relation for each in conditions))

    @property
    def _blamed(self) -> str:
        """The beginning of the error, up to where it says what the server would take."""
        return _OTHERS.split(self.said, maxsplit=1)[0]

    def _assigned(self) -> Fact | None:
        """The value that a member must have, if the error says so; a member that was not sent must be a known one."""
        members = self.sent.members
        for found in _MUST_BE.finditer(self.said):
            member = found["m1"] or found["m2"] or found["m3"]
            word = (found["v1"] or found["v2"] or found["v3"]).strip("`'\"")
            quoted = word.lower() not in ("true", "false", "null") and not re.fullmatch(r"-?\d+(?:\.\d+)?", word)
            value = json.dumps(word) if quoted else word.lower()
            if member.lower() in ("value", "it") and len(self.params) == 1:
                member = self.params[0]
            known = member in members or member in Parameters.__annotations__ or "_" in member or member == "stream"
            if known and member not in _NEVER_ASSIGNED and json.dumps(members.get(member)) != value:
                return self._condition(Fact(member, value))
        return None

    def _condition(self, fact: Fact) -> Fact:
        """Restrict the fact to requests that have, or lack, the other member that the error names, if there is one."""
        members = self.sent.members
        if _NOT_STREAMED.search(self.said) and not members.get("stream"):
            return fact._replace(relation="without", other="stream")
        if members.get("tools") and re.search(r"\b(?:function )?tools?\b|\bfunction call", self.said, re.I):
            return fact._replace(relation="with", other="tools")
        for found in _BESIDE.finditer(self.said):
            other = "stream" if found["other"].lower() in ("stream", "streaming") else found["other"]
            if other in ("messages", "model") or other == fact.member.partition("_")[0]:
                continue
            if members.get(other):
                return fact._replace(relation="with", other=other)
            if other in Parameters.__annotations__ and re.search(r"\bonly\b", self.said, re.I):
                return fact._replace(relation="without", other=other)
        return fact

    def _keywords(self) -> list[str]:
        """The keywords of JSON Schema that the error names, in quotes or as the end of a path."""
        of_schema = re.search(r"schema|function_declarations|parameters", self.said, re.I)
        if not (of_schema and _COMPLAINT.search(self.said)):
            return []
        used = self.sent.keywords & KEYWORDS
        return [each for each in used if re.search(rf"[\"'`]{re.escape(each)}[\"'`]", self._blamed)]

    def _dropped(self) -> list[Fact]:
        """The members that the error complains about by name; those named separately come before its prose."""
        if _HOPELESS.search(self.said) or not _COMPLAINT.search(self.said):
            return []
        blamed = self._blamed
        paths = [path for path in self._paths() if not is_kept(path, self.never_drop)]
        by_word = [path for each in self.params for path in paths if _same(path, each)]
        by_name = sorted((place, path) for path in paths if (place := _place(path.split(".")[-1], blamed)) >= 0)
        found = by_word or [path for place, path in by_name if place == by_name[0][0]]
        if not found:
            return []
        named = {path for path in paths if path in by_word or f", {path}" in blamed} | set(found)
        return [self._with_value(path) for path in sorted(named)]

    def _with_value(self, path: str) -> Fact:
        """The member, or only its value when it is this value that is not supported, or that may be left out."""
        only_this = re.search(r"unsupported[ _]value|does not support \S+ with this model", self.said, re.I)
        if path == "store" or (only_this and "only the default" not in self.said.lower()):
            value = self.sent.members.get(path)
            if isinstance(value, str | int | float | None):
                return Fact(path, json.dumps(value, sort_keys=True))
        return Fact(path)

    def _paths(self) -> Iterator[str]:
        """The members of the body that can be left out; those of messages and tools as ``messages.name``."""
        sent, members = self.sent, self.sent.members
        private = (
            {"store"} if members.get("store") is False else set[str]()
        )  # without it, some servers keep the request
        yield from sorted(members.keys() - _NEVER_DROPPED - private)
        for prefix, objects, kept in (
            ("messages", sent.messages, {"role", "content", "tool_calls", "tool_call_id"}),
            ("messages.tool_calls", sent.calls, _KEPT_IN_TOOLS),
            ("tools", sent.tools, _KEPT_IN_TOOLS),
            ("tools.function", sent.functions, _KEPT_IN_TOOLS),
            ("response_format.json_schema", [sent.json_schema], {"name", "schema"}),
            ("stream_options", [as_mapping(members.get("stream_options"))], set[str]()),
        ):
            yield from sorted({f"{prefix}.{name}" for each in objects for name in each.keys() - kept})


def _place(name: str, text: str) -> int:
    """Find where the text names a member: in quotes, in a path, or after a colon or a word such as parameter; or -1."""
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
