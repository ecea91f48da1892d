"""Runs the client scenarios of the official conformance suite one after the other, and prints how they went.

``python -m tests.interop.conformance SUITE [REVISION...]``, where SUITE is the directory of the npm package. The suite
itself runs all of them at once, which on a small machine ends in timeouts.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

CLIENT = Path(__file__).parent / "mcp_client.py"
REVISIONS = ("2025-11-25", "2026-07-28")


def required(suite: Path, revision: str) -> list[str]:
    """The scenarios that a revision requires of a client."""
    text = (suite / "requirements" / f"{revision}.yaml").read_text(encoding="utf-8")
    section = re.search(r"^client:\n((?:[ #].*\n|\n)*)", text, re.MULTILINE)
    return re.findall(r"^\s+- (\S+)", section[1] if section else "", re.MULTILINE)


def run(suite: Path, scenario: str, revision: str) -> tuple[bool, str]:
    """Whether a scenario passes, and the end of what the suite wrote."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    program = [shutil.which("node", path=path) or "node", str(suite / "dist" / "index.js"), "client"]
    options = ["--command", f"{sys.executable} {CLIENT}", "--scenario", scenario, "--spec-version", revision]
    done = subprocess.run([*program, *options, "--timeout", "60000"], capture_output=True, text=True, check=False)
    return done.returncode == 0, (done.stdout + done.stderr)[-3000:]


def main(suite: Path, revisions: list[str]) -> int:
    """Run them, and print a line for each; the exit status says whether all passed."""
    failed = 0
    for revision in revisions:
        scenarios = required(suite, revision)
        passed = 0
        for scenario in scenarios:
            is_passed, said = run(suite, scenario, revision)
            passed += is_passed
            print(f"{revision} {'passed' if is_passed else 'FAILED'} {scenario}", flush=True)  # noqa: T201
            if not is_passed:
                print(said, flush=True)  # noqa: T201
        print(f"{revision}: {passed} of {len(scenarios)}", flush=True)  # noqa: T201
        failed += len(scenarios) - passed
    return failed


if __name__ == "__main__":
    sys.exit(min(main(Path(sys.argv[1]), sys.argv[2:] or list(REVISIONS)), 1))
