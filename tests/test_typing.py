"""What type checkers make of agents: the types of outputs and dependencies, and the mistakes that they refuse."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
RIGHT, WRONG = (ROOT / "tests" / "typing" / name for name in ("right.py", "wrong.py"))


def mypy(*options: str) -> set[tuple[str, int]]:
    """Where mypy finds errors: the name of the file and the line."""
    command = [sys.executable, "-m", "mypy", "--exclude", "^$", "--no-error-summary", *options, str(RIGHT), str(WRONG)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert not done.stderr, done.stderr
    return {(Path(file).name, int(line)) for file, line in re.findall(r"^(.+?):(\d+): error", done.stdout, re.M)}


def pyright() -> set[tuple[str, int]]:
    """Where pyright finds errors."""
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--outputjson", str(RIGHT), str(WRONG)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)["generalDiagnostics"]
    return {(Path(each["file"]).name, each["range"]["start"]["line"] + 1) for each in found}


@pytest.mark.parametrize("checker", [mypy, pyright], ids=["mypy", "pyright"])
def test_type_checkers_refuse_exactly_what_is_wrong(checker: object) -> None:
    assert callable(checker)
    name = getattr(checker, "__name__", "")
    lines = WRONG.read_text(encoding="utf-8").splitlines()
    wrong = {
        (WRONG.name, number)
        for number, line in enumerate(lines, start=1)
        if line.endswith(("# refused", f"# refused by {name}"))
    }
    assert checker() == wrong
