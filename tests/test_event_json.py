import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import fields
from typing import Any, TypeVar

import pytest

import agentkit.events
from agentkit import Agent, Limits, tool
from agentkit.chat import Reply, read_reply
from agentkit.errors import StateError
from agentkit.events import (
    AudioDelta,
    CallFinished,
    ChoiceDelta,
    Event,
    Origin,
    RecordedError,
    RunFinished,
    TextDelta,
    event_from_dict,
    event_to_dict,
)
from agentkit.run import PlainJournal, Slot, SlotKind
from agentkit.testing import Answer, Chunks, ScriptedModel, call
from agentkit.tools import ToolContext, ToolResult

pytestmark = pytest.mark.anyio
T = TypeVar("T")


@tool
def add(context: ToolContext[Any], a: int, b: int) -> int:
    """Add two numbers."""
    context.progress(0.5, "half")
    return a + b


@tool
def fail() -> int:
    """Fail."""
    raise KeyError("no such thing")


@tool(requires_approval=True)
def pay(amount: int) -> str:
    """Pay."""
    return f"paid {amount}"


SCRIPT: list[Answer] = [
    [call("add", a=1, b=2), call("fail"), call("nothing"), call("pay", amount=3)],
    Chunks("th", "ree"),
]


async def events_of(agent: Agent, prompt: str = "go") -> list[Event]:
    seen: list[Event] = []
    async with agent.stream(prompt) as stream:
        seen.extend([event async for event in stream])
        state = (await stream.result()).state
    for waiting in state.pending:
        state.deny(waiting.id, "too much")
    if state.status == "paused":
        async with agent.stream(resume=state) as stream:
            seen.extend([event async for event in stream])
    return seen


def through_json(event: Event) -> Event:
    return event_from_dict(json.loads(json.dumps(event_to_dict(event))))


async def test_every_event_of_a_run_comes_back_from_its_json_form() -> None:
    seen = await events_of(Agent(ScriptedModel(SCRIPT), tools=[add, fail, pay], limits=Limits(turns=2), name="ada"))
    assert len({type(event) for event in seen}) >= 10
    for event in seen:
        back = through_json(event)
        assert type(back) is type(event)
        assert back.origin == event.origin
        assert event_to_dict(back) == event_to_dict(event)
        if not isinstance(event, CallFinished):  # its error is an exception, of which the type and message are kept
            assert back == event


async def test_the_last_event_of_a_run_holds_its_result() -> None:
    result = await Agent(ScriptedModel([call("add", a=1, b=2), "3"]), tools=[add]).run(
        "go", on_event=(seen := list[Event]()).append
    )
    last = through_json(seen[-1])
    assert isinstance(last, RunFinished)
    assert (last.state.messages, last.state.text, last.state.usage) == (list(result.messages), "3", result.usage)


async def test_an_error_is_kept_as_its_type_and_message() -> None:
    seen = await events_of(Agent(ScriptedModel([call("fail"), "oh"]), tools=[fail]))
    (finished,) = [event for event in seen if isinstance(event, CallFinished)]
    back = through_json(finished)
    assert isinstance(back, CallFinished)
    assert isinstance(back.error, RecordedError)
    assert (back.error.type, back.error.message) == ("KeyError", "'no such thing'")


@pytest.mark.parametrize("event", [AudioDelta(b"\x00", "hi"), ChoiceDelta(1, TextDelta("x"))], ids=["sound", "choice"])
def test_bytes_and_events_inside_events_come_back(event: Event) -> None:
    assert through_json(event) == event


def test_every_public_event_has_a_json_form() -> None:
    kinds = [getattr(agentkit.events, name) for name in agentkit.events.__all__]
    for kind in kinds:
        if isinstance(kind, type) and issubclass(kind, Event) and kind is not Event:
            assert all(each.name != "version" and each.name != "event" for each in fields(kind)), kind


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"version": 99, "event": "TextDelta", "text": "x"},
        {"version": 1, "event": "os.system", "text": "x"},
        {"version": 1, "event": "TextDelta"},
        {"version": 1, "event": "CallStarted", "call": 3},
        {"version": 1, "event": "TextDelta", "text": "x", "origin": {"path": 1}},
    ],
    ids=["empty", "newer", "unknown", "member missing", "call is a number", "origin is odd"],
)
def test_a_malformed_event_is_refused_in_a_sentence(raw: dict[str, Any]) -> None:
    with pytest.raises(StateError):
        event_from_dict(raw)


async def test_events_know_where_they_come_from() -> None:
    inner = Agent(ScriptedModel(["inner"]), name="helper")
    inner_events: list[Event] = []

    @tool
    async def ask() -> str:
        """Ask."""
        return (await inner.run("hi", on_event=inner_events.append)).output

    outer = await events_of(Agent(ScriptedModel([call("ask"), "done"]), tools=[ask], name="main"))
    origins = [event.origin for event in outer]
    assert all(isinstance(each, Origin) for each in origins)
    assert {(each.agent, each.path) for each in origins if each} == {("main", ())}
    assert [each.turn for each in origins if each] == sorted(each.turn for each in origins if each)
    assert {(each.origin.agent, each.origin.path) for each in inner_events if each.origin} == {("helper", ("ask",))}


class Recording(PlainJournal):
    """Records the JSON form of each effect and replays it; its clock stands still."""

    def __init__(self) -> None:
        self.values: dict[str, tuple[str, str]] = {}
        self.replaying = False

    def reserve(self, key: str, kind: SlotKind) -> Slot:
        return _RecordedSlot(self, key)

    def clock(self) -> float:
        return 1000.0

    def new_id(self) -> str:
        return "one"


class _RecordedSlot:
    def __init__(self, journal: Recording, key: str) -> None:
        self.journal, self.key = journal, key

    async def run(self, effect: Callable[[], Awaitable[T]]) -> T:
        readers: dict[str, Callable[[Any], Any]] = {"Reply": read_reply, "ToolResult": ToolResult.from_dict}
        if self.key in self.journal.values:
            kind, stored = self.journal.values[self.key]
            value: Any = readers.get(kind, lambda raw: raw)(json.loads(stored))
            return value  # type: ignore[no-any-return]  # what was recorded
        assert not self.journal.replaying, f"{self.key} was not recorded"
        made = await effect()
        raw: Any = made
        if isinstance(made, Reply | ToolResult):
            raw = made.to_record() if isinstance(made, Reply) else made.to_dict()
        self.journal.values[self.key] = (type(made).__name__, json.dumps(raw))
        return made


async def test_a_replay_of_a_recorded_run_emits_the_same_events() -> None:
    journal = Recording()

    @tool(requires_approval=lambda context, arguments: arguments["amount"] > 5)
    async def pay(amount: int) -> str:
        """Pay."""
        return f"paid {amount}"

    @tool
    async def add(a: int, b: int) -> int:
        """Add."""
        return a + b

    async def events_as_json(script: Sequence[Answer]) -> list[dict[str, Any]]:
        seen: list[dict[str, Any]] = []

        def observe(event: Event) -> None:
            record = event_to_dict(event)
            record.get("state", {}).pop("seconds", None)
            seen.append(record)

        await Agent(ScriptedModel(script), tools=[add, pay], journal=journal).run("go", on_event=observe)
        return seen

    first = await events_as_json([[call("add", a=1, b=2), call("pay", amount=3)], "done"])
    journal.replaying = True
    again = await events_as_json([])
    streamed = ("TextDelta", "CallDelta")  # a recorded reply is not streamed again
    ordered = sorted(map(json.dumps, again))  # trio starts calls that run together in any order
    assert ordered == sorted(json.dumps(each) for each in first if each["event"] not in streamed)
    assert {key.split(":")[1] for key in journal.values} == {"turn", "call", "approval"}
