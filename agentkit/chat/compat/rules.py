"""A table of servers' complaints, with the answer to each. Pure.

Each row holds what an error says, what in the request it can be about, the fact to learn from it, and an example of the
error with the smallest request that causes it; a test plays the examples. The first row that matches counts, so
translations go step by step: a tool by name, then any tool, then an instruction.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentkit.chat.compat.apply import schemas_of
from agentkit.chat.compat.profile import Profile
from agentkit.chat.json_schema import keywords_in
from agentkit.chat.json_values import as_mapping, as_mappings

WRONG_VALUE = re.compile(  # the member is known and its value is wrong, which the user must know
    r"\b(?:must|should|can|needs? to) be (?:in\b|within|less|lower|greater|>|<|positive|non-?negative|a multiple)"
    r"|\bbetween \S+ and\b|\brange\b|\bat most\b|\bat least (?!(?:1|one)\b)|\bmore than (?!one\b)|\bexceed"
    r"|\b(?:less|fewer|lower|greater|larger|higher|longer|shorter|smaller) than\b"
    r"|\btoo[_ ](?:large|big|high|low|small|many|few|long)\b|\b(?:minimum|maximum) length\b"
    r"|\bmatch\w* (?:the )?(?:\S+ )?pattern|\bno (?:function|tool)s? (?:is )?(?:named|called|with)\b"
    r"|\bnot (?:found|present|specified|defined) in\b|\bunknown (?:tool|function|model):? [\"'`]",
    re.I,
)


class SentBody:
    """The body of a request that was refused, and what rules ask about it."""

    def __init__(self, members: Mapping[str, Any]) -> None:
        self.members = members
        self.messages = as_mappings(members.get("messages"))
        self.roles = [each.get("role") for each in self.messages]
        self.calls = [call for each in self.messages for call in as_mappings(each.get("tool_calls"))]
        self.tools = as_mappings(members.get("tools"))
        self.functions = [as_mapping(each.get("function")) for each in self.tools]
        choice = members.get("tool_choice")
        self.choice = "by name" if isinstance(choice, dict) else choice
        form = as_mapping(members.get("response_format"))
        self.form, self.json_schema = form.get("type"), as_mapping(form.get("json_schema"))
        self.is_strict = any(each.get("strict") for each in (self.json_schema, *self.functions))

    def has(self, name: str) -> bool:
        """True if a member is there and not null."""
        return self.members.get(name) is not None

    @property
    def keywords(self) -> set[str]:
        """The keywords of its JSON Schemas."""
        return {keyword for place, member in schemas_of(self.members) for keyword in keywords_in(place[member])}

    def has_in_turn(self, *roles: str) -> bool:
        """True if messages of these roles follow one another."""
        return any(pair == roles for pair in itertools.pairwise(self.roles))

    @property
    def has_scattered_instructions(self) -> bool:
        """True if instructions stand anywhere but in one message at the beginning."""
        places = [place for place, role in enumerate(self.roles) if role in ("system", "developer")]
        return len(places) > 1 or places not in ([], [0])

    @property
    def has_null_content(self) -> bool:
        """True if a message of the assistant has the content null."""
        return any(each.get("role") == "assistant" and each.get("content", "") is None for each in self.messages)

    @property
    def has_lists_of_texts(self) -> bool:
        """True if a content is a list of texts."""
        lists = [as_mappings(each["content"]) for each in self.messages if isinstance(each.get("content"), list)]
        return any(all(part.get("type") == "text" for part in parts) for parts in lists)

    @property
    def has_empty_content(self) -> bool:
        """True if a message, or a part of one, is empty."""
        parts = [part for each in self.messages for part in as_mappings(each.get("content"))]
        silent = any(not each.get("content") and not each.get("tool_calls") for each in self.messages)
        blank = any(each.get("content") == "" for each in self.messages)
        return silent or blank or any(part.get("type") == "text" and not part.get("text") for part in parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A complaint and its answer.

    Attributes:
        member: The member of the request that is sent differently.
        said: What the error says: a pattern that matches in any case. It is compiled at the first error, as compiling
            all of them takes longer than the rest of the import.
        fits: Whether the request has what the error complains about.
        facts: What is learned.
        request: The smallest request, besides model and a message of the user, that the example can be about.
        example: The message of such an error.
        lasting: Whether it holds for later requests too.
    """

    member: str
    said: str
    fits: Callable[[SentBody], bool]
    facts: Profile
    request: Mapping[str, Any]
    example: str
    lasting: bool = True

    def answers(self, said: str, params: Sequence[str], sent: SentBody) -> bool:
        """Return True if an error says this, perhaps naming the member only in ``params``, and is about this body."""
        apart = any(each == self.member or each.startswith(f"{self.member}.") for each in params)
        found = re.search(self.said, f"{self.member}: {said}" if apart else said, re.I | re.S)
        return found is not None and self.fits(sent)


UNKNOWN = (  # complaints about a member that a server does not know or take
    r"unsupported|not.{0,20}support|unrecognized|unknown|unexpected|extra[_ ](?:inputs?|fields?|forbidden)"
    r"|not (?:permitted|allowed|available|enabled|implemented)|additional propert|cannot find field"
    r"|only (?:allowed|supported|available)|no endpoints|unavailable"
)
_WRONG = rf"{UNKNOWN}|invalid|not one of|must be|only|input should be|requires"


def _refused(topic: str, no: str = _WRONG) -> str:
    """Match a complaint about a topic, in either order."""
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
_ONLY_STREAM = r"only supports? (?:the )?stream|enable the .?stream|\bstream\b.{0,20}must be (?:set to )?.?true"
_LIMIT_REQUIRED = (
    r"\bmax_tokens\b.{0,40}(?:required|missing|must be (?:set|given|specified))"
    r"|(?:missing|requires?|specify).{0,40}\bmax_tokens\b"
)
_TOOLS = (
    r"expects the .?tools=|toolconfig field must be defined|requires .?tools"
    r"|tools.{0,30}(?:must be|required).{0,60}tool.?(?:use|call)"
)


_OLD_LIMIT = Profile(token_limit="max_tokens")  # noqa: S106 - no password
_NEW_LIMIT = Profile(token_limit="max_completion_tokens")  # noqa: S106 - no password
_A_LIMIT = Profile(token_limit="max_tokens", assign=frozenset({"max_tokens=4096 without max_tokens"}))  # noqa: S106
_NOT_STRICT = Profile(drop=frozenset({"tools.function.strict", "response_format.json_schema.strict"}))
_NOT_STREAMED = Profile(drop=frozenset({"stream", "stream_options"}))
_WITHOUT_PARSER = Profile(assign=frozenset({'tool_choice="none" with tools'}), calls_in_text=True)
_STREAMED = Profile(assign=frozenset({"stream=true"}))

# The building blocks of the examples.
_USER = {"role": "user", "content": "hi"}
_SYSTEM_MESSAGE = {"role": "system", "content": "x"}
_CALL = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
_CALLED = ({"role": "assistant", "content": None, "tool_calls": [_CALL]}, {"role": "tool", "tool_call_id": "c1"})
_REFERRING = {"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}, "$defs": {"A": {"type": "string"}}}


def _tool(**members: Any) -> list[dict[str, Any]]:
    return [{"type": "function", "function": {"name": "add", **members}}]


RULES: tuple[Rule, ...] = (
    # A limit of tokens has two names.
    Rule(
        member="max_completion_tokens",
        said=_refused("max_completion_tokens", UNKNOWN),
        fits=lambda sent: sent.has("max_completion_tokens"),
        facts=_OLD_LIMIT,
        request={"max_completion_tokens": 9},
        example="Unrecognized request argument supplied: max_completion_tokens",
    ),
    Rule(
        member="max_tokens",
        said=_refused("max_tokens", UNKNOWN),
        fits=lambda sent: sent.has("max_tokens"),
        facts=_NEW_LIMIT,
        request={"max_tokens": 9},
        example="Unsupported parameter: 'max_tokens' is not supported with this model. "
        "Use 'max_completion_tokens' instead.",
    ),
    Rule(
        member="max_tokens",
        said=_LIMIT_REQUIRED,
        fits=lambda sent: "max_tokens" not in sent.members,
        facts=_A_LIMIT,
        request={},
        example="max_tokens: Field required",
    ),
    # Roles, and the place of instructions.
    Rule(
        member="messages",
        said=_DEVELOPER,
        fits=lambda sent: "developer" in sent.roles,
        facts=Profile(system_role="system"),
        request={"messages": [{"role": "developer", "content": "x"}, _USER]},
        example="Unexpected message role.",
    ),
    Rule(
        member="messages",
        said=rf"{_PLACE}|{_ALTERNATE}",
        fits=lambda sent: sent.has_scattered_instructions,
        facts=Profile(single_system_message=True),
        request={"messages": [_USER, _SYSTEM_MESSAGE]},
        example="System message must be at the beginning.",
    ),
    Rule(
        member="messages",
        said=_ALTERNATE,
        fits=lambda sent: sent.has_in_turn("user", "user"),
        facts=Profile(merge_user_turns=True),
        request={"messages": [_USER, _USER]},
        example="Conversation roles must alternate user/assistant/user/assistant/...",
    ),
    Rule(
        member="messages",
        said=_SYSTEM,
        fits=lambda sent: "system" in sent.roles,
        facts=Profile(system_role="user", merge_user_turns=True),
        request={"messages": [_SYSTEM_MESSAGE, _USER]},
        example="System role not supported",
    ),
    Rule(
        member="messages",
        said=r"role \W?user\W? after role \W?tool",
        fits=lambda sent: sent.has_in_turn("tool", "user"),
        facts=Profile(assistant_after_tool=True),
        request={"messages": [_USER, *_CALLED, _USER]},
        example="Unexpected role 'user' after role 'tool'",
    ),
    # A server without a parser for calls: its model still sees the tools, and its calls are read from its text.
    Rule(
        member="tool_choice",
        said=r"--enable-auto-tool-choice|--tool-call-parser",
        fits=lambda sent: bool(sent.tools) and sent.choice != "none",
        facts=_WITHOUT_PARSER,
        request={"tools": _tool()},
        example='"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set',
    ),
    # What forces a call: a name, then any tool, then words, then nothing at all.
    Rule(
        member="tool_choice",
        said=_CHOICE,
        fits=lambda sent: sent.choice == "by name",
        facts=Profile(tool_choice="required"),
        request={"tools": _tool(), "tool_choice": {"type": "function", "function": {"name": "add"}}},
        example="Thinking mode does not support this tool_choice",
    ),
    Rule(
        member="tool_choice",
        said=_CHOICE,
        fits=lambda sent: sent.choice == "required",
        facts=Profile(tool_choice="auto"),
        request={"tools": _tool(), "tool_choice": "required"},
        example="Only 'auto' is supported for tool_choice",
    ),
    Rule(
        member="tool_choice",
        said=_CHOICE,
        fits=lambda sent: sent.choice in ("auto", "none"),
        facts=Profile(tool_choice="never"),
        request={"tools": _tool(), "tool_choice": "none"},
        example="tool_choice is not supported by this model",
    ),
    # The form of the answer: a schema, then any JSON, then words.
    Rule(
        member="response_format",
        said=_SCHEMA,
        fits=lambda sent: sent.form == "json_schema",
        facts=Profile(response_format="json_object"),
        request={"response_format": {"type": "json_schema", "json_schema": {"name": "f", "schema": {}}}},
        example="This response_format type is unavailable now",
    ),
    Rule(
        member="response_format",
        said=_JSON,
        fits=lambda sent: sent.form == "json_object",
        facts=Profile(response_format="prompt"),
        request={"response_format": {"type": "json_object"}},
        example="Invalid parameter: 'response_format' of type 'json_object' is not supported with this model.",
    ),
    # Schemas.
    Rule(
        member="tools",
        said=r"\$ref|\$defs|#/|\bconst\b",
        fits=lambda sent: bool(sent.keywords & {"$ref", "$defs", "const"}),
        facts=Profile(inline_schemas=True),
        request={"tools": _tool(parameters=_REFERRING)},
        example='Invalid JSON payload received. Unknown name "$ref" at \'tools[0].function_declarations[0]'
        ".parameters.properties[0].value': Cannot find field.",
    ),
    Rule(
        member="strict",
        said=_STRICT,
        fits=lambda sent: sent.is_strict,
        facts=_NOT_STRICT,
        lasting=False,
        request={"tools": _tool(parameters={"type": "object"}, strict=True)},
        example="Invalid schema for function 'add': In context=(), 'additionalProperties' is required to be supplied "
        "and to be false.",
    ),
    # Messages.
    Rule(
        member="messages",
        said=_REASONING,
        fits=lambda sent: "assistant" in sent.roles,
        facts=Profile(reasoning="reasoning_content"),
        request={"messages": [_USER, *_CALLED]},
        example="The `reasoning_content` in the thinking mode must be passed back to the API.",
    ),
    Rule(
        member="messages",
        said=rf"{_STRING}|{_BLANK}|content.{{0,40}}null|null.{{0,40}}content",
        fits=lambda sent: sent.has_null_content,
        facts=Profile(null_content_as_empty=True),
        request={"messages": [_USER, *_CALLED]},
        example="Invalid value for 'content': expected a string, got null.",
    ),
    Rule(
        member="messages",
        said=_STRING,
        fits=lambda sent: sent.has_lists_of_texts,
        facts=Profile(plain_content=True),
        request={"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]},
        example="'messages.0' : for 'role:user' the following must be satisfied"
        "[('messages.0.content' : value must be a string)]",
    ),
    Rule(
        member="messages",
        said=_BLANK,
        fits=lambda sent: sent.has_empty_content,
        facts=Profile(fill_empty_content=True),
        request={"messages": [_USER, {"role": "assistant", "content": ""}, _USER]},
        example="Assistant message must have either content or tool_calls, but not none.",
    ),
    Rule(
        member="messages",
        said=_NAME,
        fits=lambda sent: "tool" in sent.roles,
        facts=Profile(tool_names=True),
        request={"messages": [_USER, *_CALLED]},
        example="GenerateContentRequest.contents[2].parts[0].function_response.name: Name cannot be empty.",
    ),
    Rule(
        member="tools",
        said=_TOOLS,
        fits=lambda sent: not sent.tools and bool(sent.calls),
        facts=Profile(keep_tools=True),
        request={"messages": [_USER, *_CALLED]},
        example="litellm.UnsupportedParamsError: Anthropic expects the `tools=` param to be passed",
    ),
    # A stream is only the way a reply comes.
    Rule(
        member="stream",
        said=_STREAM,
        fits=lambda sent: sent.has("stream"),
        facts=_NOT_STREAMED,
        request={"stream": True},
        example="Cannot use tools with stream",
    ),
    Rule(
        member="stream",
        said=_ONLY_STREAM,
        fits=lambda sent: not sent.members.get("stream"),
        facts=_STREAMED,
        request={},
        example="This model only support stream mode, please enable the stream parameter to access the model.",
    ),
)
