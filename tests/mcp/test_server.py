"""Tools and agents behind MCP, used by the SDK's own client and by ours."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import anyio
import httpx2
import pytest
from mcp import Client, MCPError
from mcp.server.subscriptions import ResourceUpdated
from mcp_types import CreateMessageResult, ElicitResult, ImageContent, TextContent

from agentkit import Agent, Limits, Progress, ToolContext, ToolError, tool
from agentkit.errors import DefinitionError
from agentkit.mcp import Elicit, MCPServer, MCPToolset, Sample, ask_client
from agentkit.messages import AssistantMessage, ImagePart, UserMessage
from agentkit.testing import Answer, ScriptedModel, call

pytestmark = pytest.mark.anyio
PNG = b"\x89PNG\r\n\x1a\n"
PRINTING = '''
from agentkit import tool

print("this is not part of the protocol")


@tool
def shout(word: str) -> str:
    """Shout."""
    print("and neither is this")
    return word.upper()
'''
PAID: list[int] = []
TRIED: list[int] = []
ERAS = ["auto", "legacy"]


@pytest.fixture(autouse=True)
def nothing_is_paid() -> None:
    PAID.clear()


@dataclass
class Place:
    """A place to eat."""

    name: str
    stars: int


@tool(read_only=True)
async def add(context: ToolContext[Any], a: int, b: int) -> int:
    """Add two numbers.

    Args:
        a: One.
        b: The other.
    """
    context.progress(0.5, "half of it")
    return a + b


def find(city: str) -> Place:
    """Find a place."""
    if city == "Atlantis":
        raise ToolError("there is no Atlantis")
    return Place(f"At {city}", 3)


def draw() -> list[Any]:
    """Draw."""
    return ["a picture", ImagePart.from_bytes(PNG)]


@tool(requires_approval=True)
def pay(amount: int, note: str = "") -> str:
    """Pay."""
    PAID.append(amount)
    return f"paid {amount}"


def greet(name: str, style: Literal["warm", "cold"] = "warm") -> str:
    """Ask for a greeting.

    Args:
        name: Who is greeted.
    """
    return f"Greet {name}, {style}."


def dialogue() -> list[Any]:
    """Begin a conversation."""
    return [UserMessage("Hello?"), AssistantMessage("Yes?"), "Go on."]


def agent(*script: Answer, **options: Any) -> Agent[Any, Any]:
    return Agent(ScriptedModel(script), name="helper", description="Helps.", **options)


def texts(result: Any) -> str:
    return "\n".join(each.text for each in result.content if isinstance(each, TextContent))


def person(*answers: Mapping[str, Any] | None) -> Any:
    """A callback for elicitations: accepts with these contents in turn, and declines for None."""
    given = list(answers)
    asked: list[str] = []

    async def answer(_context: Any, params: Any) -> ElicitResult:
        asked.append(params.message)
        content = given.pop(0)
        return (
            ElicitResult(action="decline") if content is None else ElicitResult(action="accept", content=dict(content))
        )

    answer.asked = asked  # type: ignore[attr-defined]
    return answer


@pytest.mark.parametrize("mode", ERAS)
async def test_tools_are_listed_and_called_with_structured_results(mode: Any) -> None:
    async with Client(MCPServer(add, find, draw, name="shop").sdk_server(), mode=mode) as client:
        listed = {each.name: each for each in (await client.list_tools()).tools}
        assert listed["add"].description == "Add two numbers."
        assert listed["add"].input_schema["properties"]["a"] == {"type": "integer", "description": "One."}
        assert listed["add"].annotations is not None
        assert listed["add"].annotations.read_only_hint is True
        assert (listed["find"].output_schema or {})["required"] == ["name", "stars"]
        assert (await client.call_tool("add", {"a": 1, "b": 2})).structured_content == {"result": 3}
        found = await client.call_tool("find", {"city": "Rome"})
        assert (found.structured_content, texts(found)) == (
            {"name": "At Rome", "stars": 3},
            '{"name":"At Rome","stars":3}',
        )
        drawn = await client.call_tool("draw", {})
        assert [type(each) for each in drawn.content] == [TextContent, ImageContent]


@pytest.mark.parametrize("mode", ERAS)
async def test_what_goes_wrong_is_an_error_of_the_tool_in_a_sentence(mode: Any) -> None:
    async with Client(MCPServer(add, find).sdk_server(), mode=mode) as client:
        wrong = await client.call_tool("add", {"a": "x"})
        assert wrong.is_error
        assert texts(wrong).startswith("invalid arguments, nothing was done:")
        gone = await client.call_tool("find", {"city": "Atlantis"})
        assert (gone.is_error, texts(gone)) == (True, "there is no Atlantis")
        with pytest.raises(MCPError, match="there is no tool 'nonesuch'"):
            await client.call_tool("nonesuch", {})


@pytest.mark.parametrize("mode", ERAS)
async def test_progress_and_events_reach_the_client(mode: Any) -> None:
    said: list[str | None] = []
    logged: list[Any] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        said.append(message)

    async def log(params: Any) -> None:
        logged.append((params.level, params.data["event"]))

    helper = agent(call("add", a=1, b=2), "It is 3.", tools=[add])
    async with Client(MCPServer(helper).sdk_server(), mode=mode, logging_callback=log) as client:
        meta: Any = {"io.modelcontextprotocol/logLevel": "info"}
        result = await client.call_tool("helper", {"prompt": "1 + 2?"}, progress_callback=note, meta=meta)
    assert texts(result) == "It is 3."
    assert said == ["calls add", "add: 50% half of it"]
    assert logged == [("info", "CallStarted"), ("info", "CallFinished")]


async def test_an_agent_with_a_type_gives_an_object() -> None:
    helper = agent('{"name": "Da Ada", "stars": 5}', output_type=Place)
    async with Client(MCPServer(helper).sdk_server()) as client:
        (listed,) = (await client.list_tools()).tools
        assert (listed.output_schema or {})["required"] == ["name", "stars"]
        result = await client.call_tool("helper", {"prompt": "Where?"})
    assert result.structured_content == {"name": "Da Ada", "stars": 5}


async def test_an_agent_keeps_to_its_limits_and_says_so() -> None:
    helper = agent(call("add", a=1, b=2), tools=[add])
    served = MCPServer(helper, limits=Limits(turns=1, on_limit="raise"))
    async with Client(served.sdk_server()) as client:
        result = await client.call_tool("helper", {"prompt": "1 + 2?"})
    assert result.is_error
    assert "the limit of 1 turn" in texts(result)


@pytest.mark.parametrize("mode", ERAS)
@pytest.mark.parametrize(
    ("answer", "paid", "said"),
    [
        ({"allow": True}, [5], "paid 5"),
        ({"allow": False, "reason": "too much"}, [], "too much"),
        ({"allow": "yes"}, [], "a person refused"),
        (None, [], "a person refused"),
    ],
)
async def test_a_person_decides_about_a_call(mode: Any, answer: Any, paid: list[int], said: str) -> None:
    asks = person(answer)
    arguments = {"amount": 5, "note": "for\u202e tea"}
    async with Client(MCPServer(pay).sdk_server(), mode=mode, elicitation_callback=asks) as client:
        result = await client.call_tool("pay", arguments)
    assert paid == PAID
    assert said in texts(result)
    assert result.is_error is not bool(paid)
    (question,) = asks.asked
    assert question.startswith("Allow pay?\n")
    assert '"amount": 5' in question
    assert "\\u202e" in question


@pytest.mark.parametrize("mode", ERAS)
async def test_a_call_of_an_agent_waits_for_a_person_too(mode: Any) -> None:
    helper = agent(call("pay", amount=7), "Done.", tools=[pay])
    async with Client(
        MCPServer(helper).sdk_server(), mode=mode, elicitation_callback=person({"allow": True})
    ) as client:
        assert texts(await client.call_tool("helper", {"prompt": "Pay 7."})) == "Done."
    assert PAID == [7]


async def test_a_client_that_can_ask_nobody_cannot_make_the_call() -> None:
    async with Client(MCPServer(pay).sdk_server(), mode="legacy") as client:
        result = await client.call_tool("pay", {"amount": 5})
    assert "pay needs a person's approval" in texts(result)
    assert PAID == []


async def test_the_state_of_a_call_is_signed_and_used_once() -> None:
    served, asks = MCPServer(pay, key=b"k" * 32), person()
    async with Client(served.sdk_server(), elicitation_callback=asks) as client:
        asked: Any = await client.session.call_tool("pay", {"amount": 5}, allow_input_required=True)
        yes: dict[str, Any] = {next(iter(asked.input_requests)): ElicitResult(action="accept", content={"allow": True})}

        async def again(state: str) -> Any:
            return await client.session.call_tool("pay", {"amount": 5}, input_responses=yes, request_state=state)

        with pytest.raises(MCPError, match="cannot be used"):
            await again(asked.request_state.replace('"amount', '"Amount'))
        assert PAID == []
    other = MCPServer(pay, key=b"k" * 32)  # another process with the same key
    async with Client(other.sdk_server(), elicitation_callback=asks) as client:
        assert texts(await again(asked.request_state)) == "paid 5"
        with pytest.raises(MCPError, match="already continued"):
            await again(asked.request_state)
    assert PAID == [5]


async def introduce() -> str:
    """Ask who is there."""
    TRIED.append(1)
    schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    answers = await ask_client(name=Elicit("Who are you?", schema), greeting=Sample("Greet somebody."))
    color = (await ask_client(color=Elicit("Which color?", {"type": "object", "properties": {}})))["color"]
    return f"{answers['greeting']} {(answers['name'] or {}).get('name')}, {color}"


@pytest.mark.parametrize("mode", ERAS)
async def test_a_function_asks_the_client_that_called_it(mode: Any) -> None:
    async def sample(_context: Any, params: Any) -> Any:
        assert params.messages[0].content.text == "Greet somebody."
        return CreateMessageResult(role="assistant", content=TextContent(text="Hi"), model="m")

    TRIED.clear()
    samples: Any = sample
    asks = person({"name": "Ada"}, None, {"name": "Bo"}, {})
    server = MCPServer(introduce, prompts=[introduce], resources={"who://is/there": introduce}).sdk_server()
    async with Client(server, mode=mode, elicitation_callback=asks, sampling_callback=samples) as client:
        assert texts(await client.call_tool("introduce", {})) == "Hi Ada, None"
        assert asks.asked == ["Who are you?", "Which color?"]
        assert len(TRIED) == (1 if mode == "legacy" else 3)
        (message,) = (await client.get_prompt("introduce")).messages
        assert message.content == TextContent(text="Hi Bo, {}")
    async with Client(server, mode=mode, elicitation_callback=person({"name": "Cy"}, None)) as client:
        (read,) = (await client.read_resource("who://is/there")).contents
        assert getattr(read, "text", "") == "None Cy, None"


@pytest.mark.parametrize("mode", ERAS)
async def test_a_client_that_can_answer_nothing_is_told_so(mode: Any) -> None:
    async with Client(MCPServer(introduce).sdk_server(), mode=mode) as client:
        if mode == "legacy":
            assert "it has no elicitation or sampling" in texts(await client.call_tool("introduce", {}))
        else:
            with pytest.raises(MCPError, match="the client has no elicitation or sampling"):
                await client.call_tool("introduce", {})
    with pytest.raises(ToolError, match="nobody to ask"):
        await introduce()


async def test_a_call_that_was_approved_asks_and_goes_on_without_a_second_approval() -> None:
    @tool(requires_approval=True)
    async def order() -> str:
        """Order."""
        return str((await ask_client(what=Elicit("What?", {"type": "object", "properties": {}})))["what"])

    asks = person({"allow": True}, {"tea": 2})
    async with Client(MCPServer(order).sdk_server(), elicitation_callback=asks) as client:
        assert texts(await client.call_tool("order", {})) == "{'tea': 2}"
    assert [each.split("\n")[0] for each in asks.asked] == ["Allow order?", "What?"]


async def test_the_state_of_one_tool_continues_no_other() -> None:
    @tool(requires_approval=True)
    def other() -> str:
        """Do something else."""
        return "done"

    async with Client(MCPServer(pay, other).sdk_server(), elicitation_callback=person()) as client:
        asked: Any = await client.session.call_tool("pay", {"amount": 5}, allow_input_required=True)
        with pytest.raises(MCPError, match="it is that of 'tools/call pay'"):
            await client.session.call_tool("other", {}, request_state=asked.request_state)


async def test_a_result_that_is_not_of_its_type_is_an_error() -> None:
    def count() -> int:
        """Count."""
        return None  # type: ignore[return-value]

    def place() -> Place:
        """Find."""
        return {"name": "Da Ada", "stars": 3}  # type: ignore[return-value]

    async with Client(MCPServer(count, place).sdk_server()) as client:
        counted = await client.call_tool("count", {})
        assert (counted.is_error, texts(counted)) == (
            True,
            "it ran, but its result is not of its type: Input should be a valid integer",
        )
        assert (await client.call_tool("place", {})).structured_content == {"name": "Da Ada", "stars": 3}


@pytest.mark.filterwarnings("ignore:resources/(un)?subscribe is removed")
async def test_clients_that_watch_a_resource_hear_of_its_changes() -> None:
    served = MCPServer(resources={"notes://week": "Monday"})
    heard: list[str] = []
    arrived = anyio.Event()

    async def note(message: Any) -> None:
        if (uri := getattr(getattr(message, "params", None), "uri", None)) is not None:
            heard.append(str(uri))
            arrived.set()

    async with Client(served.sdk_server(), mode="legacy", message_handler=note) as client:
        await client.subscribe_resource("notes://week")
        await served.updated("notes://other")
        await served.updated("notes://week")
        with anyio.fail_after(5):
            await arrived.wait()
        await client.unsubscribe_resource("notes://week")
        await served.updated("notes://week")
    assert heard == ["notes://week"]
    async with (
        Client(served.sdk_server()) as client,
        client.listen(resource_subscriptions=["notes://week"]) as events,
    ):
        await served.updated("notes://other")
        await served.updated("notes://week")
        with anyio.fail_after(5):
            assert await anext(aiter(events)) == ResourceUpdated(uri="notes://week")


async def test_prompts_are_described_by_docstrings_and_complete_their_choices() -> None:
    async with Client(MCPServer(prompts=[greet, dialogue]).sdk_server()) as client:
        listed = (await client.list_prompts()).prompts
        assert [(each.name, each.description) for each in listed] == [
            ("greet", "Ask for a greeting."),
            ("dialogue", "Begin a conversation."),
        ]
        assert [(each.name, each.required) for each in listed[0].arguments or ()] == [("name", True), ("style", False)]
        (message,) = (await client.get_prompt("greet", {"name": "Bo", "style": "cold"})).messages
        assert message.content == TextContent(text="Greet Bo, cold.")
        roles = [each.role for each in (await client.get_prompt("dialogue")).messages]
        assert roles == ["user", "assistant", "user"]
        reference: Any = {"type": "ref/prompt", "name": "greet"}
        completed = await client.complete(reference, {"name": "style", "value": "C"})
        assert completed.completion.values == ["cold"]
        with pytest.raises(MCPError, match="name: missing"):
            await client.get_prompt("greet", {})


async def test_resources_are_strings_bytes_and_functions_of_their_address() -> None:
    def user(name: str) -> str:
        """Read about a user."""
        return f"{name} is here"

    resources: dict[str, Any] = {"notes://week": "Monday", "notes://icon": PNG, "users://{name}/about": user}
    async with Client(MCPServer(resources=resources).sdk_server()) as client:
        assert [each.uri for each in (await client.list_resources()).resources] == ["notes://week", "notes://icon"]
        (template,) = (await client.list_resource_templates()).resource_templates
        assert (template.uri_template, template.description) == ("users://{name}/about", "Read about a user.")
        read = [(await client.read_resource(each)).contents[0] for each in ("notes://week", "users://ada/about")]
        assert [getattr(each, "text", "") for each in read] == ["Monday", "ada is here"]
        with pytest.raises(MCPError, match="there is no resource"):
            await client.read_resource("users://ada/secret/about")


async def test_our_own_client_uses_it_and_its_progress_arrives() -> None:
    seen: list[str] = []
    outer = Agent(ScriptedModel([call("add", a=1, b=2), "3"]), tools=[MCPToolset(MCPServer(add).sdk_server())])
    result = await outer.run("?", on_event=lambda e: seen.append(e.message) if isinstance(e, Progress) else None)
    assert [each.text for each in result.messages if each.role == "tool"] == ["3"]
    assert "add: 50% half of it" in seen


async def test_a_cancelled_call_ends_its_run() -> None:
    started, ended = anyio.Event(), anyio.Event()

    @tool(timeout=None)
    async def hang() -> None:
        """Hang."""
        started.set()
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()

    async with Client(MCPServer(hang).sdk_server()) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(client.call_tool, "hang", {})
        await started.wait()
        tasks.cancel_scope.cancel()
    with anyio.fail_after(5):
        await ended.wait()


def test_two_offers_of_one_name_are_refused() -> None:
    with pytest.raises(DefinitionError, match="have the same name, 'add'"):
        MCPServer(add, Agent(ScriptedModel([]), name="add", description="Adds."))


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # of the client; the server is a process
async def test_it_serves_standard_input_and_output(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(PRINTING)
    environment = {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    command = [sys.executable, "-m", "agentkit", "mcp", "serve", str(tmp_path / "mine.py")]
    outer = Agent(ScriptedModel([call("shout", word="tea"), "TEA"]), tools=[MCPToolset(command, env=environment)])
    result = await outer.run("?")
    assert [each.text for each in result.messages if each.role == "tool"] == ["TEA"]


async def test_over_http_it_wants_its_token_and_a_host_that_is_its_own() -> None:
    app = MCPServer(add).app(token="a-token")
    transport = httpx2.ASGITransport(app=app)
    body = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    accept = {"accept": "application/json, text/event-stream"}
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        assert (await client.post("/mcp", json=body, headers=accept)).status_code == 401
        wrong = {**accept, "authorization": "Bearer other"}
        assert (await client.post("/mcp", json=body, headers=wrong)).status_code == 401
