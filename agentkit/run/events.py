"""The events of a run in addition to those of a model request (`agentkit.chat.events`), and their JSON form."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, NamedTuple, get_args, get_type_hints

from agentkit.chat.events import Event, Origin, ReplyRepaired
from agentkit.chat.messages import ToolCall, UserMessage, read_call, read_message
from agentkit.chat.reply import Reply, read_reply
from agentkit.errors import AgentKitError, StateError
from agentkit.run.serialization import state_from_dict, state_to_dict
from agentkit.run.state import RunState
from agentkit.tools.result import ToolResult, json_value


@dataclass(frozen=True, slots=True)
class RunStarted(Event):
    """A run begins."""

    state: RunState


@dataclass(frozen=True, slots=True)
class TurnStarted(Event):
    """The model is asked; ``turn`` counts from 1."""

    turn: int


@dataclass(frozen=True, slots=True)
class TurnFinished(Event):
    """The model has replied."""

    turn: int
    reply: Reply


@dataclass(frozen=True, slots=True)
class CallRepaired(ReplyRepaired):
    """A call of ``tool`` was malformed but could only mean one thing, and was repaired; ``what`` says how."""

    call_id: str
    tool: str


@dataclass(frozen=True, slots=True)
class CallStarted(Event):
    """A tool is called."""

    call: ToolCall


@dataclass(frozen=True, slots=True)
class CallFinished(Event):
    """A tool has returned or failed, after ``seconds``; ``error`` is the exception if it was unexpected."""

    call: ToolCall
    result: ToolResult
    seconds: float
    error: BaseException | None = None


@dataclass(frozen=True, slots=True)
class ApprovalRequested(Event):
    """A call waits for a decision; ``reason`` says why. The run pauses when the other calls are done."""

    call: ToolCall
    reason: str


@dataclass(frozen=True, slots=True)
class CallDenied(Event):
    """A call was denied for ``reason``; it does not start."""

    call: ToolCall
    reason: str


@dataclass(frozen=True, slots=True)
class ToolChanged(Event):
    """A tool of a resumed run differs from when the state was saved."""

    tool: str
    how: Literal["changed", "removed", "added"]


@dataclass(frozen=True, slots=True)
class AgentChanged(Event):
    """The agent ``previous`` has handed off to ``agent``, whose turn is next."""

    previous: str
    agent: str


@dataclass(frozen=True, slots=True)
class LimitWarning(Event):
    """Four fifths of a limit are used; ``limit`` is its name in `Limits`. Emitted once per run for each limit."""

    limit: str
    used: float
    most: float


@dataclass(frozen=True, slots=True)
class MessageAdded(Event):
    """A message sent while the run was busy, or a complaint about the output, enters the messages."""

    message: UserMessage


@dataclass(frozen=True, slots=True)
class RunFinished(Event):
    """A run ends: ``state.status`` says how; ``error`` is the exception that it raises if it failed."""

    state: RunState
    error: Exception | None = None


_VERSION = 1


def event_to_dict(event: Event) -> dict[str, Any]:
    """Return the public JSON form of an event, a dict of JSON values.

    ``version`` is the version of the form, ``event`` the name of the class; the other members are those of the event.
    Messages, calls and replies have the form in which they are stored, a state is complete, and an exception is its
    type and message.

    Raises:
        StateError: JSON cannot hold it.
    """
    members = {each.name: _encoded(getattr(event, each.name)) for each in fields(event) if each.name != "origin"}
    origin = None if event.origin is None else event.origin._asdict()
    return {"version": _VERSION, "event": type(event).__name__, "origin": origin, **members}


def event_from_dict(raw: Mapping[str, Any]) -> Event:
    """Read an event from its JSON form. Its class must have been imported; the form cannot import anything.

    Raises:
        StateError: It is not an event, or is of a newer version.
    """
    if not isinstance(raw.get("version"), int) or raw["version"] > _VERSION:
        raise StateError(f"this agentkit cannot read an event of version {raw.get('version')!r:.80}")
    kinds = {each.__name__: each for each in _kinds(Event)}  # the last of each name: a slotted class replaces its model
    kind = kinds.get(str(raw.get("event")))
    if kind is None:
        raise StateError(f"there is no event named {raw.get('event')!r:.80}")
    hints = get_type_hints(kind)
    try:
        members = {each.name: _decoded(raw[each.name], hints[each.name]) for each in fields(kind) if each.init}
        event = kind(**members)
        if raw.get("origin") is not None:
            given: Any = {**raw["origin"], "path": tuple(raw["origin"]["path"])}
            object.__setattr__(event, "origin", Origin(**given))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise StateError(f"the event {kind.__name__} cannot be read: {type(error).__name__}: {error}") from None
    return event


def _kinds(kind: type[Event]) -> Iterator[type[Event]]:
    for each in kind.__subclasses__():
        yield each
        yield from _kinds(each)


class RecordedError(AgentKitError):
    """An exception of an event that was read from its JSON form.

    Attributes:
        type: The name of its class.
        message: Its message.
    """

    def __init__(self, type: str, message: str) -> None:  # noqa: A002 - the member's name
        super().__init__(f"{type}: {message}" if message else type)
        self.type, self.message = type, message

    @classmethod
    def from_dict(cls, raw: Mapping[str, str]) -> RecordedError:
        """Read what `describe` returned."""
        return cls(raw["type"], raw["message"])

    @staticmethod
    def describe(error: BaseException) -> dict[str, str]:
        """Return the type and message of an exception."""
        if isinstance(error, RecordedError):
            return {"type": error.type, "message": error.message}
        return {"type": type(error).__name__, "message": str(error)}


class _Codec(NamedTuple):
    kind: type
    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]


def _read_state(raw: Any) -> RunState:
    return RunState.from_members(state_from_dict(raw))


_CODECS = (  # the first that fits
    _Codec(RunState, state_to_dict, _read_state),
    _Codec(Reply, Reply.to_record, read_reply),
    _Codec(ToolResult, ToolResult.to_dict, ToolResult.from_dict),
    _Codec(ToolCall, ToolCall.to_record, read_call),
    _Codec(UserMessage, UserMessage.to_record, read_message),
    _Codec(Event, event_to_dict, event_from_dict),
    _Codec(bytes, base64.b64encode, base64.b64decode),
    _Codec(BaseException, RecordedError.describe, RecordedError.from_dict),
)


def _encoded(value: object) -> Any:
    codec = next((each for each in _CODECS if isinstance(value, each.kind)), None)
    return json_value(value if codec is None else codec.encode(value))


def _decoded(raw: Any, hint: Any) -> Any:
    kinds = [each for each in (hint, *get_args(hint)) if isinstance(each, type)]
    codec = next((codec for codec in _CODECS if any(issubclass(kind, codec.kind) for kind in kinds)), None)
    return raw if codec is None or raw is None else codec.decode(raw)
