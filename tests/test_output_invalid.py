"""Output that is not valid, not whole, or not alone: what the model reads, and how the run ends."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentkit import (
    Agent,
    AssistantMessage,
    ChatSettings,
    Limits,
    ModelRetry,
    Reply,
    RunError,
    RunState,
    ToolCall,
    tool,
)
from agentkit.chat import Choice
from agentkit.errors import OutputInvalid
from agentkit.run import TypedOutput, WithCalls
from agentkit.run.transcript import check
from agentkit.testing import FunctionModel, ScriptedModel, call
from tests.outputs import WAYS, Line, answering, schema_of, total

pytestmark = pytest.mark.anyio
LINE: dict[str, Any] = {"what": "tea", "price": 2.5}


def final(**value: Any) -> ToolCall:
    return call("final_answer", **value)


def cut(text: str | None = None, *calls: ToolCall, reason: str = "length") -> Reply:
    message = AssistantMessage(text, tuple(calls))
    return Reply(choices=(Choice(message=message, finish_reason=reason),))


@tool
def look(place: str) -> str:
    """Look somewhere."""
    return f"{place}: nothing"


@tool(requires_approval=True)
def pay(amount: int) -> str:
    """Pay."""
    return f"paid {amount}"


@pytest.mark.parametrize("way", WAYS)
async def test_the_model_reads_exactly_what_is_wrong_and_tries_again(way: Any) -> None:
    model = answering({"what": "tea", "price": "dear"}, LINE)
    result = await Agent(model, output_type=TypedOutput(Line, way=way)).run("go")
    assert result.output == Line(what="tea", price=2.5)
    said = "the answer is not valid:\n- price: expected a valid number, unable to parse string as a number; "
    assert result.messages[2].text.removeprefix("Error: ") == f'{said}got "dear"'
    assert check(result.messages) == []


@pytest.mark.parametrize("way", WAYS)
async def test_the_run_fails_when_the_output_stays_invalid(way: Any) -> None:
    model = answering({"what": "tea"})
    with pytest.raises(OutputInvalid, match="the output was invalid 4 times in a row") as caught:
        await Agent(model, output_type=TypedOutput(Line, way=way)).run("go")
    assert len(model.requests) == 4
    state = caught.value.state
    assert state.status == "failed"
    assert check(state.messages) == []
    assert '"tea"' in (state.text or state.messages[-2].tool_calls[0].arguments)


async def test_the_budget_is_a_setting_and_starts_again_after_a_valid_output() -> None:
    with pytest.raises(OutputInvalid, match="invalid once"):
        await Agent(answering({}), output_type=TypedOutput(Line, retries=0)).run("go")
    model = answering({}, {}, LINE, {}, {}, LINE)
    agent = Agent(model, output_type=TypedOutput(Line, retries=2))
    first = await agent.run("go")
    second = await agent.run("again", history=first)
    assert (first.output, second.output) == (Line(**LINE), Line(**LINE))


async def test_the_schema_echoed_back_is_not_an_answer() -> None:
    class Options(Line):
        what: str = ""
        price: float = 0

    model = FunctionModel(lambda request: json.dumps(schema_of(request)))
    with pytest.raises(OutputInvalid, match="this is the JSON Schema itself"):
        await Agent(model, output_type=TypedOutput(Options, way="prompted")).run("go")


async def test_two_values_are_ambiguous() -> None:
    texts = [f"Either {json.dumps(LINE)} or {json.dumps({**LINE, 'price': 3})}.", json.dumps(LINE)]
    result = await Agent(ScriptedModel(texts), output_type=TypedOutput(Line, way="prompted")).run("go")
    assert result.output.price == 2.5
    assert "there are 2 JSON values" in result.messages[2].text


async def test_a_draft_in_reasoning_without_an_end_is_not_an_answer() -> None:
    texts = [f"<think>perhaps {json.dumps({**LINE, 'price': 9})}", json.dumps(LINE)]
    result = await Agent(ScriptedModel(texts), output_type=TypedOutput(Line, way="prompted")).run("go")
    assert result.output.price == 2.5


async def test_a_function_may_object_as_often_as_the_budget_allows() -> None:
    model = answering({"prices": []})
    with pytest.raises(OutputInvalid, match="there must be a price"):
        await Agent(model, output_type=total).run("go")
    assert len(model.requests) == 4


# Truncated.


async def test_a_truncated_output_is_asked_again_with_more_room() -> None:
    text = json.dumps(LINE)
    model = ScriptedModel([cut(text[:-3]), cut(text[:-1]), text])
    settings = ChatSettings(max_tokens=10)
    result = await Agent(model, output_type=TypedOutput(Line, way="native"), settings=settings).run("go")
    assert result.output == Line(**LINE)
    assert [request.settings.max_tokens for request in model.requests] == [10, 20, 40]
    assert result.messages[2].text.startswith("the reply was truncated at its token limit, so it is incomplete")


async def test_a_truncated_output_is_never_a_value_even_if_it_looks_like_one() -> None:
    model = FunctionModel(lambda _: cut("[1, 2]"))
    with pytest.raises(OutputInvalid, match="truncated at its token limit"):
        await Agent(model, output_type=TypedOutput(list[int], way="json")).run("json")
    assert len(model.requests) == 4


async def test_a_truncated_call_of_the_output_counts_too() -> None:
    model = FunctionModel(lambda _: cut(None, ToolCall("a", "final_answer", '{"what": "tea"}')))
    with pytest.raises(OutputInvalid, match="truncated at its token limit") as caught:
        await Agent(model, output_type=Line, tools=[look], settings=ChatSettings(max_tokens=5)).run("go")
    assert [request.settings.max_tokens for request in model.requests] == [5, 10, 20, 40]
    assert check(caught.value.state.messages) == []


async def test_an_answer_that_a_filter_truncated_ends_the_run_without_an_output() -> None:
    model = ScriptedModel([cut(json.dumps(LINE), reason="content_filter")])
    result = await Agent(model, output_type=Line).run("go")
    assert (result.status, result.output_or_none) == ("limited", None)


# Output beside calls.


@pytest.mark.parametrize(
    ("with_calls", "results", "output"),
    [
        (
            "ask_again",
            ["attic: nothing", "Error: not taken: read the results of the other calls first", "The answer"],
            2,
        ),
        ("run", ["attic: nothing", "The answer was taken."], 1),
        ("skip", ["Error: not run: the answer was given", "The answer was taken."], 1),
    ],
    ids=["ask_again", "run", "skip"],
)
async def test_an_output_beside_calls(with_calls: WithCalls, results: list[str], output: int) -> None:
    model = ScriptedModel([[call("look", place="attic"), final(what="tea", price=1)], final(what="tea", price=2)])
    agent = Agent(model, tools=[look], output_type=TypedOutput(Line, with_calls=with_calls))
    result = await agent.run("go")
    assert result.output.price == output
    said = [message.text for message in result.messages if message.role == "tool"]
    assert [text.startswith(begin) for text, begin in zip(said, results, strict=True)] == [True] * len(results)
    assert check(result.messages) == []


async def test_an_output_in_text_beside_calls_is_not_taken() -> None:
    message = AssistantMessage(json.dumps(LINE), (call("look", id="a", place="attic"),))
    model = ScriptedModel([message, final(what="tea", price=3)])
    result = await Agent(model, tools=[look], output_type=Line).run("go")
    assert result.output.price == 3


async def test_of_several_outputs_the_first_valid_one_counts() -> None:
    calls = [final(what="tea"), final(what="tea", price=1), final(what="tea", price=2)]
    result = await Agent(ScriptedModel([calls]), tools=[look], output_type=Line).run("go")
    assert result.output.price == 1
    assert [message.text.partition(":")[0] for message in result.messages[2:]] == [
        "Error",
        "The answer was taken.",
        "Error",
    ]
    assert check(result.messages) == []


async def test_the_output_needs_no_approval_and_is_no_call() -> None:
    asked: list[str] = []

    def policy(context: Any, arguments: Any) -> bool:
        asked.append(context.tool)
        return True

    agent = Agent(ScriptedModel([final(what="tea", price=1)]), tools=[look], output_type=Line, requires_approval=policy)
    result = await agent.run("go", limits=Limits(calls=1))
    assert (result.output.price, asked, result.state.calls) == (1, [], 0)


async def test_a_paused_run_has_no_output_until_it_is_resumed() -> None:
    model = ScriptedModel([[call("pay", amount=5), final(what="tea", price=1)], final(what="tea", price=5)])
    agent = Agent(model, tools=[pay], output_type=Line)
    paused = await agent.run("go")
    assert (paused.status, paused.output_or_none) == ("paused", None)
    with pytest.raises(RunError, match="the run has no output, as it is paused; resume it"):
        _ = paused.output
    state = RunState.load(paused.state.to_json())
    state.approve(state.pending[0].id)
    result = await agent.run(resume=state)
    assert result.output.price == 5
    assert check(result.messages) == []


async def test_a_run_that_was_saved_with_its_output_has_it_when_it_is_resumed() -> None:
    agent = Agent(ScriptedModel([final(what="tea", price=1)]), tools=[look], output_type=Line)
    done = await agent.run("go")
    again = await agent.run(resume=RunState.load(done.state.to_json()))
    assert (again.output, again.state.turns) == (done.output, 1)


# Limits.


async def test_the_last_answer_of_a_limited_run_is_an_output_if_it_is_valid() -> None:
    def play(request: Any) -> Any:
        return json.dumps(LINE) if request.settings.tool_choice == "none" else call("look", place="attic")

    model = FunctionModel(play)
    result = await Agent(model, tools=[look], output_type=Line).run("go", limits=Limits(turns=2))
    assert (result.status, result.output) == ("limited", Line(**LINE))
    assert "JSON Schema" in model.requests[-1].messages[0].text
    assert [each.name for each in model.requests[-1].tools] == ["look"]


async def test_a_limited_run_without_a_valid_answer_raises_when_its_output_is_read() -> None:
    model = FunctionModel(lambda r: "I found tea" if r.settings.tool_choice == "none" else call("look", place="attic"))
    result = await Agent(model, tools=[look], output_type=Line).run("go", limits=Limits(turns=2))
    assert (result.status, result.output_or_none) == ("limited", None)
    with pytest.raises(RunError, match="reached the limit of 2 turns"):
        _ = result.output


async def test_a_validator_sees_the_last_answer_of_a_limited_run() -> None:
    def dear(_: Any, line: Line) -> None:
        if line.price < 100:
            raise ModelRetry("too cheap")

    model = FunctionModel(lambda r: json.dumps(LINE) if r.settings.tool_choice == "none" else call("look", place="x"))
    agent = Agent(model, tools=[look], output_type=Line, output_validators=[dear])
    assert (await agent.run("go", limits=Limits(turns=2))).output_or_none is None
