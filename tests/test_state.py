"""The state of a run as JSON: what is saved comes back, and nothing else is taken for it."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from datetime import date
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit import Agent, ImagePart, Limits, RunState, TextPart, Usage, tool
from agentkit.chat.messages import AssistantMessage, Message, ToolCall, UserMessage, read_message
from agentkit.errors import ConfigError, StateError
from agentkit.run.approvals import ApprovalRequest, Decision, StandingDecision
from agentkit.run.limits import Price
from agentkit.run.serialization import VERSION, dump_message, load_head
from agentkit.run.stored import StoredState
from agentkit.testing import ScriptedModel, call
from tests.transcripts import transcripts

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
COUNT = st.integers(0, 2**40)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
GARBAGE: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
SECONDS = st.floats(0, 1e9)
HASH = st.text("0123456789abcdef", min_size=64, max_size=64)


def mapped(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(TEXT, values, max_size=3)


@st.composite
def labelled(draw: st.DrawFn) -> list[Message]:
    """Messages with what is known of them beside what is sent."""
    messages = draw(transcripts(turns=2))
    return [replace(each, meta=draw(mapped(JSON))) for each in messages]


PARTS = st.lists(st.builds(TextPart, TEXT) | st.just(ImagePart("https://example.org/a.png")), min_size=1, max_size=2)
LIMITS = st.builds(
    Limits,
    turns=st.integers(1, 99),
    calls=st.none() | COUNT,
    calls_per_tool=st.none() | COUNT | mapped(COUNT),
    price=st.none() | st.just(Price(prompt=1.5, completion=2)),
    on_limit=st.sampled_from(["answer", "stop", "raise"]),
)
STATES = st.builds(
    RunState,
    messages=labelled(),
    run_id=TEXT,
    agent=TEXT,
    status=st.sampled_from(["running", "done", "paused", "limited", "cancelled", "failed"]),
    prior_messages=COUNT,
    invalid_outputs=COUNT,
    turns=COUNT,
    calls=COUNT,
    calls_by_tool=mapped(COUNT),
    usage=st.builds(Usage, requests=COUNT, prompt_tokens=COUNT, total_tokens=COUNT, cost=st.none() | SECONDS),
    usage_by_model=mapped(st.builds(Usage, requests=COUNT, total_tokens=COUNT, cost=st.none() | SECONDS)),
    seconds=SECONDS,
    limits=st.none() | LIMITS,
    limit=TEXT,
    final_turn=st.booleans(),
    warned=st.lists(TEXT, max_size=2),
    mistakes=mapped(COUNT),
    artifacts=mapped(TEXT),
    files=mapped(PARTS),
    inbox=st.lists(st.builds(UserMessage, TEXT, meta=mapped(JSON)), max_size=2),
    approvals=mapped(st.builds(ApprovalRequest, TEXT, HASH, HASH, st.booleans(), st.booleans())),
    decisions=mapped(
        st.builds(
            Decision,
            kind=st.sampled_from(["approve", "deny", "answer"]),
            hash=HASH,
            arguments=st.none() | TEXT,
            reason=TEXT,
            answer=TEXT,
            by=TEXT,
            at=SECONDS,
        )
    ),
    rules=st.lists(
        st.builds(StandingDecision, kind=st.sampled_from(["approve", "deny"]), tool=TEXT, hash=HASH), max_size=2
    ),
    fingerprints=mapped(mapped(HASH)),
    revision=COUNT,
)


def metas(state: RunState) -> list[Any]:
    """What two equal messages may differ in."""
    return [dict(each.meta) for each in (*state.messages, *state.inbox)]


def some_state() -> RunState:
    calls = (ToolCall("a", "delete", '{"path": "\u00e9"}'),)
    return RunState(
        messages=[UserMessage("hi", meta={"label": "x"}), AssistantMessage(None, calls)],
        run_id="r",
        approvals={"a": ApprovalRequest("why", "h", "r")},
    )


def envelope(**changes: Any) -> str:
    return json.dumps({**json.loads(some_state().to_json()), **changes})


def test_every_member_of_a_state_is_stored() -> None:
    assert set(StoredState.model_fields) == {each.name for each in fields(RunState)}


@given(STATES, st.none() | st.binary(min_size=1, max_size=40))
def test_a_state_comes_back_as_it_was(state: RunState, key: bytes | None) -> None:
    text = state.to_json(key=key)
    back = RunState.load(text, key=key)
    assert back == state
    assert metas(back) == metas(state)
    assert back.to_json(key=key) == text
    assert RunState.load(text.encode(), key=key) == state


def test_a_run_goes_on_in_another_process() -> None:
    @tool(requires_approval=True)
    def delete(path: str) -> str:
        """Delete a file."""
        raise AssertionError

    def label(message: Message) -> Message:
        return replace(message, meta={**message.meta, "label": "kept"})

    asked = ScriptedModel([call("delete", id="d", path="a")])
    state = Agent(asked, tools=[delete], name="cleaner").run_sync("Clean up.").state
    state.messages[:] = map(label, state.messages)
    program = '''
import sys
from agentkit import Agent, RunState, tool
from agentkit.testing import ScriptedModel
@tool(requires_approval=True)
def delete(path: str) -> str:
    """Delete a file."""
    return f"deleted {path}"
state = RunState.load(sys.stdin.read(), key=b"secret")
state.approve(state.pending[0].id, by="ann")
agent = Agent(ScriptedModel(["Done."]), tools=[delete], name="cleaner")
print(agent.run_sync(resume=state).state.to_json(key=b"secret"))
'''
    command = [sys.executable, "-c", program]
    given_ = state.to_json(key=b"secret")
    done = subprocess.run(command, input=given_, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    back = RunState.load(done.stdout, key=b"secret")
    assert [each.text for each in back.messages[2:]] == ["deleted a", "Done."]
    assert (back.status, back.turns, back.calls, back.run_id) == ("done", 2, 1, state.run_id)
    assert [each.meta.get("label") for each in back.messages] == ["kept", "kept", None, None]
    assert [each.meta["agent"] for each in back.messages] == ["cleaner"] * 4
    assert all(each.meta["at"] > 0 for each in back.messages)
    assert back.decisions["d"].by == "ann"


# What is not the state that was saved.


@pytest.mark.parametrize("key", [None, b"secret"])
def test_every_flipped_byte_is_refused_or_means_the_same(key: bytes | None) -> None:
    state = some_state()
    text = state.to_json(key=key).encode()
    refused = 0
    for place in range(len(text)):
        for bit in (1, 4, 32):
            changed = text[:place] + bytes([text[place] ^ bit]) + text[place + 1 :]
            try:
                assert RunState.load(changed, key=key) == state
            except StateError:
                refused += 1
    assert refused > 2.8 * len(text)


@given(GARBAGE)
def test_garbage_is_a_state_error_and_nothing_else(garbage: Any) -> None:
    for text in (json.dumps(garbage), str(garbage), repr(garbage).encode("utf-8", "surrogatepass")):
        for key in (None, b"k"):
            with pytest.raises(StateError):
                RunState.load(text, key=key)


@given(st.binary(max_size=60))
def test_bytes_are_a_state_error_and_nothing_else(garbage: bytes) -> None:
    with pytest.raises(StateError):
        RunState.load(garbage)


def from_head(head: dict[str, Any], *messages: Any) -> RunState:
    """A state as a session loads it; there is no checksum that would find out."""
    texts = [json.dumps(each) for each in messages]
    return RunState(**load_head(json.dumps({"version": VERSION, "state": head}), texts, {}))


def some_head() -> dict[str, Any]:
    members = json.loads(some_state().to_json())["state"]
    return {name: value for name, value in members.items() if name not in ("messages", "artifacts")}


@given(st.sampled_from(sorted(some_head())), GARBAGE)
def test_a_member_that_is_something_else_is_refused_or_fits(name: str, garbage: Any) -> None:
    try:
        state = from_head({**some_head(), name: garbage}, {"role": "user", "content": "hi"})
    except StateError:
        return
    assert RunState.load(state.to_json()) == state


def called(arguments: Any) -> dict[str, Any]:
    return {"id": "a", "function": {"name": "x", "arguments": arguments}}


PART: st.SearchStrategy[Any] = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "image_url", "input_audio", "file", "refusal", "odd"])},
    optional=dict.fromkeys(("text", "image_url", "input_audio", "file", "refusal"), GARBAGE),
)
CALL: st.SearchStrategy[Any] = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("id", "type", "function", "custom", "malformed"), GARBAGE)
) | GARBAGE.map(called)
ODD_MESSAGE: st.SearchStrategy[Any] = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant", "tool", "function", "odd"])},
    optional={
        "content": GARBAGE | st.lists(PART, max_size=2),
        "tool_calls": GARBAGE | st.lists(CALL, max_size=2),
        **dict.fromkeys(("name", "tool_call_id", "audio", "annotations", "reasoning", "agentkit"), GARBAGE),
    },
)


@given(ODD_MESSAGE, st.lists(PART, max_size=2))
def test_an_odd_message_is_read_as_far_as_it_can_be_or_refused(message: dict[str, Any], files: list[Any]) -> None:
    try:
        state = from_head({**some_head(), "files": {"a": files}}, message)
    except StateError:
        return
    assert all(isinstance(each.arguments, dict) for each in state.pending)


def test_a_number_that_json_does_not_have_is_refused_though_its_checksum_is_right() -> None:
    for number in ("NaN", "Infinity", "1e999"):
        members = json.loads(some_state().to_json())["state"]
        members["messages"][0]["agentkit"] = {"label": float(number)}
        text = json.dumps(members, sort_keys=True, separators=(",", ":"))
        with pytest.raises(StateError, match="has been changed or damaged"):
            RunState.load(envelope(state=members, sum=hashlib.sha256(text.encode()).hexdigest()))


@pytest.mark.parametrize("head", ["{}", '{"version": 1}', '{"version": 1, "state": null}', '{"version": 2}', "x"])
def test_the_head_of_a_session_that_is_none_is_refused(head: str) -> None:
    with pytest.raises(StateError):
        load_head(head, [], {})


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            envelope(version=VERSION + 1),
            f"has version {VERSION + 1}, and this agentkit reads {VERSION}: update agentkit",
        ),
        (envelope(version="1"), "names no version"),
        (envelope(version=0), "names no version"),
        (envelope(version=True), "names no version"),
        (envelope(agentkit="session"), "has been written by something else"),
        (envelope(sum="0" * 64), "has been changed or damaged"),
        (envelope(sum=None), "has been changed or damaged"),
        (envelope(sum="\ud800"), "has been changed or damaged"),
        (envelope(state={}), "has been changed or damaged"),
        (envelope(state={"seconds": float("nan")}), "has been changed or damaged"),
        (envelope()[:-2], "cannot be read"),
        ("[1]", "is not a JSON object"),
        ("", "cannot be read"),
        ("[" * 100_000, "cannot be read"),
        (envelope(state=[])[:-1].removesuffix("[]") + "[" * 900 + "]" * 900 + "}", "the saved state"),
        ('{"a": ' + "9" * 5000 + "}", "cannot be read"),
    ],
)
def test_what_was_not_saved_is_refused_in_a_sentence(text: str, complaint: str) -> None:
    with pytest.raises(StateError, match=complaint) as raised:
        RunState.load(text)
    assert len(str(raised.value)) < 300
    assert "\n" not in str(raised.value)


def test_what_is_not_text_is_refused() -> None:
    for odd in (None, 1, ["x"], {"agentkit": "run"}):
        with pytest.raises(StateError, match="cannot be read"):
            RunState.load(odd)  # type: ignore[arg-type]


def test_a_key_tells_who_wrote_it() -> None:
    signed, unsigned = some_state().to_json(key=b"secret"), some_state().to_json()
    assert RunState.load(signed, key=b"secret") == some_state()
    with pytest.raises(StateError, match="has been changed or damaged"):
        RunState.load(signed, key=b"another")
    with pytest.raises(StateError, match="is signed: load it with the key"):
        RunState.load(signed)
    with pytest.raises(StateError, match="is not signed: it was written without a key"):
        RunState.load(unsigned, key=b"secret")
    with pytest.raises(StateError, match="has been changed or damaged"):
        RunState.load(json.dumps({**json.loads(unsigned), "signed": True}), key=b"secret")


@pytest.mark.parametrize("key", [b"", "secret"])
def test_a_key_that_keeps_nobody_out_is_refused(key: Any) -> None:
    with pytest.raises(ConfigError, match="must be bytes, and not empty"):
        some_state().to_json(key=key)
    with pytest.raises(ConfigError, match="must be bytes, and not empty"):
        RunState.load(envelope(signed=True), key=key)


# What JSON has no words for.


def test_halves_of_characters_are_stored_as_servers_take_them() -> None:
    state = RunState(messages=[UserMessage("a\ud800\0b", meta={"label": "\udfff"})])
    back = RunState.load(state.to_json())
    assert (back.messages[0].text, back.messages[0].meta) == ("a\ufffd\ufffdb", {"label": "\ufffd"})


def test_a_label_becomes_what_json_can_hold_of_it() -> None:
    labels = {"nan": float("nan"), "set": {1}, "date": date(2026, 1, 2)}
    back = RunState.load(RunState(messages=[UserMessage("hi", meta=labels)]).to_json())
    assert back.messages[0].meta == {"nan": None, "set": [1], "date": "2026-01-02"}


def test_a_label_that_json_cannot_hold_is_told_when_it_is_stored() -> None:
    message = UserMessage("hi", meta={"label": object()})
    ways: list[Callable[[], str]] = [RunState(messages=[message]).to_json, partial(dump_message, message)]
    for store in ways:
        with pytest.raises(StateError, match="cannot be stored as JSON: "):
            store()


def test_a_long_conversation_is_stored_too() -> None:
    state = RunState(messages=[UserMessage("x" * 1000, meta={"at": at}) for at in range(3000)], run_id="r")
    state.artifacts["c"] = "y" * 5_000_000
    assert RunState.load(state.to_json(key=b"k"), key=b"k") == state


def test_members_that_this_version_does_not_know_stay_with_their_message() -> None:
    raw = {"role": "assistant", "content": "hi", "reasoning_content": "hm", "x_new": {"a": [1]}}
    state = RunState(messages=[read_message(raw)])
    assert RunState.load(state.to_json()).messages[0].to_record() == raw


def test_a_copy_is_another_state() -> None:
    state = some_state()
    made = state.copy()
    made.approve("a")
    made.messages.clear()
    made.add_message("more")
    assert state == some_state()


@pytest.mark.anyio
async def test_labels_of_messages_stay_with_them() -> None:
    reply = AssistantMessage("hello", meta={"label": "public"})
    agent = Agent(ScriptedModel([reply, "bye"]), name="ann")
    result = await agent.run(UserMessage("hi", meta={"label": "secret"}))
    result.state.add_message(UserMessage("and?", meta={"label": "more"}))
    stored = RunState.load((await agent.run(resume=result.state)).state.to_json())
    assert [each.meta.get("label") for each in stored.messages] == ["secret", "public", "more", None]
    assert all(each.meta["agent"] == "ann" and each.meta["at"] for each in stored.messages)


@pytest.mark.parametrize("decide", [lambda state: state.deny("a", 5), lambda state: state.approve("a", by=b"ann")])
def test_a_decision_that_could_not_be_loaded_again_is_refused(decide: Callable[[RunState], None]) -> None:
    state = some_state()
    with pytest.raises(ConfigError, match="is a string"):
        decide(state)
    assert state == some_state()


@pytest.mark.parametrize("change", [{"signed": 1}, {"agentkit": "run ", "extra": 1}, {"extra": 1}, {"version": True}])
@pytest.mark.parametrize("key", [None, b"secret"], ids=["checksum", "signature"])
def test_the_envelope_of_a_state_is_covered_too(change: dict[str, Any], key: bytes | None) -> None:
    stored = json.loads(some_state().to_json(key=key))
    with pytest.raises(StateError):
        RunState.load(json.dumps({**stored, **change}), key=key)
