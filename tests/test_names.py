from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.tools.calls.repair import match_tool_name, unknown_tool_message

TOOLS = ["add", "get_weather", "set_user", "cancel_table", "getTime", "search_v1"]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("add", "add"),
        ("functions.add", "add"),
        ("functions.add:0", "add"),
        ("default_api:add", "add"),
        ("tools/add", "add"),
        ("add<|channel|>commentary", "add"),
        ("add<｜tool▁sep｜>x", "add"),  # noqa: RUF001
        ("a.add", "add"),
        ("set.user", "set_user"),
        (" Add ", "add"),
        ("ADD()", "add"),
        ("get-weather", "get_weather"),
        ("getWeather", "get_weather"),
        ("get weather", "get_weather"),
        ("get_time", "getTime"),
        ("get_wether", "get_weather"),
        ("get_weatherr", "get_weather"),
        ("cancel_tabel", "cancel_table"),
    ],
)
def test_a_name_that_can_mean_one_tool_only_means_it(written: str, meant: str) -> None:
    assert match_tool_name(written, TOOLS) == meant


@pytest.mark.parametrize(
    "written",
    ["add.undo", "add/delete", "add:delete", "add:0", "set_user.delete", "a.add.b", "add delete", "get_wéather",
     "", "...", "ad", "dad", "get_user", "cancel_tables", "search_v2", "search_v11", "weather", "cancel"],
)  # fmt: skip
def test_what_may_mean_something_else_is_left_to_the_model(written: str) -> None:
    assert match_tool_name(written, TOOLS) is None


def test_two_tools_that_fit_are_one_too_many() -> None:
    assert match_tool_name("GET_X", ["get_x", "getX"]) is None
    assert match_tool_name("a.add.remove", ["add", "remove"]) is None


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
