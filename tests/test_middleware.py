import inspect
import re
from dataclasses import replace
from pathlib import Path

import pytest

import agentkit.middleware
from agentkit import Agent, ChatRequest, Middleware, Reply, RunState, ToolResult, tool
from agentkit.chat.events import Emit, ignore_event
from agentkit.chat.messages import ToolMessage, UserMessage
from agentkit.errors import DefinitionError, Overloaded, ToolFailed
from agentkit.run.middleware import (
    NextModel,
    NextRun,
    NextTool,
    ToolRequest,
    around_model,
    around_run,
    around_tool,
    model_of,
    wrap_model,
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

    async def around_run(self, state: RunState, emit: Emit, inner: NextRun) -> RunState:
        self.log.append(f"{self.name} run")
        try:
            return await inner(state)
        finally:
            self.log.append(f"{self.name} ran")

    async def around_model(self, request: ChatRequest, emit: Emit, inner: NextModel) -> Reply:
        self.log.append(f"{self.name} model")
        return await inner(request, emit)

    async def around_tool(self, request: ToolRequest, inner: NextTool) -> ToolResult:
        self.log.append(f"{self.name} {request.call.name}")
        return await inner(request)


async def test_the_first_is_the_outermost_around_run_model_and_tool() -> None:
    log: list[str] = []
    model = ScriptedModel([call("add", a=1, b=2), "3"])
    await Agent(model, tools=[add], middleware=[Log("A", log), Log("B", log)]).run("go")
    assert log == ["A run", "B run", "A model", "B model", "A add", "B add", "A model", "B model", "B ran", "A ran"]


async def test_a_middleware_may_change_what_goes_in_and_out() -> None:
    class SessionUpdate(Middleware):
        async def around_model(self, request: ChatRequest, emit: Emit, inner: NextModel) -> Reply:
            return await inner(replace(request, settings=replace(request.settings, temperature=0.5)), emit)

        async def around_tool(self, request: ToolRequest, inner: NextTool) -> ToolResult:
            result = await inner(replace(request, call=replace(request.call, arguments='{"a": 20, "b": 22}')))
            return replace(result, content=f"<{result.content}>")

    model = ScriptedModel([call("add", a=1, b=2), "ok"])
    result = await Agent(model, tools=[add], middleware=[SessionUpdate()]).run("go")
    assert [each.content for each in result.messages if isinstance(each, ToolMessage)] == ["<42>"]
    assert model.requests[0].settings.temperature == 0.5


async def test_a_middleware_may_catch_and_try_another_model() -> None:
    class Fallback(Middleware):
        async def around_model(self, request: ChatRequest, emit: Emit, inner: NextModel) -> Reply:
            try:
                return await inner(request, emit)
            except Overloaded:
                return await ScriptedModel(["from the other"]).reply(request, emit)

    result = await Agent(ScriptedModel([Overloaded("busy", status=503)]), middleware=[Fallback()]).run("go")
    assert result.output == "from the other"


async def test_a_middleware_may_answer_a_call_itself() -> None:
    class Deny(Middleware):
        async def around_tool(self, request: ToolRequest, inner: NextTool) -> ToolResult:
            return ToolResult("denied", is_error=True)

    result = await Agent(ScriptedModel([call("add", a=1, b=2), "ok"]), tools=[add], middleware=[Deny()]).run("go")
    assert [each.content for each in result.messages if isinstance(each, ToolMessage)] == ["Error: denied"]


async def test_a_middleware_that_forgets_to_return_is_named() -> None:
    class Forgetful(Middleware):
        async def around_model(self, request: ChatRequest, emit: Emit, inner: NextModel) -> Reply:
            await inner(request, emit)
            return None  # type: ignore[return-value]  # wrong on purpose

    with pytest.raises(TypeError, match=r"Forgetful\.around_model returned NoneType and not a Reply; did you forget"):
        await Agent(ScriptedModel(["x"]), middleware=[Forgetful()]).run("go")


async def test_a_plain_function_wraps_a_run_a_model_turn_or_a_tool_call() -> None:
    log: list[str] = []

    @around_run
    async def run(state: RunState, emit: Emit, inner: NextRun) -> RunState:
        log.append("run")
        return await inner(state)

    @around_model
    async def model(request: ChatRequest, emit: Emit, inner: NextModel) -> Reply:
        log.append("model")
        return await inner(request, emit)

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

        async def __call__(self, request: ChatRequest, emit: Emit, inner: NextModel) -> Reply:
            return (
                (await ScriptedModel(["LOUD"]).reply(request, emit)) if request.messages else await inner(request, emit)
            )

    loud = around_model(Shout())
    assert (await Agent(ScriptedModel([]), middleware=[loud]).run("go")).output == "LOUD"
    assert loud.__doc__ == "Answer loudly."


def test_a_function_that_is_not_async_is_refused_where_it_is_written() -> None:
    with pytest.raises(DefinitionError, match=r"@around_model takes a function that is async .*: quick is not"):

        @around_model  # type: ignore[arg-type]  # wrong on purpose
        def quick(request: ChatRequest, emit: Emit, inner: NextModel) -> Reply:
            raise AssertionError


def test_a_function_of_other_parameters_is_refused_where_it_is_written() -> None:
    with pytest.raises(DefinitionError, match=r"@around_tool: short must take \(request, inner\); too many"):

        @around_tool  # type: ignore[arg-type]  # wrong on purpose
        async def short(request: ToolRequest) -> ToolResult:
            raise AssertionError

    with pytest.raises(DefinitionError, match=r"@around_run: long must take \(state, emit, inner\); missing .*'more'"):

        @around_run  # type: ignore[arg-type]  # wrong on purpose
        async def long(state: RunState, emit: Emit, inner: NextRun, more: int) -> RunState:
            raise AssertionError


async def test_a_function_that_forgets_to_return_is_named() -> None:
    @around_model
    async def forgetful(request: ChatRequest, emit: Emit, inner: NextModel) -> Reply:
        await inner(request, emit)
        return None  # type: ignore[return-value]  # wrong on purpose

    with pytest.raises(TypeError, match=r"around_model\(forgetful\) returned NoneType and not a Reply"):
        await Agent(ScriptedModel(["x"]), middleware=[forgetful]).run("go")


async def test_each_layer_knows_the_model_behind_it() -> None:
    seen: list[object] = []

    @around_model
    async def look(request: ChatRequest, emit: Emit, inner: NextModel) -> Reply:
        seen.append(model_of(inner))
        return await inner(request, emit)

    model = ScriptedModel(["x"])
    await wrap_model([look, Middleware(), look], model)(ChatRequest(messages=[UserMessage("go")]), ignore_event)
    assert seen == [model, model]
    assert model_of(model.reply) is None


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


@pytest.mark.parametrize("path", sorted((ROOT / "agentkit" / "middleware").glob("*.py")), ids=lambda path: path.stem)
def test_a_ready_made_middleware_is_short_enough_to_be_read(path: Path) -> None:
    assert path.read_text(encoding="utf-8").count("\n") < 80


async def test_a_run_whose_error_a_middleware_keeps_is_as_valid_as_any() -> None:
    @around_run
    async def content(state: RunState, emit: Emit, inner: NextRun) -> RunState:
        try:
            return await inner(state)
        except ToolFailed:
            return state

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
