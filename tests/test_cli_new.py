"""`agentkit new`."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.command import OUR_ENVIRONMENT, run


def test_a_starter_project_has_a_test_that_passes_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("new", "cafe", "-m", "ollama:qwen3")
    assert done.returncode == 0, done.stderr
    assert "try it: cd cafe && agentkit chat agent.py:agent" in done.stderr
    assert sorted(each.name for each in Path("cafe").iterdir()) == ["README.md", "agent.py", "test_agent.py"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir=."]
    environment = {**OUR_ENVIRONMENT, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    tested = subprocess.run(command, cwd="cafe", env=environment, capture_output=True, text=True, check=False)
    assert (tested.returncode, "2 passed" in tested.stdout) == (0, True), tested.stdout


@pytest.mark.parametrize(
    ("environment", "model"),
    [({"AGENTKIT_MODEL": "ollama:qwen3"}, "ollama:qwen3"), ({}, "openai:gpt-5-mini")],
    ids=["chosen", "default"],
)
def test_the_model_of_the_project_is_said_and_what_to_do_without_a_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, Any], model: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("new", "cafe", **environment)
    assert done.returncode == 0, done.stderr
    assert f"made cafe: agent.py (with the model {model}), test_agent.py, README.md" in done.stderr
    assert "without a key, add --model local" in done.stderr
    assert f'Agent("{model}"' in Path("cafe/agent.py").read_text(encoding="utf-8")


def test_nothing_is_overwritten_and_a_wrong_name_makes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("cafe").mkdir()
    Path("cafe/agent.py").write_text("mine", encoding="utf-8")
    done = run("new", "cafe")
    assert (done.returncode, Path("cafe/agent.py").read_text(encoding="utf-8")) == (2, "mine")
    assert done.stderr == "error: 'cafe' already has agent.py: nothing was written\n"
    assert run("new", "cafe/agent.py").returncode == 2
    assert run("new", "other", "-m", 'x"; import os').returncode == 2
    assert not Path("other").exists()
