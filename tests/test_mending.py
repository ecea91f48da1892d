from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, TypedDict
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from agentkit import Agent, Reply
from agentkit.chat.decoding.tool_calls import normalize_tool_calls
from agentkit.chat.messages import AssistantMessage, ToolCall
from agentkit.chat.reply import Choice
from agentkit.run.turn import repair_tool_calls
from agentkit.testing import ScriptedModel
from agentkit.testing import call as scripted_call
from agentkit.tools.tool import Tool, tool
from agentkit.tools.toolset import Toolset
from tests.explore import EXPLORE


@tool
def search(query: str, tags: list[str] | None = None, most: int = 5) -> str:
    """Search."""
    return query


TOOLS: dict[str, Tool] = {"search": search}


def repaired(name: str, arguments: str, *, forgive: bool = True) -> tuple[ToolCall, list[str]]:
    calls, _ = normalize_tool_calls([ToolCall("c1", name, arguments)])
    (call,), notes = repair_tool_calls(calls, TOOLS, forgive=forgive)
    return call, [each.what for each in notes]


def test_a_call_that_is_right_is_left_as_it_is() -> None:
    calls, _ = normalize_tool_calls([ToolCall("c1", "search", '{"query":  "x", "most": null}')])
    right, _ = normalize_tool_calls([ToolCall("c1", "search", '{"query":  "x"}')])
    assert repair_tool_calls(right, TOOLS) == (right, [])
    assert repair_tool_calls(calls, TOOLS, forgive=False) == (calls, [])


def test_each_step_is_told_with_the_call_it_is_about() -> None:
    calls, _ = normalize_tool_calls([ToolCall("c1", "Search", "{'query': 'x', 'tags': '[\"a\"]', 'most': None,}")])
    (call,), notes = repair_tool_calls(calls, TOOLS)
    assert (call.name, call.arguments, call.malformed) == ("search", '{"query":"x","tags":["a"]}', "")
    assert {(each.call_id, each.tool) for each in notes} == {("c1", "search")}
    assert [each.what for each in notes] == [
        "the name 'Search' became search",
        "the arguments of search were with single quotes",
        "the arguments of search were with Python's literals",
        "the arguments of search were with a trailing comma",
        "the arguments of search were tags written as a string",
        "the arguments of search were null for most, which may be left out",
    ]


def test_what_cannot_be_read_keeps_what_the_model_wrote() -> None:
    call, notes = repaired("search", '{"query": "x')
    assert (call.arguments, call.malformed, notes) == ("{}", '{"query": "x', [])


@tool
def pay(price: Decimal, parts: list[Decimal] | None = None, factor: float = 1) -> list[Any]:
    """Pay."""
    return [price, parts, factor]


@pytest.mark.parametrize(
    ("written", "mended"),
    [
        ('{"arguments": {"price": D}}', '{"price":D}'),
        ('{"price": D, "parts": "[D, 1.50]"}', '{"price":D,"parts":[D,1.50]}'),
        ("{'price': D, 'factor': 1E3,}", '{"price":D,"factor":1E3}'),
        ('{"input": "{\\"price\\": D}"}', '{"price":D}'),
        ('{"price": D, "factor": null, "parts": ["a\\nb", {"c": true}]}', '{"price":D,"parts":["a\\nb",{"c":true}]}'),
    ],
)
def test_what_is_put_right_keeps_the_digits_of_its_numbers(written: str, mended: str) -> None:
    digits = "0.12345678901234567890123"
    calls, _ = normalize_tool_calls([ToolCall("c1", "pay", written.replace("D", digits))])
    (call,), notes = repair_tool_calls(calls, {"pay": pay})
    assert (call.arguments, bool(notes)) == (mended.replace("D", digits), True)


@pytest.mark.anyio
async def test_a_decimal_in_a_call_that_was_put_right_is_the_one_that_the_model_wrote() -> None:
    model = ScriptedModel([[ToolCall("c1", "pay", '{"arguments": {"price": 0.12345678901234567890123}}')], "ok"])
    result = await Agent(model, tools=[pay]).run("go")
    assert result.messages[2].text == '["0.12345678901234567890123",null,1]'


def test_an_unknown_tool_and_a_custom_call_keep_their_arguments() -> None:
    assert repaired("other", '{"arguments": {"query": "x"}}')[0].arguments == '{"arguments": {"query": "x"}}'
    custom = ToolCall.custom("c1", "search", "{'query': 1}")
    assert repair_tool_calls([custom], TOOLS) == ((custom,), [])


@pytest.mark.parametrize("forgive", [True, False])
@given(name=st.text(), arguments=st.text() | st.text("{}[]'\":, \\truenullquerysag01"))
def test_whatever_comes_the_transcript_can_be_sent(forgive: bool, name: str, arguments: str) -> None:
    calls, _ = normalize_tool_calls([ToolCall("c1", name, arguments)])
    for call in repair_tool_calls(calls, TOOLS, forgive=forgive)[0]:
        assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", call.name)
        assert isinstance(json.loads(call.arguments), dict)


@pytest.mark.parametrize("written", ["get_user", "Get-User", "functions.get_user"])
def test_a_tool_that_is_switched_off_is_never_taken_for_another(written: str) -> None:
    ran: list[str] = []

    @tool
    def get_user() -> None:
        ran.append("get_user")

    @tool
    def get_user_v() -> None:
        ran.append("get_user_v")

    model = ScriptedModel([scripted_call(written), "done"])
    tools: list[Any] = [Toolset(get_user).when(lambda context: False), get_user_v]
    result = Agent(model, tools=tools).run_sync("go")
    assert ran == []
    assert result.messages[2].text == "Error: the tool 'get_user' is switched off in this turn"


def test_a_number_that_is_too_large_is_told_to_the_model() -> None:
    text = '{"query": "x", "tags": "[]", "most": ' + "9" * 310 + ".5}"
    call, notes = repaired("search", text)
    assert (call.arguments, notes) == (text, [])
    message = AssistantMessage(None, (ToolCall("c1", "search", text),))
    model = ScriptedModel([Reply(choices=(Choice(message=message),)), "done"])
    result = Agent(model, tools=[search]).run_sync("go")
    assert result.messages[2].text.startswith("Error: the arguments are not valid JSON: ")


class Stop(BaseModel):
    city: str
    nights: int = 1


class Leg(TypedDict):
    to: str


@tool(thread=False, retries=1000)
def everything(
    number: int = 0,
    price: Decimal = Decimal(0),
    day: date = date(2026, 1, 1),
    span: timedelta = timedelta(0),
    where: Path = Path(),
    raw: bytes = b"",
    key: UUID | None = None,
    mode: Literal["a", "b"] = "a",
    pair: tuple[int, str] = (0, ""),
    bag: frozenset[str] = frozenset(),
    stop: Stop | None = None,
    legs: Sequence[Leg] = (),
    table: Mapping[str, list[int]] = {},
    other: Any = None,
) -> str:
    """Take one of each."""
    return "fine"


NAMES = st.sampled_from([*everything.parameters["properties"], "arguments", "input", "x"])
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["[1]", "{}", "null", "2026-01-01"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=2_000 if EXPLORE else 60)
@given(st.dictionaries(NAMES, VALUES, max_size=4), st.sampled_from([json.dumps, repr, str.upper]), st.integers(0, 3))
def test_broken_arguments_of_every_type_are_a_result_and_nothing_else(
    arguments: dict[str, Any], write: Any, cut: int
) -> None:
    text = json.dumps(arguments).upper() if write is str.upper else write(arguments)
    message = AssistantMessage(None, (ToolCall("c1", "everything", text[: len(text) - cut]),))
    model = ScriptedModel([Reply(choices=(Choice(message=message),)), "done"])
    result = Agent(model, tools=[everything]).run_sync("go")
    told = result.messages[2].text
    assert told == "fine" or told.startswith(
        ("Error: invalid arguments, nothing was done:\n- ", "Error: the arguments ")
    )
    assert len(told) < 1500
    assert "pydantic" not in told
