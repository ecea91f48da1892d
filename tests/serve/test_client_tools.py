"""Tools of a request belong to the client: their calls come back to it, and its results continue the run."""

from pathlib import Path
from typing import Any

import pytest

from agentkit import Agent, ChatSettings, ImagePart, Limits, ToolResult, serve, tool
from agentkit.chat import AllowedTools, NamedTool
from agentkit.errors import Overloaded
from agentkit.messages import AssistantMessage
from agentkit.testing import Answer, ScriptedModel, call
from tests.serve.asgi import TOKEN, USER, Client
from tests.serve.asgi import Answer as Response

pytestmark = pytest.mark.anyio

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tell the weather.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
CLOCK = {"type": "function", "function": {"name": "clock"}}


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def client(*script: Answer, store: serve.Store | None = None, **options: Any) -> Client:
    return Client(serve.app(Agent(ScriptedModel(script), **options), token=TOKEN, store=store))


def requests(of: Client) -> list[Any]:
    return of.app.backends["agent"].agent.model.requests  # type: ignore[attr-defined,no-any-return]


def results(answer: Response, *texts: str) -> list[dict[str, Any]]:
    """The messages that a client adds to its conversation: the answer, and the results of its calls."""
    calls = answer.message["tool_calls"]
    told = [
        {"role": "tool", "tool_call_id": each["id"], "content": text} for each, text in zip(calls, texts, strict=True)
    ]
    return [answer.message, *told]


async def test_a_call_of_a_clients_tool_comes_back_and_its_result_continues_the_run() -> None:
    asks = client(call("weather", city="Paris"), "It is sunny.")
    answer = await asks.chat(tools=[WEATHER])
    (choice,) = answer.json["choices"]
    assert (choice["finish_reason"], choice["message"]["content"]) == ("tool_calls", None)
    (made,) = choice["message"]["tool_calls"]
    assert (made["type"], made["function"]) == ("function", {"name": "weather", "arguments": '{"city": "Paris"}'})
    done = await asks.chat(USER, *results(answer, "sunny"), tools=[WEATHER])
    assert done.message["content"] == "It is sunny."
    assert [each.role for each in requests(asks)[1].messages] == ["user", "assistant", "tool"]
    assert requests(asks)[0].tools[0].to_wire()["function"] == WEATHER["function"]


async def test_a_stream_has_each_call_whole_with_its_index() -> None:
    asks = client([call("weather", city="Paris"), call("clock")])
    answer = await asks.chat(tools=[WEATHER, CLOCK], stream=True)
    deltas = [delta for each in answer.chunks for delta in each["choices"][0]["delta"].get("tool_calls", ())]
    assert [(each["index"], each["function"]["name"]) for each in deltas] == [(0, "weather"), (1, "clock")]
    assert len({each["id"] for each in deltas}) == 2
    assert answer.chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


async def test_tools_of_both_sides_in_one_turn_each_run_where_they_belong() -> None:
    both = AssistantMessage("A moment.", (call("add", id="a", a=1, b=2), call("weather", id="b", city="Paris")))
    asks = client(both, "3, and sunny.", tools=[add])
    answer = await asks.chat(tools=[WEATHER])
    assert [each["function"]["name"] for each in answer.message["tool_calls"]] == ["weather"]
    assert answer.message["content"] == "A moment."
    done = await asks.chat(USER, *results(answer, "sunny"), tools=[WEATHER])
    assert done.message["content"] == "3, and sunny."
    sent = [each.to_wire() for each in requests(asks)[1].messages]
    assert [each["content"] for each in sent[2:]] == ["3", "sunny"]  # of both tools: nothing ran twice


async def test_files_of_a_servers_tool_reach_the_model_after_the_clients_result() -> None:
    @tool
    def photo() -> ToolResult:
        """Take a photo."""
        return ToolResult("taken", files=[ImagePart("https://e.com/a.png")])

    asks = client([call("photo"), call("clock")], "A cat.", tools=[photo])
    answer = await asks.chat(tools=[CLOCK])
    assert (await asks.chat(USER, *results(answer, "noon"), tools=[CLOCK])).message["content"] == "A cat."
    assert "image_url" in str(requests(asks)[1].messages[-1].to_wire())


async def test_a_run_continues_after_a_restart_of_the_server(tmp_path: Path) -> None:
    both = [call("add", id="a", a=1, b=2), call("weather", id="b", city="Paris")]
    before = client(both, tools=[add], store=serve.FileStore(tmp_path / "runs.db"))
    answer = await before.chat(tools=[WEATHER])
    after = client("3, and sunny.", tools=[add], store=serve.FileStore(tmp_path / "runs.db"))
    assert (await after.chat(USER, *results(answer, "sunny"), tools=[WEATHER])).message["content"] == "3, and sunny."
    assert [each.text for each in requests(after)[0].messages if each.role == "tool"] == ["3", "sunny"]


async def test_a_server_that_knows_nothing_of_the_run_answers_from_the_messages_alone() -> None:
    answer = await client([call("add", id="a", a=1, b=2), call("clock", id="b")], tools=[add]).chat(tools=[CLOCK])
    after = client("It is noon.", tools=[add])
    assert (await after.chat(USER, *results(answer, "noon"), tools=[CLOCK])).message["content"] == "It is noon."
    sent = requests(after)[0].messages
    assert [each.role for each in sent] == ["user", "assistant", "tool"]
    assert len(sent[1].tool_calls) == 1


async def test_the_messages_before_the_run_are_those_that_the_client_sends_now() -> None:
    asks = client([call("add", id="a", a=1, b=2), call("clock", id="b")], "ok", tools=[add])
    answer = await asks.chat({"role": "system", "content": "It is Monday."}, USER, tools=[CLOCK])
    await asks.chat({"role": "system", "content": "It is Tuesday."}, USER, *results(answer, "noon"), tools=[CLOCK])
    sent = [each.text for each in requests(asks)[1].messages]
    assert sent == ["It is Tuesday.", "hi", "", "3", "noon"]


async def test_a_run_can_wait_for_its_client_again_and_again() -> None:
    script: list[Answer] = [
        call("clock"),
        [call("add", id="x", a=1, b=1), call("clock", id="y")],
        call("clock"),
        "done",
    ]
    asks = client(*script, tools=[add], limits=Limits(turns=1))  # each request has the limits anew
    messages: list[Any] = [USER]
    seen: set[str] = set()
    for _ in range(3):
        answer = await asks.chat(*messages, tools=[CLOCK])
        messages += results(answer, "noon")
        seen.add(answer.message["tool_calls"][0]["id"])
    assert (await asks.chat(*messages, tools=[CLOCK])).message["content"] == "done"
    assert len(seen) == 3
    assert [each.text for each in requests(asks)[3].messages if each.role == "tool"] == ["noon", "2", "noon", "noon"]


async def test_a_message_of_the_user_may_follow_the_results() -> None:
    asks = client(call("clock"), "ok")
    answer = await asks.chat(tools=[CLOCK])
    await asks.chat(USER, *results(answer, "noon"), {"role": "user", "content": "And be quick."}, tools=[CLOCK])
    assert [each.text for each in requests(asks)[1].messages][-2:] == ["noon", "And be quick."]


async def test_one_of_two_requests_that_continue_a_run_gets_it() -> None:
    asks = client(call("clock"), "first", "second")
    answer = await asks.chat(tools=[CLOCK])
    messages = [USER, *results(answer, "noon")]
    first, second = await asks.chat(*messages, tools=[CLOCK]), await asks.chat(*messages, tools=[CLOCK])
    assert [first.message["content"], second.message["content"]] == ["first", "second"]


async def test_a_run_that_failed_continues_where_it_stopped_when_the_request_is_sent_again() -> None:
    ran: list[int] = []

    @tool
    def pay(amount: int) -> str:
        """Pay."""
        ran.append(amount)
        return "paid"

    down = Overloaded("down", status=503)
    asks = client(call("clock"), call("pay", amount=10), down, "Paid.", tools=[pay])
    answer = await asks.chat(tools=[CLOCK])
    messages = [USER, *results(answer, "noon")]
    failed = await asks.chat(*messages, tools=[CLOCK])
    assert (failed.status, failed.error["code"]) == (503, "upstream_overloaded")
    assert (await asks.chat(*messages, tools=[CLOCK])).message["content"] == "Paid."
    assert ran == [10]


async def test_a_run_belongs_to_the_token_that_started_it() -> None:
    agent = Agent(ScriptedModel([[call("add", id="a", a=1, b=2), call("clock", id="b")], "ok"]), tools=[add])
    app = serve.app(agent, token=["token-of-ann", "token-of-bob"])
    answer = await Client(app, token="token-of-ann").chat(tools=[CLOCK])
    await Client(app, token="token-of-bob").chat(USER, *results(answer, "noon"), tools=[CLOCK])
    assert [each.text for each in agent.model.requests[1].messages if each.role == "tool"] == ["noon"]  # type: ignore[attr-defined]


async def test_results_alone_are_enough_as_the_tools_of_the_run_are_known() -> None:
    asks = client(call("clock"), call("clock"))
    answer = await asks.chat(tools=[CLOCK])
    again = await asks.chat(USER, *results(answer, "noon"))
    assert again.json["choices"][0]["finish_reason"] == "tool_calls"


async def test_a_custom_tool_of_the_client_gets_its_string() -> None:
    sql = {"type": "custom", "custom": {"name": "sql", "format": {"type": "text"}}}
    asks = client(AssistantMessage(None, (call("sql").custom("1", "sql", "select 1"),)), "1 row")
    answer = await asks.chat(tools=[sql])
    (made,) = answer.message["tool_calls"]
    assert made["custom"] == {"name": "sql", "input": "select 1"}
    assert (await asks.chat(USER, *results(answer, "1"), tools=[sql])).message["content"] == "1 row"


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("required", AllowedTools(["weather", "clock"], "required")),
        ({"type": "function", "function": {"name": "clock"}}, NamedTool("clock")),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "clock"}}]},
            },
            AllowedTools([NamedTool("clock")]),
        ),
    ],
    ids=["required", "named", "allowed"],
)
async def test_a_tool_choice_is_about_the_clients_tools_and_holds_for_each_request(choice: Any, sent: Any) -> None:
    asks = client(call("clock"), call("clock"), tools=[add], settings=ChatSettings(temperature=1))
    answer = await asks.chat(tools=[WEATHER, CLOCK], tool_choice=choice)
    await asks.chat(USER, *results(answer, "noon"), tools=[WEATHER, CLOCK], tool_choice=choice)
    assert [each.settings.tool_choice for each in requests(asks)] == [sent, sent]
    missing = {"type": "function", "function": {"name": "add"}}
    refused = await asks.chat(tools=[CLOCK], tool_choice=missing)
    assert refused.error["param"] == "tool_choice"


async def test_no_tool_choice_hides_the_clients_tools_and_leaves_the_agent_its_own() -> None:
    asks = client("ok", tools=[add])
    await asks.chat(tools=[CLOCK], tool_choice="none")
    assert [each.name for each in requests(asks)[0].tools] == ["add"]


async def test_a_tool_of_the_client_cannot_take_the_name_of_another_tool() -> None:
    asks = client("not asked", tools=[add])
    taken = {"type": "function", "function": {"name": "add"}}
    assert (await asks.chat(tools=[taken])).error["param"] == "tools[0].function.name"
    assert (await asks.chat(tools=[CLOCK, CLOCK])).error["param"] == "tools[1].function.name"


async def test_malformed_arguments_are_corrected_by_the_model_and_do_not_reach_the_client() -> None:
    broken = call("clock", id="x")
    broken = type(broken)("x", "clock", "{}", malformed='{"zone": ')
    asks = client(AssistantMessage(None, (broken,)), call("clock", zone="UTC"))
    answer = await asks.chat(tools=[CLOCK])
    assert answer.message["tool_calls"][0]["function"]["arguments"] == '{"zone": "UTC"}'


async def test_a_request_that_does_not_continue_a_run_leaves_it_waiting() -> None:
    both: list[Answer] = [call("add", id="a", a=1, b=2), call("clock", id="b")]
    asks = client(both, "of the messages alone", "3, at noon.", tools=[add])  # type: ignore[arg-type]
    answer = await asks.chat(tools=[CLOCK])
    messages = [USER, *results(answer, "noon")]
    refused = await asks.chat(*messages, tools=[CLOCK], n=2)
    assert (refused.status, refused.error["param"]) == (400, "n")
    wrong = await asks.chat(*messages, tools=[CLOCK], temperature=9)
    assert wrong.status == 400
    stale = messages[2]["tool_call_id"].replace("_1_", "_7_")  # of a turn that never was
    renamed = [USER, {**answer.message, "tool_calls": [{**answer.message["tool_calls"][0], "id": stale}]}]
    alone = await asks.chat(*renamed, {**messages[2], "tool_call_id": stale}, tools=[CLOCK])
    assert alone.message["content"] == "of the messages alone"
    assert (await asks.chat(*messages, tools=[CLOCK])).message["content"] == "3, at noon."
