"""Calls that wait until somebody has looked at them."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Any, Unpack

import anyio
import pytest
from pydantic_core import core_schema

from agentkit import Agent, ImagePart, Limits, RunResult, RunState, ToolContext, tool
from agentkit.chat.events import Event
from agentkit.chat.messages import AssistantMessage, Message, ToolCall, ToolMessage, UserMessage
from agentkit.errors import ConfigError, DefinitionError, StateError
from agentkit.middleware import Eager
from agentkit.run.events import ApprovalRequested, CallStarted, RunFinished, RunStarted, ToolChanged
from agentkit.run.transcript import check
from agentkit.testing import Answer, ScriptedModel, call
from agentkit.tools.options import ToolOptions
from agentkit.tools.tool import Tool

pytestmark = pytest.mark.anyio

deleted: list[str] = []


@pytest.fixture(autouse=True)
def nothing_deleted() -> None:
    deleted.clear()


@tool(requires_approval=True)
def delete(path: str, force: bool = False) -> str:
    """Delete a file."""
    deleted.append(path)
    return f"deleted {path}{' by force' if force else ''}"


def deletes(**options: Unpack[ToolOptions]) -> Any:
    """The same tool with other options."""
    return replace(delete, **options)


@tool
def look(path: str) -> str:
    """Look at a file."""
    deleted.append(f"looked at {path}")
    return f"{path} is empty"


def agent(*script: Answer, tools: Sequence[Any] = (delete, look), **options: Any) -> Agent[Any]:
    return Agent(ScriptedModel(script), tools=tools, **options)


async def paused(*script: Answer, **options: Any) -> RunState:
    """The state of a run that waits."""
    result = await agent(*script, **options).run("go")
    assert result.status == "paused"
    return result.state


async def resumed(state: RunState, *script: Answer, **options: Any) -> RunResult[str]:
    """Go on elsewhere: the state has been JSON in between."""
    result = await agent(*(script or ["done"]), **options).run(resume=RunState.load(state.to_json()))
    assert not [each for each in check(result.messages) if result.status != "paused"]
    return result


def read(result: RunResult[str]) -> list[str]:
    """What the model read of its calls."""
    return [each.text for each in result.messages if isinstance(each, ToolMessage)]


def two(*names: str) -> list[ToolCall]:
    return [call("delete", id=name, path=name) for name in names]


# Pausing.


async def test_a_call_that_needs_no_approval_runs_and_the_run_pauses_at_the_other() -> None:
    told: list[Event] = []
    calls = [call("delete", id="d", path="a"), call("look", id="l", path="b")]
    result = await agent(calls).run("go", on_event=told.append)
    assert (result.status, deleted) == ("paused", ["looked at b"])
    (pending,) = result.pending
    assert (pending.id, pending.name, pending.arguments) == ("d", "delete", {"path": "a"})
    assert pending.reason == "the tool delete requires approval of every call"
    assert [each.reason for each in told if isinstance(each, ApprovalRequested)] == [pending.reason]
    assert [each.call.id for each in told if isinstance(each, CallStarted)] == ["l"]
    assert isinstance(told[-1], RunFinished)
    assert told[-1].state.pending == result.pending
    assert result.state.calls == 1


async def test_an_approved_call_runs_once_and_a_finished_sibling_is_not_repeated() -> None:
    state = await paused([call("look", path="b"), call("delete", id="d", path="a")])
    state.approve("d", by="ann")
    result = await resumed(state)
    assert deleted == ["looked at b", "a"]
    assert read(result) == ["b is empty", "deleted a"]
    assert (result.output, result.status, result.state.calls) == ("done", "done", 2)
    assert result.state.decisions["d"].by == "ann"
    assert (await resumed(result.state)).status == "done"
    assert deleted == ["looked at b", "a"]


async def test_several_calls_are_decided_in_any_order_and_answered_in_the_models() -> None:
    state = await paused(two("a", "b", "c"))
    assert [each.id for each in state.pending] == ["a", "b", "c"]
    state.deny("c", "not that one")
    state.approve("a")
    result = await resumed(state)
    assert (result.status, deleted) == ("paused", ["a"])
    assert [each.id for each in result.pending] == ["b"]
    result.state.answer("b", {"moved": True})
    done = await resumed(result.state)
    assert read(done) == ["deleted a", '{"moved":true}', "Error: not run: a person refused this call: not that one"]
    assert deleted == ["a"]


async def test_a_refusal_needs_no_reason() -> None:
    state = await paused(two("a"))
    state.deny("a")
    assert read(await resumed(state)) == ["Error: not run: a person refused this call"]


async def test_nothing_runs_while_nothing_is_decided() -> None:
    state = await paused(two("a"))
    result = await resumed(state)
    assert (result.status, deleted, result.state.turns) == ("paused", [], 1)


async def test_going_on_leaves_the_state_that_was_given_as_it_was() -> None:
    state = await paused(two("a", "b"))
    state.approve("a")
    before = state.to_json()
    for _ in range(2):
        result = await agent("done").run(resume=state)
        assert result.status == "paused"
        assert state.to_json() == before
    assert deleted == ["a", "a"]  # whoever keeps an old state and runs it again does so on purpose


async def test_files_follow_when_the_last_of_the_calls_has_its_result() -> None:
    image = ImagePart("data:image/png;base64,iVBORw0KGgo=")

    @tool
    def draw() -> ImagePart:
        """Draw."""
        return image

    state = await paused([call("draw"), *two("a", "b")], tools=[draw, delete])
    state.answer("a", image)
    state = (await resumed(state, tools=[draw, delete])).state
    assert not [each for each in state.messages[1:] if isinstance(each, UserMessage)]
    state.approve("b")
    result = await resumed(state, tools=[draw, delete])
    *_, files, answer = result.messages
    assert isinstance(files, UserMessage)
    assert [part for part in files.content if isinstance(part, ImagePart)] == [image, image]
    assert answer == AssistantMessage("done")


# Asking.


@pytest.mark.parametrize("in_event_loop", [True, False])
async def test_a_function_decides_by_the_validated_arguments(in_event_loop: bool) -> None:
    seen: list[dict[str, Any]] = []

    def costly(context: ToolContext[Any], arguments: dict[str, Any]) -> bool:
        seen.append({"deps": context.deps, "call": context.call_id, **arguments})
        return bool(arguments["amount"] > Decimal(100))

    async def later(context: ToolContext[Any], arguments: dict[str, Any]) -> bool:
        await anyio.lowlevel.checkpoint()
        return costly(context, arguments)

    @tool(requires_approval=costly if in_event_loop else later)
    def pay(context: ToolContext[Any], amount: Decimal, to: str = "ann", *, notes: list[str] | None = None) -> str:
        """Pay."""
        return f"paid {amount}"

    calls = [ToolCall("x", "pay", '{"amount": 100.50}'), ToolCall("y", "pay", '{"amount": "20"}')]
    result = await agent(calls, tools=[pay], deps_type=str).run("go", deps="bank")
    assert [each.id for each in result.pending] == ["x"]
    assert result.pending[0].reason == "the tool pay requires approval of this call"
    assert read(result) == ["paid 20"]
    assert seen[0] == {"deps": "bank", "call": "x", "amount": Decimal("100.50"), "to": "ann", "notes": None}


@pytest.mark.parametrize(
    ("says", "why"),
    [
        ("it is the last copy", "it is the last copy"),
        (ValueError("no idea"), "failed: ValueError: no idea"),
        (None, "returned NoneType instead of True, False or a reason"),
        (0, "returned int instead of True, False or a reason"),
        ([], "returned list instead of True, False or a reason"),
        ("", "requires approval of this call"),
        (" \n", "requires approval of this call"),
        (True, "requires approval of this call"),
    ],
    ids=repr,
)
async def test_whatever_a_function_returns_but_false_asks(says: Any, why: str) -> None:
    def approve(context: ToolContext[Any], arguments: dict[str, Any]) -> Any:
        if isinstance(says, Exception):
            raise says
        return says

    for options in ({"tools": [deletes(requires_approval=approve)]}, {"tools": [deletes(requires_approval=False)]}):
        policy = {} if options["tools"][0].requires_approval else {"requires_approval": approve}
        state = await paused(two("a"), **options, **policy)
        assert state.pending[0].reason.endswith(why)
    assert deleted == []


async def test_a_function_that_returns_false_lets_the_call_run() -> None:
    result = await agent(two("a"), "done", tools=[deletes(requires_approval=lambda _, __: False)]).run("go")
    assert (result.status, deleted) == ("done", ["a"])


async def test_an_agents_policy_asks_for_tools_that_do_not() -> None:
    def is_b(context: ToolContext[Any], arguments: dict[str, Any]) -> bool:
        return bool(context.tool == "look" and arguments["path"] == "b")

    assert [each.name for each in (await paused(call("look", path="a"), requires_approval=True)).pending] == ["look"]
    state = await paused(
        [call("look", path="a"), call("look", path="b")],
        requires_approval=is_b,
    )
    assert [each.arguments["path"] for each in state.pending] == ["b"]
    assert state.pending[0].reason == "the agent requires approval of this call"
    assert deleted == ["looked at a"]


async def test_wrong_arguments_are_told_to_the_model_and_nobody_is_asked() -> None:
    result = await agent(call("delete", way="a"), call("delete", path=[1]), "sorry").run("go")
    assert result.status == "done"
    assert all("invalid arguments, nothing was done" in each for each in read(result))


async def test_a_type_that_raises_is_a_failure_of_its_call_only() -> None:
    class Odd(str):
        __slots__ = ()

        @classmethod
        def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
            def refuse(value: str) -> str:
                raise RuntimeError("no idea")

            return core_schema.no_info_after_validator_function(refuse, core_schema.str_schema())

    @tool(requires_approval=True)
    def odd(what: Odd) -> str:
        """Odd."""
        raise AssertionError

    result = await agent([call("odd", what="x"), call("look", path="a")], "done", tools=[odd, look]).run("go")
    assert read(result) == ["Error: odd failed with RuntimeError: no idea", "a is empty"]


def test_approve_is_true_false_or_a_function() -> None:
    with pytest.raises(DefinitionError, match="requires_approval='yes' must be True, False or a function"):
        deletes(requires_approval="yes")  # type: ignore[arg-type]


# Deciding.


async def test_the_model_is_told_that_a_person_changed_the_arguments() -> None:
    state = await paused(two("a"))
    state.approve("a", arguments={"path": "b", "force": True})
    result = await resumed(state)
    assert deleted == ["b"]
    assert read(result) == ['[A person changed the arguments to {"path":"b","force":true}]\ndeleted b by force']


async def test_changed_arguments_that_do_not_fit_are_asked_about_again() -> None:
    state = await paused(two("a", "b"))
    state.approve("a", arguments={"path": 1, "forced": True})
    state.approve("b", always=True)  # must not let the first one run as the model wrote it
    result = await resumed(state)
    assert (result.status, deleted) == ("paused", ["b"])
    assert result.pending[0].reason.startswith("the changed arguments cannot be used: invalid arguments")
    assert result.pending[0].arguments == {"path": "a"}


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [({"path": {1, 2}}, "cannot be written as JSON"), (["a"], "takes a dict of the arguments by name")],
)
async def test_changed_arguments_that_are_none_are_refused_at_once(arguments: Any, complaint: str) -> None:
    state = await paused(two("a"))
    before = state.to_json()
    with pytest.raises(StateError, match=complaint):
        state.approve("a", arguments=arguments)
    assert state.to_json() == before


async def test_what_is_not_pending_cannot_be_decided() -> None:
    state = await paused([*two("a"), call("look", id="l", path="b")])
    before = state.to_json()
    decisions: list[Callable[[str], None]] = [state.approve, state.deny, partial(state.answer, value="x")]
    for decide in decisions:
        for id_ in ("l", "ignore_event"):
            with pytest.raises(StateError, match=f"no call '{id_}' waits for a decision; waiting: 'a'"):
                decide(id_)
    assert state.to_json() == before
    state.approve("a")
    with pytest.raises(StateError, match="waiting: none"):
        state.deny("a")


async def test_always_is_one_of_its_words() -> None:
    state = await paused(two("a"))
    before = state.to_json()
    for decide in (state.approve, state.deny):
        with pytest.raises(ConfigError, match="always='arg' must be False"):
            decide("a", always="arg")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="this call only"):
        state.approve("a", arguments={"path": "b"}, always=True)
    assert state.to_json() == before


async def test_a_decision_can_hold_for_all_later_calls_of_a_tool() -> None:
    state = await paused(two("a", "b"))
    state.approve("a", always="tool", by="ann")
    assert state.pending == ()
    result = await resumed(state, two("c"), "done")
    assert (result.status, sorted(deleted[:2]), deleted[2:]) == ("done", ["a", "b"], ["c"])
    assert {each.by for each in result.state.decisions.values()} == {"ann"}


async def test_a_decision_can_hold_for_the_same_arguments() -> None:
    state = await paused([*two("a", "b"), ToolCall("again", "delete", ' {"path" :"a"} ')])
    state.approve("a", always="arguments")
    assert [each.id for each in state.pending] == ["b"]
    state.deny("b", "keep it", always="arguments")
    result = await resumed(state, [call("delete", path="b"), call("delete", path="a"), call("delete", path="c")])
    assert deleted == ["a", "a", "a"]
    assert [each.arguments["path"] for each in result.pending] == ["c"]
    assert read(result)[-2:] == ["Error: not run: a person refused this call: keep it", "deleted a"]


async def test_a_tool_that_is_refused_for_good_is_refused_even_where_it_would_not_ask() -> None:
    careful = deletes(requires_approval=lambda _, arguments: arguments["force"])
    state = await paused(call("delete", id="f", path="a", force=True), tools=[careful])
    state.deny("f", "never", always=True)
    result = await resumed(state, call("delete", path="a"), "done", tools=[careful])
    assert (result.status, deleted) == ("done", [])
    assert read(result)[-1] == "Error: not run: a person refused this call: never"


async def test_the_last_word_holds() -> None:
    state = await paused(two("a", "b"))
    state.approve("a", always="arguments")
    state.deny("b", always="tool")
    result = await resumed(state, two("c"), "done")
    assert (deleted, result.status) == (["a"], "done")


# What is approved is what runs.


def edited(state: RunState, arguments: str) -> RunState:
    """The state after somebody has changed the call in its transcript."""
    said = state.messages[-1]
    assert isinstance(said, AssistantMessage)
    state.messages[-1] = replace(said, tool_calls=(replace(said.tool_calls[0], arguments=arguments),))
    return state


@pytest.mark.parametrize("always", [False, "arguments"])
async def test_a_call_that_was_changed_after_its_approval_is_asked_about_again(always: Any) -> None:
    state = await paused(two("a"))
    state.approve("a", always=always)
    result = await resumed(edited(state, '{"path": "b"}'))
    assert (result.status, deleted) == ("paused", [])
    assert result.pending[0].arguments == {"path": "b"}
    result.state.approve("a")
    assert read(await resumed(result.state)) == ["deleted b"]


async def test_every_digit_of_the_arguments_counts() -> None:
    @tool(requires_approval=True)
    def pay(amount: Decimal) -> str:
        """Pay."""
        deleted.append(str(amount))
        return "paid"

    state = await paused(ToolCall("p", "pay", '{"amount": 1.0000000000000000001}'), tools=[pay])
    state.approve("p")
    result = await resumed(edited(state, '{"amount": 1.0000000000000000002}'), tools=[pay])
    assert (result.status, deleted) == ("paused", [])


async def test_a_tool_that_has_changed_is_asked_about_again() -> None:
    state = await paused(two("a", "b"))
    state.approve("a", always=True)

    @tool(name="delete", requires_approval=True)
    def other(path: str) -> str:
        """Delete a directory and all that is in it."""
        deleted.append(f"all of {path}")
        return "deleted"

    told: list[Event] = []
    result = await agent("done", tools=[other]).run(resume=state, on_event=told.append)
    assert (result.status, deleted) == ("paused", [])
    assert [each for each in told if isinstance(each, ToolChanged)] == [
        ToolChanged("look", "removed"),
        ToolChanged("delete", "changed"),
    ]


async def test_the_state_of_an_agent_that_has_none_of_its_tools_or_another_name_is_refused() -> None:
    state = await paused(two("a"), name="cleaner")
    state.approve("a")
    with pytest.raises(StateError, match="this state belongs to the agent 'cleaner', and this agent is 'cook'"):
        await resumed(state, name="cook")
    with pytest.raises(StateError, match="it has the tools delete, look, and this agent has none of them"):
        await resumed(state, tools=[])
    assert deleted == []


async def test_what_is_shown_is_what_the_tool_would_get() -> None:
    """The text of a call may be read by the tool though it is no object as servers take it."""
    twice = json.dumps(json.dumps({"path": "a\nb"}))
    state = await paused(ToolCall("x", "delete", "{}", malformed=twice), repair=False)
    assert state.pending[0].arguments == {"path": "a\nb"}
    state.approve("x")
    await resumed(state, repair=False)
    assert deleted == ["a\nb"]


async def test_the_text_of_a_custom_tool_is_shown_changed_and_bound_exactly() -> None:
    def patch(context: ToolContext[Any], text: str) -> str:
        deleted.append(text)
        return "patched"

    custom = Tool.custom("patch", "Patch.", patch, requires_approval=True)
    for given in (ToolCall.custom("x", "patch", '{"a":1, "a":2}'), ToolCall("x", "patch", '{"a":1, "a":2}')):
        state = await paused(given, tools=[custom])
        assert state.pending[0].arguments == {"input": '{"a":1, "a":2}'}
        with pytest.raises(StateError, match="this tool takes a string"):
            state.approve("x", arguments={"text": "y"})
        approved = state.copy()
        approved.approve("x")
        other = replace(given, arguments='{"a":2}', input=given.input and '{"a":2}')
        approved.messages[-1] = AssistantMessage(None, (other,))
        assert (await resumed(approved, tools=[custom])).status == "paused"
        state.approve("x", arguments={"input": "harmless"})
        await resumed(state, tools=[custom])
    assert deleted == ["harmless", "harmless"]


async def test_changed_arguments_replace_whatever_form_the_call_came_in() -> None:
    state = await paused(ToolCall.custom("x", "delete", '{"path": "a"}'))
    state.approve("x", arguments={"path": "b"})
    await resumed(state)
    assert deleted == ["b"]


async def test_an_approval_does_not_outlive_its_call() -> None:
    """Many servers count ids from one again, and a program may shorten a transcript."""
    state = await paused(two("a"))
    state.approve("a")
    state = (await resumed(state)).state
    del state.messages[1:]
    result = await resumed(state, two("a"))
    assert (result.status, deleted) == ("paused", ["a"])


async def test_the_ids_of_a_server_that_counts_from_one_again_do_not_carry_an_approval() -> None:
    state = await paused(two("a"))
    state.approve("a")
    result = await resumed(state, two("a"))
    assert (result.status, deleted) == ("paused", ["a"])


@pytest.mark.parametrize("repair", [True, False])
async def test_no_way_of_writing_a_call_gets_around_the_approval(repair: bool) -> None:
    eager = deletes(read_only=True, idempotent=True)
    written = [
        call("delete", path="a"),
        call("Delete", path="a"),
        ToolCall("i", "functions.delete", '{"path": "a"}'),
        ToolCall("i", "delete", '{"path": "a",}'),
        ToolCall("i", "delete", '{"path": "a"}{"path": "b"}'),
        ToolCall("", "delete", json.dumps('{"path": "a"}')),
        ToolCall.custom("i", "delete", '{"path": "a"}'),
    ]
    async with agent(written, tools=[eager], repair=repair, middleware=[Eager()]).stream("go") as events:
        result = await events.result()
    assert result.status == "paused"
    assert len(result.pending) >= (5 if repair else 3)
    assert deleted == []


async def test_a_transcript_that_is_given_as_history_runs_nothing() -> None:
    history: list[Message] = [UserMessage("go"), AssistantMessage(None, (call("delete", id="a", path="a"),))]
    result = await agent("done").run("and now?", history=history)
    assert (result.status, deleted) == ("done", [])


@pytest.mark.parametrize("status", ["cancelled", "failed", "limited", "done", "running"])
async def test_open_calls_of_a_state_are_asked_about_however_it_ended(status: Any) -> None:
    messages: list[Message] = [UserMessage("go"), AssistantMessage(None, (call("delete", id="a", path="a"),))]
    result = await resumed(RunState(messages=messages, status=status))
    assert (result.status, [each.id for each in result.pending], deleted) == ("paused", ["a"], [])


async def test_a_cancelled_run_takes_its_approvals_with_it() -> None:
    hanging = anyio.Event()

    @tool
    async def hang() -> None:
        """Hang."""
        hanging.set()
        await anyio.sleep_forever()

    made = agent([call("hang"), *two("a")], tools=[hang, delete])
    ended: list[Event] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: made.run("go", on_event=ended.append))
        await hanging.wait()
        tasks.cancel_scope.cancel()
    last = ended[-1]
    assert isinstance(last, RunFinished)
    assert (last.state.status, last.state.pending) == ("cancelled", ())
    result = await agent(two("a"), tools=[hang, delete]).run(resume=last.state)
    assert (result.status, deleted) == ("paused", [])


# Limits.


async def test_the_limits_of_the_run_hold_after_it_and_can_be_given_anew() -> None:
    state = await paused(two("a"), limits=Limits(turns=2))
    state.approve("a")
    state = (await resumed(state, two("b"))).state
    state.approve("b")
    closed = await resumed(state, "as far as I came")
    assert (closed.status, deleted) == ("limited", ["a", "b"])
    more = await agent("done").run(resume=state, limits=Limits(turns=5))
    assert (more.status, more.output) == ("done", "done")


async def test_an_approved_call_over_the_limit_does_not_run() -> None:
    state = await paused([call("look", path="x"), *two("a")], limits=Limits(calls=2))
    state.approve("a")
    result = await agent("done").run(resume=state, limits=Limits(calls=1))
    assert (result.status, deleted) == ("limited", ["looked at x"])


async def test_time_that_is_up_while_it_is_asked_whether_to_ask_ends_the_run() -> None:
    async def never(context: ToolContext[Any], arguments: dict[str, Any]) -> bool:
        await anyio.sleep_forever()
        return False

    result = await agent(call("look", path="a"), "done", requires_approval=never).run("go", limits=Limits(seconds=0.05))
    assert (result.status, deleted) == ("limited", [])
    assert read(result) == ["Error: not run: the limit of 0.05 seconds was reached"]


# Going on otherwise.


async def test_what_was_said_meanwhile_is_read_after_the_results() -> None:
    state = await paused(two("a"))
    state.add_message("and hurry")
    state.approve("a")
    result = await resumed(state)
    assert [each.role for each in result.messages] == ["user", "assistant", "tool", "user", "assistant"]
    assert result.messages[3].text == "and hurry"


async def test_a_run_that_is_done_goes_on_when_something_is_said() -> None:
    result = await agent("hello").run("hi")
    assert (await resumed(result.state)).output == "hello"
    result.state.add_message("and now?")
    assert (await resumed(result.state, "bye")).output == "bye"
    with pytest.raises(ConfigError, match="the prompt is empty"):
        result.state.add_message(" ")


async def test_an_observer_may_decide_at_once() -> None:
    def allow(event: Event) -> None:
        if isinstance(event, ApprovalRequested):
            states[0].approve(event.call.id)
        elif isinstance(event, RunStarted):
            states.append(event.state)

    states: list[RunState] = []
    result = await agent(two("a"), "done").run("go", on_event=allow)
    assert (result.status, deleted) == ("done", ["a"])
