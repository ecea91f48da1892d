import inspect
import re
import tomllib
from pathlib import Path

import pytest

import agentkit
import agentkit.testing
from agentkit import errors

ROOT = Path(__file__).parent.parent


def test_the_public_names_are_few_and_sorted() -> None:
    names = agentkit.__all__
    assert len(names) <= 45
    assert names == sorted(names)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("module", [agentkit, agentkit.testing, errors], ids=lambda module: module.__name__)
def test_every_public_name_is_there_and_documented(module: object) -> None:
    for name in getattr(module, "__all__"):  # noqa: B009
        value = getattr(module, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert inspect.getdoc(value), name


def test_every_error_is_in_the_tree_that_the_module_draws() -> None:
    drawn = re.findall(r"^ {4,}(\w+)", errors.__doc__ or "", re.MULTILINE)
    assert sorted(drawn) == sorted(errors.__all__)
    for name in errors.__all__:
        assert issubclass(getattr(errors, name), errors.AgentKitError | KeyboardInterrupt)


def test_an_error_of_the_tree_stands_below_its_parent() -> None:
    parents: list[tuple[int, str]] = []
    for indent, name in re.findall(r"^( {4,})(\w+)", errors.__doc__ or "", re.MULTILINE):
        parents = [each for each in parents if each[0] < len(indent)]
        if parents:
            assert issubclass(getattr(errors, name), getattr(errors, parents[-1][1])), name
        parents.append((len(indent), name))


def test_the_core_depends_on_four_libraries() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = [re.split(r"[^a-zA-Z0-9-]", each)[0] for each in project["dependencies"]]
    assert names == ["anyio", "docstring-parser", "httpx2", "pydantic"]


def test_the_version_is_in_the_changelog() -> None:
    assert f"## {agentkit.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
