from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from agentkit.errors import DefinitionError, ToolError
from agentkit.testing import context
from agentkit.tools.context import ToolContext
from agentkit.tools.result import ToolResult
from agentkit.tools.tool import tool

pytestmark = pytest.mark.anyio
ONE_LOOP = pytest.mark.parametrize("anyio_backend", ["asyncio"])  # what travels is the same, whichever waits for it


@tool(process=True)
def elsewhere(day: date, home: int) -> dict[str, Any]:
    """Tell whether this is another process."""
    return {"other": os.getpid() != home, "year": day.year}


@tool(process=True)
def leave() -> None:
    """Leave."""
    sys.exit(3)


@tool(process=True)
def refuse() -> None:
    """Refuse."""
    raise ToolError("closed")


@tool(process=True)
def keep() -> Any:
    """Give what no other process can have."""
    return [lambda: 1]


@tool(process=True, timeout=0.2)
def spin() -> None:
    """Never end."""
    while True:
        pass


@dataclass(frozen=True)
class Power:
    exponent: int

    def __call__(self, base: int) -> int:
        """Raise to a power."""
        return int(base**self.exponent)


def plain(n: int) -> int:
    """Add one."""
    return n + 1


async def test_a_tool_may_run_in_a_process_of_its_own() -> None:
    result = await elsewhere.call(context(None), f'{{"day": "2026-05-01", "home": {os.getpid()}}}')
    assert result.data == {"other": True, "year": 2026}
    assert result.content == '{"other":true,"year":2026}'
    for made, content in ((tool(Power(2), name="square", process=True), "9"), (tool(plain, process=True), "4")):
        arguments = '{"base": 3}' if made.name == "square" else '{"n": 3}'
        assert (await made.call(context(None), arguments)).content == content


async def test_what_goes_wrong_there_is_told_here() -> None:
    with pytest.raises(RuntimeError, match="SystemExit"):
        await leave.call(context(None), "")
    with pytest.raises(ToolError, match="closed"):
        await refuse.call(context(None), "")


@ONE_LOOP
async def test_a_value_that_cannot_travel_is_lost_but_not_what_the_model_reads() -> None:
    result = await keep.call(context(None), "")
    assert result.data is None
    assert "function keep.<locals>.<lambda>" in result.content


async def test_a_process_that_takes_too_long_is_ended() -> None:
    with pytest.raises(ToolError, match=r"timed out after 0\.2 seconds"):
        await spin.call(context(None), "")


async def test_what_cannot_run_there_says_so() -> None:
    def local() -> None: ...

    def knowing(ctx: ToolContext[Any]) -> None: ...

    def steps() -> Any:
        yield 1

    for function, complaint in ((local, "a function of a module"), (knowing, "ToolContext"), (steps, "a generator")):
        with pytest.raises(DefinitionError, match=complaint):
            tool(function, process=True)


class Fragile:
    """Can be sent, but does not arrive."""

    def __reduce__(self) -> Any:
        return int, ("no number",)


class Lost(Exception):
    def __init__(self, *, why: str) -> None:
        super().__init__(f"lost: {why}")


class Told(ToolError):
    def __init__(self, *, why: str) -> None:
        super().__init__(f"told: {why}")


@tool(process=True)
def fragile(where: str) -> Any:
    """Give or raise what does not arrive."""
    if where == "error":
        raise Lost(why="fog")
    if where == "told":
        raise Told(why="fog")
    if where == "metadata":
        return ToolResult("done", {"kept": 1}, metadata={"x": Fragile()})
    return ToolResult("done", Fragile(), metadata={"kept": 1})


@ONE_LOOP
async def test_what_would_not_arrive_is_not_sent() -> None:
    result = await fragile.call(context(None), '{"where": "data"}')
    assert (result.content, result.data, result.metadata) == ("done", None, {"kept": 1})
    result = await fragile.call(context(None), '{"where": "metadata"}')
    assert (result.content, result.data, result.metadata) == ("done", {"kept": 1}, {})


@ONE_LOOP
async def test_an_error_that_would_not_arrive_is_told_in_words() -> None:
    with pytest.raises(RuntimeError, match=r"^Lost: lost: fog$"):
        await fragile.call(context(None), '{"where": "error"}')
    with pytest.raises(ToolError, match=r"^told: fog$"):
        await fragile.call(context(None), '{"where": "told"}')


SCRIPT = """
from agentkit import Agent, tool
from agentkit.testing import ScriptedModel, call

@tool(process=True)
def add(a: int) -> int:
    return a + 1

def main() -> None:
    with open("log", "a") as log:
        log.write("started ")
    result = Agent(ScriptedModel([call("add", a=1), "done"]), tools=[add]).run_sync("go")
    print(result.messages[2].text)
"""


def run_script(directory: Path, *arguments: str, text: str = "") -> str:
    (directory / "script.py").write_text(text)
    command = [sys.executable, *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, cwd=directory)
    return done.stdout + done.stderr


def test_a_tool_of_the_script_itself_runs_in_a_process_of_its_own(tmp_path: Path) -> None:
    assert run_script(tmp_path, "script.py", text=f'{SCRIPT}\nif __name__ == "__main__":\n    main()\n') == "2\n"
    assert (tmp_path / "log").read_text() == "started "


OWN_CLASSES = """
from dataclasses import dataclass
from agentkit import Agent, CallFinished, tool
from agentkit.testing import ScriptedModel, call

@dataclass
class Box:
    size: int

class TooLarge(Exception):
    pass

@tool(process=True)
def grow(box: Box) -> Box:
    if box.size > 1:
        raise TooLarge("no room")
    return Box(box.size + 1)

def tell(event: object) -> None:
    if isinstance(event, CallFinished):
        print(isinstance(event.result.data, Box), isinstance(event.error, TooLarge), event.result.content)

if __name__ == "__main__":
    model = ScriptedModel([call("grow", box={"size": 1}), call("grow", box={"size": 2}), "done"])
    Agent(model, tools=[grow]).run_sync("go", on_event=tell)
"""


def test_classes_of_the_script_come_back_from_the_other_process_as_they_are(tmp_path: Path) -> None:
    assert run_script(tmp_path, "script.py", text=OWN_CLASSES).splitlines()[:2] == [
        'True False {"size":2}',
        "False True Error: grow failed with TooLarge: no room",
    ]


def test_a_script_that_would_run_its_agents_in_each_process_again_says_what_to_do(tmp_path: Path) -> None:
    told = run_script(tmp_path, "script.py", text=f"{SCRIPT}\nmain()\n")
    assert told.startswith("Error: add failed with RuntimeError: no process for the tool could be started; the script")
    assert 'put what it does under `if __name__ == "__main__":`' in told


def test_a_script_that_another_process_cannot_import_says_why(tmp_path: Path) -> None:
    text = f'{SCRIPT}\nif __name__ == "__main__":\n    main()\nelse:\n    raise KeyError("no home")\n'
    assert "no process for the tool could be started; KeyError: 'no home'" in run_script(
        tmp_path, "script.py", text=text
    )


def test_a_tool_of_an_interactive_session_is_refused_where_it_is_written(tmp_path: Path) -> None:
    assert "DefinitionError: tool 'add': process=True needs a function of a file" in run_script(tmp_path, "-c", SCRIPT)


NESTED = """
import anyio
from agentkit import Agent, tool
from agentkit.testing import ScriptedModel, call

@tool(process=True)
def ask() -> str:
    return Agent(ScriptedModel(["from within"])).run_sync("go").output

async def main():
    result = await Agent(ScriptedModel([call("ask"), "done"]), tools=[ask]).run("go")
    print(result.messages[2].text)

if __name__ == "__main__":
    anyio.run(main)
"""


def test_an_agent_in_a_process_for_tools_is_refused_as_no_limit_could_count_it(tmp_path: Path) -> None:
    script = tmp_path / "nested.py"
    script.write_text(NESTED, encoding="utf-8")
    done = subprocess.run([sys.executable, str(script)], check=False, capture_output=True, text=True, timeout=60)
    assert done.stdout == (
        "Error: ask failed with ConfigError: ask runs an agent in another process, where the limits of its run cannot "
        "count it: make it async, or take process=True off\n"
    )
