import anyio
import anyio.lowlevel
import pytest

from agentkit import Agent, Tool, tool
from agentkit.testing import ScriptedModel, call

pytestmark = pytest.mark.anyio


def tools(*names: str) -> tuple[list[Tool], list[str]]:
    """Tools that write down when they begin and end; those whose name is in capitals are sequential."""
    log: list[str] = []

    def make(name: str) -> Tool:
        async def run() -> None:
            log.append(f"{name}+")
            await anyio.lowlevel.checkpoint()
            await anyio.lowlevel.checkpoint()
            log.append(f"{name}-")

        return tool(run, name=name, description="Work.", sequential=name.isupper())

    return [make(name) for name in names], log


async def test_the_calls_of_a_reply_run_together() -> None:
    made, log = tools("a", "b", "c")
    await Agent(ScriptedModel([[call("a"), call("b"), call("c")], "done"]), tools=made).run("go")
    assert sorted(log[:3]) == ["a+", "b+", "c+"]


async def test_a_sequential_call_runs_alone_and_in_its_place() -> None:
    made, log = tools("a", "b", "X", "Y", "c", "d")
    await Agent(ScriptedModel([[call(each.name) for each in made], "done"]), tools=made).run("go")
    assert sorted(log[:4]) == ["a+", "a-", "b+", "b-"]
    assert log[4:8] == ["X+", "X-", "Y+", "Y-"]
    assert sorted(log[8:]) == ["c+", "c-", "d+", "d-"]
