import re
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import anyio
import pytest

from agentkit import Agent, Limits, ToolError, handoff, tool
from agentkit.chat import Choice, Reply, Usage
from agentkit.compaction import HistoryShortened
from agentkit.errors import ConfigError, Overloaded
from agentkit.events import (
    AgentChanged,
    CallDenied,
    CallRetried,
    Event,
    EventLoopBlocked,
    LimitWarning,
    Retrying,
    ThreadAbandoned,
    ToolChanged,
)
from agentkit.messages import AssistantMessage, ToolCall
from agentkit.middleware import ModelFallback
from agentkit.run import Price
from agentkit.testing import Answer, Chunks, FunctionModel, ScriptedModel, call
from agentkit.trace import Timeline, Trace, explain, read_events, render_page, timelines
from tests.command import process, run

pytestmark = pytest.mark.anyio
HOSTILE = '</script><script>alert(1)</script><img src=x onerror=alert(2)> & "quotes" \u202eevil \x1b[2J \ud800'


@tool
async def look(where: str) -> str:
    """Look somewhere."""
    await anyio.lowlevel.checkpoint()
    if where == "nowhere":
        raise ToolError("there is nothing")
    return f"seen {where}"


@tool(requires_approval=True)
def pay(amount: int) -> str:
    """Pay."""
    return f"paid {amount}"


def guide(script: Sequence[Answer]) -> Agent:
    return Agent(ScriptedModel(script), tools=[look], name="guide", description="Guides.")


async def trace_of(path: Path, agent: Agent[Any, Any], prompt: str = "go") -> Timeline:
    with Trace(path) as trace:
        await agent.run(prompt, on_event=trace)
    return timelines(read_events(path))[-1]


class Tags(HTMLParser):
    """The tags of a page, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.links: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "action")]

    def handle_data(self, data: str) -> None:
        self.text += data


async def test_turns_and_calls_are_spans_and_a_nested_agent_is_inside_its_call(tmp_path: Path) -> None:
    inner = guide([call("look", where="inside"), "It is nice."])
    script: list[Answer] = [[call("look", where="here"), call("guide", prompt="and there?")], "Nice."]
    top = await trace_of(tmp_path / "t", Agent(ScriptedModel(script), tools=[look, inner.as_tool()], name="ada"))
    assert [each.name for each in top.children if each.kind == "turn"] == ["turn 1", "turn 2"]
    calls = {each.name: each for each in top.children if each.kind == "call"}  # trio starts them in any order
    assert calls.keys() == {"look", "guide"}
    (nested,) = calls["guide"].children
    assert [(each.kind, each.name) for each in nested.children] == [
        ("turn", "turn 1"),
        ("call", "look"),
        ("turn", "turn 2"),
    ]
    assert (top.prompt, top.answer, top.status) == ("go", "Nice.", "done")
    for each in top.walk():
        assert each.end is not None
        assert each.start <= each.end
    assert calls["look"].start < (calls["guide"].end or 0)
    assert [each.text for each in calls["look"].sections] == ['{\n  "where": "here"\n}', "seen here"]


async def test_whatever_a_model_or_a_tool_says_is_text(tmp_path: Path) -> None:
    @tool(name="echo")
    def echo(text: str) -> str:
        """Echo."""
        return text

    script: list[Answer] = [
        [call("echo", text=HOSTILE), ToolCall("x", HOSTILE, "{}")],
        Reply(choices=(Choice(message=AssistantMessage(HOSTILE)),), model=HOSTILE),
    ]
    top = await trace_of(tmp_path / "t", Agent(ScriptedModel(script), tools=[echo]), HOSTILE)
    page = render_page([("<b>a</b>", [top])])
    page.encode()
    found = Tags(page)
    assert found.tags.count("script") == 1
    assert not {"img", "b>a"} & set(found.tags)
    assert not {name for name in found.attributes if name.startswith("on")}
    assert found.text.count("<script>alert(1)</script>") >= 4
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", page)
    assert found.links == []


def test_the_page_loads_nothing_and_only_its_own_script_may_run() -> None:
    page = render_page([("run.jsonl", [])])
    assert "default-src 'none'" in page
    assert "script-src 'sha256-" in page
    assert "unsafe-inline'; script" not in page
    assert not re.search(r"(https?:)?//\w", page.replace("// ", ""))
    assert "No run has started yet." in page


async def test_what_was_retried_repaired_limited_or_paused_is_marked_with_its_reason(tmp_path: Path) -> None:
    async def answer(request: Any) -> Answer:
        if len(request.messages) == 1:
            return [
                ToolCall("a", "Look", '{"where": "here",}'),
                call("look", id="b", where="nowhere"),
                call("pay", amount=3),
            ]
        return "unreachable"

    class Unlucky(FunctionModel):
        async def reply(self, request: Any, emit: Any) -> Reply:
            emit(Retrying(1, 0.5, "503: overloaded"))
            return await super().reply(request, emit)

    agent = Agent(Unlucky(answer), tools=[look, pay], limits=Limits(turns=1))
    with Trace(tmp_path / "t") as trace:
        result = await agent.run("go", on_event=trace)
    lines = result.explain().splitlines()
    assert lines[0] == "turn 1: The request failed and was sent again after 0.5 s (attempt 1): 503: overloaded"
    assert "turn 1: A call of look was repaired: the name 'Look' became look" in lines
    assert "turn 1: look gave no result: Error: there is nothing" in lines
    assert any(each.startswith("turn 1: pay waits for a decision: ") for each in lines)
    assert lines[-1].startswith("turn 1: The run is paused until somebody decides about pay: ")
    top = timelines(read_events(tmp_path / "t"))[-1]
    page = Tags(render_page([("t", [top])])).text
    for line in lines:
        assert line.removeprefix("turn 1: ") in page


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (
            HistoryShortened("Window", 4, 9000, 3000),
            "Window sent the model less of the conversation, from about 9,000 to ",
        ),
        (
            ModelFallback("a", "b", Overloaded("busy", status=503), continues=False),
            "a failed, and b is asked: Overloaded: busy",
        ),
        (AgentChanged("front", "billing"), "front handed off to billing."),
        (ToolChanged("pay", "removed"), "The tool pay was removed since the run was saved."),
        (EventLoopBlocked("c", "pay", 2.5), "pay kept the event loop busy for 2.5 s; nothing else could run."),
        (ThreadAbandoned("c", "pay"), "pay was abandoned, and its thread still runs."),
        (LimitWarning("turns", 40, 50), "Most of the limit of turns is used: 40 of 50."),
        (
            CallRetried("c", "pay", 1, 0.1, OSError("gone")),
            "pay raised and was run again after 0.1 s (attempt 1): OSError",
        ),
        (CallDenied(call("pay"), ""), "pay was denied: no reason was given"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_unusual_event_has_a_sentence(event: Event, text: str) -> None:
    assert text in explain([event])


async def test_after_a_hand_off_a_turn_names_its_agent(tmp_path: Path) -> None:
    model = ScriptedModel([[call("transfer_to_billing")], "Paid."])
    billing = Agent(model, name="billing", description="Bills.")
    top = await trace_of(tmp_path / "t", Agent(model, name="front", tools=[handoff(billing)]))
    assert [each.name for each in top.children] == ["turn 1", "transfer_to_billing", "turn 2, billing"]
    assert "front handed off to billing." in Tags(render_page([("t", [top])])).text


async def test_a_run_that_is_resumed_is_a_timeline_of_its_own(tmp_path: Path) -> None:
    agent = Agent(ScriptedModel([[call("pay", id="p", amount=3)], "Paid."]), tools=[pay])
    with Trace(tmp_path / "t") as trace:
        result = await agent.run("pay", on_event=trace)
        result.state.approve("p")
        await agent.run(resume=result.state, on_event=trace)
    before, after = timelines(read_events(tmp_path / "t"))
    assert (before.status, before.run_id) == ("paused", after.run_id)
    assert [each.kind for each in before.children] == ["turn"]
    assert (after.status, after.prompt, after.answer) == ("done", "pay", "Paid.")
    assert [(each.kind, each.name) for each in after.children] == [("call", "pay"), ("turn", "turn 2")]


async def test_a_limit_is_explained_and_a_run_without_incidents_says_so() -> None:
    agent = Agent(ScriptedModel([[call("look", where="a")], "done"]), tools=[look], limits=Limits(turns=1))
    assert "The run ended early, as it reached the limit of 1 turn." in (await agent.run("go")).explain()
    calm = await Agent(ScriptedModel(["hello"])).run("hi")
    assert calm.explain() == "Nothing was retried, repaired, adapted, limited or paused."


async def test_a_result_keeps_its_last_events_without_deltas() -> None:
    script: list[Answer] = [[call("look", where=str(n)) for n in range(1100)], Chunks("a", "b")]
    agent = Agent(ScriptedModel(script), tools=[look], limits=Limits(calls=None))
    result = await agent.run("go")
    names = [type(each).__name__ for each in result.events]
    assert len(names) == 2000
    assert names[-2:] == ["TurnFinished", "RunFinished"]
    assert "TextDelta" not in names


async def test_a_notebook_shows_the_answer_and_the_timeline_in_a_frame_of_its_own() -> None:
    result = await Agent(ScriptedModel([[call("look", where="here")], HOSTILE]), tools=[look]).run("Where?")
    found = Tags(result._repr_html_())
    assert found.tags.count("iframe") == 1
    assert {"script", "img"} & set(found.tags) == set()
    assert HOSTILE[:9] in found.text
    inside = re.search(r'srcdoc="([^"]*)"', result._repr_html_())
    assert inside
    assert "look" in inside[1]
    assert "where" in inside[1]


def usage(cost: float | None) -> Usage:
    return Usage(requests=1, prompt_tokens=1000, completion_tokens=10, total_tokens=1010, cost=cost)


@pytest.mark.parametrize(
    ("costs", "price", "shown"),
    [
        ([None, None], None, "cost unknown"),
        ([0.5, 0.25], None, "cost 0.75"),
        ([0.5, None], None, "cost at least 0.5"),
        ([None, None], Price(prompt=1, completion=0), "cost 0.002"),
    ],
)
async def test_a_cost_that_nobody_knows_is_unknown_and_not_zero(
    tmp_path: Path, costs: list[float | None], price: Price | None, shown: str
) -> None:
    messages = [AssistantMessage(None, (ToolCall("a", "look", '{"where": "x"}'),)), AssistantMessage("done")]
    script: list[Answer] = [
        Reply(choices=(Choice(message=message),), usage=usage(cost))
        for message, cost in zip(messages, costs, strict=True)
    ]
    top = await trace_of(tmp_path / "t", Agent(ScriptedModel(script), tools=[look], limits=Limits(price=price)))
    assert shown in Tags(render_page([("t", [top])])).text


async def test_two_runs_are_compared_step_by_step(tmp_path: Path) -> None:
    async def one(*script: Answer) -> Timeline:
        return await trace_of(tmp_path / str(len(script)), Agent(ScriptedModel(script), tools=[look]))

    longer = await one([call("look", where="a")], [call("look", where="b")], "Same.\nLonger.")
    shorter = await one([call("look", where="a")], "Same.\nShort.")
    page = render_page([("longer", [longer]), ("shorter", [shorter])])
    assert page.count('<section class="side">') == 2
    assert page.count(">only here<") == 2  # the second turn, and its call
    assert page.count(">other result<") == 2  # the last turn of both
    assert "<del>- Longer.</del>" in page
    assert "<ins>+ Short.</ins>" in page
    assert '<tr class="changed"><th>turns</th><td>3</td><td>2</td></tr>' in page


def test_the_command_makes_a_page_and_never_replaces_another_file(tmp_path: Path) -> None:
    trace = tmp_path / "run.jsonl"
    anyio.run(trace_of, trace, Agent(ScriptedModel(["Hello."])))
    for _ in range(2):
        done = run("view", str(trace))
        assert (done.returncode, done.stdout) == (0, f"{tmp_path / 'run.html'}\n")
    assert run("view", str(trace), "-o", "-").stdout == (tmp_path / "run.html").read_text()
    (tmp_path / "run.html").write_text("<p>mine</p>")
    done = run("view", str(trace))
    assert done.returncode == 2
    assert "is not a page written by agentkit: name the page with -o" in done.stderr


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "cannot be read: No such file or directory"),
        ("hello\nyou\n", "line 1 of"),
        ("hello", "line 1 of"),
        ("[1]\n", "line 1 of"),
        ('{"version": 2, "event": "X"}\n', "newer than"),
    ],
)
def test_what_is_not_a_trace_is_refused(tmp_path: Path, text: str | None, sentence: str) -> None:
    path = tmp_path / "x"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=sentence):
        read_events(path)
    assert run("view", str(path)).returncode == 2


def test_a_trace_without_a_run_is_not_a_page(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    done = run("view", str(tmp_path / "x"))
    assert done.returncode == 2
    assert "no run has started in" in done.stderr
    assert not (tmp_path / "x.html").exists()


async def test_a_line_that_is_not_whole_yet_is_left_out(tmp_path: Path) -> None:
    top = await trace_of(tmp_path / "t", Agent(ScriptedModel([Chunks("Hel", "lo")])))
    lines = (tmp_path / "t").read_text().splitlines(keepends=True)
    (tmp_path / "t").write_text("".join(lines[:3]) + lines[3][:20])
    (cut,) = timelines(read_events(tmp_path / "t"))
    assert top.status == "done"
    assert cut.status == "running"
    assert [each.title for each in cut.children[0].sections] == ["assistant, so far"]
    assert "Hello" in render_page([("t", [cut])])


def get(url: str, host: str = "") -> tuple[int, str, str]:
    request = urllib.request.Request(url, headers={"host": host} if host else {})
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
            return answer.status, answer.read().decode(), answer.headers["x-version"]
    except urllib.error.HTTPError as error:
        return error.code, "", ""


def test_a_run_is_followed_on_a_page_for_this_machine_alone(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    pipe = subprocess.PIPE
    with subprocess.Popen(**process("view", "--follow", str(path)), stdout=pipe, stderr=pipe) as started:
        assert started.stdout
        url = started.stdout.readline().strip()
        status, page, _ = get(url)
        assert status == 200
        assert "data-live" in page
        status, runs, version = get(f"{url}runs?version=")
        assert "No run has started yet." in runs
        assert get(f"{url}runs?version={version}")[0] == 204
        anyio.run(trace_of, path, Agent(ScriptedModel(["Hello."])), "Say hello")
        status, runs, later = get(f"{url}runs?version={version}")
        assert status == 200
        assert later != version
        assert "Say hello" in runs
        assert get(url, host="evil.example")[0] == 404
        assert get(re.sub(r"/[^/]+/$", "/guess/", url))[0] == 404
        started.send_signal(signal.SIGINT)
        assert started.wait(30) == 0
