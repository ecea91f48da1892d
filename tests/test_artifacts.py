from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import pytest

from agentkit import Agent, testing, tool
from agentkit.chat.content import ImagePart
from agentkit.chat.messages import Message, ToolCall
from agentkit.errors import ModelRetry, ToolError
from agentkit.run import begins_exchange
from agentkit.run.artifacts import MAX_KEPT, MAX_RESULT, keep, read_result, shown
from agentkit.testing import context
from agentkit.tools.context import Remaining
from agentkit.tools.result import ToolResult
from tests.scaling import assert_linear


def call(name: str) -> ToolCall:
    return ToolCall(name, "flood", "{}")


@dataclass
class View:
    artifacts: Mapping[str, str]
    messages: tuple[Message, ...] = ()
    remaining: Remaining = field(default_factory=Remaining)
    model: None = None


def read(artifacts: dict[str, str], name: str, start: int, length: int = 20) -> str:
    return read_result(replace(context(None), view=View(artifacts)), name, start, length)


@pytest.mark.parametrize("is_error", [False, True])
def test_reading_on_begins_where_the_cut_result_ends(is_error: bool) -> None:
    whole = "".join(f"{n:07} " for n in range(MAX_RESULT // 4))
    result = ToolResult(whole, is_error=is_error)
    text, is_cut = shown(call("f1"), result, readable=True)
    artifacts: dict[str, str] = {}
    keep(artifacts, call("f1"), result)
    seen, _, note = text.removeprefix("Error: ").partition("\n")
    assert is_cut
    assert text.startswith("Error: ") is is_error
    assert f"start={len(seen)})" in note
    assert seen + read(artifacts, "f1", len(seen)).partition("\n")[0] == whole[: len(seen) + 20]


def test_an_error_is_told_once_and_counts_what_it_says_itself() -> None:
    for content, told in (("no", "Error: no"), ("Error: no", "Error: no"), ("", "Error: ")):
        assert shown(call("f1"), ToolResult(content, is_error=True), readable=True) == (told, False)
    exact = ToolResult("x" * MAX_RESULT, is_error=True)
    assert shown(call("f1"), exact, readable=True) == (f"Error: {exact.content}", False)


def test_what_a_run_keeps_has_a_bound_and_the_oldest_goes_first() -> None:
    artifacts: dict[str, str] = {}
    for name in ("f1", "f2", "f3"):
        keep(artifacts, call(name), ToolResult("x" * (MAX_KEPT // 2)))
    assert [len(each) for each in artifacts.values()] == [0, MAX_KEPT // 2, MAX_KEPT // 2]
    keep(artifacts, call("f4"), ToolResult("small"))
    assert [len(each) for each in artifacts.values()] == [0, 0, MAX_KEPT // 2, 5]
    with pytest.raises(ToolError, match=r"'f1' is no longer stored, because later ones replaced it; call the tool"):
        read(artifacts, "f1", 0)
    with pytest.raises(ModelRetry, match=r"no result 'f9' was truncated; there are: f1, f2, f3, f4"):
        read(artifacts, "f9", 0)
    assert read(artifacts, "f4", 0) == "small\n[this is the end]"


def test_a_result_that_is_larger_than_all_that_is_kept_is_kept_in_part_and_says_so() -> None:
    artifacts = {"f0": "earlier"}
    keep(artifacts, call("f1"), ToolResult("x" * (MAX_KEPT + 1)))
    assert artifacts["f0"] == ""
    assert len(artifacts["f1"]) < MAX_KEPT + 200
    assert read(artifacts, "f1", MAX_KEPT, 100).startswith(
        "\n[only the first 67,108,864 of 67,108,865 characters were stored]"
    )


def test_results_are_kept_in_linear_time() -> None:
    large = ToolResult("x" * (MAX_KEPT // 4))

    def keep_many(size: int) -> None:
        artifacts: dict[str, str] = {}
        for number in range(size):
            keep(artifacts, call(f"f{number}"), large)

    assert_linear(lambda size: partial(keep_many, size), 500)


@pytest.mark.anyio
async def test_files_of_results_do_not_begin_an_exchange() -> None:
    @tool
    def draw() -> ImagePart:
        """Draw."""
        return ImagePart.from_bytes(b"\x89PNG\r\n\x1a\n")

    result = await Agent(testing.ScriptedModel([testing.call("draw"), "Here."]), tools=[draw]).run("Draw!")
    assert [each.role for each in result.messages] == ["user", "assistant", "tool", "user", "assistant"]
    assert [begins_exchange(each) for each in result.messages] == [True, False, False, False, False]


@pytest.mark.anyio
async def test_the_tool_that_reads_on_comes_last_so_that_the_others_stay_cached() -> None:
    @tool
    def dump() -> str:
        """Dump."""
        return "x" * 100_000

    model = testing.ScriptedModel([testing.call("dump"), "Long."])
    await Agent(model, tools=[dump]).run("Dump!")
    assert [each.name for each in model.requests[1].tools] == ["dump", "read_result"]
