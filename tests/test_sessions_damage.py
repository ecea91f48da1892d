"""Files of sessions that were changed, forged or damaged: an error in a sentence, and nothing of it is used."""

import json
import random
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from agentkit import Agent, RunState, tool
from agentkit.errors import AgentKitError, ConfigError, SessionError, StateError
from agentkit.run import SessionUpdate
from agentkit.sessions import SessionInfo, SQLiteSessions, SyncSession
from agentkit.testing import ScriptedModel, call
from tests.explore import EXPLORE
from tests.scaling import assert_linear
from tests.sessions import message

KEY = b"a secret of the program"


@pytest.fixture
def path() -> Iterator[Path]:
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None  # thousands of files are faster there
    with tempfile.TemporaryDirectory(dir=memory) as directory:
        yield Path(directory) / "chat.db"


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """The file, as somebody else has it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


@tool(requires_approval=True)
def pay(amount: int) -> str:
    """Pay something."""
    return f"paid {amount}"


def agent(*script: Any) -> Agent:
    return Agent(ScriptedModel(script), tools=[pay])


def pause(sessions: SQLiteSessions, name: str = "alice") -> None:
    result = agent(call("pay", id="p", amount=500)).run_sync("Pay it.", session=sessions[name])
    assert result.status == "paused"


def save(session: SyncSession, *texts: str, start: int | None = None, **members: Any) -> None:
    saved = session.load()
    at = len(saved.messages) if start is None else start
    update = SessionUpdate(revision=saved.revision, start=at, messages=[*map(message, texts)], head="", **members)
    session._store.save(session.name, update)


# Signatures.


def forge_approval(connection: sqlite3.Connection) -> None:
    """Write into the head of the session what `RunState.approve` would."""
    ((head,),) = connection.execute("SELECT head FROM sessions").fetchall()
    raw = json.loads(head)
    asked = raw["state"]["approvals"]["p"]
    raw["state"]["decisions"]["p"] = {"kind": "approve", "hash": asked["hash"], "at": 0}
    connection.execute("UPDATE sessions SET head = ?", [json.dumps(raw)])


@pytest.mark.parametrize("key", [None, KEY])
def test_an_update_does_not_forge_an_approval(path: Path, key: bytes | None) -> None:
    sessions = SQLiteSessions(path, key=key)
    pause(sessions)
    with opened(path) as connection:
        forge_approval(connection)
    with pytest.raises(SessionError, match=r"in session 'alice' was .*changed or damaged after it was written"):
        agent("never").run_sync(resume=True, session=sessions["alice"])


def test_a_checksum_can_be_forged_and_a_signature_cannot(path: Path) -> None:
    """Without a key, somebody who can write the file and knows agentkit can approve: the page of the docs says so."""
    for key in (None, KEY):
        path.unlink(missing_ok=True)
        pause(SQLiteSessions(path, key=key))
        mallory = SQLiteSessions(path)
        with opened(path) as connection:
            forge_approval(connection)
            (head,) = connection.execute("SELECT head FROM sessions").fetchone()
        stored = SQLiteSessions(path, key=key)["alice"]
        with opened(path) as connection:  # with the seals that a file without a key would have
            texts = [row[0] for row in connection.execute("SELECT message FROM messages ORDER BY position")]
            connection.execute("DELETE FROM sessions")
            connection.execute("DELETE FROM messages")
        for _ in range(2):  # the revision that the state was saved with
            revision = mallory.sync["alice"].load().revision
            update = SessionUpdate(revision=revision, start=0, messages=texts, head=head)
            mallory.sync["alice"]._store.save("alice", update)
        if key is None:
            assert agent("Done.").run_sync(resume=True, session=stored).messages[2].text == "paid 500"
        else:
            with pytest.raises(SessionError, match="session 'alice' is not signed: it was written without a key"):
                agent("never").run_sync(resume=True, session=stored)


def test_a_signed_session_needs_its_key(path: Path) -> None:
    pause(SQLiteSessions(path, key=KEY))
    with pytest.raises(SessionError, match="session 'alice' is signed: open the file with the key="):
        SQLiteSessions(path).sync["alice"].load()
    other = SQLiteSessions(path, key=b"another").sync
    with pytest.raises(SessionError, match="message 0 in session 'alice' was written with another key, or changed"):
        other["alice"].load()
    with pytest.raises(SessionError, match="the data other than messages in session 'alice' was written with another"):
        other._store.save("alice", SessionUpdate(revision=4, start=2, messages=[], head=""))
    state = SQLiteSessions(path, key=KEY).sync["alice"].state()
    assert isinstance(state, RunState)
    state.approve("p")
    assert agent("Paid.").run_sync(resume=state, session=SQLiteSessions(path, key=KEY)["alice"]).output == "Paid."


@pytest.mark.parametrize("key", ["text", b"", 7])
def test_a_key_that_cannot_sign_is_refused(path: Path, key: bytes) -> None:
    with pytest.raises(ConfigError, match="must be bytes, and not empty"):
        SQLiteSessions(path, key=key)


TAMPERING = {
    "a message is changed": "UPDATE messages SET message = replace(message, 'one', 'two') WHERE position = 0",
    "a message is removed": "DELETE FROM messages WHERE position = 1",
    "the last message is removed": "DELETE FROM messages WHERE position = 2",
    "the first message is removed": "DELETE FROM messages WHERE position = 0",
    "messages change places": (
        "UPDATE messages SET message = (SELECT m.message FROM messages AS m WHERE m.session = messages.session"
        " AND m.position = 3 - messages.position) WHERE position > 0"
    ),
    "an artifact is changed": "UPDATE artifacts SET text = 'other' WHERE call = 'a'",
    "an artifact is removed": "DELETE FROM artifacts WHERE call = 'a'",
    "artifacts change names": "UPDATE artifacts SET call = CASE call WHEN 'a' THEN 'x' ELSE 'a' END",
    "a result is changed": "UPDATE results SET result = 'other'",
    "a result gets another call": "UPDATE results SET slot = 'r:call:2'",
    "the revision is changed": "UPDATE sessions SET revision = 1",
    "the head is changed": "UPDATE sessions SET head = 'other'",
    "the name is changed": "UPDATE sessions SET name = CASE name WHEN 'alice' THEN 'eve' ELSE 'alice' END",
    "a message of another session is copied": (
        "UPDATE messages SET (message, seal) = (SELECT message, seal FROM messages AS m WHERE m.session != "
        "messages.session AND m.position = 0) WHERE position = 0"
    ),
    "a result is copied to another call": "INSERT INTO results SELECT session, slot || 2, result, seal FROM results",
}


@pytest.mark.parametrize("sql", TAMPERING.values(), ids=TAMPERING)
@pytest.mark.parametrize("key", [None, KEY], ids=["sums", "signatures"])
def test_nothing_is_changed_removed_or_moved_unnoticed(path: Path, sql: str, key: bytes | None) -> None:
    sessions = SQLiteSessions(path, key=key).sync
    for name in ("alice", "bob"):
        save(sessions[name], f"one of {name}", "two", artifacts={"a": "long"})
        save(sessions[name], "three", artifacts={"b": "longer"})
        sessions._store.record(name, "r:call:1", "result")
    before = sessions["alice"].load()
    with opened(path) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute(sql)
    with pytest.raises(SessionError, match=r"changed or damaged after it was written|is gone|no session"):
        assert sessions["alice"].load() == before, "it is not even the same"


def test_a_change_is_not_built_on_what_was_tampered_with_after_it_was_loaded(path: Path) -> None:
    sessions = SQLiteSessions(path, key=KEY).sync
    save(sessions["alice"], "one", "two", artifacts={"a": "old"})
    with opened(path) as connection:
        old = connection.execute("SELECT text, seal FROM artifacts").fetchone()
    save(sessions["alice"], "three", artifacts={"a": "new"})
    loaded = sessions["alice"].load()
    with opened(path) as connection:
        connection.execute("UPDATE artifacts SET text = ?, seal = ?", old)
    for start in (1, 3):
        update = SessionUpdate(revision=loaded.revision, start=start, messages=[message("four")], head="")
        with pytest.raises(SessionError, match="changed or damaged"):
            sessions._store.save("alice", update)


def test_what_comes_before_a_damaged_message_can_be_copied(path: Path) -> None:
    sessions = SQLiteSessions(path).sync
    save(sessions["alice"], "one", "two", "three", artifacts={"a": "long"})
    with opened(path) as connection:
        connection.execute("UPDATE messages SET message = 'nonsense' WHERE position = 2")
    with pytest.raises(SessionError, match=r"message 2 in session 'alice' .*branch\(\.\.\., messages=2\) copies what"):
        sessions["alice"].messages()
    copy = sessions["alice"].branch("copy", messages=2)
    assert [each.text for each in copy.messages()] == ["one", "two"]
    assert copy.load().artifacts == {"a": "long"}
    sessions["alice"].delete()
    assert [each.name for each in sessions.list()] == ["copy"]


# Rows that cannot be read.


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("created", "yesterday"),
        ("created", 1e300),
        ("updated", 300_000_000_000),  # after the year 9999
        ("updated", float("-inf")),
        ("updated", b"\xff"),
        ("name", b"\xff\x00"),
    ],
)
def test_one_bad_row_does_not_hide_the_others_in_the_list(path: Path, column: str, value: object) -> None:
    sessions = SQLiteSessions(path).sync
    for name in ("alice", "bob", "carol"):
        save(sessions[name], "hi")
    with opened(path) as connection:
        connection.execute(f"UPDATE sessions SET {column} = ? WHERE name = 'bob'", [value])
    infos = {each.name: each.status for each in sessions.list()}
    assert sorted(infos.values()) == ["", "", "damaged"]
    assert infos["alice"] == infos["carol"] == ""


@pytest.mark.parametrize("head", ["[" * 100_000, '{"state": ' * 100_000, b"\xff", 7, None, "\ud800"[:0] + "nan", "{}"])
def test_a_head_of_any_kind_neither_hides_others_nor_raises_anything_but_a_sentence(path: Path, head: object) -> None:
    sessions = SQLiteSessions(path).sync
    save(sessions["bob"], "hi")
    save(sessions["alice"], "hi")
    with opened(path) as connection:
        connection.execute("UPDATE OR IGNORE sessions SET head = ? WHERE name = 'alice'", [head])
    assert [each.name for each in sessions.list()] == ["alice", "bob"]
    with pytest.raises(SessionError) if head is not None else pytest.raises(AssertionError):
        sessions["alice"].load()
        raise AssertionError


NESTED = "[" * 50_000 + "]" * 50_000
MESSAGES = [
    NESTED,
    f'{{"role": "user", "content": {NESTED}}}',
    f'{{"role": "assistant", "content": "x", "tool_calls": [{{"id": "a", "function": {NESTED}}}]}}',
    '{"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "\\ud800"}}]}',
    '{"role": "user", "content": 1e999}',
    "7",
    "\x00",
    '{"role": "tool", "content": [{"type": "text", "text": {"a": 1}}], "tool_call_id": 7}',
]


@pytest.mark.parametrize("number", range(len(MESSAGES)))
def test_a_message_of_any_kind_is_stored_and_read_or_refused_in_a_sentence(path: Path, number: int) -> None:
    sessions = SQLiteSessions(path)
    sync = sessions.sync["alice"]
    sync._store.save("alice", SessionUpdate(revision=0, start=0, messages=[MESSAGES[number], message("tea")], head=""))
    assert [each.number for each in sessions.sync.search("tea")] == [1]
    sentences: list[str] = []
    for work in (sync.messages, sync.export_lines, lambda: agent("Hm.").run_sync("And?", session=sessions["alice"])):
        try:
            work()
        except (SessionError, StateError) as error:
            sentences.append(str(error))
    assert not [each for each in sentences if "\n" in each]


def test_triggers_and_views_of_others_are_refused(path: Path) -> None:
    sessions = SQLiteSessions(path).sync
    save(sessions["alice"], "hi")
    with opened(path) as connection:
        connection.execute("CREATE TRIGGER t AFTER INSERT ON messages BEGIN DELETE FROM sessions; END")
    with pytest.raises(SessionError, match="added triggers or views"):
        sessions.list()


# Thousands of damaged files.


def flip(data: bytearray, dice: random.Random) -> None:
    for _ in range(dice.choice([1, 1, 3, 50])):
        data[dice.randrange(len(data))] = dice.randrange(256)


def shorten(data: bytearray, dice: random.Random) -> None:
    del data[dice.randrange(len(data)) :]


def move(data: bytearray, dice: random.Random) -> None:
    to, by = dice.randrange(0, len(data), 512), dice.randrange(0, len(data), 512)
    data[to : to + 512] = data[by : by + 512]


def retype(path: Path, dice: random.Random) -> None:
    """Give rows values of other types and sizes, as a careless program would."""
    table, columns = dice.choice(COLUMNS)
    values = [
        None,
        b"\xff\x00",
        "",
        "text",
        -1,
        2**63 - 1,
        1e300,
        float("inf"),
        NESTED,
        "\ufffd",
        b"\xed\xa0\x80",
        "{}",
    ]
    with opened(path) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        value = dice.choice(values)
        sql = f"UPDATE OR IGNORE {table} SET {dice.choice(columns)} = ? WHERE rowid % ? = 0"
        with_rowid = sql if table != "results" else sql.replace("rowid", "length(slot)")
        with suppress(sqlite3.Error):  # some values do not go into some columns
            connection.execute(with_rowid, [value, dice.choice([1, 2])])


COLUMNS = [
    ("sessions", ["name", "revision", "head", "seal", "created", "updated", "id"]),
    ("messages", ["session", "position", "message", "seal", "text"]),
    ("artifacts", ["session", "call", "text", "seal"]),
    ("results", ["session", "slot", "result", "seal"]),
]


def use(path: Path) -> list[str]:
    """Do everything that can be done with a file; the errors are sentences."""
    sessions = SQLiteSessions(path, timeout=0).sync
    errors: list[str] = []
    infos: list[SessionInfo] = []
    uses: list[Callable[[], object]] = [
        lambda: infos.extend(sessions.list()),
        lambda: sessions.search("tea"),
        lambda: sessions.search("te"),
        sessions["alice"].messages,
        sessions["alice"].state,
        lambda: save(sessions["alice"], "more tea", dropped=["a"]),
        lambda: sessions["bob"].branch("copy", messages=1),
        sessions["bob"].delete,
    ]
    for each in uses:
        try:
            each()
        except (SessionError, StateError) as error:
            errors.append(str(error))
    assert all(isinstance(each.name, str) and each.created.tzinfo for each in infos)
    return errors


def test_a_damaged_file_never_raises_anything_but_a_sentence(path: Path) -> None:
    sessions = SQLiteSessions(path)
    pause(sessions)
    save(sessions.sync["bob"], *(f"tea {number}" for number in range(20)), artifacts={"a": "long " * 50})
    sessions.sync._store.record("bob", "r:call:1", "result")
    whole = path.read_bytes()
    dice = random.Random(11)
    refused = 0
    count = 10_000 if EXPLORE else 250
    for number in range(count):
        for each in path.parent.glob("*"):
            each.unlink()
        data = bytearray(whole)
        if number % 4:
            dice.choice([flip, flip, flip, move, shorten])(data, dice)
            path.write_bytes(data)
        else:
            path.write_bytes(data)
            retype(path, dice)
        errors = use(path)
        refused += bool(errors)
        assert all(each.isprintable() for each in errors), number
    assert count // 4 < refused < count, "some damage is in places that nobody reads"


def variants(text: str, dice: random.Random) -> str:
    """A JSON text with a value exchanged, or cut, or nested deeply."""
    places = [at for at, char in enumerate(text) if char in '"{[:,0123456789']
    at = dice.choice(places)
    other = dice.choice(['"', "{", "[", "null", "-1", "1e999", '"\\ud800"', NESTED[:3000], "", "true", "9" * 400, "{}"])
    return text[:at] + other + text[at + dice.choice([0, 1, 10]) :]


def test_a_session_with_any_content_is_run_or_refused_in_a_sentence(path: Path) -> None:
    sessions = SQLiteSessions(path)
    pause(sessions)
    sound = sessions.sync["alice"].load()
    dice = random.Random(12)
    endings: set[str] = set()
    sentences: list[str] = []
    for number in range(5_000 if EXPLORE else 150):
        head, messages = sound.head, list(sound.messages)
        if number % 2:
            head = variants(head, dice)
        else:
            at = dice.randrange(len(messages))
            messages[at] = variants(messages[at], dice)
        session = sessions[f"variant {number}"]
        for revision in range(sound.revision):
            change = SessionUpdate(revision=revision, start=0, messages=messages, head=head)
            sessions.sync._store.save(session.name, change)
        try:
            state = session.sync.state()
            if state is not None and state.pending:
                state.deny(state.pending[0].id)
            endings.add(agent("Well.").run_sync(resume=state or True, session=session).status)
        except AgentKitError as error:
            endings.add(type(error).__name__)
            sentences.append(str(error))
    assert not [each for each in sentences if "\n" in each]
    assert {"done", "StateError"} <= endings


# Time.


def stored(path: Path, count: int) -> SQLiteSessions:
    path.unlink(missing_ok=True)
    sessions = SQLiteSessions(path)
    save(sessions.sync["alice"], *(f"message {number} about tea and much more" for number in range(count)))
    return sessions


SCALING: dict[str, Callable[[SQLiteSessions, int], object]] = {
    "seed": lambda sessions, count: sessions.sync["b"].seed([{"role": "user", "content": "tea"}] * count),
    "load": lambda sessions, count: sessions.sync["alice"].messages(),
    "branch": lambda sessions, count: sessions.sync["alice"].branch("b"),
    "search": lambda sessions, count: sessions.sync.search("about tea", limit=count),
    "search without the index": lambda sessions, count: sessions.sync.search("te", limit=count),
    "delete": lambda sessions, count: sessions.sync["alice"].delete(),
    "run": lambda sessions, count: agent("Hm.").run_sync("And?", session=sessions["alice"]),
}


@pytest.mark.parametrize("work", SCALING)
def test_the_time_grows_in_step_with_the_messages(path: Path, work: str) -> None:
    def make(count: int) -> Callable[[], object]:
        sessions = stored(path, count)
        return lambda: SCALING[work](sessions, count)

    assert_linear(make, 100)


def test_accents_are_left_out_in_linear_time(path: Path) -> None:
    def make(count: int) -> Callable[[], object]:
        sessions = SQLiteSessions(path.with_name(f"{count}.db"))
        text = "a" + "\u0315\u0300" * count  # which takes `unicodedata.normalize` quadratic time

        def work() -> None:
            save(sessions.sync["alice"], text)
            sessions.sync.search(text)

        return work

    assert_linear(make, 5_000)
