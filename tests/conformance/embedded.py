"""Q28 to Q30: calls in the text, calls that the server could not read, calls that are not whole."""

# ruff: noqa: E501, RUF001 - models write such lines, and such characters

import json
from typing import Any

from agentkit.chat import Profile, RetryPolicy
from agentkit.errors import IncompleteReply
from tests.conformance.case import ADDED_TWICE, Case
from tests.conformance.wire import TWO_AND_THREE, Json, add, calls, chunk, error, http, says, sse, told, whole

ONCE = {"retry": RetryPolicy(retries=0)}
HERMES = '<tool_call>\n{"name": "add", "arguments": {"a": 2, "b": 3}}\n</tool_call>'
HERMES_ONE = '<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": 1}}\n</tool_call>'
QWEN = "<tool_call>\n<function=add>\n<parameter=a>\n2\n</parameter>\n<parameter=b>\n3\n</parameter>\n</function>\n</tool_call>"
GLM = "<tool_call>add\n<arg_key>a</arg_key>\n<arg_value>2</arg_value>\n<arg_key>b</arg_key>\n<arg_value>3</arg_value>\n</tool_call>"
DSML = '<｜DSML｜function_calls>\n<｜DSML｜invoke name="add">\n<｜DSML｜parameter name="a" string="false">2</｜DSML｜parameter>\n<｜DSML｜parameter name="b" string="false">3</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜function_calls>'
DEEPSEEK = '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>add\n```json\n{"a": 2, "b": 3}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>'
DEEPSEEK_31 = '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>add<｜tool▁sep｜>{"a": 2, "b": 3}<｜tool▁call▁end｜><｜tool▁calls▁end｜>'
HARMONY = '<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>commentary to=functions.add <|constrain|>json<|message|>{"a": 2, "b": 3}<|call|>'
KIMI = '<|tool_calls_section_begin|><|tool_call_begin|>functions.add:0<|tool_call_argument_begin|>{"a": 2, "b": 3}<|tool_call_end|><|tool_calls_section_end|>'


def text(written: str) -> dict[str, Any]:
    """A reply of this text, from a server without a parser for calls: streamed character by character, and whole."""
    return {
        "stream": [sse(*(chunk({"content": each}) for each in written), chunk({}, end="stop"))],
        "whole": [says(written, stream=False)],
        "client": {"profile": Profile(calls_in_text=True)},
    }


def rejected(generation: Any, **members: Any) -> dict[str, Any]:
    """What Groq answers when it could not read a call; in a stream it may come as an event."""
    said: Json = {"message": "Failed to call a function.", "type": "invalid_request_error", "code": "tool_use_failed"}
    body = {"error": {**said, "failed_generation": generation}}
    answer = error(said["message"], code="tool_use_failed", failed_generation=generation)
    return {"stream": [sse(body, done=False)], "whole": [answer], **members}


EMBEDDED = [
    *(
        Case(q=28, name=name, **text(written), told=["ReplyRepaired.*text"])
        for name, written in (
            ("hermes", HERMES),
            ("hermes-unclosed", HERMES.removesuffix("\n</tool_call>")),
            (
                "hermes-arguments-as-text",
                f"<tool_call>{json.dumps({'name': 'add', 'arguments': TWO_AND_THREE})}</tool_call>",
            ),
            ("mistral", '[TOOL_CALLS][{"name": "add", "arguments": {"a": 2, "b": 3}}]'),
            ("mistral-with-id", '[TOOL_CALLS] [{"name": "add", "arguments": {"a": 2, "b": 3}, "id": "VvvODy9mT"}]</s>'),
            ("mistral-new", '[TOOL_CALLS]add[ARGS]{"a": 2, "b": 3}'),
            ("mistral-new-with-id", '[TOOL_CALLS]add[CALL_ID]VvvODy9mT[ARGS]{"a": 2, "b": 3}</s>'),
            ("llama", '<|python_tag|>{"name": "add", "parameters": {"a": 2, "b": 3}}<|eom_id|>'),
            ("llama-typed", '<|python_tag|>{"type": "function", "name": "add", "parameters": {"a": "2", "b": "3"}}'),
            ("function", '<function=add>{"a": 2, "b": 3}</function>'),
            ("qwen-coder", QWEN),
            ("qwen-coder-bare", QWEN.removeprefix("<tool_call>\n").removesuffix("\n</tool_call>")),
            ("glm", GLM),
            ("deepseek", DEEPSEEK),
            ("deepseek-3.1", DEEPSEEK_31),
            ("deepseek-dsml", DSML),
            ("harmony", HARMONY),
            ("kimi", KIMI),
        )
    ),
    Case(q=28, name="two", ran=ADDED_TWICE, **text(HERMES_ONE + "\n" + HERMES), told=["ReplyRepaired.*text"]),
    Case(
        q=28,
        name="two-of-mistral",
        ran=ADDED_TWICE,
        **text('[TOOL_CALLS]add[ARGS]{"a": 1, "b": 1}[TOOL_CALLS]add[ARGS]{"a": 2, "b": 3}'),
        told=["ReplyRepaired.*text"],
    ),
    Case(
        q=28,
        name="two-of-llama",
        ran=ADDED_TWICE,
        **text(
            '<|python_tag|>{"name": "add", "parameters": {"a": 1, "b": 1}}; {"name": "add", "parameters": {"a": 2, "b": 3}}'
        ),
        told=["ReplyRepaired.*text"],
    ),
    Case(
        q=28,
        name="a-text-stays-a-text",
        tools=("weather",),
        ran=[("weather", {"city": "2"})],
        **text("<tool_call>\n<function=weather>\n<parameter=city>\n2\n</parameter>\n</function>\n</tool_call>"),
        told=["ReplyRepaired.*text"],
    ),
    *(
        Case(q=28, name=name, final=written, **text(written))
        for name, written in (
            ("no-call-with-text-behind", HERMES + "\nThat is how a call looks."),
            ("no-call-after-text", "Let me see.\n" + HERMES),
            ("no-control-mark-after-text", "Let me see.\n" + DEEPSEEK_31),
            ("no-call-of-a-page", f"The page contains this text, which I will not follow:\n\n{HERMES}"),
            ("no-call-in-an-explanation", f"Hermes models write calls like this:\n\n{HERMES}"),
            ("no-call-in-html", f"<pre>\n{HERMES}"),
            ("no-call-in-xml", 'In XML:\n<function=add>{"a": 2, "b": 3}</function>'),
            ("no-call-in-a-fence-of-tildes", f"~~~xml\n{HERMES}"),
            ("no-call-in-a-fence-of-four", f"````\n```\n{HERMES}"),
            ("no-control-mark-in-a-fence", f"~~~\n```\n{DEEPSEEK_31}"),
            ("no-control-mark-in-a-fence-of-four", f"````\n```\n{DEEPSEEK_31}"),
            ("no-control-mark-within-a-line", f"Write {DEEPSEEK_31}"),
            ("no-call-in-a-fence", f"Write:\n```\n{HERMES}\n```"),
            ("no-call-in-an-open-fence", f"Write:\n```\n{HERMES}"),
            ("no-call-within-a-line", f"Write {HERMES}"),
            ("no-call-of-an-unknown-tool", HERMES.replace("add", "pay")),
            ("no-call-half", HERMES[:30]),
            ("no-call-of-broken-json", HERMES.replace("}}", "}")),
            ("no-call-beginning-of-a-mark", "a <tool"),
            ("no-call-bare-json", '{"name": "add", "arguments": {"a": 2, "b": 3}}'),
            ("no-call-old-words", "[TOOL_CALLS] were made"),
        )
    ),
    Case(q=28, name="no-call-of-a-server-with-a-parser", final=HERMES, **{**text(HERMES), "client": {}}),
    Case(q=28, name="no-call-without-tools", tools=(), final=HERMES, **text(HERMES)),
    Case(
        q=28,
        name="no-second-call",
        stream=[sse(chunk({"content": HERMES}), chunk({"tool_calls": [add()]}), chunk({}, end="tool_calls"))],
        whole=[told(add(), content=HERMES)],
    ),
    Case(
        q=28,
        name="no-second-call-before-text",
        stream=[sse(chunk({"tool_calls": [add()]}), chunk({"content": HERMES_ONE}), chunk({}, end="tool_calls"))],
        whole=[told(add(), content=HERMES_ONE)],
    ),
    Case(
        q=28,
        name="cut",
        ran=(),
        final=HERMES[:40],
        asks=1,
        stream=[says(HERMES[:40], stream=True, end="length")],
        whole=[says(HERMES[:40], stream=False, end="length")],
    ),
    # Q29, about what Groq could not read
    Case(
        q=29,
        name="function",
        **rejected('<function=add>{"a": 2, "b": 3}</function>'),
        told=["ReplyRepaired.*could not parse a call"],
    ),
    Case(
        q=29,
        name="function-unclosed",
        **rejected('<function=add{"a": 2, "b": 3}</function>'),
        told=["ReplyRepaired.*could not parse a call"],
    ),
    Case(
        q=29,
        name="json",
        **rejected('{"name": "add", "arguments": {"a": 2, "b": 3}}'),
        told=["ReplyRepaired.*could not parse a call"],
    ),
    Case(
        q=29,
        name="json-list",
        **rejected('[{"name": "add", "parameters": {"a": 2, "b": 3}}]'),
        told=["ReplyRepaired.*could not parse a call"],
    ),
    Case(
        q=29,
        name="tool-use",
        **rejected(
            '<tool-use>{"tool_calls": [{"id": "pending", "type": "function", "function": {"name": "add"}, "parameters": {"a": 2, "b": 3}}]}</tool-use>'
        ),
        told=["ReplyRepaired.*could not parse a call"],
    ),
    Case(
        q=29,
        name="wrong-arguments-go-back-to-the-model",
        ran=(),
        **rejected('<function=add>{"a": "two"}</function>'),
        told=["ReplyRepaired.*could not parse a call"],
        also=lambda outcome: "invalid arguments" in outcome.message(2)["content"],
    ),
    Case(
        q=29,
        name="unknown-tool-goes-back-to-the-model",
        ran=(),
        **rejected("<function=pay>{}</function>"),
        told=["ReplyRepaired.*could not parse a call"],
        also=lambda outcome: "no tool" in outcome.message(2)["content"],
    ),
    Case(
        q=29,
        name="unreadable-is-asked-again",
        stream=[*rejected("Sure, I will add")["stream"], calls(add())],
        whole=[*rejected("Sure, I will add")["whole"], told(add())],
        told=["Retrying"],
    ),
    Case(
        q=29,
        name="unreadable-goes-back-to-the-model",
        ran=(),
        **rejected("Sure, I will add", client=ONCE),
        told=["MessageAdded.*was not run"],
        also=lambda outcome: (
            outcome.message(1)["content"] == "Sure, I will add"
            and "was not run" in outcome.message(2)["content"]
            and "Failed to call" in outcome.message(2)["content"]
        ),
    ),
    Case(
        q=29,
        name="status-400-in-a-stream",
        stream=rejected('<function=add>{"a": 2, "b": 3}</function>')["whole"],
        told=["ReplyRepaired.*could not parse a call"],
    ),
    # Q30, about replies that are not whole
    Case(q=30, name="calls-without-end", stream=[calls(add(), end=None, done=False), calls(add())], told=["Retrying"]),
    Case(
        q=30,
        name="calls-cut-in-the-middle",
        stream=[calls(add('{"a": 2,'), end=None, done=False), calls(add())],
        told=["Retrying"],
    ),
    Case(
        q=30,
        name="calls-without-end-for-ever",
        error=IncompleteReply,
        client=ONCE,
        stream=[calls(add(), end=None, done=False)],
    ),
    Case(
        q=30,
        name="calls-after-text-without-end",
        error=IncompleteReply,
        asks=1,
        stream=[sse(chunk({"content": "I pay."}), chunk({"tool_calls": [add()]}), done=False)],
        also=lambda outcome: getattr(outcome.error, "partial", "") == "I pay.",
    ),
    Case(
        q=30,
        name="length-inside-arguments",
        ran=(),
        stream=[calls(add('{"a": 2,'), end="length")],
        whole=[told(add('{"a": 2,'), end="length")],
        told=["ReplyRepaired"],
        also=lambda outcome: "limit" in outcome.message(2)["content"],
    ),
    Case(
        q=30,
        name="length-after-whole-arguments",
        ran=(),
        stream=[calls(add(), end="length")],
        whole=[told(add(), end="length")],
        also=lambda outcome: "limit" in outcome.message(2)["content"],
    ),
    Case(
        q=30,
        name="length-in-text",
        final="Half of",
        stream=[says("Half of", stream=True, end="length")],
        whole=[says("Half of", stream=False, end="length")],
        also=lambda outcome: outcome.result and outcome.result.status == "limited",
    ),
    Case(
        q=30, name="connection-cut", whole=[http(whole({"tool_calls": [add()]}))[:-20], told(add())], told=["Retrying"]
    ),
]
