"""A server of before 2026 that makes the first question costly is asked it once a week, not once a process."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from agentkit.mcp import session
from agentkit.mcp.eras import is_known_as_legacy, remember
from tests.explore import EXPLORE
from tests.mcp.servers import hostile, results, use

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """One is enough: files are the same on both."""
    return "asyncio"


def probes(log: Path) -> int:
    return log.read_text(encoding="utf-8").count('"server/discover"')


@pytest.mark.skipif(not EXPLORE, reason="waits ten seconds: `make explore` runs it")
async def test_a_server_that_ignores_an_unknown_question_costs_ten_seconds_once(tmp_path: Path) -> None:
    for _ in range(2):
        assert results(await use(hostile("ignores the probe", str(tmp_path / "log")))) == ["hello"]
    assert probes(tmp_path / "log") == 1


async def test_a_server_whose_start_is_slow_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "_PROBE", 0)
    for _ in range(2):
        assert results(await use(hostile("none", str(tmp_path / "log")))) == ["hello"]
    assert probes(tmp_path / "log") == 1


async def test_a_server_that_ends_at_the_question_is_not_asked_again(tmp_path: Path, own_cache: Path) -> None:
    for _ in range(2):
        assert results(await use(hostile("exits at the probe", str(tmp_path / "log")))) == ["hello"]
    assert probes(tmp_path / "log") == 1
    stored = (own_cache / "mcp-eras.json").read_text(encoding="utf-8")
    assert "hostile" not in stored  # a command may have a key in it


async def test_a_server_that_costs_nothing_is_asked_each_time(tmp_path: Path, own_cache: Path) -> None:
    for _ in range(2):
        await use(hostile("none", str(tmp_path / "log")))
    assert (probes(tmp_path / "log"), (own_cache / "mcp-eras.json").exists()) == (2, False)


async def test_a_server_that_has_been_updated_is_spoken_to_as_one_of_2026(tmp_path: Path) -> None:
    server = hostile("only 2026", str(tmp_path / "log"))
    remember(server._server.target.key, is_legacy=True)
    assert results(await use(server)) == ["hello"]
    assert not is_known_as_legacy(server._server.target.key)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"version": 2}', '{"version": 1, "legacy": 5}'])
def test_a_file_that_cannot_be_read_is_one_that_knows_nothing(own_cache: Path, text: str) -> None:
    (own_cache / "mcp-eras.json").write_text(text, encoding="utf-8")
    assert not is_known_as_legacy("server")
    remember("server", is_legacy=True)
    assert is_known_as_legacy("server")
    assert not is_known_as_legacy("other")


def test_what_was_found_a_week_ago_is_found_anew(own_cache: Path) -> None:
    remember("server", is_legacy=True)
    file = own_cache / "mcp-eras.json"
    stored = json.loads(file.read_text(encoding="utf-8"))
    for at, is_known in ((time.time() - 6 * 86400, True), (time.time() - 8 * 86400, False), (2**40, False)):
        stored["legacy"] = dict.fromkeys(stored["legacy"], at)
        file.write_text(json.dumps(stored), encoding="utf-8")
        assert is_known_as_legacy("server") is is_known


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("AGENTKIT_CACHE", str(tmp_path / "file" / "cache"))
    remember("server", is_legacy=True)
    assert not is_known_as_legacy("server")
