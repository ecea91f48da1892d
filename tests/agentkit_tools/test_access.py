"""What the ready-made tools say that they can do."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from agentkit_tools import (
    Ask,
    Calculator,
    Clock,
    Files,
    Http,
    Memory,
    OpenApi,
    Python,
    Random,
    Search,
    Shell,
    Sql,
    Todo,
)

from agentkit.lint import lint_tools
from agentkit.tools import Toolset

API: dict[str, Any] = {
    "openapi": "3.1.0",
    "servers": [{"url": "https://pets.example"}],
    "paths": {
        "/pets": {
            "get": {"operationId": "list_pets", "summary": "List all pets.", "responses": {}},
            "post": {"operationId": "add_pet", "summary": "Add a new pet.", "responses": {}},
        }
    },
}
SECRETS = {"api.example.com": "Bearer x"}
NEAR = "10.0.0.0/8"
PRIVATE, PUBLIC, ALL = {"private"}, {"untrusted", "outside"}, {"private", "untrusted", "outside"}


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        pytest.param(Files, {"read_file": PRIVATE, "list_files": PRIVATE}, id="files"),
        pytest.param(lambda at: Files(at, write=True), {"write_file": set(), "search_files": PRIVATE}, id="writing"),
        pytest.param(Search, {"search_documents": PRIVATE, "read_document": PRIVATE}, id="search"),
        pytest.param(lambda at: Memory(at / "m.db"), {"recall": PRIVATE, "remember": set()}, id="memory"),
        pytest.param(lambda at: Sql(at / "shop.db", write=True), {"change_database": PRIVATE}, id="sql"),
        pytest.param(lambda at: Http(["*"]), {"fetch_page": PUBLIC, "http_request": PUBLIC}, id="http"),
        pytest.param(lambda at: Http(["*"], secrets=SECRETS), {"fetch_page": ALL}, id="http-secrets"),
        pytest.param(lambda at: Http(["*"], private=[NEAR]), {"http_request": ALL}, id="http-private"),
        pytest.param(lambda at: OpenApi(API), {"list_pets": PUBLIC, "add_pet": PUBLIC}, id="openapi"),
        pytest.param(
            lambda at: OpenApi(API, auth={"X-Key": "x"}), {"list_pets": ALL, "add_pet": ALL}, id="openapi-auth"
        ),
        pytest.param(Shell, {"run_command": PRIVATE, "poll_command": PRIVATE}, id="shell"),
        pytest.param(
            lambda at: Shell(at, network=True),
            {"run_command": ALL, "poll_command": {"private", "untrusted"}, "stop_command": {"private", "untrusted"}},
            id="shell-network",
        ),
        pytest.param(lambda at: Shell(at, allow=["ls"], sandbox="none"), {"run_program": ALL}, id="no-sandbox"),
        pytest.param(lambda at: Python(), {"run_python": set()}, id="python"),
        pytest.param(
            lambda at: Python(tools=[Files(at), Http(["*"])]),
            {"run_python": ALL, "http_request": PUBLIC},
            id="code-mode",
        ),
    ],
)
def test_the_tools_of_a_toolset_say_what_they_can_do(
    make: Callable[[Path], Toolset], expected: dict[str, set[str]], tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "shop.db").touch()
    made = make(folder)
    assert {name: set(made[name].access) for name in expected} == expected


def test_what_stays_inside_the_run_says_nothing() -> None:
    harmless = [Ask(), Calculator(), Clock(), Random(), Todo()]
    assert [each.name for toolset in harmless for each in toolset if each.access] == []


def test_code_mode_that_can_read_files_and_pages_is_warned_of(tmp_path: Path) -> None:
    warned = [each for each in lint_tools([Python(tools=[Files(tmp_path), Http(["*"])])]) if "leak" in each.what]
    assert [each.tool for each in warned] == ["run_python"]
