"""Notes that last, and plans that live in the messages."""

import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from agentkit_tools import Memory, Todo
from agentkit_tools.todo import Step

from agentkit import Agent, Event, Progress
from agentkit.errors import ConfigError, ModelRetry, ToolError
from agentkit.testing import ScriptedModel, call, context, lint_tools


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    return Memory(tmp_path / "memory.db")


def test_a_model_could_not_misread_the_tools(memory: Memory) -> None:
    assert lint_tools([memory, Todo()]) == []


def test_notes_last_and_are_found_by_any_of_their_words(tmp_path: Path, memory: Memory) -> None:
    memory.remember("The user prefers tea to coffee.")
    memory.remember("The user's dog is called Rex.")
    later = Memory(tmp_path / "memory.db")
    assert later.recall("drink tea").data == ["The user prefers tea to coffee."]
    assert later.recall("dogs").data == ["The user's dog is called Rex."]
    assert later.recall().data[0] == "The user's dog is called Rex."
    assert later.recall("elephants").content == "no notes were found"
    assert later.recall().metadata == {"source": "memory:memory.db"}


@pytest.mark.parametrize("words", ['"', "NEAR(", "* OR *", "note:x", "a AND", "-", "\0", "🙂", '"" ""', "^", "{a b}"])
def test_no_query_is_an_error_of_the_database(memory: Memory, words: str) -> None:
    memory.remember("near note")
    assert memory.recall(words).content


def test_the_same_note_is_kept_once_and_forgotten_numbers_do_not_come_back(memory: Memory) -> None:
    assert memory.remember("one").content == "noted as note 1"
    assert memory.remember(" one ").content == "this is note 1 already"
    memory.forget(1)
    assert memory.recall("one").data == []
    assert memory.remember("one").content == "noted as note 2"
    with pytest.raises(ModelRetry, match="no note 1"):
        memory.forget(1)


def test_notes_are_bounded(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "m.db", most_notes=2)
    for text in ("", "x" * 2001):
        with pytest.raises(ModelRetry, match="1 to 2000 characters"):
            memory.remember(text)
    memory.remember("a")
    memory.remember("b")
    with pytest.raises(ToolError, match="the maximum"):
        memory.remember("c")
    with pytest.raises(ConfigError):
        Memory(tmp_path / "m.db", most_notes=0)


def test_a_file_of_something_else_is_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute("CREATE TABLE notes (id)")
    other.close()
    with pytest.raises(ToolError, match="another kind of database"):
        Memory(tmp_path / "other.db").remember("x")
    (tmp_path / "text.db").write_text("no database" * 100)
    with pytest.raises(ToolError, match="cannot be used"):
        Memory(tmp_path / "text.db").recall()


def test_processes_share_the_file(tmp_path: Path) -> None:
    program = "import sys; from agentkit_tools import Memory; m = Memory(sys.argv[1]); " + "; ".join(
        f"m.remember(f'{{sys.argv[2]}} {number}')" for number in range(20)
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "m.db"), name]) for name in ("one", "two")
    ]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    assert len(Memory(tmp_path / "m.db").notes(most=100)) == 40


@pytest.mark.anyio
async def test_the_plan_is_in_the_messages_and_told_to_observers() -> None:
    first: Any = [{"task": "Read", "status": "in_progress"}, {"task": "Write", "status": "open"}]
    second: Any = [{"task": "Read", "status": "done"}, {"task": "Write", "status": "in_progress"}]
    plans = [call("update_plan", steps=steps) for steps in (first, second)]
    broken = [call("update_plan", steps="all")]
    model = ScriptedModel([plans[0], plans[1], broken, "Done."])
    events: list[Event] = []
    result = await Agent(model, tools=Todo()).run("Go.", on_event=events.append)
    assert [message.text for message in result.messages if message.role == "tool"][:2] == [
        "[>] Read\n[ ] Write",
        "[x] Read\n[>] Write",
    ]
    assert [step.model_dump() for step in Todo.plan_of(result.messages)] == second
    assert Todo.plan_of([]) == []
    told = [(each.fraction, each.message) for each in events if isinstance(each, Progress)]
    assert told == [(0.0, "Read"), (0.5, "Write")]


def test_plans_are_bounded() -> None:
    ask: Any = context(None)
    step = Step(task="a", status="in_progress")
    assert Todo().update_plan(ask, []).content == "the plan is empty"
    with pytest.raises(ModelRetry, match="only one step"):
        Todo().update_plan(ask, [step, step])
    with pytest.raises(ModelRetry, match="at most 50"):
        Todo().update_plan(ask, [step] * 51)
    with pytest.raises(ModelRetry, match="1 to 200 characters"):
        Todo().update_plan(ask, [Step(task="a" * 201, status="open")])
