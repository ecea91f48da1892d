"""Histories of every broken shape: a run takes them, repaired, or refuses them in a sentence."""

import json
import random
from collections.abc import Callable
from copy import deepcopy
from typing import Any

from agentkit.chat import ChatRequest
from agentkit.errors import ConfigError
from agentkit.messages import AssistantMessage, ToolCall, ToolMessage, UserMessage
from agentkit.run import RunState
from agentkit.run.inputs import parse_history
from agentkit.run.transcript import check
from tests.explore import EXPLORE

NESTED: Any = []
for _ in range(300):
    NESTED = [NESTED]

ODD: list[Any] = [
    *(
        None,
        True,
        0,
        -1,
        1e308,
        float("nan"),
        10**400,
        "",
        " ",
        "\0",
        "\ud800",
        "{}",
        "[]",
        '{"a":1}{"a":2}',
        '{"a": 1,',
    ),
    *("null", "c1", "c2", "user", "assistant", "tool", "function", b"bytes", (), [], {}, [None], [[]], [{}], {"a": {}}),
    *([{"type": "text"}], [{"type": "text", "text": None}], [{"type": "image_url", "image_url": 5}], {1: 2}, NESTED),
    *({"type": "function", "function": {"name": "f", "arguments": {}}}, object(), {"id": "c1"}, "x" * 5_000),
]
NAMES = [
    *("role", "content", "tool_calls", "tool_call_id", "name", "function_call", "refusal", "audio", "annotations"),
    *("reasoning", "reasoning_content", "reasoning_details", "id", "type", "function", "arguments", "custom", "input"),
]


def call(id_: Any, arguments: Any = '{"a": 1}') -> dict[str, Any]:
    return {"id": id_, "type": "function", "function": {"name": "f", "arguments": arguments}}


def sound() -> list[dict[str, Any]]:
    return [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "hi"}]},
        {"role": "assistant", "content": None, "tool_calls": [call("c1"), call("c2")], "refusal": None},
        {"role": "tool", "tool_call_id": "c1", "content": "one"},
        {"role": "tool", "tool_call_id": "c2", "content": "two"},
        {"role": "assistant", "content": "done", "reasoning_content": "hm", "annotations": []},
        {"role": "user", "content": "and?"},
        {"role": "assistant", "content": "", "function_call": {"name": "f", "arguments": "{}"}},
    ]


def objects_in(value: Any) -> list[dict[str, Any]]:
    """All JSON objects in a value, outermost first."""
    if isinstance(value, dict):
        return [value, *(each for inner in value.values() for each in objects_in(inner))]
    return [each for inner in value for each in objects_in(inner)] if isinstance(value, list) else []


def replace_member(history: list[Any], dice: random.Random) -> None:
    one = dice.choice(objects_in(history) or [{}])
    one[dice.choice([*one, dice.choice(NAMES)])] = deepcopy(dice.choice(ODD))


def drop_member(history: list[Any], dice: random.Random) -> None:
    one = dice.choice(objects_in(history) or [{}])
    one.pop(dice.choice([*one, ""]), None)


def drop_message(history: list[Any], dice: random.Random) -> None:
    del history[dice.randrange(len(history) + 1) :][:1]
    if history:
        history.pop(dice.randrange(len(history)))


def repeat_message(history: list[Any], dice: random.Random) -> None:
    history.insert(dice.randrange(len(history) + 1), deepcopy(dice.choice([*history, dice.choice(ODD)])))


def shuffle(history: list[Any], dice: random.Random) -> None:
    dice.shuffle(history)


CHANGES: list[Callable[[list[Any], random.Random], None]] = [
    *(replace_member, replace_member, replace_member, drop_member, drop_message, repeat_message, shuffle),
]


def test_a_broken_history_is_repaired_or_refused_in_a_sentence() -> None:
    dice = random.Random(8)
    taken = 0
    sentences: list[str] = []
    for number in range(60_000 if EXPLORE else 1_500):
        history: list[Any] = sound()
        for _ in range(dice.randint(1, 5)):
            dice.choice(CHANGES)(history, dice)
        try:
            messages, _ = parse_history(history)
            request = ChatRequest(messages=[*messages, UserMessage("go")]).encode("m")
        except ConfigError as error:
            sentences.append(str(error))
            continue
        taken += 1
        assert check(messages) == [], number
        state = RunState(messages=messages)
        again = RunState.load(state.to_json())
        assert check(again.messages) == [], number
        assert json.loads(request)["messages"]
    assert [each for each in sentences if "\n" in each or len(each) > 500] == []
    assert min(taken, len(sentences)) > number / 20


def test_a_result_behind_a_message_of_the_user_is_moved_to_its_call() -> None:
    messages, notes = parse_history(
        [
            {"role": "assistant", "content": None, "tool_calls": [call("c1")]},
            {"role": "user", "content": "hello?"},
            {"role": "tool", "tool_call_id": "c1", "content": "real"},
        ]
    )
    assert [each.role for each in messages] == ["assistant", "tool", "user"]
    assert isinstance(messages[1], ToolMessage)
    assert messages[1].text == "real"
    assert notes == ["results were moved next to their calls"]


def test_arguments_with_a_lone_surrogate_are_not_valid() -> None:
    asked = AssistantMessage(None, (ToolCall("c1", "add", '{"a": "\ud800"}'),))
    assert "not a JSON object" in check([UserMessage("go"), asked, ToolMessage("3", "c1")])[0]
