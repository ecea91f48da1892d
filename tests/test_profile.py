"""The value: how facts are written, joined and stored."""

import json

import pytest

from agentkit.chat.client import ChatClient
from agentkit.chat.compat.profile import Fact, Profile

URL = "http://h/v1"


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("seed", Fact("seed")),
        ("messages.refusal", Fact("messages.refusal")),
        ('reasoning_effort="minimal"', Fact("reasoning_effort", '"minimal"')),
        ('reasoning_effort="none" with tools', Fact("reasoning_effort", '"none"', "with", "tools")),
        ("prediction with tools", Fact("prediction", "", "with", "tools")),
        ("enable_thinking=false without stream", Fact("enable_thinking", "false", "without", "stream")),
        ('x="a with b" with tools', Fact("x", '"a with b"', "with", "tools")),
    ],
)
def test_a_fact_reads_as_it_is_written(text: str, fact: Fact) -> None:
    assert Fact.parse(text) == fact
    assert str(fact) == text


def test_of_two_values_for_one_member_the_later_one_holds() -> None:
    one = Profile(assign=frozenset({'effort="low"', 'effort="none" with tools', "temperature=1"}))
    other = Profile(assign=frozenset({'effort="high"'}))
    assert (one | other).assign == {'effort="high"', 'effort="none" with tools', "temperature=1"}


def test_facts_survive_json_and_nonsense_in_it_is_left_out() -> None:
    facts = Profile(drop=frozenset({"a", "b"}), assign=frozenset({"t=1"}), tool_choice="auto", keep_tools=True)
    assert Profile.from_json(json.loads(json.dumps(facts.to_json()))) == facts
    nonsense = {"drop": ["a", 1], "assign": ["t", "t=oops", "t=1"], "tool_choice": "x", "keep_tools": 1, "other": 2}
    assert Profile.from_json(nonsense) == Profile(drop=frozenset({"a"}), assign=frozenset({"t=1"}))
    assert Profile.from_json("no profile") == Profile()


def test_facts_about_members_that_are_always_sent_do_not_hold() -> None:
    facts = Profile(
        drop=frozenset({"seed", "logprobs", "messages.name", 'reasoning_effort="low"', "stop"}),
        assign=frozenset({"seed=1"}),
    )
    names = {"seed", "top_logprobs", "messages", "reasoning_effort"}
    assert facts.keeping(names) == Profile(drop=frozenset({"stop"}))
    client = ChatClient(URL, model="m", profile=facts, never_drop=names)
    assert client.profile == Profile(drop=frozenset({"stop"}))
