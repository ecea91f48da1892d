import importlib.util
from pathlib import Path
from types import ModuleType

import anyio
import pytest

from agentkit.testing import Answer, ScriptedModel, call

EXAMPLES = Path(__file__).parent.parent / "examples"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"examples.{name}", EXAMPLES / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_first_agent() -> None:
    model = ScriptedModel([call("calculate", a=17, operation="times", b=23), "17 times 23 is 391."])
    assert load("first_agent").main("What is 17 times 23?", model) == "17 times 23 is 391."
    assert model.requests[1].messages[-1].text == "391.0"


@pytest.mark.anyio
async def test_watch_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    await anyio.Path(tmp_path / "a.txt").write_text("one two three")
    calls = [call("count_words", name="a.txt"), call("count_words", name="../b.txt")]
    status = await load("watch_a_run").main("How long?", ScriptedModel([calls, "Three words."]), tmp_path)
    told = capsys.readouterr().out
    assert status == "done"
    assert '-> count_words({"name": "a.txt"})' in told
    assert ".. count_words 50% reading a.txt" in told
    assert "<- count_words: 3" in told
    assert "<- count_words: Error: there is no file b.txt" in told
    assert told.endswith("Three words.\n")


def test_notes_keep_their_conversation_and_their_database(tmp_path: Path) -> None:
    script: list[Answer] = [
        call("add_note", text="Buy milk"),
        "Noted.",
        call("find_notes", word="milk"),
        "You are to buy milk.",
    ]
    model = ScriptedModel(script)
    answers = load("notes").main(["Note: buy milk", "What about milk?"], model, str(tmp_path / "notes.db"))
    assert answers == ["Noted.", "You are to buy milk."]
    assert model.requests[-1].messages[-1].text == '["Buy milk"]'
    assert len(model.requests[-1].messages) == 8


def test_the_demo_asks_its_questions(capsys: pytest.CaptureFixture[str]) -> None:
    demo = load("demo")
    script: list[Answer] = [
        call("calculate", a=17, operation="times", b=23),
        "391.",
        [call("get_weather", city="Paris"), call("get_weather", city="Rome")],
        "Rain and sun.",
        call("get_time", city="Tokyo"),
        "Late.",
        call("roll_dice", count=3),
        "Three dice.",
    ]
    anyio.run(demo.main, ScriptedModel(script))
    told = capsys.readouterr().out
    assert all(f"? {question}" in told for question in demo.QUESTIONS)
    assert "<- calculate: 391.0" in told
    assert "<- get_weather: rainy, 14 degrees" in told
    assert "= Three dice." in told


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_an_example_is_short_enough_to_be_read(path: Path) -> None:
    limit = 120 if path.stem == "demo" else 80
    assert path.read_text(encoding="utf-8").count("\n") <= limit
