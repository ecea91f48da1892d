"""The clock, chance, and questions to the person."""

from datetime import UTC, datetime

import pytest
from agentkit_tools import Ask, Clock, Random

from agentkit import Agent
from agentkit.errors import ConfigError, ModelRetry, ToolError
from agentkit.testing import ScriptedModel, call, lint_tools

NOON = datetime(2026, 3, 28, 12, 0, tzinfo=UTC)


@pytest.fixture
def clock() -> Clock:
    return Clock("Europe/Paris", now=lambda: NOON)


def test_a_model_could_not_misread_the_tools(clock: Clock) -> None:
    assert lint_tools([clock, Random(), Ask()]) == []


def test_the_time_is_told_with_its_weekday_and_zone(clock: Clock) -> None:
    assert clock.current_time().content == "Saturday, 2026-03-28T13:00:00+01:00 (Europe/Paris)"
    assert clock.current_time("Asia/Tokyo").content == "Saturday, 2026-03-28T21:00:00+09:00 (Asia/Tokyo)"
    assert abs((datetime.now(UTC) - Clock().current_time().data).total_seconds()) < 60


def test_unknown_zones_name_near_ones(clock: Clock) -> None:
    with pytest.raises(ModelRetry, match="did you mean America/New_York"):
        clock.current_time("New York")
    with pytest.raises(ModelRetry, match="there is no time zone"):
        clock.current_time("../../etc/passwd")
    with pytest.raises(ConfigError, match="no such time zone"):
        Clock("Nowhere/City")


def test_converting_respects_offsets_and_the_gap_when_clocks_go_forward(clock: Clock) -> None:
    naive, aware = datetime(2026, 7, 1, 9, 0), datetime(2026, 7, 1, 9, 0, tzinfo=UTC)  # noqa: DTZ001 - as models write
    assert clock.convert_time(naive, "America/New_York").content.startswith("Wednesday, 2026-07-01T03:00:00-04:00")
    assert clock.convert_time(aware, "").content.startswith("Wednesday, 2026-07-01T11:00:00+02:00")
    gap = datetime(2026, 3, 29, 2, 30)  # noqa: DTZ001 - as models write
    with pytest.raises(ModelRetry, match="does not exist in Europe/Paris"):
        clock.convert_time(gap, "UTC")


@pytest.mark.parametrize(
    ("start", "shift", "content"),
    [
        ("2026-01-31", {"months": 1}, "Saturday, 2026-02-28"),
        ("2024-02-29", {"years": 1}, "Friday, 2025-02-28"),
        ("2026-01-15", {"months": -13}, "Sunday, 2024-12-15"),
        ("2026-12-31", {"weeks": 1, "days": 1}, "Friday, 2027-01-08"),
    ],
)
def test_shifting_dates(clock: Clock, start: str, shift: dict[str, int], content: str) -> None:
    assert clock.shift_date(datetime.fromisoformat(start).date(), **shift).content == content


def test_dates_that_do_not_exist_are_refused(clock: Clock) -> None:
    for shift in ({"years": 9999}, {"years": -9999}, {"days": 10**12}):
        with pytest.raises(ModelRetry, match="years 1 to 9999"):
            clock.shift_date(NOON.date(), **shift)


def test_counting_between_times(clock: Clock) -> None:
    start, end = datetime(2026, 3, 28), datetime(2026, 3, 30)  # noqa: DTZ001 - as models write
    assert clock.time_between(start, end).content == "2 days"  # though one of them has 23 hours
    assert clock.time_between(start, end).data == 47 * 3600
    assert clock.time_between(NOON, datetime(2026, 3, 28, 14, 5, tzinfo=UTC)).content == "0 days, 2 hours and 5 minutes"
    assert clock.time_between(end, start).content.startswith("the end is before the start, by 2 days")


def test_a_seed_repeats_and_chance_stays_in_its_range() -> None:
    assert Random(7).random_integers(1, 6, 20).data == Random(7).random_integers(1, 6, 20).data
    dice = Random().random_integers(1, 6, 1000).data
    assert set(dice) == {1, 2, 3, 4, 5, 6}
    assert Random(1).random_integers(3, 3).content == "3"
    assert Random(1).random_integers(1, 2, 3).content.endswith(")")
    assert sorted(Random().pick_random(["a", "b", "c"], 3).data) == ["a", "b", "c"]
    assert sorted(Random().shuffle_list(["a", "b", "c"]).data) == ["a", "b", "c"]


def test_impossible_wishes_are_refused() -> None:
    with pytest.raises(ToolError, match="low=2 is above high=1"):
        Random().random_integers(2, 1)
    for count in (0, 10**9):
        with pytest.raises(ToolError, match="must be from 1 to 1000"):
            Random().random_integers(1, 6, count)
    with pytest.raises(ToolError, match="must be from 1 to 1"):
        Random().pick_random(["a"], 2)


@pytest.mark.anyio
async def test_a_question_pauses_the_run_with_what_is_asked() -> None:
    model = ScriptedModel([call("ask_user", question="Which one?", options=["red", "blue"]), "Red it is."])
    paused = await Agent(model, tools=[Ask()]).run("Paint it.")
    assert paused.status == "paused"
    (pending,) = paused.pending
    assert pending.external
    assert pending.arguments == {"question": "Which one?", "options": ["red", "blue"]}
