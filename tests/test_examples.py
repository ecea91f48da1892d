import importlib.util
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import anyio
import pytest

from agentkit.chat import ChatRequest
from agentkit.sessions import MemorySessions
from agentkit.testing import Answer, FunctionModel, ScriptedModel, call

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


def test_a_long_conversation_is_sent_in_part_and_kept_whole(capsys: pytest.CaptureFixture[str]) -> None:
    def answer(request: ChatRequest) -> Answer:
        last = request.messages[-1]
        if not request.tools:
            return "The user asks for one page after the other."
        return call("read_page", page=int(last.text.split()[-1])) if last.role == "user" else "Words."

    model = FunctionModel(answer)
    questions = [f"What is on page {page}" for page in range(1, 9)]
    history = load("long_conversation").main(questions, model, "word " * 5_000, tokens=4_000)
    told = capsys.readouterr().out
    assert len(history) == 8 * 4
    assert ".. ClearToolResults: " in told
    assert ".. Summarize: " in told
    assert any("one page after the other" in request.messages[1].text for request in model.requests if request.tools)
    assert told.endswith("Words.\n")


def test_approvals_wait_in_a_file_until_they_are_decided(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example, path = load("approvals"), tmp_path / "run.json"
    calls = [call("refund", id="r", order=7, cents=4900), call("refund", id="s", order=8, cents=250)]
    example.ask("Refund orders 7 and 8.", ScriptedModel([calls]), path)
    told = capsys.readouterr().out
    assert told.startswith("waits: r  refund({'order': 7, 'cents': 4900})  the tool refund requires approval")
    model = ScriptedModel(["Only order 8 was refunded."])
    example.decide("r", "too much", model, path)
    assert capsys.readouterr().out == "Only order 8 was refunded.\n"
    results = [each.text for each in model.requests[0].messages if each.role == "tool"]
    assert results == ["Error: not run: a person refused this call: too much", "refunded 2.50 for order 8"]


MAILS = {
    "a.eml": "From: Ada <ada@example.org>\nSubject: Invoice 7\n\nPlease pay 49 euros.\n",
    "b.eml": "From: Bob <bob@example.org>\nSubject: Opening hours\n\nAre you open on Monday?\n",
    "c.eml": "From: Cas <cas@example.org>\nSubject: Hello\n\nGreetings from Rome!\n",
}


def inbox_model(*, dies: bool = False) -> FunctionModel:
    def answer(request: ChatRequest) -> Answer:
        prompt = request.messages[-1].text
        if "reply" in request.messages[0].text:
            if dies:
                os.kill(os.getpid(), signal.SIGKILL)
            return "Yes, we are."
        kind = "invoice" if "Invoice" in prompt else "question" if "?" in prompt else "other"
        return json.dumps({"kind": kind, "summary": prompt.partition("\n")[0]})

    return FunctionModel(answer)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_the_inbox_is_killed_and_continues_and_waits_for_a_person(tmp_path: Path) -> None:
    for name, text in MAILS.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    inbox = load("inbox")
    program = (
        "import sys; from pathlib import Path; from tests.test_examples import inbox_model, load;"
        "load('inbox').main(inbox_model(dies=True), Path(sys.argv[1]), 'monday')"
    )
    killed = subprocess.run([sys.executable, "-c", program, str(tmp_path)], cwd=EXAMPLES.parent, check=False)
    assert killed.returncode == -signal.SIGKILL
    model = inbox_model()
    (waits,) = inbox.main(model, tmp_path, "monday")
    assert waits.startswith("waits: 3.4  send({'folder': '")
    assert sorted(each.name for each in tmp_path.glob("*/*.eml")) == ["a.eml", "c.eml"]
    assert sum("Are you open" in each.messages[-1].text for each in model.requests) == 1, "only the draft is left"
    requests = len(model.requests)
    assert inbox.main(model, tmp_path, "monday", "approve", "3.4") == [
        "a.eml: invoice",
        "b.eml: answered",
        "c.eml: other",
    ]
    assert len(model.requests) == requests, "nothing is asked twice"
    (sent,) = (tmp_path / "outbox").iterdir()
    assert sent.read_text(encoding="utf-8") == "To: Bob <bob@example.org>\n\nYes, we are.\n"
    assert not list(tmp_path.glob("*.eml"))


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


def researcher(request: ChatRequest) -> Answer:
    """Plays the whole team: who is asked, the instructions say."""
    last, results = request.messages[-1], [each.text for each in request.messages if each.role == "tool"]
    if "Divide" in request.messages[0].text:
        return '{"first": "What are the prices?", "second": "Why?"}'
    if "Search the files" in request.messages[0].text:
        if not results:
            return call("read_file", path="prices.md" if "prices" in last.text else "reasons.md")
        return json.dumps({"answer": results[0], "files": ["prices.md"]})
    if not results:
        questions = [line[2:] for line in last.text.splitlines() if line.startswith("- ")]
        return [call("searcher", prompt=each) for each in questions]
    return "A lamp is 49, as wood is expensive [prices.md]."


@pytest.mark.anyio
async def test_a_research_team_plans_searches_at_once_and_writes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await anyio.Path(tmp_path / "prices.md").write_text("A lamp is 49.")
    await anyio.Path(tmp_path / "reasons.md").write_text("Wood is expensive.")
    model = FunctionModel(researcher)
    answer = await load("research_team").main("What do lamps cost, and why?", model, tmp_path)
    told = capsys.readouterr().out
    assert answer == "A lamp is 49, as wood is expensive [prices.md]."
    assert 'writer > searcher: read_file({"path": "prices.md"})' in told
    assert 'writer > searcher: read_file({"path": "reasons.md"})' in told
    assert told.count("writer: searcher -> ") == 2
    assert "Wood is expensive." in model.requests[-1].messages[-1].text
    assert told.endswith(f"{answer}\n")


def test_triage_hands_off_and_a_refund_waits(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script: list[Answer] = [
        call("transfer_to_billing"),
        call("find_order", number=7),
        call("refund", id="r", number=7, reason="flickers"),
        "It is refunded.",
        call("transfer_to_triage"),
        call("transfer_to_support"),
        "Try another bulb.",
    ]
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    model, session, example = ScriptedModel(script), MemorySessions()["customer"], load("triage")
    first = example.answer("I want my money back for order 7.", model, session)
    assert (first.state.agent, first.output) == ("billing", "It is refunded.")
    assert "billing: refund({'number': 7, 'reason': 'flickers'})" in capsys.readouterr().out
    second = example.answer("And my other lamp flickers.", model, session)
    assert (second.state.agent, second.output) == ("support", "Try another bulb.")
    assert model.left == 0


@pytest.mark.anyio
async def test_a_draft_is_revised_until_it_is_accepted(capsys: pytest.CaptureFixture[str]) -> None:
    script: list[Answer] = [
        "Bad.",
        '{"accepted": false, "critique": "Say more."}',
        "Good and long.",
        '{"accepted": true}',
    ]
    model = ScriptedModel(script)
    assert await load("draft_and_review").main("Say it", model) == "Good and long."
    assert capsys.readouterr().out == "1. Bad.\n   Say more.\n2. Good and long.\n   accepted\n"
    assert [each.text for each in model.requests[2].messages][1:] == ["Say it", "Bad.", "Revise it: Say more."]
    assert await load("draft_and_review").main("Say it", ScriptedModel(script[:2] * 3), most=1) == "Bad."


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_an_example_is_short_enough_to_be_read(path: Path) -> None:
    limit = 120 if path.stem == "demo" else 80
    assert path.read_text(encoding="utf-8").count("\n") <= limit
