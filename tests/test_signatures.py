"""The table of signatures, row by row: the schema, the strict schema, the value that arrives, and broken arguments."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import given, settings
from hypothesis import strategies as st

from agentkit.chat.json_schema import strict_form
from agentkit.errors import DefinitionError, ToolError
from agentkit.tools.context import ToolContext
from agentkit.tools.tool import tool
from tests.explore import EXPLORE
from tests.signatures import REFUSED, ROWS, Row, tool_of
from tests.signatures.oracle import is_a

rows = pytest.mark.parametrize("row", ROWS, ids=str)


def context() -> ToolContext[Any]:
    return ToolContext(
        deps=None, run_id="r", turn=1, call_id="c", tool="f", idempotency_key="k", emit=lambda event: None
    )


def names_in(schema: Any) -> list[Any]:
    """The names of the properties, in their order, in the order of what holds them."""
    if isinstance(schema, list):
        return [names_in(each) for each in schema]
    if not isinstance(schema, dict):
        return []
    inner = [names_in(schema[key]) for key in sorted(schema) if key not in ("default", "properties")]
    return [[(name, names_in(each)) for name, each in schema.get("properties", {}).items()], inner]


def test_the_table_is_long_and_has_no_row_twice() -> None:
    assert len(ROWS) >= 120
    assert len({(row.name, row.written) for row in ROWS}) == len(ROWS)


@rows
def test_a_signature_has_its_schema(row: Row) -> None:
    parameters = tool_of(row).parameters
    assert parameters == row.parameters
    assert names_in(parameters) == names_in(row.parameters)
    jsonschema.Draft202012Validator.check_schema(parameters)


@rows
def test_a_signature_has_its_strict_schema_or_says_why_there_is_none(row: Row) -> None:
    parameters = tool_of(row).parameters
    if isinstance(row.strict, str):
        assert strict_form("f", parameters, strict=None, of_function=True) is None
        with pytest.raises(DefinitionError) as caught:
            strict_form("f", parameters, strict=True, of_function=True)
        assert str(caught.value) == f"tool 'f' cannot be strict: {row.strict}"
    else:
        form = strict_form("f", parameters, strict=True, of_function=True)
        assert form == row.strict
        assert names_in(form) == names_in(row.strict)
        jsonschema.Draft202012Validator.check_schema(row.strict)


@rows
@pytest.mark.turns
@pytest.mark.anyio
async def test_what_a_model_writes_reaches_the_function_as_its_types(row: Row) -> None:
    received = (await tool_of(row).call(context(), row.written)).data
    assert received == row.received
    assert (type(received), repr(received)) == (type(row.received), repr(row.received))
    assert is_a(received, row.gets)


@pytest.mark.parametrize(("function", "complaint"), REFUSED, ids=lambda each: getattr(each, "__name__", each))
def test_what_cannot_be_a_tool_is_said_in_one_sentence(function: Any, complaint: str) -> None:
    with pytest.raises(DefinitionError, match=complaint) as caught:
        tool(function)
    assert "\n" not in str(caught.value)


def test_no_word_of_a_schema_depends_on_the_process() -> None:
    program = """
import json
from tests.signatures import ROWS, tool_of
print([json.dumps([row.name, (made := tool_of(row)).parameters, made.definition.to_wire()]) for row in ROWS])
"""
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed},
            cwd=Path(__file__).parents[1],
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("0", "1")
    }
    assert len(outputs) == 1
    assert len(outputs.pop()) > 50_000


# Broken arguments.

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["", "x", "1", "-1.50", "null", "2026-01-02", "aGk=", "\ud800", "\0", "9" * 400])
    | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["x", "n", "a", "kind"]), inner),
    max_leaves=5,
)


@st.composite
def broken(draw: st.DrawFn, row: Row) -> str:
    """What a model might write instead: other values, names that are wrong or missing, and texts that are no JSON."""
    arguments = json.loads(row.written or "{}") or {}
    what = draw(st.sampled_from(["text", "value", "member", "name", "anything"]))
    if what == "text":
        text = row.written or "{}"
        start, length = draw(st.integers(0, len(text))), draw(st.integers(0, 3))
        instead = draw(st.sampled_from(["", '"', "}", "[", ",", "1", "e999", "\ud800", "\n", "NaN"]))
        return text[:start] + instead + text[start + length :]
    if what == "value":
        arguments = _changed(draw, arguments)
    elif what == "name" and arguments:
        arguments[draw(st.text(max_size=5))] = arguments.pop(draw(st.sampled_from(sorted(arguments))))
    elif what == "member" and row.parameters["properties"]:
        arguments[draw(st.sampled_from(sorted(row.parameters["properties"])))] = draw(JSON)
    else:
        arguments = draw(JSON)
    return json.dumps(arguments)


def _changed(draw: st.DrawFn, value: Any) -> Any:
    """The value with something else in a place of it, or nothing."""
    if not value or not isinstance(value, dict | list) or draw(st.integers(0, 3)) == 0:
        return draw(JSON)
    places = sorted(value) if isinstance(value, dict) else range(len(value))
    place = draw(st.sampled_from(places))
    if draw(st.integers(0, 4)) == 0:
        del value[place]
    else:
        value[place] = _changed(draw, value[place])
    return value


@pytest.fixture(scope="module")
def portal() -> Iterator[BlockingPortal]:
    """One event loop for all examples."""
    with start_blocking_portal() as opened:
        yield opened


@rows
def test_broken_arguments_are_a_mistake_that_is_said_or_values_of_the_right_types(
    row: Row, portal: BlockingPortal
) -> None:
    made = tool_of(row)

    @settings(max_examples=50 if EXPLORE else 6)  # for each row
    @given(broken(row))
    def throw(text: str) -> None:
        try:
            received = portal.call(made.call, context(), text).data
        except ToolError as error:
            said = str(error)
            assert said.count("\n") <= 6
            assert len(said) <= 1000
            assert "pydantic" not in said.lower()
        else:
            assert is_a(received, row.gets)

    throw()
