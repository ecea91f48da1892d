from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.chat.messages import AssistantMessage, Message, ToolCall, ToolMessage, UserMessage
from agentkit.run.transcript import REFUSED, SentMessages, check, insert_results, labeled, open_calls, repair_transcript
from tests.scaling import assert_linear

Q = UserMessage("hi")
A, B = ToolCall("a", "f", "{}"), ToolCall("b", "g", "{}")
BOTH = AssistantMessage(None, (A, B))


@pytest.mark.parametrize(
    ("messages", "calls"),
    [
        ([], ()),
        ([Q], ()),
        ([Q, BOTH], (A, B)),
        ([Q, BOTH, ToolMessage("", "b")], (A,)),
        ([Q, BOTH, ToolMessage("", "a"), ToolMessage("", "b")], ()),
        ([Q, BOTH, Q], ()),
    ],
)
def test_which_calls_are_open_is_seen_from_the_messages(messages: list[Message], calls: tuple[ToolCall, ...]) -> None:
    assert open_calls(messages) == calls


@pytest.mark.parametrize(
    ("messages", "complaint"),
    [
        ([Q, BOTH, ToolMessage("", "a"), ToolMessage("", "b"), AssistantMessage("x")], ""),
        ([Q, AssistantMessage("")], ""),
        ([Q, BOTH, ToolMessage("", "a")], "call 'b' has no result"),
        ([Q, BOTH, Q], "call 'a' has no result before message 3"),
        ([Q, ToolMessage("", "a")], "message 2 answers 'a'"),
        ([Q, BOTH, ToolMessage("", "b"), ToolMessage("", "a")], "message 3 answers 'b'"),
        ([Q, AssistantMessage(None, (A, A))], "message 2 uses the call id 'a' again"),
        ([Q, AssistantMessage()], "neither content nor calls"),
    ],
)
def test_what_a_strict_server_would_refuse_is_found(messages: list[Message], complaint: str) -> None:
    found = check(messages)
    assert (complaint in found[0]) if complaint else found == []


CALLS = st.lists(
    st.builds(
        ToolCall,
        st.sampled_from(["a", "b", "", "!"]),
        st.sampled_from(["f", "", "no name"]),
        st.sampled_from(["{}", "oops", "[]"]),
    ),
    max_size=3,
)
MESSAGES = st.lists(
    st.one_of(
        st.just(Q),
        st.builds(AssistantMessage, st.sampled_from([None, "text"]), CALLS.map(tuple)),
        st.builds(ToolMessage, st.just("result"), st.sampled_from(["a", "b", "c"])),
    ),
    max_size=8,
)


@given(MESSAGES)
def test_any_transcript_can_be_made_valid_and_a_valid_one_stays_as_it_is(messages: list[Message]) -> None:
    made, notes = repair_transcript(messages)
    assert check(made) == []
    assert repair_transcript(made) == (made, [])
    if not check(messages):
        assert (made, notes) == (messages, [])


def calls(size: int) -> tuple[ToolCall, ...]:
    return tuple(ToolCall(f"c{number}", "f", "{}") for number in range(size))


def results(size: int) -> list[Message]:
    return [ToolMessage("r", f"c{number}") for number in range(size)]


def with_a_reply_each(size: int) -> list[Message]:
    return [each for one in calls(size) for each in (AssistantMessage(None, (one,)), Q)]


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda size: [Q, AssistantMessage(None, calls(size)), *results(size)], id="one turn"),
        pytest.param(lambda size: [Q, AssistantMessage(None, calls(size)), *reversed(results(size))], id="disordered"),
        pytest.param(lambda size: [Q, AssistantMessage(None, calls(size))], id="no results"),
        pytest.param(lambda size: [Q, AssistantMessage(None, (A,) * size), *results(size)], id="one id"),
        pytest.param(lambda size: [*with_a_reply_each(size), *results(size)], id="far away"),
        pytest.param(lambda size: [Q, BOTH, ToolMessage("r", "a")] * size, id="the ids of each turn again"),
        pytest.param(lambda size: [Q, *results(size)], id="no calls"),
    ],
)
def test_a_transcript_is_repaired_in_linear_time(make: Callable[[int], list[Message]]) -> None:
    assert_linear(lambda size: partial(repair_transcript, make(size)), 500)


def test_results_are_inserted_in_linear_time() -> None:
    def insert(size: int) -> None:
        given = (ToolMessage("r", f"c{number}") for number in reversed(range(size)))
        insert_results([Q, AssistantMessage(None, calls(size))], given)

    assert_linear(lambda size: partial(insert, size), 1_000)


def test_what_requests_include_is_read_once_for_each_message() -> None:
    prepared: list[Message] = []

    def prepare(message: Message) -> Message:
        prepared.append(message)
        return message

    sent = SentMessages(prepare)
    messages: list[Message] = [Q, BOTH]
    sent.follow(messages)
    messages += [ToolMessage("1", "a"), ToolMessage("2", "b")]
    sent.follow(messages)
    assert sent.messages == prepared == messages
    assert sent.call_ids == {"a", "b"}


@given(MESSAGES, MESSAGES, st.data())
def test_what_requests_include_follows_a_history_that_was_changed(
    before: list[Message], after: list[Message], data: st.DataObject
) -> None:
    sent, kept = SentMessages(), data.draw(st.integers(0, len(before)))
    sent.follow(before)
    changed = [labeled(each, **{REFUSED: True}) for each in before[:1]]  # equal to what it was, but for its labels
    for messages in (before[:kept] + after, [*changed, *before[1:]], before):
        sent.follow(messages)
        fresh = SentMessages()
        fresh.follow(messages)
        assert [id(each) for each in sent.messages] == [id(each) for each in fresh.messages]
        assert sent.call_ids == fresh.call_ids
