"""Calls that wait for a decision, and the decisions.

A hash binds a decision to the exact call that it was made for: the tool, its schema and the arguments. Any other call
needs a decision of its own.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

from agentkit.chat.json_values import encode_json
from agentkit.chat.messages import ToolCall
from agentkit.errors import ModelRetry, StateError
from agentkit.tools.arguments import parse_arguments
from agentkit.tools.context import ToolContext
from agentkit.tools.options import Approval
from agentkit.tools.tool import Tool


@dataclass(frozen=True, slots=True)
class PendingCall:
    """A call that waits for a decision.

    Attributes:
        id: Identifies it in `RunState.approve`, `deny` and `answer`.
        name: The tool.
        arguments: The arguments that the model wrote; for a custom tool, its string as ``input``.
        reason: Why it waits.
        external: Whether it runs elsewhere, so that it needs an answer and not an approval.
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
        reason: Why it waits.
        hash: The hash of the call, see `call_hash`.
        rule: The hash of its tool with any arguments, see `rule_hash`.
        external: Whether it runs elsewhere and needs an answer.
        custom: Whether its tool takes a string instead of arguments.
    """

    reason: str
    hash: str
    rule: str
    external: bool = False
    custom: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A decision about a call.

    Attributes:
        kind: Whether the call may run, may not run, or was answered from outside.
        hash: The hash of the call.
        arguments: The JSON arguments that replace the model's, or the string of a custom tool; None to keep those.
        reason: Why it may not run; the model reads it.
        answer: The result, as the model reads it.
        by: Who decided, as passed to `RunState.approve` and the like.
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
    """A standing decision, for later calls of a tool with any arguments or with exactly these."""

    kind: Literal["approve", "deny"]
    tool: str
    hash: str
    reason: str = ""
    by: str = ""


def call_hash(call: ToolCall, tool: Tool) -> str:
    """Hash a call: its arguments, and its tool as it is described to the model."""
    text = json.loads(encode_json(call.written))  # as it reads once stored
    return _hash(rule_hash(tool), call.name, text if tool.is_custom else canonical(text))


def rule_hash(tool: Tool) -> str:
    """Hash a tool with any arguments."""
    return _hash(tool.name, tool.fingerprint, "outside" if tool.is_external else "here")


def arguments_of(call: ToolCall, asked: ApprovalRequest) -> Mapping[str, Any]:
    """Return the arguments of a call as its tool will read them."""
    if not asked.custom:
        try:
            return parse_arguments(call.written) if call.malformed else call.parsed
        except (ModelRetry, ValueError):
            pass
    return {"input": call.written}


def as_arguments(arguments: object, asked: ApprovalRequest) -> str:
    """Return replacement arguments in the form in which a call holds them.

    Raises:
        StateError: The call cannot take them.
    """
    if not isinstance(arguments, Mapping):
        raise StateError(f"arguments= takes a dict of the arguments by name, not {arguments!r:.80}")
    given = dict(cast("Mapping[str, Any]", arguments))
    if asked.custom and (given.keys() != {"input"} or not isinstance(given["input"], str)):
        raise StateError("this tool takes a string: pass arguments={'input': '...'}")
    try:
        return str(given["input"]) if asked.custom else encode_json(given).decode()
    except (TypeError, ValueError, RecursionError) as error:
        raise StateError(f"the arguments cannot be written as JSON: {error}") from None


def changed_call(call: ToolCall, tool: Tool, arguments: str) -> ToolCall:
    """Return the call with arguments from `as_arguments` in place of the model's."""
    if tool.is_custom:
        return replace(call, arguments="{}", malformed="", input=arguments)
    return replace(call, arguments=arguments, malformed="", input=None)


def canonical(text: str) -> str:
    """Normalize JSON so that white space and the order of members do not count, but every digit does."""
    digits: list[str] = []  # of numbers with a fraction, which a `Decimal` gets as they are written

    def number(written: str) -> float:
        digits.append(written)
        return float(written)

    try:
        return json.dumps([json.loads(text, parse_float=number), digits], sort_keys=True)
    except (ValueError, RecursionError):
        return text


async def approval_reason(tool: Tool, context: ToolContext[Any], arguments: dict[str, Any], policy: Approval) -> str:
    """Return why a call with these validated arguments has to wait; empty if it need not."""
    if tool.is_external:
        return f"{tool.name} runs outside this program"
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
    """Return what is wrong with replacement arguments, which the model cannot correct; empty if nothing is."""
    if decision.arguments is None:
        return ""
    try:
        tool.checked(context, decision.arguments)
    except Exception as error:  # noqa: BLE001 - of the arguments' own types
        return f"the changed arguments cannot be used: {error}"
    return ""


def _hash(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
