import json
from typing import Any, cast

import pytest
from pydantic import BaseModel, ConfigDict

from agentkit.chat.content import FilePart
from agentkit.chat.messages import AssistantMessage, ToolCall, UserMessage
from agentkit.chat.request import ChatRequest, CustomTool, FunctionTool, Grammar, given_message, read_tool
from agentkit.chat.settings import AllowedTools, ChatSettings, NamedTool
from agentkit.errors import ConfigError

QUESTION = [UserMessage("hi")]
ADD = FunctionTool("add", "Add.", {"type": "object", "properties": {"a": {"type": "integer"}}}, strict=True)


def body(request: ChatRequest) -> Any:
    return json.loads(request.encode("m"))


def test_the_smallest_request_has_a_model_and_messages_and_nothing_else() -> None:
    assert body(ChatRequest(messages=QUESTION)) == {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def test_tools_and_how_to_choose_them_are_sent() -> None:
    settings = ChatSettings(tool_choice=NamedTool("add"), parallel_tool_calls=False)
    sent = body(ChatRequest(messages=QUESTION, tools=[ADD], settings=settings))
    function = {"name": "add", "description": "Add.", "parameters": ADD.parameters, "strict": True}
    assert sent["tools"] == [{"type": "function", "function": function}]
    assert sent["tool_choice"] == {"type": "function", "function": {"name": "add"}}
    assert sent["parallel_tool_calls"] is False


def test_without_tools_no_member_about_tools_is_sent() -> None:
    settings = ChatSettings(tool_choice="auto", parallel_tool_calls=True)
    assert set(body(ChatRequest(messages=QUESTION, settings=settings))) == {"model", "messages"}


def test_a_streamed_request_asks_for_its_usage() -> None:
    sent = body(ChatRequest(messages=QUESTION, stream=True))
    assert sent["stream"] is True
    assert sent["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 0.5, "top_p": 1, "max_completion_tokens": 9, "seed": 1, "n": 2, "stop": ["a"]},
        {"frequency_penalty": -2, "presence_penalty": 2.0, "logit_bias": {"50256": -100}},
        {"logprobs": True, "top_logprobs": 20},
        {"reasoning_effort": "some newer word", "verbosity": "low", "service_tier": "flex"},
        {"response_format": {"type": "text"}, "prediction": {"type": "content", "content": "x"}},
        {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}},
        {"web_search_options": {"user_location": {"type": "approximate", "approximate": {"country": "FR"}}}},
        {"store": False, "metadata": {"a": "b"}, "user": "u", "safety_identifier": "s", "moderation": {"model": "m"}},
        {"prompt_cache_key": "k", "prompt_cache_options": {"mode": "implicit"}, "prompt_cache_retention": "24h"},
    ],
)
def test_every_parameter_is_sent_as_it_is_named(settings: dict[str, Any]) -> None:
    sent = body(ChatRequest(messages=QUESTION, settings=ChatSettings(**settings)))
    assert {name: sent[name] for name in settings} == settings


def test_members_without_a_name_here_pass_through() -> None:
    sent = body(ChatRequest(messages=QUESTION, settings=ChatSettings(extra_body={"top_k": 5})))
    assert sent["top_k"] == 5


def test_null_is_sent_when_it_is_asked_for() -> None:
    sent = body(ChatRequest(messages=QUESTION, settings=ChatSettings(extra_body={"stop": None})))
    assert sent["stop"] is None


def test_a_custom_tool_is_sent_with_its_grammar() -> None:
    plain, sql = CustomTool("note", "Take a note."), CustomTool("sql", grammar=Grammar("lark", "start: /.+/"))
    sent = body(ChatRequest(messages=QUESTION, tools=[plain, sql]))["tools"]
    assert sent[0] == {"type": "custom", "custom": {"name": "note", "description": "Take a note."}}
    grammar = {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: /.+/"}}
    assert sent[1] == {"type": "custom", "custom": {"name": "sql", "format": grammar}}
    assert [read_tool(each) for each in sent] == [plain, sql]


def test_a_function_is_read_from_its_wire_form() -> None:
    assert read_tool(ADD.to_wire()) == ADD
    assert read_tool({"type": "function", "function": {"name": "f"}}) == FunctionTool("f")


def test_no_member_of_a_tool_is_lost_without_a_word() -> None:
    mores: list[dict[str, Any]] = [{"cache_control": {}}, {"function": {"name": "f", "examples": []}}]
    for more in mores:
        with pytest.raises(ConfigError, match=r"the tool 'f' has members .*\((cache_control|examples)\): .*extra_body"):
            read_tool({"type": "function", "function": {"name": "f"}, **more})


@pytest.mark.parametrize("raw", [{}, {"type": "function"}, {"type": "web_search"}, {"custom": {"name": 3}}])
def test_what_is_no_tool_is_refused(raw: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="a tool is"):
        read_tool(raw)


def test_how_many_tools_a_request_may_have_is_for_the_server_to_say() -> None:
    body = json.loads(ChatRequest(messages=QUESTION, tools=[FunctionTool(f"f{n}") for n in range(500)]).encode("m"))
    assert len(body["tools"]) == 500


ALLOWED = ChatSettings(tool_choice=AllowedTools(["add", "subtract"]))


@pytest.mark.parametrize(
    ("request_", "complaint"),
    [
        (ChatRequest(messages=[]), "at least one message"),
        (ChatRequest(messages=QUESTION, tools=[ADD, ADD]), "two tools are named 'add'"),
        (ChatRequest(messages=QUESTION, tools=[FunctionTool("two words")]), "'two words'"),
        (ChatRequest(messages=QUESTION, tools=[ADD], settings=ChatSettings(tool_choice=NamedTool("x"))), "names 'x'"),
        (ChatRequest(messages=QUESTION, tools=[FunctionTool("f", "", {"type": "array"})]), "type 'array'"),
        (ChatRequest(messages=QUESTION, tools=[ADD], settings=ALLOWED), "'subtract'"),
        (
            ChatRequest(messages=QUESTION, tools=[ADD], settings=ChatSettings(extra_body={"tools": []})),
            "only one of them",
        ),
        (ChatRequest(messages=QUESTION, settings=ChatSettings(response_format={"type": "json_object"})), '"json"'),
        (
            ChatRequest(messages=QUESTION, tools=[ADD], settings=ChatSettings(tool_choice=AllowedTools([]))),
            "allows no tool at all",
        ),
        (ChatRequest(messages=QUESTION, settings=ChatSettings(extra_body={"a": object()})), "JSON cannot express"),
        (ChatRequest(messages=QUESTION, settings=ChatSettings(extra_body={"a": float("nan")})), "JSON cannot express"),
        (ChatRequest(messages=[UserMessage((FilePart(file_data=cast("Any", b"a")),))]), "JSON cannot express"),
    ],
)
def test_a_request_that_no_server_takes_is_refused_before_it_is_sent(request_: ChatRequest, complaint: str) -> None:
    with pytest.raises(ConfigError) as raised:
        request_.encode("m")
    assert complaint in str(raised.value)


def test_json_mode_is_fine_when_the_messages_ask_for_json() -> None:
    settings = ChatSettings(response_format={"type": "json_object"})
    assert body(ChatRequest(messages=[UserMessage("Answer in JSON.")], settings=settings))["response_format"]


class Function(BaseModel):
    name: str
    arguments: str


class Call(BaseModel):
    id: str
    function: Function
    type: str = "function"
    custom: None = None


class Answer(BaseModel):
    """The message of a reply as the openai package has it."""

    model_config = ConfigDict(extra="allow")
    content: str | None = None
    refusal: str | None = None
    role: str = "assistant"
    annotations: None = None
    audio: None = None
    function_call: None = None
    tool_calls: list[Call] | None = None


CALL = Call(id="a", function=Function(name="add", arguments='{"a": null}'))


@pytest.mark.parametrize(
    "given",
    [
        Answer(tool_calls=[CALL]),
        Answer(tool_calls=[CALL]).model_dump(),
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "assistant", "tool_calls": (CALL.model_dump(),), "name": None},
    ],
)
def test_a_message_of_the_openai_package_is_sent_without_its_null_members(given: Any) -> None:
    message = given_message(given)
    assert message == AssistantMessage(None, (ToolCall("a", "add", '{"a": null}'),))
    function = {"name": "add", "arguments": '{"a": null}'}
    assert json.loads(message.wire) == {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "a", "type": "function", "function": function}],
    }


def test_null_is_left_out_of_parts_but_not_of_data() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:,", "detail": None}, "prompt_cache_breakpoint": None}
    message = given_message({"role": "user", "content": [image], "newer": {"a": None}})
    assert json.loads(message.wire) == {
        "role": "user",
        "content": [{"type": "image_url", "image_url": {"url": "data:,"}}],
        "newer": {"a": None},
    }
    call = {"id": "a", "type": "function", "function": {"name": "add", "arguments": {"a": None}}}
    assert given_message({"role": "assistant", "tool_calls": [call]}) == AssistantMessage(
        None, (ToolCall("a", "add", '{"a": null}'),)
    )


def test_a_request_knows_the_ids_of_all_earlier_calls() -> None:
    said = AssistantMessage(None, (ToolCall("a", "add", "{}"), ToolCall("b", "add", "{}")))
    assert ChatRequest(messages=[*QUESTION, said], used_ids=["c"]).call_ids == {"a", "b", "c"}


def test_the_number_of_tools_is_for_the_server_to_limit() -> None:
    request = ChatRequest(messages=QUESTION, tools=[FunctionTool(f"f{n}") for n in range(500)])
    assert len(body(request)["tools"]) == 500
