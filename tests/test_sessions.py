"""What sessions of every kind promise: in memory, in a file, in a file without an index."""

import json
import threading
from pathlib import Path

import anyio
import pytest

from agentkit import Agent, AssistantMessage, UserMessage, tool
from agentkit.errors import ConfigError, SessionBusy, SessionConflict, SessionError, StateError
from agentkit.run.session_run import Session, SessionSnapshot, SessionUpdate
from agentkit.sessions import MemorySessions, Sessions, SQLiteSessions
from agentkit.testing import ScriptedModel, call
from tests.sessions import append, message, places, texts

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["memory", "sqlite", "sqlite without an index"])
def sessions(request: pytest.FixtureRequest, tmp_path: Path) -> Sessions:
    if request.param == "memory":
        return MemorySessions()
    return SQLiteSessions(tmp_path / "chat.db", index=request.param == "sqlite")


async def test_a_session_is_what_a_run_needs(sessions: Sessions) -> None:
    session: Session = sessions["alice"]
    assert isinstance(session, Session)


async def test_a_new_session_is_empty_and_not_in_the_list(sessions: Sessions) -> None:
    assert await sessions["alice"].load() == SessionSnapshot()
    assert list(await sessions["alice"].messages()) == []
    assert list(await sessions.list()) == []


async def test_what_was_saved_is_loaded(sessions: Sessions) -> None:
    messages = (message("hi"), message("h\u00e9llo \U0001f600", "assistant"))
    change = SessionUpdate(
        revision=0, start=0, messages=messages, head='{"status": "done"}', artifacts={"c1": "long\0text"}
    )
    await sessions["alice"].save(change)
    saved = await sessions["alice"].load()
    assert saved == SessionSnapshot(revision=1, messages=messages, head=change.head, artifacts=change.artifacts)
    assert await sessions["bob"].load() == SessionSnapshot()


async def test_a_save_replaces_the_messages_after_those_that_stay(sessions: Sessions) -> None:
    session = sessions["alice"]
    await append(session, "one", "two", "three")
    await session.save(SessionUpdate(revision=1, start=1, messages=[message("zwei")], head=""))
    assert await texts(session) == ["one", "zwei"]
    assert places(await sessions.search("two")) == []
    assert places(await sessions.search("zwei")) == [("alice", 1)]


async def test_artifacts_are_added_and_dropped(sessions: Sessions) -> None:
    session = sessions["alice"]
    await session.save(SessionUpdate(revision=0, start=0, messages=[], head="", artifacts={"a": "1", "b": "2"}))
    await session.save(
        SessionUpdate(revision=1, start=0, messages=[], head="", artifacts={"b": "3", "c": "4"}, dropped=["a"])
    )
    assert (await session.load()).artifacts == {"b": "3", "c": "4"}


async def test_artifacts_come_back_in_the_order_in_which_they_were_stored(sessions: Sessions) -> None:
    session = sessions["alice"]
    first = {"call_9": "1", "call_10": "2", "a": "3"}
    await session.save(SessionUpdate(revision=0, start=0, messages=[], head="", artifacts=first))
    later = {"call_9": "", "call_2": "4", "a": "5"}
    await session.save(SessionUpdate(revision=1, start=0, messages=[], head="", artifacts=later, dropped=["a"]))
    kept = [("call_9", ""), ("call_10", "2"), ("call_2", "4"), ("a", "5")]
    assert list((await session.load()).artifacts.items()) == kept
    assert list((await (await session.branch("bob")).load()).artifacts.items()) == kept


async def test_results_are_kept_until_the_next_save(sessions: Sessions) -> None:
    session = sessions["alice"]
    await append(session)
    await session.record("r:call:1", "one")
    await session.record("r:call:2", "two")
    await session.record("r:call:1", "uno")
    assert await session.load() == SessionSnapshot(revision=1, results={"r:call:1": "uno", "r:call:2": "two"})
    await append(session, "hi")
    assert (await session.load()).results == {}


async def test_a_change_of_an_older_revision_is_refused_and_changes_nothing(sessions: Sessions) -> None:
    session = sessions["alice"]
    await append(session, "one")
    await session.record("slot", "result")
    before = await session.load()
    for revision in (0, 2):
        with pytest.raises(SessionConflict, match=f"revision 1, and the change is based on {revision}.*load it again"):
            await session.save(SessionUpdate(revision=revision, start=0, messages=[message("two")], head="{}"))
    assert await session.load() == before


async def test_a_change_that_would_leave_a_gap_is_refused(sessions: Sessions) -> None:
    for start in (1, -1):
        with pytest.raises(SessionError, match=f"has 0 messages, not {start}"):
            await sessions["alice"].save(SessionUpdate(revision=0, start=start, messages=[message("x")], head=""))
    assert list(await sessions.list()) == []


async def test_what_utf8_cannot_express_is_replaced(sessions: Sessions) -> None:
    session = sessions["alice"]
    head, escaped = '{"x": "\ud800"}', message("lost \ud800 soul")  # json.dumps writes the latter in ASCII
    await session.save(SessionUpdate(revision=0, start=0, messages=[escaped], head=head, artifacts={"a": "\udfff"}))
    await session.record("s\ud800", "\ud801")
    saved = await session.load()
    assert (saved.head, saved.artifacts, saved.results) == ('{"x": "\ufffd"}', {"a": "\ufffd"}, {"s\ufffd": "\ufffd"})
    assert saved.messages == (escaped,)
    assert places(await sessions.search("soul")) == [("alice", 0)]


@pytest.mark.parametrize("name", ["", "a\ud800", 7, None])
async def test_a_name_that_cannot_be_stored_is_refused(sessions: Sessions, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be the name of a session"):
        sessions[name]


async def test_sessions_are_listed_with_await_only_and_an_error_says_so(sessions: Sessions) -> None:
    with pytest.raises(TypeError, match=r"await sessions\.list\(\)"):
        "alice" in sessions  # noqa: B015  # pyright: ignore[reportUnusedExpression]
    with pytest.raises(TypeError, match=r"await sessions\.list\(\)"):
        list(sessions)
    assert sessions  # there is no length that could be asked for instead


@pytest.mark.parametrize("messages", ["2", 1.0, True])
async def test_a_branch_of_what_is_no_number_is_refused(sessions: Sessions, messages: int) -> None:
    await append(sessions["alice"], "one", "two")
    with pytest.raises(ConfigError, match=r"branch\(messages=.*must be a number of messages"):
        await sessions["alice"].branch("bob", messages=messages)


async def test_a_session_is_claimed_by_one_at_a_time(sessions: Sessions) -> None:
    async with sessions["alice"].claim(), sessions["bob"].claim():
        with pytest.raises(SessionBusy, match=r"another run has session 'alice'.*try again"):
            async with sessions["alice"].claim():
                pytest.fail("claimed twice")
        with pytest.raises(SessionBusy):
            await sessions["alice"].delete()
    async with sessions["alice"].claim():
        pass


async def test_a_claim_ends_with_an_error_and_with_a_cancelled_task(sessions: Sessions) -> None:
    with pytest.raises(ZeroDivisionError):
        async with sessions["alice"].claim():
            raise ZeroDivisionError
    with anyio.CancelScope() as scope:
        async with sessions["alice"].claim():
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    async with sessions["alice"].claim():
        pass


async def test_a_cancelled_save_saves_nothing_when_it_has_not_begun(sessions: Sessions) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await append(sessions["alice"], "hi")
    assert await sessions["alice"].load() == SessionSnapshot()


async def test_of_many_that_save_the_same_revision_one_wins(sessions: Sessions) -> None:
    lost: list[SessionConflict] = []

    async def save(number: int) -> None:
        try:
            await sessions["alice"].save(SessionUpdate(revision=0, start=0, messages=[message(str(number))], head=""))
        except SessionConflict as error:
            lost.append(error)

    async with anyio.create_task_group() as group:
        for number in range(10):
            group.start_soon(save, number)
    assert len(lost) == 9
    assert len((await sessions["alice"].load()).messages) == 1


def test_sessions_work_in_threads_with_event_loops_of_their_own(sessions: Sessions) -> None:
    def work(name: str, backend: str) -> None:
        async def main() -> None:
            for number in range(10):
                await append(sessions[name], str(number))

        anyio.run(main, backend=backend)

    async def count() -> list[int]:
        return [each.messages for each in await sessions.list()]

    threads = [threading.Thread(target=work, args=(f"s{n}", ["asyncio", "trio"][n % 2])) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert anyio.run(count) == [10] * 4


async def test_a_branch_goes_its_own_way(sessions: Sessions) -> None:
    session = sessions["alice"]
    await append(session, "one", "two", head='{"state": {"status": "done"}}')
    branch = await session.branch("alice-2")
    assert branch.name == "alice-2"
    whole = await session.load()
    assert await branch.load() == SessionSnapshot(
        revision=1, messages=whole.messages
    )  # what goes on is not the same run
    await append(branch, "three")
    assert await texts(branch) == ["one", "two", "three"]
    assert await session.load() == whole
    assert sorted(places(await sessions.search("two"))) == [("alice", 1), ("alice-2", 1)]


async def test_a_state_of_a_run_is_no_state_of_a_branch(sessions: Sessions) -> None:
    sent: list[str] = []

    @tool(requires_approval=True)
    def send(to: str) -> str:
        """Send something."""
        sent.append(to)
        return "sent"

    agent = Agent(ScriptedModel([call("send", to="bob"), "Done.", "I sent it."]), tools=[send])
    paused = await agent.run("Send it.", session=sessions["alice"])
    for each in paused.pending:
        paused.state.approve(each.id)
    await agent.run(resume=paused.state, session=sessions["alice"])
    branch = await sessions["alice"].branch("new")
    with pytest.raises(StateError):
        await agent.run(resume=paused.state, session=branch)
    with pytest.raises(StateError, match="no run to resume: pass a prompt"):
        await agent.run(resume=True, session=branch)
    assert (await agent.run("What did you do?", session=branch)).output == "I sent it."
    assert (len(await branch.messages()), sent) == (6, ["bob"])


@pytest.mark.parametrize("status", ["running", "paused"])
async def test_a_run_that_is_not_finished_is_not_copied_but_its_messages_are(sessions: Sessions, status: str) -> None:
    session = sessions["alice"]
    await append(session, "one", "two", head=json.dumps({"state": {"status": status}}))
    await session.record("slot", "result")
    with pytest.raises(SessionError, match=rf"is not finished \({status}\): resume it first, or .*messages=2"):
        await session.branch("new")
    assert [each.name for each in await sessions.list()] == ["alice"]
    branch = await session.branch("new", messages=2)
    assert await branch.load() == SessionSnapshot(revision=1, messages=(message("one"), message("two")))


async def test_a_branch_of_the_beginning_has_no_run(sessions: Sessions) -> None:
    session = sessions["alice"]
    messages = (message("one"), message("two"))
    await session.save(SessionUpdate(revision=0, start=0, messages=messages, head="{}", artifacts={"c": "long"}))
    await session.record("slot", "result")
    branch = await session.branch("short", messages=1)
    assert await branch.load() == SessionSnapshot(revision=1, messages=messages[:1], artifacts={"c": "long"})


async def test_a_branch_that_cannot_be_made_changes_nothing(sessions: Sessions) -> None:
    session = sessions["alice"]
    with pytest.raises(SessionError, match="there is no session 'alice'"):
        await session.branch("new")
    await append(session, "one")
    await append(sessions["bob"], "eins")
    with pytest.raises(SessionError, match="there is a session 'bob' already; choose another name"):
        await session.branch("bob")
    with pytest.raises(SessionError, match="has 1 messages, not 2"):
        await session.branch("new", messages=2)
    with pytest.raises(ConfigError):
        await session.branch("")
    assert {each.name for each in await sessions.list()} == {"alice", "bob"}
    assert await texts(sessions["bob"]) == ["eins"]


async def test_a_deleted_session_is_gone_and_its_name_is_free(sessions: Sessions) -> None:
    session = sessions["alice"]
    await session.save(
        SessionUpdate(revision=0, start=0, messages=[message("secret")], head="{}", artifacts={"c": "long"})
    )
    await append(sessions["bob"], "secret too")
    await session.delete()
    assert await session.load() == SessionSnapshot()
    assert places(await sessions.search("secret")) == [("bob", 0)]
    with pytest.raises(SessionError, match="there is no session 'alice'"):
        await session.delete()
    await append(session, "again")
    assert await texts(session) == ["again"]


async def test_nothing_is_stored_in_a_session_that_was_deleted_meanwhile(sessions: Sessions) -> None:
    await append(sessions["alice"], "one")
    await sessions["alice"].delete()
    with pytest.raises(SessionError, match="session 'alice' is gone: it or its file was deleted"):
        await sessions["alice"].save(SessionUpdate(revision=1, start=1, messages=[message("two")], head=""))
    with pytest.raises(SessionError, match="session 'alice' is gone: it or its file was deleted"):
        await sessions["alice"].record("slot", "result")
    assert list(await sessions.list()) == []


async def test_the_list_says_what_there_is_the_last_saved_first(sessions: Sessions) -> None:
    await append(sessions["alice"], "one", head='{"state": {"status": "done"}}')
    await append(sessions["bob"], "one", "two", head="not JSON")
    await append(sessions["alice"], "two", "three", head='{"state": {"status": "paused"}}')
    first, second = await sessions.list()
    assert (first.name, first.messages, first.status) == ("alice", 3, "paused")
    assert (second.name, second.messages, second.status) == ("bob", 2, "")
    assert first.created <= second.created <= second.updated <= first.updated
    assert first.created.tzinfo is not None


async def test_an_export_is_what_a_request_has(sessions: Sessions) -> None:
    record = {"role": "assistant", "content": "h\u00e9llo", "reasoning_content": "they greet me"}
    messages = [message("hi"), json.dumps(record)]
    await sessions["alice"].save(SessionUpdate(revision=0, start=0, messages=messages, head=""))
    export = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "h\u00e9llo"}]
    assert list(await sessions["alice"].export()) == export
    lines = await sessions["alice"].export_lines()
    assert [json.loads(line) for line in lines.splitlines()] == export
    assert lines.endswith('"h\u00e9llo"}\n')
    hi, hello = await sessions["alice"].messages()
    assert hi == UserMessage("hi")
    assert isinstance(hello, AssistantMessage)
    assert hello.reasoning == "they greet me"


@pytest.mark.parametrize("broken", ["{", "[]", '{"role": "wizard"}'])
async def test_a_message_that_cannot_be_read_is_named(sessions: Sessions, broken: str) -> None:
    await sessions["alice"].save(SessionUpdate(revision=0, start=0, messages=[message("hi"), broken], head=""))
    with pytest.raises(SessionError, match="message 1 of session 'alice' cannot be read"):
        await sessions["alice"].messages()


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("fox", [0, 1]),
        ("FOX quick", [0]),
        ("quick-brown", []),
        ("fo", [0, 1]),
        ("ox", [0, 1]),
        ("x", [0, 1]),
        ("ck brown", [0]),
        ("fox quick the", [0]),
        ("cafe", [2]),
        ("CAF\u00c9", [2]),
        ("read result", [3]),
        ("d_result", [3]),
        ("STRASSE", [6]),
        ("fi", [6]),
        ("nfd", []),
        ("rules", []),
        ("\u52a9\u624b", [5]),
        ("\u4e00\u4e2a\u52a9\u624b", [5]),
        ('"fox', []),
        ("fox) OR (cafe", []),
        ("NEAR(fox)", []),
        ("text:fox", []),
        ("fox*", []),
        ("^fox -quick", []),
        ("e, p", [2]),
        ("100%", []),
        ("%", []),
        ("_", [3]),
        ("", []),
        (" \t", []),
        ("\0 \ud800", []),
        (f"fox {'quick ' * 5000} brown", [0]),
        (" ".join(f"fox{number}" for number in range(3000)), []),
    ],
)
@pytest.mark.turns
async def test_a_search_finds_messages_with_all_words(sessions: Sessions, query: str, numbers: list[int]) -> None:
    messages = [
        message("The quick brown fox"),
        message("Foxes!", "assistant"),
        message("A cafe\u0301, please"),
        message("100 of read_result", "tool"),
        message("rules", "system"),
        message("\u6211\u60f3\u8981\u4e00\u4e2a\u52a9\u624b"),
        message("Eine Stra\u00dfe \ufb01el"),
    ]
    await sessions["alice"].save(SessionUpdate(revision=0, start=0, messages=messages, head=""))
    assert sorted(places(await sessions.search(query))) == [("alice", number) for number in numbers]


async def test_what_is_found_shows_the_words_that_were_searched(sessions: Sessions) -> None:
    await append(sessions["alice"], f"{'before ' * 50}the\nneedle is here {'after ' * 50}")
    (found,) = await sessions.search("Needle")
    assert (found.session, found.number, found.role) == ("alice", 0, "user")
    assert "the needle is here" in found.snippet
    assert found.snippet.startswith("...before")
    assert found.snippet.endswith("...")
    assert len(found.snippet) < 200


async def test_a_search_finds_no_more_than_its_limit(sessions: Sessions) -> None:
    await append(sessions["alice"], *["tea"] * 30)
    assert len(await sessions.search("tea")) == 20
    assert len(await sessions.search("tea", limit=3)) == 3
    assert len(await sessions.search("tea", limit=0)) == 0
    assert len(await sessions.search("tea", limit=10**30)) == 30


@pytest.mark.parametrize("term", ["needle", "n", "STRASSE", "cafe"])
async def test_a_snippet_shows_the_match_however_many_characters_fold_before_it(sessions: Sessions, term: str) -> None:
    folding = "\ufb03 \u00df e\u0301 \ufdfa " * 100
    await append(sessions["alice"], f"{folding} needle Stra\u00dfe cafe\u0301 {folding}")
    (found,) = await sessions.search(term)
    assert "needle Stra\u00dfe cafe\u0301" in found.snippet


# Beginning with messages from elsewhere.


async def test_a_session_that_was_seeded_goes_on_from_there(sessions: Sessions) -> None:
    model = ScriptedModel(["You are Ada."])
    await sessions["alice"].seed([{"role": "user", "content": "I am Ada."}, AssistantMessage("Hello, Ada!")])
    assert await texts(sessions["alice"]) == ["I am Ada.", "Hello, Ada!"]
    assert await sessions["alice"].state() is None
    await Agent(model).run("Who am I?", session=sessions["alice"])
    assert [each.text for each in model.requests[0].messages] == ["I am Ada.", "Hello, Ada!", "Who am I?"]


async def test_an_earlier_result_seeds_a_session_with_its_long_results(sessions: Sessions) -> None:
    @tool
    def read() -> str:
        """Read much."""
        return "much " * 20_000

    result = await Agent(ScriptedModel([call("read", id="a"), "Much."]), tools=[read]).run("Read it.")
    await sessions["alice"].seed(result)
    saved = await sessions["alice"].load()
    assert (len(saved.messages), len(saved.artifacts["a"])) == (4, 100_000)


async def test_what_no_server_would_accept_is_repaired_in_a_seed(sessions: Sessions) -> None:
    asked = {"id": "c", "type": "function", "function": {"name": "read", "arguments": "{}"}}
    await sessions["alice"].seed([{"role": "assistant", "content": None, "tool_calls": [asked]}])
    assert [each.role for each in await sessions["alice"].messages()] == ["assistant", "tool"]


async def test_only_a_new_session_is_seeded_and_only_with_messages(sessions: Sessions) -> None:
    await append(sessions["alice"], "one")
    with pytest.raises(SessionError, match=r"session 'alice' is not empty; seed\(\) begins a new one"):
        await sessions["alice"].seed([UserMessage("two")])
    with pytest.raises(ConfigError, match="message 1 of the history"):
        await sessions["bob"].seed([7])  # type: ignore[list-item]
    assert [(each.name, each.messages) for each in await sessions.list()] == [("alice", 1)]


# Without async.


def test_sessions_are_used_without_async(sessions: Sessions) -> None:
    alice = sessions.sync["alice"]
    alice.seed([UserMessage("I am Ada."), AssistantMessage("Hello, Ada!")])
    Agent(ScriptedModel(["You are Ada."])).run_sync("Who am I?", session=sessions["alice"])
    state = sessions["alice"].sync.state()
    assert state is not None
    assert (alice.name, state.status, alice.load().revision > 1) == ("alice", "done", True)
    copy = alice.branch("copy", messages=2)
    assert [each.text for each in copy.messages()] == ["I am Ada.", "Hello, Ada!"]
    assert list(copy.export()) == [json.loads(line) for line in copy.export_lines().splitlines()]
    assert places(sessions.sync.search("who")) == [("alice", 2)]
    copy.delete()
    assert [(each.name, each.messages) for each in sessions.sync.list()] == [("alice", 4)]
    with pytest.raises(TypeError, match="list of sessions"):
        list(sessions.sync)
