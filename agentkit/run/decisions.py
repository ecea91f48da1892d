"""Calls that wait for somebody outside, and what that somebody decided.

A decision is bound by a hash to the exact call that was asked about: tool, arguments and the tool's schema. A call that
is not exactly that one is asked about again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

from agentkit.chat.messages import ToolCall, encode_json
from agentkit.errors import ModelRetry, StateError
from agentkit.tools.calls.arguments import parse_arguments
from agentkit.tools.tool import Tool

__all__ = [
    "ApprovalRequest",
    "Decision",
    "PendingCall",
    "StandingDecision",
    "arguments_of",
    "as_arguments",
    "call_hash",
    "canonical",
    "changed_call",
    "rule_hash",
]


@dataclass(frozen=True, slots=True)
class PendingCall:
    """A call that waits for a decision.

    Attributes:
        id: Names it in `RunState.approve` and the like.
        name: The tool.
        arguments: What the model wants to call it with; of a custom tool the text as ``input``.
        reason: Why it waits, in words.
        external: Whether it needs an answer from outside, and not only leave to run.
    """

    id: str
    name: str
    arguments: Mapping[str, Any]
    reason: str
    external: bool = False


@dataclass(frozen=True, slots=True)
class ApprovalRequest:
    """That a call waits.

    Attributes:
        why: Why, in words.
        hash: Of the call that is asked about.
        rule: Of its tool with any arguments.
        external: Whether it needs an answer from outside.
        custom: Whether its tool takes a text instead of arguments.
    """

    why: str
    hash: str
    rule: str
    external: bool = False
    custom: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What was decided about a call.

    Attributes:
        kind: Whether it may run, may not, or has been answered from outside.
        hash: Of the call that was asked about.
        arguments: The arguments to run it with, if not the model's; for a custom tool the text.
        reason: Why it may not run, for the model to read.
        answer: The result, as the model reads it.
        by: Who decided, as the program says.
        at: When, in seconds since 1970.
    """

    kind: Literal["approve", "deny", "answer"]
    hash: str
    arguments: str | None = None
    reason: str = ""
    answer: str = ""
    by: str = ""
    at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingDecision:
    """A decision that holds for later calls too: of the tool, or of the tool with exactly these arguments."""

    kind: Literal["approve", "deny"]
    tool: str
    hash: str
    reason: str = ""
    by: str = ""


def call_hash(call: ToolCall, tool: Tool) -> str:
    """Of a call with its arguments, and of the tool as it is described to the model."""
    text = json.loads(encode_json(call.written))  # as it is when it has been stored
    return _hash(rule_hash(tool), call.name, text if tool.is_custom else canonical(text))


def rule_hash(tool: Tool) -> str:
    """Of a tool with any arguments."""
    return _hash(tool.name, tool.fingerprint, "outside" if tool.is_external else "here")


def arguments_of(call: ToolCall, asked: ApprovalRequest) -> Mapping[str, Any]:
    """What the tool will get, read from the call in the way that the tool reads it."""
    if not asked.custom:
        try:
            return parse_arguments(call.written)
        except ModelRetry:
            pass
    return {"input": call.written}


def as_arguments(arguments: object, asked: ApprovalRequest) -> str:
    """Arguments that somebody gives in place of the model's, as a call has them.

    Raises:
        StateError: They are not what such a call can have.
    """
    if not isinstance(arguments, Mapping):
        raise StateError(f"the arguments of a call are a dict with their names, not {arguments!r:.80}")
    given = dict(cast("Mapping[str, Any]", arguments))
    if asked.custom and (given.keys() != {"input"} or not isinstance(given["input"], str)):
        raise StateError("the tool takes a text: give it as arguments={'input': text}")
    try:
        return str(given["input"]) if asked.custom else encode_json(given).decode()
    except (TypeError, ValueError, RecursionError) as error:
        raise StateError(f"the arguments cannot be written as JSON: {error}") from None


def changed_call(call: ToolCall, tool: Tool, arguments: str) -> ToolCall:
    """The call with what `as_arguments` gave, and nothing left of what the model wrote."""
    if tool.is_custom:
        return replace(call, arguments="{}", malformed="", input=arguments)
    return replace(call, arguments=arguments, malformed="", input=None)


def canonical(text: str) -> str:
    """What a text says as JSON: white space and the order of members do not count, but every digit does."""
    digits: list[str] = []  # of numbers with a fraction, which a `Decimal` gets as they are written

    def number(written: str) -> float:
        digits.append(written)
        return float(written)

    try:
        return json.dumps([json.loads(text, parse_float=number), digits], sort_keys=True)
    except (ValueError, RecursionError):
        return text


def _hash(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
