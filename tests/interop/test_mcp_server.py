"""Our MCP server under the official conformance suite, and with a client that nobody here wrote."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.mcp.conformance import BUILD, HERE, REVISIONS, suite
from tests.mcp.test_server import PRINTING

SCENARIOS = {"2025-11-25": 30 + 3, "2026-07-28": 37 + 3}  # that it requires, and that it does not


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The address of the server that the suite tests."""
    with subprocess.Popen([sys.executable, str(HERE / "server.py")], stdout=subprocess.PIPE, text=True) as started:
        assert started.stdout
        yield started.stdout.readline().strip()
        started.terminate()


@pytest.mark.parametrize("revision", REVISIONS)
def test_the_server_conforms(url: str, revision: str) -> None:
    done = suite("server", "--url", url, "--requirements", revision, seconds=300)
    summary = done.stdout.partition("=== SUMMARY ===")[2].partition("Not scored")[0]
    failed = [each for each in re.findall(r"✗ (\S+):", summary) if not each.startswith("tasks-")]
    assert (done.returncode, failed) == (0, [])
    passed = [each for each in re.findall(r"✓ (\S+):", summary) if not each.startswith("tasks-")]
    assert len(passed) == SCENARIOS[revision]


@pytest.fixture
def tools(tmp_path: Path) -> str:
    """A file with a tool."""
    (tmp_path / "mine.py").write_text(PRINTING)
    return str(tmp_path / "mine.py")


def use_fastmcp(*arguments: str) -> None:
    """Run the client of fastmcp in the environment that it is installed in."""
    line = [str(BUILD / "bin" / "python"), str(HERE / "fastmcp_client.py"), *arguments]
    done = subprocess.run(line, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def test_the_client_of_fastmcp_over_standard_input(tools: str) -> None:
    use_fastmcp(sys.executable, "-m", "agentkit", "mcp", "serve", tools)


def test_the_client_of_fastmcp_over_http(url: str) -> None:
    use_fastmcp(url)
