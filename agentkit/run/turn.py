"""The calls of a reply as the run's tools take them: which tool is meant, and with which arguments. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from agentkit.chat.events import ignore_event
from agentkit.chat.json_values import parse_json, write_json
from agentkit.chat.messages import Message, SystemMessage, ToolCall, UserMessage
from agentkit.chat.request import ChatRequest
from agentkit.chat.settings import without_force
from agentkit.errors import ToolFailed
from agentkit.run.artifacts import offered_tools
from agentkit.run.events import CallRepaired
from agentkit.run.limits import Limits
from agentkit.run.spec import RunSpec
from agentkit.run.spending import effective_limits, remaining
from agentkit.run.state import RunState
from agentkit.run.step import AskModel
from agentkit.run.transcript import last_reply_at, open_calls
from agentkit.tools.calls.repair import fit_arguments, match_tool_name, repair_text
from agentkit.tools.context import Remaining, ToolContext
from agentkit.tools.tool import Tool

__all__ = ["View", "offer", "repair_tool_calls", "request_of"]


@dataclass(frozen=True, slots=True)
class View:
    """A run as its tools see it, live; ``asked`` is the transcript as the model saw it, if that is to show.

    ``early`` counts the calls that have started for the reply of turn ``turn`` while that is not in the state.
    """

    limits: Limits
    state: RunState
    asked: tuple[Message, ...] | None = None
    early: int = 0
    turn: int = 0

    @property
    def messages(self) -> tuple[Message, ...]:
        """The messages so far."""
        return tuple(self.state.messages) if self.asked is None else self.asked

    @property
    def artifacts(self) -> Mapping[str, str]:
        """The results that were too long for the model."""
        return self.state.artifacts

    @property
    def remaining(self) -> Remaining:
        """What is left of the limits."""
        left = remaining(self.state, self.limits)
        if not self.early or self.state.turns >= self.turn:
            return left
        calls = None if left.calls is None else left.calls - self.early
        return replace(left, turns=None if left.turns is None else left.turns - 1, calls=calls)


def offer(spec: RunSpec, state: RunState) -> Mapping[str, Tool]:
    """The tools of the turn: those without a condition, and those whose condition is true.

    It is asked once a turn; a run that goes on with open calls asks again, and conditions then see what they saw when
    the model was asked.

    Raises:
        ToolFailed: A condition raised.
    """
    tools = offered_tools(spec.tools, state.artifacts)
    if all(each.condition is None for each in tools.values()):
        return tools
    asked, turn = tuple(state.messages), state.turns + 1
    if open_calls(asked):
        asked, turn = asked[: last_reply_at(asked)], state.turns
    context: ToolContext[Any] = ToolContext(
        deps=spec.deps,
        run_id=state.run_id,
        turn=turn,
        call_id="",
        tool="",
        idempotency_key="",
        emit=ignore_event,
        view=View(effective_limits(spec.limits), state, asked),
    )
    return {name: each for name, each in tools.items() if _is_offered(each, context, state)}


def _is_offered(tool: Tool, context: ToolContext[Any], state: RunState) -> bool:
    if tool.condition is None:
        return True
    try:
        return tool.condition(context)
    except Exception as error:
        failed = f"the condition of tool {tool.name} raised {type(error).__name__}: {error}"
        raise ToolFailed(failed, state=state) from error


def request_of(spec: RunSpec, state: RunState, step: AskModel, tools: Mapping[str, Tool]) -> ChatRequest:
    """The request of the next turn. Instructions and notes are sent and not stored: they are not said by anybody."""
    settings = spec.settings
    messages: list[Message] = list(state.messages)
    if spec.instructions:
        messages.insert(0, SystemMessage(spec.instructions))
    if step.note:
        messages.append(UserMessage(step.note))
    if step.closing:
        settings = replace(settings, tool_choice="none")
        note = f"You have reached {step.closing}. No tool can be called any more. Answer now with what you have."
        messages.append(UserMessage(note))
    elif state.turns and settings.tool_choice not in (None, "none"):
        settings = replace(settings, tool_choice=without_force(settings.tool_choice))
    definitions = [tool.definition for tool in tools.values()]
    return ChatRequest(messages=messages, tools=definitions, settings=settings, stream=spec.stream)


_WRONG_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]")
_LONGEST_NAME = 64


def repair_tool_calls(
    calls: Collection[ToolCall],
    tools: Mapping[str, Tool],
    *,
    switched_off: Collection[str] = (),
    forgive: bool = True,
) -> tuple[tuple[ToolCall, ...], list[CallRepaired]]:
    """Put right what the model got wrong, as far as that cannot change what it meant.

    The calls that come back are those of the transcript, so that the next request shows the model how it is written.

    Args:
        calls: The calls, their ids and JSON already mended by `normalize_tool_calls`.
        tools: The tools that the model was offered.
        switched_off: The names of the run's other tools. One of them is never taken for a tool that was offered.
        forgive: False leaves everything as it is, apart from names that servers would refuse to take back.

    Returns:
        The calls, and for each step what was put right.
    """
    notes: list[CallRepaired] = []
    names = dict.fromkeys([*tools, *switched_off])
    prefixes = {tool.prefix for tool in tools.values() if tool.prefix}
    made: list[ToolCall] = []
    for call in calls:
        mended = _named(call, names, prefixes, notes, forgive=forgive)
        made.append(_with_arguments(mended, tools, notes) if forgive else mended)
    return tuple(made), notes


def _named(
    call: ToolCall, names: Collection[str], prefixes: Collection[str], notes: list[CallRepaired], *, forgive: bool
) -> ToolCall:
    if call.name in names:
        return call
    name = (match_tool_name(call.name, names, prefixes) if forgive else None) or _WRONG_IN_NAMES.sub("_", call.name)[
        :_LONGEST_NAME
    ]
    if name == call.name:
        return call
    notes.append(CallRepaired(f"the name {call.name[:_LONGEST_NAME]!r} became {name}", call.id, name))
    return replace(call, name=name)


def _with_arguments(call: ToolCall, tools: Mapping[str, Tool], notes: list[CallRepaired]) -> ToolCall:
    if call.input is not None or call.name not in tools or tools[call.name].is_custom:
        return call
    try:
        written, forgiven = _read(call)
        fitted, changed = fit_arguments(written, tools[call.name].parameters)
        if not call.malformed and not changed:
            return call
        arguments = write_json(fitted)
    except ValueError:  # unreadable, or a number is too large
        return call  # the model is told what is wrong with its text
    told = [*forgiven, *changed] or ["with characters that are not Unicode"]
    notes.extend(CallRepaired(f"the arguments of {call.name} were {each}", call.id, call.name) for each in told)
    return replace(call, arguments=arguments, malformed="")


def _read(call: ToolCall) -> tuple[dict[str, Any], list[str]]:
    return repair_text(call.malformed) if call.malformed else (parse_json(call.arguments), [])
