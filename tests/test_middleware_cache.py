from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import anyio
import pytest

from agentkit import Agent, AssistantMessage, ChatClient, ChatSettings, Limits, Reply, TextDelta, tool
from agentkit.chat import ChatRequest
from agentkit.chat.events import CallDelta, ReasoningDelta
from agentkit.chat.reply import Choice, Logprobs, Usage
from agentkit.errors import ConfigError, Overloaded
from agentkit.middleware import Cache, MemoryStore
from agentkit.testing import Answer, FunctionModel, ScriptedModel, Server, call

pytestmark = pytest.mark.anyio


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


class Named(ScriptedModel):
    """A model that can be told apart by its repr."""

    def __init__(self, name: str, script: Sequence[Answer]) -> None:
        super().__init__(script)
        self.name = name

    def __repr__(self) -> str:
        return self.name


def reply(message: AssistantMessage, **members: object) -> Reply:
    choice = replace(Choice(message=message, finish_reason="stop"), **members)  # type: ignore[arg-type]  # any member
    return Reply(choices=(choice,), usage=Usage(requests=1, prompt_tokens=5, completion_tokens=5, total_tokens=10))


async def test_the_same_request_is_answered_without_asking_and_takes_no_tokens() -> None:
    message = AssistantMessage("Hi.", reasoning="Greet.", name="bot")
    model = Named("m", [replace(reply(message), id="r1", model="m-1", extra={"x": [1]})])
    agent = Agent(model, middleware=[Cache()])
    first, second = await agent.run("Hello"), await agent.run("Hello")
    assert first.messages == second.messages
    assert (first.usage.requests, first.usage.total_tokens) == (1, 10)
    assert second.usage == Usage()


async def test_a_kept_reply_is_shown_like_a_new_one() -> None:
    calls = replace(AssistantMessage("Let me see.", reasoning="Add."), tool_calls=(call("add", id="a", a=1, b=2),))
    agent = Agent(Named("m", [reply(calls), "3"]), tools=[add], middleware=[Cache()])
    assert (await agent.run("1 + 2?")).output == "3"
    async with agent.stream("1 + 2?") as events:
        told = [event async for event in events if isinstance(event, TextDelta | ReasoningDelta | CallDelta)]
        assert (await events.result()).output == "3"
    assert told == [
        ReasoningDelta("Add."),
        TextDelta("Let me see."),
        CallDelta(0, "a", "add", '{"a": 1, "b": 2}'),
        TextDelta("3"),
    ]


async def test_another_question_setting_header_tool_or_model_is_another_request() -> None:
    cache = Cache()
    model = Named("m", [str(number) for number in range(5)])
    agents: list[Agent] = [
        Agent(model, middleware=[cache]),
        Agent(model, middleware=[cache], settings=ChatSettings(temperature=0.5)),
        Agent(model, middleware=[cache], settings=ChatSettings(extra_headers={"x-beta": "1"})),
        Agent(model, middleware=[cache], tools=[add]),
        Agent(Named("n", ["4"]), middleware=[cache]),
    ]
    assert [(await agent.run("go")).output for agent in agents] == ["0", "1", "2", "3", "4"]
    assert (await agents[0].run("other")).output == "4"
    assert [(await agent.run("go")).output for agent in agents] == ["0", "1", "2", "3", "4"]


async def test_models_without_a_repr_are_told_apart_in_memory() -> None:
    cache = Cache()
    agents = [Agent(ScriptedModel([name]), middleware=[cache]) for name in "xy"]
    assert [(await agent.run("go")).output for agent in agents * 2] == ["x", "y", "x", "y"]


async def test_a_model_that_cannot_be_told_apart_elsewhere_must_be_named() -> None:
    class Table(dict[str, bytes]):
        async def get(self, key: str) -> bytes | None:  # type: ignore[override]
            return dict.get(self, key)

        async def set(self, key: str, value: bytes) -> None:
            self[key] = value

    table = Table()
    with pytest.raises(
        ConfigError, match=r"Cache cannot tell one ScriptedModel from another: write Cache\(model=\.\.\.\)"
    ):
        await Agent(ScriptedModel(["x"]), middleware=[Cache(table)]).run("go")
    agent = Agent(ScriptedModel(["x"]), middleware=[Cache(table, model="m")])
    assert [(await agent.run("go")).output for _ in range(2)] == ["x", "x"]
    assert len(table) == 1  # a store that is empty at first is used all the same


@pytest.mark.parametrize("wrong", [{"store": 5}, {"store": "openai:x"}, {"store": {}}, {"model": 5}])
def test_what_is_not_a_store_or_a_name_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"Cache\(.*(has the async methods get and set|must be a string)"):
        Cache(**wrong)


@pytest.mark.parametrize(
    "first",
    [
        reply(AssistantMessage("cut"), finish_reason="length"),
        reply(AssistantMessage("filtered"), finish_reason="content_filter"),
        reply(AssistantMessage("")),
        reply(AssistantMessage("probable"), logprobs=Logprobs()),
        reply(AssistantMessage("I would rather not.", refusal="no")),
        Overloaded("busy", status=503),
    ],
    ids=["cut", "filtered", "empty", "logprobs", "refused", "failed"],
)
async def test_a_reply_that_is_not_whole_is_not_kept(first: Reply | Exception) -> None:
    agent = Agent(Named("m", [first, "whole"]), middleware=[Cache()])
    if isinstance(first, Exception):
        with pytest.raises(Overloaded):
            await agent.run("go")
    else:
        await agent.run("go")
    assert [(await agent.run("go")).output for _ in range(2)] == ["whole", "whole"]


async def test_the_same_requests_at_the_same_time_are_asked_once() -> None:
    async def slow(request: ChatRequest) -> str:
        await anyio.wait_all_tasks_blocked()
        return "once"

    model = FunctionModel(slow)
    agent = Agent(model, middleware=[Cache(model="m")])
    outputs: list[str] = []

    async def ask(question: str) -> None:
        outputs.append((await agent.run(question)).output)

    async with anyio.create_task_group() as tasks:
        for question in ("a", "a", "a", "b"):
            tasks.start_soon(ask, question)
    assert (outputs, len(model.requests)) == (["once"] * 4, 2)


async def test_when_the_one_that_asks_is_cancelled_another_asks() -> None:
    hang = anyio.Event()
    asked: list[str] = []

    async def first_hangs(request: ChatRequest) -> str:
        asked.append("x")
        if len(asked) == 1:
            hang.set()
            await anyio.sleep_forever()
        return "answer"

    agent = Agent(FunctionModel(first_hangs), middleware=[Cache(model="m")])
    async with agent.stream("go"):
        await hang.wait()
    assert (await agent.run("go")).output == "answer"


async def test_memory_keeps_those_that_were_asked_for_last() -> None:
    store = MemoryStore(entries=2)
    for key in ("a", "b"):
        await store.set(key, key.encode())
    assert await store.get("a") == b"a"
    await store.set("c", b"c")
    assert [await store.get(key) for key in ("a", "b", "c")] == [b"a", None, b"c"]


@pytest.mark.parametrize(("ttl", "kept"), [(None, b"x"), (3600.0, b"x"), (0.0, None)])
async def test_memory_forgets_after_its_time(ttl: float | None, kept: bytes | None) -> None:
    store = MemoryStore(ttl=ttl)
    await store.set("a", b"x")
    assert await store.get("a") == kept


async def test_any_object_with_get_and_set_is_a_store() -> None:
    class Table:
        def __init__(self) -> None:
            self.rows: dict[str, bytes] = {}

        async def get(self, key: str) -> bytes | None:
            return self.rows.get(key)

        async def set(self, key: str, value: bytes) -> None:
            self.rows[key] = value

    table = Table()
    for script in (["from the model"], []):  # another process
        agent = Agent(Named("m", script), middleware=[Cache(table)])
        assert (await agent.run("the question")).output == "from the model"
    (row,) = table.rows.items()
    assert "question" not in row[0]


async def test_a_limit_of_tokens_counts_only_what_was_asked() -> None:
    agent = Agent(Named("m", [reply(AssistantMessage("x"))]), middleware=[Cache()], limits=Limits(tokens=10))
    await agent.run("go")
    assert (await agent.run("go")).usage.total_tokens == 0


async def test_the_replies_of_a_server_are_kept_by_its_address_and_model() -> None:
    with Server(["Hello."]) as server:
        agent = Agent(ChatClient(server.url, model="m"), middleware=[Cache()])
        assert [(await agent.run("go")).output for _ in range(3)] == ["Hello."] * 3
        assert len(server.requests) == 1
        await agent.aclose()


def test_one_cache_works_in_several_event_loops() -> None:
    agent = Agent(Named("m", ["once"]), middleware=[Cache()])

    async def main() -> str:
        return (await agent.run("go")).output

    assert [anyio.run(main, backend=each) for each in ("asyncio", "trio", "asyncio")] == ["once"] * 3


def test_memory_needs_room() -> None:
    with pytest.raises(ConfigError, match=r"MemoryStore\(entries=0\)"):
        MemoryStore(entries=0)
