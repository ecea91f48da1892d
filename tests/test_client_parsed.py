"""A client alone, asked for a type: `create(response_format=...)`, `stream(response_format=...)` and `reply.parsed`."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentkit import AssistantMessage, ChatClient, ConfigError, DefinitionError, OutputSchema, Reply, TypedOutput
from agentkit.chat import Choice, ParsedReply
from agentkit.errors import BadRequest, ContentFiltered, IncompleteReply, InvalidReply, Refused
from agentkit.testing import Server, call
from agentkit.testing.server.serve import Scripted
from agentkit.tools import RunContext
from tests.outputs import INVOICE, INVOICE_JSON, KINDS, Invoice, Line, Refusal

pytestmark = pytest.mark.anyio
streamed = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


async def asked(
    script: list[Scripted], response_format: type[Any] | TypedOutput[Any], *, stream: bool, **parameters: Any
) -> ParsedReply[Any]:
    """The reply of a client to a server that plays the script."""
    with Server(script) as server:
        client = ChatClient(server.url, model="m")
        made: ParsedReply[Any]
        try:
            if stream:
                async with client.stream("go", response_format=response_format, **parameters) as deltas:
                    made = await deltas.reply()
            else:
                made = await client.create("go", response_format=response_format, **parameters)
        finally:
            await client.aclose()
            forms.extend(each.parameters.get("response_format", {}) for each in server.requests[:1])
    return made


forms: list[dict[str, Any]] = []


def ended(text: str, reason: str) -> Reply:
    return Reply(choices=(Choice(message=AssistantMessage(text), finish_reason=reason),))


@streamed
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.turns
async def test_the_value_is_that_of_an_agent(kind: str, stream: bool) -> None:
    output_type, written, value = KINDS[kind]
    text = json.dumps(written) if isinstance(written, dict) else json.dumps({"value": written})
    reply = await asked([text], output_type, stream=stream)
    assert (reply.parsed, reply.parsed_or_none) == (value, value)
    assert type(reply.parsed) is type(value)
    assert forms[-1]["type"] == "json_schema"


@streamed
async def test_the_schema_is_the_strict_one_where_there_is_one(stream: bool) -> None:
    await asked([json.dumps(INVOICE_JSON)], Invoice, stream=stream)
    schema = forms[-1]["json_schema"]
    assert (schema["name"], schema["description"], schema["strict"]) == ("Invoice", "An invoice.", True)
    assert schema["schema"]["required"] == ["number", "due", "lines", "note"]
    await asked(['{"a": 1}'], dict[str, int], stream=stream)
    assert "strict" not in forms[-1]["json_schema"]


@streamed
async def test_options_and_schemas_of_agents_are_taken_too(stream: bool) -> None:
    named = TypedOutput(Invoice, name="bill", description="What was bought.")
    assert (await asked([json.dumps(INVOICE_JSON)], named, stream=stream)).parsed == INVOICE
    assert (forms[-1]["json_schema"]["name"], forms[-1]["json_schema"]["description"]) == ("bill", "What was bought.")
    schema = OutputSchema({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]})
    assert (await asked(['{"n": 1}'], schema, stream=stream)).parsed == {"n": 1}


@streamed
async def test_what_had_to_be_repaired_is_among_the_repairs(stream: bool) -> None:
    reply = await asked(['Here it is:\n```json\n{"what": "tea", "price": 2}\n```'], Line, stream=stream)
    assert reply.parsed == Line(what="tea", price=2)
    assert reply.repairs == ("surrounded by other text",)
    assert reply.text.startswith("Here it is")


@streamed
async def test_a_server_that_refuses_schemas_gets_the_schema_in_the_instructions(stream: bool) -> None:
    refusal = BadRequest("This response_format type is unavailable now", status=400)
    reply = await asked([refusal, '{"what": "tea", "price": 2}'], Line, stream=stream)
    assert reply.parsed == Line(what="tea", price=2)
    assert reply.adaptations == ("response_format json_schema is json_object with an instruction",)


@streamed
async def test_a_truncated_reply_is_never_a_value(stream: bool) -> None:
    with pytest.raises(IncompleteReply, match="truncated at its token limit, so it holds no value") as caught:
        await asked([ended("[1, 2]", "length")], list[int], stream=stream)
    assert caught.value.partial == "[1, 2]"
    with pytest.raises(ContentFiltered, match="by a content filter"):
        await asked([ended("[1, 2]", "content_filter")], list[int], stream=stream)


@streamed
async def test_a_reply_without_a_valid_value_is_an_error_with_its_text(stream: bool) -> None:
    with pytest.raises(InvalidReply, match="no valid value: the answer is not valid:\n- price: missing") as caught:
        await asked(['{"what": "tea"}'], Line, stream=stream)
    assert caught.value.partial == '{"what": "tea"}'
    with pytest.raises(InvalidReply, match="there is no JSON in it"):
        await asked(["I do not know."], Line, stream=stream)


@streamed
async def test_a_refusal_is_an_error_and_a_refusal_of_the_union_a_value(stream: bool) -> None:
    refused = Reply(choices=(Choice(message=AssistantMessage(None, refusal="I cannot."), finish_reason="stop"),))
    with pytest.raises(Refused, match="I cannot"):
        await asked([refused], Invoice, stream=stream)
    either: Any = Invoice | Refusal
    reply = await asked(['{"value": {"reason": "blurred"}}'], either, stream=stream)
    assert reply.parsed == Refusal(reason="blurred")


@streamed
async def test_a_reply_that_calls_tools_has_no_value_yet(stream: bool) -> None:
    tool: Any = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
    reply = await asked([call("look")], Line, stream=stream, tools=[tool])
    assert (reply.parsed_or_none, [each.name for each in reply.message.tool_calls]) == (None, ["look"])
    with pytest.raises(ConfigError, match="calls tools, so it has no value yet"):
        _ = reply.parsed


async def test_what_cannot_work_is_refused_before_anything_is_sent() -> None:
    client = ChatClient("http://127.0.0.1:9/v1", model="m")
    unknown: Any = object
    with pytest.raises(DefinitionError, match="it may be anything"):
        await client.create("go", response_format=unknown)
    with pytest.raises(DefinitionError, match="it may be anything"):
        client.stream("go", response_format=unknown)


async def test_a_function_that_needs_a_run_is_refused() -> None:
    def find(context: RunContext[None], key: str) -> str:
        return key

    found: Any = find
    with pytest.raises(ConfigError, match="find takes the context of a run: give it to an agent"):
        await asked(['{"key": "a"}'], found, stream=False)


async def test_without_a_type_a_reply_is_as_before() -> None:
    with Server(["hello", "{}"]) as server:
        client = ChatClient(server.url, model="m")
        plain = await client.create("go")
        typed = await client.create("json", response_format={"type": "json_object"})
        await client.aclose()
    assert (type(plain), type(typed), server.requests[1].parameters["response_format"]) == (
        Reply,
        Reply,
        {"type": "json_object"},
    )
