"""Typed output on servers of all kinds: the table of the page, whole replies only, and what strict servers take."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, cast

import pytest

from agentkit import Agent, AssistantMessage, ChatClient, Reply
from agentkit.chat import Choice, RetryPolicy
from agentkit.errors import IncompleteReply, OutputInvalid
from agentkit.run import OutputSchema, TypedOutput
from agentkit.testing import Server, raw
from agentkit.tools import subschemas
from tests.output_table import PAGE, written
from tests.outputs import KINDS, WAYS, Line, answering

pytestmark = pytest.mark.anyio
LINE = json.dumps({"what": "tea", "price": 2.5})
NOT_STRICT = {"oneOf", "prefixItems", "uniqueItems", "allOf", "default", "title", "discriminator", "patternProperties"}


def test_the_page_holds_the_table_of_today() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == written(page), "run: python -m tests.output_table"


async def outcome(agent: Agent[Any, Any], *, stream: bool) -> Any:
    if not stream:
        return (await agent.run("go")).output
    async with agent.stream("go") as events:
        return [draft async for draft in events.output()][-1]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("way", ["native", "json", "prompted"])
async def test_what_looks_like_a_value_in_a_truncated_reply_is_none(way: Any, stream: bool) -> None:
    cut = Reply(choices=(Choice(message=AssistantMessage("[1, 2]"), finish_reason="length"),))
    with Server([cut] * 2) as server:
        client = ChatClient(server.url, model="m")
        agent = Agent(client, output_type=TypedOutput(list[int], way=way, retries=1))
        with pytest.raises(OutputInvalid, match="truncated"):
            await outcome(agent, stream=stream)
        await client.aclose()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("arguments", ['{"what": "tea", "price": 2.5}', '{"what": "tea", "price": 2'])
async def test_a_call_in_a_stream_that_ends_without_saying_so_is_no_output(arguments: str, stream: bool) -> None:
    """Whether its arguments look whole or not: more might have come."""
    function = {"name": "final_answer", "arguments": arguments}
    delta = {"tool_calls": [{"index": 0, "id": "a", "type": "function", "function": function}]}
    event = json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
    lost = raw(f"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: {event}\n\n".encode())
    with Server([lost, lost]) as server:
        client = ChatClient(server.url, model="m", retry=RetryPolicy(retries=0))
        with pytest.raises(IncompleteReply):
            await outcome(Agent(client, output_type=TypedOutput(Line, way="tool")), stream=stream)
        await client.aclose()


def schemas_in(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A schema and all that are in it."""
    yield schema
    for _, _, inner in subschemas(schema):
        if isinstance(inner, dict):
            yield from schemas_in(cast("dict[str, Any]", inner))


def check_strict(schema: dict[str, Any]) -> None:
    for each in schemas_in(schema):
        assert not each.keys() & NOT_STRICT
        assert each.keys() & {"type", "anyOf", "$ref"}, f"of no type: {each}"
        if each.get("type") == "object":
            assert each["additionalProperties"] is False
            assert each["required"] == list(each["properties"])


RAW: dict[str, Any] = {
    "oneOf": {"oneOf": [{"type": "string"}, {"type": "integer"}]},
    "prefixItems": {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}]},
    "uniqueItems": {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
    "open": {"type": "object", "additionalProperties": {"type": "string"}},
    "untyped": {"description": "Whatever."},
    "optional": {"type": "object", "properties": {"a": {"type": "string"}}},
}


@pytest.mark.parametrize("way", WAYS)
async def test_what_is_sent_as_strict_obeys_the_strict_rules_and_no_tools_are_sent_empty(way: Any) -> None:
    for output_type, written_value, _ in KINDS.values():
        model = answering(written_value)
        await Agent(model, output_type=TypedOutput(output_type, way=way)).run("go")
        body = json.loads(model.requests[0].encode("m"))
        assert body.get("tools") != []
        sent = [each["function"] for each in body.get("tools", [])]
        sent += [form for form in [body.get("response_format", {}).get("json_schema")] if form]
        for each in sent:
            if each.get("strict"):
                check_strict(each.get("parameters") or each["schema"])


@pytest.mark.parametrize("name", RAW)
def test_a_raw_schema_that_cannot_be_strict_is_not_sent_as_strict(name: str) -> None:
    schema = {"type": "object", "properties": {"it": RAW[name]}, "required": ["it"]}
    assert "strict" not in OutputSchema(schema).response_format["json_schema"]
