import json
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.chat.decoding.accumulator import ReplyAccumulator
from agentkit.chat.json_values import encode_json
from agentkit.chat.messages import AssistantMessage
from agentkit.chat.reply import Choice, Logprobs, Reply, TokenLogprob, Usage, read_logprobs, read_reply, read_usage
from tests.replies import replies

REPORT = {
    "prompt_tokens": 100,
    "completion_tokens": 50,
    "total_tokens": 150,
    "prompt_tokens_details": {
        "cached_tokens": 1,
        "audio_tokens": 2,
        "text_tokens": 3,
        "image_tokens": 4,
        "cache_write_tokens": 5,
    },
    "completion_tokens_details": {
        "reasoning_tokens": 6,
        "audio_tokens": 7,
        "text_tokens": 8,
        "accepted_prediction_tokens": 9,
        "rejected_prediction_tokens": 10,
    },
    "cost": 0.25,
}


def test_usage_is_read_with_all_its_details() -> None:
    assert read_usage(REPORT) == Usage(
        requests=1,
        prompt_tokens=100,
        completion_tokens=50,
        total_tokens=150,
        cached_tokens=1,
        prompt_audio_tokens=2,
        prompt_text_tokens=3,
        prompt_image_tokens=4,
        cache_write_tokens=5,
        reasoning_tokens=6,
        completion_audio_tokens=7,
        completion_text_tokens=8,
        accepted_prediction_tokens=9,
        rejected_prediction_tokens=10,
        cost=0.25,
    )


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        ({"prompt_tokens": 3, "completion_tokens": 4}, {"total_tokens": 7}),
        ({"prompt_cache_hit_tokens": 5}, {"cached_tokens": 5}),
        (
            {"cache_read_input_tokens": 5, "cache_creation_input_tokens": 6},
            {"cached_tokens": 5, "cache_write_tokens": 6},
        ),
        ({"prompt_tokens": "x", "completion_tokens": -3, "total_tokens": None}, {"total_tokens": 0}),
        ({"prompt_tokens_details": None, "completion_tokens_details": []}, {"cached_tokens": 0}),
        ({"cost": "free"}, {"cost": None}),
        ({"cost": 0}, {"cost": 0.0}),
        (None, {"requests": 1, "cost": None}),
        ("none", {"requests": 1}),
    ],
)
def test_usage_of_any_form_counts_what_it_has(report: Any, expected: dict[str, Any]) -> None:
    usage = read_usage(report)
    assert {name: getattr(usage, name) for name in expected} == expected


def test_usages_add_up_and_an_unknown_cost_stays_unknown() -> None:
    one = read_usage(REPORT)
    doubled = one + one
    assert [getattr(doubled, each.name) for each in fields(Usage)] == [
        2 * getattr(one, each.name) for each in fields(Usage)
    ]
    assert (Usage() + Usage()).cost is None
    assert (Usage(cost=1.0) + Usage()).cost == 1.0


def test_log_probabilities_are_values() -> None:
    other = {"token": "no", "logprob": -9999.0, "bytes": None}
    item = {"token": "yes", "logprob": -0.5, "bytes": [121, 101, 115], "top_logprobs": [other], "id": 7}
    logprobs = read_logprobs({"content": [item], "refusal": None})
    alternative = TokenLogprob(token="no", logprob=-9999.0)
    token = TokenLogprob(token="yes", logprob=-0.5, bytes=b"yes", top_logprobs=(alternative,), extra={"id": 7})
    assert logprobs == Logprobs(content=(token,))
    assert (round(token.probability, 3), alternative.probability) == (0.607, 0.0)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (None, None),
        ([], None),
        ({"content": None}, Logprobs()),
        ({"content": [{"token": "x"}, {"logprob": float("nan")}, 3]}, Logprobs()),
        (
            {"content": [{"logprob": -1, "bytes": [300], "top_logprobs": 3}]},
            Logprobs(content=(TokenLogprob(token="", logprob=-1.0),)),
        ),
    ],
)
def test_odd_log_probabilities_are_left_out(raw: object, expected: Logprobs | None) -> None:
    assert read_logprobs(raw) == expected


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["content", "token", "logprob", "bytes", "prompt_tokens", "cost"]), inner)
    ),
    max_leaves=10,
)


@given(ANYTHING)
def test_nothing_makes_reading_fail(raw: Any) -> None:
    assert read_usage(raw).requests == 1
    assert all(token.probability <= 1 for token in (read_logprobs(raw) or Logprobs()).content)


def test_each_choice_is_an_answer_of_its_own() -> None:
    choices = tuple(
        Choice(message=AssistantMessage(text), finish_reason=why) for text, why in (("a", "stop"), ("b", "length"))
    )
    reply = Reply(choices=choices)
    assert [(choice.text, choice.truncated) for choice in reply.choices] == [
        ("a", ""),
        ("b", "the reply was truncated at its token limit"),
    ]
    assert (reply.text, reply.finish_reason, reply.audio) == ("a", "stop", None)


@given(replies())
def test_a_reply_comes_back_from_its_record(raw: dict[str, Any]) -> None:
    accumulator = ReplyAccumulator(choices=len(raw["choices"]))
    accumulator.add(raw, whole=True)
    reply = replace(accumulator.finish(), adaptations=("seed is not sent",))
    assert read_reply(json.loads(json.dumps(reply.to_record(), allow_nan=False))) == reply


def test_a_record_is_json_whatever_the_server_sent() -> None:
    odd = {"score": float("nan"), "list": [float("inf")]}
    accumulator = ReplyAccumulator()
    accumulator.add({"choices": [{"message": {"content": "a", "newer": odd}, "newer": odd}], "newer": odd})
    record = json.loads(encode_json(accumulator.finish().to_record()))
    assert record["extra"] == {"newer": {"score": None, "list": [None]}} == record["choices"][0]["extra"]


NOT_RECORDS: list[dict[str, Any]] = [
    {},
    {"choices": []},
    {"choices": [{}]},
    {"choices": [{"message": {"role": "user", "content": "x"}}]},
]


@pytest.mark.parametrize("record", NOT_RECORDS)
def test_what_is_not_the_record_of_a_reply_is_refused(record: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"record|role|assistant"):
        read_reply(record)


@pytest.mark.parametrize(
    ("reason", "why", "advice"),
    [
        ("length", "token limit", "make the call shorter"),
        ("content_filter", "content filter", "leave out what the filter may object to"),
        ("stop", "", ""),
        (None, "", ""),
    ],
)
def test_a_truncated_answer_says_why_and_what_the_model_can_do(reason: str | None, why: str, advice: str) -> None:
    choice = Choice(message=AssistantMessage("a"), finish_reason=reason)
    assert (why in choice.truncated, bool(choice.truncated), choice.advice) == (True, bool(why), advice)
