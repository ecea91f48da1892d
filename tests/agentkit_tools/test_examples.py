"""The example programs over the ready-made tools."""

import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest

from agentkit.testing import ScriptedModel, call
from tests.agentkit_tools.site import running
from tests.test_examples import load


def test_an_assistant_over_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "week.md").write_text("Tuesday: dentist at 9\n")
    edits = [{"old": "at 9", "new": "at 10"}]
    model = ScriptedModel(
        [
            call("search_documents", query="dentist"),
            [call("edit_file", path="week.md", edits=edits), call("delete_file", path="week.md")],
            "It is at ten now (week.md).",
        ]
    )
    program = load("folder_assistant")
    answers = iter(["y", "n"])
    monkeypatch.setattr("builtins.input", lambda _: next(answers))
    result = program.answer(program.assistant(tmp_path, model), "Move the dentist to ten.")
    assert result.output == "It is at ten now (week.md)."
    assert (tmp_path / "week.md").read_text() == "Tuesday: dentist at 10\n"
    assert "edit_file: " in capsys.readouterr().out
    told = [message.text for message in result.messages if message.role == "tool"]
    assert told[0].startswith("week.md, line 1:")
    assert "the user does not want this" in told[2]


def test_asking_a_database(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    database = sqlite3.connect(tmp_path / "shop.db")
    database.executescript("CREATE TABLE orders (city TEXT, amount INTEGER); INSERT INTO orders VALUES ('Lyon', 90)")
    database.close()
    query = "SELECT city FROM orders ORDER BY amount DESC LIMIT 1"
    model = ScriptedModel([call("show_tables"), call("query_database", query=query), "Lyon."])
    assert load("ask_database").main(str(tmp_path / "shop.db"), "Where do we sell most?", model) == "Lyon."
    assert query in capsys.readouterr().out
    assert model.requests[-1].messages[-1].text == "city\nLyon"


@pytest.mark.anyio
async def test_calling_an_api_from_its_document(capsys: pytest.CaptureFixture[str]) -> None:
    async def resolve(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.1"]

    document = {
        "openapi": "3.1.0",
        "servers": [{"url": "/v1"}],
        "paths": {"/orders": {"get": {"operationId": "listOrders"}, "post": {"operationId": "addOrder"}}},
    }
    model = ScriptedModel([[call("listOrders"), call("addOrder")]])
    with running() as site:
        site.pages["/openapi.json"] = (200, {}, json.dumps(document).encode())
        site.pages["/v1/orders"] = (200, {"content-type": "application/json"}, b'[{"late": true}]')
        url = f"http://api.test:{site.port}/openapi.json"
        program = load("call_api")
        answer = await program.main(url, "Which are late?", model, private=["127.0.0.0/8"], resolve=resolve)
    assert answer == "(not done: it would change something)"
    assert capsys.readouterr().out == "would call addOrder with {}\n"
    assert [seen.path for seen in site.seen] == ["/openapi.json", "/v1/orders"]


def test_code_mode(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(5):
        (tmp_path / f"{number}.py").write_text("line\n" * number)
    code = "counts = sorted((count_lines(path) for path in list_paths('*.py')), reverse=True)\nsum(counts[:2])"
    model = ScriptedModel([call("run_python", code=code), "7 lines."])
    assert load("code_mode").main(tmp_path, "How many lines have the two longest?", model) == "7 lines."
    assert model.requests[-1].messages[-1].text == "7"
    shown = capsys.readouterr().out
    assert shown.count("count_lines(") == 6  # five calls, and the code itself
