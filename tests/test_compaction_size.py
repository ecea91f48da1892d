import threading
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit import Agent, ChatSettings, ImagePart, Message, TextPart, Usage
from agentkit.chat import ChatRequest
from agentkit.chat.content import AudioPart, FilePart
from agentkit.chat.messages import AssistantMessage, ToolCall, UserMessage
from agentkit.chat.request import FunctionTool, size_of_messages, size_of_request, size_of_text
from agentkit.compaction import Compaction, Window
from agentkit.compaction.calibration import Calibration, prompt_tokens
from agentkit.testing import FunctionModel
from tests.test_compaction_refused import Small


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        ("a", 1),
        ("word " * 100, 125),
        ("\u00e9" * 10, 5),
        ("\u4e2d" * 10, 10),
        ("\U0001f600" * 10, 15),
        ("\ud800", 1),
    ],
)
def test_the_tokens_of_a_text_go_by_its_alphabet(text: str, tokens: int) -> None:
    assert size_of_text(text) == tokens


@given(st.text(), st.text())
def test_a_longer_text_never_counts_less(one: str, other: str) -> None:
    assert size_of_text(one) <= size_of_text(one + other) <= size_of_text(one) + size_of_text(other)


@pytest.mark.parametrize(
    ("message", "least", "most"),
    [
        (UserMessage("word " * 100), 125, 130),
        (UserMessage((TextPart("word " * 100),)), 125, 130),
        (UserMessage((ImagePart("data:image/png;base64," + "A" * 10**6),)), 500, 2_000),
        (UserMessage((ImagePart("https://example.org/a.png", "low"),)), 50, 200),
        (UserMessage((AudioPart(b"x" * 480_000, "wav"),)), 100, 300),
        (UserMessage((FilePart(filename="a.pdf", file_data="A" * 10**6),)), 10_000, 30_000),
        (UserMessage((FilePart(file_id="file-1"),)), 500, 2_000),
        (AssistantMessage(None, (ToolCall("c", "look", '{"text": "' + "word " * 100 + '"}'),)), 125, 140),
        (AssistantMessage(None), 1, 5),
    ],
)
def test_what_a_message_takes(message: Message, least: int, most: int) -> None:
    assert least <= size_of_messages([message]) <= most


def test_tools_and_the_schema_of_the_answer_count() -> None:
    question = [UserMessage("hi")]
    schema = {"type": "object", "properties": {f"member_{place}": {"type": "string"} for place in range(50)}}
    plain = size_of_request(ChatRequest(messages=question))
    with_tool = ChatRequest(messages=question, tools=[FunctionTool("look", "Look.", schema)])
    form = ChatSettings(response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": schema}})
    assert size_of_request(with_tool) > plain + 300
    assert size_of_request(ChatRequest(messages=question, settings=form)) > plain + 300


def test_the_first_count_of_a_server_is_believed_and_small_differences_change_nothing() -> None:
    known = Calibration()
    known.learn(1_000, 1_800)
    assert known.factor == pytest.approx(1.8)
    for counted in (1_700, 1_900, 2_000, 1_650):
        known.learn(1_000, counted)
    assert known.factor == pytest.approx(1.8)


def test_it_follows_when_the_counts_stay_different() -> None:
    known = Calibration()
    for counted in [1_000, *[2_000] * 10]:
        known.learn(1_000, counted)
    assert 1.6 < known.factor <= 2.0


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**9), st.booleans())))
def test_no_server_can_bend_the_estimate_out_of_its_bounds(counts: list[tuple[int, int, bool]]) -> None:
    known = Calibration()
    for estimated, counted, refused in counts:
        known.learn(estimated, counted, at_once=refused)
        assert 0.5 <= known.factor <= 4


@pytest.mark.parametrize(("counted", "factor"), [(0, 1.0), (50, 1.0)])
def test_no_count_and_the_count_of_a_small_request_teach_nothing(counted: int, factor: float) -> None:
    known = Calibration()
    known.learn(100, counted)
    assert known.factor == factor


def test_cached_tokens_that_a_gateway_counts_besides_are_added() -> None:
    assert prompt_tokens(Usage(prompt_tokens=900, cached_tokens=800)) == 900
    assert prompt_tokens(Usage(prompt_tokens=100, cached_tokens=800)) == 900


@pytest.mark.anyio
async def test_what_a_server_counts_corrects_the_size_of_the_next_request() -> None:
    model = Small(10**9, factor=2.0)
    agent = Agent(model, middleware=[Compaction([Window(tokens=2_000)])])
    history: Sequence[Message] = ()
    for _ in range(40):
        history = (await agent.run("word " * 200, history=history)).messages
    assert max(2 * size_of_request(request) for request in model.requests) <= 2_000


def test_one_object_serves_runs_in_several_threads() -> None:
    agent = Agent(FunctionModel(lambda request: "ok"), middleware=[Compaction([Window(exchanges=2)])])
    outputs: list[str] = []

    def talk() -> None:
        history: Sequence[Message] = ()
        for turn in range(10):
            result = agent.run_sync(f"question {turn}", history=history)
            history = result.messages
        outputs.append(result.output)

    threads = [threading.Thread(target=talk) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outputs == ["ok"] * 4
