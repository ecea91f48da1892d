import json
import logging
import re
import stat
from functools import partial
from html import escape
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import quote

import anyio
import pytest

from agentkit import Agent, tool
from agentkit.chat import Choice, Reply
from agentkit.errors import ConfigError
from agentkit.events import Event, TextDelta, event_from_dict
from agentkit.messages import AssistantMessage
from agentkit.testing import Chunks, FunctionModel, ScriptedModel, call
from agentkit.tools import ToolContext
from agentkit.trace import Mask, Trace
from tests.command import run
from tests.replay import events, replay

pytestmark = pytest.mark.anyio
KEY = "sk-proj-aB3dE5fG7hJ9kL1mN3pQ"


@tool
def add(context: ToolContext[Any], a: int, b: int) -> int:
    """Add two numbers."""
    context.progress(0.5, "half")
    return a + b


@tool
def leak() -> str:
    """Return what it should not."""
    return json.dumps({"password": "hunter2hunter2", "note": "the key is " + KEY})


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


async def traced(path: Path, model: ScriptedModel, **options: Any) -> list[dict[str, Any]]:
    agent = Agent(model, tools=[add, leak], name="ada")
    with Trace(path, **options) as trace:
        async with agent.stream("go") as stream:
            async for event in stream:
                trace(event)
    return read(path)


async def test_every_event_is_a_line_that_can_be_read_back(tmp_path: Path) -> None:
    path, seen = tmp_path / "run.jsonl", list[Event]()
    trace = Trace(path)

    def observe(event: Event) -> None:
        seen.append(event)
        trace(event)

    agent = Agent(ScriptedModel([call("add", a=1, b=2), "3"]), tools=[add], name="ada")
    await agent.run("go", on_event=observe)
    trace.close()
    back = [event_from_dict(each) for each in read(path)]
    assert [type(each) for each in back] == [type(each) for each in seen]
    assert [each.origin for each in back] == [each.origin for each in seen]


async def test_a_file_is_private_and_continued_by_the_next_run(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    await traced(path, ScriptedModel(["one"]))
    written = await traced(path, ScriptedModel(["two"]))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len({each["origin"]["run_id"] for each in written}) == 2


async def test_a_secret_is_masked_wherever_it_stands_and_however_it_is_streamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_API_KEY", "correct-horse-battery")
    path = tmp_path / "run.jsonl"
    model = ScriptedModel(
        [call("leak"), Chunks("It is corr", "ect-ho", "rse-ba", "ttery and s", "k-proj-aB3dE5fG7hJ", "9kL1mN3pQ.")]
    )
    written = await traced(path, model, secrets=["purple-elephant"])
    text = path.read_text(encoding="utf-8")
    for secret in ("horse", "ect-ho", "hunter2", KEY, "aB3dE5fG7hJ", "9kL1mN"):
        assert secret not in text, secret
    shown = "".join(each["text"] for each in written if each["event"] == "TextDelta")
    assert shown == "It is *** and ***."


@pytest.mark.parametrize(
    ("value", "masked"),
    [
        ("purple-elephant", "***"),
        ("PURPLE%2DELEPHANT here", "*** here"),
        ({"password": "x", "prompt_tokens": 3}, {"password": "***", "prompt_tokens": 3}),
        ({"api_key": None, "user": "ada"}, {"api_key": None, "user": "ada"}),
        (['{"access_token": "abc", "n": 1}'], ['{"access_token": "***", "n": 1}']),
        ("Authorization: Bearer abcdefghijkl", "Authorization: Bearer ***"),
        ("postgres://ada:secret@db/x", "postgres://***@db/x"),
        ("eyJhbGciOiJI.eyJzdWIiOiIx.c2lnbmF0dXJl", "***"),
        ("-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----", "***"),
        ({"token": "Hello", "logprob": -0.1}, {"token": "Hello", "logprob": -0.1}),
        ("the risk-management-of-task-forces", "the risk-management-of-task-forces"),
    ],
    ids=lambda value: str(value)[:25],
)
def test_what_is_masked_and_what_is_not(value: Any, masked: Any) -> None:
    assert Mask(["purple-elephant"], environment={})(value) == masked


def test_variables_that_are_named_like_a_secret_are_secrets_unless_they_name_a_file() -> None:
    mask = Mask(environment={"GH_TOKEN": "abcdefgh1", "MY_SECRET": "/run/secrets/x", "HOME_TOKENS": "whatever1"})
    assert mask("abcdefgh1 /run/secrets/x whatever1") == "*** /run/secrets/x whatever1"


@pytest.mark.parametrize("secret", ["purple-elephant", 'say "purple"/green'])
def test_a_secret_is_found_in_every_form_that_json_and_urls_give_it(secret: str) -> None:
    mask = Mask([secret], environment={})
    forms = [secret, json.dumps(secret), json.dumps(json.dumps(secret)), quote(secret), escape(secret), secret.upper()]
    forms += ["".join(f"\\u{ord(each):04x}" for each in secret)]
    for form in forms:
        assert "***" in mask(f"it is {form}."), form
        assert not {"purple", "elephant", "green"} & set(re.findall(r"\w+", mask(f"it is {form}.").lower())), form


async def test_a_file_that_cannot_be_written_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be written: Is a directory"):
        Trace(tmp_path)


async def test_a_full_disk_is_reported_once_and_the_run_continues(caplog: pytest.LogCaptureFixture) -> None:
    trace = Trace("/dev/full")  # of Linux
    with caplog.at_level(logging.WARNING, "agentkit"):
        result = await Agent(ScriptedModel(["hello"])).run("hi", on_event=trace)
    trace.close()
    assert result.output == "hello"
    assert [each.getMessage() for each in caplog.records] == [
        "the trace /dev/full ends here, as it cannot be written: No space left on device"
    ]


async def test_joined_deltas_are_written_before_what_follows_them(tmp_path: Path) -> None:
    reply = Reply(choices=(Choice(message=AssistantMessage("ab")),))
    trace = Trace(tmp_path / "run.jsonl")
    trace(TextDelta("a"))
    trace(TextDelta("b"))
    assert read(trace.path) == []
    await Agent(ScriptedModel([reply])).run("go", on_event=trace)
    trace.close()
    written = read(trace.path)
    assert [each["event"] for each in written][:2] == ["RunStarted", "TurnStarted"]
    assert written[-1]["text"] == "ab"


def test_runs_in_several_threads_write_whole_lines_to_one_file(tmp_path: Path) -> None:
    def work() -> None:
        for _ in range(5):
            anyio.run(partial(agent.run, "x" * 5000, on_event=trace))

    agent = Agent(FunctionModel(lambda request: "y" * 5000))
    with Trace(tmp_path / "run.jsonl") as trace:
        threads = [Thread(target=work) for _ in range(4)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    written = read(tmp_path / "run.jsonl")
    assert len({each["origin"]["run_id"] for each in written}) == 20
    assert sum(each["event"] == "RunFinished" for each in written) == 20


def test_the_command_writes_a_trace(tmp_path: Path) -> None:
    file = tmp_path / "run.jsonl"
    with replay(events({"content": "Hel"}, {"content": "lo."})) as server:
        done = run("run", "-m", "openai:m", "--trace", str(file), "Hi", OPENAI_BASE_URL=server.url)
    assert (done.returncode, done.stdout) == (0, "Hello.\n")
    written = read(file)
    assert [each["event"] for each in written if each["event"] != "TextDelta"] == [
        *("RunStarted", "TurnStarted", "TurnFinished", "RunFinished")
    ]
    done = run("run", "-m", "ollama:m", "--trace", str(tmp_path / "no" / "run.jsonl"), "Hi")
    assert done.returncode == 2
    assert "cannot be written: No such file or directory" in done.stderr
