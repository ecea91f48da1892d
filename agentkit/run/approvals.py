"""Calls that wait for a person or a program outside, and what was decided about them.

A decision is bound by a hash to the exact call that it was made for: tool, arguments and the tool's schema. A call that
is not exactly that one needs a decision of its own.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

from agentkit.chat.messages import ToolCall, encode_json
from agentkit.errors import ModelRetry, StateError
from agentkit.tools.calls.arguments import parse_arguments
from agentkit.tools.context import ToolContext
from agentkit.tools.options import Approval
from agentkit.tools.tool import Tool

__all__ = [
    "ApprovalRequest",
    "Decision",
    "PendingCall",
    "StandingDecision",
    "approval_reason",
    "arguments_of",
    "as_arguments",
    "call_hash",
    "canonical",
    "changed_call",
    "given_arguments",
    "may_need_approval",
    "misfit",
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
        path: The names of the tool calls that the run of the call is nested in, outermost first.
    """

    id: str
    name: str
    arguments: Mapping[str, Any]
    reason: str
    external: bool = False
    path: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ApprovalRequest:
    """The record of a call that waits.

    Attributes:
        reason: Why it waits, in words.
        hash: Of the call that is asked about.
        rule: Of its tool with any arguments.
        external: Whether it needs an answer from outside.
        custom: Whether its tool takes a text instead of arguments.
    """

    reason: str
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


def given_arguments(call: ToolCall, tool: Tool) -> str | Mapping[str, Any]:
    """The arguments of a call for its tool: the parsed object, or the string that the model wrote if it is none."""
    if call.malformed or tool.is_custom or call.input is not None:
        return call.written
    try:
        return call.parsed
    except ValueError:  # of a call that no server sent
        return call.written


def arguments_of(call: ToolCall, asked: ApprovalRequest) -> Mapping[str, Any]:
    """What the tool will get, read from the call in the way that the tool reads it."""
    if not asked.custom:
        try:
            return parse_arguments(call.written) if call.malformed else call.parsed
        except (ModelRetry, ValueError):
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


def may_need_approval(tool: Tool, policy: Approval) -> bool:
    """Whether calls of this tool may have to wait."""
    return tool.is_external or tool.requires_approval is not False or policy is not False


async def approval_reason(tool: Tool, context: ToolContext[Any], arguments: dict[str, Any], policy: Approval) -> str:
    """Why a call with these validated arguments has to wait; empty if it need not."""
    if tool.is_external:
        return f"{tool.name} is run outside of this program"
    for approval, who in ((tool.requires_approval, f"the tool {tool.name}"), (policy, "the agent")):
        if approval is True:
            return f"{who} requires approval of every call"
        if approval is False:
            continue
        answer: Any = None
        try:
            answer = approval(context, dict(arguments))
            if inspect.isawaitable(answer):
                answer = await answer
        except Exception as error:  # noqa: BLE001 - a policy that fails has not allowed the call
            return f"the approval policy of {who} failed: {type(error).__name__}: {error}"
        if answer is False:
            continue
        if isinstance(answer, str) and answer.strip():
            return answer
        if answer is True or isinstance(answer, str):
            return f"{who} requires approval of this call"
        return f"the approval policy of {who} returned {type(answer).__name__} instead of True, False or a reason"
    return ""


def misfit(tool: Tool, context: ToolContext[Any], decision: Decision) -> str:
    """What is wrong with arguments that a person gave in place of the model's; the model is not to correct them."""
    if decision.arguments is None:
        return ""
    try:
        tool.checked(context, decision.arguments)
    except Exception as error:  # noqa: BLE001 - of the arguments' own types
        return f"the changed arguments cannot be used: {error}"
    return ""


def _hash(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
