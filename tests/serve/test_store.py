"""What a server remembers between requests."""

import stat
from pathlib import Path

import anyio
import pytest

from agentkit import serve
from agentkit.errors import ConfigError

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["memory", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> serve.Store:
    return serve.MemoryStore() if request.param == "memory" else serve.FileStore(tmp_path / "runs.db")


async def test_a_value_is_there_until_it_is_taken(store: serve.Store) -> None:
    assert await store.get("a") is None
    await store.put("a", "one", 60)
    await store.put("a", "two", 60)
    assert (await store.get("a"), await store.get("b")) == ("two", None)
    assert (await store.take("a"), await store.take("a")) == ("two", None)


async def test_a_value_is_forgotten_when_its_time_is_over(store: serve.Store) -> None:
    await store.put("a", "one", -1)
    assert await store.get("a") is None
    assert await store.take("a") is None
    assert await store.add("a", "two", 60) is None


async def test_what_is_there_is_not_added_again(store: serve.Store) -> None:
    assert await store.add("a", "one", 60) is None
    assert await store.add("a", "two", 60) == "one"
    assert await store.get("a") == "one"


async def test_of_several_that_take_a_value_one_gets_it(store: serve.Store) -> None:
    await store.put("a", "one", 60)
    taken: list[str | None] = []

    async def take() -> None:
        taken.append(await store.take("a"))

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(take)
    assert sorted(taken, key=str) == [None] * 4 + ["one"]


async def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    store = serve.MemoryStore()
    for at in range(10_001):
        await store.put(str(at), "x", 60)
    assert (await store.get("0"), await store.get("1")) == (None, "x")
    await store.put("large", "x" * (256 * 1024 * 1024), 60)
    assert await store.get("10000") is None


async def test_a_file_is_for_its_owner_and_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    await serve.FileStore(path).put("a", "one", 60)
    assert await serve.FileStore(path).get("a") == "one"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (tmp_path / "text.db").write_text("not a database, but long enough to be read as one" * 100)
    for wrong in (tmp_path, tmp_path / "missing" / "x.db", tmp_path / "text.db"):
        with pytest.raises(ConfigError, match="cannot hold the runs"):
            serve.FileStore(wrong)
