from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.chat.transport.body import ServerSentEvent, SseDecoder
from agentkit.errors import InvalidReply


def decoded(*chunks: bytes) -> list[tuple[str, str]]:
    decoder = SseDecoder()
    found = [event for chunk in chunks for event in decoder.feed(chunk)] + list(decoder.finish())
    return [(event.event, event.data.decode()) for event in found]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\n", [("message", "a")]),
        (b"data:a\r\n\r\n", [("message", "a")]),
        (b"data: a\r\rdata: b\r\r", [("message", "a"), ("message", "b")]),
        (b"\xef\xbb\xbfdata: a\n\n", [("message", "a")]),
        (b"data: a\ndata: b\n\n", [("message", "a\nb")]),
        (b"event: error\ndata: a\n\ndata: b\n\n", [("error", "a"), ("message", "b")]),
        (b": ping\n\nid: 7\nretry: 10\nother: x\ndata: a\n\n", [("message", "a")]),
        (b"event: ping\ndata:\n\ndata: a\n\n", [("message", "a")]),
        (b"data:  two\n\n", [("message", " two")]),
        ("data: a\u2028b\u0085c\n\n".encode(), [("message", "a\u2028b\u0085c")]),
        (b"data: unfinished", [("message", "unfinished")]),
        (b"data: unfinished\n", [("message", "unfinished")]),
        (b"", []),
        (b"\n\n\n", []),
    ],
)
def test_a_stream_gives_its_events(stream: bytes, events: list[tuple[str, str]]) -> None:
    assert decoded(stream) == events


STREAMS = st.lists(
    st.sampled_from([b"data: \xc3\xa4\xe2\x82\xac", b"data:x", b": c", b"event: e", b"", b"id", b"\xff"]), max_size=12
)
ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])


@given(lines=STREAMS, ends=st.lists(ENDS, min_size=12, max_size=12), cuts=st.lists(st.integers(0, 200)))
def test_where_the_bytes_are_cut_does_not_matter(lines: list[bytes], ends: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(line + end for line, end in zip(lines, ends, strict=False))
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    chunks = [stream[start:end] for start, end in pairwise(places)]

    whole, cut = SseDecoder(), SseDecoder()
    expected = [*whole.feed(stream), *whole.finish()]
    assert [event for chunk in chunks for event in cut.feed(chunk)] + list(cut.finish()) == expected


def test_a_line_without_end_is_refused_before_it_fills_the_memory() -> None:
    decoder = SseDecoder(max_line=100)
    with pytest.raises(InvalidReply, match="more than 100 bytes"):
        for _ in range(5):
            list(decoder.feed(b"x" * 30))


def test_an_event_of_many_lines_has_the_same_limit() -> None:
    decoder = SseDecoder(max_line=100)
    with pytest.raises(InvalidReply):
        list(decoder.feed(b"data: 0123456789\n" * 20))


def test_an_event_knows_its_type() -> None:
    assert ServerSentEvent(b"x").event == "message"
