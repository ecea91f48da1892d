"""What is killed: two questions in one session, with calls of every kind, and a ledger of what they did.

A ledger has lines: ``start KEY`` and ``done KEY`` of each call, as its own code tells, and ``recorded KEY`` when its
result is in the session. `drive` brings the conversation to its end, from wherever it is.
"""

import functools
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import anyio.lowlevel

from agentkit import Agent, RunResult, handoff, tool
from agentkit.chat import ChatRequest, Reply
from agentkit.messages import AssistantMessage, Message, UserMessage
from agentkit.run import Middleware, ModelTurn, NextModel, NextTool, Session, ToolRequest
from agentkit.run.transcript import check
from agentkit.sessions import Sessions
from agentkit.testing import Answer, FunctionModel, call
from agentkit.tools import Tool, ToolContext, ToolResult
from tests.crash.points import Watched

QUESTIONS = ("Do all of it.", "And once more.")
SCRIPT: list[Answer] = [
    [call("act", id="a1"), call("fail", id="f1"), call("block", id="b1")],
    [call("act", id="a2"), call("alone", id="s2"), call("act", id="c2")],
    [call("send", id="x3"), call("act", id="a3"), call("unheard_of", id="u3"), call("send", id="y3")],
    [call("delegate", id="d4"), call("large", id="l4")],
    "That is all.",
    [call("act", id="a5")],
    "Once more, then.",
]
AGENTS: list[Answer] = [
    [call("clerk", id="k1", prompt="Do it."), call("act", id="a1")],
    [call("transfer_to_closer", id="t2"), call("act", id="c2")],
    [call("send", id="x3"), call("send", id="y3")],
    "That is all.",
    [call("transfer_to_main", id="t4")],
    [call("act", id="a5")],
    "Once more, then.",
]
CLERK: list[Answer] = [
    [call("typist", id="w1", prompt="Type it."), call("act", id="e1")],
    [call("send", id="z2")],
    [call("act", id="e3")],
    "The clerk is done.",
]
TYPIST: list[Answer] = [[call("act", id="m1")], "Typed."]
STORIES = {"calls": SCRIPT, "agents": AGENTS}  # of the conversation: calls of every kind; agents as tools and hand-offs
HELP: list[Answer] = [[call("act", id="h1"), call("act", id="h2")], "The helper is done."]


def player(script: Sequence[Answer]) -> FunctionModel:
    """A model whose answer depends on the request only, so that it is the same in every process."""

    def answer(request: ChatRequest) -> Answer:
        assert check(request.messages) == []
        return script[sum(isinstance(each, AssistantMessage) for each in request.messages)]

    return FunctionModel(answer)


class Announcing(Middleware):
    """Passes a point before and after each request and each call."""

    def __init__(self, passes: Callable[[str], None]) -> None:
        self._passes = passes

    async def around_model(self, turn: ModelTurn, inner: NextModel) -> Reply:
        self._passes("before model")
        reply = await inner(turn)
        self._passes("after model")
        return reply

    async def around_tool(self, call: ToolRequest, inner: NextTool) -> ToolResult:
        self._passes("before tool")
        result = await inner(call)
        self._passes("after tool")
        return result


class World:
    """The agents, their tools and their sessions.

    Args:
        sessions: Where the conversations are.
        passes: Called at each point.
        note: Writes a line of the ledger.
        story: Which of `STORIES` is played.
    """

    def __init__(
        self, sessions: Sessions, passes: Callable[[str], None], note: Callable[[str], None], story: str = "calls"
    ) -> None:
        self._sessions, self._passes, self._note = sessions, passes, note
        middleware = [Announcing(passes)]
        act, *others = tools()
        self.helper = Agent(player(HELP), tools=[act], deps_type=World, name="helper", middleware=middleware)
        self.agent = Agent(
            player(STORIES[story]), tools=[act, *others], deps_type=World, name="main", middleware=middleware
        )
        if story == "agents":
            self.agent = self.agent.replace(tools=[act, *self.team(act, others[-2], middleware)])

    def team(self, act: Tool, send: Tool, middleware: Sequence[Middleware]) -> list[Tool]:
        """Make a clerk with a typist as tools, and a closer who gets the conversation and gives it back."""
        typist = Agent(player(TYPIST), tools=[act], name="typist", middleware=middleware)
        clerk = Agent(
            player(CLERK), tools=[act, send, typist.as_tool(description="Types.")], name="clerk", middleware=middleware
        )
        back = handoff("main", when="Again.")
        closer = Agent(player(AGENTS), tools=[act, send, back], name="closer", middleware=middleware)
        return [clerk.as_tool(description="Files."), handoff(closer, when="At the end.")]

    def session(self, name: str) -> Session:
        def passes(point: str) -> None:
            if point.startswith("recorded "):
                self._note(point)
            self._passes(point)

        return Watched(self._sessions[name], passes)

    def begin(self, context: ToolContext[Any]) -> None:
        self._passes("before effect")
        self._note(f"start {context.idempotency_key}")
        self._passes("in effect")

    def end(self, context: ToolContext[Any], result: str) -> str:
        self._note(f"done {context.idempotency_key}")
        self._passes("after effect")
        return result

    async def drive(self) -> None:
        """Bring the conversation to its end: ask what was not asked, decide what waits, go on with what was ended."""
        session = self.session("alice")
        while True:
            state = (await session.load()).state()
            asked = sum(isinstance(each, UserMessage) for each in state.messages) if state else 0
            if state is None or (state.status == "done" and asked < len(QUESTIONS)):
                result = await self.agent.run(QUESTIONS[asked], session=session, run_id=f"run-{asked}", deps=self)
            elif state.status == "done":
                return
            elif state.pending:
                for each in state.pending:
                    if each.id == "y3":
                        state.deny(each.id, "once is enough")
                    else:
                        state.approve(each.id)
                result = await self.agent.run(resume=state, session=session, deps=self)
            else:
                result = await self.agent.run(resume=True, session=session, deps=self)
            assert isinstance(result, RunResult)


@functools.cache
def tools() -> list[Tool]:
    """The tools of all worlds: their schemas are made once, before a process forks."""

    @tool
    async def act(context: ToolContext[World]) -> str:
        """Do something."""
        context.deps.begin(context)
        await anyio.lowlevel.checkpoint()
        return context.deps.end(context, f"acted in {context.call_id}")

    @tool
    async def fail(context: ToolContext[World]) -> str:
        """Do something and fail."""
        context.deps.begin(context)
        raise OSError(context.deps.end(context, "broken"))

    @tool
    def block(context: ToolContext[World]) -> str:
        """Do something in a thread."""
        context.deps.begin(context)
        return context.deps.end(context, "blocked")

    @tool(sequential=True)
    async def alone(context: ToolContext[World]) -> str:
        """Do something with nothing beside it."""
        context.deps.begin(context)
        await anyio.lowlevel.checkpoint()
        return context.deps.end(context, "alone")

    @tool
    async def large(context: ToolContext[World]) -> str:
        """Make a result that is cut."""
        context.deps.begin(context)
        return context.deps.end(context, "large " * 12_000)

    @tool(requires_approval=True)
    async def send(context: ToolContext[World]) -> str:
        """Send something, if somebody allows it."""
        context.deps.begin(context)
        return context.deps.end(context, "sent")

    @tool
    async def delegate(context: ToolContext[World]) -> str:
        """Let the helper do it, in a session of its own."""
        world = context.deps
        world.begin(context)
        session = world.session(context.idempotency_key)
        question = () if (await session.load()).state() else ("Help.",)
        result = await world.helper.run(
            *question, resume=not question, session=session, run_id=context.idempotency_key, deps=world
        )
        return world.end(context, result.output)

    return [act, fail, block, alone, large, send, delegate]


async def transcripts(sessions: Sessions) -> dict[str, list[Message]]:
    """What the sessions hold in the end."""
    return {each.name: list(await sessions[each.name].messages()) for each in await sessions.list()}


def plain(messages: Sequence[Message]) -> list[object]:
    """Messages as they are on the wire, without when they were made."""
    return [each.to_wire() for each in messages]


def check_ledger(ledger: Sequence[str], undisturbed: Sequence[str], *, accidents: int) -> None:
    """Whether everything was done that had to be done, and nothing more than may be."""
    starts, expected = (Counter(line for line in lines if line.startswith("start ")) for lines in (ledger, undisturbed))
    assert starts.keys() == expected.keys(), "the calls are the same, and have the same keys"
    assert set(expected.values()) == {1}
    assert max(starts.values()) <= accidents + 1
    recorded: set[str] = set()
    for line in ledger:
        what, key = line.split()
        assert what != "start" or key not in recorded, f"{key} was repeated though its result was there"
        if what == "recorded":
            recorded.add(key)
    assert recorded >= {line.split()[1] for line in expected} or accidents, "what was done is recorded"
