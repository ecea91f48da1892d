"""Code in a sandbox, and code that calls tools."""

import gc
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from agentkit_tools import Python

from agentkit import Agent, CallFinished, CallStarted, Event, Limits, Middleware, ToolResult, tool
from agentkit.errors import ConfigError, ModelRetry, ToolError
from agentkit.messages import ImagePart
from agentkit.run import NextTool, ToolRequest
from agentkit.testing import Answer, ScriptedModel, call, context, lint_tools

pytestmark = pytest.mark.anyio
CANARY = "canary-51b7"
PNG = b"\x89PNG\r\n\x1a\n"


@tool
def temperature(city: str, unit: str = "C") -> dict[str, Any]:
    """Get the temperature in a city.

    Args:
        city: The city.
        unit: C or F.
    """
    if city == "Atlantis":
        raise ToolError("there is no Atlantis")
    if city == "Hell":
        raise ZeroDivisionError(CANARY)
    return {"city": city, "degrees": {"Oslo": 3, "Rome": 18}.get(city, 10), "unit": unit}


@tool(requires_approval=True)
def send(text: str) -> str:
    """Send a message to the team.

    Args:
        text: The message.
    """
    return f"sent {text}"


@pytest.fixture(scope="module")
def python() -> Python:
    return Python(tools=[temperature, send], timeout=1, memory=32 * 1024 * 1024, most_calls=5, max_output=500)


async def run(python: Python, code: str) -> ToolResult:
    return await python.run_python(context(None), code)


def test_a_model_could_not_misread_the_tool() -> None:
    assert lint_tools([Python()]) == []


async def test_files_that_code_writes_come_back_and_images_are_shown() -> None:
    python = Python()
    code = f"open('a.csv', 'w').write('a,b')\nopen('p.png', 'wb').write({PNG!r})\nopen('raw', 'wb').write(b'\\xff')"
    written = await run(python, code)
    assert written.content == "1\n[wrote a.csv, 3 bytes]\n[wrote p.png, 8 bytes]\n[wrote raw, 1 bytes]"
    assert written.data["files"] == {"a.csv": "a,b", "p.png": PNG, "raw": b"\xff"}
    assert list(written.files) == [ImagePart.from_bytes(PNG)]
    read = await run(python, "print(open('a.csv').read())\nopen('a.csv', 'w').write('c')")
    assert read.content == "a,b\n1\n[wrote a.csv, 1 bytes]"
    assert read.data["files"] == {"a.csv": "c"}


async def test_files_have_a_size_in_all() -> None:
    small = Python(max_files=1_000)
    assert not (await run(small, "open('a', 'w').write('x' * 600)")).is_error
    assert "limit" in (await run(small, "open('b', 'w').write('x' * 600)")).content
    many = await run(small, "for name in range(30):\n    open('f' + str(name), 'w').close()")
    assert many.content.endswith("[and 10 other files]")


def test_files_are_gone_with_the_process(tmp_path: Path) -> None:
    program = """
import anyio, os, sys
from agentkit_tools import Python
from agentkit.testing import context
result = anyio.run(Python().run_python, context(None), "open('a', 'w').write('x')")
print(len(os.listdir(sys.argv[1])))
"""
    command = [sys.executable, "-c", program, str(tmp_path)]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert (done.stdout, list(tmp_path.iterdir())) == ("1\n", [])


async def test_after_a_timeout_nothing_of_the_session_is_used_again(python: Python) -> None:
    await run(python, "kept = 1\nopen('kept', 'w').write('x')")
    assert (await run(python, "while True: pass")).content.endswith("All variables and files are lost.")
    assert "NameError" in (await run(python, "kept")).content
    assert "FileNotFoundError" in (await run(python, "open('kept')")).content


async def test_what_is_printed_and_the_last_value_are_shown_and_variables_last(python: Python) -> None:
    assert (await run(python, "x = 20\nprint('hello')\nx + 1")).content == "hello\n21"
    assert (await run(python, "x * 2")).content == "40"
    assert (await run(python, "y = 1")).content == "(nothing was printed)"


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("(", "Syntax"),
        ("nothing", "NameError"),
        ("while True: pass", "TimeoutError|time limit"),
        ("x = [0] * 10**9", "MemoryError"),
        ("x = 'a' * 10**6\nwhile True: x += x", "MemoryError"),
        ("def f(): return f()\nf()", "RecursionError"),
        ("2 ** 10**10", "Error"),
        ("print('x' * 10**9)", "MemoryError"),
    ],
)
async def test_errors_and_limits_are_told_and_the_session_goes_on(python: Python, code: str, complaint: str) -> None:
    failed = await run(python, code)
    assert failed.is_error
    assert any(each in failed.content for each in complaint.split("|")), failed.content
    assert len(failed.content) < 1100
    assert (await run(python, "1 + 1")).content == "2"


@pytest.mark.parametrize(
    "code",
    [
        "open('{secret}').read()",
        "import os\nprint(os.environ)",
        "import os\nos.getenv('AGENTKIT_CANARY')",
        "import os\nos.system('cat {secret}')",
        "import subprocess\nsubprocess.run(['cat', '{secret}'])",
        "import socket\nsocket.create_connection(('127.0.0.1', 80))",
        "from pathlib import Path\nPath('{secret}').read_text()",
        "().__class__.__base__.__subclasses__()",
        "(lambda: 0).__globals__",
        "temperature.__globals__",
        "temperature.__self__",
        "eval('open')('{secret}').read()",
        "exec('import os')",
        "__import__('os').environ['AGENTKIT_CANARY']",
        "import sys\nsys.modules['os'].environ",
        "import ctypes",
        "'{{0.__class__}}'.format(temperature)",
        "getattr(temperature, '__wrapped__')",
        "import os\nprint(os.listdir('/'))",
        "import builtins\nbuiltins.open('{secret}')",
        "import importlib\nimportlib.import_module('subprocess')",
        "import pickle",
        "try:\n    temperature('Hell')\nexcept Exception as e:\n    print(e, e.__traceback__, e.__cause__)",
        "open('{secret}', 'w').write('changed')",
    ],
)
async def test_no_escape_finds_the_canary(
    python: Python, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text(CANARY)
    monkeypatch.setenv("AGENTKIT_CANARY", CANARY)
    shown = (await run(Python() if "Hell" not in code else python, code.format(secret=secret))).content
    assert CANARY not in shown
    assert secret.read_text() == CANARY
    assert "root:" not in shown


async def test_code_calls_tools_like_functions(python: Python) -> None:
    warm = "warm = [c for c in ['Oslo', 'Rome'] if temperature(c)['degrees'] > 10]"
    code = f"{warm}\nwarm, temperature('Oslo', unit='F')['unit']"
    assert (await run(python, code)).content == "(['Rome'], 'F')"
    assert "def temperature(city: str, unit: str = ...)  # Get the temperature in a city. city: The city." in (
        python["run_python"].description
    )


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        ("temperature('Atlantis')", "there is no Atlantis"),
        ("temperature('Oslo', 'C', 'x')", "takes 2 arguments, not 3"),
        ("temperature(town='Oslo')", "town"),
        ("temperature([1])", "city"),
        ("temperature()", "city"),
        ("send('x')", "NameError"),
        ("[temperature('Oslo') for _ in range(6)]", "5 tool calls"),
    ],
)
async def test_what_goes_wrong_in_a_tool_is_an_exception_in_the_code(python: Python, code: str, complaint: str) -> None:
    failed = await run(python, code)
    assert failed.is_error
    assert complaint in failed.content
    caught = await run(
        python, f"try:\n    {code}\nexcept RuntimeError as error:\n    print('caught')\nexcept Exception: pass"
    )
    assert not caught.is_error


def test_tools_that_may_need_approval_are_offered_to_the_model_and_not_to_code(python: Python) -> None:
    assert [each.name for each in python] == ["run_python", "send"]
    assert python["send"].requires_approval is True
    assert "send" not in python["run_python"].description


async def test_in_a_run_calls_from_code_are_events_count_and_pass_the_middleware(python: Python) -> None:
    passed: list[str] = []

    class Watch(Middleware):
        async def around_tool(self, call: ToolRequest, inner: NextTool) -> ToolResult:
            passed.append(call.tool.name)
            return await inner(call)

    script: list[Answer] = [call("run_python", code="[temperature(c)['degrees'] for c in ('Oslo', 'Rome')]"), "Done."]
    events: list[Event] = []
    agent = Agent(ScriptedModel(script), tools=[python], middleware=[Watch()])
    result = await agent.run("Compare.", on_event=events.append)
    assert [message.text for message in result.messages if message.role == "tool"] == ["[3, 18]"]
    assert sorted(passed) == ["run_python", "temperature", "temperature"]
    started = [each.call.id for each in events if isinstance(each, CallStarted)]
    assert started == ["call_1_1", "call_1_1.1", "call_1_1.2"]
    finished = [(each.call.name, each.result.content) for each in events if isinstance(each, CallFinished)]
    assert finished[0] == ("temperature", '{"city":"Oslo","degrees":3,"unit":"C"}')
    assert finished[-1][0] == "run_python"
    assert result.state.calls == 3


async def test_calls_from_code_end_at_the_limit_of_the_run(python: Python) -> None:
    script: list[Answer] = [call("run_python", code="[temperature(c) for c in ('Oslo', 'Rome', 'Bonn')]"), "Done."]
    result = await Agent(ScriptedModel(script), tools=[python], limits=Limits(calls=2)).run("Compare.")
    assert "the run has no calls left" in next(message.text for message in result.messages if message.role == "tool")


async def test_runs_do_not_share_variables(python: Python) -> None:
    script: list[Answer] = [call("run_python", code="x = 'mine'"), "Done."]
    await Agent(ScriptedModel(script), tools=[python]).run("A")
    script = [call("run_python", code="x"), "Done."]
    result = await Agent(ScriptedModel(script), tools=[python]).run("B")
    assert "NameError" in next(message.text for message in result.messages if message.role == "tool")


async def test_more_runs_than_workers_take_turns() -> None:
    python = Python()
    for number in range(20):
        ask: Any = replace(context(None), run_id=f"run {number}")
        assert (await python.run_python(ask, f"x = {number}\nx")).content == str(number)
    assert (await python.run_python(replace(context(None), run_id="run 19"), "x")).content == "19"
    assert "NameError" in (await python.run_python(replace(context(None), run_id="run 0"), "x")).content


async def test_what_cannot_work_is_refused(python: Python) -> None:
    with pytest.raises(ModelRetry, match="more than 50,000"):
        await run(python, "#" * 50_001)
    with pytest.raises(ConfigError, match="above 0"):
        Python(timeout=0)
    with pytest.raises(ConfigError, match="rename it"):
        Python(tools=[tool(temperature, name="get-temperature")])


async def test_its_workers_end_with_it() -> None:
    python = Python()
    await run(python, "1")
    before = children()
    del python
    gc.collect()
    assert len(children()) < len(before)


def children() -> set[str]:
    tasks = Path("/proc/self/task").glob("*/children")
    return {pid for path in tasks for pid in path.read_text().split() if Path(f"/proc/{pid}").exists() and os.getpid()}
