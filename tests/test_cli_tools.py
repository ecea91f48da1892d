import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentkit.cli import main
from tests.command import fresh_imports

TOOLS = """
from typing import Any, Literal
from agentkit import Tool, tool

@tool
def book(day: Literal["today", "tomorrow"], guests: int = 2) -> str:
    '''Book a table.

    Args:
        day: When they come.
        guests: How many people come.
    '''

@tool
def rate(stars: dict[str, int], note: Any = None) -> None:
    "Rate the dishes."

odd = Tool.from_schema(
    "odd", "Show odd\\x1b[2J things.",
    {
        "properties": {
            "a\\u202eb\\n": {"type": "array", "items": {"$ref": "#/$defs/X"}},
            "c": {"type": ["string", "null"]},
        },
        "$defs": {"X": {"type": "string"}},
    },
    lambda context, arguments: "",
)

ask = Tool.external(
    "ask",
    "Ask the customer.",
    {"type": "object", "properties": {"what": {"type": "string"}, "more": {"type": "array"}}},
)

sql = Tool.custom("sql", "Run an SQL query.", lambda context, text: "")
"""


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    Path("checked_tools.py").write_text(TOOLS, encoding="utf-8")
    with fresh_imports():
        yield


def test_a_tool_in_order_is_shown_and_ends_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tools", "--check", "checked_tools:book"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        'book(day: "today" | "tomorrow", guests: integer = 2)',
        "  strict",
        "",
        "1 tool, nothing to improve",
    ]


def test_advice_is_printed_below_its_tool_and_ends_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tools", "--check", "checked_tools:book", "checked_tools:rate"]) == 1
    _, _, _, signature, strictness, *advice, _, total = capsys.readouterr().out.splitlines()
    assert signature == "rate(stars: object, note: any = null)"
    assert strictness == "  not strict: stars takes members of any name, which strict schemas do not allow"
    assert [each.partition(";")[0] for each in advice] == [
        "  - stars: has no description",
        "  - note: has no description",
        "  - note: may be anything",
        "  - stars: cannot be strict: it takes members of any name, which strict schemas do not allow",
    ]
    assert total == "2 tools, 4 things to improve"


def test_advice_for_programs_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tools", "--check", "--json", "checked_tools:book", "checked_tools:rate"]) == 1
    good, bad = json.loads(capsys.readouterr().out)
    assert good == {
        "name": "book",
        "signature": 'book(day: "today" | "tomorrow", guests: integer = 2)',
        "strict": True,
        "why_not_strict": None,
        "access": [],
        "may_wait": False,
        "advice": [],
    }
    assert bad["strict"] is False
    assert bad["why_not_strict"].startswith("stars takes members")
    assert [each["parameter"] for each in bad["advice"]] == ["stars", "note", "note", "stars"]
    assert bad["advice"][2]["what"] == "may be anything; give it a type"


def test_without_check_the_schemas_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tools", "--json", "checked_tools:rate"]) == 0
    (schema,) = json.loads(capsys.readouterr().out)
    assert schema["function"]["name"] == "rate"


@pytest.mark.parametrize("option", [[], ["--json"]], ids=["text", "json"])
def test_what_a_schema_holds_is_shown_and_never_interpreted(
    option: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tools", "--check", *option, "checked_tools:odd"]) == 1
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert "u202eb" in out
    assert "its schema is sent as it is, without strict=True" in out


def test_a_tool_with_a_schema_and_no_function_is_told_about_its_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tools", "--check", "checked_tools:ask"]) == 1
    _, strictness, *advice, _, _ = capsys.readouterr().out.splitlines()
    assert strictness == "  not strict: its schema is sent as it is, without strict=True"
    assert advice == [
        '  - what: has no description; give it a "description" in the schema',
        '  - more: has no description; give it a "description" in the schema',
        '  - more: is a list of anything; say of what, in "items"',
    ]


def test_a_custom_tool_is_shown_as_what_takes_a_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tools", "--check", "checked_tools:sql"]) == 0
    assert capsys.readouterr().out.splitlines()[:2] == [
        "sql(text)",
        "  not strict: it takes a string, so it has no schema",
    ]


def test_a_file_may_hold_its_tools_in_a_toolset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "shop.py").write_text(
        "from agentkit.tools import Toolset\n"
        "class Shop:\n"
        "    def stock_of(self, item: str) -> int:\n"
        "        return 3\n"
        "tools = Toolset.of(Shop()).prefixed('shop_')\n"
    )
    assert main(["tools", str(tmp_path / "shop.py")]) == 0
    assert [each["function"]["name"] for each in json.loads(capsys.readouterr().out)] == ["shop_stock_of"]


def test_an_agent_stands_for_its_tools(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "with_agent.py").write_text(
        f"{TOOLS}\nfrom agentkit import Agent\n\nagent = Agent('local', tools=[book])\n", encoding="utf-8"
    )
    assert main(["tools", "--check", f"{tmp_path / 'with_agent.py'}:agent"]) == 0
    assert capsys.readouterr().out.startswith("book(")
