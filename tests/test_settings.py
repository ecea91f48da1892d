from dataclasses import fields
from typing import Any

import pytest

from agentkit.chat.settings import (
    AllowedTools,
    AudioOptions,
    ChatSettings,
    NamedTool,
    Parameters,
    Prediction,
    WebSearchOptions,
    choice_to_wire,
    json_schema,
    without_force,
)
from agentkit.errors import ConfigError

# What the API has beside model, messages, tools and stream; and our two doors for everything else.
PARAMETERS = """
audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_tokens metadata
modalities moderation n parallel_tool_calls prediction presence_penalty prompt_cache_key prompt_cache_options
prompt_cache_retention reasoning_effort response_format safety_identifier seed service_tier stop store
stream_options temperature tool_choice top_logprobs top_p user verbosity web_search_options
"""


def test_every_parameter_of_the_api_has_a_name_and_a_description() -> None:
    names = {each.name for each in fields(ChatSettings)}
    assert names == {*PARAMETERS.split(), "extra_body", "extra_headers"}
    assert [name for name in names if f"        {name}: " not in str(ChatSettings.__doc__)] == []


@pytest.mark.parametrize("name", sorted(Parameters.__annotations__))
def test_a_value_of_another_kind_is_refused_for_every_parameter(name: str) -> None:
    with pytest.raises(ConfigError, match=f"^{name} must be .*, not "):
        ChatSettings(**{name: pytest})  # type: ignore[arg-type]  # what nobody may pass


def test_the_parameters_of_the_clients_methods_are_those_of_the_settings() -> None:
    assert set(Parameters.__annotations__) == {each.name for each in fields(ChatSettings)}


@pytest.mark.parametrize(
    "settings",
    [
        {"reasoning_effort": "newer", "verbosity": "newer", "service_tier": "newer", "prompt_cache_retention": "newer"},
        {"modalities": ["text", "newer"], "response_format": {"type": "newer"}},
        {"audio": {"voice": {"id": "v"}, "format": "newer"}, "modalities": ("audio",)},
        {"web_search_options": {"search_context_size": "newer", "newer": 1}},
        {"prediction": {"type": "newer", "content": [{"type": "text", "text": "x"}]}},
        {"prediction": {"type": "newer", "newer": 1}},
        {"web_search_options": {"user_location": {"type": "newer", "newer": {}}}},
        {"temperature": 2, "top_p": 0, "n": 128, "seed": -(2**63), "max_tokens": 1},
        {"stop": "x", "functions": [{"name": "f"}], "function_call": {"name": "f"}},
        {"logit_bias": {"1": 100, "2": -100}, "metadata": {}, "extra_body": {"tools": []}},
    ],
)
def test_words_and_members_newer_than_our_list_are_taken(settings: dict[str, Any]) -> None:
    assert ChatSettings(**settings).to_wire().items() <= settings.items()


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"temperature": 3}, "temperature is 3, but must be from 0 to 2"),
        ({"temperature": "hot"}, "temperature must be a number, not 'hot'"),
        ({"temperature": True}, "temperature must be a number"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"top_p": 1.1}, "top_p is 1.1"),
        ({"frequency_penalty": -2.1}, "from -2 to 2"),
        ({"n": 0}, "n is 0"),
        ({"n": 129}, "from 1 to 128"),
        ({"n": 1.5}, "n must be a whole number, not 1.5"),
        ({"seed": 2**63}, "seed is 9223372036854775808"),
        ({"max_tokens": 0}, "at least 1"),
        ({"max_tokens": 1, "max_completion_tokens": 1}, "only one"),
        ({"top_logprobs": 2}, "top_logprobs needs logprobs"),
        ({"top_logprobs": 21, "logprobs": True}, "from 0 to 20"),
        ({"logprobs": 5}, "logprobs must be True or False, not 5"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop must be one to four"),
        ({"stop": []}, "stop must be one to four"),
        ({"stop": [1]}, "stop must be one to four"),
        ({"metadata": {str(each): "" for each in range(17)}}, "17 pairs"),
        ({"metadata": {"k" * 65: "v"}}, "64 characters"),
        ({"metadata": {"k": "v" * 513}}, "512"),
        ({"metadata": {"k": 1}}, "keys and values must be strings"),
        ({"metadata": "x"}, "metadata must be an object"),
        ({"modalities": ["audio"]}, "audio="),
        ({"modalities": []}, "modalities must be a list"),
        ({"modalities": "text"}, "modalities must be a list"),
        ({"audio": {"voice": "alloy"}}, "audio must have format"),
        ({"audio": {}}, "audio must have voice and format"),
        ({"prediction": {"content": "x"}}, "prediction must have type"),
        ({"prediction": {"type": "content", "content": []}}, "no parts"),
        ({"web_search_options": {"user_location": {"city": "Paris"}}}, "user_location must have type and approximate"),
        ({"moderation": {}}, "moderation must have model"),
        ({"response_format": {}}, "response_format must have type"),
        ({"response_format": {"type": "json_schema"}}, "must have json_schema="),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}}, "must have name"),
        ({"response_format": json_schema("two words", {}, strict=None)}, "'two words'"),
        ({"logit_bias": {"1": 101}}, "from -100 to 100"),
        ({"logit_bias": {"word": 1}}, "its keys are digits"),
        ({"functions": []}, "functions must be 1 to 128"),
        ({"functions": [{}]}, "functions must be 1 to 128"),
        ({"function_call": "auto"}, "function_call needs functions"),
        ({"reasoning_effort": 3}, "reasoning_effort must be a string, not 3"),
        ({"safety_identifier": "x" * 129}, "128 characters"),
        ({"extra_body": {"messages": []}}, "extra_body has messages"),
        ({"extra_body": {"n": 2}}, "extra_body has n"),
        ({"tool_choice": 5}, "tool_choice must be a word, NamedTool(...) or AllowedTools([...]), not 5"),
        ({"functions": [{"name": "f"}], "function_call": 5}, "function_call must be a word or an object"),
    ],
)
def test_a_wrong_value_is_refused_before_anything_is_sent(settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError) as raised:
        ChatSettings(**settings)
    assert complaint in str(raised.value)
    assert "\n" not in str(raised.value)


def test_headers_are_not_shown_as_they_may_hold_a_key() -> None:
    assert "sk-secret" not in repr(ChatSettings(extra_headers={"authorization": "Bearer sk-secret"}))


def test_settings_go_over_others_where_they_say_something() -> None:
    agents = ChatSettings(temperature=0, seed=1)
    assert ChatSettings(temperature=1).over(agents) == ChatSettings(temperature=1, seed=1)


def test_one_name_of_the_token_limit_goes_over_the_other() -> None:
    assert ChatSettings(max_completion_tokens=5).over(ChatSettings(max_tokens=9)) == ChatSettings(
        max_completion_tokens=5
    )


def test_objects_can_be_written_as_typed_values() -> None:
    audio: AudioOptions = {"voice": {"id": "voice_1"}, "format": "wav"}
    prediction: Prediction = {"type": "content", "content": "x"}
    search: WebSearchOptions = {"user_location": {"type": "approximate", "approximate": {"country": "FR"}}}
    settings = ChatSettings(audio=audio, prediction=prediction, web_search_options=search)
    assert settings.to_wire() == {"audio": audio, "prediction": prediction, "web_search_options": search}


def test_a_schema_for_the_answer_is_written_as_the_api_wants_it() -> None:
    schema = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
    assert json_schema("city", schema, description="A city.") == {
        "type": "json_schema",
        "json_schema": {"name": "city", "schema": schema, "description": "A city.", "strict": True},
    }
    assert "strict" not in json_schema("city", schema, strict=None)["json_schema"]


def test_a_strict_schema_is_closed_and_one_that_cannot_be_strict_is_refused_with_the_reason() -> None:
    name: dict[str, Any] = {"type": "string", "title": "Name"}
    sent = json_schema("city", {"type": "object", "properties": {"name": name}, "required": ["name"]})["json_schema"]
    assert sent["schema"] == {
        "type": "object",
        "properties": {"name": {"type": "string"}},
        "required": ["name"],
        "additionalProperties": False,
    }
    for schema, reason in (
        ({"type": "object", "properties": {"name": name}}, "'name' is optional; make it required, and a union"),
        ({"type": "array", "items": name}, "it is not an object; make it a member of one"),
        ({"type": "object"}, "takes members of any name"),
        (_object(list={"type": "array", "uniqueItems": True, "items": name}), "'list' has 'uniqueItems'"),
        (_object(pair={"type": "array", "prefixItems": [name, {"type": "integer"}]}), "'pair' is a tuple of several"),
        (_object(pet={"oneOf": [name, {"type": "integer"}]}), "'pet' has 'oneOf'"),
        (_object(any={"description": "Anything."}), "'any' may be anything; give it a type"),
    ):
        with pytest.raises(ConfigError, match=f"json_schema 'city' cannot be strict: .*{reason}.*; or give strict=N"):
            json_schema("city", schema)
        assert json_schema("city", schema, strict=None)["json_schema"]["schema"] == schema


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


@pytest.mark.parametrize(
    ("choice", "wire"),
    [
        ("required", "required"),
        (NamedTool("add"), {"type": "function", "function": {"name": "add"}}),
        (NamedTool("sql", "custom"), {"type": "custom", "custom": {"name": "sql"}}),
        (
            AllowedTools(["add", NamedTool("sql", "custom")], "required"),
            {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "required",
                    "tools": [
                        {"type": "function", "function": {"name": "add"}},
                        {"type": "custom", "custom": {"name": "sql"}},
                    ],
                },
            },
        ),
        ({"type": "newer"}, {"type": "newer"}),
    ],
)
def test_every_form_of_tool_choice_is_written_as_the_api_wants_it(choice: Any, wire: Any) -> None:
    assert choice_to_wire(choice) == wire


@pytest.mark.parametrize(
    ("choice", "later"),
    [
        ("required", "auto"),
        ("none", "none"),
        (NamedTool("add"), "auto"),
        (AllowedTools(["add"], "required"), AllowedTools(["add"])),
    ],
)
def test_a_choice_without_its_force_still_says_which_tools_are_allowed(choice: Any, later: Any) -> None:
    assert without_force(choice) == later
