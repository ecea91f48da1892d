import json
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.chat.compat.apply import apply_profile
from agentkit.chat.compat.profile import Profile
from agentkit.chat.content import AudioOutput, TextPart
from agentkit.chat.json_schema import inlined, keywords_in, without_keywords
from agentkit.chat.messages import (
    AssistantMessage,
    DeveloperMessage,
    Message,
    SystemMessage,
    ToolCall,
    ToolMessage,
    UserMessage,
)
from agentkit.chat.request import ChatRequest, FunctionTool
from agentkit.chat.settings import ChatSettings, NamedTool

USER = UserMessage("hi")
CALLED = AssistantMessage(None, (ToolCall("c1", "add", "{}"),))
RESULT = ToolMessage("3", "c1")
TOOLS = [FunctionTool("add", strict=True), FunctionTool("other")]
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
FORM = {"type": "json_schema", "json_schema": {"name": "f", "schema": SCHEMA, "strict": True}}


def sent(
    profile: Profile, *messages: Message, tools: list[FunctionTool] | None = None, **settings: Any
) -> tuple[dict[str, Any], tuple[str, ...]]:
    request = ChatRequest(messages=messages or [USER], tools=tools or [], settings=ChatSettings(**settings))
    fitted = apply_profile(request, "m", profile)
    body: dict[str, Any] = json.loads(fitted.body)
    assert bool(fitted.changes) == (fitted.body != request.encode("m"))  # no change without a word
    return body, fitted.changes


def roles(body: dict[str, Any]) -> list[str]:
    return [each["role"] for each in body["messages"]]


def test_an_empty_profile_changes_nothing() -> None:
    body, changes = sent(Profile(), SystemMessage("s"), USER, tools=TOOLS, seed=1)
    assert (body["seed"], changes) == (1, ())


def test_members_are_left_out_wherever_they_are() -> None:
    profile = Profile(
        drop=frozenset({"seed", "tools.function.strict", "messages.refusal", "response_format.json_schema.strict"})
    )
    said = AssistantMessage("no", refusal="no")
    body, changes = sent(profile, USER, said, USER, tools=TOOLS, seed=1, response_format=FORM)
    assert "seed" not in body
    assert all("strict" not in each["function"] for each in body["tools"])
    assert "refusal" not in body["messages"][1]
    assert "strict" not in body["response_format"]["json_schema"]
    assert len(changes) == 4


def test_one_value_of_a_member_is_left_out_and_the_others_are_sent() -> None:
    profile = Profile(drop=frozenset({'reasoning_effort="minimal"'}))
    assert "reasoning_effort" not in sent(profile, reasoning_effort="minimal")[0]
    assert sent(profile, reasoning_effort="low")[0]["reasoning_effort"] == "low"


def test_what_depends_on_a_member_goes_with_it() -> None:
    body, changes = sent(Profile(drop=frozenset({"logprobs"})), logprobs=True, top_logprobs=2)
    assert "top_logprobs" not in body
    assert changes == ("logprobs is not sent", "top_logprobs is not sent")


@pytest.mark.parametrize(
    ("given_name", "name"), [("max_tokens", "max_completion_tokens"), ("max_completion_tokens", "max_tokens")]
)
def test_a_limit_of_tokens_is_sent_under_the_name_that_is_known(given_name: str, name: Any) -> None:
    settings: dict[str, Any] = {given_name: 9}
    body, _ = sent(Profile(token_limit=name), **settings)
    assert (body[name], given_name in body) == (9, False)


def test_roles_of_instructions() -> None:
    messages = DeveloperMessage("d"), SystemMessage("s"), USER
    assert roles(sent(Profile(system_role="system"), *messages)[0]) == ["system", "system", "user"]
    assert roles(sent(Profile(system_role="user"), *messages)[0]) == ["user", "user", "user"]


def test_instructions_are_gathered_at_the_beginning() -> None:
    body, _ = sent(Profile(single_system_message=True), SystemMessage("a"), USER, SystemMessage("b"))
    assert body["messages"][0] == {"role": "system", "content": "a\n\nb"}
    assert roles(body) == ["system", "user"]
    assert not sent(Profile(single_system_message=True), SystemMessage("a"), USER)[1]


def test_neighbouring_questions_become_one_also_with_parts() -> None:
    body, _ = sent(Profile(merge_user_turns=True), USER, UserMessage((TextPart("b"),)), AssistantMessage("c"), USER)
    assert roles(body) == ["user", "assistant", "user"]
    assert [part["text"] for part in body["messages"][0]["content"]] == ["hi", "b"]


def test_a_word_stands_between_a_result_and_the_user() -> None:
    assert roles(sent(Profile(assistant_after_tool=True), USER, CALLED, RESULT, USER)[0])[-2:] == ["assistant", "user"]
    assert not sent(Profile(assistant_after_tool=True), USER, CALLED, RESULT)[1]


@pytest.mark.parametrize(
    ("profile", "content"),
    [
        (Profile(null_content_as_empty=True), {"content": ""}),
        (Profile(null_content_as_empty=True, fill_empty_content=True), {}),
    ],
)
def test_content_is_not_null(profile: Profile, content: dict[str, str]) -> None:
    message = sent(profile, USER, CALLED, RESULT)[0]["messages"][1]
    assert {name: value for name, value in message.items() if name == "content"} == content


def test_nothing_is_sent_empty() -> None:
    empty = AssistantMessage("", CALLED.tool_calls)
    parts = UserMessage((TextPart(""), TextPart("a")))
    body, _ = sent(Profile(fill_empty_content=True), parts, empty, ToolMessage("", "c1"), AssistantMessage(""), USER)
    assert [each["content"] for each in body["messages"]] == [[{"type": "text", "text": "a"}], None, "(empty)", "hi"]


@pytest.mark.parametrize("content", ["", None])
@pytest.mark.parametrize(
    ("said", "member"),
    [
        (AssistantMessage(None, refusal="No."), {"refusal": "No."}),
        (AssistantMessage(None, audio=AudioOutput(id="a1")), {"audio": {"id": "a1"}}),
        (AssistantMessage(None, extra={"function_call": {"name": "f"}}), {"function_call": {"name": "f"}}),
    ],
    ids=["refusal", "audio", "function_call"],
)
def test_what_says_something_without_a_text_is_not_left_out(
    said: AssistantMessage, member: dict[str, Any], content: str | None
) -> None:
    body, _ = sent(Profile(fill_empty_content=True), USER, replace(said, content=content), USER)
    assert body["messages"][1:-1] == [{**member, "role": "assistant", "content": None}]


def test_texts_are_sent_as_one_where_lists_are_not_known() -> None:
    body, _ = sent(Profile(plain_content=True), UserMessage((TextPart("a"), TextPart("b"))))
    assert body["messages"][0]["content"] == "ab"


def test_results_carry_the_name_of_their_tool() -> None:
    assert sent(Profile(tool_names=True), USER, CALLED, RESULT)[0]["messages"][2]["name"] == "add"


def test_a_transcript_with_calls_never_goes_without_tools() -> None:
    assert len(sent(Profile(keep_tools=True), USER, CALLED, RESULT)[0]["tools"]) == 1
    assert "tools" not in sent(Profile(keep_tools=True))[0]


def test_reasoning_goes_back_in_the_member_it_came_in_or_in_the_one_that_is_wanted() -> None:
    kept = AssistantMessage("a", reasoning="r", reasoning_field="reasoning")
    foreign = AssistantMessage("b")
    body, _ = sent(Profile(reasoning="reasoning_content"), USER, kept, USER, foreign, USER)
    assert body["messages"][1]["reasoning"] == "r"
    assert body["messages"][3]["reasoning_content"] == ""
    body, _ = sent(Profile(reasoning="kept"), USER, kept, USER, foreign, USER)
    assert "reasoning" in body["messages"][1]
    assert body["messages"][3] == {"role": "assistant", "content": "b"}
    assert not sent(Profile(reasoning="kept"), USER, foreign, USER)[1]


@pytest.mark.parametrize(
    ("level", "choice", "word", "tools", "instructed"),
    [
        ("required", NamedTool("add"), "required", 1, False),
        ("auto", NamedTool("add"), "auto", 1, True),
        ("never", NamedTool("add"), None, 1, True),
        ("required", "required", "required", 2, False),
        ("auto", "required", "auto", 2, True),
        ("auto", "none", "none", 2, False),
        ("never", "none", None, 2, True),
        ("never", "auto", None, 2, False),
    ],
)
def test_what_forces_a_call_goes_down_step_by_step(
    level: Any, choice: Any, word: str | None, tools: int, instructed: bool
) -> None:
    body, _ = sent(Profile(tool_choice=level), tools=TOOLS, tool_choice=choice)
    assert (body.get("tool_choice"), len(body["tools"])) == (word, tools)
    assert (roles(body) == ["system", "user"]) == instructed


def test_an_instruction_joins_those_that_there_are() -> None:
    body, _ = sent(Profile(tool_choice="auto"), SystemMessage("s"), USER, tools=TOOLS, tool_choice="required")
    assert body["messages"][0]["content"].startswith("s\n\nCall a tool")


def test_the_form_of_an_answer_goes_down_step_by_step() -> None:
    body, _ = sent(Profile(response_format="json_object"), response_format=FORM)
    assert body["response_format"] == {"type": "json_object"}
    assert json.dumps(SCHEMA) in body["messages"][0]["content"]
    body, _ = sent(Profile(response_format="prompt"), UserMessage("json"), response_format={"type": "json_object"})
    assert "response_format" not in body
    assert roles(body) == ["system", "user"]


NODE = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}, "$ref": {"type": "string"}}}
TREE = {
    "$defs": {"Node": NODE, "N": {"const": 1}},
    "type": "object",
    "properties": {"a": {"$ref": "#/$defs/Node", "description": "d"}, "b": {"$ref": "#/$defs/N"}},
}


def test_references_are_written_out_and_end_where_they_turn_back() -> None:
    schema = inlined(TREE)
    assert schema["properties"]["b"] == {"enum": [1]}
    assert schema["properties"]["a"]["description"] == "d"
    assert schema["properties"]["a"]["properties"] == {"next": {}, "$ref": {"type": "string"}}
    assert not {"$ref", "$defs", "const"} & keywords_in(schema)


def test_a_schema_that_would_grow_without_end_is_held() -> None:
    many = {f"d{place}": {"allOf": [{"$ref": f"#/$defs/d{place + 1}"}] * 8} for place in range(40)}
    assert len(json.dumps(inlined({"$defs": many, "$ref": "#/$defs/d0"}))) < 5_000_000


def test_keywords_are_left_out_but_not_properties_of_that_name() -> None:
    schema, found = without_keywords({"properties": {"pattern": {"type": "string", "pattern": "x"}}}, {"pattern"})
    assert (schema, found) == ({"properties": {"pattern": {"type": "string"}}}, {"pattern"})


def test_schemas_of_tools_and_answers_are_fitted() -> None:
    tools = [FunctionTool("t", parameters=TREE)]
    body, changes = sent(Profile(inline_schemas=True, schema_drop=frozenset({"description"})), tools=tools)
    assert not {"$ref", "description"} & keywords_in(body["tools"][0]["function"]["parameters"])
    assert len(changes) == 2


FLAGS = [each.name for each in fields(Profile) if each.default is False]
PROFILES = st.builds(
    Profile,
    drop=st.frozensets(st.sampled_from(["seed", "messages.name", 'user="u"', "stream_options"])),
    token_limit=st.sampled_from(["", "max_tokens", "max_completion_tokens"]),
    system_role=st.sampled_from(["", "system", "user"]),
    tool_choice=st.sampled_from(["", "required", "auto", "never"]),
    response_format=st.sampled_from(["", "json_object", "prompt"]),
    **{name: st.booleans() for name in FLAGS},
)


@given(PROFILES)
def test_a_fitted_request_keeps_what_was_said(profile: Profile) -> None:
    messages = SystemMessage("s"), USER, CALLED, RESULT, UserMessage("u2"), DeveloperMessage("d"), UserMessage("u3")
    body, _ = sent(profile, *messages, tools=TOOLS, seed=1, user="u", tool_choice="required", response_format=FORM)
    text = json.dumps(body["messages"])
    assert all(f"{word}" in text for word in ("hi", "u2", "u3", "c1"))
    assert roles(body).count("tool") == 1


@given(PROFILES, PROFILES)
def test_profiles_join_and_survive_json(one: Profile, other: Profile) -> None:
    assert one | other == other | one
    assert (one | other) | other == one | other
    assert Profile.from_json(json.loads(json.dumps(one.to_json()))) == one


@pytest.mark.parametrize(
    "raw", [None, [], {"drop": 3, "token_limit": "nothing", "null_content_as_empty": "yes", "newer": 1}]
)
def test_what_is_no_profile_is_an_empty_one(raw: object) -> None:
    assert not Profile.from_json(raw)
