"""The official conformance suite."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
BUILD = HERE.parent.parent.parent / "build" / "mcp"  # where `make interop-mcp` installs what others wrote
PACKAGES = BUILD / "node_modules" / "@modelcontextprotocol"
NODE = BUILD / "bin" / "node"
REVISIONS = ("2025-11-25", "2026-07-28")


def suite(*arguments: str, seconds: float = 120) -> subprocess.CompletedProcess[str]:
    """Run the command of the suite."""
    program = [str(NODE), str(PACKAGES / "conformance" / "dist" / "index.js")]
    return subprocess.run([*program, *arguments], capture_output=True, text=True, timeout=seconds, check=False)


def required(revision: str) -> list[str]:
    """The scenarios that a revision requires of a client."""
    text = (PACKAGES / "conformance" / "requirements" / f"{revision}.yaml").read_text(encoding="utf-8")
    section = re.search(r"^client:\n((?:[ #].*\n|\n)*)", text, re.MULTILINE)
    return re.findall(r"^\s+- (\S+)", section[1] if section else "", re.MULTILINE)


def run_client(scenario: str, revision: str, preloaded: Path) -> tuple[bool, str]:
    """Whether our client passes a scenario, and the end of what the suite wrote.

    The suite itself runs all scenarios at once, which on a small machine ends in timeouts.

    Args:
        scenario: Its name.
        revision: That of the protocol.
        preloaded: The socket of `tests.interop.mcp.preloaded`, for the client.
    """
    command = f"{sys.executable} -S -E {HERE / 'preloaded.py'} {preloaded}"
    options = ["--scenario", scenario, "--spec-version", revision, "--timeout", "60000"]
    done = suite("client", "--command", command, *options)
    return done.returncode == 0, (done.stdout + done.stderr)[-3000:]
