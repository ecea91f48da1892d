from dataclasses import replace

import pytest

from agentkit import Agent, ChatRequest, Middleware, Reply, RunState, ToolResult, tool
from agentkit.chat.events import Emit
from agentkit.chat.messages import ToolMessage
from agentkit.errors import Overloaded
from agentkit.run.middleware import NextModel, NextRun, NextTool, ToolRequest
from agentkit.testing import ScriptedModel, call

pytestmark = pytest.mark.anyio


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
    class Change(Middleware):
        async def around_model(self, request: ChatRequest, emit: Emit, inner: NextModel) -> Reply:
            return await inner(replace(request, settings=replace(request.settings, temperature=0.5)), emit)

        async def around_tool(self, request: ToolRequest, inner: NextTool) -> ToolResult:
            result = await inner(replace(request, call=replace(request.call, arguments='{"a": 20, "b": 22}')))
            return replace(result, content=f"<{result.content}>")

    model = ScriptedModel([call("add", a=1, b=2), "ok"])
    result = await Agent(model, tools=[add], middleware=[Change()]).run("go")
    assert [each.content for each in result.transcript if isinstance(each, ToolMessage)] == ["<42>"]
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
    assert [each.content for each in result.transcript if isinstance(each, ToolMessage)] == ["Error: denied"]


async def test_a_middleware_that_forgets_to_return_is_named() -> None:
    class Forgetful(Middleware):
        async def around_model(self, request: ChatRequest, emit: Emit, inner: NextModel) -> Reply:
            await inner(request, emit)
            return None  # type: ignore[return-value]  # wrong on purpose

    with pytest.raises(TypeError, match=r"Forgetful\.around_model returned NoneType and not a Reply; did you forget"):
        await Agent(ScriptedModel(["x"]), middleware=[Forgetful()]).run("go")
