"""Runs that wait for a person: they say so, and a decision resumes them."""

from pathlib import Path
from typing import Any

import pytest

from agentkit import Agent, serve, tool
from agentkit.errors import Overloaded
from agentkit.sessions import MemorySessions, SQLiteSessions
from agentkit.testing import Answer, ScriptedModel, call
from tests.serve.asgi import TOKEN, USER, Client

pytestmark = pytest.mark.anyio

RAN: list[tuple[str, int]] = []


@tool(requires_approval=True)
def throw_away(item: str, boxes: int) -> str:
    """Throw boxes away."""
    RAN.append((item, boxes))
    return f"threw {boxes} away"


@pytest.fixture(autouse=True)
def nothing_ran() -> None:
    RAN.clear()


def client(*script: Answer, **options: Any) -> Client:
    return Client(serve.app(Agent(ScriptedModel(script), tools=[throw_away], name="agent"), token=TOKEN, **options))


THROW = call("throw_away", id="t", item="cake", boxes=2)


async def decide(of: Client, run_id: str, *decisions: Any, **more: Any) -> Any:
    return await of.send("POST", f"/v1/runs/{run_id}/decisions", {"decisions": list(decisions), **more})


@pytest.mark.parametrize("stream", [False, True])
async def test_a_run_that_waits_says_so_to_programs_and_to_people(stream: bool) -> None:
    answer = await client(THROW).chat(stream=stream)
    last = answer.chunks[-1] if stream else answer.json
    told = last["agentkit"]
    assert (told["status"], last["choices"][0]["finish_reason"]) == ("paused", "stop")
    assert told["pending"] == [
        {
            "id": "t",
            "name": "throw_away",
            "arguments": {"item": "cake", "boxes": 2},
            "reason": "the tool throw_away requires approval of every call",
            "path": [],
        }
    ]
    text = answer.text if stream else answer.message["content"]
    assert text.startswith('This waits for a decision:\n- throw_away {"item":"cake","boxes":2}')


async def test_a_decision_resumes_the_run() -> None:
    asks = client(THROW, "Gone.")
    run_id = (await asks.chat()).json["agentkit"]["run_id"]
    known = (await asks.send("GET", f"/v1/runs/{run_id}")).json
    assert (known["object"], known["status"], known["pending"][0]["id"]) == ("agentkit.run", "paused", "t")
    done = await decide(asks, run_id, {"id": "t", "approve": True})
    assert (done.message["content"], RAN) == ("Gone.", [("cake", 2)])
    assert (await decide(asks, run_id, {"id": "t", "approve": True})).status == 404
    assert (await asks.send("GET", f"/v1/runs/{run_id}")).status == 404


async def test_a_decision_can_change_refuse_or_answer() -> None:
    asks = client(
        [THROW, call("throw_away", id="u", item="tea", boxes=1), call("throw_away", id="v", item="x", boxes=1)], "ok"
    )
    run_id = (await asks.chat()).json["agentkit"]["run_id"]
    some = await decide(asks, run_id, {"id": "t", "approve": True, "arguments": {"item": "cake", "boxes": 1}})
    assert [each["id"] for each in some.json["agentkit"]["pending"]] == ["u", "v"]
    done = await decide(
        asks,
        run_id,
        {"id": "u", "approve": False, "reason": "It is fresh."},
        {"id": "v", "answer": "I did it."},
        stream=True,
        stream_options={"include_usage": True},
        agentkit={"events": True},
    )
    assert (done.text, RAN) == ("ok", [("cake", 1)])
    assert {"CallDenied", "RunFinished"} <= {each["event"] for each in done.events}
    model: Any = asks.app.backends["agent"]
    texts = [each.text for each in model.agent.model.requests[1].messages if each.role == "tool"]
    assert texts[1:] == ["Error: not run: a person refused this call: It is fresh.", "I did it."]


@pytest.mark.parametrize(
    ("decision", "param"),
    [
        ({"id": "other", "approve": True}, "decisions[0]"),
        ({"id": "t"}, "decisions[0]"),
        ({"id": "t", "approve": True, "answer": "x"}, "decisions[0]"),
        ({"id": "t", "approve": True, "always": "maybe"}, "decisions[0].always"),
        ({"id": "t", "approve": True, "by": "me"}, "decisions[0].by"),
        ({"id": "t", "approve": True, "always": "tool", "arguments": {}}, "decisions[0]"),
    ],
    ids=str,
)
async def test_a_decision_that_does_not_fit_changes_nothing(decision: Any, param: str) -> None:
    asks = client(THROW, "Gone.")
    run_id = (await asks.chat()).json["agentkit"]["run_id"]
    refused = await decide(asks, run_id, decision)
    assert (refused.status, refused.error["param"]) == (400, param)
    assert (await decide(asks, run_id, {"id": "t", "approve": True})).message["content"] == "Gone."


async def test_a_run_whose_model_failed_after_the_decision_goes_on_without_doing_anything_twice() -> None:
    asks = client(THROW, Overloaded("down", status=503), "Gone.")
    run_id = (await asks.chat()).json["agentkit"]["run_id"]
    assert (await decide(asks, run_id, {"id": "t", "approve": True})).status == 503
    assert (await decide(asks, run_id, {"id": "t", "approve": True})).message["content"] == "Gone."
    assert RAN == [("cake", 2)]


async def test_calls_of_a_client_and_of_a_person_are_waited_for_together() -> None:
    clock = {"type": "function", "function": {"name": "clock"}}
    asks = client([THROW, call("clock", id="c")], "Done at noon.")
    answer = await asks.chat(tools=[clock])
    assert [each["id"] for each in answer.json["agentkit"]["pending"]] == ["t"]
    (made,) = answer.message["tool_calls"]
    told = {"role": "tool", "tool_call_id": made["id"], "content": "noon"}
    still = await asks.chat(USER, answer.message, told, tools=[clock])
    assert still.json["agentkit"]["status"] == "paused"
    done = await decide(asks, still.json["agentkit"]["run_id"], {"id": "t", "approve": True})
    assert done.message["content"] == "Done at noon."


async def test_a_call_inside_an_agent_that_is_a_tool_waits_too() -> None:
    inner = Agent(ScriptedModel([THROW, "inner done"]), tools=[throw_away], name="cleaner", description="Cleans.")
    outer = Agent(ScriptedModel([call("cleaner", id="c", prompt="clean"), "All clean."]), tools=[inner.as_tool()])
    asks = Client(serve.app(outer, token=TOKEN))
    told = (await asks.chat()).json["agentkit"]
    assert [(each["id"], each["path"]) for each in told["pending"]] == [("c/t", ["cleaner"])]
    done = await decide(asks, told["run_id"], {"id": "c/t", "approve": True}, agentkit={"events": True})
    assert (done.message["content"], RAN) == ("All clean.", [("cake", 2)])
    nested = {each["origin"]["run_id"] for each in done.json["agentkit"]["events"] if each["origin"]["path"]}
    assert nested == {f"{told['run_id']}:call:c"}


async def test_a_run_waits_across_a_restart(tmp_path: Path) -> None:
    before = client(THROW, store=serve.FileStore(tmp_path / "runs.db"))
    run_id = (await before.chat()).json["agentkit"]["run_id"]
    after = client("Gone.", store=serve.FileStore(tmp_path / "runs.db"))
    assert (await decide(after, run_id, {"id": "t", "approve": True})).message["content"] == "Gone."


async def test_a_session_continues_on_the_server_and_can_be_read(tmp_path: Path) -> None:
    asks = client("Hello Ada.", "You are Ada.", sessions=SQLiteSessions(tmp_path / "chat.db"))
    await asks.chat({"role": "user", "content": "I am Ada."}, agentkit={"session": "ada"})
    second = await asks.chat({"role": "user", "content": "Who am I?"}, headers={"x-agentkit-session": "ada"})
    assert second.message["content"] == "You are Ada."
    listed = (await asks.send("GET", "/v1/sessions")).json["data"]
    assert [(each["id"], each["messages"], each["status"]) for each in listed] == [("ada", 4, "done")]
    read = (await asks.send("GET", "/v1/sessions/ada")).json
    assert [each["content"] for each in read["messages"]] == ["I am Ada.", "Hello Ada.", "Who am I?", "You are Ada."]


async def test_of_a_whole_conversation_a_session_takes_what_is_new() -> None:
    asks = client("Hello Ada.", "You are Ada.", sessions=MemorySessions())
    system, first = {"role": "system", "content": "Be brief."}, {"role": "user", "content": "I am Ada."}
    answer = await asks.chat(system, first, metadata={"session": "ada"})
    await asks.chat(
        system, first, answer.message, {"role": "user", "content": "Who am I?"}, metadata={"session": "ada"}
    )
    model: Any = asks.app.backends["agent"]
    sent = [each.text for each in model.agent.model.requests[1].messages]
    assert sent == ["Be brief.", "I am Ada.", "Hello Ada.", "Who am I?"]
    assert model.agent.model.requests[1].settings.metadata is None


async def test_a_session_is_branched_and_deleted() -> None:
    asks = client("one", "two", sessions=MemorySessions())
    await asks.chat(agentkit={"session": "ada"})
    made = await asks.send("POST", "/v1/sessions/ada/branch", {"name": "eve", "messages": 1})
    assert made.json == {"id": "eve", "object": "agentkit.session"}
    assert [each["content"] for each in (await asks.send("GET", "/v1/sessions/eve")).json["messages"]] == ["hi"]
    assert (await asks.send("POST", "/v1/sessions/ada/branch", {"name": "eve"})).status == 409
    assert (await asks.send("DELETE", "/v1/sessions/ada")).json["deleted"] is True
    assert (await asks.send("GET", "/v1/sessions/ada")).status == 404


async def test_a_run_of_a_session_waits_in_it() -> None:
    asks = client(THROW, "Gone.", sessions=MemorySessions())
    told = (await asks.chat(agentkit={"session": "ada"})).json["agentkit"]
    read = (await asks.send("GET", "/v1/sessions/ada")).json
    assert (read["run_id"], read["pending"][0]["id"]) == (told["run_id"], "t")
    waiting = await asks.chat(agentkit={"session": "ada"})
    assert (waiting.status, waiting.error["code"]) == (409, "run_waiting")
    assert (await decide(asks, told["run_id"], {"id": "t", "approve": True})).message["content"] == "Gone."
    assert (await asks.send("GET", "/v1/sessions/ada")).json["status"] == "done"


async def test_a_clients_tools_work_in_a_session() -> None:
    clock = {"type": "function", "function": {"name": "clock"}}
    asks = client(call("clock"), "It is noon.", sessions=MemorySessions())
    answer = await asks.chat(tools=[clock], agentkit={"session": "ada"})
    told = {"role": "tool", "tool_call_id": answer.message["tool_calls"][0]["id"], "content": "noon"}
    done = await asks.chat(USER, answer.message, told, tools=[clock], agentkit={"session": "ada"})
    assert done.message["content"] == "It is noon."


async def test_what_sessions_cannot_do_is_refused() -> None:
    asks = client("x", sessions=MemorySessions())
    two = await asks.chat(agentkit={"session": "ada"}, headers={"x-agentkit-session": "eve"})
    assert two.error["param"] == "agentkit.session"
    assert (await asks.chat(n=2, agentkit={"session": "ada"})).error["param"] == "n"
    only = await asks.chat({"role": "system", "content": "x"}, agentkit={"session": "ada"})
    assert only.error["param"] == "messages"
    assert (await client("x").send("GET", "/v1/sessions")).json["data"] == []
    assert (await client("x").send("GET", "/v1/sessions/ada")).error["code"] == "no_sessions"


async def test_a_run_of_a_session_that_failed_after_the_decision_goes_on() -> None:
    asks = client(THROW, Overloaded("down", status=503), "Gone.", sessions=MemorySessions())
    told = (await asks.chat(agentkit={"session": "ada"})).json["agentkit"]
    assert (await decide(asks, told["run_id"], {"id": "t", "approve": True})).status == 503
    assert (await decide(asks, told["run_id"], {"id": "t", "approve": True})).message["content"] == "Gone."
    assert RAN == [("cake", 2)]


async def test_a_decision_names_no_session() -> None:
    asks = client(THROW, "Gone.")
    run_id = (await asks.chat()).json["agentkit"]["run_id"]
    refused = await decide(asks, run_id, {"id": "t", "approve": True}, agentkit={"session": "ada"})
    assert (refused.status, refused.error["param"]) == (400, "agentkit.session")
    assert (await decide(asks, run_id, {"id": "t", "approve": True})).message["content"] == "Gone."
