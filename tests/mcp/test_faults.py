"""Servers that break something: the run goes on, and what can be read is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from agentkit import CallFinished, Event, Progress, ToolResult
from agentkit.mcp import MCPError, ServerLogged
from agentkit.mcp.wire import Line
from agentkit.messages import AudioPart, ImagePart
from tests.mcp.servers import hostile, names, results, use
from tests.scaling import assert_linear

pytestmark = pytest.mark.anyio

READ = {  # a fault in how a result is sent -> what the model reads
    "none": "hello",
    "old": "hello",
    "exits at the probe": "hello",
    "banner": "hello",
    "not utf-8": "\ufffd\ufffdhello",
    "surrogate": "\ufffdhello",
    "not a number": "hello",
    "noise": "hello",
    "id as a string": "hello",
    "twice": "hello",
    "batch": "hello",
    "crlf": "hello",
    "floods": "hello",
    "same cursor": "hello",
    "result null": "(no content)",
    "result a string": "just text",
    "result without content": '{"answer": 42}',
    "content a string": "plain",
    "content of unknown type": 'seen\n5\n{"type": "text"}',
    "structure without text": '{"n":1}',
    "promises": "kept",
    "nothing": "(no content)",
    "no id": "Error: it failed",
    "an error": "Error: no such city",
    "refuses": r"Error: text must be \x1b[1mshort",
    "resources": "[file:///a.txt]\ninside\n"
    "[file:///b.bin of type application/x-b is not shown: 3 bytes]\n[resource c at file:///c.txt: the third]",
    "no image": "[image of type image/png is not shown: an image must have a type like 'image/png', not '': give it as "
    "mime_type=]",
}


@pytest.mark.parametrize("fault", READ)
async def test_what_can_be_read_of_a_result_is_read(fault: str) -> None:
    run = await use(hostile(fault))
    assert (results(run), run.output) == ([READ[fault]], "done")


async def test_a_broken_message_fails_its_call_and_no_other() -> None:
    run = await use(hostile("broken json"), "one", "two")
    assert all("the answer of the server is not JSON" in each for each in results(run))


NAMES: dict[str, Any] = {
    "no schema": ["bare", "echo"],
    "schema without a type": ["bare", "echo"],
    "schema null": ["bare", "echo"],
    "schema nonsense": ["bare", "echo"],
    "names": ["echo", "a_b", "a_b_2", "a_b_3", "tool", "e" * 64, "e" * 62 + "_2", "tool_2"],
    "pages": ["t0", "t1", "t2"],
}


@pytest.mark.parametrize("fault", NAMES)
async def test_a_tool_that_breaks_the_protocol_does_not_lose_the_others(fault: str) -> None:
    assert await names(hostile(fault)) == NAMES[fault]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # as much work on the other one
async def test_a_list_without_an_end_is_read_up_to_a_limit() -> None:
    assert 50 <= len(await names(hostile("endless pages"))) <= 1000


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # as much work on the other one
async def test_ten_thousand_tools_are_listed() -> None:
    assert len(await names(hostile("ten thousand"))) == 10_000


@pytest.mark.parametrize(
    ("fault", "said", "exit_status"),
    [
        ("exits at the start", r"has ended with exit status 3; it wrote: no configuration\x07 found", 3),
        ("silent", "did not answer within 0.5 seconds of starting", None),
    ],
)
async def test_why_a_server_did_not_start_is_one_sentence(fault: str, said: str, exit_status: int | None) -> None:
    with pytest.raises(MCPError) as caught:
        await use(hostile(fault, start_timeout=0.5 if fault == "silent" else 60))
    assert said in str(caught.value)
    assert caught.value.exit_status == exit_status
    assert caught.value.state is not None  # of the run that it ended


@pytest.mark.parametrize(
    ("fault", "said"),
    [("dies", "has ended with exit status 7; it wrote: out of cheese"), ("dies by a signal", "was ended by signal 9")],
)
async def test_a_server_that_dies_in_a_call_is_started_again_and_the_call_is_not_repeated(
    fault: str, said: str, tmp_path: Any
) -> None:
    log = tmp_path / "log"
    run = await use(hostile(fault, str(log)), "one", "two")
    assert run.output == "done"
    assert [said in each and "it is not known whether the call had any effect" in each for each in results(run)] == [
        True
    ] * 2
    calls = [line for line in log.read_text(encoding="utf-8").splitlines() if '"tools/call"' in line]
    assert len(calls) == 2


async def test_a_call_that_takes_too_long_ends_and_the_server_is_asked_to_stop(tmp_path: Any) -> None:
    log = tmp_path / "log"
    run = await use(hostile("hangs", str(log), timeout=0.3))
    assert "did not answer within 0.3 seconds" in results(run)[0]
    assert "notifications/cancelled" in log.read_text(encoding="utf-8")


async def test_progress_is_reported_and_extends_the_time_of_a_call() -> None:
    events: list[Event] = []
    run = await use(hostile("progress", timeout=1), events=events)
    assert results(run) == ["hello"]
    assert [each.fraction for each in events if isinstance(each, Progress)] == [step / 8 for step in range(1, 8)]


async def test_log_lines_of_the_server_are_events_of_the_run() -> None:
    events: list[Event] = []
    await use(hostile("logs", name="disks"), events=events)
    assert [each for each in events if isinstance(each, ServerLogged)] == [
        ServerLogged("disks", "warning", "disk", "nearly full")
    ]


async def test_a_tool_that_the_server_adds_is_offered_in_the_next_turn() -> None:
    toolset = hostile("changes")
    async with toolset:
        before = [each.name for each in await toolset.tools()]
        run = await use(toolset)
        after = [each.name for each in await toolset.tools()]
    assert (before, results(run), after) == (["echo"], ["hello"], ["echo", "late"])


async def test_images_and_sound_are_shown_to_the_model() -> None:
    for fault, kind in (("an image", ImagePart), ("a sound", AudioPart)):
        assert [type(each) for each in (await finished(fault)).files] == [kind]


async def finished(fault: str) -> ToolResult:
    events: list[Event] = []
    await use(hostile(fault), events=events)
    [result] = [each.result for each in events if isinstance(each, CallFinished)]
    return result


async def test_a_result_that_breaks_its_promise_keeps_its_text_and_says_so_to_the_program() -> None:
    result = await finished("promises")
    assert (result.content, result.data) == ("kept", None)
    assert "promises a structured result" in result.metadata["mcp.output_schema"]
    broken = await finished("promises broken")
    assert (broken.content, broken.data) == ("kept", None)
    assert broken.metadata["mcp.output_schema"] == "at n: 'many' is not of type 'integer'"
    assert (await finished("structure without text")).data == {"n": 1}
    assert (await finished("an error")).is_error


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # as much work on the other one
async def test_a_large_result_is_limited_as_that_of_any_tool() -> None:
    run = await use(hostile("large"))
    assert len(results(run)[0]) < 100_000
    assert len(next(iter(run.state.artifacts.values()))) == 20_000_000


async def test_a_tool_that_is_gone_since_it_was_listed_is_a_result_and_offered_no_more() -> None:
    async with hostile("vanishes") as toolset:
        run = await use(toolset)
        assert (results(run), run.output) == (["Error: Unknown tool: echo"], "done")
        assert list(await toolset.tools()) == []


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # as much work on the other one
async def test_what_a_server_writes_to_its_standard_error_never_reaches_the_terminal(
    capfd: pytest.CaptureFixture[str],
) -> None:
    for fault in ("dies", "floods"):
        await use(hostile(fault))
    assert capfd.readouterr() == ("", "")


def test_a_long_line_is_read_in_time_that_grows_with_its_length() -> None:
    def reading(size: int) -> Callable[[], object]:
        line, part = Line(), b"x" * 4096

        def read() -> None:
            for _ in range(size):
                line.add(part)
            line.take()

        return read

    assert_linear(reading, 200)
