"""What a server refuses in a request -> what to send instead, as facts of a `Profile`. Pure.

Two principles carry most servers: an error that complains about a member we sent, by name, means that this member is
not to be sent; and an error is only a lesson if the request can follow it. `RULES` adds what a member can be translated
to, and complaints that name nothing. That a *value* is wrong is no lesson: whoever wrote it must know.

The wordings are those of OpenAI, Azure, vLLM, SGLang, llama.cpp, Ollama, LiteLLM, OpenRouter, Groq, Mistral, DeepSeek,
Gemini, Moonshot, Fireworks, Together and xAI; `tests/test_adapt.py` has the table.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from agentkit.chat.compat.apply import schemas_of
from agentkit.chat.compat.profile import Profile, is_kept
from agentkit.chat.compat.rules import RULES, WRONG_VALUE, Body
from agentkit.chat.decoding.lenient import as_mapping, as_mappings
from agentkit.chat.json_schema import KEYWORDS, keywords_in
from agentkit.errors import BadRequest, NotFound, Overloaded, StatusError

__all__ = ["NEVER_DROPPED", "Lesson", "learn"]

NEVER_DROPPED = frozenset(
    {"model", "messages", "tools", "stream", "n", "max_tokens", "max_completion_tokens", "tool_choice", "functions"}
    | {"response_format", "modalities", "audio", "web_search_options", "moderation", "function_call"}
)
"""Members that are never left out: without them the request would mean something else. Some are translated."""

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
_OTHERS = re.compile(  # what follows names what the server would take, not what it refuses
    r"expected (?:one of|a|an)\b|\bsupported (?:values|param\w*|fields|types|roles) (?:are|is|include)|must be one of"
    r"|allowed values|available options|\binstead\b|\bdid you mean",
    re.I,
)


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a refusal teaches; ``lasting`` if it is about the server and not about this one request."""

    facts: Profile
    lasting: bool = True


def learn(body: Body, error: StatusError, *, never_drop: frozenset[str] = frozenset()) -> Lesson | None:
    """What the refusal of a request teaches, or None.

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
    for rule in RULES:
        kept = rule.member in never_drop or any(is_kept(path, never_drop) for path in rule.facts.drop)
        if not kept and rule.said.search(_naming(rule.member, error, said)) and rule.fits(body):
            return Lesson(rule.facts, rule.lasting)
    if keywords := _keywords(body, said):
        return Lesson(keywords)
    members = _members(body, error, said, never_drop)
    return Lesson(members, lasting=not _TOGETHER.search(said)) if members else None


def _naming(member: str, error: StatusError, said: str) -> str:
    """What the server said, with the member in it if it named that apart, as ``param``."""
    apart = any(each == member or each.startswith(f"{member}.") for each in error.params)
    return f"{member}: {said}" if apart else said


def _keywords(body: Body, said: str) -> Profile | None:
    """The keyword of a JSON Schema that the error names, in quotes or as the end of a path."""
    if not (_COMPLAINT.search(said) and re.search(r"schema|function_declarations|parameters", said, re.I)):
        return None
    used = {keyword for place, member in schemas_of(body) for keyword in keywords_in(place[member])} & KEYWORDS
    named = {keyword for keyword in used if re.search(rf"[\"'`]{re.escape(keyword)}[\"'`]", _blamed(said))}
    return Profile(schema_drop=frozenset(named)) if named else None


def _members(body: Body, error: StatusError, said: str, never_drop: frozenset[str]) -> Profile | None:
    """The member that the error complains about by name; the server's own word for it goes before its prose."""
    if _HOPELESS.search(said) or not _COMPLAINT.search(said):
        return None
    blamed = _blamed(said)
    paths = [path for path in _paths(body) if not is_kept(path, never_drop)]
    by_word = [path for each in error.params for path in paths if _same(path, each)]
    by_name = sorted((place, path) for path in paths if (place := _place(path.split(".")[-1], blamed)) >= 0)
    found = by_word or [path for place, path in by_name if place == by_name[0][0]]
    if not found:
        return None
    named = {path for path in paths if path in by_word or f", {path}" in blamed} | set(found)
    return Profile(drop=frozenset(_with_value(path, body, said) for path in named))


def _blamed(said: str) -> str:
    """The text up to where it begins to say what would be right."""
    others = _OTHERS.search(said)
    return said[: others.start()] if others else said


def _place(name: str, text: str) -> int:
    """Where the text names a member: in quotes, in a path, behind a colon or a word that calls it one; or -1."""
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
    """Whether a name that the server wrote (``messages[0].name``, ``body.messages.0.name``) means a member."""
    parts = [part for part in re.split(r"[.\[\]/]+", said) if part and not part.isdecimal() and part != "body"]
    mine = path.split(".")
    return bool(parts) and (parts == mine or (len(parts) > 1 and parts[0] == mine[0] and parts[-1] == mine[-1]))


def _with_value(path: str, body: Body, said: str) -> str:
    """The member, or only its value when it is this value that is not supported, or that may be left out."""
    if path == "store" or (
        re.search(r"unsupported[ _]value|does not support \S+ with this model", said, re.I)
        and "only the default" not in said.lower()
    ):
        value = body.get(path)
        return f"{path}={json.dumps(value, sort_keys=True)}" if isinstance(value, str | int | float | None) else path
    return path


def _paths(body: Body) -> Iterator[str]:
    """The members of the body that can be left out; those of messages and tools as ``messages.name``."""
    private = {"store"} if body.get("store") is False else set[str]()  # without it, some servers keep the request
    yield from sorted(body.keys() - NEVER_DROPPED - private)
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
