import contextlib
import logging
import re

import anyio
import pytest

from agentkit import Agent, ToolError, tool
from agentkit.chat.messages import AssistantMessage
from agentkit.chat.reply import Choice, Reply, Usage
from agentkit.errors import Overloaded
from agentkit.middleware import Logging
from agentkit.testing import Answer, FunctionModel, ScriptedModel, call

pytestmark = pytest.mark.anyio


@tool
def find(word: str) -> str:
    """Find a word."""
    if word == "none":
        raise ToolError("nothing\nthere")
    return f"found \x1b[31m{word}"


async def lines(caplog: pytest.LogCaptureFixture, script: list[Answer], middleware: Logging | None = None) -> list[str]:
    """The lines of a run, with every duration as N."""
    caplog.set_level(logging.INFO, "agentkit")
    agent = Agent(ScriptedModel(script), tools=[find], middleware=[middleware or Logging()])
    with contextlib.suppress(Overloaded):
        await agent.run("a secret question", run_id="r1")
    told = [each.getMessage() for each in caplog.records if each.levelno == logging.INFO]
    return [re.sub(r"\d+\.\d{3} s", "N s", line) for line in told]


async def test_a_run_a_turn_and_a_call_have_a_line_each_without_what_was_said(caplog: pytest.LogCaptureFixture) -> None:
    usage = Usage(requests=1, prompt_tokens=7, completion_tokens=3, total_tokens=10)
    answer = Reply(choices=(Choice(message=AssistantMessage("a secret answer"), finish_reason="stop"),), usage=usage)
    told = await lines(caplog, [call("find", word="secret"), answer])
    assert told[1:3] == ["run r1 turn 1 call find: ok, N s", "run r1 turn 2: stop, 0 calls, 7+3 tokens, N s"]
    assert told[0] == "run r1 turn 1: tool_calls, 1 call, N s"  # its tokens were not told
    assert re.fullmatch(r"run r1: done, 2 turns, 1 call, about \d+\+\d+ tokens, N s", told[3])  # so they are estimated
    assert "secret" not in "".join(told)


async def test_contents_are_in_the_line_if_asked_for_and_never_break_it(caplog: pytest.LogCaptureFixture) -> None:
    script: list[Answer] = [[call("find", word="tea"), call("find", word="none")], "one\ntwo\u2028\x9b" + "x" * 3000]
    told = await lines(caplog, script, Logging(contents=True))
    assert sorted(told[1:3]) == [
        """run r1 turn 1 call find '{"word": "none"}': failed, ToolError 'nothing\\nthere', N s""",
        """run r1 turn 1 call find '{"word": "tea"}': ok 'found \\x1b[31mtea', N s""",
    ]
    assert "'one\\ntwo\\u2028\\x9bxxx" in told[3]
    assert len(told[3]) < 2200
    assert all(each.isprintable() for each in told)


async def test_what_a_server_or_a_caller_names_cannot_break_a_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "agentkit")
    answer = Reply(choices=(Choice(message=AssistantMessage("x"), finish_reason="stop\nrun r2: failed"),))
    await Agent(ScriptedModel([answer]), middleware=[Logging()]).run("go", run_id="r1\n")
    assert all(each.getMessage().isprintable() for each in caplog.records)
    assert len(caplog.records) == 2


async def test_a_failure_is_told_by_its_type_only(caplog: pytest.LogCaptureFixture) -> None:
    told = await lines(caplog, [Overloaded("a secret body", status=503)])
    assert told == ["run r1 turn 1: failed, Overloaded, N s", "run r1: failed, Overloaded, N s"]


async def test_a_run_that_is_cancelled_has_its_lines_too(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "agentkit")
    asked = anyio.Event()

    async def never(request: object) -> str:
        asked.set()
        await anyio.sleep_forever()
        return ""

    async with Agent(FunctionModel(never), middleware=[Logging()]).stream("go", run_id="r1"):
        await asked.wait()
    assert [each.getMessage().split(",")[0] for each in caplog.records] == [
        "run r1 turn 1: cancelled",
        "run r1: cancelled",
    ]


async def test_an_agent_in_a_tool_logs_under_its_own_run(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "agentkit")
    inner = Agent(ScriptedModel(["inner"]), middleware=[Logging()])

    @tool
    async def ask(question: str) -> str:
        """Ask another agent."""
        return (await inner.run(question, run_id="inner")).output

    outer = Agent(ScriptedModel([call("ask", question="?"), "outer"]), tools=[ask], middleware=[Logging()])
    await outer.run("go", run_id="outer")
    told = [each.getMessage().partition(":")[0] for each in caplog.records]
    assert told == [
        "run outer turn 1",
        "run inner turn 1",
        "run inner",
        "run outer turn 1 call ask",
        "run outer turn 2",
        "run outer",
    ]


async def test_logger_and_level_can_be_chosen(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "mine")
    await Agent(ScriptedModel(["x"]), middleware=[Logging("mine", level=logging.DEBUG)]).run("go")
    assert {(each.name, each.levelno) for each in caplog.records} == {("mine", logging.DEBUG)}


async def test_a_record_has_its_figures_as_fields(caplog: pytest.LogCaptureFixture) -> None:
    usage = Usage(requests=1, prompt_tokens=7, completion_tokens=3, total_tokens=10)
    answer = Reply(choices=(Choice(message=AssistantMessage("a secret answer"), finish_reason="stop"),), usage=usage)
    await lines(caplog, [[call("find", id="c1", word="none")], answer], Logging(contents=True))
    asked, called, answered, ended = [vars(each) for each in caplog.records if each.levelno == logging.INFO]
    assert {asked["run_id"], called["run_id"], answered["run_id"], ended["run_id"]} == {"r1"}
    assert (called["tool"], called["call_id"], called["turn"], called["ending"]) == ("find", "c1", 1, "failed")
    assert (answered["ending"], answered["prompt_tokens"], answered["completion_tokens"]) == ("stop", 7, 3)
    assert "prompt_tokens" not in asked  # nobody reported them
    assert ended["ending"] == "done"
    assert ended["seconds"] >= 0
