"""Apply a `Profile` to a request: the same request in the form that the server accepts. Pure.

A request that already suits the server costs nothing: only a body whose messages or tools must change is parsed. Each
change is reported in words; a body without reported changes is the original one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, cast

from pydantic_core import from_json

from agentkit.chat.compat.profile import ALONG, Fact, Profile
from agentkit.chat.json_schema import inlined, without_keywords
from agentkit.chat.json_values import as_mapping, as_mappings, as_text, encode_json
from agentkit.chat.messages import AssistantMessage
from agentkit.chat.request import ChatRequest, FunctionTool, ToolDefinition

_INSTRUCTIONS = ("system", "developer")
_EMPTY_RESULT = "(empty)"
_SAYING = ("tool_calls", "function_call", "refusal", "audio")  # what an assistant message says besides its content
_STUB: Mapping[str, Any] = {
    "type": "function",
    "function": {
        "name": "no_tool",
        "description": "This tool no longer exists: never call it.",
        "parameters": {"type": "object", "properties": {}},
    },
}


class PreparedRequest(NamedTuple):
    """A request as it is sent.

    Attributes:
        body: The body to send.
        changes: What had to change in the request, in words.
        stream: Whether it asks for a stream.
        calls_in_text: Whether calls in the text of the answer are read.
    """

    body: bytes
    changes: tuple[str, ...] = ()
    stream: bool = False
    calls_in_text: bool = False


def apply_profile(request: ChatRequest, model: str, profile: Profile) -> PreparedRequest:
    """Encode a request for the server that the profile describes."""
    if not profile:
        return PreparedRequest(request.encode(model), stream=request.stream)
    said = [each for each in request.messages if isinstance(each, AssistantMessage) and not each.says_nothing]
    if profile.reasoning == "kept" and not any(each.reasoning_members for each in said):
        profile = replace(profile, reasoning="")
    if profile.only_parameters:
        adapter = _Adapter(request.members(model), profile, with_tools=bool(request.tools))
        adapter.adapt_parameters()
        body, changes = request.encode(model, members=adapter.body), adapter.changes
    else:
        asked = request.encode(model)
        adapter = _Adapter(from_json(asked), profile, with_tools=bool(request.tools))
        if "tools.function.strict" in profile.drop:
            adapter.use_plain_schemas(request.tools)
        if profile.reasoning:
            adapter.add_reasoning(said)
        adapter.adapt()
        body = encode_json(adapter.body) if adapter.changes else asked
        changes = adapter.changes if body != asked else []
    return PreparedRequest(body, tuple(changes), bool(adapter.body.get("stream")), profile.calls_in_text)


def schemas_of(body: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """Find the JSON Schemas of a body: yields each object that holds one, and the member."""
    for tool in as_mappings(body.get("tools")):
        function = tool.get("function")
        if isinstance(function, dict) and "parameters" in function:
            yield cast("dict[str, Any]", function), "parameters"
    form = as_mapping(body.get("response_format")).get("json_schema")
    if isinstance(form, dict) and "schema" in form:
        yield cast("dict[str, Any]", form), "schema"


def tool_name(tool: Mapping[str, Any]) -> str:
    """Read the name in a tool, a call or a choice, whatever its type."""
    return as_text(as_mapping(tool.get(as_text(tool.get("type")) or "function")).get("name"))


@dataclass(slots=True)
class _Adapter:
    body: dict[str, Any]
    profile: Profile
    with_tools: bool
    changes: list[str] = field(default_factory=list[str])

    def adapt(self) -> None:
        """Make every change in its order: instructions are added before roles change, members are dropped last."""
        self._adapt_format()
        self._adapt_choice()
        self._adapt_schemas()
        self._keep_tools()
        if self.profile.tool_names:
            self._name_results()
        self._adapt_content()
        self._adapt_roles()
        self._adapt_turns()
        self.adapt_parameters()

    def adapt_parameters(self) -> None:
        """Make the changes of single parameters."""
        name = self.profile.token_limit
        other = "max_tokens" if name == "max_completion_tokens" else "max_completion_tokens"
        if name and other in self.body:
            self.body[name] = self.body.pop(other)
            self.note(f"{other} is sent as {name}")
        asked = {**self.body, "tools": self.with_tools or self.body.get("tools")}
        for each in map(Fact.parse, sorted(self.profile.assign)):
            if each.holds_for(asked):
                self._assign(each)
        for each in map(Fact.parse, sorted(self.profile.drop)):
            if each.holds_for(asked):
                self._drop(each)

    def use_plain_schemas(self, tools: Sequence[ToolDefinition]) -> None:
        """Give tools that will not be strict the schema that says more: with defaults, and what may be left out."""
        for place, tool in zip(as_mappings(self.body.get("tools")), tools, strict=False):
            if isinstance(tool, FunctionTool) and tool.strict and tool.strict_parameters is not None:
                place["function"]["parameters"] = dict(tool.parameters)

    @property
    def messages(self) -> list[dict[str, Any]]:
        return cast("list[dict[str, Any]]", self.body["messages"])

    def note(self, change: str) -> None:
        """Remember a change, once."""
        if change not in self.changes:
            self.changes.append(change)

    def instruct(self, text: str) -> None:
        """Add to the instructions."""
        first = self.messages[0] if self.messages else {}
        if first.get("role") in _INSTRUCTIONS:
            first["content"] = _joined_content(first.get("content"), text)
        else:
            self.messages.insert(0, {"role": "system", "content": text})

    def add_reasoning(self, sent: Sequence[AssistantMessage]) -> None:
        """Give each assistant message its reasoning; servers take an empty one for a message of another model."""
        wires = [each for each in self.messages if each["role"] == "assistant"]
        for wire, message in zip(wires, sent, strict=False):
            name = self.profile.reasoning
            members = message.reasoning_members or ({} if name == "kept" else {name: ""})
            wire.update(members)
            for each in members:
                self.note(f"earlier reasoning is sent back as {each}")

    def _adapt_format(self) -> None:
        form, level = as_mapping(self.body.get("response_format")), self.profile.response_format
        kind = form.get("type")
        if not level or kind not in ("json_schema", "json_object") or kind == level:
            return
        schema = as_mapping(form.get("json_schema")).get("schema")
        wanted = "Answer with one JSON object and nothing else."
        if schema is not None:
            wanted += f" It must fit this JSON Schema: {json.dumps(schema, ensure_ascii=False)}"
        self.instruct(wanted)
        if level == "prompt":
            del self.body["response_format"]
            self.note(f"response_format {kind} is an instruction")
        else:
            self.body["response_format"] = {"type": level}
            self.note(f"response_format {kind} is {level} with an instruction")

    def _adapt_choice(self) -> None:
        choice, level = self.body.get("tool_choice"), self.profile.tool_choice
        if choice is None or not level:
            return
        if isinstance(choice, dict):
            choice = self._choose_by_leaving_out(as_mapping(choice))  # pyright: ignore[reportUnknownArgumentType] - JSON
        if choice == "required" and level != "required":
            self.instruct("Call a tool now instead of answering with text.")
            self.note("tool_choice required is auto with an instruction")
            choice = "auto"
        if level != "never":
            self.body["tool_choice"] = choice
            return
        if choice == "none":
            self.instruct("Answer with text and do not call any tool.")
        self.note(f"tool_choice {choice} is not sent{', but an instruction' if choice == 'none' else ''}")
        del self.body["tool_choice"]

    def _choose_by_leaving_out(self, choice: Mapping[str, Any]) -> str:
        """Express a choice by name as a word, by leaving out the tools that were not chosen."""
        allowed = as_mapping(choice.get("allowed_tools"))
        names = {tool_name(each) for each in as_mappings(allowed.get("tools"))} or {tool_name(choice)}
        tools = [tool for tool in as_mappings(self.body.get("tools")) if tool_name(tool) in names]
        self.body["tools"] = tools or self.body.get("tools")
        word = as_text(allowed.get("mode")) or "required"
        self.note(f"tool_choice {' or '.join(sorted(names))} is {word} with no other tools")
        return word

    def _adapt_schemas(self) -> None:
        for place, member in schemas_of(self.body):
            schema = place[member]
            if self.profile.inline_schemas:
                place[member] = inlined(place[member])
                if place[member] != schema:
                    self.note("references in schemas are written out")
            if self.profile.schema_drop:
                place[member], left_out = without_keywords(place[member], self.profile.schema_drop)
                for keyword in sorted(left_out):
                    self.note(f"{keyword} in schemas is not sent")

    def _keep_tools(self) -> None:
        with_calls = any(each.get("tool_calls") or each["role"] == "tool" for each in self.messages)
        if self.profile.keep_tools and with_calls and not self.body.get("tools"):
            self.body["tools"] = [dict(_STUB)]
            self.note("tools has one that does nothing, as the transcript has calls")

    def _assign(self, fact: Fact) -> None:
        value = json.loads(fact.value)
        if self.body.get(fact.member) == value:
            return
        self.body[fact.member] = value
        condition = f" {fact.relation} {fact.other}" if fact.relation else ""
        self.note(f"{fact.member} is set to {fact.value}{condition}")
        if fact.member == "stream":
            self.body.setdefault("stream_options", {"include_usage": True})

    def _drop(self, fact: Fact) -> None:
        name = fact.member
        if fact.value and json.dumps(self.body.get(name), sort_keys=True) != fact.value:
            return
        if _remove(self.body, name.split(".")):
            self.note(f"{fact} is not sent")
        if name in ALONG and self.body.pop(ALONG[name], None) is not None:
            self.note(f"{ALONG[name]} is not sent")
        if name.startswith("stream_options.") and self.body.get("stream_options") == {}:
            del self.body["stream_options"]

    def _name_results(self) -> None:
        calls = (call for each in self.messages for call in as_mappings(each.get("tool_calls")))
        names = {call.get("id"): tool_name(call) for call in calls}
        for message in self.messages:
            if message["role"] == "tool" and "name" not in message and names.get(message.get("tool_call_id")):
                message["name"] = names[message["tool_call_id"]]
                self.note("results of tools carry the tool's name")

    def _adapt_content(self) -> None:
        for message in list(self.messages):
            parts = as_mappings(message.get("content")) if self.profile.plain_content else []
            if parts and all(part.get("type") == "text" for part in parts):
                message["content"] = _text(parts)
                self.note("content of several texts is sent as one text")
            if self.profile.fill_empty_content:
                self._fill(message)
            is_null = message["role"] == "assistant" and message.get("content", "") is None
            if self.profile.null_content_as_empty and is_null:
                self._replace_null(message)

    def _fill(self, message: dict[str, Any]) -> None:
        content, parts = message.get("content"), as_mappings(message.get("content"))
        full = [part for part in parts if part.get("type") != "text" or part.get("text")]
        if full and len(full) < len(parts):
            message["content"] = full
            self.note("empty texts are not sent")
        if full or (content and not parts):
            return
        if message["role"] == "tool":
            message["content"] = _EMPTY_RESULT
            self.note(f"an empty result is sent as {_EMPTY_RESULT}")
        elif message["role"] == "assistant" and any(message.get(name) for name in _SAYING):
            if content is not None:
                message["content"] = None
                kind = "calls" if message.get("tool_calls") else "no text"
                self.note(f"an assistant message with {kind} has no content instead of an empty one")
        else:
            self.messages[:] = [each for each in self.messages if each is not message]
            self.note("an empty message is not sent")

    def _replace_null(self, message: dict[str, Any]) -> None:
        if self.profile.fill_empty_content:
            del message["content"]
            self.note("an assistant message with calls has no member content")
        else:
            message["content"] = ""
            self.note("an assistant message with calls has an empty content instead of null")

    def _adapt_roles(self) -> None:
        renamed = {"": (), "system": ("developer",), "user": _INSTRUCTIONS}[self.profile.system_role]
        if self.profile.single_system_message:
            self._gather_instructions()
        for message in self.messages:
            if message["role"] in renamed:
                self.note(f"the role {message['role']} is sent as {self.profile.system_role}")
                message["role"] = self.profile.system_role

    def _gather_instructions(self) -> None:
        given = [each for each in self.messages if each["role"] in _INSTRUCTIONS]
        others = [each for each in self.messages if each["role"] not in _INSTRUCTIONS]
        if given and self.messages != [given[0], *others]:
            texts = filter(None, [_text(each.get("content")) for each in given])
            self.messages[:] = [{"role": given[0]["role"], "content": "\n\n".join(texts)}, *others]
            self.note("system messages are one message at the beginning")

    def _adapt_turns(self) -> None:
        turns: list[dict[str, Any]] = []
        for message in self.messages:
            before = turns[-1]["role"] if turns else ""
            if self.profile.merge_user_turns and before == "user" == message["role"]:
                turns[-1]["content"] = _joined_content(turns[-1].get("content"), message.get("content"))
                self.note("neighboring messages of the user are one")
                continue
            if self.profile.assistant_after_tool and before == "tool" and message["role"] == "user":
                turns.append({"role": "assistant", "content": "OK."})
                self.note("a short assistant message follows results before the user speaks")
            turns.append(message)
        self.body["messages"] = turns


def _joined_content(one: object, other: object) -> object:
    """Two contents as one: text if both are text."""
    if isinstance(one, str) and isinstance(other, str):
        return f"{one}\n\n{other}"
    contents = (
        [{"type": "text", "text": each}] if isinstance(each, str) else as_mappings(each) for each in (one, other)
    )
    return [part for parts in contents for part in parts]


def _text(content: object) -> str:
    return content if isinstance(content, str) else "".join(as_text(part.get("text")) for part in as_mappings(content))


def _remove(value: Any, path: Sequence[str]) -> bool:
    """Remove a member wherever the path leads, also through lists; return whether there was one."""
    if isinstance(value, list):
        return any([_remove(each, path) for each in cast("list[object]", value)])  # noqa: C419 - all of them, not up to the first
    if not isinstance(value, dict) or path[0] not in value:
        return False
    if len(path) == 1:
        del value[path[0]]
        return True
    return _remove(value[path[0]], path[1:])
