import json
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.chat.decoding.text import MARKS, read_calls, read_failed_generation, read_rejected_call
from tests.scaling import assert_linear

NUMBER: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "integer"}, "t": {"type": "string"}}}
OFFERED = {"f": NUMBER, "g.h-i": NUMBER}


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ('<tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call>', [("f", {"a": 1})]),
        ('<tool_call>{"name": "f"}</tool_call>', [("f", {})]),
        ('<tool_call>{"name": "f", "arguments": {}}</tool_call></s>', [("f", {})]),
        ("<function=f></function>", [("f", {})]),
        ("<function=f><parameter=t>1</parameter>\n<parameter=a>1</parameter></function>", [("f", {"t": "1", "a": 1})]),
        ("<function=f>\n<parameter=t>\na\n\nb\n</parameter>\n</function>", [("f", {"t": "a\n\nb"})]),
        ('[TOOL_CALLS]f[ARGS]{"a": 1}[TOOL_CALLS]g.h-i{}', [("f", {"a": 1}), ("g.h-i", {})]),
        ('<|python_tag|>{"name": "f", "parameters": {"a": 1}}', [("f", {"a": 1})]),
        ('<tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call> Done.', []),
        ('<tool_call>{"name": "zap", "arguments": {}}</tool_call>', []),
        ('<tool_call>{"name": "f", "arguments": [1]}</tool_call>', []),
        ('<tool_call>{"name": "f", "arguments": {"a": 1}', []),
        ("<tool_call>", []),
        ("[TOOL_CALLS][]", []),
        ("[TOOL_CALLS] is a mark", []),
        ('<|python_tag|>f.call(a="1")', []),
        ("<function=f>{}</function> <function=zap>{}</function>", []),
        ("<tool_call>" + "[" * 100_000, []),
    ],
)  # fmt: skip
def test_only_what_is_calls_from_end_to_end_is_read(text: str, calls: list[tuple[str, Any]]) -> None:
    assert [(name, json.loads(arguments)) for name, arguments in read_calls(text, OFFERED)] == calls


@given(
    st.sampled_from(MARKS),
    st.text() | st.lists(st.sampled_from([*MARKS, '{"name": "f"}', "f", ">", "\n"])).map("".join),
)
def test_no_text_breaks_the_reader(mark: str, text: str) -> None:
    for name, arguments in read_calls(mark + text, OFFERED):
        assert name in OFFERED
        assert isinstance(json.loads(arguments), dict)
    read_failed_generation(mark + text)


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ('<function=f{"a": 1}</function>', [("f", {"a": 1})]),
        ('<function=f>{"a": 1}', [("f", {"a": 1})]),
        ('{"name": "f", "arguments": "{\\"a\\": 1}"}', [("f", {"a": 1})]),
        ('{"name": "f", "arguments": {"a"', []),
        ("I will add them", []),
        ("", []),
        ("7", []),
    ],
)
def test_what_a_server_could_not_read(text: str, calls: list[tuple[str, Any]]) -> None:
    assert [(name, json.loads(arguments)) for name, arguments in read_failed_generation(text)] == calls


def test_numbers_keep_the_digits_that_the_model_wrote() -> None:
    number = {"f": {"type": "object", "properties": {"a": {"type": "number"}}}}
    written = '<tool_call>{"name": "f", "arguments": {"a": 1.50}}</tool_call>'
    assert read_calls(written, number) == [("f", '{"a":1.50}')]
    assert read_calls("<function=f><parameter=a>100000000000000000000.01</parameter></function>", number) == [
        ("f", '{"a":100000000000000000000.01}')
    ]


PERSON: dict[str, Any] = {"type": "object", "properties": {"name": {"type": "string"}}}
CITY: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}}


@pytest.mark.parametrize(
    ("written", "offered", "calls"),
    [
        ('{"city": "Paris"}', {"weather": CITY}, [("weather", '{"city": "Paris"}')]),
        ('{"city": "Paris"', {"weather": CITY}, [("weather", '{"city": "Paris"')]),
        ('{"city": "Paris"}', {"weather": CITY, "f": NUMBER}, [("weather", '{"city": "Paris"}')]),
        ('{"city": "Paris"}', {"weather": CITY, "news": CITY}, []),
        ('{"city": "Paris", "day": 1}', {"weather": CITY}, []),
        ('{"name": "f", "arguments": {"a": 1}}', {"weather": CITY, "f": NUMBER}, [("f", '{"a":1}')]),
        ('<tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call>', {"f": NUMBER}, [("f", '{"a":1}')]),
        ('{"name": "Bob"}', {"hire": PERSON, "Bob": NUMBER}, [("hire", '{"name": "Bob"}')]),
        ('{"name": "zap", "arguments": {}}', {"f": NUMBER}, []),
        ("I will look", {"weather": CITY}, []),
        ("{}", {"weather": CITY}, []),
        ("", {"weather": CITY}, []),
    ],
)
def test_a_call_that_a_server_rejected_is_read_only_if_one_tool_fits(
    written: str, offered: dict[str, Any], calls: list[tuple[str, str]]
) -> None:
    assert read_rejected_call(written, offered) == calls


UNITS = [
    *MARKS,
    *(
        "> ",
        "1.",
        " ",
        "f",
        "{",
        "[",
        '{"a": 1}',
        "</tool_call>",
        "<|end|>",
        "<parameter=a>",
        "<arg_key>",
        "</s>",
        ":1",
    ),
    '<tool_call>{"name": "f"}</tool_call>',
    "<function=f>{}</function>",
    "<|channel|>analysis<|message|>x<|end|><|start|>assistant",
    "<parameter=a>1</parameter>",
]


@pytest.mark.parametrize("unit", UNITS)
def test_every_parser_takes_linear_time(unit: str) -> None:
    def parse(size: int) -> None:
        for mark in MARKS:
            read_calls(mark + unit * size, OFFERED)
            read_calls(mark + "f" + unit * size, OFFERED)
        read_failed_generation(unit * size)
        read_rejected_call("{" + unit * size, OFFERED)

    assert_linear(lambda size: partial(parse, size), 200)
