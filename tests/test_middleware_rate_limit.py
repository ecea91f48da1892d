from dataclasses import replace
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from trio.testing import MockClock

from agentkit import Agent, Reply
from agentkit.chat import ChatRequest
from agentkit.chat.reply import Usage
from agentkit.errors import ConfigError, Overloaded
from agentkit.middleware import RateLimit
from agentkit.testing import FunctionModel, ScriptedModel
from agentkit.testing.models import as_reply

pytestmark = pytest.mark.anyio
virtual_time = pytest.mark.parametrize("anyio_backend", [("trio", {"clock": MockClock(autojump_threshold=0)})])


class Clocked:
    """An agent whose model notes when each question came."""

    def __init__(self, limit: RateLimit, *, tokens: int = 0, seconds: float = 0.0) -> None:
        self.tokens, self.seconds = tokens, seconds
        self.starts: list[tuple[str, float]] = []
        self.began = anyio.current_time()
        self.agent = Agent(FunctionModel(self.answer), middleware=[limit])

    async def answer(self, request: ChatRequest) -> Reply:
        self.starts.append((request.messages[-1].text, round(anyio.current_time() - self.began, 6)))
        await anyio.sleep(self.seconds)
        return replace(as_reply("ok", 1), usage=Usage(requests=1, total_tokens=self.tokens))

    async def ask(self, *questions: str) -> list[tuple[str, float]]:
        """Ask all at once, in this order."""
        async with anyio.create_task_group() as tasks:
            for question in questions:
                tasks.start_soon(self.agent.run, question)
                await anyio.wait_all_tasks_blocked()
        return self.starts


@virtual_time
async def test_so_many_requests_start_in_any_stretch_of_time_in_the_order_in_which_they_came() -> None:
    clocked = Clocked(RateLimit(2, per=10))
    assert await clocked.ask("a", "b", "c", "d", "e") == [("a", 0), ("b", 0), ("c", 10), ("d", 10), ("e", 20)]


@virtual_time
async def test_requests_that_are_rare_enough_never_wait() -> None:
    clocked = Clocked(RateLimit(2, per=10))
    for question in ("a", "b", "c"):
        await clocked.ask(question)
        await anyio.sleep(5)
    assert clocked.starts == [("a", 0), ("b", 5), ("c", 10)]


@virtual_time
async def test_a_reply_that_took_too_many_tokens_holds_up_the_next_request() -> None:
    clocked = Clocked(RateLimit(100, per=10, tokens=50), tokens=30, seconds=1)
    for question in ("a", "b", "c", "d"):
        await clocked.ask(question)
    # a and b have used 60 tokens at 1 and 2; the 30 of a are free again at 11, and 60 are used at 12.
    assert clocked.starts == [("a", 0), ("b", 1), ("c", 11), ("d", 12)]


@virtual_time
async def test_a_request_that_is_cancelled_while_it_waits_has_taken_no_place() -> None:
    clocked = Clocked(RateLimit(1, per=10))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(clocked.agent.run, "a")
        await anyio.wait_all_tasks_blocked()
        with anyio.move_on_after(3) as late:
            await clocked.agent.run("cancelled while it waits for time")
        tasks.start_soon(clocked.agent.run, "b")
        await anyio.wait_all_tasks_blocked()
        with anyio.move_on_after(3):
            await clocked.agent.run("cancelled in the queue")
        tasks.start_soon(clocked.agent.run, "c")
    assert late.cancelled_caught
    assert clocked.starts == [("a", 0), ("b", 10), ("c", 20)]


@virtual_time
async def test_agents_that_have_the_same_limit_share_it() -> None:
    limit = RateLimit(1, per=10)
    one, other = Clocked(limit), Clocked(limit)
    await one.ask("a")
    assert await other.ask("b") == [("b", 10)]


async def test_who_has_to_wait_waits_and_can_be_cancelled() -> None:
    model = ScriptedModel(["first", "never"])
    agent = Agent(model, middleware=[RateLimit(1, per=3600)])
    await agent.run("go")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(agent.run, "go")
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    assert model.left == 1


async def test_a_request_that_fails_counts() -> None:
    model = ScriptedModel([Overloaded("busy", status=503), "never"])
    agent = Agent(model, middleware=[RateLimit(1, per=3600)])
    with pytest.raises(Overloaded):
        await agent.run("go")
    with anyio.move_on_after(0.01) as late:
        await agent.run("go")
    assert late.cancelled_caught


def test_a_limit_at_module_level_works_in_several_event_loops() -> None:
    agent = Agent(ScriptedModel(["one", "two", "three"]), middleware=[RateLimit(1, per=3600)])

    async def main() -> str:
        return (await agent.run("go")).output

    assert [anyio.run(main, backend=each) for each in ("asyncio", "trio", "asyncio")] == ["one", "two", "three"]


@pytest.mark.parametrize(
    "options",
    [
        {"requests": 0},
        {"requests": "x"},
        {"requests": 1, "per": 0},
        {"requests": 1, "per": float("nan")},
        {"requests": 1, "per": "60"},
        {"requests": 1, "tokens": 0},
        {"requests": 1, "tokens": "x"},
    ],
)
def test_a_limit_that_lets_nothing_through_or_is_no_number_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"RateLimit\(.*must be numbers, all above 0"):
        RateLimit(**options)
