"""A job that is killed: steps inside steps and at the same time, an agent, a tool that a person decides about."""

from collections.abc import Callable
from typing import Any

import anyio.lowlevel

from agentkit import Agent, Tool, ToolContext, tool
from agentkit.automation import Automation, automation, gather, idempotency_key, step
from agentkit.run import Session
from agentkit.sessions import Sessions
from agentkit.testing import Answer, call
from tests.crash.points import Watched
from tests.crash.world import Announcing, player

CLERK: list[Answer] = [[call("look_up", id="l1"), call("look_up", id="l2")], call("write", id="w"), "Written."]
OUTPUT = ["A: read, filed", "B: read, filed", "Written.", "paid", "refused", "end"]


class JobWorld:
    """The automation, its job, and a ledger of what its steps did; see `tests.crash.world`."""

    def __init__(self, sessions: Sessions, passes: Callable[[str], None], note: Callable[[str], None]) -> None:
        self._inner, self._passes, self._note = sessions, passes, note

    def __getitem__(self, name: str) -> Session:
        def passes(point: str) -> None:
            what, _, slot = point.partition(" ")
            if what == "recorded" and not slot.startswith("decision") and not slot.endswith("begun"):
                self._note(f"recorded {slot if ':' in slot else f'{name}:step:{slot}'}")
            self._passes(point)

        return Watched(self._inner[name], passes)

    def begin(self, key: str) -> None:
        self._passes("before effect")
        self._note(f"start {key}")
        self._passes("in effect")

    def end(self, key: str) -> None:
        self._note(f"done {key}")
        self._passes("after effect")

    def act(self, key: str, value: str) -> str:
        self.begin(key)
        self.end(key)
        return value

    async def drive(self) -> None:
        """Bring the job to its end, from wherever it is."""
        job = self.program().job(self, "today")
        while (result := await job.run(["A", "B"])).status == "paused":
            for waiting in result.pending:
                if waiting.id in {each.id for each in await job.pending()}:
                    if waiting.arguments.get("amount") == 2:
                        await job.deny(waiting.id, "once is enough")
                    else:
                        await job.approve(waiting.id)
        assert result.output == OUTPUT, result.output

    def tools(self) -> list[Tool]:
        @tool
        async def look_up(context: ToolContext[Any]) -> str:
            """Look something up."""
            await anyio.lowlevel.checkpoint()
            return self.act(context.idempotency_key, "found")

        @tool(requires_approval=True)
        async def write(context: ToolContext[Any]) -> str:
            """Write something."""
            return self.act(context.idempotency_key, "written")

        return [look_up, write]

    def program(self) -> Automation[[list[str]], list[str]]:
        @step
        async def read(name: str) -> str:
            await anyio.lowlevel.checkpoint()
            return self.act(idempotency_key(), f"{name}: read")

        @step
        def file(text: str) -> str:
            return self.act(idempotency_key(), f"{text}, filed")

        @step
        async def handle(name: str) -> str:
            return await file(await read(name))

        @tool(requires_approval=True)
        async def pay(context: ToolContext[Any], amount: int) -> str:
            """Pay."""
            return self.act(context.idempotency_key, "paid")

        clerk = step(Agent(player(CLERK), tools=self.tools(), name="clerk", middleware=[Announcing(self._passes)]))
        payment = step(pay)

        @automation
        async def work(names: list[str]) -> list[str]:
            asked = clerk("Do it.")
            *texts, result = await gather(*[handle(each) for each in names], _output(asked))
            payments = await gather(payment(amount=1), payment(amount=2))
            paid = ["refused" if each.is_error else each.content for each in payments]
            return [*texts, result, *paid, await end()]

        @step
        async def end() -> str:
            return self.act(idempotency_key(), "end")

        return work


async def _output(asked: Any) -> str:
    return str((await asked).output)
