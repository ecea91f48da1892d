"""What development and CI install is written down with its hashes, and is what pyproject.toml asks for."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = PROJECT["project"]["optional-dependencies"]
LOCKS = {"demo.txt": ["local", "cli"], "dev.txt": [extra for extra in EXTRAS if extra != "fuzz"]}


def locked(name: str) -> dict[str, list[str]]:
    """The versions of each package in a lock, without its markers."""
    versions: dict[str, list[str]] = {}
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
    for package, version, hashes in re.findall(r"^([\w.-]+)==(\S+)[^\n]*\n((?: +--hash=.*\n)*)", text, re.MULTILINE):
        assert re.match(r" +--hash=sha256:[0-9a-f]{64}", hashes), f"{package} has no hash"
        versions.setdefault(package, []).append(version)
    return versions


def wanted(extras: list[str]) -> list[Requirement]:
    asked = [*PROJECT["project"]["dependencies"], *PROJECT["dependency-groups"]["build"]]
    every = [Requirement(each) for each in [*asked, *(each for extra in extras for each in EXTRAS[extra])]]
    return [each for each in every if each.name != PROJECT["project"]["name"]]


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_has_what_the_project_asks_for(name: str) -> None:
    versions = locked(name)
    for each in wanted(LOCKS[name]):
        found = versions.get(each.name.lower(), [])
        assert found, f"{each.name} is not in requirements/{name}: run `make lock`"
        assert all(Version(version) in each.specifier for version in found), f"{each}: run `make lock`"


def test_what_the_demo_installs_is_the_same_in_development() -> None:
    development = locked("dev.txt")
    assert {name: development.get(name) for name in locked("demo.txt")} == locked("demo.txt")


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_names_no_host(name: str) -> None:
    assert not re.search(r"://|index-url|find-links", (ROOT / "requirements" / name).read_text(encoding="utf-8"))
