"""What an agent is made of, and what one run can be given besides its prompt."""

import copy
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import anyio
import pytest

from agentkit import Agent, ChatSettings, Limits, RunContext, RunResult, Tool, ToolContext, ToolResult, tool
from agentkit.errors import ConfigError, ConnectionFailed
from agentkit.events import Event, ToolChanged
from agentkit.messages import SystemMessage
from agentkit.testing import Answer, FunctionModel, ScriptedModel, call
from agentkit.tools import SourceRun

pytestmark = pytest.mark.anyio


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@tool
def greet(context: ToolContext[str], what: str) -> str:
    """Greet."""
    return f"{what} {context.deps}"


# The agent.


def test_what_an_agent_was_given_can_be_read_back() -> None:
    limits, settings = Limits(turns=3), ChatSettings(temperature=0.5)
    agent = Agent(
        ScriptedModel([]), tools=[add], instructions="Be brief.", name="ada", description="Adds.", limits=limits,
        settings=settings, requires_approval=True, on_tool_error="raise", deps_type=str,
    )  # fmt: skip
    assert (agent.name, agent.description, agent.instructions) == ("ada", "Adds.", "Be brief.")
    assert (agent.limits, agent.settings, list(agent.tools)) == (limits, settings, ["add"])
    assert (agent.requires_approval, agent.on_tool_error, agent.middleware) == (True, "raise", ())
    assert (agent.deps_type, agent.output_type) == (str, str)


async def test_replace_makes_a_new_agent_and_leaves_the_old_one() -> None:
    agent = Agent(ScriptedModel(["a"]), tools=[add], name="ada", instructions="Be brief.")
    other = agent.replace(model=ScriptedModel(["b"]), name="bob")
    assert ((await agent.run("go")).output, (await other.run("go")).output) == ("a", "b")
    assert (agent.name, other.name, other.instructions, list(other.tools)) == ("ada", "bob", "Be brief.", ["add"])


def test_tools_can_come_from_an_iterator() -> None:
    agent = Agent(ScriptedModel([]), tools=iter([add]))
    assert (list(agent.tools), list(agent.replace(name="bob").tools)) == (["add"], ["add"])


def test_an_agent_can_be_copied_deeply() -> None:
    agent = Agent("openai:gpt-5-mini", tools=[add])
    assert copy.deepcopy(agent).run_sync is not None
    assert copy.deepcopy({"agent": agent})["agent"].tools == agent.tools


def test_reprs_leave_defaults_out() -> None:
    model = FunctionModel(lambda request: "hello")
    assert repr(Agent(model, tools=[add], name="ada")).endswith(", tools=[add], name='ada')")
    result = Agent(model).run_sync("hi")
    assert repr(result) == "RunResult(done, 'hello', turns=1)"
    assert result._repr_markdown_() == "hello"


# Instructions.


async def test_instructions_may_be_functions_of_the_run() -> None:
    async def who(context: RunContext[str]) -> str:
        return f"You talk to {context.deps}."

    model = ScriptedModel([call("add", a=1, b=2), "3"])
    agent = Agent(model, tools=[add], instructions=["Be brief.", who, lambda run: f"Turn {run.turn}."], deps_type=str)
    await agent.run("go", deps="Ada")
    system = [request.messages[0] for request in model.requests]
    assert all(isinstance(each, SystemMessage) for each in system)
    assert [each.text for each in system] == [f"Be brief.\n\nYou talk to Ada.\n\nTurn {turn}." for turn in (1, 2)]


async def test_instructions_that_are_empty_are_not_sent() -> None:
    model = ScriptedModel(["ok"])
    await Agent(model, instructions=["", lambda run: ""]).run("go")
    assert [each.role for each in model.requests[0].messages] == ["user"]


async def test_instructions_that_return_no_string_are_refused_in_a_sentence() -> None:
    wrong: Any = lambda run: 5  # noqa: E731
    with pytest.raises(ConfigError, match=r"instructions must be strings, and .* returned 5"):
        await Agent(ScriptedModel([]), instructions=wrong).run("go")


# Dependencies.


async def test_missing_or_wrong_dependencies_are_refused_before_the_first_request() -> None:
    model = ScriptedModel([])
    agent = Agent(model, tools=[greet], deps_type=str)
    with pytest.raises(ConfigError, match=r"the agent needs deps of the type str, and run.*deps=.* is missing"):
        await agent.run("go")
    wrong: Any = 5
    with pytest.raises(ConfigError, match="needs deps of the type str, and deps= is int"):
        await agent.run("go", deps=wrong)
    undeclared: Agent[Any] = Agent(model, tools=[greet])
    with pytest.raises(ConfigError, match="tool greet needs deps of the type str"):
        await undeclared.run("go")
    assert model.requests == []


# One run.


async def test_a_run_can_have_another_model_and_further_tools() -> None:
    usual, other = ScriptedModel([]), ScriptedModel([call("add", a=1, b=2), "3"])
    result = await Agent(usual).run("go", model=other, tools=[add])
    assert result.output == "3"
    assert usual.requests == []


async def test_a_tool_of_a_run_that_is_there_already_is_refused() -> None:
    with pytest.raises(Exception, match="add"):
        await Agent(ScriptedModel([]), tools=[add]).run("go", tools=[tool(add, description="Another.")])


async def test_an_observer_that_is_async_is_refused() -> None:
    async def observe(event: Event) -> None:
        raise AssertionError

    wrong: Any = observe
    with pytest.raises(ConfigError, match=r"on_event= takes a function that is not async"):
        await Agent(ScriptedModel([])).run("go", on_event=wrong)


async def test_new_messages_are_those_of_the_run() -> None:
    agent = Agent(ScriptedModel(["one", "two"]))
    first = await agent.run("a")
    second = await agent.run("b", history=first)
    assert [each.text for each in second.new_messages] == ["b", "two"]
    assert [each.text for each in second.messages] == ["a", "one", "b", "two"]


async def test_a_prompt_beside_a_state_is_added_to_the_conversation() -> None:
    agent = Agent(ScriptedModel(["one", "two"]))
    first = await agent.run("a")
    again = await agent.run("and b?", resume=first.state)
    assert [each.text for each in again.messages] == ["a", "one", "and b?", "two"]


# A tool that ends the run.


async def test_a_final_result_ends_the_run_and_is_its_output() -> None:
    @tool
    def submit(text: str) -> ToolResult:
        """Submit."""
        return ToolResult(f"submitted {text}", final=True)

    model = ScriptedModel([[call("submit", text="it"), call("add", a=1, b=2)]])
    result = await Agent(model, tools=[submit, add]).run("go")
    assert (result.output, result.status) == ("submitted it", "done")
    assert [each.role for each in result.messages] == ["user", "assistant", "tool", "tool"], "siblings finish"
    assert len(model.requests) == 1


# Sources of tools.


class Source:
    """Tools that exist only while it is open."""

    def __init__(self, *turns: Sequence[Tool]) -> None:
        self.turns, self.asked = list(turns), list[tuple[str, int]]()
        self.log: list[str] = []

    async def __aenter__(self) -> Self:
        self.log.append("open")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.log.append("close")

    async def tools(self, run: SourceRun) -> Sequence[Tool]:
        self.asked.append((run.agent, run.remaining.turns or 0))
        return self.turns[min(len(self.asked), len(self.turns)) - 1]


async def test_a_source_is_open_for_the_run_and_asked_before_each_turn() -> None:
    source = Source([], [add])
    model = ScriptedModel([[call("nothing")], [call("add", a=1, b=2)], "3"])
    result: RunResult[str] = await Agent(model, tools=[source], name="ada").run("go")
    assert result.output == "3"
    assert source.log == ["open", "close"]
    assert source.asked == [("ada", 50), ("ada", 49), ("ada", 48)]
    assert [[each.name for each in request.tools] for request in model.requests] == [[], ["add"], ["add"]]


async def test_async_with_agent_opens_it_once_for_all_runs() -> None:
    source = Source([add])
    async with Agent(FunctionModel(lambda request: "hi"), tools=[source]) as agent:
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(agent.run, "go")
        assert source.log == ["open"]
    assert source.log == ["open", "close"]


@pytest.mark.parametrize("ending", ["fails", "cancelled"])
async def test_it_is_closed_however_the_run_ends(ending: str) -> None:
    source = Source([add])
    asked = anyio.Event()

    async def answer(request: Any) -> Answer:
        asked.set()
        if ending == "cancelled":
            await anyio.sleep_forever()
        raise ConnectionFailed("no route")

    agent = Agent(FunctionModel(answer), tools=[source])
    if ending == "fails":
        with pytest.raises(ConnectionFailed):
            await agent.run("go")
    else:
        async with agent.stream("go"):
            await asked.wait()
    assert source.log == ["open", "close"]


async def test_two_tools_with_one_name_are_refused_in_a_sentence() -> None:
    with pytest.raises(ConfigError, match="two tools are named 'add'"):
        await Agent(ScriptedModel([]), tools=[add, Source([add])]).run("go")


async def test_tools_that_change_between_two_turns_are_reported() -> None:
    seen: list[Event] = []
    model = ScriptedModel([[call("nothing")], "ok"])
    await Agent(model, tools=[Source([], [add])]).run("go", on_event=seen.append)
    assert [each for each in seen if isinstance(each, ToolChanged)] == [ToolChanged("add", "added")]
