import json
import time
from typing import Any, cast

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from agentkit.chat.compat.apply import PreparedRequest, apply_profile
from agentkit.chat.compat.learn import Lesson, learn_from_error
from agentkit.chat.compat.profile import Profile
from agentkit.chat.compat.rules import RULES, Rule
from agentkit.chat.messages import UserMessage
from agentkit.chat.request import ChatRequest, FunctionTool
from agentkit.chat.settings import ChatSettings
from agentkit.chat.transport.status import error_of_status
from agentkit.errors import StatusError

USER = {"role": "user", "content": "hi"}
CALL = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
CALLS = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "3"}
SCHEMA = {"type": "object", "properties": {"a": {"type": "string", "minLength": 1}}}
ADD = {"type": "function", "function": {"name": "add", "parameters": SCHEMA, "strict": True}}
REFERRING = {"$defs": {"A": {"type": "string"}}, "type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}}
FORM = {"type": "json_schema", "json_schema": {"name": "f", "schema": SCHEMA, "strict": True}}
NAMED = {"type": "function", "function": {"name": "add"}}


def drop(*members: str) -> Profile:
    return Profile(drop=frozenset(members))


def refused(status: int, body: object) -> StatusError:
    error = error_of_status(status, {}, json.dumps(body).encode(), server="srv")
    assert isinstance(error, StatusError)
    return error


def openai(message: str, param: str | None = None, code: str | None = None) -> Any:
    return {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}}


def pydantic(*loc: str | int, kind: str = "extra_forbidden", msg: str = "Extra inputs are not permitted") -> Any:
    return {"detail": [{"type": kind, "loc": list(loc), "msg": msg, "input": "x"}]}


SYSTEM = {"role": "system", "content": "x"}
STREAMED = {"stream": True, "stream_options": {"include_usage": True}}
AS_USER = Profile(system_role="user", merge_user_turns=True)
A_LIMIT = Profile(token_limit="max_tokens", assign=frozenset({"max_tokens=4096 without max_tokens"}))
OLD, NEW = Profile(token_limit="max_tokens"), Profile(token_limit="max_completion_tokens")

# server, what was sent beside model and a message, status, body of the error, what is learned
WORDINGS: list[tuple[str, dict[str, Any], int, Any, Profile | None]] = [
    # A member that the server does not know.
    ("openai", {"foo": 1}, 400, openai("Unrecognized request argument supplied: foo"), drop("foo")),
    ("azure", {"parallel_tool_calls": True, "seed": 1}, 400, openai("Unrecognized request arguments supplied: parallel_tool_calls, seed"), drop("parallel_tool_calls", "seed")),
    ("openai", {"parallel_tool_calls": False}, 400, openai("Unsupported parameter: 'parallel_tool_calls' is not supported with this model.", "parallel_tool_calls", "unsupported_parameter"), drop("parallel_tool_calls")),
    ("openai", {"stop": ["x"]}, 400, openai("Unsupported parameter: 'stop' is not supported with this model.", "stop", "unsupported_parameter"), drop("stop")),
    ("openai", {"temperature": 0.2}, 400, openai("Unsupported value: 'temperature' does not support 0.2 with this model. Only the default (1) value is supported.", "temperature", "unsupported_value"), drop("temperature")),
    ("openai", {"reasoning_effort": "minimal"}, 400, openai("Unsupported value: 'reasoning_effort' does not support 'minimal' with this model. Supported values are: 'low', 'medium', and 'high'.", "reasoning_effort", "unsupported_value"), drop('reasoning_effort="minimal"')),
    ("openai", {"foo": {"bar": 1}}, 400, openai("Unknown parameter: 'foo'.", "foo", "unknown_parameter"), drop("foo")),
    ("openai", {"messages": [USER | {"foo": 1}]}, 400, openai("Unknown parameter: 'messages[0].foo'.", "messages[0].foo"), drop("messages.foo")),
    ("openai", {"messages": [USER, CALLS | {"refusal": None}]}, 400, openai("Additional properties are not allowed ('refusal' was unexpected) - 'messages.1'"), drop("messages.refusal")),
    ("mistral", {"stream_options": {"include_usage": True}}, 422, pydantic("body", "stream_options"), drop("stream_options")),
    ("mistral", {"seed": 1}, 422, {"object": "error", "message": pydantic("body", "seed"), "type": "invalid_request_error", "code": None}, drop("seed")),
    ("vllm", {"store": True}, 400, {"object": "error", "message": "[{'type': 'extra_forbidden', 'loc': ('body', 'store'), 'msg': 'Extra inputs are not permitted', 'input': True}]", "type": "BadRequestError", "code": 400}, drop("store=true")),
    ("fireworks", {"service_tier": "flex"}, 400, openai("Extra inputs are not permitted, field: 'service_tier', value: 'flex'"), drop("service_tier")),
    ("anthropic", {"store": True}, 400, openai("store: Extra inputs are not permitted"), drop("store=true")),
    ("anthropic", {"tools": [ADD]}, 400, openai("tools.0.function.strict: Extra inputs are not permitted"), drop("tools.function.strict")),
    ("cerebras", {"tools": [ADD]}, 422, pydantic("body", "tools", 0, "function", "strict"), drop("tools.function.strict")),
    ("groq", {"messages": [USER, CALLS | {"reasoning": "r"}]}, 400, openai("'messages.1' : for 'role:assistant' the following must be satisfied[('messages.1' : property 'reasoning' is unsupported, did you mean 'role'?)]"), drop("messages.reasoning")),
    ("groq", {"logprobs": True, "top_logprobs": 2}, 400, openai("`logprobs` is not supported with this model"), drop("logprobs")),
    ("groq", {"logit_bias": {"1": 1}}, 400, openai("property 'logit_bias' is unsupported"), drop("logit_bias")),
    ("gemini", {"seed": 1}, 400, [{"error": {"code": 400, "message": 'Invalid JSON payload received. Unknown name "seed": Cannot find field.', "status": "INVALID_ARGUMENT"}}], drop("seed")),
    ("xai", {"presence_penalty": 1}, 400, {"code": "Client specified an invalid argument", "error": "Argument not supported on this model: presencePenalty"}, drop("presence_penalty")),
    ("xai", {"stop": ["a"]}, 400, {"error": "Model grok-4 does not support parameter stop."}, drop("stop")),
    ("litellm", {"seed": 3}, 400, openai("litellm.UnsupportedParamsError: ollama does not support parameters: ['seed'], for model=x. To drop these, set `litellm.drop_params=True`"), drop("seed")),
    ("litellm", {"parallel_tool_calls": True}, 500, {"detail": "acompletion() got an unexpected keyword argument 'parallel_tool_calls'"}, drop("parallel_tool_calls")),
    ("go", {"verbosity": "low"}, 400, {"error": 'json: unknown field "verbosity"'}, drop("verbosity")),
    ("deepseek", {"user": "u"}, 422, {"error": {"message": "Failed to deserialize the JSON body into the target type: unknown field `user`, expected one of `model`, `seed` at line 1 column 9"}}, drop("user")),
    ("llama.cpp", {"logit_bias": {}}, 501, {"error": {"code": 501, "message": "Unsupported param: logit_bias", "type": "not_supported_error"}}, drop("logit_bias")),
    ("openrouter", {"seed": 1}, 400, {"error": {"message": "Provider returned error", "code": 400, "metadata": {"raw": '{"error":{"message":"Unsupported parameter: \'seed\'"}}', "provider_name": "X"}}}, drop("seed")),
    ("azure", {"metadata": {"a": "b"}}, 400, openai("The 'metadata' parameter is only allowed when 'store' is enabled."), drop("metadata without store")),
    ("acedata", {"store": True}, 400, {"error": {"code": "bad_request", "message": "store is not supported"}, "trace_id": "t"}, drop("store=true")),
    ("moonshot", {"messages": [USER, CALLS | {"tool_calls": [CALL | {"extra_content": {}}]}]}, 400, openai("unknown field: messages[1].tool_calls[0].extra_content"), drop("messages.tool_calls.extra_content")),
    # The limit of tokens.
    ("openai", {"max_tokens": 9}, 400, openai("Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.", "max_tokens", "unsupported_parameter"), NEW),
    ("azure", {"max_completion_tokens": 9}, 400, openai("Unrecognized request argument supplied: max_completion_tokens"), OLD),
    ("mistral", {"max_completion_tokens": 9}, 422, pydantic("body", "max_completion_tokens"), OLD),
    # Roles.
    ("vllm", {"messages": [{"role": "developer", "content": "x"}]}, 400, {"object": "error", "message": "Unexpected message role.", "code": 400}, Profile(system_role="system")),
    ("deepseek", {"messages": [{"role": "developer", "content": "x"}]}, 422, {"error": {"message": "messages[0].role: unknown variant `developer`, expected one of `system`, `user`, `assistant`, `tool`"}}, Profile(system_role="system")),
    ("groq", {"messages": [{"role": "developer", "content": "x"}]}, 400, openai("'messages.0' : discriminator property 'role' has invalid value: 'developer' is not one of ['system','user','assistant','tool']"), Profile(system_role="system")),
    ("o1-mini", {"messages": [{"role": "system", "content": "x"}, USER]}, 400, openai("Unsupported value: 'messages[0].role' does not support 'system' with this model.", "messages[0].role", "unsupported_value"), Profile(system_role="user", merge_user_turns=True)),
    ("gemma", {"messages": [{"role": "system", "content": "x"}, USER]}, 400, {"object": "error", "message": "System role not supported", "code": 400}, Profile(system_role="user", merge_user_turns=True)),
    ("gemini", {"messages": [{"role": "system", "content": "x"}, USER]}, 400, openai("Developer instruction is not enabled for models/gemma-3-27b-it"), Profile(system_role="user", merge_user_turns=True)),
    ("qwen", {"messages": [USER, {"role": "system", "content": "x"}]}, 400, {"object": "error", "message": "System message must be at the beginning.", "code": 400}, Profile(single_system_message=True)),
    ("llama.cpp", {"messages": [USER, USER]}, 500, {"error": {"code": 500, "message": "Conversation roles must alternate user/assistant/user/assistant/...", "type": "server_error"}}, Profile(merge_user_turns=True)),
    ("mistral", {"messages": [USER, CALLS, RESULT, USER]}, 400, {"object": "error", "message": "Unexpected role 'user' after role 'tool'", "code": None}, Profile(assistant_after_tool=True)),
    # What forces a call.
    ("deepinfra", {"tools": [ADD], "tool_choice": NAMED}, 422, pydantic("body", "tool_choice", "str", kind="string_type", msg="Input should be a valid string"), Profile(tool_choice="required")),
    ("deepseek", {"tools": [ADD], "tool_choice": "required"}, 400, openai("Thinking mode does not support this tool_choice"), Profile(tool_choice="auto")),
    ("openrouter", {"tools": [ADD], "tool_choice": NAMED}, 404, openai("No endpoints found that support the provided 'tool_choice' value."), Profile(tool_choice="required")),
    ("vllm", {"tools": [ADD], "tool_choice": "required"}, 400, {"object": "error", "message": "tool_choice must be one of 'auto', 'none'", "code": 400}, Profile(tool_choice="auto")),
    ("ollama", {"tools": [ADD], "tool_choice": "auto"}, 400, openai("Extra inputs are not permitted: tool_choice"), Profile(tool_choice="never")),
    ("vllm", {"tools": [ADD], "tool_choice": "auto"}, 400, {"message": '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'}, Profile(assign=frozenset({'tool_choice="none" with tools'}), calls_in_text=True)),
    # The form of the answer.
    ("deepseek", {"response_format": FORM}, 400, openai("This response_format type is unavailable now"), Profile(response_format="json_object")),
    ("groq", {"response_format": FORM}, 400, openai("This model does not support response format `json_schema`. See supported models", "response_format"), Profile(response_format="json_object")),
    ("openai", {"response_format": FORM}, 400, openai("Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model.", "response_format"), Profile(response_format="json_object")),
    ("openai", {"response_format": {"type": "json_object"}}, 400, openai("Invalid parameter: 'response_format' of type 'json_object' is not supported with this model."), Profile(response_format="prompt")),
    # Schemas.
    ("gemini", {"tools": [{"type": "function", "function": {"name": "f", "parameters": REFERRING}}]}, 400, [{"error": {"code": 400, "message": 'Invalid JSON payload received. Unknown name "$ref" at \'tools[0].function_declarations[0].parameters.properties[0].value\': Cannot find field.'}}], Profile(inline_schemas=True)),
    ("gemini", {"tools": [ADD]}, 400, [{"error": {"code": 400, "message": 'Invalid JSON payload received. Unknown name "minLength" at \'tools[0].function_declarations[0].parameters\': Cannot find field.'}}], Profile(schema_drop=frozenset({"minLength"}))),
    ("openai", {"tools": [ADD]}, 400, openai("Invalid schema for function 'add': In context=('properties', 'a'), 'minLength' is not permitted.", "tools[0].function.parameters"), Profile(schema_drop=frozenset({"minLength"}))),
    ("openai", {"tools": [ADD]}, 400, openai("Invalid schema for function 'add': In context=(), 'additionalProperties' is required to be supplied and to be false.", "tools[0].function.parameters"), drop("tools.function.strict", "response_format.json_schema.strict")),
    ("openai", {"response_format": FORM}, 400, openai("Invalid schema for response_format 'f': In context=(), 'additionalProperties' is required to be supplied and to be false.", "response_format"), drop("tools.function.strict", "response_format.json_schema.strict")),
    # Content.
    ("openai", {"messages": [USER, CALLS, RESULT]}, 400, openai("Invalid value for 'content': expected a string, got null.", "messages.[1].content"), Profile(null_content_as_empty=True)),
    ("vllm", {"messages": [USER, CALLS, RESULT]}, 422, pydantic("body", "messages", 1, "content", kind="string_type", msg="Input should be a valid string"), Profile(null_content_as_empty=True)),
    ("anthropic", {"messages": [USER, CALLS | {"content": ""}, RESULT]}, 400, openai("messages: text content blocks must be non-empty"), Profile(fill_empty_content=True)),
    ("mistral", {"messages": [USER, {"role": "assistant", "content": ""}, USER]}, 400, {"message": "Assistant message must have either content or tool_calls, but not none."}, Profile(fill_empty_content=True)),
    ("proxy", {"messages": [USER, CALLS | {"content": "x"}, RESULT | {"content": ""}]}, 400, openai("messages[2].content must not be empty"), Profile(fill_empty_content=True)),
    ("groq", {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]}, 400, openai("'messages.0' : for 'role:user' the following must be satisfied[('messages.0.content' : value must be a string)]"), Profile(plain_content=True)),
    ("gemini", {"messages": [USER, CALLS, RESULT]}, 400, [{"error": {"code": 400, "message": "GenerateContentRequest.contents[2].parts[0].function_response.name: Name cannot be empty."}}], Profile(tool_names=True)),
    ("deepseek", {"messages": [USER, CALLS, RESULT]}, 400, openai("The `reasoning_content` in the thinking mode must be passed back to the API."), Profile(reasoning="reasoning_content")),
    ("litellm", {"messages": [USER, CALLS, RESULT]}, 400, openai("litellm.UnsupportedParamsError: Anthropic expects the `tools=` param to be passed when there are tool calls in messages"), Profile(keep_tools=True)),
    ("bedrock", {"messages": [USER, CALLS, RESULT]}, 400, openai("The toolConfig field must be defined when using toolUse and toolResult content blocks."), Profile(keep_tools=True)),
    ("llama.cpp", {"tools": [ADD], "stream": True}, 500, {"error": {"code": 500, "message": "Cannot use tools with stream", "type": "server_error"}}, drop("stream", "stream_options")),
    # No lesson.
    ("openai", {"temperature": 3}, 400, openai("Invalid 'temperature': decimal above maximum value. Expected a value <= 2, but got 3 instead.", "temperature", "decimal_above_max_value"), None),
    ("openai", {"service_tier": "x"}, 400, openai("Invalid value: 'x'. Supported values are: 'auto', 'default', and 'flex'.", "service_tier"), None),
    ("openai", {"max_tokens": 10**6}, 400, openai("max_tokens is too large: 1000000. This model supports at most 16384 completion tokens, whereas you provided 1000000.", "max_tokens", "invalid_value"), None),
    ("openai", {"n": 2}, 400, openai("Unsupported parameter: 'n' is not supported with this model.", "n"), None),
    ("openai", {"seed": 1}, 404, openai("The model `seed-9` does not exist or you do not have access to it.", None, "model_not_found"), None),
    ("openai", {"seed": 1}, 500, openai("The server had an error while processing your request. Sorry about that!"), None),
    ("openai", {"seed": 1}, 400, openai("An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'."), None),
    ("openai", {"tools": [ADD]}, 400, openai("Invalid image: not supported image type"), None),
    ("html", {"seed": 1}, 502, "<html>Bad gateway</html>", None),
    # Words that only look like a complaint about the system prompt.
    ("proxy", {"messages": [SYSTEM, USER]}, 500, openai("The server is overloaded. Please retry or use an alternative model."), None),
    ("proxy", {"messages": [SYSTEM, USER]}, 400, openai("Use an alternative model."), None),
    ("proxy", {"messages": [SYSTEM, USER, USER, SYSTEM]}, 400, openai("This user may pick an alternative, or alternate models for the assistant API are listed in the system status, which is not up; start there first."), None),
    ("proxy", {"messages": [SYSTEM, USER]}, 400, openai("Your system prompt cannot be longer than 8000 characters"), None),
    ("proxy", {"messages": [SYSTEM, USER]}, 400, openai("Your system prompt cannot be this long"), None),
    ("proxy", {"messages": [SYSTEM, USER]}, 500, openai("system message broker is not reachable"), None),
    ("gemma", {"messages": [SYSTEM, USER]}, 400, openai("System messages are not supported by this model"), AS_USER),
    ("mistral", {"messages": [SYSTEM, CALLS]}, 400, openai("After the optional system message, conversation roles must alternate user/assistant"), AS_USER),
    ("jinja", {"messages": [USER, SYSTEM]}, 400, openai("alternating user and assistant messages are wanted"), Profile(single_system_message=True)),
    # A server with trouble of its own repeats what it was asked.
    ("proxy", {"seed": 7, "temperature": 0}, 500, openai("Service unavailable. Debug: temperature: 0, seed: 7"), None),
    ("proxy", {"response_format": FORM}, 500, openai("Unexpected error while compiling json_schema grammar, please try again"), None),
    ("proxy", {"tools": [ADD], "tool_choice": "required"}, 500, openai("unexpected internal error (tool_choice=required)"), None),
    # A wrong value is no lesson.
    ("proxy", {"temperature": 2}, 400, openai("Invalid argument: temperature must be between 0 and 1"), None),
    ("proxy", {"temperature": 2}, 400, openai("Invalid parameter: 'temperature' should be in [0.0, 1.0]"), None),
    ("proxy", {"temperature": 2}, 400, openai("Invalid parameter: 'temperature'"), None),
    ("proxy", {"temperature": 1.5}, 400, openai("'temperature' of 1.5 is not allowed: at most 1"), None),
    ("proxy", {"temperature": 1.5}, 400, openai("Unsupported value: 'temperature' is out of range", "temperature"), None),
    ("proxy", {"stop": ["a", "b", "c"]}, 400, openai("'stop' with more than 2 sequences is not supported"), None),
    ("openai", {"response_format": FORM}, 400, openai("Invalid 'response_format.json_schema.name': string does not match pattern. Expected a string that matches the pattern '^[a-z]+$'."), None),
    ("openai", {"response_format": FORM}, 400, openai("Invalid 'response_format.json_schema.name': empty string."), None),
    ("proxy", {"max_tokens": 100000}, 400, openai("max_tokens 100000 is not allowed: at most 4096"), None),
    ("openai", {"tools": [ADD], "tool_choice": NAMED}, 400, openai("Invalid value for 'tool_choice': no function named x"), None),
    ("openai", {"tools": [ADD], "tool_choice": NAMED}, 400, openai("Tool choice 'x' not found in 'tools' parameter: invalid", "tool_choice"), None),
    ("proxy", {"user": "u"}, 400, openai("Unknown tool 'user' in transcript"), None),
    ("proxy", {"user": "u"}, 400, openai("Unsupported image: 'user' content must be a string"), None),
    ("proxy", {"user": "u"}, 400, openai("Unsupported image in 'user' content"), None),
    ("mistral", {"user": "u"}, 400, openai("Unexpected role 'user' after role 'assistant'"), None),
    ("proxy", {"user": "u"}, 400, openai("Unsupported parameter: 'user'"), drop("user")),
    ("gemini", {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "string", "pattern": "a", "maximum": 1}}}]}, 400, openai('Unknown name "pattern" at \'tools[0].function_declarations[0].parameters\': Cannot find field.'), Profile(schema_drop=frozenset({"pattern"}))),
    # The options of a stream are not the stream.
    ("proxy", STREAMED, 400, openai("stream_options is not supported"), drop("stream_options")),
    ("proxy", STREAMED, 400, openai("stream_options are not supported when streaming, which is not supported"), drop("stream_options")),
    ("proxy", {"stream": True}, 400, openai("stream options are not supported"), None),
    ("proxy", STREAMED, 400, openai("streaming is not supported"), drop("stream", "stream_options")),
    # What keeps a request private is not left out.
    ("groq", {"store": False}, 400, openai("store is not supported"), None),
    ("mistral", {"store": False}, 422, pydantic("body", "store"), None),
    ("proxy", {"store": False, "seed": 1}, 400, openai("Unrecognized request arguments supplied: store, seed"), None),
]  # fmt: skip  # a table


WORDS = st.sampled_from(["seed", "'seed'", "not supported", "tool_choice", "content", "name", "system", "role", "must be", "invalid", "unknown", "$ref", "\n", ":", "required", "schema"])  # fmt: skip


@given(
    st.lists(WORDS | st.text(max_size=20), max_size=60).map(" ".join), st.sampled_from([each[1] for each in WORDINGS])
)
def test_whatever_a_server_says_is_read_without_harm(said: str, sent: dict[str, Any]) -> None:
    body = {"model": "m", "messages": [USER], "seed": 1, **sent}
    error = error_of_status(400, {}, json.dumps(openai(said, said[:9])).encode(), server="srv")
    assume(isinstance(error, StatusError))  # and not a filter's
    lesson = learn_from_error(body, cast("StatusError", error), never_drop=frozenset({"seed"}))
    assert lesson is None or "seed" not in lesson.facts.drop


@pytest.mark.parametrize("words", ["not ", "tool_choice ", "content null ", "unknown role ", "developer ", "a"])
def test_reading_a_long_complaint_takes_no_time(words: str) -> None:
    sent = {"messages": [USER, CALLS, RESULT], "tools": [ADD], "tool_choice": "none", "seed": 1}
    error = refused(400, openai(words * 2000))
    started = time.process_time()
    learn_from_error({"model": "m", **sent}, error)
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    ("sent", "status", "said", "learned"), [each[1:] for each in WORDINGS], ids=[f"{each[0]}-{place}" for place, each in enumerate(WORDINGS)]
)  # fmt: skip
def test_what_a_server_says_teaches_what_to_send(
    sent: dict[str, Any], status: int, said: object, learned: Profile | None
) -> None:
    lesson = learn_from_error({"model": "m", "messages": [USER], **sent}, refused(status, said))
    assert (lesson.facts if lesson else None) == learned


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        ("stream_options", "stream_options is not supported"),
        ("stream_options", "streaming is not supported"),
        ("stream", "streaming is not supported"),
    ],
)
def test_what_is_never_to_be_dropped_is_not_dropped_with_something_else(kept: str, said: str) -> None:
    error = refused(400, openai(said))
    assert learn_from_error({"model": "m", "messages": [USER], **STREAMED}, error, never_drop=frozenset({kept})) is None


@pytest.mark.parametrize(
    ("sent", "said", "fact", "lasting"),
    [
        ({"metadata": {}}, "The 'metadata' parameter is only allowed when 'store' is enabled.", "metadata without store", True),
        ({"prediction": {}}, "Unsupported parameter: 'prediction' is not supported with tools.", "prediction", False),
        ({"prediction": {}, "tools": [ADD]}, "Unsupported parameter: 'prediction' is not supported with tools.", "prediction with tools", True),
        ({"reasoning_effort": "high", "tools": [ADD]}, "Function tools with reasoning_effort are not supported for gpt-5.4.", "reasoning_effort with tools", True),
        ({"seed": 1, "stop": "a"}, "seed is not supported together with stop", "seed with stop", True),
        ({"seed": 1}, "seed is not supported together with what you sent", "seed", False),
        ({"seed": 1}, "Unsupported parameter: 'seed' is not supported with this model.", "seed", True),
        ({"seed": 1}, "seed is not supported when using this model", "seed", True),
        ({"logprobs": True}, "`logprobs` is not supported with reasoning models", "logprobs", True),
    ],
)  # fmt: skip  # a table
def test_that_two_members_do_not_go_together_says_nothing_of_requests_with_one_of_them(
    sent: dict[str, Any], said: str, fact: str, lasting: bool
) -> None:
    lesson = learn_from_error({"model": "m", "messages": [USER], **sent}, refused(400, openai(said)))
    assert lesson == Lesson(drop(fact), lasting)


def assign(*facts: str) -> Profile:
    return Profile(assign=frozenset(facts))


NONE = 'reasoning_effort="none" with tools'
NEEDS_NONE = "Function tools with reasoning_effort are not supported for gpt-5.4 in /v1/chat/completions. To use function tools, use /v1/responses or set reasoning_effort to 'none'."


@pytest.mark.parametrize(
    ("sent", "said", "param", "learned"),
    [
        ({"tools": [ADD]}, NEEDS_NONE, "reasoning_effort", assign(NONE)),
        ({"tools": [ADD], "reasoning_effort": "high"}, NEEDS_NONE, "reasoning_effort", assign(NONE)),
        ({"tools": [ADD], "reasoning_effort": "none"}, NEEDS_NONE, "reasoning_effort", drop("reasoning_effort with tools")),
        ({}, "parameter.enable_thinking must be set to false for non-streaming calls", None, assign("enable_thinking=false without stream")),
        ({"temperature": 0.2, "thinking": {"type": "enabled"}}, "`temperature` may only be set to 1 when thinking is enabled.", None, assign("temperature=1 with thinking")),
        ({"temperature": 0.2}, "invalid temperature: only 1 is allowed for this model", None, assign("temperature=1")),
        ({"top_p": 1}, "invalid top_p: only 0.95 is allowed for this model", None, assign("top_p=0.95")),
        ({"parallel_tool_calls": True, "tools": [ADD]}, "parallel_tool_calls must be false", None, assign("parallel_tool_calls=false")),
        ({"tools": [ADD]}, "This model needs parallel_tool_calls set to false.", "parallel_tool_calls", assign("parallel_tool_calls=false")),
        ({}, "stream must be true", "stream", assign("stream=true")),
        ({}, "This model only support stream mode, please enable the stream parameter to access the model.", None, assign("stream=true")),
        ({}, "max_tokens is required", "max_tokens", A_LIMIT),
        ({}, "max_tokens: Field required", None, A_LIMIT),
        ({"max_completion_tokens": 5}, "Missing required parameter: 'max_tokens'.", "max_tokens", A_LIMIT),
        # No value is named, or more than one, or one that is whoever wrote it's to choose.
        ({"temperature": 2}, "temperature must be 1 or less", None, None),
        ({"temperature": 2}, "temperature must be 0, 0.5 or 1", None, None),
        ({"temperature": 2}, "temperature must be 0-1", None, None),
        ({"max_tokens": 9}, "max_tokens must be 4096", None, None),
        ({"store": False}, "store must be true", None, None),
        ({"n": 2}, "n must be 1", None, None),
        ({"user": "u"}, "user must be 'admin'", None, None),
        ({}, "the answer must be 42", None, None),
        ({}, "messages.0.content must be 'text'", None, None),
    ],
)  # fmt: skip  # a table
def test_a_value_that_a_member_must_have_is_sent(
    sent: dict[str, Any], said: str, param: str | None, learned: Profile | None
) -> None:
    body = {"model": "m", "messages": [USER], **sent}
    lesson = learn_from_error(body, refused(400, openai(said, param)))
    assert (lesson.facts if lesson else None) == learned
    assert lesson is None or lesson.lasting


@pytest.mark.parametrize("rule", RULES, ids=[f"{place}-{rule.member}" for place, rule in enumerate(RULES)])
def test_every_rule_answers_its_example(rule: Rule) -> None:
    body = {"model": "m", "messages": [USER], **rule.request}
    assert learn_from_error(body, refused(400, openai(rule.example))) == Lesson(rule.facts, rule.lasting)
    if rule.request:  # and the example says nothing about a request that has nothing of it
        lesson = learn_from_error({"model": "m", "messages": [USER]}, refused(400, openai(rule.example)))
        assert lesson is None or lesson.facts != rule.facts


def test_a_member_that_the_server_names_apart_is_as_good_as_one_in_its_words() -> None:
    allowed = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}
    body = {"model": "m", "messages": [USER], "tools": [ADD], "tool_choice": allowed}
    said = "Invalid value: 'allowed_tools'. Supported values are: 'none', 'auto', and 'required'."
    for param in ("tool_choice", "tool_choice.type"):
        lesson = learn_from_error(body, refused(400, openai(said, param)))
        assert lesson is not None
        assert lesson.facts == Profile(tool_choice="required")
    assert learn_from_error(body, refused(400, openai(said))) is None


def test_what_was_learned_of_store_leaves_a_refusal_to_store_in_the_request() -> None:
    lesson = learn_from_error(
        {"model": "m", "messages": [USER], "store": True}, refused(400, openai("store is not supported"))
    )
    assert lesson is not None
    sent = {store: request_with(store=store, profile=lesson.facts) for store in (True, False)}
    assert (sent[True].changes, sent[False].changes) == (("store=true is not sent",), ())
    assert json.loads(sent[False].body)["store"] is False


def test_that_calls_may_come_together_after_all_is_told() -> None:
    facts = drop("parallel_tool_calls")
    request = ChatRequest(
        messages=[UserMessage("hi")],
        tools=[FunctionTool("f")],
        settings=ChatSettings(parallel_tool_calls=False),
    )
    assert apply_profile(request, "m", facts).changes == ("parallel_tool_calls is not sent",)


def request_with(*, store: bool, profile: Profile) -> PreparedRequest:
    return apply_profile(ChatRequest(messages=[UserMessage("hi")], settings=ChatSettings(store=store)), "m", profile)
