from __future__ import annotations

import json
from typing import Any, Literal, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit import Agent, AssistantMessage, ToolCall, tool
from agentkit.chat.json_values import encode_json, parse_json
from agentkit.events import CallRepaired
from agentkit.testing import ScriptedModel
from agentkit.tools.arguments import Shape, fit_arguments
from agentkit.tools.repair import (
    Unreadable,
    match_tool_name,
    repair_text,
    unknown_tool_message,
)


@pytest.mark.parametrize(
    ("text", "arguments", "forgiven"),
    [
        ('{"a": 1}', {"a": 1}, []),
        ("{'a': 'x'}", {"a": "x"}, ["with single quotes"]),
        (r"{'a': 'it\'s', 'b': '\"'}", {"a": "it's", "b": '"'}, ["with single quotes"]),
        ('{"a": 1,}', {"a": 1}, ["with a trailing comma"]),
        ('{"a": [1, 2,],}', {"a": [1, 2]}, ["with a trailing comma"]),
        ("{a: 1, b_2: {c-d: 3}}", {"a": 1, "b_2": {"c-d": 3}}, ["with keys without quotes"]),
        ('{"a": True, "b": False, "c": None}', {"a": True, "b": False, "c": None}, ["with Python's literals"]),
        ('```json\n{"a": 1}\n```', {"a": 1}, ["in a code fence"]),
        ('```\n{"a": 1}```\n```', {"a": 1}, ["in a code fence"]),
        ('{"a": 1}}', {"a": 1}, ["followed by something else"]),
        ('{"a": 1}])  ;\n```', {"a": 1}, ["followed by something else"]),
        ('{"a": 1}<｜tool▁call▁end｜>', {"a": 1}, ["followed by something else"]),  # noqa: RUF001
        ('{"a": 1}<|im_end|>', {"a": 1}, ["followed by something else"]),
        ('{"a": 1}{"a": 1}', {"a": 1}, ["written more than once"]),
        ('{}{"a": 1}', {"a": 1}, ["written more than once"]),
        ('{"a": 1}{}', {"a": 1}, ["written more than once"]),
        (r'"{\"a\": 1}"', {"a": 1}, ["encoded twice"]),
        (r'"{\"a\": 1,}"', {"a": 1}, ["encoded twice", "with a trailing comma"]),
        ('{"a": "one\ntwo\t"}', {"a": "one\ntwo\t"}, ["with line ends in a string"]),
        (r'{"a": "\d+\.txt"}', {"a": r"\d+\.txt"}, ["with a lone backslash"]),
        (r'{"a": "\d+\\n", "b": "x\ny"}', {"a": r"\d+\n", "b": "x\ny"}, ["with a lone backslash"]),
        (r'{"a": "\ud83d\ude00 \ud800"}', {"a": "😀 �"}, []),
        (r'{"a": "\u0041\n\/"}', {"a": "A\n/"}, []),
        ('{"a": -1.5e3, "b": 123456789012345678901234567890}', {"a": -1500.0, "b": 123456789012345678901234567890}, []),
        ("{}", {}, []),
    ],
)
def test_what_has_one_meaning_only_is_forgiven_and_told(
    text: str, arguments: dict[str, Any], forgiven: list[str]
) -> None:
    assert repair_text(text) == (arguments, forgiven)


@pytest.mark.parametrize(
    "text",
    [
        "", "null", "5", "[1]", '"x"', "hello",
        '{"a": 1', '{"a": "x', '{"a": ', '{"a"', '{"a": [1', '{"a": "x\\', '{"a": "\\u12"}', '```json\n{"a": 1',
        '{"a": 1}{"b": 2}', '{"a": 1}{"a": true}', '{"a": 1}, "b": 2}', '{"a": 1} {"b"', '{"a": 1}[2]',
        "{'a': 'it's'}", '{"a": 1 "b": 2}', '{"a": x}', '{"a": undefined}', '{"a": NaN}', '{"a": -Infinity}',
        '{"a": 1}0', '{"a": 1} is wrong, do not send', '{"a": 1}</tool_call>', '{"a": 1}<|no', '{"a": 1}, then 2',
        '```\n{"a": 1}```\nThat is all.', r'{"a": "C:\temp\new\data"}', r'{"a": "\d+\n"}',
        '{"a": 1e999}', '{"a": ' + "9" * 100_000 + "}", '{"a": 01}', '{"a": 1_000}', '{"a": .5}', '{"a": +1}',
        "{,}", '{"a":,}', "{1: 2}", '{"a": (1, 2)}', "__import__('os')", '{"a": 1 + 1}', '{"a": "b" "c"}',
        "[" * 100_000, '{"a":' * 100_000, '{"a":' * 300 + "1" + "}" * 300, '"' + '{"a":' * 1000,
    ],
)  # fmt: skip
def test_what_is_incomplete_or_has_two_meanings_is_not_touched(text: str) -> None:
    with pytest.raises(Unreadable):
        repair_text(text)


TEXTS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=9
)  # encoding replaces it, as servers refuse it
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)
OBJECTS = st.dictionaries(TEXTS, JSON, max_size=4)


@given(OBJECTS)
def test_json_is_read_as_it_is(arguments: dict[str, Any]) -> None:
    assert repair_text(json.dumps(arguments)) == (json.loads(encode_json(arguments)), [])


@given(OBJECTS, st.floats(0, 1, exclude_max=True))
def test_a_cut_object_is_never_completed(arguments: dict[str, Any], part: float) -> None:
    text = json.dumps(arguments)
    with pytest.raises(Unreadable):
        repair_text(text[: int(part * len(text))])


def test_reading_takes_time_in_proportion() -> None:
    assert repair_text("{}" * 5_000) == ({}, ["written more than once"])
    assert repair_text('{"a": 1}' + " " * 500_000 + "}" * 500_000 + "<|x|>" * 9999)[0] == {"a": 1}


@pytest.mark.parametrize("text", ["{}" * 200_000, "{a: [" + "1," * 200_000 + "]}", "{'a': '" + "\\n" * 200_000 + "'}"])
def test_a_text_that_would_take_long_to_repair_is_not_repaired(text: str) -> None:
    with pytest.raises(Unreadable, match="too long"):
        repair_text(text)


@given(st.dictionaries(st.text("abc"), st.text("ab'\"\\\n") | st.booleans() | st.none() | st.integers()))
def test_what_python_writes_of_a_dict_is_read_back(arguments: dict[str, Any]) -> None:
    assert repair_text(repr(arguments))[0] == arguments


@given(st.text() | st.text("{}[]\"':,\\`atrue1 \n"))
def test_any_text_is_an_object_that_can_be_sent_or_unreadable(text: str) -> None:
    try:
        arguments, _ = repair_text(text)
    except Unreadable:
        return
    encode_json(arguments)


# Arguments that are JSON, but not as the tool takes them.

SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "array", "items": {"type": "integer"}},
        "options": {"$ref": "#/$defs/Options"},
        "tree": {"$ref": "#"},
        "either": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "mixed": {"anyOf": [{"type": "array"}, {"type": "string"}]},
        "many": {"type": ["object", "null"]},
        "kind": {"enum": ["[a]", "b"]},
        "any": {},
        "loop": {"$ref": "#/$defs/Loop"},
    },
    "required": ["city", "days"],
    "$defs": {"Options": {"type": "object"}, "Loop": {"$ref": "#/$defs/Loop"}},
}


@pytest.mark.parametrize(
    ("arguments", "fitted", "notes"),
    [
        ({"city": "Rome"}, {"city": "Rome"}, []),
        ({"arguments": {"city": "Rome"}}, {"city": "Rome"}, ["wrapped in 'arguments'"]),
        ({"input": '{"city": "Rome"}'}, {"city": "Rome"}, ["wrapped in 'input'"]),
        ({"input": "Rome"}, {"input": "Rome"}, []),
        ({"input": {"town": "Rome"}}, {"input": {"town": "Rome"}}, []),
        ({"arguments": {"city": "Rome"}, "days": []}, {"arguments": {"city": "Rome"}, "days": []}, []),
        ({"days": "[1, 2]"}, {"days": [1, 2]}, ["days written as a string"]),
        ({"days": "{}"}, {"days": "{}"}, []),
        ({"days": "1, 2"}, {"days": "1, 2"}, []),
        ({"days": "[1, 2"}, {"days": "[1, 2"}, []),
        ({"city": "[1, 2]"}, {"city": "[1, 2]"}, []),
        ({"mixed": "[1]", "kind": "[a]", "any": "[1]", "loop": "[1]"}, None, []),
        ({"options": '{"a": 1}', "tree": '{"city": "x"}'}, {"options": {"a": 1}, "tree": {"city": "x"}},
         ["options written as a string", "tree written as a string"]),
        ({"options": None}, {}, ["null for options, which may be left out"]),
        ({"either": None, "any": None, "many": None, "days": None}, None, []),
        ({"either": "null", "many": "None"}, {"either": None, "many": None},
         ["either written as a string", "many written as a string"]),
        ({"either": "5"}, None, []),
    ],
)  # fmt: skip
def test_arguments_are_put_into_the_form_of_the_schema(
    arguments: dict[str, Any], fitted: dict[str, Any] | None, notes: list[str]
) -> None:
    assert fit_arguments(arguments, Shape.of(SCHEMA)) == (arguments if fitted is None else fitted, notes)


def test_a_tool_that_has_such_a_parameter_or_takes_anything_is_left_alone() -> None:
    known: dict[str, Any] = {"properties": {"a": {}}}
    schemas: list[dict[str, Any]] = [
        {"properties": {"input": {"type": "object"}, "a": {}}, "additionalProperties": False},
        {"properties": {}},
        {},
        known,
        {**known, "required": ["a"], "additionalProperties": True},
        {**known, "additionalProperties": {"type": "object"}},
        {**known, "additionalProperties": False, "patternProperties": {"^in": {}}},
    ]
    for schema in schemas:
        assert fit_arguments({"input": {"a": 1}}, Shape.of(schema)) == ({"input": {"a": 1}}, [])
    unsaid = {**known, "required": ["a"]}  # as it stands it cannot fit
    assert fit_arguments({"input": {"a": 1}}, Shape.of(unsaid)) == ({"a": 1}, ["wrapped in 'input'"])


@given(OBJECTS | st.fixed_dictionaries({}, optional=dict.fromkeys(SCHEMA["properties"], JSON)))
def test_fitting_never_fails_and_a_second_time_changes_nothing(arguments: dict[str, Any]) -> None:
    fitted, _ = fit_arguments(arguments, Shape.of(SCHEMA))
    assert fit_arguments(fitted, Shape.of(SCHEMA)) == (fitted, [])


# What fits is left alone; what does not is changed only if it can mean one thing.

COERCED: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "order_id": {"type": "string"},
        "code": {"type": "string", "pattern": "^[0-9.]+$"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "maybe": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "day": {"type": "string", "format": "date"},
        "level": {"enum": [1, 2], "type": "integer"},
        "color": {"enum": ["red", "Dark Blue"], "type": "string"},
        "letter": {"enum": ["a", "A"], "type": "string"},
        "size": {"const": "10", "type": "string"},
        "count": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "total": {"type": "integer"},
        "flag": {"type": "boolean"},
        "price": {"anyOf": [{"type": "number"}, {"type": "string"}]},
        "text_or_list": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "integer"}}]},
        "stops": {"type": "array", "items": {"$ref": "#/$defs/Stop"}},
        "ids": {"type": "array", "items": {"type": "integer"}},
        "anything": {"type": "array", "items": {}},
        "pet": {"anyOf": [{"$ref": "#/$defs/Cat"}, {"$ref": "#/$defs/Dog"}]},
    },
    "$defs": {
        "Stop": {"type": "object", "properties": {"city": {"type": "string"}, "note": {"type": "string"}},
                 "required": ["city"]},
        "Cat": {"type": "object", "properties": {"kind": {"const": "cat"}, "name": {"type": "string"}}},
        "Dog": {"type": "object", "properties": {"kind": {"const": "dog"}, "name": {"type": "integer"}}},
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("written", "fitted", "notes"),
    [
        ('{"order_id": 100245}', {"order_id": "100245"}, ["order_id written as a number"]),
        ('{"order_id": 12345678901234567890123}', {"order_id": "12345678901234567890123"},
         ["order_id written as a number"]),
        ('{"code": 1.50}', {"code": "1.50"}, ["code written as a number"]),
        ('{"tags": [1, "b", 2.0]}', {"tags": ["1", "b", "2.0"]},
         ["tags[0] written as a number", "tags[2] written as a number"]),
        ('{"maybe": 5}', {"maybe": "5"}, ["maybe written as a number"]),
        ('{"level": "1"}', {"level": 1}, ["level written as a string"]),
        ('{"color": "Red"}', {"color": "red"}, ["color in another case"]),
        ('{"color": " dark blue "}', {"color": "Dark Blue"}, ["color in another case"]),
        ('{"size": 10}', {"size": "10"}, ["size written as a number"]),
        ('{"count": ""}', {"count": None}, ["count written as a string"]),
        ('{"stops": {"city": 5}}', {"stops": [{"city": "5"}]},
         ["stops without its list", "stops[0].city written as a number"]),
        ('{"stops": "[{\\"city\\": \\"Rome\\"}]"}', {"stops": [{"city": "Rome"}]}, ["stops written as a string"]),
        ('{"stops": [{"city": "Rome", "note": null}]}', {"stops": [{"city": "Rome"}]},
         ["null for stops[0].note, which may be left out"]),
        ('{"ids": 7}', {"ids": [7]}, ["ids without its list"]),
        ('{"pet": {"kind": "cat", "name": 9}}', {"pet": {"kind": "cat", "name": "9"}},
         ["pet.name written as a number"]),
    ],
    ids=str,
)  # fmt: skip
def test_a_value_that_can_mean_one_thing_only_is_read_so(
    written: str, fitted: dict[str, Any], notes: list[str]
) -> None:
    assert fit_arguments(parse_json(written), Shape.of(COERCED)) == (fitted, notes)


@pytest.mark.parametrize(
    "written",
    [
        '{"order_id": true}', '{"order_id": ["a"]}', '{"order_id": ""}', '{"tags": "a, b"}', '{"level": true}',
        '{"tags": "a"}', '{"day": 20251128}', '{"day": 2025}', '{"level": "one"}', '{"level": "1.5"}',
        '{"color": "reddish"}', '{"color": "r"}', '{"color": 1}', '{"letter": "B"}', '{"size": 10.0}', '{"size": 100}',
        '{"count": "none of them"}', '{"count": "5"}', '{"total": ""}', '{"total": true}', '{"total": "five"}',
        '{"flag": 1}', '{"flag": "maybe"}', '{"price": 5}', '{"price": "5"}', '{"text_or_list": 5}',
        '{"text_or_list": "[1]"}', '{"ids": "7"}', '{"ids": true}', '{"anything": 5}', '{"anything": {"a": 1}}',
        '{"pet": {"kind": "dog", "name": "Rex"}}', '{"stops": [1]}', '{"stops": "Rome"}',
    ],
)  # fmt: skip
def test_a_value_that_fits_or_could_mean_something_else_is_left_alone(written: str) -> None:
    arguments = parse_json(written)
    assert fit_arguments(arguments, Shape.of(COERCED)) == (arguments, [])


@pytest.mark.parametrize(
    "text",
    [r"{'x': '\x00'}", r"{'x': '\0'}", r"{'x': '\a'}", r"{'x': '\N{BULLET}'}", r"{'x': '\U0001F600'}", r"{'x': '\7'}",
     r'{"x": "\x00"}', r'{"x": "\0"}', r'{"x": "\N{BULLET}"}', r'{"x": "\U0001F600"}', "{'x': 'a\\\nb'}"],
)  # fmt: skip
def test_an_escape_that_json_does_not_have_is_not_kept_as_its_characters(text: str) -> None:
    with pytest.raises(Unreadable, match="an escape that JSON does not have"):
        repair_text(text)


@pytest.mark.anyio
async def test_a_run_reports_each_change_and_the_next_request_shows_the_call_as_it_ran() -> None:
    paid: list[tuple[str, str]] = []

    @tool
    def pay(order_id: str, color: Literal["red", "blue"]) -> str:
        """Pay for an order."""
        paid.append((order_id, color))
        return "paid"

    seen: list[CallRepaired] = []
    written = ToolCall("c", "functions.pay", '{"order_id": 100245.10, "color": "Red"}')
    result = await Agent(ScriptedModel([[written], "done"]), tools=[pay]).run(
        "go", on_event=lambda event: seen.append(event) if isinstance(event, CallRepaired) else None
    )
    assert paid == [("100245.10", "red")]
    assert [each.what.removeprefix("the arguments of pay were ") for each in seen] == [
        "the name 'functions.pay' became pay",
        "order_id written as a number",
        "color in another case",
    ]
    (shown,) = cast("AssistantMessage", result.messages[1]).tool_calls
    assert (shown.name, shown.arguments) == ("pay", '{"order_id":"100245.10","color":"red"}')


# Names.

TOOLS = ["add", "get_weather", "set_user", "cancel_table", "getTime", "search_v1"]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("add", "add"),
        ("functions.add", "add"),
        ("functions.add:0", "add"),
        ("default_api:add", "add"),
        ("default_api.get-weather", "get_weather"),
        ("tools/add", "add"),
        ("Tools.Add", "add"),
        (" Add ", "add"),
        ("get-weather", "get_weather"),
        ("getWeather", "get_weather"),
        ("get_time", "getTime"),
        ("GET__TIME", "getTime"),
    ],
)
def test_a_name_is_repaired_by_case_dashes_underscores_and_prefixes_of_servers(written: str, meant: str) -> None:
    assert match_tool_name(written, TOOLS) == meant


@pytest.mark.parametrize(
    "written",
    [
        "dry_run.deploy", "undo.send_money", "un.ban_user", "rollback:deploy", "cancel.order", "not:pay", "# pay",
        "http://evil/pay", "draft.delete", "not pay", "!pay", "pay()", "pay?", "pay, no", "pay.undo", "pay/cancel",
        "functions.dry_run.pay", "functions.pay.undo", "functions.functions.pay", "function.pay", "my.functions.pay",
        "block_user", "transfer_form", "evoke_key", "pays", "order_s", "send_mony", "ppay", "ban_users",
        "pay<|channel|>commentary", "pay:0", "functions:pay:0:1", "pay\n", "p\u0430y", "\u212aey", "",
        "...", ".", "functions.", "functions", "x" * 5_000_000,
    ],
    ids=lambda each: each[:24].encode("unicode_escape").decode(),
)  # fmt: skip
def test_another_name_is_never_taken_for_a_tool(written: str) -> None:
    tools = ["deploy", "send_money", "ban_user", "order", "pay", "delete", "lock_user", "transfer_from", "revoke_key"]
    assert match_tool_name(written, tools) in (None, *(["pay"] if written == "pay\n" else []))


def test_the_prefix_of_a_toolset_may_be_written_with_a_dot() -> None:
    tools = ["calendar_book", "book"]
    assert match_tool_name("calendar.book", tools, ["calendar_"]) == "calendar_book"
    assert match_tool_name("calendar.calendar_book", tools, ["calendar_"]) == "calendar_book"
    assert match_tool_name("Calendar/Book", tools, ["calendar_"]) == "calendar_book"
    assert match_tool_name("calendar.book", tools) is None
    assert match_tool_name("other.book", tools, ["calendar_"]) is None
    assert match_tool_name("calendar.cancel", tools, ["calendar_"]) is None


def test_two_tools_that_fit_are_one_too_many() -> None:
    assert match_tool_name("GET_X", ["get_x", "getX"]) is None
    assert match_tool_name("functions.get-x", ["get_x", "getX"]) is None


def test_a_tool_that_is_switched_off_is_not_said_to_be_missing() -> None:
    assert (
        unknown_tool_message("get_user", ["get_user_v"], ["get_user"])
        == "the tool 'get_user' is switched off in this turn"
    )


def test_the_model_is_told_the_nearest_names_or_all_of_them() -> None:
    assert unknown_tool_message("get_whether", TOOLS) == "there is no tool 'get_whether'; did you mean get_weather?"
    assert unknown_tool_message("xyz", ["a", "b"]) == "there is no tool 'xyz'; the tools are a, b"
    assert unknown_tool_message("xyz", [f"t{n:03}" for n in range(100)]).endswith("t019 and 80 more")
    assert unknown_tool_message("x", []).endswith("there are no tools at all, so answer without one")


@given(st.text() | st.text("adget_wh-.:"))
def test_any_text_means_a_tool_that_there_is_or_none(written: str) -> None:
    assert match_tool_name(written, TOOLS) in (*TOOLS, None)


def test_a_long_name_is_shortened_for_the_model() -> None:
    assert len(unknown_tool_message("x" * 5_000_000, TOOLS)) < 300
