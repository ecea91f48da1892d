"""Calls that wait for a decision, beside calls that run alone."""

import pytest

from agentkit import Agent, RunState, Tool, tool
from agentkit.run.transcript import check
from agentkit.testing import ScriptedModel, call

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("calls", "first", "then"),
    [
        (["par 1", "alone_asked 2", "par 3"], ["par 1"], ["alone_asked 2", "par 3"]),
        (["par_asked 1", "alone 2", "par 3"], [], ["par_asked 1", "alone 2", "par 3"]),
        (["par_asked 1", "par 2", "alone 3"], ["par 2"], ["par_asked 1", "alone 3"]),
        (["alone 1", "par_asked 2", "par 3"], ["alone 1", "par 3"], ["par_asked 2"]),
    ],
)
async def test_no_call_passes_a_sequential_one_that_waits_nor_does_that_one_pass_others(
    calls: list[str], first: list[str], then: list[str]
) -> None:
    ran: list[str] = []

    def named(name: str, *, sequential: bool, requires_approval: bool) -> Tool:
        async def run(number: int) -> None:
            ran.append(f"{name} {number}")

        return tool(run, name=name, sequential=sequential, requires_approval=requires_approval)

    tools = [
        named(f"{kind}{asked}", sequential=kind == "alone", requires_approval=bool(asked))
        for kind in ("par", "alone")
        for asked in ("", "_asked")
    ]
    wanted = [call(name, number=int(number)) for name, number in map(str.split, calls)]
    agent = Agent(ScriptedModel([wanted, "done"]), tools=tools)
    paused = await agent.run("go")
    assert (paused.status, ran) == ("paused", first)
    state = RunState.load(paused.state.to_json())
    state.approve(state.pending[0].id)
    result = await agent.run(resume=state)
    assert (result.status, ran, check(result.messages)) == ("done", [*first, *then], [])
