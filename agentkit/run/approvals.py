"""Which calls wait for somebody outside, and what became of those that have been decided."""

from __future__ import annotations

import inspect
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from agentkit.chat.messages import ToolCall
from agentkit.run.decisions import ApprovalRequest, Decision, call_hash, rule_hash
from agentkit.run.state import RunState
from agentkit.tools.context import ToolContext
from agentkit.tools.options import Approval
from agentkit.tools.tool import Tool

__all__ = ["find_pending", "may_need_approval"]


def may_need_approval(tool: Tool | None, policy: Approval) -> bool:
    """Whether calls of this tool may have to wait."""
    return tool is not None and (tool.is_external or tool.requires_approval is not False or policy is not False)


async def find_pending(
    state: RunState, calls: Sequence[tuple[ToolCall, Tool | None, ToolContext[Any]]], policy: Approval
) -> dict[str, Exception]:
    """Find out which of the calls have to wait, and note it in the state.

    A decision that is there already stays if it is about exactly this call; a rule decides what it is about. Calls with
    wrong arguments need nobody to look at them: what is wrong is returned, in place of their result.
    """
    wrong: dict[str, Exception] = {}
    for call, tool, context in calls:
        if tool is None or not may_need_approval(tool, policy):
            continue
        asked = ApprovalRequest("", call_hash(call, tool), rule_hash(tool), tool.is_external, tool.is_custom)
        decision, why = state.decisions.pop(call.id, None), ""
        if decision is not None and decision.hash == asked.hash:
            why = _misfit(tool, context, decision)
            if not why:
                state.decisions[call.id] = decision
                continue
        if decision is not None:
            state.files.pop(call.id, None)  # of an answer
        rule = None if why else _rule(state, asked)
        try:
            why = why or ("" if rule else await _why(tool, call, context, policy))
        except Exception as error:  # noqa: BLE001 - of the arguments' own types, as when the call would run
            wrong[call.id] = error
        state.approvals.pop(call.id, None)
        if rule is not None:
            state.decisions[call.id] = rule
        elif why:
            state.approvals[call.id] = replace(asked, why=why)
    return wrong


def _rule(state: RunState, asked: ApprovalRequest) -> Decision | None:
    """What was decided for good about such calls, the last word first."""
    for rule in reversed(state.rules):
        if rule.hash in (asked.hash, asked.rule):
            return Decision(kind=rule.kind, hash=asked.hash, reason=rule.reason, by=rule.by, at=time.time())
    return None


def _misfit(tool: Tool, context: ToolContext[Any], decision: Decision) -> str:
    """What is wrong with the arguments that somebody gave in place of the model's; it is not for the model to mend."""
    if decision.arguments is None:
        return ""
    try:
        tool.checked(context, decision.arguments)
    except Exception as error:  # noqa: BLE001 - of the arguments' own types
        return f"the changed arguments cannot be used: {error}"
    return ""


async def _why(tool: Tool, call: ToolCall, context: ToolContext[Any], policy: Approval) -> str:
    """Why the call has to wait, empty if it need not."""
    arguments = tool.checked(context, call.written)
    if tool.is_external:
        return f"{tool.name} is run by somebody outside"
    for approve, who in ((tool.requires_approval, f"the tool {tool.name}"), (policy, "the agent")):
        why = await _said(approve, who, context, arguments)
        if why:
            return why
    return ""


async def _said(approve: Approval, who: str, context: ToolContext[Any], arguments: dict[str, Any]) -> str:
    if isinstance(approve, bool):
        return f"{who} asks for approval of every call" if approve else ""
    try:
        said = approve(context, dict(arguments))
        if inspect.isawaitable(said):
            said = await said
    except Exception as error:  # noqa: BLE001 - who cannot say that a call may run has not said it
        return f"{who} could not say whether the call may run: {type(error).__name__}: {error}"
    return _reason(said, who)


def _reason(said: object, who: str) -> str:
    """Why the call has to wait: whatever a policy returns but False asks, an empty string too."""
    if said is False:
        return ""
    if not isinstance(said, str | bool):
        return f"{who} has not said whether the call may run, but {type(said).__name__}"
    return said if isinstance(said, str) and said.strip() else f"{who} asks for approval of this call"
