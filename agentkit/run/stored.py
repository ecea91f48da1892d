"""The stored form of a run, as pydantic models: each member is checked when it is read."""

from collections.abc import Mapping
from dataclasses import astuple
from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer, PlainValidator

from agentkit.chat.content import ContentPart, content_to_wire, read_content
from agentkit.chat.messages import Message, UserMessage, read_message
from agentkit.chat.reply import Usage
from agentkit.run.approvals import ApprovalRequest, Decision, StandingDecision
from agentkit.run.limits import Limits


def _read(raw: Any) -> Message:
    if not isinstance(raw, Mapping):
        raise ValueError("not a message")
    return read_message(cast("Mapping[str, Any]", raw))


def _read_user(raw: Any) -> UserMessage:
    message = _read(raw)
    if not isinstance(message, UserMessage):
        raise ValueError("not a message of the user")
    return message


def _read_parts(raw: Any) -> list[ContentPart]:
    parts = read_content(raw)
    return [] if isinstance(parts, str) else list(parts)


_Message = Annotated[Any, PlainValidator(_read), PlainSerializer(lambda message: message.to_record())]
_UserMessage = Annotated[Any, PlainValidator(_read_user), PlainSerializer(lambda message: message.to_record())]
_Parts = Annotated[Any, PlainValidator(_read_parts), PlainSerializer(lambda parts: content_to_wire(tuple(parts)))]
_MOST = 2**53  # the largest number that is the same as a float


def _bounded(usage: Usage) -> Usage:
    if not all(0 <= number <= _MOST for number in astuple(usage) if number is not None):
        raise ValueError("a number is negative or too large")
    return usage


_Count = Annotated[int, Field(ge=0, le=_MOST, strict=True)]
_Usage = Annotated[Usage, AfterValidator(_bounded)]


class StoredState(BaseModel):
    """The members of a `RunState`; a test checks that none is missing. Those of ``nested`` are read separately."""

    model_config = ConfigDict(extra="forbid", from_attributes=True, defer_build=True)

    messages: list[_Message]
    prior_messages: _Count
    run_id: str
    agent: str
    status: Literal["running", "done", "paused", "limited", "cancelled", "failed"]
    turns: _Count
    calls: _Count
    calls_by_tool: dict[str, _Count]
    usage: _Usage
    usage_by_model: dict[str, _Usage]
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    limits: Limits | None
    limit: str
    final_turn: bool
    warned: list[str]
    invalid_outputs: _Count
    mistakes: dict[str, _Count]
    failed_turns: _Count
    artifacts: dict[str, str]
    files: dict[str, _Parts]
    inbox: list[_UserMessage]
    approvals: dict[str, ApprovalRequest]
    blocked: list[str]
    nested: dict[str, Any]
    decisions: dict[str, Decision]
    rules: list[StandingDecision]
    fingerprints: dict[str, dict[str, str]]
    revision: _Count


class Spending(BaseModel):
    """The usage of a run by the end of a call."""

    model_config = ConfigDict(defer_build=True)

    usage: _Usage
    calls: _Count
