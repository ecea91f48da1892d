import inspect
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import agentkit.middleware
from agentkit import Agent, Middleware, Reply, RunState, ToolResult, tool
from agentkit.chat.messages import ToolMessage
from agentkit.errors import DefinitionError, Overloaded, ToolFailed
from agentkit.run import (
    ModelTurn,
    NextModel,
    NextRun,
    NextTool,
    Run,
    ToolRequest,
    around_model,
    around_run,
    around_tool,
)
from agentkit.run.transcript import check
from agentkit.testing import ScriptedModel, call

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parent.parent


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


class Log(Middleware):
    def __init__(self, name: str, log: list[str]) -> None:
        self.name, self.log = name, log

    async def around_run(self, run: Run[Any], inner: NextRun) -> RunState:
        self.log.append(f"{self.name} run")
        try:
            return await inner()
        finally:
            self.log.append(f"{self.name} ran")

    async def around_model(self, turn: ModelTurn, inner: NextModel) -> Reply:
        self.log.append(f"{self.name} model")
        return await inner(turn)

    async def around_tool(self, call: ToolRequest, inner: NextTool) -> ToolResult:
        self.log.append(f"{self.name} {call.call.name}")
        return await inner(call)


async def test_the_first_is_the_outermost_around_run_model_and_tool() -> None:
    log: list[str] = []
    model = ScriptedModel([call("add", a=1, b=2), "3"])
    await Agent(model, tools=[add], middleware=[Log("A", log), Log("B", log)]).run("go")
    assert log == ["A run", "B run", "A model", "B model", "A add", "B add", "A model", "B model", "B ran", "A ran"]


async def test_a_middleware_may_change_what_goes_in_and_out() -> None:
    class SessionUpdate(Middleware):
        async def around_model(self, turn: ModelTurn, inner: NextModel) -> Reply:
            return await inner(
                replace(turn, request=replace(turn.request, settings=replace(turn.request.settings, temperature=0.5)))
            )

        async def around_tool(self, call: ToolRequest, inner: NextTool) -> ToolResult:
            result = await inner(replace(call, call=replace(call.call, arguments='{"a": 20, "b": 22}')))
            return replace(result, content=f"<{result.content}>")

    model = ScriptedModel([call("add", a=1, b=2), "ok"])
    result = await Agent(model, tools=[add], middleware=[SessionUpdate()]).run("go")
    assert [each.content for each in result.messages if isinstance(each, ToolMessage)] == ["<42>"]
    assert model.requests[0].settings.temperature == 0.5


async def test_a_middleware_may_catch_and_try_another_model() -> None:
    class Fallback(Middleware):
        async def around_model(self, turn: ModelTurn, inner: NextModel) -> Reply:
            try:
                return await inner(turn)
            except Overloaded:
                return await ScriptedModel(["from the other"]).reply(turn.request, turn.emit)

    result = await Agent(ScriptedModel([Overloaded("busy", status=503)]), middleware=[Fallback()]).run("go")
    assert result.output == "from the other"


async def test_a_middleware_may_answer_a_call_itself() -> None:
    class Deny(Middleware):
        async def around_tool(self, call: ToolRequest, inner: NextTool) -> ToolResult:
            return ToolResult("denied", is_error=True)

    result = await Agent(ScriptedModel([call("add", a=1, b=2), "ok"]), tools=[add], middleware=[Deny()]).run("go")
    assert [each.content for each in result.messages if isinstance(each, ToolMessage)] == ["Error: denied"]


async def test_a_middleware_that_forgets_to_return_is_named() -> None:
    class Forgetful(Middleware):
        async def around_model(self, turn: ModelTurn, inner: NextModel) -> Reply:
            await inner(turn)
            return None  # type: ignore[return-value]  # wrong on purpose

    with pytest.raises(TypeError, match=r"Forgetful\.around_model returned NoneType and not a Reply; did you forget"):
        await Agent(ScriptedModel(["x"]), middleware=[Forgetful()]).run("go")


async def test_a_plain_function_wraps_a_run_a_model_turn_or_a_tool_call() -> None:
    log: list[str] = []

    @around_run
    async def run(run: Run[Any], inner: NextRun) -> RunState:
        log.append("run")
        return await inner()

    @around_model
    async def model(turn: ModelTurn, inner: NextModel) -> Reply:
        log.append("model")
        return await inner(turn)

    @around_tool
    async def call_of_tool(request: ToolRequest, inner: NextTool) -> ToolResult:
        log.append(request.call.name)
        return await inner(request)

    script = ScriptedModel([call("add", a=1, b=2), "3"])
    result = await Agent(script, tools=[add], middleware=[call_of_tool, model, run]).run("go")
    assert (result.output, log) == ("3", ["run", "model", "add", "model"])
    assert (repr(run), repr(model)) == ("around_run(run)", "around_model(model)")


async def test_an_object_that_can_be_called_is_a_function_too() -> None:
    class Shout:
        """Answer loudly."""

        async def __call__(self, turn: ModelTurn, inner: NextModel) -> Reply:
            return (
                (await ScriptedModel(["LOUD"]).reply(turn.request, turn.emit))
                if turn.request.messages
                else await inner(turn)
            )

    loud = around_model(Shout())
    assert (await Agent(ScriptedModel([]), middleware=[loud]).run("go")).output == "LOUD"
    assert loud.__doc__ == "Answer loudly."


def test_a_function_that_is_not_async_is_refused_where_it_is_written() -> None:
    with pytest.raises(DefinitionError, match=r"@around_model takes an async function .* quick is not one"):

        @around_model  # type: ignore[arg-type]  # wrong on purpose
        def quick(turn: ModelTurn, inner: NextModel) -> Reply:
            raise AssertionError


def test_a_function_of_other_parameters_is_refused_where_it_is_written() -> None:
    with pytest.raises(DefinitionError, match=r"@around_tool: short must take \(call, inner\); too many"):

        @around_tool  # type: ignore[arg-type]  # wrong on purpose
        async def short(call: ToolRequest) -> ToolResult:
            raise AssertionError

    with pytest.raises(DefinitionError, match=r"@around_run: long must take \(run, inner\); missing .*'more'"):

        @around_run  # type: ignore[arg-type]  # wrong on purpose
        async def long(run: Run[Any], inner: NextRun, more: int) -> RunState:
            raise AssertionError


async def test_a_function_that_forgets_to_return_is_named() -> None:
    @around_model
    async def forgetful(turn: ModelTurn, inner: NextModel) -> Reply:
        await inner(turn)
        return None  # type: ignore[return-value]  # wrong on purpose

    with pytest.raises(TypeError, match=r"around_model\(forgetful\) returned NoneType and not a Reply"):
        await Agent(ScriptedModel(["x"]), middleware=[forgetful]).run("go")


async def test_each_layer_knows_the_model_and_the_run() -> None:
    seen: list[object] = []

    @around_model
    async def look(turn: ModelTurn, inner: NextModel) -> Reply:
        seen.extend([turn.model, turn.turn, turn.run.agent, turn.run.deps, list(turn.tools)])
        return await inner(turn)

    model = ScriptedModel(["x"])
    agent = Agent(model, name="ada", tools=[add], middleware=[Middleware(), look], deps_type=str)
    await agent.run("go", deps="db")
    assert seen == [model, 1, "ada", "db", ["add"]]


async def test_closing_an_agent_closes_its_middleware() -> None:
    closed: list[str] = []

    class Holds(Middleware):
        async def aclose(self) -> None:
            closed.append("middleware")

    await Agent(ScriptedModel([]), middleware=[Middleware(), Holds()]).aclose()
    assert closed == ["middleware"]


def test_every_public_name_is_documented_and_in_the_page() -> None:
    page = (ROOT / "docs" / "middleware.md").read_text(encoding="utf-8")
    for name in agentkit.middleware.__all__:
        assert re.search(rf"\b{name}\b", page), name
        value = getattr(agentkit.middleware, name)
        assert not inspect.isclass(value) or value.__doc__, name


async def test_a_run_whose_error_a_middleware_keeps_is_as_valid_as_any() -> None:
    @around_run
    async def content(run: Run[Any], inner: NextRun) -> RunState:
        try:
            return await inner()
        except ToolFailed:
            return run.state

    @tool(requires_approval=True)
    async def careful() -> None:
        """Do it."""

    @tool
    async def fail() -> None:
        """Fail."""
        raise OSError("broken")

    model = ScriptedModel([[call("careful"), call("fail")]])
    agent = Agent(model, tools=[careful, fail], on_tool_error="raise", middleware=[content])
    result = await agent.run("go")
    assert (result.status, result.pending, check(result.messages)) == ("failed", (), [])
