from collections.abc import Sequence
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.chat.decoding.text import MARKS, MAX_HELD, TextScanner
from agentkit.chat.events import Event, ReasoningDelta, TextDelta
from tests.scaling import assert_linear


def read(parts: Sequence[str], marks: tuple[str, ...] = MARKS) -> tuple[str, str, str, list[Event]]:
    scanner = TextScanner(marks)
    events = [event for part in parts for event in scanner.feed(part)]
    events += scanner.finish()
    return scanner.text, scanner.reasoning, scanner.held, events


@pytest.mark.parametrize(
    ("written", "text", "reasoning", "held"),
    [
        ("", "", "", ""),
        ("Hello.", "Hello.", "", ""),
        ("  <b>", "  <b>", "", ""),
        ("<think>hm</think>Yes.", "Yes.", "hm", ""),
        ("\n<think>\nhm\n\nhm\n</think>\n\n Yes.", "Yes.", "hm\n\nhm", ""),
        ("<think></think>Yes.", "Yes.", "", ""),
        ("<think>hm", "<think>hm", "", ""),
        ("<think>hm</thin", "<think>hm</thin", "", ""),
        ("<thi", "<thi", "", ""),
        ("Yes <think>hm</think>", "Yes <think>hm</think>", "", ""),
        ("hm</think>Yes.", "hm</think>Yes.", "", ""),
        ("<tool_call>{}", "", "", "<tool_call>{}"),
        ("\n \n<tool_call>{}", "\n \n", "", "<tool_call>{}"),
        ("<think>hm</think>\n<function=f>{}", "", "hm", "<function=f>{}"),
        ("<think>hm</think>\n[TOOL_CALLS]x", "", "hm", "[TOOL_CALLS]x"),
        ("<think>hm\n<function=f>{}", "<think>hm\n<function=f>{}", "", ""),
        ("<tool_ca", "<tool_ca", "", ""),
        ("<tool_card>", "<tool_card>", "", ""),
        ("a\n<tool_call>{}", "a\n<tool_call>{}", "", ""),
        ("a\n[TOOL_CALLS]{}", "a\n[TOOL_CALLS]{}", "", ""),
        ("Line 3 is:\n<tool_call>{}", "Line 3 is:\n<tool_call>{}", "", ""),
        ("> <tool_call>{}", "> <tool_call>{}", "", ""),
        ("`<tool_call>{}`", "`<tool_call>{}`", "", ""),
        ("```\n[TOOL_CALLS]{}\n```", "```\n[TOOL_CALLS]{}\n```", "", ""),
        ("<think>hm</think>So:\n<function=f>{}", "So:\n<function=f>{}", "hm", ""),
        ("hm</think>\n<function=f>{}", "hm</think>\n<function=f>{}", "", ""),
    ],
)
def test_a_text_is_reasoning_speech_and_what_may_be_calls(written: str, text: str, reasoning: str, held: str) -> None:
    for parts in ([written], list(written), [written[:3], written[3:9], written[9:]]):
        assert read(parts)[:3] == (text, reasoning, held)


def test_without_tools_no_text_is_held() -> None:
    assert read(["<tool_call>{}"], ())[0] == "<tool_call>{}"


def test_halves_of_a_character_find_together() -> None:
    assert read(["a\ud83d", "\ude00b"])[0] == "a\U0001f600b"
    assert read(["a\ud83d", "b"])[0] == "a\ufffdb"
    assert read(["a\ud83d"])[0] == "a\ufffd"


def test_a_text_that_is_too_long_to_be_calls_is_text() -> None:
    for text in ("<|channel|>" + "x" * MAX_HELD, " \n<tool_call>" + "y" * MAX_HELD):
        for parts in ([text], [text[:9], text[9:], "z"]):
            said, _, held, events = read(parts)
            assert (said, held) == ("".join(parts), "")
            assert "".join(event.text for event in events if isinstance(event, TextDelta)) == said


@pytest.mark.parametrize("unit", ["> ", " ", "\n", "<", "</think>", "\ud83d"])
@pytest.mark.parametrize("start", ["", "<think>", "<|channel|>", "<think></think>"])
def test_a_text_is_read_in_linear_time_however_it_is_split(start: str, unit: str) -> None:
    assert_linear(lambda size: partial(read, [start, *[unit] * size]), 3_000)


PARTS = (
    "<think>",
    "</think>",
    "<tool_call>",
    "[TOOL_CALLS]",
    "\n",
    " ",
    "a",
    "<",
    "{}",
    "\U0001f600",
    "<t",
)
written = st.lists(st.sampled_from(PARTS), max_size=12).map("".join)


@given(written, st.data())
def test_however_a_text_is_split_it_is_read_the_same(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=8)))
    parts = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert read(parts)[:3] == read([text])[:3]


@given(written)
def test_nothing_is_lost_and_the_events_are_what_is_kept(text: str) -> None:
    said, reasoning, held, events = read(list(text))
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == said
    kept = (said + reasoning + held).replace("<think>", "").replace("</think>", "")
    assert sorted("".join(kept.split())) == sorted("".join(text.replace("<think>", "").replace("</think>", "").split()))
    assert bool(reasoning) <= any(isinstance(event, ReasoningDelta) for event in events)
