"""Tests remember nothing of servers that other tests, or the user, have started."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of caches for each test."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("AGENTKIT_CACHE", str(folder))
    return folder
