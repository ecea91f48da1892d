from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.chat.decoding.text import TextScanner
from agentkit.chat.decoding.tool_parsers import MARKS
from agentkit.chat.events import Event, ReasoningDelta, TextDelta


def read(pieces: Sequence[str], marks: tuple[str, ...] = MARKS) -> tuple[str, str, str, list[Event]]:
    reader = TextScanner(marks)
    events = [event for piece in pieces for event in reader.feed(piece)]
    events += reader.finish()
    return reader.text, reader.thoughts, reader.held, events


@pytest.mark.parametrize(
    ("written", "text", "thoughts", "held"),
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
        ("a\n<tool_call>{}", "a\n<tool_call>{}", "", ""),
        ("\n \n<tool_call>{}", "\n \n", "", "<tool_call>{}"),
        ("a\n[TOOL_CALLS]{}", "a\n", "", "[TOOL_CALLS]{}"),
        ("a [TOOL_CALLS]{}", "a [TOOL_CALLS]{}", "", ""),
        ("<think>hm</think>\n<function=f>{}", "", "hm", "<function=f>{}"),
        ("<think>hm</think>So:\n<function=f>{}", "So:\n<function=f>{}", "hm", ""),
        ("<think>hm\n<function=f>{}", "<think>hm\n<function=f>{}", "", ""),
        ("hm</think>\n<function=f>{}", "hm</think>\n<function=f>{}", "", ""),
        ("<think>hm</think>\n[TOOL_CALLS]x", "", "hm", "[TOOL_CALLS]x"),
        ("a <tool_call>{}", "a <tool_call>{}", "", ""),
        ("```\n[TOOL_CALLS]{}", "```\n[TOOL_CALLS]{}", "", ""),
        ("```\na\n```\n[TOOL_CALLS]{}", "```\na\n```\n", "", "[TOOL_CALLS]{}"),
        ("```\na\n`````  \n[TOOL_CALLS]{}", "```\na\n`````  \n", "", "[TOOL_CALLS]{}"),
        ("~~~xml\n[TOOL_CALLS]{}", "~~~xml\n[TOOL_CALLS]{}", "", ""),
        ("~~~\n```\n~~~\n[TOOL_CALLS]{}", "~~~\n```\n~~~\n", "", "[TOOL_CALLS]{}"),
        ("````\n```\n[TOOL_CALLS]{}", "````\n```\n[TOOL_CALLS]{}", "", ""),
        ("```\n~~~\n[TOOL_CALLS]{}", "```\n~~~\n[TOOL_CALLS]{}", "", ""),
        ("```\n```py\n[TOOL_CALLS]{}", "```\n```py\n[TOOL_CALLS]{}", "", ""),
        ("```\n      ```\n[TOOL_CALLS]{}", "```\n      ```\n[TOOL_CALLS]{}", "", ""),
        ("1. ```\n[TOOL_CALLS]{}", "1. ```\n[TOOL_CALLS]{}", "", ""),
        ("a ``` b\n[TOOL_CALLS]{}", "a ``` b\n", "", "[TOOL_CALLS]{}"),
        ("```a``` b\n[TOOL_CALLS]{}", "```a``` b\n", "", "[TOOL_CALLS]{}"),
        ("a\n<tool_ca", "a\n<tool_ca", "", ""),
        ("a\n\n<", "a\n\n<", "", ""),
    ],
)
def test_a_text_is_thoughts_words_and_what_may_be_calls(written: str, text: str, thoughts: str, held: str) -> None:
    for pieces in ([written], list(written), [written[:3], written[3:9], written[9:]]):
        assert read(pieces)[:3] == (text, thoughts, held)


def test_without_tools_no_text_is_held() -> None:
    assert read(["<tool_call>{}"], ())[0] == "<tool_call>{}"


def test_halves_of_a_character_find_together() -> None:
    assert read(["a\ud83d", "\ude00b"])[0] == "a\U0001f600b"
    assert read(["a\ud83d", "b"])[0] == "a\ufffdb"
    assert read(["a\ud83d"])[0] == "a\ufffd"


PARTS = (
    "<think>",
    "</think>",
    "<tool_call>",
    "[TOOL_CALLS]",
    "```",
    "~~~",
    "`",
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
def test_however_a_text_is_cut_it_is_read_the_same(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=8)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert read(pieces)[:3] == read([text])[:3]


@given(written)
def test_nothing_is_lost_and_what_is_told_is_what_is_kept(text: str) -> None:
    said, thoughts, held, events = read(list(text))
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == said
    kept = (said + thoughts + held).replace("<think>", "").replace("</think>", "")
    assert sorted("".join(kept.split())) == sorted("".join(text.replace("<think>", "").replace("</think>", "").split()))
    assert bool(thoughts) <= any(isinstance(event, ReasoningDelta) for event in events)
