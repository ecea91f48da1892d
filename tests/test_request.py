import json
from typing import Any

import pytest

from agentkit.chat.messages import UserMessage
from agentkit.chat.request import ChatRequest, FunctionTool
from agentkit.chat.settings import ChatSettings, NamedTool
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
        {"response_format": {"type": "json_object"}, "prediction": {"type": "content", "content": "x"}},
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


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"temperature": 3}, "temperature is 3, but must be from 0 to 2"),
        ({"temperature": "hot"}, "temperature must be a number, not 'hot'"),
        ({"temperature": True}, "temperature must be a number"),
        ({"n": 0}, "n is 0"),
        ({"top_logprobs": 2}, "top_logprobs needs logprobs"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop takes one to four"),
        ({"stop": []}, "stop takes one to four"),
        ({"metadata": {str(each): "" for each in range(17)}}, "17 pairs"),
        ({"metadata": {"k" * 65: "v"}}, "64 characters"),
        ({"modalities": ["audio"]}, "audio="),
        ({"max_tokens": 1, "max_completion_tokens": 1}, "only one"),
        ({"max_tokens": 0}, "at least 1"),
        ({"logit_bias": {"1": 101}}, "logit_bias"),
    ],
)
def test_a_wrong_value_is_refused_before_anything_is_sent(settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint.replace("(", r"\(")):
        ChatSettings(**settings)


def test_settings_go_over_others_where_they_say_something() -> None:
    agents = ChatSettings(temperature=0, seed=1)
    assert ChatSettings(temperature=1).over(agents) == ChatSettings(temperature=1, seed=1)
