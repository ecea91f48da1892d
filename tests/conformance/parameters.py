"""Q31 to Q40: parameters that servers refuse."""

# ruff: noqa: E501 - what servers say is longer than a line

import json

from agentkit import ChatSettings
from agentkit.chat import NamedTool
from agentkit.errors import BadRequest
from tests.conformance.asking import (
    ASSISTANT,
    CALLED,
    GOOD,
    JSON_SCHEMA,
    RESULT,
    USER,
    forbidden,
    has,
    kind_of_format,
    last,
    named,
    required,
    roles,
    text,
    unsupported,
    when,
)
from tests.conformance.case import Case
from tests.conformance.wire import (
    add,
    calls,
    error,
    piece,
    told,
)

PARAMETERS = [
    # Q31, about the name of the token limit
    Case(
        q=31,
        name="only-max-tokens",
        **GOOD,
        settings=ChatSettings(max_completion_tokens=9),
        refuses=[when(has("max_completion_tokens"), "Unrecognized request argument supplied: max_completion_tokens")],
        asks=3,
        told=["max_tokens"],
        also=last(max_tokens=9),
    ),
    Case(
        q=31,
        name="only-max-completion-tokens",
        **GOOD,
        settings=ChatSettings(max_tokens=9),
        refuses=[
            when(
                has("max_tokens"),
                "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
                param="max_tokens",
                code="unsupported_parameter",
            )
        ],
        asks=3,
        told=["max_completion_tokens"],
        also=last(max_completion_tokens=9),
    ),
    Case(
        q=31,
        name="only-max-tokens-422",
        **GOOD,
        settings=ChatSettings(max_completion_tokens=9),
        refuses=[forbidden("max_completion_tokens")],
        asks=3,
        told=["max_tokens"],
        also=last(max_tokens=9),
    ),
    # Q32, about roles
    Case(
        q=32,
        name="no-developer",
        **GOOD,
        history=[{"role": "developer", "content": "Be brief."}],
        refuses=[
            when(
                lambda body: "developer" in roles(body),
                "Unexpected role 'developer': must be one of system, user, assistant, tool",
            )
        ],
        asks=3,
        told=["developer"],
        also=lambda outcome: outcome.message(0)["role"] == "system",
    ),
    Case(
        q=32,
        name="no-developer-in-words-of-vllm",
        **GOOD,
        history=[{"role": "developer", "content": "Be brief."}],
        refuses=[
            when(
                lambda body: "developer" in roles(body),
                "[{'type': 'literal_error', 'loc': ('body', 'messages', 0, 'role'), 'msg': \"Input should be 'system', 'user', 'assistant' or 'tool'\", 'input': 'developer'}]",
            )
        ],
        asks=3,
        told=["developer"],
        also=lambda outcome: outcome.message(0)["role"] == "system",
    ),
    Case(
        q=32,
        name="no-system",
        **GOOD,
        history=[{"role": "system", "content": "Be brief."}],
        refuses=[
            when(
                lambda body: "system" in roles(body),
                "Unsupported value: 'messages[0].role' does not support 'system' with this model.",
                param="messages[0].role",
                code="unsupported_value",
            )
        ],
        asks=3,
        told=["system"],
        also=lambda outcome: (
            "system" not in roles(outcome.bodies[-1]) and "Be brief." in json.dumps(outcome.bodies[-1])
        ),
    ),
    Case(
        q=32,
        name="one-system-message",
        **GOOD,
        history=[{"role": "system", "content": "Be brief."}, {"role": "system", "content": "Be kind."}],
        refuses=[when(lambda body: roles(body).count("system") > 1, "System message must be at the beginning.")],
        asks=3,
        told=["system"],
        also=lambda outcome: all(word in outcome.message(0)["content"] for word in ("brief", "kind")),
    ),
    # Q33, about tool_choice
    Case(
        q=33,
        name="no-named",
        **GOOD,
        settings=ChatSettings(tool_choice=NamedTool("add")),
        refuses=[
            when(
                named, "Invalid value for 'tool_choice': must be one of 'none', 'auto', 'required'", param="tool_choice"
            )
        ],
        asks=3,
        told=["tool_choice"],
        also=lambda outcome: outcome.bodies[1]["tool_choice"] == "required" and len(outcome.bodies[1]["tools"]) == 1,
    ),
    Case(
        q=33,
        name="no-required",
        **GOOD,
        settings=ChatSettings(tool_choice="required"),
        refuses=[when(required, "tool_choice: only 'auto' and 'none' are supported", param="tool_choice")],
        asks=3,
        told=["tool_choice"],
        also=lambda outcome: outcome.bodies[1].get("tool_choice", "auto") == "auto",
    ),
    Case(
        q=33,
        name="neither",
        **GOOD,
        tools=("add", "now"),
        settings=ChatSettings(tool_choice=NamedTool("add")),
        refuses=[when(lambda body: named(body) or required(body), "Thinking mode does not support this tool_choice")],
        asks=4,
        told=["tool_choice"],
    ),
    Case(
        q=33,
        name="never-null-and-never-without-tools",
        tools=(),
        settings=ChatSettings(tool_choice="auto"),
        refuses=[when(lambda body: "tool_choice" in body, "When using `tool_choice`, `tools` must be set.")],
        **text("Just so."),
    ),
    # Q34, about parallel_tool_calls
    Case(
        q=34,
        name="unsupported",
        **GOOD,
        settings=ChatSettings(parallel_tool_calls=True),
        refuses=[
            when(
                has("parallel_tool_calls"),
                "Unsupported parameter: 'parallel_tool_calls' is not supported with this model.",
                param="parallel_tool_calls",
            )
        ],
        asks=3,
        told=["parallel_tool_calls"],
    ),
    Case(
        q=34,
        name="of-ollama-through-litellm",
        **GOOD,
        settings=ChatSettings(parallel_tool_calls=False),
        refuses=[
            when(
                has("parallel_tool_calls"),
                "litellm.UnsupportedParamsError: ollama does not support parameters: {'parallel_tool_calls': False}",
            )
        ],
        asks=3,
        told=["parallel_tool_calls"],
    ),
    Case(
        q=34,
        name="never-without-tools",
        tools=(),
        settings=ChatSettings(parallel_tool_calls=True),
        refuses=[when(has("parallel_tool_calls"), "'parallel_tool_calls' is only allowed when 'tools' are specified.")],
        **text("Just so."),
    ),
    # Q35, about tools
    Case(
        q=35,
        name="no-empty-list",
        tools=(),
        refuses=[when(has("tools"), "[] is too short - 'tools'")],
        **text("Just so."),
    ),
    Case(
        q=35,
        name="needed-by-an-old-call",
        tools=(),
        history=[USER, CALLED, RESULT, ASSISTANT],
        refuses=[
            when(
                lambda body: "tools" not in body,
                "litellm.UnsupportedParamsError: Anthropic expects the `tools=` param to be passed in when tool calls are in the messages.",
            )
        ],
        asks=2,
        told=["tools"],
        **text("Just so."),
    ),
    # Q36, Q37, about schemas
    Case(
        q=36,
        name="no-strict",
        **GOOD,
        asks=3,
        told=["Adapted.*strict"],
        refuses=[
            when(
                lambda body: '"strict"' in json.dumps(body),
                "Extra inputs are not permitted: tools.0.function.strict",
                param="tools[0].function.strict",
            )
        ],
    ),
    Case(
        q=36,
        name="plain-keywords-only",
        tools=("visit",),
        ran=[("visit", {"city": "Paris", "days": 2})],
        stream=[calls(piece("visit", '{"place": {"city": "Paris", "days": 2}}', index=0, id="a1"))],
        whole=[told(piece("visit", '{"place": {"city": "Paris", "days": 2}}', id="a1"))],
        refuses=[
            when(
                lambda body: any(
                    f'"{word}"' in json.dumps(body["tools"])
                    for word in ("patternProperties", "uniqueItems", "propertyNames", "minProperties", "oneOf", "allOf")
                ),
                "Invalid schema for function",
            )
        ],
    ),
    Case(
        q=37,
        name="no-references",
        tools=("visit",),
        ran=[("visit", {"city": "Paris", "days": 2})],
        stream=[calls(piece("visit", '{"place": {"city": "Paris", "days": 2}}', index=0, id="a1"))],
        whole=[told(piece("visit", '{"place": {"city": "Paris", "days": 2}}', id="a1"))],
        refuses=[
            when(
                lambda body: "$ref" in json.dumps(body["tools"]) or "$defs" in json.dumps(body["tools"]),
                "Unknown name \"$defs\" at 'tools[0].function_declarations[0].parameters'",
            )
        ],
    ),
    Case(
        q=37,
        name="empty-properties-are-an-object",
        tools=("now",),
        ran=[("now", {})],
        stream=[calls(piece("now", "{}", index=0, id="a1"))],
        whole=[told(piece("now", "{}", id="a1"))],
        refuses=[
            when(
                lambda body: body["tools"][0]["function"]["parameters"].get("properties") != {},
                "object schema missing properties",
            )
        ],
    ),
    # Q38, about response_format
    Case(
        q=38,
        name="no-json-schema",
        tools=(),
        settings=ChatSettings(response_format=JSON_SCHEMA),
        refuses=[
            when(lambda body: kind_of_format(body) == "json_schema", "This response_format type is unavailable now")
        ],
        asks=2,
        told=["response_format"],
        also=lambda outcome: (
            kind_of_format(outcome.bodies[-1]) == "json_object"
            and '\\"x\\"' in json.dumps(outcome.bodies[-1]["messages"])
        ),
        **text('{"x": 1}'),
    ),
    Case(
        q=38,
        name="no-json-at-all",
        tools=(),
        settings=ChatSettings(response_format=JSON_SCHEMA),
        refuses=[when(has("response_format"), "Unsupported parameter: response_format", param="response_format")],
        asks=3,
        told=["response_format"],
        also=lambda outcome: (
            "response_format" not in outcome.bodies[-1] and '\\"x\\"' in json.dumps(outcome.bodies[-1]["messages"])
        ),
        **text('{"x": 1}'),
    ),
    # Q39, about parameters that reasoning models refuse
    *(
        unsupported(name, value=value, style=style, **more)
        for name, value, style, more in (
            ("stop", ["x"], "openai", {}),
            ("temperature", 0.2, "value", {}),
            ("top_p", 0.5, "openai", {}),
            ("presence_penalty", 1, "openai", {}),
            ("frequency_penalty", 1, "openai", {}),
        )
    ),
    Case(
        q=39,
        name="logprobs",
        **GOOD,
        settings=ChatSettings(logprobs=True, top_logprobs=2),
        refuses=[
            when(has("logprobs"), "You are not allowed to request logprobs from this model", param="logprobs"),
            when(has("top_logprobs"), "top_logprobs needs logprobs"),
        ],
        asks=3,
        told=["logprobs"],
        also=last(logprobs=None, top_logprobs=None),
    ),
    Case(
        q=39,
        name="two-of-them",
        **GOOD,
        settings=ChatSettings(temperature=0.2, top_p=0.5),
        refuses=[
            when(has("temperature"), "Unsupported parameter: 'temperature'", param="temperature"),
            when(has("top_p"), "Unsupported parameter: 'top_p'", param="top_p"),
        ],
        asks=4,
        told=["temperature", "top_p"],
    ),
    Case(
        q=39,
        name="nothing-to-learn",
        error=BadRequest,
        reads="no good",
        asks=1,
        stream=[error("This is no good.")],
        whole=[error("This is no good.")],
    ),
    # Q40, about other parameters
    *(
        unsupported(name, value=value, style="unknown", refused=refused)
        for name, value, refused in (
            ("store", True, None),
            ("metadata", {"a": "b"}, forbidden("metadata")),
            ("seed", 1, forbidden("seed")),
            ("user", "u", None),
            ("reasoning_effort", "low", None),
            ("service_tier", "flex", forbidden("service_tier")),
        )
    ),
    Case(
        q=40,
        name="stream-options",
        stream=[calls(add())],
        refuses=[when(has("stream_options"), "Unknown parameter: 'stream_options'", param="stream_options")],
        asks=3,
        told=["stream_options"],
    ),
    Case(
        q=40,
        name="bodies-of-qwen",
        **GOOD,
        settings=ChatSettings(extra_body={"enable_thinking": False}),
        extra=["enable_thinking"],
        also=last(enable_thinking=False),
    ),
]
