"""Whatever is done to sessions, in a file and in memory it comes to the same."""

import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from anyio.from_thread import start_blocking_portal
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from agentkit.errors import SessionBusy, SessionConflict, SessionError
from agentkit.run.session_run import SessionUpdate
from agentkit.sessions import MemorySessions, Sessions, SQLiteSessions
from tests.explore import EXPLORE
from tests.sessions import message, places

T = TypeVar("T")

NAMES = st.sampled_from(["alice", "bob", "o'brien; --", "\u00e5sa\n"])
TEXTS = st.sampled_from(
    ["red fox", "Red-foxes jump", "caf\u00e9", "CAFE \U0001f600", "", "the end", "\u6211\u60f3\u8981\u52a9\u624b", "\0"]
)
MESSAGES = st.lists(st.builds(message, TEXTS, st.sampled_from(["user", "assistant", "tool", "system"])), max_size=4)
QUERIES = st.sampled_from(["fox", "RED", "jump red", "cafe", "\u52a9\u624b", "end", '"', "no"])
IDS = st.sampled_from(["a", "b", "c"])


class Both(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.opened = start_blocking_portal()  # one event loop for all steps
        self.portal = self.opened.__enter__()
        self.memory = MemorySessions()
        self.file = SQLiteSessions(Path(self.directory.name) / "chat.db")

    def teardown(self) -> None:
        self.opened.__exit__(None, None, None)
        self.directory.cleanup()

    def same(self, work: Callable[[Sessions], Awaitable[T]]) -> T | type[SessionError]:
        """What the work comes to, which has to be the same in both."""

        async def outcome(sessions: Sessions) -> Any:
            try:
                return await work(sessions)
            except SessionError as error:
                return type(error)

        async def both() -> Any:
            expected = await outcome(self.memory)
            assert await outcome(self.file) == expected
            return expected

        result: T | type[SessionError] = self.portal.call(both)
        return result

    @rule(
        name=NAMES,
        behind=st.sampled_from([0, 0, 0, 0, 1]),
        kept=st.floats(0, 1) | st.just(1.0),
        messages=MESSAGES,
        head=st.sampled_from(["", '{"state": {"status": "done"}}', '{"state": {"status": "paused"}}']),
        artifacts=st.dictionaries(IDS, TEXTS, max_size=2),
        dropped=st.lists(IDS, max_size=2),
    )
    def save(self, name: str, behind: int, kept: float, **members: Any) -> None:
        async def work(sessions: Sessions) -> None:
            saved = await sessions[name].load()
            start = round(len(saved.messages) * kept)
            await sessions[name].save(SessionUpdate(revision=saved.revision - behind, start=start, **members))

        assert self.same(work) is (SessionConflict if behind else None)

    @rule(name=NAMES, slot=IDS, result=TEXTS)
    def record(self, name: str, slot: str, result: str) -> None:
        self.same(lambda sessions: sessions[name].record(slot, result))

    @rule(name=NAMES, new=NAMES, messages=st.none() | st.integers(-1, 6))
    def branch(self, name: str, new: str, messages: int | None) -> None:
        async def work(sessions: Sessions) -> str:
            return (await sessions[name].branch(new, messages=messages)).name

        self.same(work)

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        self.same(lambda sessions: sessions[name].delete())

    @rule(name=NAMES)
    def claims(self, name: str) -> None:
        async def work(sessions: Sessions) -> None:
            async with sessions[name].claim():
                await sessions[name].delete()

        assert self.same(work) is SessionBusy

    @rule(query=QUERIES)
    def search(self, query: str) -> None:
        async def work(sessions: Sessions) -> list[tuple[str, int]]:
            return sorted(places(await sessions.search(query, limit=1000)))

        self.same(work)

    @rule(index=st.booleans())
    def open_again(self, index: bool) -> None:
        self.file = SQLiteSessions(self.file.path, index=index)

    @invariant()
    def same_content(self) -> None:
        async def work(sessions: Sessions) -> Any:
            infos = sorted((each.name, each.messages, each.status) for each in await sessions.list())
            saved = [await sessions[name].load() for name, _, _ in infos]
            return infos, saved, [list(each.artifacts) for each in saved]

        self.same(work)


Both.TestCase.settings = settings(max_examples=150 if EXPLORE else 15, stateful_step_count=25)
TestInAFileAndInMemoryItComesToTheSame = Both.TestCase
