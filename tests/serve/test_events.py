"""What a run does, for clients that want to know: in a stream, in a whole response, or on a page of one's own."""

import json
from typing import Any

import anyio
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Mount, Route

from agentkit import Agent, Progress, ToolContext, serve, tool
from agentkit.chat import ChatRequest, Choice, Reply
from agentkit.events import CallDelta, DeltasDiscarded, Emit, ReasoningDelta, TextDelta
from agentkit.messages import AssistantMessage
from agentkit.testing import ScriptedModel, call
from tests.serve.asgi import TOKEN, Client

pytestmark = pytest.mark.anyio


@tool
async def count(context: ToolContext[Any], to: int) -> str:
    """Count."""
    context.emit(Progress(context.call_id, "count", 0.5, "half"))
    return f"counted to {to}"


def names(events: list[dict[str, Any]]) -> list[str]:
    return [each["event"] for each in events]


async def test_a_client_that_asks_sees_what_the_run_does_in_order() -> None:
    asks = Client(serve.app(Agent(ScriptedModel([call("count", id="c", to=3), "Three."]), tools=[count]), token=TOKEN))
    answer = await asks.chat(stream=True, agentkit={"events": True})
    expected = ["RunStarted", "TurnStarted", "CallDelta", "TurnFinished", "CallStarted", "Progress", "CallFinished"]
    assert names(answer.events) == [*expected, "TurnStarted", "TurnFinished", "RunFinished"]
    finished = next(each for each in answer.events if each["event"] == "CallFinished")
    assert finished["result"] == {"content": "counted to 3", "is_error": False, "files": []}
    assert finished["origin"]["path"] == []
    assert answer.text == "Three."
    last = [each for each in answer.chunks if each["choices"]][-1]["agentkit"]
    assert (last["status"], last["pending"], last["run_id"]) == ("done", [], finished["origin"]["run_id"])
    for each in answer.chunks:
        assert "state" not in each.get("agentkit", {}).get("event", {})


async def test_a_whole_response_has_the_events_without_deltas() -> None:
    asks = Client(serve.app(Agent(ScriptedModel([call("count", to=3), "Three."]), tools=[count]), token=TOKEN))
    events = (await asks.chat(agentkit={"events": True})).json["agentkit"]["events"]
    assert "CallFinished" in names(events)
    assert "CallDelta" not in names(events)


async def test_events_of_nested_runs_say_where_they_belong() -> None:
    inner = Agent(ScriptedModel(["inside"]), name="inner", description="Inner.")
    outer = Agent(ScriptedModel([call("inner", id="c", prompt="x"), "outside"]), tools=[inner.as_tool()])
    answer = await Client(serve.app(outer, token=TOKEN)).chat(stream=True, agentkit={"events": True})
    nested = [each for each in answer.events if each["origin"]["path"]]
    assert {tuple(each["origin"]["path"]) for each in nested} == {("inner",)}
    assert [each["text"] for each in nested if each["event"] == "TextDelta"] == ["inside"]
    outer_id = answer.events[0]["origin"]["run_id"]
    assert {each["origin"]["run_id"] for each in nested} == {f"{outer_id}:call:c"}
    assert answer.text == "outside"


async def test_a_client_that_sees_events_can_take_text_back() -> None:
    class Again:
        async def reply(self, request: ChatRequest, emit: Emit) -> Reply:
            for each in (ReasoningDelta("hm"), TextDelta("one"), DeltasDiscarded(), TextDelta("two")):
                emit(each)
            return Reply(choices=(Choice(message=AssistantMessage("two"), finish_reason="stop"),))

    asks = Client(serve.app(Agent(Again()), token=TOKEN))
    answer = await asks.chat(stream=True, agentkit={"events": True})
    assert answer.text == "onetwo"  # and between them it reads that the first is taken back
    assert {"DeltasDiscarded", "ReasoningDelta"} <= set(names(answer.events))
    assert b"stream_interrupted" in (await asks.chat(stream=True)).body
    assert (await asks.chat(agentkit={"events": True})).message["content"] == "two"


async def test_a_run_that_fails_says_so_without_the_words_of_a_tools_exception() -> None:
    class Breaks:
        async def reply(self, request: ChatRequest, emit: Emit) -> Reply:
            emit(CallDelta(0, "c", "x", ""))
            raise RuntimeError("a secret")

    stream = Agent(Breaks()).stream("hi")
    lines = [each.decode() async for each in serve.events(stream)]
    assert json.loads(lines[-2].removeprefix("data: "))["error"]["code"] == "internal_error"
    assert lines[-1] == "data: [DONE]\n\n"
    assert "secret" not in "".join(lines)


async def test_a_page_of_ones_own_reads_a_run_and_leaving_it_cancels_the_run() -> None:
    ended = anyio.Event()

    @tool
    async def wait() -> str:
        """Wait."""
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()
        return ""

    agent = Agent(ScriptedModel([call("wait")]), tools=[wait])

    async def ask(request: Request) -> StreamingResponse:
        return StreamingResponse(serve.events(agent.stream("hi")), media_type="text/event-stream")

    app = Starlette(routes=[Route("/ask", ask), Mount("/api", serve.app(agent, token=TOKEN))])
    asks = Client(app)  # type: ignore[arg-type]
    async with asks.open("GET", "/ask") as answer:
        await answer.until("CallStarted")
    await ended.wait()


async def test_an_app_can_be_mounted_in_another_one() -> None:
    app = Starlette(routes=[Mount("/api", serve.app(Agent(ScriptedModel(["ok"])), token=TOKEN))])
    asks = Client(app)  # type: ignore[arg-type]
    body = {"model": "agent", "messages": [{"role": "user", "content": "hi"}]}
    assert (await asks.send("POST", "/api/v1/chat/completions", body)).message["content"] == "ok"
    asks.token = None
    assert (await asks.send("GET", "/api/v1/models")).status == 401
    assert (await asks.send("GET", "/api/healthz")).status == 200
