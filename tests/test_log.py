"""No text of a model, a tool or a server forges a log line."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator

import pytest

from agentkit import Agent, tool
from agentkit.chat.log import escape_controls, log
from agentkit.testing import ScriptedModel, call

pytestmark = pytest.mark.anyio

FORGED = "first\r\n2026-01-01 CRITICAL paid\x1b[2K\x1b]0;title\x07\u202ehidden\u2028next\x9b1A\ufeff\ud800"


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    log.addHandler(handler)
    yield stream
    log.removeHandler(handler)


def controls(text: str) -> list[str]:
    return [each for each in text if not each.isprintable() and each != "\n"]


def test_a_message_is_one_line_of_printable_characters(written: io.StringIO) -> None:
    log.warning("tool %s raised: %s", "add", FORGED)
    (line,) = written.getvalue().splitlines()
    assert line.startswith(r"WARNING tool add raised: first\r\n2026-01-01 CRITICAL paid\x1b[2K\x1b]0;title\x07\u202e")
    assert not controls(line)


def test_a_message_of_another_type_and_a_percent_sign_are_written_as_they_are(written: io.StringIO) -> None:
    log.warning(ValueError("50%\n"))
    log.warning("50%% of %d", 3)
    assert written.getvalue().splitlines() == [r"WARNING 50%\n", "WARNING 50% of 3"]


def fail() -> None:
    try:
        try:
            raise KeyError(FORGED)
        except KeyError as error:
            raise ValueError(FORGED) from error
    except ValueError:
        raise ExceptionGroup(FORGED, [OSError(FORGED), RuntimeError("plain")]) from None


def test_a_traceback_has_one_line_for_each_message(written: io.StringIO) -> None:
    try:
        fail()
    except ExceptionGroup:
        log.exception("it failed")
    text = written.getvalue()
    assert not controls(text)
    assert not any(line.startswith("2026-01-01 CRITICAL") for line in text.splitlines())
    messages = [line.strip().partition(":")[0] for line in text.splitlines() if "CRITICAL" in line]
    assert messages == ["ExceptionGroup", "OSError"]
    assert "in fail" in text
    assert "RuntimeError: plain" in text


def test_causes_are_shown_in_their_order(written: io.StringIO) -> None:
    try:
        try:
            raise KeyError(FORGED)
        except KeyError as error:
            raise ValueError(FORGED) from error
    except ValueError as error:
        log.error("it failed", exc_info=error)
    text = written.getvalue()
    assert text.index("KeyError: ") < text.index("was the direct cause") < text.index("ValueError: ")
    assert not controls(text)


def test_what_can_be_printed_stays_as_it_is() -> None:
    assert escape_controls("Größe: 5 € 列出 😀 a\\b") == "Größe: 5 € 列出 😀 a\\b"


def test_a_tool_that_raises_is_one_line_with_the_place_and_the_traceback_is_for_debugging(
    written: io.StringIO, caplog: pytest.LogCaptureFixture
) -> None:
    @tool
    def convert(text: str) -> int:
        """Convert."""
        return int(json.loads(text)["n"]) + int("x\n2026-01-01 CRITICAL paid")

    agent = Agent(ScriptedModel([[call("convert", id="c1", text='{"n": 1}')], "done"]), tools=[convert], name="ada")
    agent.run_sync("go", run_id="r1")
    (line,) = written.getvalue().splitlines()
    where = rf"\({re.escape(__file__)}:\d+, in convert\)$"
    assert line.startswith(r"WARNING tool convert raised ValueError: invalid literal for int() with base 10: 'x\n2026-")
    assert re.search(where, line)
    (record,) = [each for each in caplog.records if each.levelno == logging.WARNING]
    fields = ("run_id", "agent", "turn", "tool", "call_id")
    assert [vars(record)[name] for name in fields] == ["r1", "ada", 1, "convert", "c1"]
    written.truncate(0)
    with caplog.at_level(logging.DEBUG, "agentkit"):
        Agent(ScriptedModel([[call("convert", text="[")], "done"]), tools=[convert]).run_sync("go")
    text = written.getvalue()
    assert re.search(rf"WARNING tool convert raised JSONDecodeError: .* {where[:-1]}", text)  # not where json is
    assert "Traceback (most recent call last):" in text


@tool(process=True)
def break_elsewhere() -> None:
    """Break."""
    raise KeyError("far away")


def test_the_frames_of_agentkit_are_not_the_place_where_a_tool_raised(written: io.StringIO) -> None:
    Agent(ScriptedModel([[call("break_elsewhere")], "done"]), tools=[break_elsewhere]).run_sync("go")
    assert written.getvalue() == "WARNING tool break_elsewhere raised KeyError: 'far away'\n"


async def test_a_run_that_goes_well_logs_nothing_from_info_on(caplog: pytest.LogCaptureFixture) -> None:
    @tool
    def add(a: int, b: int) -> int:
        """Add."""
        return a + b

    with caplog.at_level(logging.DEBUG):
        await Agent(ScriptedModel([[call("add", a=1, b=2)], "3"]), tools=[add]).run("go")
    assert [each for each in caplog.records if each.name.startswith("agentkit") and each.levelno >= logging.INFO] == []
