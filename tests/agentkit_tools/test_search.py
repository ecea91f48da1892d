"""Full-text search over a folder or over texts."""

import os
import sqlite3
from pathlib import Path

import pytest
from agentkit_tools import Search

from agentkit import Agent
from agentkit.errors import ConfigError, ModelRetry, ToolError
from agentkit.testing import ScriptedModel, call, lint_tools

TEXTS = {
    "tea.md": "# Tea\n\nGreen tea is brewed at 80 degrees.\nBlack tea at 95.\n",
    "coffee.md": "# Coffee\n\nEspresso needs nine bars of pressure.\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "docs"
    place.mkdir()
    for name, text in TEXTS.items():
        (place / name).write_text(text)
    (place / ".secret.md").write_text("tea secret")
    (place / "data.bin").write_bytes(b"tea\0\1\2")
    return place


@pytest.fixture(params=["folder", "texts"])
def search(request: pytest.FixtureRequest, folder: Path) -> Search:
    return Search(folder if request.param == "folder" else TEXTS)


def test_a_model_could_not_misread_the_tools(search: Search) -> None:
    assert lint_tools([search]) == []


def test_words_find_passages_with_their_place(search: Search) -> None:
    found = search.search_documents("brewing green teas")
    assert found.data == ["tea.md"]
    assert found.content.startswith("tea.md, line 1:")
    assert "**Green** **tea** is **brewed**" in found.content
    assert search.search_documents("elephant").content == "no document has any of these words"
    assert search.search_documents('"nine bars"').data == ["coffee.md"]
    with pytest.raises(ModelRetry, match="no words"):
        search.search_documents("?!")


def test_reading_around_a_hit(search: Search) -> None:
    read = search.read_document("tea.md", line=3, lines=2)
    assert read.content == "\nGreen tea is brewed at 80 degrees.\n[lines 2 to 3 of 4 of tea.md]"
    assert read.metadata["source"].endswith(":tea.md")
    for name in ("missing.md", "../docs/tea.md", "/etc/passwd", ".secret.md"):
        with pytest.raises(ToolError):
            search.read_document(name)


def test_the_best_passage_of_a_long_document_comes_first() -> None:
    lines = [f"Line {number} is about nothing in particular and goes on for a while." for number in range(500)]
    lines[321] = "The treasure is under the old oak."
    search = Search({"long.txt": "\n".join(lines)})
    found = search.search_documents("treasure oak", limit=1).content
    line = int(found.split("line ")[1].split(":")[0])
    assert line <= 322
    assert "**treasure**" in found
    assert "treasure" in search.read_document("long.txt", line=line, lines=60).content


def test_the_index_follows_the_files(folder: Path) -> None:
    search = Search(folder, files="*.md")
    assert search.search_documents("tea").data == ["tea.md"]
    (folder / "new.md").write_text("Iced tea with mint.")
    (folder / "tea.md").write_text("Nothing more here.")
    os.utime(folder / "tea.md", (1, 1))
    (folder / "coffee.md").unlink()
    assert search.search_documents("tea").data == ["new.md"]
    assert search.search_documents("espresso").data == []


def test_what_is_hidden_large_or_not_matched_is_not_found(folder: Path) -> None:
    (folder / "large.md").write_text("tea " * 1000)
    (folder / "tea.log").write_text("tea")
    assert Search(folder, files="*.md", max_bytes=1000).search_documents("tea").data == ["tea.md"]
    assert set(Search(folder, hidden=True).search_documents("tea secret").data) >= {".secret.md", "tea.log"}


def test_an_index_in_a_file_is_used_again_and_that_of_something_else_is_refused(folder: Path, tmp_path: Path) -> None:
    index = tmp_path / "index.db"
    assert Search(folder, index=index).search_documents("espresso").data == ["coffee.md"]
    with sqlite3.connect(index) as file:
        assert file.execute("SELECT count(*) FROM documents").fetchone()[0] == 3
    file.close()
    assert Search(folder, index=index).search_documents("espresso").data == ["coffee.md"]
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as file:
        file.execute("CREATE TABLE mine (id)")
    file.close()
    with pytest.raises(ConfigError, match="another kind of database"):
        Search(folder, index=other)
    (tmp_path / "text.db").write_text("no database" * 100)
    with pytest.raises(ConfigError, match="not a database"):
        Search(folder, index=tmp_path / "text.db")


@pytest.mark.anyio
async def test_many_searches_at_once_share_the_index(folder: Path) -> None:
    search = Search(folder)
    model = ScriptedModel([[call("search_documents", query=f"tea {number}") for number in range(12)], "Found."])
    result = await Agent(model, tools=[search]).run("Look.")
    told = [message.text for message in result.messages if message.role == "tool"]
    assert len(told) == 12
    assert all(text.startswith("tea.md") for text in told)
